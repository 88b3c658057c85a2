//! `ScimEndpoint`: the front door that tenants share.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::EndpointLimits;

/// The front door: where SCIM is served, who may call, and what a request may cost.
#[derive(CustomResource, KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "scim-operator.io",
    version = "v1alpha1",
    kind = "ScimEndpoint",
    plural = "scimendpoints",
    shortname = "scimep",
    category = "scim",
    namespaced,
    status = "ScimEndpointStatus",
    derive = "PartialEq",
    doc = "A ScimEndpoint is a front door for identity providers: where SCIM 2.0 is served, who may call, and what a request may cost. Tenants (ScimTenant) are served behind it, each under a path of its own.",
    printcolumn(name = "Host", type_ = "string", json_path = ".spec.host", description = "Public host name"),
    printcolumn(
        name = "Tenants",
        type_ = "integer",
        json_path = ".status.tenants",
        description = "Tenants served"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether the endpoint serves"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why it is ready or not"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ScimEndpointSpec {
    /// The public DNS name of the endpoint, such as `scim.example.com`: no scheme, no port, no path. When set,
    /// every URL the server writes is `https://HOST/...`; when absent, URLs follow the address the client used.
    /// Two endpoints cannot have one host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$')")
        .message("must be a DNS name in lower case such as scim.example.com, without scheme, port or path"))]
    pub host: Option<String>,
    /// Who may call, and which proxies are believed.
    #[serde(default)]
    pub access: Access,
    /// What one request may cost. A tenant can narrow these for itself.
    #[serde(default)]
    pub limits: EndpointLimits,
    /// Which tenants may be served here.
    #[serde(default)]
    pub allowed_tenants: AllowedTenants,
}

/// Who may call, and which proxies are believed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// The client addresses that may call, as CIDR blocks such as `203.0.113.0/24` or `2001:db8::/32`.
    /// Absent or empty: anyone may call (and still needs a tenant's token).
    #[serde(rename = "allowedCIDRs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub allowed_cidrs: Vec<Cidr>,
    /// The proxies in front of the server, as CIDR blocks. Only from these are `Forwarded` and `X-Forwarded-*`
    /// headers believed, for the client's address and for the URL it called. Absent or empty: from none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub trusted_proxies: Vec<Cidr>,
}

/// A block of IP addresses, such as `10.0.0.0/8`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cidr(pub String);

impl JsonSchema for Cidr {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cidr".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "maxLength": 43,
            "x-kubernetes-validations": [{
                "rule": "isCIDR(self)",
                "message": "must be a CIDR block such as 203.0.113.0/24; write a single address as ADDRESS/32, or ADDRESS/128 for IPv6",
            }],
        })
    }
}

/// Which tenants may be served by an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowedTenants {
    /// From which namespaces.
    #[serde(default)]
    pub namespaces: TenantNamespaces,
}

/// The namespaces whose tenants may be served.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantNamespaces {
    /// `Same`: tenants in the endpoint's own namespace. `All`: tenants in any namespace.
    #[serde(default)]
    pub from: NamespaceFrom,
}

// No doc comments on the variants: they would turn the enumeration into alternatives in the schema.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the field that has this type explains the values")]
pub enum NamespaceFrom {
    #[default]
    Same,
    All,
}

/// What the controller found.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScimEndpointStatus {
    /// Where the endpoint is served; each tenant's base URL is under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// How many tenants are served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<i32>,
    /// The `metadata.generation` this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What holds and what does not; `Ready` is the summary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
