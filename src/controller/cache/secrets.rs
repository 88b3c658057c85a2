//! Secrets: who they are, and the data of those that somebody refers to.
//!
//! A cluster has many Secrets that are no concern of ours: their data is dropped as they come. When one of them becomes
//! referred to, [`Cache::missing_data`] names it, and it is read again.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DynamicObject;
use serde_json::Value;

use super::{Cache, Known, News, State, custom::endpoint_of};
use crate::{
    config::objects::Secret,
    controller::{
        key::Key,
        kinds::Kind,
        names::{ENDPOINT_LABEL, Names},
    },
    crd::{ISSUED_AT_ANNOTATION, PREVIOUS_EXPIRES_AT_ANNOTATION, ScimEndpoint, ScimTenant, Tls},
};

/// Whose value is not kept, only that it is there: nothing here signs with it.
const PRIVATE_KEY: &str = "tls.key";

/// The annotations that mean something to us.
const ANNOTATIONS: [&str; 2] = [ISSUED_AT_ANNOTATION, PREVIOUS_EXPIRES_AT_ANNOTATION];

/// A Secret. It has no `Debug`, so that its values cannot reach a log.
#[derive(Clone)]
pub(crate) struct SecretEntry {
    pub(crate) resource_version: Arc<str>,
    /// The uid of its controlling owner.
    pub(crate) owner: Option<Arc<str>>,
    /// It is on its way out.
    pub(crate) deleting: bool,
    annotations: Vec<(&'static str, Box<str>)>,
    /// `None` when nobody referred to it when it was last seen.
    data: Option<Arc<[Item]>>,
}

/// A key and its value.
type Item = (Box<str>, Box<[u8]>);

impl SecretEntry {
    /// The Secret as compilers read it; `None` when its data was not kept.
    pub(crate) fn secret(&self, key: &Key) -> Option<Secret> {
        let data = self.data.as_ref()?;
        let annotations: BTreeMap<String, String> =
            self.annotations.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
        Some(Secret {
            metadata: ObjectMeta {
                name: Some(key.name.to_string()),
                namespace: Some(key.namespace.to_string()),
                annotations: (!annotations.is_empty()).then_some(annotations),
                ..ObjectMeta::default()
            },
            data: data.iter().map(|(name, value)| (name.to_string(), value.to_vec())).collect(),
        })
    }
}

/// Who refers to a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum User {
    Endpoint(Key),
    Tenant(Key),
}

/// Who refers to which Secrets.
#[derive(Default)]
pub(super) struct References {
    by_secret: HashMap<Key, Vec<User>>,
    by_user: HashMap<User, Vec<Key>>,
}

/// The names of the Secrets that a tenant refers to, in its namespace.
pub(crate) fn secrets_of_tenant(tenant: &ScimTenant) -> BTreeSet<String> {
    let authentication = &tenant.spec.authentication;
    let bearer = authentication.bearer.iter().flat_map(|bearer| &bearer.tokens);
    let mut names: BTreeSet<String> = bearer.map(|token| token.secret_key_ref.name.clone()).collect();
    names.extend(tenant.token_secret());
    if let Some(oauth2) = &authentication.oauth2 {
        let authorities = oauth2.issuers.iter().filter_map(|issuer| issuer.ca_secret_ref.as_ref());
        let clients = oauth2.clients.iter().filter_map(|client| client.secret_key_ref.as_ref());
        names.extend(authorities.chain(clients).map(|reference| reference.name.clone()));
    }
    names
}

impl References {
    fn set(&mut self, user: &User, secrets: Vec<Key>) -> Vec<Key> {
        let before = if secrets.is_empty() {
            self.by_user.remove(user)
        } else {
            self.by_user.insert(user.clone(), secrets.clone())
        };
        let before = before.unwrap_or_default();
        let mut orphans = Vec::new();
        for secret in before.iter().filter(|secret| !secrets.contains(secret)) {
            if let Some(users) = self.by_secret.get_mut(secret) {
                users.retain(|other| other != user);
                if users.is_empty() {
                    self.by_secret.remove(secret);
                    orphans.push(secret.clone());
                }
            }
        }
        for secret in secrets.into_iter().filter(|secret| !before.contains(secret)) {
            self.by_secret.entry(secret).or_default().push(user.clone());
        }
        orphans
    }
}

impl Cache {
    /// A Secret, when it is there.
    pub(crate) fn secret(&self, key: &Key) -> Option<SecretEntry> {
        self.state().secrets.get(key).cloned()
    }

    /// Those of these Secrets that are there and whose data was not kept.
    pub(crate) fn missing_data<'a>(&self, keys: impl IntoIterator<Item = &'a Key>) -> Vec<Key> {
        let state = self.state();
        let blank = |key: &&Key| state.secrets.get(key).is_some_and(|entry| entry.data.is_none());
        keys.into_iter().filter(blank).cloned().collect()
    }

    /// Takes in a Secret that was read again for its data. A newer one that a watch brought stays.
    pub(crate) fn fill_secret(&self, object: DynamicObject) {
        let mut state = self.state();
        let key = Key::of(&object.metadata);
        let mut news = News::default();
        if state.secrets.get(&key).is_some_and(|entry| entry.data.is_none()) {
            state.put_secret(object, &mut news);
        }
        // Whoever asked goes on with it: nothing is news to others.
    }
}

impl State {
    pub(super) fn refer_from_tenant(&mut self, key: &Key, tenant: Option<&ScimTenant>) {
        let names = tenant.map(secrets_of_tenant).unwrap_or_default();
        let secrets = names.iter().map(|name| Key::new(&key.namespace, name)).collect();
        self.refer(&User::Tenant(key.clone()), secrets);
    }

    pub(super) fn refer_from_endpoint(&mut self, key: &Key, endpoint: Option<&ScimEndpoint>) {
        let names = endpoint.map(secrets_of_endpoint).unwrap_or_default();
        let secrets = names.iter().map(|name| Key::new(&key.namespace, name)).collect();
        self.refer(&User::Endpoint(key.clone()), secrets);
    }

    fn refer(&mut self, user: &User, secrets: Vec<Key>) {
        for orphan in self.references.set(user, secrets) {
            if let Some(entry) = self.secrets.get_mut(&orphan) {
                entry.data = None;
            }
        }
    }

    pub(super) fn put_secret(&mut self, object: DynamicObject, news: &mut News) {
        let key = Key::of(&object.metadata);
        // Our own, with configurations: they are written, and read only at the start.
        let labelled =
            object.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(ENDPOINT_LABEL));
        if labelled || self.children.contains_key(&(Kind::Secret, key.clone())) {
            self.put_child(Kind::Secret, &object.metadata, news);
        }
        let is_used = self.references.by_secret.contains_key(&key);
        let entry = entry(object, is_used);
        let old = self.secrets.get(&key);
        if old.is_none_or(|old| old.resource_version != entry.resource_version) {
            self.tell_users(&key, news);
        }
        self.secrets.insert(key, entry);
    }

    pub(super) fn delete_secret(&mut self, key: &Key, news: &mut News) {
        self.delete_child(Kind::Secret, key, news);
        if self.secrets.remove(key).is_some() {
            self.tell_users(key, news);
        }
    }

    fn tell_users(&self, secret: &Key, news: &mut News) {
        for user in self.references.by_secret.get(secret).into_iter().flatten() {
            match user {
                User::Endpoint(key) => {
                    news.endpoints.insert(key.clone());
                }
                User::Tenant(key) => {
                    news.tenants.insert(key.clone());
                    if let Some(Known::Object(tenant)) = self.tenants.get(key) {
                        news.endpoints.insert(endpoint_of(tenant));
                    }
                }
            }
        }
    }
}

fn entry(object: DynamicObject, keep_data: bool) -> SecretEntry {
    let DynamicObject { metadata, data: mut body, .. } = object;
    let owners = metadata.owner_references.iter().flatten();
    let owner = owners.into_iter().find(|owner| owner.controller == Some(true));
    let annotations = metadata.annotations.unwrap_or_default();
    let kept = ANNOTATIONS
        .iter()
        .filter_map(|name| Some((*name, annotations.get(*name)?.as_str().into())))
        .collect();
    SecretEntry {
        resource_version: metadata.resource_version.as_deref().unwrap_or_default().into(),
        owner: owner.map(|owner| owner.uid.as_str().into()),
        deleting: metadata.deletion_timestamp.is_some(),
        annotations: kept,
        data: keep_data.then(|| items(body["data"].take())),
    }
}

fn items(data: Value) -> Arc<[Item]> {
    let Value::Object(data) = data else { return Arc::default() };
    let decode = |name: &str, value: &Value| {
        let bytes = BASE64_STANDARD.decode(value.as_str()?).ok()?;
        let kept = if name == PRIVATE_KEY && !bytes.is_empty() { b"kept elsewhere".to_vec() } else { bytes };
        Some(kept.into_boxed_slice())
    };
    data.iter().filter_map(|(name, value)| Some((name.as_str().into(), decode(name, value)?))).collect()
}

/// The names of the Secrets that say how to reach an endpoint's database, each once.
pub(crate) fn secrets_of_storage(endpoint: &ScimEndpoint) -> BTreeSet<String> {
    let Some(postgres) = &endpoint.spec.storage.postgres else { return BTreeSet::new() };
    let authority = postgres.tls.ca_secret_ref.iter().map(|reference| reference.name.clone());
    authority.chain([postgres.secret_ref.name.clone()]).collect()
}

/// The names of the Secrets that an endpoint refers to, in its namespace: that of its certificate, and those of its
/// database.
pub(crate) fn secrets_of_endpoint(endpoint: &ScimEndpoint) -> BTreeSet<String> {
    let name = endpoint.metadata.name.as_deref().unwrap_or_default();
    let certificate = |tls: &Tls| tls.secret_name.clone().unwrap_or_else(|| Names::of(name).certificate());
    let mut names: BTreeSet<String> = endpoint.spec.tls.iter().map(certificate).collect();
    names.extend(secrets_of_storage(endpoint));
    names
}
