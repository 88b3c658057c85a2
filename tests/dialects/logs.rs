//! What the log says of a dialect's rules: a debug line for each rule that applied, a line at any time for what is
//! dropped, and advice, once, when another `identityProvider` fits better. Never a value.

use std::io::Write;
use std::sync::{Arc, Mutex};

use scim_operator::scim::dialect::Dialect;
use serde_json::{Value, json};
use tracing_subscriber::fmt;

use crate::fixture::Tenant;
use crate::support::{ENTERPRISE, USER};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// The events about dialects: level, rule, what it applied to.
    fn events(&self) -> Vec<(String, String, Value)> {
        let bytes = self.0.lock().unwrap().clone();
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        lines
            .map(|line| serde_json::from_slice::<Value>(line).unwrap())
            .filter(|line| line["rule"].is_string())
            .inspect(|line| {
                assert!(line["tenant"] == "identity/acme" && line["request_id"].is_string(), "{line}");
            })
            .map(|line| (text(&line["level"]), text(&line["rule"]), line["attributes"].clone()))
            .collect()
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Collects the events of this thread, on which the test's server runs too.
fn listen() -> (Lines, tracing::subscriber::DefaultGuard) {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = fmt()
        .json()
        .flatten_event(true)
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(move || writer.clone());
    (lines, tracing::subscriber::set_default(subscriber.finish()))
}

#[tokio::test]
async fn each_rule_that_applied_is_a_line_without_values() {
    let (lines, _listening) = listen();
    let entra = Tenant::of(Dialect::EntraID).await;
    let body = json!({"schemas": [USER], "userName": "ann", "department": "Secret Department", "shoeSize": "Secret 41"});
    let path = format!("/Users/{}", entra.made("/Users", body).await);
    entra.patch(&path, json!([{"op": "Replace", "path": "active", "value": "False"}])).await;
    let line = |level: &str, rule: &str, of: &str| (level.to_owned(), rule.to_owned(), json!(of));
    let mut events = lines.events();
    events.sort_by(|a, b| a.1.cmp(&b.1));
    assert_eq!(
        events,
        [
            line("DEBUG", "op_case", "replace"),
            line("DEBUG", "root_enterprise", "department"),
            line("DEBUG", "string_boolean", "active"),
            line("INFO", "unknown_attribute", "shoeSize"),
        ]
    );
    assert!(!lines.text().contains("Secret"), "{}", lines.text());
}

#[tokio::test]
async fn advice_to_change_the_identity_provider_is_given_once() {
    let (lines, _listening) = listen();
    let generic = Tenant::of(Dialect::Generic).await;
    let path = format!("/Users/{}", generic.user("ann").await);
    for _ in 0..3 {
        let manager = json!([{"op": "add", "path": format!("{ENTERPRISE}:manager"), "value": "M"}]);
        assert_eq!(generic.patch(&path, manager).await.status, 400);
    }
    let warnings: Vec<_> = lines.events().into_iter().filter(|(level, ..)| level == "WARN").collect();
    assert_eq!(warnings.len(), 1, "{}", lines.text());
    assert_eq!(warnings[0].1, "manager_form");
    assert!(lines.text().contains("EntraID"), "the advice names who has the rule: {}", lines.text());
}
