//! Okta's SCIM 2.0 SPEC suite: every request and every assertion of `Okta-SCIM-20-SPEC-Test.json`
//! (<https://developer.okta.com/standards/SCIM/SCIMFiles/Okta-SCIM-20-SPEC-Test.json>), in its order and written again
//! here, with the headers that it sends. Not Okta's runner itself, and its limit on response times is not held here.

use reqwest::RequestBuilder;
use scim_operator::scim::dialect::Dialect;
use serde_json::{Value, json};

use crate::fixture::Tenant;
use crate::support::{Reply, RequestExt, USER};

const LIST: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";
const ERROR: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

fn headers(request: RequestBuilder) -> RequestBuilder {
    let content_type = "application/scim+json; charset=utf-8";
    let request = request.header("accept-charset", "utf-8").header("content-type", content_type);
    request.header("accept", "application/scim+json").header("user-agent", "OKTA SCIM Integration")
}

async fn get(okta: &Tenant, path: &str, parameters: &[(&str, &str)]) -> Reply {
    headers(okta.server.request("GET", path)).query(parameters).reply().await
}

async fn post(okta: &Tenant, body: &Value) -> Reply {
    let request = okta.server.request("POST", "/Users").header("content-type", "application/json");
    request.header("accept", "application/scim+json; charset=utf-8").body(body.to_string()).reply().await
}

#[track_caller]
fn says(reply: &Reply, status: u16, schema: &str) {
    assert_eq!(reply.status, status, "{}", reply.text);
    assert!(reply.body["schemas"].as_array().unwrap().contains(&json!(schema)), "{}", reply.text);
}

/// What the suite wants of a user that it has not made itself.
#[track_caller]
fn is_a_user(user: &Value) {
    for pointer in ["/id", "/name/familyName", "/name/givenName", "/userName", "/emails/0/value"] {
        let value = user.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        assert!(!value.is_empty(), "{pointer}: {user}");
    }
    assert!(user["active"].is_boolean(), "{user}");
}

#[tokio::test]
async fn every_step_of_the_suite_holds() {
    let okta = Tenant::of(Dialect::Okta).await;
    let user = |name: &str, email: &str| {
        json!({"schemas": [USER], "userName": name, "name": {"givenName": "Runscope7", "familyName": "Ruth"},
            "emails": [{"primary": true, "value": email, "type": "work"}], "displayName": "Runscope7 Ruth", "active": true})
    };
    // The suite expects somebody to be there.
    okta.made("/Users", user("isv@example.com", "isv@example.com")).await;

    // Required: the Users endpoint.
    let first = get(&okta, "/Users", &[("count", "1"), ("startIndex", "1")]).await;
    says(&first, 200, LIST);
    for number in ["itemsPerPage", "startIndex", "totalResults"] {
        assert!(first.body[number].is_u64(), "{number}");
    }
    is_a_user(&first.body["Resources"][0]);
    // Required: one user.
    let id = first.body["Resources"][0]["id"].as_str().unwrap();
    let one = get(&okta, &format!("/Users/{id}"), &[]).await;
    assert_eq!((one.status, &one.body["id"]), (200, &json!(id)));
    is_a_user(&one.body);
    // Required: nobody of this name, of this id, and of the name to come.
    let by_name = |name: &str| format!("userName eq \"{name}\"");
    let nobody = get(&okta, "/Users", &[("filter", &by_name("abcdefgh@atko.com"))]).await;
    says(&nobody, 200, LIST);
    assert_eq!(nobody.body["totalResults"], 0);
    let nowhere = get(&okta, "/Users/010101001010101011001010101011", &[]).await;
    says(&nowhere, 404, ERROR);
    assert_ne!(nowhere.body["detail"].as_str().unwrap(), "");
    let (name, email) = ("Runscope7Ruth@atko.com", "runscope7ruth@atko.com");
    let free = get(&okta, "/Users", &[("filter", &by_name(email))]).await;
    says(&free, 200, LIST);
    assert_eq!(free.body["totalResults"], 0);

    // Required: a user with realistic values is made, is there, and is not made twice.
    let made = post(&okta, &user(name, email)).await;
    says(&made, 201, USER);
    assert_eq!((&made.body["active"], &made.body["userName"]), (&json!(true), &json!(name)));
    assert_eq!(made.body["name"], json!({"givenName": "Runscope7", "familyName": "Ruth"}));
    let id = made.body["id"].as_str().unwrap();
    assert!(!id.is_empty());
    let read = get(&okta, &format!("/Users/{id}"), &[]).await;
    assert_eq!(
        (read.status, &read.body["userName"], &read.body["name"]),
        (200, &json!(name), &made.body["name"])
    );
    let twice = post(&okta, &user(name, name)).await;
    assert_eq!(twice.status, 409, "{}", twice.text);
    let capitals = get(&okta, "/Users", &[("filter", &by_name(&name.to_uppercase()))]).await;
    assert_eq!((capitals.status, &capitals.body["totalResults"]), (200, &json!(1)), "{}", capitals.text);

    // Optional: the Groups endpoint.
    assert_eq!(get(&okta, "/Groups", &[]).await.status, 200);

    // Required: 401 and 404.
    let url = format!("{}/Users", okta.server.base("acme"));
    let stranger = headers(okta.server.anonymous("GET", &url)).header("authorization", "non-token");
    let refused = stranger.query(&[("filter", by_name(name))]).reply().await;
    says(&refused, 401, ERROR);
    let missing = get(&okta, "/Users/00919288221112222", &[]).await;
    says(&missing, 404, ERROR);
    for reply in [refused, missing] {
        assert_ne!(reply.body["detail"].as_str().unwrap(), "");
        assert_eq!(reply.body["status"], reply.status.to_string());
    }
}
