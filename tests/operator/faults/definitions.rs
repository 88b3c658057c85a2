//! The custom resource definitions change under objects that are served.

use serde_json::{Value, json};

use super::served;
use crate::support::Scene;
use crate::{Scenario, rows};

const TENANTS: &str = "scimtenants.scim-operator.io";

pub(super) fn all() -> Vec<Scenario> {
    rows![definition_upgraded_by_helm_keeps_what_is_served, tenant_that_cannot_be_read_stops_nobody_else,]
}

async fn definition_upgraded_by_helm_keeps_what_is_served(scene: Scene) {
    let tenant = served(&scene).await;
    tenant.create_user("kept").await;
    let load = scene.load(&tenant);
    // An older definition: it has no audit log yet.
    change(&scene, |schema| {
        schema["properties"]["spec"]["properties"].as_object_mut().expect("a schema").remove("audit");
    })
    .await;
    scene.cluster.install(&[]).await;
    scene
        .becomes("CustomResourceDefinition", TENANTS, "has the field", |definition| {
            !definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["audit"].is_null()
        })
        .await;
    scene.edit("ScimTenant", "acme", json!({"spec": {"audit": {"retention": "30d"}}})).await;
    scene.ready("ScimTenant", "acme").await;
    load.finish().await.nothing_failed();
}

async fn tenant_that_cannot_be_read_stops_nobody_else(scene: Scene) {
    let tenant = served(&scene).await;
    // A newer definition takes what this operator does not know.
    change(&scene, |schema| {
        let provider = &mut schema["properties"]["spec"]["properties"]["identityProvider"];
        provider.as_object_mut().expect("a schema").remove("enum");
    })
    .await;
    let newer = "
apiVersion: scim-operator.io/v1alpha1
kind: ScimTenant
metadata: {name: newer}
spec: {endpointRef: {name: main}, identityProvider: OfTheFuture}
";
    scene.becomes_possible(newer).await;
    let said = scene.refuses(("ScimTenant", "newer"), "Unreadable").await;
    assert!(said.contains("identityProvider") || said.contains("OfTheFuture"), "{said}");
    // The others are followed as before.
    scene.edit("ScimTenant", "acme", json!({"spec": {"suspended": true}})).await;
    tenant.answers(503).await;
    scene.edit("ScimTenant", "acme", json!({"spec": {"suspended": false}})).await;
    tenant.answers(200).await;
    scene.edit("ScimTenant", "newer", json!({"spec": {"identityProvider": "Okta"}})).await;
    scene.tenant("newer").await.answers(200).await;
    scene.cluster.install(&[]).await;
    scene.ready("ScimTenant", "newer").await;
}

/// Changes the schema of tenants, as a release of Helm with another chart does.
async fn change(scene: &Scene, change: impl Fn(&mut Value)) {
    let mut definition = scene.get("CustomResourceDefinition", TENANTS).await;
    change(&mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]);
    let labels = definition["metadata"]["labels"].clone();
    let annotations = definition["metadata"]["annotations"].clone();
    definition["metadata"] = json!({"name": TENANTS, "labels": labels, "annotations": annotations});
    definition["status"] = Value::Null;
    scene.apply_as("helm", definition).await.expect("the API server takes the definition");
}
