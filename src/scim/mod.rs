//! RFC 7643 (schema), RFC 7644 (protocol) and RFC 9865 (cursor pagination) as pure functions.
//!
//! **Invariant:** nothing here does I/O, reads a clock or knows of Kubernetes. Callers pass in what
//! a function needs; what comes back is a value or a [`error::ScimError`].

pub mod bulk;
pub mod cursor;
pub mod dialect;
pub mod discovery;
pub mod error;
pub mod etag;
pub mod filter;
pub mod list;
pub mod member;
pub mod patch;
pub mod path;
pub mod projection;
pub mod representation;
pub mod resource;
pub mod schema;
