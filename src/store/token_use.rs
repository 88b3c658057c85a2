//! When tokens were last used: what a server remembers of it across a restart.

use std::fmt;

use jiff::Timestamp;

use super::TenantKey;

/// Names a token of a tenant without giving it, or its digest, away: the first eight bytes of its SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 8]);

impl Fingerprint {
    /// Of a token's SHA-256 digest.
    #[must_use]
    pub fn of(digest: &[u8; 32]) -> Self {
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        Self(first)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// The last use of one token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenUse {
    /// Whose token it is.
    pub tenant: TenantKey,
    /// Which.
    pub token: Fingerprint,
    /// When, to the second.
    pub last_used: Timestamp,
}
