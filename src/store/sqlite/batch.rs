//! Many writes in one transaction, each all or none.
//!
//! To undo one write alone takes savepoints, for which SQLite copies every page before it changes; but
//! almost every write succeeds, or is refused before it has changed anything. So a batch is first applied
//! without savepoints. Only when one of its writes has something to undo, the batch is rolled back and
//! applied again with them.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::time::Instant;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::anchors::Anchors;
use super::changes::{self, Head, Heads};
use super::failure::{Sql, failed};
use super::idempotency;
use super::shape::Shapes;
use super::transaction::{SqliteTransaction, ready};
use super::writer::Tenants;
use crate::store::execute::{Undone, execute};
use crate::store::idempotency::{Keyed, Once, Render};
use crate::store::lifecycle::Setting;
use crate::store::metrics::StoreMetrics;
use crate::store::{Origin, Refusal, StoreError, TenantKey, Unit, UnitResult, Write};

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
    pub tenant: TenantKey,
    pub write: Write,
    /// Its idempotency key, and how its answer is made.
    pub once: Option<(Keyed, Render)>,
}

/// What the writer knows beside the database, and keeps right while it writes.
#[derive(Clone, Copy)]
pub(super) struct Index<'w> {
    /// The tenants that may have retained resources or awaited members.
    pub leavers: &'w RefCell<HashSet<i64>>,
    /// Where pages of lists began.
    pub anchors: &'w Anchors,
}

/// Applies jobs and makes them durable. An error means that none of them happened.
pub(super) fn commit(
    connection: &Connection,
    tenants: &Tenants,
    shapes: &Shapes,
    heads: &mut Heads,
    index: Index<'_>,
    metrics: &StoreMetrics,
    jobs: &[Job],
) -> Result<Vec<WriteResult>, String> {
    let now = Timestamp::now().as_millisecond();
    let now = Timestamp::from_millisecond(now).unwrap_or(Timestamp::MAX);
    let mut attempt = |savepoints| {
        let (new_tenants, counts, moved) = Default::default();
        let known = &*heads;
        let mut batch = Batch {
            connection,
            tenants,
            shapes,
            index,
            savepoints,
            now,
            new_tenants,
            counts,
            heads: known,
            moved,
        };
        let done = batch.apply(jobs).and_then(|results| {
            batch.finish(metrics).map_err(|error| Stop::Lost(error.to_string()))?;
            Ok(results)
        });
        let moved = batch.moved;
        if done.is_err() && !connection.is_autocommit() {
            // What is left to be said of this transaction is in the error already.
            let _ = step(connection, "ROLLBACK");
        }
        if done.is_ok() {
            heads.extend(moved);
        }
        done
    };
    match attempt(false) {
        Err(Stop::Undo) => attempt(true),
        done => done,
    }
    .map_err(|stop| match stop {
        Stop::Lost(reason) => reason,
        Stop::Undo => "a write could not be undone".into(),
    })
}

/// Why a transaction was given up.
enum Stop {
    /// It holds changes of a write that failed, and has no savepoint to go back to.
    Undo,
    /// The database gave it up.
    Lost(String),
}

/// The open transaction.
struct Batch<'b> {
    connection: &'b Connection,
    tenants: &'b Tenants,
    index: Index<'b>,
    shapes: &'b Shapes,
    savepoints: bool,
    now: Timestamp,
    new_tenants: HashMap<TenantKey, i64>,
    /// How the number of each tenant's resources of each type moves.
    counts: HashMap<(i64, String), i64>,
    /// Each tenant's newest row of the audit log, before this batch.
    heads: &'b Heads,
    /// The same, where this batch has appended.
    moved: Heads,
}

impl Batch<'_> {
    fn apply(&mut self, jobs: &[Job]) -> Result<Vec<WriteResult>, Stop> {
        step(self.connection, "BEGIN IMMEDIATE").map_err(|error| Stop::Lost(error.to_string()))?;
        let mut results = Vec::with_capacity(jobs.len());
        for job in jobs {
            let result = self.job(job);
            // SQLite gives up the whole transaction on some errors (a full disk); what follows would
            // then run outside of it.
            if self.connection.is_autocommit() {
                let reason =
                    result.err().map_or("the transaction ended early".into(), |error| error.to_string());
                return Err(Stop::Lost(reason));
            }
            if result.is_err() && !self.savepoints {
                return Err(Stop::Undo);
            }
            results.push(result);
        }
        Ok(results)
    }

    /// Writes what is kept for the whole batch, and commits.
    fn finish(&mut self, metrics: &StoreMetrics) -> Sql<()> {
        for ((tenant, resource_type), by) in self.counts.iter().filter(|(_, by)| **by != 0) {
            let sql = "INSERT INTO counter (tenant, type, n) VALUES (?1, ?2, ?3)
                       ON CONFLICT DO UPDATE SET n = n + excluded.n";
            self.connection.prepare_cached(sql)?.execute(params![tenant, resource_type, by])?;
        }
        let start = Instant::now();
        step(self.connection, "COMMIT")?;
        metrics.commit_seconds.observe(start.elapsed().as_secs_f64());
        if !self.new_tenants.is_empty() {
            self.tenants.write().unwrap_or_else(PoisonError::into_inner).extend(self.new_tenants.drain());
        }
        Ok(())
    }

    /// One write request: its units apply one by one, and none of them if we fail.
    fn job(&mut self, job: &Job) -> WriteResult {
        let tenant = self.tenant(&job.tenant).map_err(failed)?;
        if let Some((keyed, _)) = &job.once
            && let Some(recalled) = idempotency::recall(self.connection, tenant, keyed).map_err(failed)?
        {
            return Ok(Done::Once(Once::Before(recalled)));
        }
        let mut counts = HashMap::new();
        let mut head = self.head(tenant).map_err(failed)?;
        let done = self.undoable("job", job.write.units.len() > 1 || job.once.is_some(), || {
            let done = self
                .units(job, tenant, &mut counts, &mut head)
                .and_then(|results| self.answer(job, tenant, results));
            let keep = done.is_ok();
            (done, keep)
        })?;
        self.moved.insert(tenant, head);
        for (resource_type, by) in counts {
            *self.counts.entry((tenant, resource_type)).or_default() += by;
        }
        Ok(done)
    }

    /// Makes and remembers the answer of a write that has a key.
    fn answer(&self, job: &Job, tenant: i64, results: Vec<UnitResult>) -> WriteResult {
        let Some((keyed, render)) = &job.once else { return Ok(Done::Units(results)) };
        let answer = catch_unwind(AssertUnwindSafe(|| render.render(results)))
            .map_err(|_| StoreError::Internal("making an answer panicked".into()))??;
        idempotency::remember(self.connection, tenant, keyed, self.now, &answer).map_err(failed)?;
        Ok(Done::Once(Once::First(answer)))
    }

    fn units(
        &self,
        job: &Job,
        tenant: i64,
        counts: &mut HashMap<String, i64>,
        head: &mut Head,
    ) -> Result<Vec<UnitResult>, StoreError> {
        let mut results: Vec<UnitResult> = Vec::with_capacity(job.write.units.len());
        let mut errors = 0;
        let mut setting = Setting::new(&job.write.policy);
        for unit in &job.write.units {
            if job.write.max_errors.is_some_and(|most| errors >= most) {
                break;
            }
            let missing = unit.requires.iter().find(|index| !matches!(results.get(**index), Some(Ok(_))));
            let result = match missing {
                Some(index) => Err(Refusal::Requires(*index)),
                None => self.unit(&job.write.origin, unit, &mut setting, tenant, counts, head)?,
            };
            errors += usize::from(result.is_err());
            results.push(result);
        }
        Ok(results)
    }

    fn unit(
        &self,
        origin: &Origin,
        unit: &Unit,
        setting: &mut Setting<'_>,
        tenant: i64,
        counts: &mut HashMap<String, i64>,
        head: &mut Head,
    ) -> Result<UnitResult, StoreError> {
        let before = self.connection.total_changes();
        let result = self.undoable("unit", true, || {
            let types = self.shapes.types(tenant);
            let mut transaction =
                SqliteTransaction::new(self.connection, tenant, self.now, origin, types, *head, self.index);
            let outcome = catch_unwind(AssertUnwindSafe(|| ready(execute(&mut transaction, setting, unit))));
            let result = match outcome {
                Ok(Ok(Ok(outcomes))) => {
                    *head = transaction.head;
                    for (resource_type, by) in transaction.counts {
                        *counts.entry(resource_type).or_default() += by;
                    }
                    Ok(Ok(outcomes))
                }
                Ok(Ok(Err(Undone::Refused(refusal)))) => Ok(Err(refusal)),
                Ok(Ok(Err(Undone::Failed(error))) | Err(error)) => Err(error),
                Err(_) => Err(StoreError::Internal("applying a change panicked".into())),
            };
            let keep = matches!(result, Ok(Ok(_)));
            (result, keep)
        })?;
        if result.is_err() && !self.savepoints && self.connection.total_changes() != before {
            return Err(StoreError::Internal("a refused change left something behind".into()));
        }
        Ok(result)
    }

    /// Runs work in a savepoint, where this batch has them, and undoes it when it is not to be kept.
    fn undoable<T>(
        &self,
        name: &str,
        needed: bool,
        work: impl FnOnce() -> (Result<T, StoreError>, bool),
    ) -> Result<T, StoreError> {
        if !(needed && self.savepoints) {
            return work().0;
        }
        step(self.connection, &format!("SAVEPOINT {name}")).map_err(failed)?;
        let (result, keep) = work();
        if !self.connection.is_autocommit() {
            if !keep {
                step(self.connection, &format!("ROLLBACK TO {name}")).map_err(failed)?;
            }
            step(self.connection, &format!("RELEASE {name}")).map_err(failed)?;
        }
        result
    }

    /// The tenant's newest row of the audit log; read once, and kept from then on.
    fn head(&self, tenant: i64) -> Sql<Head> {
        match self.moved.get(&tenant).or_else(|| self.heads.get(&tenant)) {
            Some(head) => Ok(*head),
            None => changes::head(self.connection, tenant),
        }
    }

    /// The tenant's key, made when this is its first write.
    fn tenant(&mut self, tenant: &TenantKey) -> Sql<i64> {
        let known = self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(tenant).copied();
        if let Some(key) = known.or_else(|| self.new_tenants.get(tenant).copied()) {
            return Ok(key);
        }
        let key = make_tenant(self.connection, tenant)?;
        self.new_tenants.insert(tenant.clone(), key);
        Ok(key)
    }
}

fn step(connection: &Connection, sql: &str) -> Sql<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
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
