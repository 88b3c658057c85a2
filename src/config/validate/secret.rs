//! `Secret` manifests: decoded, and checked as an API server checks them. No finding shows a value.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

use super::{metadata, structure::Report, suggest::nearest};
use crate::config::{
    findings::{Finding, has_errors},
    objects::{Located, Object, Secret},
    yaml::{self, Source},
};

/// The fields of a `Secret`.
const FIELDS: [&str; 7] = ["apiVersion", "kind", "metadata", "type", "immutable", "data", "stringData"];

/// Reads one Secret; none when it is wrong.
pub(super) fn read(mut value: Value, source: Source, findings: &mut Vec<Finding>) -> Option<Located<Secret>> {
    metadata::fill_nulls(&mut value);
    let value = &value;
    let object = metadata::object_id(Secret::KIND, value);
    let mut found = Vec::new();
    let mut report = |path: &str, at_key: bool, finding: Finding| {
        let place = if at_key { source.key(path) } else { source.value(path) };
        found.push(finding.at(place).object(object.clone()).field(path));
    };
    metadata::check(value, &mut report);
    for key in
        value.as_object().into_iter().flat_map(|map| map.keys()).filter(|key| !FIELDS.contains(&key.as_str()))
    {
        let hint = match nearest(key, FIELDS) {
            Some(name) => format!("did you mean {name}?"),
            None => "values belong under stringData".to_owned(),
        };
        report(&yaml::child("", key), true, Finding::error("unknown-field", "unknown field").hint(hint));
    }
    let mut data = std::collections::BTreeMap::new();
    for (field, decode) in [("data", decode_base64 as Decode), ("stringData", decode_text)] {
        for (key, value) in entries(value, field, &mut report) {
            let path = yaml::child(field, key);
            match decode(value) {
                Ok(value) => {
                    data.insert(key.clone(), value);
                }
                Err(finding) => report(&path, false, *finding),
            }
            if key.is_empty()
                || !key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
            {
                let message = "a key must be letters, digits, '-', '_' and '.'";
                report(&path, true, Finding::error("key", message));
            }
        }
    }
    let refused = has_errors(&found);
    findings.append(&mut found);
    if refused {
        return None;
    }
    let metadata = serde_json::from_value(value["metadata"].clone()).ok()?;
    Some(Located { object: Secret { metadata, data }.into(), source })
}

type Decode = fn(&Value) -> Result<Vec<u8>, Box<Finding>>;

fn entries<'a>(value: &'a Value, field: &str, report: &mut Report<'_>) -> Vec<(&'a String, &'a Value)> {
    match &value[field] {
        Value::Null => Vec::new(),
        Value::Object(map) => map.iter().collect(),
        _ => {
            report(field, false, Finding::error("type", "must be an object"));
            Vec::new()
        }
    }
}

fn decode_base64(value: &Value) -> Result<Vec<u8>, Box<Finding>> {
    let text = match value {
        Value::Null => "",
        Value::String(text) => text,
        _ => return Err(Finding::error("type", "must be text in base64").into()),
    };
    let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    BASE64_STANDARD.decode(text).map_err(|_| {
        Finding::error("base64", "is not base64").hint("plain text belongs under stringData").into()
    })
}

fn decode_text(value: &Value) -> Result<Vec<u8>, Box<Finding>> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(text.clone().into_bytes()),
        _ => Err(Finding::error("type", "must be text").hint("quote it").into()),
    }
}
