//! The SCIM server: HTTP in, [`crate::store`] behind it, SCIM out.
//!
//! [`pipeline`] shows the one way that every request goes. [`App`] is what all requests share;
//! [`App::apply`] replaces what it serves in one step, so that a request sees the configuration of
//! before or of after and nothing in between.

pub mod audit;
pub mod authenticate;
pub mod base_url;
pub mod body;
pub mod client;
pub mod connection;
pub mod context;
pub mod control;
pub mod discovery;
pub mod health;
pub mod idempotency;
pub mod leavers;
pub mod me;
pub mod oauth;
pub mod pipeline;
pub mod query;
pub mod resources;
pub mod respond;
pub mod route;
pub mod serving;
pub mod trace;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;

use crate::config::ServerConfig;
use crate::store::{Store, StoreError};
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::Metrics;

use serving::Serving;

/// What all requests share.
pub struct App {
    store: Arc<dyn Store>,
    serving: ArcSwap<Serving>,
    configured: AtomicBool,
    draining: AtomicBool,
    metrics: Metrics,
    access_log: AccessLog,
    request_ids: trace::RequestIds,
    cursor_key: [u8; 32],
    oauth: oauth::OAuth,
    /// One look for removed tenants at a time.
    purging: tokio::sync::Mutex<()>,
}

impl App {
    /// An app that serves no tenant yet; [`Self::apply`] gives it some.
    pub async fn new(
        store: Arc<dyn Store>,
        metrics: Metrics,
        access_log: AccessLog,
    ) -> Result<Arc<Self>, StoreError> {
        let cursor_key = store.cursor_key().await?;
        let oauth = oauth::OAuth::new(metrics.oauth().clone(), cursor_key, oauth::issuer::Timing::default());
        Ok(Arc::new(Self {
            store,
            serving: ArcSwap::from_pointee(Serving::nothing()),
            configured: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            metrics,
            access_log,
            request_ids: trace::RequestIds::new(),
            cursor_key,
            oauth,
            purging: tokio::sync::Mutex::default(),
        }))
    }

    /// Serves this configuration from now on. Requests under way finish with the one they began with.
    pub fn apply(&self, config: &ServerConfig) {
        self.serving.store(Arc::new(Serving::compile(config, Some(&self.oauth))));
        self.configured.store(true, Ordering::Release);
        self.metrics.configured(config.tenants.len());
    }

    /// Tells the store what becomes of each tenant's data when the tenant goes, and purges those that
    /// are gone and were marked for it (`deletionPolicy`). Call after [`Self::apply`].
    pub async fn settle_removals(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.purging.lock().await;
        let serving = self.serving.load_full();
        let mut served = Vec::new();
        for tenant in serving.tenants() {
            self.store.set_purge_on_removal(&tenant.key, tenant.purge_on_removal).await?;
            served.push(tenant.key.clone());
        }
        for tenant in self.store.purge_removed(&served).await? {
            tracing::info!(tenant = %tenant.0, "purged the data of a removed tenant (deletionPolicy: Delete)");
        }
        Ok(())
    }

    /// From now on `/readyz` fails, so that no new client is sent here.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// The metrics.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}
