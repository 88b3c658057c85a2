//! Events: what changed and what a person should know, told about the object concerned.
//!
//! They are published beside the work and never hold it up. The same Event again is a series, not another Event.

use std::sync::Arc;

use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::{kinds::Kind, metrics::Metrics};

/// Events that may wait; those beyond are dropped.
const WAITING: usize = 256;
/// The API server refuses a longer note.
const LONGEST_NOTE: usize = 1000;

/// Takes Events.
#[derive(Clone)]
pub(crate) struct Events {
    sender: Sender<(Event, ObjectReference)>,
    metrics: Arc<Metrics>,
}

/// What an Event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Happening {
    /// An object that somebody deleted was made again.
    Recreated,
    /// Somebody's edit was put back.
    PutBack,
    /// An object that is no longer wanted was deleted.
    Deleted,
    /// Something is not accepted.
    Refused,
    /// It is accepted after it was not.
    Accepted,
    /// The certificate needs somebody.
    Certificate,
    /// Credentials were made.
    CredentialsMade,
    /// The token was replaced.
    TokenRotated,
    /// The data of a tenant stays.
    DataRetained,
    /// The data of a tenant is gone.
    DataPurged,
    /// The data of a tenant cannot be purged.
    PurgeBlocked,
}

impl Happening {
    /// Whether somebody should look.
    fn is_warning(self) -> bool {
        matches!(
            self,
            Self::PutBack | Self::Recreated | Self::Refused | Self::Certificate | Self::PurgeBlocked
        )
    }

    /// `reason` and `action` of the Event.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Recreated => ("Recreated", "Apply"),
            Self::PutBack => ("PutBack", "Apply"),
            Self::Deleted => ("Deleted", "Delete"),
            Self::Refused => ("Refused", "Validate"),
            Self::Accepted => ("Accepted", "Validate"),
            Self::Certificate => ("Certificate", "Validate"),
            Self::CredentialsMade => ("CredentialsMade", "Create"),
            Self::TokenRotated => ("TokenRotated", "Rotate"),
            Self::DataRetained => ("DataRetained", "Retain"),
            Self::DataPurged => ("DataPurged", "Purge"),
            Self::PurgeBlocked => ("PurgeBlocked", "Purge"),
        }
    }
}

impl Events {
    /// Events, and what publishes them.
    pub(crate) fn new(
        client: Client,
        instance: String,
        metrics: Arc<Metrics>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, receiver) = channel(WAITING);
        let reporter =
            Reporter { controller: "scim-operator.io/controller".to_owned(), instance: Some(instance) };
        let publisher = publish(Recorder::new(client, reporter), receiver, Arc::clone(&metrics));
        (Self { sender, metrics }, publisher)
    }

    /// Tells of an object.
    pub(crate) fn tell(&self, kind: Kind, metadata: &ObjectMeta, happening: Happening, note: &str) {
        let resource = kind.resource();
        let reference = ObjectReference {
            api_version: Some(resource.api_version),
            kind: Some(resource.kind),
            name: metadata.name.clone(),
            namespace: metadata.namespace.clone(),
            uid: metadata.uid.clone(),
            ..ObjectReference::default()
        };
        let (reason, action) = happening.words();
        let end = note.char_indices().nth(LONGEST_NOTE).map_or(note.len(), |(end, _)| end);
        let event = Event {
            type_: if happening.is_warning() { EventType::Warning } else { EventType::Normal },
            reason: reason.to_owned(),
            note: Some(note[..end].to_owned()),
            action: action.to_owned(),
            secondary: None,
        };
        if self.sender.try_send((event, reference)).is_err() {
            self.metrics.event_dropped();
        }
    }
}

async fn publish(
    recorder: Recorder,
    mut receiver: Receiver<(Event, ObjectReference)>,
    metrics: Arc<Metrics>,
) {
    while let Some((event, reference)) = receiver.recv().await {
        metrics.wrote("Event", "create");
        if let Err(error) = recorder.publish(&event, &reference).await {
            metrics.event_dropped();
            tracing::debug!(%error, reason = event.reason, "the Event is not published");
        }
    }
}
