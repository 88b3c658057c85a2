//! What holds for every dialect.

use scim_operator::scim::dialect::Dialect;
use serde_json::json;

use crate::fixture::Tenant;
use crate::support::{ENTERPRISE, GROUP, USER};

#[tokio::test]
async fn standard_requests_use_no_rule_of_any_dialect() {
    for dialect in Dialect::ALL {
        let tenant = Tenant::of(dialect).await;
        let body = json!({"schemas": [USER, ENTERPRISE], "userName": "a", "active": true,
            "emails": [{"value": "a@x", "type": "work", "primary": true}],
            ENTERPRISE: {"department": "D", "manager": {"value": "M", "$ref": "../Users/M"}}});
        let id = tenant.made("/Users", body.clone()).await;
        let path = format!("/Users/{id}");
        let operations = json!([
            {"op": "replace", "path": "emails[type eq \"work\"].value", "value": "b@x"},
            {"op": "add", "path": format!("{ENTERPRISE}:manager"), "value": {"value": "N"}},
            {"op": "replace", "value": {"active": false, ENTERPRISE: {"department": "E"}}},
            {"op": "remove", "path": "emails[type eq \"work\"]"}]);
        let patched = tenant.patch(&path, operations).await;
        assert_eq!(patched.status, 200, "{dialect:?}: {}", patched.text);
        let group = tenant
            .made("/Groups", json!({"schemas": [GROUP], "displayName": "g", "members": [{"value": id}]}))
            .await;
        let removal = json!([{"op": "remove", "path": format!("members[value eq \"{id}\"]")}]);
        assert_eq!(tenant.patch(&format!("/Groups/{group}"), removal).await.status, 204);
        let filter = format!(
            "active eq false and (title pr or not ({ENTERPRISE}:department eq \"a\\\" and b\")) and externalId eq null"
        );
        assert_eq!(tenant.total("/Users", &filter).await, 1, "{dialect:?}");
        let metrics = tenant.server.app.metrics().encode().unwrap();
        assert!(!metrics.contains("scim_dialect_rules_total"), "{dialect:?}: {metrics}");
    }
}

/// `Generic` reads these as it does any other unknown attribute, and says who would have understood them.
#[tokio::test]
async fn generic_counts_what_another_dialect_would_have_understood() {
    let generic = Tenant::of(Dialect::Generic).await;
    let body = json!({"schemas": [USER], "userName": "a", "department": "D"});
    let made = generic.send("POST", "/Users", body).await;
    assert_eq!((made.status, made.body.get(ENTERPRISE)), (201, None), "{}", made.text);
    let path = format!("/Users/{}", made.body["id"].as_str().unwrap());
    let manager = json!([{"op": "add", "path": format!("{ENTERPRISE}:manager"), "value": "M"}]);
    assert_eq!(generic.patch(&path, manager).await.status, 400);
    let list = generic.list("/Users", &[("filter", "externalId eq jyoung")]).await;
    assert!(list.error().starts_with("400 invalidFilter"), "{}", list.error());
    let metrics = generic.server.app.metrics().encode().unwrap();
    for rule in ["root_enterprise", "manager_form", "unquoted_value"] {
        let line = format!("scim_dialect_rules_missed_total{{tenant=\"identity/acme\",rule=\"{rule}\"}} 1");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
    for dialect in [Dialect::Strict, Dialect::EntraID, Dialect::Okta] {
        let tenant = Tenant::of(dialect).await;
        tenant.list("/Users", &[("filter", "externalId eq jyoung")]).await;
        assert!(!tenant.server.app.metrics().encode().unwrap().contains("missed_total"), "{dialect:?}");
    }
}

/// Whether a filter matches shows only in the store; the rules are counted all the same, in bulk requests too.
#[tokio::test]
async fn rules_about_filters_that_match_nothing_are_counted() {
    let entra = Tenant::of(Dialect::EntraID).await;
    let path = format!("/Users/{}", entra.user("a").await);
    let work = |op: &str| json!({"op": op, "path": "emails[type eq \"work\"].value", "value": "w@x"});
    let home = json!({"op": "add", "path": "emails[type eq \"home\"].value", "value": "h@x"});
    let other = json!({"op": "remove", "path": "emails[type eq \"other\"]"});
    let counts =
        || ["add_by_filter", "replace_by_filter", "remove_unmatched"].map(|rule| entra.applied(rule));
    assert_eq!(entra.patch(&path, json!([home, work("replace"), other])).await.status, 200);
    assert_eq!(counts(), [1, 1, 1]);
    assert_eq!(entra.patch(&path, json!([home, work("replace")])).await.status, 200);
    assert_eq!(counts(), [1, 1, 1], "what is there is found");

    let data = crate::support::patch(&json!([other]));
    let operations = json!([{"method": "PATCH", "path": path, "data": data}]);
    let bulk = json!({"schemas": [crate::support::BULK], "Operations": operations});
    assert_eq!(entra.send("POST", "/Bulk", bulk).await.status, 200);
    assert_eq!(counts(), [1, 1, 2]);
}
