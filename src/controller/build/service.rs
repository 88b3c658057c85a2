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

#[cfg(test)]
mod tests {
    use super::{
        super::fixture::{validated, yaml},
        *,
    };

    #[test]
    fn service_within_the_cluster_is_plain_without_a_certificate() {
        insta::assert_snapshot!(yaml(&service(&validated("{}", ""))), @r#"
        apiVersion: v1
        kind: Service
        metadata:
          name: door-scim
          namespace: platform
        spec:
          ports:
          - appProtocol: http
            name: http
            port: 80
            protocol: TCP
            targetPort: http
          selector:
            app.kubernetes.io/component: server
            scim-operator.io/endpoint: door
          type: ClusterIP
        "#);
    }

    #[test]
    fn service_of_a_load_balancer_has_tls_and_keeps_clients_addresses_when_they_matter() {
        let spec = "{exposure: {loadBalancer: {annotations: {example.com/scheme: internal}, loadBalancerClass: example.com/lb, allocateNodePorts: false}}, \
                    tls: {secretName: cert}, access: {allowedCIDRs: [203.0.113.0/24]}}";
        insta::assert_snapshot!(yaml(&service(&validated(spec, ""))), @r#"
        apiVersion: v1
        kind: Service
        metadata:
          annotations:
            example.com/scheme: internal
          name: door-scim
          namespace: platform
        spec:
          allocateLoadBalancerNodePorts: false
          externalTrafficPolicy: Local
          loadBalancerClass: example.com/lb
          ports:
          - appProtocol: https
            name: https
            port: 443
            protocol: TCP
            targetPort: https
          selector:
            app.kubernetes.io/component: server
            scim-operator.io/endpoint: door
          type: LoadBalancer
        "#);
    }

    #[test]
    fn service_behind_an_ingress_has_tls_only_end_to_end() {
        let spec = |end_to_end| {
            format!(
                "{{host: scim.example.com, exposure: {{ingress: {{serviceAnnotations: {{a/b: c}}}}}}, tls: {{secretName: cert, endToEnd: {end_to_end}}}}}"
            )
        };
        let of = |end_to_end| service(&validated(&spec(end_to_end), ""));
        assert_eq!(of(false).spec.unwrap().ports.unwrap()[0].port, 80);
        insta::assert_snapshot!(yaml(&of(true)), @r#"
        apiVersion: v1
        kind: Service
        metadata:
          annotations:
            a/b: c
          name: door-scim
          namespace: platform
        spec:
          ports:
          - appProtocol: https
            name: https
            port: 443
            protocol: TCP
            targetPort: https
          selector:
            app.kubernetes.io/component: server
            scim-operator.io/endpoint: door
          type: ClusterIP
        "#);
    }
}
