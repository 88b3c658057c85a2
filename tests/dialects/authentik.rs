//! authentik: one operation a member, in chunks.

use scim_operator::scim::dialect::Dialect;
use serde_json::{Value, json};

use crate::fixture::{Tenant, sorted};
use crate::support::{GROUP, USER};

#[tokio::test]
async fn members_come_in_chunks_of_the_advertised_size() {
    let authentik = Tenant::of(Dialect::Authentik).await;
    let config = authentik.server.get("/ServiceProviderConfig").await;
    let chunk = config.body["bulk"]["maxOperations"].as_u64().unwrap().min(20);
    let group = authentik.made("/Groups", json!({"schemas": [GROUP], "displayName": "g"})).await;
    let path = format!("/Groups/{group}");
    let mut users = Vec::new();
    for index in 0..30 {
        users.push(authentik.user(&format!("user{index}")).await);
    }
    let operations = |op: &str, users: &[String]| -> Value {
        users.iter().map(|id| json!({"op": op, "path": "members", "value": [{"value": id}]})).collect()
    };
    for chunk in users.chunks(usize::try_from(chunk).unwrap()) {
        assert_eq!(authentik.patch(&path, operations("add", chunk)).await.status, 204);
    }
    assert_eq!(authentik.members(&group).await, sorted(&users.iter().collect::<Vec<_>>()));
    assert_eq!(authentik.patch(&path, operations("remove", &users[1..])).await.status, 204);
    assert_eq!(authentik.members(&group).await, users[..1]);
    assert_eq!(authentik.applied("remove_with_value"), 29);
}

#[tokio::test]
async fn whole_group_as_a_value_without_path_replaces_it() {
    let authentik = Tenant::of(Dialect::Authentik).await;
    let user = authentik.user("a").await;
    let group = authentik
        .made("/Groups", json!({"schemas": [GROUP], "displayName": "g", "members": [{"value": user}]}))
        .await;
    let path = format!("/Groups/{group}");
    let whole = json!({"schemas": [GROUP], "id": group, "externalId": "pk", "displayName": "h"});
    assert_eq!(authentik.patch(&path, json!([{"op": "replace", "value": whole}])).await.status, 204);
    let stored = authentik.stored(&path).await;
    assert_eq!((&stored["displayName"], &stored["externalId"]), (&json!("h"), &json!("pk")));
    assert_eq!((&stored["id"], authentik.members(&group).await), (&json!(group), vec![user]));
}

#[tokio::test]
async fn users_are_put_and_paged_without_count() {
    let authentik = Tenant::of(Dialect::Authentik).await;
    let path = format!("/Users/{}", authentik.user("a").await);
    let body =
        json!({"schemas": [USER], "userName": "a", "active": false, "externalId": "uid", "displayName": "A"});
    let put = authentik.send("PUT", &path, body).await;
    assert_eq!((put.status, &put.body["active"]), (200, &json!(false)), "{}", put.text);
    assert_eq!(authentik.stored(&path).await, put.body);
    authentik.user("b").await;
    let page = authentik.list("/Users", &[("startIndex", "2")]).await;
    assert_eq!(
        (&page.body["totalResults"], &page.body["startIndex"]),
        (&json!(2), &json!(2)),
        "{}",
        page.text
    );
    assert_eq!(page.body["Resources"].as_array().unwrap().len(), 1);
}
