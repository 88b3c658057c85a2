//! OAuth 2.0: access tokens of a tenant's issuers (resource server), and access tokens for its own clients.
//!
//! What a request goes through when it presents a JWT: [`jose`] takes it apart, its `iss` picks the [`issuer`], whose
//! published keys ([`jwks`], fetched by [`fetch`]) verify the signature, and [`claims`] decides who it is. The outcome
//! is remembered ([`cache`]). Where a tenant has clients of its own, [`token_endpoint`] gives them [`access_token`]s.
//!
//! Who shows no token that an issuer of the tenant has signed learns nothing: not why, and not whether the tenant
//! exists. The one exception: while an issuer's keys are missing altogether, a token that names that issuer and an
//! accepted audience is answered 503 with `Retry-After` and not 401, because identity providers wait out the one and
//! give up on the other.

pub mod access_token;
pub mod assertion;
pub mod cache;
pub mod claims;
pub mod fetch;
pub mod issuer;
pub mod jose;
pub mod jwks;
pub mod limit;
pub mod metadata;
pub mod rejection;
pub mod token_endpoint;

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use crate::config::oauth2::{IssuerConfig, OAuth2Config};
use crate::config::{Scope, Scopes};
use crate::store::TenantKey;
use crate::telemetry::oauth::OAuthMetrics;

use access_token::PREFIX;
use cache::{Entry, TokenCache};
use issuer::{Issuer, Source, Timing};
use jose::Jws;
use limit::{Limiter, Rate};
use rejection::Rejection;
use token_endpoint::{Client, ClientState};

/// `typ` of an access token beside none at all (RFC 9068 section 2.1).
const ACCESS_TOKEN_TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// Failed token requests of one address at one tenant.
const FAILURES: Rate = Rate { burst: 20, interval: Duration::from_secs(6) };

/// Tokens for one client. A client needs one an hour.
const TOKENS: Rate = Rate { burst: 30, interval: Duration::from_secs(1) };

/// What all tenants share, and what outlives a configuration: keys that were fetched, assertions that were used.
pub struct OAuth {
    metrics: OAuthMetrics,
    timing: Timing,
    /// Signs access tokens of our own.
    key: [u8; 32],
    runtime: tokio::runtime::Handle,
    issuers: Mutex<HashMap<Source, Weak<Issuer>>>,
    clients: Mutex<HashMap<(TenantKey, String), Weak<ClientState>>>,
    failures: Limiter<(Box<str>, IpAddr)>,
    tokens: Limiter<(TenantKey, String)>,
}

impl OAuth {
    /// Nothing known yet; keys are fetched on the current runtime.
    ///
    /// # Panics
    /// Outside a runtime.
    #[must_use]
    pub fn new(metrics: OAuthMetrics, key: [u8; 32], timing: Timing) -> Self {
        Self {
            metrics,
            timing,
            key,
            runtime: tokio::runtime::Handle::current(),
            issuers: Mutex::default(),
            clients: Mutex::default(),
            failures: Limiter::new(FAILURES),
            tokens: Limiter::new(TOKENS),
        }
    }

    /// OAuth of one tenant. What an earlier configuration of it had and this one still has goes on.
    #[must_use]
    pub fn tenant(&self, tenant: &TenantKey, config: &OAuth2Config) -> TenantOAuth {
        let issuers = config.issuers.iter().filter(|issuer| {
            let acceptable = fetch::is_acceptable(issuer);
            if !acceptable {
                tracing::error!(tenant = %tenant.0, issuer = issuer.issuer, "the issuer is not https: its tokens are not accepted");
            }
            acceptable
        });
        let issuers = issuers.map(|config| {
            let source = Source::of(config);
            let keys = kept(&self.issuers, source.clone(), || {
                Issuer::start(source, self.timing, self.metrics.clone(), &self.runtime)
            });
            (config.clone(), keys)
        });
        let clients = config.clients.iter().map(|config| {
            let state = kept(&self.clients, (tenant.clone(), config.client_id.clone()), Arc::default);
            Client::new(config, state)
        });
        TenantOAuth {
            tenant: tenant.clone(),
            key: self.key,
            issuers: issuers.collect(),
            clients: clients.collect(),
            access_token_seconds: u64::from(config.access_token_seconds),
            cache: TokenCache::default(),
            metrics: self.metrics.clone(),
            complained: AtomicU64::new(0),
        }
    }
}

/// What is known under a key, or else what is made now; what nobody holds any more is forgotten.
fn kept<K: Eq + Hash, V>(map: &Mutex<HashMap<K, Weak<V>>>, key: K, make: impl FnOnce() -> Arc<V>) -> Arc<V> {
    let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
    map.retain(|_, known| known.strong_count() > 0);
    if let Some(known) = map.get(&key).and_then(Weak::upgrade) {
        return known;
    }
    let new = make();
    map.insert(key, Arc::downgrade(&new));
    new
}

/// OAuth of one tenant, as requests need it.
pub struct TenantOAuth {
    tenant: TenantKey,
    key: [u8; 32],
    issuers: Vec<(IssuerConfig, Arc<Issuer>)>,
    clients: Vec<Client>,
    access_token_seconds: u64,
    cache: TokenCache,
    metrics: OAuthMetrics,
    /// Unix time in seconds of the last line about a refused token.
    complained: AtomicU64,
}

/// Who a good token lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// The client or subject, for logs and the record of changes.
    pub name: Arc<str>,
    /// What it may do.
    pub scopes: Scopes,
}

impl TenantOAuth {
    /// The issuers whose tokens are accepted.
    pub fn issuers(&self) -> impl Iterator<Item = &str> {
        self.issuers.iter().map(|(config, _)| config.issuer.as_str())
    }

    /// Whether clients get tokens here.
    #[must_use]
    pub fn has_clients(&self) -> bool {
        !self.clients.is_empty()
    }

    /// Whether a token is one that is checked here, by its form alone: a JWT, or one that our token endpoint gave.
    #[must_use]
    pub fn concerns(token: &[u8]) -> bool {
        jose::looks_like_jws(token) || token.starts_with(PREFIX.as_bytes())
    }

    /// Checks a token.
    pub async fn authenticate(&self, token: &[u8]) -> Result<Bearer, Rejection> {
        let now = unix_time();
        let result = self.check(token, now).await;
        match &result {
            Ok(_) => self.metrics.verified(&self.tenant.0, "valid"),
            Err(rejection) => {
                self.metrics.verified(&self.tenant.0, rejection.label());
                self.complain(*rejection, now);
            }
        }
        result
    }

    async fn check(&self, token: &[u8], now: u64) -> Result<Bearer, Rejection> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        if let Some(entry) = self.cache.get(&digest, now)
            && let Some((_, issuer)) = self.issuers.get(entry.issuer)
            && issuer.keys().is_some_and(|keys| keys.has(&entry.fingerprint))
        {
            return Ok(Bearer { name: entry.name, scopes: entry.scopes });
        }
        let text = std::str::from_utf8(token).map_err(|_| Rejection::Malformed)?;
        if text.starts_with(PREFIX) {
            return self.check_own(text, now);
        }
        let jws = jose::parse(text, &ACCESS_TOKEN_TYPES)?;
        let named = jws.claims.get("iss").and_then(serde_json::Value::as_str);
        let issuer = self.issuers.iter().position(|(config, _)| Some(config.issuer.as_str()) == named);
        let issuer = issuer.ok_or(Rejection::Issuer)?;
        let (config, keys) = &self.issuers[issuer];
        if !config.algorithms.contains(&jws.algorithm) {
            return Err(Rejection::Algorithm);
        }
        let fingerprint = verify(&jws, config, keys, now).await?;
        let claims::Identity { name, scopes, good_until } = claims::check(&jws.claims, config, now)?;
        let name: Arc<str> = name.into();
        let entry = Entry { issuer, fingerprint, name: Arc::clone(&name), scopes, good_until };
        self.cache.insert(digest, entry, now);
        Ok(Bearer { name, scopes })
    }

    /// A token that our token endpoint gave.
    fn check_own(&self, text: &str, now: u64) -> Result<Bearer, Rejection> {
        let token = access_token::decode(&self.key, &self.tenant.0, text).ok_or(Rejection::Signature)?;
        if now >= token.expires_at {
            return Err(Rejection::Expired);
        }
        let client = self.clients.iter().find(|client| client.has_credential(&token.credential));
        let client = client.ok_or(Rejection::Client)?;
        // The client may have fewer scopes by now.
        let both = |scope: &Scope| token.scopes.contains(*scope) && client.scopes.contains(*scope);
        let scopes = Scope::ALL.into_iter().filter(both).collect();
        Ok(Bearer { name: Arc::clone(&client.name), scopes })
    }

    /// Says in the log why a token was refused: whoever sent it is not told. Not more than one line a second, as
    /// anyone can send such tokens.
    fn complain(&self, rejection: Rejection, now: u64) {
        if self.complained.swap(now, Ordering::Relaxed) == now {
            return;
        }
        let tenant = &self.tenant.0;
        tracing::info!(%tenant, reason = rejection.label(), "an OAuth access token was refused: {}", rejection.for_operators());
    }
}

/// Verifies a token's signature with the key it names; looks again for a key that is unknown, when the token could be
/// accepted otherwise. Gives the key's fingerprint.
async fn verify(
    jws: &Jws<'_>,
    config: &IssuerConfig,
    issuer: &Issuer,
    now: u64,
) -> Result<[u8; 32], Rejection> {
    let with_known = || {
        let keys = issuer.keys().ok_or(Rejection::NoKeys)?;
        let key = keys.find(jws)?;
        key.verify(jws).map(|()| key.fingerprint)
    };
    match with_known() {
        Err(missing @ (Rejection::NoKeys | Rejection::UnknownKey)) => {
            if !claims::may_be_accepted(&jws.claims, config, now) {
                return Err(if missing == Rejection::NoKeys { Rejection::Signature } else { missing });
            }
            let certain = issuer.look_again().await;
            match with_known() {
                // It may be a new key, and the issuer cannot be asked.
                Err(Rejection::UnknownKey) if !certain => Err(Rejection::NoKeys),
                outcome => outcome,
            }
        }
        outcome => outcome,
    }
}

/// Seconds since 1970.
fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
