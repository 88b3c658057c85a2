//! Schemas and resource types (RFC 7643 sections 2, 6 and 7).
//!
//! A [`Registry`] is one tenant's compiled set. Attribute names are matched without regard to case
//! and kept in the schema's own spelling; [`AttributeRef`] is a name that has been resolved.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::ScimError;
use super::path::AttributePath;
use super::resource::Attributes;

/// URN of the core User schema.
pub const USER_SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// URN of the core Group schema.
pub const GROUP_SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
/// URN of the enterprise extension of User.
pub const ENTERPRISE_USER_SCHEMA: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// A schema: a URN and its attributes (RFC 7643 section 7).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Schema {
    /// The URN.
    pub id: String,
    /// Human-readable name.
    pub name: String,
    /// Human-readable description.
    #[serde(default)]
    pub description: String,
    /// The attributes, in the order they are shown.
    pub attributes: Vec<Arc<Attribute>>,
}

/// One attribute and its characteristics (RFC 7643 section 2.2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attribute {
    /// The name, in its canonical spelling.
    pub name: String,
    /// The data type of its value, or of each value when multi-valued.
    #[serde(rename = "type")]
    pub kind: AttributeType,
    /// Whether it holds a list.
    #[serde(default)]
    pub multi_valued: bool,
    /// Human-readable description.
    #[serde(default)]
    pub description: String,
    /// Whether a resource must have it.
    #[serde(default)]
    pub required: bool,
    /// Suggested values, such as `work` and `home`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub canonical_values: Vec<String>,
    /// Whether strings compare with regard to case.
    #[serde(default)]
    pub case_exact: bool,
    /// When a client may write it.
    #[serde(default)]
    pub mutability: Mutability,
    /// When it is returned.
    #[serde(default)]
    pub returned: Returned,
    /// Where its value must be unique.
    #[serde(default)]
    pub uniqueness: Uniqueness,
    /// For references: the resource types, `external` or `uri`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reference_types: Vec<String>,
    /// For complex attributes: the parts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sub_attributes: Vec<Arc<Attribute>>,
}

/// Data types of RFC 7643 section 2.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each is named as in the RFC")]
pub enum AttributeType {
    String,
    Boolean,
    Decimal,
    Integer,
    DateTime,
    Binary,
    Reference,
    Complex,
}

/// `mutability` (RFC 7643 section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each is named as in the RFC")]
pub enum Mutability {
    ReadOnly,
    #[default]
    ReadWrite,
    Immutable,
    WriteOnly,
}

/// `returned` (RFC 7643 section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each is named as in the RFC")]
pub enum Returned {
    Always,
    Never,
    #[default]
    Default,
    Request,
}

/// `uniqueness` (RFC 7643 section 2.2); `server` means unique in one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each is named as in the RFC")]
pub enum Uniqueness {
    #[default]
    None,
    Server,
    Global,
}

/// A resource type with its schemas resolved (RFC 7643 section 6).
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceType {
    /// `name` and `id`: `User`, `Group`.
    pub name: String,
    /// Path below the tenant's base URL, with its slash: `/Users`.
    pub endpoint: String,
    /// Human-readable description.
    pub description: String,
    /// The base schema.
    pub schema: Arc<Schema>,
    /// The extensions, in the order they are shown.
    pub extensions: Vec<SchemaExtension>,
}

/// An extension of a resource type.
#[derive(Debug, Clone, PartialEq)]
pub struct SchemaExtension {
    /// The extension schema.
    pub schema: Arc<Schema>,
    /// Whether every resource must carry it.
    pub required: bool,
}

/// An attribute path resolved against a resource type, in the schema's own spelling.
#[derive(Debug, Clone, PartialEq)]
pub struct AttributeRef {
    /// URN of the extension that holds it; `None` for core and common attributes.
    pub extension: Option<Arc<str>>,
    /// The top-level attribute.
    pub attribute: Arc<Attribute>,
    /// The sub-attribute, when one was named.
    pub sub_attribute: Option<Arc<Attribute>>,
}

/// One tenant's schemas and resource types. Immutable once made.
#[derive(Debug, Clone, PartialEq)]
pub struct Registry {
    /// The resource types, in the order they are shown.
    pub resource_types: Vec<Arc<ResourceType>>,
}

/// How [`ResourceType::normalize`] treats what the schema leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leniency {
    /// Drop attributes that the schema does not define, and report them, instead of refusing them.
    pub drop_unknown: bool,
    /// Take `"true"`/`"False"` for booleans (and report it).
    pub string_booleans: bool,
}

/// What was tolerated in a request: attribute names only, never values, so that it can be logged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tolerated {
    /// Attributes that were dropped because no schema defines them.
    pub unknown_attributes: Vec<String>,
    /// Attributes whose boolean came as a string.
    pub string_booleans: Vec<String>,
}

/// A request body made standard: what to store, and what to do to the membership table.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalized {
    /// The resource's own attributes.
    pub attributes: Attributes,
    /// For a group: its member ids, `None` when the body has no `members`.
    pub members: Option<Vec<String>>,
}

impl Registry {
    /// The schemas of RFC 7643: User with the enterprise extension, and Group.
    #[must_use]
    pub fn core() -> Self {
        todo!()
    }

    /// The resource type served at an endpoint's last path segment (`Users`); exact spelling.
    #[must_use]
    pub fn by_endpoint(&self, _segment: &str) -> Option<&Arc<ResourceType>> {
        todo!()
    }

    /// The resource type of this name (`User`).
    #[must_use]
    pub fn by_name(&self, _name: &str) -> Option<&Arc<ResourceType>> {
        todo!()
    }
}

impl ResourceType {
    /// Resolves a parsed path; `None` when no schema of this type defines it. Knows the common
    /// attributes too (`schemas`, `id`, `externalId`, `meta` and its sub-attributes).
    #[must_use]
    pub fn resolve(&self, _path: &AttributePath) -> Option<AttributeRef> {
        todo!()
    }

    /// Checks a POST or PUT body against the schema and makes it standard: canonical spelling and
    /// order, read-only attributes dropped (RFC 7644 section 3.3), nulls and empty lists removed
    /// (RFC 7643 section 2.5), `password` checked and dropped, at most one primary value, `schemas`
    /// completed with the extensions in use.
    pub fn normalize(
        &self,
        _body: Value,
        _leniency: Leniency,
        _tolerated: &mut Tolerated,
    ) -> Result<Normalized, ScimError> {
        todo!()
    }

    /// Checks one attribute's value the same way, for PATCH: `value` is the whole value, or for a
    /// multi-valued attribute a list or one element (it comes back as a list). `None` when nothing
    /// is left of it (null, an empty list).
    pub fn normalize_value(
        &self,
        _attribute: &AttributeRef,
        _value: Value,
        _leniency: Leniency,
        _tolerated: &mut Tolerated,
    ) -> Result<Option<Value>, ScimError> {
        todo!()
    }

    /// Checks what only the whole resource shows, after PATCH: required attributes present, one
    /// primary at most, `schemas` in step with the extensions that have values.
    pub fn finish(&self, _attributes: &mut Attributes) -> Result<(), ScimError> {
        todo!()
    }

    /// Makes `new` the successor of `current` for PUT (RFC 7644 section 3.5.1): read-only values are
    /// kept, an immutable value that differs is a `mutability` error.
    pub fn succeed(&self, _current: &Attributes, _new: Attributes) -> Result<Attributes, ScimError> {
        todo!()
    }
}
