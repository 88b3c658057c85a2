//! Bearer tokens (RFC 6750), known by their SHA-256 digests and compared in constant time.
//!
//! Where the tenant's dialect allows it, the token may stand alone in the header. Whether it does
//! shows in no answer but the one that lets in. That a token has ended is told to who has it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::config::{Scopes, TokenDigest};
use crate::store::TenantKey;

use super::super::respond::{Challenge, Failure};
use super::super::serving::{Tenant, decode_sha256};
use super::usage::{Remembered, Usage};
use super::{Authenticated, Presented, no_token};

/// A bearer token, known by its digest only.
pub struct Token {
    /// Its name, for logs.
    pub name: Arc<str>,
    /// SHA-256.
    pub digest: [u8; 32],
    /// What it allows.
    pub scopes: Scopes,
    /// Refused before.
    pub not_before: Option<Timestamp>,
    /// Refused from then on.
    pub expires_at: Option<Timestamp>,
    /// When a newer one took its place.
    pub replaced_at: Option<Timestamp>,
    /// Its last use, and what the log has said of it.
    pub remembered: Arc<Remembered>,
}

/// What a token is compared with where there is no tenant: as much work, and no token has this digest.
static NOBODY: LazyLock<[Token; 1]> = LazyLock::new(|| {
    [Token {
        name: "".into(),
        digest: [0; 32],
        scopes: Scopes::NONE,
        not_before: None,
        expires_at: None,
        replaced_at: None,
        remembered: Arc::default(),
    }]
});

impl Token {
    /// Makes a token ready for requests; none when its digest is not one.
    pub fn compile(config: &TokenDigest, tenant: &TenantKey, usage: &Usage) -> Option<Self> {
        let TokenDigest { name, sha256, scopes, not_before, expires_at, replaced_at } = config;
        let Some(digest) = decode_sha256(sha256) else {
            // The compiler of the configuration makes digests, so this is a broken file.
            tracing::error!(tenant = %tenant.0, token = name, "digest is not 64 hexadecimal digits: the token is not accepted");
            return None;
        };
        Some(Self {
            name: name.as_str().into(),
            digest,
            scopes: *scopes,
            not_before: *not_before,
            expires_at: *expires_at,
            replaced_at: *replaced_at,
            remembered: usage.of(tenant, &digest),
        })
    }

    pub(super) fn has_begun(&self, now: Timestamp) -> bool {
        self.not_before.is_none_or(|not_before| not_before <= now)
    }

    pub(super) fn has_ended(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }
}

/// Checks a token against all of the tenant's; against one that nobody has when there is no tenant.
pub(super) fn authenticate(
    tenant: Option<&Arc<Tenant>>,
    presented: &Presented<'_>,
) -> Result<Authenticated, Failure> {
    let Presented { token, bare } = *presented;
    let now = Timestamp::now();
    let digest: [u8; 32] = Sha256::digest(token).into();
    let tokens = tenant.map_or(&NOBODY[..], |tenant| &tenant.tokens[..]);
    // Every token is compared in full, whichever matches. One may stand in two places, in force in only one.
    let (mut known, mut in_force) = (u32::MAX, u32::MAX);
    for (index, token) in (0_u32..).zip(tokens) {
        let same = token.digest.ct_eq(&digest);
        let now = Choice::from(u8::from(token.has_begun(now) && !token.has_ended(now)));
        known.conditional_assign(&index, same);
        in_force.conditional_assign(&index, same & now);
    }
    let at = |index: u32| tokens.get(usize::try_from(index).ok()?);
    let tenant = tenant.filter(|tenant| presented.may_be_bare(tenant));
    match (tenant, at(in_force), at(known)) {
        (Some(tenant), Some(token), _) => {
            token.remembered.last_used.note(now);
            tenant.last_request.note(now);
            Ok(Authenticated {
                tenant: Arc::clone(tenant),
                actor: Arc::clone(&token.name),
                scopes: token.scopes,
                bare,
            })
        }
        (Some(tenant), None, Some(token)) => Err(out_of_force(tenant, token, now)),
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

/// 401 for who has a token that is not in force. The log says once who should have another one by now.
fn out_of_force(tenant: &Tenant, token: &Token, now: Timestamp) -> Failure {
    let detail = match (token.not_before, token.expires_at) {
        (_, Some(expires_at)) if token.has_ended(now) => {
            if !token.remembered.refused.swap(true, Ordering::Relaxed) {
                tracing::warn!(tenant = %tenant.key.0, token = %token.name, %expires_at, "a bearer token is presented that has ended: the identity provider needs the new one");
            }
            format!("the token has expired at {expires_at}; configure the tenant's new token")
        }
        (Some(not_before), _) => format!("the token is accepted from {not_before} on"),
        (None, _) => "the token is not accepted now".to_owned(),
    };
    Challenge::invalid_token(detail).into()
}
