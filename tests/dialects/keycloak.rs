//! Keycloak 26 with the open provider keycloak-scim 1.0.1, as observed on the wire.

use scim_operator::scim::dialect::Dialect;
use serde_json::{Value, json};

use crate::fixture::{Tenant, sorted};
use crate::support::{GROUP, RequestExt, USER};

fn user(name: &str, id: &str) -> Value {
    json!({"schemas": [USER], "id": id, "externalId": "kc-1", "userName": name, "active": true,
        "name": {"givenName": "G", "familyName": "F"}, "displayName": "G F",
        "emails": [{"value": "g@x", "type": "work", "primary": true}]})
}

#[tokio::test]
async fn user_is_made_with_an_id_of_ours_whatever_old_one_is_sent() {
    let keycloak = Tenant::of(Dialect::Keycloak).await;
    let old = "4f1d8f0e-0000-4000-8000-000000000000";
    let made = keycloak.send("POST", "/Users", user("g", old)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let id = made.body["id"].as_str().unwrap();
    assert!(id != old && id.len() <= 36, "{id}");
    for attribute in ["userName", "displayName", "active"] {
        assert!(!made.body[attribute].is_null(), "{attribute}");
    }
    assert_eq!(keycloak.server.get(&format!("/Users/{old}")).await.status, 404);

    assert_eq!(keycloak.server.delete(&format!("/Users/{id}")).await.status, 204);
    let again = keycloak.send("POST", "/Users", user("g", id)).await;
    assert_eq!(again.status, 201, "{}", again.text);
    assert_ne!(again.body["id"], id);
}

/// A full sync reads everything in one request: with no `count`, a page is as large as it may be.
#[tokio::test]
async fn list_without_parameters_has_everything() {
    let keycloak = Tenant::of(Dialect::Keycloak).await;
    for index in 0..150 {
        keycloak.user(&format!("user{index}")).await;
    }
    let request = keycloak.server.request("GET", "/Users").header("content-type", "application/scim+json");
    let listed = request.reply().await;
    assert_eq!((listed.status, &listed.body["totalResults"]), (200, &json!(150)));
    assert_eq!(listed.body["Resources"].as_array().unwrap().len(), 150);
    let groups = keycloak.server.request("GET", "/Groups").header("content-type", "application/scim+json");
    assert_eq!(groups.reply().await.body["totalResults"], 0);
}

#[tokio::test]
async fn delete_with_a_content_type_and_no_body_is_204() {
    let keycloak = Tenant::of(Dialect::Keycloak).await;
    let path = format!("/Users/{}", keycloak.user("a").await);
    let request = keycloak.server.request("DELETE", &path).header("content-type", "application/scim+json");
    assert_eq!(request.reply().await.status, 204);
    assert_eq!(keycloak.server.get(&path).await.status, 404);
}

#[tokio::test]
async fn put_clears_what_is_absent() {
    let keycloak = Tenant::of(Dialect::Keycloak).await;
    let id = keycloak.made("/Users", user("g", "x")).await;
    let path = format!("/Users/{id}");
    let body =
        json!({"schemas": [USER], "id": id, "userName": "g", "active": true, "name": {"givenName": "G"}});
    let put = keycloak.send("PUT", &path, body).await;
    assert_eq!(put.status, 200, "{}", put.text);
    let stored = keycloak.stored(&path).await;
    assert_eq!((stored.get("emails"), &stored["name"]), (None, &json!({"givenName": "G"})));

    let member = json!({"value": id, "$ref": format!("Users/{id}")});
    let body = json!({"schemas": [GROUP], "id": "old", "externalId": "kc-g", "displayName": "g", "members": [member]});
    let group = keycloak.made("/Groups", body).await;
    assert_eq!(keycloak.members(&group).await, [id]);
    let empty = json!({"schemas": [GROUP], "id": group, "externalId": "kc-g", "displayName": "g"});
    assert_eq!(keycloak.send("PUT", &format!("/Groups/{group}"), empty).await.status, 200);
    assert_eq!(keycloak.members(&group).await, [""; 0]);
}

#[tokio::test]
async fn active_as_text_is_a_boolean() {
    let keycloak = Tenant::of(Dialect::Keycloak).await;
    let path = format!("/Users/{}", keycloak.user("a").await);
    for (text, active) in [("false", false), ("true", true)] {
        let reply = keycloak.patch(&path, json!([{"op": "replace", "path": "active", "value": text}])).await;
        assert_eq!((reply.status, &reply.body["active"]), (200, &json!(active)), "{}", reply.text);
        assert_eq!(keycloak.stored(&path).await["active"], active);
    }
}

#[tokio::test]
async fn group_is_patched_and_emptied() {
    let keycloak = Tenant::of(Dialect::Keycloak).await;
    let (a, b) = (keycloak.user("a").await, keycloak.user("b").await);
    let group = keycloak.made("/Groups", json!({"schemas": [GROUP], "displayName": "g"})).await;
    let path = format!("/Groups/{group}");
    let members =
        json!([{"value": a, "$ref": format!("Users/{a}")}, {"value": b, "$ref": format!("Users/{b}")}]);
    let full = json!([{"op": "replace", "path": "displayName", "value": "h"},
                      {"op": "replace", "path": "externalId", "value": "kc-2"},
                      {"op": "replace", "path": "members", "value": members}]);
    assert_eq!(keycloak.patch(&path, full).await.status, 204);
    assert_eq!(keycloak.members(&group).await, sorted(&[&a, &b]));
    let stored = keycloak.stored(&path).await;
    assert_eq!((&stored["displayName"], &stored["externalId"]), (&json!("h"), &json!("kc-2")));

    assert_eq!(keycloak.patch(&path, json!([{"op": "remove", "path": "members"}])).await.status, 204);
    assert_eq!(keycloak.members(&group).await, [""; 0]);
}
