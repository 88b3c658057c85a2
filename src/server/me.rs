//! `/Me` (RFC 7644 section 3.11).

use crate::scim::error::ScimError;

use super::respond::Failure;

/// 501: a tenant's bearer token stands for its identity provider, and that is no user.
#[must_use]
pub fn answer() -> Failure {
    ScimError::new(
        501,
        "/Me is not available: the credential of this request belongs to an identity provider, not to a user",
    )
    .into()
}
