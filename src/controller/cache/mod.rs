//! Gather: all that the controller knows of the cluster, kept up to date by watches, read by reconciles.
//!
//! Ten thousand tenants are to fit: of every object only what decisions need is kept. What changed is told to the
//! [`Listener`], which gives the objects concerned a turn.

mod children;
mod custom;
mod gather;
mod pods;
mod secrets;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DynamicObject;

pub(crate) use self::{
    children::Child,
    custom::{Known, endpoint_of},
    gather::{Candidate, Gathered, Rivals},
    pods::Pod,
    secrets::{SecretEntry, secrets_of_endpoint, secrets_of_storage},
};
use super::{canonical::Digest, key::Key, kinds::Kind, watch::Sink};
use crate::crd::{ScimEndpoint, ScimTenant};

/// Who is told what changed.
pub(crate) trait Listener: Send + Sync + 'static {
    /// An endpoint, or something that it depends on, is different.
    fn endpoint(&self, key: &Key);

    /// A tenant is different.
    fn tenant(&self, key: &Key);

    /// The pods of an endpoint are different.
    fn pods(&self, endpoint: &Key);
}

/// What is known of the cluster.
pub(crate) struct Cache {
    state: Mutex<State>,
    listener: Box<dyn Listener>,
}

#[derive(Default)]
pub(crate) struct State {
    endpoints: BTreeMap<Key, Known<ScimEndpoint>>,
    tenants: HashMap<Key, Known<ScimTenant>>,
    /// The tenants that name an endpoint, which may not be there.
    tenants_of: HashMap<Key, BTreeSet<Key>>,
    /// The labels of namespaces.
    namespaces: HashMap<Key, BTreeMap<String, String>>,
    secrets: HashMap<Key, SecretEntry>,
    /// Who depends on a Secret.
    references: secrets::References,
    children: BTreeMap<(Kind, Key), Child>,
    pods: BTreeMap<Key, Pod>,
    /// Of endpoints and tenants: whether a status differs from the one to be, not what is in it.
    statuses: HashMap<(Kind, Key), Digest>,
}

impl Cache {
    pub(crate) fn new(listener: Box<dyn Listener>) -> Self {
        Self { state: Mutex::default(), listener }
    }

    /// What a watch of this kind writes to.
    pub(crate) fn sink(self: &Arc<Self>, kind: Kind) -> Arc<dyn Sink> {
        Arc::new(KindSink { cache: Arc::clone(self), kind })
    }

    /// The endpoint, when it is there.
    pub(crate) fn endpoint(&self, key: &Key) -> Option<Known<ScimEndpoint>> {
        self.state().endpoints.get(key).cloned()
    }

    /// The tenant, when it is there.
    pub(crate) fn tenant(&self, key: &Key) -> Option<Known<ScimTenant>> {
        self.state().tenants.get(key).cloned()
    }

    /// One object of ours.
    pub(crate) fn child(&self, kind: Kind, key: &Key) -> Option<Child> {
        self.state().children.get(&(kind, key.clone())).cloned()
    }

    /// How many objects of our own kinds are known, and how many of them cannot be read.
    pub(crate) fn counts(&self) -> [(Kind, usize, usize); 2] {
        let state = self.state();
        let unreadable_endpoints = state.endpoints.values().filter(|known| known.object().is_none()).count();
        let unreadable_tenants = state.tenants.values().filter(|known| known.object().is_none()).count();
        [
            (Kind::Endpoint, state.endpoints.len(), unreadable_endpoints),
            (Kind::Tenant, state.tenants.len(), unreadable_tenants),
        ]
    }

    /// Gives everything a turn, as at the start.
    pub(crate) fn tell_all(&self) {
        let state = self.state();
        let endpoints: BTreeSet<Key> = state.endpoints.keys().cloned().collect();
        let news =
            News { pods: endpoints.clone(), endpoints, tenants: state.tenants.keys().cloned().collect() };
        drop(state);
        self.tell(news);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the listener, with the lock given back.
    fn tell(&self, news: News) {
        let News { endpoints, tenants, pods } = news;
        for key in &endpoints {
            self.listener.endpoint(key);
        }
        for key in &tenants {
            self.listener.tenant(key);
        }
        for key in &pods {
            self.listener.pods(key);
        }
    }
}

/// Whom a change concerns.
#[derive(Default)]
struct News {
    endpoints: BTreeSet<Key>,
    tenants: BTreeSet<Key>,
    pods: BTreeSet<Key>,
}

struct KindSink {
    cache: Arc<Cache>,
    kind: Kind,
}

impl Sink for KindSink {
    fn put(&self, mut object: DynamicObject) {
        object.metadata.managed_fields = None;
        let mut state = self.cache.state();
        let mut news = News::default();
        match self.kind {
            Kind::Endpoint => state.put_endpoint(object, &mut news),
            Kind::Tenant => state.put_tenant(object, &mut news),
            Kind::Namespace => state.put_namespace(&object.metadata, &mut news),
            Kind::Secret => state.put_secret(object, &mut news),
            Kind::Pod => state.put_pod(object, &mut news),
            kind => state.put_child(kind, &object.metadata, &mut news),
        }
        drop(state);
        self.cache.tell(news);
    }

    fn delete(&self, key: &Key) {
        let mut state = self.cache.state();
        let mut news = News::default();
        state.delete(self.kind, key, &mut news);
        drop(state);
        self.cache.tell(news);
    }

    fn retain(&self, namespace: Option<&str>, there: &HashSet<Key>) {
        let mut state = self.cache.state();
        let mut news = News::default();
        let gone: Vec<Key> = state
            .keys(self.kind)
            .into_iter()
            .filter(|key| namespace.is_none_or(|namespace| *key.namespace == *namespace))
            .filter(|key| !there.contains(key))
            .collect();
        for key in gone {
            state.delete(self.kind, &key, &mut news);
        }
        drop(state);
        self.cache.tell(news);
    }
}

impl State {
    fn put_namespace(&mut self, metadata: &ObjectMeta, news: &mut News) {
        let key = Key::of(metadata);
        let labels = metadata.labels.clone().unwrap_or_default();
        if self.namespaces.get(&key) != Some(&labels) {
            self.namespaces.insert(key, labels);
            self.selectors_changed(news);
        }
    }

    /// Endpoints that choose tenants by their namespace's labels look again.
    fn selectors_changed(&self, news: &mut News) {
        let selecting = self.endpoints.iter().filter(|(_, known)| {
            known.object().is_some_and(|endpoint| endpoint.spec.allowed_tenants.namespaces.selector.is_some())
        });
        news.endpoints.extend(selecting.map(|(key, _)| key.clone()));
    }

    fn delete(&mut self, kind: Kind, key: &Key, news: &mut News) {
        match kind {
            Kind::Endpoint => self.delete_endpoint(key, news),
            Kind::Tenant => self.delete_tenant(key, news),
            Kind::Namespace => {
                if self.namespaces.remove(key).is_some() {
                    self.selectors_changed(news);
                }
            }
            Kind::Secret => self.delete_secret(key, news),
            Kind::Pod => self.delete_pod(key, news),
            kind => self.delete_child(kind, key, news),
        }
    }

    fn keys(&self, kind: Kind) -> Vec<Key> {
        match kind {
            Kind::Endpoint => self.endpoints.keys().cloned().collect(),
            Kind::Tenant => self.tenants.keys().cloned().collect(),
            Kind::Namespace => self.namespaces.keys().cloned().collect(),
            Kind::Secret => self.secrets.keys().cloned().collect(),
            Kind::Pod => self.pods.keys().cloned().collect(),
            kind => {
                let ours = self.children.keys().filter(|(child, _)| *child == kind);
                ours.map(|(_, key)| key.clone()).collect()
            }
        }
    }
}
