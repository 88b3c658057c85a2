//! What becomes of a tenant's data when the tenant goes.

use serde_json::json;

use super::support::{ApiServer, Controller, Pod, World, condition, eventually};

#[tokio::test]
async fn tenant_with_delete_goes_when_the_pods_have_purged_its_data() {
    let server = ApiServer::start().await;
    let world = World::new(&server, "purge").await;
    let _controller = Controller::start(&server, &world.namespace).await;
    world.endpoint("main", json!({})).await;
    world.tenant("acme", json!({"deletionPolicy": "Delete"})).await;
    let pod = Pod::start(&world, "main").await;
    let tenant = world.wait_for("scimtenants", "acme", "Ready", "True").await;
    assert_eq!(tenant["metadata"]["finalizers"], json!(["scim-operator.io/purge"]));

    pod.say_purging(&["purge/acme"]);
    world.delete("scimtenants", "acme").await;
    let tenant = world.wait_for("scimtenants", "acme", "Ready", "False Purging").await;
    assert!(condition(&tenant, "Reconciling").starts_with("True Purging"), "{tenant}");
    eventually("it is out of the configuration", async || {
        let secrets = world.list("secrets").await;
        let is_shard = |name: &str| name.starts_with("main-scim-config-");
        let shards = secrets.iter().filter(|one| one["metadata"]["name"].as_str().is_some_and(is_shard));
        (shards.count() == 0).then_some(())
    })
    .await;
    assert!(world.find("scimtenants", "acme").await.is_some(), "it waits for its data to be purged");
    pod.say_purging(&[]);
    eventually("it goes", async || world.find("scimtenants", "acme").await.is_none().then_some(())).await;
}

#[tokio::test]
async fn purge_that_nobody_can_do_says_why_and_retain_lets_the_tenant_go() {
    let server = ApiServer::start().await;
    let world = World::new(&server, "purge-stuck").await;
    let _controller = Controller::start(&server, &world.namespace).await;
    world.endpoint("main", json!({})).await;
    world.tenant("acme", json!({"deletionPolicy": "Delete"})).await;
    world.wait_for("scimtenants", "acme", "Ready", "False NoReadyPods").await;
    world.delete("scimtenants", "acme").await;
    let tenant = world.wait_for("scimtenants", "acme", "Stalled", "True PurgeBlocked").await;
    assert!(condition(&tenant, "Stalled").contains("purge-stuck/main"), "{tenant}");
    world.wait_for_event("PurgeBlocked", "is ready to purge").await;
    world.patch("scimtenants", "acme", &json!({"spec": {"deletionPolicy": "Retain"}})).await;
    eventually("it goes", async || world.find("scimtenants", "acme").await.is_none().then_some(())).await;
}

#[tokio::test]
async fn tenant_with_retain_goes_at_once_and_its_endpoint_says_where_its_data_is() {
    let server = ApiServer::start().await;
    let world = World::new(&server, "purge-retain").await;
    let _controller = Controller::start(&server, &world.namespace).await;
    world.endpoint("main", json!({})).await;
    world.tenant("acme", json!({})).await;
    let _pod = Pod::start(&world, "main").await;
    world.wait_for("scimtenants", "acme", "Ready", "True").await;
    world.delete("scimtenants", "acme").await;
    world.wait_for_event("DataRetained", "purge-retain/acme").await;
}
