//! Names, types and bounds: an object against the structural schema of its kind, as an API server checks it.
//!
//! Unknown fields are refused (strict field validation, which is what `kubectl apply` asks for) and dropped from
//! the value; a `null` where none is allowed is an absent field.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{super::yaml, suggest::nearest};
use crate::config::findings::Finding;

/// Takes a finding about the value at a path; with `true` it is shown at the key.
pub(super) type Report<'a> = dyn FnMut(&str, bool, Finding) + 'a;

/// Checks a whole object but for `metadata` and `status`; removes what the schema does not know.
pub(super) fn check(schema: &Value, value: &mut Value, report: &mut Report<'_>) {
    if value.get("status").is_some_and(|status| !status.is_null()) {
        let finding =
            Finding::warning("status", "is written by the operator; in a manifest it has no effect");
        report("status", true, finding);
    }
    if let Some(map) = value.as_object_mut() {
        map.shift_remove("status");
    }
    Walk { root: schema, report }.value(schema, value, "");
}

struct Walk<'a, 'b> {
    root: &'a Value,
    report: &'a mut Report<'b>,
}

impl Walk<'_, '_> {
    fn error(&mut self, path: &str, code: &'static str, message: impl Into<String>) {
        (self.report)(path, false, Finding::error(code, message));
    }

    fn value(&mut self, schema: &Value, value: &mut Value, path: &str) {
        let expected = schema["type"].as_str().unwrap_or_default();
        let right = match expected {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            _ if is_quantity(schema) => value.is_string() || value.is_i64() || value.is_u64(),
            _ => true,
        };
        if !right {
            let expected = if is_quantity(schema) { "quantity" } else { expected };
            let finding =
                Finding::error("type", format!("must be {}, not {}", article(expected), describe(value)));
            let finding = match type_hint(expected, value) {
                Some(hint) => finding.hint(hint),
                None => finding,
            };
            (self.report)(path, false, finding);
            return;
        }
        if let Some(allowed) = schema["enum"].as_array() {
            self.enumeration(allowed, value, path);
        }
        match value {
            Value::Object(map) => self.object(schema, map, path),
            Value::Array(items) => self.array(schema, items, path),
            Value::String(text) => {
                let length = text.chars().count() as u64;
                if length == 0 && schema["minLength"].as_u64() == Some(1) {
                    self.error(path, "length", "must not be empty");
                } else if let Some(min) = schema["minLength"].as_u64().filter(|min| length < *min) {
                    self.error(path, "length", format!("must have at least {min} characters, not {length}"));
                }
                if schema["format"] == "date-time" && text.parse::<Timestamp>().is_err() {
                    let finding = Finding::error("date-time", format!("must be a time, not {text:?}"));
                    let hint = "write it as in RFC 3339, with the time of day and Z or an offset: 2026-12-01T00:00:00Z";
                    (self.report)(path, false, finding.hint(hint));
                }
                if let Some(max) = schema["maxLength"].as_u64().filter(|max| length > *max) {
                    self.error(path, "length", format!("must have at most {max} characters, not {length}"));
                }
            }
            Value::Number(number) => {
                let number = number.as_f64().unwrap_or(f64::INFINITY);
                let (min, max) = (&schema["minimum"], &schema["maximum"]);
                let below = min.as_f64().is_some_and(|min| number < min);
                if below || max.as_f64().is_some_and(|max| number > max) {
                    let message = match (integral(min), integral(max)) {
                        (Some(min), Some(max)) => format!("must be between {min} and {max}, not {value}"),
                        (Some(min), None) => format!("must be at least {min}, not {value}"),
                        (_, max) => format!("must be at most {}, not {value}", max.unwrap_or_default()),
                    };
                    self.error(path, "range", message);
                }
            }
            _ => {}
        }
    }

    fn enumeration(&mut self, allowed: &[Value], value: &Value, path: &str) {
        if allowed.contains(value) {
            return;
        }
        let names: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
        let list: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
        let finding = Finding::error("enum", format!("must be {}, not {value}", list.join(" or ")));
        let finding = match value.as_str().and_then(|text| nearest(text, names)) {
            Some(name) => finding.hint(format!("did you mean {name}?")),
            None => finding,
        };
        (self.report)(path, false, finding);
    }

    fn object(&mut self, schema: &Value, map: &mut Map<String, Value>, path: &str) {
        if let Some(values) = schema.get("additionalProperties") {
            self.entries(schema, values, map, path);
            return;
        }
        let none = Map::new();
        let known = schema["properties"].as_object().unwrap_or(&none);
        let unknown: Vec<String> = map.keys().filter(|key| !known.contains_key(*key)).cloned().collect();
        for key in unknown {
            map.shift_remove(&key);
            let finding =
                Finding::error("unknown-field", "unknown field").hint(self.unknown_hint(&key, known));
            (self.report)(&yaml::child(path, &key), true, finding);
        }
        // A null is no value, unless the schema allows it.
        map.retain(|key, value| !value.is_null() || known[key]["nullable"] == true);
        let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for field in required {
            if !map.contains_key(field) && known[field].get("default").is_none() {
                let finding = Finding::error("required", "is required");
                (self.report)(
                    &yaml::child(path, field),
                    true,
                    finding.hint(required_hint(field, &known[field])),
                );
            }
        }
        for (key, value) in map.iter_mut() {
            // Metadata has rules of its own.
            if !(path.is_empty() && key == "metadata") {
                self.value(&known[key], value, &yaml::child(path, key));
            }
        }
    }

    /// A map, such as labels: any key, and values of one type.
    fn entries(&mut self, schema: &Value, values: &Value, map: &mut Map<String, Value>, path: &str) {
        // As for a field: an entry without a value is none.
        map.retain(|_, value| !value.is_null() || values["nullable"] == true);
        let count = map.len() as u64;
        if let Some(max) = schema["maxProperties"].as_u64().filter(|max| count > *max) {
            self.error(path, "length", format!("must have at most {max} entries, not {count}"));
        }
        for (key, value) in map.iter_mut() {
            self.value(values, value, &yaml::child(path, key));
        }
    }

    fn array(&mut self, schema: &Value, items: &mut [Value], path: &str) {
        let count = items.len() as u64;
        if count == 0 && schema["minItems"].as_u64().is_some_and(|min| min > 0) {
            self.error(path, "length", "must have at least one item; leave the field out for the default");
        }
        if let Some(max) = schema["maxItems"].as_u64().filter(|max| count > *max) {
            self.error(path, "length", format!("must have at most {max} items, not {count}"));
        }
        for (index, value) in items.iter_mut().enumerate() {
            self.value(&schema["items"], value, &yaml::item(path, index));
        }
        if schema["x-kubernetes-list-type"] == "set" {
            for (index, value) in items.iter().enumerate() {
                if let Some(first) = items[..index].iter().position(|known| known == value) {
                    let message = format!("the list has {value} twice: items {first} and {index}");
                    let finding = Finding::error("duplicate-item", message).hint("remove one");
                    (self.report)(&yaml::item(path, index), false, finding);
                }
            }
        }
        if schema["x-kubernetes-list-type"] == "map" {
            let keys: Vec<&str> = schema["x-kubernetes-list-map-keys"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let mut seen: Vec<Vec<&Value>> = Vec::new();
            for (index, value) in items.iter().enumerate() {
                let identity: Vec<&Value> = keys.iter().map(|key| &value[key]).collect();
                if let Some(first) = seen.iter().position(|known| *known == identity) {
                    let key = keys.join(", ");
                    let path = yaml::child(&yaml::item(path, index), keys.first().unwrap_or(&""));
                    let message = format!("two items of the list have one {key}: items {first} and {index}");
                    (self.report)(&path, false, Finding::error("duplicate-item", message));
                }
                seen.push(identity);
            }
        }
    }

    /// What was probably meant: a field beside it with a like name, or a field of that name elsewhere.
    fn unknown_hint(&self, key: &str, known: &Map<String, Value>) -> String {
        if let Some(name) = nearest(key, known.keys().map(String::as_str)) {
            return format!("did you mean {name}?");
        }
        let mut elsewhere = Vec::new();
        find_field(self.root, key, "", &mut elsewhere);
        match elsewhere.first() {
            Some(path) => format!("{key} belongs at {path}"),
            None if known.is_empty() => "remove it".to_owned(),
            None => format!("the fields here are {}", known.keys().cloned().collect::<Vec<_>>().join(", ")),
        }
    }
}

/// All paths under `spec` at which a field has this name.
fn find_field(schema: &Value, name: &str, path: &str, found: &mut Vec<String>) {
    // What is within a type of Kubernetes is too deep to be meant.
    if path.matches('.').count() > 4 {
        return;
    }
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        if path.is_empty() && key != "spec" {
            continue;
        }
        let path = yaml::child(path, key);
        if key == name {
            found.push(path.clone());
        }
        find_field(schema, name, &path, found);
        find_field(&schema["items"], name, &format!("{path}[]"), found);
    }
}

fn integral(value: &Value) -> Option<String> {
    let number = value.as_f64()?;
    Some(format!("{number:.0}"))
}

/// What to write for a field that is missing: the least it can be, or what it is.
fn required_hint(field: &str, schema: &Value) -> String {
    if schema["type"] == "object" {
        let inner: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        return match inner.as_slice() {
            [] => format!("write {field}: {{}} when there is nothing to set"),
            inner => format!("add {field} with {}", inner.join(" and ")),
        };
    }
    let description = schema["description"].as_str().unwrap_or_default().replace('\n', " ");
    format!("add {field}: {}", description.split(". ").next().unwrap_or_default().trim_end_matches('.'))
}

/// A number, or text such as `500m` and `1Gi`.
fn is_quantity(schema: &Value) -> bool {
    schema["x-kubernetes-int-or-string"] == true
}

fn article(kind: &str) -> &'static str {
    match kind {
        "object" => "an object",
        "array" => "a list",
        "string" => "text",
        "boolean" => "true or false",
        "integer" => "a whole number",
        "quantity" => "a whole number or text",
        _ => "a number",
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Number(value) => format!("the number {value}"),
        Value::String(value) if value.chars().count() <= 40 => format!("the text {value:?}"),
        Value::String(_) => "text".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

fn type_hint(expected: &str, value: &Value) -> Option<String> {
    match (expected, value) {
        ("string", Value::Bool(_)) => {
            Some("quote it: y, n, yes, no, on and off are booleans in YAML".to_owned())
        }
        ("string" | "quantity", Value::Number(_)) => Some(format!("quote it: \"{value}\"")),
        ("boolean", Value::String(text)) if matches!(text.as_str(), "true" | "false") => {
            Some("write it without quotes".to_owned())
        }
        ("integer", Value::String(text)) if text.parse::<i64>().is_ok() => {
            Some("write it without quotes".to_owned())
        }
        ("integer", Value::String(text)) if text.starts_with(|c: char| c.is_ascii_digit()) => {
            Some("write the number out, without a unit".to_owned())
        }
        ("array", Value::String(_) | Value::Object(_)) => Some("begin each item with \"- \"".to_owned()),
        _ => None,
    }
}
