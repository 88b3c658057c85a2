//! The server pods: where they are, whether they are ready, and why not.

use std::{net::IpAddr, sync::Arc};

use k8s_openapi::api::core::v1 as core;
use kube::api::DynamicObject;

use super::{News, State};
use crate::controller::{key::Key, names::ENDPOINT_LABEL};

/// A server pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pod {
    /// The endpoint that its label names, in its namespace.
    pub(crate) endpoint: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) uid: Arc<str>,
    pub(crate) address: Option<IpAddr>,
    /// It takes requests.
    pub(crate) ready: bool,
    /// It is on its way out.
    pub(crate) deleting: bool,
    /// Why it does not start, as far as the cluster says.
    pub(crate) trouble: Option<Arc<str>>,
}

impl Pod {
    fn of(pod: core::Pod) -> Option<Self> {
        let core::Pod { metadata, spec: _, status } = pod;
        let status = status.unwrap_or_default();
        let condition = |kind: &str| status.conditions.iter().flatten().find(|one| one.type_ == kind);
        let ready = condition("Ready").is_some_and(|condition| condition.status == "True");
        let trouble = if ready { None } else { trouble(&status) };
        Some(Self {
            endpoint: metadata.labels.as_ref()?.get(ENDPOINT_LABEL)?.as_str().into(),
            name: metadata.name.as_deref().unwrap_or_default().into(),
            uid: metadata.uid.as_deref().unwrap_or_default().into(),
            address: status.pod_ip.as_ref().and_then(|address| address.parse().ok()),
            ready,
            deleting: metadata.deletion_timestamp.is_some(),
            trouble: trouble.map(Into::into),
        })
    }
}

/// What the scheduler or the kubelet complains of.
fn trouble(status: &core::PodStatus) -> Option<String> {
    const EVERYDAY: [&str; 2] = ["ContainerCreating", "PodInitializing"];
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    if let Some(condition) = unscheduled {
        let message = condition.message.as_deref().unwrap_or("no node fits");
        return Some(format!("cannot be scheduled: {message}"));
    }
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    for container in containers {
        let Some(state) = &container.state else { continue };
        if let Some(waiting) = &state.waiting {
            let reason = waiting.reason.as_deref().unwrap_or_default();
            if !EVERYDAY.contains(&reason) {
                let ended = container.last_state.as_ref().and_then(|last| last.terminated.as_ref());
                let ended = ended.map(|ended| format!(", it last ended with exit code {}", ended.exit_code));
                let message = waiting.message.as_deref().map(|message| format!(": {message}"));
                return Some(format!("{reason}{}{}", message.unwrap_or_default(), ended.unwrap_or_default()));
            }
        }
        if let Some(ended) = &state.terminated
            && ended.exit_code != 0
        {
            return Some(format!("ended with exit code {}", ended.exit_code));
        }
    }
    (status.phase.as_deref() == Some("Failed"))
        .then(|| status.message.clone().or(status.reason.clone()).unwrap_or_else(|| "failed".to_owned()))
}

impl State {
    pub(super) fn put_pod(&mut self, object: DynamicObject, news: &mut News) {
        let key = Key::of(&object.metadata);
        let pod = match object.try_parse().map(Pod::of) {
            Ok(Some(pod)) => pod,
            Ok(None) => return self.delete_pod(&key, news),
            Err(error) => {
                tracing::error!(pod = %key, %error, "the Pod cannot be read");
                return self.delete_pod(&key, news);
            }
        };
        let old = self.pods.get(&key);
        if old == Some(&pod) {
            return;
        }
        for pod in [old, Some(&pod)].into_iter().flatten() {
            news.pods.insert(Key::new(&key.namespace, &pod.endpoint));
        }
        self.pods.insert(key, pod);
    }

    pub(super) fn delete_pod(&mut self, key: &Key, news: &mut News) {
        if let Some(pod) = self.pods.remove(key) {
            news.pods.insert(Key::new(&key.namespace, &pod.endpoint));
        }
    }
}
