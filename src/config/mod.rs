//! [`ServerConfig`]: all that a server needs in order to serve, and the seam between the two halves.
//!
//! Compiled by a pure function from one endpoint, its tenants and their Secrets; it holds no secret
//! itself: bearer tokens are in it as SHA-256 digests.
//!
//! A controller writes it and pods of another version read it ([`shards`]): a field that comes later has a default and
//! is passed over by whoever does not know it. One that must not be passed over raises [`shards::FORMAT`].

pub mod admit;
pub mod compile;
mod credentials;
pub mod database;
pub mod digest;
pub mod findings;
pub mod follow;
mod made;
pub mod manifests;
pub mod oauth2;
pub mod objects;
pub mod rotation;
pub mod running;
mod schemas;
mod scopes;
pub mod shards;
pub mod tokens;
pub mod validate;
pub mod yaml;

use std::collections::BTreeSet;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::scopes::{Scope, Scopes};

use crate::scim::dialect::Dialect;
use crate::scim::schema::CustomSchemas;

/// What one endpoint's servers serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerConfig {
    /// `NAMESPACE/NAME` of the `ScimEndpoint`.
    pub endpoint: String,
    /// The public host name, when the endpoint has one: URLs are `https://HOST/...`.
    pub host: Option<String>,
    /// Who may call; empty means anyone.
    pub allowed_cidrs: Vec<IpNet>,
    /// Whose `Forwarded` and `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The tenants, ordered by path.
    pub tenants: Vec<Arc<TenantConfig>>,
    /// `NAMESPACE/NAME` of the tenants that are on their way out and whose data is to be purged now: of several servers
    /// on one database, each may know other tenants, and none purges what it does not know. `None`: every tenant that
    /// is marked for it (`purge_on_removal`) and is not among `tenants`.
    #[serde(default)]
    pub removed: Option<BTreeSet<String>>,
}

impl ServerConfig {
    /// This configuration with these tenants, in any order.
    #[must_use]
    pub fn with(mut self, mut tenants: Vec<Arc<TenantConfig>>) -> Self {
        tenants.sort_by(|a, b| a.path.cmp(&b.path));
        self.tenants = tenants;
        self
    }
}

/// One tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantConfig {
    /// `NAMESPACE/NAME` of the `ScimTenant`: its key in the store.
    pub name: String,
    /// First path segment: `/PATH/scim/v2`.
    pub path: String,
    /// The dialect.
    pub identity_provider: Dialect,
    /// The bearer tokens that are accepted.
    pub tokens: Vec<TokenDigest>,
    /// Its schemas beside those of RFC 7643.
    #[serde(default, skip_serializing_if = "CustomSchemas::is_empty")]
    pub schemas: CustomSchemas,
    /// OAuth 2.0, when it has any.
    pub oauth2: Option<oauth2::OAuth2Config>,
    /// The limits in force: the endpoint's, narrowed by the tenant's.
    pub limits: Limits,
    /// Answer 503 with `Retry-After`, so that the identity provider waits.
    pub suspended: bool,
    /// Purge the data when the tenant is removed (`deletionPolicy: Delete`).
    pub purge_on_removal: bool,
    /// What becomes of leavers.
    #[serde(default)]
    pub lifecycle: Lifecycle,
    /// How the members of groups are read.
    #[serde(default)]
    pub membership: Membership,
    /// What the audit log holds, and for how long.
    #[serde(default)]
    pub audit: Audit,
}

/// What the audit log holds, and for how long (`spec.audit`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// Older rows go.
    pub retention_seconds: u64,
    /// Rows at most; the oldest go.
    pub max_entries: u64,
    /// Old and new values are kept beside the names of attributes.
    pub values: bool,
}

impl Default for Audit {
    fn default() -> Self {
        Self { retention_seconds: 90 * 24 * 60 * 60, max_entries: 1_000_000, values: false }
    }
}

/// What becomes of users and groups that are deleted, come back, or are deactivated (`spec.lifecycle`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lifecycle {
    /// How long a deleted resource can be brought back; `None`: DELETE erases it.
    pub retention_seconds: Option<u64>,
    /// A POST of a retained resource's `externalId` or `userName` brings it back with its id.
    pub restore_on_recreate: bool,
    /// A user whose `active` becomes false leaves all groups.
    pub remove_from_groups_on_deactivate: bool,
}

/// How the members of groups are read (`spec.membership`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Membership {
    /// Unknown members are kept until they appear; else a push with unknown members is refused.
    pub keep_unknown: bool,
    /// A member may be named by its `externalId`.
    pub match_external_id: bool,
}

/// A bearer token's SHA-256 digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenDigest {
    /// The token's name, for logs: never the token.
    pub name: String,
    /// SHA-256 of the token, as 64 lowercase hexadecimal digits.
    pub sha256: String,
    /// What the token allows.
    pub scopes: Scopes,
    /// Refused before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// Refused from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When a newer token took its place, of a token that was rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_at: Option<Timestamp>,
}

/// What one request may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Bytes of a request body.
    pub max_body_bytes: u64,
    /// Operations of a bulk request.
    pub max_bulk_operations: u32,
    /// Bytes of a bulk request.
    pub max_bulk_payload_bytes: u64,
    /// Resources in one page; also the page size when `count` is absent.
    pub max_page_size: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body_bytes: 1 << 20,
            max_bulk_operations: 1000,
            max_bulk_payload_bytes: 4 << 20,
            max_page_size: 1000,
        }
    }
}
