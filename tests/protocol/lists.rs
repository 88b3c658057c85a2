//! Lists, pages, order and search (RFC 7644 sections 3.4.2 and 3.4.3, RFC 9865).

use serde_json::{Value, json};

use crate::support::{RequestExt, SEARCH, Server};

async fn with_users(count: usize) -> Server {
    let server = Server::start().await;
    for index in 0..count {
        server.user(&format!("user{index}")).await;
    }
    server
}

fn names(list: &Value) -> Vec<&str> {
    list["Resources"].as_array().unwrap().iter().map(|user| user["userName"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn pages_by_index_are_one_based_and_forgiving() {
    let server = with_users(5).await;
    for (query, start, expected) in [
        ("", 1, vec!["user0", "user1", "user2", "user3", "user4"]),
        ("?startIndex=2&count=2", 2, vec!["user1", "user2"]),
        ("?startIndex=0&count=1", 1, vec!["user0"]),
        ("?startIndex=-3&count=1", 1, vec!["user0"]),
        ("?startIndex=6", 6, vec![]),
        ("?count=0", 1, vec![]),
        ("?count=-1", 1, vec![]),
        ("?sortBy=userName&sortOrder=descending&count=2", 1, vec!["user4", "user3"]),
        ("?filter=userName%20gt%20%22user3%22", 1, vec!["user4"]),
        ("?filter=userName+eq+%22USER2%22&aadOptscim062020", 1, vec!["user2"]),
    ] {
        let reply = server.get(&format!("/Users{query}")).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        assert_eq!(names(&reply.body), expected, "{query}");
        assert_eq!(reply.body["startIndex"], start, "{query}");
        assert_eq!(reply.body["itemsPerPage"], expected.len(), "{query}");
        assert_eq!(reply.body["schemas"][0], "urn:ietf:params:scim:api:messages:2.0:ListResponse");
        let total = if query.contains("filter") { 1 } else { 5 };
        assert_eq!(reply.body["totalResults"], total, "{query}");
    }
}

#[tokio::test]
async fn search_is_the_list_by_post() {
    let server = with_users(3).await;
    let body = json!({"schemas": [SEARCH], "filter": "userName sw \"user\"", "startIndex": 2, "count": 1,
        "attributes": ["userName"], "sortBy": "userName"});
    let reply = server.send("POST", "/Users/.search", &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let listed = server.get("/Users?filter=userName%20sw%20%22user%22&startIndex=2&count=1&attributes=userName&sortBy=userName").await;
    assert_eq!(reply.body, listed.body);
    assert_eq!(names(&reply.body), ["user1"]);
}

#[tokio::test]
async fn root_query_covers_all_types() {
    let server = with_users(2).await;
    server.group("user group", &[]).await;
    for reply in [
        server.get("/").await,
        server.get("").await,
        server.send("POST", "/.search", &json!({"schemas": [SEARCH]})).await,
    ] {
        assert_eq!(reply.body["totalResults"], 3, "{}", reply.text);
    }
    let users = server.get("?filter=userName%20pr").await;
    assert_eq!(users.body["totalResults"], 2, "a type without the attribute has no match: {}", users.text);
    let groups = server.get("?filter=meta.resourceType%20eq%20%22Group%22").await;
    assert_eq!(groups.body["totalResults"], 1, "{}", groups.text);
}

#[tokio::test]
async fn cursor_pages_through_everything_once() {
    let server = with_users(5).await;
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let reply = server.get(&format!("/Users?count=2&sortBy=userName&cursor={cursor}")).await;
        assert_eq!((reply.status, &reply.body["totalResults"]), (200, &json!(5)), "{}", reply.text);
        assert_eq!(reply.body.get("startIndex"), None);
        seen.extend(names(&reply.body).into_iter().map(str::to_owned));
        match reply.body["nextCursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!(seen, ["user0", "user1", "user2", "user3", "user4"]);
}

#[tokio::test]
async fn cursor_of_another_query_or_tenant_is_invalid() {
    let server = with_users(3).await;
    let first = server.get("/Users?count=1&cursor=").await;
    let cursor = first.body["nextCursor"].as_str().unwrap();
    for path in [
        format!("/Users?count=1&cursor={cursor}&filter=userName%20pr"),
        format!("/Groups?count=1&cursor={cursor}"),
        format!("/Users?count=1&cursor={cursor}x"),
        "/Users?cursor=made-up".to_owned(),
    ] {
        let reply = server.get(&path).await;
        assert!(reply.error().starts_with("400 invalidCursor"), "{path}: {}", reply.error());
    }
    let path = format!("/Users?count=1&cursor={cursor}");
    let other = server.request_to("globex", "GET", &path).reply().await;
    assert!(other.error().starts_with("400 invalidCursor"), "{}", other.error());
    assert_eq!(server.get(&path).await.status, 200);
    let bad_count = server.get(&format!("/Users?count=x&cursor={cursor}")).await;
    assert!(bad_count.error().starts_with("400 invalidCount"), "{}", bad_count.error());
}
