//! The table for people and the JSON for machines.

use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

/// What a figure must not be beyond.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

/// All rows so far.
#[derive(Debug)]
pub(crate) struct Report {
    quick: bool,
    rows: Vec<Value>,
    notes: Vec<String>,
    failed: bool,
}

/// One measure's rounds, each the two sides and their ratio.
#[derive(Debug, Default)]
pub(crate) struct Rounds(pub(crate) Vec<(f64, f64)>);

impl Rounds {
    /// Median of the first side over the second.
    fn ratio(&self) -> f64 {
        median(self.0.iter().map(|(product, floor)| product / floor).collect())
    }
}

impl Report {
    pub(crate) fn new(quick: bool) -> Self {
        println!("{:<58} {:>12} {:>12} {:>9} {:>9}  verdict", "measure", "product", "floor", "figure", "bar");
        Self { quick, rows: Vec::new(), notes: Vec::new(), failed: false }
    }

    /// A ratio of two sides, in `unit`.
    pub(crate) fn ratio(&mut self, measure: &str, unit: &str, rounds: &Rounds, bar: Bar) {
        let product = median(rounds.0.iter().map(|round| round.0).collect());
        let floor = median(rounds.0.iter().map(|round| round.1).collect());
        let sides = [&format!("{product:.0} {unit}")[..], &format!("{floor:.0} {unit}")[..]];
        let detail = json!({"unit": unit, "product": product, "floor": floor, "rounds": rounds.0});
        self.row(measure, sides, rounds.ratio(), "×", bar, &detail);
    }

    /// A figure by itself, in `unit`.
    pub(crate) fn figure(&mut self, measure: &str, unit: &str, rounds: Vec<f64>, bar: Bar) {
        let detail = json!({"unit": unit, "rounds": rounds});
        let figure = median(rounds);
        self.row(measure, [&format!("{figure:.1} {unit}"), ""], figure, unit, bar, &detail);
    }

    fn row(
        &mut self,
        measure: &str,
        [product, floor]: [&str; 2],
        figure: f64,
        unit: &str,
        bar: Bar,
        detail: &Value,
    ) {
        let (held, sign, limit) = match bar {
            Bar::AtLeast(limit) => (figure >= limit, "≥", limit),
            Bar::AtMost(limit) => (figure <= limit, "≤", limit),
        };
        self.failed |= !held;
        let verdict = if held { "ok" } else { "MISSED" };
        println!(
            "{measure:<58} {product:>12} {floor:>12} {figure:>7.2} {unit:<1} {sign} {limit:<6} {verdict}",
        );
        self.rows.push(json!({
            "measure": measure, "figure": figure, "figureUnit": unit, "bar": format!("{sign} {limit}"),
            "held": held, "detail": detail,
        }));
    }

    /// Something to know about the run that has no bar.
    pub(crate) fn note(&mut self, note: String) {
        println!("  {note}");
        self.notes.push(note);
    }

    /// Writes `bench-results/NAME.json`; failure when a full run missed a bar.
    pub(crate) fn finish(self, name: &str, took: Duration) -> ExitCode {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let result = json!({
            "version": env!("CARGO_PKG_VERSION"), "cores": cores, "quick": self.quick,
            "seconds": took.as_secs(), "rows": self.rows, "notes": self.notes,
        });
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/bench-results");
        let name = format!("{name}{}.json", if self.quick { "-quick" } else { "" });
        fs::create_dir_all(folder).expect("the checkout is writable");
        let text = serde_json::to_string_pretty(&result).expect("JSON");
        fs::write(format!("{folder}/{name}"), text + "\n").expect("the checkout is writable");
        println!("{} s on {cores} cores; bench-results/{name}", took.as_secs());
        if self.failed && !self.quick { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// The middle value.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
