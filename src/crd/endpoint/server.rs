//! `spec.server` and `spec.networkPolicy` of a `ScimEndpoint`: the pods that serve, and who may reach them.

use k8s_openapi::api::core::v1::{Affinity, ResourceRequirements, Toleration, TopologySpreadConstraint};
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::crd::authentication::IS_OBJECT_NAME;
use crate::crd::values::{Annotations, Labels, plain};

/// The pods that serve.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.replicas) || !has(self.autoscaling)")
        .message("replicas cannot be set together with autoscaling, which decides how many there are: remove one")
        .field_path(".replicas"),
    validation = Rule::new("!has(self.autoscaling) || !has(self.resources) || has(self.resources.requests) && 'cpu' in self.resources.requests || has(self.resources.limits) && 'cpu' in self.resources.limits")
        .message("resources must request cpu with autoscaling, which measures use against the request: set requests.cpu")
        .field_path(".resources")
)]
pub struct Server {
    /// How many pods. Absent: 1, unless there is `autoscaling`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub replicas: Option<i32>,
    /// Let the number of pods follow their CPU use (a `HorizontalPodAutoscaler`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// The container image. Absent: the one that the operator was told, by default its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// When the image is pulled. Absent: as Kubernetes does, `Always` for the tag `latest`, else `IfNotPresent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Secrets, in the endpoint's namespace, with credentials for the registry of the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub image_pull_secrets: Vec<PullSecret>,
    /// CPU and memory of a pod, as in `pod.spec.containers.resources`. Absent: it requests 100m of CPU and 128Mi of
    /// memory, without limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "plain::<ResourceRequirements>")]
    pub resources: Option<ResourceRequirements>,
    /// Labels for the pods, beside those of the operator, which they cannot replace.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub pod_labels: Labels,
    /// Annotations for the pods.
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub pod_annotations: Annotations,
    /// Labels that a node must have to run a pod, as in `pod.spec.nodeSelector`.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub node_selector: Labels,
    /// Taints of nodes that the pods tolerate, as in `pod.spec.tolerations`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "plain::<Vec<Toleration>>")]
    pub tolerations: Vec<Toleration>,
    /// Which nodes and neighbours the pods prefer or need, as in `pod.spec.affinity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "plain::<Affinity>")]
    pub affinity: Option<Affinity>,
    /// How the pods are spread over nodes and zones, as in `pod.spec.topologySpreadConstraints`; a constraint without
    /// `labelSelector` counts the pods of this endpoint. Absent: evenly over nodes and over zones, as far as possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "plain::<Vec<TopologySpreadConstraint>>")]
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,
    /// The `PriorityClass` of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = IS_OBJECT_NAME)]
    pub priority_class_name: Option<String>,
}

/// Between how many pods there are, and when there are more.
#[derive(KubeSchema, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.minReplicas <= self.maxReplicas")
        .message("maxReplicas must not be less than minReplicas")
        .field_path(".maxReplicas")
)]
pub struct Autoscaling {
    /// The least pods.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: i32,
    /// The most pods.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,
    /// The CPU use, in percent of what the pods request, that the number of pods is to keep. The cluster needs a
    /// metrics server.
    #[serde(rename = "targetCPUUtilization", default = "seventy")]
    #[schemars(range(min = 1, max = 1000))]
    pub target_cpu_utilization: i32,
}

fn two() -> i32 {
    2
}

fn seventy() -> i32 {
    70
}

// No doc comments on the variants: they would turn the enumeration into alternatives in the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "each is named as in a pod")]
pub enum ImagePullPolicy {
    Always,
    IfNotPresent,
    Never,
}

impl ImagePullPolicy {
    /// The name, as a pod has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// A Secret with credentials for a registry.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PullSecret {
    /// The name of the Secret, in the endpoint's namespace.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = IS_OBJECT_NAME)]
    pub name: String,
}

/// What the network lets through to the pods and from them, where the cluster enforces `NetworkPolicy`.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicySpec {
    /// Make a `NetworkPolicy`: requests may come from anywhere, the admin port is open to the operator and to
    /// `metricsFrom`, and the pods reach DNS, the API server, the database and the OAuth 2.0 issuers of tenants.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Who may fetch metrics from the admin port 9090, as in `networkpolicy.spec.ingress.from`: for instance
    /// `[{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]`. Absent: only the operator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "plain::<Vec<NetworkPolicyPeer>>")]
    pub metrics_from: Vec<NetworkPolicyPeer>,
    /// More TCP ports that the pods may connect to, beside 443 and 6443: of an API server, or of a database.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<i32>", length(max = 16), inner(range(min = 1, max = 65_535)))]
    pub egress_ports: Vec<u16>,
}

impl Default for NetworkPolicySpec {
    fn default() -> Self {
        Self { enabled: true, metrics_from: Vec::new(), egress_ports: Vec::new() }
    }
}

fn yes() -> bool {
    true
}
