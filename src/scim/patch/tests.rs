//! Tests of PATCH as a whole: the examples of RFC 7644 section 3.5.2, each rule, and the laws.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;
use crate::scim::dialect::{Dialect, Rule, Tolerated};
use crate::scim::error::{ScimError, ScimType};
use crate::scim::resource::Attributes;
use crate::scim::schema::{ENTERPRISE_USER_SCHEMA, Registry, ResourceType};

fn resource_type(name: &str) -> Arc<ResourceType> {
    Arc::clone(Registry::core().by_name(name).unwrap())
}

fn compile(name: &str, dialect: Dialect, operations: Value) -> Result<(Patch, Tolerated), ScimError> {
    let mut body = json!({"schemas": [PATCH_SCHEMA]});
    body["Operations"] = operations;
    let mut tolerated = Tolerated::default();
    let patch = Patch::compile(body, &resource_type(name), dialect.rules(), &mut tolerated)?;
    Ok((patch, tolerated))
}

fn apply(resource_type: &ResourceType, patch: &Patch, attributes: &mut Attributes) -> Result<(), ScimError> {
    for step in &patch.steps {
        match step {
            Step::Attributes(change) => change.apply(attributes)?,
            Step::Members(_) => {}
        }
    }
    resource_type.finish(attributes)
}

fn user() -> Attributes {
    let user = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": "bjensen",
        "name": {"familyName": "Jensen", "givenName": "Barbara"},
        "nickName": "Babs",
        "emails": [
            {"value": "bjensen@example.com", "type": "work", "primary": true},
            {"value": "babs@jensen.org", "type": "home"},
        ],
        "addresses": [
            {"type": "work", "streetAddress": "100 Universal City Plaza", "locality": "Hollywood"},
            {"type": "home", "streetAddress": "456 Hollywood Blvd"},
        ],
    });
    let Value::Object(mut user) = user else { unreachable!() };
    resource_type("User").finish(&mut user).unwrap();
    user
}

/// The user after operations.
fn patched(dialect: Dialect, operations: Value) -> Result<Attributes, ScimError> {
    let (patch, _) = compile("User", dialect, operations)?;
    let mut attributes = user();
    apply(&resource_type("User"), &patch, &mut attributes)?;
    Ok(attributes)
}

/// What operations make of one attribute, under both dialects.
#[track_caller]
fn becomes(operations: &Value, attribute: &str, expected: impl Into<Value>) {
    let expected = expected.into();
    for dialect in [Dialect::Strict, Dialect::Generic] {
        let after = patched(dialect, operations.clone()).unwrap_or_else(|e| panic!("{operations}: {e}"));
        assert_eq!(after.get(attribute).cloned().unwrap_or_default(), expected, "{operations}");
        let mut others = after;
        let mut before = user();
        for attributes in [&mut others, &mut before] {
            attributes.shift_remove(attribute);
            attributes.shift_remove("schemas");
        }
        assert_eq!(others, before, "only {attribute} changes: {operations}");
    }
}

#[track_caller]
fn refused(dialect: Dialect, operation: &Value, scim_type: ScimType) {
    let error = patched(dialect, json!([operation])).expect_err(&operation.to_string());
    assert_eq!((error.status, error.scim_type), (400, Some(scim_type)), "{operation}: {}", error.detail);
}

fn members(dialect: Dialect, operations: Value) -> Vec<MemberChange> {
    let (patch, _) = compile("Group", dialect, operations).unwrap();
    let change = |step: Step| match step {
        Step::Members(change) => change,
        Step::Attributes(change) => panic!("{change:?}"),
    };
    patch.steps.into_iter().map(change).collect()
}

#[test]
fn examples_of_the_rfc_for_users_apply() {
    // RFC 7644 section 3.5.2.1.
    let after = patched(
        Dialect::Strict,
        json!([{"op": "add", "value": {
            "emails": [{"value": "babs@jensen.org", "type": "home"}], "nickname": "Babs"}}]),
    );
    assert_eq!(after.unwrap(), user(), "values that exist already change nothing");
    // Section 3.5.2.2.
    becomes(
        &json!([{"op": "remove", "path": "emails[type eq \"work\" and value ew \"example.com\"]"}]),
        "emails",
        json!([{"value": "babs@jensen.org", "type": "home"}]),
    );
    // Section 3.5.2.3.
    let address = json!({"type": "work", "streetAddress": "911 Universal City Plaza", "country": "US"});
    becomes(
        &json!([{"op": "replace", "path": "addresses[type eq \"work\"]", "value": address}]),
        "addresses",
        json!([
            {"streetAddress": "911 Universal City Plaza", "country": "US", "type": "work"},
            {"streetAddress": "456 Hollywood Blvd", "type": "home"},
        ]),
    );
    becomes(
        &json!([{"op": "replace", "path": "addresses[type eq \"work\"].streetAddress", "value": "1010 Broadway Ave"}]),
        "addresses",
        json!([
            {"type": "work", "streetAddress": "1010 Broadway Ave", "locality": "Hollywood"},
            {"type": "home", "streetAddress": "456 Hollywood Blvd"},
        ]),
    );
    becomes(
        &json!([{"op": "replace", "value": {
            "emails": [{"value": "bjensen@example.com", "type": "work", "primary": true},
                       {"value": "babs@jensen.org", "type": "home"}],
            "nickname": "Barb"}}]),
        "nickName",
        json!("Barb"),
    );
}

#[test]
fn examples_of_the_rfc_for_groups_become_membership_changes() {
    let id = "2819c223-7f76-453a-919d-413861904646".to_owned();
    let babs =
        json!({"display": "Babs Jensen", "$ref": "https://example.com/v2/Users/2819c223", "value": id});
    assert_eq!(
        members(Dialect::Strict, json!([{"op": "add", "path": "members", "value": [babs]}])),
        [MemberChange::Add(vec![id.clone()])]
    );
    assert_eq!(members(Dialect::Strict, json!([{"op": "remove", "path": "members"}])), [MemberChange::Clear]);
    let path = format!("members[value eq \"{id}\"]");
    assert_eq!(
        members(
            Dialect::Strict,
            json!([{"op": "remove", "path": path}, {"op": "add", "path": "members", "value": babs}])
        ),
        [MemberChange::Remove(vec![id.clone()]), MemberChange::Add(vec![id.clone()])]
    );
    assert_eq!(
        members(Dialect::Strict, json!([{"op": "replace", "path": "members", "value": [babs, babs]}])),
        [MemberChange::Replace(vec![id])]
    );
}

#[test]
fn members_in_each_spelling_become_changes() {
    let ids = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    for (operation, expected) in [
        (json!({"op": "add", "value": {"members": [{"value": "1"}]}}), vec![MemberChange::Add(ids(&["1"]))]),
        (json!({"op": "add", "path": "members", "value": []}), vec![]),
        (
            json!({"op": "add", "path": "members.value", "value": ["1", "2", "1"]}),
            vec![MemberChange::Add(ids(&["1", "2"]))],
        ),
        (json!({"op": "replace", "path": "members", "value": []}), vec![MemberChange::Clear]),
        (json!({"op": "replace", "path": "members", "value": null}), vec![MemberChange::Clear]),
        (
            json!({"op": "remove", "path": "members[value eq \"1\" or value eq \"2\"]"}),
            vec![MemberChange::Remove(ids(&["1", "2"]))],
        ),
        (
            json!({"op": "add", "path": "urn:ietf:params:scim:schemas:core:2.0:Group:members", "value": [{"value": "1"}]}),
            vec![MemberChange::Add(ids(&["1"]))],
        ),
    ] {
        for dialect in [Dialect::Strict, Dialect::Generic] {
            assert_eq!(members(dialect, json!([operation])), expected, "{operation}");
        }
    }
    let matching = members(Dialect::Strict, json!([{"op": "remove", "path": "members[display sw \"a\"]"}]));
    assert!(matches!(matching.as_slice(), [MemberChange::RemoveMatching(_)]), "{matching:?}");
    // What Entra ID and authentik send.
    let with_value =
        json!([{"op": "Remove", "path": "members", "value": [{"$ref": null, "value": "1"}, "2"]}]);
    assert_eq!(members(Dialect::Generic, with_value.clone()), [MemberChange::Remove(ids(&["1", "2"]))]);
    let nobody = json!([{"op": "remove", "path": "members", "value": []}]);
    assert_eq!(members(Dialect::Generic, nobody), [], "an empty list removes nobody");
}

#[test]
fn members_changed_in_part_are_refused() {
    for (operation, scim_type) in [
        (
            json!({"op": "replace", "path": "members[value eq \"1\"]", "value": {"value": "2"}}),
            ScimType::Mutability,
        ),
        (
            json!({"op": "replace", "path": "members[value eq \"1\"].display", "value": "x"}),
            ScimType::Mutability,
        ),
        (json!({"op": "add", "path": "members.display", "value": "x"}), ScimType::Mutability),
        (json!({"op": "remove", "path": "members.value"}), ScimType::Mutability),
        (json!({"op": "remove", "path": "members", "value": [{"value": "1"}]}), ScimType::InvalidSyntax),
        (json!({"op": "add", "path": "members", "value": [{"type": "User"}]}), ScimType::InvalidValue),
        (json!({"op": "add", "path": "members", "value": 7}), ScimType::InvalidValue),
        (json!({"op": "add", "path": "members"}), ScimType::InvalidValue),
        (json!({"op": "remove", "path": "members[shoe eq \"1\"]"}), ScimType::InvalidFilter),
    ] {
        let error = compile("Group", Dialect::Strict, json!([operation])).unwrap_err();
        assert_eq!((error.status, error.scim_type), (400, Some(scim_type)), "{operation}: {}", error.detail);
    }
}

#[test]
fn add_sets_merges_and_appends() {
    becomes(&json!([{"op": "add", "path": "title", "value": "Dr"}]), "title", json!("Dr"));
    becomes(
        &json!([{"op": "add", "path": "name", "value": {"givenName": "B", "middleName": "J"}}]),
        "name",
        json!({"familyName": "Jensen", "givenName": "B", "middleName": "J"}),
    );
    becomes(
        &json!([{"op": "add", "path": "name.givenName", "value": "B"}]),
        "name",
        json!({"familyName": "Jensen", "givenName": "B"}),
    );
    becomes(
        &json!([{"op": "add", "path": "phoneNumbers", "value": {"value": "555", "type": "work"}},
                {"op": "add", "path": "phoneNumbers", "value": [{"value": "555", "type": "Work"}, {"value": "556"}]}]),
        "phoneNumbers",
        json!([{"value": "555", "type": "Work"}, {"value": "556"}]),
    );
    becomes(
        &json!([{"op": "add", "path": format!("{ENTERPRISE_USER_SCHEMA}:department"), "value": "D"}]),
        ENTERPRISE_USER_SCHEMA,
        json!({"department": "D"}),
    );
    becomes(
        &json!([{"op": "add", "value": {ENTERPRISE_USER_SCHEMA: {"department": "D", "manager": {"value": "7"}}}},
                {"op": "add", "path": ENTERPRISE_USER_SCHEMA, "value": {"Division": "V"}}]),
        ENTERPRISE_USER_SCHEMA,
        json!({"division": "V", "department": "D", "manager": {"value": "7"}}),
    );
    becomes(&json!([{"op": "add", "path": "title", "value": null}]), "title", Value::Null);
}

#[test]
fn value_made_primary_takes_the_mark_from_the_others() {
    let work = |primary: bool| json!({"value": "bjensen@example.com", "type": "work", "primary": primary});
    becomes(
        &json!([{"op": "add", "path": "emails", "value": [{"value": "new@example.com", "primary": true}]}]),
        "emails",
        json!([work(false), {"value": "babs@jensen.org", "type": "home"}, {"value": "new@example.com", "primary": true}]),
    );
    becomes(
        &json!([{"op": "replace", "path": "emails[type eq \"home\"].primary", "value": true}]),
        "emails",
        json!([work(false), {"value": "babs@jensen.org", "type": "home", "primary": true}]),
    );
    becomes(
        &json!([{"op": "add", "path": "emails[type eq \"home\"]", "value": {"primary": true}}]),
        "emails",
        json!([work(false), {"value": "babs@jensen.org", "type": "home", "primary": true}]),
    );
}

#[test]
fn replace_sets_merges_and_clears() {
    becomes(&json!([{"op": "replace", "path": "nickName", "value": "B"}]), "nickName", json!("B"));
    becomes(&json!([{"op": "replace", "path": "nickName", "value": null}]), "nickName", Value::Null);
    becomes(&json!([{"op": "replace", "value": {"nickName": null}}]), "nickName", Value::Null);
    becomes(&json!([{"op": "replace", "path": "emails", "value": []}]), "emails", Value::Null);
    becomes(
        &json!([{"op": "replace", "path": "emails", "value": [{"value": "x@y"}]}]),
        "emails",
        json!([{"value": "x@y"}]),
    );
    becomes(
        &json!([{"op": "replace", "path": "name", "value": {"givenName": null, "middleName": "J"}}]),
        "name",
        json!({"familyName": "Jensen", "middleName": "J"}),
    );
    becomes(
        &json!([{"op": "replace", "path": "name", "value": {}}]),
        "name",
        json!({"familyName": "Jensen", "givenName": "Barbara"}),
    );
    becomes(&json!([{"op": "replace", "path": "name", "value": null}]), "name", Value::Null);
    becomes(
        &json!([{"op": "replace", "path": "emails[type eq \"work\"]", "value": null}]),
        "emails",
        json!([{"value": "babs@jensen.org", "type": "home"}]),
    );
    becomes(
        &json!([{"op": "replace", "path": "emails.type", "value": "other"}]),
        "emails",
        json!([{"value": "bjensen@example.com", "type": "other", "primary": true},
               {"value": "babs@jensen.org", "type": "other"}]),
    );
    becomes(&json!([{"op": "replace", "path": "ims.value", "value": "x"}]), "ims", json!([{"value": "x"}]));
}

#[test]
fn remove_unassigns() {
    becomes(&json!([{"op": "remove", "path": "nickName"}]), "nickName", Value::Null);
    becomes(&json!([{"op": "remove", "path": "title"}]), "title", Value::Null);
    becomes(&json!([{"op": "remove", "path": "emails"}]), "emails", Value::Null);
    becomes(&json!([{"op": "remove", "path": "emails[value pr]"}]), "emails", Value::Null);
    becomes(&json!([{"op": "remove", "path": "name.givenName"}]), "name", json!({"familyName": "Jensen"}));
    becomes(
        &json!([{"op": "remove", "path": "name.givenName"}, {"op": "remove", "path": "name.familyName"}]),
        "name",
        Value::Null,
    );
    becomes(
        &json!([{"op": "remove", "path": "emails[type eq \"work\"].primary"}]),
        "emails",
        json!([{"value": "bjensen@example.com", "type": "work"}, {"value": "babs@jensen.org", "type": "home"}]),
    );
    becomes(
        &json!([{"op": "add", "path": format!("{ENTERPRISE_USER_SCHEMA}:department"), "value": "D"},
                {"op": "remove", "path": ENTERPRISE_USER_SCHEMA}]),
        ENTERPRISE_USER_SCHEMA,
        Value::Null,
    );
}

#[test]
fn what_may_not_be_written_is_refused() {
    for (operation, scim_type) in [
        (json!({"op": "remove"}), ScimType::NoTarget),
        (json!({"op": "remove", "path": "userName"}), ScimType::Mutability),
        (json!({"op": "remove", "path": "schemas"}), ScimType::Mutability),
        (json!({"op": "replace", "path": "userName", "value": null}), ScimType::InvalidValue),
        (json!({"op": "replace", "path": "id", "value": "x"}), ScimType::Mutability),
        (json!({"op": "add", "path": "meta.version", "value": "x"}), ScimType::Mutability),
        (json!({"op": "remove", "path": "groups"}), ScimType::Mutability),
        (json!({"op": "add", "path": "groups", "value": [{"value": "1"}]}), ScimType::Mutability),
        (
            json!({"op": "replace", "path": "emails[type eq \"pager\"].value", "value": "x"}),
            ScimType::NoTarget,
        ),
        (json!({"op": "replace", "path": "ims[type eq \"x\"]", "value": {"value": "x"}}), ScimType::NoTarget),
        (json!({"op": "replace", "path": "name[givenName eq \"x\"]", "value": {}}), ScimType::InvalidPath),
        (json!({"op": "add", "path": "emails[type eq \"work\"]", "value": [{}, {}]}), ScimType::InvalidValue),
        (json!({"op": "add", "path": "nickName"}), ScimType::InvalidValue),
        (json!({"op": "add", "path": "nickName", "value": 7}), ScimType::InvalidValue),
        (json!({"op": "add", "path": "emails[", "value": 7}), ScimType::InvalidPath),
        (json!({"op": "add", "path": 7, "value": 7}), ScimType::InvalidPath),
        (json!({"op": "add", "value": "x"}), ScimType::InvalidValue),
        (json!({"op": "move", "path": "nickName", "value": "x"}), ScimType::InvalidSyntax),
        (json!({"path": "nickName", "value": "x"}), ScimType::InvalidSyntax),
        (json!({"op": "add", "path": "password", "value": 7}), ScimType::InvalidValue),
        (json!({"op": "replace", "path": ENTERPRISE_USER_SCHEMA, "value": "x"}), ScimType::InvalidValue),
        (json!("add"), ScimType::InvalidSyntax),
    ] {
        for dialect in [Dialect::Strict, Dialect::Generic] {
            refused(dialect, &operation, scim_type);
        }
    }
    let error =
        patched(Dialect::Strict, json!([{"op": "remove", "path": "title"}, {"op": "remove"}])).unwrap_err();
    insta::assert_snapshot!(error.detail, @"Operations[1]: remove needs a path that says what to remove");
    let error = patched(Dialect::Strict, json!([{"op": "add", "value": {"nickNmae": "B"}}])).unwrap_err();
    insta::assert_snapshot!(error.detail, @r#"Operations[0]: "nickNmae" is not an attribute of User; did you mean "nickName"?"#);
}

#[test]
fn strict_refuses_what_generic_tolerates() {
    let home = json!({"value": "babs@jensen.org", "type": "home"});
    let emails = user().get("emails").unwrap().clone();
    for (operation, scim_type, attribute, expected) in [
        (
            json!({"op": "Replace", "path": "title", "value": "x"}),
            ScimType::InvalidSyntax,
            "title",
            json!("x"),
        ),
        (
            json!({"op": "add", "path": "shoeSize", "value": 7}),
            ScimType::InvalidPath,
            "shoeSize",
            Value::Null,
        ),
        (json!({"op": "add", "value": {"shoeSize": 7}}), ScimType::InvalidPath, "shoeSize", Value::Null),
        (
            json!({"op": "replace", "path": "active", "value": "False"}),
            ScimType::InvalidValue,
            "active",
            json!(false),
        ),
        (
            json!({"op": "replace", "value": {"id": "x", "title": "T"}}),
            ScimType::Mutability,
            "title",
            json!("T"),
        ),
        (
            json!({"op": "replace", "value": {"name.givenName": "B", "name.familyName": "J"}}),
            ScimType::InvalidPath,
            "name",
            json!({"familyName": "J", "givenName": "B"}),
        ),
        (
            json!({"op": "replace", "value": {format!("{ENTERPRISE_USER_SCHEMA}:manager.value"): "7"}}),
            ScimType::InvalidPath,
            ENTERPRISE_USER_SCHEMA,
            json!({"manager": {"value": "7"}}),
        ),
        (
            json!({"op": "remove", "path": "emails", "value": [{"value": "BJENSEN@example.com"}, {"value": "no"}]}),
            ScimType::InvalidSyntax,
            "emails",
            json!([home]),
        ),
        (
            json!({"op": "remove", "path": "emails", "value": [{"value": "babs@jensen.org", "type": "work"}]}),
            ScimType::InvalidSyntax,
            "emails",
            emails.clone(),
        ),
        (json!({"op": "remove", "path": "emails[type eq \"other\"]"}), ScimType::NoTarget, "emails", emails),
        (
            json!({"op": "add", "path": "ims[type eq \"xmpp\" and primary eq true].value", "value": "b@x"}),
            ScimType::NoTarget,
            "ims",
            json!([{"value": "b@x", "type": "xmpp", "primary": true}]),
        ),
    ] {
        refused(Dialect::Strict, &operation, scim_type);
        let after =
            patched(Dialect::Generic, json!([operation])).unwrap_or_else(|e| panic!("{operation}: {e}"));
        assert_eq!(after.get(attribute).cloned().unwrap_or_default(), expected, "{operation}");
    }
    let operations = json!([{"op": "add", "value": {"shoeSize": 7, ENTERPRISE_USER_SCHEMA: {"desk": "3"}}},
                            {"op": "replace", "path": "active", "value": "true"}]);
    let (_, tolerated) = compile("User", Dialect::Generic, operations).unwrap();
    assert_eq!(
        tolerated.names(Rule::UnknownAttribute),
        ["shoeSize", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:desk"]
    );
    assert_eq!(tolerated.names(Rule::StringBoolean), ["active"]);
    assert_eq!(tolerated.uses().len(), 2, "{tolerated:?}");
}

#[test]
fn password_is_checked_and_changes_nothing() {
    for dialect in [Dialect::Strict, Dialect::Generic] {
        for operation in [
            json!({"op": "replace", "path": "password", "value": "t1meMa$heen"}),
            json!({"op": "replace", "value": {"password": "t1meMa$heen"}}),
            json!({"op": "remove", "path": "password"}),
        ] {
            assert_eq!(patched(dialect, json!([operation])).unwrap(), user());
        }
    }
}

#[test]
fn body_wrong_as_a_whole_is_refused() {
    let schemas = json!([PATCH_SCHEMA]);
    let operation = json!({"op": "remove", "path": "title"});
    for (body, status) in [
        (json!([]), 400),
        (json!({"Operations": [operation]}), 400),
        (json!({"schemas": ["x"], "Operations": [operation]}), 400),
        (json!({"schemas": schemas}), 400),
        (json!({"schemas": schemas, "Operations": []}), 400),
        (json!({"schemas": schemas, "Operations": {}}), 400),
        (json!({"schemas": schemas, "Operations": vec![operation; MAX_OPERATIONS + 1]}), 413),
    ] {
        let rules = Dialect::Strict.rules();
        let error = Patch::compile(body, &resource_type("User"), rules, &mut Tolerated::default());
        assert_eq!(error.unwrap_err().status, status);
    }
}

#[test]
fn immutable_attribute_is_set_once() {
    let schema = json!({"id": "urn:example:Badge", "name": "Badge", "attributes": [
        {"name": "serial", "mutability": "immutable"},
        {"name": "keys", "multiValued": true, "mutability": "immutable"},
        {"name": "chip", "type": "complex", "subAttributes": [
            {"name": "maker", "mutability": "immutable"}, {"name": "label"}]},
        {"name": "tags", "multiValued": true},
    ]});
    let badge = ResourceType::new(
        "Badge",
        "/Badges",
        "",
        Arc::new(serde_json::from_value(schema).unwrap()),
        Vec::new(),
    );
    let run = |before: Value, operation: Value| {
        let body = json!({"schemas": [PATCH_SCHEMA], "Operations": [operation]});
        let mut tolerated = Tolerated::default();
        let patch = Patch::compile(body, &badge, Dialect::Strict.rules(), &mut tolerated)?;
        let Value::Object(mut attributes) = before else { unreachable!() };
        apply(&badge, &patch, &mut attributes)?;
        attributes.shift_remove("schemas");
        Ok::<_, ScimError>(Value::Object(attributes))
    };
    let set = json!({"serial": "1", "keys": ["a"], "chip": {"maker": "M", "label": "L"}, "tags": ["red"]});
    for (path, value) in [
        ("serial", json!("1")),
        ("keys", json!(["a"])),
        ("chip", json!({"maker": "M"})),
        ("chip.maker", json!("M")),
    ] {
        let operation = json!({"op": "add", "path": path, "value": value});
        run(json!({}), operation.clone()).unwrap();
        assert_eq!(run(set.clone(), operation).unwrap(), set);
    }
    for operation in [
        json!({"op": "replace", "path": "serial", "value": "2"}),
        json!({"op": "remove", "path": "serial"}),
        json!({"op": "add", "path": "keys", "value": ["b"]}),
        json!({"op": "replace", "path": "keys", "value": ["b"]}),
        json!({"op": "remove", "path": "keys[value eq \"a\"]"}),
        json!({"op": "replace", "path": "chip", "value": {"maker": "N"}}),
        json!({"op": "remove", "path": "chip"}),
        json!({"op": "remove", "path": "chip.maker"}),
    ] {
        let error = run(set.clone(), operation.clone()).expect_err(&operation.to_string());
        assert_eq!(error.scim_type, Some(ScimType::Mutability), "{operation}");
    }
    let retagged =
        run(set, json!({"op": "replace", "path": "tags[value eq \"RED\"]", "value": "blue"})).unwrap();
    assert_eq!(retagged["tags"], json!(["blue"]));
}

fn value() -> impl Strategy<Value = Value> {
    let text = proptest::sample::select(vec!["work", "home", "a@b", "B", "", "true", "bulkId:x"]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2..3_i64).prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    let name = proptest::sample::select(vec![
        "value",
        "type",
        "primary",
        "display",
        "$ref",
        "givenName",
        "name",
        "emails",
        "nickName",
        "userName",
        "id",
        "name.givenName",
        "members",
        "schemas",
        "password",
        ENTERPRISE_USER_SCHEMA,
        "manager",
        "department",
        "zzz",
    ]);
    leaf.prop_recursive(3, 12, 3, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::vec((name.clone(), inner), 0..4).prop_map(|members| {
                let members = members.into_iter().map(|(name, value)| (name.to_owned(), value));
                Value::Object(members.collect::<Map<_, _>>())
            }),
        ]
    })
}

fn operation() -> impl Strategy<Value = Value> {
    let op = proptest::sample::select(vec!["add", "replace", "remove", "Replace", "x"]);
    let path = proptest::sample::select(vec![
        "userName",
        "nickName",
        "name",
        "name.givenName",
        "emails",
        "emails.value",
        "emails[type eq \"work\"]",
        "emails[type eq \"work\"].value",
        "emails[not (primary eq true)].primary",
        "members",
        "members.value",
        "members[value eq \"work\"]",
        "ims[type eq \"home\" and primary eq true]",
        "schemas",
        "password",
        "groups",
        "addresses[",
        "meta",
        "active",
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager",
        "displayName",
        "zzz",
    ]);
    (op, proptest::option::of(path), proptest::option::of(value())).prop_map(|(op, path, value)| {
        let mut operation = json!({"op": op});
        if let Some(path) = path {
            operation["path"] = path.into();
        }
        if let Some(value) = value {
            operation["value"] = value;
        }
        operation
    })
}

proptest! {
    #[test]
    fn any_patch_never_panics_and_leaves_a_whole_user(
        operations in proptest::collection::vec(operation(), 1..5), strict: bool,
    ) {
        let dialect = if strict { Dialect::Strict } else { Dialect::Generic };
        let _ = compile("Group", dialect, operations.clone().into());
        if let Ok(after) = patched(dialect, operations.into()) {
            let mut again = after.clone();
            resource_type("User").finish(&mut again).unwrap();
            prop_assert_eq!(&again, &after);
            prop_assert!(!after.contains_key("password") && !after.contains_key("id"));
        }
    }

    #[test]
    fn change_made_twice_is_made_once(operation in operation(), strict: bool) {
        let dialect = if strict { Dialect::Strict } else { Dialect::Generic };
        // A filter may no longer match what it was used to change.
        let filtered = operation["path"].as_str().is_some_and(|path| path.contains('['));
        if operation["op"] == "remove" || filtered {
            return Ok(());
        }
        if let Ok(once) = patched(dialect, json!([operation])) {
            prop_assert_eq!(patched(dialect, json!([operation, operation])), Ok(once));
        }
    }

    #[test]
    fn replace_after_replace_is_the_last(first in "[a-z]{1,5}", last in "[a-z]{1,5}") {
        for path in ["nickName", "name.givenName", "emails[type eq \"work\"].value"] {
            let replace = |value: &str| json!({"op": "replace", "path": path, "value": value});
            let both = patched(Dialect::Strict, json!([replace(&first), replace(&last)]));
            prop_assert_eq!(both, patched(Dialect::Strict, json!([replace(&last)])));
        }
        let list = |value: &str| json!({"op": "replace", "path": "ims", "value": [{"value": value}]});
        let both = patched(Dialect::Strict, json!([list(&first), list(&last)]));
        prop_assert_eq!(both, patched(Dialect::Strict, json!([list(&last)])));
    }

    #[test]
    fn attribute_removed_is_not_present(
        name in proptest::sample::select(vec!["nickName", "name", "emails", "addresses", "title", "active"]),
    ) {
        use crate::scim::filter::{Expression, FilterLimits};
        let after = patched(Dialect::Strict, json!([{"op": "remove", "path": name}])).unwrap();
        let filter = Expression::parse(&format!("{name} pr"), FilterLimits::default()).unwrap();
        prop_assert!(!filter.resolve(&resource_type("User")).unwrap().matches(&Value::Object(after)));
    }
}
