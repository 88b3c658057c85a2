//! SCIM errors (RFC 7644 section 3.12, RFC 9865 section 2.1).
//!
//! A [`ScimError`] is what a client did wrong, or is told of our own state; its `detail` names the
//! attribute and the reason and never repeats a secret.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// URN of the error message schema.
pub const ERROR_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// `scimType` values of RFC 7644 table 9 and RFC 9865 section 2.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScimType {
    /// The filter's syntax or attribute and operator combination is not supported.
    InvalidFilter,
    /// The request yields more than the server is willing to process.
    TooMany,
    /// An attribute value is already in use.
    Uniqueness,
    /// The change is not compatible with the attribute's mutability.
    Mutability,
    /// The body's structure is invalid.
    InvalidSyntax,
    /// A PATCH path is malformed.
    InvalidPath,
    /// A PATCH path with a filter matched nothing.
    NoTarget,
    /// A required value is missing or a value does not fit the schema.
    InvalidValue,
    /// The SCIM protocol version is not supported.
    InvalidVers,
    /// Sensitive information would have travelled in a URI.
    Sensitive,
    /// RFC 9865: the cursor is not one of ours, or was made for another query.
    InvalidCursor,
    /// RFC 9865: the cursor is too old.
    ExpiredCursor,
    /// RFC 9865: `count` does not fit the cursor's query.
    InvalidCount,
}

impl ScimType {
    /// The keyword as it stands in the error body.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::InvalidFilter => "invalidFilter",
            Self::TooMany => "tooMany",
            Self::Uniqueness => "uniqueness",
            Self::Mutability => "mutability",
            Self::InvalidSyntax => "invalidSyntax",
            Self::InvalidPath => "invalidPath",
            Self::NoTarget => "noTarget",
            Self::InvalidValue => "invalidValue",
            Self::InvalidVers => "invalidVers",
            Self::Sensitive => "sensitive",
            Self::InvalidCursor => "invalidCursor",
            Self::ExpiredCursor => "expiredCursor",
            Self::InvalidCount => "invalidCount",
        }
    }
}

/// An error a client sees: HTTP status, optional `scimType`, and a `detail` for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status} {}{detail}", .scim_type.map_or(String::new(), |t| format!("{}: ", t.keyword())))]
pub struct ScimError {
    /// HTTP status code.
    pub status: u16,
    /// Detail keyword, where the RFC defines one.
    pub scim_type: Option<ScimType>,
    /// What was wrong, where, and what to do.
    pub detail: String,
    /// The resource that is in the way, whose URL the server knows: [`Self::located`].
    pub existing: Option<Box<Existing>>,
}

/// A resource that an error is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Existing {
    /// Its type's endpoint, such as `/Users`.
    pub endpoint: String,
    /// Its id.
    pub id: String,
}

impl ScimError {
    /// An error with no `scimType`.
    pub fn new(status: u16, detail: impl Into<String>) -> Self {
        Self { status, scim_type: None, detail: detail.into(), existing: None }
    }

    /// 400 with a `scimType`.
    pub fn bad_request(scim_type: ScimType, detail: impl Into<String>) -> Self {
        Self { status: 400, scim_type: Some(scim_type), detail: detail.into(), existing: None }
    }

    /// 400 `invalidFilter`.
    pub fn invalid_filter(detail: impl Into<String>) -> Self {
        Self::bad_request(ScimType::InvalidFilter, detail)
    }

    /// 400 `invalidPath`.
    pub fn invalid_path(detail: impl Into<String>) -> Self {
        Self::bad_request(ScimType::InvalidPath, detail)
    }

    /// 400 `invalidSyntax`.
    pub fn invalid_syntax(detail: impl Into<String>) -> Self {
        Self::bad_request(ScimType::InvalidSyntax, detail)
    }

    /// 400 `invalidValue`.
    pub fn invalid_value(detail: impl Into<String>) -> Self {
        Self::bad_request(ScimType::InvalidValue, detail)
    }

    /// 400 `mutability`.
    pub fn mutability(detail: impl Into<String>) -> Self {
        Self::bad_request(ScimType::Mutability, detail)
    }

    /// 400 `noTarget`.
    pub fn no_target(detail: impl Into<String>) -> Self {
        Self::bad_request(ScimType::NoTarget, detail)
    }

    /// 404 for a resource that this tenant does not have.
    #[must_use]
    pub fn not_found(resource_type: &str, id: &str) -> Self {
        Self::new(404, format!("{resource_type} {id:?} not found"))
    }

    /// 409 `uniqueness`.
    pub fn uniqueness(detail: impl Into<String>) -> Self {
        Self { status: 409, scim_type: Some(ScimType::Uniqueness), detail: detail.into(), existing: None }
    }

    /// 412: `If-Match` or `If-None-Match` did not hold.
    pub fn precondition_failed(detail: impl Into<String>) -> Self {
        Self::new(412, detail)
    }

    /// 413: a payload or bulk limit was passed.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(413, detail)
    }

    /// The same error, with the URL of the resource that is in the way in its `detail`.
    #[must_use]
    pub fn located(mut self, base_url: &str) -> Self {
        if let Some(existing) = self.existing.take() {
            let Existing { endpoint, id } = *existing;
            // Writing to a String cannot fail.
            let _ = write!(self.detail, "; that one is {base_url}{endpoint}/{id}");
        }
        self
    }

    /// The error body of RFC 7644 section 3.12; `status` is a string there.
    #[must_use]
    pub fn body(&self) -> Value {
        let mut body = json!({"schemas": [ERROR_SCHEMA], "status": self.status.to_string()});
        if let Some(scim_type) = self.scim_type {
            body["scimType"] = scim_type.keyword().into();
        }
        body["detail"] = self.detail.as_str().into();
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_has_status_as_a_string_and_scim_type_where_there_is_one() {
        let error = ScimError::uniqueness("userName is taken: choose another");
        insta::assert_snapshot!(error.body(), @r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"409","scimType":"uniqueness","detail":"userName is taken: choose another"}"#);
        insta::assert_snapshot!(ScimError::not_found("User", "1").body(), @r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"404","detail":"User \"1\" not found"}"#);
    }

    #[test]
    fn display_names_status_and_scim_type() {
        insta::assert_snapshot!(ScimError::invalid_filter("expected a value at column 9"), @"400 invalidFilter: expected a value at column 9");
        insta::assert_snapshot!(ScimError::precondition_failed("the version is W/\"2\""), @r#"412 the version is W/"2""#);
    }
}
