//! `ScimEndpoint`: the front door that tenants share. Its larger fields have a file each.

mod allowed;
mod exposure;
mod server;
mod storage;
mod tls;

pub use allowed::{
    AllowedTenants, LabelExpression, LabelOperator, NamespaceFrom, NamespaceSelector, TenantNamespaces,
};
pub use exposure::{
    ClusterIpExposure, Exposure, GatewayExposure, IngressExposure, LoadBalancerExposure, ParentRef, Routing,
};
pub use server::{Autoscaling, ImagePullPolicy, NetworkPolicySpec, PullSecret, Server};
pub use storage::{
    CaSecretRef, Postgres, PostgresPool, PostgresTls, PostgresTlsMode, Sqlite, Storage, UrlSecretRef,
};
pub use tls::{IssuerRef, Tls};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::EndpointLimits;

/// The front door: where SCIM is served, who may call, what a request may cost, and the pods behind it.
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
    doc = "A ScimEndpoint is a front door for identity providers: where SCIM 2.0 is served, who may call, what a request may cost, and the pods and the database behind it. Tenants (ScimTenant) are served behind it, each under a path of its own.",
    validation = Rule::new("size(self.metadata.name) <= 50 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be at most 50 lower-case letters, digits and '-', and begin with a letter, as a Service is named after it"),
    validation = Rule::new("has(self.spec.host) || !has(self.spec.exposure.ingress) && !has(self.spec.exposure.gateway)")
        .message("spec.host is required with exposure.ingress and exposure.gateway: requests are routed by it")
        .field_path(".spec.host"),
    validation = Rule::new("!has(self.spec.tls) || !has(self.spec.exposure.gateway)")
        .message("spec.tls cannot be set with exposure.gateway, where the listeners of the Gateway have the certificate: configure it there")
        .field_path(".spec.tls"),
    validation = Rule::new("!has(self.spec.storage.sqlite) || !has(self.spec.server.replicas) || self.spec.server.replicas == 1")
        .message("spec.server.replicas must be 1 with storage.sqlite, as one pod can have its volume: use storage.postgres for more")
        .field_path(".spec.server.replicas"),
    validation = Rule::new("!has(self.spec.storage.sqlite) || !has(self.spec.server.autoscaling)")
        .message("spec.server.autoscaling cannot be set with storage.sqlite, as one pod can have its volume: remove it, or use storage.postgres")
        .field_path(".spec.server.autoscaling"),
    printcolumn(name = "Host", type_ = "string", json_path = ".spec.host", description = "Public host name", priority = 1),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url", description = "Where it is served"),
    printcolumn(
        name = "Tenants",
        type_ = "integer",
        json_path = ".status.tenants",
        description = "Tenants served"
    ),
    printcolumn(
        name = "Refused",
        type_ = "integer",
        json_path = ".status.refusedTenants",
        description = "Tenants that are not served; each says why"
    ),
    printcolumn(
        name = "Pods",
        type_ = "integer",
        json_path = ".status.readyReplicas",
        description = "Pods that are ready"
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
pub struct ScimEndpointSpec {
    /// The public DNS name of the endpoint, such as `scim.example.com`: no scheme, no port, no path. When set,
    /// every URL the server writes is `https://HOST/...`; when absent, URLs follow the address the client used.
    /// Two endpoints cannot have one host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$')")
        .message("must be a DNS name in lower case such as scim.example.com, without scheme, port or path"))]
    pub host: Option<String>,
    /// How requests from outside reach the pods. Absent: `clusterIP: {}`.
    #[serde(default)]
    pub exposure: Exposure,
    /// What `exposure.ingress` and `exposure.gateway` let through. `Tenant`: only the paths of tenants that are served,
    /// and everything else is refused before it reaches a pod. `Host`: every request for `spec.host`, so that the
    /// routes need not follow the tenants.
    #[serde(default)]
    pub routing: Routing,
    /// The certificate. Absent: plain HTTP, or TLS that is not the endpoint's business, as with a Gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Who may call, and which proxies are believed.
    #[serde(default)]
    pub access: Access,
    /// What one request may cost. A tenant can narrow these for itself.
    #[serde(default)]
    pub limits: EndpointLimits,
    /// The pods that serve.
    #[serde(default)]
    pub server: Server,
    /// What the network lets through to the pods and from them.
    #[serde(default)]
    pub network_policy: NetworkPolicySpec,
    /// Where users and groups are kept. Absent: in SQLite, on a volume of 1Gi.
    #[serde(default)]
    pub storage: Storage,
    /// Which tenants may be served here.
    #[serde(default)]
    pub allowed_tenants: AllowedTenants,
    /// How many tenants may be served here. When there are more, the youngest are refused. Absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1, max = 1_000_000))]
    pub max_tenants: Option<u32>,
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
    /// How many tenants name this endpoint and are not served. Each of them says why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_tenants: Option<i32>,
    /// How many pods there are to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// How many pods are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// The SHA-256 digest of the newest configuration, which every pod reports when it runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration_digest: Option<String>,
    /// The `metadata.generation` this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What holds and what does not; `Ready` is the summary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
