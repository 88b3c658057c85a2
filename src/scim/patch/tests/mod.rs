//! Tests of PATCH as a whole, by idea: the examples of RFC 7644 section 3.5.2, the three operations, what is
//! refused, and the laws. Here: what they have in common.

mod examples;
mod laws;
mod members;
mod operations;
mod refusals;

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;
use crate::scim::dialect::{Dialect, Rule, Tolerated};
use crate::scim::error::{ScimError, ScimType};
use crate::scim::resource::Attributes;
use crate::scim::schema::{ENTERPRISE_USER_SCHEMA, Registry, ResourceType};

fn resource_type(name: &str) -> Arc<ResourceType> {
    Arc::clone(Registry::core().by_name(name).unwrap())
}

fn compile(name: &str, dialect: Dialect, operations: Value) -> Result<(Patch, Tolerated), ScimError> {
    let mut body = json!({"schemas": [PATCH_SCHEMA]});
    body["Operations"] = operations;
    let mut tolerated = Tolerated::default();
    let patch = Patch::compile(body, &resource_type(name), dialect.rules(), &mut tolerated)?;
    Ok((patch, tolerated))
}

fn apply(resource_type: &ResourceType, patch: &Patch, attributes: &mut Attributes) -> Result<(), ScimError> {
    for step in &patch.steps {
        match step {
            Step::Attributes(change) => change.apply(attributes)?,
            Step::Members(_) => {}
        }
    }
    resource_type.finish(attributes)
}

fn user() -> Attributes {
    let user = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": "bjensen",
        "name": {"familyName": "Jensen", "givenName": "Barbara"},
        "nickName": "Babs",
        "emails": [
            {"value": "bjensen@example.com", "type": "work", "primary": true},
            {"value": "babs@jensen.org", "type": "home"},
        ],
        "addresses": [
            {"type": "work", "streetAddress": "100 Universal City Plaza", "locality": "Hollywood"},
            {"type": "home", "streetAddress": "456 Hollywood Blvd"},
        ],
    });
    let Value::Object(mut user) = user else { unreachable!() };
    resource_type("User").finish(&mut user).unwrap();
    user
}

/// The user after operations.
fn patched(dialect: Dialect, operations: Value) -> Result<Attributes, ScimError> {
    let (patch, _) = compile("User", dialect, operations)?;
    let mut attributes = user();
    apply(&resource_type("User"), &patch, &mut attributes)?;
    Ok(attributes)
}

/// What operations make of one attribute, under both dialects.
#[track_caller]
fn becomes(operations: &Value, attribute: &str, expected: impl Into<Value>) {
    let expected = expected.into();
    for dialect in [Dialect::Strict, Dialect::Generic] {
        let after = patched(dialect, operations.clone()).unwrap_or_else(|e| panic!("{operations}: {e}"));
        assert_eq!(after.get(attribute).cloned().unwrap_or_default(), expected, "{operations}");
        let mut others = after;
        let mut before = user();
        for attributes in [&mut others, &mut before] {
            attributes.shift_remove(attribute);
            attributes.shift_remove("schemas");
        }
        assert_eq!(others, before, "only {attribute} changes: {operations}");
    }
}

#[track_caller]
fn refused(dialect: Dialect, operation: &Value, scim_type: ScimType) {
    let error = patched(dialect, json!([operation])).expect_err(&operation.to_string());
    assert_eq!((error.status, error.scim_type), (400, Some(scim_type)), "{operation}: {}", error.detail);
}

fn members(dialect: Dialect, operations: Value) -> Vec<MemberChange> {
    let (patch, _) = compile("Group", dialect, operations).unwrap();
    let change = |step: Step| match step {
        Step::Members(change) => change,
        Step::Attributes(change) => panic!("{change:?}"),
    };
    patch.steps.into_iter().map(change).collect()
}
