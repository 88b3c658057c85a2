//! What a token says, once its signature is verified, against what an issuer's configuration asks for.
//!
//! Pure: claims, configuration and time in, who it is or why not out. After RFC 9068 section 4 and RFC 8725: `exp` and
//! `aud` are required although RFC 7519 leaves them open; `nbf` counts where there is one; `iat` in the future is no
//! reason by itself. What is plainly an ID or refresh token (`at_hash`, `c_hash`, or Keycloak's `typ` claim) is
//! refused: it was made for the client and not for us.

use serde_json::{Map, Value};

use crate::config::oauth2::{IssuerConfig, RequiredClaim};
use crate::config::{Scope, Scopes};

use super::rejection::Rejection;

/// Characters of a client or subject that are kept for logs and the record of changes.
const MAX_NAME: usize = 128;

/// Who a token says its bearer is, and what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The client (`client_id`, `azp` or `appid`), or the subject when the token names no client.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// Unix time in seconds after which it is good no more, clock skew included.
    pub good_until: u64,
}

/// Whether claims nobody has vouched for yet could be accepted: it saves looking for keys when they could not.
#[must_use]
pub fn may_be_accepted(claims: &Map<String, Value>, issuer: &IssuerConfig, now: u64) -> bool {
    times(claims, issuer, now).is_ok() && audience(claims, issuer).is_ok()
}

/// Checks the claims of a token whose signature was verified with a key of `issuer`.
pub fn check(claims: &Map<String, Value>, issuer: &IssuerConfig, now: u64) -> Result<Identity, Rejection> {
    if claims.get("iss").and_then(Value::as_str) != Some(&issuer.issuer) {
        return Err(Rejection::Issuer);
    }
    let other = claims.get("typ").and_then(Value::as_str).is_some_and(|text| {
        ["id", "refresh", "offline", "logout"].iter().any(|kind| text.eq_ignore_ascii_case(kind))
    });
    if other || claims.contains_key("at_hash") || claims.contains_key("c_hash") {
        return Err(Rejection::Type);
    }
    let good_until = times(claims, issuer, now)?;
    audience(claims, issuer)?;
    let scopes = scopes(claims);
    if !issuer.required_scopes.iter().all(|scope| scopes.contains(&scope.as_str())) {
        return Err(Rejection::RequiredScope);
    }
    if !issuer.required_claims.iter().all(|required| satisfies(claims, required)) {
        return Err(Rejection::RequiredClaim);
    }
    let granted = |scope: &Scope| {
        let names = match scope {
            Scope::Read => &issuer.scopes.read,
            Scope::Write => &issuer.scopes.write,
        };
        issuer.scopes.always.contains(*scope) || names.iter().any(|name| scopes.contains(&name.as_str()))
    };
    let scopes = Scope::ALL.into_iter().filter(granted).collect();
    Ok(Identity { name: name(claims)?, scopes, good_until })
}

/// `exp` and `nbf`; gives the last second, skew included.
fn times(claims: &Map<String, Value>, issuer: &IssuerConfig, now: u64) -> Result<u64, Rejection> {
    let skew = u64::from(issuer.clock_skew_seconds);
    let exp = numeric_date(claims, "exp")?.ok_or(Rejection::Claims)?;
    let good_until = exp.saturating_add(skew);
    if now >= good_until {
        return Err(Rejection::Expired);
    }
    if numeric_date(claims, "nbf")?.is_some_and(|nbf| now.saturating_add(skew) < nbf) {
        return Err(Rejection::NotYetValid);
    }
    Ok(good_until)
}

/// A `NumericDate` (RFC 7519 section 2) in whole seconds: fractions are allowed there and cut off here.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be within range")]
fn numeric_date(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, Rejection> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    if let Some(seconds) = value.as_u64() {
        return Ok(Some(seconds));
    }
    match value.as_f64() {
        Some(seconds) if (0.0..9e15).contains(&seconds) => Ok(Some(seconds as u64)),
        _ => Err(Rejection::Claims),
    }
}

/// `aud`: one text or several.
fn audience(claims: &Map<String, Value>, issuer: &IssuerConfig) -> Result<(), Rejection> {
    let ours = |text: &str| issuer.audiences.iter().any(|audience| audience == text);
    let found = match claims.get("aud") {
        Some(Value::String(text)) => ours(text),
        Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).any(ours)
        }
        _ => return Err(Rejection::Claims),
    };
    if found { Ok(()) } else { Err(Rejection::Audience) }
}

/// The scopes of `scope` (RFC 8693 section 4.2) and `scp` (Okta, Entra ID), as one text or several, and the
/// application roles of Entra ID (`roles`).
fn scopes(claims: &Map<String, Value>) -> Vec<&str> {
    let mut found = Vec::new();
    for name in ["scope", "scp", "roles"] {
        match claims.get(name) {
            Some(Value::String(text)) => found.extend(text.split_ascii_whitespace()),
            Some(Value::Array(items)) => found.extend(items.iter().filter_map(Value::as_str)),
            _ => {}
        }
    }
    found
}

fn satisfies(claims: &Map<String, Value>, required: &RequiredClaim) -> bool {
    let is = |value: &Value| match value {
        Value::String(text) => required.values.contains(text),
        Value::Bool(_) | Value::Number(_) => required.values.contains(&value.to_string()),
        _ => false,
    };
    match claim(claims, &required.name) {
        Some(Value::Array(items)) => items.iter().any(is),
        Some(value) => is(value),
        None => false,
    }
}

/// A claim by its name; when there is none, by its path, as in `realm_access.roles`. Names with dots are common, as
/// some issuers use URLs.
fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let mut parts = name.split('.');
    let first = claims.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}

/// The name for logs and for the record of changes. A client comes before a subject: the subject of a client's own
/// token is often a random id, and that of a person's may be a mail address, which belongs into no log.
fn name(claims: &Map<String, Value>) -> Result<String, Rejection> {
    let text = |claim: &&str| claims.get(*claim).and_then(Value::as_str).filter(|text| !text.is_empty());
    let name = ["client_id", "azp", "appid", "sub"].iter().find_map(text).ok_or(Rejection::Claims)?;
    Ok(name.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::oauth2::{Algorithm, GrantNames};
    use serde_json::json;

    const NOW: u64 = 1_900_000_000;

    fn issuer() -> IssuerConfig {
        IssuerConfig {
            issuer: "https://id.example.com".into(),
            jwks_uri: None,
            audiences: vec!["scim".into(), "https://scim.example.com".into()],
            algorithms: vec![Algorithm::RS256],
            required_scopes: Vec::new(),
            required_claims: Vec::new(),
            scopes: GrantNames {
                read: vec!["scim.read".into()],
                write: vec!["scim.write".into()],
                always: Scopes::NONE,
            },
            clock_skew_seconds: 60,
            ca_certificates: None,
        }
    }

    fn claims(changes: &Value) -> Map<String, Value> {
        let mut claims = json!({
            "iss": "https://id.example.com", "aud": "scim", "exp": NOW + 300, "sub": "0oa1", "azp": "provisioner",
            "scope": "email scim.read",
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let mut claims = claims.as_object().unwrap().clone();
        claims.retain(|_, value| *value != json!("ABSENT"));
        claims
    }

    #[track_caller]
    fn rejected(changes: &Value, expected: Rejection) {
        assert_eq!(check(&claims(changes), &issuer(), NOW), Err(expected), "{changes}");
    }

    #[test]
    fn token_as_asked_for_is_accepted_with_its_scopes() {
        let identity = check(&claims(&json!({})), &issuer(), NOW).unwrap();
        assert_eq!(identity.name, "provisioner");
        assert_eq!(identity.scopes.to_string(), "scim.read");
        assert_eq!(identity.good_until, NOW + 360);
    }

    #[test]
    fn audience_may_be_one_or_several_and_must_be_ours() {
        let good = [json!("scim"), json!(["account", "https://scim.example.com"])];
        for aud in good {
            assert!(check(&claims(&json!({"aud": aud})), &issuer(), NOW).is_ok(), "{aud}");
        }
        for aud in [json!("SCIM"), json!("scim "), json!([]), json!(["account"]), json!("")] {
            rejected(&json!({"aud": aud}), Rejection::Audience);
        }
        for aud in [json!("ABSENT"), json!(null), json!(7), json!({"scim": 1}), json!(["scim", 7])] {
            rejected(&json!({"aud": aud}), Rejection::Claims);
        }
    }

    #[test]
    fn issuer_must_be_the_same_text() {
        let others = ["https://id.example.com/", "https://ID.example.com", "http://id.example.com", "ABSENT"];
        for iss in others {
            rejected(&json!({"iss": iss}), Rejection::Issuer);
        }
        rejected(&json!({"iss": ["https://id.example.com"]}), Rejection::Issuer);
    }

    #[test]
    fn times_count_with_the_skew_and_no_further() {
        for (changes, expected) in [
            (json!({"exp": NOW - 59}), None),
            (json!({"exp": NOW - 60}), Some(Rejection::Expired)),
            (json!({"exp": 1_899_999_941.5}), None),
            (json!({"exp": 0}), Some(Rejection::Expired)),
            (json!({"nbf": NOW + 60}), None),
            (json!({"nbf": NOW + 61}), Some(Rejection::NotYetValid)),
            (json!({"exp": "ABSENT"}), Some(Rejection::Claims)),
            (json!({"exp": "1900000300"}), Some(Rejection::Claims)),
            (json!({"exp": -1}), Some(Rejection::Claims)),
            (json!({"exp": 1e300}), Some(Rejection::Claims)),
            (json!({"nbf": "soon"}), Some(Rejection::Claims)),
        ] {
            assert_eq!(check(&claims(&changes), &issuer(), NOW).err(), expected, "{changes}");
        }
    }

    #[test]
    fn expiry_at_the_end_of_time_does_not_overflow() {
        let identity = check(&claims(&json!({"exp": u64::MAX})), &issuer(), NOW).unwrap();
        assert_eq!(identity.good_until, u64::MAX);
    }

    #[test]
    fn token_for_another_purpose_is_refused() {
        for changes in
            [json!({"typ": "ID"}), json!({"typ": "Refresh"}), json!({"at_hash": "x"}), json!({"c_hash": "x"})]
        {
            rejected(&changes, Rejection::Type);
        }
        assert!(check(&claims(&json!({"typ": "Bearer"})), &issuer(), NOW).is_ok(), "Keycloak's access token");
    }

    #[test]
    fn scopes_are_read_in_every_form_that_issuers_write() {
        for changes in [
            json!({"scope": "openid scim.write"}),
            json!({"scope": ["scim.write"]}),
            json!({"scope": "ABSENT", "scp": "scim.write"}),
            json!({"scope": "ABSENT", "scp": ["a", "scim.write"]}),
            json!({"scope": "ABSENT", "roles": ["scim.write"]}),
        ] {
            let identity = check(&claims(&changes), &issuer(), NOW).unwrap();
            assert_eq!(identity.scopes.to_string(), "scim.write", "{changes}");
        }
        for scope in ["", "scim", "scim.writer", "SCIM.WRITE"] {
            let identity = check(&claims(&json!({"scope": scope})), &issuer(), NOW).unwrap();
            assert_eq!(identity.scopes, Scopes::NONE, "{scope}");
        }
    }

    #[test]
    fn issuer_that_sends_no_scopes_is_given_what_always_says() {
        let mut issuer = issuer();
        issuer.scopes.always = [Scope::Read].into_iter().collect();
        let identity = check(&claims(&json!({"scope": "ABSENT"})), &issuer, NOW).unwrap();
        assert_eq!(identity.scopes.to_string(), "scim.read");
    }

    #[test]
    fn required_scopes_must_all_be_there() {
        let mut issuer = issuer();
        issuer.required_scopes = vec!["email".into(), "tenant:acme".into()];
        assert_eq!(check(&claims(&json!({})), &issuer, NOW), Err(Rejection::RequiredScope));
        assert!(check(&claims(&json!({"scope": "email tenant:acme"})), &issuer, NOW).is_ok());
    }

    #[test]
    fn required_claims_are_found_by_name_and_by_path() {
        let with = |name: &str, values: &[&str], changes: Value| {
            let mut issuer = issuer();
            let values = values.iter().map(|text| (*text).to_owned()).collect();
            issuer.required_claims = vec![RequiredClaim { name: name.into(), values }];
            check(&claims(&changes), &issuer, NOW).err()
        };
        let missing = Some(Rejection::RequiredClaim);
        assert_eq!(with("azp", &["other", "provisioner"], json!({})), None);
        assert_eq!(with("azp", &["other"], json!({})), missing);
        assert_eq!(with("tid", &["1"], json!({})), missing);
        assert_eq!(
            with("realm_access.roles", &["scim"], json!({"realm_access": {"roles": ["a", "scim"]}})),
            None
        );
        assert_eq!(with("realm_access.roles", &["scim"], json!({"realm_access": "scim"})), missing);
        assert_eq!(with("https://x.example/org", &["7"], json!({"https://x.example/org": 7})), None);
        assert_eq!(with("trusted", &["true"], json!({"trusted": true})), None);
        assert_eq!(with("trusted", &["true"], json!({"trusted": {"true": true}})), missing);
    }

    #[test]
    fn name_is_the_client_then_the_subject() {
        let name = |changes: Value| check(&claims(&changes), &issuer(), NOW).map(|identity| identity.name);
        assert_eq!(name(json!({"client_id": "c", "appid": "a"})).unwrap(), "c");
        assert_eq!(name(json!({"azp": "ABSENT", "appid": "a"})).unwrap(), "a");
        assert_eq!(name(json!({"azp": "ABSENT"})).unwrap(), "0oa1");
        assert_eq!(name(json!({"azp": "ABSENT", "sub": ""})), Err(Rejection::Claims));
        assert_eq!(name(json!({"azp": "a\nb"})).unwrap(), "ab", "no line of a log is made up");
        assert_eq!(name(json!({"azp": "x".repeat(1000)})).unwrap().len(), MAX_NAME);
    }

    #[test]
    fn claims_that_cannot_be_accepted_are_known_before_a_key_is_looked_for() {
        assert!(may_be_accepted(&claims(&json!({})), &issuer(), NOW));
        assert!(!may_be_accepted(&claims(&json!({"exp": 1})), &issuer(), NOW));
        assert!(!may_be_accepted(&claims(&json!({"aud": "other"})), &issuer(), NOW));
    }
}
