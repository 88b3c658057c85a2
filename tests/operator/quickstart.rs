//! From nothing installed to the first user, as the README tells it: `helm install`, `kubectl apply`, a request over
//! HTTPS through the Ingress.

use std::time::Instant;

use crate::support::Scene;
use crate::{Scenario, rows};

/// What the README says it takes at most, on two cores. Printed, and not asserted: a test must not depend on how busy
/// a machine is. What is asserted is what is there at the end.
const GOAL_SECONDS: u64 = 60;

const MANIFESTS: &str = "
apiVersion: scim-operator.io/v1alpha1
kind: ScimEndpoint
metadata: {name: main}
spec:
  host: $HOST
  exposure: {ingress: {className: traefik}}
  tls: {issuerRef: {name: ca, kind: ClusterIssuer}}
---
apiVersion: scim-operator.io/v1alpha1
kind: ScimTenant
metadata: {name: acme}
spec:
  endpointRef: {name: main}
  identityProvider: Okta
";

pub(crate) fn all() -> Vec<Scenario> {
    rows![quickstart_from_helm_install_to_the_first_user]
}

async fn quickstart_from_helm_install_to_the_first_user(scene: Scene) {
    let started = Instant::now();
    scene.cluster.install(&[]).await;
    println!("        {:5.1} s  helm install: the controller is ready", started.elapsed().as_secs_f64());
    scene.apply(MANIFESTS).await;
    let tenant = scene.tenant("acme").await;
    println!("        {:5.1} s  the tenant says Ready", started.elapsed().as_secs_f64());
    tenant.answers(200).await;
    tenant.create_user("first@example.com").await;
    assert_eq!(tenant.users().await, 1);
    println!(
        "        {:5.1} s  the first user is provisioned over HTTPS (goal: {GOAL_SECONDS} s)",
        started.elapsed().as_secs_f64()
    );
    // What a user looks at next says so too.
    let listed = scene.cluster.kubectl(&["get", "scimep,scimt", "--namespace", &scene.namespace]).await;
    println!("{listed}");
    assert!(listed.contains("acme") && listed.contains("True"), "{listed}");
}
