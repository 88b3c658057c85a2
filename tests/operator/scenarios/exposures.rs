//! The ways in: Ingress, Gateway API, load balancer and cluster IP, with TLS at the edge and to the pod.

use serde_json::json;

use super::{ENDPOINT, TENANT};
use crate::support::{Scene, until};
use crate::{Scenario, rows};

/// What the platform's owner has: a Gateway with a certificate for every host below example.com.
const GATEWAY: &str = "
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: public}
spec:
  secretName: public
  dnsNames: [$HOST]
  issuerRef: {name: ca, kind: ClusterIssuer}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public}
spec:
  gatewayClassName: traefik
  listeners:
    - {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: public}]}}
";

pub(super) fn all() -> Vec<Scenario> {
    rows![
        endpoint_moved_between_exposures_serves_by_each_and_leaves_none_behind,
        endpoint_with_tls_end_to_end_is_encrypted_to_the_pod,
        gateway_that_is_not_there_is_said,
    ]
}

async fn endpoint_moved_between_exposures_serves_by_each_and_leaves_none_behind(scene: Scene) {
    scene.apply(GATEWAY).await;
    scene.apply(ENDPOINT).await;
    scene.apply(TENANT).await;
    let tenant = scene.tenant("acme").await;
    tenant.answers(200).await;
    let id = tenant.create_user("kept").await;
    let expose = async |exposure, tls| {
        let spec = json!({"spec": {"exposure": exposure, "tls": tls}});
        scene.edit("ScimEndpoint", "main", spec).await;
    };

    expose(
        json!({"ingress": null, "gateway": {"parentRefs": [{"name": "public", "sectionName": "https"}]}}),
        json!(null),
    )
    .await;
    none_left(&scene, "Ingress").await;
    scene.ready("ScimEndpoint", "main").await;
    tenant.answers(200).await;

    expose(json!({"gateway": null, "clusterIP": {}}), json!(null)).await;
    none_left(&scene, "HTTPRoute").await;
    scene.ready("ScimEndpoint", "main").await;
    tenant.answers(404).await;
    let service = scene.get("Service", "main-scim").await;
    let inside = format!("http://{}/acme/scim/v2", service["spec"]["clusterIP"].as_str().unwrap_or_default());
    tenant.at(&inside).answers(200).await;

    expose(json!({"clusterIP": null, "loadBalancer": {}}), json!(null)).await;
    let said = scene.condition(("ScimEndpoint", "main"), "Ready", "False", "AddressPending").await;
    assert!(said.contains("main-scim"), "{said}");
    // Nobody gives out addresses in this cluster, so the test does.
    let address = json!({"status": {"loadBalancer": {"ingress": [{"ip": "10.98.0.2"}]}}});
    scene.edit_status("Service", "main-scim", address).await;
    scene.ready("ScimEndpoint", "main").await;

    let ca = json!({"issuerRef": {"name": "ca", "kind": "ClusterIssuer"}});
    expose(json!({"loadBalancer": null, "ingress": {"className": "traefik"}}), ca).await;
    scene.ready("ScimEndpoint", "main").await;
    tenant.answers(200).await;
    let (status, _) = tenant.get(&format!("/Users/{id}")).await.expect("the server answers");
    assert_eq!(status, 200);
}

async fn none_left(scene: &Scene, kind: &str) {
    until(&format!("no {kind} is left"), async || match scene.list(kind).await.len() {
        0 => Ok(()),
        left => Err(format!("{left} are")),
    })
    .await;
}

async fn endpoint_with_tls_end_to_end_is_encrypted_to_the_pod(scene: Scene) {
    scene.apply(&ENDPOINT.replace("kind: ClusterIssuer}", "kind: ClusterIssuer}, endToEnd: true")).await;
    scene.apply(TENANT).await;
    let tenant = scene.tenant("acme").await;
    tenant.answers(200).await;
    // Straight to the pod, which has a certificate for the host and speaks nothing but TLS there.
    let pod = scene.server_pods().await.remove(0);
    let address =
        pod["status"]["podIP"].as_str().unwrap_or_default().parse().expect("a ready pod has an address");
    let straight = tenant.by_address(&scene.cluster, address, 8443);
    straight.answers(200).await;
}

async fn gateway_that_is_not_there_is_said(scene: Scene) {
    let endpoint = "
apiVersion: scim-operator.io/v1alpha1
kind: ScimEndpoint
metadata: {name: main}
spec:
  host: $HOST
  exposure: {gateway: {parentRefs: [{name: public, sectionName: https}]}}
";
    scene.apply(endpoint).await;
    scene.apply(TENANT).await;
    let said = scene.condition(("ScimEndpoint", "main"), "Ready", "False", "RoutesPending").await;
    assert!(said.contains("parentRefs"), "{said}");
    scene.apply(GATEWAY).await;
    scene.tenant("acme").await.answers(200).await;
}
