//! The bearer tokens of a tenant, from its Secrets: as SHA-256 digests, with what each allows and for how long.
//!
//! No token leaves this file, and no finding shows one.

use std::collections::HashMap;

use super::digest::sha256_hex;
use jiff::Timestamp;

use super::{
    Scope, Scopes, TokenDigest,
    findings::Finding,
    objects::{Located, Object, SecretIndex},
};
use crate::crd::{
    self, ISSUED_AT_ANNOTATION, PREVIOUS_EXPIRES_AT_ANNOTATION, PREVIOUS_TOKEN_KEY, ScimTenant, TOKEN_KEY,
};

/// A shorter token can be guessed; the tokens made here have 44 characters.
const MIN_TOKEN_LENGTH: usize = 16;

/// The field of more tokens.
const TOKENS: &str = "spec.authentication.bearer.tokens";

/// The field of the rotation.
const ROTATION: &str = "spec.authentication.bearer.rotation";

/// Ahead of a token's end, from when a person is told.
const SOON: jiff::SignedDuration = jiff::SignedDuration::from_hours(30 * 24);

/// The tokens that a tenant accepts, and the findings about its Secrets.
pub(super) fn tokens(
    tenant: &Located<ScimTenant>,
    secrets: &SecretIndex<'_>,
) -> (Vec<TokenDigest>, Vec<Finding>) {
    digests(tenant, secrets, token_references(&tenant.object))
}

/// As [`tokens`], without the Secrets that are not there: they may be in the cluster, or are made.
pub(super) fn check(tenant: &Located<ScimTenant>, secrets: &SecretIndex<'_>) -> Vec<Finding> {
    let mut references = token_references(&tenant.object);
    references.retain(|reference| secrets.get(tenant.object.namespace(), &reference.secret).is_some());
    digests(tenant, secrets, references).1
}

/// The digests of these tokens and of the one before the last rotation.
fn digests(
    tenant: &Located<ScimTenant>,
    secrets: &SecretIndex<'_>,
    mut references: Vec<TokenReference>,
) -> (Vec<TokenDigest>, Vec<Finding>) {
    let (mut tokens, mut findings) = (Vec::new(), Vec::new());
    references.extend(previous(tenant, secrets, &mut findings));
    for reference in references {
        match digest(tenant, &reference, secrets) {
            Ok((token, warning)) => {
                tokens.push(token);
                findings.extend(warning);
            }
            Err(finding) => findings.push(*finding),
        }
    }
    (tokens, findings)
}

/// Warns of tokens that no longer work, and of those that soon will not.
pub(super) fn expiring(tenant: &Located<ScimTenant>, now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(bearer) = tenant.object.bearer() else { return findings };
    for (index, token) in bearer.tokens.iter().enumerate() {
        let Some(expires_at) = token.expires_at.as_ref().map(|time| time.0) else { continue };
        let finding = if expires_at <= now {
            Finding::warning("token-expired", format!("the token {:?} is no longer accepted", token.name))
                .hint("remove it from the list, or give it a later expiresAt")
        } else if expires_at.duration_since(now) <= SOON {
            let days = expires_at.duration_since(now).as_hours() / 24;
            let message = format!("the token {:?} is not accepted any more in {days} days", token.name);
            Finding::warning("token-expires-soon", message)
                .hint("add another token to the list and give it to the identity provider before then")
        } else {
            continue;
        };
        findings.push(tenant.finding(&format!("{TOKENS}[{index}].expiresAt"), finding));
    }
    findings
}

/// Warns of a rotation of a Secret that is not ours to change.
pub(super) fn rotation_without_effect(
    tenant: &Located<ScimTenant>,
    secrets: &SecretIndex<'_>,
    made: Option<&str>,
) -> Option<Finding> {
    rotation(tenant)?;
    let secret = secrets.get(tenant.object.namespace(), &tenant.object.token_secret()?)?;
    let place = secret.place("")?;
    if made.is_some_and(|made| place.file.starts_with(made)) {
        return None;
    }
    let message =
        format!("has no effect: {} is yours, and we rotate only what we make", secret.id_and_place());
    let hint = "remove rotation and replace the token with authentication.bearer.tokens, or remove the Secret and let one be made";
    let finding = Finding::warning("rotation-without-effect", message).hint(hint);
    Some(tenant.finding(ROTATION, finding))
}

/// Finds tenants that share a Secret and want it rotated differently.
pub(super) fn rotations_that_differ(tenants: &[Located<ScimTenant>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen: HashMap<(&str, String), &Located<ScimTenant>> = HashMap::new();
    for tenant in tenants {
        let (Some(wanted), Some(secret)) = (rotation(tenant), tenant.object.token_secret()) else { continue };
        let first = *seen.entry((tenant.object.namespace(), secret.clone())).or_insert(tenant);
        if rotation(first) != Some(wanted) {
            let message = format!(
                "the Secret {secret} is also that of {}, which rotates it differently",
                first.id_and_place()
            );
            let finding = Finding::error("rotation-differs", message)
                .hint("write the same rotation for both, or give each a Secret of its own");
            findings.push(tenant.finding(ROTATION, finding));
        }
    }
    findings
}

fn rotation(tenant: &Located<ScimTenant>) -> Option<&crd::Rotation> {
    tenant.object.spec.authentication.bearer.as_ref()?.rotation.as_ref()
}

/// The token before the last rotation. Without an end it is not accepted: it would work for ever.
fn previous(
    tenant: &Located<ScimTenant>,
    secrets: &SecretIndex<'_>,
    findings: &mut Vec<Finding>,
) -> Option<TokenReference> {
    let secret = tenant.object.token_secret()?;
    let found = secrets.get(tenant.object.namespace(), &secret)?;
    found.object.data.get(PREVIOUS_TOKEN_KEY)?;
    let Some(expires_at) = found.object.time(PREVIOUS_EXPIRES_AT_ANNOTATION) else {
        let message = format!("{PREVIOUS_TOKEN_KEY} is not accepted: nothing says when it ends");
        let hint = format!("remove it, or set the annotation {PREVIOUS_EXPIRES_AT_ANNOTATION} to a time");
        let finding = Finding::warning("previous-token-without-end", message).hint(hint);
        findings.push(found.finding("metadata.annotations", finding));
        return None;
    };
    Some(TokenReference {
        name: PREVIOUS_TOKEN_KEY.to_owned(),
        secret,
        key: PREVIOUS_TOKEN_KEY.to_owned(),
        scopes: Scopes::ALL,
        not_before: None,
        expires_at: Some(expires_at),
        replaced_at: found.object.time(ISSUED_AT_ANNOTATION),
        field: "spec.authentication.bearer.secretName".to_owned(),
    })
}

impl From<crd::Scope> for Scope {
    fn from(scope: crd::Scope) -> Self {
        match scope {
            crd::Scope::Read => Self::Read,
            crd::Scope::Write => Self::Write,
        }
    }
}

/// Where one of a tenant's tokens is.
struct TokenReference {
    /// The token's name, for logs.
    name: String,
    /// The Secret, in the tenant's namespace.
    secret: String,
    key: String,
    scopes: Scopes,
    not_before: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    replaced_at: Option<Timestamp>,
    /// The field that names the Secret.
    field: String,
}

/// Where a tenant's tokens are: the main one first.
fn token_references(tenant: &ScimTenant) -> Vec<TokenReference> {
    let (Some(bearer), Some(secret)) = (tenant.bearer(), tenant.token_secret()) else { return Vec::new() };
    let main = TokenReference {
        name: TOKEN_KEY.to_owned(),
        secret,
        key: TOKEN_KEY.to_owned(),
        scopes: Scopes::ALL,
        not_before: None,
        expires_at: None,
        replaced_at: None,
        field: "spec.authentication.bearer.secretName".to_owned(),
    };
    let more = bearer.tokens.iter().enumerate().map(|(index, token)| TokenReference {
        name: token.name.clone(),
        secret: token.secret_key_ref.name.clone(),
        key: token.secret_key_ref.key.clone(),
        scopes: token.scopes.iter().map(|scope| Scope::from(*scope)).collect(),
        not_before: token.not_before.as_ref().map(|time| time.0),
        expires_at: token.expires_at.as_ref().map(|time| time.0),
        replaced_at: None,
        field: format!("{TOKENS}[{index}].secretKeyRef"),
    });
    std::iter::once(main).chain(more).collect()
}

/// The digest of one token, perhaps with a warning; or why there is none.
fn digest(
    tenant: &Located<ScimTenant>,
    reference: &TokenReference,
    secrets: &SecretIndex<'_>,
) -> Result<(TokenDigest, Option<Finding>), Box<Finding>> {
    let TokenReference { name, secret, key, scopes, not_before, expires_at, replaced_at, field } = reference;
    let namespace = tenant.object.namespace();
    let Some(found) = secrets.get(namespace, secret) else {
        let finding = Finding::error("secret-missing", format!("there is no Secret {namespace}/{secret}"));
        return Err(tenant.finding(field, finding.hint(tenant.how_to_add("Secret"))).into());
    };
    let Some(value) = found.object.data.get(key) else {
        let message = format!("{} has no key {key:?}", found.id_and_place());
        let keys: Vec<_> = found.object.data.keys().map(String::as_str).collect();
        let hint = if keys.is_empty() {
            "it has no keys".to_owned()
        } else {
            format!("its keys are {}", keys.join(", "))
        };
        return Err(tenant.finding(field, Finding::error("secret-key-missing", message).hint(hint)).into());
    };
    let at = |finding: Finding| {
        let field = ["stringData", "data"].map(|map| super::yaml::child(map, key));
        let field = field.iter().find(|field| found.source.has(field)).unwrap_or(&field[0]);
        found.finding(field, finding)
    };
    let token = value.trim_ascii();
    if token.is_empty() {
        return Err(
            at(Finding::error("token-empty", "the token is empty").hint("put a random token there")).into()
        );
    }
    // RFC 6750 section 2.1: what can stand after `Bearer`.
    let end = token.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    let sendable = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
    if end == 0 || !token[..end].iter().all(sendable) {
        let message = "the token has characters that cannot stand in an Authorization header";
        let hint = "use letters, digits and - . _ ~ + / (RFC 6750); in data the whole value is base64";
        return Err(at(Finding::error("token-characters", message).hint(hint)).into());
    }
    let warning = if token.len() < MIN_TOKEN_LENGTH {
        let message = format!("the token has {} characters and can be guessed", token.len());
        let hint = format!(
            "use {MIN_TOKEN_LENGTH} or more random characters, such as `openssl rand -hex 32` prints"
        );
        Some(at(Finding::warning("token-short", message).hint(hint)))
    } else if token.len() != value.len() {
        let message = "there is white space around the token; it is not part of the token";
        Some(at(
            Finding::warning("token-space", message).hint("remove it: `printf %s TOKEN | base64` adds none")
        ))
    } else {
        None
    };
    let sha256 = sha256_hex(token);
    let digest = TokenDigest {
        name: name.clone(),
        sha256,
        scopes: *scopes,
        not_before: *not_before,
        expires_at: *expires_at,
        replaced_at: *replaced_at,
    };
    Ok((digest, warning))
}
