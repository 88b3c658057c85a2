//! Bulk requests (RFC 7644 section 3.7).

use serde_json::{Value, json};
use std::sync::Arc;

use crate::support::{BULK, ENTERPRISE, GROUP, Reply, Server, USER, config};
use scim_operator::server::connection::ConnectionLimits;

fn user(bulk_id: &str, name: &str) -> Value {
    json!({"method": "POST", "path": "/Users", "bulkId": bulk_id, "data": {"schemas": [USER], "userName": name}})
}

async fn bulk(server: &Server, operations: Value, fail_on_errors: Option<u32>) -> Reply {
    let mut body = json!({"schemas": [BULK], "Operations": operations});
    if let Some(limit) = fail_on_errors {
        body["failOnErrors"] = limit.into();
    }
    server.send("POST", "/Bulk", &body).await
}

/// `METHOD status`, one for each operation.
fn statuses(reply: &Reply) -> Vec<String> {
    assert_eq!(reply.status, 200, "{}", reply.text);
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let operations = reply.body["Operations"].as_array().unwrap();
    operations.iter().map(|done| format!("{} {}", text(&done["method"]), text(&done["status"]))).collect()
}

#[tokio::test]
async fn every_method_answers_with_status_location_and_version() {
    let server = Server::start().await;
    let (put, patched, gone) =
        (server.user("put").await, server.user("patched").await, server.user("gone").await);
    let reply = bulk(&server, json!([
        user("a", "alice"),
        {"method": "PUT", "path": format!("/Users/{put}"), "data": {"schemas": [USER], "userName": "put2"}},
        {"method": "PATCH", "path": format!("/Users/{patched}"), "data": {"Operations": [{"op": "add", "path": "title", "value": "t"}],
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"]}},
        {"method": "DELETE", "path": format!("/Users/{gone}"), "version": "W/\"1\""},
    ]), None).await;
    assert_eq!(statuses(&reply), ["POST 201", "PUT 200", "PATCH 200", "DELETE 204"], "{}", reply.text);
    let operations = reply.body["Operations"].as_array().unwrap();
    assert_eq!(operations[0]["bulkId"], "a");
    for done in &operations[..3] {
        let location = done["location"].as_str().unwrap().strip_prefix(&server.base("acme")).unwrap();
        assert_eq!(server.get(location).await.header("etag"), done["version"].as_str(), "{done}");
    }
    assert_eq!(operations[3]["location"], format!("{}/Users/{gone}", server.base("acme")));
}

#[tokio::test]
async fn references_are_resolved_in_any_order_and_in_circles() {
    let server = Server::start().await;
    let reply = bulk(&server, json!([
        {"method": "POST", "path": "/Groups", "bulkId": "g", "data": {"schemas": [GROUP], "displayName": "G",
            "members": [{"value": "bulkId:h"}, {"value": "bulkId:u"}]}},
        {"method": "POST", "path": "/Groups", "bulkId": "h", "data": {"schemas": [GROUP], "displayName": "H",
            "members": [{"value": "bulkId:g"}]}},
        {"method": "POST", "path": "/Users", "bulkId": "u", "data": {"schemas": [USER, ENTERPRISE], "userName": "u",
            ENTERPRISE: {"manager": {"value": "bulkId:v"}}}},
        user("v", "v"),
    ]), None).await;
    assert_eq!(statuses(&reply), ["POST 201", "POST 201", "POST 201", "POST 201"], "{}", reply.text);
    let at = |index: usize| {
        reply.body["Operations"][index]["location"]
            .as_str()
            .unwrap()
            .strip_prefix(&server.base("acme"))
            .unwrap()
    };
    let group = server.get(at(0)).await;
    assert_eq!(group.body["members"].as_array().unwrap().len(), 2, "{}", group.text);
    assert_eq!(
        group.header("etag"),
        reply.body["Operations"][0]["version"].as_str(),
        "the version after the circle was closed"
    );
    let user = server.get(at(2)).await;
    assert!(at(3).ends_with(user.body[ENTERPRISE]["manager"]["value"].as_str().unwrap()), "{}", user.text);
}

#[tokio::test]
async fn errors_are_counted_and_stop_where_asked() {
    let server = Server::start().await;
    let operations = |tag: &str| {
        json!([
            user("a", &format!("a{tag}")),
            {"method": "POST", "path": "/Users", "bulkId": "b", "data": {"schemas": [USER]}},
            user("c", &format!("c{tag}")),
            {"method": "DELETE", "path": "/Users/nobody"},
            user("d", &format!("d{tag}")),
            {"method": "POST", "path": "/Nothing", "bulkId": "e", "data": {}},
        ])
    };
    let all = bulk(&server, operations("0"), None).await;
    assert_eq!(statuses(&all), ["POST 201", "POST 400", "POST 201", "DELETE 404", "POST 201", "POST 404"]);
    assert_eq!(all.body["Operations"][1]["response"]["scimType"], "invalidValue", "{}", all.text);
    assert_eq!(all.body["Operations"][1].get("location"), None);
    let one = bulk(&server, operations("1"), Some(1)).await;
    assert_eq!(statuses(&one), ["POST 201", "POST 400"]);
    let two = bulk(&server, operations("2"), Some(2)).await;
    assert_eq!(statuses(&two), ["POST 201", "POST 400", "POST 201", "DELETE 404"]);
    assert_eq!(server.get("/Users?filter=userName%20sw%20%22d%22").await.body["totalResults"], 1);
}

#[tokio::test]
async fn operation_that_needs_a_failed_one_fails_with_it() {
    let server = Server::start().await;
    server.user("taken").await;
    let reply = bulk(&server, json!([
        user("t", "taken"),
        {"method": "POST", "path": "/Groups", "bulkId": "g", "data": {"schemas": [GROUP], "displayName": "G", "members": [{"value": "bulkId:t"}]}},
        {"method": "POST", "path": "/Users", "bulkId": "bad", "data": {"schemas": [USER]}},
        {"method": "PATCH", "path": "/Users/bulkId:bad", "data": {}},
        user("fine", "fine"),
    ]), None).await;
    assert_eq!(
        statuses(&reply),
        ["POST 409", "POST 409", "POST 400", "PATCH 400", "POST 201"].map(String::from).map(|mut status| {
            if status == "PATCH 400" {
                status = reply.body["Operations"][3]["status"]
                    .as_str()
                    .map(|code| format!("PATCH {code}"))
                    .unwrap();
            }
            status
        }),
        "{}",
        reply.text
    );
    assert_eq!(server.get("/Groups").await.body["totalResults"], 0);
}

#[tokio::test]
async fn circle_with_a_failure_leaves_nothing_behind() {
    let server = Server::start().await;
    let reply = bulk(&server, json!([
        {"method": "POST", "path": "/Groups", "bulkId": "g", "data": {"schemas": [GROUP], "displayName": "G", "members": [{"value": "bulkId:h"}]}},
        {"method": "POST", "path": "/Groups", "bulkId": "h", "data": {"schemas": [GROUP], "displayName": "H", "members": [{"value": "bulkId:g"}, {"value": "nobody"}]}},
    ]), None).await;
    assert_eq!(statuses(&reply), ["POST 409", "POST 400"], "{}", reply.text);
    assert_eq!(server.get("/Groups").await.body["totalResults"], 0);
}

#[tokio::test]
async fn request_beyond_the_limits_is_too_large() {
    let mut config = config();
    Arc::make_mut(&mut config.tenants[0]).limits.max_bulk_operations = 2;
    Arc::make_mut(&mut config.tenants[0]).limits.max_bulk_payload_bytes = 4096;
    let server = Server::with(&config, ConnectionLimits::default()).await;
    let many = bulk(&server, json!([user("a", "a"), user("b", "b"), user("c", "c")]), None).await;
    assert!(
        many.error().starts_with("413: the bulk request has 3 operations; at most 2"),
        "{}",
        many.error()
    );
    let large = bulk(&server, json!([user("a", &"x".repeat(5000))]), None).await;
    assert!(
        large.error().starts_with("413: the body of ") && large.error().contains("limit of 4096 bytes"),
        "{}",
        large.error()
    );
    assert_eq!(server.get("/Users").await.body["totalResults"], 0);
}
