//! Metrics of leavers and pending members, by tenant.
//!
//! The figures are the store's, whatever this server has seen of them: they are read when metrics are.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What one tenant has retained and awaits.
#[derive(Debug, Clone)]
pub struct TenantFigures {
    /// Whose.
    pub tenant: Arc<str>,
    /// Deleted resources that can be brought back.
    pub retained: u64,
    /// When the oldest of them was deleted, in seconds since 1970.
    pub oldest: Option<i64>,
    /// Members that were pushed and do not exist yet.
    pub pending: u64,
}

/// The metrics. Cloning shares the figures.
#[derive(Debug, Clone, Default)]
pub struct LeaverMetrics {
    figures: Arc<Mutex<Vec<TenantFigures>>>,
    purged: Family<TenantLabel, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TenantLabel {
    tenant: Arc<str>,
}

impl LeaverMetrics {
    /// Adds the metrics to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "scim_retained_purged",
            "Deleted resources that were erased because their retention was over",
            self.purged.clone(),
        );
        registry.register_collector(Box::new(self.clone()));
    }

    /// What the store says now; a tenant that is not among it has nothing.
    pub fn set(&self, figures: Vec<TenantFigures>) {
        *self.figures.lock().unwrap_or_else(PoisonError::into_inner) = figures;
    }

    /// Counts erased resources.
    pub fn purged(&self, tenant: &Arc<str>, count: u64) {
        self.purged.get_or_create(&TenantLabel { tenant: Arc::clone(tenant) }).inc_by(count);
    }
}

impl Collector for LeaverMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut gauge = |name, help, value: fn(&TenantFigures) -> Option<i64>| {
            let family = Family::<TenantLabel, Gauge>::default();
            for figures in &figures {
                if let Some(value) = value(figures) {
                    family.get_or_create(&TenantLabel { tenant: Arc::clone(&figures.tenant) }).set(value);
                }
            }
            family.encode(encoder.encode_descriptor(name, help, None, family.metric_type())?)
        };
        gauge("scim_retained_resources", "Deleted resources that an operator can restore", |figures| {
            i64::try_from(figures.retained).ok()
        })?;
        gauge(
            "scim_retained_oldest_timestamp_seconds",
            "When the resource was deleted that has been retained for longest, in seconds since 1970",
            |figures| figures.oldest,
        )?;
        gauge("scim_pending_members", "Group members that were pushed and do not exist yet", |figures| {
            i64::try_from(figures.pending).ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;

    use super::*;

    #[test]
    fn tenants_show_what_they_have_now_and_what_was_purged() {
        let metrics = LeaverMetrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let tenant: Arc<str> = Arc::from("identity/acme");
        metrics.set(vec![TenantFigures {
            tenant: Arc::clone(&tenant),
            retained: 2,
            oldest: Some(5),
            pending: 0,
        }]);
        metrics.purged(&tenant, 3);
        let mut out = String::new();
        text::encode(&mut out, &registry).unwrap();
        for line in [
            r#"scim_retained_purged_total{tenant="identity/acme"} 3"#,
            r#"scim_retained_resources{tenant="identity/acme"} 2"#,
            r#"scim_retained_oldest_timestamp_seconds{tenant="identity/acme"} 5"#,
            r#"scim_pending_members{tenant="identity/acme"} 0"#,
        ] {
            assert!(out.contains(line), "{line}:\n{out}");
        }
        metrics.set(Vec::new());
        let mut out = String::new();
        text::encode(&mut out, &registry).unwrap();
        assert!(!out.contains("scim_retained_resources{"), "{out}");
    }
}
