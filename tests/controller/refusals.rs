//! What is not accepted, who holds what, and what serves on.

use std::fs;

use serde_json::{Value, json};

use super::support::{ApiServer, Controller, Pod, World, condition, eventually};

#[tokio::test]
async fn older_endpoint_keeps_the_host_and_the_newer_says_who_has_it() {
    let server = ApiServer::start().await;
    let world = World::new(&server, "refusals-host").await;
    let _controller = Controller::start(&server, &world.namespace).await;
    let spec = json!({"host": "one.example.com"});
    world.endpoint("first", spec.clone()).await;
    let _pod = Pod::start(&world, "first").await;
    world.wait_for("scimendpoints", "first", "Ready", "True").await;
    world.endpoint("second", spec).await;
    let second = world.wait_for("scimendpoints", "second", "Accepted", "False HostTaken").await;
    assert!(condition(&second, "Accepted").contains("ScimEndpoint refusals-host/first"), "{second}");
    assert!(condition(&second, "Stalled").starts_with("True HostTaken"));
    assert!(world.find("deployments", "second-scim").await.is_none());
    assert!(condition(&world.get("scimendpoints", "first").await, "Ready").starts_with("True"));
    world.delete("scimendpoints", "first").await;
    world.wait_for("scimendpoints", "second", "Accepted", "True").await;
}

#[tokio::test]
async fn last_good_configuration_serves_on_when_a_secret_goes() {
    let server = ApiServer::start().await;
    let world = World::new(&server, "refusals-secret").await;
    let controller = Controller::start(&server, &world.namespace).await;
    world.endpoint("main", json!({})).await;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "next"},
        "stringData": {"token": "a-second-token-of-acme"},
    });
    world.create("secrets", &secret).await;
    let tokens = json!([{"name": "next", "secretKeyRef": {"name": "next", "key": "token"}}]);
    world.tenant("acme", json!({"authentication": {"bearer": {"tokens": tokens}}})).await;
    let _pod = Pod::start(&world, "main").await;
    world.wait_for("scimtenants", "acme", "Ready", "True").await;
    let shards = async || configuration(&world).await;
    let before = shards().await;

    world.delete("secrets", "next").await;
    let tenant = world.wait_for("scimtenants", "acme", "Accepted", "False SecretNotFound").await;
    assert!(condition(&tenant, "Ready").contains("served on"), "{tenant}");
    assert_eq!(shards().await, before);

    // Neither does a process that begins anew forget it.
    controller.terminate().await;
    let _controller = Controller::start(&server, &world.namespace).await;
    let path = json!({"metadata": {"labels": {"touched": "yes"}}});
    world.patch("scimtenants", "acme", &path).await;
    world.tenant("globex", json!({})).await;
    world.wait_for("scimtenants", "globex", "Ready", "True").await;
    let name = |secret: &Value| secret["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let kept: Vec<_> = shards().await.into_iter().filter(|one| before.contains(one)).collect();
    assert_eq!(kept.iter().map(name).collect::<Vec<_>>(), before.iter().map(name).collect::<Vec<_>>());

    world.create("secrets", &secret).await;
    world.wait_for("scimtenants", "acme", "Ready", "True").await;
}

/// The shards of the configuration, without what every write changes.
async fn configuration(world: &World<'_>) -> Vec<Value> {
    let secrets = world.list("secrets").await.into_iter();
    let shards = secrets.filter(|secret| {
        secret["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("main-scim-config-"))
    });
    shards
        .map(|secret| json!({"metadata": {"name": secret["metadata"]["name"]}, "data": secret["data"]}))
        .collect()
}

#[tokio::test]
async fn tenant_that_is_not_served_says_why_and_what_to_do() {
    let server = ApiServer::start().await;
    let world = World::new(&server, "refusals-tenant").await;
    let _controller = Controller::start(&server, &world.namespace).await;
    world.endpoint("main", json!({"maxTenants": 2})).await;
    let _pod = Pod::start(&world, "main").await;
    world.tenant("nowhere", json!({"endpointRef": {"name": "mian"}})).await;
    let nowhere = world.wait_for("scimtenants", "nowhere", "Accepted", "False EndpointNotFound").await;
    assert!(condition(&nowhere, "Accepted").contains("refusals-tenant/mian"), "{nowhere}");
    world.tenant("acme", json!({"path": "a"})).await;
    world.wait_for("scimtenants", "acme", "Ready", "True").await;
    world.tenant("b-thief", json!({"path": "a"})).await;
    let thief = world.wait_for("scimtenants", "b-thief", "Accepted", "False PathTaken").await;
    assert!(condition(&thief, "Accepted").contains("ScimTenant refusals-tenant/acme"), "{thief}");
    world.tenant("c-second", json!({})).await;
    world.wait_for("scimtenants", "c-second", "Ready", "True").await;
    world.tenant("d-third", json!({})).await;
    world.wait_for("scimtenants", "d-third", "Accepted", "False QuotaExceeded").await;
    let endpoint = world.get("scimendpoints", "main").await;
    eventually("the endpoint counts them", async || {
        let status = world.get("scimendpoints", "main").await["status"].clone();
        (status["tenants"] == 2 && status["refusedTenants"] == 2).then_some(())
    })
    .await;
    assert!(condition(&endpoint, "Ready").starts_with("True"), "{endpoint}");
    assert!(world.find("secrets", "d-third-scim-token").await.is_none(), "no credentials for the refused");
}

#[tokio::test]
async fn object_that_cannot_be_read_stops_no_other_and_says_so() {
    // Its own: the definitions are loosened.
    let server = ApiServer::alone().await;
    let world = World::new(&server, "unreadable").await;
    loosen(&server);
    let controller = Controller::start(&server, &world.namespace).await;
    world.endpoint("main", json!({})).await;
    let _pod = Pod::start(&world, "main").await;
    eventually("the API server takes it", async || {
        let spec = json!({"endpointRef": {"name": "main"}, "identityProvider": {"of": "another version"}});
        let object = json!({
            "apiVersion": "scim-operator.io/v1alpha1", "kind": "ScimTenant", "metadata": {"name": "broken"}, "spec": spec,
        });
        let path = "/apis/scim-operator.io/v1alpha1/namespaces/unreadable/scimtenants";
        let (status, _) = server.send(reqwest::Method::POST, path, &object).await;
        status.is_success().then_some(())
    })
    .await;
    world.tenant("acme", json!({})).await;
    world.wait_for("scimtenants", "acme", "Ready", "True").await;
    world.wait_for("scimtenants", "broken", "Accepted", "False Unreadable").await;
    assert!(controller.metric(r#"scim_controller_objects_unreadable{kind="ScimTenant"}"#).await > 0.5);
    // It is repaired, and served.
    world.patch("scimtenants", "broken", &json!({"spec": {"identityProvider": "Okta"}})).await;
    world.wait_for("scimtenants", "broken", "Ready", "True").await;
}

/// Installs the definitions without the rules of their specs.
fn loosen(server: &ApiServer) {
    for definition in scim_operator::crd::definitions() {
        let mut definition = definition.clone();
        let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let schema = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        schema["properties"]["spec"] = any;
        schema.as_object_mut().unwrap().remove("x-kubernetes-validations");
        let file = server.running.folder.path().join("loose.json");
        fs::write(&file, definition.to_string()).unwrap();
        let file = file.display().to_string();
        let applied = server.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &file]);
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    }
}
