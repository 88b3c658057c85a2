//! What logs, metrics and probes say of requests, and what they never say.

use serde_json::json;

use crate::support::{RequestExt, Server, USER};

#[tokio::test]
async fn one_line_tells_a_request_and_no_personal_value() {
    let server = Server::start().await;
    let id = server.user("alice").await;
    let reply = server
        .request("GET", &format!("/Users/{id}?attributes=userName"))
        .header("x-request-id", "my-id-1")
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        .reply()
        .await;
    assert_eq!(reply.header("x-request-id"), Some("my-id-1"));
    server.get("/Users/alice@example.com").await;
    server.get("/Users?filter=userName%20eq%20%22alice%22").await;
    server
        .anonymous("GET", &format!("{}/Users", server.base("secret-tenant")))
        .bearer_auth("s3cret")
        .reply()
        .await;

    let log = server.log();
    assert_eq!(log.len(), 5);
    assert_eq!((&log[0]["operation"], &log[0]["resource_id"]), (&json!("create"), &json!(id)));
    let mut line = log[1].clone();
    for field in ["timestamp", "duration_ms"] {
        assert!(line.as_object_mut().unwrap().remove(field).is_some(), "{field}");
    }
    assert_eq!(
        line,
        json!({"level": "INFO", "message": "request", "request_id": "my-id-1",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "tenant": "identity/acme", "credential": "name of acme-token",
        "operation": "get", "resource_type": "User", "resource_id": id, "status": 200, "client": "127.0.0.1"})
    );
    let text = serde_json::to_string(&log).unwrap();
    for never in ["alice", "s3cret", "secret-tenant", "filter"] {
        assert!(!text.contains(never), "{never} in {text}");
    }
    assert_ne!(log[0]["request_id"], log[2]["request_id"]);
}

#[tokio::test]
async fn metrics_count_by_tenant_operation_and_status() {
    let server = Server::start().await;
    server.user("a").await;
    server.get("/Users/none").await;
    server.anonymous("GET", &format!("{}/Users", server.base("stranger"))).reply().await;
    let metrics = server.anonymous("GET", &format!("http://{}/metrics", server.admin)).reply().await;
    assert_eq!(
        metrics.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    for line in [
        r#"scim_requests_total{tenant="identity/acme",operation="create",status="201"} 1"#,
        r#"scim_requests_total{tenant="identity/acme",operation="get",status="404"} 1"#,
        r#"scim_requests_total{tenant="",operation="none",status="401"} 1"#,
        r#"scim_request_duration_seconds_count{operation="create"} 1"#,
        "scim_config_generation 1",
        "scim_tenants 2",
        "scim_panics_total 0",
    ] {
        assert!(metrics.text.contains(line), "{line}\n{}", metrics.text);
    }
    assert!(!metrics.text.contains("stranger"));
}

#[tokio::test]
async fn readiness_fails_in_words_while_draining() {
    let server = Server::start().await;
    let admin = |path: &'static str| server.anonymous("GET", &format!("http://{}{path}", server.admin));
    assert_eq!(admin("/livez").reply().await.status, 200);
    assert_eq!(admin("/readyz").reply().await.status, 200);
    server.app.drain();
    let reply = admin("/readyz").reply().await;
    assert_eq!((reply.status, reply.text.as_str()), (503, "not ready: the server is shutting down\n"));
    assert_eq!(admin("/livez").reply().await.status, 200);
    assert_eq!(
        server.send("POST", "/Users", &json!({"schemas": [USER], "userName": "a"})).await.status,
        201,
        "requests are served meanwhile"
    );
    assert_eq!(admin("/nothing").reply().await.status, 404);
}
