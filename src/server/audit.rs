//! Keeps audit logs within their retention (`spec.audit`): a task beside the requests, in steps so small that
//! no write waits for more than one.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::App;
use super::serving::Tenant;
use crate::store::StoreError;
use crate::store::audit::Retention;

/// How often logs are looked at.
const PRUNE_EVERY: Duration = Duration::from_mins(1);

/// Between two steps, so that pruning a large log leaves the writer to others.
const BREATHE: Duration = Duration::from_millis(20);

/// Removes rows of the tenants that are served once they are not to be kept any longer, now and every minute,
/// until the store closes.
pub async fn prune_audit_logs(app: Arc<App>) {
    let mut interval = tokio::time::interval(PRUNE_EVERY);
    let mut measured: HashSet<Arc<str>> = HashSet::new();
    loop {
        interval.tick().await;
        let tenants: Vec<Arc<Tenant>> = app.serving.load().tenants().map(Arc::clone).collect();
        let served: HashSet<_> = tenants.iter().map(|tenant| Arc::clone(&tenant.key.0)).collect();
        for gone in measured.difference(&served) {
            app.metrics.audit().forget(gone);
        }
        for tenant in tenants {
            match prune(&app, &tenant).await {
                Ok(()) => {}
                Err(StoreError::Closing) => return,
                Err(error) => {
                    tracing::warn!(tenant = %tenant.key.0, %error, "old rows of the audit log stay for now");
                }
            }
        }
        measured = served;
    }
}

async fn prune(app: &App, tenant: &Tenant) -> Result<(), StoreError> {
    let age =
        i64::try_from(tenant.audit.retention_seconds).map_or(SignedDuration::MAX, SignedDuration::from_secs);
    let before = Timestamp::now().checked_sub(age).unwrap_or(Timestamp::MIN);
    let retention = Retention { before, max_entries: tenant.audit.max_entries };
    let mut removed = 0;
    loop {
        let pruned = app.store.prune_changes(&tenant.key, retention).await?;
        removed += pruned.removed;
        let oldest = pruned.oldest.map(|oldest| oldest.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64());
        app.metrics.audit().measure(&tenant.key.0, pruned.entries, oldest, pruned.removed);
        if !pruned.more {
            break;
        }
        tokio::time::sleep(BREATHE).await;
    }
    if removed > 0 {
        tracing::debug!(tenant = %tenant.key.0, removed, "removed rows of the audit log that were past their retention");
    }
    Ok(())
}
