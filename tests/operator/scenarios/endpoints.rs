//! Each kind of change to an endpoint: which take effect in the running pods, and which replace them.

use serde_json::json;

use super::{ENDPOINT, TENANT};
use crate::support::{Scene, Tenant, until};
use crate::{Scenario, rows};

pub(super) fn all() -> Vec<Scenario> {
    rows![
        endpoint_host_changed_moves_its_tenants,
        endpoint_access_and_limits_changed_take_effect_without_a_restart,
        endpoint_resources_changed_replace_the_pod_and_keep_the_data,
        endpoint_replicas_with_sqlite_are_refused_in_words,
        endpoint_whose_pods_cannot_start_says_why,
        endpoint_routing_moved_between_tenant_and_host_keeps_serving,
    ]
}

async fn endpoint_host_changed_moves_its_tenants(scene: Scene) {
    scene.apply(ENDPOINT).await;
    scene.apply(TENANT).await;
    let before = scene.tenant("acme").await;
    before.answers(200).await;
    let host = format!("moved.{}", scene.host());
    scene.edit("ScimEndpoint", "main", json!({"spec": {"host": host}})).await;
    let url = format!("https://{host}/acme/scim/v2");
    scene.becomes("ScimTenant", "acme", "has moved", |tenant| tenant["status"]["url"] == url.as_str()).await;
    let after = scene.tenant("acme").await;
    assert_eq!(after.base(), url);
    after.answers(200).await;
    before.answers(404).await;
}

async fn endpoint_access_and_limits_changed_take_effect_without_a_restart(scene: Scene) {
    scene.apply(ENDPOINT).await;
    scene.apply(TENANT).await;
    let tenant = scene.tenant("acme").await;
    tenant.answers(200).await;
    let pods = scene.server_pod_names().await;
    let allow = |cidr: &str| json!({"spec": {"access": {"allowedCIDRs": [cidr], "trustedProxies": ["10.244.0.0/16"]}}});
    scene.edit("ScimEndpoint", "main", allow("203.0.113.0/24")).await;
    tenant.answers(403).await;
    // Where the machine that runs this test calls from.
    scene.edit("ScimEndpoint", "main", allow("10.98.0.0/24")).await;
    tenant.answers(200).await;
    scene.edit("ScimEndpoint", "main", json!({"spec": {"limits": {"maxBodyBytes": 1024}}})).await;
    refuses_large_bodies(&tenant).await;
    scene.ready("ScimEndpoint", "main").await;
    assert_eq!(scene.server_pod_names().await, pods);
}

async fn refuses_large_bodies(tenant: &Tenant) {
    let name = "n".repeat(2000);
    until("a large body is refused", async || match tenant.try_create_user(&name).await? {
        (413, _) => Ok(()),
        (status, body) => Err(format!("{status} {body}")),
    })
    .await;
}

async fn endpoint_resources_changed_replace_the_pod_and_keep_the_data(scene: Scene) {
    scene.apply(ENDPOINT).await;
    scene.apply(TENANT).await;
    let tenant = scene.tenant("acme").await;
    tenant.answers(200).await;
    let id = tenant.create_user("kept").await;
    let pods = scene.server_pod_names().await;
    let resources = json!({"requests": {"cpu": "20m", "memory": "48Mi"}, "limits": {"memory": "200Mi"}});
    scene.edit("ScimEndpoint", "main", json!({"spec": {"server": {"resources": resources}}})).await;
    until("another pod has the resources", async || {
        let pods_now = scene.server_pods().await;
        let has = |pod: &serde_json::Value| {
            pod["spec"]["containers"][0]["resources"]["limits"]["memory"] == "200Mi"
        };
        if pods_now.len() == 1 && pods_now.iter().all(has) {
            Ok(())
        } else {
            Err(format!("{} pods", pods_now.len()))
        }
    })
    .await;
    scene.ready("ScimEndpoint", "main").await;
    assert_ne!(scene.server_pod_names().await, pods);
    tenant.answers(200).await;
    let (status, _) = tenant.get(&format!("/Users/{id}")).await.expect("the server answers");
    assert_eq!(status, 200);
}

async fn endpoint_replicas_with_sqlite_are_refused_in_words(scene: Scene) {
    let said = scene.refused(&format!("{ENDPOINT}  server: {{replicas: 2}}\n")).await;
    assert!(said.contains("one pod can have its volume"), "{said}");
}

async fn endpoint_whose_pods_cannot_start_says_why(scene: Scene) {
    scene
        .apply(&format!("{ENDPOINT}  server: {{image: \"localhost/not-there:1\", imagePullPolicy: Never}}\n"))
        .await;
    scene.apply(TENANT).await;
    let said = scene.condition(("ScimEndpoint", "main"), "Ready", "False", "PodsFailing").await;
    assert!(said.contains("localhost/not-there:1"), "{said}");
    scene.condition(("ScimTenant", "acme"), "Ready", "False", "PodsFailing").await;
    scene
        .edit("ScimEndpoint", "main", json!({"spec": {"server": {"image": null, "imagePullPolicy": null}}}))
        .await;
    scene.tenant("acme").await.answers(200).await;
}

async fn endpoint_routing_moved_between_tenant_and_host_keeps_serving(scene: Scene) {
    scene.apply(ENDPOINT).await;
    scene.apply(TENANT).await;
    let tenant = scene.tenant("acme").await;
    tenant.answers(200).await;
    // With a route for each tenant, Traefik knows no other path; with one for the host, the server is asked.
    let other = tenant.at(&format!("https://{}/nobody/scim/v2", scene.host()));
    other.answers(404).await;
    let load = scene.load(&tenant);
    scene.edit("ScimEndpoint", "main", json!({"spec": {"routing": "Host"}})).await;
    other.answers(401).await;
    scene.ready("ScimEndpoint", "main").await;
    scene.edit("ScimEndpoint", "main", json!({"spec": {"routing": "Tenant"}})).await;
    other.answers(404).await;
    scene.ready("ScimEndpoint", "main").await;
    load.finish().await.nothing_failed();
}
