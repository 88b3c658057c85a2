//! `metadata`: its fields, and the rules for names, labels and annotations that hold for every kind.

use serde_json::{Map, Value};

use super::{structure::Report, suggest::nearest};
use crate::config::{findings::Finding, yaml};

/// The fields of `ObjectMeta`.
const FIELDS: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// `KIND NAMESPACE/NAME` of an object that may be wrong.
pub(super) fn object_id(kind: &str, value: &Value) -> String {
    let metadata = &value["metadata"];
    let namespace = metadata["namespace"].as_str().unwrap_or("default");
    let name = metadata["name"].as_str().filter(|name| !name.is_empty()).unwrap_or("(no name)");
    format!("{kind} {namespace}/{name}")
}

/// Makes a `null` label or annotation the empty text, as an API server does.
pub(super) fn fill_nulls(value: &mut Value) {
    for map in ["labels", "annotations"] {
        let entries = value.pointer_mut(&format!("/metadata/{map}")).and_then(Value::as_object_mut);
        for value in entries.into_iter().flat_map(Map::values_mut).filter(|value| value.is_null()) {
            *value = Value::String(String::new());
        }
    }
}

/// Checks the `metadata` of one object.
pub(super) fn check(value: &Value, report: &mut Report<'_>) {
    let none = Map::new();
    let metadata = match &value["metadata"] {
        Value::Null => &none,
        Value::Object(map) => map,
        _ => {
            report("metadata", false, Finding::error("type", "must be an object"));
            return;
        }
    };
    for key in metadata.keys().filter(|key| !FIELDS.contains(&key.as_str())) {
        let finding = Finding::error("unknown-field", "unknown field");
        let finding = match nearest(key, FIELDS) {
            Some(name) => finding.hint(format!("did you mean {name}?")),
            None => finding.hint("free text belongs in metadata.annotations"),
        };
        report(&yaml::child("metadata", key), true, finding);
    }
    match text(metadata, "name", report) {
        Text::Absent => {
            report(
                "metadata.name",
                true,
                Finding::error("required", "is required").hint("every object needs a name"),
            );
        }
        Text::Is(name) => {
            if !is_subdomain(name) {
                let message = "must be lower-case letters, digits, '-' and '.', begin and end with a letter or digit, and have at most 253 characters";
                report("metadata.name", false, Finding::error("name", message));
            }
        }
        Text::Wrong => {}
    }
    if let Text::Is(namespace) = text(metadata, "namespace", report)
        && !is_label(namespace)
    {
        let message = "must be lower-case letters, digits and '-', begin and end with a letter or digit, and have at most 63 characters";
        report("metadata.namespace", false, Finding::error("name", message));
    }
    for map in ["labels", "annotations"] {
        check_map(map, metadata.get(map), report);
    }
}

enum Text<'a> {
    Absent,
    Is(&'a str),
    Wrong,
}

fn text<'a>(metadata: &'a Map<String, Value>, field: &str, report: &mut Report<'_>) -> Text<'a> {
    match metadata.get(field) {
        None | Some(Value::Null) => Text::Absent,
        Some(Value::String(text)) if text.is_empty() => Text::Absent,
        Some(Value::String(text)) => Text::Is(text),
        Some(_) => {
            report(
                &yaml::child("metadata", field),
                false,
                Finding::error("type", "must be text").hint("quote it"),
            );
            Text::Wrong
        }
    }
}

fn check_map(field: &str, value: Option<&Value>, report: &mut Report<'_>) {
    let path = yaml::child("metadata", field);
    let entries = match value {
        None | Some(Value::Null) => return,
        Some(Value::Object(entries)) => entries,
        Some(_) => {
            report(&path, false, Finding::error("type", "must be an object"));
            return;
        }
    };
    for (key, value) in entries {
        let path = yaml::child(&path, key);
        // The keys of annotations may have any case, also in the prefix.
        let key = if field == "labels" { key.clone() } else { key.to_ascii_lowercase() };
        let name = match key.split_once('/') {
            Some((prefix, name)) if is_subdomain(prefix) => name,
            Some(_) => "",
            None => &key,
        };
        if !is_qualified(name) {
            let message = "a key must be letters, digits, '-', '_' and '.', at most 63, with an optional DNS prefix as in example.com/name";
            report(&path, true, Finding::error("key", message));
        }
        match value {
            Value::String(text) if field == "labels" && !text.is_empty() && !is_qualified(text) => {
                let message = "a label must be at most 63 letters, digits, '-', '_' and '.', and begin and end with a letter or digit";
                report(&path, false, Finding::error("label", message));
            }
            Value::String(_) => {}
            _ => report(&path, false, Finding::error("type", "must be text").hint("quote it")),
        }
    }
}

/// A DNS label, RFC 1123.
pub(super) fn is_label(text: &str) -> bool {
    let edge =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    text.len() <= 63
        && edge(text.as_bytes().first())
        && edge(text.as_bytes().last())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// A DNS subdomain as Kubernetes has it: its labels are bounded only together.
pub(super) fn is_subdomain(text: &str) -> bool {
    let edge =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    text.len() <= 253
        && text.split('.').all(|label| {
            edge(label.as_bytes().first())
                && edge(label.as_bytes().last())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        })
}

fn is_qualified(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    text.len() <= 63
        && edge(text.as_bytes().first())
        && edge(text.as_bytes().last())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}
