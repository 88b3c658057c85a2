//! The Service: one port, plain or TLS, in front of the pods.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{deployment, metadata};
use crate::{
    controller::validate::{Exposure, ValidatedEndpoint},
    crd::Annotations,
};

/// The number of the Service's port: that of its scheme, as clients and many ingress controllers expect it.
pub(super) fn port(endpoint: &ValidatedEndpoint) -> i32 {
    if endpoint.pods_serve_tls { 443 } else { 80 }
}

pub(super) fn service(endpoint: &ValidatedEndpoint) -> Service {
    let names = endpoint.names();
    let mut metadata = metadata(endpoint, names.workload());
    metadata.annotations = annotations(&endpoint.exposure);
    // The ports of the pods have the names of the schemes too.
    let scheme = deployment::scheme(endpoint);
    let mut spec = ServiceSpec {
        type_: Some("ClusterIP".to_owned()),
        selector: Some(names.selector()),
        ports: Some(vec![ServicePort {
            name: Some(scheme.to_owned()),
            app_protocol: Some(scheme.to_owned()),
            protocol: Some("TCP".to_owned()),
            port: port(endpoint),
            target_port: Some(IntOrString::String(scheme.to_owned())),
            node_port: None,
        }]),
        ..ServiceSpec::default()
    };
    if let Exposure::LoadBalancer(exposure) = &endpoint.exposure {
        spec.type_ = Some("LoadBalancer".to_owned());
        spec.load_balancer_class.clone_from(&exposure.load_balancer_class);
        spec.allocate_load_balancer_node_ports = exposure.allocate_node_ports;
        // `access.allowedCIDRs` is about the addresses of clients, which another node's address would hide.
        let policy = if endpoint.restricts_clients { "Local" } else { "Cluster" };
        spec.external_traffic_policy = Some(policy.to_owned());
    }
    Service { metadata, spec: Some(spec), status: None }
}

fn annotations(exposure: &Exposure) -> Option<BTreeMap<String, String>> {
    let Annotations(annotations) = match exposure {
        Exposure::Ingress { ingress, .. } => &ingress.service_annotations,
        Exposure::Gateway { .. } => return None,
        Exposure::LoadBalancer(exposure) => &exposure.annotations,
        Exposure::ClusterIp(exposure) => &exposure.annotations,
    };
    (!annotations.is_empty()).then(|| annotations.clone())
}
