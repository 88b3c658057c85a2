//! What a bearer token allows, and for how long.

use scim_operator::config::{Scope, Scopes};
use scim_operator::server::connection::ConnectionLimits;
use serde_json::json;

use crate::support::{BULK, RequestExt, SEARCH, Server, USER, config, patch, token};

/// `acme` with a token for each set of scopes: `reads`, `writes`, `nothing` and the usual ones.
async fn server() -> Server {
    let mut config = config();
    for (text, scopes) in [
        ("reads", [Scope::Read].into_iter().collect()),
        ("writes", [Scope::Write].into_iter().collect()),
        ("nothing", Scopes::NONE),
    ] {
        config.tenants[0].tokens.push(scim_operator::config::TokenDigest { scopes, ..token(text) });
    }
    Server::with(&config, ConnectionLimits::default()).await
}

#[tokio::test]
async fn every_operation_needs_its_scope() {
    let server = server().await;
    let id = server.user("a").await;
    let user = |name: &str| json!({"schemas": [USER], "userName": name});
    let (new, other) = (user("b"), user("c"));
    let search = json!({"schemas": [SEARCH]});
    let change = patch(&json!([{"op": "replace", "path": "title", "value": "x"}]));
    let bulk = json!({"schemas": [BULK], "Operations": [{"method": "DELETE", "path": "/Users/none"}]});
    let one = format!("/Users/{id}");
    let operations = [
        ("GET", one.as_str(), None, Scope::Read),
        ("HEAD", &one, None, Scope::Read),
        ("GET", "/Users", None, Scope::Read),
        ("GET", "/", None, Scope::Read),
        ("POST", "/Users/.search", Some(&search), Scope::Read),
        ("POST", "/.search", Some(&search), Scope::Read),
        ("GET", "/ServiceProviderConfig", None, Scope::Read),
        ("GET", "/Schemas", None, Scope::Read),
        ("GET", "/ResourceTypes", None, Scope::Read),
        ("POST", "/Users", Some(&new), Scope::Write),
        ("PUT", &one, Some(&other), Scope::Write),
        ("PATCH", &one, Some(&change), Scope::Write),
        ("POST", "/Bulk", Some(&bulk), Scope::Write),
        ("DELETE", &one, None, Scope::Write),
    ];
    for (method, path, body, needed) in operations {
        for (credential, held) in
            [("nothing", None), ("reads", Some(Scope::Read)), ("writes", Some(Scope::Write))]
        {
            let url = format!("{}{path}", server.base("acme"));
            let mut request = server.anonymous(method, &url).bearer_auth(credential);
            if let Some(body) = body {
                request = request.scim(body);
            }
            let reply = request.reply().await;
            if held == Some(needed) {
                assert!(
                    (200..300).contains(&reply.status),
                    "{method} {path} by {credential}: {}",
                    reply.text
                );
                continue;
            }
            assert_eq!(reply.status, 403, "{method} {path} by {credential}: {}", reply.text);
            let challenge =
                format!("Bearer realm=\"scim\", error=\"insufficient_scope\", scope=\"{needed}\"");
            assert_eq!(reply.header("www-authenticate"), Some(challenge.as_str()));
            if method != "HEAD" {
                let has = held.map_or("none".to_owned(), |scope| format!("only {scope}"));
                assert_eq!(
                    reply.error(),
                    format!("403: this needs the scope {needed}, and the credential has {has}")
                );
            }
        }
    }
    assert_eq!(server.get(&one).await.status, 404, "the one that may write deleted it");
}

#[tokio::test]
async fn scope_is_asked_for_before_the_body_is_read_and_after_the_path() {
    let server = server().await;
    let url = |path: &str| format!("{}{path}", server.base("acme"));
    let broken = server.anonymous("POST", &url("/Users")).bearer_auth("reads").body("{");
    assert_eq!(broken.reply().await.status, 403);
    let nowhere = server.anonymous("POST", &url("/Nowhere")).bearer_auth("reads");
    assert_eq!(nowhere.reply().await.status, 404);
}
