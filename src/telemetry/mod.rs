//! Logs and metrics.
//!
//! Nothing here knows of SCIM or of a request: callers hand in names and numbers. No token, password
//! or personal attribute value may reach these functions.

pub mod access_log;
pub mod audit;
pub mod leavers;
pub mod logs;
pub mod metrics;
pub mod oauth;
pub mod token_use;
pub mod writer;
