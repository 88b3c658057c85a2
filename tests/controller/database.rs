//! An endpoint on PostgreSQL: what becomes of its pods as the Secret of its database comes, breaks, changes and goes.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::support::{ApiServer, Controller, Pod, World, condition, eventually};

const VERSION: &str = "scim-operator.io/database-version";

fn secret(data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "database"}, "stringData": data})
}

fn spec() -> Value {
    let postgres = json!({"secretRef": {"name": "database"}, "tls": {"mode": "Require"}});
    json!({"server": {"replicas": 3}, "storage": {"postgres": postgres}})
}

/// The URL that pods get, and the version in their template.
async fn deployed(world: &World<'_>) -> Option<(String, String)> {
    let secret = world.find("secrets", "main-scim-database").await?;
    let url = BASE64_STANDARD.decode(secret["data"]["database-url"].as_str()?).ok()?;
    let deployment = world.find("deployments", "main-scim").await?;
    let version = deployment["spec"]["template"]["metadata"]["annotations"][VERSION].as_str()?;
    Some((String::from_utf8(url).ok()?, version.to_owned()))
}

#[tokio::test]
async fn database_secret_that_is_made_broken_repaired_and_deleted_is_told_and_the_last_good_stays() {
    let server = ApiServer::start().await;
    let world = World::new(&server, "database").await;
    let _controller = Controller::start(&server, &world.namespace).await;
    world.endpoint("main", spec()).await;
    let endpoint = world.wait_for("scimendpoints", "main", "Accepted", "False SecretNotFound").await;
    assert!(condition(&endpoint, "Programmed").contains("no Secret database/database"), "{endpoint}");
    assert!(world.find("deployments", "main-scim").await.is_none(), "there is nothing to run");

    let (one, two) = ("postgresql://scim:one@db:6432/scim", "postgresql://scim:two@db:6432/scim");
    world.create("secrets", &secret(&json!({"uri": one}))).await;
    let endpoint = world
        .wait_for(
            "scimendpoints",
            "main",
            "Accepted",
            "False SecretNotFound: spec.storage.postgres.secretRef.key",
        )
        .await;
    assert!(condition(&endpoint, "Accepted").contains("its keys are uri"), "{endpoint}");
    world.patch("secrets", "database", &json!({"stringData": {"url": one}})).await;
    let first = eventually("the pods have the URL", async || deployed(&world).await).await;
    assert_eq!(first.0, one);
    let _pod = Pod::start(&world, "main").await;
    world.wait_for("scimendpoints", "main", "Ready", "True").await;
    let deployment = world.get("deployments", "main-scim").await;
    assert_eq!(deployment["spec"]["replicas"], 3);
    assert_eq!(deployment["spec"]["strategy"]["rollingUpdate"], json!({"maxUnavailable": 0, "maxSurge": 1}));
    let inventory = world.inventory().await;
    assert!(inventory.contains("poddisruptionbudgets/main-scim"), "{inventory}");
    assert!(!inventory.contains("persistentvolumeclaims/"), "{inventory}");
    let policy = world.get("networkpolicies", "main-scim").await;
    assert!(policy["spec"]["egress"].to_string().contains("6432"), "{policy}");

    world.patch("secrets", "database", &json!({"stringData": {"url": "http://s3cret"}})).await;
    let endpoint = world.wait_for("scimendpoints", "main", "Accepted", "False SecretInvalid").await;
    assert!(!endpoint["status"].to_string().contains("s3cret"), "{endpoint}");
    assert_eq!(deployed(&world).await.as_ref(), Some(&first), "the last good one stays");

    world.patch("secrets", "database", &json!({"stringData": {"url": two}})).await;
    let second = eventually("the pods are replaced for the new URL", async || {
        deployed(&world).await.filter(|(url, version)| url == two && *version != first.1)
    })
    .await;
    world.wait_for("scimendpoints", "main", "Ready", "True").await;

    world.delete("secrets", "database").await;
    world.wait_for("scimendpoints", "main", "Accepted", "False SecretNotFound").await;
    assert_eq!(deployed(&world).await, Some(second), "the last good one stays");
}

#[tokio::test]
async fn replicas_stay_when_an_autoscaler_takes_them_over() {
    let server = ApiServer::start().await;
    let world = World::new(&server, "autoscaler").await;
    let _controller = Controller::start(&server, &world.namespace).await;
    world.create("secrets", &secret(&json!({"url": "postgresql://scim@db/scim"}))).await;
    world.endpoint("main", spec()).await;
    eventually("the pods have the URL", async || deployed(&world).await).await;
    let autoscaling = json!({"minReplicas": 2, "maxReplicas": 5});
    let server = json!({"replicas": null, "autoscaling": autoscaling});
    world.patch("scimendpoints", "main", &json!({"spec": {"server": server}})).await;
    let replicas = async || world.get("deployments", "main-scim").await["spec"]["replicas"].clone();
    eventually("there is an autoscaler", async || world.find("horizontalpodautoscalers", "main-scim").await)
        .await;
    assert_eq!(replicas().await, 3, "the fleet is not scaled in on the way");
    // What the autoscaler decides stays, whatever else changes.
    world.patch("deployments", "main-scim", &json!({"spec": {"replicas": 5}})).await;
    world.patch("scimendpoints", "main", &json!({"spec": {"server": {"podLabels": {"round": "two"}}}})).await;
    eventually("the template has the label", async || {
        let deployment = world.get("deployments", "main-scim").await;
        (deployment["spec"]["template"]["metadata"]["labels"]["round"] == "two").then_some(())
    })
    .await;
    assert_eq!(replicas().await, 5);
    // And back.
    let server = json!({"replicas": 4, "autoscaling": null});
    world.patch("scimendpoints", "main", &json!({"spec": {"server": server}})).await;
    eventually("the number is ours again", async || (replicas().await == 4).then_some(())).await;
}
