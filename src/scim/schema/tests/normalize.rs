//! POST and PUT bodies, and single values of a PATCH: what is stored of them, what is refused, and how.

use super::*;
use crate::scim::dialect::Rule;

const MINIMAL: &str = include_str!("../examples/rfc7643_8_1_user_minimal.json");
const ENTERPRISE: &str = include_str!("../examples/rfc7643_8_3_enterprise_user.json");
const GROUP: &str = include_str!("../examples/rfc7643_8_4_group.json");

fn strict(more: Value) -> Attributes {
    normalize("User", user(more), Dialect::Strict).unwrap().0.attributes
}

fn refusal(more: Value) -> String {
    normalize("User", user(more), Dialect::Strict).unwrap_err().to_string()
}

#[test]
fn minimal_user_of_the_rfc_keeps_what_is_the_clients() {
    let (normalized, _) = normalize("User", serde_json::from_str(MINIMAL).unwrap(), Dialect::Strict).unwrap();
    assert_eq!(
        Value::Object(normalized.attributes),
        json!({"schemas": [USER_SCHEMA], "userName": "bjensen@example.com"})
    );
    assert_eq!(normalized.members, None);
}

#[test]
fn enterprise_user_of_the_rfc_loses_only_what_is_read_only_or_never_kept() {
    let body: Value = serde_json::from_str(ENTERPRISE).unwrap();
    let (normalized, tolerated) = normalize("User", body.clone(), Dialect::Strict).unwrap();
    let mut expected = body;
    for gone in ["id", "meta", "groups", "password"] {
        expected.as_object_mut().unwrap().shift_remove(gone);
    }
    expected[ENTERPRISE_USER_SCHEMA]["manager"].as_object_mut().unwrap().shift_remove("displayName");
    assert_eq!(Value::Object(normalized.attributes), expected);
    assert_eq!(tolerated, Tolerated::default());
}

#[test]
fn group_of_the_rfc_yields_its_member_ids() {
    let (normalized, _) = normalize("Group", serde_json::from_str(GROUP).unwrap(), Dialect::Strict).unwrap();
    assert_eq!(
        Value::Object(normalized.attributes),
        json!({"schemas": [GROUP_SCHEMA], "displayName": "Tour Guides"})
    );
    let ids = ["2819c223-7f76-453a-919d-413861904646", "902c246b-6245-4190-8e05-00816be7344a"];
    assert_eq!(normalized.members, Some(ids.map(str::to_owned).to_vec()));
}

#[test]
fn group_members_are_taken_once_each_and_refused_without_value() {
    let group = |members: Value| {
        let body = json!({"schemas": [GROUP_SCHEMA], "displayName": "g", "Members": members});
        normalize("Group", body, Dialect::Strict).map(|(normalized, _)| normalized.members)
    };
    assert_eq!(
        group(json!([{"value": "a", "$ref": null}, {"value": "b", "type": "User"}, {"value": "a"}])),
        Ok(Some(vec!["a".to_owned(), "b".to_owned()]))
    );
    assert_eq!(group(json!([])), Ok(Some(vec![])));
    assert_eq!(group(json!(null)), Ok(Some(vec![])));
    insta::assert_snapshot!(group(json!([{"display": "Babs"}])).unwrap_err(), @r#"400 invalidValue: "members[0].value" is required: the id of a User or Group"#);
    insta::assert_snapshot!(group(json!(["a"])).unwrap_err(), @r#"400 invalidValue: "members[0]" must be an object, not a string"#);
    insta::assert_snapshot!(group(json!([{"value": 7}])).unwrap_err(), @r#"400 invalidValue: "members[0].value" must be a string, not a number"#);
}

#[test]
fn names_in_any_case_come_out_in_the_schemas_spelling_and_order() {
    let body = json!({
        "URN:ietf:params:scim:schemas:extension:ENTERPRISE:2.0:User": {"EMPLOYEENUMBER": "7"},
        "NAME": {"FAMILYNAME": "Jensen", "Formatted": "B"},
        "USERNAME": "bjensen",
        "Schemas": ["URN:IETF:params:scim:schemas:core:2.0:User"],
    });
    let (normalized, _) = normalize("User", body, Dialect::Strict).unwrap();
    insta::assert_snapshot!(serde_json::to_string(&normalized.attributes).unwrap(), @r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],"userName":"bjensen","name":{"formatted":"B","familyName":"Jensen"},"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"employeeNumber":"7"}}"#);
}

#[test]
fn nothing_assigned_is_nothing_stored() {
    let attributes = strict(json!({
        "title": null, "emails": [], "name": {}, "phoneNumbers": null, "roles": [null, {}, {"value": null}],
        "addresses": [{"locality": null}], ENTERPRISE_USER_SCHEMA: {"manager": null},
    }));
    assert_eq!(Value::Object(attributes), user(json!({})));
}

#[test]
fn schemas_are_in_step_with_what_is_used() {
    let listed_without_values = json!({
        "schemas": [USER_SCHEMA, ENTERPRISE_USER_SCHEMA], "userName": "b",
    });
    let (normalized, _) = normalize("User", listed_without_values, Dialect::Strict).unwrap();
    assert_eq!(normalized.attributes["schemas"], json!([USER_SCHEMA]));
    let used_without_listing = strict(json!({ENTERPRISE_USER_SCHEMA: {"schemas": [], "division": "d"}}));
    assert_eq!(used_without_listing["schemas"], json!([USER_SCHEMA, ENTERPRISE_USER_SCHEMA]));
}

#[test]
fn schemas_missing_or_unknown_are_refused_by_strict() {
    let refusal = |body: Value| normalize("User", body, Dialect::Strict).unwrap_err();
    insta::assert_snapshot!(refusal(json!({"userName": "b"})), @r#"400 invalidValue: "schemas" is required and must contain "urn:ietf:params:scim:schemas:core:2.0:User""#);
    insta::assert_snapshot!(refusal(json!({"userName": "b", "schemas": []})), @r#"400 invalidValue: "schemas" is required and must contain "urn:ietf:params:scim:schemas:core:2.0:User""#);
    insta::assert_snapshot!(refusal(json!({"userName": "b", "schemas": USER_SCHEMA})), @r#"400 invalidValue: "schemas" must be a list, not a string"#);
    insta::assert_snapshot!(refusal(json!({"userName": "b", "schemas": ["urn:ietf:params:scim:schemas:core:2.0User"]})), @r#"400 invalidValue: "schemas" names "urn:ietf:params:scim:schemas:core:2.0User", which is no schema of User; did you mean "urn:ietf:params:scim:schemas:core:2.0:User"?"#);
    insta::assert_snapshot!(refusal(json!({"userName": "b", "schemas": [GROUP_SCHEMA]})), @r#"400 invalidValue: "schemas" names "urn:ietf:params:scim:schemas:core:2.0:Group", which is no schema of User; it has ["urn:ietf:params:scim:schemas:core:2.0:User", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"]"#);
}

#[test]
fn generic_drops_what_it_does_not_know_and_reports_the_names() {
    let body = json!({
        "schemas": ["urn:example:custom"], "userName": "b", "favouriteColour": "secret-blue", "active": "False",
        "name": {"nick": "x", "givenName": "B"}, "emails": [{"value": "b@x", "verified": true, "primary": "TRUE"}],
        "emails2": null, ENTERPRISE_USER_SCHEMA: {"badge": 1, "department": "d"},
    });
    let (normalized, tolerated) = normalize("User", body, Dialect::Generic).unwrap();
    assert_eq!(
        Value::Object(normalized.attributes),
        json!({
            "schemas": [USER_SCHEMA, ENTERPRISE_USER_SCHEMA], "userName": "b", "name": {"givenName": "B"},
            "active": false, "emails": [{"value": "b@x", "primary": true}],
            ENTERPRISE_USER_SCHEMA: {"department": "d"},
        })
    );
    assert_eq!(tolerated.names(Rule::StringBoolean), ["active", "emails[0].primary"]);
    insta::assert_snapshot!(tolerated.names(Rule::UnknownAttribute).join("\n"), @r"
    favouriteColour
    name.nick
    emails[0].verified
    emails2
    urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:badge
    ");
    assert_eq!(tolerated.names(Rule::UnknownSchema), ["urn:example:custom"]);
}

#[test]
fn many_unknown_attributes_are_reported_in_bounds() {
    let many: serde_json::Map<String, Value> =
        (0..1000).map(|i| (format!("{i}{}", "x".repeat(500)), json!(1))).collect();
    let (_, tolerated) = normalize("User", user(Value::Object(many)), Dialect::Generic).unwrap();
    assert_eq!(tolerated.names(Rule::UnknownAttribute).len(), 32);
    assert!(tolerated.names(Rule::UnknownAttribute).iter().all(|name| name.len() <= 100));
}

#[test]
fn unknown_attributes_are_refused_by_strict_with_a_hint() {
    insta::assert_snapshot!(refusal(json!({"dispalyName": "x"})), @r#"400 invalidSyntax: "dispalyName" is not an attribute of User; did you mean "displayName"?"#);
    insta::assert_snapshot!(refusal(json!({"name": {"famlyName": "x"}})), @r#"400 invalidSyntax: "name.famlyName" is not an attribute of User; did you mean "familyName"?"#);
    insta::assert_snapshot!(refusal(json!({"emails": [{"value": "a"}, {"mail": "x"}]})), @r#"400 invalidSyntax: "emails[1].mail" is not an attribute of User"#);
    insta::assert_snapshot!(refusal(json!({ENTERPRISE_USER_SCHEMA: {"manger": {}}})), @r#"400 invalidSyntax: "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manger" is not an attribute of User; did you mean "manager"?"#);
    insta::assert_snapshot!(refusal(json!({"USERNAME": "x"})), @r#"400 invalidSyntax: "userName" is given more than once: attribute names are the same whatever their case"#);
}

#[test]
fn values_that_do_not_fit_are_refused_by_name_and_never_repeated() {
    insta::assert_snapshot!(refusal(json!({"userName": null})), @r#"400 invalidValue: "userName" is required"#);
    insta::assert_snapshot!(refusal(json!({"userName": " \t"})), @r#"400 invalidValue: "userName" is required and must not be blank"#);
    insta::assert_snapshot!(refusal(json!({"userName": 7})), @r#"400 invalidValue: "userName" must be a string, not a number"#);
    insta::assert_snapshot!(refusal(json!({"active": "true"})), @r#"400 invalidValue: "active" must be a boolean, true or false, not a string"#);
    insta::assert_snapshot!(refusal(json!({"title": "a\u{0}b"})), @r#"400 invalidValue: "title" must not contain the character U+0000"#);
    insta::assert_snapshot!(refusal(json!({"name": "Babs"})), @r#"400 invalidValue: "name" must be an object, not a string"#);
    insta::assert_snapshot!(refusal(json!({"name": [{}]})), @r#"400 invalidValue: "name" must be an object, not a list"#);
    insta::assert_snapshot!(refusal(json!({"emails": {"value": "a"}})), @r#"400 invalidValue: "emails" must be a list, not an object"#);
    insta::assert_snapshot!(refusal(json!({"password": ""})), @r#"400 invalidValue: "password" must not be empty"#);
    insta::assert_snapshot!(refusal(json!({"password": 1234})), @r#"400 invalidValue: "password" must be a string, not a number"#);
    insta::assert_snapshot!(refusal(json!({"profileUrl": "not a uri"})), @r#"400 invalidValue: "profileUrl" must be a URI, with no spaces or control characters"#);
    insta::assert_snapshot!(refusal(json!({"x509Certificates": [{"value": "*"}]})), @r#"400 invalidValue: "x509Certificates[0].value" must be base64 (RFC 4648 section 4 or 5)"#);
    insta::assert_snapshot!(refusal(json!({"emails": [{"value": "a", "primary": true}, {"value": "b", "primary": true}]})), @r#"400 invalidValue: "emails" has more than one value with "primary": true; one at most may be primary"#);
    insta::assert_snapshot!(normalize("User", json!([]), Dialect::Strict).unwrap_err(), @"400 invalidSyntax: the body must be a JSON object that describes a User, not a list");
    insta::assert_snapshot!(normalize("User", user(json!({"active": "yes"})), Dialect::Generic).unwrap_err(), @r#"400 invalidValue: "active" must be true or false"#);
    insta::assert_snapshot!(normalize("Group", json!({"schemas": [GROUP_SCHEMA]}), Dialect::Strict).unwrap_err(), @r#"400 invalidValue: "displayName" is required"#);
}

#[test]
fn equal_values_are_kept_once() {
    let work = json!({"value": "b@x", "type": "work"});
    let attributes = strict(json!({"emails": [work, {"type": "work", "value": "b@x"}, {"value": "b@x"}]}));
    assert_eq!(attributes["emails"], json!([work, {"value": "b@x"}]));
}

#[test]
fn types_that_are_not_canonical_are_accepted() {
    let attributes = strict(json!({"emails": [{"value": "b@x", "type": "Büro"}]}));
    assert_eq!(attributes["emails"], json!([{"value": "b@x", "type": "Büro"}]));
}

#[test]
fn one_value_for_patch_comes_back_as_the_attribute_holds_it() {
    let user = resource_type("User");
    let value = |attribute: &str, sub_attribute: Option<&str>, value: Value, dialect: Dialect| {
        let attribute = user.resolve(&path(None, attribute, sub_attribute)).unwrap();
        user.normalize_value(&attribute, value, dialect.rules(), &mut Tolerated::default())
    };
    let emails = json!({"VALUE": "a@x", "display": null});
    assert_eq!(value("emails", None, emails, Dialect::Strict), Ok(Some(json!([{"value": "a@x"}]))));
    assert_eq!(value("emails", Some("value"), json!("a@x"), Dialect::Strict), Ok(Some(json!("a@x"))));
    assert_eq!(value("active", None, json!("False"), Dialect::Generic), Ok(Some(json!(false))));
    assert_eq!(value("title", None, json!(null), Dialect::Strict), Ok(None));
    assert_eq!(value("emails", None, json!([]), Dialect::Strict), Ok(None));
    assert_eq!(value("password", None, json!("t1meMa$heen"), Dialect::Strict), Ok(None));
    insta::assert_snapshot!(value("emails", Some("primary"), json!("x"), Dialect::Strict).unwrap_err(), @r#"400 invalidValue: "emails.primary" must be a boolean, true or false, not a string"#);

    let primaries = json!([{"value": "a", "primary": true}, {"value": "b", "primary": true}]);
    insta::assert_snapshot!(value("emails", None, primaries, Dialect::Strict).unwrap_err(), @r#"400 invalidValue: "emails" has more than one value with "primary": true; one at most may be primary"#);

    let extension = user.resolve(&path(Some(ENTERPRISE_USER_SCHEMA), "", None)).unwrap();
    let whole = json!({"DEPARTMENT": "d", "manager": {"value": "1", "displayName": "Boss"}});
    let whole = user.normalize_value(&extension, whole, Dialect::Strict.rules(), &mut Tolerated::default());
    assert_eq!(whole, Ok(Some(json!({"department": "d", "manager": {"value": "1"}}))));
}
