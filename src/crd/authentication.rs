//! `spec.authentication` of a `ScimTenant`: how an identity provider proves who it is, and what that allows.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::oauth2::OAuth2;

/// A DNS subdomain (RFC 1123): what Kubernetes takes as the name of a Secret or an endpoint.
pub(super) const IS_OBJECT_NAME: (&str, &str) = (
    "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
    "must be the name of an object: lower-case letters, digits, '-' and '.'",
);

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
    /// More tokens that are accepted beside the one in `secretName`, so that a token can be replaced without a
    /// gap: add the new one here, tell the identity provider, then move it to `secretName`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub tokens: Vec<BearerToken>,
}

/// One more token that is accepted.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BearerToken {
    /// A name for the token, shown in logs.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Where the token is.
    pub secret_key_ref: SecretKeyRef,
    /// What the token allows. `scim.read`: GET, lists, `.search` and discovery. `scim.write`: POST, PUT, PATCH,
    /// DELETE and Bulk. Neither includes the other. Absent: both.
    #[serde(default = "every_scope")]
    #[schemars(length(min = 1, max = 2))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub scopes: Vec<Scope>,
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
