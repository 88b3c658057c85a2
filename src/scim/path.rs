//! Attribute paths (RFC 7644 sections 3.5.2 and 3.10), parsed and not yet resolved.

use super::error::ScimError;
use super::filter::Expression;

/// `[URN:]attribute[.subAttribute]`, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributePath {
    /// The schema URN before the attribute name.
    pub schema: Option<String>,
    /// The attribute name; empty when the path is a bare extension URN.
    pub attribute: String,
    /// The sub-attribute name.
    pub sub_attribute: Option<String>,
}

/// A PATCH path: an attribute path with an optional value filter, `emails[type eq "work"].value`.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchPath {
    /// The attribute; its `sub_attribute` is the one after the brackets where there is a filter.
    pub attribute: AttributePath,
    /// The value filter, its attributes relative to the attribute.
    pub filter: Option<Expression>,
}

impl AttributePath {
    /// Parses an attribute path (`sortBy`, `attributes`, filters). A URN's last colon-separated part
    /// is the attribute, except where the whole text is a schema URN (ask [`Self::is_bare_urn`] of
    /// the registry's schemas when resolving).
    pub fn parse(_text: &str) -> Result<Self, ScimError> {
        todo!()
    }
}

impl PatchPath {
    /// Parses a PATCH `path`; errors are `invalidPath` and say what was expected where.
    pub fn parse(_text: &str) -> Result<Self, ScimError> {
        todo!()
    }
}
