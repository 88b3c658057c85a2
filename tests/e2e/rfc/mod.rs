//! The examples of RFC 7643, RFC 7644 and RFC 9865, from tables: each file here is one section's requests and
//! what must come back, run against both dialects in a tenant of its own.
//!
//! A table is `{"steps": [{"why", "request", "expect", "capture"}]}`. In `request` (`method`, `path`, `headers`,
//! `body`) and `expect`, `${name}` is what an earlier step captured, by JSON pointer or `header:NAME`; `${base}`
//! is the tenant's base URL. `expect.body` is a subset: every key in it must be there and match, arrays must have
//! the same length, `"*"` matches any value, `null` means absent. `"unordered": true` compares arrays as sets.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::support::{Client, Server, Setup};

/// One file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// Which section's examples these are.
    #[expect(dead_code, reason = "for who reads the table")]
    source: String,
    /// `Strict` or `Generic` when only one of them behaves so.
    only: Option<String>,
    steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    why: String,
    request: RequestRow,
    expect: ExpectRow,
    #[serde(default)]
    capture: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestRow {
    method: String,
    path: String,
    #[serde(default)]
    query: BTreeMap<String, String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectRow {
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<Value>,
    #[serde(default)]
    unordered: bool,
}

#[tokio::test]
async fn rfc_examples_in_strict_are_answered_as_written() {
    run_all("Strict").await;
}

#[tokio::test]
async fn rfc_examples_in_generic_are_answered_as_written() {
    run_all("Generic").await;
}

async fn run_all(dialect: &'static str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/rfc");
    let mut tables = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("the folder of this file") {
        let path = entry.expect("readable").path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let name = path.file_stem().and_then(|stem| stem.to_str()).expect("UTF-8").to_owned();
            let text = fs::read_to_string(&path).expect("readable");
            let table: Table = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            tables.insert(name, table);
        }
    }
    assert!(tables.len() > 10, "the tables are not where they were");

    let mut setup = Setup::default();
    for name in tables.keys() {
        setup = setup.tenant(name, dialect);
    }
    let server = Server::start(&setup).await;
    let mut failures = Vec::new();
    for (name, table) in &tables {
        if table.only.as_ref().is_none_or(|only| only == dialect) {
            run(name, table, &server.client(name), &mut failures).await;
        }
    }
    assert!(
        failures.is_empty(),
        "{} examples differ in {dialect}:\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
}

async fn run(name: &str, table: &Table, client: &Client, failures: &mut Vec<String>) {
    let mut known = BTreeMap::from([("base".to_owned(), client.base.clone())]);
    for (n, step) in table.steps.iter().enumerate() {
        let at = format!("{name} step {} ({})", n + 1, step.why);
        let mut request = client.request(&step.request.method, &fill(&step.request.path, &known));
        for (parameter, value) in &step.request.query {
            request = request.query(&[(parameter, &fill(value, &known))]);
        }
        for (header, value) in &step.request.headers {
            request = request.header(header, &fill(value, &known));
        }
        if let Some(body) = &step.request.body {
            request = request.body(&fill_value(body, &known));
        }
        let answer = request.send().await;

        let mut differences = Vec::new();
        if answer.status != step.expect.status {
            differences.push(format!("status {} instead of {}", answer.status, step.expect.status));
        }
        for (header, expected) in &step.expect.headers {
            let (expected, seen) = (fill(expected, &known), answer.header(header));
            if (expected == "*" && seen.is_empty()) || (expected != "*" && expected != seen) {
                differences.push(format!("header {header} is {seen:?} instead of {expected:?}"));
            }
        }
        if let Some(expected) = &step.expect.body {
            compare(&fill_value(expected, &known), &answer.body, step.expect.unordered, "", &mut differences);
        }
        for (variable, from) in &step.capture {
            let value = match from.strip_prefix("header:") {
                Some(header) => Some(answer.header(header)),
                None => answer.body.pointer(from).and_then(Value::as_str),
            };
            match value {
                Some(value) => {
                    known.insert(variable.clone(), value.to_owned());
                }
                None => differences.push(format!("nothing at {from} to capture")),
            }
        }
        if !differences.is_empty() {
            failures.push(format!("{at}:\n  {}\n  answer: {:#}", differences.join("\n  "), answer.body));
        }
    }
}

fn fill(text: &str, known: &BTreeMap<String, String>) -> String {
    known.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${{{name}}}"), value))
}

fn fill_value(value: &Value, known: &BTreeMap<String, String>) -> Value {
    match value {
        Value::String(text) => Value::String(fill(text, known)),
        Value::Array(values) => values.iter().map(|value| fill_value(value, known)).collect(),
        Value::Object(object) => {
            object.iter().map(|(name, value)| (name.clone(), fill_value(value, known))).collect()
        }
        other => other.clone(),
    }
}

fn matches(expected: &Value, seen: &Value, unordered: bool) -> bool {
    let mut differences = Vec::new();
    compare(expected, seen, unordered, "", &mut differences);
    differences.is_empty()
}

fn compare(expected: &Value, seen: &Value, unordered: bool, at: &str, differences: &mut Vec<String>) {
    match (expected, seen) {
        (Value::String(any), seen) if any == "*" && !seen.is_null() => {}
        (Value::Object(expected), Value::Object(seen)) => {
            for (name, value) in expected {
                compare(
                    value,
                    seen.get(name).unwrap_or(&Value::Null),
                    unordered,
                    &format!("{at}/{name}"),
                    differences,
                );
            }
        }
        (Value::Array(expected), Value::Array(seen)) if expected.len() == seen.len() && unordered => {
            for value in expected {
                if !seen.iter().any(|other| matches(value, other, unordered)) {
                    differences.push(format!("{at} has no {value}"));
                }
            }
        }
        (Value::Array(expected), Value::Array(seen)) if expected.len() == seen.len() => {
            for (n, (value, other)) in expected.iter().zip(seen).enumerate() {
                compare(value, other, unordered, &format!("{at}/{n}"), differences);
            }
        }
        _ if expected == seen => {}
        _ => differences.push(format!("{at} is {seen} instead of {expected}")),
    }
}
