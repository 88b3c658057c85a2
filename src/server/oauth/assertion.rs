//! `private_key_jwt` (RFC 7523): a client proves who it is with a JWT signed with its own key, each of which is good
//! once.
//!
//! `iss` and `sub` are the client's id, `aud` the token endpoint or the issuer that its metadata names, `exp` at most
//! `MAX_LIFETIME` ahead, and `jti` is remembered until then. It is remembered in this process: against another
//! server of a fleet an assertion that was overheard works once more within its few minutes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value};

use super::jose;
use super::jwks::KeySet;
use super::rejection::Rejection;

/// Seconds that an assertion may be good for: clients make one for each request.
const MAX_LIFETIME: u64 = 600;

/// Seconds by which clocks may differ.
const SKEW: u64 = 60;

/// Ids remembered for one client; its rate limit keeps it below.
const CAPACITY: usize = 2_000;

/// The ids of one client's assertions that were used, with the time from which each is worthless anyway.
#[derive(Debug, Default)]
pub struct Used(Mutex<HashMap<String, u64>>);

impl Used {
    /// Remembers an id; `false` when it was used already, or when there is no room to tell.
    fn first(&self, id: &str, good_until: u64, now: u64) -> bool {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, good_until| *good_until > now);
        used.len() < CAPACITY && used.insert(id.to_owned(), good_until).is_none()
    }
}

/// The `sub` of an assertion that nobody has verified: whose keys to verify it with.
#[must_use]
pub fn subject(assertion: &str) -> Option<String> {
    let jws = jose::parse(assertion, &TYPES).ok()?;
    jws.claims.get("sub").and_then(Value::as_str).map(str::to_owned)
}

/// `typ` beside none: RFC 7523bis asks for the second.
const TYPES: [&str; 2] = ["jwt", "client-authentication+jwt"];

/// Checks a client's assertion and uses it up. `audiences` are the names under which it may know us.
pub fn check(
    assertion: &str,
    client_id: &str,
    keys: &KeySet,
    audiences: &[String],
    used: &Used,
    now: u64,
) -> Result<(), Rejection> {
    let jws = jose::parse(assertion, &TYPES)?;
    let key = keys.find(&jws)?;
    key.verify(&jws)?;
    let claims = &jws.claims;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(client_id) || text("sub") != Some(client_id) {
        return Err(Rejection::Issuer);
    }
    if !names_us(claims, audiences) {
        return Err(Rejection::Audience);
    }
    let expires = claims.get("exp").and_then(Value::as_f64).ok_or(Rejection::Claims)?;
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^53")]
    let (now_seconds, skew, most) = (now as f64, SKEW as f64, MAX_LIFETIME as f64);
    if expires + skew <= now_seconds {
        return Err(Rejection::Expired);
    }
    if expires > now_seconds + most + skew {
        return Err(Rejection::Claims);
    }
    if claims.get("nbf").is_some_and(|nbf| nbf.as_f64().is_none_or(|nbf| nbf > now_seconds + skew)) {
        return Err(Rejection::NotYetValid);
    }
    let id = text("jti").filter(|id| !id.is_empty() && id.len() <= 256).ok_or(Rejection::Claims)?;
    if used.first(id, now + MAX_LIFETIME + 2 * SKEW, now) { Ok(()) } else { Err(Rejection::Client) }
}

fn names_us(claims: &Map<String, Value>, audiences: &[String]) -> bool {
    let ours = |value: &Value| value.as_str().is_some_and(|text| audiences.iter().any(|name| name == text));
    match claims.get("aud") {
        Some(Value::Array(items)) => items.iter().any(ours),
        Some(value) => ours(value),
        None => false,
    }
}
