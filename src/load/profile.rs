//! What identity providers do, in which order: a profile is a list of phases, a phase a list of jobs.
//!
//! Jobs of one phase never change the same thing of the same resource, whatever their order: workers take them as they
//! come. Only [`Stream`] gives each worker jobs of its own, and with them users that are its own to change.

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use super::population::UserChange;
use super::random::Random;
use super::request::Operation;
use super::retry::RetryPolicy;
use super::session::Shared;
use super::speech::Speech;

/// One thing that an identity provider does, in one tenant; users and groups by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// Look for the user, and create it when it is not there.
    ProvisionUser(u32),
    /// Somebody changed in the directory.
    UpdateUser(u32, UserChange),
    /// The whole user anew, by PUT.
    ReplaceUser(u32, UserChange),
    /// The user left for good.
    DeleteUser(u32),
    /// Read by id.
    GetUser(u32),
    /// Look for it by `userName`.
    FindUser(u32),
    /// Look for a name that nobody has: Entra's connection test.
    FindNobody(String),
    /// Look for it, compare, and PATCH when something is to change.
    ReconcileUser(u32, Option<UserChange>),
    /// Provision the user and add it to these groups, one after the other.
    OnboardUser(u32, Vec<u32>),
    /// Look for the group, and create it when it is not there.
    ProvisionGroup(u32),
    /// Another name.
    RenameGroup(u32, u16),
    /// Add the members that it has in the beginning.
    FillGroup(u32),
    /// Add and remove these.
    ChangeMembers {
        /// Which group.
        group: u32,
        /// Users.
        add: Vec<u32>,
        /// Users.
        remove: Vec<u32>,
    },
    /// So many leave and come, chosen by the seed.
    TurnMembers {
        /// Which group.
        group: u32,
        /// Each way.
        count: u32,
        /// Of the choice.
        seed: u64,
    },
    /// Read by id.
    GetGroup(u32),
    /// Look for it by `displayName`.
    FindGroup(u32),
    /// One page of a list, from this index on.
    Page(Operation, u64),
    /// All pages, one after the other.
    Sweep(Operation),
}

/// Which identity provider is simulated, at what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Okta: imports by pages, provisions users and pushes groups, then updates by PUT and deactivates, round after round
    Okta,
    /// Microsoft Entra ID: an initial cycle, then incremental cycles of changes, 40 minutes apart (see --compress)
    Entra,
    /// A directory that is there already, under a steady mix of three quarters reads and one quarter changes
    Steady,
    /// Many new people at once: each is looked for, created and added to its groups
    OnboardingRush,
    /// Everything read by pages, each resource looked for by a filter, and one in twenty changed, round after round
    FullResync,
}

impl Profile {
    /// As on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Okta => "okta",
            Self::Entra => "entra",
            Self::Steady => "steady",
            Self::OnboardingRush => "onboarding-rush",
            Self::FullResync => "full-resync",
        }
    }

    /// Whose requests it sends.
    #[must_use]
    pub fn speech(self) -> Speech {
        match self {
            Self::Okta => Speech::Okta,
            Self::Entra => Speech::Entra,
            _ => Speech::Standard,
        }
    }

    /// How it tries again. `compress`: a minute of the provider's is so many times shorter.
    #[must_use]
    pub fn policy(self, compress: f64, cap: Duration) -> RetryPolicy {
        let compressed = |real: Duration| real.div_f64(compress.max(1.0)).min(cap);
        match self {
            // Without Retry-After it waits five minutes, and doubles.
            Self::Okta => RetryPolicy {
                tries: 6,
                first: Duration::from_secs(1).min(cap),
                cap,
                throttled: Some(compressed(Duration::from_mins(5))),
            },
            Self::Entra => {
                RetryPolicy { tries: 5, first: Duration::from_secs(1).min(cap), cap, throttled: None }
            }
            _ => RetryPolicy { tries: 8, first: Duration::from_millis(250).min(cap), cap, throttled: None },
        }
    }

    /// Whether there must be a directory before it begins.
    #[must_use]
    pub fn needs_directory(self) -> bool {
        matches!(self, Self::Steady | Self::FullResync)
    }

    /// The phases that come once.
    #[must_use]
    pub fn once(self, shared: &Shared) -> Vec<Phase> {
        let (users, groups) = (shared.population.users, shared.population.groups);
        let tenants = shared.models.len();
        let each = |count: u32, job: fn(u32) -> Job| every(tenants, count, job);
        let sweep =
            |operation| -> Jobs { Box::new((0..tenants).map(move |tenant| (tenant, Job::Sweep(operation)))) };
        match self {
            Self::Okta => vec![
                Phase::new(
                    "import",
                    Box::new(sweep(Operation::ListUsers).chain(sweep(Operation::ListGroups))),
                ),
                Phase::new("users", each(users, Job::ProvisionUser)),
                Phase::new("groups", each(groups, Job::ProvisionGroup)),
                Phase::new("memberships", each(groups, Job::FillGroup)),
            ],
            Self::Entra => {
                let mut random = Random::new(shared.population.users.into(), 5);
                let name = format!("{:016x}{:016x}", random.number(), random.number());
                let test = (0..tenants).map(move |tenant| (tenant, Job::FindNobody(name.clone())));
                vec![
                    Phase::new("test connection", Box::new(test)),
                    Phase::new("users", each(users, Job::ProvisionUser)),
                    Phase::new("groups", each(groups, Job::ProvisionGroup)),
                    Phase::new("memberships", each(groups, Job::FillGroup)),
                ]
            }
            Self::OnboardingRush => {
                let mut of = vec![Vec::new(); users as usize];
                for group in 0..groups {
                    for user in shared.population.members(group) {
                        of[user as usize].push(group);
                    }
                }
                let rush = (0..users).flat_map(move |user| {
                    let groups = of[user as usize].clone();
                    (0..tenants).map(move |tenant| (tenant, Job::OnboardUser(user, groups.clone())))
                });
                vec![
                    Phase::new("groups", each(groups, Job::ProvisionGroup)),
                    Phase::new("onboarding", Box::new(rush)),
                ]
            }
            Self::Steady | Self::FullResync => Vec::new(),
        }
    }

    /// The phases of round `round`, from 1; none when there are no rounds.
    #[must_use]
    pub fn round(self, shared: &Shared, seed: u64, round: u16) -> Vec<Phase> {
        let (users, groups) = (shared.population.users, shared.population.groups);
        let tenants = shared.models.len();
        let mut random = Random::new(seed, 6 << 32 | u64::from(round));
        match self {
            Self::Okta | Self::Entra => {
                // One in fifty changes, one in two hundred leaves or comes back; a tenth of the groups has news.
                let mut jobs = Vec::new();
                for _ in 0..users.div_ceil(50) {
                    let user = random.index(users.max(1));
                    let change = match random.below(4) {
                        0 => UserChange { active: Some(random.below(2) == 0), ..UserChange::default() },
                        1 => UserChange { family: Some(round), title: Some(round), active: None },
                        _ => UserChange { title: Some(round), ..UserChange::default() },
                    };
                    jobs.push(Job::UpdateUser(user, change));
                }
                let mut turns = Vec::new();
                for _ in 0..groups.div_ceil(10) {
                    let group = random.index(groups.max(1));
                    turns.push(match random.below(8) {
                        0 => Job::RenameGroup(group, round),
                        1 => Job::GetGroup(group),
                        _ => Job::TurnMembers {
                            group,
                            count: 1 + random.index(10),
                            seed: seed ^ u64::from(round) << 32,
                        },
                    });
                }
                let (jobs, turns) = (distinct(jobs), distinct(turns));
                let all = jobs
                    .into_iter()
                    .chain(turns)
                    .flat_map(move |job| (0..tenants).map(move |tenant| (tenant, job.clone())));
                let name = if self == Self::Entra { "incremental cycle" } else { "changes" };
                vec![Phase::new(name, Box::new(all))]
            }
            Self::FullResync => {
                let sweeps = (0..tenants).flat_map(|tenant| {
                    [Operation::ListUsers, Operation::ListGroups]
                        .map(|operation| (tenant, Job::Sweep(operation)))
                });
                let check = (0..users).flat_map(move |user| {
                    let changed = random.below(20) == 0;
                    let change =
                        changed.then_some(UserChange { title: Some(round), ..UserChange::default() });
                    (0..tenants).map(move |tenant| (tenant, Job::ReconcileUser(user, change)))
                });
                let check = check.chain(every(tenants, groups, Job::FindGroup));
                vec![
                    Phase::new("read all", Box::new(sweeps)),
                    Phase::new("compare and change", Box::new(check)),
                ]
            }
            Self::Steady | Self::OnboardingRush => Vec::new(),
        }
    }
}

/// At most one job for a resource.
fn distinct(jobs: Vec<Job>) -> Vec<Job> {
    let mut seen = std::collections::HashSet::new();
    let of = |job: &Job| match job {
        Job::UpdateUser(user, _) => (0, *user),
        Job::RenameGroup(group, _) | Job::GetGroup(group) | Job::TurnMembers { group, .. } => (1, *group),
        _ => (2, 0),
    };
    jobs.into_iter().filter(|job| seen.insert(of(job))).collect()
}

/// Jobs with their tenants.
pub type Jobs = Box<dyn Iterator<Item = (usize, Job)>>;

/// One part of a run.
pub struct Phase {
    /// Its name.
    pub name: &'static str,
    /// What is to be done; workers take from it.
    pub jobs: Jobs,
}

impl Phase {
    fn new(name: &'static str, jobs: Jobs) -> Self {
        Self { name, jobs }
    }

    /// The phases that make the directory which a profile needs.
    #[must_use]
    pub fn directory(shared: &Shared) -> Vec<Self> {
        let (users, groups) = (shared.population.users, shared.population.groups);
        let tenants = shared.models.len();
        vec![
            Self::new("populate users", every(tenants, users, Job::ProvisionUser)),
            Self::new("populate groups", every(tenants, groups, Job::ProvisionGroup)),
            Self::new("populate memberships", every(tenants, groups, Job::FillGroup)),
        ]
    }
}

/// A job for each of `count`, in all tenants in turn.
fn every(tenants: usize, count: u32, job: fn(u32) -> Job) -> Jobs {
    Box::new((0..count).flat_map(move |number| (0..tenants).map(move |tenant| (tenant, job(number)))))
}

/// The mix of `steady`, for one worker.
#[derive(Debug)]
pub struct Stream {
    random: Random,
    worker: u64,
    workers: u64,
    revision: u16,
}

impl Stream {
    /// For one of the workers.
    #[must_use]
    pub fn new(seed: u64, worker: usize, workers: usize) -> Self {
        let (worker, workers) = (worker as u64, workers as u64);
        Self { random: Random::new(seed, 7 << 32 | worker), worker, workers, revision: 0 }
    }

    /// The next thing to do.
    pub fn next(&mut self, shared: &Shared) -> (usize, Job) {
        let (users, groups) = (u64::from(shared.population.users), shared.population.groups);
        let tenants = shared.models.len() as u64;
        // Users are dealt out to workers like cards: worker w has all whose number leaves the remainder w.
        let all = users * tenants;
        let mine = all.saturating_sub(self.worker).div_ceil(self.workers);
        let number = self.worker + self.random.below(mine) * self.workers;
        let tenant = usize::try_from(number % tenants.max(1)).unwrap_or_default();
        let user = u32::try_from(number / tenants.max(1)).unwrap_or_default();
        let anywhere = usize::try_from(self.random.below(tenants)).unwrap_or_default();
        let group = self.random.index(groups.max(1));
        let dice = self.random.below(1000);
        if mine == 0 || dice < 200 {
            return match dice % 4 {
                0 => (anywhere, Job::Page(Operation::ListUsers, 1 + self.random.below(users.max(1)))),
                1 if groups > 0 => (anywhere, Job::Page(Operation::ListGroups, 1)),
                _ if groups > 0 => (anywhere, Job::GetGroup(group)),
                _ => (anywhere, Job::Page(Operation::ListUsers, 1)),
            };
        }
        let model = shared.models[tenant].borrow();
        if model.id_of(user).is_none() {
            return (tenant, Job::ProvisionUser(user));
        }
        self.revision = self.revision.wrapping_add(1);
        let title = UserChange { title: Some(self.revision), ..UserChange::default() };
        let job = match dice {
            550..750 => Job::FindUser(user),
            750..850 => Job::UpdateUser(user, title),
            850..880 => {
                let active = model.record_of(user).is_none_or(|record| !record.active);
                Job::UpdateUser(user, UserChange { active: Some(active), ..UserChange::default() })
            }
            880..920 => Job::ReplaceUser(user, UserChange { family: Some(self.revision), ..title }),
            920..985 if groups > 0 => {
                let is_member = model.groups[group as usize].has(user);
                let (add, remove) = if is_member { (vec![], vec![user]) } else { (vec![user], vec![]) };
                Job::ChangeMembers { group, add, remove }
            }
            ..550 | 920..985 => Job::GetUser(user),
            _ => Job::DeleteUser(user),
        };
        (tenant, job)
    }
}
