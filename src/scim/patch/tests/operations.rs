//! `add`, `replace` and `remove`: what each does to an attribute.

use super::*;

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
