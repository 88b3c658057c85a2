//! Schemas and resource types (RFC 7643 sections 2, 6 and 7), and values checked against them.
//!
//! A [`Registry`] is one tenant's compiled set. Attribute names are matched without regard to case
//! and kept in the schema's own spelling; [`AttributeRef`] is a name that has been resolved.
//! `model` says what a schema is, `core` holds those of RFC 7643, `custom` adds a tenant's own, `normalize` checks what a client
//! sends, `value` its single values, and `succeed` what only the whole resource shows.

mod core;
mod custom;
mod model;
mod normalize;
mod resolve;
mod succeed;
mod value;

pub use custom::{CustomExtension, CustomResourceType, CustomSchemas, Narrowing};
pub use model::{
    Attribute, AttributeRef, AttributeType, Mutability, Registry, ResourceType, Returned, Schema,
    SchemaExtension, Uniqueness,
};
pub use normalize::{Normalized, member_ids};

/// URN of the core User schema.
pub const USER_SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// URN of the core Group schema.
pub const GROUP_SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
/// URN of the enterprise extension of User.
pub const ENTERPRISE_USER_SCHEMA: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

#[cfg(test)]
mod tests;
