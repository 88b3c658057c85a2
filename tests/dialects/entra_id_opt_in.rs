//! Microsoft Entra ID with the flag `aadOptscim062020` on the base URL:
//! <https://learn.microsoft.com/entra/identity/app-provisioning/application-provisioning-config-problem-scim-compatibility>.

use scim_operator::scim::dialect::Dialect;
use serde_json::json;

use crate::fixture::Tenant;
use crate::support::{ENTERPRISE, GROUP};

const FLAG: &str = "?aadOptscim062020";

#[tokio::test]
async fn flag_on_the_url_is_no_concern_of_the_server() {
    let entra = Tenant::of(Dialect::EntraID).await;
    let id = entra.user("a").await;
    assert_eq!(entra.server.get(&format!("/Users/{id}{FLAG}")).await.status, 200);
    let found = entra.server.get(&format!("/Users{FLAG}&filter=userName%20eq%20%22a%22")).await;
    assert_eq!(found.body["totalResults"], 1, "{}", found.text);
}

#[tokio::test]
async fn user_is_deactivated_with_a_boolean() {
    let entra = Tenant::of(Dialect::EntraID).await;
    let path = format!("/Users/{}", entra.user("a").await);
    let change = json!([{"op": "replace", "path": "active", "value": false}]);
    let reply = entra.patch(&format!("{path}{FLAG}"), change).await;
    assert_eq!((reply.status, &reply.body["active"]), (200, &json!(false)), "{}", reply.text);
    assert_eq!(entra.stored(&path).await["active"], false);
}

#[tokio::test]
async fn dotted_and_qualified_names_in_a_value_without_path_apply() {
    let entra = Tenant::of(Dialect::EntraID).await;
    let path = format!("/Users/{}", entra.user("a").await);
    let qualified = format!("{ENTERPRISE}:employeeNumber");
    let value = json!({"displayName": "B", "name.givenName": "K", "name.familyName": "F", qualified: "A",
        format!("{ENTERPRISE}:manager"): "M", "department": "D"});
    let reply = entra.patch(&format!("{path}{FLAG}"), json!([{"op": "replace", "value": value}])).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let stored = entra.stored(&path).await;
    assert_eq!(
        (&stored["displayName"], &stored["name"]),
        (&json!("B"), &json!({"givenName": "K", "familyName": "F"}))
    );
    let expected = json!({"employeeNumber": "A", "department": "D", "manager": {"value": "M"}});
    assert_eq!(stored[ENTERPRISE], expected);
    assert!(entra.applied("qualified_names") >= 3);
}

#[tokio::test]
async fn member_is_removed_by_a_value_filter() {
    let entra = Tenant::of(Dialect::EntraID).await;
    let (a, b) = (entra.user("a").await, entra.user("b").await);
    let group = json!({"schemas": [GROUP], "displayName": "g", "members": [{"value": a}, {"value": b}]});
    let group = entra.made("/Groups", group).await;
    let removal = json!([{"op": "remove", "path": format!("members[value eq \"{a}\"]")}]);
    let reply = entra.patch(&format!("/Groups/{group}{FLAG}"), removal).await;
    assert_eq!((reply.status, reply.text.as_str()), (204, ""));
    assert_eq!(entra.members(&group).await, [b]);
}
