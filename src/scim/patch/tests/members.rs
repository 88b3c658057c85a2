//! Changes of a group's membership, in each spelling.

use super::*;

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
