//! Bearer tokens (RFC 6750), known by their SHA-256 digests.
//!
//! A wrong token and a tenant that does not exist take the same way and get the same answer: nobody
//! learns from outside which tenants there are.

use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use crate::scim::dialect::Rule;

use super::respond::Failure;
use super::serving::{Serving, Tenant, Token};

/// Who was let in.
pub struct Authenticated {
    /// The tenant.
    pub tenant: Arc<Tenant>,
    /// Which of its tokens, by index.
    pub token: usize,
    /// Whether it came without `Bearer`.
    pub bare: bool,
}

impl Authenticated {
    /// The name of the token, for the log.
    #[must_use]
    pub fn credential(&self) -> &str {
        &self.tenant.tokens[self.token].name
    }
}

/// Finds the tenant of a path segment and checks the request's token against all of its tokens.
///
/// Where the tenant's dialect allows it, the token may stand alone in the header. Whether it does
/// shows in no answer but the one that lets in.
pub fn authenticate(serving: &Serving, path: &str, headers: &HeaderMap) -> Result<Authenticated, Failure> {
    const WHAT_TO_SEND: &str = "send the tenant's token as `Authorization: Bearer TOKEN`";
    let tenant = serving.tenant(path);
    let (token, bare) = token(headers).ok_or(Failure::Unauthenticated(WHAT_TO_SEND))?;
    let digest: [u8; 32] = Sha256::digest(token).into();
    let nobody = [Token { name: "".into(), digest: [0; 32] }];
    let tokens = tenant.map_or(&nobody[..], |tenant| &tenant.tokens[..]);
    // Every token is compared in full, whichever matches.
    let mut found = u32::MAX;
    for (index, token) in (0_u32..).zip(tokens) {
        found.conditional_assign(&index, token.digest.ct_eq(&digest));
    }
    match (tenant, usize::try_from(found)) {
        (Some(tenant), Ok(token))
            if found != u32::MAX && (!bare || tenant.dialect.rules().has(Rule::BareToken)) =>
        {
            Ok(Authenticated { tenant: Arc::clone(tenant), token, bare })
        }
        _ if bare => Err(Failure::Unauthenticated(WHAT_TO_SEND)),
        _ => Err(Failure::Unauthenticated(
            "the token is not one of this tenant's; check the token and the tenant in the URL",
        )),
    }
}

/// The token of `Authorization: Bearer TOKEN`, or all of another header, and whether it is that. The
/// scheme's case does not matter (RFC 9110 section 11.1).
fn token(headers: &HeaderMap) -> Option<(&[u8], bool)> {
    let value = headers.get(AUTHORIZATION)?.as_bytes().trim_ascii();
    let (token, bare) = match value.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => (token.trim_ascii(), false),
        _ => (value, true),
    };
    (!token.is_empty()).then_some((token, bare))
}
