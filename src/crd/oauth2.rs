//! `spec.authentication.oauth2` of a `ScimTenant`: whose access tokens are accepted, and which clients get tokens
//! from the endpoint itself.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::authentication::{Scope, SecretKeyRef};

/// Where keys and metadata come from: over TLS, or from this machine.
const IS_ISSUER: (&str, &str) = (
    "self.matches('^(https://[^/?#@]+|http://(localhost|127([.][0-9]{1,3}){3}|\\\\[::1\\\\])(:[0-9]{1,5})?)(/[^?#]*)?$')",
    "must be an https:// URL without user, query or fragment; http:// is taken for a loopback address only",
);

/// A URL to fetch keys from.
const IS_KEYS_URL: (&str, &str) = (
    "self.matches('^(https://[^/?#@]+|http://(localhost|127([.][0-9]{1,3}){3}|\\\\[::1\\\\])(:[0-9]{1,5})?)(/[^#]*)?$')",
    "must be an https:// URL without user or fragment; http:// is taken for a loopback address only",
);

/// OAuth 2.0 of a tenant.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("size(self.issuers) + size(self.clients) > 0")
    .message("needs an issuer whose tokens are accepted, or a client that gets tokens here"))]
pub struct OAuth2 {
    /// The authorization servers whose access tokens (signed JWTs, RFC 9068) are accepted. Their keys are fetched in
    /// the background, looked for again when a token names an unknown one, and kept for 24 hours when the issuer
    /// cannot be reached.
    #[serde(default)]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["issuer".into()]))]
    pub issuers: Vec<OAuth2Issuer>,
    /// The clients that get access tokens from the endpoint itself, with the client credentials grant (RFC 6749
    /// section 4.4) at `https://HOST/PATH/oauth2/token`.
    #[serde(default)]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub clients: Vec<OAuth2Client>,
    /// How long the access tokens of `clients` are good.
    #[serde(default = "an_hour")]
    #[schemars(range(min = 60, max = 86_400))]
    pub access_token_seconds: u32,
}

fn an_hour() -> u32 {
    3600
}

/// An authorization server whose access tokens are accepted.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OAuth2Issuer {
    /// The issuer's URL, exactly as its tokens say it in `iss` and its metadata in `issuer`. A slash at the end counts.
    /// Its keys are found through `ISSUER/.well-known/openid-configuration`, else through
    /// `/.well-known/oauth-authorization-server` (RFC 8414).
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = IS_ISSUER)]
    pub issuer: String,
    /// Where the issuer's keys (a JWK Set) are, for an issuer that publishes no metadata. Absent: what its metadata says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = IS_KEYS_URL)]
    pub jwks_uri: Option<String>,
    /// The audiences of which a token's `aud` must have one: what the issuer calls this server. Required, as an
    /// issuer's tokens for other services would be accepted otherwise. Absent is allowed for the issuer of an `EntraID`
    /// tenant only: its provisioning tokens have the audience `8adf8e6e-67b2-4cf2-a259-e3dc5476c621`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 1024)))]
    pub audiences: Vec<String>,
    /// The signature algorithms that are accepted. There is no `none` and no HMAC. A key verifies only what its type,
    /// and its `alg` where it has one, is for.
    #[serde(default = "every_algorithm")]
    #[schemars(length(min = 1, max = 9))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub algorithms: Vec<OAuth2Algorithm>,
    /// Scopes that a token must all have (in `scope`, `scp` or `roles`), whatever it wants to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256)))]
    pub required_scopes: Vec<String>,
    /// Claims that a token must all have, such as the one client that may call: `{name: azp, values: [provisioner]}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub required_claims: Vec<OAuth2RequiredClaim>,
    /// What the issuer calls the scopes. Absent: `read: [scim.read]` and `write: [scim.write]`; for the issuer of an
    /// `EntraID` tenant, whose provisioning tokens have no scopes, `always: [scim.read, scim.write]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<OAuth2Scopes>,
    /// How far the issuer's clock and this server's may be apart, for `exp` and `nbf`.
    #[serde(default = "a_minute")]
    #[schemars(range(min = 0, max = 300))]
    pub clock_skew_seconds: u32,
    /// A Secret with the certificate, in PEM, of the private authority that signed the issuer's TLS certificate. It is
    /// trusted for this issuer, beside those that the system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,
}

fn a_minute() -> u32 {
    60
}

fn every_algorithm() -> Vec<OAuth2Algorithm> {
    use OAuth2Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    vec![RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA]
}

// No doc comments on the variants: they would turn the enumeration into alternatives in the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "each is named as in RFC 7518 and RFC 8037")]
pub enum OAuth2Algorithm {
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

/// A claim that a token must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OAuth2RequiredClaim {
    /// The claim's name; when there is no claim of that name, its path with dots, such as `realm_access.roles`.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// The values of which the claim must have one; a claim with several values needs one of them among its own.
    /// Numbers and booleans are written as text: `["true"]`.
    #[schemars(length(min = 1, max = 32), inner(length(max = 1024)))]
    pub values: Vec<String>,
}

/// What an issuer calls the scopes.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("size(self.read) + size(self.write) + size(self.always) > 0")
    .message("gives no token anything: name a scope for read or write, or what every token may do in always"))]
pub struct OAuth2Scopes {
    /// A token with one of these may read.
    #[serde(default)]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256)))]
    pub read: Vec<String>,
    /// A token with one of these may write. It may not read for that alone: name the scope in both lists if it should.
    #[serde(default)]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256)))]
    pub write: Vec<String>,
    /// What every token of this issuer may do, whatever its scopes: for issuers that send none.
    #[serde(default)]
    #[schemars(length(max = 2))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub always: Vec<Scope>,
}

/// A client that gets access tokens from the endpoint itself.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretKeyRef) || (has(self.publicKeys) && size(self.publicKeys) > 0)")
    .message("needs a way to prove who it is: secretKeyRef, or publicKeys for private_key_jwt"))]
pub struct OAuth2Client {
    /// A name for the client, shown in logs.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// What the client sends as `client_id`.
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = Rule::new("self.matches('^[ -~]+$')").message("must be visible ASCII"))]
    pub client_id: String,
    /// The client's secret, for `client_secret_basic` and `client_secret_post`. It reaches servers as a digest only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeyRef>,
    /// The client's public keys as JWKs (RFC 7517), for `private_key_jwt` (RFC 7523): several while it rotates them.
    /// Paste each as the JSON that it is, `- {"kty": "RSA", "n": "…", "e": "AQAB"}`: without quotation marks the names
    /// `n` and `y` are booleans in YAML.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub public_keys: Vec<PublicKey>,
    /// The scopes that the client may have. It gets all of them when it asks for none in particular.
    #[serde(default = "every_scope")]
    #[schemars(length(min = 1, max = 2))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub scopes: Vec<Scope>,
}

fn every_scope() -> Vec<Scope> {
    vec![Scope::Read, Scope::Write]
}

/// A public key as a JWK (RFC 7517). There are no fields for private parts, so that none is pasted here unseen.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.kty == 'RSA' ? has(self.n) && has(self.e) : has(self.crv) && has(self.x) && (self.kty == 'OKP' || has(self.y))")
    .message("lacks a part: RSA has n and e, EC has crv, x and y, OKP has crv and x"))]
pub struct PublicKey {
    /// The type: `RSA` (2048 bits or more), `EC` (`P-256` or `P-384`) or `OKP` (`Ed25519`).
    #[x_kube(validation = Rule::new("self in ['RSA', 'EC', 'OKP']").message("must be RSA, EC or OKP: symmetric keys are not accepted"))]
    #[schemars(length(max = 8))]
    pub kty: String,
    /// The key's id, as the client's assertions name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub kid: Option<String>,
    /// The one algorithm that the key is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub alg: Option<String>,
    /// The modulus of an RSA key, in base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub n: Option<String>,
    /// The exponent of an RSA key, in base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub e: Option<String>,
    /// The curve of an EC or OKP key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub crv: Option<String>,
    /// The first coordinate of an EC or OKP key, in base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub x: Option<String>,
    /// The second coordinate of an EC key, in base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub y: Option<String>,
}
