//! Microsoft's own compliance tests for gallery applications, the ones that call the SCIM endpoint
//! directly: numbers 15 to 20 and 23 to 25 of `SCIM-Validation-Test-Overview.md` in
//! <https://github.com/AzureAD/SCIMReferenceCode>. What they check is written again here; the
//! others run through an Entra tenant.

use scim_operator::scim::dialect::Dialect;
use serde_json::{Value, json};

use crate::fixture::Tenant;
use crate::support::{ENTERPRISE, GROUP, USER};

/// 15, `Schema_Discoverability_Test`: every mapped attribute is in `/Schemas`, whatever its case.
#[tokio::test]
async fn schemas_name_every_attribute_of_the_default_mapping() {
    let entra = Tenant::of(Dialect::EntraID).await;
    let reply = entra.server.get("/Schemas").await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let resources = reply.body["Resources"].as_array().unwrap();
    let find = |attributes: &Value, name: &str| -> Option<Value> {
        let attributes = attributes.as_array()?;
        attributes.iter().find(|a| a["name"].as_str().unwrap().eq_ignore_ascii_case(name)).cloned()
    };
    for (schema, path) in [
        (USER, "userName"),
        (USER, "active"),
        (USER, "displayName"),
        (USER, "title"),
        (USER, "emails.value"),
        (USER, "preferredLanguage"),
        (USER, "name.givenName"),
        (USER, "name.familyName"),
        (USER, "name.formatted"),
        (USER, "addresses.formatted"),
        (USER, "addresses.streetAddress"),
        (USER, "addresses.locality"),
        (USER, "addresses.region"),
        (USER, "addresses.postalCode"),
        (USER, "addresses.country"),
        (USER, "phoneNumbers.value"),
        (USER, "phoneNumbers.type"),
        (ENTERPRISE, "employeeNumber"),
        (ENTERPRISE, "department"),
        (ENTERPRISE, "manager"),
        (GROUP, "displayName"),
        (GROUP, "members"),
    ] {
        let schema = resources.iter().find(|resource| resource["id"] == schema).unwrap();
        let (name, part) = path.split_once('.').map_or((path, None), |(name, part)| (name, Some(part)));
        let attribute = find(&schema["attributes"], name).unwrap_or_else(|| panic!("{path}"));
        assert!(part.is_none_or(|part| find(&attribute["subAttributes"], part).is_some()), "{path}");
    }
}

/// 16, `SCIM_Null_Update_Test`: empty text, then null, on optional attributes.
#[tokio::test]
async fn empty_text_and_then_null_leave_optional_attributes_empty() {
    let entra = Tenant::of(Dialect::EntraID).await;
    let body = json!({"schemas": [USER, ENTERPRISE], "userName": "a", "displayName": "D", "title": "T",
        "name": {"givenName": "G", "familyName": "F"}, "preferredLanguage": "en",
        "emails": [{"type": "work", "value": "a@b"}], "phoneNumbers": [{"type": "mobile", "value": "1"}],
        ENTERPRISE: {"department": "D", "employeeNumber": "E"}});
    let path = format!("/Users/{}", entra.made("/Users", body).await);
    let names = [
        "displayName",
        "title",
        "name.givenName",
        "name.familyName",
        "preferredLanguage",
        "emails[type eq \"work\"].value",
        "phoneNumbers[type eq \"mobile\"].value",
    ];
    let qualified = [format!("{ENTERPRISE}:department"), format!("{ENTERPRISE}:employeeNumber")];
    for empty in [json!(""), json!(null)] {
        let names = names.iter().copied().chain(qualified.iter().map(String::as_str));
        let operations: Value =
            names.map(|name| json!({"op": "Replace", "path": name, "value": empty})).collect();
        let reply = entra.patch(&path, operations).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let stored = entra.stored(&path).await;
        for gone in ["displayName", "title", "name", "preferredLanguage", ENTERPRISE] {
            assert_eq!(stored.get(gone), None, "{gone} after {empty}");
        }
        for list in ["emails", "phoneNumbers"] {
            assert!(stored[list][0].get("value").is_none(), "{list} after {empty}");
        }
    }
}

/// 17 and 18, `SCIM_User_Create_Test` and `SCIM_User_Update_Test`.
#[tokio::test]
async fn user_is_made_and_each_attribute_updated() {
    let entra = Tenant::of(Dialect::EntraID).await;
    let body = json!({"schemas": [USER, ENTERPRISE], "userName": "a@b", "active": true, "displayName": "D"});
    let made = entra.send("POST", "/Users", body).await;
    assert_eq!((made.status, &made.body["userName"]), (201, &json!("a@b")), "{}", made.text);
    let path = format!("/Users/{}", made.body["id"].as_str().unwrap());
    let values = [
        ("displayName", "/displayName"),
        ("title", "/title"),
        ("userType", "/userType"),
        ("userName", "/userName"),
        ("externalId", "/externalId"),
        ("name.givenName", "/name/givenName"),
        ("name.formatted", "/name/formatted"),
    ];
    let operations: Value = values
        .iter()
        .map(|(name, _)| json!({"op": "Replace", "path": name, "value": format!("new {name}")}))
        .collect();
    let reply = entra.patch(&path, operations).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let stored = entra.stored(&path).await;
    for (name, pointer) in values {
        assert_eq!(stored.pointer(pointer), Some(&json!(format!("new {name}"))));
    }
}

/// 19 and 20, `SCIM_Group_Create_Test` and `SCIM_Group_Update_Test`.
#[tokio::test]
async fn group_is_made_and_updated() {
    let entra = Tenant::of(Dialect::EntraID).await;
    let made = entra
        .send("POST", "/Groups", json!({"schemas": [GROUP], "displayName": "g", "externalId": "x"}))
        .await;
    assert_eq!((made.status, &made.body["displayName"]), (201, &json!("g")), "{}", made.text);
    let path = format!("/Groups/{}", made.body["id"].as_str().unwrap());
    let change = json!([{"op": "Replace", "path": "displayName", "value": "h"},
                        {"op": "Replace", "path": "externalId", "value": "y"}]);
    assert_eq!(entra.patch(&path, change).await.status, 204);
    let stored = entra.stored(&path).await;
    assert_eq!((&stored["displayName"], &stored["externalId"]), (&json!("h"), &json!("y")));
}

/// 23 and 24, `SCIM_User_Pagination_Test` and `SCIM_Group_Pagination_Test`: `startIndex` is echoed.
#[tokio::test]
async fn pages_of_five_begin_where_they_were_asked_to() {
    let entra = Tenant::of(Dialect::EntraID).await;
    for index in 0..11 {
        entra.user(&format!("user{index}")).await;
        entra.made("/Groups", json!({"schemas": [GROUP], "displayName": format!("group{index}")})).await;
    }
    for path in ["/Users", "/Groups"] {
        let mut seen = Vec::new();
        for page in 0..3 {
            let start = page * 5 + 1;
            let reply = entra.list(path, &[("startIndex", &start.to_string()), ("count", "5")]).await;
            assert_eq!((reply.status, &reply.body["startIndex"]), (200, &json!(start)), "{}", reply.text);
            assert_eq!(reply.body["totalResults"], 11);
            let page = reply.body["Resources"].as_array().unwrap();
            seen.extend(page.iter().map(|resource| resource["id"].as_str().unwrap().to_owned()));
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 11, "{path}: each once");
    }
}

/// 25, `SCIM_Update_Manager_Test`: set (Add), change (Replace), remove (Replace with nothing).
#[tokio::test]
async fn manager_is_set_changed_and_removed() {
    let entra = Tenant::of(Dialect::EntraID).await;
    let (first, second) = (entra.user("m").await, entra.user("n").await);
    let path = format!("/Users/{}", entra.user("a").await);
    let manager = format!("{ENTERPRISE}:manager");
    for (op, value, expected) in [
        ("Add", json!(first), json!(first)),
        ("Replace", json!(second), json!(second)),
        ("Replace", json!(""), Value::Null),
    ] {
        let reply = entra.patch(&path, json!([{"op": op, "path": manager, "value": value}])).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        assert_eq!(entra.stored(&path).await[ENTERPRISE]["manager"]["value"], expected, "{op} {value}");
    }
}
