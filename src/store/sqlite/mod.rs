//! SQLite: the embedded default. One file, one writer with group commit, readers beside it.
//!
//! Nothing here says what a command means (`store/execute.rs`) or what a filter means (`scim::filter`).

mod anchors;
mod audit_file;
mod batch;
mod changes;
mod condition;
mod export;
mod failure;
mod idempotency;
mod import;
mod leavers;
mod list;
mod page;
mod purge;
mod reader;
mod rows;
mod schema;
mod shape;
mod token_use;
mod transaction;
mod walk;
mod writer;

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::Connection;

use self::anchors::Anchors;
pub use self::audit_file::AuditFile;
pub use self::export::SqliteExporter;
pub use self::failure::OpenError;
use self::failure::Sql;
pub use self::import::SqliteImporter;
use self::reader::{Budget, ReadError, Readers};
use self::shape::Shapes;
use self::writer::{Tenants, Writer};
use super::audit::{Changes, FeedError, From, MAX_CHANGES, Pruned, Retention};
use super::idempotency::{Keyed, Once, Recalled, Render};
use super::list::List;
use super::metrics::StoreMetrics;
use super::{
    Count, LeaverFigures, Listing, Prepared, Query, Retained, Store, StoreError, TenantKey, UnitResult, Write,
};
use crate::scim::list::Resources;
use crate::scim::resource::{Load, Related, Resource};
use crate::scim::schema::ResourceType;
use crate::store::token_use::TokenUse;

/// A store in one SQLite database, `scim.db` in its data directory.
pub struct SqliteStore {
    writer: Writer,
    readers: Readers,
    tenants: Tenants,
    shapes: Shapes,
    anchors: Anchors,
    cursor_key: [u8; 32],
    metrics: StoreMetrics,
    /// Held while the store is open, so that no second process writes.
    lock: Mutex<Option<File>>,
}

impl SqliteStore {
    /// Opens the store of a data directory; both are made when they are not there.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let (lock, path) = lock(directory)?;
        let connection = schema::open_writer(&path)?;
        let loaded = cursor_key(&connection)
            .and_then(|key| Ok((key, load_tenants(&connection)?, leavers::tenants(&connection)?)))
            .and_then(|(key, tenants, leavers)| Ok((key, tenants, leavers, Shapes::load(&connection)?)));
        let (cursor_key, tenants, leavers, shapes) =
            loaded.map_err(|error| OpenError::from_sqlite(path.clone(), &error))?;

        let metrics = StoreMetrics::default();
        let readers = Readers::new(&path);
        let anchors = Anchors::new(readers.commits());
        let writer = Writer::start(
            connection,
            Arc::clone(&tenants),
            shapes.clone(),
            leavers,
            anchors.clone(),
            readers.clone(),
            metrics.clone(),
        )
        .map_err(|error| OpenError::Directory { path, error })?;
        Ok(Self {
            writer,
            readers,
            tenants,
            shapes,
            anchors,
            cursor_key,
            metrics,
            lock: Mutex::new(Some(lock)),
        })
    }

    /// What the store measures of itself.
    #[must_use]
    pub fn metrics(&self) -> &StoreMetrics {
        &self.metrics
    }

    /// The tenant's key; `None` when it has never written.
    fn tenant(&self, tenant: &TenantKey) -> Option<i64> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(tenant).copied()
    }

    /// Runs a read here when it is short, and elsewhere when it turns out not to be.
    async fn read<T: Send + 'static>(
        &self,
        long: bool,
        read: impl Fn(&Connection, &mut Budget) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, StoreError> {
        if !long {
            match self.readers.short(&read) {
                Ok(output) => return Ok(output),
                Err(ReadError::Failed(error)) => return Err(error),
                Err(ReadError::Long) => {}
            }
        }
        self.metrics.long_reads.inc();
        self.readers.long(read).await
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn get(
        &self,
        tenant: &TenantKey,
        resource_type: &Arc<ResourceType>,
        id: &str,
        load: Load,
    ) -> Result<Option<Resource>, StoreError> {
        let Some(tenant) = self.tenant(tenant) else { return self.readers.alive().map(|()| None) };
        match self
            .readers
            .short(|connection, budget| get(connection, tenant, resource_type, id, load, budget))
        {
            Ok(found) => Ok(found),
            Err(ReadError::Failed(error)) => Err(error),
            Err(ReadError::Long) => {
                self.metrics.long_reads.inc();
                let (resource_type, id) = (Arc::clone(resource_type), id.to_owned());
                self.readers
                    .long(move |connection, budget| {
                        get(connection, tenant, &resource_type, &id, load, budget)
                    })
                    .await
            }
        }
    }

    async fn list(&self, tenant: &TenantKey, query: &Query) -> Result<Listing, StoreError> {
        let Some(tenant) = self.tenant(tenant) else {
            let nothing = Listing { total: 0, resources: Resources::default(), next: None };
            return self.readers.alive().map(|()| nothing);
        };
        let list = List::new(tenant, query);
        let anchors = self.anchors.clone();
        let long = list::is_long(&list, &anchors);
        self.read(long, move |connection, budget| list::run(&list, &anchors, connection, budget)).await
    }

    async fn write(&self, tenant: &TenantKey, write: Write) -> Result<Vec<UnitResult>, StoreError> {
        self.writer.write(tenant, write).await
    }

    async fn write_once(
        &self,
        tenant: &TenantKey,
        write: Write,
        keyed: Keyed,
        render: Render,
    ) -> Result<Once, StoreError> {
        self.writer.write_once(tenant, write, keyed, render).await
    }

    async fn recall(&self, tenant: &TenantKey, keyed: &Keyed) -> Result<Option<Recalled>, StoreError> {
        let Some(tenant) = self.tenant(tenant) else { return self.readers.alive().map(|()| None) };
        let keyed = *keyed;
        self.read(false, move |connection, _| Ok(idempotency::recall(connection, tenant, &keyed)?)).await
    }

    async fn forget_answers(&self, before: Timestamp) -> Result<u64, StoreError> {
        idempotency::forget(&self.writer, before).await
    }

    async fn changes(&self, tenant: &TenantKey, from: From, limit: usize) -> Result<Changes, FeedError> {
        let limit = limit.min(MAX_CHANGES);
        let Some(tenant) = self.tenant(tenant) else {
            self.readers.alive()?;
            return changes::nothing(from);
        };
        // Rows with values may be long.
        let long = limit > 100;
        self.read(long, move |connection, _| Ok(changes::read(connection, tenant, from, limit)?)).await?
    }

    async fn prune_changes(&self, tenant: &TenantKey, retention: Retention) -> Result<Pruned, StoreError> {
        let Some(tenant) = self.tenant(tenant) else {
            return self.readers.alive().map(|()| Pruned::default());
        };
        let prune = move |connection: &Connection, step| changes::prune(connection, tenant, retention, step);
        // Mostly there is nothing to do, and then no writer is asked.
        let found = self.read(false, move |connection, _| Ok(prune(connection, 0)?)).await?;
        if !found.more {
            return Ok(found);
        }
        self.writer.run(move |connection| prune(connection, changes::STEP)).await
    }

    async fn prepare(&self, tenant: &TenantKey, types: &[Arc<ResourceType>]) -> Result<Prepared, StoreError> {
        shape::prepare(&self.writer, &self.tenants, &self.shapes, tenant, types).await
    }

    async fn retire(&self, tenant: &TenantKey) -> Result<(), StoreError> {
        shape::retire(&self.writer, &self.tenants, &self.shapes, tenant).await
    }

    async fn count(&self, tenant: &TenantKey, resource_type: &str) -> Result<u64, StoreError> {
        let Some(tenant) = self.tenant(tenant) else { return self.readers.alive().map(|()| 0) };
        let resource_type = resource_type.to_owned();
        self.read(false, move |connection, _| Ok(rows::count(connection, tenant, &resource_type)?)).await
    }

    async fn counts(&self) -> Result<Vec<Count>, StoreError> {
        self.read(true, |connection, _| Ok(rows::counts(connection)?)).await
    }

    async fn retained(
        &self,
        tenant: &TenantKey,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Retained>, StoreError> {
        let Some(tenant) = self.tenant(tenant) else { return self.readers.alive().map(|()| Vec::new()) };
        self.read(true, move |connection, _| Ok(leavers::list(connection, tenant, after, limit)?)).await
    }

    async fn leavers(&self) -> Result<Vec<LeaverFigures>, StoreError> {
        self.read(true, |connection, _| Ok(leavers::figures(connection)?)).await
    }

    async fn tenants(&self) -> Result<Vec<TenantKey>, StoreError> {
        self.read(false, |connection, _| Ok(rows::tenants_with_data(connection)?)).await
    }

    async fn set_purge_on_removal(&self, tenant: &TenantKey, purge: bool) -> Result<(), StoreError> {
        purge::mark(&self.writer, &self.tenants, tenant, purge).await
    }

    async fn marked_for_purge(&self) -> Result<Vec<TenantKey>, StoreError> {
        self.read(false, |connection, _| Ok(purge::marked(connection)?)).await
    }

    async fn purge_removed(
        &self,
        served: &[TenantKey],
        removed: Option<&[TenantKey]>,
    ) -> Result<Vec<TenantKey>, StoreError> {
        purge::purge_removed(&self.writer, &self.tenants, &self.shapes, served, removed).await
    }

    async fn token_uses(&self) -> Result<Vec<TokenUse>, StoreError> {
        self.read(true, |connection, _| Ok(token_use::all(connection)?)).await
    }

    async fn record_token_uses(&self, uses: Vec<TokenUse>) -> Result<(), StoreError> {
        token_use::record(&self.writer, uses).await
    }

    async fn cursor_key(&self) -> Result<[u8; 32], StoreError> {
        Ok(self.cursor_key)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        if !self.writer.is_open() {
            return Err(StoreError::Closing);
        }
        let sql = "SELECT count(*) FROM meta";
        self.read(false, |connection, _| Ok(connection.prepare_cached(sql)?.query_row([], |_| Ok(()))?)).await
    }

    async fn close(&self) {
        // A long read may have to end first, which is not waited for on a thread that serves requests.
        let readers = self.readers.clone();
        let _ = tokio::task::spawn_blocking(move || readers.close()).await;
        self.writer.close().await;
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

fn get(
    connection: &Connection,
    tenant: i64,
    resource_type: &Arc<ResourceType>,
    id: &str,
    load: Load,
    budget: &mut Budget,
) -> Result<Option<Resource>, ReadError> {
    let Some((row, grouped)) = rows::find(connection, tenant, &resource_type.name, id)? else {
        return Ok(None);
    };
    let related = related(connection, tenant, resource_type, row.key, grouped, load, budget)?;
    Ok(Some(row.into_resource(resource_type, id.to_owned(), related)))
}

/// What other tables say of a row.
fn related(
    connection: &Connection,
    tenant: i64,
    resource_type: &ResourceType,
    key: i64,
    grouped: bool,
    load: Load,
    budget: &mut Budget,
) -> Result<Related, ReadError> {
    let mut related = Related::default();
    if load.members && resource_type.has_members() {
        let members = rows::members(connection, tenant, key, 0, budget.limit())?;
        budget.spend(members.len())?;
        related.members = Some(members.into_iter().map(|(_, member)| member).collect());
    }
    if load.groups && resource_type.has_groups() {
        let groups = if grouped { rows::groups(connection, tenant, key)? } else { Vec::new() };
        budget.spend(groups.len())?;
        related.groups = Some(groups);
    }
    Ok(related)
}

/// Takes a data directory for the one process that writes; both it and the database's file, whose path this also
/// gives, are made when they are not there.
fn lock(directory: &Path) -> Result<(File, PathBuf), OpenError> {
    let unusable = |path: &Path, error| OpenError::Directory { path: path.to_owned(), error };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|source| unusable(directory, source))?;
    let lock_path = directory.join("lock");
    let lock = open_private(&lock_path).map_err(|source| unusable(&lock_path, source))?;
    lock.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => OpenError::Locked { path: directory.to_owned() },
        TryLockError::Error(source) => unusable(&lock_path, source),
    })?;
    let path = directory.join("scim.db");
    // Made by us first: SQLite gives its other files the same mode.
    open_private(&path).map_err(|source| unusable(&path, source))?;
    Ok((lock, path))
}

/// Opens a file that only its owner may read, and makes it when it is not there.
fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn load_tenants(connection: &Connection) -> Sql<Tenants> {
    let mut statement = connection.prepare("SELECT name, key FROM tenant WHERE name IS NOT NULL")?;
    let tenants = statement.query_map([], |row| {
        let name: String = row.get(0)?;
        Ok((TenantKey(name.into()), row.get(1)?))
    })?;
    Ok(Arc::new(RwLock::new(tenants.collect::<Sql<_>>()?)))
}

/// The store's secret for signing cursors, made the first time.
fn cursor_key(connection: &Connection) -> Sql<[u8; 32]> {
    let mut fresh = [0; 32];
    getrandom::fill(&mut fresh)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.to_string().into()))?;
    connection.execute("INSERT INTO meta VALUES ('cursor_key', ?1) ON CONFLICT DO NOTHING", [&fresh[..]])?;
    connection.query_row("SELECT value FROM meta WHERE name = 'cursor_key'", [], |row| row.get(0))
}
