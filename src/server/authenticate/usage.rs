//! [`Usage`]: what is remembered of each bearer token while configurations come and go, by its digest:
//! its last use, and what the log has said of it.
//!
//! A use is one atomic write in memory. The store gets what changed once in a while
//! ([`super::super::App::tend_tokens`]), so that a restart forgets a minute at most.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::store::TenantKey;
use crate::store::token_use::{Fingerprint, TokenUse};
use crate::telemetry::token_use::LastUsed;

type Known = HashMap<(TenantKey, Fingerprint), Arc<Remembered>>;

/// What is remembered of all tokens.
#[derive(Default)]
pub struct Usage {
    known: Mutex<Known>,
}

/// What is remembered of one token.
#[derive(Debug, Default)]
pub struct Remembered {
    /// Its last use.
    pub last_used: Arc<LastUsed>,
    /// The second of the last use that the store has.
    saved: AtomicI64,
    /// How near its end was when the log said so, as [`super::expiry::Nearness`].
    pub(super) warned: AtomicU8,
    /// Whether the log has said that it was presented after its end.
    pub(super) refused: AtomicBool,
}

impl Usage {
    /// Begins with what the store remembers.
    #[must_use]
    pub fn new(uses: Vec<TokenUse>) -> Self {
        let known = uses.into_iter().map(|TokenUse { tenant, token, last_used }| {
            let remembered = Remembered {
                last_used: Arc::new(LastUsed::new(Some(last_used))),
                saved: AtomicI64::new(last_used.as_second()),
                ..Remembered::default()
            };
            ((tenant, token), Arc::new(remembered))
        });
        Self { known: Mutex::new(known.collect()) }
    }

    /// What is remembered of a token; the same for every token with this digest.
    #[must_use]
    pub fn of(&self, tenant: &TenantKey, digest: &[u8; 32]) -> Arc<Remembered> {
        let fingerprint = Fingerprint::of(digest);
        Arc::clone(self.lock().entry((tenant.clone(), fingerprint)).or_default())
    }

    /// The uses that the store does not know of yet.
    #[must_use]
    pub fn unsaved(&self) -> Vec<TokenUse> {
        let known = self.lock();
        let uses = known.iter().filter_map(|((tenant, token), remembered)| {
            let last_used = remembered.last_used.get()?;
            let saved = remembered.saved.load(Ordering::Relaxed);
            (saved < last_used.as_second()).then(|| TokenUse {
                tenant: tenant.clone(),
                token: *token,
                last_used,
            })
        });
        uses.collect()
    }

    /// The store has these.
    pub fn saved(&self, uses: &[TokenUse]) {
        let known = self.lock();
        for TokenUse { tenant, token, last_used } in uses {
            if let Some(remembered) = known.get(&(tenant.clone(), *token)) {
                remembered.saved.store(last_used.as_second(), Ordering::Relaxed);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn use_is_unsaved_until_the_store_has_it_and_again_after_the_next() {
        let tenant = TenantKey("identity/acme".into());
        let at = |second| Timestamp::from_second(second).unwrap();
        let kept = TokenUse { tenant: tenant.clone(), token: Fingerprint::of(&[1; 32]), last_used: at(10) };
        let usage = Usage::new(vec![kept]);
        let token = usage.of(&tenant, &[1; 32]);
        assert_eq!((token.last_used.get(), usage.unsaved().len()), (Some(at(10)), 0));
        assert_eq!(usage.of(&tenant, &[2; 32]).last_used.get(), None);
        token.last_used.note(at(20));
        let unsaved = usage.unsaved();
        assert_eq!(unsaved.iter().map(|token| token.last_used).collect::<Vec<_>>(), [at(20)]);
        token.last_used.note(at(30));
        usage.saved(&unsaved);
        assert_eq!(usage.unsaved().len(), 1, "used again meanwhile");
        usage.saved(&usage.unsaved());
        assert_eq!(usage.unsaved().len(), 0);
    }
}
