//! `If-Match` and `If-None-Match` on every method (RFC 7644 section 3.14).

use serde_json::{Value, json};

use crate::support::{Reply, RequestExt, Server, USER, patch};

async fn conditional(
    server: &Server,
    method: &str,
    path: &str,
    header: (&str, &str),
    body: Option<Value>,
) -> Reply {
    let request = server.request(method, path).header(header.0, header.1);
    match body {
        Some(body) => request.scim(&body),
        None => request,
    }
    .reply()
    .await
}

#[tokio::test]
async fn read_of_a_known_version_is_not_modified() {
    let server = Server::start().await;
    let path = format!("/Users/{}", server.user("a").await);
    let tag = server.get(&path).await.header("etag").unwrap().to_owned();
    for (header, status) in [
        (("if-none-match", tag.as_str()), 304),
        (("if-none-match", "*"), 304),
        (("if-none-match", "W/\"77\", W/\"1\""), 304),
        (("if-none-match", "W/\"77\""), 200),
        (("if-match", tag.as_str()), 200),
        (("if-match", "W/\"77\""), 412),
    ] {
        let reply = conditional(&server, "GET", &path, header, None).await;
        assert_eq!(reply.status, status, "{header:?}: {}", reply.text);
        if status == 304 {
            assert_eq!((reply.text.as_str(), reply.header("etag")), ("", Some(tag.as_str())));
        }
    }
}

#[tokio::test]
async fn change_of_an_old_version_fails_and_changes_nothing() {
    let server = Server::start().await;
    let path = format!("/Users/{}", server.user("a").await);
    let old = server.get(&path).await.header("etag").unwrap().to_owned();
    let change = |text: &str| patch(&json!([{"op": "replace", "path": "displayName", "value": text}]));
    let changed = conditional(&server, "PATCH", &path, ("if-match", &old), Some(change("one"))).await;
    assert_eq!(changed.status, 200, "{}", changed.text);

    for (method, body) in [
        ("PATCH", Some(change("two"))),
        ("PUT", Some(json!({"schemas": [USER], "userName": "a"}))),
        ("DELETE", None),
    ] {
        let reply = conditional(&server, method, &path, ("if-match", &old), body).await;
        assert!(reply.error().starts_with("412: If-Match does not hold"), "{method} {}", reply.error());
    }
    assert_eq!(server.get(&path).await.body, changed.body);
    let current = changed.header("etag").unwrap();
    assert_eq!(conditional(&server, "DELETE", &path, ("if-match", current), None).await.status, 204);
}

#[tokio::test]
async fn membership_moves_the_version_of_a_user() {
    let server = Server::start().await;
    let user = server.user("a").await;
    let path = format!("/Users/{user}");
    let alone = server.get(&path).await.header("etag").unwrap().to_owned();
    server.group("g", &[&user]).await;
    let reply = conditional(&server, "GET", &path, ("if-none-match", &alone), None).await;
    assert_eq!(reply.status, 200, "the user's groups changed, and they are part of what is shown");
}
