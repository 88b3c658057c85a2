//! The validating webhook, asked by the real API server.

use std::net::TcpListener;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::support::{ApiServer, Controller, TOKEN, World, eventually};

const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

/// As the chart makes it, for one namespace of an API server that other tests use too.
async fn configure(server: &ApiServer, namespace: &str, port: u16) {
    let webhook = json!({
        "name": "validate.scim-operator.io",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": format!("https://127.0.0.1:{port}/validate")},
        "rules": [{
            "apiGroups": ["scim-operator.io"], "apiVersions": ["v1alpha1"],
            "operations": ["CREATE", "UPDATE"], "resources": ["scimendpoints", "scimtenants"],
        }],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "failurePolicy": "Fail", "sideEffects": "None", "timeoutSeconds": 30,
    });
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": namespace}, "webhooks": [webhook],
    });
    let (status, answer) = server.send(Method::POST, CONFIGURATIONS, &configuration).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
}

fn endpoint(name: &str, host: &str) -> Value {
    json!({
        "apiVersion": "scim-operator.io/v1alpha1", "kind": "ScimEndpoint",
        "metadata": {"name": name}, "spec": {"host": host},
    })
}

fn tenant(name: &str, endpoint: &str, path: &str) -> Value {
    json!({
        "apiVersion": "scim-operator.io/v1alpha1", "kind": "ScimTenant",
        "metadata": {"name": name}, "spec": {"endpointRef": {"name": endpoint}, "path": path},
    })
}

#[tokio::test]
async fn api_server_refuses_what_a_status_would_refuse() {
    let server = ApiServer::start().await;
    let namespace = "webhook";
    let world = World::new(&server, namespace).await;
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap().port();
    configure(&server, namespace, port).await;
    let address = format!("--webhook=127.0.0.1:{port}");
    let name = format!("--webhook-name={namespace}");
    let _controller =
        Controller::start_with(&server, &server.running.url, namespace, &[&address, &name]).await;

    // The API server takes a moment to learn whom to trust.
    let send =
        async |plural: &str, object: &Value| server.send(Method::POST, &world.path(plural, ""), object).await;
    eventually("the first endpoint is taken", async || {
        let (status, _) = send("scimendpoints", &endpoint("main", "one.example.com")).await;
        (status == StatusCode::CREATED).then_some(())
    })
    .await;
    world.wait_for("scimendpoints", "main", "Accepted", "True").await;
    let refused = async |plural: &str, object: &Value, words: &str| {
        let (status, answer) = send(plural, object).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
        assert!(answer["message"].as_str().unwrap().contains(words), "{answer}");
    };
    let second = endpoint("second", "one.example.com");
    refused("scimendpoints", &second, "one.example.com is already that of ScimEndpoint webhook/main").await;

    // A tenant may come before its endpoint, with a warning.
    let url = format!("{}{}", server.running.url, world.path("scimtenants", ""));
    let early = server.client.post(url).bearer_auth(TOKEN).json(&tenant("early", "later", "early"));
    let answer = early.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    let warning = answer.headers()["warning"].to_str().unwrap();
    assert!(warning.contains("there is no ScimEndpoint webhook/later"), "{warning}");

    world.create("scimtenants", &tenant("acme", "main", "acme")).await;
    eventually("the webhook has seen the first tenant", async || {
        let taken = tenant("other", "main", "acme");
        let path = format!("{}?dryRun=All", world.path("scimtenants", ""));
        let (status, answer) = server.send(Method::POST, &path, &taken).await;
        let says = answer["message"]
            .as_str()
            .unwrap_or_default()
            .contains("already that of ScimTenant webhook/acme");
        (status == StatusCode::UNPROCESSABLE_ENTITY && says).then_some(())
    })
    .await;
    // Its own path is not in its way, and neither is an object that is on its way out.
    world.patch("scimtenants", "acme", &json!({"spec": {"suspended": true}})).await;
    world.delete("scimtenants", "acme").await;

    // Somebody deletes the certificate: there is another one soon, and it is trusted.
    let before = world.get("secrets", namespace).await["data"].clone();
    world.delete("secrets", namespace).await;
    eventually("another certificate", async || {
        let now = world.find("secrets", namespace).await?["data"].clone();
        (now["tls.crt"] != before["tls.crt"]).then_some(())
    })
    .await;
    eventually("it is trusted", async || {
        let (status, _) = send("scimendpoints", &endpoint("third", "three.example.com")).await;
        (status == StatusCode::CREATED).then_some(())
    })
    .await;
}
