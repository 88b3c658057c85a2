//! The examples of RFC 7644 section 3.5.2.

use super::*;

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
