//! POST, GET, PUT, PATCH and DELETE of one resource (RFC 7644 sections 3.3 to 3.6).

use serde_json::json;

use crate::support::{ENTERPRISE, GROUP, RequestExt, Server, USER, patch};

#[tokio::test]
async fn created_user_has_location_version_and_meta() {
    let server = Server::start().await;
    let body = json!({"schemas": [USER], "id": "mine", "userName": "bjensen", "password": "t1meMa$heen",
        "emails": [{"value": "b@example.com", "type": "work", "primary": true}]});
    let created = server.send("POST", "/Users", &body).await;
    assert_eq!(created.status, 201, "{}", created.text);
    assert_eq!(created.header("content-type"), Some("application/scim+json"));
    let id = created.body["id"].as_str().unwrap();
    assert_ne!(id, "mine");
    let location = format!("{}/Users/{id}", server.base("acme"));
    assert_eq!(created.header("location"), Some(location.as_str()));
    assert_eq!(created.body["meta"]["location"], location);
    assert_eq!(created.body["meta"]["resourceType"], "User");
    assert_eq!(created.header("etag"), created.body["meta"]["version"].as_str());
    assert!(!created.text.contains("t1meMa"), "{}", created.text);

    let read = server.get(&format!("/Users/{id}")).await;
    assert_eq!((read.status, &read.body), (200, &created.body));
    assert_eq!(read.header("etag"), created.header("etag"));
    assert_eq!(
        server.get(&format!("/Users/{id}/")).await.body,
        created.body,
        "a slash at the end makes no difference"
    );

    let head = server.request("HEAD", &format!("/Users/{id}")).reply().await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    assert_eq!(head.header("etag"), created.header("etag"));
    assert_eq!(head.header("content-length"), Some(read.text.len().to_string().as_str()));
}

#[tokio::test]
async fn replaced_user_loses_what_the_body_does_not_have() {
    let server = Server::start().await;
    let id = server.user("a").await;
    let path = format!("/Users/{id}");
    let body = json!({"schemas": [USER, ENTERPRISE], "userName": "b", ENTERPRISE: {"department": "D"}});
    let replaced = server.send("PUT", &path, &body).await;
    assert_eq!(replaced.status, 200, "{}", replaced.text);
    assert_eq!(replaced.body["userName"], "b");
    assert_eq!(replaced.body["id"], id);
    assert_eq!(replaced.body.get("displayName"), None);
    assert_eq!(replaced.body[ENTERPRISE]["department"], "D");
    assert_eq!(server.get(&path).await.body, replaced.body);
    assert_eq!(replaced.header("location"), replaced.body["meta"]["location"].as_str());
}

#[tokio::test]
async fn patched_user_is_shown() {
    let server = Server::start().await;
    let path = format!("/Users/{}", server.user("a").await);
    let before = server.get(&path).await;
    let change = patch(&json!([{"op": "replace", "path": "displayName", "value": "New"}]));
    let patched = server.send("PATCH", &path, &change).await;
    assert_eq!((patched.status, &patched.body["displayName"]), (200, &json!("New")), "{}", patched.text);
    assert_ne!(patched.header("etag"), before.header("etag"));
    let again = server.send("PATCH", &path, &change).await;
    assert_eq!(
        again.header("etag"),
        patched.header("etag"),
        "a PATCH that changes nothing keeps the version"
    );
    assert_eq!(again.body, patched.body);
}

#[tokio::test]
async fn patched_group_is_silent_unless_attributes_are_asked_for() {
    let server = Server::start().await;
    let user = server.user("a").await;
    let path = format!("/Groups/{}", server.group("g", &[]).await);
    let change = patch(&json!([{"op": "add", "path": "members", "value": [{"value": user}]}]));
    let silent = server.send("PATCH", &path, &change).await;
    assert_eq!((silent.status, silent.text.as_str()), (204, ""));
    assert_eq!(silent.header("content-type"), None);
    assert_eq!(silent.header("etag"), server.get(&path).await.header("etag"));
    for (query, members) in [("?attributes=members", true), ("?excludedAttributes=members", false)] {
        let shown = server.send("PATCH", &format!("{path}{query}"), &change).await;
        assert_eq!(shown.status, 200, "{}", shown.text);
        assert_eq!(shown.body.get("members").is_some(), members, "{}", shown.text);
    }
}

#[tokio::test]
async fn deleted_user_is_gone_from_everywhere() {
    let server = Server::start().await;
    let user = server.user("a").await;
    let group = format!("/Groups/{}", server.group("g", &[&user]).await);
    let before = server.get(&group).await;
    assert_eq!(before.body["members"][0]["value"], user);
    let groups = server.get(&format!("/Users/{user}")).await;
    assert_eq!(groups.body["groups"][0]["display"], "g");

    let deleted = server.delete(&format!("/Users/{user}")).await;
    assert_eq!((deleted.status, deleted.text.as_str()), (204, ""));
    let after = server.get(&group).await;
    assert_eq!(after.body.get("members"), None);
    assert_ne!(after.header("etag"), before.header("etag"));
    for (method, body) in [
        ("GET", None),
        ("DELETE", None),
        ("PUT", Some(json!({"schemas": [USER], "userName": "a"}))),
        ("PATCH", Some(patch(&json!([{"op": "replace", "path": "displayName", "value": "x"}])))),
    ] {
        let request = server.request(method, &format!("/Users/{user}"));
        let reply = match body {
            Some(body) => request.scim(&body),
            None => request,
        }
        .reply()
        .await;
        assert_eq!(reply.error(), format!("404: User {user:?} not found"), "{method}");
    }
    server.user("a").await;
}

#[tokio::test]
async fn projection_holds_for_every_answer_with_a_resource() {
    let server = Server::start().await;
    let body = json!({"schemas": [USER], "userName": "a", "nickName": "n", "title": "t"});
    let created = server.send("POST", "/Users?attributes=nickName", &body).await;
    let path = format!("/Users/{}", created.body["id"].as_str().unwrap());
    let change = patch(&json!([{"op": "replace", "path": "title", "value": "u"}]));
    let replies = [
        created,
        server.get(&format!("{path}?attributes=nickName")).await,
        server.send("PUT", &format!("{path}?attributes=nickName"), &body).await,
        server.send("PATCH", &format!("{path}?attributes=nickName"), &change).await,
    ];
    for reply in replies {
        let names: Vec<&String> = reply.body.as_object().unwrap().keys().collect();
        assert_eq!(names, ["schemas", "id", "nickName"], "{}", reply.text);
        assert!(reply.header("etag").is_some());
    }
    let without = server.get(&format!("{path}?excludedAttributes=nickName,meta")).await;
    assert_eq!((without.body.get("nickName"), without.body.get("meta")), (None, None));
    assert_eq!(without.body["title"], "u");
    let both = server.get(&format!("{path}?attributes=title&excludedAttributes=nickName")).await;
    assert!(both.error().starts_with("400 invalidValue"), "{}", both.error());
}

#[tokio::test]
async fn second_user_of_a_name_is_refused_in_any_case() {
    let server = Server::start().await;
    server.user("Same").await;
    let reply = server.send("POST", "/Users", &json!({"schemas": [USER], "userName": "sAME"})).await;
    assert!(reply.error().starts_with("409 uniqueness"), "{}", reply.error());
    assert!(reply.error().contains("userName"), "{}", reply.error());
}

#[tokio::test]
async fn unknown_attributes_are_refused_by_strict_and_dropped_by_generic() {
    let server = Server::start().await;
    let body = json!({"schemas": [USER], "userName": "a", "favouriteColour": "blue", "active": "True"});
    let strict = server.send("POST", "/Users", &body).await;
    assert_eq!(strict.status, 400, "{}", strict.text);
    let generic = server.request_to("globex", "POST", "/Users").scim(&body).reply().await;
    assert_eq!(generic.status, 201, "{}", generic.text);
    assert_eq!(generic.body["active"], true);
    assert_eq!(generic.body.get("favouriteColour"), None);
    let metrics = server.app.metrics().encode().unwrap();
    for line in [
        r#"scim_dialect_rules_total{tenant="identity/globex",rule="unknown_attribute"} 1"#,
        r#"scim_dialect_rules_total{tenant="identity/globex",rule="string_boolean"} 1"#,
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

#[tokio::test]
async fn group_with_many_members_is_made_and_read() {
    let server = Server::start().await;
    let mut members = Vec::new();
    for index in 0..20 {
        members.push(server.user(&format!("user{index}")).await);
    }
    let ids: Vec<&str> = members.iter().map(String::as_str).collect();
    let group = server.group("all", &ids).await;
    let read = server.get(&format!("/Groups/{group}")).await;
    assert_eq!(read.body["members"].as_array().unwrap().len(), 20);
    assert_eq!(read.body["schemas"], json!([GROUP]));
    let stranger = json!({"schemas": [GROUP], "displayName": "x", "members": [{"value": "0190-nobody"}]});
    let refused = server.send("POST", "/Groups", &stranger).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
}
