//! Prometheus metrics of the server; components with their own metrics register them in the same registry.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::audit::AuditMetrics;
use super::leavers::LeaverMetrics;
use super::oauth::OAuthMetrics;
use super::token_use::TokenGauges;

/// The server's metrics.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<OperationLabels, Histogram>,
    dialect_rules: Family<RuleLabels, Counter>,
    dialect_rules_missed: Family<RuleLabels, Counter>,
    idempotency: Family<ReplayLabels, Counter>,
    schema_duplicates: Family<DuplicateLabels, Gauge>,
    tokens: TokenGauges,
    generation: Gauge,
    tenants: Gauge,
    connections: Gauge,
    panics: Counter,
    oauth: OAuthMetrics,
    audit: AuditMetrics,
    leavers: LeaverMetrics,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    tenant: Arc<str>,
    operation: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabels {
    tenant: Arc<str>,
    rule: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReplayLabels {
    tenant: Arc<str>,
    result: &'static str,
}

/// What became of a request that carries an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// It was answered for the first time, and the answer is kept.
    Stored,
    /// It was given its first answer again.
    Replayed,
    /// Its key came with another request before.
    Conflict,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DuplicateLabels {
    tenant: Arc<str>,
    resource_type: String,
    attribute: String,
}

/// From a quarter of a millisecond to eight seconds, doubling.
fn latency() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 2.0, 16))
}

impl Metrics {
    /// All metrics at zero; `others` registers what other components count.
    pub fn new(others: impl FnOnce(&mut Registry)) -> Self {
        let mut registry = Registry::default();
        let requests = Family::<RequestLabels, Counter>::default();
        let durations = Family::<OperationLabels, Histogram>::new_with_constructor(latency);
        let dialect_rules = Family::<RuleLabels, Counter>::default();
        let dialect_rules_missed = Family::<RuleLabels, Counter>::default();
        let idempotency = Family::<ReplayLabels, Counter>::default();
        let schema_duplicates = Family::<DuplicateLabels, Gauge>::default();
        let (generation, tenants, connections) = (Gauge::default(), Gauge::default(), Gauge::default());
        let panics = Counter::default();
        registry.register(
            "scim_requests",
            "Requests by tenant, operation and status; tenant is empty when no tenant was authenticated",
            requests.clone(),
        );
        registry.register(
            "scim_request_duration_seconds",
            "From a request's head to its answer",
            durations.clone(),
        );
        registry.register(
            "scim_dialect_rules",
            "Times a rule of a tenant's dialect made a request standard; the log has the attribute names",
            dialect_rules.clone(),
        );
        registry.register(
            "scim_dialect_rules_missed",
            "Requests of a Generic tenant that another dialect would have made standard, by the rule that it has",
            dialect_rules_missed.clone(),
        );
        registry.register(
            "scim_idempotency",
            "Requests with an Idempotency-Key: stored (answered first), replayed, conflict (the key came with another request)",
            idempotency.clone(),
        );
        registry.register(
            "scim_schema_duplicates",
            "Values of an attribute that became unique when several resources had them, counted when the configuration was applied; no new resource gets such a value",
            schema_duplicates.clone(),
        );
        registry.register(
            "scim_config_generation",
            "Configurations applied since the start",
            generation.clone(),
        );
        registry.register("scim_tenants", "Tenants served", tenants.clone());
        registry.register("scim_connections", "Open client connections", connections.clone());
        registry.register(
            "scim_panics",
            "Requests that ended in a panic, answered 500: please report each",
            panics.clone(),
        );
        registry.register(
            "scim_build",
            "Version of the binary",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        let oauth = OAuthMetrics::default();
        oauth.register(&mut registry);
        let audit = AuditMetrics::default();
        audit.register(&mut registry);
        let leavers = LeaverMetrics::default();
        leavers.register(&mut registry);
        let tokens = TokenGauges::default();
        registry.register_collector(Box::new(tokens.clone()));
        others(&mut registry);
        Self {
            registry,
            requests,
            durations,
            dialect_rules,
            dialect_rules_missed,
            idempotency,
            schema_duplicates,
            tokens,
            generation,
            tenants,
            connections,
            panics,
            oauth,
            audit,
            leavers,
        }
    }

    /// What OAuth 2.0 counts.
    #[must_use]
    pub fn oauth(&self) -> &OAuthMetrics {
        &self.oauth
    }

    /// The metrics of leavers and pending members.
    #[must_use]
    pub fn leavers(&self) -> &LeaverMetrics {
        &self.leavers
    }

    /// Counts one request. `tenant` is empty when none was authenticated: its name came from a stranger.
    pub fn request(&self, tenant: &Arc<str>, operation: &'static str, status: u16, duration: Duration) {
        self.requests.get_or_create(&RequestLabels { tenant: Arc::clone(tenant), operation, status }).inc();
        self.durations.get_or_create(&OperationLabels { operation }).observe(duration.as_secs_f64());
    }

    /// Counts a request that needed a rule of another dialect.
    pub fn dialect_rule_missed(&self, tenant: &Arc<str>, rule: &'static str) {
        let labels = RuleLabels { tenant: Arc::clone(tenant), rule };
        self.dialect_rules_missed.get_or_create(&labels).inc();
    }

    /// Counts the uses of a dialect's rule.
    pub fn dialect_rule(&self, tenant: &Arc<str>, rule: &'static str, count: u64) {
        let labels = RuleLabels { tenant: Arc::clone(tenant), rule };
        self.dialect_rules.get_or_create(&labels).inc_by(count);
    }

    /// Counts a request with an idempotency key.
    pub fn idempotency(&self, tenant: &Arc<str>, replay: Replay) {
        let result = match replay {
            Replay::Stored => "stored",
            Replay::Replayed => "replayed",
            Replay::Conflict => "conflict",
        };
        self.idempotency.get_or_create(&ReplayLabels { tenant: Arc::clone(tenant), result }).inc();
    }

    /// Sets how many values of an attribute that must be unique are there twice. Labels are names of the
    /// configuration.
    pub fn schema_duplicates(&self, tenant: &Arc<str>, resource_type: &str, attribute: &str, count: u64) {
        let (resource_type, attribute) = (resource_type.to_owned(), attribute.to_owned());
        let labels = DuplicateLabels { tenant: Arc::clone(tenant), resource_type, attribute };
        self.schema_duplicates.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Forgets what [`Self::schema_duplicates`] said, before it is counted anew.
    pub fn forget_schema_duplicates(&self) {
        self.schema_duplicates.clear();
    }

    /// Counts a configuration that took effect.
    pub fn configured(&self, tenants: usize) {
        self.generation.inc();
        self.tenants.set(i64::try_from(tenants).unwrap_or(i64::MAX));
    }

    /// The gauges of bearer tokens.
    #[must_use]
    pub fn tokens(&self) -> &TokenGauges {
        &self.tokens
    }

    /// Open connections.
    #[must_use]
    pub fn connections(&self) -> &Gauge {
        &self.connections
    }

    /// The tenants' audit logs.
    #[must_use]
    pub fn audit(&self) -> &AuditMetrics {
        &self.audit
    }

    /// Counts a panic.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// The text that `/metrics` answers.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_requests_carry_tenant_operation_and_status() {
        let metrics = Metrics::new(|_| {});
        metrics.request(&Arc::from("identity/acme"), "get", 200, Duration::from_millis(1));
        let text = metrics.encode().unwrap();
        assert!(
            text.contains(r#"scim_requests_total{tenant="identity/acme",operation="get",status="200"} 1"#),
            "{text}"
        );
        assert!(text.contains(r#"scim_request_duration_seconds_count{operation="get"} 1"#), "{text}");
    }
}
