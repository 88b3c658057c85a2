//! [`Running`]: the configuration that a pod runs, by its parts, so that the next one costs what differs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::digest::sha256_hex;
use super::shards::{DecodeError, Head, decode_head, decode_shard_of};
use super::{ServerConfig, TenantConfig};

/// The parts of a configuration, decoded.
#[derive(Debug, Clone, Default)]
pub struct Running {
    digest: String,
    shards: BTreeMap<u8, Shard>,
}

#[derive(Debug, Clone)]
struct Shard {
    digest: String,
    /// In order of their names.
    tenants: Vec<Arc<TenantConfig>>,
}

/// A head that differs from the one that runs, and what is needed to run it.
#[derive(Debug)]
pub struct Change {
    digest: String,
    head: Head,
    /// The shards whose bytes [`Running::next`] needs.
    pub shards: Vec<u8>,
}

impl Running {
    /// The digest of the head; empty before the first configuration.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What this head asks for; nothing when it is the one that runs.
    pub fn compare(&self, head: &[u8]) -> Result<Option<Change>, DecodeError> {
        let digest = sha256_hex(head);
        if digest == self.digest {
            return Ok(None);
        }
        let head = decode_head(head)?;
        let differs = |(shard, digest): &(&u8, &String)| {
            self.shards.get(shard).is_none_or(|known| known.digest != **digest)
        };
        let shards = head.shards.iter().filter(differs).map(|(shard, _)| *shard).collect();
        Ok(Some(Change { digest, head, shards }))
    }

    /// The configuration after a change, with the bytes of the shards that it asked for. Tenants that are the same are
    /// the same in memory.
    pub fn next(
        &self,
        change: Change,
        fetched: &BTreeMap<u8, Vec<u8>>,
    ) -> Result<(Self, ServerConfig), DecodeError> {
        let Change { digest, head, shards: _ } = change;
        let mut shards = BTreeMap::new();
        for (shard, digest) in &head.shards {
            let known = self.shards.get(shard);
            let next = if let Some(known) = known.filter(|known| known.digest == *digest) {
                known.clone()
            } else {
                let bytes = fetched.get(shard).ok_or(DecodeError::Missing(*shard))?;
                let mut tenants = decode_shard_of(*shard, digest, bytes)?;
                if let Some(known) = known {
                    share(&mut tenants, &known.tenants);
                }
                Shard { digest: digest.clone(), tenants }
            };
            shards.insert(*shard, next);
        }
        let tenants = shards.values().flat_map(|shard| &shard.tenants).cloned().collect();
        Ok((Self { digest, shards }, head.with(tenants)))
    }
}

/// Makes tenants that are as before the very ones of before. Both are in order of names.
fn share(tenants: &mut [Arc<TenantConfig>], before: &[Arc<TenantConfig>]) {
    for tenant in tenants {
        if let Ok(at) = before.binary_search_by(|known| known.name.cmp(&tenant.name))
            && before[at] == *tenant
        {
            *tenant = Arc::clone(&before[at]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::shards::{Encoded, encode, shard_of};
    use crate::config::{Audit, Lifecycle, Limits, Membership};
    use crate::scim::{dialect::Dialect, schema::CustomSchemas};

    fn config(names: &[&str]) -> ServerConfig {
        let tenant = |name: &&str| {
            Arc::new(TenantConfig {
                name: format!("identity/{name}"),
                path: (*name).to_owned(),
                identity_provider: Dialect::Generic,
                tokens: Vec::new(),
                schemas: CustomSchemas::default(),
                oauth2: None,
                limits: Limits::default(),
                suspended: false,
                purge_on_removal: false,
                lifecycle: Lifecycle::default(),
                membership: Membership::default(),
                audit: Audit::default(),
            })
        };
        let config = ServerConfig {
            endpoint: "identity/main".to_owned(),
            host: None,
            allowed_cidrs: Vec::new(),
            trusted_proxies: Vec::new(),
            tenants: Vec::new(),
            removed: None,
        };
        config.with(names.iter().map(tenant).collect())
    }

    fn run(running: &Running, encoded: &Encoded) -> (Running, ServerConfig) {
        let change = running.compare(&encoded.head).unwrap().expect("it differs");
        running.next(change, &encoded.shards).unwrap()
    }

    #[test]
    fn change_needs_the_shards_that_differ_and_shares_the_tenants_that_do_not() {
        let names: Vec<String> = (0..100).map(|n| format!("tenant-{n:02}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let before = config(&names);
        let (running, started) = run(&Running::default(), &encode(&before));
        assert_eq!(started, before);
        assert!(running.compare(&encode(&before).head).unwrap().is_none());

        let mut after = before.clone();
        Arc::make_mut(&mut after.tenants[7]).suspended = true;
        let encoded = encode(&after);
        assert_eq!(running.digest(), encode(&before).digest);
        let change = running.compare(&encoded.head).unwrap().unwrap();
        assert_eq!(change.shards, [shard_of("identity/tenant-07")]);
        let only = [(change.shards[0], encoded.shards[&change.shards[0]].clone())].into();
        let (next, now) = running.next(change, &only).unwrap();
        assert_eq!((next.digest(), &now), (encoded.digest.as_str(), &after));
        let fresh = now.tenants.iter().zip(&started.tenants).filter(|(a, b)| !Arc::ptr_eq(a, b)).count();
        assert_eq!(fresh, 1, "the others are those of before");
    }

    #[test]
    fn removed_tenants_go_with_their_shard() {
        let (running, _) = run(&Running::default(), &encode(&config(&["acme", "globex"])));
        let (_, now) = run(&running, &encode(&config(&["globex"])));
        assert_eq!(now, config(&["globex"]));
        let (_, now) = run(&running, &encode(&config(&[])));
        assert_eq!(now, config(&[]));
    }

    #[test]
    fn shard_that_is_late_changes_nothing() {
        let (running, _) = run(&Running::default(), &encode(&config(&["acme"])));
        let (old, mut after) = (encode(&config(&["acme"])), config(&["acme"]));
        Arc::make_mut(&mut after.tenants[0]).suspended = true;
        let change = running.compare(&encode(&after).head).unwrap().unwrap();
        assert!(running.next(change, &old.shards).unwrap_err().is_half_written());
    }
}
