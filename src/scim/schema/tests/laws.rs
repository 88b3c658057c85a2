//! Laws that hold for any JSON.

use proptest::prelude::*;

use super::*;

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
