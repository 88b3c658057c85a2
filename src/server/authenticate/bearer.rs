//! Bearer tokens (RFC 6750), known by their SHA-256 digests and compared in constant time.
//!
//! Where the tenant's dialect allows it, the token may stand alone in the header. Whether it does
//! shows in no answer but the one that lets in.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use crate::config::Scopes;
use crate::scim::dialect::Rule;

use super::super::respond::{Challenge, Failure};
use super::super::serving::{Tenant, Token};
use super::{Authenticated, Presented, no_token};

/// Checks a token against all of the tenant's; against one that nobody has when there is no tenant.
pub(super) fn authenticate(
    tenant: Option<&Arc<Tenant>>,
    presented: &Presented<'_>,
) -> Result<Authenticated, Failure> {
    let Presented { token, bare } = *presented;
    let digest: [u8; 32] = Sha256::digest(token).into();
    let nobody = [Token { name: "".into(), digest: [0; 32], scopes: Scopes::NONE }];
    let tokens = tenant.map_or(&nobody[..], |tenant| &tenant.tokens[..]);
    // Every token is compared in full, whichever matches.
    let mut found = u32::MAX;
    for (index, token) in (0_u32..).zip(tokens) {
        found.conditional_assign(&index, token.digest.ct_eq(&digest));
    }
    match (tenant, usize::try_from(found)) {
        (Some(tenant), Ok(index))
            if found != u32::MAX && (!bare || tenant.dialect.rules().has(Rule::BareToken)) =>
        {
            let token = &tenant.tokens[index];
            Ok(Authenticated {
                tenant: Arc::clone(tenant),
                actor: Arc::clone(&token.name),
                scopes: token.scopes,
                bare,
            })
        }
        _ if bare => Err(no_token()),
        _ => {
            // What a person pasted into a field that adds it itself; says nothing about any token.
            let twice = token.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "));
            let detail = if twice {
                "the token begins with \"Bearer \", which is sent before it already; enter the token alone"
            } else {
                "the token is not one of this tenant's; check the token and the tenant in the URL"
            };
            Err(Challenge::invalid_token(detail).into())
        }
    }
}
