//! `/configuration` on the admin port: which configuration this server runs, and what its tenants hold.
//!
//! A controller asks every pod, often: the digest is free, and the figures of all tenants are one read of counters.

use std::collections::HashMap;
use std::sync::PoisonError;

use serde::{Deserialize, Serialize};

use super::App;
use crate::store::{Count, StoreError};

/// What a server says of its configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Configuration {
    /// The SHA-256 digest of the head of the configuration that is served; none before the first, and none of a
    /// configuration that did not come from a controller.
    pub digest: Option<String>,
    /// The tenants, ordered by path; none when they were not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<Vec<TenantFigures>>,
    /// `NAMESPACE/NAME` of the tenants that are gone and whose data is not purged yet.
    #[serde(default)]
    pub purging: Vec<String>,
}

/// What a server says of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantFigures {
    /// `NAMESPACE/NAME`.
    pub name: String,
    /// The first path segment.
    pub path: String,
    /// How many users it has.
    pub users: u64,
    /// How many groups it has.
    pub groups: u64,
    /// When it was last called with a good token (RFC 3339): by this server's knowledge.
    pub last_request_time: Option<String>,
}

/// What this server runs.
pub(super) async fn report(app: &App, with_tenants: bool) -> Result<Configuration, StoreError> {
    // Before what is purged: whatever this configuration removed is there by then.
    let serving = app.serving.load_full();
    let purging = purging(app);
    let digest = serving.digest.as_deref().map(str::to_owned);
    if !with_tenants {
        return Ok(Configuration { digest, tenants: None, purging });
    }
    let counts = app.store.counts().await?;
    let counts: HashMap<(&str, &str), u64> = counts
        .iter()
        .map(|Count { tenant, resource_type, resources }| ((&*tenant.0, &**resource_type), *resources))
        .collect();
    let mut tenants: Vec<_> = serving
        .tenants()
        .map(|tenant| {
            let count = |kind| counts.get(&(&*tenant.key.0, kind)).copied().unwrap_or_default();
            TenantFigures {
                name: tenant.key.0.to_string(),
                path: tenant.path.to_string(),
                users: count("User"),
                groups: count("Group"),
                last_request_time: tenant.last_request.get().map(|time| time.to_string()),
            }
        })
        .collect();
    tenants.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Configuration { digest, tenants: Some(tenants), purging })
}

fn purging(app: &App) -> Vec<String> {
    let purging = app.purging.lock().unwrap_or_else(PoisonError::into_inner);
    purging.iter().map(|tenant| tenant.0.to_string()).collect()
}
