//! Bearer tokens (RFC 6750), known by their SHA-256 digests.
//!
//! A wrong token and a tenant that does not exist take the same way and get the same answer: nobody
//! learns from outside which tenants there are.

use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use super::respond::Failure;
use super::serving::{Serving, Tenant, Token};

/// Who was let in.
pub struct Authenticated {
    /// The tenant.
    pub tenant: Arc<Tenant>,
    /// Which of its tokens, by index.
    pub token: usize,
}

impl Authenticated {
    /// The name of the token, for the log.
    #[must_use]
    pub fn credential(&self) -> &str {
        &self.tenant.tokens[self.token].name
    }
}

/// Finds the tenant of a path segment and checks the request's token against all of its tokens.
pub fn authenticate(serving: &Serving, path: &str, headers: &HeaderMap) -> Result<Authenticated, Failure> {
    let tenant = serving.tenant(path);
    let token = bearer(headers)
        .ok_or(Failure::Unauthenticated("send the tenant's token as `Authorization: Bearer TOKEN`"))?;
    let digest: [u8; 32] = Sha256::digest(token).into();
    let nobody = [Token { name: "".into(), digest: [0; 32] }];
    let tokens = tenant.map_or(&nobody[..], |tenant| &tenant.tokens[..]);
    // Every token is compared in full, whichever matches.
    let mut found = u32::MAX;
    for (index, token) in (0_u32..).zip(tokens) {
        found.conditional_assign(&index, token.digest.ct_eq(&digest));
    }
    match (tenant, usize::try_from(found)) {
        (Some(tenant), Ok(token)) if found != u32::MAX => {
            Ok(Authenticated { tenant: Arc::clone(tenant), token })
        }
        _ => Err(Failure::Unauthenticated(
            "the token is not one of this tenant's; check the token and the tenant in the URL",
        )),
    }
}

/// The token of `Authorization: Bearer TOKEN`; the scheme's case does not matter (RFC 9110 section 11.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}
