//! Compact JWS (RFC 7515), read strictly: what a token claims to be, before anything of it is believed.
//!
//! After RFC 8725: the algorithm must be one of a fixed list of asymmetric ones, so that neither `none` nor a public
//! key taken for an HMAC secret has a name here; `crit` is refused, as no extension is understood; keys that a token
//! brings along (`jwk`, `jku`, `x5c`, `x5u`) are not looked at. `typ` may be absent, `JWT` or `at+jwt` (RFC 9068):
//! most issuers do not write the latter, and any other type is a token that was made for something else.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::config::oauth2::Algorithm;

use super::rejection::Rejection;

/// A longer token is refused unread; the longest real ones have some 4 KiB.
const MAX_LENGTH: usize = 16 << 10;

/// A signed token, taken apart and not yet verified.
#[derive(Debug)]
pub struct Jws<'a> {
    /// The algorithm that its header names.
    pub algorithm: Algorithm,
    /// The key that its header names.
    pub key_id: Option<String>,
    /// Header and payload as they were signed.
    pub signed: &'a [u8],
    /// The signature in base64url.
    pub signature: &'a str,
    /// The claims, by nobody vouched for until the signature is verified.
    pub claims: Map<String, Value>,
}

/// Whether a token has the form of a JWS: three parts. Our own tokens and the bearer tokens that we make have one.
#[must_use]
pub fn looks_like_jws(token: &[u8]) -> bool {
    token.split(|byte| *byte == b'.').count() == 3
}

/// Takes a token apart. `types` are the `typ` values that are accepted beside none at all, in lower case.
pub fn parse<'a>(token: &'a str, types: &[&str]) -> Result<Jws<'a>, Rejection> {
    if token.len() > MAX_LENGTH {
        return Err(Rejection::Malformed);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(Rejection::Malformed)?;
    let (header, payload) = message.split_once('.').ok_or(Rejection::Malformed)?;
    let header = object(header)?;
    let algorithm = header.get("alg").and_then(Value::as_str).and_then(Algorithm::from_name);
    let algorithm = algorithm.ok_or(Rejection::Algorithm)?;
    // `b64` (RFC 7797) must be listed in `crit`; both change what is signed.
    if header.contains_key("crit") || header.contains_key("b64") || header.contains_key("zip") {
        return Err(Rejection::Critical);
    }
    match header.get("typ") {
        None => {}
        Some(Value::String(text)) => {
            let text = text.to_ascii_lowercase();
            let text = text.strip_prefix("application/").unwrap_or(&text);
            if !types.contains(&text) {
                return Err(Rejection::Type);
            }
        }
        Some(_) => return Err(Rejection::Type),
    }
    let key_id = match header.get("kid") {
        None => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(_) => return Err(Rejection::Malformed),
    };
    Ok(Jws { algorithm, key_id, signed: message.as_bytes(), signature, claims: object(payload)? })
}

/// The JSON object in a part. A payload with a dot in it is no base64url, so a JWE is refused here.
fn object(part: &str) -> Result<Map<String, Value>, Rejection> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Rejection::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| Rejection::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(r#"{"sub":"x"}"#))
    }

    fn rejected(header: &str) -> Option<Rejection> {
        parse(&token(header), &["jwt", "at+jwt"]).err()
    }

    #[test]
    fn token_of_a_known_form_is_taken_apart() {
        let token = token(r#"{"alg":"ES256","typ":"application/AT+JWT","kid":"k1"}"#);
        let jws = parse(&token, &["jwt", "at+jwt"]).unwrap();
        assert_eq!((jws.algorithm, jws.key_id.as_deref()), (Algorithm::ES256, Some("k1")));
        assert_eq!(jws.claims["sub"], "x");
        assert_eq!(rejected(r#"{"alg":"RS256"}"#), None);
    }

    #[test]
    fn algorithm_that_is_none_symmetric_or_unknown_is_refused() {
        for alg in [r#""none""#, r#""None""#, r#""HS256""#, r#""HS512""#, r#""rs256""#, r#""""#, "null", "1"]
        {
            assert_eq!(rejected(&format!(r#"{{"alg":{alg}}}"#)), Some(Rejection::Algorithm), "{alg}");
        }
        assert_eq!(rejected("{}"), Some(Rejection::Algorithm));
    }

    #[test]
    fn header_that_changes_what_is_signed_is_refused() {
        for more in [r#""crit":["exp"]"#, r#""b64":false"#, r#""zip":"DEF""#, r#""crit":[]"#] {
            assert_eq!(
                rejected(&format!(r#"{{"alg":"RS256",{more}}}"#)),
                Some(Rejection::Critical),
                "{more}"
            );
        }
    }

    #[test]
    fn token_made_for_something_else_is_refused() {
        for typ in [r#""logout+jwt""#, r#""dpop+jwt""#, r#""secevent+jwt""#, "7", "null"] {
            assert_eq!(
                rejected(&format!(r#"{{"alg":"RS256","typ":{typ}}}"#)),
                Some(Rejection::Type),
                "{typ}"
            );
        }
    }

    #[test]
    fn text_that_is_no_token_is_malformed() {
        let long = token(&format!(r#"{{"alg":"RS256","x":"{}"}}"#, "a".repeat(MAX_LENGTH)));
        let key_id = token(r#"{"alg":"RS256","kid":["a"]}"#);
        for text in ["", ".", "..", "a.b.c", "e30.e30", "e30.e30.e30.e30.e30", "W10.W10.c2ln", &long, &key_id]
        {
            let rejection = parse(text, &["jwt"]).unwrap_err();
            assert!(
                matches!(rejection, Rejection::Malformed | Rejection::Algorithm),
                "{text}: {rejection:?}"
            );
        }
    }
}
