//! OAuth 2.0 of a tenant, as its server needs it: whose tokens are accepted, and which clients get tokens of ours.
//!
//! Compiled from `spec.authentication.oauth2`. Client secrets are SHA-256 digests here; public keys and the
//! certificates of private authorities are no secrets.

use std::fmt;

use super::digest::sha256_hex;
use serde::{Deserialize, Serialize};

use super::{
    Scope, Scopes,
    findings::Finding,
    objects::{Located, Object, SecretIndex},
};
use crate::crd::{self, IdentityProvider, ScimTenant};

/// The audience in the tokens with which Microsoft Entra ID provisions applications that are not in its gallery.
pub const ENTRA_ID_AUDIENCE: &str = "8adf8e6e-67b2-4cf2-a259-e3dc5476c621";

/// A shorter secret can be guessed.
const MIN_SECRET_LENGTH: usize = 16;

/// OAuth 2.0 of one tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OAuth2Config {
    /// The issuers whose access tokens are accepted.
    pub issuers: Vec<IssuerConfig>,
    /// The clients that get access tokens from us.
    pub clients: Vec<ClientConfig>,
    /// How long those tokens are good.
    pub access_token_seconds: u32,
}

/// An authorization server whose access tokens a tenant accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuerConfig {
    /// `iss`, compared character by character.
    pub issuer: String,
    /// Where its keys are; found by discovery when absent.
    pub jwks_uri: Option<String>,
    /// `aud` must have one of these.
    pub audiences: Vec<String>,
    /// The signature algorithms that are accepted.
    pub algorithms: Vec<Algorithm>,
    /// Scopes that a token must all have.
    pub required_scopes: Vec<String>,
    /// Claims that a token must all have.
    pub required_claims: Vec<RequiredClaim>,
    /// What its scopes are called.
    pub scopes: GrantNames,
    /// How far its clock and ours may be apart.
    pub clock_skew_seconds: u32,
    /// Certificates, in PEM, of authorities that are trusted beside the system's.
    pub ca_certificates: Option<String>,
}

/// A claim and the values of which it must have one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequiredClaim {
    /// Its name, or its path with dots.
    pub name: String,
    /// The values that are accepted.
    pub values: Vec<String>,
}

/// What an issuer calls our scopes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantNames {
    /// Each of these gives `scim.read`.
    pub read: Vec<String>,
    /// Each of these gives `scim.write`.
    pub write: Vec<String>,
    /// What every token gives, whatever its scopes.
    pub always: Scopes,
}

/// A client that gets access tokens from us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientConfig {
    /// Its name, for logs.
    pub name: String,
    /// `client_id`.
    pub client_id: String,
    /// SHA-256 of its secret, as 64 lowercase hexadecimal digits.
    pub secret_sha256: Option<String>,
    /// Its public keys, for `private_key_jwt`.
    pub public_keys: Vec<PublicKey>,
    /// The scopes it may have.
    pub scopes: Scopes,
}

/// A public key (RFC 7517).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is named as in the RFC")]
pub struct PublicKey {
    pub kty: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crv: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
}

/// A signature algorithm (RFC 7518, RFC 8037): asymmetric, so that nothing a server publishes can make a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is named as in the RFC")]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl Algorithm {
    /// All there are.
    pub const ALL: [Self; 9] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];

    /// The name in a token's header.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }

    /// The algorithm of a name, which is case-sensitive; `Ed25519` is what RFC 9864 calls `EdDSA` with that curve.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        if name == "Ed25519" {
            return Some(Self::EdDSA);
        }
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// OAuth 2.0 of a tenant, with findings about it; `None` when it has none. With errors among the findings the rest
/// is of no use.
pub(super) fn compile(
    tenant: &Located<ScimTenant>,
    secrets: &SecretIndex<'_>,
    findings: &mut Vec<Finding>,
) -> Option<OAuth2Config> {
    let oauth2 = tenant.object.spec.authentication.oauth2.as_ref()?;
    let is_entra = tenant.object.spec.identity_provider == IdentityProvider::EntraID;
    let issuers = oauth2.issuers.iter().enumerate().map(|(index, issuer)| {
        let field = format!("spec.authentication.oauth2.issuers[{index}]");
        compile_issuer(tenant, issuer, &field, is_entra, secrets, findings)
    });
    let issuers = issuers.collect();
    let mut clients: Vec<ClientConfig> = Vec::new();
    for (index, client) in oauth2.clients.iter().enumerate() {
        let field = format!("spec.authentication.oauth2.clients[{index}]");
        if let Some(first) = clients.iter().find(|first| first.client_id == client.client_id) {
            let message = format!("the clientId is already that of the client {:?}", first.name);
            let finding =
                Finding::error("client-id-taken", message).hint("give each client an id of its own");
            findings.push(tenant.finding(&format!("{field}.clientId"), finding));
        }
        clients.push(compile_client(tenant, client, &field, secrets, findings));
    }
    Some(OAuth2Config { issuers, clients, access_token_seconds: oauth2.access_token_seconds })
}

fn compile_issuer(
    tenant: &Located<ScimTenant>,
    issuer: &crd::OAuth2Issuer,
    field: &str,
    is_entra: bool,
    secrets: &SecretIndex<'_>,
    findings: &mut Vec<Finding>,
) -> IssuerConfig {
    let ca_certificates = issuer.ca_secret_ref.as_ref().and_then(|reference| {
        let field = format!("{field}.caSecretRef");
        let value = secret(tenant, reference, &field, secrets, findings)?;
        let text =
            std::str::from_utf8(value).ok().filter(|text| text.contains("-----BEGIN CERTIFICATE-----"));
        if text.is_none() {
            let finding = Finding::error("certificate", "the value holds no certificate in PEM")
                .hint("put the authority's certificate there, from -----BEGIN CERTIFICATE----- on");
            findings.push(tenant.finding(&field, finding));
        }
        text.map(str::to_owned)
    });
    let entra = is_entra && is_entra_issuer(&issuer.issuer);
    let audiences = if issuer.audiences.is_empty() && entra {
        vec![ENTRA_ID_AUDIENCE.to_owned()]
    } else {
        issuer.audiences.clone()
    };
    if audiences.is_empty() {
        let hint = if is_entra {
            "only the issuer https://sts.windows.net/TENANT-ID/ has a known audience; name this one's"
        } else {
            "name what the issuer writes into the `aud` of tokens for this server; without it, its tokens for \
             other services would be accepted here"
        };
        let finding = Finding::error("audiences-missing", "is required and has at least one audience");
        findings.push(tenant.finding(&format!("{field}.audiences"), finding.hint(hint)));
    }
    let scopes = match &issuer.scopes {
        Some(scopes) => GrantNames {
            read: scopes.read.clone(),
            write: scopes.write.clone(),
            always: scopes.always.iter().map(|scope| Scope::from(*scope)).collect(),
        },
        None => GrantNames {
            read: vec![Scope::Read.name().to_owned()],
            write: vec![Scope::Write.name().to_owned()],
            // Its provisioning tokens have no scopes.
            always: if entra { Scopes::ALL } else { Scopes::NONE },
        },
    };
    IssuerConfig {
        issuer: issuer.issuer.clone(),
        jwks_uri: issuer.jwks_uri.clone(),
        audiences,
        algorithms: issuer.algorithms.iter().map(|algorithm| Algorithm::from(*algorithm)).collect(),
        required_scopes: issuer.required_scopes.clone(),
        required_claims: issuer
            .required_claims
            .iter()
            .map(|claim| RequiredClaim { name: claim.name.clone(), values: claim.values.clone() })
            .collect(),
        scopes,
        clock_skew_seconds: issuer.clock_skew_seconds,
        ca_certificates,
    }
}

/// Whether it issues the tokens with which Entra ID provisions.
fn is_entra_issuer(issuer: &str) -> bool {
    ["https://sts.windows.net/", "https://login.microsoftonline.com/"]
        .iter()
        .any(|url| issuer.starts_with(url))
}

fn compile_client(
    tenant: &Located<ScimTenant>,
    client: &crd::OAuth2Client,
    field: &str,
    secrets: &SecretIndex<'_>,
    findings: &mut Vec<Finding>,
) -> ClientConfig {
    let secret_sha256 = client.secret_key_ref.as_ref().and_then(|reference| {
        let field = format!("{field}.secretKeyRef");
        let value = secret(tenant, reference, &field, secrets, findings)?.trim_ascii();
        if value.is_empty() {
            let finding = Finding::error("token-empty", "the client secret is empty");
            findings.push(tenant.finding(&field, finding.hint("put a random secret there")));
            return None;
        }
        if value.len() < MIN_SECRET_LENGTH {
            let message = format!("the client secret has {} characters and can be guessed", value.len());
            let hint = format!(
                "use {MIN_SECRET_LENGTH} or more random characters, such as `openssl rand -hex 32` prints"
            );
            findings.push(tenant.finding(&field, Finding::warning("token-short", message).hint(hint)));
        }
        Some(sha256_hex(value))
    });
    let public_keys = client.public_keys.iter().map(|key| {
        let crd::PublicKey { kty, kid, alg, n, e, crv, x, y } = key.clone();
        PublicKey { kty, kid, alg, n, e, crv, x, y }
    });
    ClientConfig {
        name: client.name.clone(),
        client_id: client.client_id.clone(),
        secret_sha256,
        public_keys: public_keys.collect(),
        scopes: client.scopes.iter().map(|scope| Scope::from(*scope)).collect(),
    }
}

/// The value of a key of a Secret.
fn secret<'a>(
    tenant: &Located<ScimTenant>,
    reference: &crd::SecretKeyRef,
    field: &str,
    secrets: &SecretIndex<'a>,
    findings: &mut Vec<Finding>,
) -> Option<&'a [u8]> {
    let (namespace, name) = (tenant.object.namespace(), &reference.name);
    let finding = if let Some(found) = secrets.get(namespace, name) {
        if let Some(value) = found.object.data.get(&reference.key) {
            return Some(value);
        }
        let message = format!("{} has no key {:?}", found.id_and_place(), reference.key);
        let keys: Vec<_> = found.object.data.keys().map(String::as_str).collect();
        let hint = match &keys[..] {
            [] => "it has no keys".to_owned(),
            keys => format!("its keys are {}", keys.join(", ")),
        };
        Finding::error("secret-key-missing", message).hint(hint)
    } else {
        Finding::error("secret-missing", format!("there is no Secret {namespace}/{name}"))
            .hint(tenant.how_to_add("Secret"))
    };
    findings.push(tenant.finding(field, finding));
    None
}
