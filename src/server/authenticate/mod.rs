//! Who sends a request: the tenant of the path and the credential in `Authorization` become an
//! [`Authenticated`], whatever kind of credential it is.
//!
//! A wrong credential and a tenant that does not exist take the same way and get the same answer:
//! nobody learns from outside which tenants there are.

mod bearer;

use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;

use crate::config::{Scope, Scopes};

use super::respond::{Challenge, Failure};
use super::serving::{Serving, Tenant};

/// Who was let in, and what for.
pub struct Authenticated {
    /// The tenant.
    pub tenant: Arc<Tenant>,
    /// Who acts, for the log and the record of changes: a token's name or an OAuth subject.
    pub actor: Arc<str>,
    /// What the credential allows.
    pub scopes: Scopes,
    /// Whether the token came without `Bearer`.
    pub bare: bool,
}

impl Authenticated {
    /// Refuses what the credential does not allow (RFC 6750 section 3.1).
    pub fn require(&self, scope: Scope) -> Result<(), Failure> {
        if self.scopes.contains(scope) {
            return Ok(());
        }
        Err(Failure::InsufficientScope { needed: scope, held: self.scopes })
    }
}

/// What a request presents in `Authorization`.
struct Presented<'a> {
    token: &'a [u8],
    /// It came without `Bearer`: all of the header is the token.
    bare: bool,
}

impl<'a> Presented<'a> {
    /// The token of `Authorization: Bearer TOKEN`, or all of another header. The scheme's case does
    /// not matter (RFC 9110 section 11.1).
    fn of(headers: &'a HeaderMap) -> Option<Self> {
        let value = headers.get(AUTHORIZATION)?.as_bytes().trim_ascii();
        let (token, bare) = match value.split_at_checked(7) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => (token.trim_ascii(), false),
            _ => (value, true),
        };
        (!token.is_empty()).then_some(Self { token, bare })
    }
}

/// Finds the tenant of a path segment and checks the credential that the request presents.
pub fn authenticate(serving: &Serving, path: &str, headers: &HeaderMap) -> Result<Authenticated, Failure> {
    let tenant = serving.tenant(path);
    let presented = Presented::of(headers).ok_or_else(no_token)?;
    // A JWT of a tenant with OAuth issuers goes its own way from here.
    bearer::authenticate(tenant, &presented)
}

/// 401 without a token: the challenge has no error code (RFC 6750 section 3.1).
fn no_token() -> Failure {
    Challenge::new("send the tenant's token as `Authorization: Bearer TOKEN`").into()
}
