//! [`Serving`]: a [`ServerConfig`] made ready for requests: digests decoded, paths in a map.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::{Audit, Lifecycle, Limits, Membership, ServerConfig, TenantConfig};
use crate::scim::dialect::Dialect;
use crate::scim::schema::{CustomSchemas, Registry};
use crate::store::{Policy, TenantKey};
use crate::telemetry::token_use::TokenSeries;

use super::authenticate::bearer::Token;
use super::authenticate::usage::Usage;

use super::oauth::{OAuth, TenantOAuth};

/// What is served now. Immutable: a new configuration is a new `Serving`.
pub struct Serving {
    /// The endpoint's public host name.
    pub host: Option<String>,
    allowed: Vec<IpNet>,
    trusted_proxies: Vec<IpNet>,
    tenants: HashMap<Box<str>, Arc<Tenant>>,
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
}

impl Serving {
    /// No tenant at all.
    #[must_use]
    pub fn nothing() -> Self {
        Self { host: None, allowed: Vec::new(), trusted_proxies: Vec::new(), tenants: HashMap::new() }
    }

    /// Compiles a configuration; tokens keep what `usage` remembers of them. Without `oauth` the tenants' OAuth 2.0 is
    /// left out.
    #[must_use]
    pub fn compile<'c>(
        config: &'c ServerConfig,
        registries: &mut Registries<'c>,
        usage: &Usage,
        oauth: Option<&OAuth>,
    ) -> Self {
        let ServerConfig { endpoint: _, host, allowed_cidrs, trusted_proxies, tenants } = config;
        let tenants = tenants
            .iter()
            .map(|tenant| {
                let registry = registries.of_tenant(tenant);
                (tenant.path.as_str().into(), Arc::new(Tenant::compile(tenant, registry, usage, oauth)))
            })
            .collect();
        Self {
            host: host.clone(),
            allowed: allowed_cidrs.clone(),
            trusted_proxies: trusted_proxies.clone(),
            tenants,
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

/// The registries in use, so that tenants with the same schemas share one.
#[derive(Default)]
pub struct Registries<'c> {
    registries: HashMap<(&'c CustomSchemas, BTreeSet<String>), Arc<Registry>>,
    hidden: HashMap<&'c str, BTreeSet<String>>,
}

impl<'c> Registries<'c> {
    /// The registry of a set of schemas, when these resource types hide some of what is stored.
    pub fn of(&mut self, schemas: &'c CustomSchemas, hidden: &BTreeSet<String>) -> Arc<Registry> {
        let compile = || Arc::new(Registry::with(schemas, hidden));
        Arc::clone(self.registries.entry((schemas, hidden.clone())).or_insert_with(compile))
    }

    /// Notes which of a tenant's resource types hide some of what is stored: [`Registry::with`].
    pub fn hide(&mut self, tenant: &'c str, types: BTreeSet<String>) {
        if !types.is_empty() {
            self.hidden.insert(tenant, types);
        }
    }

    fn of_tenant(&mut self, tenant: &'c TenantConfig) -> Arc<Registry> {
        let hidden = self.hidden.get(tenant.name.as_str()).cloned().unwrap_or_default();
        self.of(&tenant.schemas, &hidden)
    }
}

impl Tenant {
    fn compile(config: &TenantConfig, registry: Arc<Registry>, usage: &Usage, oauth: Option<&OAuth>) -> Self {
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
        } = config;
        let key = TenantKey(Arc::from(name.as_str()));
        let oauth = oauth.zip(oauth2.as_ref()).map(|(oauth, config)| oauth.tenant(&key, config));
        let tokens = tokens.iter().filter_map(|token| Token::compile(token, &key, usage)).collect();
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
        }
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
