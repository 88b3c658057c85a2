//! The audit log as requests fill it: who, from where, what; and what appends nothing.

use std::sync::Arc;
use std::time::Duration;

use scim_operator::config::ServerConfig;
use scim_operator::server::audit::prune_audit_logs;
use scim_operator::server::connection::ConnectionLimits;
use scim_operator::store::audit::{Change, From, Operation};
use scim_operator::store::sqlite::SqliteStore;
use scim_operator::store::{Store, TenantKey};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{BULK, Data, RequestExt, Server, USER, config, patch};

/// A server, and the log of its tenant `acme`.
struct Audited {
    server: Server,
    store: Arc<SqliteStore>,
}

impl Audited {
    async fn start(config: &ServerConfig) -> Self {
        let data = TempDir::new().unwrap();
        let store = Arc::new(SqliteStore::open(data.path()).unwrap());
        let shared: Arc<dyn Store> = Arc::<SqliteStore>::clone(&store);
        let server =
            Server::on(shared, Some(Data::Directory(data)), config, ConnectionLimits::default()).await;
        Self { server, store }
    }

    async fn log(&self) -> Vec<Change> {
        let acme = TenantKey("identity/acme".into());
        self.store.changes(&acme, From::Oldest, 1000).await.unwrap().changes
    }
}

fn keeping_values() -> ServerConfig {
    let mut config = config();
    Arc::make_mut(&mut config.tenants[0]).audit.values = true;
    config
}

#[tokio::test]
async fn deactivation_and_deletion_say_who_did_them() {
    let audited = Audited::start(&config()).await;
    let server = &audited.server;
    let ann = server.user("ann").await;
    let deactivate = patch(&json!([{"op": "replace", "path": "active", "value": false}]));
    let request = |method, token| {
        let url = format!("{}/Users/{ann}", server.base("acme"));
        server.anonymous(method, &url).bearer_auth(token)
    };
    request("PATCH", "acme-old").header("x-request-id", "off-1").scim(&deactivate).reply().await;
    request("DELETE", "acme-token").header("x-request-id", "gone-1").reply().await;

    let log = audited.log().await;
    let said: Vec<_> = log
        .iter()
        .map(|change| {
            assert_eq!((change.resource_type.as_str(), change.resource_id.as_str()), ("User", ann.as_str()));
            assert_eq!(change.client, Some("127.0.0.1".parse().unwrap()));
            (change.operation, change.actor.as_str(), change.attributes.join(" "))
        })
        .collect();
    assert_eq!(
        said,
        [
            (Operation::Create, "name of acme-token", "userName displayName".to_owned()),
            (Operation::Patch, "name of acme-old", "active".to_owned()),
            (Operation::Delete, "name of acme-token", String::new()),
        ]
    );
    assert_eq!((log[1].request_id.as_str(), log[2].request_id.as_str()), ("off-1", "gone-1"));
    assert_eq!(log[0].request_id, server.log()[0]["request_id"], "the id that the access log has");
}

#[tokio::test]
async fn reads_refusals_and_writes_without_effect_append_nothing() {
    let audited = Audited::start(&config()).await;
    let server = &audited.server;
    let ann = server.user("ann").await;
    let before = audited.log().await;
    let path = format!("/Users/{ann}");
    let same = json!({"schemas": [USER], "userName": "ann", "displayName": "The ann"});
    assert_eq!(server.send("PUT", &path, &same).await.status, 200);
    let same = patch(&json!([{"op": "replace", "path": "userName", "value": "ann"}]));
    assert_eq!(server.send("PATCH", &path, &same).await.status, 200);
    assert_eq!(server.get(&path).await.status, 200);
    let twin = json!({"schemas": [USER], "userName": "Ann"});
    assert_eq!(server.send("POST", "/Users", &twin).await.status, 409);
    assert_eq!(server.send("POST", "/Users", &json!({"schemas": [USER]})).await.status, 400);
    assert_eq!(server.delete("/Users/nobody").await.status, 404);
    let late = server.request("DELETE", &path).header("if-match", "W/\"9\"").reply().await;
    assert_eq!(late.status, 412);
    let url = format!("{}{path}", server.base("acme"));
    assert_eq!(server.anonymous("DELETE", &url).bearer_auth("wrong").reply().await.status, 401);
    assert_eq!(audited.log().await, before);
}

#[tokio::test]
async fn password_is_named_and_never_valued() {
    let audited = Audited::start(&keeping_values()).await;
    let server = &audited.server;
    let body = json!({"schemas": [USER], "userName": "ann", "password": "correct horse"});
    let reply = server.send("POST", "/Users", &body).await;
    let path = format!("/Users/{}", reply.body["id"].as_str().unwrap());
    let change = patch(&json!([{"op": "replace", "value": {"password": "battery staple", "title": "x"}}]));
    assert_eq!(server.send("PATCH", &path, &change).await.status, 200);

    let log = audited.log().await;
    assert_eq!(log[0].attributes, ["userName", "password"]);
    assert_eq!(log[1].attributes, ["title", "password"]);
    assert_eq!(json!(log[1])["values"], json!({"title": {"old": null, "new": "x"}}));
    let text = serde_json::to_string(&log).unwrap();
    assert!(!text.contains("horse") && !text.contains("staple"), "{text}");
}

#[tokio::test]
async fn values_are_kept_only_where_the_tenant_asks() {
    for (config, values) in
        [(config(), json!(null)), (keeping_values(), json!({"active": {"old": null, "new": false}}))]
    {
        let audited = Audited::start(&config).await;
        let ann = audited.server.user("ann").await;
        let off = patch(&json!([{"op": "add", "path": "active", "value": false}]));
        audited.server.send("PATCH", &format!("/Users/{ann}"), &off).await;
        assert_eq!(json!(audited.log().await[1])["values"], values);
    }
}

#[tokio::test]
async fn bulk_has_a_row_for_each_operation_that_took_effect() {
    let audited = Audited::start(&config()).await;
    let user = |name: &str| json!({"schemas": [USER], "userName": name});
    let body = json!({"schemas": [BULK], "Operations": [
        {"method": "POST", "path": "/Users", "bulkId": "a", "data": user("ann")},
        {"method": "POST", "path": "/Users", "bulkId": "b", "data": user("ANN")},
        {"method": "POST", "path": "/Users", "bulkId": "c", "data": user("cid")},
        {"method": "DELETE", "path": "/Users/nobody"}]});
    let reply =
        audited.server.request("POST", "/Bulk").header("x-request-id", "bulk-1").scim(&body).reply().await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let log = audited.log().await;
    assert_eq!(log.len(), 2);
    assert!(log.iter().all(|change| change.operation == Operation::Create && change.request_id == "bulk-1"));
    assert_eq!((log[0].sequence, log[1].sequence), (1, 2), "what was undone took no sequence");
}

#[tokio::test]
async fn retry_with_the_same_key_appends_nothing() {
    let audited = Audited::start(&config()).await;
    let body = json!({"schemas": [USER], "userName": "ann"});
    for _ in 0..2 {
        let request = audited.server.request("POST", "/Users").header("idempotency-key", "\"k1\"");
        assert_eq!(request.scim(&body).reply().await.status, 201);
    }
    assert_eq!(audited.log().await.len(), 1);
}

#[tokio::test]
async fn client_address_is_what_a_trusted_proxy_says() {
    let mut trusting = config();
    trusting.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    for (config, address) in [(config(), "127.0.0.1"), (trusting, "2001:db8::7")] {
        let audited = Audited::start(&config).await;
        let body = json!({"schemas": [USER], "userName": "ann"});
        let request = audited.server.request("POST", "/Users").header("x-forwarded-for", "2001:db8::7");
        request.scim(&body).reply().await;
        assert_eq!(audited.log().await[0].client, Some(address.parse().unwrap()));
    }
}

#[tokio::test]
async fn log_is_kept_within_its_bounds_and_measured() {
    let mut config = config();
    Arc::make_mut(&mut config.tenants[0]).audit.max_entries = 2;
    let audited = Audited::start(&config).await;
    for name in ["a", "b", "c", "d", "e"] {
        audited.server.user(name).await;
    }
    let pruning = tokio::spawn(prune_audit_logs(Arc::clone(&audited.server.app)));
    let url = format!("http://{}/metrics", audited.server.admin);
    let mut metrics = String::new();
    for _ in 0..500 {
        metrics = audited.server.anonymous("GET", &url).reply().await.text;
        if metrics.contains(r#"scim_audit_pruned_total{tenant="identity/acme"} 3"#) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    pruning.abort();
    for line in [
        r#"scim_audit_pruned_total{tenant="identity/acme"} 3"#,
        r#"scim_audit_entries{tenant="identity/acme"} 2"#,
        r#"scim_audit_oldest_timestamp_seconds{tenant="identity/acme"} "#,
        r#"scim_audit_entries{tenant="identity/globex"} 0"#,
        "# HELP scim_audit_entries ",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    let log = audited.log().await;
    assert_eq!(log.iter().map(|change| change.sequence).collect::<Vec<_>>(), [4, 5]);
}
