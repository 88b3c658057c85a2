//! The `CustomResourceDefinition`s, made from the types, and their YAML.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::{ScimEndpoint, ScimTenant};

/// The fields of every Kubernetes object, which the derived schema leaves out. An API server takes no description
/// of `metadata`.
fn common_fields() -> [(&'static str, Value); 3] {
    let version = "The API group and version of this object: `scim-operator.io/v1alpha1`.";
    [
        ("apiVersion", json!({ "description": version, "type": "string" })),
        ("kind", json!({ "description": "The kind of this object.", "type": "string" })),
        ("metadata", json!({ "type": "object" })),
    ]
}

static DEFINITIONS: LazyLock<[Value; 2]> =
    LazyLock::new(|| [finish(&ScimEndpoint::crd()), finish(&ScimTenant::crd())]);

/// The definitions, `ScimEndpoint` first, as JSON values.
#[must_use]
pub fn definitions() -> &'static [Value; 2] {
    &DEFINITIONS
}

/// The `OpenAPI` schema of one kind.
#[must_use]
pub fn schema(kind: &str) -> Option<&'static Value> {
    let definition = definitions().iter().find(|definition| definition["spec"]["names"]["kind"] == kind)?;
    definition.pointer("/spec/versions/0/schema/openAPIV3Schema")
}

/// One definition as YAML.
///
/// # Panics
/// Never: every JSON value has a YAML form.
#[must_use]
pub fn definition_yaml(definition: &Value) -> String {
    let options = serde_saphyr::ser_options! { indent_step: 2, prefer_block_scalars: true };
    serde_saphyr::to_string_with_options(definition, options).expect("a JSON value has a YAML form")
}

/// Makes the derived schema what people should see: the fields that every object has are named, and no field is
/// `nullable`: an absent field is written by leaving it out, and an explicit `null` means the default.
fn finish(definition: &CustomResourceDefinition) -> Value {
    let mut value = serde_json::to_value(definition).expect("a definition has a JSON form");
    tidy(&mut value);
    let properties = value
        .pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties")
        .and_then(Value::as_object_mut)
        .expect("a derived definition has properties");
    let derived = std::mem::take(properties);
    properties.extend(common_fields().map(|(field, schema)| (field.to_owned(), schema)));
    properties.extend(derived);
    value
}

fn tidy(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.get("nullable") == Some(&Value::Bool(true)) {
                map.shift_remove("nullable");
            }
            if let Some(Value::Array(values)) = map.get_mut("enum") {
                values.retain(|value| !value.is_null());
            }
            // Rust's name for a width, which an API server warns of: the bounds say it.
            if map.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
                map.shift_remove("format");
            }
            for bound in ["minimum", "maximum"] {
                // Derived as floating-point numbers, and all of ours are whole.
                if let Some(number) = map.get(bound).and_then(Value::as_f64) {
                    map.insert(bound.to_owned(), whole(number));
                }
            }
            map.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

fn whole(number: f64) -> Value {
    format!("{number:.0}").parse::<i64>().map_or_else(|_| json!(number), Value::from)
}
