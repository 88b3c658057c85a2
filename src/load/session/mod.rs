//! One worker: sends requests when they are due, tries again by the rules, and writes down what was acknowledged.
//!
//! A worker does one job at a time, and jobs that run beside each other never change the same thing, so that after each
//! job it is known what must be there.

mod groups;
mod users;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::compare::Finding;
use super::model::Model;
use super::pace::{Due, Pace};
use super::population::Population;
use super::profile::Job;
use super::random::Random;
use super::recorder::{Recorder, Sample};
use super::request::{Answer, Failure, Operation, Request, Verdict};
use super::retry::RetryPolicy;
use super::speech::Speech;
use super::transport::Transport;

pub(super) use groups::member_ids;

/// What all workers share. One thread runs them, and nothing is borrowed while waiting.
#[derive(Debug)]
pub struct Shared {
    /// Who is provisioned.
    pub population: Population,
    /// What must be there, by tenant.
    pub models: Vec<RefCell<Model>>,
    /// Attributes that a tenant's server does not give back, by tenant: they are not compared.
    pub not_kept: Vec<RefCell<BTreeSet<&'static str>>>,
    /// Resources in one page, by tenant.
    pub page: Vec<Cell<u64>>,
    /// What is measured.
    pub recorder: RefCell<Recorder>,
    /// When requests are due.
    pub pace: RefCell<Pace>,
    /// How requests are written.
    pub speech: Cell<Speech>,
    /// When they are sent again.
    pub policy: Cell<RetryPolicy>,
    /// Members in one PATCH at most.
    pub members_per_request: usize,
    /// Requests that may still be sent.
    pub budget: Cell<u64>,
    /// No new job begins after this.
    pub stop: Cell<Option<Instant>>,
    /// The user asked to end.
    pub interrupted: Cell<bool>,
    /// Reads during the run that did not show what had been acknowledged.
    pub stale: RefCell<Vec<Finding>>,
    /// How many of those.
    pub stale_count: Cell<u64>,
}

/// After the end of the load, retries go on for so long, to learn what became of open requests.
const SETTLING: Duration = Duration::from_secs(30);

impl Shared {
    /// Whether no new job may begin.
    pub fn is_over(&self) -> bool {
        self.interrupted.get()
            || self.budget.get() == 0
            || self.stop.get().is_some_and(|stop| Instant::now() >= stop)
    }

    fn may_retry(&self) -> bool {
        !self.interrupted.get() && self.stop.get().is_none_or(|stop| Instant::now() < stop + SETTLING)
    }
}

/// What one try came to.
enum Step {
    /// It is decided.
    Done(Verdict),
    /// To be tried again after this wait; whether this try may have happened.
    Again { wait: Duration, doubt: bool },
}

/// A worker.
pub struct Session<T> {
    pub(super) shared: Rc<Shared>,
    transport: T,
    random: Random,
}

impl<T: Transport> Session<T> {
    /// A worker with its connections.
    pub fn new(shared: Rc<Shared>, transport: T, random: Random) -> Self {
        Self { shared, transport, random }
    }

    /// Does one job in one tenant.
    pub async fn perform(&mut self, tenant: usize, job: Job) {
        match job {
            Job::ProvisionUser(user) => self.provision_user(tenant, user).await,
            Job::UpdateUser(user, change) => self.update_user(tenant, user, change).await,
            Job::ReplaceUser(user, change) => self.replace_user(tenant, user, change).await,
            Job::DeleteUser(user) => self.delete_user(tenant, user).await,
            Job::GetUser(user) => self.get_user(tenant, user).await,
            Job::FindUser(user) => drop(self.find_user(tenant, user).await),
            Job::FindNobody(name) => {
                let request = self.shared.speech.get().find_user(&name);
                self.call(tenant, &request, &[404]).await;
            }
            Job::ReconcileUser(user, change) => self.reconcile_user(tenant, user, change).await,
            Job::OnboardUser(user, groups) => {
                self.provision_user(tenant, user).await;
                for group in groups {
                    self.change_members(tenant, group, &[user], &[]).await;
                }
            }
            Job::ProvisionGroup(group) => self.provision_group(tenant, group).await,
            Job::RenameGroup(group, revision) => self.rename_group(tenant, group, revision).await,
            Job::FillGroup(group) => self.fill_group(tenant, group).await,
            Job::ChangeMembers { group, add, remove } => {
                self.change_members(tenant, group, &add, &remove).await;
            }
            Job::TurnMembers { group, count, seed } => self.turn_members(tenant, group, count, seed).await,
            Job::GetGroup(group) => self.get_group(tenant, group).await,
            Job::FindGroup(group) => drop(self.find_group(tenant, group).await),
            Job::Page(operation, start) => {
                let page = self.shared.page[tenant].get().min(100);
                let request = self.shared.speech.get().list(operation, start, page);
                self.call(tenant, &request, &[]).await;
            }
            Job::Sweep(operation) => drop(self.sweep(tenant, operation, 100).await),
        }
    }

    /// Reads all users or all groups by pages; none when a page could not be read.
    pub async fn sweep(
        &mut self,
        tenant: usize,
        operation: Operation,
        page: u64,
    ) -> Option<Vec<serde_json::Value>> {
        let mut all = Vec::new();
        let mut start = 1;
        loop {
            let request = self.shared.speech.get().list(operation, start, page);
            let Verdict::Accepted(answer) = self.call(tenant, &request, &[]).await else { return None };
            let mut list = answer.json();
            let total = list.get("totalResults").and_then(serde_json::Value::as_u64)?;
            let resources = match list.get_mut("Resources").map(serde_json::Value::take) {
                Some(serde_json::Value::Array(resources)) => resources,
                _ => Vec::new(),
            };
            let here = resources.len() as u64;
            all.extend(resources);
            start += here;
            // A page without resources would go on for ever.
            if here == 0 || start > total {
                return Some(all);
            }
        }
    }

    /// Sends a request, again if need be. `expected`: refusals that are no error of the server.
    pub async fn call(&mut self, tenant: usize, request: &Request, expected: &[u16]) -> Verdict {
        let mut tried = 0;
        let mut doubt = false;
        loop {
            tried += 1;
            match self.step(tenant, request, tried, doubt, expected).await {
                Step::Done(verdict) => return verdict,
                Step::Again { wait, doubt: may_have_happened } => {
                    doubt |= may_have_happened;
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// One try. `doubt`: whether an earlier one may have happened.
    async fn step(
        &mut self,
        tenant: usize,
        request: &Request,
        tried: u32,
        mut doubt: bool,
        expected: &[u16],
    ) -> Step {
        let outcome = self.attempt(tenant, request, tried > 1).await;
        let shared = Rc::clone(&self.shared);
        match &outcome {
            Ok(answer) if answer.is_success() => {
                shared.recorder.borrow_mut().cured(tried - 1);
                return Step::Done(Verdict::Accepted(answer.clone()));
            }
            Ok(answer) if answer.status < 500 && answer.status != 429 => {
                // 404 and 409 after a try without an answer say that it had happened.
                let excused =
                    expected.contains(&answer.status) || (doubt && matches!(answer.status, 404 | 409));
                let mut recorder = shared.recorder.borrow_mut();
                if excused {
                    recorder.cured(tried - 1);
                } else {
                    recorder.given_up += 1;
                    recorder.refused(request.operation, answer.status, || answer.detail());
                }
                return Step::Done(Verdict::Refused { answer: answer.clone(), doubt });
            }
            Ok(answer) => doubt |= request.is_write() && answer.status >= 500,
            Err(failure) => doubt |= request.is_write() && failure.was_sent(),
        }
        let wait = shared.policy.get().wait(tried, &outcome, &mut self.random);
        if let Some(wait) = wait.filter(|_| shared.may_retry() && shared.budget.get() > 0) {
            return Step::Again { wait, doubt };
        }
        let mut recorder = shared.recorder.borrow_mut();
        recorder.given_up += 1;
        let (status, detail) = match &outcome {
            Ok(answer) => (answer.status, answer.detail()),
            Err(failure) => (0, failure.to_string()),
        };
        recorder.refused(request.operation, status, || detail);
        Step::Done(Verdict::GivenUp { doubt })
    }

    /// Sends once, and measures.
    async fn attempt(&mut self, tenant: usize, request: &Request, is_retry: bool) -> Result<Answer, Failure> {
        let shared = Rc::clone(&self.shared);
        shared.budget.set(shared.budget.get().saturating_sub(1));
        // A retry is due when its wait is over; it takes nobody's turn.
        let turn = if is_retry { Due::Now } else { shared.pace.borrow().take() };
        let now = Instant::now();
        let due = match turn {
            Due::Now => now,
            // Every connection was busy: what is overdue counts from when it was due.
            Due::At(due) if due <= now => due,
            Due::At(due) => {
                tokio::time::sleep_until(due.into()).await;
                // The connection was free: timers wake a little late, which is not the server's doing.
                let woken = Instant::now();
                shared.recorder.borrow_mut().lateness.record(woken.saturating_duration_since(due));
                woken
            }
        };
        let sent = Instant::now();
        let outcome = self.transport.send(tenant, request).await;
        let ended = Instant::now();
        let status;
        let error = match &outcome {
            Ok(answer) if answer.is_success() => None,
            Ok(answer) => {
                status = answer.status.to_string();
                Some(status.as_str())
            }
            Err(failure) => Some(failure.name()),
        };
        let operation = request.operation;
        shared.recorder.borrow_mut().record(&Sample { operation, due, sent, ended, error, is_retry });
        outcome
    }

    /// Writes down a read that did not show what was acknowledged.
    fn stale(&self, finding: Finding) {
        const MOST: usize = 100;
        self.shared.stale_count.set(self.shared.stale_count.get() + 1);
        let mut stale = self.shared.stale.borrow_mut();
        if stale.len() < MOST {
            stale.push(finding);
        }
    }
}
