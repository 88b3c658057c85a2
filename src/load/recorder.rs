//! What is measured: latencies by operation, answers by status, and both over time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::request::Operation;

/// Latencies, with three significant digits.
#[derive(Debug, Clone)]
pub struct Latencies(Option<Histogram<u64>>);

/// Percentiles of latencies, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names say it")]
pub struct Percentiles {
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        // The digits are allowed, so that this cannot fail.
        Self(Histogram::new(3).ok())
    }
}

impl Latencies {
    /// Adds one.
    pub fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX >> 1).max(1);
        if let Some(histogram) = &mut self.0 {
            // It grows by itself.
            let _ = histogram.record(micros);
        }
    }

    /// Adds all of another.
    pub fn add(&mut self, other: &Self) {
        if let (Some(histogram), Some(other)) = (&mut self.0, &other.0) {
            let _ = histogram.add(other);
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        if let Some(histogram) = &mut self.0 {
            histogram.reset();
        }
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, Histogram::len)
    }

    /// The latency, in milliseconds, below which this share of all are.
    #[must_use]
    pub fn quantile(&self, share: f64) -> f64 {
        self.0.as_ref().map_or(0.0, |histogram| millis(histogram.value_at_quantile(share)))
    }

    /// The usual ones.
    #[must_use]
    pub fn percentiles(&self) -> Percentiles {
        Percentiles {
            mean: self.0.as_ref().map_or(0.0, |histogram| round(histogram.mean() / 1000.0)),
            p50: self.quantile(0.5),
            p90: self.quantile(0.9),
            p99: self.quantile(0.99),
            p999: self.quantile(0.999),
            max: self.0.as_ref().map_or(0.0, |histogram| millis(histogram.max())),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a run are far below 2^52")]
fn millis(micros: u64) -> f64 {
    round(micros as f64 / 1000.0)
}

/// To microseconds.
fn round(millis: f64) -> f64 {
    (millis * 1000.0).round() / 1000.0
}

/// One row of the report's table.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// Tries, retries included.
    pub requests: u64,
    /// Tries that were not answered with success, by status or by `timeout`, `cut`, `connect`.
    pub errors: BTreeMap<String, u64>,
    /// Tries after the first of a request.
    pub retries: u64,
    /// From when each try was due.
    pub latency: Latencies,
    /// From when each try was sent.
    pub service: Latencies,
}

impl Row {
    /// Tries that were not answered with success.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Adds all of another.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.retries += other.retries;
        for (status, count) in &other.errors {
            *self.errors.entry(status.clone()).or_default() += count;
        }
        self.latency.add(&other.latency);
        self.service.add(&other.service);
    }
}

/// One second of the run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Second {
    /// Since the beginning.
    pub second: u64,
    /// Tries that ended in it.
    pub requests: u64,
    /// Those without success.
    pub errors: u64,
    /// Of their latencies, in milliseconds.
    pub p50: f64,
    /// Of their latencies, in milliseconds.
    pub p99: f64,
    /// Of their latencies, in milliseconds.
    pub max: f64,
}

/// One part of the run.
#[derive(Debug, Clone)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// Whether its requests count for the report's totals; setting up and reading back do not.
    pub is_measured: bool,
    /// Since the beginning of the run.
    pub start: Duration,
    /// Of the phase, all its parts together.
    pub duration: Duration,
    /// When its current part began.
    since: Option<Instant>,
    /// By operation.
    pub rows: BTreeMap<Operation, Row>,
}

impl Phase {
    /// All operations together.
    #[must_use]
    pub fn total(&self) -> Row {
        let mut total = Row::default();
        for row in self.rows.values() {
            total.add(row);
        }
        total
    }
}

/// One try, as measured.
#[derive(Debug, Clone)]
pub struct Sample<'a> {
    /// What for.
    pub operation: Operation,
    /// When it was due.
    pub due: Instant,
    /// When it was sent.
    pub sent: Instant,
    /// When it ended.
    pub ended: Instant,
    /// None when it was answered with success.
    pub error: Option<&'a str>,
    /// Whether it is not the first of its request.
    pub is_retry: bool,
}

/// Most seconds of a timeline; a longer run's are not kept.
const LONGEST_TIMELINE: usize = 24 * 3600;

/// Measures a run.
#[derive(Debug)]
pub struct Recorder {
    start: Instant,
    /// Ended and current.
    pub phases: Vec<Phase>,
    current_phase: usize,
    /// Ended seconds.
    pub timeline: Vec<Second>,
    second: u64,
    current: Latencies,
    current_errors: u64,
    /// By the number of the retry that cured it.
    pub cured: Vec<u64>,
    /// Requests that were not answered with success by any try.
    pub given_up: u64,
    /// How late the generator itself sent what was due, when a connection was free.
    pub lateness: Latencies,
    /// Examples of refusals: what was refused, with how many more like it.
    pub refusals: BTreeMap<(Operation, u16), (String, u64)>,
}

impl Recorder {
    /// Begins now.
    #[must_use]
    pub fn new(start: Instant) -> Self {
        Self {
            start,
            phases: Vec::new(),
            current_phase: 0,
            timeline: Vec::new(),
            second: 0,
            current: Latencies::default(),
            current_errors: 0,
            cured: Vec::new(),
            given_up: 0,
            lateness: Latencies::default(),
            refusals: BTreeMap::new(),
        }
    }

    /// A phase begins, or goes on when there was one of this name.
    pub fn begin(&mut self, name: &str, is_measured: bool, now: Instant) {
        self.end(now);
        self.current_phase = self.phases.iter().position(|phase| phase.name == name).unwrap_or_else(|| {
            let (start, duration, rows) = (now - self.start, Duration::ZERO, BTreeMap::new());
            self.phases.push(Phase {
                name: name.to_owned(),
                is_measured,
                start,
                duration,
                since: None,
                rows,
            });
            self.phases.len() - 1
        });
        self.phases[self.current_phase].since = Some(now);
    }

    /// The phase ends.
    pub fn end(&mut self, now: Instant) {
        if let Some(phase) = self.phases.get_mut(self.current_phase)
            && let Some(since) = phase.since.take()
        {
            phase.duration += now.saturating_duration_since(since);
        }
        self.tick(now);
    }

    /// The current phase.
    #[must_use]
    pub fn phase(&self) -> Option<&Phase> {
        self.phases.get(self.current_phase)
    }

    /// Adds one try.
    pub fn record(&mut self, sample: &Sample<'_>) {
        self.tick(sample.ended);
        let latency = sample.ended.saturating_duration_since(sample.due);
        self.current.record(latency);
        self.current_errors += u64::from(sample.error.is_some());
        let Some(phase) = self.phases.get_mut(self.current_phase) else { return };
        let row = phase.rows.entry(sample.operation).or_default();
        row.requests += 1;
        row.retries += u64::from(sample.is_retry);
        row.latency.record(latency);
        row.service.record(sample.ended.saturating_duration_since(sample.sent));
        if let Some(error) = sample.error {
            match row.errors.get_mut(error) {
                Some(count) => *count += 1,
                None => drop(row.errors.insert(error.to_owned(), 1)),
            }
        }
    }

    /// A request ended well after this many retries.
    pub fn cured(&mut self, retries: u32) {
        let at = retries as usize;
        if self.cured.len() <= at {
            self.cured.resize(at + 1, 0);
        }
        self.cured[at] += 1;
    }

    /// A request was refused: the first of its kind is kept as an example.
    pub fn refused(&mut self, operation: Operation, status: u16, detail: impl FnOnce() -> String) {
        let entry = self.refusals.entry((operation, status)).or_insert_with(|| (detail(), 0));
        entry.1 += 1;
    }

    /// Closes the seconds that are over.
    pub fn tick(&mut self, now: Instant) {
        let second = (now - self.start).as_secs();
        while self.second < second {
            if self.timeline.len() < LONGEST_TIMELINE {
                let quantile =
                    |share| if self.current.count() == 0 { 0.0 } else { self.current.quantile(share) };
                self.timeline.push(Second {
                    second: self.second,
                    requests: self.current.count(),
                    errors: self.current_errors,
                    p50: quantile(0.5),
                    p99: quantile(0.99),
                    max: quantile(1.0),
                });
            }
            self.current.clear();
            self.current_errors = 0;
            self.second += 1;
        }
    }

    /// Everything so far, over all phases that match.
    #[must_use]
    pub fn rows(&self, of: impl Fn(&Phase) -> bool) -> BTreeMap<Operation, Row> {
        let mut rows: BTreeMap<Operation, Row> = BTreeMap::new();
        for phase in self.phases.iter().filter(|phase| of(phase)) {
            for (operation, row) in &phase.rows {
                rows.entry(*operation).or_default().add(row);
            }
        }
        rows
    }
}
