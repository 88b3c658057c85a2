//! PingOne: two primary emails, one value of each type.

use scim_operator::scim::dialect::Dialect;
use serde_json::json;

use crate::fixture::Tenant;
use crate::support::USER;

#[tokio::test]
async fn first_of_two_primary_emails_is_the_primary() {
    let emails = json!([{"value": "w@x", "type": "work", "primary": true},
                        {"value": "h@x", "type": "home", "primary": true}]);
    let kept = json!([{"value": "w@x", "type": "work", "primary": true},
                      {"value": "h@x", "type": "home", "primary": false}]);
    let ping = Tenant::of(Dialect::PingOne).await;
    let body = json!({"schemas": [USER], "userName": "a", "emails": emails});
    let made = ping.send("POST", "/Users", body.clone()).await;
    assert_eq!((made.status, &made.body["emails"]), (201, &kept), "{}", made.text);
    let path = format!("/Users/{}", made.body["id"].as_str().unwrap());
    assert_eq!(ping.stored(&path).await, made.body);
    assert_eq!(ping.send("PUT", &path, body.clone()).await.body["emails"], kept);
    let change = json!([{"op": "replace", "path": "emails", "value": emails}]);
    let patched = ping.patch(&path, change).await;
    assert_eq!((patched.status, &patched.body["emails"]), (200, &kept), "{}", patched.text);
    assert_eq!(ping.applied("first_primary"), 3);

    for dialect in [Dialect::Strict, Dialect::Generic] {
        let refused = Tenant::of(dialect).await.send("POST", "/Users", body.clone()).await;
        assert!(refused.error().starts_with("400 invalidValue"), "{}", refused.error());
    }
}
