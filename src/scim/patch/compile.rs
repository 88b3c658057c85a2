//! A PATCH body against the schema: every path resolved, every value normalised, what may not be
//! written refused.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{AttributeChange, MAX_OPERATIONS, Noted, Op, PATCH_SCHEMA, Patch, Step, Unmatched, members};
use crate::scim::dialect::{Rule, Rules, Tolerated};
use crate::scim::error::ScimError;
use crate::scim::filter::{Filter, Literal, Operator};
use crate::scim::path::{AttributePath, PatchPath};
use crate::scim::schema::{AttributeRef, AttributeType, Mutability, ResourceType, Returned};

impl Patch {
    /// Compiles a PATCH body; `rules` takes what clients send beside the RFC.
    pub fn compile(
        body: Value,
        resource_type: &ResourceType,
        rules: Rules,
        tolerated: &mut Tolerated,
    ) -> Result<Self, ScimError> {
        let Value::Object(mut body) = body else {
            return Err(ScimError::invalid_syntax("the body of PATCH must be a JSON object"));
        };
        let declared = take(&mut body, "schemas").is_some_and(|schemas| {
            let wanted =
                |schema: &Value| schema.as_str().is_some_and(|urn| urn.eq_ignore_ascii_case(PATCH_SCHEMA));
            schemas.as_array().is_some_and(|schemas| schemas.iter().any(wanted))
        });
        if !declared {
            return Err(ScimError::invalid_syntax(format!("schemas must contain {PATCH_SCHEMA:?}")));
        }
        let operations = match take(&mut body, "Operations") {
            Some(Value::Array(operations)) if !operations.is_empty() => operations,
            _ => return Err(ScimError::invalid_syntax("Operations must be a list of one operation or more")),
        };
        if operations.len() > MAX_OPERATIONS {
            return Err(ScimError::too_large(format!(
                "the PATCH has {} operations; at most {MAX_OPERATIONS} are allowed",
                operations.len()
            )));
        }
        let steps = Vec::with_capacity(operations.len());
        let discarded = Vec::new();
        let mut compiler = Compiler { resource_type, rules, tolerated, steps, discarded };
        for (index, operation) in operations.into_iter().enumerate() {
            compiler.operation(operation).map_err(|mut error| {
                error.detail.insert_str(0, &format!("Operations[{index}]: "));
                error
            })?;
        }
        let Compiler { steps, discarded, .. } = compiler;
        Ok(Self { steps, discarded })
    }
}

/// Takes a member out; names are matched without regard to case, as attribute names are.
fn take(object: &mut Map<String, Value>, name: &str) -> Option<Value> {
    let key = object.keys().find(|key| key.eq_ignore_ascii_case(name))?.clone();
    object.swap_remove(&key)
}

pub(super) struct Compiler<'a> {
    pub(super) resource_type: &'a ResourceType,
    pub(super) rules: Rules,
    pub(super) tolerated: &'a mut Tolerated,
    pub(super) steps: Vec<Step>,
    pub(super) discarded: Vec<String>,
}

impl Compiler<'_> {
    fn operation(&mut self, operation: Value) -> Result<(), ScimError> {
        let Value::Object(mut operation) = operation else {
            return Err(ScimError::invalid_syntax("an operation must be a JSON object"));
        };
        let op = self.op(take(&mut operation, "op"))?;
        let value = take(&mut operation, "value");
        match take(&mut operation, "path") {
            None | Some(Value::Null) => match (op, value) {
                (Op::Remove, _) => Err(ScimError::no_target("remove needs a path that says what to remove")),
                (op, Some(Value::Object(value))) => self.object(op, value, None),
                _ => Err(ScimError::invalid_value(
                    "without a path, value must be an object that holds the attributes to change",
                )),
            },
            Some(Value::String(path)) => self.at_path(op, &PatchPath::parse(&path)?, value),
            Some(_) => Err(ScimError::invalid_path("path must be a string")),
        }
    }

    /// Whether a rule applies to something of this name; reported when it does.
    pub(super) fn applies(&mut self, rule: Rule, name: impl Into<String>) -> bool {
        let applies = self.rules.has(rule);
        if applies {
            self.tolerated.report(rule, name);
        }
        applies
    }

    fn op(&mut self, op: Option<Value>) -> Result<Op, ScimError> {
        let Some(Value::String(op)) = op else {
            return Err(ScimError::invalid_syntax(
                "op is missing; it must be \"add\", \"remove\" or \"replace\"",
            ));
        };
        let known = [("add", Op::Add), ("remove", Op::Remove), ("replace", Op::Replace)];
        let found = known.into_iter().find(|(name, _)| op.eq_ignore_ascii_case(name));
        let found = found.filter(|(name, _)| op == *name || self.applies(Rule::OpCase, *name));
        found.map(|(_, op)| op).ok_or_else(|| {
            let shown: String = op.chars().take(40).collect();
            ScimError::invalid_syntax(format!("op must be \"add\", \"remove\" or \"replace\", not {shown:?}"))
        })
    }

    /// The attributes of a path-less value, or of an extension's.
    fn object(
        &mut self,
        op: Op,
        values: Map<String, Value>,
        extension: Option<&str>,
    ) -> Result<(), ScimError> {
        for (name, value) in values {
            if extension.is_some() && name.eq_ignore_ascii_case("schemas") {
                // What a client library writes into every object; nothing depends on it here.
                continue;
            }
            let Some(target) = self.named(&name, extension) else {
                let shown = extension.map_or(name.clone(), |urn| format!("{urn}:{name}"));
                let (schema, attribute) = (extension.map(str::to_owned), name);
                self.unknown(&shown, &AttributePath { schema, attribute, sub_attribute: None })?;
                continue;
            };
            let skipped = is_read_only(&target) && self.applies(Rule::ReadOnlyInPatch, target.to_string());
            if !skipped {
                self.change(op, target, None, Some(value))?;
            }
        }
        Ok(())
    }

    /// The attribute that a member of a path-less value names.
    fn named(&mut self, name: &str, extension: Option<&str>) -> Option<AttributeRef> {
        let (schema, attribute) = (extension.map(str::to_owned), name.to_owned());
        if let Some(found) =
            self.resource_type.resolve(&AttributePath { schema, attribute, sub_attribute: None })
        {
            return Some(found);
        }
        let mut path = AttributePath::parse(name).ok()?;
        if path.schema.is_none() {
            path.schema = extension.map(str::to_owned);
        }
        let found = self.resource_type.resolve(&path)?;
        (is_extension(&found) || self.applies(Rule::QualifiedNames, found.to_string())).then_some(found)
    }

    fn at_path(&mut self, op: Op, path: &PatchPath, value: Option<Value>) -> Result<(), ScimError> {
        let Some(target) = self.resource_type.resolve(&path.attribute) else {
            return self.unknown(&path.attribute.to_string(), &path.attribute);
        };
        let filter = match &path.filter {
            None => None,
            Some(_) if !target.attribute.multi_valued => {
                return Err(ScimError::invalid_path(format!(
                    "{} has one value: its path cannot have a value filter",
                    target.attribute.name
                )));
            }
            Some(filter) => Some(filter.resolve_within(&target)?),
        };
        self.change(op, target, filter, value)
    }

    /// An attribute that no schema defines: refused, or dropped and reported.
    fn unknown(&mut self, name: &str, path: &AttributePath) -> Result<(), ScimError> {
        let shown: String = name.chars().take(100).collect();
        if self.applies(Rule::UnknownAttribute, shown.as_str()) {
            return Ok(());
        }
        let (resource_type, hint) = (&self.resource_type.name, self.resource_type.hint(path));
        Err(ScimError::invalid_path(format!("{shown:?} is not an attribute of {resource_type}{hint}")))
    }

    fn change(
        &mut self,
        op: Op,
        target: AttributeRef,
        filter: Option<Filter>,
        value: Option<Value>,
    ) -> Result<(), ScimError> {
        if is_read_only(&target) {
            return Err(ScimError::mutability(format!("{target} is read-only")));
        }
        if members::are_members(self.resource_type, &target) {
            return self.members(op, &target, filter, value);
        }
        if is_extension(&target) {
            return self.extension(op, target, value);
        }
        if target.extension.is_none() && target.attribute.name == "schemas" && op != Op::Remove {
            // Kept in step with the attributes there are by `ResourceType::finish`.
            return Ok(());
        }
        match op {
            Op::Remove => self.remove(target, filter, value),
            Op::Add | Op::Replace => {
                let value = value.ok_or_else(|| {
                    ScimError::invalid_value(format!("value is missing; add and replace need one ({target})"))
                })?;
                self.set(op, target, filter, value)
            }
        }
    }

    /// An extension as a whole, by its bare URN.
    fn extension(&mut self, op: Op, target: AttributeRef, value: Option<Value>) -> Result<(), ScimError> {
        match (op, value) {
            (Op::Add | Op::Replace, Some(Value::Object(values))) => {
                self.object(op, values, Some(&target.attribute.name))
            }
            (Op::Remove, _) | (Op::Replace, Some(Value::Null)) => {
                if target.attribute.required {
                    return Err(ScimError::mutability(format!("{target} is required and cannot be removed")));
                }
                self.push(AttributeChange {
                    op: Op::Remove,
                    target,
                    filter: None,
                    value: None,
                    unmatched: Noted::default(),
                });
                Ok(())
            }
            (Op::Add, Some(Value::Null)) => Ok(()),
            (Op::Add | Op::Replace, _) => {
                Err(ScimError::invalid_value(format!("the value of {target} must be an object")))
            }
        }
    }

    fn remove(
        &mut self,
        target: AttributeRef,
        filter: Option<Filter>,
        value: Option<Value>,
    ) -> Result<(), ScimError> {
        let value = value.filter(|value| !value.is_null());
        if value.is_some() && !self.applies(Rule::RemoveWithValue, target.to_string()) {
            return Err(ScimError::invalid_syntax(format!(
                "remove takes no value; name what to remove in the path ({}[value eq \"…\"])",
                target.attribute.name
            )));
        }
        let whole = target.sub_attribute.is_none() && filter.is_none();
        let value = match value {
            Some(value) if whole && target.attribute.multi_valued => {
                let values = self.normalize(&target, value)?;
                if values.is_none() {
                    return Ok(());
                }
                values
            }
            // One value is removed whatever the client believes it to be.
            _ => None,
        };
        // RFC 7644 section 3.5.2.2; what a list of values leaves is for `ResourceType::finish`.
        if value.is_none() && target.leaf().required && (target.sub_attribute.is_some() || filter.is_none()) {
            return Err(ScimError::mutability(format!("{target} is required and cannot be removed")));
        }
        let ignored = self.rules.has(Rule::RemoveUnmatched);
        let unmatched = if ignored { Unmatched::Ignore } else { Unmatched::Refuse };
        let filter = filter.map(|filter| (filter, unmatched));
        self.push(AttributeChange { op: Op::Remove, target, filter, value, unmatched: Noted::default() });
        Ok(())
    }

    fn set(
        &mut self,
        op: Op,
        target: AttributeRef,
        filter: Option<Filter>,
        value: Value,
    ) -> Result<(), ScimError> {
        let whole = target.sub_attribute.is_none();
        let of_element = filter.is_some() && whole;
        if of_element && value.as_array().is_some_and(|values| values.len() > 1) {
            return Err(ScimError::invalid_value(format!(
                "the value of {target} with a value filter must be one value"
            )));
        }
        if op == Op::Replace
            && whole
            && target.attribute.kind == AttributeType::Complex
            && !target.attribute.multi_valued
        {
            self.clear_nulls(&target, &value);
        }
        let empty = self.rules.has(Rule::EmptyClears) && value.as_str().is_some_and(str::is_empty);
        let clears = value.is_null() || value.is_array() || empty;
        let mut normalized = self.normalize(&target, value)?;
        if target.attribute.mutability == Mutability::WriteOnly
            && target.attribute.returned == Returned::Never
        {
            // A password: checked, and not kept.
            self.discarded.push(target.to_string());
            return Ok(());
        }
        if of_element {
            normalized = match normalized {
                Some(Value::Array(mut values)) => values.pop(),
                other => other,
            };
        }
        if normalized.is_none() && (op == Op::Add || !clears) {
            // Nothing to add; or all that was given is read-only, unknown or cleared above.
            return Ok(());
        }
        if normalized.is_none() && target.leaf().required {
            return Err(ScimError::invalid_value(format!("{target} is required and cannot be cleared")));
        }
        let filter = filter.map(|filter| {
            let makes = match op {
                Op::Add => self.rules.has(Rule::AddByFilter),
                Op::Replace => self.rules.has(Rule::ReplaceByFilter),
                Op::Remove => false,
            };
            let unmatched = match (&normalized, described(&filter)) {
                (Some(value), Some(element)) if makes => {
                    Unmatched::Append(completed(element, &target, value))
                }
                // What is to be cleared is not there.
                (None, _) if makes => Unmatched::Ignore,
                _ => Unmatched::Refuse,
            };
            (filter, unmatched)
        });
        self.push(AttributeChange { op, target, filter, value: normalized, unmatched: Noted::default() });
        Ok(())
    }

    /// Sub-attributes that a replacement of a complex attribute sets to null.
    fn clear_nulls(&mut self, target: &AttributeRef, value: &Value) {
        let names = value.as_object().into_iter().flatten().filter(|(_, value)| value.is_null());
        for (name, _) in names {
            let Some(sub_attribute) = target.attribute.sub_attribute(name) else { continue };
            if sub_attribute.mutability != Mutability::ReadOnly {
                let target =
                    AttributeRef { sub_attribute: Some(Arc::clone(sub_attribute)), ..target.clone() };
                self.push(AttributeChange {
                    op: Op::Replace,
                    target,
                    filter: None,
                    value: None,
                    unmatched: Noted::default(),
                });
            }
        }
    }

    pub(super) fn normalize(
        &mut self,
        target: &AttributeRef,
        value: Value,
    ) -> Result<Option<Value>, ScimError> {
        self.resource_type.normalize_value(target, value, self.rules, self.tolerated)
    }

    fn push(&mut self, change: AttributeChange) {
        self.steps.push(Step::Attributes(change));
    }
}

fn is_read_only(target: &AttributeRef) -> bool {
    target.attribute.mutability == Mutability::ReadOnly || target.leaf().mutability == Mutability::ReadOnly
}

/// Whether a reference is to an extension as a whole: to a complex attribute named by a URN.
fn is_extension(target: &AttributeRef) -> bool {
    target.extension.is_none() && target.sub_attribute.is_none() && target.attribute.name.contains(':')
}

/// The value that a filter of equalities describes: `type eq "work"` is `{"type": "work"}`.
fn described(filter: &Filter) -> Option<Map<String, Value>> {
    match filter {
        Filter::And(left, right) => {
            let mut element = described(left)?;
            element.extend(described(right)?);
            Some(element)
        }
        Filter::Compare(attribute, Operator::Eq, literal)
            if attribute.attribute.mutability != Mutability::ReadOnly =>
        {
            let value = match literal {
                Literal::Null => return None,
                Literal::Boolean(value) => Value::Bool(*value),
                Literal::Number(number) => Value::Number(number.clone()),
                Literal::String(text) => Value::String(text.clone()),
            };
            Some(Map::from_iter([(attribute.attribute.name.clone(), value)]))
        }
        _ => None,
    }
}

fn completed(mut element: Map<String, Value>, target: &AttributeRef, value: &Value) -> Value {
    match (&target.sub_attribute, value) {
        (Some(sub_attribute), value) => {
            element.insert(sub_attribute.name.clone(), value.clone());
        }
        (None, Value::Object(values)) => element.extend(values.clone()),
        (None, plain) => return plain.clone(),
    }
    Value::Object(element)
}
