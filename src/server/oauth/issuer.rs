//! [`Issuer`]: one authorization server's keys, fetched in the background and kept through its outages.
//!
//! One task fetches, so there is one fetch at a time whoever asks. It fetches at the start and every ten minutes,
//! which bounds how long a withdrawn key is honoured; sooner when a token names an unknown key, but no more often than
//! [`Timing::burst`] at once and one every [`Timing::min_interval`] after that, whatever strangers send. When the
//! issuer cannot be reached, the keys of the last good fetch serve for [`Timing::keep`], and then none do: nobody is
//! let in on what nobody vouches for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::config::oauth2::IssuerConfig;
use crate::telemetry::oauth::OAuthMetrics;

use super::fetch::{self, FetchError};
use super::jwks::KeySet;

/// How often an issuer is asked.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Between fetches that nobody asked for.
    pub refresh: Duration,
    /// After a fetch that failed, at first; doubled each time, up to [`Self::refresh`] or a minute.
    pub retry: Duration,
    /// How long keys are good without a good fetch.
    pub keep: Duration,
    /// Fetches for unknown keys that may follow each other at once.
    pub burst: u32,
    /// Between fetches for unknown keys when the burst is used up.
    pub min_interval: Duration,
    /// How long a request waits for a fetch that it asked for.
    pub wait: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            refresh: Duration::from_mins(10),
            retry: Duration::from_secs(1),
            keep: Duration::from_hours(24),
            burst: 3,
            min_interval: Duration::from_secs(10),
            wait: Duration::from_secs(6),
        }
    }
}

/// What tells one issuer's keys from another's. Tenants that agree on it share the keys, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    issuer: String,
    jwks_uri: Option<String>,
    ca_certificates: Option<String>,
}

impl Source {
    /// Of a tenant's configuration.
    #[must_use]
    pub fn of(config: &IssuerConfig) -> Self {
        let IssuerConfig { issuer, jwks_uri, ca_certificates, .. } = config;
        Self { issuer: issuer.clone(), jwks_uri: jwks_uri.clone(), ca_certificates: ca_certificates.clone() }
    }
}

/// Keys and when they were fetched.
struct Fetched {
    keys: Arc<KeySet>,
    at: Instant,
}

/// How far the fetching has come.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// Every request with a ticket up to this one has been seen to.
    upto: u64,
    /// Whether the last fetch was good.
    good: bool,
}

/// One authorization server.
pub struct Issuer {
    source: Source,
    timing: Timing,
    metrics: OAuthMetrics,
    fetched: ArcSwapOption<Fetched>,
    tickets: AtomicU64,
    wanted: Notify,
    progress: watch::Sender<Progress>,
}

impl Issuer {
    /// An issuer whose keys are fetched on `runtime` for as long as somebody holds it.
    #[must_use]
    pub fn start(
        source: Source,
        timing: Timing,
        metrics: OAuthMetrics,
        runtime: &tokio::runtime::Handle,
    ) -> Arc<Self> {
        let issuer = Arc::new(Self {
            source,
            timing,
            metrics,
            fetched: ArcSwapOption::empty(),
            tickets: AtomicU64::new(0),
            wanted: Notify::new(),
            progress: watch::Sender::new(Progress::default()),
        });
        runtime.spawn(run(Arc::downgrade(&issuer)));
        issuer
    }

    /// The keys that may be used now; `None` when there are none or they are too old.
    #[must_use]
    pub fn keys(&self) -> Option<Arc<KeySet>> {
        let fetched = self.fetched.load();
        let fetched = fetched.as_ref()?;
        (fetched.at.elapsed() < self.timing.keep).then(|| Arc::clone(&fetched.keys))
    }

    /// Waits until the keys have been looked at again since this call, if that may be, and tells whether what is known
    /// now is what the issuer says: `false` means that nobody can tell.
    pub async fn look_again(&self) -> bool {
        let mut progress = self.progress.subscribe();
        let ticket = self.tickets.fetch_add(1, Ordering::AcqRel) + 1;
        self.wanted.notify_one();
        let seen_to = progress.wait_for(|progress| progress.upto >= ticket);
        match tokio::time::timeout(self.timing.wait, seen_to).await {
            Ok(Ok(progress)) => progress.good,
            // The task has ended, or the fetch hangs.
            _ => false,
        }
    }

    /// Fetches once and publishes the outcome.
    async fn fetch(&self, client: &mut Option<reqwest::Client>, known_bad: bool) -> bool {
        let upto = self.tickets.load(Ordering::Acquire);
        let result = self.try_fetch(client).await;
        let good = match result {
            Ok(keys) => {
                self.metrics.fetched("ok");
                if known_bad || self.fetched.load().is_none() {
                    tracing::info!(
                        issuer = self.source.issuer,
                        keys = keys.len(),
                        "fetched the issuer's keys"
                    );
                }
                self.fetched.store(Some(Arc::new(Fetched { keys: Arc::new(keys), at: Instant::now() })));
                true
            }
            Err(error) => {
                self.metrics.fetched(error.label());
                self.complain(&error, known_bad);
                false
            }
        };
        self.progress.send_replace(Progress { upto, good });
        good
    }

    async fn try_fetch(&self, client: &mut Option<reqwest::Client>) -> Result<KeySet, FetchError> {
        let Source { issuer, jwks_uri, ca_certificates } = &self.source;
        let client = match client {
            Some(client) => client,
            None => client.insert(fetch::client(ca_certificates.as_deref())?),
        };
        fetch::keys(client, issuer, jwks_uri.as_deref()).await
    }

    /// Says why there are no new keys: loudly the first time, and whenever there are none at all.
    fn complain(&self, error: &FetchError, known_bad: bool) {
        let issuer = &self.source.issuer;
        if self.keys().is_none() {
            tracing::error!(issuer, %error, "cannot fetch the issuer's keys: its tokens are answered with 503 until they are there");
        } else if known_bad {
            tracing::debug!(issuer, %error, "still cannot fetch the issuer's keys");
        } else {
            let hours = self.timing.keep.as_secs() / 3600;
            tracing::warn!(issuer, %error, "cannot fetch the issuer's keys: those that are known serve on, up to {hours} hours after they were fetched");
        }
    }
}

/// Fetches for as long as somebody holds the issuer.
async fn run(issuer: Weak<Issuer>) {
    let mut client = None;
    let mut bad_in_a_row = 0_u32;
    let mut bucket: Option<Bucket> = None;
    loop {
        let Some(issuer) = issuer.upgrade() else { return };
        let timing = issuer.timing;
        let bucket = bucket.get_or_insert_with(|| Bucket::new(&timing));
        let good = issuer.fetch(&mut client, bad_in_a_row > 0).await;
        bad_in_a_row = if good { 0 } else { bad_in_a_row.saturating_add(1) };
        let pause = if good {
            timing.refresh
        } else {
            let most = timing.refresh.min(Duration::from_mins(1));
            timing.retry.saturating_mul(1 << bad_in_a_row.saturating_sub(1).min(10)).min(most)
        };
        let next = Instant::now() + pause;
        // Until then, or until somebody asks and may.
        loop {
            // Looks up now and then whether anybody still holds it.
            let look_up = Instant::now() + Duration::from_secs(5);
            tokio::select! {
                () = tokio::time::sleep_until(next.min(look_up)) => {
                    if Instant::now() >= next || Arc::strong_count(&issuer) == 1 {
                        break;
                    }
                }
                () = issuer.wanted.notified() => {
                    if bucket.take() {
                        break;
                    }
                    let upto = issuer.tickets.load(Ordering::Acquire);
                    issuer.progress.send_modify(|progress| progress.upto = upto);
                }
            }
        }
        if Arc::strong_count(&issuer) == 1 {
            return;
        }
    }
}

/// A token bucket for fetches that were asked for.
struct Bucket {
    left: u32,
    most: u32,
    interval: Duration,
    filled: Instant,
}

impl Bucket {
    fn new(timing: &Timing) -> Self {
        Self { left: timing.burst, most: timing.burst, interval: timing.min_interval, filled: Instant::now() }
    }

    fn take(&mut self) -> bool {
        while self.left < self.most && self.filled.elapsed() >= self.interval {
            self.left += 1;
            self.filled += self.interval;
        }
        if self.left == self.most {
            self.filled = Instant::now();
        }
        let taken = self.left > 0;
        self.left = self.left.saturating_sub(1);
        taken
    }
}
