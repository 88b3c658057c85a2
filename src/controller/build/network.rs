//! The `NetworkPolicy`: requests from anywhere, the admin port for the controller and for metrics, and out of a pod
//! only what it needs. A pod that is taken over finds few doors.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
        NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::{deployment, metadata};
use crate::controller::validate::{Network, ValidatedEndpoint};

/// Where API servers and OAuth 2.0 issuers are. An address cannot be given: theirs are not known, and change.
const HTTPS_PORTS: [u16; 2] = [443, 6443];

pub(super) fn policy(endpoint: &ValidatedEndpoint) -> Option<NetworkPolicy> {
    let Network { policy, operator_namespace, issuer_ports, database_ports } = &endpoint.network;
    if !policy.enabled {
        return None;
    }
    let names = endpoint.names();
    let controller = NetworkPolicyPeer {
        namespace_selector: Some(labelled("kubernetes.io/metadata.name", operator_namespace)),
        pod_selector: Some(labelled("app.kubernetes.io/component", "controller")),
        ip_block: None,
    };
    let ingress = vec![
        NetworkPolicyIngressRule {
            ports: Some(vec![tcp(IntOrString::String(deployment::scheme(endpoint).to_owned()))]),
            from: None,
        },
        NetworkPolicyIngressRule {
            ports: Some(vec![tcp(IntOrString::String(deployment::ADMIN.to_owned()))]),
            from: Some(std::iter::once(controller).chain(policy.metrics_from.iter().cloned()).collect()),
        },
    ];
    let theirs = issuer_ports.iter().chain(database_ports);
    let ports: BTreeSet<u16> =
        HTTPS_PORTS.iter().chain(&policy.egress_ports).chain(theirs).copied().collect();
    let egress = vec![
        NetworkPolicyEgressRule {
            ports: Some(vec![
                NetworkPolicyPort { protocol: Some("UDP".to_owned()), ..tcp(IntOrString::Int(53)) },
                tcp(IntOrString::Int(53)),
            ]),
            to: None,
        },
        NetworkPolicyEgressRule {
            ports: Some(ports.into_iter().map(|port| tcp(IntOrString::Int(port.into()))).collect()),
            to: None,
        },
    ];
    Some(NetworkPolicy {
        metadata: metadata(endpoint, names.workload()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector {
                match_labels: Some(names.selector()),
                ..LabelSelector::default()
            }),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: Some(ingress),
            egress: Some(egress),
        }),
    })
}

fn labelled(label: &str, value: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some(BTreeMap::from([(label.to_owned(), value.to_owned())])),
        ..LabelSelector::default()
    }
}

fn tcp(port: IntOrString) -> NetworkPolicyPort {
    NetworkPolicyPort { port: Some(port), protocol: Some("TCP".to_owned()), end_port: None }
}

#[cfg(test)]
mod tests {
    use super::{
        super::fixture::{fleet, tenant, validated, yaml},
        *,
    };

    #[test]
    fn policy_opens_what_is_needed_and_nothing_else() {
        let spec = "{networkPolicy: {metricsFrom: [{namespaceSelector: {matchLabels: {team: monitoring}}}], egressPorts: [16443]}}";
        let issuer = "authentication: {bearer: {}, oauth2: {issuers: [{issuer: 'https://id.example.com:8443/realms/a', audiences: [scim]}]}}";
        insta::assert_snapshot!(yaml(&policy(&validated(spec, &tenant("acme", issuer)))), @r#"
        apiVersion: networking.k8s.io/v1
        kind: NetworkPolicy
        metadata:
          name: door-scim
          namespace: platform
        spec:
          egress:
          - ports:
            - port: 53
              protocol: UDP
            - port: 53
              protocol: TCP
          - ports:
            - port: 443
              protocol: TCP
            - port: 6443
              protocol: TCP
            - port: 8443
              protocol: TCP
            - port: 16443
              protocol: TCP
          ingress:
          - ports:
            - port: http
              protocol: TCP
          - from:
            - namespaceSelector:
                matchLabels:
                  kubernetes.io/metadata.name: operators
              podSelector:
                matchLabels:
                  app.kubernetes.io/component: controller
            - namespaceSelector:
                matchLabels:
                  team: monitoring
            ports:
            - port: admin
              protocol: TCP
          podSelector:
            matchLabels:
              app.kubernetes.io/component: server
              scim-operator.io/endpoint: door
          policyTypes:
          - Ingress
          - Egress
        "#);
    }

    #[test]
    fn policy_opens_the_ports_of_the_database() {
        let endpoint = fleet("{secretRef: {name: db}}", "{}", "postgresql://scim@a:6432,b:6433/scim");
        let egress = policy(&endpoint).unwrap().spec.unwrap().egress.unwrap();
        let ports = egress[1].ports.iter().flatten().map(|port| port.port.clone().unwrap());
        let ports: Vec<IntOrString> = ports.collect();
        assert_eq!(ports, [443, 6432, 6433, 6443].map(IntOrString::Int));
    }

    #[test]
    fn policy_can_be_left_to_others() {
        assert!(policy(&validated("{networkPolicy: {enabled: false}}", "")).is_none());
    }
}
