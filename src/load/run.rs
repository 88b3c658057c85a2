//! A whole run: look, load, read back, compare, clean up.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::compare::{Comparison, MOST_FINDINGS, ReadBack, compare};
use super::limit::{self, Limit, LimitSettings};
use super::model::Model;
use super::pace::Pace;
use super::population::Population;
use super::prepare::{Refusal, ServiceProvider};
use super::profile::{Jobs, Phase, Profile, Stream};
use super::progress::Progress;
use super::random::Random;
use super::recorder::Recorder;
use super::request::{Operation, Request, Verdict, segment};
use super::retry::RetryPolicy;
use super::session::{Session, Shared};
use super::speech::Speech;
use super::target::Target;
use super::transport::{CertificateError, Network, Transport};

/// What to do.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Tenants, all with the same load.
    pub targets: Vec<Target>,
    /// Which provider.
    pub profile: Profile,
    /// In each tenant.
    pub users: u32,
    /// In each tenant.
    pub groups: u32,
    /// In each tenant.
    pub memberships: u64,
    /// Requests per second, all tenants together; as fast as answers come without.
    pub rate: Option<f64>,
    /// The same while the directory is made that a profile needs.
    pub populate_rate: Option<f64>,
    /// Of the load; making the directory before and comparing after are not counted.
    pub duration: Duration,
    /// For making the directory at most.
    pub populate_timeout: Duration,
    /// Connections, each with one request under way.
    pub concurrency: usize,
    /// Everything is repeated by it.
    pub seed: u64,
    /// Of all names.
    pub prefix: String,
    /// Of one request.
    pub timeout: Duration,
    /// Requests of the load at most.
    pub max_requests: u64,
    /// The provider's long waits are so many times shorter.
    pub compress: f64,
    /// The longest wait before a retry.
    pub max_backoff: Duration,
    /// Members in one PATCH at most.
    pub members_per_request: usize,
    /// What was made is left there.
    pub keep: bool,
    /// Nothing but removing what an earlier run with this seed left.
    pub cleanup_only: bool,
    /// Other data may be there.
    pub allow_existing: bool,
    /// Certificate authorities, in place of the system's.
    pub ca: Option<PathBuf>,
    /// Look for the highest rate.
    pub find_limit: Option<LimitSettings>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A target is not one.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The certificates are none.
    #[error(transparent)]
    Certificates(#[from] CertificateError),
}

/// What became of cleaning up.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cleanup {
    /// Resources that were removed.
    pub removed: u64,
    /// Resources that are still there.
    pub left: u64,
}

/// Everything that a run found.
#[derive(Debug)]
pub struct Outcome {
    /// By target.
    pub providers: Vec<ServiceProvider>,
    /// What was measured.
    pub shared: Rc<Shared>,
    /// None when there was nothing to compare.
    pub comparison: Comparison,
    /// None when what was made is kept.
    pub cleanup: Option<Cleanup>,
    /// Of `--find-limit`.
    pub limit: Option<Limit>,
    /// Whether time or the number of requests ended what the profile does once.
    pub is_cut_short: bool,
    /// Whether the user ended it.
    pub was_interrupted: bool,
    /// All of it.
    pub elapsed: Duration,
    /// CPU time of this process, where the system tells.
    pub cpu: Option<Duration>,
}

/// Runs. Call it in a `LocalSet` on one thread.
pub async fn run(settings: &Settings, progress: &Progress) -> Result<Outcome, RunError> {
    let start = Instant::now();
    let network = Network::new(&settings.targets, settings.ca.as_deref(), settings.timeout)?;
    let lanes = (0..settings.concurrency.max(1)).map(|_| network.lane()).collect();
    let mut run = Run::new(settings, progress, lanes, start);
    let shared = Rc::clone(&run.shared);
    let ticker = tokio::task::spawn_local(progress.clone().watch(Rc::clone(&shared)));
    let signal = tokio::task::spawn_local(interrupt(Rc::clone(&shared)));
    let result = run.all(start).await;
    ticker.abort();
    signal.abort();
    progress.end();
    result
}

/// The first Ctrl-C ends the load, and what was done is compared; the second ends everything.
async fn interrupt(shared: Rc<Shared>) {
    if tokio::signal::ctrl_c().await.is_ok() {
        shared.interrupted.set(true);
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    }
}

fn shared(settings: &Settings, start: Instant) -> Shared {
    let Settings { targets, users, groups, .. } = settings;
    let population = Population::new(&settings.prefix, settings.seed, *users, *groups, settings.memberships);
    Shared {
        population,
        models: targets.iter().map(|_| RefCell::new(Model::new(*users, *groups))).collect(),
        not_kept: targets.iter().map(|_| RefCell::new(BTreeSet::new())).collect(),
        page: targets.iter().map(|_| Cell::new(100)).collect(),
        recorder: RefCell::new(Recorder::new(start)),
        pace: RefCell::new(Pace::new(start, None)),
        speech: Cell::new(settings.profile.speech()),
        policy: Cell::new(settings.profile.policy(settings.compress, settings.max_backoff)),
        members_per_request: settings.members_per_request.max(1),
        budget: Cell::new(u64::MAX),
        stop: Cell::new(None),
        interrupted: Cell::new(false),
        stale: RefCell::new(Vec::new()),
        stale_count: Cell::new(0),
    }
}

/// A run under way.
pub(super) struct Run<'a, T> {
    pub(super) settings: &'a Settings,
    pub(super) progress: &'a Progress,
    pub(super) shared: Rc<Shared>,
    pub(super) sessions: Vec<Session<T>>,
}

impl<'a, T: Transport + 'static> Run<'a, T> {
    /// With these connections, one for each worker.
    pub(super) fn new(settings: &'a Settings, progress: &'a Progress, lanes: Vec<T>, start: Instant) -> Self {
        let shared = Rc::new(shared(settings, start));
        let session = |(worker, lane): (u64, T)| {
            Session::new(Rc::clone(&shared), lane, Random::new(settings.seed, 8 << 32 | worker))
        };
        let sessions = (0..).zip(lanes).map(session).collect();
        Self { settings, progress, shared, sessions }
    }

    pub(super) async fn all(&mut self, start: Instant) -> Result<Outcome, RunError> {
        let settings = self.settings;
        let providers = self.inspect().await?;
        let mut limit = None;
        let mut is_cut_short = false;
        let mut was_interrupted = false;
        if !settings.cleanup_only {
            self.canary().await;
            is_cut_short = self.load(&mut limit).await;
            was_interrupted = self.shared.interrupted.replace(false);
        }
        self.patient();
        let there = self.read_back().await;
        let mut comparison = Comparison { complete: true, ..Comparison::default() };
        if settings.cleanup_only {
            comparison.complete = there.iter().all(Option::is_some);
        } else {
            for (tenant, there) in there.iter().enumerate() {
                comparison.add(self.compare(tenant, there.as_ref()));
            }
            comparison.stale = self.shared.stale_count.get();
            comparison.findings.extend(self.shared.stale.borrow_mut().drain(..));
            comparison.findings.truncate(MOST_FINDINGS);
        }
        // What is wrong stays to be looked at.
        let clean = settings.cleanup_only || (!settings.keep && comparison.complete && comparison.is_clean());
        let cleanup = if clean { Some(self.clean(&there).await) } else { None };
        self.shared.recorder.borrow_mut().end(Instant::now());
        let providers = providers.into_iter().enumerate().map(|(tenant, provider)| {
            let not_kept = self.shared.not_kept[tenant].borrow().iter().copied().collect();
            ServiceProvider { not_kept, ..provider }
        });
        Ok(Outcome {
            providers: providers.collect(),
            shared: Rc::clone(&self.shared),
            comparison,
            cleanup,
            limit,
            is_cut_short,
            was_interrupted,
            elapsed: start.elapsed(),
            cpu: cpu(),
        })
    }

    /// A phase begins, with its own rate.
    pub(super) fn begin(&self, name: &str, is_measured: bool, rate: Option<f64>) {
        let now = Instant::now();
        self.shared.recorder.borrow_mut().begin(name, is_measured, now);
        *self.shared.pace.borrow_mut() = Pace::new(now, rate);
        self.progress.phase(name);
    }

    async fn inspect(&mut self) -> Result<Vec<ServiceProvider>, RunError> {
        self.begin("look", false, None);
        let quick = RetryPolicy {
            tries: 3,
            first: Duration::from_millis(500),
            cap: Duration::from_secs(5),
            throttled: None,
        };
        let usual = self.shared.policy.replace(quick);
        let targets: Vec<(usize, Target)> = self.settings.targets.iter().cloned().enumerate().collect();
        let allow = self.settings.allow_existing || self.settings.cleanup_only;
        let looked = self
            .fan_out(targets.into_iter(), async move |session, (tenant, target)| {
                session.inspect(tenant, &target, allow).await
            })
            .await;
        self.shared.policy.set(usual);
        let mut recorder = self.shared.recorder.borrow_mut();
        recorder.refusals.clear();
        recorder.given_up = 0;
        looked.into_iter().collect::<Result<_, _>>().map_err(RunError::Refused)
    }

    async fn canary(&mut self) {
        self.begin("try one user", false, self.settings.populate_rate.or(self.settings.rate));
        let tenants = 0..self.settings.targets.len();
        self.fan_out(tenants, async |session, tenant| session.canary(tenant).await).await;
    }

    /// Everything that the profile does. Whether it was cut short.
    pub(super) async fn load(&mut self, limit: &mut Option<Limit>) -> bool {
        let (settings, shared) = (self.settings, Rc::clone(&self.shared));
        let mut short = false;
        if settings.profile.needs_directory() || settings.find_limit.is_some() {
            shared.stop.set(Some(Instant::now() + settings.populate_timeout));
            for phase in Phase::directory(&shared) {
                self.begin(phase.name, false, settings.populate_rate.or(settings.rate));
                short |= !self.work(phase.jobs).await;
            }
        }
        shared.budget.set(settings.max_requests);
        let stop = Instant::now() + settings.duration;
        shared.stop.set(Some(stop));
        if let Some(find) = &settings.find_limit {
            *limit = Some(limit::find(self, find, stop).await);
            return short;
        }
        for phase in settings.profile.once(&shared) {
            self.begin(phase.name, true, settings.rate);
            short |= !self.work(phase.jobs).await;
        }
        if settings.profile == Profile::Steady {
            self.begin("steady", true, settings.rate);
            self.stream(0).await;
        }
        let cycle = Duration::from_mins(40).div_f64(settings.compress.max(1.0));
        for round in 1..u16::MAX {
            let began = Instant::now();
            let phases = settings.profile.round(&shared, settings.seed, round);
            if shared.is_over() || phases.is_empty() {
                break;
            }
            for phase in phases {
                self.begin(phase.name, true, settings.rate);
                self.work(phase.jobs).await;
            }
            // Waiting for the next cycle is no work.
            shared.recorder.borrow_mut().end(Instant::now());
            if settings.profile == Profile::Entra {
                self.idle_until((began + cycle).min(stop)).await;
            }
        }
        short
    }

    async fn idle_until(&self, until: Instant) {
        while !self.shared.is_over() && Instant::now() < until {
            tokio::time::sleep_until(until.min(Instant::now() + Duration::from_millis(200)).into()).await;
        }
    }

    /// The steady mix until the time is over; `step` makes each call's choices its own.
    pub(super) async fn stream(&mut self, step: u64) {
        let workers = self.sessions.len();
        let seed = self.settings.seed ^ step << 48;
        self.fan_out(0..workers, async move |session, worker| {
            let shared = Rc::clone(&session.shared);
            let mut stream = Stream::new(seed, worker, workers);
            while !shared.is_over() {
                let (tenant, job) = stream.next(&shared);
                session.perform(tenant, job).await;
            }
        })
        .await;
    }

    /// All jobs, or as many as time allows. Whether it was all.
    async fn work(&mut self, jobs: Jobs) -> bool {
        let shared = Rc::clone(&self.shared);
        let left = Rc::new(Cell::new(false));
        let over = {
            let (shared, left) = (Rc::clone(&shared), Rc::clone(&left));
            move || {
                left.set(left.get() || shared.is_over());
                shared.is_over()
            }
        };
        let mut jobs = jobs.peekable();
        let jobs = std::iter::from_fn(move || {
            jobs.peek()?;
            if over() { None } else { jobs.next() }
        });
        self.fan_out(jobs, async |session, (tenant, job)| session.perform(tenant, job).await).await;
        !left.get()
    }

    /// Hands items to the workers as they come free, and gives the results in the order of the items.
    async fn fan_out<I: 'static, R: 'static>(
        &mut self,
        items: impl Iterator<Item = I> + 'static,
        work: impl AsyncFn(&mut Session<T>, I) -> R + 'static,
    ) -> Vec<R> {
        let items = Rc::new(RefCell::new(items.enumerate()));
        let work = Rc::new(work);
        let tasks: Vec<_> = self
            .sessions
            .drain(..)
            .map(|mut session| {
                let (items, work) = (Rc::clone(&items), Rc::clone(&work));
                tokio::task::spawn_local(async move {
                    let mut done = Vec::new();
                    loop {
                        let next = items.borrow_mut().next();
                        let Some((number, item)) = next else { return (session, done) };
                        let result = work(&mut session, item).await;
                        // Units of many jobs are not worth keeping.
                        if size_of::<R>() > 0 {
                            done.push((number, result));
                        }
                    }
                })
            })
            .collect();
        let mut all = Vec::new();
        for task in tasks {
            // A worker that panicked has said why.
            if let Ok((session, done)) = task.await {
                self.sessions.push(session);
                all.extend(done);
            }
        }
        all.sort_by_key(|(number, _)| *number);
        all.into_iter().map(|(_, result)| result).collect()
    }

    /// From now on there is no rate and no end, and more patience.
    pub(super) fn patient(&self) {
        let resources = u64::from(self.settings.users) + u64::from(self.settings.groups);
        self.shared.stop.set(None);
        self.shared.budget.set(10_000 + resources * self.settings.targets.len() as u64 * 40);
        self.shared.speech.set(Speech::Standard);
        let cap = self.settings.max_backoff.max(Duration::from_secs(5));
        self.shared.policy.set(RetryPolicy {
            tries: 8,
            first: Duration::from_millis(500),
            cap,
            throttled: None,
        });
    }

    /// Reads everything of every tenant; none where that was not possible.
    pub(super) async fn read_back(&mut self) -> Vec<Option<ReadBack>> {
        self.begin("read back", false, None);
        let tenants = 0..self.settings.targets.len();
        let lists = self
            .fan_out(tenants, async |session, tenant| {
                let page = session.shared.page[tenant].get();
                let users = session.sweep(tenant, Operation::ListUsers, page).await?;
                let groups = session.sweep(tenant, Operation::ListGroups, page).await?;
                Some((users, groups))
            })
            .await;
        let mut there = Vec::new();
        for (tenant, lists) in lists.into_iter().enumerate() {
            there.push(match lists {
                Some((users, groups)) => self.complete(tenant, users, groups).await,
                None => None,
            });
        }
        there
    }

    /// Looks again for what a list did not have, and reads the members of our groups.
    async fn complete(&mut self, tenant: usize, users: Vec<Value>, groups: Vec<Value>) -> Option<ReadBack> {
        // More than this and it does not matter how they are missing.
        const MOST_MISSING: usize = 1000;
        let id_of = |resource: &Value| resource.get("id").and_then(Value::as_str).map(str::to_owned);
        let name_of =
            |resource: &Value| resource.get("displayName").and_then(Value::as_str).map(str::to_owned);
        let mut there = ReadBack { users, ..ReadBack::default() };
        let seen: HashSet<String> = there.users.iter().chain(&groups).filter_map(id_of).collect();
        let (mut missing, mut ours): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        {
            let model = self.shared.models[tenant].borrow();
            let expected = model.users.iter().filter(|user| user.state.latest().is_some());
            missing.extend(
                expected
                    .filter_map(|user| user.id.as_deref())
                    .filter(|id| !seen.contains(*id))
                    .map(str::to_owned),
            );
            missing.truncate(MOST_MISSING);
            let known = model.groups.iter().filter(|group| group.state.latest().is_some());
            let mut ids: HashSet<String> =
                known.filter_map(|group| group.id.as_deref().map(str::to_owned)).collect();
            for group in &groups {
                if name_of(group).is_some_and(|name| self.shared.population.group_of(&name).is_some()) {
                    ids.extend(id_of(group));
                }
            }
            ours.extend(ids);
            ours.sort_unstable();
        }
        let read = async move |session: &mut Session<T>,
                               (path, operation, id): (&'static str, Operation, String)| {
            let request = Request::get(operation, format!("/{path}/{}", segment(&id)));
            match session.call(tenant, &request, &[404]).await {
                Verdict::Accepted(answer) => Some(Some(answer.json())),
                Verdict::Refused { answer, .. } if answer.status == 404 => Some(None),
                _ => None,
            }
        };
        let users = missing.into_iter().map(|id| ("Users", Operation::GetUser, id));
        let groups = ours.into_iter().map(|id| ("Groups", Operation::GetGroup, id));
        let items: Vec<_> = users.chain(groups).collect();
        let kinds: Vec<&str> = items.iter().map(|(path, _, _)| *path).collect();
        let found = self.fan_out(items.into_iter(), read).await;
        for (path, resource) in kinds.into_iter().zip(found) {
            let Some(resource) = resource? else { continue };
            if let Some(id) = id_of(&resource)
                && !seen.contains(&id)
            {
                there.unlisted.insert(id);
            }
            if path == "Users" { there.users.push(resource) } else { there.groups.push(resource) }
        }
        Some(there)
    }

    pub(super) fn compare(&self, tenant: usize, there: Option<&ReadBack>) -> Comparison {
        let shared = &self.shared;
        let Some(there) = there else { return Comparison::default() };
        let (model, not_kept) = (shared.models[tenant].borrow(), shared.not_kept[tenant].borrow());
        compare(&shared.population, tenant, &model, &not_kept, there)
    }

    /// Removes every resource with a name of this run: groups first, so that no server has members to think of.
    async fn clean(&mut self, there: &[Option<ReadBack>]) -> Cleanup {
        self.begin("clean up", false, None);
        let mut gone: HashMap<Operation, Vec<(usize, String)>> = HashMap::new();
        for (tenant, there) in there.iter().enumerate() {
            let Some(there) = there else { continue };
            let text = |resource: &Value, name: &str| {
                resource.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            let population = &self.shared.population;
            for group in &there.groups {
                if population.is_ours(&text(group, "displayName")) {
                    gone.entry(Operation::DeleteGroup).or_default().push((tenant, text(group, "id")));
                }
            }
            for user in &there.users {
                if population.is_ours(&text(user, "userName")) {
                    gone.entry(Operation::DeleteUser).or_default().push((tenant, text(user, "id")));
                }
            }
        }
        let mut cleanup = Cleanup::default();
        for operation in [Operation::DeleteGroup, Operation::DeleteUser] {
            let items = gone.remove(&operation).unwrap_or_default();
            let removed = self
                .fan_out(items.into_iter(), async move |session, (tenant, id)| {
                    let request = match operation {
                        Operation::DeleteGroup => Speech::Standard.delete_group(&id),
                        _ => Speech::Standard.delete_user(&id),
                    };
                    let verdict = session.call(tenant, &request, &[404]).await;
                    matches!(verdict, Verdict::Accepted(_))
                        || matches!(verdict, Verdict::Refused { answer, .. } if answer.status == 404)
                })
                .await;
            let done = removed.iter().filter(|done| **done).count() as u64;
            cleanup.removed += done;
            cleanup.left += removed.len() as u64 - done;
        }
        cleanup
    }
}

/// CPU time of this process so far, where the system tells it in `/proc`.
fn cpu() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name, in parentheses, may hold blanks. Times count in hundredths of a second.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}
