//! No input panics: filters, paths, cursors, bodies, patches, bulk requests, list parameters and manifests made at
//! random, half from the language's own words, half by damaging what is valid. An error is as good as a value here;
//! what must also hold is said in each property. `make fuzz` runs many more cases.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value, json};

use scim_operator::config::oauth2::{Algorithm, GrantNames, IssuerConfig};
use scim_operator::config::validate::{File, validate};
use scim_operator::config::{Scope, Scopes};
use scim_operator::scim::bulk::BulkRequest;
use scim_operator::scim::cursor;
use scim_operator::scim::dialect::{Dialect, Tolerated};
use scim_operator::scim::etag::EntityTags;
use scim_operator::scim::filter::{Expression, FilterLimits};
use scim_operator::scim::list::{ListLimits, ListRequest};
use scim_operator::scim::patch::{Patch, Step};
use scim_operator::scim::path::AttributePath;
use scim_operator::scim::schema::Registry;
use scim_operator::server::oauth::jwks::KeySet;
use scim_operator::server::oauth::{access_token, assertion, claims, jose};

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// The example of RFC 7515 appendix A.3 with its key: a token whose signature is right.
const SIGNED: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
const SIGNING_KEY: &str = r#"{"keys": [{"kty": "EC", "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

/// Whether a token has a good signature of that key.
fn is_signed(token: &str) -> bool {
    let keys = KeySet::parse(SIGNING_KEY.as_bytes()).expect("a key");
    let Ok(jws) = jose::parse(token, &["jwt", "at+jwt"]) else { return false };
    keys.find(&jws).is_ok_and(|key| key.verify(&jws).is_ok())
}

fn oauth_issuer() -> IssuerConfig {
    IssuerConfig {
        issuer: "joe".to_owned(),
        jwks_uri: None,
        audiences: vec!["scim".to_owned()],
        algorithms: Algorithm::ALL.to_vec(),
        required_scopes: Vec::new(),
        required_claims: Vec::new(),
        scopes: GrantNames {
            read: vec!["scim.read".to_owned()],
            write: vec!["scim.write".to_owned()],
            always: Scopes::NONE,
        },
        clock_skew_seconds: 60,
        ca_certificates: None,
    }
}

/// Claims by the names that are looked at, with values of every kind.
fn claim_set() -> impl Strategy<Value = Map<String, Value>> {
    let name = select(vec![
        "iss",
        "aud",
        "exp",
        "nbf",
        "iat",
        "sub",
        "azp",
        "appid",
        "client_id",
        "scope",
        "scp",
        "roles",
        "typ",
        "at_hash",
    ]);
    let value = prop_oneof![
        json_value(),
        select(vec![
            json!("joe"),
            json!("scim"),
            json!(["scim"]),
            json!(2_000),
            json!("scim.write"),
            json!(1e18)
        ]),
    ];
    vec((name, value), 0..12)
        .prop_map(|claims| claims.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

#[test]
fn token_of_rfc_7515_verifies() {
    assert!(is_signed(SIGNED));
}

/// Words of filters and paths, whole and broken.
fn words() -> impl Strategy<Value = String> {
    let word = select(vec![
        "userName",
        "emails",
        "name",
        ".",
        "value",
        "type",
        "familyName",
        "members",
        "groups",
        "meta",
        "created",
        "active",
        "id",
        "schemas",
        "[",
        "]",
        "(",
        ")",
        " ",
        " ",
        " ",
        "eq",
        "ne",
        "co",
        "sw",
        "ew",
        "gt",
        "ge",
        "lt",
        "le",
        "pr",
        "and",
        "or",
        "not",
        "AND",
        "true",
        "false",
        "null",
        "12",
        "-1.5e3",
        "\"x\"",
        "\"\"",
        "\"a\\\"b\"",
        "\"\\u00e9\"",
        "\"\\ud800\"",
        "\"",
        "\\",
        USER,
        ENTERPRISE,
        ":",
        "é",
        "\u{0}",
        "$ref",
        "\"2011-05-13T04:42:34Z\"",
    ]);
    vec(word, 0..24).prop_map(|words| words.concat())
}

/// Text damaged at a few places.
fn damaged(text: String) -> impl Strategy<Value = String> {
    vec((any::<Index>(), 0_usize..4, "[\\x00-\\x7fé\\[\\]:\"{}-]{0,3}"), 1..4).prop_map(move |damage| {
        let mut characters: Vec<char> = text.chars().collect();
        for (at, remove, insert) in damage {
            let at = at.index(characters.len() + 1);
            let end = (at + remove).min(characters.len());
            characters.splice(at..end, insert.chars());
        }
        characters.into_iter().collect()
    })
}

/// A JSON value with names that mean something somewhere.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        select(vec![
            "True", "", "bulkId:1", "W/\"1\"", "/Users", "add", "remove", "Replace", "work", USER, "é\u{0}"
        ])
        .prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        words().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        let names = select(vec![
            "schemas",
            "userName",
            "USERNAME",
            "id",
            "meta",
            "emails",
            "value",
            "type",
            "primary",
            "name",
            "members",
            "groups",
            "password",
            "active",
            "$ref",
            "manager",
            ENTERPRISE,
            "Operations",
            "op",
            "path",
            "method",
            "bulkId",
            "data",
            "version",
            "failOnErrors",
            "filter",
            "count",
            "startIndex",
            "cursor",
            "attributes",
            "sortBy",
            "x509Certificates",
            "nonsense",
            "",
        ]);
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((names.prop_map(str::to_owned), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Values for one PATCH, near enough to the format to get past its first checks.
fn operations() -> impl Strategy<Value = Value> {
    let paths = prop_oneof![
        select(vec![
            "userName",
            "emails",
            "emails[type eq \"work\"]",
            "emails[type eq \"work\"].value",
            "name.givenName",
            "members",
            "members[value eq \"2819c223\"]",
            "active",
            "meta.created",
            "id",
            "addresses[primary eq true]",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager",
            "schemas",
            "password",
        ])
        .prop_map(str::to_owned),
        words(),
    ];
    let operation =
        (select(vec!["add", "remove", "replace", "Add", "move"]), prop::option::of(paths), json_value());
    vec(operation, 0..4).prop_map(|operations| {
        let operations: Vec<_> = operations
            .into_iter()
            .map(|(op, path, value)| match path {
                Some(path) => json!({"op": op, "path": path, "value": value}),
                None => json!({"op": op, "value": value}),
            })
            .collect();
        json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations})
    })
}

fn sample() -> Value {
    json!({
        "schemas": [USER], "id": "2819c223", "userName": "bjensen", "active": true,
        "name": {"familyName": "Jensen"},
        "emails": [{"value": "b@example.com", "type": "work", "primary": true}, {"value": "b@example.org"}],
        "meta": {"created": "2011-05-13T04:42:34Z"},
    })
}

const MANIFEST: &str = include_str!("../examples/quickstart/tenant.yaml");

proptest! {
    // A failure is printed with its input; there is no file to keep it in.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn filter_of_any_text_is_answered(text in prop_oneof![words(), "\\PC{0,40}",
        damaged("emails[type eq \"work\" and value co \"@example.com\"] or not (title pr)".to_owned())]
    ) {
        let Ok(expression) = Expression::parse(&text, FilterLimits::default()) else { return Ok(()) };
        for resource_type in &Registry::core().resource_types {
            // What resolves, and what does not, can both be evaluated on anything.
            let _ = expression.resolve_lenient(resource_type).matches(&sample());
            if let Ok(filter) = expression.resolve(resource_type) {
                let _ = filter.matches(&sample());
                let _ = filter.matches(&Value::Null);
            }
        }
    }

    /// What a dialect makes of a filter it leaves alone the second time, and what was a filter before is one still.
    #[test]
    fn filter_that_a_dialect_rewrote_stays_as_it_is(text in prop_oneof![words(), "\\PC{0,40}",
        damaged("externalId eq jyoung and (manager eq 5 or roles[primary eq \"True\"].value co x)".to_owned())]
    ) {
        for dialect in Dialect::ALL {
            for resource_type in &Registry::core().resource_types {
                let rewrite = |text: &str| {
                    dialect.rewrite_filter(Some(resource_type), text, &mut Tolerated::default()).into_owned()
                };
                let once = rewrite(&text);
                if Expression::parse(&once, FilterLimits::default()).is_ok() {
                    prop_assert_eq!(&rewrite(&once), &once, "{:?}", dialect);
                }
                let resolves = |text: &str| {
                    let parsed = Expression::parse(text, FilterLimits::default());
                    parsed.is_ok_and(|expression| expression.resolve(resource_type).is_ok())
                };
                prop_assert!(resolves(&once) || !resolves(&text), "{:?}: {} became {}", dialect, text, once);
            }
        }
    }

    #[test]
    fn filter_within_its_limits_never_exhausts_the_stack(depth in 1_usize..4000, open in select(vec!["(", "not (", "emails["])) {
        let close = if open.ends_with('[') { "]" } else { ")" };
        let text = format!("{}userName pr{}", open.repeat(depth), close.repeat(depth));
        let parsed = Expression::parse(&text, FilterLimits::default());
        prop_assert!(parsed.is_err() || depth <= FilterLimits::default().max_depth);
    }

    #[test]
    fn path_of_any_text_is_answered(text in prop_oneof![words(), "\\PC{0,40}"]) {
        let _ = AttributePath::parse(&text);
        let _ = EntityTags::parse(&text);
    }

    #[test]
    fn cursor_that_was_not_issued_is_refused(text in prop_oneof!["[A-Za-z0-9_-]{0,200}", "\\PC{0,40}"], key in any::<[u8; 32]>()) {
        prop_assert!(cursor::decode(&key, &text, [0; 8], 0, 600).is_err());
    }

    #[test]
    fn body_of_any_json_is_answered(body in json_value()) {
        for dialect in Dialect::ALL {
            for resource_type in &Registry::core().resource_types {
                let (mut body, mut tolerated) = (body.clone(), Tolerated::default());
                dialect.rewrite_resource(resource_type, &mut body, &mut tolerated);
                let _ = resource_type.normalize(body, dialect.rules(), &mut tolerated);
            }
        }
    }

    #[test]
    fn patch_of_any_json_is_answered(body in prop_oneof![operations(), json_value()]) {
        for dialect in Dialect::ALL {
            for resource_type in &Registry::core().resource_types {
                let (mut body, mut tolerated) = (body.clone(), Tolerated::default());
                dialect.rewrite_patch(resource_type, &mut body, &mut tolerated);
                let compiled = Patch::compile(body, resource_type, dialect.rules(), &mut tolerated);
                let Ok(patch) = compiled else { continue };
                let mut attributes = sample().as_object().expect("an object").clone();
                let applied = patch.steps.iter().try_for_each(|step| match step {
                    Step::Attributes(change) => change.apply(&mut attributes),
                    Step::Members(_) => Ok(()),
                });
                if applied.is_ok() {
                    let _ = resource_type.finish(&mut attributes);
                }
            }
        }
    }

    #[test]
    fn bulk_request_of_any_json_is_answered(body in json_value(), operations in vec(json_value(), 0..5)) {
        let framed = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": operations});
        for body in [body, framed] {
            if let Ok(request) = BulkRequest::parse(body, 100) {
                request.plan(&mut || "an-id".to_owned());
            }
        }
    }

    #[test]
    fn list_request_of_any_parameters_is_answered(
        body in json_value(),
        parameters in vec((select(vec!["filter", "count", "startIndex", "cursor", "sortBy", "sortOrder", "attributes", "ATTRIBUTES"]), prop_oneof![words(), "-?[0-9]{0,25}"]), 0..5)
    ) {
        let limits = ListLimits { max_page_size: 100, filter: FilterLimits::default() };
        let _ = ListRequest::from_query(&parameters, &limits);
        let _ = ListRequest::from_search(&body, &limits);
    }

    #[test]
    fn token_that_was_tampered_with_is_never_accepted(text in prop_oneof![
        damaged(SIGNED.to_owned()), "[A-Za-z0-9_-]{0,60}[.][A-Za-z0-9_-]{0,60}[.][A-Za-z0-9_-]{0,90}", "\\PC{0,80}"
    ]) {
        prop_assert!(text == SIGNED || !is_signed(&text), "{}", text);
        prop_assert!(access_token::decode(&[7; 32], "ns/acme", &text).is_none());
        let _ = assertion::subject(&text);
    }

    #[test]
    fn token_with_one_bit_changed_is_never_accepted(at in any::<Index>(), bit in 0_u8..7) {
        let mut bytes = SIGNED.as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let text = String::from_utf8(bytes).expect("ASCII");
        prop_assert!(!is_signed(&text), "{}", text);
    }

    #[test]
    fn claims_of_any_json_are_answered_and_let_nobody_in_without_issuer_audience_and_time(claims in claim_set()) {
        let (issuer, now) = (oauth_issuer(), 1_000);
        let _ = claims::may_be_accepted(&claims, &issuer, now);
        if let Ok(identity) = claims::check(&claims, &issuer, now) {
            prop_assert_eq!(&claims["iss"], "joe");
            prop_assert!(claims["aud"] == "scim" || claims["aud"].as_array().is_some_and(|all| all.contains(&json!("scim"))));
            prop_assert!(claims["exp"].as_f64().is_some_and(|exp| exp + 60.0 >= 1_000.0));
            prop_assert!(identity.good_until > now && !identity.name.is_empty());
            let says = |name: &str| ["scope", "scp", "roles"].iter().any(|claim| {
                claims.get(*claim).is_some_and(|value| value.to_string().contains(name))
            });
            prop_assert!(!identity.scopes.contains(Scope::Write) || says("scim.write"));
        }
    }

    #[test]
    fn keys_of_any_json_are_answered(document in json_value(), key in claim_set()) {
        let _ = KeySet::parse(document.to_string().as_bytes());
        let _ = KeySet::parse(json!({"keys": [document, key]}).to_string().as_bytes());
    }

    #[test]
    fn manifest_of_any_text_is_answered(text in prop_oneof![damaged(MANIFEST.to_owned()), "\\PC{0,200}", "[a-z:{}\\[\\]&*!|> \n-]{0,80}"]) {
        let findings = validate(&[File { name: "any.yaml".to_owned(), text }]);
        for finding in findings {
            prop_assert!(!finding.to_string().is_empty());
        }
    }
}
