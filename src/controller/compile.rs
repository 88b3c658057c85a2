//! From the tenants of an endpoint to its configuration, with what did not change taken from the turn before.
//!
//! A tenant is compiled anew when it, one of its Secrets or its endpoint is another version. A tenant that belongs to
//! the endpoint and cannot be used as written (its Secret is gone, or holds no token) serves on as it last did.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use sha2::{Digest as _, Sha256};

use super::{
    cache::{Cache, Candidate, Gathered, Known, secrets_of_storage},
    key::Key,
    names::PURGE_FINALIZER,
    view::{View, Why},
};
use crate::{
    config::{
        ServerConfig, TenantConfig,
        admit::{Admission, admit},
        compile::{self, Refusal},
        database::{self, Storage},
        findings::Finding,
        objects::{Located, Object as _, Secret, SecretIndex},
        shards::{Encoded, Encoder},
        yaml::Source,
    },
    crd::{DeletionPolicy, ScimEndpoint, ScimTenant, condition::Reason},
};

/// What is kept from turn to turn.
#[derive(Default)]
pub(crate) struct Compiler {
    memory: HashMap<Key, Memo>,
    /// What was served when this process began to lead, of tenants that were not compiled since.
    pub(crate) before: HashMap<String, Arc<TenantConfig>>,
    encoder: Encoder,
}

/// The outcome of a tenant's last compilation.
struct Memo {
    /// The versions of all that it was made from.
    versions: [u8; 32],
    result: Result<Arc<TenantConfig>, Why>,
    warning: Option<String>,
    /// What is served.
    served: Option<Arc<TenantConfig>>,
}

/// What became of one tenant.
pub(crate) struct Verdict {
    pub(crate) key: Key,
    pub(crate) generation: Option<i64>,
    pub(crate) served: Option<Arc<TenantConfig>>,
    pub(crate) refusal: Option<Why>,
    pub(crate) admitted: bool,
    pub(crate) warning: Option<String>,
}

/// What an endpoint and its tenants come to.
pub(crate) struct Compiled {
    pub(crate) config: ServerConfig,
    pub(crate) encoded: Encoded,
    pub(crate) storage: Storage,
    /// The versions of the Secrets of the storage.
    pub(crate) version: Option<String>,
    pub(crate) tenants: Vec<Verdict>,
}

impl Compiler {
    /// Compiles; an error is about the endpoint itself.
    pub(crate) fn compile(
        &mut self,
        endpoint: &Arc<ScimEndpoint>,
        gathered: &Gathered,
        cache: &Cache,
        view: &View,
    ) -> Result<Compiled, Why> {
        let located = Located { object: Arc::clone(endpoint), source: Source::default() };
        let config = compile::endpoint_alone(&located).map_err(|found| why(&found))?;
        let (storage, version) = storage(&located, cache).map_err(|found| why(&found))?;
        let mut removed = BTreeSet::new();
        let mut verdicts = Vec::with_capacity(gathered.tenants.len());
        let mut candidates = HashMap::with_capacity(gathered.tenants.len());
        let mut tenants = Vec::with_capacity(gathered.tenants.len());
        for candidate in &gathered.tenants {
            match &candidate.tenant {
                Known::Object(tenant) if is_leaving(tenant, candidate, view) => {
                    if purges(tenant) {
                        removed.insert(candidate.key.to_string());
                    }
                }
                Known::Object(tenant) => {
                    candidates.insert(Arc::as_ptr(tenant), candidate);
                    tenants.push(Located { object: Arc::clone(tenant), source: Source::default() });
                }
                Known::Unreadable(unreadable) => {
                    let message = format!("the object cannot be read: {}", unreadable.message);
                    verdicts.push(Verdict {
                        generation: unreadable.metadata.generation,
                        served: self.last_served(&candidate.key),
                        refusal: Some(Why::new(Reason::Unreadable, message)),
                        admitted: false,
                        warning: None,
                        key: candidate.key.clone(),
                    });
                }
            }
        }
        for Admission { tenant, refusal } in admit(&located, &tenants, &gathered.namespaces) {
            let Some(candidate) = candidates.get(&Arc::as_ptr(&tenant.object)) else { continue };
            verdicts.push(match refusal {
                Some(finding) => self.refuse(candidate, tenant, &finding),
                None => self.tenant(&located, candidate, tenant, cache),
            });
        }
        let there: std::collections::HashSet<&Key> =
            gathered.tenants.iter().map(|candidate| &candidate.key).collect();
        self.memory.retain(|key, _| there.contains(key));
        let config = ServerConfig { removed: Some(removed), ..config };
        let config = config.with(verdicts.iter().filter_map(|verdict| verdict.served.clone()).collect());
        let encoded = self.encoder.encode(&config);
        Ok(Compiled { config, encoded, storage, version, tenants: verdicts })
    }

    /// What was last served of a tenant.
    fn last_served(&self, key: &Key) -> Option<Arc<TenantConfig>> {
        match self.memory.get(key) {
            Some(memo) => memo.served.clone(),
            None => self.before.get(&key.to_string()).cloned(),
        }
    }

    /// A tenant that the endpoint does not take is not served.
    fn refuse(&mut self, candidate: &Candidate, tenant: &Located<ScimTenant>, finding: &Finding) -> Verdict {
        self.memory.remove(&candidate.key);
        self.before.remove(&candidate.key.to_string());
        Verdict {
            key: candidate.key.clone(),
            generation: tenant.object.metadata.generation,
            served: None,
            refusal: Some(why(std::slice::from_ref(finding))),
            admitted: false,
            warning: None,
        }
    }

    fn tenant(
        &mut self,
        endpoint: &Located<ScimEndpoint>,
        candidate: &Candidate,
        tenant: &Located<ScimTenant>,
        cache: &Cache,
    ) -> Verdict {
        let versions = versions(&endpoint.object, &tenant.object, candidate);
        if self.memory.get(&candidate.key).is_none_or(|memo| memo.versions != versions) {
            let secrets: Vec<_> = candidate
                .secrets
                .iter()
                .filter_map(|(key, _)| cache.secret(key)?.secret(key))
                .map(|secret| Located { object: Arc::new(secret), source: Source::default() })
                .collect();
            let (result, warnings) = compile::one_tenant(endpoint, tenant, &SecretIndex::new(&secrets));
            let last = self.last_served(&candidate.key);
            let result = match result {
                // The same as before is the same in memory, too: its shard need not be made again.
                Ok(config) => Ok(last.clone().filter(|last| *last == config).unwrap_or(config)),
                Err(Refusal::NotAdmitted(finding)) => Err(why(&[finding])),
                Err(Refusal::Unusable(findings)) => Err(why(&findings)),
            };
            let served = match &result {
                Ok(config) => Some(Arc::clone(config)),
                Err(_) => last,
            };
            let warning = (!warnings.is_empty()).then(|| messages(&warnings));
            self.memory.insert(candidate.key.clone(), Memo { versions, result, warning, served });
            self.before.remove(&candidate.key.to_string());
        }
        let memo = &self.memory[&candidate.key];
        Verdict {
            key: candidate.key.clone(),
            generation: tenant.object.metadata.generation,
            served: memo.served.clone(),
            refusal: memo.result.as_ref().err().cloned(),
            admitted: true,
            warning: memo.warning.clone(),
        }
    }
}

/// Where an endpoint keeps its data, by its Secrets as they are now; and their versions.
fn storage(
    endpoint: &Located<ScimEndpoint>,
    cache: &Cache,
) -> Result<(Storage, Option<String>), Vec<Finding>> {
    let (mut secrets, mut versions): (Vec<Located<Secret>>, Vec<String>) = Default::default();
    for name in secrets_of_storage(&endpoint.object) {
        let key = Key::new(endpoint.object.namespace(), &name);
        let Some(entry) = cache.secret(&key) else { continue };
        versions.push(entry.resource_version.to_string());
        secrets.extend(
            entry.secret(&key).map(|secret| Located { object: Arc::new(secret), source: Source::default() }),
        );
    }
    let storage = database::storage(endpoint, &SecretIndex::new(&secrets))?;
    Ok((storage, (!versions.is_empty()).then(|| versions.join("-"))))
}

/// Whether a tenant on its way out is left out of the configuration: at once, unless its data is to be purged; then
/// every pod must know that first.
fn is_leaving(tenant: &ScimTenant, candidate: &Candidate, view: &View) -> bool {
    if tenant.metadata.deletion_timestamp.is_none() {
        return false;
    }
    if !purges(tenant) || view.gone.contains_key(&candidate.key) {
        return true;
    }
    view.tenants.get(&candidate.key).is_none_or(|known| {
        let knows = known.served.as_ref().is_none_or(|served| served.purge_on_removal);
        known.served.is_none() || knows && view.runs(known.changed)
    })
}

/// Whether a tenant's data is to be purged before it goes.
fn purges(tenant: &ScimTenant) -> bool {
    let mut finalizers = tenant.metadata.finalizers.iter().flatten();
    tenant.spec.deletion_policy == DeletionPolicy::Delete
        && finalizers.any(|finalizer| finalizer == PURGE_FINALIZER)
}

/// The versions of all that a tenant's configuration is made from.
fn versions(endpoint: &ScimEndpoint, tenant: &ScimTenant, candidate: &Candidate) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for metadata in [&endpoint.metadata, &tenant.metadata] {
        hasher.update(metadata.uid.as_deref().unwrap_or_default());
        hasher.update(metadata.generation.unwrap_or_default().to_le_bytes());
    }
    for (key, version) in &candidate.secrets {
        hasher.update(&*key.name);
        hasher.update([0]);
        hasher.update(version.as_deref().unwrap_or_default());
        hasher.update([0]);
    }
    hasher.finalize().into()
}

/// The condition that findings come to: the reason of the first, and the words of all.
fn why(findings: &[Finding]) -> Why {
    let reason = findings.first().map_or(Reason::InvalidSpec, |finding| match finding.code {
        "namespace-not-allowed" | "namespace-unknown" => Reason::NamespaceNotAllowed,
        "path-taken" => Reason::PathTaken,
        "quota-exceeded" => Reason::QuotaExceeded,
        "secret-missing" | "secret-key-missing" => Reason::SecretNotFound,
        "database-url" | "certificate" => Reason::SecretInvalid,
        code if code.starts_with("token-") || code.starts_with("secret-") => Reason::SecretInvalid,
        _ => Reason::InvalidSpec,
    });
    Why::new(reason, messages(findings))
}

/// What is wrong and what to do, in one text.
pub(crate) fn messages(findings: &[Finding]) -> String {
    let one = |finding: &Finding| {
        // The condition is on the tenant, or the endpoint; what is wrong may be in a Secret.
        let elsewhere = finding.object.as_ref().filter(|object| object.starts_with("Secret "));
        let place: Vec<&str> = elsewhere.into_iter().chain(&finding.field).map(String::as_str).collect();
        let place = if place.is_empty() { String::new() } else { format!("{}: ", place.join(" ")) };
        let hint = finding.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        format!("{place}{}{hint}", finding.message)
    };
    findings.iter().map(one).collect::<Vec<_>>().join(". ")
}
