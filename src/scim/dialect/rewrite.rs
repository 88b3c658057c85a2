//! A request's shape, made standard before schema validation: the enterprise extension where the
//! RFC has it, and `manager` as the RFC has it.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::{Dialect, Rule, Rules, Tolerated, text};
use crate::scim::schema::{ENTERPRISE_USER_SCHEMA, ResourceType};

/// Rules that are about the shape of a body.
const BODY: Rules = Rules::of(&[Rule::EnterpriseTypo, Rule::RootEnterprise, Rule::ManagerForm]);

impl Dialect {
    /// Makes the body of a POST or PUT standard.
    pub fn rewrite_resource(self, resource_type: &ResourceType, body: &mut Value, tolerated: &mut Tolerated) {
        if let (Some(mut standard), Value::Object(body)) =
            (Standard::new(self, BODY, Some(resource_type), tolerated), body)
        {
            standard.attributes(body);
        }
    }

    /// Makes the body of a PATCH standard.
    pub fn rewrite_patch(self, resource_type: &ResourceType, body: &mut Value, tolerated: &mut Tolerated) {
        let rules = BODY.union(text::RULES);
        let Some(mut standard) = Standard::new(self, rules, Some(resource_type), tolerated) else { return };
        let operations = body.as_object_mut().and_then(|body| member(body, "Operations"));
        for operation in operations.and_then(Value::as_array_mut).into_iter().flatten() {
            if let Value::Object(operation) = operation {
                standard.operation(operation);
            }
        }
    }

    /// Makes a filter standard; in a query across types no attribute's type is known.
    pub fn rewrite_filter<'t>(
        self,
        resource_type: Option<&ResourceType>,
        filter: &'t str,
        tolerated: &mut Tolerated,
    ) -> Cow<'t, str> {
        match Standard::new(self, text::RULES, resource_type, tolerated) {
            Some(mut standard) => standard.text(filter),
            None => Cow::Borrowed(filter),
        }
    }
}

/// A request on its way to the standard.
pub(super) struct Standard<'a> {
    rules: Rules,
    watched: Rules,
    pub(super) resource_type: Option<&'a ResourceType>,
    tolerated: &'a mut Tolerated,
}

impl<'a> Standard<'a> {
    /// `None` when the dialect neither has nor watches one of these rules.
    fn new(
        dialect: Dialect,
        needed: Rules,
        resource_type: Option<&'a ResourceType>,
        tolerated: &'a mut Tolerated,
    ) -> Option<Self> {
        let (rules, watched) = (dialect.rules(), dialect.watched());
        let needed = rules.union(watched).intersects(needed);
        needed.then_some(Self { rules, watched, resource_type, tolerated })
    }

    /// Whether a rule applies to something of this name; reported when it does.
    pub(super) fn applies(&mut self, rule: Rule, name: impl Into<String>) -> bool {
        let applies = self.rules.has(rule);
        if applies {
            self.tolerated.report(rule, name);
        } else if self.watched.has(rule) {
            self.tolerated.miss(rule);
        }
        applies
    }

    /// A resource's attributes.
    fn attributes(&mut self, body: &mut Map<String, Value>) {
        let renamed: Vec<(String, String)> =
            body.keys().filter_map(|name| Some((name.clone(), self.name(name)?))).collect();
        for (name, standard) in renamed {
            let Some(value) = body.shift_remove(&name) else { continue };
            let attribute = standard
                .strip_prefix(ENTERPRISE_USER_SCHEMA)
                .and_then(|rest| rest.strip_prefix(':'))
                .map(str::to_owned);
            match (attribute, value) {
                (Some(attribute), value) => extend(body, Map::from_iter([(attribute, value)])),
                (None, Value::Object(values)) => extend(body, values),
                (None, value) => {
                    body.entry(standard).or_insert(value);
                }
            }
        }
        if let Some(Value::Array(schemas)) = member(body, "schemas") {
            for schema in schemas.iter_mut() {
                if let Some(standard) = schema.as_str().and_then(|urn| self.urn(urn)) {
                    *schema = Value::String(standard);
                }
            }
        }
        self.extension(body);
    }

    /// A URN in `schemas`; an attribute's name is none.
    fn urn(&mut self, urn: &str) -> Option<String> {
        if urn.contains(':') { self.name(urn) } else { None }
    }

    /// The manager in the extension's object.
    fn extension(&mut self, body: &mut Map<String, Value>) {
        if let Some(Value::Object(values)) = member(body, ENTERPRISE_USER_SCHEMA)
            && let Some(manager) = member(values, "manager")
        {
            self.manager(manager);
        }
    }

    fn operation(&mut self, operation: &mut Map<String, Value>) {
        let Some(Value::String(path)) = member(operation, "path") else {
            if let Some(Value::Object(values)) = member(operation, "value") {
                self.values(values);
            }
            return;
        };
        let standard = self.text(path).into_owned();
        let manager = format!("{ENTERPRISE_USER_SCHEMA}:manager");
        let of_manager = standard.eq_ignore_ascii_case(&manager);
        let of_its_value = standard.eq_ignore_ascii_case(&format!("{manager}.value"));
        let of_extension = standard.eq_ignore_ascii_case(ENTERPRISE_USER_SCHEMA);
        path.clone_from(&standard);
        let removes = member(operation, "op")
            .and_then(|op| op.as_str())
            .is_some_and(|op| op.eq_ignore_ascii_case("remove"));
        let Some(value) = member(operation, "value") else { return };
        if of_extension {
            if let Some(manager) = value.as_object_mut().and_then(|values| member(values, "manager")) {
                self.manager(manager);
            }
            return;
        }
        if removes || !(of_manager || of_its_value && is_empty(value)) || !self.manager(value) {
            return;
        }
        // What was added as a list or cleared is the whole value now.
        if let Some(path) = member(operation, "path") {
            *path = Value::String(manager);
        }
        if let Some(op) = member(operation, "op") {
            *op = Value::from("replace");
        }
    }

    /// A path-less value.
    fn values(&mut self, values: &mut Map<String, Value>) {
        let names: Vec<Option<String>> = values.keys().map(|name| self.name(name)).collect();
        if names.iter().any(Option::is_some) {
            let taken = std::mem::take(values).into_iter().zip(names);
            *values = taken.map(|((name, value), standard)| (standard.unwrap_or(name), value)).collect();
        }
        if let Some(manager) = member(values, &format!("{ENTERPRISE_USER_SCHEMA}:manager")) {
            self.manager(manager);
        }
        self.extension(values);
    }

    /// `manager` as an object, or null where it is empty; whether it was anything else.
    fn manager(&mut self, manager: &mut Value) -> bool {
        let standard = match &*manager {
            value if is_empty(value) => Value::Null,
            Value::String(id) => json!({"value": id, "$ref": null}),
            Value::Array(managers) => match managers.first() {
                Some(Value::Object(first)) => {
                    let mut first = first.clone();
                    first.entry("$ref").or_insert(Value::Null);
                    Value::Object(first)
                }
                Some(Value::String(id)) => json!({"value": id, "$ref": null}),
                _ => return false,
            },
            _ => return false,
        };
        let applies = self.applies(Rule::ManagerForm, "manager");
        if applies {
            *manager = standard;
        }
        applies
    }
}

/// `""`, `[]`, an object whose `value` is empty, or a list of such.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.iter().all(|value| value.is_null() || is_empty(value)),
        Value::Object(parts) => parts.iter().any(|(name, value)| {
            name.eq_ignore_ascii_case("value")
                && (value.is_null() || value.as_str().is_some_and(str::is_empty))
        }),
        _ => false,
    }
}

/// Adds attributes to the enterprise extension's object; what it has already stays.
fn extend(body: &mut Map<String, Value>, values: Map<String, Value>) {
    if member(body, ENTERPRISE_USER_SCHEMA).is_none() {
        body.insert(ENTERPRISE_USER_SCHEMA.to_owned(), Value::Object(Map::new()));
    }
    if let Some(Value::Object(extension)) = member(body, ENTERPRISE_USER_SCHEMA) {
        for (name, value) in values {
            if member(extension, &name).is_none() {
                extension.insert(name, value);
            }
        }
    }
}

/// A member of an object; names are matched without regard to case, as attribute names are.
fn member<'m>(object: &'m mut Map<String, Value>, name: &str) -> Option<&'m mut Value> {
    object.iter_mut().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}
