//! Google Workspace: nothing is known of what it sends, so it is read as `Generic` is.

use scim_operator::scim::dialect::Dialect;
use serde_json::json;

use crate::fixture::Tenant;

#[test]
fn table_is_the_generic_one() {
    assert_eq!(Dialect::GoogleWorkspace.rules(), Dialect::Generic.rules());
}

#[tokio::test]
async fn user_is_made_changed_and_removed() {
    let google = Tenant::of(Dialect::GoogleWorkspace).await;
    let path = format!("/Users/{}", google.user("a").await);
    let reply = google.patch(&path, json!([{"op": "replace", "path": "active", "value": false}])).await;
    assert_eq!((reply.status, &google.stored(&path).await["active"]), (200, &json!(false)), "{}", reply.text);
    assert_eq!(google.server.delete(&path).await.status, 204);
}
