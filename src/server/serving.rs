//! [`Serving`]: a [`ServerConfig`] made ready for requests: digests decoded, paths in a map.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ipnet::IpNet;

use crate::config::{Audit, Lifecycle, Limits, Membership, ServerConfig, TenantConfig};
use crate::scim::dialect::Dialect;
use crate::scim::schema::{CustomSchemas, Registry};
use crate::store::{Duplicates, Policy, Prepared, TenantKey};
use crate::telemetry::token_use::{LastUsed, TokenSeries};

use super::authenticate::bearer::Token;
use super::authenticate::usage::Usage;

use super::oauth::{OAuth, TenantOAuth};

/// What is served now. Immutable: a new configuration is a new `Serving`.
pub struct Serving {
    /// The digest of the configuration, when it has one.
    pub digest: Option<Box<str>>,
    /// The endpoint's public host name.
    pub host: Option<String>,
    allowed: Vec<IpNet>,
    trusted_proxies: Vec<IpNet>,
    tenants: HashMap<Box<str>, Arc<Tenant>>,
    removed: Option<HashSet<TenantKey>>,
}

/// One tenant, as requests need it.
pub struct Tenant {
    /// Its key in the store, logs and metrics.
    pub key: TenantKey,
    /// First path segment.
    pub path: Box<str>,
    /// Its schemas and resource types.
    pub registry: Arc<Registry>,
    /// What its identity provider speaks.
    pub dialect: Dialect,
    /// What a request may cost.
    pub limits: Limits,
    /// Answer 503 for now.
    pub suspended: bool,
    /// What it wants done with its data.
    pub policy: Arc<Policy>,
    /// What its audit log holds, and for how long.
    pub audit: Audit,
    /// Purge its data when it goes.
    pub purge_on_removal: bool,
    /// Whether the log has said already that another dialect fits its requests better.
    pub advised: AtomicBool,
    /// The tokens that are accepted.
    pub tokens: Vec<Token>,
    /// OAuth 2.0, when it has any.
    pub oauth: Option<TenantOAuth>,
    /// Its last authenticated request.
    pub last_request: Arc<LastUsed>,
    /// What it was compiled from.
    config: Arc<TenantConfig>,
    /// What the store found when it was made ready for the tenant's schemas.
    prepared: Prepared,
    /// Whether the store knows what it wants done with its data.
    settled: AtomicBool,
}

impl Serving {
    /// No tenant at all.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            digest: None,
            host: None,
            allowed: Vec::new(),
            trusted_proxies: Vec::new(),
            tenants: HashMap::new(),
            removed: None,
        }
    }

    /// Whether the data of a tenant that is not served may be purged, when it is marked for it.
    #[must_use]
    pub fn may_purge(&self, tenant: &TenantKey) -> bool {
        self.removed.as_ref().is_none_or(|removed| removed.contains(tenant))
    }

    /// The tenants whose data is to be purged; none: of all that are marked for it.
    #[must_use]
    pub fn removed(&self) -> Option<Vec<TenantKey>> {
        Some(self.removed.as_ref()?.iter().cloned().collect())
    }

    /// Compiles a configuration; tokens keep what `usage` remembers of them, and tenants that `registries` has from the
    /// configuration of before are not compiled again. Without `oauth` the tenants' OAuth 2.0 is left out.
    #[must_use]
    pub fn compile<'c>(
        config: &'c ServerConfig,
        registries: &mut Registries<'c>,
        usage: &Usage,
        oauth: Option<&OAuth>,
    ) -> Self {
        let ServerConfig { endpoint: _, host, allowed_cidrs, trusted_proxies, tenants, removed } = config;
        let tenants = tenants
            .iter()
            .map(|config| {
                let tenant = registries.kept(config).unwrap_or_else(|| {
                    let last_request =
                        registries.before.get(config.name.as_str()).map(|tenant| &tenant.last_request);
                    let last_request = last_request.cloned();
                    let (registry, prepared) = registries.of_tenant(config);
                    Arc::new(Tenant::compile(config, registry, prepared, last_request, usage, oauth))
                });
                (config.path.as_str().into(), tenant)
            })
            .collect();
        Self {
            digest: None,
            host: host.clone(),
            allowed: allowed_cidrs.clone(),
            trusted_proxies: trusted_proxies.clone(),
            tenants,
            removed: removed
                .as_ref()
                .map(|removed| removed.iter().map(|name| TenantKey(name.as_str().into())).collect()),
        }
    }

    /// The tenant of a path segment.
    #[must_use]
    pub fn tenant(&self, path: &str) -> Option<&Arc<Tenant>> {
        self.tenants.get(path)
    }

    /// All tenants, in no order.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.tenants.values()
    }

    /// The tokens of all tenants, for metrics.
    #[must_use]
    pub fn token_series(&self) -> Vec<TokenSeries> {
        let mut tenants: Vec<_> = self.tenants().collect();
        tenants.sort_by(|a, b| a.path.cmp(&b.path));
        let tokens =
            tenants.into_iter().flat_map(|tenant| tenant.tokens.iter().map(move |token| (tenant, token)));
        let series = tokens.map(|(tenant, token)| TokenSeries {
            tenant: Arc::clone(&tenant.key.0),
            token: Arc::clone(&token.name),
            expires_at: token.expires_at,
            last_used: Arc::clone(&token.remembered.last_used),
        });
        series.collect()
    }

    /// Whether a client may call at all.
    #[must_use]
    pub fn allows(&self, client: std::net::IpAddr) -> bool {
        self.allowed.is_empty() || self.allowed.iter().any(|net| net.contains(&client))
    }

    /// Whether a peer's forwarded headers are believed.
    #[must_use]
    pub fn trusts(&self, peer: std::net::IpAddr) -> bool {
        self.trusted_proxies.iter().any(|net| net.contains(&peer))
    }
}

/// The registries in use, so that tenants with the same schemas share one, and the tenants of before, so that those that
/// are as before stay.
#[derive(Default)]
pub struct Registries<'c> {
    by_schemas: HashMap<(&'c CustomSchemas, BTreeSet<String>), Arc<Registry>>,
    prepared: HashMap<&'c str, Prepared>,
    /// By name.
    before: HashMap<&'c str, &'c Arc<Tenant>>,
}

impl<'c> Registries<'c> {
    /// Those of a configuration that is about to be replaced.
    #[must_use]
    pub fn of_before(serving: &'c Serving) -> Self {
        let mut registries = Self::default();
        for tenant in serving.tenants() {
            let key = (&tenant.config.schemas, tenant.prepared.hidden.clone());
            registries.by_schemas.entry(key).or_insert_with(|| Arc::clone(&tenant.registry));
            registries.before.insert(&*tenant.config.name, tenant);
        }
        registries
    }

    /// The tenant of before when it is as it was.
    #[must_use]
    pub fn kept(&self, config: &Arc<TenantConfig>) -> Option<Arc<Tenant>> {
        let tenant = self.before.get(config.name.as_str())?;
        let same = Arc::ptr_eq(&tenant.config, config) || tenant.config == *config;
        same.then(|| Arc::clone(tenant))
    }

    /// The registry of a set of schemas, when these resource types hide some of what is stored.
    pub fn of(&mut self, schemas: &'c CustomSchemas, hidden: &BTreeSet<String>) -> Arc<Registry> {
        let compile = || Arc::new(Registry::with(schemas, hidden));
        Arc::clone(self.by_schemas.entry((schemas, hidden.clone())).or_insert_with(compile))
    }

    /// Notes what the store found of a tenant's schemas, and with that which of its resource types hide some of what
    /// is stored: [`Registry::with`].
    pub fn prepared(&mut self, tenant: &'c str, prepared: Prepared) {
        if prepared != Prepared::default() {
            self.prepared.insert(tenant, prepared);
        }
    }

    fn of_tenant(&mut self, tenant: &'c TenantConfig) -> (Arc<Registry>, Prepared) {
        let prepared = self.prepared.get(tenant.name.as_str()).cloned().unwrap_or_default();
        (self.of(&tenant.schemas, &prepared.hidden), prepared)
    }
}

impl Tenant {
    fn compile(
        from: &Arc<TenantConfig>,
        registry: Arc<Registry>,
        prepared: Prepared,
        last_request: Option<Arc<LastUsed>>,
        usage: &Usage,
        oauth: Option<&OAuth>,
    ) -> Self {
        let TenantConfig {
            name,
            path,
            identity_provider,
            tokens,
            schemas: _,
            oauth2,
            limits,
            suspended,
            purge_on_removal,
            lifecycle,
            membership,
            audit,
        } = &**from;
        let key = TenantKey(Arc::from(name.as_str()));
        let oauth = oauth.zip(oauth2.as_ref()).map(|(oauth, config)| oauth.tenant(&key, config));
        let tokens: Vec<_> = tokens.iter().filter_map(|token| Token::compile(token, &key, usage)).collect();
        // After a restart, what the store remembers of the tokens.
        let last_request = last_request.unwrap_or_else(|| {
            Arc::new(LastUsed::new(tokens.iter().filter_map(|token| token.remembered.last_used.get()).max()))
        });
        Self {
            key,
            path: path.as_str().into(),
            registry,
            dialect: *identity_provider,
            limits: *limits,
            suspended: *suspended,
            policy: Arc::new(policy(*lifecycle, *membership, *audit)),
            audit: *audit,
            purge_on_removal: *purge_on_removal,
            advised: AtomicBool::new(false),
            tokens,
            oauth,
            last_request,
            config: Arc::clone(from),
            prepared,
            settled: AtomicBool::new(false),
        }
    }

    /// What is not unique although its schemas say so.
    #[must_use]
    pub fn duplicates(&self) -> &[Duplicates] {
        &self.prepared.duplicates
    }

    /// Whether the store knows what it wants done with its data.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire)
    }

    /// The store knows now.
    pub fn settle(&self) {
        self.settled.store(true, Ordering::Release);
    }
}

fn policy(lifecycle: Lifecycle, membership: Membership, audit: Audit) -> Policy {
    let Lifecycle { retention_seconds, restore_on_recreate, remove_from_groups_on_deactivate } = lifecycle;
    let Membership { keep_unknown, match_external_id } = membership;
    Policy {
        retention: retention_seconds.map(Duration::from_secs),
        restore_on_recreate,
        remove_from_groups_on_deactivate,
        keep_unknown_members: keep_unknown,
        match_external_id,
        audit_values: audit.values,
    }
}

/// A digest written as 64 hexadecimal digits.
#[must_use]
pub fn decode_sha256(hex: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (index, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(digest)
}
