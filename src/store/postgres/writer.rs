//! The way of a write: it waits in its tenant's queue, and a task takes all that wait there and makes them durable
//! with one commit (`batch.rs`). Tenants do not wait for each other but for connections, of which each tenant has
//! one at a time; nobody is told that a write succeeded before the database has it.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::batch;
use super::pool::Pool;
use super::tenants::Tenants;
use crate::store::idempotency::{Keyed, Once, Render};
use crate::store::metrics::StoreMetrics;
use crate::store::{StoreError, TenantKey, UnitResult, Write};

/// How long a write may take, waiting included.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);
/// Writes of one tenant that wait at most.
const QUEUE: usize = 4096;
/// Write requests in one commit at most.
const MAX_BATCH: usize = 256;
/// Units in one commit at most, give or take the last request's.
const MAX_BATCH_UNITS: usize = 2048;

/// What a write request comes to.
pub(super) type WriteResult = Result<Done, StoreError>;

/// What became of a write request.
pub(super) enum Done {
    /// Of its units, when it has no key.
    Units(Vec<UnitResult>),
    /// Of the whole, when it has one.
    Once(Once),
}

/// One write request.
pub(super) struct Job {
    pub write: Write,
    /// Its idempotency key, and how its answer is made.
    pub once: Option<(Keyed, Render)>,
}

/// A write that waits, and who waits for it.
struct Waiting {
    job: Job,
    queued: Instant,
    answer: oneshot::Sender<WriteResult>,
}

/// The way to the database for writes. Cloning shares it.
#[derive(Clone)]
pub(super) struct Writer {
    pool: Pool,
    tenants: Tenants,
    metrics: StoreMetrics,
    /// The queues of the tenants that have a task at work.
    queues: Arc<Mutex<HashMap<TenantKey, VecDeque<Waiting>>>>,
}

impl Writer {
    pub(super) fn new(pool: Pool, tenants: Tenants, metrics: StoreMetrics) -> Self {
        Self { pool, tenants, metrics, queues: Arc::default() }
    }

    /// Queues a write and waits until it is durable.
    pub(super) async fn write(
        &self,
        tenant: &TenantKey,
        write: Write,
    ) -> Result<Vec<UnitResult>, StoreError> {
        match self.apply(tenant, Job { write, once: None }).await? {
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
        match self.apply(tenant, Job { write, once: Some((keyed, render)) }).await? {
            Done::Once(once) => Ok(once),
            Done::Units(_) => Err(StoreError::Internal("a write with a key was answered as without".into())),
        }
    }

    async fn apply(&self, tenant: &TenantKey, job: Job) -> WriteResult {
        let (answer, result) = oneshot::channel();
        let waiting = Waiting { job, queued: Instant::now(), answer };
        let idle = {
            let mut queues = self.queues();
            if let Some(queue) = queues.get_mut(tenant) {
                if queue.len() >= QUEUE {
                    return Err(StoreError::Unavailable(format!(
                        "{QUEUE} writes of the tenant wait already"
                    )));
                }
                queue.push_back(waiting);
                false
            } else {
                queues.insert(tenant.clone(), VecDeque::from([waiting]));
                true
            }
        };
        if idle {
            // A task of its own: a client that goes away does not stop the others' writes.
            tokio::spawn(self.clone().run(tenant.clone()));
        }
        result.await.map_err(|_| StoreError::Internal("a write was not answered".into()))?
    }

    /// Writes what waits for a tenant until nothing does.
    async fn run(self, tenant: TenantKey) {
        while let Some(batch) = self.take(&tenant) {
            self.commit(&tenant, batch).await;
        }
    }

    /// The next batch; the queue goes when there is none.
    fn take(&self, tenant: &TenantKey) -> Option<Vec<Waiting>> {
        let mut queues = self.queues();
        let queue = queues.get_mut(tenant)?;
        let (mut batch, mut units) = (Vec::new(), 0);
        while let Some(waiting) = queue.pop_front() {
            units += waiting.job.write.units.len();
            batch.push(waiting);
            if batch.len() >= MAX_BATCH || units >= MAX_BATCH_UNITS {
                break;
            }
        }
        if batch.is_empty() {
            queues.remove(tenant);
            return None;
        }
        Some(batch)
    }

    async fn commit(&self, tenant: &TenantKey, waiting: Vec<Waiting>) {
        let (mut jobs, mut answers) = (Vec::with_capacity(waiting.len()), Vec::with_capacity(waiting.len()));
        let mut oldest = Instant::now();
        for Waiting { job, queued, answer } in waiting {
            self.metrics.queue_seconds.observe(queued.elapsed().as_secs_f64());
            if queued.elapsed() >= DEADLINE {
                let _ = answer.send(Err(StoreError::Unavailable("the database is too slow".into())));
                continue;
            }
            oldest = oldest.min(queued);
            jobs.push(job);
            answers.push(answer);
        }
        if jobs.is_empty() {
            return;
        }
        self.metrics.batch_size.observe(u32::try_from(jobs.len()).map_or(f64::MAX, f64::from));
        let deadline = oldest + DEADLINE;
        match self.attempt(tenant, &jobs, deadline).await {
            Ok(results) => {
                for (answer, result) in answers.into_iter().zip(results) {
                    // The client may have gone away.
                    let _ = answer.send(result);
                }
            }
            // What one of them asks cannot be done: the others do not suffer for it.
            Err(StoreError::Internal(_)) if jobs.len() > 1 => {
                for (job, answer) in jobs.iter().zip(answers) {
                    let result = self.attempt(tenant, std::slice::from_ref(job), deadline).await;
                    let _ = answer.send(result.and_then(|mut results| {
                        results
                            .pop()
                            .unwrap_or_else(|| Err(StoreError::Internal("a write has no result".into())))
                    }));
                }
            }
            Err(error) => {
                for answer in answers {
                    let _ = answer.send(Err(error.clone()));
                }
            }
        }
    }

    async fn attempt(
        &self,
        tenant: &TenantKey,
        jobs: &[Job],
        deadline: Instant,
    ) -> Result<Vec<WriteResult>, StoreError> {
        let commit = batch::commit(&self.pool, &self.tenants, &self.metrics, tenant, jobs, deadline);
        let done = AssertUnwindSafe(commit).catch_unwind().await;
        let done = done.unwrap_or_else(|_| Err(StoreError::Internal("applying writes panicked".into())));
        if let Err(error) = &done {
            tracing::error!(%error, writes = jobs.len(), "a commit failed: none of its writes is acknowledged");
        }
        done
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<TenantKey, VecDeque<Waiting>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
