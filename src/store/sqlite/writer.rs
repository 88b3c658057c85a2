//! The one writer: a thread that takes every write waiting for it and makes all of them durable with one
//! commit (`batch.rs`), that is one flush to disk. Nobody is told that a write succeeded before the
//! disk has it.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Instant;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::anchors::Anchors;
use super::batch::{self, Done, Index, Job, WriteResult};
use super::changes::Heads;
use super::failure::{Sql, failed};
use super::reader::Readers;
use super::shape::Shapes;
use crate::store::idempotency::{Keyed, Once, Render};
use crate::store::metrics::StoreMetrics;
use crate::store::{StoreError, TenantKey, UnitResult, Write};

/// Writes that wait; past that, writers wait for a place.
const QUEUE: usize = 1024;
/// Write requests in one commit at most.
const MAX_BATCH: usize = 256;
/// Units in one commit at most, give or take the last request's.
const MAX_BATCH_UNITS: usize = 2048;

/// The keys of the tenants that have a row. Only the writer adds to it, after its commit, so that
/// what is missing here has no data.
pub(super) type Tenants = Arc<RwLock<HashMap<TenantKey, i64>>>;

/// A write that waits, and who waits for it.
struct Waiting {
    job: Job,
    queued: Instant,
    answer: oneshot::Sender<WriteResult>,
}

enum Message {
    Write(Waiting),
    Run(Box<dyn FnOnce(&mut Connection) + Send>),
    Close,
}

/// The way to the writer's thread.
pub(super) struct Writer {
    sender: mpsc::Sender<Message>,
    readers: Readers,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread on a connection that nobody else writes with.
    pub(super) fn start(
        connection: Connection,
        tenants: Tenants,
        shapes: Shapes,
        leavers: HashSet<i64>,
        anchors: Anchors,
        readers: Readers,
        metrics: StoreMetrics,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let heads = Heads::new();
        let leavers = RefCell::new(leavers);
        let worker = Worker {
            connection,
            tenants,
            shapes,
            heads,
            leavers,
            anchors,
            readers: readers.clone(),
            metrics,
        };
        let thread =
            std::thread::Builder::new().name("store-writer".into()).spawn(|| worker.run(receiver))?;
        Ok(Self { sender, readers, thread: Mutex::new(Some(thread)) })
    }

    /// Queues a write and waits until it is durable.
    pub(super) async fn write(
        &self,
        tenant: &TenantKey,
        write: Write,
    ) -> Result<Vec<UnitResult>, StoreError> {
        match self.apply(Job { tenant: tenant.clone(), write, once: None }).await? {
            Done::Units(results) => Ok(results),
            Done::Once(_) => {
                Err(StoreError::Internal("a write without a key was answered as with one".into()))
            }
        }
    }

    /// As [`Self::write`], once for each key.
    pub(super) async fn write_once(
        &self,
        tenant: &TenantKey,
        write: Write,
        keyed: Keyed,
        render: Render,
    ) -> Result<Once, StoreError> {
        match self.apply(Job { tenant: tenant.clone(), write, once: Some((keyed, render)) }).await? {
            Done::Once(once) => Ok(once),
            Done::Units(_) => Err(StoreError::Internal("a write with a key was answered as without".into())),
        }
    }

    async fn apply(&self, job: Job) -> WriteResult {
        let (answer, result) = oneshot::channel();
        let waiting = Waiting { job, queued: Instant::now(), answer };
        self.sender.send(Message::Write(waiting)).await.map_err(|_| StoreError::Closing)?;
        result.await.map_err(|_| StoreError::Closing)?
    }

    /// Runs something in a transaction of its own, between batches.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Sql<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, result) = oneshot::channel();
        let readers = self.readers.clone();
        let message = Message::Run(Box::new(move |connection| {
            let done = connection.transaction().and_then(|transaction| {
                let output = work(&transaction)?;
                transaction.commit()?;
                Ok(output)
            });
            readers.committed();
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

struct Worker {
    connection: Connection,
    tenants: Tenants,
    shapes: Shapes,
    /// Nobody else appends to the audit log.
    heads: Heads,
    /// The tenants that may have retained resources or awaited members: nothing is looked up for others.
    leavers: RefCell<HashSet<i64>>,
    anchors: Anchors,
    readers: Readers,
    metrics: StoreMetrics,
}

impl Worker {
    fn run(mut self, mut receiver: mpsc::Receiver<Message>) {
        while let Some(first) = receiver.blocking_recv() {
            let mut jobs = Vec::new();
            let mut answers = Vec::new();
            let mut units = 0;
            let mut next = Some(first);
            while let Some(Message::Write(Waiting { job, queued, answer })) = next {
                self.metrics.queue_seconds.observe(queued.elapsed().as_secs_f64());
                units += job.write.units.len();
                jobs.push(job);
                answers.push(answer);
                let full = jobs.len() >= MAX_BATCH || units >= MAX_BATCH_UNITS;
                next = if full { None } else { receiver.try_recv().ok() };
            }
            if !jobs.is_empty() {
                self.commit(&jobs, answers);
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

    /// Commits the jobs and answers them.
    fn commit(&mut self, jobs: &[Job], answers: Vec<oneshot::Sender<WriteResult>>) {
        self.metrics.batch_size.observe(u32::try_from(jobs.len()).map_or(f64::MAX, f64::from));
        let (tenants, shapes, heads) = (&self.tenants, &self.shapes, &mut self.heads);
        let index = Index { leavers: &self.leavers, anchors: &self.anchors };
        match batch::commit(&self.connection, tenants, shapes, heads, index, &self.metrics, jobs) {
            Ok(results) => {
                self.readers.committed();
                for (answer, result) in answers.into_iter().zip(results) {
                    // The client may have gone away.
                    let _ = answer.send(result);
                }
            }
            Err(error) => {
                tracing::error!(%error, writes = jobs.len(), "a commit failed: none of its writes happened");
                for answer in answers {
                    let _ = answer.send(Err(StoreError::Unavailable(error.clone())));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use crate::scim::dialect::{Rules, Tolerated};
    use crate::scim::schema::Registry;
    use crate::store::sqlite::SqliteStore;
    use crate::store::{Command, Origin, Policy, Store, StoreError, TenantKey, Unit, Write};

    fn unit(user_name: &str, extra: &str) -> Unit {
        let resource_type = Registry::core().by_name("User").map(Arc::clone).unwrap();
        let body = json!({"schemas": [resource_type.schema.id], "userName": user_name, "title": extra});
        let attributes =
            resource_type.normalize(body, Rules::NONE, &mut Tolerated::default()).unwrap().attributes;
        let command = Command::Create {
            resource_type,
            id: user_name.into(),
            attributes,
            members: Vec::new(),
            discarded: Vec::new(),
        };
        Unit { commands: vec![command], requires: Vec::new() }
    }

    fn write(units: Vec<Unit>) -> Write {
        let (origin, policy): (Arc<Origin>, Arc<Policy>) = Default::default();
        Write { units, max_errors: None, origin, policy }
    }

    #[tokio::test]
    async fn full_disk_is_unavailable_and_writes_go_on_once_there_is_room() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path()).unwrap();
        let acme = TenantKey("identity/acme".into());
        store.write(&acme, write(vec![unit("ann", "")])).await.unwrap();
        let limit = |pages: i64| {
            store.writer.run(move |connection| {
                connection
                    .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get::<_, i64>(0))
            })
        };
        limit(1).await.unwrap();
        let large = "x".repeat(100_000);
        let units = vec![unit("small", ""), unit("large", &large)];
        let error = store.write(&acme, write(units)).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        assert_eq!(store.count(&acme, "User").await.unwrap(), 1, "none of the failed write is there");

        limit(1_000_000).await.unwrap();
        store.write(&acme, write(vec![unit("small", ""), unit("large", &large)])).await.unwrap();
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
        store.write(&acme, write(vec![unit("ann", "")])).await.unwrap();
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
                store.write(&acme, write(vec![unit(&number.to_string(), "")])).await.unwrap()
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
