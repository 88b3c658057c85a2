//! What is refused, by every dialect or by `Strict` alone.

use super::*;

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
