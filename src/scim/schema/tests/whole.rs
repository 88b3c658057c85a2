//! What only the whole resource shows, and every data type and characteristic beyond the core schemas.

use super::*;

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
