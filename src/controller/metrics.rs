//! What the controller counts, for Prometheus.

use std::{fmt, sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::{Registry, Unit},
};

/// The controller's metrics.
pub(crate) struct Metrics {
    registry: Registry,
    reconciles: Family<ReconcileLabels, Counter>,
    durations: Family<KindLabels, Histogram>,
    errors: Family<ErrorLabels, Counter>,
    depth: Family<QueueLabels, Gauge>,
    writes: Family<WriteLabels, Counter>,
    objects: Family<KindLabels, Gauge>,
    unreadable: Family<KindLabels, Gauge>,
    watch_failures: Family<KindLabels, Counter>,
    pod_reports: Family<ResultLabels, Counter>,
    events_dropped: Counter<u64, AtomicU64>,
    leader: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    kind: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    kind: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabels {
    queue: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    kind: String,
    verb: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

impl Metrics {
    /// All metrics at zero.
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        let metrics = Self {
            reconciles: Family::default(),
            // From a millisecond to half a minute, doubling.
            durations: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 16))),
            errors: Family::default(),
            depth: Family::default(),
            writes: Family::default(),
            objects: Family::default(),
            unreadable: Family::default(),
            watch_failures: Family::default(),
            pod_reports: Family::default(),
            events_dropped: Counter::default(),
            leader: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register(
            "scim_controller_reconciles",
            "Reconciles by kind and result: ok, error",
            metrics.reconciles.clone(),
        );
        registry.register_with_unit(
            "scim_controller_reconcile_duration",
            "How long reconciles took",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        registry.register(
            "scim_controller_errors",
            "Failed reconciles by kind and reason",
            metrics.errors.clone(),
        );
        registry.register(
            "scim_controller_queue_depth",
            "Objects that wait for a turn",
            metrics.depth.clone(),
        );
        registry.register(
            "scim_controller_api_writes",
            "Writes to the API server by kind and verb",
            metrics.writes.clone(),
        );
        registry.register("scim_controller_objects", "Objects known, by kind", metrics.objects.clone());
        registry.register(
            "scim_controller_objects_unreadable",
            "Objects that are stored but cannot be read, by kind: their definition is older or newer than this binary",
            metrics.unreadable.clone(),
        );
        registry.register(
            "scim_controller_watch_failures",
            "Failures of a watch, each followed by another try",
            metrics.watch_failures.clone(),
        );
        registry.register(
            "scim_controller_pod_reports",
            "Questions to server pods what they run, by result: ok, error",
            metrics.pod_reports.clone(),
        );
        registry.register(
            "scim_controller_events_dropped",
            "Events that were not published because too many waited or the API server refused them",
            metrics.events_dropped.clone(),
        );
        registry.register(
            "scim_controller_leader",
            "1 while this process is the one that acts, 0 while it stands by",
            metrics.leader.clone(),
        );
        registry.register(
            "scim_controller_build",
            "Version of the binary",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        Self { registry, ..metrics }
    }

    /// Counts a reconcile; `error` is the reason of a failed one.
    pub(crate) fn reconciled(&self, kind: &'static str, duration: Duration, error: Option<&'static str>) {
        let result = if error.is_some() { "error" } else { "ok" };
        self.reconciles.get_or_create(&ReconcileLabels { kind, result }).inc();
        self.durations.get_or_create(&KindLabels { kind }).observe(duration.as_secs_f64());
        if let Some(reason) = error {
            self.errors.get_or_create(&ErrorLabels { kind, reason }).inc();
        }
    }

    /// Counts a write to the API server.
    pub(crate) fn wrote(&self, kind: &str, verb: &'static str) {
        self.writes.get_or_create(&WriteLabels { kind: kind.to_owned(), verb }).inc();
    }

    /// Sets how many objects of a kind are known, and how many of them cannot be read.
    pub(crate) fn objects(&self, kind: &'static str, known: usize, unreadable: usize) {
        let set = |family: &Family<KindLabels, Gauge>, count: usize| {
            family.get_or_create(&KindLabels { kind }).set(i64::try_from(count).unwrap_or(i64::MAX));
        };
        set(&self.objects, known);
        set(&self.unreadable, unreadable);
    }

    /// Sets the depth of a queue.
    pub(crate) fn depth(&self, queue: &'static str, depth: usize) {
        self.depth.get_or_create(&QueueLabels { queue }).set(i64::try_from(depth).unwrap_or(i64::MAX));
    }

    /// Counts a failure of a watch.
    pub(crate) fn watch_failed(&self, kind: &'static str) {
        self.watch_failures.get_or_create(&KindLabels { kind }).inc();
    }

    /// Counts a question to a pod.
    pub(crate) fn pod_asked(&self, answered: bool) {
        let result = if answered { "ok" } else { "error" };
        self.pod_reports.get_or_create(&ResultLabels { result }).inc();
    }

    /// Counts an event that nobody will see.
    pub(crate) fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    /// Says whether this process leads.
    pub(crate) fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// The text that `/metrics` answers.
    pub(crate) fn encode(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_metrics_name_kind_result_reason_and_verb() {
        let metrics = Metrics::new();
        metrics.reconciled("ScimTenant", Duration::from_millis(3), Some("conflict"));
        metrics.wrote("Secret", "apply");
        metrics.leads(true);
        let text = metrics.encode().unwrap();
        for line in [
            r#"scim_controller_reconciles_total{kind="ScimTenant",result="error"} 1"#,
            r#"scim_controller_errors_total{kind="ScimTenant",reason="conflict"} 1"#,
            r#"scim_controller_reconcile_duration_seconds_count{kind="ScimTenant"} 1"#,
            r#"scim_controller_api_writes_total{kind="Secret",verb="apply"} 1"#,
            "scim_controller_leader 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
