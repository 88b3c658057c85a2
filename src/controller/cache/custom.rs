//! Endpoints and tenants as they are stored: parsed where that is possible, and known by name where it is not.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, api::DynamicObject};
use serde::de::DeserializeOwned;

use super::{News, State};
use crate::{
    controller::{
        canonical::{Digest, digest_of_status},
        key::Key,
        kinds::Kind,
    },
    crd::{ScimEndpoint, ScimTenant},
};

/// An object of our own kinds.
#[derive(Debug)]
pub(crate) enum Known<T> {
    /// It was read.
    Object(Arc<T>),
    /// It cannot be read: its definition is another than this binary's.
    Unreadable(Arc<Unreadable>),
}

impl<T> Clone for Known<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Object(object) => Self::Object(Arc::clone(object)),
            Self::Unreadable(unreadable) => Self::Unreadable(Arc::clone(unreadable)),
        }
    }
}

impl<T> Known<T> {
    pub(crate) fn object(&self) -> Option<&Arc<T>> {
        match self {
            Self::Object(object) => Some(object),
            Self::Unreadable(_) => None,
        }
    }
}

impl<T: Resource> Known<T> {
    pub(crate) fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Object(object) => object.meta(),
            Self::Unreadable(unreadable) => &unreadable.metadata,
        }
    }
}

/// An object that cannot be read.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) metadata: ObjectMeta,
    /// Why.
    pub(crate) message: String,
    /// The endpoint that a tenant names, when that much can be read.
    endpoint: Option<Key>,
}

/// The endpoint that a tenant names.
pub(crate) fn endpoint_of(tenant: &ScimTenant) -> Key {
    let reference = &tenant.spec.endpoint_ref;
    let own = tenant.metadata.namespace.as_deref().unwrap_or_default();
    Key::new(reference.namespace.as_deref().unwrap_or(own), &reference.name)
}

impl Known<ScimTenant> {
    /// The endpoint that it names.
    pub(crate) fn endpoint(&self) -> Option<Key> {
        match self {
            Self::Object(tenant) => Some(endpoint_of(tenant)),
            Self::Unreadable(unreadable) => unreadable.endpoint.clone(),
        }
    }
}

/// The object without its status, and the status's digest.
fn read<T: DeserializeOwned + Resource>(mut object: DynamicObject) -> (Known<T>, Digest) {
    let status = object.data.as_object_mut().and_then(|data| data.remove("status")).unwrap_or_default();
    // What kubectl notes there is as large as the object.
    if let Some(annotations) = &mut object.metadata.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    let metadata = object.metadata.clone();
    let reference = object.data["spec"]["endpointRef"].clone();
    let known = match object.try_parse() {
        Ok(object) => Known::Object(Arc::new(object)),
        Err(error) => {
            let namespace = reference["namespace"].as_str().or(metadata.namespace.as_deref());
            let namespace = namespace.unwrap_or_default();
            let endpoint = reference["name"].as_str().map(|name| Key::new(namespace, name));
            let message = error.to_string();
            Known::Unreadable(Arc::new(Unreadable { metadata, message, endpoint }))
        }
    };
    (known, digest_of_status(&status))
}

/// Whether anything but the status differs.
fn differs(old: Option<&ObjectMeta>, new: &ObjectMeta) -> bool {
    let relevant = |metadata: &ObjectMeta| {
        (
            metadata.uid.clone(),
            metadata.generation,
            metadata.deletion_timestamp.clone(),
            metadata.finalizers.clone(),
            metadata.labels.clone(),
            metadata.annotations.clone(),
        )
    };
    old.map(relevant) != Some(relevant(new))
}

impl State {
    pub(super) fn put_endpoint(&mut self, object: DynamicObject, news: &mut News) {
        let (known, status): (Known<ScimEndpoint>, _) = read(object);
        let key = Key::of(known.metadata());
        self.statuses.insert((Kind::Endpoint, key.clone()), status);
        if let Known::Unreadable(unreadable) = &known {
            tracing::error!(endpoint = %key, error = unreadable.message, "the ScimEndpoint cannot be read");
        }
        let old = self.endpoints.get(&key);
        news.endpoints.insert(key.clone());
        if differs(old.map(Known::metadata), known.metadata()) {
            self.neighbours(&key, &known, news);
            if let Some(tenants) = self.tenants_of.get(&key).filter(|_| old.is_none()) {
                news.tenants.extend(tenants.iter().cloned());
            }
        }
        self.refer_from_endpoint(&key, known.object().map(|endpoint| &**endpoint));
        self.endpoints.insert(key, known);
    }

    pub(super) fn delete_endpoint(&mut self, key: &Key, news: &mut News) {
        let Some(known) = self.endpoints.remove(key) else { return };
        self.statuses.remove(&(Kind::Endpoint, key.clone()));
        self.refer_from_endpoint(key, None);
        self.neighbours(key, &known, news);
        news.endpoints.insert(key.clone());
        news.tenants.extend(self.tenants_of.get(key).into_iter().flatten().cloned());
    }

    /// Endpoints that have, or had, the same host: one of them may have to give way now, or no longer.
    fn neighbours(&self, key: &Key, known: &Known<ScimEndpoint>, news: &mut News) {
        let host = |known: &Known<ScimEndpoint>| known.object().and_then(|object| object.spec.host.clone());
        let hosts: BTreeSet<String> =
            [Some(known), self.endpoints.get(key)].into_iter().flatten().filter_map(host).collect();
        let others = self
            .endpoints
            .iter()
            .filter(|(other, known)| *other != key && host(known).is_some_and(|host| hosts.contains(&host)));
        news.endpoints.extend(others.map(|(key, _)| key.clone()));
    }

    pub(super) fn put_tenant(&mut self, object: DynamicObject, news: &mut News) {
        let (known, status): (Known<ScimTenant>, _) = read(object);
        let key = Key::of(known.metadata());
        self.statuses.insert((Kind::Tenant, key.clone()), status);
        if let Known::Unreadable(unreadable) = &known {
            tracing::error!(tenant = %key, error = unreadable.message, "the ScimTenant cannot be read");
        }
        let old = self.tenants.get(&key);
        let (before, now) = (old.and_then(Known::endpoint), known.endpoint());
        news.tenants.insert(key.clone());
        if differs(old.map(Known::metadata), known.metadata()) {
            news.endpoints.extend(before.iter().chain(&now).cloned());
        }
        if before != now {
            if let Some(before) = before {
                self.forget_tenant_of(&before, &key);
            }
            if let Some(now) = now {
                self.tenants_of.entry(now).or_default().insert(key.clone());
            }
        }
        self.refer_from_tenant(&key, known.object().map(|tenant| &**tenant));
        self.tenants.insert(key, known);
    }

    pub(super) fn delete_tenant(&mut self, key: &Key, news: &mut News) {
        let Some(known) = self.tenants.remove(key) else { return };
        self.statuses.remove(&(Kind::Tenant, key.clone()));
        self.refer_from_tenant(key, None);
        news.tenants.insert(key.clone());
        if let Some(endpoint) = known.endpoint() {
            self.forget_tenant_of(&endpoint, key);
            news.endpoints.insert(endpoint);
        }
    }

    fn forget_tenant_of(&mut self, endpoint: &Key, tenant: &Key) {
        if let Some(tenants) = self.tenants_of.get_mut(endpoint) {
            tenants.remove(tenant);
            if tenants.is_empty() {
                self.tenants_of.remove(endpoint);
            }
        }
    }
}
