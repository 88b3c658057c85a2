//! Leavers and members that are not there yet, over HTTP: what clients see, and what metrics say.

use std::collections::HashSet;

use scim_operator::config::{Lifecycle, Membership, ServerConfig};
use scim_operator::scim::dialect::Dialect;
use scim_operator::server::connection::ConnectionLimits;
use scim_operator::server::leavers::purge;
use serde_json::{Value, json};

use crate::support::{BULK, GROUP, RequestExt, Server, USER, config, patch, tenant};

const HOUR: Lifecycle = Lifecycle {
    retention_seconds: Some(3600),
    restore_on_recreate: true,
    remove_from_groups_on_deactivate: true,
};

const PENDING: Membership = Membership { keep_unknown: true, match_external_id: true };

/// The tenant `acme` (Generic) with these choices; `globex` without any.
async fn server(lifecycle: Lifecycle, membership: Membership) -> Server {
    let mut acme = tenant("acme", Dialect::Generic);
    acme.lifecycle = lifecycle;
    acme.membership = membership;
    let config =
        ServerConfig { tenants: vec![acme.into(), tenant("globex", Dialect::Strict).into()], ..config() };
    Server::with(&config, ConnectionLimits::default()).await
}

async fn metric(server: &Server, name: &str) -> Option<String> {
    let url = format!("http://{}/metrics", server.admin);
    let text = server.anonymous("GET", &url).reply().await.text;
    let start = format!("{name}{{tenant=\"identity/acme\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&start).map(str::to_owned))
}

fn user(name: &str) -> Value {
    json!({"schemas": [USER], "userName": name})
}

#[tokio::test]
async fn post_of_a_retained_user_answers_with_its_old_id() {
    let server = server(HOUR, Membership::default()).await;
    let ann = server.user("ann").await;
    let first = server.get(&format!("/Users/{ann}")).await;
    let staff = server.group("staff", &[&ann]).await;
    assert_eq!(server.delete(&format!("/Users/{ann}")).await.status, 204);
    assert_eq!(server.get(&format!("/Users/{ann}")).await.status, 404);
    assert_eq!(server.get("/Users?filter=userName%20eq%20%22ann%22").await.body["totalResults"], 0);
    assert_eq!(metric(&server, "scim_retained_resources").await.as_deref(), Some("1"));
    let oldest: i64 =
        metric(&server, "scim_retained_oldest_timestamp_seconds").await.unwrap().parse().unwrap();
    assert!((jiff::Timestamp::now().as_second() - oldest).abs() < 60);

    let mut body = user("ann");
    body["title"] = "Dr".into();
    let reply = server.send("POST", "/Users", &body).await;
    assert_eq!(reply.status, 201);
    let location = format!("{}/Users/{ann}", server.base("acme"));
    assert_eq!(reply.header("location"), Some(location.as_str()));
    assert_eq!((&reply.body["id"], &reply.body["title"]), (&json!(ann), &json!("Dr")));
    assert_eq!(reply.body["meta"]["created"], first.body["meta"]["created"]);
    assert_ne!(reply.body["meta"]["version"], first.body["meta"]["version"]);
    assert!(reply.body.get("groups").is_none());
    let group = server.get(&format!("/Groups/{staff}")).await;
    assert!(group.body.get("members").is_none_or(|members| members == &json!([])));
    assert_eq!(metric(&server, "scim_retained_resources").await, None);
}

#[tokio::test]
async fn taken_user_name_is_told_with_the_url_of_its_owner() {
    let server = server(Lifecycle::default(), Membership::default()).await;
    let ann = server.user("ann").await;
    let url = format!("{}/Users/{ann}", server.base("acme"));
    let reply = server.send("POST", "/Users", &user("ANN")).await;
    assert!(reply.error().starts_with("409 uniqueness: userName: "), "{}", reply.text);
    assert!(reply.error().ends_with(&format!("; that one is {url}")), "{}", reply.text);
    let bob = server.user("bob").await;
    let rename = patch(&json!([{"op": "replace", "path": "userName", "value": "ann"}]));
    assert!(server.send("PATCH", &format!("/Users/{bob}"), &rename).await.error().ends_with(&url));
    assert!(server.send("PUT", &format!("/Users/{bob}"), &user("ann")).await.error().ends_with(&url));
    let bulk = json!({"schemas": [BULK], "Operations": [
        {"method": "POST", "path": "/Users", "bulkId": "a", "data": user("ann")}]});
    let reply = server.send("POST", "/Bulk", &bulk).await;
    let error = &reply.body["Operations"][0]["response"];
    assert_eq!(error["status"], "409");
    assert!(error["detail"].as_str().unwrap().ends_with(&url), "{}", reply.text);
    let keyed = server.request("POST", "/Users").header("idempotency-key", "k1").scim(&user("ann"));
    assert!(keyed.reply().await.error().ends_with(&url));
}

#[tokio::test]
async fn deactivated_user_is_in_no_group_by_any_request() {
    let server = server(HOUR, Membership::default()).await;
    let put = json!({"schemas": [USER], "userName": "ann", "active": false});
    // As Entra ID writes it.
    let patched = patch(&json!([{"op": "Replace", "path": "active", "value": "False"}]));
    let whole = patch(&json!([{"op": "replace", "value": {"active": false}}]));
    for (method, body) in [("PUT", &put), ("PATCH", &patched), ("PATCH", &whole), ("BULK", &patched)] {
        let ann = server.user("ann").await;
        let staff = server.group("staff", &[&ann]).await;
        let path = format!("/Users/{ann}");
        if method == "BULK" {
            let bulk =
                json!({"schemas": [BULK], "Operations": [{"method": "PATCH", "path": path, "data": body}]});
            assert_eq!(server.send("POST", "/Bulk", &bulk).await.status, 200);
        } else {
            let reply = server.send(method, &path, body).await;
            assert_eq!((reply.status, reply.body.get("groups")), (200, None), "{method} {body}");
        }
        let group = server.get(&format!("/Groups/{staff}")).await;
        assert!(!group.text.contains(&ann), "{method} {body}: {}", group.text);
        assert_eq!(server.get(&path).await.body["active"], false);
        assert_eq!(server.delete(&path).await.status, 204);
        let gone = server.get(&format!("/Groups/{staff}")).await;
        assert_eq!(gone.status, 200);
    }
}

#[tokio::test]
async fn pending_members_are_taken_in_by_every_push_and_shown_by_none() {
    let server = server(Lifecycle::default(), PENDING).await;
    let ann = server.user("ann").await;
    let staff = server.group("staff", &[&ann, "e1"]).await;
    let path = format!("/Groups/{staff}");
    let add = patch(&json!([{"op": "add", "path": "members", "value": [{"value": "e2"}]}]));
    assert_eq!(server.send("PATCH", &path, &add).await.status, 204);
    let bulk = json!({"schemas": [BULK], "Operations": [{"method": "PATCH", "path": path, "data":
        patch(&json!([{"op": "add", "value": {"members": [{"value": "e3"}]}}]))}]});
    let reply = server.send("POST", "/Bulk", &bulk).await;
    assert_eq!(reply.body["Operations"][0]["status"], "204", "{}", reply.text);
    let shown = server.get(&path).await;
    assert_eq!(shown.body["members"].as_array().unwrap().len(), 1);
    assert_eq!(metric(&server, "scim_pending_members").await.as_deref(), Some("3"));
    let filter = "/Groups?filter=members.value%20eq%20%22e1%22";
    assert_eq!(server.get(filter).await.body["totalResults"], 0);

    let mut body = user("bob");
    body["externalId"] = "e2".into();
    let bob = server.send("POST", "/Users", &body).await;
    assert_eq!(bob.body["groups"][0]["value"], staff.as_str(), "{}", bob.text);
    let shown = server.get(&path).await;
    assert_eq!(shown.body["members"].as_array().unwrap().len(), 2);
    assert_eq!(metric(&server, "scim_pending_members").await.as_deref(), Some("2"));
    let put = json!({"schemas": [GROUP], "displayName": "staff", "members": [{"value": "e3"}]});
    assert_eq!(server.send("PUT", &path, &put).await.status, 200);
    assert_eq!(metric(&server, "scim_pending_members").await.as_deref(), Some("1"));
    assert_eq!(server.delete(&path).await.status, 204);
    assert_eq!(metric(&server, "scim_pending_members").await, None);
}

#[tokio::test]
async fn rejected_push_names_every_unknown_member_and_changes_nothing() {
    let server = server(Lifecycle::default(), Membership::default()).await;
    for name in ["acme", "globex"] {
        let post = |body: Value| server.request_to(name, "POST", "/Groups").scim(&body).reply();
        let members: Vec<Value> =
            (0..10_000).map(|number| json!({"value": format!("nobody-{number}")})).collect();
        let reply = post(json!({"schemas": [GROUP], "displayName": "large", "members": members})).await;
        let error = reply.error();
        assert!(error.starts_with("400 invalidValue: members: no User or Group here has the id"), "{error}");
        let named: HashSet<&str> = error.split('"').collect();
        assert!((0..10_000).all(|number| named.contains(&*format!("nobody-{number}"))));
        let list = server.request_to(name, "GET", "/Groups").reply().await;
        assert_eq!(list.body["totalResults"], 0);
    }
}

#[tokio::test]
async fn retention_that_is_over_is_purged_and_counted() {
    let brief = Lifecycle { retention_seconds: Some(1), ..HOUR };
    let server = server(brief, Membership::default()).await;
    let ann = server.user("ann").await;
    assert_eq!(server.delete(&format!("/Users/{ann}")).await.status, 204);
    purge(&server.app).await.unwrap();
    assert_eq!(metric(&server, "scim_retained_resources").await.as_deref(), Some("1"), "it is not over");
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    purge(&server.app).await.unwrap();
    assert_eq!(metric(&server, "scim_retained_resources").await, None);
    assert_eq!(metric(&server, "scim_retained_purged_total").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn tenant_that_no_longer_retains_is_purged() {
    let server = server(HOUR, Membership::default()).await;
    let ann = server.user("ann").await;
    assert_eq!(server.delete(&format!("/Users/{ann}")).await.status, 204);
    server
        .app
        .apply(&ServerConfig { tenants: vec![tenant("globex", Dialect::Strict).into()], ..config() })
        .await
        .unwrap();
    purge(&server.app).await.unwrap();
    assert_eq!(metric(&server, "scim_retained_resources").await.as_deref(), Some("1"), "nobody serves it");
    server.app.apply(&config()).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    purge(&server.app).await.unwrap();
    assert_eq!(metric(&server, "scim_retained_resources").await, None);
}
