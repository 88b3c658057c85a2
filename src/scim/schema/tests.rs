//! The examples of RFC 7643 section 8, one table a rule, and the laws of normalisation.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::scim::dialect::Dialect;
use crate::scim::error::ScimError;
use crate::scim::path::AttributePath;
use crate::scim::resource::Attributes;

const MINIMAL: &str = include_str!("examples/rfc7643_8_1_user_minimal.json");
const ENTERPRISE: &str = include_str!("examples/rfc7643_8_3_enterprise_user.json");
const GROUP: &str = include_str!("examples/rfc7643_8_4_group.json");

fn resource_type(name: &str) -> Arc<ResourceType> {
    Arc::clone(Registry::core().by_name(name).unwrap())
}

fn normalize(name: &str, body: Value, dialect: Dialect) -> Result<(Normalized, Tolerated), ScimError> {
    let mut tolerated = Tolerated::default();
    let normalized = resource_type(name).normalize(body, dialect.leniency(), &mut tolerated)?;
    Ok((normalized, tolerated))
}

fn object(value: Value) -> Attributes {
    serde_json::from_value(value).unwrap()
}

/// A user with these members beside the required ones.
fn user(more: Value) -> Value {
    let mut body = object(json!({"schemas": [USER_SCHEMA], "userName": "bjensen"}));
    body.extend(object(more));
    body.into()
}

fn strict(more: Value) -> Attributes {
    normalize("User", user(more), Dialect::Strict).unwrap().0.attributes
}

fn refusal(more: Value) -> String {
    normalize("User", user(more), Dialect::Strict).unwrap_err().to_string()
}

fn path(schema: Option<&str>, attribute: &str, sub_attribute: Option<&str>) -> AttributePath {
    AttributePath {
        schema: schema.map(str::to_owned),
        attribute: attribute.to_owned(),
        sub_attribute: sub_attribute.map(str::to_owned),
    }
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
    let used_without_listing = strict(json!({ENTERPRISE_USER_SCHEMA: {"division": "d"}}));
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
    assert_eq!(tolerated.string_booleans, ["active", "emails[0].primary"]);
    insta::assert_snapshot!(tolerated.unknown_attributes.join("\n"), @r"
    favouriteColour
    name.nick
    emails[0].verified
    emails2
    urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:badge
    schemas[urn:example:custom]
    ");
}

#[test]
fn many_unknown_attributes_are_reported_in_bounds() {
    let many: serde_json::Map<String, Value> =
        (0..1000).map(|i| (format!("{i}{}", "x".repeat(500)), json!(1))).collect();
    let (_, tolerated) = normalize("User", user(Value::Object(many)), Dialect::Generic).unwrap();
    assert_eq!(tolerated.unknown_attributes.len(), 32);
    assert!(tolerated.unknown_attributes.iter().all(|name| name.len() <= 100));
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

/// A resource type with every characteristic that the core schemas do not have.
fn device() -> ResourceType {
    let schema = |id: &str, attributes: Value| -> Arc<Schema> {
        serde_json::from_value(json!({"id": id, "name": "Device", "attributes": attributes})).unwrap()
    };
    let base = schema(
        "urn:example:2.0:Device",
        json!([
            {"name": "serial", "mutability": "immutable", "caseExact": true},
            {"name": "label", "mutability": "immutable"},
            {"name": "slots", "type": "integer"},
            {"name": "weight", "type": "decimal"},
            {"name": "bought", "type": "dateTime"},
            {"name": "tags", "multiValued": true},
            {"name": "firmware", "mutability": "readOnly"},
            {"name": "pin", "mutability": "writeOnly", "returned": "never", "required": true},
            {"name": "notes", "returned": "request"},
            {"name": "parts", "type": "complex", "multiValued": true, "subAttributes": [
                {"name": "value", "required": true}, {"name": "maker", "mutability": "immutable"},
                {"name": "state", "mutability": "readOnly"}, {"name": "hint", "returned": "request"}
            ]},
            {"name": "owner", "type": "complex", "subAttributes": [
                {"name": "value", "mutability": "immutable"}, {"name": "since", "mutability": "readOnly"},
                {"name": "note"}
            ]}
        ]),
    );
    let extension = schema(
        "urn:example:2.0:Rack",
        json!([{"name": "row", "required": true}, {"name": "seen", "mutability": "readOnly"}]),
    );
    ResourceType::new("Device", "/Devices", "A device", base, vec![SchemaExtension::new(extension, true)])
}

fn normalize_device(more: Value) -> Result<Attributes, ScimError> {
    let mut body =
        object(json!({"schemas": ["urn:example:2.0:Device"], "urn:example:2.0:Rack": {"row": "1"}}));
    body.extend(object(more));
    let leniency = Dialect::Strict.leniency();
    Ok(device().normalize(body.into(), leniency, &mut Tolerated::default())?.attributes)
}

#[test]
fn every_data_type_takes_what_the_rfc_says_and_nothing_else() {
    let table = [
        ("slots", json!(4), true),
        ("slots", json!(-4), true),
        ("slots", json!(4.5), false),
        ("slots", json!(4.0), false),
        ("slots", json!("4"), false),
        ("weight", json!(4.5), true),
        ("weight", json!(4), true),
        ("weight", json!("4.5"), false),
        ("bought", json!("2008-01-23T04:56:22Z"), true),
        ("bought", json!("2008-01-23T04:56:22.123456-08:00"), true),
        ("bought", json!("2008-01-23T04:56:22"), true),
        ("bought", json!("2008-01-23"), false),
        ("bought", json!("2008-01-23 04:56:22Z"), false),
        ("bought", json!("2008-02-30T04:56:22Z"), false),
        ("bought", json!("2008-01-23T04:56:22+01:00[Europe/Berlin]"), false),
        ("bought", json!("20080123T045622Z"), false),
        ("bought", json!(1_201_064_182), false),
        ("tags", json!(["a", "b"]), true),
        ("tags", json!("a"), false),
        ("tags", json!([["a"]]), false),
    ];
    for (name, value, fits) in table {
        let result = normalize_device(json!({name: value}));
        assert_eq!(result.is_ok(), fits, "{name}: {value} gives {result:?}");
    }
}

#[test]
fn required_parts_are_required_where_their_whole_is() {
    insta::assert_snapshot!(normalize_device(json!({"parts": [{"maker": "m"}]})).unwrap_err(), @r#"400 invalidValue: "parts[0].value" is required"#);
    insta::assert_snapshot!(normalize_device(json!({"urn:example:2.0:Rack": null})).unwrap_err(), @r#"400 invalidValue: "urn:example:2.0:Rack" is required"#);
    insta::assert_snapshot!(normalize_device(json!({"urn:example:2.0:Rack": {"row": " "}})).unwrap_err(), @r#"400 invalidValue: "urn:example:2.0:Rack:row" is required and must not be blank"#);
}

fn succeed_device(current: Value, new: Value) -> Result<Value, ScimError> {
    let mut current_attributes = normalize_device(json!({})).unwrap();
    current_attributes.extend(object(current));
    let new = normalize_device(new).unwrap();
    let after = device().succeed(&current_attributes, new)?;
    Ok(after
        .into_iter()
        .filter(|(name, _)| !name.contains(':') && name != "schemas")
        .collect::<Attributes>()
        .into())
}

#[test]
fn put_keeps_what_is_read_only() {
    let current = json!({
        "id": "1", "firmware": "7", "slots": 1, "owner": {"since": "2001", "note": "n"},
        "parts": [{"value": "cpu", "state": "hot"}, {"value": "fan", "state": "off"}],
    });
    let new = json!({"id": "2", "firmware": "8", "tags": ["t"], "parts": [{"value": "fan", "state": "on"}, {"value": "ram"}]});
    assert_eq!(
        succeed_device(current, new).unwrap(),
        json!({
            "id": "1", "firmware": "7", "tags": ["t"], "owner": {"since": "2001"},
            "parts": [{"value": "fan", "state": "off"}, {"value": "ram"}],
        })
    );
}

#[test]
fn put_that_changes_an_immutable_value_is_refused() {
    let refusal = |current: Value, new: Value| succeed_device(current, new).unwrap_err();
    insta::assert_snapshot!(refusal(json!({"serial": "a"}), json!({"serial": "A"})), @r#"400 mutability: "serial" is immutable: once it has a value, that value cannot change"#);
    insta::assert_snapshot!(refusal(json!({"owner": {"value": "a"}}), json!({"owner": {"value": "b"}})), @r#"400 mutability: "owner.value" is immutable: once it has a value, that value cannot change"#);
    insta::assert_snapshot!(refusal(json!({"parts": [{"value": "fan", "maker": "a"}]}), json!({"parts": [{"value": "ram"}, {"value": "fan", "maker": "b"}]})), @r#"400 mutability: "parts[1].maker" is immutable: once it has a value, that value cannot change"#);
    assert_eq!(succeed_device(json!({"serial": "a"}), json!({})), Ok(json!({"serial": "a"})));
    assert_eq!(succeed_device(json!({"label": "a"}), json!({"label": "A"})), Ok(json!({"label": "A"})));
    assert_eq!(succeed_device(json!({}), json!({"serial": "a"})), Ok(json!({"serial": "a"})));
}

#[test]
fn finish_removes_what_a_change_left_empty_and_puts_things_in_order() {
    let user = resource_type("User");
    let mut attributes: Attributes = serde_json::from_value(json!({
        ENTERPRISE_USER_SCHEMA: {"manager": {}}, "title": "t", "emails": [{}], "userName": "b", "id": "1",
        "schemas": [USER_SCHEMA, ENTERPRISE_USER_SCHEMA],
    }))
    .unwrap();
    user.finish(&mut attributes).unwrap();
    insta::assert_snapshot!(serde_json::to_string(&attributes).unwrap(), @r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"1","userName":"b","title":"t"}"#);
    attributes.shift_remove("userName");
    insta::assert_snapshot!(user.finish(&mut attributes).unwrap_err(), @r#"400 invalidValue: "userName" is required"#);
}

#[test]
fn one_value_for_patch_comes_back_as_the_attribute_holds_it() {
    let user = resource_type("User");
    let value = |attribute: &str, sub_attribute: Option<&str>, value: Value, dialect: Dialect| {
        let attribute = user.resolve(&path(None, attribute, sub_attribute)).unwrap();
        user.normalize_value(&attribute, value, dialect.leniency(), &mut Tolerated::default())
    };
    let emails = json!({"VALUE": "a@x", "display": null});
    assert_eq!(value("emails", None, emails, Dialect::Strict), Ok(Some(json!([{"value": "a@x"}]))));
    assert_eq!(value("emails", Some("value"), json!("a@x"), Dialect::Strict), Ok(Some(json!("a@x"))));
    assert_eq!(value("active", None, json!("False"), Dialect::Generic), Ok(Some(json!(false))));
    assert_eq!(value("title", None, json!(null), Dialect::Strict), Ok(None));
    assert_eq!(value("emails", None, json!([]), Dialect::Strict), Ok(None));
    assert_eq!(value("password", None, json!("t1meMa$heen"), Dialect::Strict), Ok(None));
    insta::assert_snapshot!(value("emails", Some("primary"), json!("x"), Dialect::Strict).unwrap_err(), @r#"400 invalidValue: "emails.primary" must be a boolean, true or false, not a string"#);

    let extension = user.resolve(&path(Some(ENTERPRISE_USER_SCHEMA), "", None)).unwrap();
    let whole = json!({"DEPARTMENT": "d", "manager": {"value": "1", "displayName": "Boss"}});
    let whole =
        user.normalize_value(&extension, whole, Dialect::Strict.leniency(), &mut Tolerated::default());
    assert_eq!(whole, Ok(Some(json!({"department": "d", "manager": {"value": "1"}}))));
}

#[test]
fn paths_resolve_to_the_schemas_spelling() {
    let user = resource_type("User");
    let resolved = |schema: Option<&str>, attribute: &str, sub: Option<&str>| {
        user.resolve(&path(schema, attribute, sub)).map(|found| {
            let extension = found.extension.map(|urn| format!("{urn}|")).unwrap_or_default();
            let sub = found.sub_attribute.map(|sub| format!(".{}", sub.name)).unwrap_or_default();
            format!("{extension}{}{sub}", found.attribute.name)
        })
    };
    let enterprise = |rest: &str| Some(format!("{ENTERPRISE_USER_SCHEMA}{rest}"));
    assert_eq!(resolved(None, "USERNAME", None).as_deref(), Some("userName"));
    assert_eq!(resolved(None, "emails", Some("Value")).as_deref(), Some("emails.value"));
    assert_eq!(resolved(None, "META", Some("lastmodified")).as_deref(), Some("meta.lastModified"));
    assert_eq!(resolved(Some(USER_SCHEMA), "name", Some("givenName")).as_deref(), Some("name.givenName"));
    let upper = ENTERPRISE_USER_SCHEMA.to_uppercase();
    assert_eq!(resolved(Some(&upper), "manager", Some("$REF")), enterprise("|manager.$ref"));
    assert_eq!(resolved(Some(ENTERPRISE_USER_SCHEMA), "", None), enterprise(""));
    let (head, tail) = ENTERPRISE_USER_SCHEMA.rsplit_once(':').unwrap();
    assert_eq!(resolved(Some(head), tail, None), enterprise(""));
    for (schema, attribute, sub) in [
        (None, "nope", None),
        (None, "userName", Some("value")),
        (None, "employeeNumber", None),
        (Some(USER_SCHEMA), "employeeNumber", None),
        (Some(GROUP_SCHEMA), "displayName", None),
        (Some(ENTERPRISE_USER_SCHEMA), "userName", None),
    ] {
        assert_eq!(resolved(schema, attribute, sub), None, "{schema:?} {attribute} {sub:?}");
    }
}

#[test]
fn registry_finds_types_by_endpoint_and_name() {
    let registry = Registry::core();
    assert_eq!(registry.by_endpoint("Users").unwrap().name, "User");
    assert_eq!(registry.by_name("Group").unwrap().endpoint, "/Groups");
    assert!(registry.by_endpoint("users").is_none() && registry.by_endpoint("/Users").is_none());
    assert_eq!(registry.schemas().len(), 3);
}

#[test]
fn core_characteristics_are_those_of_the_rfc() {
    let user = resource_type("User");
    let of = |name: &str| user.resolve(&path(None, name, None)).unwrap().attribute;
    assert!(of("userName").required && !of("userName").case_exact);
    assert_eq!(of("userName").uniqueness, Uniqueness::Server);
    assert!(of("externalId").case_exact && of("id").case_exact);
    assert_eq!(
        (of("password").mutability, of("password").returned),
        (Mutability::WriteOnly, Returned::Never)
    );
    assert_eq!(of("groups").mutability, Mutability::ReadOnly);
    assert_eq!((of("id").returned, of("schemas").returned), (Returned::Always, Returned::Always));
    let types = of("phoneNumbers").sub_attribute("type").unwrap().canonical_values.clone();
    assert_eq!(types, ["work", "home", "mobile", "fax", "pager", "other"]);
    for resource_type in &Registry::core().resource_types {
        for attribute in resource_type.top_level() {
            for part in std::iter::once(attribute).chain(&attribute.sub_attributes) {
                assert!(!part.description.is_empty(), "{} is described", part.name);
                assert_eq!(
                    part.kind == AttributeType::Reference,
                    !part.reference_types.is_empty(),
                    "{}",
                    part.name
                );
                assert_eq!(
                    part.kind == AttributeType::Complex,
                    !part.sub_attributes.is_empty(),
                    "{}",
                    part.name
                );
            }
        }
        assert!(resource_type.shows_all_by_default);
    }
    assert!(!device().shows_all_by_default);
}

/// JSON that is often nearly a User: known names and plausible values among anything else.
fn nearly_user() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from),
        Just(json!("True")),
        Just(json!("2008-01-23T04:56:22Z")),
        Just(json!([USER_SCHEMA])),
        any::<String>().prop_map(Value::from),
    ];
    let name = prop_oneof![
        prop::sample::select(vec![
            "schemas",
            "id",
            "userName",
            "USERNAME",
            "name",
            "givenName",
            "active",
            "emails",
            "value",
            "type",
            "primary",
            "$ref",
            "members",
            "displayName",
            "password",
            "x509Certificates",
            "manager",
            "meta",
            ENTERPRISE_USER_SCHEMA,
        ])
        .prop_map(str::to_owned),
        "[a-z]{0,3}",
    ];
    leaf.prop_recursive(4, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn normalize_never_panics_and_says_400(body in nearly_user(), name in prop::sample::select(vec!["User", "Group"])) {
        for dialect in [Dialect::Strict, Dialect::Generic] {
            if let Err(error) = normalize(name, body.clone(), dialect) {
                prop_assert_eq!(error.status, 400);
            }
        }
    }

    #[test]
    fn normalize_of_what_it_gave_changes_nothing(body in nearly_user()) {
        let Value::Object(mut object) = body else { return Ok(()) };
        object.insert("userName".to_owned(), json!("b"));
        object.shift_remove("USERNAME");
        if let Ok((once, _)) = normalize("User", Value::Object(object), Dialect::Generic) {
            let (twice, tolerated) = normalize("User", Value::Object(once.attributes.clone()), Dialect::Strict).unwrap();
            let text = |normalized: &Normalized| serde_json::to_string(&normalized.attributes).unwrap();
            prop_assert_eq!(text(&twice), text(&once));
            prop_assert_eq!(tolerated, Tolerated::default());
            let user = resource_type("User");
            let after = user.succeed(&once.attributes, once.attributes.clone()).unwrap();
            prop_assert_eq!(after, once.attributes);
        }
    }

    #[test]
    fn put_cannot_change_what_is_read_only(id in "[a-z]{1,5}", firmware in "[a-z]{0,5}", sent in nearly_user()) {
        let new = normalize_device(json!({"id": sent, "firmware": sent, "meta": sent})).unwrap();
        let mut current = normalize_device(json!({})).unwrap();
        current.insert("id".to_owned(), id.clone().into());
        current.insert("firmware".to_owned(), firmware.clone().into());
        let after = device().succeed(&current, new).unwrap();
        prop_assert_eq!(&after["id"], &json!(id));
        if !firmware.is_empty() {
            prop_assert_eq!(&after["firmware"], &json!(firmware));
        }
    }
}
