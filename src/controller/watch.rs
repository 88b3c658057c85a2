//! Watches that never end: every object of a kind into a [`Sink`], across relists and failures.
//!
//! Objects come as untyped JSON, so that one which does not parse is the sink's to judge and stops no other. What a
//! relist no longer has is told as deleted.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use kube::{
    Api, Client,
    api::DynamicObject,
    core::PartialObjectMeta,
    runtime::watcher::{self, Event, watcher},
};
use serde_json::Value;

use super::{key::Key, kinds::Kind, metrics::Metrics};

/// The wait after the first failure of a watch, and the most it grows to.
const WAITS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(3)];
/// How long to wait before asking again for a kind that the cluster does not have.
const ABSENT: Duration = Duration::from_secs(15);
/// After this many seconds the API server is asked to begin the watch anew: a connection that died without a word is
/// noticed by then.
const WATCH_SECONDS: u32 = 60;

/// Takes what a watch sees. Called by one watch at a time for each scope.
pub(crate) trait Sink: Send + Sync + 'static {
    /// An object is there, perhaps changed, perhaps not.
    fn put(&self, object: DynamicObject);

    /// An object is gone.
    fn delete(&self, key: &Key);

    /// All objects of `namespace` (of every namespace for `None`) that are there are these.
    fn retain(&self, namespace: Option<&str>, there: &HashSet<Key>);
}

/// How far a watch has come.
#[derive(Debug, Default)]
pub(crate) struct Progress(AtomicU8);

impl Progress {
    /// Whether all objects that were there at the beginning are in the sink, or the cluster has no such kind.
    pub(crate) fn synced(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }

    /// Whether the cluster has no such kind.
    pub(crate) fn absent(&self) -> bool {
        self.0.load(Ordering::Acquire) == 2
    }

    fn set(&self, absent: bool) {
        self.0.store(if absent { 2 } else { 1 }, Ordering::Release);
    }
}

/// What to watch.
pub(crate) struct Watch {
    pub(crate) kind: Kind,
    pub(crate) client: Client,
    /// `None` for all.
    pub(crate) namespace: Option<String>,
    pub(crate) labels: Option<&'static str>,
    pub(crate) fields: Option<&'static str>,
    /// Only metadata is wanted.
    pub(crate) metadata_only: bool,
}

impl Watch {
    /// Watches until it is dropped.
    pub(crate) async fn run(
        self,
        sink: Arc<impl Sink + ?Sized>,
        progress: Arc<Progress>,
        metrics: Arc<Metrics>,
    ) {
        let config = watcher::Config {
            label_selector: self.labels.map(str::to_owned),
            field_selector: self.fields.map(str::to_owned),
            timeout: Some(WATCH_SECONDS),
            ..watcher::Config::default()
        };
        let kind = self.kind.as_str();
        let mut wait = WAITS[0];
        let mut listed = HashSet::new();
        let namespace = self.namespace.as_deref();
        let mut events = if self.metadata_only {
            let api: Api<PartialObjectMeta> = self.kind.api(&self.client, namespace);
            watcher(api, config).map(|event| event.map(without_body)).boxed()
        } else {
            let api: Api<DynamicObject> = self.kind.api(&self.client, namespace);
            watcher(api, config).boxed()
        };
        while let Some(event) = events.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) if self.kind.is_optional() && is_absent(&error) => {
                    if !progress.absent() {
                        tracing::info!(kind, "the cluster does not have this kind");
                        sink.retain(namespace, &HashSet::new());
                        progress.set(true);
                    }
                    tokio::time::sleep(ABSENT).await;
                    continue;
                }
                Err(error) => {
                    metrics.watch_failed(kind);
                    // A connection that ends is everyday; what lasts is worth a warning.
                    if wait > WAITS[0] * 4 {
                        tracing::warn!(kind, %error, "the watch failed; trying again");
                    } else {
                        tracing::debug!(kind, %error, "the watch failed; trying again");
                    }
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(WAITS[1]);
                    continue;
                }
            };
            wait = WAITS[0];
            match event {
                Event::Init => listed.clear(),
                Event::InitApply(object) => {
                    listed.insert(Key::of(&object.metadata));
                    sink.put(object);
                }
                Event::InitDone => {
                    sink.retain(namespace, &listed);
                    // Ten thousand names are not kept for the next time.
                    listed = HashSet::new();
                    progress.set(false);
                }
                Event::Apply(object) => sink.put(object),
                Event::Delete(object) => sink.delete(&Key::of(&object.metadata)),
            }
        }
    }
}

fn without_body(event: Event<PartialObjectMeta>) -> Event<DynamicObject> {
    let object =
        |PartialObjectMeta { types, metadata, .. }| DynamicObject { types, metadata, data: Value::Null };
    match event {
        Event::Apply(partial) => Event::Apply(object(partial)),
        Event::Delete(partial) => Event::Delete(object(partial)),
        Event::InitApply(partial) => Event::InitApply(object(partial)),
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
    }
}

fn is_absent(error: &watcher::Error) -> bool {
    let (watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error)) = error else {
        return false;
    };
    matches!(error, kube::Error::Api(status) if status.code == 404)
}
