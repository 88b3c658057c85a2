//! `spec.exposure` and `spec.routing` of a `ScimEndpoint`: how requests from outside reach its pods.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::crd::authentication::IS_OBJECT_NAME;
use crate::crd::values::{Annotations, Labels};

/// How requests reach the pods: exactly one of the fields.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.ingress), has(self.gateway), has(self.loadBalancer), has(self.clusterIP)].filter(is, is).size() == 1")
        .message("must be exactly one of ingress, gateway, loadBalancer and clusterIP")
)]
pub struct Exposure {
    /// Through an ingress controller: `Ingress` objects for `spec.host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<IngressExposure>,
    /// Through a Gateway of the Gateway API: `HTTPRoute` objects for `spec.host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayExposure>,
    /// Through a Service of type `LoadBalancer`, on port 443 with `spec.tls`, else on port 80.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancerExposure>,
    /// Only within the cluster, or through what you put in front yourself: a Service of type `ClusterIP`, on port 443
    /// with `spec.tls`, else on port 80.
    #[serde(rename = "clusterIP", default, skip_serializing_if = "Option::is_none")]
    pub cluster_ip: Option<ClusterIpExposure>,
}

impl Default for Exposure {
    fn default() -> Self {
        let cluster_ip = Some(ClusterIpExposure::default());
        Self { ingress: None, gateway: None, load_balancer: None, cluster_ip }
    }
}

/// Through an ingress controller.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IngressExposure {
    /// The `IngressClass`. Absent: the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = IS_OBJECT_NAME)]
    pub class_name: Option<String>,
    /// Annotations for the `Ingress` objects: what the ingress controller is to do beside routing.
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
    /// Labels for the `Ingress` objects, beside those of the operator.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Annotations for the Service behind the `Ingress` objects: some ingress controllers are told there how to talk
    /// to the pods.
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub service_annotations: Annotations,
}

/// Through a Gateway.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayExposure {
    /// The Gateways, or listeners of them, that the routes attach to. They terminate TLS, so `spec.tls` is not used.
    #[schemars(length(min = 1, max = 8))]
    pub parent_refs: Vec<ParentRef>,
    /// Annotations for the `HTTPRoute` objects.
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
    /// Labels for the `HTTPRoute` objects, beside those of the operator.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

/// A Gateway, or a listener of one.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// The name of the Gateway.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = IS_OBJECT_NAME)]
    pub name: String,
    /// Its namespace. Absent: the endpoint's. The Gateway must allow routes from the endpoint's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = IS_OBJECT_NAME)]
    pub namespace: Option<String>,
    /// The name of one listener. Absent: every listener that fits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = IS_OBJECT_NAME)]
    pub section_name: Option<String>,
    /// The port of the listeners. Absent: every port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1, max = 65_535))]
    pub port: Option<u16>,
}

/// Through a load balancer.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancerExposure {
    /// Annotations for the Service: what the cloud's load balancer is to do.
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
    /// The class of the load balancer. Absent: the cluster's default. Kubernetes does not let it change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub load_balancer_class: Option<String>,
    /// Whether the Service also gets ports on every node. Absent: as Kubernetes does by default, yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocate_node_ports: Option<bool>,
}

/// Only within the cluster.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterIpExposure {
    /// Annotations for the Service.
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
}

// No doc comments on the variants: they would turn the enumeration into alternatives in the schema.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the field that has this type explains the values")]
pub enum Routing {
    #[default]
    Tenant,
    Host,
}
