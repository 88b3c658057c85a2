//! All that one turn of an endpoint looks at, read at one moment.

use std::sync::Arc;

use super::{Cache, Child, Known, Pod, secrets::secrets_of_tenant};
use crate::{
    config::objects::{Namespaces, Object as _},
    controller::{canonical::Digest, key::Key, kinds::Kind},
    crd::{ScimEndpoint, ScimTenant},
};

/// What a turn of an endpoint looks at.
pub(crate) struct Gathered {
    pub(crate) endpoint: Known<ScimEndpoint>,
    /// The tenants that name it, by key.
    pub(crate) tenants: Vec<Candidate>,
    /// The labels of namespaces, where tenants are chosen by them.
    pub(crate) namespaces: Namespaces,
    /// An older endpoint that has its host.
    pub(crate) host_holder: Option<Key>,
    /// The objects with its label.
    pub(crate) children: Vec<(Kind, Key, Child)>,
}

/// A tenant that names the endpoint.
pub(crate) struct Candidate {
    pub(crate) key: Key,
    pub(crate) tenant: Known<ScimTenant>,
    /// The Secrets that it refers to, with their versions; `None` for one that is not there.
    pub(crate) secrets: Vec<(Key, Option<Arc<str>>)>,
}

/// What decides whether an endpoint takes a tenant.
pub(crate) struct Rivals {
    pub(crate) endpoint: Arc<ScimEndpoint>,
    /// Those that may be in its way; it may be among them.
    pub(crate) tenants: Vec<Arc<ScimTenant>>,
    /// The labels of namespaces, where tenants are chosen by them.
    pub(crate) namespaces: Namespaces,
}

impl Cache {
    /// Reads all that a turn of this endpoint looks at; `None` when it is not there.
    pub(crate) fn gather(&self, key: &Key) -> Option<Gathered> {
        let state = self.state();
        let endpoint = state.endpoints.get(key)?.clone();
        let keys = state.tenants_of.get(key).into_iter().flatten();
        let tenants = keys.filter_map(|key| {
            let tenant = state.tenants.get(key)?.clone();
            let names = tenant.object().map(|tenant| secrets_of_tenant(tenant)).unwrap_or_default();
            let secrets = names.iter().map(|name| {
                let secret = Key { namespace: Arc::clone(&key.namespace), name: name.as_str().into() };
                let version = state.secrets.get(&secret).map(|entry| Arc::clone(&entry.resource_version));
                (secret, version)
            });
            Some(Candidate { key: key.clone(), secrets: secrets.collect(), tenant })
        });
        let children = state
            .children
            .iter()
            .filter(|((_, child), entry)| child.namespace == key.namespace && *entry.endpoint == *key.name);
        Some(Gathered {
            tenants: tenants.collect(),
            namespaces: endpoint.object().map(|endpoint| state.namespaces_for(endpoint)).unwrap_or_default(),
            host_holder: endpoint.object().and_then(|endpoint| state.host_holder(endpoint)),
            children: children.map(|((kind, key), child)| (*kind, key.clone(), child.clone())).collect(),
            endpoint,
        })
    }

    /// Reads what decides whether an endpoint takes a tenant with this path; `None` when there is no such endpoint.
    pub(crate) fn rivals(&self, key: &Key, path: &str) -> Option<Rivals> {
        let state = self.state();
        let endpoint = Arc::clone(state.endpoints.get(key)?.object()?);
        let tenants = state.tenants_of.get(key).into_iter().flatten();
        let tenants = tenants.filter_map(|key| state.tenants.get(key)?.object());
        // Where their number does not matter, others are in the way by their path only.
        let counts = endpoint.spec.max_tenants.is_some();
        let tenants = tenants.filter(|tenant| counts || tenant.path() == path).cloned().collect();
        Some(Rivals { namespaces: state.namespaces_for(&endpoint), tenants, endpoint })
    }

    /// The older endpoint that has this one's host.
    pub(crate) fn host_holder(&self, endpoint: &ScimEndpoint) -> Option<Key> {
        self.state().host_holder(endpoint)
    }

    /// The pods of an endpoint.
    pub(crate) fn pods_of(&self, endpoint: &Key) -> Vec<Pod> {
        let state = self.state();
        let ours = state
            .pods
            .iter()
            .filter(|(key, pod)| key.namespace == endpoint.namespace && *pod.endpoint == *endpoint.name);
        ours.map(|(_, pod)| pod.clone()).collect()
    }

    /// The digest of an object's status, as it was last seen; `None` for an object that is not there.
    pub(crate) fn status_of(&self, kind: Kind, key: &Key) -> Option<Digest> {
        self.state().statuses.get(&(kind, key.clone())).copied()
    }

    /// Notes what was written to an object's status, before a watch brings it.
    pub(crate) fn status_written(&self, kind: Kind, key: &Key, digest: Digest) {
        if let Some(status) = self.state().statuses.get_mut(&(kind, key.clone())) {
            *status = digest;
        }
    }
}

impl super::State {
    /// The labels of namespaces, when the endpoint chooses tenants by them.
    fn namespaces_for(&self, endpoint: &ScimEndpoint) -> Namespaces {
        let mut namespaces = Namespaces::default();
        if endpoint.spec.allowed_tenants.namespaces.selector.is_some() {
            for (key, labels) in &self.namespaces {
                namespaces.insert(&*key.name, labels.clone());
            }
        }
        namespaces
    }

    /// The older endpoint that has this one's host. Of two that were made in one second, the first by name.
    fn host_holder(&self, endpoint: &ScimEndpoint) -> Option<Key> {
        let host = endpoint.spec.host.as_ref()?;
        let age = |endpoint: &ScimEndpoint| {
            (endpoint.metadata.creation_timestamp.as_ref().map(|time| time.0), endpoint.key())
        };
        let others = self.endpoints.values().filter_map(Known::object);
        let older = others
            .filter(|other| other.spec.host.as_ref() == Some(host) && age(other) < age(endpoint))
            .filter(|other| other.metadata.deletion_timestamp.is_none());
        older.min_by_key(|other| age(other)).map(|other| Key::of(&other.metadata))
    }
}
