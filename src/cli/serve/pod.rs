//! `serve --config`: a pod follows the configuration that the controller wrote.
//!
//! It begins with the mounted files, with no API server at all. A watch on the Secret tells of changes at once; the
//! files are seconds to minutes behind it, so they count only while the API server cannot be asked, and then only when
//! they change. What is broken or half-written changes nothing, and is looked at again.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use super::mounted::Mounted;
use super::secret::{Event, Source};
use crate::config::digest::sha256_hex;
use crate::config::running::Running;
use crate::config::shards::{DecodeError, HEAD_KEY};
use crate::server::App;

/// The first pause before what failed is tried again; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What to follow.
#[derive(Debug, Clone)]
pub(super) struct Options {
    /// Where the configuration is mounted.
    pub(super) folder: std::path::PathBuf,
    /// The Secret of its head; none: the folder alone.
    pub(super) secret: Option<SecretName>,
}

/// `NAMESPACE/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretName {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl FromStr for SecretName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(format!("expected NAMESPACE/NAME, but found {text:?}")),
        }
    }
}

/// Follows until it is dropped.
pub(super) struct Following {
    configured: watch::Receiver<bool>,
    tasks: [JoinHandle<()>; 2],
}

impl Following {
    /// Whether there is something to serve.
    pub(super) fn configured(&self) -> watch::Receiver<bool> {
        self.configured.clone()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Begins to follow. `settle` is told of every configuration that is served.
pub(super) fn start(app: Arc<App>, options: Options, settle: Arc<Notify>) -> Following {
    let (tell, configured) = watch::channel(false);
    let (events, received) = mpsc::channel(1);
    let (connected, source) = watch::channel(None);
    let Options { folder, secret } = options;
    let watching = tokio::spawn(async move {
        let Some(secret) = secret else { return };
        match Source::connect(&secret).await {
            Ok(source) => {
                let _ = connected.send(Some(source.clone()));
                source.watch(events).await;
            }
            Err(error) => {
                let _ = events.send(Event::Away(error)).await;
            }
        }
    });
    let follower = Follower {
        app,
        settle,
        configured: tell,
        mounted: Mounted::watch(&folder),
        source,
        running: Running::default(),
        mounted_digest: String::new(),
        api_server: ApiServer::Away,
        retry: None,
        said: None,
        started: Instant::now(),
    };
    let following = tokio::spawn(follower.follow(received));
    Following { configured, tasks: [watching, following] }
}

/// Whether the watch brings what is new.
#[derive(Debug, PartialEq, Eq)]
enum ApiServer {
    Watched,
    Away,
}

/// Where a configuration came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Mounted,
    Secret,
}

impl From {
    fn words(self) -> &'static str {
        match self {
            Self::Mounted => "the mounted files",
            Self::Secret => "the Secret",
        }
    }
}

/// Why there is no next configuration.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("cannot read the mounted configuration: {0}")]
    Mounted(#[from] std::io::Error),
    #[error("cannot read the configuration at the API server: {0}")]
    Secret(String),
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    #[error("{HEAD_KEY} is not there yet: the controller writes it")]
    Absent,
}

struct Follower {
    app: Arc<App>,
    settle: Arc<Notify>,
    configured: watch::Sender<bool>,
    mounted: Mounted,
    source: watch::Receiver<Option<Source>>,
    running: Running,
    /// The mounted head that was looked at last.
    mounted_digest: String,
    api_server: ApiServer,
    /// What to try again, when, and the pause after that.
    retry: Option<(From, Instant, Duration)>,
    /// The trouble that the log has.
    said: Option<String>,
    started: Instant,
}

impl Follower {
    async fn follow(mut self, mut events: mpsc::Receiver<Event>) {
        self.take(From::Mounted, None).await;
        let mut watched = true;
        loop {
            let retry = self.retry.map(|(from, at, _)| (from, at));
            tokio::select! {
                event = events.recv(), if watched => match event {
                    Some(event) => self.heard(event).await,
                    None => watched = false,
                },
                () = self.mounted.changed() => {
                    if self.api_server == ApiServer::Away && self.mounted_is_new() {
                        self.take(From::Mounted, None).await;
                    }
                }
                from = at(retry) => self.take(from, None).await,
            }
        }
    }

    async fn heard(&mut self, event: Event) {
        match event {
            Event::Head(head) => {
                if self.api_server == ApiServer::Away {
                    tracing::debug!("the configuration is watched at the API server");
                }
                self.api_server = ApiServer::Watched;
                self.retry = None;
                self.take(From::Secret, Some(head)).await;
            }
            Event::Absent => {
                self.api_server = ApiServer::Watched;
                self.failed(From::Secret, &Failure::Absent);
                self.retry = None;
            }
            Event::Away(error) => {
                if self.api_server == ApiServer::Watched {
                    // From here on a change of the files is news.
                    self.mounted_is_new();
                }
                self.api_server = ApiServer::Away;
                self.say(format!(
                    "the API server cannot be asked for changes, the mounted files are followed: {error}"
                ));
                if !*self.configured.borrow() {
                    self.app.waits_for(format!(
                        "there is no mounted configuration yet, and the API server cannot be asked: {error}"
                    ));
                }
            }
        }
    }

    /// Whether the mounted head is another one than before.
    fn mounted_is_new(&mut self) -> bool {
        let Ok(Some(head)) = self.mounted.head() else { return false };
        let digest = sha256_hex(head);
        let is_new = digest != self.mounted_digest;
        self.mounted_digest = digest;
        is_new
    }

    /// Serves what there is, when it is another configuration than the one that runs.
    async fn take(&mut self, from: From, head: Option<Vec<u8>>) {
        let began = Instant::now();
        match self.next(from, head).await {
            Ok(None) => self.retry = None,
            Ok(Some((tenants, shards))) => {
                self.retry = None;
                self.said = None;
                self.settle.notify_one();
                let first = !self.configured.send_replace(true);
                let milliseconds = if first { self.started.elapsed() } else { began.elapsed() }.as_millis();
                tracing::info!(digest = self.running.digest(), tenants, shards, milliseconds = %milliseconds, "serving a configuration from {}", from.words());
            }
            Err(failure) => self.failed(from, &failure),
        }
    }

    fn failed(&mut self, from: From, failure: &Failure) {
        let pause = self.retry.map_or(FIRST_PAUSE, |(_, _, pause)| pause);
        self.retry = Some((from, Instant::now() + pause, (pause * 2).min(LONGEST_PAUSE)));
        if !*self.configured.borrow() {
            self.app.waits_for(format!("there is no configuration yet: {failure}"));
        }
        // Half-written is what a writer looks like for a moment.
        let is_moment =
            matches!(failure, Failure::Decode(error) if error.is_half_written()) && pause < LONGEST_PAUSE;
        if !is_moment {
            self.say(format!("{} cannot be served, the last good configuration is: {failure}", from.words()));
        }
    }

    /// Says a trouble once.
    fn say(&mut self, trouble: String) {
        if self.said.as_ref() != Some(&trouble) {
            tracing::warn!("{trouble}");
            self.said = Some(trouble);
        }
    }

    /// Serves the next configuration: how many tenants it has, and how many shards were read. Nothing when it runs.
    async fn next(&mut self, from: From, head: Option<Vec<u8>>) -> Result<Option<(usize, usize)>, Failure> {
        let source = self.source.borrow().clone();
        let head = match (from, head, &source) {
            (_, Some(head), _) => Some(head),
            (From::Mounted, None, _) => {
                self.mounted_is_new();
                self.mounted.head()?
            }
            (From::Secret, None, Some(source)) => source.head().await.map_err(Failure::Secret)?,
            (From::Secret, None, None) => None,
        };
        let Some(change) = self.running.compare(&head.ok_or(Failure::Absent)?)? else { return Ok(None) };
        let fetched = match (from, &source) {
            (From::Mounted, _) => self.mounted.shards(&change.shards)?,
            (From::Secret, Some(source)) => source.shards(&change.shards).await.map_err(Failure::Secret)?,
            (From::Secret, None) => BTreeMap::new(),
        };
        let shards = change.shards.len();
        let (next, config) = self.running.next(change, &fetched)?;
        self.app.apply_with_digest(&config, Some(next.digest())).await?;
        self.running = next;
        Ok(Some((config.tenants.len(), shards)))
    }
}

/// Ready at a time; never without one.
async fn at(retry: Option<(From, Instant)>) -> From {
    match retry {
        Some((from, at)) => {
            tokio::time::sleep_until(at.into()).await;
            from
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_named_with_its_namespace() {
        let name = SecretName { namespace: "identity".to_owned(), name: "main-scim-config".to_owned() };
        assert_eq!("identity/main-scim-config".parse(), Ok(name));
        for wrong in ["main", "/main", "identity/", "a/b/c"] {
            let error = format!("expected NAMESPACE/NAME, but found {wrong:?}");
            assert_eq!(wrong.parse::<SecretName>(), Err(error));
        }
    }
}
