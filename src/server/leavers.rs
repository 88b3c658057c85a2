//! Leavers while the server runs: what is restorable, restoring it, and erasing it when its time is up
//! (`spec.lifecycle`).

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::scim::error::ScimError;
use crate::store::{Command, LeaverFigures, Origin, Outcome, Refusal, Retained, StoreError, Unit, Write};
use crate::telemetry::leavers::TenantFigures;

use super::App;
use super::context::unexpected;
use super::serving::Tenant;

/// Time between looks for resources whose retention is over.
const PURGE_EVERY: Duration = Duration::from_secs(5);

/// Resources erased in one transaction.
const STEP: usize = 100;

/// Who erases, in the audit log.
const RETENTION: &str = "retention";

/// A deleted resource that can be restored, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restorable {
    /// `NAMESPACE/NAME` of its tenant.
    pub tenant: String,
    /// The name of its type.
    pub resource_type: String,
    /// Its id.
    pub id: String,
    /// Its `userName`, or else its `displayName`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its `externalId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// When it was deleted (RFC 3339).
    pub deleted: String,
    /// Until when it can be restored (RFC 3339).
    pub until: String,
}

/// A resource that was restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// `NAMESPACE/NAME` of its tenant.
    pub tenant: String,
    /// The name of its type.
    pub resource_type: String,
    /// Its id.
    pub id: String,
    /// The groups it is in again, direct and indirect: their names, or else their ids.
    pub groups: Vec<String>,
}

/// Sets the metrics to what the store says now.
pub async fn measure(app: &App) -> Result<(), StoreError> {
    let figures =
        app.store.leavers().await?.into_iter().map(|LeaverFigures { tenant, retained, oldest, pending }| {
            TenantFigures { tenant: tenant.0, retained, oldest: oldest.map(Timestamp::as_second), pending }
        });
    app.metrics.leavers().set(figures.collect());
    Ok(())
}

/// Erases what has been retained long enough, now and every few seconds, until the store closes.
pub async fn purge_leavers(app: Arc<App>) {
    let mut interval = tokio::time::interval(PURGE_EVERY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        match purge(&app).await {
            Ok(()) => {}
            Err(StoreError::Closing) => return,
            Err(error) => tracing::warn!(%error, "deleted resources whose retention is over stay for now"),
        }
    }
}

/// Erases what has been retained long enough, in small steps between which others write. The retention is
/// that of the configuration now. Nothing of a tenant that is not served is touched.
pub async fn purge(app: &App) -> Result<(), StoreError> {
    let serving = app.serving.load_full();
    for LeaverFigures { tenant: key, oldest, .. } in app.store.leavers().await? {
        let Some(tenant) = serving.tenants().find(|tenant| tenant.key == key) else { continue };
        let now = Timestamp::now();
        let before = tenant.policy.retained_since(now).unwrap_or(now);
        if oldest.is_none_or(|oldest| oldest >= before) {
            continue;
        }
        let origin = Arc::new(Origin { actor: RETENTION.to_owned(), ..Origin::default() });
        let mut total = 0;
        loop {
            match write(app, tenant, &origin, Command::Purge { before, limit: STEP }).await? {
                Ok(Outcome::Purged { purged, more }) => {
                    total += purged;
                    app.metrics.leavers().purged(&key.0, purged);
                    if !more {
                        break;
                    }
                }
                other => return Err(unexpected(Some(&other.map(|outcome| vec![outcome])))),
            }
        }
        tracing::info!(tenant = %key.0, purged = total, "erased deleted resources whose retention is over");
    }
    Ok(())
}

/// A page of what can be restored, and where the next one begins; `None` at the end.
pub(super) async fn restorable(
    app: &App,
    tenant: &Tenant,
    after: i64,
    limit: usize,
) -> Result<(Vec<Restorable>, Option<i64>), StoreError> {
    let since = tenant.policy.retained_since(Timestamp::now());
    let page = app.store.retained(&tenant.key, after, limit).await?;
    let next = page.last().filter(|_| page.len() == limit).map(|last| last.position);
    let kept = page.iter().filter(|retained| since.is_some_and(|since| retained.deleted >= since));
    Ok((kept.map(|retained| shown(tenant, retained)).collect(), next))
}

fn shown(tenant: &Tenant, retained: &Retained) -> Restorable {
    let Retained { position: _, resource_type, id, deleted, body } = retained;
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    let retention = tenant.policy.retention.unwrap_or_default();
    let until = SignedDuration::try_from(retention)
        .ok()
        .and_then(|retention| deleted.checked_add(retention).ok())
        .unwrap_or(Timestamp::MAX);
    Restorable {
        tenant: tenant.key.0.to_string(),
        resource_type: resource_type.clone(),
        id: id.clone(),
        name: text("userName").or_else(|| text("displayName")),
        external_id: text("externalId"),
        deleted: format!("{deleted:.0}"),
        until: format!("{until:.0}"),
    }
}

/// Restores a resource, of whatever type it is.
pub(super) async fn restore(
    app: &App,
    tenant: &Tenant,
    id: &str,
    actor: String,
) -> Result<Result<Restored, ScimError>, StoreError> {
    let origin = Arc::new(Origin { actor, ..Origin::default() });
    for resource_type in &tenant.registry.resource_types {
        let command = Command::Restore { resource_type: Arc::clone(resource_type), id: id.to_owned() };
        let resource = match write(app, tenant, &origin, command).await? {
            Ok(Outcome::Updated(resource)) => resource,
            Err(Refusal::Command(_, error)) if error.status == 404 => continue,
            Err(Refusal::Command(_, error)) => return Ok(Err(error)),
            other => return Err(unexpected(Some(&other.map(|outcome| vec![outcome])))),
        };
        let groups = resource.related.groups.unwrap_or_default();
        tracing::info!(tenant = %tenant.key.0, resource_type = resource_type.name, resource_id = id, actor = origin.actor, "an operator restored a deleted resource");
        return Ok(Ok(Restored {
            tenant: tenant.key.0.to_string(),
            resource_type: resource_type.name.clone(),
            id: resource.id,
            groups: groups.into_iter().map(|group| group.display.unwrap_or(group.id)).collect(),
        }));
    }
    let detail = format!(
        "tenant {} retains no deleted resource {id:?}: it was never there, it was erased, or it was restored",
        tenant.key.0
    );
    Ok(Err(ScimError::new(404, detail)))
}

async fn write(
    app: &App,
    tenant: &Tenant,
    origin: &Arc<Origin>,
    command: Command,
) -> Result<Result<Outcome, Refusal>, StoreError> {
    let units = vec![Unit { commands: vec![command], requires: Vec::new() }];
    let (origin, policy) = (Arc::clone(origin), Arc::clone(&tenant.policy));
    let mut results = app.store.write(&tenant.key, Write { units, max_errors: None, origin, policy }).await?;
    match results.pop() {
        Some(Ok(mut outcomes)) if outcomes.len() == 1 => Ok(Ok(outcomes.remove(0))),
        Some(Err(refusal)) => Ok(Err(refusal)),
        other => Err(unexpected(other.as_ref())),
    }
}
