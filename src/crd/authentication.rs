//! `spec.authentication` of a `ScimTenant`: how an identity provider proves who it is, and what that allows.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Duration;
use super::oauth2::OAuth2;

/// A DNS subdomain (RFC 1123): what Kubernetes takes as the name of a Secret or an endpoint.
pub(super) const IS_OBJECT_NAME: (&str, &str) = (
    "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
    "must be the name of an object: lower-case letters, digits, '-' and '.'",
);

/// A name that a tenant's own tokens do not have.
const IS_NOT_A_RESERVED_NAME: (&str, &str) = (
    "!(self in ['token', 'previous-token'])",
    "must not be token or previous-token: those are the tokens of the Secret in secretName",
);

/// `duration()` of CEL has no days, so both are counted in seconds here.
const IS_SHORTER_THAN_THE_INTERVAL: &str = "\
    !self.interval.matches('^([0-9]{1,6}[dhms])+$') || !self.overlap.matches('^([0-9]{1,6}[dhms])+$') || \
    self.overlap.findAll('[0-9]+d').map(n, int(n.replace('d', ''))).sum() * 86400 + \
    self.overlap.findAll('[0-9]+h').map(n, int(n.replace('h', ''))).sum() * 3600 + \
    self.overlap.findAll('[0-9]+m').map(n, int(n.replace('m', ''))).sum() * 60 + \
    self.overlap.findAll('[0-9]+s').map(n, int(n.replace('s', ''))).sum() < \
    self.interval.findAll('[0-9]+d').map(n, int(n.replace('d', ''))).sum() * 86400 + \
    self.interval.findAll('[0-9]+h').map(n, int(n.replace('h', ''))).sum() * 3600 + \
    self.interval.findAll('[0-9]+m').map(n, int(n.replace('m', ''))).sum() * 60 + \
    self.interval.findAll('[0-9]+s').map(n, int(n.replace('s', ''))).sum()";

/// How an identity provider proves who it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Authentication {
    /// Bearer tokens (RFC 6750): `Authorization: Bearer TOKEN`. Absent: none when `oauth2` is there, and otherwise as
    /// if it were empty, `{}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<Bearer>,
    /// OAuth 2.0: access tokens of the identity provider's authorization server, or of the endpoint itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<OAuth2>,
}

/// The bearer tokens of a tenant.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bearer {
    /// The Secret, in the tenant's namespace, whose key `token` holds the tenant's token. Absent: the tenant's
    /// name followed by `-scim-token`. When there is no such Secret, one is made with a random token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = IS_OBJECT_NAME)]
    pub secret_name: Option<String>,
    /// Replace the token of `secretName` by a new one again and again, where it was made by us: a Secret that you
    /// provide is never changed. Absent: the token stays until you replace it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// More tokens that are accepted beside the one in `secretName`, so that a token can be replaced without a
    /// gap: add the new one here, tell the identity provider, then move it to `secretName`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub tokens: Vec<BearerToken>,
}

/// When the token that we made is replaced.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(IS_SHORTER_THAN_THE_INTERVAL)
        .message("overlap must be shorter than interval: the old token ends before the next one comes")
        .field_path(".overlap")
)]
pub struct Rotation {
    /// How long a token is in use before a new one takes its place, such as `90d` or `720h`.
    pub interval: Duration,
    /// How long the old token still works beside the new one: the time to give the new one to the identity
    /// provider. It is written in the Secret under `previous-token`, with its end in an annotation.
    #[serde(default = "seven_days")]
    pub overlap: Duration,
}

fn seven_days() -> Duration {
    Duration::days(7)
}

/// One more token that is accepted.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.notBefore) || !has(self.expiresAt) || self.notBefore < self.expiresAt")
        .message("expiresAt must be later than notBefore: the token would never be accepted")
        .field_path(".expiresAt")
)]
pub struct BearerToken {
    /// A name for the token, shown in logs, metrics and the audit log.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = IS_NOT_A_RESERVED_NAME)]
    pub name: String,
    /// Where the token is.
    pub secret_key_ref: SecretKeyRef,
    /// What the token allows. `scim.read`: GET, lists, `.search` and discovery. `scim.write`: POST, PUT, PATCH,
    /// DELETE and Bulk. Neither includes the other. Absent: both.
    #[serde(default = "every_scope")]
    #[schemars(length(min = 1, max = 2))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub scopes: Vec<Scope>,
    /// The token is refused before this time (RFC 3339), such as `2026-12-01T00:00:00Z`. Absent: from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(
        pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
    ))]
    pub not_before: Option<Time>,
    /// The token is refused from this time on (RFC 3339); it is warned of in logs and metrics ahead of it. Absent:
    /// it does not end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(
        pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
    ))]
    pub expires_at: Option<Time>,
}

fn every_scope() -> Vec<Scope> {
    vec![Scope::Read, Scope::Write]
}

// No doc comments on the variants: they would turn the enumeration into alternatives in the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the field that has this type explains the values")]
pub enum Scope {
    #[serde(rename = "scim.read")]
    Read,
    #[serde(rename = "scim.write")]
    Write,
}

/// One key of one Secret.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// The name of the Secret, in the tenant's namespace.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = IS_OBJECT_NAME)]
    pub name: String,
    /// The key in the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}
