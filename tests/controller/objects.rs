//! From manifests to objects and statuses, and what becomes of edits.

use std::time::Duration;

use serde_json::json;

use super::support::{ApiServer, Controller, Pod, World, condition, eventually};

#[tokio::test]
async fn endpoint_and_tenant_become_ready_with_all_their_objects() {
    let server = ApiServer::start().await;
    let world = World::new(&server, "objects-ready").await;
    let _controller = Controller::start(&server, &world.namespace).await;
    let spec = json!({"host": "ready.example.com", "exposure": {"ingress": {"className": "traefik"}}});
    world.endpoint("main", spec).await;
    world.tenant("acme", json!({})).await;
    let pod = Pod::start(&world, "main").await;
    pod.say_tenants(&[json!({
        "name": "objects-ready/acme", "path": "acme", "users": 3, "groups": 1, "lastRequestTime": "2026-11-23T01:02:03Z",
    })]);

    let tenant = world.wait_for("scimtenants", "acme", "Ready", "True Ready").await;
    let url = "https://ready.example.com/acme/scim/v2";
    assert_eq!(tenant["status"]["url"], url);
    assert_eq!(tenant["status"]["secretName"], "acme-scim-token");
    let endpoint = world.wait_for("scimendpoints", "main", "Ready", "True Ready").await;
    assert_eq!(endpoint["status"]["tenants"], 1);
    assert_eq!(endpoint["status"]["readyReplicas"], 1);
    assert_eq!(condition(&endpoint, "Stalled"), "");
    eventually("users are counted", async || {
        let status = world.get("scimtenants", "acme").await["status"].clone();
        (status["users"] == 3 && status["lastRequestTime"] == "2026-11-23T01:02:00Z").then_some(())
    })
    .await;
    insta::assert_snapshot!(world.inventory().await, @r"
    deployments/main-scim
    ingresses/main-scim
    networkpolicies/main-scim
    persistentvolumeclaims/main-scim-data
    rolebindings/main-scim
    roles/main-scim
    secrets/acme-scim-token
    secrets/main-scim-config
    secrets/main-scim-config-09
    serviceaccounts/main-scim
    services/main-scim
    ");
    let secret = world.get("secrets", "acme-scim-token").await;
    let decode = |key: &str| {
        use base64::Engine as _;
        let bytes = base64::prelude::BASE64_STANDARD.decode(secret["data"][key].as_str().unwrap_or_default());
        String::from_utf8(bytes.unwrap()).unwrap()
    };
    assert_eq!((decode("url").as_str(), decode("token").len()), (url, 44));
    assert_eq!(secret["metadata"]["ownerReferences"][0]["kind"], "ScimTenant");
}

#[tokio::test]
async fn edit_is_put_back_and_deleted_child_comes_back_and_both_are_told() {
    let server = ApiServer::start().await;
    let world = World::new(&server, "objects-edited").await;
    let _controller = Controller::start(&server, &world.namespace).await;
    world.endpoint("main", json!({})).await;
    let _pod = Pod::start(&world, "main").await;
    world.wait_for("scimendpoints", "main", "Ready", "True").await;

    world.patch("deployments", "main-scim", &json!({"spec": {"replicas": 4}})).await;
    eventually("the edit is put back", async || {
        (world.get("deployments", "main-scim").await["spec"]["replicas"] == 1).then_some(())
    })
    .await;
    world.wait_for_event("PutBack", "spec.replicas").await;

    // What others add is theirs.
    let theirs = json!({"metadata": {"annotations": {"example.com/note": "mine"}}});
    world.patch("services", "main-scim", &theirs).await;
    let before = world.get("services", "main-scim").await["metadata"]["uid"].clone();
    world.delete("services", "main-scim").await;
    eventually("the child comes back", async || {
        let service = world.find("services", "main-scim").await?;
        (service["metadata"]["uid"] != before).then_some(())
    })
    .await;
    world.wait_for_event("Recreated", "Service main-scim").await;
}

#[tokio::test]
async fn exposure_that_changes_takes_objects_away() {
    let server = ApiServer::start().await;
    let world = World::new(&server, "objects-exposure").await;
    let _controller = Controller::start(&server, &world.namespace).await;
    let spec = json!({"host": "moves.example.com", "exposure": {"ingress": {}}});
    world.endpoint("main", spec).await;
    world.tenant("acme", json!({})).await;
    eventually("there is an Ingress", async || world.find("ingresses", "main-scim").await).await;
    // Somebody else's, beside it.
    let theirs = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "theirs"},
        "spec": {"defaultBackend": {"service": {"name": "theirs", "port": {"number": 80}}}},
    });
    world.create("ingresses", &theirs).await;
    let exposure = json!({"spec": {"exposure": {"ingress": null, "clusterIP": {}}}});
    world.patch("scimendpoints", "main", &exposure).await;
    eventually("the Ingress is deleted", async || {
        world.find("ingresses", "main-scim").await.is_none().then_some(())
    })
    .await;
    assert!(world.find("ingresses", "theirs").await.is_some());
}

#[tokio::test]
async fn pod_with_an_older_configuration_makes_programmed_false() {
    let server = ApiServer::start().await;
    let world = World::new(&server, "objects-older").await;
    let _controller = Controller::start(&server, &world.namespace).await;
    world.endpoint("main", json!({})).await;
    let pod = Pod::start(&world, "main").await;
    let endpoint = world.wait_for("scimendpoints", "main", "Programmed", "True").await;
    pod.say_digest(endpoint["status"]["configurationDigest"].as_str());
    world.tenant("acme", json!({})).await;
    world.wait_for("scimendpoints", "main", "Programmed", "False ConfigurationPending").await;
    world.wait_for("scimtenants", "acme", "Ready", "False ConfigurationPending").await;
    pod.say_digest(None);
    world.wait_for("scimtenants", "acme", "Ready", "True").await;
    let endpoint = world.wait_for("scimendpoints", "main", "Programmed", "True").await;
    assert_eq!(endpoint["status"]["tenants"], 1);
}

#[tokio::test]
async fn nothing_is_written_while_nothing_changes() {
    // Its own: the writes of an API server are counted for all of its clients.
    let server = ApiServer::alone().await;
    let world = World::new(&server, "idle").await;
    let controller = Controller::start(&server, &world.namespace).await;
    let spec = json!({"host": "idle.example.com", "exposure": {"ingress": {}}});
    world.endpoint("main", spec).await;
    for name in ["acme", "globex", "initech"] {
        world.tenant(name, json!({})).await;
    }
    let _pod = Pod::start(&world, "main").await;
    for name in ["acme", "globex", "initech"] {
        world.wait_for("scimtenants", name, "Ready", "True").await;
    }
    world.wait_for("scimendpoints", "main", "Ready", "True").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = writes(&server).await;
    // Longer than any look at the pods, and a restart of the watches is no reason either.
    tokio::time::sleep(Duration::from_secs(15)).await;
    let after = writes(&server).await;
    assert_eq!(before, after);

    // Nor does a process that begins anew find anything to write.
    controller.terminate().await;
    let _controller = Controller::start(&server, &world.namespace).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(after, writes(&server).await);
}

/// The writes that the API server has counted, without those of Leases and its own.
async fn writes(server: &ApiServer) -> Vec<String> {
    let url = format!("{}/metrics", server.running.url);
    let request = server.client.get(url).bearer_auth(super::support::TOKEN);
    let text = request.send().await.unwrap().text().await.unwrap();
    let verbs = ["POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"];
    let resources = [
        "scimendpoints",
        "scimtenants",
        "secrets",
        "deployments",
        "services",
        "ingresses",
        "roles",
        "rolebindings",
        "serviceaccounts",
        "networkpolicies",
        "persistentvolumeclaims",
        "poddisruptionbudgets",
        "events",
    ];
    let lines = text.lines().filter(|line| {
        line.starts_with("apiserver_request_total{")
            && verbs.iter().any(|verb| line.contains(&format!("verb=\"{verb}\"")))
            && resources.iter().any(|resource| line.contains(&format!("resource=\"{resource}\"")))
    });
    lines.map(str::to_owned).collect()
}
