//! Starts the binary and talks to it.

mod client;
mod random;
pub(crate) mod server;

pub(crate) use client::{Answer, Client};
pub(crate) use random::Random;
pub(crate) use server::{Server, Setup, Tenant, free_address, run_for_output, run_to_exit, token_of};

/// `schemas` of a user.
pub(crate) const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// `schemas` of a group.
pub(crate) const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
/// `schemas` of a PATCH.
pub(crate) const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
/// `schemas` of a bulk request.
pub(crate) const BULK: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";

/// A user.
pub(crate) fn user(user_name: &str) -> serde_json::Value {
    serde_json::json!({"schemas": [USER], "userName": user_name})
}

/// A group without members.
pub(crate) fn group(display_name: &str) -> serde_json::Value {
    serde_json::json!({"schemas": [GROUP], "displayName": display_name})
}

/// A PATCH of these operations.
#[expect(clippy::needless_pass_by_value, reason = "callers write `json!` in place")]
pub(crate) fn patch(operations: serde_json::Value) -> serde_json::Value {
    serde_json::json!({"schemas": [PATCH], "Operations": operations})
}

/// A PATCH that adds one member.
pub(crate) fn add_member(id: &str) -> serde_json::Value {
    patch(serde_json::json!([{"op": "add", "path": "members", "value": [{"value": id}]}]))
}
