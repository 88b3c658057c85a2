//! What is measured of the tenants' audit logs, once a minute.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The size and age of audit logs.
#[derive(Debug, Clone, Default)]
pub struct AuditMetrics {
    entries: Family<TenantLabels, Gauge>,
    oldest: Family<TenantLabels, Gauge<f64, AtomicU64>>,
    pruned: Family<TenantLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TenantLabels {
    tenant: Arc<str>,
}

impl AuditMetrics {
    /// Adds the figures to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let Self { entries, oldest, pruned } = self;
        registry.register(
            "scim_audit_entries",
            "Rows in a tenant's audit log, counted once a minute",
            entries.clone(),
        );
        registry.register(
            "scim_audit_oldest_timestamp_seconds",
            "Time of the oldest row in a tenant's audit log, in seconds since 1970; absent when it is empty",
            oldest.clone(),
        );
        registry.register(
            "scim_audit_pruned",
            "Rows removed from a tenant's audit log because of spec.audit.retention or maxEntries",
            pruned.clone(),
        );
    }

    /// Sets a tenant's figures: rows that are there, the oldest's seconds since 1970, rows just removed.
    pub fn measure(&self, tenant: &Arc<str>, entries: u64, oldest: Option<f64>, removed: u64) {
        let labels = TenantLabels { tenant: Arc::clone(tenant) };
        self.entries.get_or_create(&labels).set(i64::try_from(entries).unwrap_or(i64::MAX));
        self.pruned.get_or_create(&labels).inc_by(removed);
        match oldest {
            Some(oldest) => {
                self.oldest.get_or_create(&labels).set(oldest);
            }
            None => {
                self.oldest.remove(&labels);
            }
        }
    }

    /// Drops the figures of a tenant that is not served any more.
    pub fn forget(&self, tenant: &Arc<str>) {
        let labels = TenantLabels { tenant: Arc::clone(tenant) };
        self.entries.remove(&labels);
        self.oldest.remove(&labels);
        self.pruned.remove(&labels);
    }
}
