//! The highest rate at which a server keeps its promises: found by trying.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::recorder::Percentiles;
use super::run::Run;
use super::transport::Transport;

/// What counts as keeping up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LimitSettings {
    /// The 99th percentile of latency at most.
    pub p99: Duration,
    /// The share of requests without success at most.
    pub errors: f64,
    /// How long each rate is tried.
    pub step: Duration,
    /// The first rate, in requests per second.
    pub first: f64,
}

/// One rate that was tried.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitStep {
    /// Requests per second that were due.
    pub offered: f64,
    /// Requests per second that were answered.
    pub achieved: f64,
    /// Of all operations.
    pub latency: Percentiles,
    /// The share of requests without success.
    pub error_share: f64,
    /// Whether the server kept up.
    pub within: bool,
    /// Why not.
    pub reason: Option<String>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Limit {
    /// The highest rate that was tried and kept; none when the first was too much.
    pub rate: Option<f64>,
    /// The lowest rate that was tried and not kept; none when there was none.
    pub above: Option<f64>,
    /// In the order of trying.
    pub steps: Vec<LimitStep>,
}

/// A run of steps is over when the two sides are this close.
const CLOSE: f64 = 1.05;
/// Twenty doublings are a million times the first rate.
const MOST_STEPS: usize = 30;

/// Doubles the rate until the server does not keep up, and then halves the distance.
pub(super) async fn find<T: Transport + 'static>(
    run: &mut Run<'_, T>,
    settings: &LimitSettings,
    until: Instant,
) -> Limit {
    let mut limit = Limit { rate: None, above: None, steps: Vec::new() };
    let mut rate = settings.first;
    while limit.steps.len() < MOST_STEPS && Instant::now() + settings.step <= until {
        run.shared.stop.set(Some(until));
        if run.shared.is_over() {
            break;
        }
        let step = attempt(run, settings, rate, limit.steps.len()).await;
        if step.within {
            limit.rate = Some(rate);
        } else {
            limit.above = Some(rate);
        }
        limit.steps.push(step);
        rate = match (limit.rate, limit.above) {
            (_, None) => rate * 2.0,
            (None, Some(above)) => above / 4.0,
            (Some(below), Some(above)) if above / below <= CLOSE => break,
            (Some(below), Some(above)) => (below * above).sqrt(),
        };
        if rate < 1.0 {
            break;
        }
    }
    limit
}

async fn attempt<T: Transport + 'static>(
    run: &mut Run<'_, T>,
    settings: &LimitSettings,
    rate: f64,
    number: usize,
) -> LimitStep {
    let began = Instant::now();
    run.begin(&format!("limit {}: {rate:.0}/s", number + 1), true, Some(rate));
    run.shared.stop.set(Some(began + settings.step));
    run.stream(number as u64 + 1).await;
    let elapsed = began.elapsed().as_secs_f64();
    let recorder = run.shared.recorder.borrow();
    let total = recorder.phase().map(super::recorder::Phase::total).unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
    let (requests, failed) = (total.requests as f64, total.failed() as f64);
    let achieved = requests / elapsed;
    let latency = total.latency.percentiles();
    let error_share = failed / requests.max(1.0);
    let bar = settings.p99.as_secs_f64() * 1000.0;
    let reason = if latency.p99 > bar {
        Some(format!("p99 of {:.1} ms is above {bar} ms", latency.p99))
    } else if error_share > settings.errors {
        Some(format!("{:.2} % errors are above {} %", error_share * 100.0, settings.errors * 100.0))
    } else if achieved < rate * 0.95 {
        Some(format!("only {achieved:.0} of {rate:.0} requests/s were answered"))
    } else {
        None
    };
    LimitStep { offered: rate, achieved, latency, error_share, within: reason.is_none(), reason }
}
