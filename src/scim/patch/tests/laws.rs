//! Laws that hold for any PATCH.

use super::*;

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
