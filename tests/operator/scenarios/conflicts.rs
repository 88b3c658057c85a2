//! Two objects that want the same: the older has it, the newer says who holds it, and gets it when it is free.

use serde_json::json;

use super::{ENDPOINT, TENANT};
use crate::support::{Scene, until};
use crate::{Scenario, rows};

pub(super) fn all() -> Vec<Scenario> {
    rows![
        host_taken_is_refused_until_the_older_endpoint_goes,
        path_taken_is_refused_until_the_older_tenant_goes,
        quota_reached_refuses_the_youngest_until_it_is_raised,
    ]
}

async fn host_taken_is_refused_until_the_older_endpoint_goes(scene: Scene) {
    scene.apply(ENDPOINT).await;
    scene.apply(TENANT).await;
    let tenant = scene.tenant("acme").await;
    tenant.answers(200).await;
    older().await;
    scene.apply(&ENDPOINT.replace("name: main", "name: second")).await;
    let said = scene.refuses(("ScimEndpoint", "second"), "HostTaken").await;
    assert!(said.contains("main") && said.contains(&scene.host()), "{said}");
    assert_eq!(scene.find("Deployment", "second-scim").await, None);
    tenant.answers(200).await;
    scene.delete("ScimTenant", "acme").await;
    scene.delete("ScimEndpoint", "main").await;
    scene.ready("ScimEndpoint", "second").await;
}

async fn path_taken_is_refused_until_the_older_tenant_goes(scene: Scene) {
    scene.apply(ENDPOINT).await;
    scene.apply(TENANT).await;
    let tenant = scene.tenant("acme").await;
    tenant.answers(200).await;
    older().await;
    let second = TENANT.replace("name: acme", "name: second").replace("spec: {", "spec: {path: acme, ");
    scene.apply(&second).await;
    let said = scene.refuses(("ScimTenant", "second"), "PathTaken").await;
    assert!(said.contains("acme"), "{said}");
    tenant.answers(200).await;
    let endpoint = scene.get("ScimEndpoint", "main").await;
    assert_eq!(endpoint["status"]["tenants"], 1);
    scene.delete("ScimTenant", "acme").await;
    let second = scene.tenant("second").await;
    assert_eq!(second.base(), tenant.base());
    second.answers(200).await;
    until("the older one's token is of no use", async || match tenant.get("/Users").await? {
        (401, _) => Ok(()),
        (status, body) => Err(format!("{status} {body}")),
    })
    .await;
}

async fn quota_reached_refuses_the_youngest_until_it_is_raised(scene: Scene) {
    scene.apply(ENDPOINT).await;
    scene.edit("ScimEndpoint", "main", json!({"spec": {"maxTenants": 1}})).await;
    scene.apply(TENANT).await;
    scene.tenant("acme").await.answers(200).await;
    older().await;
    scene.apply(&TENANT.replace("name: acme", "name: second")).await;
    let said = scene.refuses(("ScimTenant", "second"), "QuotaExceeded").await;
    assert!(said.contains("maxTenants"), "{said}");
    scene.edit("ScimEndpoint", "main", json!({"spec": {"maxTenants": 2}})).await;
    scene.tenant("second").await.answers(200).await;
    scene.tenant("acme").await.answers(200).await;
}

/// Objects made in one second are of one age: the API server keeps no more.
async fn older() {
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
}
