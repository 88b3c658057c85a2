//! OneLogin, as reported: groups first, members without a path, a manager with its name.

use scim_operator::scim::dialect::Dialect;
use serde_json::json;

use crate::fixture::{Tenant, sorted};
use crate::support::{ENTERPRISE, GROUP, USER};

#[tokio::test]
async fn members_are_added_without_a_path() {
    let one_login = Tenant::of(Dialect::OneLogin).await;
    assert_eq!(one_login.list("/Groups", &[]).await.body["totalResults"], 0);
    let (a, b) = (one_login.user("a").await, one_login.user("b").await);
    let group = one_login
        .made("/Groups", json!({"schemas": [GROUP], "displayName": "g", "members": [{"value": a}]}))
        .await;
    let add = json!([{"op": "add", "value": {"members": [{"value": b}]}}]);
    assert_eq!(one_login.patch(&format!("/Groups/{group}"), add).await.status, 204);
    assert_eq!(one_login.members(&group).await, sorted(&[&a, &b]), "those there are stay");
}

#[tokio::test]
async fn manager_with_a_display_name_is_the_reference_alone() {
    let one_login = Tenant::of(Dialect::OneLogin).await;
    let manager = json!({"value": "M", "displayName": "The Boss"});
    let body = json!({"schemas": [USER, ENTERPRISE], "userName": "a", ENTERPRISE: {"manager": manager}});
    let made = one_login.send("POST", "/Users", body).await;
    assert_eq!(
        (made.status, &made.body[ENTERPRISE]),
        (201, &json!({"manager": {"value": "M"}})),
        "{}",
        made.text
    );
    let path = format!("/Users/{}", made.body["id"].as_str().unwrap());
    let change = json!([{"op": "replace", "path": format!("{ENTERPRISE}:manager"), "value": {"value": "N", "displayName": "B"}}]);
    assert_eq!(one_login.patch(&path, change).await.status, 200);
    assert_eq!(one_login.stored(&path).await[ENTERPRISE], json!({"manager": {"value": "N"}}));
}
