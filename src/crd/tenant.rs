//! `ScimTenant`: one customer's identity provider behind an endpoint.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::authentication::{Authentication, IS_OBJECT_NAME};
use super::{Audit, Lifecycle, MembershipSpec, TenantLimits, TenantResourceType, TenantSchemas};

/// One customer's identity provider behind an endpoint.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "scim-operator.io",
    version = "v1alpha1",
    kind = "ScimTenant",
    plural = "scimtenants",
    shortname = "scimt",
    category = "scim",
    namespaced,
    status = "ScimTenantStatus",
    derive = "PartialEq",
    doc = "A ScimTenant is one customer's identity provider behind a ScimEndpoint: the path it calls, the tokens it presents, and how its requests are read. Its users and groups are apart from every other tenant's.",
    validation = Rule::new("size(self.metadata.name) <= 63")
        .message("metadata.name must have at most 63 characters, as other objects are named after it"),
    validation = Rule::new("has(self.spec.path) || !self.metadata.name.contains('.')")
        .message("metadata.name is the path when spec.path is absent, and a path has no dots: set spec.path"),
    validation = Rule::new("(has(self.spec.path) ? self.spec.path : self.metadata.name) == (has(oldSelf.spec.path) ? oldSelf.spec.path : oldSelf.metadata.name)")
        .message("the path of a tenant cannot change, as identity providers are configured with it: make another tenant")
        .field_path(".spec.path"),
    validation = Rule::new("self.spec.identityProvider != 'Strict' || self.spec.membership.unknownMembers != 'Pending'")
        .message("spec.membership.unknownMembers cannot be Pending for identityProvider Strict, which refuses unknown members: choose Reject, or another identityProvider")
        .field_path(".spec.membership.unknownMembers"),
    printcolumn(
        name = "Endpoint",
        type_ = "string",
        json_path = ".spec.endpointRef.name",
        description = "The endpoint that serves it"
    ),
    printcolumn(
        name = "Provider",
        type_ = "string",
        json_path = ".spec.identityProvider",
        description = "How its requests are read",
        priority = 1
    ),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url", description = "Its SCIM base URL"),
    printcolumn(name = "Users", type_ = "integer", json_path = ".status.users", description = "Users it has"),
    printcolumn(name = "Groups", type_ = "integer", json_path = ".status.groups", description = "Groups it has"),
    printcolumn(
        name = "Last Request",
        type_ = "date",
        json_path = ".status.lastRequestTime",
        description = "How long ago the identity provider last called",
        priority = 1
    ),
    printcolumn(
        name = "Suspended",
        type_ = "boolean",
        json_path = ".spec.suspended",
        description = "Whether it is told to wait",
        priority = 1
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether the tenant is served"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why it is ready or not"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        description = "What to do",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ScimTenantSpec {
    /// The endpoint that serves this tenant.
    pub endpoint_ref: EndpointRef,
    /// The first path segment of the tenant's base URL, `https://HOST/PATH/scim/v2`: lower-case letters, digits
    /// and `-`, at most 63 characters (some identity providers refuse `_`). Absent: the object's name. It cannot
    /// change, as identity providers are configured with it, and each path of an endpoint is one tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("must be lower-case letters, digits and '-', and begin and end with a letter or digit"))]
    pub path: Option<String>,
    /// How the identity provider's requests are read. `Strict`: the RFCs and nothing else. `Generic`: tolerant
    /// where the RFCs leave room (the case of `op`, booleans as strings, unknown attributes dropped and logged).
    /// The others are `Generic` and what that identity provider needs beside it.
    #[serde(default)]
    pub identity_provider: IdentityProvider,
    /// How the identity provider proves who it is.
    #[serde(default)]
    pub authentication: Authentication,
    /// What User and Group have beyond RFC 7643, and where less is allowed.
    #[serde(default)]
    pub schemas: TenantSchemas,
    /// Resource types beside User and Group, such as `/Roles` or `/Departments`, with the whole protocol.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub resource_types: Vec<TenantResourceType>,
    /// Narrows the endpoint's limits for this tenant.
    #[serde(default)]
    pub limits: TenantLimits,
    /// Answer every request with 503 and `Retry-After`, so that the identity provider waits instead of failing.
    #[serde(default)]
    pub suspended: bool,
    /// What becomes of the tenant's users and groups when this object goes. `Retain`: they stay in the store and
    /// are there again when a tenant of the same namespace and name comes back. `Delete`: they are purged.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// What becomes of users and groups that are deleted, come back, or are deactivated.
    #[serde(default)]
    pub lifecycle: Lifecycle,
    /// How the members of groups are read.
    #[serde(default)]
    pub membership: MembershipSpec,
    /// What the audit log holds, and for how long.
    #[serde(default)]
    pub audit: Audit,
}

/// Which endpoint serves a tenant.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointRef {
    /// The name of the `ScimEndpoint`.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = IS_OBJECT_NAME)]
    pub name: String,
    /// The namespace of the `ScimEndpoint`. Absent: the tenant's. An endpoint in another namespace must allow it
    /// with `spec.allowedTenants.namespaces`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

// No doc comments on the variants: they would turn the enumeration into alternatives in the schema.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the field that has this type explains the values")]
pub enum IdentityProvider {
    Strict,
    #[default]
    Generic,
    Okta,
    EntraID,
    OneLogin,
    JumpCloud,
    PingOne,
    Authentik,
    GoogleWorkspace,
    Keycloak,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the field that has this type explains the values")]
pub enum DeletionPolicy {
    #[default]
    Retain,
    Delete,
}

/// What the controller found.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScimTenantStatus {
    /// The tenant's SCIM base URL, to be entered in the identity provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The Secret, in the tenant's namespace, whose keys `url` and `token` are to be entered in the identity provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// How many users it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<i64>,
    /// How many groups it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<i64>,
    /// When the identity provider last called, to the minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_request_time: Option<Time>,
    /// The `metadata.generation` this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What holds and what does not; `Ready` is the summary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
