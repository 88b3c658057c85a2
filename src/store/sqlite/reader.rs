//! Connections that read. A short read runs on the thread that serves the request, for a hand-over to
//! another thread costs more than the read; a long one goes to a few connections of its own, so that it
//! neither stops the requests beside it nor crowds them out.
//!
//! Every read runs in a read transaction, so that it sees one moment. A short reader keeps its transaction
//! open while nothing is committed: entering and leaving one takes two locks of the file and costs more
//! than a point read. [`Readers::committed`] ends it, so that a later read sees the commit, and so that a
//! reader with nothing to do does not keep the write-ahead log from being folded into the database.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::available_parallelism;

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::failure::{Sql, failed};
use super::schema::open_reader;
use crate::store::StoreError;

/// How much of the file each short reader maps. Mapped pages count as resident memory, so this bounds
/// what a large database costs; beyond it pages are read into the connection's small cache.
const MMAP_BYTES: i64 = 64 << 20;

/// Rows that a short read may touch.
const SHORT: usize = 2000;

/// Why a read gave no answer.
#[derive(Debug)]
pub(super) enum ReadError {
    /// It would touch more rows than its budget.
    Long,
    /// It failed.
    Failed(StoreError),
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(failed(error))
    }
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// What a read may still touch, and what it sees.
#[derive(Debug)]
pub(super) struct Budget {
    rows: Option<usize>,
    /// The commit that it sees, or a later one.
    pub(super) commit: u64,
}

impl Budget {
    /// Takes rows from the budget.
    pub(super) fn spend(&mut self, rows: usize) -> Result<(), ReadError> {
        if let Some(left) = &mut self.rows {
            *left = left.checked_sub(rows).ok_or(ReadError::Long)?;
        }
        Ok(())
    }

    /// How many rows to fetch at most: one more than is left shows that it is too little.
    pub(super) fn limit(&self) -> usize {
        self.rows.map_or(usize::MAX, |left| left + 1)
    }

    /// Whether there is a bound.
    pub(super) fn is_short(&self) -> bool {
        self.rows.is_some()
    }
}

/// The readers of one database.
#[derive(Clone)]
pub(super) struct Readers(Arc<Shared>);

struct Shared {
    path: PathBuf,
    closed: AtomicBool,
    /// Commits so far: what a snapshot is compared with.
    commits: Arc<AtomicU64>,
    short: Box<[Slot]>,
    long: Box<[Slot]>,
    permits: Arc<Semaphore>,
}

/// A connection, opened when it is first needed.
type Slot = Mutex<Option<Reader>>;

struct Reader {
    connection: Connection,
    /// How many commits there were when its open transaction began; `None` when none is open.
    snapshot: Option<u64>,
}

impl Reader {
    /// Has a transaction open that sees at least this many commits.
    fn begin(&mut self, commits: u64) -> Sql<()> {
        if self.snapshot != Some(commits) {
            self.end()?;
            self.connection.prepare_cached("BEGIN")?.execute([])?;
            self.snapshot = Some(commits);
        }
        Ok(())
    }

    fn end(&mut self) -> Sql<()> {
        if self.snapshot.take().is_some() {
            self.connection.prepare_cached("COMMIT")?.execute([])?;
        }
        Ok(())
    }
}

thread_local! {
    /// Numbers the threads, so that each has a connection to itself while there are enough.
    static THREAD: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed)
    };
}

impl Readers {
    /// No connection is opened yet.
    pub(super) fn new(path: &Path) -> Self {
        let cores = available_parallelism().map_or(2, usize::from);
        let slots = |count| (0..count).map(|_| Mutex::new(None)).collect();
        // One for each worker thread of the runtime and a few for threads of tests and tools.
        let short = slots(cores + 2);
        let long: Box<[Slot]> = slots(cores.clamp(2, 4));
        let permits = Arc::new(Semaphore::new(long.len()));
        let (closed, commits) = (AtomicBool::new(false), Arc::default());
        Self(Arc::new(Shared { path: path.to_owned(), closed, commits, short, long, permits }))
    }

    /// Runs a read here and now, within a budget.
    pub(super) fn short<T>(
        &self,
        read: impl FnOnce(&Connection, &mut Budget) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let first = THREAD.with(|number| *number);
        self.0.read(&self.0.short, first, Some(SHORT), read)
    }

    /// Runs a read on another thread, however long it takes, when one of the long readers is free.
    pub(super) async fn long<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection, &mut Budget) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.0);
        let permit = Arc::clone(&shared.permits).acquire_owned().await.map_err(|_| StoreError::Closing)?;
        let task = tokio::task::spawn_blocking(move || {
            let result = shared.read(&shared.long, 0, None, read);
            drop(permit);
            result
        });
        match task.await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(ReadError::Failed(error))) => Err(error),
            Ok(Err(ReadError::Long)) => {
                Err(StoreError::Internal("a read without a budget ran out of it".into()))
            }
            Err(_) => Err(StoreError::Internal("a read panicked".into())),
        }
    }

    /// Says that something was committed; the writer does so before it tells anybody else.
    pub(super) fn committed(&self) {
        self.0.commits.fetch_add(1, Ordering::SeqCst);
        for slot in &self.0.short {
            // A reader that is busy sees the new count when it reads next.
            if let Ok(mut slot) = slot.try_lock()
                && let Some(reader) = slot.as_mut()
                && reader.end().is_err()
            {
                *slot = None;
            }
        }
    }

    /// How many commits there were.
    pub(super) fn commits(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.0.commits)
    }

    /// Whether reads are still answered, for those that need no connection.
    pub(super) fn alive(&self) -> Result<(), StoreError> {
        if self.0.closed.load(Ordering::SeqCst) { Err(StoreError::Closing) } else { Ok(()) }
    }

    /// Closes the connections, each when its read is done.
    pub(super) fn close(&self) {
        self.0.closed.store(true, Ordering::SeqCst);
        self.0.permits.close();
        for slot in self.0.short.iter().chain(&self.0.long) {
            slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }
}

impl Shared {
    fn read<T>(
        &self,
        slots: &[Slot],
        first: usize,
        rows: Option<usize>,
        read: impl FnOnce(&Connection, &mut Budget) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let mut slot = take(slots, first);
        if self.closed.load(Ordering::SeqCst) {
            return Err(StoreError::Closing.into());
        }
        let short = std::ptr::eq(slots, &raw const *self.short);
        // Taken out while in use: a read that fails or panics leaves no half-read connection behind.
        let mut reader = if let Some(reader) = slot.take() {
            reader
        } else {
            let connection = open_reader(&self.path, if short { MMAP_BYTES } else { 0 })?;
            Reader { connection, snapshot: None }
        };
        let commit = self.commits.load(Ordering::SeqCst);
        reader.begin(commit)?;
        let mut budget = Budget { rows, commit };
        let result = read(&reader.connection, &mut budget);
        if !short {
            reader.end()?;
        }
        if !matches!(result, Err(ReadError::Failed(_))) {
            *slot = Some(reader);
        }
        result
    }
}

/// A free slot, beginning with the thread's own; that one is waited for when none is.
fn take(slots: &[Slot], first: usize) -> MutexGuard<'_, Option<Reader>> {
    for offset in 0..slots.len() {
        match slots[(first + offset) % slots.len()].try_lock() {
            Ok(guard) => return guard,
            Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {}
        }
    }
    slots[first % slots.len()].lock().unwrap_or_else(PoisonError::into_inner)
}
