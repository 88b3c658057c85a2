//! Leader election by a Lease: of several processes one acts, and the others stand by.
//!
//! Clocks of other machines are not believed: a holder is gone when its record has not changed for the duration that
//! it announced, measured on our own clock since we first saw that record. A leader that could not renew in time stops
//! acting before others may take over, measured from before it asked. Every write names the version it replaces.

use std::time::{Duration, Instant};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::sync::watch;

/// How long a record is good for after its last change.
const DURATION: Duration = Duration::from_secs(15);
/// A leader that has not renewed for this long stops acting: before [`DURATION`] is over for others.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// How often a leader renews.
const RENEW_EVERY: Duration = Duration::from_secs(3);
/// How often one that stands by looks: a clean hand-over takes no longer.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Who we are and which Lease it is about.
#[derive(Clone)]
pub(crate) struct Election {
    leases: Api<Lease>,
    name: String,
    /// Different for every process.
    identity: String,
}

/// What the Lease says of its holder, as far as it changes when the holder is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    holder: String,
    renewed: Option<Timestamp>,
    transitions: i32,
}

/// The last record that was seen, and since when.
#[derive(Debug, Default)]
struct Observed {
    record: Option<(Record, Instant)>,
}

impl Observed {
    /// Notes a record; whether its holder may be succeeded by us.
    fn is_free(&mut self, spec: &LeaseSpec, us: &str, now: Instant) -> bool {
        let record = Record {
            holder: spec.holder_identity.clone().unwrap_or_default(),
            renewed: spec.renew_time.as_ref().map(|time| time.0),
            transitions: spec.lease_transitions.unwrap_or_default(),
        };
        if record.holder.is_empty() || record.holder == us {
            self.record = None;
            return true;
        }
        let duration = spec
            .lease_duration_seconds
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(DURATION, Duration::from_secs);
        match &self.record {
            Some((seen, since)) if *seen == record => now.duration_since(*since) > duration,
            _ => {
                self.record = Some((record, now));
                false
            }
        }
    }
}

impl Election {
    pub(crate) fn new(client: Client, namespace: &str, name: &str, identity: String) -> Self {
        Self { leases: Api::namespaced(client, namespace), name: name.to_owned(), identity }
    }

    /// Takes part until `stop` is true; `leads` says all the while whether this process is the leader. At the end the
    /// Lease is given back, so that another process takes over at once; `idle` is waited for before that.
    pub(crate) async fn run(
        self,
        leads: watch::Sender<bool>,
        mut stop: watch::Receiver<bool>,
        idle: impl Future<Output = ()>,
    ) {
        let mut observed = Observed::default();
        let mut renewed: Option<Instant> = None;
        loop {
            let asked = Instant::now();
            let left = renewed.map_or(RENEW_DEADLINE, |at| RENEW_DEADLINE.saturating_sub(at.elapsed()));
            let tried = tokio::select! {
                tried = tokio::time::timeout(left.min(LOOK_EVERY * 5), self.try_to_hold(&mut observed)) => tried,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            match tried {
                Ok(Ok(true)) => renewed = Some(asked),
                Ok(Ok(false)) => {
                    if renewed.take().is_some() {
                        tracing::warn!("another process took the lease: standing by");
                    }
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, lease = self.name, "cannot renew or read the lease; trying again");
                }
                Err(_) => {
                    tracing::warn!(lease = self.name, "the API server is slow to answer about the lease");
                }
            }
            if renewed.is_some_and(|at| at.elapsed() >= RENEW_DEADLINE) {
                tracing::error!(
                    "the lease could not be renewed for {} seconds: standing by",
                    RENEW_DEADLINE.as_secs()
                );
                renewed = None;
            }
            leads.send_if_modified(|leads| std::mem::replace(leads, renewed.is_some()) != renewed.is_some());
            // A failed renewal is tried again soon.
            let fresh = renewed == Some(asked);
            let pause = if fresh { RENEW_EVERY } else { LOOK_EVERY };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        leads.send_replace(false);
        idle.await;
        if renewed.is_some() {
            match tokio::time::timeout(LOOK_EVERY * 3, self.release()).await {
                Ok(Ok(())) => tracing::info!("gave the lease back"),
                Ok(Err(error)) => tracing::warn!(%error, "cannot give the lease back; it runs out"),
                Err(_) => tracing::warn!("cannot give the lease back in time; it runs out"),
            }
        }
    }

    /// Renews the Lease, takes it where it is free, or sees that somebody else has it.
    async fn try_to_hold(&self, observed: &mut Observed) -> kube::Result<bool> {
        let now = MicroTime(Timestamp::now());
        let Some(mut lease) = self.leases.get_opt(&self.name).await? else {
            let spec = self.spec(now, 0);
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(spec) };
            return settled(self.leases.create(&PostParams::default(), &lease).await);
        };
        let current = lease.spec.unwrap_or_default();
        if !observed.is_free(&current, &self.identity, Instant::now()) {
            return Ok(false);
        }
        let transitions = current.lease_transitions.unwrap_or_default();
        lease.spec = Some(if current.holder_identity.as_ref() == Some(&self.identity) {
            LeaseSpec { renew_time: Some(now), ..current }
        } else {
            tracing::info!(identity = self.identity, "taking the lease");
            self.spec(now, transitions.saturating_add(1))
        });
        settled(self.leases.replace(&self.name, &PostParams::default(), &lease).await)
    }

    fn spec(&self, now: MicroTime, transitions: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }

    async fn release(&self) -> kube::Result<()> {
        let Some(mut lease) = self.leases.get_opt(&self.name).await? else { return Ok(()) };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_ref() != Some(&self.identity) {
            return Ok(());
        }
        spec.holder_identity = Some(String::new());
        // client-go does the same: whoever looks at the duration alone need not wait either.
        spec.lease_duration_seconds = Some(1);
        settled(self.leases.replace(&self.name, &PostParams::default(), &lease).await).map(|_| ())
    }
}

/// Somebody else was faster: no error, but not ours.
fn settled(written: kube::Result<Lease>) -> kube::Result<bool> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(holder: &str, renewed: &str) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            renew_time: Some(MicroTime(renewed.parse().unwrap())),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn holder_is_gone_when_its_record_stands_still_whatever_its_clock_says() {
        let mut observed = Observed::default();
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        for clock in ["1999-01-01T00:00:00Z", "2999-01-01T00:00:00Z"] {
            let spec = held_by("other", clock);
            let mut free = |seconds| observed.is_free(&spec, "us", at(seconds));
            assert_eq!([free(0), free(14), free(15), free(16)], [false, false, false, true]);
        }
    }

    #[test]
    fn holder_that_renews_is_never_succeeded() {
        let mut observed = Observed::default();
        let begin = Instant::now();
        for turn in 0..10 {
            let spec = held_by("other", &format!("2026-01-01T00:00:0{turn}Z"));
            assert!(!observed.is_free(&spec, "us", begin + Duration::from_secs(14 * turn)));
        }
    }

    #[test]
    fn lease_that_was_given_back_or_is_ours_is_free() {
        let now = Instant::now();
        assert!(Observed::default().is_free(&held_by("", "2026-01-01T00:00:00Z"), "us", now));
        assert!(Observed::default().is_free(&held_by("us", "2026-01-01T00:00:00Z"), "us", now));
        assert!(Observed::default().is_free(&LeaseSpec::default(), "us", now));
    }
}
