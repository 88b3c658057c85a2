//! The objects that the operator made: who they are, not what is in them.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{News, State};
use crate::controller::{key::Key, kinds::Kind, names::ENDPOINT_LABEL};

/// An object with our labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Child {
    /// The endpoint that its label names, in its namespace.
    pub(crate) endpoint: Arc<str>,
    pub(crate) uid: Arc<str>,
    pub(crate) resource_version: Arc<str>,
    /// The uid of its controlling owner.
    pub(crate) owner: Option<Arc<str>>,
    /// It is on its way out.
    pub(crate) deleting: bool,
}

impl Child {
    /// The object, when it has our label.
    pub(super) fn of(metadata: &ObjectMeta) -> Option<Self> {
        let endpoint = metadata.labels.as_ref()?.get(ENDPOINT_LABEL)?;
        let owners = metadata.owner_references.iter().flatten();
        let owner = owners.into_iter().find(|owner| owner.controller == Some(true));
        Some(Self {
            endpoint: endpoint.as_str().into(),
            uid: metadata.uid.as_deref().unwrap_or_default().into(),
            resource_version: metadata.resource_version.as_deref().unwrap_or_default().into(),
            owner: owner.map(|owner| owner.uid.as_str().into()),
            deleting: metadata.deletion_timestamp.is_some(),
        })
    }
}

impl State {
    pub(super) fn put_child(&mut self, kind: Kind, metadata: &ObjectMeta, news: &mut News) {
        let key = Key::of(metadata);
        let Some(child) = Child::of(metadata) else {
            self.delete_child(kind, &key, news);
            return;
        };
        let place = (kind, key);
        let old = self.children.get(&place);
        if old == Some(&child) {
            return;
        }
        for child in [old, Some(&child)].into_iter().flatten() {
            news.endpoints.insert(Key::new(&place.1.namespace, &child.endpoint));
        }
        self.children.insert(place, child);
    }

    pub(super) fn delete_child(&mut self, kind: Kind, key: &Key, news: &mut News) {
        if let Some(child) = self.children.remove(&(kind, key.clone())) {
            news.endpoints.insert(Key::new(&key.namespace, &child.endpoint));
        }
    }
}
