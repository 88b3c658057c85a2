//! PostgreSQL, for many servers on one store: any of them may serve any request.
//!
//! Nothing here says what a command means (`store/execute.rs`) or what a filter means (`scim::filter`). Writers of
//! one tenant take turns by the lock of the tenant's row; a server puts what waits into one transaction. Reads ask
//! the database each time: what one server has acknowledged, every other sees.

mod batch;
mod cache;
mod changes;
mod condition;
mod export;
mod failure;
mod fetch;
mod flush;
mod get;
mod idempotency;
mod import;
mod leavers;
mod list;
mod pool;
mod purge;
mod rows;
mod schema;
mod shape;
mod tenants;
mod token_use;
mod transaction;
mod unverified;
mod value;
mod work;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

pub use self::export::PostgresExporter;
use self::failure::Failure;
pub use self::failure::SetupError;
use self::get::Reader;
pub use self::import::PostgresImporter;
pub use self::pool::{Authorities, Settings, TlsMode, Url};
use self::pool::{Link, Pool, on_link};
#[doc(hidden)]
pub use self::schema::Later;
use self::schema::Schema;
use self::tenants::Tenants;
use self::writer::Writer;
use super::audit::{Changes, FeedError, From, MAX_CHANGES, Pruned, Retention};
use super::idempotency::{Keyed, Once, Recalled, Render};
use super::list::List;
use super::metrics::StoreMetrics;
use super::{
    Count, LeaverFigures, Listing, Prepared, Query, Retained, Store, StoreError, TenantKey, UnitResult, Write,
};
use crate::scim::list::Resources;
use crate::scim::resource::{Load, Resource};
use crate::scim::schema::ResourceType;
use crate::store::token_use::TokenUse;

/// A store in the schema `scim` of a PostgreSQL database.
pub struct PostgresStore {
    pool: Pool,
    tenants: Tenants,
    writer: Writer,
    reader: Reader,
    metrics: StoreMetrics,
    schema: Schema,
    /// Whether the schema is known to be up to date.
    migrated: AtomicBool,
    /// Held by who looks whether it is; why that failed last, and when.
    migrating: Mutex<Option<(Instant, StoreError)>>,
}

impl PostgresStore {
    /// The store of a database. Connects when it is first asked something, so that a server can start before its
    /// database does; until then every answer is [`StoreError::Unavailable`].
    pub fn new(settings: Settings) -> Result<Self, SetupError> {
        Self::with(settings, Schema::ours())
    }

    /// The store as a later version of this program may have it: for tests.
    #[doc(hidden)]
    pub fn later(settings: Settings, later: &[Later]) -> Result<Self, SetupError> {
        Self::with(settings, Schema::ours().with(later))
    }

    fn with(settings: Settings, schema: Schema) -> Result<Self, SetupError> {
        let cache_bytes = settings.cache_bytes;
        let pool = Pool::new(settings)?;
        let (tenants, metrics) = (Tenants::default(), StoreMetrics::default());
        let writer = Writer::new(pool.clone(), tenants.clone(), metrics.clone());
        let reader = Reader::new(pool.clone(), tenants.clone(), cache_bytes, metrics.clone());
        let (migrated, migrating) = Default::default();
        Ok(Self { pool, tenants, writer, reader, metrics, schema, migrated, migrating })
    }

    /// What the store measures of itself.
    #[must_use]
    pub fn metrics(&self) -> &StoreMetrics {
        &self.metrics
    }

    /// What reads tenants for an export.
    pub async fn exporter(&self) -> Result<PostgresExporter, StoreError> {
        self.ready().await?;
        Ok(PostgresExporter::new(self.pool.clone()))
    }

    /// What writes tenants of an export.
    pub async fn importer(&self) -> Result<PostgresImporter, StoreError> {
        self.ready().await?;
        Ok(PostgresImporter::new(self.pool.clone(), self.tenants.clone()))
    }

    /// Sees to it that the schema is up to date.
    async fn ready(&self) -> Result<(), StoreError> {
        if self.pool.is_closed() {
            return Err(StoreError::Closing);
        }
        if self.migrated.load(Ordering::Acquire) {
            return Ok(());
        }
        let came = Instant::now();
        let Ok(mut last) = timeout(get::DEADLINE, self.migrating.lock()).await else {
            return Err(StoreError::Unavailable("the tables of the database are being made ready".into()));
        };
        if self.migrated.load(Ordering::Acquire) {
            return Ok(());
        }
        // Who waited for the one before does not ask a database that is not there once more.
        if let Some((_, error)) = last.as_ref().filter(|(when, _)| *when >= came) {
            return Err(error.clone());
        }
        match schema::migrate(&self.pool, Instant::now() + schema::PATIENCE, &self.schema).await {
            Ok(()) => {
                self.migrated.store(true, Ordering::Release);
                Ok(())
            }
            Err(failure) => {
                let error = StoreError::from(failure);
                *last = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Runs something on a connection, and again when that was lost.
    async fn run<T, F: Future<Output = (Link, Result<T, Failure>)> + Send>(
        &self,
        work: impl Fn(Link) -> F + Send,
    ) -> Result<T, StoreError> {
        self.ready().await?;
        let deadline = Instant::now() + writer::DEADLINE;
        loop {
            let (mut link, done) = work(self.pool.link(deadline).await?).await;
            link.roll_back().await;
            match done {
                Ok(output) => return Ok(output),
                Err(Failure::Lost(_) | Failure::Conflict(_) | Failure::Moved)
                    if Instant::now() + get::PAUSE < deadline =>
                {
                    drop(link);
                    tokio::time::sleep(get::PAUSE).await;
                }
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    /// Runs a read of a tenant; `nothing` is the answer for one without data.
    async fn read<T, F: Future<Output = (Link, Result<T, Failure>)> + Send>(
        &self,
        tenant: &TenantKey,
        nothing: impl FnOnce() -> T,
        read: impl Fn(Link, i64) -> F,
    ) -> Result<T, StoreError> {
        self.ready().await?;
        let deadline = Instant::now() + writer::DEADLINE;
        get::retry(&self.pool, &self.tenants, tenant, deadline, nothing, read).await
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn get(
        &self,
        tenant: &TenantKey,
        resource_type: &Arc<ResourceType>,
        id: &str,
        load: Load,
    ) -> Result<Option<Resource>, StoreError> {
        self.ready().await?;
        let members = load.members && resource_type.has_members();
        let groups = load.groups && resource_type.has_groups();
        let load = Load { members, groups };
        let found = self.reader.get(tenant, &resource_type.name, id, load).await?;
        Ok(found.map(|(row, related)| row.into_resource(resource_type, id.to_owned(), related)))
    }

    async fn list(&self, tenant: &TenantKey, query: &Query) -> Result<Listing, StoreError> {
        let nothing = || Listing { total: 0, resources: Resources::default(), next: None };
        let list = on_link!(|link, number| list::run(&List::new(number, query), &mut link).await);
        self.read(tenant, nothing, list).await
    }

    async fn write(&self, tenant: &TenantKey, write: Write) -> Result<Vec<UnitResult>, StoreError> {
        self.ready().await?;
        self.writer.write(tenant, write).await
    }

    async fn write_once(
        &self,
        tenant: &TenantKey,
        write: Write,
        keyed: Keyed,
        render: Render,
    ) -> Result<Once, StoreError> {
        self.ready().await?;
        self.writer.write_once(tenant, write, keyed, render).await
    }

    async fn recall(&self, tenant: &TenantKey, keyed: &Keyed) -> Result<Option<Recalled>, StoreError> {
        let recall = on_link!(|link, number| {
            let answers = link.send(&[idempotency::recall(number, keyed)]).await?;
            idempotency::recalled(keyed, answers.first().map_or(&[], Vec::as_slice))
        });
        self.read(tenant, || None, recall).await
    }

    async fn forget_answers(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut forgotten = 0;
        loop {
            match self.run(on_link!(|link| idempotency::forget_some(&mut link, before).await)).await? {
                0 => return Ok(forgotten),
                some => forgotten += some,
            }
        }
    }

    async fn changes(&self, tenant: &TenantKey, from: From, limit: usize) -> Result<Changes, FeedError> {
        let limit = limit.min(MAX_CHANGES);
        let nothing = || changes::nothing(from);
        let read = on_link!(|link, number| changes::read(&mut link, number, from, limit).await);
        self.read(tenant, nothing, read).await?
    }

    async fn prune_changes(&self, tenant: &TenantKey, retention: Retention) -> Result<Pruned, StoreError> {
        let prune = on_link!(|link, number| changes::prune(&mut link, number, retention).await);
        self.read(tenant, Pruned::default, prune).await
    }

    async fn prepare(&self, tenant: &TenantKey, types: &[Arc<ResourceType>]) -> Result<Prepared, StoreError> {
        self.ready().await?;
        match shape::prepare(&self.pool, &self.tenants, tenant, types).await {
            Err(Failure::Moved) => {
                self.tenants.forget(tenant);
                Ok(shape::prepare(&self.pool, &self.tenants, tenant, types).await?)
            }
            done => Ok(done?),
        }
    }

    async fn retire(&self, tenant: &TenantKey) -> Result<(), StoreError> {
        self.ready().await?;
        Ok(shape::retire(&self.pool, &self.tenants, tenant).await?)
    }

    async fn count(&self, tenant: &TenantKey, resource_type: &str) -> Result<u64, StoreError> {
        let count = on_link!(|link, number| {
            let sql = "SELECT counts FROM scim.tenant WHERE tenant = $1 AND live";
            let rows = link.query(sql, [number.into()]).await?;
            let Some(row) = rows.first() else { return Err(Failure::Moved) };
            let counts = tenants::counts(value::get(row, 0)?)?;
            Ok(counts.get(resource_type).copied().unwrap_or(0).max(0).cast_unsigned())
        });
        self.read(tenant, || 0, count).await
    }

    async fn counts(&self) -> Result<Vec<Count>, StoreError> {
        self.run(on_link!(|link| tenants::resources(&mut link).await)).await
    }

    async fn retained(
        &self,
        tenant: &TenantKey,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Retained>, StoreError> {
        let list = on_link!(|link, number| leavers::list(&mut link, number, after, limit).await);
        self.read(tenant, Vec::new, list).await
    }

    async fn leavers(&self) -> Result<Vec<LeaverFigures>, StoreError> {
        self.run(on_link!(|link| leavers::figures(&mut link).await)).await
    }

    async fn tenants(&self) -> Result<Vec<TenantKey>, StoreError> {
        self.run(on_link!(|link| tenants::with_data(&mut link).await)).await
    }

    async fn set_purge_on_removal(&self, tenant: &TenantKey, purge: bool) -> Result<(), StoreError> {
        self.run(on_link!(|link| purge::mark(&mut link, &self.tenants, tenant, purge).await)).await
    }

    async fn marked_for_purge(&self) -> Result<Vec<TenantKey>, StoreError> {
        self.run(on_link!(|link| purge::marked(&mut link).await)).await
    }

    async fn purge_removed(
        &self,
        served: &[TenantKey],
        removed: Option<&[TenantKey]>,
    ) -> Result<Vec<TenantKey>, StoreError> {
        self.ready().await?;
        Ok(purge::purge_removed(&self.pool, &self.tenants, served, removed).await?)
    }

    async fn token_uses(&self) -> Result<Vec<TokenUse>, StoreError> {
        self.run(on_link!(|link| token_use::all(&mut link).await)).await
    }

    async fn record_token_uses(&self, uses: Vec<TokenUse>) -> Result<(), StoreError> {
        let uses = &uses[..];
        self.run(on_link!(|link| token_use::record(&mut link, uses.to_vec()).await)).await
    }

    async fn cursor_key(&self) -> Result<[u8; 32], StoreError> {
        self.run(on_link!(|link| {
            let mut fresh = [0; 32];
            getrandom::fill(&mut fresh)
                .map_err(|error| Failure::Internal(format!("no random numbers: {error}")))?;
            let fresh = bytes::Bytes::copy_from_slice(&fresh);
            let sql = "INSERT INTO scim.meta VALUES ('cursor_key', $1) ON CONFLICT DO NOTHING";
            link.query(sql, [fresh.into()]).await?;
            let rows = link.query("SELECT value FROM scim.meta WHERE name = 'cursor_key'", []).await?;
            let key = rows.first().map(|row| value::get::<&[u8]>(row, 0)).transpose()?.unwrap_or_default();
            key.try_into().map_err(|_| Failure::Internal("the stored cursor key has not 32 bytes".into()))
        }))
        .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.ready().await?;
        let mut link = self.pool.link(Instant::now() + get::DEADLINE).await?;
        let sql =
            "SELECT current_setting('transaction_read_only') = 'on', version, needs FROM scim.schema_version";
        let rows = link.query(sql, []).await?;
        let Some(row) = rows.first() else { return Ok(()) };
        if let Err(failure) = self.schema.check(value::get(row, 1)?, value::get(row, 2)?) {
            // A newer server has taken away what this one needs: nobody is served by guess.
            self.migrated.store(false, Ordering::Release);
            return Err(failure.into());
        }
        if value::get(row, 0)? {
            return Err(StoreError::Unavailable("the database is read-only".into()));
        }
        Ok(())
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}
