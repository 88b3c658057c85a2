//! What a client sends, checked against the schema and made standard (RFC 7643 section 2).
//!
//! One walk over the JSON, guided by the schema: it goes no deeper than the schema does, whatever
//! the body's nesting. Errors name the place of the fault and never repeat a value.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::model::{Attribute, AttributeRef, AttributeType, Mutability, ResourceType};
use super::succeed::one_primary;
use super::value;
use crate::scim::dialect::{Rule, Rules, Tolerated};
use crate::scim::error::ScimError;
use crate::scim::filter::fold;
use crate::scim::resource::Attributes;

/// How much of a name that a client made up is repeated to it, or logged.
const MAX_NAME_CHARS: usize = 100;

/// A request body made standard: what to store, and what to do to the membership table.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalized {
    /// The resource's own attributes.
    pub attributes: Attributes,
    /// For a group: its member ids, `None` when the body has no `members`.
    pub members: Option<Vec<String>>,
    /// What was checked and then forgotten, by its path: a password.
    pub discarded: Vec<String>,
}

impl ResourceType {
    /// Checks a POST or PUT body against the schema and makes it standard: canonical spelling and
    /// order, read-only attributes dropped (RFC 7644 section 3.3), nulls and empty lists removed
    /// (RFC 7643 section 2.5), `password` checked and dropped, at most one primary value, `schemas`
    /// completed with the extensions in use.
    pub fn normalize(
        &self,
        body: Value,
        rules: Rules,
        tolerated: &mut Tolerated,
    ) -> Result<Normalized, ScimError> {
        let Value::Object(body) = body else {
            return Err(ScimError::invalid_syntax(format!(
                "the body must be a JSON object that describes a {}, not {}",
                self.name,
                value::kind_of(&body)
            )));
        };
        let sends_members =
            self.has_members() && body.keys().any(|name| name.eq_ignore_ascii_case("members"));
        let mut check = Check { resource_type: self, rules, tolerated, discarded: Vec::new() };
        let attributes: Vec<&Arc<Attribute>> = self.top_level().collect();
        let mut attributes = check.object(&attributes, body, None)?;
        check.schemas(attributes.get("schemas"))?;
        let discarded = check.discarded;
        let members = attributes.shift_remove("members").filter(|_| self.has_members());
        let members = sends_members.then(|| member_ids(members));
        self.finish(&mut attributes)?;
        Ok(Normalized { attributes, members, discarded })
    }

    /// Checks one attribute's value the same way, for PATCH: `value` is the whole value, or for a
    /// multi-valued attribute a list or one element (it comes back as a list). `None` when nothing
    /// is left of it (null, an empty list).
    ///
    /// The attribute's own mutability is the caller's to judge; read-only parts of the value are
    /// dropped. What is required is for [`Self::finish`] to say.
    pub fn normalize_value(
        &self,
        attribute: &AttributeRef,
        value: Value,
        rules: Rules,
        tolerated: &mut Tolerated,
    ) -> Result<Option<Value>, ScimError> {
        let mut check = Check { resource_type: self, rules, tolerated, discarded: Vec::new() };
        let extension =
            attribute.extension.as_deref().map(|urn| Place { parent: None, step: Step::Name(urn) });
        let place = Place { parent: extension.as_ref(), step: Step::Name(&attribute.attribute.name) };
        let Some(sub_attribute) = &attribute.sub_attribute else {
            return check.attribute(&attribute.attribute, as_list(&attribute.attribute, value), &place);
        };
        let place = Place { parent: Some(&place), step: Step::Name(&sub_attribute.name) };
        check.attribute(sub_attribute, as_list(sub_attribute, value), &place)
    }

    /// The attributes of the resource's JSON object: common ones, the base schema's, the extensions.
    pub(in crate::scim) fn top_level(&self) -> impl Iterator<Item = &Arc<Attribute>> {
        let extensions = self.extensions.iter().map(|extension| &extension.container);
        self.common.iter().chain(&self.schema.attributes).chain(extensions)
    }
}

/// The ids in a group's `members` as [`ResourceType::normalize_value`] gives them: each once, in the
/// order given.
#[must_use]
pub fn member_ids(members: Option<Value>) -> Vec<String> {
    let Some(Value::Array(members)) = members else { return Vec::new() };
    let mut seen = HashSet::with_capacity(members.len());
    let mut ids = Vec::with_capacity(members.len());
    for mut member in members {
        if let Some(Value::String(id)) = member.get_mut("value").map(Value::take)
            && seen.insert(id.clone())
        {
            ids.push(id);
        }
    }
    ids
}

/// PATCH may name one element where the attribute holds a list.
fn as_list(attribute: &Attribute, value: Value) -> Value {
    match value {
        Value::Array(_) | Value::Null => value,
        element if attribute.multi_valued => Value::Array(vec![element]),
        value => value,
    }
}

/// Where in a body a value stands; written out only when something is wrong with it.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) parent: Option<&'a Place<'a>>,
    pub(super) step: Step<'a>,
}

#[derive(Clone, Copy)]
pub(super) enum Step<'a> {
    Name(&'a str),
    Index(usize),
}

impl Place<'_> {
    /// Whether this is an extension's object, named by its URN.
    fn is_extension(&self) -> bool {
        matches!(self.step, Step::Name(name) if name.contains(':'))
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match (self.step, self.parent) {
            (Step::Index(index), _) => write!(f, "[{index}]"),
            (Step::Name(name), None) => f.write_str(name),
            (Step::Name(name), _) if self.parent.is_some_and(Place::is_extension) => write!(f, ":{name}"),
            (Step::Name(name), Some(_)) => write!(f, ".{name}"),
        }
    }
}

struct Check<'a> {
    resource_type: &'a ResourceType,
    rules: Rules,
    tolerated: &'a mut Tolerated,
    /// Paths of what is not kept.
    discarded: Vec<String>,
}

impl Check<'_> {
    /// A JSON object with these attributes: its members in the schema's spelling and order.
    fn object<A: AsRef<Attribute>>(
        &mut self,
        attributes: &[A],
        body: Map<String, Value>,
        place: Option<&Place<'_>>,
    ) -> Result<Map<String, Value>, ScimError> {
        let mut seen = vec![false; attributes.len()];
        let mut values: Vec<(usize, Value)> = Vec::with_capacity(body.len());
        for (name, value) in body {
            let known = attributes.iter().position(|a| a.as_ref().name.eq_ignore_ascii_case(&name));
            let Some(index) = known else {
                if place.is_some_and(Place::is_extension) && name.eq_ignore_ascii_case("schemas") {
                    // What a client library writes into every object; nothing depends on it here.
                    continue;
                }
                self.unknown(&name, attributes, place)?;
                continue;
            };
            let attribute = attributes[index].as_ref();
            let place = Place { parent: place, step: Step::Name(&attribute.name) };
            if std::mem::replace(&mut seen[index], true) {
                return Err(ScimError::invalid_syntax(format!(
                    "\"{place}\" is given more than once: attribute names are the same whatever their case"
                )));
            }
            if attribute.mutability != Mutability::ReadOnly {
                values.extend(self.attribute(attribute, value, &place)?.map(|value| (index, value)));
            }
        }
        values.sort_unstable_by_key(|(index, _)| *index);
        Ok(values
            .into_iter()
            .map(|(index, value)| (attributes[index].as_ref().name.clone(), value))
            .collect())
    }

    fn attribute(
        &mut self,
        attribute: &Attribute,
        value: Value,
        place: &Place<'_>,
    ) -> Result<Option<Value>, ScimError> {
        if attribute.is_discarded() && value.as_str().is_some_and(str::is_empty) {
            return Err(ScimError::invalid_value(format!("\"{place}\" must not be empty")));
        }
        let value = if attribute.multi_valued {
            self.list(attribute, value, place)?
        } else {
            self.single(attribute, value, place)?
        };
        if value.is_some() && attribute.is_discarded() {
            self.discarded.push(place.to_string());
            return Ok(None);
        }
        Ok(value)
    }

    fn list(
        &mut self,
        attribute: &Attribute,
        value: Value,
        place: &Place<'_>,
    ) -> Result<Option<Value>, ScimError> {
        let elements = match value {
            Value::Null => return Ok(None),
            Value::String(text) if text.is_empty() && self.rules.has(Rule::EmptyClears) => {
                self.tolerated.report(Rule::EmptyClears, place.to_string());
                return Ok(None);
            }
            Value::Array(elements) => elements,
            other => {
                return Err(ScimError::invalid_value(format!(
                    "\"{place}\" must be a list, not {}",
                    value::kind_of(&other)
                )));
            }
        };
        let members = self.resource_type.has_members() && attribute.name == "members";
        let mut values = Vec::with_capacity(elements.len());
        for (index, element) in elements.into_iter().enumerate().filter(|(_, element)| !element.is_null()) {
            let place = Place { parent: Some(place), step: Step::Index(index) };
            let value = self.single(attribute, element, &place)?;
            // A member without an id would otherwise be lost without a word.
            let id = value.as_ref().and_then(|value| value.get("value")?.as_str());
            if members && id.is_none_or(str::is_empty) {
                return Err(ScimError::invalid_value(format!(
                    "\"{place}.value\" is required: the id of a User or Group"
                )));
            }
            values.extend(value);
        }
        remove_duplicates(&mut values);
        if self.rules.has(Rule::FirstPrimary) && keep_first_primary(&mut values) {
            self.tolerated.report(Rule::FirstPrimary, place.to_string());
        }
        one_primary(attribute, &values, place)?;
        Ok(if values.is_empty() { None } else { Some(Value::Array(values)) })
    }

    fn single(
        &mut self,
        attribute: &Attribute,
        value: Value,
        place: &Place<'_>,
    ) -> Result<Option<Value>, ScimError> {
        match (attribute.kind, value) {
            (_, Value::Null) => Ok(None),
            (_, Value::String(text)) if text.is_empty() && self.rules.has(Rule::EmptyClears) => {
                self.tolerated.report(Rule::EmptyClears, place.to_string());
                Ok(None)
            }
            (AttributeType::Complex, Value::Object(value)) => {
                let value = self.object(&attribute.sub_attributes, value, Some(place))?;
                Ok(if value.is_empty() { None } else { Some(Value::Object(value)) })
            }
            (AttributeType::Boolean, Value::String(text)) if self.rules.has(Rule::StringBoolean) => {
                let Some(boolean) = value::boolean_text(&text) else {
                    return Err(ScimError::invalid_value(format!("\"{place}\" must be true or false")));
                };
                self.tolerated.report(Rule::StringBoolean, place.to_string());
                Ok(Some(Value::Bool(boolean)))
            }
            (kind, value) => match value::fault(kind, &value) {
                None if attribute.closed => closed(attribute, &value, place).map(|()| Some(value)),
                None => Ok(Some(value)),
                Some(fault) => Err(ScimError::invalid_value(format!("\"{place}\" {fault}"))),
            },
        }
    }

    /// An attribute that no schema defines: refused, or dropped and reported.
    fn unknown<A: AsRef<Attribute>>(
        &mut self,
        name: &str,
        attributes: &[A],
        place: Option<&Place<'_>>,
    ) -> Result<(), ScimError> {
        let shown: String = name.chars().take(MAX_NAME_CHARS).collect();
        let path = Place { parent: place, step: Step::Name(&shown) };
        if self.rules.has(Rule::UnknownAttribute) {
            self.tolerated.report(Rule::UnknownAttribute, path.to_string());
            return Ok(());
        }
        let names = attributes.iter().map(|attribute| attribute.as_ref().name.as_str());
        let hint = match closest(name, names) {
            Some(name) => format!("; did you mean {name:?}?"),
            None => String::new(),
        };
        Err(ScimError::invalid_syntax(format!(
            "{:?} is not an attribute of {}{hint}",
            path.to_string(),
            self.resource_type.name
        )))
    }

    /// `schemas` (RFC 7643 section 3): names the base schema, and none that this type does not have.
    fn schemas(&mut self, schemas: Option<&Value>) -> Result<(), ScimError> {
        let given = schemas.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let extensions = self.resource_type.extensions.iter().map(|extension| &extension.schema.id);
        let base = &self.resource_type.schema.id;
        let known: Vec<&String> = std::iter::once(base).chain(extensions).collect();
        for urn in given.iter().filter_map(Value::as_str) {
            if known.iter().any(|id| id.eq_ignore_ascii_case(urn)) {
                continue;
            }
            let shown: String = urn.chars().take(MAX_NAME_CHARS).collect();
            if self.rules.has(Rule::UnknownSchema) {
                self.tolerated.report(Rule::UnknownSchema, shown);
                continue;
            }
            let hint = match closest(urn, known.iter().map(|id| id.as_str())) {
                Some(id) => format!("did you mean {id:?}?"),
                None => format!("it has {known:?}"),
            };
            return Err(ScimError::invalid_value(format!(
                "\"schemas\" names {shown:?}, which is no schema of {}; {hint}",
                self.resource_type.name
            )));
        }
        let has_base = given.iter().filter_map(Value::as_str).any(|urn| urn.eq_ignore_ascii_case(base));
        if has_base {
            return Ok(());
        }
        if self.rules.has(Rule::MissingSchemas) {
            self.tolerated.report(Rule::MissingSchemas, "schemas");
            return Ok(());
        }
        Err(ScimError::invalid_value(format!("\"schemas\" is required and must contain {base:?}")))
    }
}

/// Refuses a value that is none of those a tenant's schema names.
fn closed(attribute: &Attribute, value: &Value, place: &Place<'_>) -> Result<(), ScimError> {
    let text = value.as_str().unwrap_or_default();
    let same = |known: &&String| {
        if attribute.compares_exactly() { *known == text } else { fold(known, false) == fold(text, false) }
    };
    if attribute.canonical_values.iter().any(|known| same(&known)) {
        return Ok(());
    }
    let known: Vec<String> = attribute.canonical_values.iter().map(|known| format!("{known:?}")).collect();
    Err(ScimError::invalid_value(format!("\"{place}\" must be one of {}", known.join(", "))))
}

/// The known name that a misspelt one is closest to, if it is close at all.
pub(super) fn closest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    if name.len() > MAX_NAME_CHARS {
        return None;
    }
    let name = name.to_ascii_lowercase();
    let distances =
        known.map(|known| (strsim::damerau_levenshtein(&name, &known.to_ascii_lowercase()), known));
    let (distance, known) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= 2.min(known.len() / 3)).then_some(known)
}

/// Keeps the first of values that are equal (RFC 7643 section 2.4), in time linear in their number.
fn remove_duplicates(values: &mut Vec<Value>) {
    let mut seen = HashSet::with_capacity(values.len());
    let keep: Vec<bool> = values.iter().map(|value| seen.insert(value)).collect();
    if keep.contains(&false) {
        let mut keep = keep.into_iter();
        values.retain(|_| keep.next().unwrap_or(true));
    }
}

/// Takes the primary mark from all values but the first that has it; whether there was one to take.
fn keep_first_primary(values: &mut [Value]) -> bool {
    let marks = values.iter_mut().filter_map(|value| value.get_mut("primary"));
    let others = marks.filter(|mark| **mark == Value::Bool(true)).skip(1);
    others.map(|mark| *mark = Value::Bool(false)).count() > 0
}
