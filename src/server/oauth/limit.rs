//! Rates at the token endpoint: how often one client gets a token, and how often one address may fail.
//!
//! Failures are counted by tenant *and* address: a stranger who guesses is slowed down, and cannot lock out the
//! client whose id he uses. A counter says when its next request is due (the generic cell rate algorithm), which is
//! one number for each.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Keys that are remembered at most; then those that are due again are forgotten.
const CAPACITY: usize = 10_000;

/// So many at once, and then one each interval.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// At once.
    pub burst: u32,
    /// After that.
    pub interval: Duration,
}

/// Counters by key.
#[derive(Debug)]
pub struct Limiter<K> {
    rate: Rate,
    /// When the debt of each key is paid off.
    due: Mutex<HashMap<K, Instant>>,
}

impl<K: Eq + Hash> Limiter<K> {
    /// No debts yet.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { rate, due: Mutex::default() }
    }

    /// Whether `key` has one left; else how many whole seconds until it has.
    pub fn check(&self, key: &K, now: Instant) -> Result<(), u32> {
        let due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(due) = due.get(key) else { return Ok(()) };
        let allowed = self.rate.interval * self.rate.burst.saturating_sub(1);
        let excess = due.saturating_duration_since(now).saturating_sub(allowed);
        if excess.is_zero() {
            return Ok(());
        }
        Err(u32::try_from(excess.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1))
    }

    /// Takes one of `key`.
    pub fn take(&self, key: K, now: Instant) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        if due.len() >= CAPACITY {
            due.retain(|_, due| *due > now);
        }
        // So many debtors at once are an attack from many addresses: those that are new go free, and the memory stays.
        if due.len() >= CAPACITY && !due.contains_key(&key) {
            return;
        }
        let entry = due.entry(key).or_insert(now);
        *entry = (*entry).max(now) + self.rate.interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, interval: Duration::from_secs(2) };

    #[test]
    fn burst_is_allowed_and_then_one_each_interval() {
        let (limiter, start) = (Limiter::new(RATE), Instant::now());
        for _ in 0..3 {
            assert_eq!(limiter.check(&"a", start), Ok(()));
            limiter.take("a", start);
        }
        assert_eq!(limiter.check(&"a", start), Err(2));
        assert_eq!(limiter.check(&"a", start + Duration::from_millis(1500)), Err(1));
        assert_eq!(limiter.check(&"a", start + Duration::from_secs(2)), Ok(()));
        assert_eq!(limiter.check(&"b", start), Ok(()), "another key has its own");
    }

    #[test]
    fn keys_are_bounded() {
        let (limiter, start) = (Limiter::new(RATE), Instant::now());
        for key in 0..CAPACITY + 10 {
            limiter.take(key, start);
        }
        assert_eq!(limiter.due.lock().unwrap().len(), CAPACITY);
        limiter.take(CAPACITY + 11, start + Duration::from_secs(3));
        assert_eq!(limiter.due.lock().unwrap().len(), 1, "debts that are paid are forgotten");
    }
}
