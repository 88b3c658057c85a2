//! The examples of RFC 7643 section 8, one table a rule, and the laws of normalisation. Here: what the
//! tests share, among it a resource type with every characteristic that the core schemas do not use.

mod laws;
mod names;
mod normalize;
mod whole;

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::scim::dialect::{Dialect, Tolerated};
use crate::scim::error::ScimError;
use crate::scim::path::AttributePath;
use crate::scim::resource::Attributes;

fn resource_type(name: &str) -> Arc<ResourceType> {
    Arc::clone(Registry::core().by_name(name).unwrap())
}

fn normalize(name: &str, body: Value, dialect: Dialect) -> Result<(Normalized, Tolerated), ScimError> {
    let mut tolerated = Tolerated::default();
    let normalized = resource_type(name).normalize(body, dialect.rules(), &mut tolerated)?;
    Ok((normalized, tolerated))
}

fn object(value: Value) -> Attributes {
    serde_json::from_value(value).unwrap()
}

/// A user with these members beside the required ones.
fn user(more: Value) -> Value {
    let mut body = object(json!({"schemas": [USER_SCHEMA], "userName": "bjensen"}));
    body.extend(object(more));
    body.into()
}

fn path(schema: Option<&str>, attribute: &str, sub_attribute: Option<&str>) -> AttributePath {
    AttributePath {
        schema: schema.map(str::to_owned),
        attribute: attribute.to_owned(),
        sub_attribute: sub_attribute.map(str::to_owned),
    }
}

/// A resource type with every characteristic that the core schemas do not have.
fn device() -> ResourceType {
    let schema = |id: &str, attributes: Value| -> Arc<Schema> {
        serde_json::from_value(json!({"id": id, "name": "Device", "attributes": attributes})).unwrap()
    };
    let base = schema(
        "urn:example:2.0:Device",
        json!([
            {"name": "serial", "mutability": "immutable", "caseExact": true},
            {"name": "label", "mutability": "immutable"},
            {"name": "slots", "type": "integer"},
            {"name": "weight", "type": "decimal"},
            {"name": "bought", "type": "dateTime"},
            {"name": "tags", "multiValued": true},
            {"name": "firmware", "mutability": "readOnly"},
            {"name": "pin", "mutability": "writeOnly", "returned": "never", "required": true},
            {"name": "notes", "returned": "request"},
            {"name": "parts", "type": "complex", "multiValued": true, "subAttributes": [
                {"name": "value", "required": true}, {"name": "maker", "mutability": "immutable"},
                {"name": "state", "mutability": "readOnly"}, {"name": "hint", "returned": "request"}
            ]},
            {"name": "owner", "type": "complex", "subAttributes": [
                {"name": "value", "mutability": "immutable"}, {"name": "since", "mutability": "readOnly"},
                {"name": "note"}
            ]}
        ]),
    );
    let extension = schema(
        "urn:example:2.0:Rack",
        json!([{"name": "row", "required": true}, {"name": "seen", "mutability": "readOnly"}]),
    );
    ResourceType::new("Device", "/Devices", "A device", base, vec![SchemaExtension::new(extension, true)])
}

fn normalize_device(more: Value) -> Result<Attributes, ScimError> {
    let mut body =
        object(json!({"schemas": ["urn:example:2.0:Device"], "urn:example:2.0:Rack": {"row": "1"}}));
    body.extend(object(more));
    let rules = Dialect::Strict.rules();
    Ok(device().normalize(body.into(), rules, &mut Tolerated::default())?.attributes)
}
