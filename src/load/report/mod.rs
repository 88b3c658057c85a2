//! What a run found, as one value with stable names: the JSON report is it, the table and the page are made of it.

mod html;
mod plot;
mod text;

use std::collections::BTreeMap;

use serde::Serialize;

use super::compare::Comparison;
use super::limit::Limit;
use super::prepare::ServiceProvider;
use super::recorder::{Latencies, Percentiles, Phase, Row, Second};
use super::run::{Cleanup, Outcome, Settings};

/// Rises when a field changes its meaning or goes; new fields do not count.
const SCHEMA_VERSION: u32 = 1;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Everything was accepted, and it is all there.
    Passed,
    /// Something acknowledged was lost, doubled or changed.
    Failed,
    /// Nothing was lost, as far as can be said, but some requests were refused or given up, or not all could be compared.
    Incomplete,
}

/// A report. Latencies are in milliseconds, from when a request was due.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "docs/load.md has each")]
pub struct Report {
    pub schema_version: u32,
    pub version: &'static str,
    pub started_at: String,
    pub duration_seconds: f64,
    pub verdict: Verdict,
    pub configuration: Configuration,
    pub targets: Vec<ServiceProvider>,
    /// Of the measured phases together.
    pub total: Measured,
    /// Of the measured phases, by operation.
    pub operations: Vec<Measured>,
    pub phases: Vec<PhaseReport>,
    pub retries: Retries,
    pub refusals: Vec<Refused>,
    pub timeline: Vec<Second>,
    pub comparison: Comparison,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cleanup: Option<Cleanup>,
    pub cut_short: bool,
    pub interrupted: bool,
    pub generator: Generator,
}

/// What was asked for.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are the options'")]
pub struct Configuration {
    pub profile: &'static str,
    pub tenants: usize,
    pub users: u32,
    pub groups: u32,
    pub memberships: u64,
    pub rate: Option<f64>,
    pub populate_rate: Option<f64>,
    pub duration_seconds: f64,
    pub concurrency: usize,
    pub seed: u64,
    pub prefix: String,
    pub timeout_seconds: f64,
    pub max_requests: u64,
    pub compress: f64,
    pub max_backoff_seconds: f64,
    pub members_per_request: usize,
    pub keep: bool,
    pub find_limit: bool,
}

/// One row of the table.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "docs/load.md has each")]
pub struct Measured {
    pub operation: &'static str,
    pub requests: u64,
    pub errors: u64,
    /// By status, or `timeout`, `cut`, `connect`.
    pub errors_by_status: BTreeMap<String, u64>,
    pub retries: u64,
    /// From when a request was due.
    pub latency: Percentiles,
    /// From when it was sent.
    pub service: Percentiles,
    /// Points of the latency's distribution: share and milliseconds.
    pub distribution: Vec<(f64, f64)>,
}

/// One part of the run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "docs/load.md has each")]
pub struct PhaseReport {
    pub name: String,
    /// Whether it is part of the totals.
    pub measured: bool,
    pub start_seconds: f64,
    pub duration_seconds: f64,
    /// Of the time of the whole run.
    pub share: f64,
    pub requests: u64,
    pub errors: u64,
    pub requests_per_second: f64,
    pub latency: Percentiles,
    pub operations: Vec<Measured>,
}

/// How requests ended that were tried more than once.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Retries {
    /// Requests that ended well after 0, 1, 2, … retries.
    pub ended_well_after: Vec<u64>,
    /// Requests that were refused, or that no try ended well.
    pub given_up: u64,
}

/// Requests of one kind that were refused or given up.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// What for.
    pub operation: &'static str,
    /// The last status; 0 without an answer.
    pub status: u16,
    /// How many.
    pub count: u64,
    /// What the server said to the first.
    pub detail: String,
}

/// Whether the figures are the server's or our own.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "docs/load.md has each")]
pub struct Generator {
    pub cpu_seconds: Option<f64>,
    /// Of one core, over the whole run.
    pub cpu_share: Option<f64>,
    /// How late requests were sent though a connection was free.
    pub lateness: Percentiles,
}

impl Report {
    /// Of a run that began at `started_at`.
    #[must_use]
    pub fn new(settings: &Settings, outcome: &Outcome, started_at: String) -> Self {
        let recorder = outcome.shared.recorder.borrow();
        let elapsed = outcome.elapsed.as_secs_f64();
        let rows = recorder.rows(|phase| phase.is_measured);
        let mut total = Row::default();
        for row in rows.values() {
            total.add(row);
        }
        let comparison = outcome.comparison.clone();
        let refusals: Vec<Refused> = recorder
            .refusals
            .iter()
            .map(|((operation, status), (detail, count))| Refused {
                operation: operation.name(),
                status: *status,
                count: *count,
                detail: detail.clone(),
            })
            .collect();
        let verdict = if !comparison.is_clean() {
            Verdict::Failed
        } else if !comparison.complete
            || recorder.given_up > 0
            || outcome.cleanup.as_ref().is_some_and(|it| it.left > 0)
        {
            Verdict::Incomplete
        } else {
            Verdict::Passed
        };
        let cpu = outcome.cpu.map(|cpu| cpu.as_secs_f64());
        Self {
            schema_version: SCHEMA_VERSION,
            version: env!("CARGO_PKG_VERSION"),
            started_at,
            duration_seconds: seconds(elapsed),
            verdict,
            configuration: configuration(settings),
            targets: outcome.providers.clone(),
            total: measured("all", &total),
            operations: rows.iter().map(|(operation, row)| measured(operation.name(), row)).collect(),
            phases: recorder.phases.iter().map(|phase| phase_report(phase, elapsed)).collect(),
            retries: Retries { ended_well_after: recorder.cured.clone(), given_up: recorder.given_up },
            refusals,
            timeline: recorder.timeline.clone(),
            comparison,
            limit: outcome.limit.clone(),
            cleanup: outcome.cleanup.clone(),
            cut_short: outcome.is_cut_short,
            interrupted: outcome.was_interrupted,
            generator: Generator {
                cpu_seconds: cpu,
                cpu_share: cpu.map(|cpu| seconds(cpu / elapsed.max(0.001))),
                lateness: recorder.lateness.percentiles(),
            },
        }
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> String {
        // Nothing in it can fail: names are text, and numbers are finite.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// For a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        text::render(self)
    }

    /// One page for a browser, with everything in it.
    #[must_use]
    pub fn html(&self) -> String {
        html::render(self)
    }
}

fn configuration(settings: &Settings) -> Configuration {
    Configuration {
        profile: settings.profile.name(),
        tenants: settings.targets.len(),
        users: settings.users,
        groups: settings.groups,
        memberships: settings.memberships,
        rate: settings.rate,
        populate_rate: settings.populate_rate,
        duration_seconds: settings.duration.as_secs_f64(),
        concurrency: settings.concurrency,
        seed: settings.seed,
        prefix: settings.prefix.clone(),
        timeout_seconds: settings.timeout.as_secs_f64(),
        max_requests: settings.max_requests,
        compress: settings.compress,
        max_backoff_seconds: settings.max_backoff.as_secs_f64(),
        members_per_request: settings.members_per_request,
        keep: settings.keep,
        find_limit: settings.find_limit.is_some(),
    }
}

fn measured(operation: &'static str, row: &Row) -> Measured {
    Measured {
        operation,
        requests: row.requests,
        errors: row.failed(),
        errors_by_status: row.errors.clone(),
        retries: row.retries,
        latency: row.latency.percentiles(),
        service: row.service.percentiles(),
        distribution: distribution(&row.latency),
    }
}

/// Enough points for a plot: each next one leaves a third fewer above it.
fn distribution(latencies: &Latencies) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    if latencies.count() == 0 {
        return points;
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
    let least = 1.0 / latencies.count() as f64;
    let mut above = 1.0;
    while above >= least {
        points.push((seconds(1.0 - above), latencies.quantile(1.0 - above)));
        above *= 2.0 / 3.0;
    }
    points.push((1.0, latencies.quantile(1.0)));
    points
}

fn phase_report(phase: &Phase, elapsed: f64) -> PhaseReport {
    let total = phase.total();
    let duration = phase.duration.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
    let rate = total.requests as f64 / duration.max(0.000_001);
    PhaseReport {
        name: phase.name.clone(),
        measured: phase.is_measured,
        start_seconds: seconds(phase.start.as_secs_f64()),
        duration_seconds: seconds(duration),
        share: seconds(duration / elapsed.max(0.000_001)),
        requests: total.requests,
        errors: total.failed(),
        requests_per_second: (rate * 10.0).round() / 10.0,
        latency: total.latency.percentiles(),
        operations: phase.rows.iter().map(|(operation, row)| measured(operation.name(), row)).collect(),
    }
}

/// With six digits after the point.
fn seconds(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
