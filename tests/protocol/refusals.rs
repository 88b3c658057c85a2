//! Wrong requests: each gets its status, its `scimType` and words that help.

use scim_operator::server::connection::ConnectionLimits;
use serde_json::json;
use std::sync::Arc;

use crate::support::{PATCH, RequestExt, SEARCH, Server, USER, config, patch};

/// Method, path, body, and the beginning of `status scimType: detail`.
const CASES: &[(&str, &str, &str, &str)] = &[
    ("GET", "/Nothing", "", "404: there is no endpoint \"/Nothing\"; there are /Users, /Groups, /Bulk"),
    ("GET", "/users", "", "404: there is no endpoint \"/users\""),
    ("GET", "/Users/a/b", "", "404: there is no endpoint"),
    ("GET", "/Users//", "", "404: there is no endpoint"),
    ("GET", "/%ff", "", "404: the path is not percent-encoded UTF-8"),
    ("GET", "/Users/none", "", "404: User \"none\" not found"),
    ("GET", "/Users/%00", "", "404: User"),
    ("GET", "/Me", "", "501: /Me is not available"),
    ("POST", "/Me", "{}", "501: /Me is not available"),
    ("GET", "/Users?filter=userName%20xx%20%22a%22", "", "400 invalidFilter: "),
    ("GET", "/Users?filter=nothing%20eq%20%22a%22", "", "400 invalidFilter: "),
    ("GET", "/Users?filter=active%20gt%20true", "", "400 invalidFilter: "),
    ("GET", "/Users?filter=%ff", "", "400 invalidValue: the query string is not percent-encoded UTF-8"),
    ("GET", "/Users?startIndex=x", "", "400 invalidValue: startIndex must be an integer"),
    ("GET", "/Users?count=1.5", "", "400 invalidValue: count must be an integer"),
    ("GET", "/Users?sortOrder=up&sortBy=userName", "", "400 invalidValue: sortOrder must be"),
    ("GET", "/Users?sortBy=nothing", "", "400 invalidValue: sortBy names nothing"),
    (
        "GET",
        "/Users?cursor=&startIndex=1",
        "",
        "400 invalidValue: startIndex and cursor cannot be used together",
    ),
    ("POST", "/Users", "", "400 invalidSyntax: the request has no body"),
    (
        "POST",
        "/Users",
        "{\"userName\": \"a\",}",
        "400 invalidSyntax: the body is not valid JSON: trailing comma at line 1 column 18",
    ),
    ("POST", "/Users", "[]", "400 invalidSyntax: the body must be a JSON object"),
    ("POST", "/Users", "{}", "400 "),
    (
        "POST",
        "/Users",
        "{\"schemas\":[\"urn:ietf:params:scim:schemas:core:2.0:User\"]}",
        "400 invalidValue: ",
    ),
    (
        "POST",
        "/Users",
        "{\"schemas\":[\"urn:ietf:params:scim:schemas:core:2.0:User\"],\"userName\":7}",
        "400 invalidValue: ",
    ),
    (
        "POST",
        "/Users",
        "{\"schemas\":[\"urn:ietf:params:scim:schemas:core:2.0:Group\"],\"userName\":\"a\"}",
        "400 ",
    ),
    ("POST", "/Users/.search", "{}", "400 invalidSyntax: schemas of a .search body must contain"),
    ("POST", "/Bulk", "{}", "400 invalidSyntax: schemas must contain"),
    (
        "PUT",
        "/Users/none",
        "{\"schemas\":[\"urn:ietf:params:scim:schemas:core:2.0:User\"],\"userName\":\"a\"}",
        "404: User \"none\" not found",
    ),
    ("DELETE", "/Users/none", "", "404: User \"none\" not found"),
];

#[tokio::test]
async fn wrong_requests_are_told_what_is_wrong() {
    let server = Server::start().await;
    for (method, path, body, expected) in CASES {
        let request = server.request(method, path).header("content-type", "application/scim+json");
        let reply = request.body(*body).reply().await;
        assert!(
            reply.error().starts_with(expected),
            "{method} {path} {body}\n  {}\n  {expected}",
            reply.error()
        );
    }
    assert_eq!(server.get("/").await.body["totalResults"], 0, "nothing was stored");
}

#[tokio::test]
async fn wrong_patches_change_nothing() {
    let server = Server::start().await;
    let path = format!("/Users/{}", server.user("a").await);
    let before = server.get(&path).await.body;
    for (body, expected) in [
        (json!({"schemas": [USER], "Operations": []}), "400 "),
        (json!({"schemas": [PATCH]}), "400 invalid"),
        (
            patch(
                &json!([{"op": "replace", "path": "displayName", "value": "x"}, {"op": "replace", "path": "emails[type eq \"none\"].value", "value": "x"}]),
            ),
            "400 noTarget",
        ),
        (patch(&json!([{"op": "replace", "path": "id", "value": "x"}])), "400 mutability"),
        (patch(&json!([{"op": "replace", "path": "a b", "value": "x"}])), "400 invalidPath"),
        (patch(&json!([{"op": "remove", "path": "userName"}])), "400 "),
        (patch(&json!([{"op": "remove"}])), "400 noTarget"),
        (patch(&json!([{"op": "Replace", "path": "displayName", "value": "x"}])), "400 "),
    ] {
        let reply = server.send("PATCH", &path, &body).await;
        assert!(reply.error().starts_with(expected), "{body}\n  {}\n  {expected}", reply.error());
        assert_eq!(server.get(&path).await.body, before, "{body}");
    }
}

#[tokio::test]
async fn wrong_methods_are_told_the_right_ones() {
    let server = Server::start().await;
    for (method, path, allow) in [
        ("PUT", "/Users", "GET, HEAD, POST"),
        ("OPTIONS", "/Users", "GET, HEAD, POST"),
        ("POST", "/Users/1", "GET, HEAD, PUT, PATCH, DELETE"),
        ("GET", "/Users/.search", "POST"),
        ("GET", "/.search", "POST"),
        ("GET", "/Bulk", "POST"),
        ("POST", "/", "GET, HEAD"),
        ("BREW", "/Users", "GET, HEAD, POST"),
    ] {
        let reply = server.request(method, path).reply().await;
        assert_eq!((reply.status, reply.header("allow")), (405, Some(allow)), "{method} {path}");
        assert!(reply.error().contains(allow), "{}", reply.error());
    }
}

#[tokio::test]
async fn body_of_another_type_is_unsupported() {
    let server = Server::start().await;
    let body = json!({"schemas": [USER], "userName": "a"}).to_string();
    for (content_type, status) in [
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/scim+json; charset=iso-8859-1", 415),
        ("application/scim+json; charset=UTF-8", 201),
        ("Application/JSON", 201),
    ] {
        let reply = server
            .request("POST", "/Users")
            .header("content-type", content_type)
            .body(body.clone())
            .reply()
            .await;
        assert_eq!(reply.status, status, "{content_type}: {}", reply.text);
        if status == 201 {
            server.delete(&format!("/Users/{}", reply.body["id"].as_str().unwrap())).await;
        } else {
            assert!(reply.error().contains("send application/scim+json"), "{}", reply.error());
        }
    }
}

#[tokio::test]
async fn requests_beyond_the_limits_are_told_the_limits() {
    let mut config = config();
    Arc::make_mut(&mut config.tenants[0]).limits.max_body_bytes = 1000;
    let server = Server::with(&config, ConnectionLimits::default()).await;
    let large = json!({"schemas": [USER], "userName": "a".repeat(1000)});
    let reply = server.send("POST", "/Users", &large).await;
    assert!(reply.error().ends_with("is larger than the limit of 1000 bytes"), "{}", reply.error());
    assert_eq!(reply.status, 413);
    let megabytes = server
        .request("POST", "/Users")
        .header("content-type", "application/json")
        .body(vec![b' '; 5 << 20])
        .reply()
        .await;
    assert_eq!(megabytes.status, 413, "a client that is still sending sees the answer");

    let deep = format!("{{\"a\":{}{}}}", "[".repeat(500), "]".repeat(500));
    let reply =
        server.request("POST", "/Users").body(deep).header("content-type", "application/json").reply().await;
    assert!(
        reply.error().starts_with("413") || reply.error().contains("recursion limit"),
        "{}",
        reply.error()
    );

    let filter = "a".repeat(40_000);
    let url = server.get(&format!("/Users?filter={filter}")).await;
    assert!(url.error().starts_with("414: the URL has 4"), "{}", url.error());
    let long = server.get(&format!("/Users?filter={}", "a".repeat(9000))).await;
    assert!(long.error().starts_with("400 invalidFilter"), "{}", long.error());
    let header = server.request("GET", "/Users").header("x-large", "a".repeat(40_000)).reply().await;
    assert!(header.error().starts_with("431: the headers have 4"), "{}", header.error());
    let search = json!({"schemas": [SEARCH], "filter": "(".repeat(600)});
    assert!(server.send("POST", "/Users/.search", &search).await.error().starts_with("400 invalidFilter"));
}

#[tokio::test]
async fn paths_outside_a_tenant_are_not_found() {
    let server = Server::start().await;
    for path in
        ["/", "/acme", "/acme/", "/acme/scim/v2x", "/acme/scim/v1/Users", "//scim/v2/Users", "/favicon.ico"]
    {
        let reply = server.anonymous("GET", &format!("http://{}{path}", server.address)).reply().await;
        assert_eq!(
            reply.error(),
            "404: nothing is served here; SCIM base URLs have the form /TENANT/scim/v2",
            "{path}"
        );
    }
}
