//! Tokens that were verified a moment ago, known by their SHA-256 digests, so that the next request with the same
//! token costs a look-up and no signature.
//!
//! An entry is used only while the token is good and its key is still among the issuer's; both are asked at each use.
//! Only tokens that were accepted are kept, so that nobody without one takes room. A new configuration of the tenant
//! begins with an empty cache.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::config::Scopes;

/// Entries at most. Issuers give a client a token for minutes to hours, so a tenant has a handful.
const CAPACITY: usize = 1024;

/// A token that was verified.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Which of the tenant's issuers it is from.
    pub issuer: usize,
    /// The key that verified it.
    pub fingerprint: [u8; 32],
    /// Who it is.
    pub name: Arc<str>,
    /// What it may do.
    pub scopes: Scopes,
    /// Unix time in seconds from which it is good no more.
    pub good_until: u64,
}

/// The tokens of one tenant.
#[derive(Debug, Default)]
pub struct TokenCache(RwLock<HashMap<[u8; 32], Entry>>);

impl TokenCache {
    /// The entry of a token that is still good by its own times.
    #[must_use]
    pub fn get(&self, digest: &[u8; 32], now: u64) -> Option<Entry> {
        let entries = self.0.read().unwrap_or_else(PoisonError::into_inner);
        entries.get(digest).filter(|entry| now < entry.good_until).cloned()
    }

    /// Remembers a token.
    pub fn insert(&self, digest: [u8; 32], entry: Entry, now: u64) {
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= CAPACITY {
            entries.retain(|_, entry| now < entry.good_until);
        }
        if entries.len() >= CAPACITY
            && let Some(soonest) =
                entries.iter().min_by_key(|(_, entry)| entry.good_until).map(|(key, _)| *key)
        {
            entries.remove(&soonest);
        }
        entries.insert(digest, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(good_until: u64) -> Entry {
        Entry { issuer: 0, fingerprint: [0; 32], name: "a".into(), scopes: Scopes::ALL, good_until }
    }

    fn digest(number: usize) -> [u8; 32] {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.to_be_bytes());
        digest
    }

    #[test]
    fn token_is_found_until_it_expires() {
        let cache = TokenCache::default();
        cache.insert(digest(1), entry(100), 0);
        assert!(cache.get(&digest(1), 99).is_some());
        assert!(cache.get(&digest(1), 100).is_none());
        assert!(cache.get(&digest(2), 99).is_none());
    }

    #[test]
    fn full_cache_lets_go_of_what_expires_first() {
        let cache = TokenCache::default();
        for number in 0..CAPACITY {
            cache.insert(digest(number), entry(1_000 + number as u64), 0);
        }
        cache.insert(digest(CAPACITY), entry(9_999), 0);
        assert!(cache.get(&digest(0), 0).is_none());
        assert!(cache.get(&digest(CAPACITY), 0).is_some());
        cache.insert(digest(CAPACITY + 1), entry(9_999), 1_500);
        assert!(cache.0.read().unwrap().len() < CAPACITY, "those that have expired are gone");
    }
}
