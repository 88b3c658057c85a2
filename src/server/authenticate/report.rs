//! `/tokens` on the admin port: every bearer token that is configured, for a person who wants to know which one may
//! go. Programs read the same from metrics.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::super::serving::Serving;
use super::bearer::Token;

const COLUMNS: [&str; 6] = ["TENANT", "TOKEN", "SCOPES", "ACCEPTED", "UNTIL", "LAST USED"];

/// A table with a line for each token, by tenant.
pub(in super::super) fn table(serving: &Serving, now: Timestamp) -> String {
    let mut tenants: Vec<_> = serving.tenants().collect();
    tenants.sort_by(|a, b| a.key.cmp(&b.key));
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    for tenant in tenants {
        rows.extend(tenant.tokens.iter().map(|token| row(&tenant.key.0, token, now)));
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn row(tenant: &str, token: &Token, now: Timestamp) -> [String; 6] {
    let second = |time: Timestamp| Timestamp::from_second(time.as_second()).unwrap_or(time).to_string();
    let accepted = match token.not_before {
        _ if token.has_ended(now) => "no, expired".to_owned(),
        Some(begin) if !token.has_begun(now) => format!("from {}", second(begin)),
        _ => "yes".to_owned(),
    };
    [
        tenant.to_owned(),
        token.name.to_string(),
        token.scopes.to_string(),
        accepted,
        token.expires_at.map_or("-".to_owned(), second),
        token.remembered.last_used.get().map_or("never".to_owned(), second),
    ]
}
