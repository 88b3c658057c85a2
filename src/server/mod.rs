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
pub mod configuration;
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
pub mod tls;
pub mod trace;
pub mod waiting;

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;

use crate::config::ServerConfig;
use crate::store::{Duplicates, Store, StoreError, TenantKey};
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::Metrics;

use authenticate::usage::Usage;
use serving::{Registries, Serving};

/// What all requests share.
pub struct App {
    store: Arc<dyn Store>,
    serving: ArcSwap<Serving>,
    configured: AtomicBool,
    /// What is waited for, before the first configuration.
    waiting: Mutex<String>,
    /// The tenants that are gone and whose data is being purged.
    purging: Mutex<BTreeSet<TenantKey>>,
    draining: AtomicBool,
    metrics: Metrics,
    access_log: AccessLog,
    request_ids: trace::RequestIds,
    cursor_key: [u8; 32],
    oauth: oauth::OAuth,
    /// The configuration before [`Self::serving`], while requests go by it.
    before: Mutex<Weak<Serving>>,
    /// One change of the configuration at a time.
    changing: tokio::sync::Mutex<()>,
    usage: Usage,
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
        let usage = Usage::new(store.token_uses().await?);
        Ok(Arc::new(Self {
            store,
            serving: ArcSwap::from_pointee(Serving::nothing()),
            configured: AtomicBool::new(false),
            waiting: Mutex::new("no configuration is loaded yet".to_owned()),
            purging: Mutex::default(),
            draining: AtomicBool::new(false),
            metrics,
            access_log,
            request_ids: trace::RequestIds::new(),
            cursor_key,
            oauth,
            usage,
            before: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
        }))
    }

    /// Serves this configuration from now on, once the store is ready for its schemas. Requests under way
    /// finish with the one they began with. After an error nothing has changed.
    pub async fn apply(&self, config: &ServerConfig) -> Result<(), StoreError> {
        self.apply_with_digest(config, None).await
    }

    /// As [`Self::apply`], of a configuration that has a digest. What is the same costs next to nothing: tenants that
    /// are as before are neither compiled again nor is the store asked about them.
    pub async fn apply_with_digest(
        &self,
        config: &ServerConfig,
        digest: Option<&str>,
    ) -> Result<(), StoreError> {
        let _one_at_a_time = self.changing.lock().await;
        let before = self.serving.load_full();
        let mut registries = Registries::of_before(&before);
        for tenant in &config.tenants {
            if registries.kept(tenant).is_some() {
                continue;
            }
            let key = TenantKey(tenant.name.as_str().into());
            let types = &registries.of(&tenant.schemas, &BTreeSet::new()).resource_types;
            let prepared = self.store.prepare(&key, types).await?;
            if !prepared.built.is_empty() {
                tracing::info!(tenant = %key.0, indexes = ?prepared.built, "built the indexes that the tenant's schemas ask for");
            }
            for Duplicates { resource_type, attribute, count } in &prepared.duplicates {
                tracing::warn!(tenant = %key.0, resource_type, attribute, count, "this attribute must be unique, and stored resources share values of it: they stay, and nobody else gets these values; change or delete them to have it unique");
            }
            registries.prepared(&tenant.name, prepared);
        }
        let mut serving = Serving::compile(config, &mut registries, &self.usage, Some(&self.oauth));
        serving.digest = digest.map(Into::into);
        let marked = if self.configured.load(Ordering::Acquire) {
            let marked = before.tenants().filter(|tenant| tenant.purge_on_removal);
            marked.map(|tenant| tenant.key.clone()).collect()
        } else {
            self.store.marked_for_purge().await?
        };
        self.measure_duplicates(&serving);
        self.metrics.tokens().configured(serving.token_series());
        {
            let served: HashSet<&TenantKey> = serving.tenants().map(|tenant| &tenant.key).collect();
            let mut purging = self.purging.lock().unwrap_or_else(PoisonError::into_inner);
            purging.extend(marked);
            purging.retain(|tenant| !served.contains(tenant) && serving.may_purge(tenant));
        }
        self.serving.store(Arc::new(serving));
        *self.before.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&before);
        self.configured.store(true, Ordering::Release);
        self.metrics.configured(config.tenants.len());
        Ok(())
    }

    /// Sets the metrics of values that are there twice to what was found.
    fn measure_duplicates(&self, serving: &Serving) {
        self.metrics.forget_schema_duplicates();
        for tenant in serving.tenants() {
            for Duplicates { resource_type, attribute, count } in tenant.duplicates() {
                self.metrics.schema_duplicates(&tenant.key.0, resource_type, attribute, *count);
            }
        }
    }

    /// Tells the store what becomes of each tenant's data when the tenant goes, and purges those that
    /// are gone and were marked for it (`deletionPolicy`); removes what only the schemas of before
    /// needed. Call after every [`Self::apply`], and again after an error: what a later configuration has changed
    /// meanwhile is left to its own call. No configuration waits for it.
    pub async fn settle_removals(&self) -> Result<(), StoreError> {
        let serving = self.serving.load_full();
        self.requests_of_before().await;
        let marked: HashSet<_> = self.store.marked_for_purge().await?.into_iter().collect();
        for tenant in serving.tenants().filter(|tenant| !tenant.is_settled()) {
            if tenant.purge_on_removal != marked.contains(&tenant.key) {
                self.store.set_purge_on_removal(&tenant.key, tenant.purge_on_removal).await?;
            }
        }
        let _one_at_a_time = self.changing.lock().await;
        if !Arc::ptr_eq(&serving, &self.serving.load()) {
            return Ok(());
        }
        for tenant in serving.tenants().filter(|tenant| !tenant.is_settled()) {
            self.store.retire(&tenant.key).await?;
            tenant.settle();
        }
        // Those that went before they were marked.
        let purging = self.purging.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for tenant in purging.difference(&self.store.marked_for_purge().await?.into_iter().collect()) {
            self.store.set_purge_on_removal(tenant, true).await?;
        }
        let served: Vec<_> = serving.tenants().map(|tenant| tenant.key.clone()).collect();
        for tenant in self.store.purge_removed(&served, serving.removed().as_deref()).await? {
            tracing::info!(tenant = %tenant.0, "purged the data of a removed tenant (deletionPolicy: Delete)");
        }
        self.purging.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }

    /// Says on `/readyz` what is waited for, before the first configuration.
    pub fn waits_for(&self, what: String) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    /// Waits for requests that began with the configuration of before, but not for ever.
    async fn requests_of_before(&self) {
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for _ in 0..500 {
            if before.strong_count() == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Says which tokens end soon, and writes their last uses to the store. Call now and then.
    pub async fn tend_tokens(&self) -> Result<(), StoreError> {
        authenticate::warn_of_expiry(&self.serving.load_full(), Timestamp::now());
        let uses = self.usage.unsaved();
        if uses.is_empty() {
            return Ok(());
        }
        self.store.record_token_uses(uses.clone()).await?;
        self.usage.saved(&uses);
        Ok(())
    }

    /// From now on `/readyz` fails, so that no new client is sent here.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether the server is about to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// The metrics.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}
