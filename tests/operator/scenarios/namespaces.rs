//! Tenants in other namespaces than their endpoint's: `Same`, `All`, `Selector`.

use serde_json::json;

use super::ENDPOINT;
use crate::support::Scene;
use crate::{Scenario, rows};

pub(super) fn all() -> Vec<Scenario> {
    rows![
        namespace_not_allowed_is_refused_until_the_endpoint_allows_all,
        namespace_selected_by_label_is_served_as_long_as_it_has_the_label,
    ]
}

/// A tenant in a namespace of its own, of the endpoint in the scene's.
async fn tenant_elsewhere(scene: &Scene) -> Scene {
    let elsewhere = scene.within(&format!("{}-elsewhere", scene.namespace));
    scene.add_namespace(&elsewhere.namespace, &json!({"team": "blue"})).await;
    let tenant = "
apiVersion: scim-operator.io/v1alpha1
kind: ScimTenant
metadata: {name: acme}
spec: {endpointRef: {name: main, namespace: $ENDPOINT}}
";
    elsewhere.apply(&tenant.replace("$ENDPOINT", &scene.namespace)).await;
    elsewhere
}

async fn namespace_not_allowed_is_refused_until_the_endpoint_allows_all(scene: Scene) {
    scene.apply(ENDPOINT).await;
    let elsewhere = tenant_elsewhere(&scene).await;
    let said = elsewhere.refuses(("ScimTenant", "acme"), "NamespaceNotAllowed").await;
    assert!(said.contains("allowedTenants"), "{said}");
    let all = json!({"spec": {"allowedTenants": {"namespaces": {"from": "All"}}}});
    scene.edit("ScimEndpoint", "main", all).await;
    let tenant = elsewhere.tenant("acme").await;
    tenant.answers(200).await;
    scene.delete("Namespace", &elsewhere.namespace).await;
    elsewhere.disappears("ScimTenant", "acme").await;
    tenant.answers(404).await;
}

async fn namespace_selected_by_label_is_served_as_long_as_it_has_the_label(scene: Scene) {
    scene.apply(ENDPOINT).await;
    let selected = json!({"spec": {"allowedTenants": {"namespaces":
        {"from": "Selector", "selector": {"matchLabels": {"team": "green"}}}}}});
    scene.edit("ScimEndpoint", "main", selected).await;
    let elsewhere = tenant_elsewhere(&scene).await;
    elsewhere.refuses(("ScimTenant", "acme"), "NamespaceNotAllowed").await;
    let label = |team: &str| json!({"metadata": {"labels": {"team": team}}});
    scene.edit("Namespace", &elsewhere.namespace, label("green")).await;
    let tenant = elsewhere.tenant("acme").await;
    tenant.answers(200).await;
    scene.edit("Namespace", &elsewhere.namespace, label("blue")).await;
    elsewhere.refuses(("ScimTenant", "acme"), "NamespaceNotAllowed").await;
    tenant.answers(404).await;
    scene.delete("Namespace", &elsewhere.namespace).await;
}
