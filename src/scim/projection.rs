//! `attributes` and `excludedAttributes` (RFC 7644 section 3.9).

use serde_json::Value;

use super::error::ScimError;
use super::resource::Load;
use super::schema::ResourceType;

/// What a client asked to see.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Projection {
    /// Neither parameter: everything whose `returned` is `always` or `default`.
    #[default]
    Default,
    /// `attributes`: these and what is always returned.
    Only(Vec<super::path::AttributePath>),
    /// `excludedAttributes`: the default without these.
    Without(Vec<super::path::AttributePath>),
}

impl Projection {
    /// From the two parameters (comma-separated lists, split already); both at once is `invalidValue`.
    pub fn parse(_attributes: &[&str], _excluded: &[&str]) -> Result<Self, ScimError> {
        todo!()
    }

    /// Which related data a type's representation needs under this projection.
    #[must_use]
    pub fn load(&self, _resource_type: &ResourceType) -> Load {
        todo!()
    }

    /// Removes from a full representation what this projection does not show. Names that the type
    /// does not have are ignored.
    pub fn apply(&self, _resource_type: &ResourceType, _representation: &mut Value) {
        todo!()
    }
}
