//! The `HorizontalPodAutoscaler` of `spec.server.autoscaling`.

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricSpec,
    MetricTarget, ResourceMetricSource,
};

use super::metadata;
use crate::{controller::validate::ValidatedEndpoint, crd::Autoscaling};

pub(super) fn autoscaler(endpoint: &ValidatedEndpoint) -> Option<HorizontalPodAutoscaler> {
    let Autoscaling { min_replicas, max_replicas, target_cpu_utilization } = endpoint.server.autoscaling?;
    let name = endpoint.names().workload();
    Some(HorizontalPodAutoscaler {
        metadata: metadata(endpoint, name.clone()),
        spec: HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".to_owned()),
                kind: "Deployment".to_owned(),
                name,
            },
            min_replicas: Some(min_replicas),
            max_replicas,
            metrics: Some(vec![MetricSpec {
                type_: "Resource".to_owned(),
                resource: Some(ResourceMetricSource {
                    name: "cpu".to_owned(),
                    target: MetricTarget {
                        type_: "Utilization".to_owned(),
                        average_utilization: Some(target_cpu_utilization),
                        ..MetricTarget::default()
                    },
                }),
                ..MetricSpec::default()
            }]),
            behavior: None,
        },
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
    fn autoscaler_follows_the_use_of_cpu() {
        let mut endpoint = validated("{}", "");
        assert!(autoscaler(&endpoint).is_none());
        endpoint.server.autoscaling =
            Some(Autoscaling { min_replicas: 2, max_replicas: 10, target_cpu_utilization: 70 });
        insta::assert_snapshot!(yaml(&autoscaler(&endpoint)), @r#"
        apiVersion: autoscaling/v2
        kind: HorizontalPodAutoscaler
        metadata:
          name: door-scim
          namespace: platform
        spec:
          maxReplicas: 10
          metrics:
          - resource:
              name: cpu
              target:
                averageUtilization: 70
                type: Utilization
            type: Resource
          minReplicas: 2
          scaleTargetRef:
            apiVersion: apps/v1
            kind: Deployment
            name: door-scim
        "#);
    }
}
