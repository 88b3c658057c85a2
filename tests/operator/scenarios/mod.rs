//! The table of scenarios: what people do to endpoints and tenants, and what must become of it.
//!
//! Each runs in a namespace of its own and side by side with others. Where it writes `$HOST`, the host name is the
//! namespace's own, `NAMESPACE.example.com`.

mod certificates;
mod children;
mod conflicts;
mod endpoints;
mod exposures;
mod namespaces;
mod secrets;
mod tenants;

use crate::Scenario;

/// The shortest endpoint that is reached over HTTPS.
const ENDPOINT: &str = "
apiVersion: scim-operator.io/v1alpha1
kind: ScimEndpoint
metadata: {name: main}
spec:
  host: $HOST
  exposure: {ingress: {className: traefik}}
  tls: {issuerRef: {name: ca, kind: ClusterIssuer}}
";

/// The shortest tenant.
const TENANT: &str = "
apiVersion: scim-operator.io/v1alpha1
kind: ScimTenant
metadata: {name: acme}
spec: {endpointRef: {name: main}}
";

/// All rows, the slowest first.
pub(crate) fn all() -> Vec<Scenario> {
    [
        exposures::all(),
        certificates::all(),
        endpoints::all(),
        children::all(),
        tenants::all(),
        secrets::all(),
        conflicts::all(),
        namespaces::all(),
    ]
    .concat()
}
