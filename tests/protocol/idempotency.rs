//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header) on POST, PATCH and bulk requests.

use scim_operator::server::connection::ConnectionLimits;
use scim_operator::store::Store;
use scim_operator::store::sqlite::SqliteStore;
use serde_json::{Value, json};
use std::sync::Arc;

use crate::support::{BULK, GROUP, Reply, RequestExt, Server, USER, config, patch};

async fn send(server: &Server, key: &str, method: &str, path: &str, body: &Value) -> Reply {
    server.request(method, path).header("Idempotency-Key", key).scim(body).reply().await
}

async fn post(server: &Server, key: &str, user_name: &str) -> Reply {
    send(server, key, "POST", "/Users", &json!({"schemas": [USER], "userName": user_name})).await
}

/// The same answer, but that it says that it is one.
#[track_caller]
fn assert_replayed(first: &Reply, again: &Reply) {
    assert_eq!(first.header("idempotent-replayed"), None);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!((first.status, &first.text), (again.status, &again.text));
    for name in ["content-type", "location", "etag"] {
        assert_eq!(first.header(name), again.header(name), "{name}");
    }
}

async fn total(server: &Server, path: &str) -> Value {
    server.get(path).await.body["totalResults"].clone()
}

#[tokio::test]
async fn post_that_comes_again_is_answered_again_and_makes_one_user() {
    let server = Server::start().await;
    let first = post(&server, "\"k1\"", "ann").await;
    assert_eq!(first.status, 201, "{}", first.text);
    assert_replayed(&first, &post(&server, "k1", "ann").await);

    // The first answer, whatever has become of the user since.
    let path = format!("/Users/{}", first.body["id"].as_str().unwrap());
    let change = patch(&json!([{"op": "add", "path": "title", "value": "t"}]));
    assert_eq!(server.send("PATCH", &path, &change).await.status, 200);
    assert_replayed(&first, &post(&server, "k1", "ann").await);
    assert_eq!(server.delete(&path).await.status, 204);
    assert_replayed(&first, &post(&server, "k1", "ann").await);
    assert_eq!(total(&server, "/Users").await, 0);

    assert_eq!(post(&server, "k2", "ann").await.status, 201, "another key is another request");
    let metrics = server.app.metrics().encode().unwrap();
    for line in ["stored\"} 2", "replayed\"} 3"] {
        let line = format!("scim_idempotency_total{{tenant=\"identity/acme\",result=\"{line}");
        assert!(metrics.contains(&line), "{metrics}");
    }
}

#[tokio::test]
async fn patch_that_comes_again_is_applied_once() {
    let server = Server::start().await;
    let ann = server.user("ann").await;
    let group = server.group("g", &[]).await;
    let add = patch(&json!([{"op": "add", "path": "emails", "value": [{"value": "a@example.com"}]}]));
    let path = format!("/Users/{ann}");
    let first = send(&server, "k1", "PATCH", &path, &add).await;
    assert_eq!(first.status, 200, "{}", first.text);
    assert_replayed(&first, &send(&server, "k1", "PATCH", &path, &add).await);
    assert_eq!(server.get(&path).await.header("etag"), first.header("etag"));

    let join = patch(&json!([{"op": "add", "path": "members", "value": [{"value": ann}]}]));
    let path = format!("/Groups/{group}");
    let first = send(&server, "k2", "PATCH", &path, &join).await;
    assert_eq!((first.status, first.text.as_str()), (204, ""));
    assert!(first.header("etag").is_some());
    assert_replayed(&first, &send(&server, "k2", "PATCH", &path, &join).await);
}

#[tokio::test]
async fn bulk_that_comes_again_is_answered_again_with_its_failures() {
    let server = Server::start().await;
    server.user("taken").await;
    let post = |name: &str| json!({"method": "POST", "path": "/Users", "bulkId": name, "data": {"schemas": [USER], "userName": name}});
    let wrong = json!({"method": "POST", "path": "/Users", "bulkId": "w", "data": {"schemas": [USER]}});
    let group = json!({"method": "POST", "path": "/Groups", "bulkId": "g",
        "data": {"schemas": [GROUP], "displayName": "g", "members": [{"value": "bulkId:ann"}]}});
    let body = json!({"schemas": [BULK], "failOnErrors": 3,
        "Operations": [post("ann"), post("taken"), wrong, group, post("taken"), post("never")]});
    let first = send(&server, "k1", "POST", "/Bulk", &body).await;
    let statuses: Vec<&Value> =
        first.body["Operations"].as_array().unwrap().iter().map(|done| &done["status"]).collect();
    assert_eq!(statuses, ["201", "409", "400", "201", "400"], "{}", first.text);
    assert_replayed(&first, &send(&server, "k1", "POST", "/Bulk", &body).await);
    assert_eq!((total(&server, "/Users").await, total(&server, "/Groups").await), (json!(2), json!(1)));
}

#[tokio::test]
async fn key_with_another_request_is_422() {
    let server = Server::start().await;
    let ann = post(&server, "k1", "ann").await.body["id"].as_str().unwrap().to_owned();
    let user = json!({"schemas": [USER], "userName": "ann"});
    let path = format!("/Users/{ann}");
    let change = patch(&json!([{"op": "add", "path": "title", "value": "t"}]));
    let others = [
        post(&server, "k1", "bob").await,
        send(&server, "k1", "POST", "/Users?attributes=userName", &user).await,
        send(&server, "k1", "PATCH", &path, &change).await,
        server
            .request("POST", "/Users")
            .header("Idempotency-Key", "k1")
            .header("If-Match", "*")
            .scim(&user)
            .reply()
            .await,
    ];
    for reply in others {
        insta::allow_duplicates! {
            insta::assert_snapshot!(reply.error(), @"422: this Idempotency-Key came with another request in the last 24 hours; send a new key with every new request, and the same key only with the same method, path, body and If-Match");
        }
    }
    assert_eq!(total(&server, "/Users").await, 1);
    let spaced = server.request("POST", "/Users").header("Idempotency-Key", "k1");
    let spaced = spaced.header("content-type", "application/json");
    let text = format!("{{ \"userName\": \"ann\", \"schemas\": [\"{USER}\"] }}");
    assert_eq!(spaced.body(text).reply().await.status, 201, "the same JSON in other bytes");
}

#[tokio::test]
async fn refusal_of_the_store_is_answered_again_and_one_before_it_is_not() {
    let server = Server::start().await;
    let ann = server.user("ann").await;
    let refused = post(&server, "k1", "ann").await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert_eq!(server.delete(&format!("/Users/{ann}")).await.status, 204);
    assert_replayed(&refused, &post(&server, "k1", "ann").await);
    assert_eq!(refused.error(), post(&server, "k1", "ann").await.error());

    let wrong = json!({"schemas": [USER], "userName": "bob", "title": 7});
    assert_eq!(send(&server, "k2", "POST", "/Users", &wrong).await.status, 400);
    assert_eq!(post(&server, "k2", "bob").await.status, 201, "nothing was remembered of the wrong body");

    let unauthenticated = server.anonymous("POST", &format!("{}/Users", server.base("acme")));
    let body = json!({"schemas": [USER], "userName": "carl"});
    let reply = unauthenticated.header("Idempotency-Key", "k3").scim(&body).reply().await;
    assert_eq!(reply.status, 401);
    assert_eq!(post(&server, "k3", "carl").await.status, 201);
}

#[tokio::test]
async fn twins_at_once_wait_for_one_answer() {
    let server = Arc::new(Server::start().await);
    let mut twins = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let server = Arc::clone(&server);
        twins.spawn(async move { post(&server, "k1", "ann").await });
    }
    let replies = twins.join_all().await;
    let id = &replies[0].body["id"];
    assert!(replies.iter().all(|reply| reply.status == 201 && reply.body["id"] == *id), "{replies:?}");
    let again = replies.iter().filter(|reply| reply.header("idempotent-replayed").is_some());
    assert_eq!((again.count(), total(&server, "/Users").await), (15, json!(1)));
}

#[tokio::test]
async fn key_belongs_to_its_tenant() {
    let server = Server::start().await;
    let mut ids = Vec::new();
    for tenant in ["acme", "globex"] {
        let request = server.request_to(tenant, "POST", "/Users").header("Idempotency-Key", "k1");
        let reply = request.scim(&json!({"schemas": [USER], "userName": "ann"})).reply().await;
        assert_eq!((reply.status, reply.header("idempotent-replayed")), (201, None));
        ids.push(reply.body["id"].clone());
    }
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn key_malformed_is_400_and_nothing_is_done() {
    let server = Server::start().await;
    let long = "k".repeat(256);
    for key in ["", "\"", "a b", long.as_str()] {
        let error = post(&server, key, "ann").await.error();
        assert!(error.starts_with("400 invalidValue: Idempotency-Key is malformed: "), "{error}");
    }
    assert_eq!(total(&server, "/Users").await, 0);
    insta::assert_snapshot!(post(&server, "a b", "ann").await.error(), @r#"400 invalidValue: Idempotency-Key is malformed: it has a space, a quote, a comma, a semicolon or a backslash; send a new random key with every new request, such as "8e03978e-40d5-43dd-bc93-6894a57f9324""#);
}

#[tokio::test]
async fn key_means_nothing_to_methods_that_may_be_repeated() {
    let server = Server::start().await;
    let ann = server.user("ann").await;
    let path = format!("/Users/{ann}");
    for title in ["a", "b"] {
        let body = json!({"schemas": [USER], "userName": "ann", "title": title});
        let reply = send(&server, "k1", "PUT", &path, &body).await;
        assert_eq!((reply.status, &reply.body["title"]), (200, &json!(title)));
    }
    let reply = server.request("DELETE", &path).header("Idempotency-Key", "k1").reply().await;
    assert_eq!(reply.status, 204);
}

#[tokio::test]
async fn answer_is_given_again_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(data.path()).unwrap());
    let on = |store: Arc<SqliteStore>| async move {
        Server::on(store as Arc<dyn Store>, None, &config(), ConnectionLimits::default()).await
    };
    let server = on(Arc::clone(&store)).await;
    let first = post(&server, "k1", "ann").await;
    store.close().await;
    drop(server);
    let server = on(Arc::new(SqliteStore::open(data.path()).unwrap())).await;
    let again = post(&server, "k1", "ann").await;
    assert_eq!((first.status, &first.body["id"]), (again.status, &again.body["id"]));
    assert_eq!(first.header("location"), again.header("location"), "as it was said first");
    assert_replayed(&first, &again);
}
