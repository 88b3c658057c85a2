//! The CEL rules of a schema (`x-kubernetes-validations`), evaluated here as an API server evaluates them.

use std::collections::HashMap;

use kube::core::cel::{CompiledSchema, ErrorKind, compile_schema, validate_compiled};
use serde_json::Value;

use super::KINDS;
use crate::{
    config::{
        findings::Finding,
        yaml::{self, Source},
    },
    crd,
};

thread_local! {
    /// The rules of both kinds, compiled once for each thread.
    static COMPILED: HashMap<&'static str, CompiledSchema> =
        KINDS.into_iter().filter_map(|kind| Some((kind, compile_schema(crd::schema(kind)?)))).collect();
}

/// Asks the rules about an object with its defaults in place. Rules about a change (`oldSelf`) are not asked: a
/// manifest knows nothing of the object before it.
pub(super) fn check(kind: &str, value: &Value, source: &Source, object: &str, findings: &mut Vec<Finding>) {
    let errors = COMPILED.with(|compiled| validate_compiled(&compiled[kind], value, None).err());
    for error in errors.into_iter().flat_map(kube::core::cel::ValidationErrors::into_vec) {
        let message = match error.kind {
            ErrorKind::ValidationFailure => error.message,
            _ => format!("the rule {:?} cannot be evaluated: {}", error.rule, error.message),
        };
        // A rule of the whole object names the field that it is about in its first word.
        let field = match message.split_once(' ') {
            Some((first, _)) if error.field_path.is_empty() && first.contains('.') => first.to_owned(),
            _ => path_in(value, error.field_path.trim_start_matches('.')),
        };
        let message = message.strip_prefix(&format!("{field} ")).unwrap_or(&message);
        findings.push(Finding::error("rule", message).at(source.value(&field)).object(object).field(field));
    }
}

/// A path as findings have it. The evaluator writes the keys of a map, such as labels, as if they were fields.
fn path_in(value: &Value, path: &str) -> String {
    let (mut value, mut rest, mut found) = (value, path, String::new());
    while !rest.is_empty() {
        if let Some((index, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            let Ok(index) = index.parse::<usize>() else { break };
            found = yaml::item(&found, index);
            value = &value[index];
            rest = after.trim_start_matches('.');
            continue;
        }
        let ends = |key: &&String| rest[key.len()..].is_empty() || rest[key.len()..].starts_with(['.', '[']);
        let keys = value.as_object().into_iter().flat_map(|map| map.keys());
        let keys = keys.filter(|key| rest.starts_with(key.as_str())).filter(ends);
        // A field that the rule is about may be absent: it ends where the next begins.
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let key = keys.max_by_key(|key| key.len()).map_or(&rest[..end], |key| &rest[..key.len()]);
        if key.is_empty() {
            break;
        }
        found = yaml::child(&found, key);
        value = &value[key];
        rest = rest[key.len()..].trim_start_matches('.');
    }
    found
}
