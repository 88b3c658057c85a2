//! JumpCloud: the session that activates an integration.

use scim_operator::scim::dialect::Dialect;
use serde_json::json;

use crate::fixture::Tenant;
use crate::support::{GROUP, USER};

#[tokio::test]
async fn activation_makes_a_user_and_a_group_and_takes_them_away() {
    let jump_cloud = Tenant::of(Dialect::JumpCloud).await;
    let body = json!({"schemas": [USER], "userName": "test@jumpcloud.example", "active": true,
        "emails": [{"value": "test@jumpcloud.example", "primary": true}]});
    let user = jump_cloud.made("/Users", body).await;
    assert_eq!(jump_cloud.stored(&format!("/Users/{user}")).await["active"], true);
    let body = json!({"schemas": [GROUP], "displayName": "test", "members": [{"value": user}]});
    let group = jump_cloud.made("/Groups", body).await;
    assert_eq!(jump_cloud.members(&group).await, std::slice::from_ref(&user));
    for path in [format!("/Groups/{group}"), format!("/Users/{user}")] {
        assert_eq!(jump_cloud.server.delete(&path).await.status, 204, "{path}");
        assert_eq!(jump_cloud.server.get(&path).await.status, 404, "{path}");
    }
    for path in ["/Users", "/Groups"] {
        assert_eq!(jump_cloud.list(path, &[]).await.body["totalResults"], 0, "{path}");
    }
}
