//! Who sends a request: the tenant of the path and the credential in `Authorization` become an
//! [`Authenticated`], whatever kind of credential it is.
//!
//! A wrong credential and a tenant that does not exist take the same way and get the same answer:
//! nobody learns from outside which tenants there are.

pub mod bearer;
mod expiry;
pub(super) mod report;
pub mod usage;

use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use jiff::Timestamp;

use crate::config::{Scope, Scopes};
use crate::scim::dialect::Rule;

use super::oauth::TenantOAuth;
use super::oauth::rejection::Rejection;
use super::respond::{Challenge, Failure};
use super::serving::{Serving, Tenant};

/// Seconds after which a client may ask again when nobody can tell whether its token is good.
const NO_KEYS_RETRY_AFTER: u32 = 10;

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

    /// Whether the tenant takes the token in the form in which it came.
    fn may_be_bare(&self, tenant: &Tenant) -> bool {
        !self.bare || tenant.dialect.rules().has(Rule::BareToken)
    }
}

/// Finds the tenant of a path segment and checks the credential that the request presents.
pub async fn authenticate(
    serving: &Serving,
    path: &str,
    headers: &HeaderMap,
) -> Result<Authenticated, Failure> {
    let tenant = serving.tenant(path);
    let presented = Presented::of(headers).ok_or_else(no_token)?;
    let wrong = match bearer::authenticate(tenant, &presented) {
        Ok(authenticated) => return Ok(authenticated),
        Err(wrong) => wrong,
    };
    let Some(tenant) = tenant.filter(|tenant| presented.may_be_bare(tenant)) else { return Err(wrong) };
    let Some(oauth) = tenant.oauth.as_ref().filter(|_| TenantOAuth::concerns(presented.token)) else {
        return Err(wrong);
    };
    match oauth.authenticate(presented.token).await {
        Ok(bearer) => {
            tenant.last_request.note(Timestamp::now());
            Ok(Authenticated {
                tenant: Arc::clone(tenant),
                actor: bearer.name,
                scopes: bearer.scopes,
                bare: presented.bare,
            })
        }
        Err(Rejection::NoKeys) => Err(Failure::RetryLater(
            NO_KEYS_RETRY_AFTER,
            "the keys of the token's issuer cannot be fetched now; try again",
        )),
        Err(rejection) => {
            Err(rejection.advice().map_or(wrong, |advice| Challenge::invalid_token(advice).into()))
        }
    }
}

/// Warns of the tokens of all tenants that end soon, and of those that have.
pub(super) fn warn_of_expiry(serving: &Serving, now: Timestamp) {
    for tenant in serving.tenants() {
        for token in &tenant.tokens {
            expiry::warn(&tenant.key.0, token, now);
        }
    }
}

/// 401 without a token: the challenge has no error code (RFC 6750 section 3.1).
fn no_token() -> Failure {
    Challenge::new("send the tenant's token as `Authorization: Bearer TOKEN`").into()
}
