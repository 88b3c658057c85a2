//! What the controller would make of manifests, without a cluster: the same steps, with placeholders for what only a
//! cluster has.
//!
//! A Secret that is not among the manifests is taken to be there: people do not keep those in Git. Its place in the
//! configuration is held by a text that says whose it is, so that the same manifests always give the same objects.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::{
    build::{self, NewCredentials, credentials},
    validate::{Compiled, Invalid, Settings, validate},
};
use crate::{
    config::{
        compile::compile,
        database::{Database, Storage, storage},
        findings::Finding,
        objects::{Located, Object as _, Objects, Secret, SecretIndex, refers_to},
        shards::encode,
        yaml::Source,
    },
    crd::{ScimEndpoint, ScimTenant, SecretKeyRef, TOKEN_KEY},
};

/// What an endpoint and its tenants become, in the order in which it is applied: the endpoint's objects, then the
/// credentials that are made for tenants. `objects` have no errors in them.
pub fn render(
    endpoint: &Located<ScimEndpoint>,
    objects: &Objects,
    settings: &Settings,
) -> Result<Vec<Value>, Vec<Finding>> {
    let mut tenants: Vec<Located<ScimTenant>> = objects
        .tenants
        .iter()
        .filter(|tenant| refers_to(&tenant.object, &endpoint.object))
        .cloned()
        .collect();
    let mut secrets = objects.secrets.clone();
    let known: HashSet<String> = secrets.iter().map(|secret| secret.object.key()).collect();
    let mut made = Vec::new();
    for tenant in &mut tenants {
        let is_made = |name| !known.contains(&format!("{}/{name}", tenant.object.namespace()));
        if tenant.object.token_secret().is_some_and(is_made) {
            made.push(Arc::clone(&tenant.object));
        }
        without_unknown_authorities(Arc::make_mut(&mut tenant.object), &known);
    }
    secrets.extend(placeholders(&tenants, &known));
    let (config, _) = compile(endpoint, &tenants, &secrets, &objects.namespaces)?;
    let storage = match placeholder_of_database(&endpoint.object, &known) {
        Some(database) => Storage::Postgres(database),
        None => storage(endpoint, &SecretIndex::new(&objects.secrets))?,
    };
    let compiled = Compiled { config: &config, encoded: encode(&config), storage, version: None };
    let endpoint = validate(&endpoint.object, compiled, settings).map_err(|error| {
        let Invalid { reason, field, message } = error;
        vec![endpoint.finding(field, Finding::error(reason.as_str(), message))]
    })?;
    let mut rendered: Vec<Value> =
        build::objects(&endpoint).0.into_iter().map(|object| object.body).collect();
    // A load balancer's address is known when there is one.
    let url = endpoint.url(Some("ADDRESS"));
    made.sort_by_key(|tenant| tenant.key());
    for tenant in made {
        let url = url.as_ref().map(|url| format!("{url}/{}/scim/v2", tenant.path()));
        let new = NewCredentials { url: url.as_deref(), token: MADE, issued_at: None };
        rendered.extend(credentials(&tenant, &new).and_then(|secret| serde_json::to_value(secret).ok()));
    }
    Ok(rendered)
}

/// Stands for a token that will be made.
const MADE: &str = "(made by the operator)";

/// The keys of Secrets whose values reach the configuration.
fn references(tenant: &ScimTenant) -> Vec<SecretKeyRef> {
    let mut references = Vec::new();
    if let Some(name) = tenant.token_secret() {
        references.push(SecretKeyRef { name, key: TOKEN_KEY.to_owned() });
    }
    if let Some(bearer) = tenant.bearer() {
        references.extend(bearer.tokens.iter().map(|token| token.secret_key_ref.clone()));
    }
    let clients = tenant.spec.authentication.oauth2.iter().flat_map(|oauth2| &oauth2.clients);
    references.extend(clients.filter_map(|client| client.secret_key_ref.clone()));
    references
}

/// The Secrets that are named and not among the manifests, with values that say whose they are.
fn placeholders(tenants: &[Located<ScimTenant>], known: &HashSet<String>) -> Vec<Located<Secret>> {
    let mut missing: BTreeMap<(String, String), BTreeMap<String, Vec<u8>>> = BTreeMap::new();
    for tenant in tenants {
        let namespace = tenant.object.namespace();
        for SecretKeyRef { name, key } in references(&tenant.object) {
            if !known.contains(&format!("{namespace}/{name}")) {
                let value = format!("placeholder-of-{namespace}/{name}/{key}");
                missing.entry((namespace.to_owned(), name)).or_default().insert(key, value.into_bytes());
            }
        }
    }
    let secrets = missing.into_iter().map(|((namespace, name), data)| {
        let metadata = ObjectMeta { name: Some(name), namespace: Some(namespace), ..ObjectMeta::default() };
        Located { object: Arc::new(Secret { metadata, data }), source: Source::default() }
    });
    secrets.collect()
}

/// Stands for a database when a Secret that says how to reach it is not among the manifests.
fn placeholder_of_database(endpoint: &ScimEndpoint, known: &HashSet<String>) -> Option<Database> {
    let postgres = endpoint.spec.storage.postgres.as_ref()?;
    let namespace = endpoint.namespace();
    let (url, ca) = (&postgres.secret_ref, postgres.tls.ca_secret_ref.as_ref());
    let is_known = |name: &str| known.contains(&format!("{namespace}/{name}"));
    if is_known(&url.name) && ca.is_none_or(|ca| is_known(&ca.name)) {
        return None;
    }
    let text = |name: &str, key: &str| format!("placeholder-of-{namespace}/{name}/{key}");
    let ca = ca.map(|ca| text(&ca.name, &ca.key).into_bytes());
    Some(Database::placeholder(postgres, text(&url.name, &url.key), ca))
}

/// A certificate cannot be made up.
fn without_unknown_authorities(tenant: &mut ScimTenant, known: &HashSet<String>) {
    let namespace = tenant.namespace().to_owned();
    let issuers = tenant.spec.authentication.oauth2.iter_mut().flat_map(|oauth2| &mut oauth2.issuers);
    for issuer in issuers {
        let is_known = |reference: &SecretKeyRef| known.contains(&format!("{namespace}/{}", reference.name));
        issuer.ca_secret_ref = issuer.ca_secret_ref.take().filter(is_known);
    }
}
