//! Microsoft Entra ID without flags:
//! <https://learn.microsoft.com/entra/identity/app-provisioning/use-scim-to-provision-users-and-groups>.

use scim_operator::scim::dialect::Dialect;
use serde_json::{Value, json};

use crate::fixture::{Tenant, sorted};
use crate::support::{ENTERPRISE, GROUP, RequestExt, USER};

const TYPO: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0User";

/// The documented "Create User", with the nulls that Entra sends for what is not mapped.
fn new_user(name: &str) -> Value {
    json!({"schemas": [USER, ENTERPRISE], "externalId": name, "userName": name, "active": true,
        "addresses": null, "displayName": "Joy Young", "emails": [{"type": "work", "value": "j@contoso.com", "primary": true}],
        "meta": {"resourceType": "User"}, "name": {"familyName": "Young", "givenName": "Joy"},
        "phoneNumbers": null, "preferredLanguage": null, "title": null, "department": null,
        "manager": null, "roles": []})
}

async fn entra() -> (Tenant, String) {
    let entra = Tenant::of(Dialect::EntraID).await;
    let id = entra.made("/Users", new_user("jyoung")).await;
    (entra, format!("/Users/{id}"))
}

#[tokio::test]
async fn test_connection_finds_nobody_and_no_404() {
    let entra = Tenant::of(Dialect::EntraID).await;
    let filter = "userName eq \"5bc7f0a1-0a4e-4a77-b0f4-9a3d6d1a8a00\"";
    let reply = entra.list("/Users", &[("filter", filter)]).await;
    assert_eq!((reply.status, &reply.body["totalResults"]), (200, &json!(0)), "{}", reply.text);
    let schemas = entra.server.get("/Schemas").await;
    assert_eq!(schemas.body["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:ListResponse"]));
}

#[tokio::test]
async fn user_with_nulls_is_made_without_them() {
    let (entra, path) = entra().await;
    let stored = entra.stored(&path).await;
    for absent in ["addresses", "phoneNumbers", "title", "roles", "manager", "department", ENTERPRISE] {
        assert_eq!(stored.get(absent), None, "{absent}");
    }
    assert_eq!((&stored["schemas"], &stored["externalId"]), (&json!([USER]), &json!("jyoung")));
    assert_eq!(entra.applied("unknown_attribute"), 0);
}

#[tokio::test]
async fn enterprise_attributes_at_the_root_and_under_the_typo_are_the_extensions() {
    let entra = Tenant::of(Dialect::EntraID).await;
    let body = json!({"schemas": [USER, TYPO], "userName": "a", "department": "Sales", "manager": "M1",
        TYPO: {"employeeNumber": "E1", "department": "Ignored"}});
    let made = entra.send("POST", "/Users", body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let expected = json!({"employeeNumber": "E1", "department": "Sales", "manager": {"value": "M1"}});
    assert_eq!((&made.body[ENTERPRISE], &made.body["schemas"]), (&expected, &json!([USER, ENTERPRISE])));
    assert_eq!((made.body.get(TYPO), made.body.get("manager")), (None, None));
    let path = format!("/Users/{}", made.body["id"].as_str().unwrap());
    assert_eq!(entra.stored(&path).await, made.body);

    let typo = json!([{"op": "Add", "path": format!("{TYPO}:costCenter"), "value": "C1"},
                      {"op": "Replace", "path": "department", "value": "Tech"}]);
    let patched = entra.patch(&path, typo).await;
    assert_eq!(patched.status, 200, "{}", patched.text);
    assert_eq!(entra.stored(&path).await[ENTERPRISE]["costCenter"], "C1");
    assert_eq!(entra.stored(&path).await[ENTERPRISE]["department"], "Tech");
    assert!(entra.applied("enterprise_typo") > 0 && entra.applied("root_enterprise") > 0);
}

#[tokio::test]
async fn user_is_found_by_a_value_without_quotes() {
    let (entra, _) = entra().await;
    for filter in
        ["externalId eq jyoung", "externalId eq \"jyoung\"", "userName Eq JYoung and active eq true"]
    {
        assert_eq!(entra.total("/Users", filter).await, 1, "{filter}");
    }
    assert_eq!(entra.total("/Users", "externalId eq 5").await, 0);
    assert_eq!(entra.applied("unquoted_value"), 3);
    let refused = entra.list("/Users", &[("filter", "externalId eq")]).await;
    assert!(refused.error().starts_with("400 invalidFilter"), "{}", refused.error());
}

#[tokio::test]
async fn user_is_deactivated_with_the_text_false() {
    let (entra, path) = entra().await;
    let reply = entra.patch(&path, json!([{"op": "Replace", "path": "active", "value": "False"}])).await;
    assert_eq!((reply.status, &reply.body["active"]), (200, &json!(false)), "{}", reply.text);
    let stored = entra.stored(&path).await;
    assert_eq!(stored["active"], false, "who was deactivated can be read");
    assert_eq!((entra.applied("string_boolean"), entra.applied("op_case")), (1, 1));
    let reply = entra.patch(&path, json!([{"op": "Replace", "path": "active", "value": "True"}])).await;
    assert_eq!(reply.body["active"], true);
}

#[tokio::test]
async fn documented_updates_of_several_attributes_apply_together() {
    let (entra, path) = entra().await;
    let operations = json!([
        {"op": "Replace", "path": "emails[type eq \"work\"].value", "value": "a@b.example"},
        {"op": "Replace", "path": "name.familyName", "value": "N"},
        {"op": "Replace", "path": format!("{ENTERPRISE}:employeeNumber"), "value": "E1"},
        {"op": "Add", "path": "nickName", "value": "Babs"}]);
    let reply = entra.patch(&path, operations).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let stored = entra.stored(&path).await;
    assert_eq!(stored["emails"], json!([{"value": "a@b.example", "type": "work", "primary": true}]));
    assert_eq!((&stored["name"]["familyName"], &stored["name"]["givenName"]), (&json!("N"), &json!("Joy")));
    assert_eq!((&stored["nickName"], &stored[ENTERPRISE]["employeeNumber"]), (&json!("Babs"), &json!("E1")));
}

#[tokio::test]
async fn replace_through_a_value_filter_makes_what_is_not_there() {
    let entra = Tenant::of(Dialect::EntraID).await;
    let path = format!("/Users/{}", entra.user("a").await);
    let operations = json!([
        {"op": "Replace", "path": "emails[type eq \"work\"].value", "value": "a@b"},
        {"op": "Add", "path": "phoneNumbers[type eq \"mobile\"].value", "value": "1"},
        {"op": "Replace", "path": "addresses[type eq \"work\"].locality", "value": "X"},
        {"op": "Replace", "path": "addresses[type eq \"work\"].country", "value": "Y"},
        {"op": "Replace", "path": "roles[primary eq \"True\"].value", "value": "Admin"}]);
    let reply = entra.patch(&path, operations).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let stored = entra.stored(&path).await;
    assert_eq!(stored["emails"], json!([{"value": "a@b", "type": "work"}]));
    assert_eq!(stored["phoneNumbers"], json!([{"value": "1", "type": "mobile"}]));
    assert_eq!(stored["addresses"], json!([{"locality": "X", "country": "Y", "type": "work"}]));
    assert_eq!(stored["roles"], json!([{"value": "Admin", "primary": true}]));

    let again = json!([{"op": "Replace", "path": "emails[type eq \"work\"].value", "value": "c@d"}]);
    entra.patch(&path, again).await;
    assert_eq!(
        entra.stored(&path).await["emails"],
        json!([{"value": "c@d", "type": "work"}]),
        "one of a type"
    );
}

#[tokio::test]
async fn empty_text_and_null_clear() {
    let (entra, path) = entra().await;
    for empty in [json!(""), json!(null)] {
        let set = json!([{"op": "Add", "path": "title", "value": "T"}, {"op": "Add", "path": "nickName", "value": "N"},
                         {"op": "Add", "path": "department", "value": "D"}]);
        assert_eq!(entra.patch(&path, set).await.status, 200);
        let clear = json!([{"op": "Replace", "path": "title", "value": empty},
                           {"op": "Replace", "path": format!("{ENTERPRISE}:department"), "value": empty},
                           {"op": "Replace", "path": "addresses[type eq \"work\"].locality", "value": empty},
                           {"op": "Replace", "value": {"nickName": empty}}]);
        let reply = entra.patch(&path, clear).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let stored = entra.stored(&path).await;
        for gone in ["title", "nickName", "addresses", ENTERPRISE] {
            assert_eq!(stored.get(gone), None, "{gone} after {empty}");
        }
    }
    let made = entra
        .send("POST", "/Users", json!({"schemas": [USER], "userName": "b", "title": "", "emails": ""}))
        .await;
    assert_eq!((made.status, made.body.get("title")), (201, None), "{}", made.text);
    let required = entra.patch(&path, json!([{"op": "Replace", "path": "userName", "value": ""}])).await;
    assert!(required.error().starts_with("400 invalidValue"), "{}", required.error());
}

#[tokio::test]
async fn manager_in_each_form_is_set_and_cleared() {
    let (entra, path) = entra().await;
    let (m, n) = (entra.user("m").await, entra.user("n").await);
    let qualified = format!("{ENTERPRISE}:manager");
    let reference = format!("http://scim.example/scim/Users/{m}");
    let forms = [
        ("manager", json!([{"$ref": reference, "value": m}]), json!({"$ref": reference, "value": m})),
        ("manager", json!(n), json!({"value": n})),
        (qualified.as_str(), json!({"value": m}), json!({"value": m})),
        (qualified.as_str(), json!([{"value": n}]), json!({"value": n})),
        (qualified.as_str(), json!(m), json!({"value": m})),
    ];
    let cleared =
        [json!(""), json!(null), json!([]), json!({"value": ""}), json!([{"$ref": "", "value": ""}])];
    for ((name, value, expected), empty) in forms.into_iter().zip(cleared) {
        let set = entra.patch(&path, json!([{"op": "Add", "path": name, "value": value}])).await;
        assert_eq!(set.status, 200, "{}", set.text);
        assert_eq!(entra.stored(&path).await[ENTERPRISE]["manager"], expected, "{value}");
        let filter = format!("{name} eq \"{}\"", expected["value"].as_str().unwrap());
        assert_eq!(entra.total("/Users", &filter).await, 1, "{filter}");
        let clear = entra.patch(&path, json!([{"op": "Replace", "path": name, "value": empty}])).await;
        assert_eq!(clear.status, 200, "{}", clear.text);
        assert_eq!(entra.stored(&path).await.get(ENTERPRISE), None, "{empty}");
    }
    entra.patch(&path, json!([{"op": "Add", "path": "manager", "value": [{"value": m}]}])).await;
    assert_eq!(entra.patch(&path, json!([{"op": "Remove", "path": "manager"}])).await.status, 200);
    assert_eq!(entra.stored(&path).await.get(ENTERPRISE), None);
}

#[tokio::test]
async fn manager_that_changes_leaves_nothing_of_the_one_before() {
    let (entra, path) = entra().await;
    let first =
        json!([{"op": "Add", "path": "manager", "value": [{"$ref": "http://x/Users/A", "value": "A"}]}]);
    entra.patch(&path, first).await;
    entra.patch(&path, json!([{"op": "Add", "path": "manager", "value": "B"}])).await;
    assert_eq!(entra.stored(&path).await[ENTERPRISE]["manager"], json!({"value": "B"}));
}

#[tokio::test]
async fn references_are_checked_with_filters() {
    let (entra, path) = entra().await;
    let id = path.trim_start_matches("/Users/");
    entra.patch(&path, json!([{"op": "Add", "path": "manager", "value": [{"value": "M"}]}])).await;
    let user = |manager: &str| format!("id eq \"{id}\" and manager eq \"{manager}\"");
    assert_eq!(entra.total("/Users", &user("M")).await, 1);
    assert_eq!(entra.total("/Users", &user("N")).await, 0);
    let group = entra
        .made("/Groups", json!({"schemas": [GROUP], "displayName": "g", "members": [{"value": id}]}))
        .await;
    let member = |member: &str| format!("id eq \"{group}\" and members eq \"{member}\"");
    assert_eq!(entra.total("/Groups", &member(id)).await, 1);
    assert_eq!(entra.total("/Groups", &member(&group)).await, 0);
}

#[tokio::test]
async fn group_with_a_schema_that_is_not_scim_is_made_and_found() {
    let entra = Tenant::of(Dialect::EntraID).await;
    let own = "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group";
    let body = json!({"schemas": [GROUP, own], "externalId": "8aa1a0c0", "displayName": "x", "meta": {"resourceType": "Group"}});
    let made = entra.send("POST", "/Groups", body).await;
    assert_eq!((made.status, &made.body["schemas"]), (201, &json!([GROUP])), "{}", made.text);
    assert_eq!(entra.applied("unknown_schema"), 1);
    let id = made.body["id"].as_str().unwrap();
    let user = entra.user("a").await;
    entra
        .patch(
            &format!("/Groups/{id}"),
            json!([{"op": "Add", "path": "members", "value": [{"value": user}]}]),
        )
        .await;

    let read = entra.list(&format!("/Groups/{id}"), &[("excludedAttributes", "members")]).await;
    assert_eq!((read.status, read.body.get("members")), (200, None), "{}", read.text);
    assert_eq!((&read.body["displayName"], &read.body["externalId"]), (&json!("x"), &json!("8aa1a0c0")));
    let found =
        entra.list("/Groups", &[("excludedAttributes", "members"), ("filter", "displayName eq \"x\"")]).await;
    assert_eq!(found.body["Resources"], json!([read.body]), "{}", found.text);
}

#[tokio::test]
async fn member_that_is_removed_by_value_leaves_the_others() {
    let entra = Tenant::of(Dialect::EntraID).await;
    let (a, b, c) = (entra.user("a").await, entra.user("b").await, entra.user("c").await);
    let group = entra.made("/Groups", json!({"schemas": [GROUP], "displayName": "g"})).await;
    let path = format!("/Groups/{group}");
    let add = json!([{"op": "Add", "path": "members", "value": [{"$ref": null, "value": a}, {"$ref": null, "value": b}]},
                     {"op": "Add", "path": "members", "value": [{"$ref": null, "value": c}]}]);
    let added = entra.patch(&path, add).await;
    assert_eq!((added.status, added.text.as_str()), (204, ""));
    assert_eq!(entra.members(&group).await, sorted(&[&a, &b, &c]));

    let remove = json!([{"op": "Remove", "path": "members", "value": [{"$ref": null, "value": a}]}]);
    let removed = entra.patch(&path, remove.clone()).await;
    assert_eq!((removed.status, removed.text.as_str()), (204, ""));
    assert_eq!(entra.members(&group).await, sorted(&[&b, &c]));
    assert_eq!(entra.patch(&path, remove).await.status, 204, "who is no member is removed already");
    assert_eq!(entra.members(&group).await, sorted(&[&b, &c]));

    let rename = json!([{"op": "Replace", "path": "displayName", "value": "h"}]);
    assert_eq!(entra.patch(&path, rename).await.status, 204);
    assert_eq!(entra.stored(&path).await["displayName"], "h");
    assert_eq!(entra.server.delete(&path).await.status, 204);
    assert_eq!(entra.server.get(&path).await.status, 404);
}

#[tokio::test]
async fn strict_refuses_what_entra_sends_beside_the_rfcs() {
    let strict = Tenant::of(Dialect::Strict).await;
    let path = format!("/Users/{}", strict.user("a").await);
    let group = strict.made("/Groups", json!({"schemas": [GROUP], "displayName": "g"})).await;
    for operation in [
        json!({"op": "Replace", "path": "active", "value": false}),
        json!({"op": "replace", "path": "active", "value": "False"}),
        json!({"op": "replace", "path": "emails[type eq \"work\"].value", "value": "a@b"}),
        json!({"op": "add", "path": "manager", "value": {"value": "M"}}),
        json!({"op": "add", "path": format!("{ENTERPRISE}:manager"), "value": "M"}),
        json!({"op": "add", "path": format!("{ENTERPRISE}:manager"), "value": [{"value": "M"}]}),
        json!({"op": "add", "path": format!("{TYPO}:department"), "value": "D"}),
        json!({"op": "replace", "value": {"name.givenName": "K"}}),
    ] {
        let reply = strict.patch(&path, json!([operation])).await;
        assert_eq!(reply.status, 400, "{operation}: {}", reply.text);
    }
    let removal = json!([{"op": "remove", "path": "members", "value": [{"value": "x"}]}]);
    assert_eq!(strict.patch(&format!("/Groups/{group}"), removal).await.status, 400);
    for body in [
        json!({"userName": "b"}),
        json!({"schemas": [USER], "userName": "b", "department": "D"}),
        json!({"schemas": [USER, TYPO], "userName": "b"}),
    ] {
        assert_eq!(strict.send("POST", "/Users", body.clone()).await.status, 400, "{body}");
    }
    let filter = strict.list("/Users", &[("filter", "externalId eq jyoung")]).await;
    assert!(filter.error().starts_with("400 invalidFilter"), "{}", filter.error());
}

#[tokio::test]
async fn search_takes_the_same_filters_as_a_list() {
    let (entra, _) = entra().await;
    let body = json!({"schemas": [crate::support::SEARCH], "filter": "externalId eq jyoung"});
    let found = entra.server.request("POST", "/Users/.search").scim(&body).reply().await;
    assert_eq!((found.status, &found.body["totalResults"]), (200, &json!(1)), "{}", found.text);
}
