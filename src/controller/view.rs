//! What is known of an endpoint between turns: what was decided, what was applied, and what its pods reported. The
//! turns of its tenants read it.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::key::Key;
use crate::{config::TenantConfig, crd::condition::Reason};

/// Configurations that are remembered: a pod that runs an older one runs an unknown one.
const REMEMBERED: usize = 64;

/// Why something is not as it should be, for a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Why {
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

impl Why {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// What is known of an endpoint.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// Where it is served; an error when it is not accepted. `None` before its first turn.
    pub(crate) accepted: Option<Result<Option<String>, Why>>,
    /// Its tenants.
    pub(crate) tenants: HashMap<Key, TenantView>,
    /// Tenants that are being deleted, with the configuration from which on they are not in it.
    pub(crate) gone: HashMap<Key, u64>,
    /// The configurations that were applied, numbered, the newest last.
    configurations: VecDeque<(String, u64)>,
    /// What its pods reported.
    pub(crate) pods: Pods,
    /// When pods were last asked what they count.
    pub(crate) counted_at: Option<Instant>,
}

/// What is known of a tenant.
#[derive(Debug, Clone)]
pub(crate) struct TenantView {
    /// The `metadata.generation` that was judged.
    pub(crate) generation: Option<i64>,
    /// What is served of it; none when nothing is.
    pub(crate) served: Option<Arc<TenantConfig>>,
    /// Why it is not served as written.
    pub(crate) refusal: Option<Why>,
    /// The endpoint takes it: it may have credentials.
    pub(crate) admitted: bool,
    /// What is probably not meant.
    pub(crate) warning: Option<String>,
    /// Since which configuration `served` is in it, or out of it.
    pub(crate) changed: u64,
    /// When that was.
    pub(crate) changed_at: Instant,
    /// What the pods counted.
    pub(crate) counts: Option<Counts>,
    /// What of that the status shows, and since when.
    pub(crate) shown: Option<(Counts, Instant)>,
}

/// How long counts are shown before others take their place.
const SHOW_COUNTS: Duration = Duration::from_mins(1);
/// How long the time of the last request alone is shown: busy tenants change it every minute.
const SHOW_LAST_REQUEST: Duration = Duration::from_mins(5);

impl TenantView {
    /// A tenant of which only is known that it was served when this process began to lead.
    pub(crate) fn before(served: Arc<TenantConfig>, number: u64) -> Self {
        Self {
            generation: None,
            served: Some(served),
            refusal: None,
            admitted: true,
            warning: None,
            changed: number,
            changed_at: Instant::now(),
            counts: None,
            shown: None,
        }
    }

    /// Whether a status would say the same.
    pub(crate) fn is_told_as(&self, other: &Self) -> bool {
        let told = |view: &Self| {
            let Self { generation, served, refusal, admitted, warning, changed, .. } = view;
            (*generation, served.is_some(), refusal.clone(), *admitted, warning.clone(), *changed)
        };
        told(self) == told(other)
    }

    /// The counts to show now: those that are shown already, for some time.
    pub(crate) fn counts_to_show(&self, now: Instant) -> Option<Counts> {
        let counts = self.counts?;
        let Some((shown, since)) = self.shown else { return Some(counts) };
        let age = now.duration_since(since);
        let is_same = (shown.users, shown.groups) == (counts.users, counts.groups);
        let keep = if is_same { SHOW_LAST_REQUEST } else { SHOW_COUNTS };
        Some(if age < keep { shown } else { counts })
    }
}

/// What the pods counted of a tenant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) users: i64,
    pub(crate) groups: i64,
    pub(crate) last_request: Option<Timestamp>,
}

/// What the pods of an endpoint reported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pods {
    /// They were asked since this process leads.
    pub(crate) asked: bool,
    /// Pods that are ready.
    pub(crate) ready: usize,
    /// Pods that run the newest configuration.
    pub(crate) current: usize,
    /// The oldest configuration that a ready pod runs; 0 for an unknown one. None: no pod is ready, or one did not say.
    pub(crate) running: Option<u64>,
    /// A ready pod that does not answer, and why.
    pub(crate) unreachable: Option<String>,
    /// Tenants whose data a pod is purging, `NAMESPACE/NAME`.
    pub(crate) purging: BTreeSet<String>,
    /// Why a pod does not start.
    pub(crate) trouble: Option<String>,
    /// A pod that is not ready as it cannot reach its store, and why.
    pub(crate) storeless: Option<String>,
}

impl View {
    /// The number of the newest configuration; 0 when none was applied.
    pub(crate) fn newest(&self) -> u64 {
        self.configurations.back().map_or(0, |(_, number)| *number)
    }

    /// The digest of the newest configuration.
    pub(crate) fn digest(&self) -> Option<&str> {
        self.configurations.back().map(|(digest, _)| digest.as_str())
    }

    /// The number that a configuration has, or will have when it is applied next.
    pub(crate) fn number_of_next(&self, digest: &str) -> u64 {
        if self.digest() == Some(digest) { self.newest() } else { self.newest() + 1 }
    }

    /// Notes that a configuration was applied.
    pub(crate) fn applied(&mut self, digest: String) {
        let number = self.number_of_next(&digest);
        if number != self.newest() {
            self.configurations.push_back((digest, number));
            if self.configurations.len() > REMEMBERED {
                self.configurations.pop_front();
            }
        }
    }

    /// The number of a configuration that a pod runs; 0 when it is unknown.
    pub(crate) fn number(&self, digest: &str) -> u64 {
        // One that came back has two numbers; the later one counts.
        let found = self.configurations.iter().rev().find(|(known, _)| known == digest);
        found.map_or(0, |(_, number)| *number)
    }

    /// Whether every ready pod, and at least one, runs what has been in force since this configuration.
    pub(crate) fn runs(&self, since: u64) -> bool {
        self.pods.ready > 0 && self.pods.running.is_some_and(|running| running >= since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(view: &mut View, digests: &[&str]) {
        let running = digests.iter().map(|digest| view.number(digest)).min();
        view.pods = Pods { asked: true, ready: digests.len(), running, ..Pods::default() };
    }

    #[test]
    fn tenant_is_programmed_when_the_slowest_pod_has_its_configuration() {
        let mut view = View::default();
        for digest in ["one", "two", "two", "three"] {
            view.applied(digest.to_owned());
        }
        assert_eq!(view.newest(), 3);
        running(&mut view, &["three", "two"]);
        assert!(view.runs(2) && !view.runs(3));
        running(&mut view, &["three", "unknown"]);
        assert!(!view.runs(1));
        running(&mut view, &[]);
        assert!(!view.runs(0), "nobody runs it");
    }

    #[test]
    fn configuration_that_comes_back_counts_as_the_newest() {
        let mut view = View::default();
        for digest in ["one", "two", "one"] {
            view.applied(digest.to_owned());
        }
        running(&mut view, &["one"]);
        assert!(view.runs(3));
    }
}
