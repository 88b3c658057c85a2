//! Servers on one store that are asked in turn: what one has acknowledged, the next must know.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use jiff::Timestamp;
use scim_operator::scim::resource::{Load, Resource};
use scim_operator::scim::schema::ResourceType;
use scim_operator::store::audit::{Changes, FeedError, From, Pruned, Retention};
use scim_operator::store::idempotency::{Keyed, Once, Recalled, Render};
use scim_operator::store::token_use::TokenUse;
use scim_operator::store::{
    Count, LeaverFigures, Listing, Prepared, Query, Retained, Store, StoreError, TenantKey, UnitResult, Write,
};

/// The servers.
pub(crate) struct InTurn<S> {
    servers: Vec<S>,
    next: AtomicUsize,
}

impl<S> InTurn<S> {
    pub(crate) fn new(servers: Vec<S>) -> Self {
        Self { servers, next: AtomicUsize::new(0) }
    }

    fn next(&self) -> &S {
        &self.servers[self.next.fetch_add(1, Ordering::Relaxed) % self.servers.len()]
    }
}

#[async_trait]
impl<S: Store> Store for InTurn<S> {
    async fn get(
        &self,
        tenant: &TenantKey,
        resource_type: &Arc<ResourceType>,
        id: &str,
        load: Load,
    ) -> Result<Option<Resource>, StoreError> {
        self.next().get(tenant, resource_type, id, load).await
    }

    async fn list(&self, tenant: &TenantKey, query: &Query) -> Result<Listing, StoreError> {
        self.next().list(tenant, query).await
    }

    async fn write(&self, tenant: &TenantKey, write: Write) -> Result<Vec<UnitResult>, StoreError> {
        self.next().write(tenant, write).await
    }

    async fn write_once(
        &self,
        tenant: &TenantKey,
        write: Write,
        keyed: Keyed,
        render: Render,
    ) -> Result<Once, StoreError> {
        self.next().write_once(tenant, write, keyed, render).await
    }

    async fn recall(&self, tenant: &TenantKey, keyed: &Keyed) -> Result<Option<Recalled>, StoreError> {
        self.next().recall(tenant, keyed).await
    }

    async fn forget_answers(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.next().forget_answers(before).await
    }

    async fn changes(&self, tenant: &TenantKey, from: From, limit: usize) -> Result<Changes, FeedError> {
        self.next().changes(tenant, from, limit).await
    }

    async fn prune_changes(&self, tenant: &TenantKey, retention: Retention) -> Result<Pruned, StoreError> {
        self.next().prune_changes(tenant, retention).await
    }

    async fn prepare(&self, tenant: &TenantKey, types: &[Arc<ResourceType>]) -> Result<Prepared, StoreError> {
        self.next().prepare(tenant, types).await
    }

    async fn retire(&self, tenant: &TenantKey) -> Result<(), StoreError> {
        self.next().retire(tenant).await
    }

    async fn count(&self, tenant: &TenantKey, resource_type: &str) -> Result<u64, StoreError> {
        self.next().count(tenant, resource_type).await
    }

    async fn counts(&self) -> Result<Vec<Count>, StoreError> {
        self.next().counts().await
    }

    async fn marked_for_purge(&self) -> Result<Vec<TenantKey>, StoreError> {
        self.next().marked_for_purge().await
    }

    async fn retained(
        &self,
        tenant: &TenantKey,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Retained>, StoreError> {
        self.next().retained(tenant, after, limit).await
    }

    async fn leavers(&self) -> Result<Vec<LeaverFigures>, StoreError> {
        self.next().leavers().await
    }

    async fn tenants(&self) -> Result<Vec<TenantKey>, StoreError> {
        self.next().tenants().await
    }

    async fn set_purge_on_removal(&self, tenant: &TenantKey, purge: bool) -> Result<(), StoreError> {
        self.next().set_purge_on_removal(tenant, purge).await
    }

    async fn purge_removed(
        &self,
        served: &[TenantKey],
        removed: Option<&[TenantKey]>,
    ) -> Result<Vec<TenantKey>, StoreError> {
        self.next().purge_removed(served, removed).await
    }

    async fn token_uses(&self) -> Result<Vec<TokenUse>, StoreError> {
        self.next().token_uses().await
    }

    async fn record_token_uses(&self, uses: Vec<TokenUse>) -> Result<(), StoreError> {
        self.next().record_token_uses(uses).await
    }

    async fn cursor_key(&self) -> Result<[u8; 32], StoreError> {
        self.next().cursor_key().await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.next().ping().await
    }

    async fn close(&self) {
        for server in &self.servers {
            server.close().await;
        }
    }
}
