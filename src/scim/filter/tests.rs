//! Tests of filters as a whole: text in, matches out.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::scim::schema::{Registry, ResourceType};

fn user_type() -> Arc<ResourceType> {
    Arc::clone(Registry::core().by_name("User").unwrap())
}

fn parse(text: &str) -> Result<Expression, crate::scim::error::ScimError> {
    Expression::parse(text, FilterLimits::default())
}

fn bjensen() -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "id": "2819c223",
        "externalId": "Ext-1",
        "userName": "bJensen",
        "name": {"familyName": "O'Malley", "givenName": "Bärbel"},
        "displayName": "Say \"hi\" \\ \u{1F600}",
        "title": "",
        "active": true,
        "emails": [
            {"value": "bjensen@example.com", "type": "work", "primary": true},
            {"value": "babs@jensen.org", "type": "home"},
        ],
        "ims": [],
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {
            "employeeNumber": "701984", "manager": {"value": "26118915"},
        },
        "meta": {"resourceType": "User", "lastModified": "2011-05-13T04:42:34Z"},
    })
}

fn matches(text: &str) -> bool {
    parse(text).unwrap().resolve(&user_type()).unwrap_or_else(|e| panic!("{text}: {e}")).matches(&bjensen())
}

/// RFC 7644 figure 2, and what the RFC says of each operator and type.
#[test]
fn filter_that_describes_the_user_matches() {
    for text in [
        r#"userName eq "bjensen""#,
        r#"userName Eq "BJENSEN""#,
        r#"USERNAME eq "bjensen""#,
        r#"name.familyName co "O'Malley""#,
        r#"userName sw "BJ""#,
        r#"userName ew "SEN""#,
        r#"urn:ietf:params:scim:schemas:core:2.0:User:userName sw "b""#,
        r#"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:employeeNumber eq "701984""#,
        r#"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value eq "26118915""#,
        r#"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager eq "26118915""#,
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User pr",
        r#"externalId eq "Ext-1""#,
        r#"not (externalId eq "ext-1")"#,
        "emails pr",
        "not (title pr)",
        "not (ims pr)",
        "not (nickName pr)",
        r#"meta.lastModified gt "2011-05-13T04:42:33Z""#,
        r#"meta.lastModified ge "2011-05-13T06:42:34+02:00""#,
        r#"meta.lastModified eq "2011-05-13T04:42:34.000Z""#,
        r#"meta.lastModified eq "2011-05-13T04:42:34""#,
        r#"meta.lastModified lt "2011-05-14""#,
        r#"title eq "" and userName pr"#,
        r#"title pr or userName eq "bjensen""#,
        r#"schemas eq "urn:ietf:params:scim:schemas:core:2.0:User""#,
        r#"schemas[value ew ":User"]"#,
        r#"userName sw "b" and (emails co "example.com" or emails.value co "nowhere")"#,
        r#"userName eq "x" and title pr or active eq true"#,
        "active eq True",
        "active ne false",
        r#"emails co "example.com""#,
        r#"emails.type eq "home""#,
        r#"emails[type eq "work" and value co "@example.com"]"#,
        r#"not (emails[type eq "home" and value co "@example.com"])"#,
        r#"emails[type eq "work"].value sw "bjensen""#,
        r#"emails[type eq "work" and not (value ew ".org")]"#,
        "emails[not (primary eq true)]",
        r#"name.givenName eq "BÄRBEL""#,
        r#"displayName eq "Say \"hi\" \\ \ud83d\ude00""#,
        r#"nickName ne "x""#,
        r#"userName ne "x""#,
        r#"not (emails.type ne "work")"#,
        "nickName eq null",
        "userName ne null",
        r#"userName gt "BJENSEM""#,
        r#"userName le "bjensen""#,
        "  userName   pr  ",
        r#"not(userName eq "x")and(active eq true)"#,
        "userName pr and not (active eq false)",
        r#"meta.resourceType eq "User""#,
    ] {
        assert!(matches(text), "{text}");
    }
}

#[test]
fn filter_malformed_says_what_was_expected_where() {
    let errors: Vec<String> = [
        "",
        "userName",
        "userName eq",
        "userName eq bjensen",
        "userName eq \"bjensen",
        r#"userName eq "a\x""#,
        r#"userName eq "\ud83d""#,
        r#"userName = "x""#,
        r#"userName eq "x" and"#,
        r#"userName eq "x" userName"#,
        r#"(userName eq "x""#,
        r#"userName eq "x")"#,
        r#"not userName eq "x""#,
        r#"emails[type eq "work""#,
        r#"emails[value[x eq "y"]]"#,
        r#"émails eq "x""#,
        r#"name.a.b eq "x""#,
        "age gt 1.2.3",
    ]
    .iter()
    .map(|text| parse(text).unwrap_err().to_string())
    .collect();
    insta::assert_snapshot!(errors.join("\n"), @r#"
400 invalidFilter: filter column 1: expected an attribute name, found the end of the filter
400 invalidFilter: filter column 9: expected an operator (eq, ne, co, sw, ew, gt, ge, lt, le or pr), found the end of the filter
400 invalidFilter: filter column 12: expected a value (text in double quotes, a number, true, false or null), found the end of the filter
400 invalidFilter: filter column 13: expected a value (text in double quotes, a number, true, false or null), found "bjensen"
400 invalidFilter: filter column 21: expected a closing double quote, found the end of the filter
400 invalidFilter: filter column 13: expected text in double quotes with the escapes of JSON (\" \\ \/ \b \f \n \r \t \uXXXX), found '"'
400 invalidFilter: filter column 13: expected text in double quotes with the escapes of JSON (\" \\ \/ \b \f \n \r \t \uXXXX), found '"'
400 invalidFilter: filter column 10: expected an operator (eq, ne, co, sw, ew, gt, ge, lt, le or pr), found "="
400 invalidFilter: filter column 20: expected an attribute name, found the end of the filter
400 invalidFilter: filter column 17: expected "and", "or" or the end of the filter, found "userName"
400 invalidFilter: filter column 17: expected "and", "or" or ")", found the end of the filter
400 invalidFilter: filter column 16: expected "and", "or" or the end of the filter, found ')'
400 invalidFilter: filter column 5: expected "(" after "not", found "userName"
400 invalidFilter: filter column 22: expected "and", "or" or "]", found the end of the filter
400 invalidFilter: filter column 13: expected an operator (value filters cannot be nested), found '['
400 invalidFilter: filter column 1: expected an attribute name, found "émails"
400 invalidFilter: filter column 1: expected an attribute name, found "name.a.b"
400 invalidFilter: filter column 8: expected a value (text in double quotes, a number, true, false or null), found "1.2.3"
"#);
}

#[test]
fn filter_that_the_schema_does_not_allow_is_refused() {
    let errors: Vec<String> = [
        r#"shoeSize eq "x""#,
        r#"usrName eq "x""#,
        r#"name.givnName eq "x""#,
        r#"name eq "x""#,
        r#"active eq "true""#,
        "active gt false",
        "userName eq 1",
        "userName eq true",
        r#"meta.lastModified gt "yesterday""#,
        r#"meta.lastModified co "2011""#,
        r#"x509Certificates gt "AA==""#,
        "userName gt null",
        r#"password eq "t1meMa$heen""#,
        r#"userName[value eq "x"]"#,
        r#"emails[shape eq "x"]"#,
        r#"emails[emails.type eq "x"]"#,
        r#"urn:example:2.0:User:userName eq "x""#,
    ]
    .iter()
    .map(|text| parse(text).unwrap().resolve(&user_type()).unwrap_err().to_string())
    .collect();
    insta::assert_snapshot!(errors.join("\n"), @r#"
400 invalidFilter: shoeSize is not an attribute of User
400 invalidFilter: usrName is not an attribute of User; did you mean "userName"?
400 invalidFilter: name.givnName is not an attribute of User; did you mean "givenName"?
400 invalidFilter: name is complex; compare one of its sub-attributes
400 invalidFilter: active is a boolean (true or false): it cannot be compared with "true"
400 invalidFilter: gt cannot compare active, a boolean (true or false)
400 invalidFilter: userName is a string (text in double quotes): it cannot be compared with 1
400 invalidFilter: userName is a string (text in double quotes): it cannot be compared with true
400 invalidFilter: meta.lastModified is a date and time (such as "2011-05-13T04:42:34Z"): it cannot be compared with "yesterday"
400 invalidFilter: co cannot compare meta.lastModified, a date and time (such as "2011-05-13T04:42:34Z")
400 invalidFilter: gt cannot compare x509Certificates.value, binary (base64 in double quotes)
400 invalidFilter: gt cannot compare with null; only eq and ne can
400 invalidFilter: password is never returned and cannot be filtered on
400 invalidFilter: userName has a single value and no sub-attributes: it cannot have a value filter
400 invalidFilter: shape is not a sub-attribute of emails
400 invalidFilter: emails.type is not a sub-attribute of emails
400 invalidFilter: urn:example:2.0:User:userName is not an attribute of User
"#);
}

#[test]
fn filter_past_its_limits_is_refused() {
    let limits = FilterLimits { max_length: 100, max_depth: 3, max_terms: 2 };
    let parse = |text: &str| Expression::parse(text, limits).map(|_| ()).map_err(|e| e.detail);
    assert_eq!(parse("((a[b pr]))"), Ok(()));
    assert_eq!(parse("(((a[b pr])))"), Err("the filter nests deeper than 3 levels".into()));
    assert_eq!(parse("not(not(not(not(a pr))))"), Err("the filter nests deeper than 3 levels".into()));
    assert_eq!(parse("a pr or b pr or c pr"), Err("the filter has more than 2 comparisons".into()));
    assert_eq!(parse(&"a".repeat(101)), Err("the filter is 101 bytes long; at most 100 are allowed".into()));
}

#[test]
fn filter_across_types_treats_a_missing_attribute_as_unset() {
    let group = Arc::clone(Registry::core().by_name("Group").unwrap());
    let resource = json!({"id": "1", "displayName": "Tour Guides"});
    for (text, expected) in [
        (r#"userName eq "x""#, false),
        (r#"userName ne "x""#, true),
        ("userName eq null", true),
        ("userName pr", false),
        ("not (userName pr)", true),
        (r#"displayName sw "tour" or userName pr"#, true),
        ("displayName gt 7", false),
        (r#"emails[type eq "work"]"#, false),
    ] {
        assert_eq!(parse(text).unwrap().resolve_lenient(&group).matches(&resource), expected, "{text}");
    }
}

#[test]
fn numbers_compare_by_value() {
    let schema = json!({"id": "urn:example:Thing", "name": "Thing", "attributes": [
        {"name": "size", "type": "decimal"}, {"name": "counts", "type": "integer", "multiValued": true},
        {"name": "tags", "multiValued": true},
    ]});
    let schema = Arc::new(serde_json::from_value(schema).unwrap());
    let thing = ResourceType::new("Thing", "/Things", "", schema, Vec::new());
    let resource = json!({"size": 1.0, "counts": [1, 9_007_199_254_740_993_u64], "tags": ["Red", "blue"]});
    for (text, expected) in [
        ("size eq 1", true),
        ("size gt 1", false),
        ("size lt 1.0e1", true),
        ("size gt -1.5", true),
        ("counts eq 9007199254740993", true),
        ("counts eq 9007199254740992", false),
        ("counts eq 1.0", true),
        (r#"tags eq "red""#, true),
        (r#"tags[value sw "bl"]"#, true),
        (r#"tags[value sw "gr"]"#, false),
    ] {
        assert_eq!(parse(text).unwrap().resolve(&thing).unwrap().matches(&resource), expected, "{text}");
    }
    let key = |size: Value| {
        let by = thing.resolve(&AttributePath::parse("size").unwrap()).unwrap();
        sort_key(&json!({"size": size}), &by).unwrap()
    };
    let keys = [json!(-10.5), json!(-1), json!(0), json!(0.5), json!(2), json!(10)].map(key);
    assert!(keys.is_sorted(), "{keys:?}");
}

#[test]
fn sort_key_is_of_the_primary_value_and_folded() {
    let key = |by: &str| {
        let by = user_type().resolve(&AttributePath::parse(by).unwrap()).unwrap();
        sort_key(&bjensen(), &by)
    };
    assert_eq!(key("userName").as_deref(), Some("bjensen"));
    assert_eq!(key("externalId").as_deref(), Some("Ext-1"));
    assert_eq!(key("emails").as_deref(), Some("bjensen@example.com"));
    assert_eq!(key("emails.type").as_deref(), Some("work"));
    assert_eq!(key("nickName"), None);
    assert_eq!(key("name"), None);
    assert_eq!(key("meta.lastModified").as_deref(), Some("1001305261754000000000"));
}

fn attribute() -> impl Strategy<Value = AttributePath> {
    let name = "[a-zA-Z][a-zA-Z0-9_-]{0,6}";
    let schema = prop_oneof![3 => Just(None), 1 => Just(Some("urn:example:ext:2.0:User".to_owned()))];
    (schema, name, proptest::option::of("[$]?[a-z]{1,5}"))
        .prop_map(|(schema, attribute, sub_attribute)| AttributePath { schema, attribute, sub_attribute })
}

fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        Just(Literal::Null),
        any::<bool>().prop_map(Literal::Boolean),
        any::<i64>().prop_map(|n| Literal::Number(n.into())),
        any::<i32>().prop_filter_map("finite", |n| serde_json::Number::from_f64(f64::from(n) / 4.0)
            .map(Literal::Number)),
        any::<String>().prop_map(Literal::String),
    ]
}

fn expression() -> impl Strategy<Value = Expression> {
    let operators = [Operator::Eq, Operator::Ne, Operator::Co, Operator::Gt, Operator::Le];
    let term = prop_oneof![
        attribute().prop_map(Expression::Present),
        (attribute(), proptest::sample::select(operators.to_vec()), literal())
            .prop_map(|(attribute, operator, literal)| Expression::Compare(attribute, operator, literal)),
    ];
    let grow = |inner: BoxedStrategy<Expression>| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            pair.clone().prop_map(|(a, b)| Expression::And(Box::new(a), Box::new(b))),
            pair.prop_map(|(a, b)| Expression::Or(Box::new(a), Box::new(b))),
            inner.prop_map(|a| Expression::Not(Box::new(a))),
        ]
    };
    let plain = term.prop_recursive(3, 8, 2, move |inner| grow(inner.boxed()));
    let value_path = (attribute(), plain.clone()).prop_map(|(attribute, inner)| {
        Expression::ValuePath(AttributePath { sub_attribute: None, ..attribute }, Box::new(inner))
    });
    prop_oneof![plain, value_path].prop_recursive(4, 16, 2, move |inner| grow(inner.boxed()))
}

proptest! {
    #[test]
    fn filter_shown_parses_back_to_itself(expression in expression()) {
        let limits = FilterLimits { max_length: usize::MAX, max_depth: 100, max_terms: 1000 };
        let text = expression.to_string();
        prop_assert_eq!(Expression::parse(&text, limits), Ok(expression), "{}", text);
    }

    #[test]
    fn fold_is_idempotent_and_keeps_containment(text: String, more: String) {
        let folded = fold(&text, false).into_owned();
        prop_assert_eq!(fold(&folded, false), folded.as_str());
        let around = format!("{more}{text}{more}");
        prop_assert!(fold(&around, false).contains(&folded));
        prop_assert_eq!(fold(&text, true), text.as_str());
    }

    #[test]
    fn any_text_as_filter_never_panics(text in "[a-zA-Z.:$\\[\\]() \"\\\\0-9é-]{0,80}") {
        if let Ok(expression) = parse(&text) {
            let _ = expression.resolve(&user_type()).map(|filter| filter.matches(&bjensen()));
        }
    }

    #[test]
    fn any_words_as_filter_never_panic(words in proptest::collection::vec(proptest::sample::select(vec![
        "userName", "emails", "emails[", "]", "(", ")", "and", "or", "not", "eq", "co", "pr", "\"x\"", "null",
        "1", ".value", "type", "active", "true", "meta.lastModified", "\"2011-05-13T04:42:34Z\"", "gt", "[",
    ]), 0..24)) {
        let text = words.join(" ");
        if let Ok(expression) = parse(&text) {
            prop_assert_eq!(parse(&expression.to_string()), Ok(expression.clone()));
            let _ = expression.resolve(&user_type()).map(|filter| filter.matches(&bjensen()));
            let _ = expression.resolve_lenient(&user_type()).matches(&bjensen());
        }
    }
}
