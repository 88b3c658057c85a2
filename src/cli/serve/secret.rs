//! The configuration at the API server: a watch on the one Secret that is the head, and reads of the shards.
//!
//! The pod's account may do this and nothing else: get and watch, by these names, so there is no list here. Losing the
//! API server is no failure: it is told, and tried again for ever.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use futures::{StreamExt as _, future::try_join_all};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, ResourceExt,
    api::{WatchEvent, WatchParams},
};
use tokio::sync::mpsc;

use super::pod::SecretName;
use crate::config::shards::{HEAD_KEY, SHARD_KEY};

/// How long a read may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first pause after a failure; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Seconds that one watch may last: a connection that died without a word is noticed then.
const WATCH: u32 = 60;

/// What the watch has to say.
pub(super) enum Event {
    /// The Secret's head, now.
    Head(Vec<u8>),
    /// There is no such Secret, or no head in it.
    Absent,
    /// The API server cannot be asked, or refuses.
    Away(String),
}

/// Where the Secrets are.
#[derive(Clone)]
pub(super) struct Source {
    api: Api<Secret>,
    name: String,
}

impl Source {
    /// By the account of the pod, or the kubeconfig of whoever runs this elsewhere.
    pub(super) async fn connect(secret: &SecretName) -> Result<Self, String> {
        let mut config = kube::Config::infer().await.map_err(|error| chain(&error))?;
        config.connect_timeout = Some(PATIENCE);
        let client = Client::try_from(config).map_err(|error| chain(&error))?;
        Ok(Self { api: Api::namespaced(client, &secret.namespace), name: secret.name.clone() })
    }

    /// Tells the head, now and whenever it changes, until nobody listens.
    pub(super) async fn watch(self, events: mpsc::Sender<Event>) {
        let mut pause = FIRST_PAUSE;
        while !events.is_closed() {
            pause = match self.watch_once(&events).await {
                Ok(()) => FIRST_PAUSE,
                Err(error) => {
                    let _ = events.send(Event::Away(error)).await;
                    (pause * 2).min(LONGEST_PAUSE)
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// As long as one watch lasts; the API server ends each after some minutes. An error: it did not begin.
    async fn watch_once(&self, events: &mpsc::Sender<Event>) -> Result<(), String> {
        let secret = self.get(&self.name).await?;
        let version = secret.as_ref().and_then(ResourceExt::resource_version).unwrap_or("0".to_owned());
        if events.send(head(secret)).await.is_err() {
            return Ok(());
        }
        let only = WatchParams::default().fields(&format!("metadata.name={}", self.name)).timeout(WATCH);
        let mut watch = pin!(self.api.watch(&only, &version).await.map_err(|error| chain(&error))?);
        while let Some(Ok(event)) = watch.next().await {
            let event = match event {
                WatchEvent::Added(secret) | WatchEvent::Modified(secret) => head(Some(secret)),
                WatchEvent::Deleted(_) => Event::Absent,
                WatchEvent::Bookmark(_) => continue,
                // It forgot the version, mostly: what is there now is asked for next.
                WatchEvent::Error(_) => break,
            };
            if events.send(event).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// The head, now.
    pub(super) async fn head(&self) -> Result<Option<Vec<u8>>, String> {
        Ok(self.get(&self.name).await?.and_then(|secret| value(secret, HEAD_KEY)))
    }

    /// These shards, as far as they are there.
    pub(super) async fn shards(&self, shards: &[u8]) -> Result<BTreeMap<u8, Vec<u8>>, String> {
        let get = |shard: &u8| {
            let (shard, name) = (*shard, format!("{}-{shard:02}", self.name));
            async move {
                let bytes = self.get(&name).await?.and_then(|secret| value(secret, SHARD_KEY));
                Ok::<_, String>(bytes.map(|bytes| (shard, bytes)))
            }
        };
        Ok(try_join_all(shards.iter().map(get)).await?.into_iter().flatten().collect())
    }

    async fn get(&self, name: &str) -> Result<Option<Secret>, String> {
        match tokio::time::timeout(PATIENCE, self.api.get_opt(name)).await {
            Ok(Ok(secret)) => Ok(secret),
            Ok(Err(error)) => Err(chain(&error)),
            Err(_) => Err(format!("the API server did not answer within {} seconds", PATIENCE.as_secs())),
        }
    }
}

fn head(secret: Option<Secret>) -> Event {
    secret.and_then(|secret| value(secret, HEAD_KEY)).map_or(Event::Absent, Event::Head)
}

fn value(secret: Secret, key: &str) -> Option<Vec<u8>> {
    secret.data?.remove(key).map(|bytes| bytes.0)
}

/// An error with its causes, each once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}
