//! The one writer: a thread that takes every write waiting for it, applies each in its own savepoint,
//! and makes all of them durable with one commit, that is one flush to disk.
//!
//! A refused or failed write undoes itself alone; a commit that fails fails the whole batch, and
//! nobody is told that a write succeeded before the disk has it.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Instant;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::{mpsc, oneshot};

use super::failure::{Sql, failed};
use super::transaction::{SqliteTransaction, ready};
use crate::store::execute::{Undone, execute};
use crate::store::metrics::StoreMetrics;
use crate::store::{Refusal, StoreError, TenantKey, Unit, UnitResult};

/// Writes that wait; past that, writers wait for a place.
const QUEUE: usize = 1024;
/// Write requests in one commit at most.
const MAX_BATCH: usize = 256;
/// Units in one commit at most, give or take the last request's.
const MAX_BATCH_UNITS: usize = 2048;

/// The keys of the tenants that have a row. Only the writer adds to it, after its commit, so that
/// what is missing here has no data.
pub(super) type Tenants = Arc<RwLock<HashMap<TenantKey, i64>>>;

type WriteResult = Result<Vec<UnitResult>, StoreError>;

struct Job {
    tenant: TenantKey,
    units: Vec<Unit>,
    max_errors: Option<usize>,
    queued: Instant,
    answer: oneshot::Sender<WriteResult>,
}

enum Message {
    Write(Job),
    Run(Box<dyn FnOnce(&mut Connection) + Send>),
    Close,
}

/// The way to the writer's thread.
pub(super) struct Writer {
    sender: mpsc::Sender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread on a connection that nobody else writes with.
    pub(super) fn start(
        connection: Connection,
        tenants: Tenants,
        metrics: StoreMetrics,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let worker = Worker { connection, tenants, metrics };
        let thread =
            std::thread::Builder::new().name("store-writer".into()).spawn(|| worker.run(receiver))?;
        Ok(Self { sender, thread: Mutex::new(Some(thread)) })
    }

    /// Queues a write and waits until it is durable.
    pub(super) async fn write(
        &self,
        tenant: &TenantKey,
        units: Vec<Unit>,
        max_errors: Option<usize>,
    ) -> WriteResult {
        let (answer, result) = oneshot::channel();
        let job = Job { tenant: tenant.clone(), units, max_errors, queued: Instant::now(), answer };
        self.sender.send(Message::Write(job)).await.map_err(|_| StoreError::Closing)?;
        result.await.map_err(|_| StoreError::Closing)?
    }

    /// Runs something in a transaction of its own, between batches.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Sql<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, result) = oneshot::channel();
        let message = Message::Run(Box::new(move |connection| {
            let done = connection.transaction().and_then(|transaction| {
                let output = work(&transaction)?;
                transaction.commit()?;
                Ok(output)
            });
            // Nobody listens when the caller has gone; the work is done all the same.
            let _ = answer.send(done.map_err(failed));
        }));
        self.sender.send(message).await.map_err(|_| StoreError::Closing)?;
        result.await.map_err(|_| StoreError::Closing)?
    }

    /// Whether the thread takes writes.
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Lets the thread finish what was queued and close the database.
    pub(super) async fn close(&self) {
        let _ = self.sender.send(Message::Close).await;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

/// What one commit will bring besides the rows.
#[derive(Default)]
struct Batch {
    new_tenants: HashMap<TenantKey, i64>,
    counts: HashMap<(i64, String), i64>,
}

struct Worker {
    connection: Connection,
    tenants: Tenants,
    metrics: StoreMetrics,
}

impl Worker {
    fn run(mut self, mut receiver: mpsc::Receiver<Message>) {
        while let Some(first) = receiver.blocking_recv() {
            let mut jobs = Vec::new();
            let mut units = 0;
            let mut next = Some(first);
            while let Some(Message::Write(job)) = next {
                units += job.units.len();
                jobs.push(job);
                let full = jobs.len() >= MAX_BATCH || units >= MAX_BATCH_UNITS;
                next = if full { None } else { receiver.try_recv().ok() };
            }
            if !jobs.is_empty() {
                self.commit(jobs);
            }
            match next {
                Some(Message::Run(work)) => {
                    if catch_unwind(AssertUnwindSafe(|| work(&mut self.connection))).is_err() {
                        tracing::error!("a maintenance step of the store panicked and was undone");
                    }
                }
                Some(Message::Close) => break,
                Some(Message::Write(_)) | None => {}
            }
        }
        receiver.close();
        if let Err(error) = self.connection.pragma_update(None, "wal_checkpoint", "TRUNCATE") {
            tracing::warn!(%error, "the write-ahead log could not be folded into the database; it will be when it is opened");
        }
    }

    /// Applies the jobs and answers them once they are durable.
    fn commit(&mut self, jobs: Vec<Job>) {
        self.metrics.batch_size.observe(u32::try_from(jobs.len()).map_or(f64::MAX, f64::from));
        for job in &jobs {
            self.metrics.queue_seconds.observe(job.queued.elapsed().as_secs_f64());
        }
        let mut batch = Batch::default();
        let mut answers = Vec::with_capacity(jobs.len());
        let result = self.apply(jobs, &mut batch, &mut answers);
        match result.and_then(|()| self.finish(&batch).map_err(|error| error.to_string())) {
            Ok(()) => {
                if !batch.new_tenants.is_empty() {
                    self.tenants.write().unwrap_or_else(PoisonError::into_inner).extend(batch.new_tenants);
                }
                for (answer, result) in answers {
                    // The client may have gone away.
                    let _ = answer.send(result);
                }
            }
            Err(error) => {
                tracing::error!(%error, writes = answers.len(), "a commit failed: none of its writes happened");
                if !self.connection.is_autocommit() {
                    let _ = self.step("ROLLBACK");
                }
                for (answer, _) in answers {
                    let _ = answer.send(Err(StoreError::Unavailable(error.clone())));
                }
            }
        }
    }

    fn apply(
        &mut self,
        jobs: Vec<Job>,
        batch: &mut Batch,
        answers: &mut Vec<(oneshot::Sender<WriteResult>, WriteResult)>,
    ) -> Result<(), String> {
        let mut usable = self.step("BEGIN IMMEDIATE").map_err(|error| error.to_string());
        let now = Timestamp::now().as_millisecond();
        let now = Timestamp::from_millisecond(now).unwrap_or(Timestamp::MAX);
        for job in jobs {
            let result = match &usable {
                Ok(()) => self.job(&job, now, batch),
                Err(error) => Err(StoreError::Unavailable(error.clone())),
            };
            // SQLite gives up the whole transaction on some errors (a full disk); what follows would
            // then run outside of it.
            if usable.is_ok() && self.connection.is_autocommit() {
                let reason = result.as_ref().err().map(ToString::to_string);
                usable = Err(reason.unwrap_or_else(|| "the transaction ended early".into()));
            }
            answers.push((job.answer, result));
        }
        usable
    }

    fn finish(&mut self, batch: &Batch) -> Sql<()> {
        for ((tenant, resource_type), by) in batch.counts.iter().filter(|(_, by)| **by != 0) {
            let sql = "INSERT INTO counter (tenant, type, n) VALUES (?1, ?2, ?3)
                       ON CONFLICT DO UPDATE SET n = n + excluded.n";
            self.connection.prepare_cached(sql)?.execute(params![tenant, resource_type, by])?;
        }
        let start = Instant::now();
        self.step("COMMIT")?;
        self.metrics.commit_seconds.observe(start.elapsed().as_secs_f64());
        Ok(())
    }

    /// One write request: its units apply one by one, and none of them if we fail.
    fn job(&self, job: &Job, now: Timestamp, batch: &mut Batch) -> WriteResult {
        let tenant = self.tenant(&job.tenant, batch).map_err(failed)?;
        let several = job.units.len() > 1;
        if several {
            self.step("SAVEPOINT job").map_err(failed)?;
        }
        let mut counts = HashMap::new();
        let result = self.units(job, tenant, now, &mut counts);
        if several {
            if result.is_err() {
                self.step("ROLLBACK TO job").map_err(failed)?;
            }
            self.step("RELEASE job").map_err(failed)?;
        }
        if result.is_ok() {
            for (resource_type, by) in counts {
                *batch.counts.entry((tenant, resource_type)).or_default() += by;
            }
        }
        result
    }

    fn units(
        &self,
        job: &Job,
        tenant: i64,
        now: Timestamp,
        counts: &mut HashMap<String, i64>,
    ) -> WriteResult {
        let mut results: Vec<UnitResult> = Vec::with_capacity(job.units.len());
        let mut errors = 0;
        for unit in &job.units {
            if job.max_errors.is_some_and(|most| errors >= most) {
                break;
            }
            let missing = unit.requires.iter().find(|index| !matches!(results.get(**index), Some(Ok(_))));
            let result = match missing {
                Some(index) => Err(Refusal::Requires(*index)),
                None => self.unit(unit, tenant, now, counts)?,
            };
            errors += usize::from(result.is_err());
            results.push(result);
        }
        Ok(results)
    }

    fn unit(
        &self,
        unit: &Unit,
        tenant: i64,
        now: Timestamp,
        counts: &mut HashMap<String, i64>,
    ) -> Result<UnitResult, StoreError> {
        self.step("SAVEPOINT unit").map_err(failed)?;
        let mut transaction = SqliteTransaction::new(&self.connection, tenant, now);
        let outcome = catch_unwind(AssertUnwindSafe(|| ready(execute(&mut transaction, unit))));
        let result = match outcome {
            Ok(Ok(Ok(outcomes))) => {
                for (resource_type, by) in transaction.counts {
                    *counts.entry(resource_type).or_default() += by;
                }
                Ok(Ok(outcomes))
            }
            Ok(Ok(Err(Undone::Refused(refusal)))) => Ok(Err(refusal)),
            Ok(Ok(Err(Undone::Failed(error))) | Err(error)) => Err(error),
            Err(_) => Err(StoreError::Internal("applying a change panicked".into())),
        };
        if !matches!(result, Ok(Ok(_))) && !self.connection.is_autocommit() {
            self.step("ROLLBACK TO unit").map_err(failed)?;
        }
        if !self.connection.is_autocommit() {
            self.step("RELEASE unit").map_err(failed)?;
        }
        result
    }

    /// The tenant's key, made when this is its first write.
    fn tenant(&self, tenant: &TenantKey, batch: &mut Batch) -> Sql<i64> {
        let known = self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(tenant).copied();
        if let Some(key) = known.or_else(|| batch.new_tenants.get(tenant).copied()) {
            return Ok(key);
        }
        let key = make_tenant(&self.connection, tenant)?;
        batch.new_tenants.insert(tenant.clone(), key);
        Ok(key)
    }

    fn step(&self, sql: &str) -> Sql<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }
}

/// The key of a tenant's row, which is made when there is none.
pub(super) fn make_tenant(connection: &Connection, tenant: &TenantKey) -> Sql<i64> {
    let find = "SELECT key FROM tenant WHERE name = ?1";
    let found = connection.query_row(find, [&*tenant.0], |row| row.get(0)).optional()?;
    if let Some(key) = found {
        return Ok(key);
    }
    connection.execute("INSERT INTO tenant (name) VALUES (?1)", [&*tenant.0])?;
    Ok(connection.last_insert_rowid())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use crate::scim::schema::{Leniency, Registry, Tolerated};
    use crate::store::sqlite::SqliteStore;
    use crate::store::{Command, Store, StoreError, TenantKey, Unit};

    fn unit(user_name: &str, extra: &str) -> Unit {
        let resource_type = Registry::core().by_name("User").map(Arc::clone).unwrap();
        let body = json!({"schemas": [resource_type.schema.id], "userName": user_name, "title": extra});
        let strict = Leniency { drop_unknown: false, string_booleans: false };
        let attributes = resource_type.normalize(body, strict, &mut Tolerated::default()).unwrap().attributes;
        let command =
            Command::Create { resource_type, id: user_name.into(), attributes, members: Vec::new() };
        Unit { commands: vec![command], requires: Vec::new() }
    }

    #[tokio::test]
    async fn full_disk_is_unavailable_and_writes_go_on_once_there_is_room() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path()).unwrap();
        let acme = TenantKey("identity/acme".into());
        store.write(&acme, vec![unit("ann", "")], None).await.unwrap();
        let limit = |pages: i64| {
            store.writer.run(move |connection| {
                connection
                    .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get::<_, i64>(0))
            })
        };
        limit(1).await.unwrap();
        let large = "x".repeat(100_000);
        let units = vec![unit("small", ""), unit("large", &large)];
        let error = store.write(&acme, units, None).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        assert_eq!(store.count(&acme, "User").await.unwrap(), 1, "none of the failed write is there");

        limit(1_000_000).await.unwrap();
        store.write(&acme, vec![unit("small", ""), unit("large", &large)], None).await.unwrap();
        assert_eq!(store.count(&acme, "User").await.unwrap(), 3);
    }

    #[tokio::test]
    async fn panic_in_the_writer_undoes_its_step_alone() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path()).unwrap();
        let acme = TenantKey("identity/acme".into());
        let panicked = store.writer.run::<()>(|connection| {
            connection.execute("INSERT INTO tenant (name) VALUES ('x')", [])?;
            panic!("on purpose")
        });
        assert!(panicked.await.is_err());
        store.write(&acme, vec![unit("ann", "")], None).await.unwrap();
        assert_eq!(store.tenants().await.unwrap(), [acme]);
    }

    #[tokio::test]
    async fn many_writes_share_a_commit() {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(directory.path()).unwrap());
        let acme = TenantKey("identity/acme".into());
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..200 {
            let (store, acme) = (Arc::clone(&store), acme.clone());
            tasks.spawn(async move {
                store.write(&acme, vec![unit(&number.to_string(), "")], None).await.unwrap()
            });
        }
        tasks.join_all().await;
        let mut registry = prometheus_client::registry::Registry::default();
        store.metrics().register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("store_commit_batch_size_count ")).unwrap();
        assert!(line.parse::<u32>().unwrap() < 100, "{text}");
        assert_eq!(store.count(&acme, "User").await.unwrap(), 200);
    }
}
