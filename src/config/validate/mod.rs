//! Judges manifests as an API server would under `kubectl apply`, and then what no API server sees: how the
//! objects fit together.
//!
//! Per object: field names and types, defaults, and CEL rules, all from the schema of the custom resource
//! definition itself ([`crate::crd::schema`]). Kinds that are neither ours nor `Secret` are left alone.

mod across;
mod metadata;
mod rules;
mod schemas;
mod secret;
mod structure;
mod suggest;

use std::collections::HashSet;

use jiff::Timestamp;
use kube::core::cel::apply_defaults;
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::suggest::nearest;
use super::{
    findings::{self, Finding, has_errors},
    objects::{Located, Namespaces, Object, Objects},
    yaml::{self, Document, Source},
};
use crate::crd::{self, API_VERSION, GROUP, ScimEndpoint, ScimTenant};

/// The text of one file. It may hold a Secret, so it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// The name, as findings show it.
    pub name: String,
    /// The content.
    pub text: String,
}

/// The kinds of our group.
const KINDS: [&str; 2] = [ScimEndpoint::KIND, ScimTenant::KIND];

/// All findings about a set of manifests, in reading order.
#[must_use]
pub fn validate(files: &[File]) -> Vec<Finding> {
    let (objects, mut findings) = read(files);
    findings.extend(across::check(&objects, Some(Timestamp::now()), None));
    findings::sort(&mut findings);
    findings
}

/// The objects of a set of manifests that are right in themselves, and the findings about each alone.
#[must_use]
pub fn read(files: &[File]) -> (Objects, Vec<Finding>) {
    let mut objects = Objects::default();
    let mut findings = Vec::new();
    for file in files {
        let (documents, syntax) = yaml::parse(&file.name, &file.text);
        objects.incomplete |= has_errors(&syntax);
        findings.extend(syntax);
        for document in documents {
            read_document(document, &mut objects, &mut findings);
        }
    }
    (objects, findings)
}

/// What is wrong between the objects, none of them wrong in itself. That a token ends is not said: a server that
/// runs says it when the time comes. `made` is the folder of the Secrets that we made.
#[must_use]
pub fn across(objects: &Objects, made: Option<&str>) -> Vec<Finding> {
    across::check(objects, None, made)
}

/// What is wrong with a tenant's schemas that no rule of the custom resource can tell.
#[must_use]
pub(super) fn schemas_of(tenant: &Located<ScimTenant>) -> Vec<Finding> {
    schemas::check(tenant)
}

fn read_document(document: Document, objects: &mut Objects, findings: &mut Vec<Finding>) {
    let Document { value, source } = document;
    let Some(map) = value.as_object() else {
        let finding =
            Finding::error("not-an-object", "a manifest must be an object with apiVersion and kind");
        findings.push(finding.at(source.value("")));
        return;
    };
    let text = |field: &str, findings: &mut Vec<Finding>| match map.get(field) {
        Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
        found => {
            let message =
                if found.is_some_and(|value| !value.is_null()) { "must be text" } else { "is required" };
            let finding = Finding::error("required", message).at(source.value(field)).field(field);
            findings.push(finding.hint(format!(
                "every manifest has it, for example {field}: {}",
                match field {
                    "kind" => ScimTenant::KIND,
                    _ => API_VERSION,
                }
            )));
            None
        }
    };
    let (api_version, kind) = (text("apiVersion", findings), text("kind", findings));
    let (Some(api_version), Some(kind)) = (api_version, kind) else { return };

    if let Some(Value::Array(items)) = map.get("items").filter(|_| kind.ends_with("List")) {
        for (index, value) in items.iter().enumerate() {
            let source = source.under(&yaml::child("", "items")).under(&yaml::item("", index));
            read_document(Document { value: value.clone(), source }, objects, findings);
        }
        return;
    }
    if let Some(finding) = wrong_kind(&api_version, &kind, &source) {
        findings.push(finding);
    } else if api_version == API_VERSION && kind == ScimEndpoint::KIND {
        objects.endpoints.extend(read_resource(value, source, &mut objects.refused, findings));
    } else if api_version == API_VERSION && kind == ScimTenant::KIND {
        objects.tenants.extend(read_resource(value, source, &mut objects.refused, findings));
    } else if api_version == "v1" && kind == "Secret" {
        objects.secrets.extend(secret::read(value, source, findings));
    } else if api_version == "v1" && kind == "Namespace" {
        read_namespace(value, &source, &mut objects.namespaces, findings);
    }
}

/// Finds an apiVersion or kind that is meant to be ours and is not.
fn wrong_kind(api_version: &str, kind: &str, source: &Source) -> Option<Finding> {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    if api_version == API_VERSION {
        if KINDS.contains(&kind) {
            return None;
        }
        let finding = Finding::error("kind", format!("{GROUP} has no kind {kind:?}"));
        let hint = match nearest(kind, KINDS) {
            Some(kind) => format!("did you mean {kind}?"),
            None => format!("its kinds are {}", KINDS.join(" and ")),
        };
        return Some(finding.at(source.value("kind")).field("kind").hint(hint));
    }
    if group == GROUP || KINDS.contains(&kind) || nearest(api_version, [API_VERSION]).is_some() {
        let finding = Finding::error("api-version", format!("there is no {kind} in {api_version:?}"));
        return Some(
            finding.at(source.value("apiVersion")).field("apiVersion").hint(format!("write {API_VERSION}")),
        );
    }
    None
}

/// One `Namespace`: its labels, which an endpoint may select.
fn read_namespace(
    mut value: Value,
    source: &Source,
    namespaces: &mut Namespaces,
    findings: &mut Vec<Finding>,
) {
    let mut found = Vec::new();
    metadata::fill_nulls(&mut value);
    let name = value["metadata"]["name"].as_str().unwrap_or("(no name)").to_owned();
    let mut report = |path: &str, at_key: bool, finding: Finding| {
        let place = if at_key { source.key(path) } else { source.value(path) };
        found.push(finding.at(place).object(format!("Namespace {name}")).field(path));
    };
    metadata::check(&value, &mut report);
    if !has_errors(&found) {
        let labels = value["metadata"]["labels"].as_object().into_iter().flatten();
        let labels = labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
        namespaces.insert(name, labels.collect());
    }
    findings.append(&mut found);
}

/// One object of ours: the findings about it, and the object when it is right.
fn read_resource<T: Object + DeserializeOwned>(
    mut value: Value,
    source: Source,
    refused: &mut HashSet<String>,
    findings: &mut Vec<Finding>,
) -> Option<Located<T>> {
    let schema = crd::schema(T::KIND).expect("every kind of ours has a definition");
    let object = metadata::object_id(T::KIND, &value);
    let mut found = Vec::new();
    let mut report = |path: &str, at_key: bool, finding: Finding| {
        let place = if at_key { source.key(path) } else { source.value(path) };
        found.push(finding.at(place).object(object.clone()).field(path));
    };
    metadata::fill_nulls(&mut value);
    metadata::check(&value, &mut report);
    structure::check(schema, &mut value, &mut report);
    let value = apply_defaults(schema, &value);
    // As in an API server, rules are asked only about an object whose fields have the right types.
    if !has_errors(&found) {
        rules::check(T::KIND, &value, &source, &object, &mut found);
    }
    let wrong = has_errors(&found);
    findings.append(&mut found);
    if wrong {
        refused.insert(object);
        return None;
    }
    match serde_json::from_value(value).map(std::sync::Arc::new) {
        Ok(typed) => Some(Located { object: typed, source }),
        Err(error) => {
            let finding = Finding::error("unreadable", format!("cannot be read: {error}"));
            findings.push(finding.at(source.value("")).object(object));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> String {
        let files = [File { name: "m.yaml".into(), text: text.into() }];
        validate(&files).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn other_kinds_are_left_alone() {
        assert_eq!(texts("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n"), "");
    }

    #[test]
    fn endpoint_that_is_wrong_is_not_also_missing() {
        let tenant = "---\napiVersion: scim-operator.io/v1alpha1\nkind: ScimTenant\n\
                      metadata: {name: acme}\nspec: {endpointRef: {name: main}}\n";
        let endpoint = "apiVersion: scim-operator.io/v1alpha1\nkind: ScimEndpoint\nmetadata: {name: main}\n";
        assert_eq!(texts(&format!("{endpoint}spec: {{hots: x}}\n{tenant}")).matches("error").count(), 1);
        assert_eq!(texts(&format!("{endpoint}spec: {{\n{tenant}")).matches("error").count(), 1);
    }

    #[test]
    fn misspelt_field_is_found_with_a_suggestion() {
        let text = "apiVersion: scim-operator.io/v1alpha1\nkind: ScimEndpoint\n\
                    metadata: {name: main, namespace: identity}\nspec:\n  hots: scim.example.com\n";
        insta::assert_snapshot!(texts(text), @r"
        m.yaml:5:3: error: ScimEndpoint identity/main: spec.hots: unknown field
          hint: did you mean host?
        ");
    }
}
