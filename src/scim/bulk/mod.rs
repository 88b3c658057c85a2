//! Bulk requests (RFC 7644 section 3.7): parsed, put in an order in which each `bulkId` is known
//! before it is used, and answered.
//!
//! Ids of new resources are given out here, before anything is stored, so that a reference is a plain
//! id from then on. What refers to each other in a circle becomes one [`PlannedUnit`].

use serde_json::Value;

use super::error::ScimError;

mod plan;
mod request;
mod response;

pub use response::{BulkResult, write_response};

/// URN of the bulk request's schema.
pub const BULK_REQUEST_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
/// URN of the bulk answer's schema.
pub const BULK_RESPONSE_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:BulkResponse";

/// HTTP method of a bulk operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is named as in HTTP")]
pub enum Method {
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    /// As it stands in the request and the answer.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// A bulk request's body.
#[derive(Debug, Clone, PartialEq)]
pub struct BulkRequest {
    /// `failOnErrors`: stop after this many errors.
    pub fail_on_errors: Option<usize>,
    /// In the order sent.
    pub operations: Vec<RequestedOperation>,
}

/// An entry of `Operations`: what the answer repeats of it, and what it asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestedOperation {
    /// `method`, when it is one.
    pub method: Option<Method>,
    /// `bulkId`.
    pub bulk_id: Option<String>,
    /// The operation, or why it is none; that does not fail the others.
    pub operation: Result<BulkOperation, ScimError>,
}

/// One operation of a bulk request.
#[derive(Debug, Clone, PartialEq)]
pub struct BulkOperation {
    /// What to do.
    pub method: Method,
    /// The client's name for the resource that POST makes.
    pub bulk_id: Option<String>,
    /// The version it is meant for, as in `If-Match`.
    pub version: Option<String>,
    /// The endpoint's name: `Users`.
    pub endpoint: String,
    /// Which resource; `None` for POST.
    pub id: Option<String>,
    /// The body; `None` for DELETE.
    pub data: Option<Value>,
    /// `path` as sent.
    pub path: String,
}

/// Operations that are applied together.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedUnit {
    /// Several only when they refer to each other in a circle: applied all or none.
    pub operations: Vec<PlannedOperation>,
    /// Earlier units it refers to, by index.
    pub requires: Vec<usize>,
}

/// An operation with its references resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedOperation {
    /// Index of the request's operation.
    pub index: usize,
    /// `method`, when it is one, for the answer.
    pub method: Option<Method>,
    /// `bulkId`, for the answer.
    pub bulk_id: Option<String>,
    /// What to do, or why it cannot be done.
    pub operation: Result<BulkOperation, ScimError>,
    /// The id of the resource that POST makes.
    pub new_id: Option<String>,
    /// A PATCH that we added to close a circle: it has no entry in the answer.
    pub closes_circle: bool,
}
