//! The operations on resources (RFC 7644 section 3), one file each.
//!
//! Where an operation changes something, `command` makes the request a store command and `answer` does
//! the rest of a single request; [`bulk`] uses the same `command`, so that both mean the same.

pub mod bulk;
pub mod create;
pub mod delete;
pub mod get;
pub mod list;
pub mod patch;
pub mod replace;
pub mod search;
