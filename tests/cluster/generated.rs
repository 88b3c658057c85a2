//! Objects made from the schemas themselves, right and wrong ones: `validate` and a real API server decide alike.

use std::{cell::RefCell, collections::BTreeMap};

use kube::core::cel::{compile_schema, validate_compiled};
use proptest::{prelude::*, sample::Index, test_runner::TestRunner};
use scim_operator::{
    config::{
        findings::has_errors,
        validate::{File, read},
    },
    crd,
};
use serde_json::{Map, Value, json};

use crate::support::{ApiServer, Verdict};

const CASES: u32 = 600;

/// Texts that fields have use for, and texts at the edges of what they take.
const TEXTS: [&str; 34] = [
    "",
    "main",
    "acme",
    "acme-scim-token",
    "token",
    "a",
    "0",
    "-",
    "a-",
    "-a",
    "a_b",
    "a.b",
    "a..b",
    ".",
    "A",
    "Acme",
    "ä",
    "日本",
    "a b",
    " a",
    "a\n",
    "true",
    "5",
    "scim.example.com",
    "*.example.com",
    "https://scim.example.com",
    "https://idp.example.com/realms/a",
    "http://idp.example.com",
    "10.0.0.0/8",
    "10.0.0.0",
    "2001:db8::/32",
    "300.0.0.0/8",
    "urn:example:params:scim:schemas:extension:acme:2.0:User",
    "30d",
];

/// Values of every type, to be put where they may not belong.
fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop::sample::select(vec![
            json!(0),
            json!(-1),
            json!(1),
            json!(4096),
            json!(i64::MAX),
            json!(u64::MAX),
            json!(1.5),
            json!(1e300)
        ]),
        prop::sample::select(TEXTS.to_vec()).prop_map(Value::from),
        prop::sample::select(vec![62, 63, 64, 253, 254, 1025]).prop_map(|length| "a".repeat(length).into()),
        Just(json!([])),
        Just(json!({})),
        Just(json!(["main"])),
        Just(json!({ "name": "main" })),
    ]
}

/// Values that a schema takes, as far as one value alone can tell.
fn right(schema: &Value) -> BoxedStrategy<Value> {
    if let Some(allowed) = schema["enum"].as_array() {
        return prop::sample::select(allowed.clone()).boxed();
    }
    match schema["type"].as_str() {
        Some("object") => object(schema),
        Some("array") => {
            let bound = |name: &str| schema[name].as_u64().and_then(|bound| usize::try_from(bound).ok());
            let least = bound("minItems").unwrap_or(0);
            let most = bound("maxItems").unwrap_or(3).min(3).max(least);
            prop::collection::vec(right(&schema["items"]), least..=most).prop_map(Value::from).boxed()
        }
        Some("boolean") => any::<bool>().prop_map(Value::from).boxed(),
        Some("integer") => {
            let least = schema["minimum"].as_i64().unwrap_or(0);
            let most = schema["maximum"].as_i64().unwrap_or(i64::from(i32::MAX));
            prop::sample::select(vec![least, most, least.midpoint(most)]).prop_map(Value::from).boxed()
        }
        Some("string") => {
            let compiled = compile_schema(schema);
            let length = |text: &str| text.chars().count() as u64;
            // Its rules and its description often name what it takes.
            let named: Vec<String> = [&schema["description"], &schema["x-kubernetes-validations"]]
                .into_iter()
                .flat_map(|text| text.to_string().split(['\'', '`']).map(str::to_owned).collect::<Vec<_>>())
                .collect();
            let fitting: Vec<Value> = TEXTS
                .into_iter()
                .chain(named.iter().map(String::as_str))
                .filter(|text| schema["minLength"].as_u64().is_none_or(|least| length(text) >= least))
                .filter(|text| schema["maxLength"].as_u64().is_none_or(|most| length(text) <= most))
                .map(Value::from)
                .filter(|text| validate_compiled(&compiled, text, None).is_ok())
                .collect();
            if fitting.is_empty() {
                return any_value().boxed();
            }
            prop::sample::select(fitting).boxed()
        }
        _ => any_value().boxed(),
    }
}

/// An object with what it must have, and some of what it may have.
fn object(schema: &Value) -> BoxedStrategy<Value> {
    let required: Vec<_> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let none = Map::new();
    let mut fields: BoxedStrategy<Map<String, Value>> = Just(Map::new()).boxed();
    for (name, schema) in schema["properties"].as_object().unwrap_or(&none) {
        let name = name.clone();
        let value = if required.contains(&name.as_str()) {
            right(schema).prop_map(Some).boxed()
        } else {
            prop::option::weighted(0.3, right(schema)).boxed()
        };
        fields = (fields, value)
            .prop_map(move |(mut fields, value)| {
                fields.extend(value.map(|value| (name.clone(), value)));
                fields
            })
            .boxed();
    }
    if schema["additionalProperties"].is_object() {
        let values = right(&schema["additionalProperties"]);
        let names = prop::sample::select(TEXTS.to_vec()).prop_map(str::to_owned);
        return prop::collection::vec((names, values), 0..3)
            .prop_map(|fields| Value::Object(fields.into_iter().collect()))
            .boxed();
    }
    fields.prop_map(Value::Object).boxed()
}

/// One thing done to an object somewhere.
#[derive(Debug, Clone)]
enum Change {
    Replace(Value),
    Remove,
    AddField(&'static str, Value),
    Repeat(usize),
}

fn change() -> impl Strategy<Value = Change> {
    let names = prop::sample::select(vec!["name", "colour", "Host", "secretName", ""]);
    prop_oneof![
        4 => any_value().prop_map(Change::Replace),
        2 => Just(Change::Remove),
        2 => (names, any_value()).prop_map(|(name, value)| Change::AddField(name, value)),
        1 => prop::sample::select(vec![2, 9, 33, 257, 1025]).prop_map(Change::Repeat),
    ]
}

/// A whole object of one of our kinds, changed in up to two places below `spec` and `metadata.labels`.
fn any_object() -> impl Strategy<Value = Value> {
    let kinds: Vec<_> = crd::definitions().iter().map(whole_object).collect();
    let changes = prop::collection::vec((any::<Index>(), change()), 0..=2);
    (prop::strategy::Union::new(kinds), changes).prop_map(|(mut object, changes)| {
        for (at, change) in changes {
            let Some(spec) = object.get("spec") else { break };
            let mut pointers = Vec::new();
            below(spec, "/spec", &mut pointers);
            let pointer = at.get(&pointers).clone();
            apply(&mut object, &pointer, change);
        }
        object
    })
}

fn whole_object(definition: &'static Value) -> BoxedStrategy<Value> {
    let kind = &definition["spec"]["names"]["kind"];
    let schema = &crd::schema(kind.as_str().expect("a kind has a name")).expect("every kind has a schema");
    let names = ["main", "acme", "a.b", "A", "-a", "", "a_b"].map(str::to_owned);
    let lengths = [63, 64, 253, 254].map(|length| "a".repeat(length));
    let names = prop_oneof![
        9 => prop::sample::select(vec!["main", "acme", "a-1"]).prop_map(str::to_owned),
        1 => prop::sample::select([names.to_vec(), lengths.to_vec()].concat()),
    ];
    (names, right(&schema["properties"]["spec"]))
        .prop_map(move |(name, spec)| {
            json!({
                "apiVersion": crd::API_VERSION,
                "kind": kind,
                "metadata": { "name": name, "namespace": "default" },
                "spec": spec,
            })
        })
        .boxed()
}

/// The JSON pointers of a value and of everything in it.
fn below(value: &Value, pointer: &str, pointers: &mut Vec<String>) {
    pointers.push(pointer.to_owned());
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let name = name.replace('~', "~0").replace('/', "~1");
                below(value, &format!("{pointer}/{name}"), pointers);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                below(value, &format!("{pointer}/{index}"), pointers);
            }
        }
        _ => {}
    }
}

fn apply(object: &mut Value, pointer: &str, change: Change) {
    let place = object.pointer_mut(pointer).expect("the pointer is one of this object");
    match change {
        Change::Replace(value) => *place = value,
        Change::AddField(name, value) => {
            if let Value::Object(map) = place {
                map.insert(name.to_owned(), value);
            }
        }
        Change::Repeat(count) => {
            if let Value::Array(items) = place {
                let first = items.first().cloned().unwrap_or_default();
                items.resize(count, first);
            }
        }
        Change::Remove => {
            let (parent, name) = pointer.rsplit_once('/').expect("a pointer has a slash");
            if let Some(Value::Object(map)) = object.pointer_mut(parent) {
                map.shift_remove(&name.replace("~1", "/").replace("~0", "~"));
            }
        }
    }
}

#[test]
fn generated_objects_api_server_and_validate_agree() {
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    let server = runtime.block_on(ApiServer::start());
    // validate's word, then the API server's.
    let counts = RefCell::new(BTreeMap::<(&str, &str), u32>::new());
    let config = ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(&any_object(), |object| {
        let files = [File { name: "m.json".to_owned(), text: object.to_string() }];
        let findings = read(&files).1;
        let ours = if has_errors(&findings) { "refuses" } else { "accepts" };
        let (theirs, message) = match runtime.block_on(server.dry_create(&object)) {
            Verdict::Accepts => ("accepts", String::new()),
            Verdict::Refuses(message) => ("refuses", message),
        };
        *counts.borrow_mut().entry((ours, theirs)).or_default() += 1;
        let found: Vec<_> = findings.iter().map(ToString::to_string).collect();
        let object = serde_json::to_string_pretty(&object).expect("it is JSON");
        prop_assert_eq!(ours, theirs, "{}\nvalidate: {}\nAPI server: {}", object, found.join("\n"), message);
        Ok(())
    });
    if let Err(error) = result {
        panic!("validate and the API server disagree: {error}");
    }
    let counts = counts.into_inner();
    println!("{CASES} objects: {counts:?}");
    for verdict in ["accepts", "refuses"] {
        let count = counts.get(&(verdict, verdict)).copied().unwrap_or_default();
        assert!(count * 10 >= CASES, "only {count} of {CASES} objects are such that one {verdict} them");
    }
}
