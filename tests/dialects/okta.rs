//! Okta: <https://developer.okta.com/docs/api/openapi/okta-scim/guides/scim-20/>. Its SPEC suite is in
//! `okta_spec.rs`.

use scim_operator::scim::dialect::Dialect;
use serde_json::{Value, json};
use std::sync::Arc;

use crate::fixture::{Tenant, sorted};
use crate::support::{GROUP, RequestExt, USER};

fn new_user(name: &str) -> Value {
    json!({"schemas": [USER], "userName": name, "name": {"givenName": "Test", "familyName": "User"},
        "emails": [{"primary": true, "value": name, "type": "work"}], "displayName": "Test User",
        "locale": "en-US", "externalId": "00ujl29u0le5T6Aj10h7", "groups": [], "password": "1mz050nq",
        "active": true})
}

#[tokio::test]
async fn user_is_looked_for_made_and_refused_a_second_time() {
    let okta = Tenant::of(Dialect::Okta).await;
    let name = "test.user@okta.local";
    let parameters =
        [("filter", "userName eq \"test.user@okta.local\""), ("startIndex", "1"), ("count", "100")];
    let none = okta.list("/Users", &parameters).await;
    assert_eq!((none.status, &none.body["totalResults"]), (200, &json!(0)), "{}", none.text);
    assert_eq!(none.body["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:ListResponse"]));

    let made = okta.send("POST", "/Users", new_user(name)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    for (attribute, value) in [("userName", json!(name)), ("active", json!(true)), ("locale", json!("en-US"))]
    {
        assert_eq!(made.body[attribute], value);
    }
    assert!(!made.text.contains("1mz050nq") && made.body["id"].is_string(), "{}", made.text);
    assert_eq!(okta.stored(&format!("/Users/{}", made.body["id"].as_str().unwrap())).await, made.body);

    let one = okta.list("/Users", &parameters).await;
    assert_eq!((&one.body["totalResults"], &one.body["startIndex"]), (&json!(1), &json!(1)), "{}", one.text);
    assert_eq!(one.body["Resources"][0], made.body);
    let twice = okta.send("POST", "/Users", new_user(name)).await;
    assert!(twice.error().starts_with("409 uniqueness"), "{}", twice.error());
}

#[tokio::test]
async fn user_is_deactivated_without_a_path() {
    let okta = Tenant::of(Dialect::Okta).await;
    let path = format!("/Users/{}", okta.made("/Users", new_user("u@x")).await);
    let reply = okta.patch(&path, json!([{"op": "replace", "value": {"active": false}}])).await;
    assert_eq!((reply.status, &reply.body["active"]), (200, &json!(false)), "{}", reply.text);
    assert_eq!(okta.stored(&path).await["active"], false);
    assert_eq!(okta.total("/Users", "userName eq \"u@x\"").await, 1, "who left is still to be found");
}

#[tokio::test]
async fn user_is_put_as_it_was_read() {
    let okta = Tenant::of(Dialect::Okta).await;
    let id = okta.made("/Users", new_user("u@x")).await;
    let path = format!("/Users/{id}");
    okta.made("/Groups", json!({"displayName": "g", "members": [{"value": id, "display": "u@x"}]})).await;
    let mut body = okta.stored(&path).await;
    assert_eq!(body["groups"][0]["display"], "g");
    let before = body.clone();
    body["groups"] = json!([]);
    body["name"]["familyName"] = json!("Changed");
    let reply = okta.send("PUT", &path, body).await;
    assert_eq!((reply.status, &reply.body["name"]["familyName"]), (200, &json!("Changed")), "{}", reply.text);
    let stored = okta.stored(&path).await;
    assert_eq!(stored, reply.body);
    assert_eq!((&stored["id"], &stored["groups"]), (&before["id"], &before["groups"]), "read-only stays");
    assert_eq!(stored["meta"]["created"], before["meta"]["created"]);
}

#[tokio::test]
async fn group_is_made_without_schemas_and_renamed_with_its_id_inside() {
    let okta = Tenant::of(Dialect::Okta).await;
    let made = okta.send("POST", "/Groups", json!({"displayName": "Test SCIMv2", "members": []})).await;
    assert_eq!((made.status, &made.body["schemas"]), (201, &json!([GROUP])), "{}", made.text);
    let id = made.body["id"].as_str().unwrap();
    let path = format!("/Groups/{id}");
    let rename = json!([{"op": "replace", "value": {"id": id, "displayName": "New"}}]);
    assert_eq!(okta.patch(&path, rename).await.status, 204);
    let stored = okta.stored(&path).await;
    assert_eq!((&stored["id"], &stored["displayName"]), (&json!(id), &json!("New")));
    assert_eq!((okta.applied("missing_schemas"), okta.applied("read_only_in_patch")), (1, 1));
}

#[tokio::test]
async fn group_members_without_type_are_added_removed_and_replaced() {
    let okta = Tenant::of(Dialect::Okta).await;
    let (a, b) = (okta.user("a@x").await, okta.user("b@x").await);
    let group =
        okta.made("/Groups", json!({"displayName": "g", "members": [{"value": a, "display": "a@x"}]})).await;
    let path = format!("/Groups/{group}");
    let swap = json!([{"op": "remove", "path": format!("members[value eq \"{a}\"]")},
                      {"op": "add", "path": "members", "value": [{"value": b, "display": "b@x"}]}]);
    assert_eq!(okta.patch(&path, swap).await.status, 204);
    assert_eq!(okta.members(&group).await, std::slice::from_ref(&b));
    assert_eq!(okta.stored(&path).await["members"][0]["type"], "User", "the server knows what a member is");

    let all = json!([{"op": "replace", "path": "members", "value": [{"value": a, "display": "a@x"}, {"value": b}]}]);
    assert_eq!(okta.patch(&path, all).await.status, 204);
    assert_eq!(okta.members(&group).await, sorted(&[&a, &b]));

    let body = json!({"schemas": [GROUP], "id": group, "displayName": "g", "members": [{"value": b, "display": "b@x"}]});
    let put = okta.send("PUT", &path, body).await;
    assert_eq!(put.status, 200, "{}", put.text);
    assert_eq!(okta.members(&group).await, [b]);
}

#[tokio::test]
async fn token_without_bearer_lets_in_okta_alone() {
    for (dialect, status) in [(Dialect::Okta, 200), (Dialect::Generic, 401), (Dialect::Strict, 401)] {
        let tenant = Tenant::of(dialect).await;
        let url = format!("{}/Users", tenant.server.base("acme"));
        let bare = tenant.server.anonymous("GET", &url).header("authorization", "acme-token").reply().await;
        assert_eq!(bare.status, status, "{dialect:?}: {}", bare.text);
        assert_eq!(tenant.applied("bare_token"), u64::from(status == 200), "{dialect:?}");
    }
}

#[tokio::test]
async fn token_that_is_none_is_a_scim_error_with_the_status_as_text() {
    let okta = Tenant::of(Dialect::Okta).await;
    let url = format!("{}/Users", okta.server.base("acme"));
    let refused = okta.server.anonymous("GET", &url).header("authorization", "non-token").reply().await;
    assert_eq!((refused.status, &refused.body["status"]), (401, &json!("401")), "{}", refused.text);
    assert_eq!(refused.body["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:Error"]));
    let nowhere = okta.server.base("nobody");
    let stranger =
        okta.server.anonymous("GET", &format!("{nowhere}/Users")).header("authorization", "non-token");
    assert_eq!(stranger.reply().await.text, refused.text, "a tenant that is not there answers alike");
    for token in ["Bearer", "Bearer ", "Basic acme-token"] {
        let reply = okta.server.anonymous("GET", &url).header("authorization", token).reply().await;
        assert_eq!(reply.status, 401, "{token}");
    }
}

/// Okta waits for whole seconds of `Retry-After`, and not for a date.
#[tokio::test]
async fn suspended_tenant_says_when_to_come_back_in_seconds() {
    let okta = Tenant::of(Dialect::Okta).await;
    let mut config = crate::support::config();
    config.tenants = vec![crate::support::tenant("acme", Dialect::Okta).into()];
    Arc::make_mut(&mut config.tenants[0]).suspended = true;
    okta.server.app.apply(&config).await.unwrap();
    let reply = okta.server.get("/Users").await;
    assert_eq!(reply.status, 503);
    assert!(reply.header("retry-after").unwrap().bytes().all(|byte| byte.is_ascii_digit()));
}
