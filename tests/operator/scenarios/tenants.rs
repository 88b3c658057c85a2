//! One tenant's life: created, each kind of change, deleted, come back.

use serde_json::json;

use super::{ENDPOINT, TENANT};
use crate::support::{Scene, until};
use crate::{Scenario, rows};

pub(super) fn all() -> Vec<Scenario> {
    rows![
        tenant_created_gets_credentials_and_is_served,
        tenant_suspended_is_told_to_wait_until_it_is_resumed,
        tenant_identity_provider_changed_reads_requests_otherwise,
        tenant_limits_narrowed_are_enforced,
        tenant_path_is_its_own_and_cannot_change,
        tenant_that_makes_no_sense_is_refused_in_words,
        tenant_deleted_with_retain_finds_its_users_again,
        tenant_deleted_with_delete_is_purged,
        tenant_before_its_endpoint_waits_for_it,
    ]
}

async fn tenant_created_gets_credentials_and_is_served(scene: Scene) {
    scene.apply(ENDPOINT).await;
    scene.apply(TENANT).await;
    let tenant = scene.tenant("acme").await;
    assert_eq!(scene.secret("acme-scim-token", "url").await, tenant.base());
    assert_eq!(tenant.base(), format!("https://{}/acme/scim/v2", scene.host()));
    tenant.answers(200).await;
    tenant.create_user("first").await;
    tenant.with_token("not-its-token-0123456789abcdef0123456789abcdef").answers(401).await;
    scene.becomes("ScimTenant", "acme", "counts its user", |object| object["status"]["users"] == 1).await;
    scene
        .becomes("ScimTenant", "acme", "says when it was last called", |object| {
            object["status"]["lastRequestTime"].is_string()
        })
        .await;
    let endpoint = scene.ready("ScimEndpoint", "main").await;
    assert_eq!(endpoint["status"]["tenants"], 1);
    assert_eq!(endpoint["status"]["readyReplicas"], 1);
}

async fn tenant_suspended_is_told_to_wait_until_it_is_resumed(scene: Scene) {
    scene.apply(ENDPOINT).await;
    scene.apply(TENANT).await;
    let tenant = scene.tenant("acme").await;
    tenant.answers(200).await;
    scene.edit("ScimTenant", "acme", json!({"spec": {"suspended": true}})).await;
    tenant.answers(503).await;
    scene.condition(("ScimTenant", "acme"), "Ready", "False", "Suspended").await;
    scene.edit("ScimTenant", "acme", json!({"spec": {"suspended": false}})).await;
    tenant.answers(200).await;
    scene.ready("ScimTenant", "acme").await;
}

async fn tenant_identity_provider_changed_reads_requests_otherwise(scene: Scene) {
    scene.apply(ENDPOINT).await;
    scene.apply(TENANT).await;
    scene.edit("ScimTenant", "acme", json!({"spec": {"identityProvider": "Strict"}})).await;
    let tenant = scene.tenant("acme").await;
    tenant.answers(200).await;
    let user = format!("/Users/{}", tenant.create_user("somebody").await);
    // As Entra ID writes it: the operation's case and the boolean are not those of RFC 7644.
    let patch = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "Replace", "path": "active", "value": "False"}]});
    let send = async || tenant.send(reqwest::Method::PATCH, &user, Some(&patch)).await;
    assert_eq!(send().await.map(|(status, _)| status), Ok(400));
    scene.edit("ScimTenant", "acme", json!({"spec": {"identityProvider": "EntraID"}})).await;
    until("the operation is understood", async || match send().await? {
        (200 | 204, _) => Ok(()),
        (status, body) => Err(format!("{status} {body}")),
    })
    .await;
}

async fn tenant_limits_narrowed_are_enforced(scene: Scene) {
    scene.apply(ENDPOINT).await;
    scene.apply(TENANT).await;
    let tenant = scene.tenant("acme").await;
    tenant.answers(200).await;
    scene.edit("ScimTenant", "acme", json!({"spec": {"limits": {"maxBodyBytes": 1024}}})).await;
    let name = "n".repeat(2000);
    until("a large body is refused", async || match tenant.try_create_user(&name).await? {
        (413, _) => Ok(()),
        (status, body) => Err(format!("{status} {body}")),
    })
    .await;
}

async fn tenant_path_is_its_own_and_cannot_change(scene: Scene) {
    scene.apply(ENDPOINT).await;
    scene
        .apply(
            &TENANT.replace("{endpointRef: {name: main}}", "{endpointRef: {name: main}, path: front-door}"),
        )
        .await;
    let tenant = scene.tenant("acme").await;
    assert_eq!(tenant.base(), format!("https://{}/front-door/scim/v2", scene.host()));
    tenant.answers(200).await;
    let said = scene.refused(TENANT).await;
    assert!(said.contains("make another tenant"), "{said}");
    tenant.answers(200).await;
}

async fn tenant_that_makes_no_sense_is_refused_in_words(scene: Scene) {
    let said = scene
        .refused(&TENANT.replace("{endpointRef: {name: main}}", "{endpointRef: {name: main}, path: A_B}"))
        .await;
    assert!(said.contains("must be lower-case letters"), "{said}");
    let said =
        scene
            .refused(&TENANT.replace(
                "{endpointRef: {name: main}}",
                "{endpointRef: {name: main}, identityProvider: Octa}",
            ))
            .await;
    assert!(said.contains("\"Okta\""), "{said}");
}

async fn tenant_deleted_with_retain_finds_its_users_again(scene: Scene) {
    scene.apply(ENDPOINT).await;
    scene.apply(TENANT).await;
    let tenant = scene.tenant("acme").await;
    tenant.answers(200).await;
    let id = tenant.create_user("kept").await;
    scene.delete("ScimTenant", "acme").await;
    scene.disappears("ScimTenant", "acme").await;
    // Its route goes too: what answers then is Traefik.
    tenant.answers(404).await;
    scene.apply(TENANT).await;
    let again = scene.tenant("acme").await;
    again.answers(200).await;
    let (status, _) = again.get(&format!("/Users/{id}")).await.expect("the server answers");
    assert_eq!(status, 200);
}

async fn tenant_deleted_with_delete_is_purged(scene: Scene) {
    scene.apply(ENDPOINT).await;
    let with_delete =
        TENANT.replace("{endpointRef: {name: main}}", "{endpointRef: {name: main}, deletionPolicy: Delete}");
    scene.apply(&with_delete).await;
    let tenant = scene.tenant("acme").await;
    tenant.answers(200).await;
    tenant.create_user("purged").await;
    scene.delete("ScimTenant", "acme").await;
    scene.disappears("ScimTenant", "acme").await;
    scene.apply(&with_delete).await;
    let again = scene.tenant("acme").await;
    again.answers(200).await;
    assert_eq!(again.users().await, 0);
}

async fn tenant_before_its_endpoint_waits_for_it(scene: Scene) {
    scene.apply(TENANT).await;
    let said = scene.refuses(("ScimTenant", "acme"), "EndpointNotFound").await;
    assert!(said.contains("main"), "{said}");
    scene.apply(ENDPOINT).await;
    scene.tenant("acme").await.answers(200).await;
}
