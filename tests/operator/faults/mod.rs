//! What breaks around the operator, while identity providers push.

mod api_server;
mod definitions;
mod fleets;
mod latency;
mod nodes;
mod power;
mod rollouts;
mod webhook;

use crate::Scenario;
use crate::support::{Scene, Tenant};

/// All rows. The second node comes last, as everything else runs on one.
pub(crate) fn all() -> Vec<Scenario> {
    [
        latency::all(),
        power::all(),
        definitions::all(),
        webhook::all(),
        rollouts::all(),
        fleets::all(),
        api_server::all(),
        nodes::all(),
    ]
    .concat()
}

/// The shortest endpoint and tenant that are reached over HTTPS.
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
spec: {endpointRef: {name: main}}
";

/// A tenant that is served.
async fn served(scene: &Scene) -> Tenant {
    scene.apply(MANIFESTS).await;
    let tenant = scene.tenant("acme").await;
    tenant.answers(200).await;
    tenant
}
