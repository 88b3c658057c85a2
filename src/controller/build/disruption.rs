//! The `PodDisruptionBudget`: a drain takes one pod of a fleet at a time.

use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::metadata;
use crate::controller::validate::ValidatedEndpoint;

/// None for a single pod: a budget would say nothing, or hold up every drain of its node.
pub(super) fn budget(endpoint: &ValidatedEndpoint) -> Option<PodDisruptionBudget> {
    if endpoint.replicas() == Some(1) {
        return None;
    }
    let names = endpoint.names();
    Some(PodDisruptionBudget {
        metadata: metadata(endpoint, names.workload()),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(names.selector()),
                ..LabelSelector::default()
            }),
            // A pod that is not ready serves nobody.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::fixture::{validated, yaml},
        *,
    };

    #[test]
    fn drain_takes_one_pod_of_a_fleet_at_a_time() {
        let mut endpoint = validated("{}", "");
        assert!(budget(&endpoint).is_none());
        endpoint.server.replicas = Some(3);
        insta::assert_snapshot!(yaml(&budget(&endpoint)), @r#"
        apiVersion: policy/v1
        kind: PodDisruptionBudget
        metadata:
          name: door-scim
          namespace: platform
        spec:
          maxUnavailable: 1
          selector:
            matchLabels:
              app.kubernetes.io/component: server
              scim-operator.io/endpoint: door
          unhealthyPodEvictionPolicy: AlwaysAllow
        "#);
    }
}
