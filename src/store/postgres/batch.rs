//! Many writes of one tenant in one transaction, each all or none.
//!
//! Almost every write succeeds, or is refused before it has changed anything. So a batch is first applied
//! without savepoints, in memory as far as that goes. Only when one of its writes has something to undo, the
//! batch is rolled back and applied again, step by step.
//!
//! A transaction whose answer to COMMIT is lost may have been committed or not. The audit log tells: the row that
//! would be its first is there and carries its number, or it is not there and never will be, for the tenant's
//! row was locked until then.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant as Clock;

use futures::FutureExt as _;
use jiff::Timestamp;
use tokio::time::Instant;

use super::failure::Failure;
use super::fetch::Wanted;
use super::idempotency::Fresh;
use super::pool::{Link, Pool};
use super::tenants::{State, Tenants, random};
use super::transaction::PostgresTransaction;
use super::value::{Step, get};
use super::work::Work;
use super::writer::{Done, Job, WriteResult};
use crate::store::execute::{Undone, execute};
use crate::store::idempotency::{Keyed, Once, Recalled};
use crate::store::lifecycle::Setting;
use crate::store::metrics::StoreMetrics;
use crate::store::{Origin, Refusal, StoreError, TenantKey, Unit, UnitResult};

/// How often a transaction that met another is run again.
const ATTEMPTS: usize = 8;

/// Nobody waits for others, or idles with a lock, for longer than a request does.
const BEGIN: Step = Step::Begin(
    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = '8s'; \
     SET LOCAL idle_in_transaction_session_timeout = '5s'",
);

/// Applies jobs of one tenant and makes them durable, until a deadline. An error means that none of them
/// happened, as far as can be told.
pub(super) async fn commit(
    pool: &Pool,
    tenants: &Tenants,
    metrics: &StoreMetrics,
    tenant: &TenantKey,
    jobs: &[Job],
    deadline: Instant,
) -> Result<Vec<WriteResult>, StoreError> {
    let mut careful = false;
    let mut conflicts = 0;
    // A commit whose answer was lost: the results, if it is there.
    let mut doubtful: Option<Doubt> = None;
    loop {
        let mut link = pool.link(deadline).await?;
        if let Some(doubt) = doubtful.take() {
            match doubt.settle(&mut link).await {
                Ok(Some(results)) => return Ok(results),
                Ok(None) => {}
                Err((Failure::Lost(reason), doubt)) => {
                    wait(&reason, deadline).await?;
                    doubtful = Some(doubt);
                    continue;
                }
                Err((failure, _)) => return Err(failure.into()),
            }
        }
        let stop = match attempt(&mut link, tenants, metrics, tenant, jobs, careful).await {
            Ok(results) => return Ok(results),
            Err(stop) => stop,
        };
        link.roll_back().await;
        drop(link);
        match stop {
            Stop::Undo => careful = true,
            Stop::Doubt(doubt, reason) => {
                wait(&reason, deadline).await?;
                doubtful = Some(doubt);
            }
            Stop::Failed(Failure::Moved) => {
                tenants.forget(tenant);
                conflicts += 1;
                if conflicts == ATTEMPTS {
                    return Err(Failure::Moved.into());
                }
            }
            Stop::Failed(Failure::Conflict(reason)) => {
                conflicts += 1;
                if conflicts == ATTEMPTS {
                    return Err(Failure::Conflict(reason).into());
                }
                wait(&reason, deadline).await?;
            }
            Stop::Failed(Failure::Lost(reason)) => wait(&reason, deadline).await?,
            Stop::Failed(failure) => return Err(failure.into()),
        }
    }
}

/// A moment before the next attempt, while there is time for one.
async fn wait(reason: &str, deadline: Instant) -> Result<(), StoreError> {
    let jitter = random().unwrap_or(0).rem_euclid(40).unsigned_abs();
    let moment = std::time::Duration::from_millis(10 + jitter);
    if Instant::now() + moment >= deadline {
        return Err(StoreError::Unavailable(reason.to_owned()));
    }
    tokio::time::sleep(moment).await;
    Ok(())
}

/// Why a transaction was given up.
enum Stop {
    /// It holds changes of a write that failed, and has no savepoint to go back to.
    Undo,
    /// It may have been committed.
    Doubt(Doubt, String),
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// A commit that was not answered.
struct Doubt {
    tenant: i64,
    batch: i64,
    /// Of the first row that it appended to the audit log.
    sequence: i64,
    results: Vec<WriteResult>,
}

impl Doubt {
    /// The results, if it was committed.
    async fn settle(self, link: &mut Link) -> Result<Option<Vec<WriteResult>>, (Failure, Self)> {
        // Granted when the transaction in question has ended, one way or the other.
        let lock = State::lock(self.tenant);
        let sql = "SELECT 1 FROM scim.change WHERE tenant = $1 AND sequence = $2 AND batch = $3";
        let values = [self.tenant.into(), self.sequence.into(), self.batch.into()];
        match link.send(&[BEGIN, lock, Step::new(sql, values), Step::End("COMMIT")]).await {
            Ok(answers) => {
                let found = answers.get(2).is_some_and(|rows| !rows.is_empty());
                Ok(found.then_some(self.results))
            }
            Err(failure) => Err((failure, self)),
        }
    }
}

async fn attempt(
    link: &mut Link,
    tenants: &Tenants,
    metrics: &StoreMetrics,
    tenant: &TenantKey,
    jobs: &[Job],
    careful: bool,
) -> Result<Vec<WriteResult>, Stop> {
    let number = tenants.make(link, tenant).await?;
    let now = Timestamp::now().as_millisecond();
    let now = Timestamp::from_millisecond(now).unwrap_or(Timestamp::MAX);
    let wanted = Wanted::by(jobs);
    let mut steps = vec![BEGIN, State::lock(number)];
    steps.extend(wanted.steps(number, jobs));
    let mut answers = link.send(&steps).await?;
    let fetched = answers.split_off(2);
    let state = State::locked(&answers[1])?;
    let first = state.head + 1;
    let mut work = Work::new(link, number, now, random()?, state);
    let recalled = wanted.learn(&mut work, jobs, fetched)?;
    let batch = work.batch;
    let mut applied = Batch { work, careful, recalled, answered: HashMap::new() };
    let results = applied.apply(jobs).await?;
    let mut work = applied.work;
    let appended = work.state.head >= first;
    let start = Clock::now();
    let committed = work.commit().await;
    metrics.commit_seconds.observe(start.elapsed().as_secs_f64());
    match committed {
        Ok(()) => Ok(results),
        // What appended nothing may be done again as well.
        Err(Failure::Lost(reason)) if appended => {
            Err(Stop::Doubt(Doubt { tenant: number, batch, sequence: first, results }, reason))
        }
        Err(failure) => Err(failure.into()),
    }
}

/// The open transaction.
struct Batch<'l> {
    work: Work<'l>,
    careful: bool,
    /// What was known of the jobs' keys before, by job.
    recalled: BTreeMap<usize, Recalled>,
    /// Answers of this very transaction, by key.
    answered: HashMap<[u8; 32], Fresh>,
}

impl Batch<'_> {
    async fn apply(&mut self, jobs: &[Job]) -> Result<Vec<WriteResult>, Stop> {
        let mut results = Vec::with_capacity(jobs.len());
        for (number, job) in jobs.iter().enumerate() {
            let result = self.job(number, job).await;
            if let Some(failure) = self.work.failure.take() {
                return Err(failure.into());
            }
            if result.is_err() && !self.careful {
                return Err(Stop::Undo);
            }
            results.push(result);
        }
        Ok(results)
    }

    /// One write request: its units apply one by one, and none of them if we fail.
    async fn job(&mut self, number: usize, job: &Job) -> WriteResult {
        if let Some((keyed, _)) = &job.once
            && let Some(recalled) = self.recall(number, keyed)
        {
            return Ok(Done::Once(Once::Before(recalled)));
        }
        let state = self.save("job").await?;
        let result = match self.units(job).await {
            Ok(results) => self.answer(job, results),
            Err(error) => Err(error),
        };
        self.settle("job", state, result.is_ok()).await?;
        result
    }

    fn recall(&self, number: usize, keyed: &Keyed) -> Option<Recalled> {
        if let Some(fresh) = self.answered.get(&keyed.key) {
            let same = fresh.keyed.request == keyed.request;
            return Some(if same { Recalled::Answer(fresh.answer.clone()) } else { Recalled::OtherRequest });
        }
        self.recalled.get(&number).cloned()
    }

    /// Makes and remembers the answer of a write that has a key.
    fn answer(&mut self, job: &Job, results: Vec<UnitResult>) -> WriteResult {
        let Some((keyed, render)) = &job.once else { return Ok(Done::Units(results)) };
        let answer = catch_unwind(AssertUnwindSafe(|| render.render(results)))
            .map_err(|_| StoreError::Internal("making an answer panicked".into()))??;
        let fresh = || Fresh { keyed: *keyed, answered: self.work.now, answer: answer.clone() };
        self.answered.insert(keyed.key, fresh());
        let fresh = fresh();
        self.work.pending.answers.push(fresh);
        Ok(Done::Once(Once::First(answer)))
    }

    async fn units(&mut self, job: &Job) -> Result<Vec<UnitResult>, StoreError> {
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
                None => self.unit(&job.write.origin, unit, &mut setting).await?,
            };
            errors += usize::from(result.is_err());
            results.push(result);
        }
        Ok(results)
    }

    async fn unit(
        &mut self,
        origin: &Origin,
        unit: &Unit,
        setting: &mut Setting<'_>,
    ) -> Result<UnitResult, StoreError> {
        let before = self.work.changes;
        let state = self.save("unit").await?;
        let mut transaction = PostgresTransaction { work: &mut self.work, origin };
        let outcome = AssertUnwindSafe(execute(&mut transaction, setting, unit)).catch_unwind().await;
        let result = match outcome {
            Ok(Ok(outcomes)) => Ok(Ok(outcomes)),
            Ok(Err(Undone::Refused(refusal))) => Ok(Err(refusal)),
            Ok(Err(Undone::Failed(error))) => Err(error),
            Err(_) => Err(StoreError::Internal("applying a change panicked".into())),
        };
        let keep = matches!(result, Ok(Ok(_)));
        if !keep && !self.careful && self.work.changes != before {
            return Err(StoreError::Internal("a refused change left something behind".into()));
        }
        self.settle("unit", state, keep).await?;
        result
    }

    /// Where this batch is careful: a savepoint, and the state to go back to.
    async fn save(&mut self, name: &str) -> Result<Option<State>, StoreError> {
        if !self.careful {
            return Ok(None);
        }
        let saved = match self.work.flush().await {
            Ok(()) => self.work.link.query(format!("SAVEPOINT {name}"), []).await.map(drop),
            Err(failure) => Err(failure),
        };
        self.noted(saved)?;
        Ok(Some(self.work.state.clone()))
    }

    /// Ends a savepoint: keeps what was done since, or undoes it.
    async fn settle(&mut self, name: &str, state: Option<State>, keep: bool) -> Result<(), StoreError> {
        let Some(state) = state else { return Ok(()) };
        if self.work.failure.is_some() {
            return Ok(());
        }
        let settled = if keep {
            match self.work.flush().await {
                Ok(()) => self.work.link.query(format!("RELEASE {name}"), []).await.map(drop),
                Err(failure) => Err(failure),
            }
        } else {
            self.work.reset(state);
            let steps =
                [Step::new(format!("ROLLBACK TO {name}"), []), Step::new(format!("RELEASE {name}"), [])];
            self.work.link.send(&steps).await.map(drop)
        };
        self.noted(settled)
    }

    fn noted<T>(&mut self, result: Result<T, Failure>) -> Result<T, StoreError> {
        result.map_err(|failure| {
            self.work.failure = Some(failure.clone());
            failure.into()
        })
    }
}

/// Opens a transaction that holds the tenant's lock, to be ended by [`unlock`].
pub(super) async fn lock(link: &mut Link, tenant: i64) -> Result<State, Failure> {
    let locked = link.send(&[BEGIN, State::lock(tenant)]).await;
    let state = locked.and_then(|answers| State::locked(answers.get(1).map_or(&[], Vec::as_slice)));
    if state.is_err() {
        link.roll_back().await;
    }
    state
}

/// Commits what was done since [`lock`], or undoes what failed.
pub(super) async fn unlock<T>(link: &mut Link, done: Result<T, Failure>) -> Result<T, Failure> {
    match done {
        Ok(output) => link.send(&[Step::End("COMMIT")]).await.map(|_| output),
        Err(failure) => {
            link.roll_back().await;
            Err(failure)
        }
    }
}

/// The first number of a statement's answer, 0 when there is none.
pub(super) fn number(rows: &[tokio_postgres::Row]) -> Result<i64, Failure> {
    rows.first().map_or(Ok(0), |row| get(row, 0))
}
