//! The objects that the operator makes: edited by hand, deleted by hand, and what is left alone.

use serde_json::json;

use super::{ENDPOINT, TENANT};
use crate::support::{Scene, until};
use crate::{Scenario, rows};

pub(super) fn all() -> Vec<Scenario> {
    rows![
        child_edited_is_put_back_and_said,
        child_deleted_comes_back,
        child_annotated_by_others_keeps_their_annotation,
        endpoint_deleted_takes_its_children_along,
    ]
}

async fn child_edited_is_put_back_and_said(scene: Scene) {
    scene.apply(ENDPOINT).await;
    scene.apply(TENANT).await;
    let tenant = scene.tenant("acme").await;
    tenant.answers(200).await;
    let before = scene.get("Role", "main-scim").await["rules"].clone();
    let more = json!({"rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}]});
    scene.edit("Role", "main-scim", more).await;
    scene.becomes("Role", "main-scim", "is as before", |role| role["rules"] == before).await;
    let port = scene.get("Service", "main-scim").await["spec"]["ports"][0]["targetPort"].clone();
    let wrong = json!([{"op": "replace", "path": "/spec/ports/0/targetPort", "value": 1}]);
    scene.edit_json("Service", "main-scim", wrong).await;
    scene
        .becomes("Service", "main-scim", "is as before", |service| {
            service["spec"]["ports"][0]["targetPort"] == port
        })
        .await;
    let said = scene.event(("ScimEndpoint", "main"), "PutBack").await;
    assert!(said.contains("main-scim"), "{said}");
    tenant.answers(200).await;
}

async fn child_deleted_comes_back(scene: Scene) {
    scene.apply(ENDPOINT).await;
    scene.apply(TENANT).await;
    let tenant = scene.tenant("acme").await;
    tenant.answers(200).await;
    for kind in [
        "Deployment",
        "Service",
        "Ingress",
        "Role",
        "RoleBinding",
        "ServiceAccount",
        "NetworkPolicy",
        "Certificate",
        "Secret",
    ] {
        let Some(child) = children(&scene, kind).await.into_iter().next() else { continue };
        scene.delete(kind, &child.0).await;
        until(&format!("{kind} {} is back", child.0), async || match scene.find(kind, &child.0).await {
            Some(object) if object["metadata"]["uid"] != child.1 => Ok(()),
            Some(_) => Err("it is still there".to_owned()),
            None => Err("it is gone".to_owned()),
        })
        .await;
    }
    scene.ready("ScimEndpoint", "main").await;
    tenant.answers(200).await;
}

/// Names and uids of the children of a kind.
async fn children(scene: &Scene, kind: &str) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let objects = scene.list(kind).await;
    let owned =
        objects.iter().filter(|object| object["metadata"]["ownerReferences"][0]["kind"] == "ScimEndpoint");
    owned.map(|object| (text(&object["metadata"]["name"]), text(&object["metadata"]["uid"]))).collect()
}

async fn child_annotated_by_others_keeps_their_annotation(scene: Scene) {
    scene.apply(ENDPOINT).await;
    scene.apply(TENANT).await;
    scene.tenant("acme").await.answers(200).await;
    let note = json!({"metadata": {"annotations": {"example.com/note": "ours"}}});
    for kind in ["Deployment", "Service"] {
        scene.edit(kind, "main-scim", note.clone()).await;
    }
    // A change that is carried out in both leaves it there.
    scene.edit("ScimEndpoint", "main", json!({"spec": {"server": {"podLabels": {"tier": "front"}}}})).await;
    scene
        .becomes("Deployment", "main-scim", "has the label", |deployment| {
            deployment["spec"]["template"]["metadata"]["labels"]["tier"] == "front"
        })
        .await;
    scene.ready("ScimEndpoint", "main").await;
    for kind in ["Deployment", "Service"] {
        let object = scene.get(kind, "main-scim").await;
        assert_eq!(object["metadata"]["annotations"]["example.com/note"], "ours", "{kind}");
    }
}

async fn endpoint_deleted_takes_its_children_along(scene: Scene) {
    scene.apply(ENDPOINT).await;
    scene.apply(TENANT).await;
    scene.tenant("acme").await.answers(200).await;
    scene.delete("ScimEndpoint", "main").await;
    scene.disappears("ScimEndpoint", "main").await;
    for kind in ["Deployment", "Service", "Ingress", "Role", "RoleBinding", "ServiceAccount"] {
        until(&format!("no {kind} is left"), async || match children(&scene, kind).await {
            left if left.is_empty() => Ok(()),
            left => Err(format!("{left:?}")),
        })
        .await;
    }
    let said = scene.refuses(("ScimTenant", "acme"), "EndpointNotFound").await;
    assert!(said.contains("main"), "{said}");
}
