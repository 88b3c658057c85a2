//! The optional webhook, asked by the cluster's API server.

use super::served;
use crate::support::{Scene, until};
use crate::{Scenario, rows};

pub(super) fn all() -> Vec<Scenario> {
    rows![webhook_refuses_what_a_status_would_refuse_and_goes_with_its_value]
}

const SECOND: &str = "
apiVersion: scim-operator.io/v1alpha1
kind: ScimTenant
metadata: {name: second}
spec: {endpointRef: {name: main}, path: acme}
";

async fn webhook_refuses_what_a_status_would_refuse_and_goes_with_its_value(scene: Scene) {
    served(&scene).await;
    scene.cluster.install(&["webhook.enabled=true", "webhook.failurePolicy=Fail"]).await;
    // An API server asks a new webhook within a second or so, and lets the second tenant pass until then.
    let said = until("the webhook refuses a path that is taken", async || {
        let Err(said) = scene.try_apply(SECOND).await else {
            scene.delete("ScimTenant", "second").await;
            return Err("it was taken".to_owned());
        };
        Ok(said)
    })
    .await;
    assert!(said.contains("the path \"acme\" is already that of ScimTenant"), "{said}");
    scene.cluster.install(&[]).await;
    scene.becomes_possible(SECOND).await;
    scene.refuses(("ScimTenant", "second"), "PathTaken").await;
}
