//! What was written to the API server, by its own count.

use std::collections::BTreeMap;
use std::fmt;

use crate::operator::Operator;

/// Verbs that change something.
const WRITES: [&str; 6] = ["APPLY", "CREATE", "DELETE", "PATCH", "POST", "PUT"];

/// Requests and their bytes, by resource.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    requests: BTreeMap<String, f64>,
    bytes: BTreeMap<String, f64>,
}

impl Writes {
    pub(crate) async fn of(operator: &Operator) -> Self {
        let mut writes = Self::default();
        for line in operator.api_server_metrics().await.lines() {
            let Some((name, rest)) = line.split_once('{') else { continue };
            let Some((labels, value)) = rest.split_once("} ") else { continue };
            let counts = match name {
                "apiserver_request_total" => &mut writes.requests,
                "apiserver_request_body_size_bytes_sum" => &mut writes.bytes,
                _ => continue,
            };
            let label = |wanted: &str| {
                let labels = labels.split(',').filter_map(|label| label.split_once('='));
                labels.filter(|(name, _)| *name == wanted).map(|(_, value)| value.trim_matches('"')).next()
            };
            let verb = label("verb").unwrap_or_default().to_uppercase();
            let resource = label("resource").unwrap_or_default();
            // Leases are the heartbeats of the controller and of the API server itself.
            if WRITES.contains(&verb.as_str()) && resource != "leases" {
                let subresource = label("subresource").filter(|name| !name.is_empty());
                let what = subresource.map_or_else(|| resource.to_owned(), |sub| format!("{resource}/{sub}"));
                *counts.entry(what).or_default() += value.trim().parse::<f64>().unwrap_or_default();
            }
        }
        writes
    }

    pub(crate) fn since(self, before: &Self) -> Self {
        let minus = |now: BTreeMap<String, f64>, before: &BTreeMap<String, f64>| {
            let differences = now.into_iter().map(|(what, count)| {
                let before = before.get(&what).copied().unwrap_or_default();
                (what, count - before)
            });
            differences.filter(|(_, count)| *count > 0.0).collect()
        };
        Self { requests: minus(self.requests, &before.requests), bytes: minus(self.bytes, &before.bytes) }
    }

    pub(crate) fn count(&self) -> f64 {
        self.requests.values().sum()
    }

    pub(crate) fn bytes(&self) -> f64 {
        self.bytes.values().sum()
    }
}

impl fmt::Display for Writes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each: Vec<_> = self.requests.iter().map(|(what, count)| format!("{count} {what}")).collect();
        write!(
            out,
            "{} ({:.0} kB)",
            if each.is_empty() { "none".to_owned() } else { each.join(", ") },
            self.bytes() / 1000.0
        )
    }
}
