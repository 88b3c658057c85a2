//! Writes that happen once however often they are asked for (`Idempotency-Key`,
//! draft-ietf-httpapi-idempotency-key-header).
//!
//! The answer is made inside the transaction of the write and committed with it: a server that dies between
//! commit and answer gives the same answer when it is asked again. Writes with one key follow each other, so
//! that a twin which arrives meanwhile waits and is given the first one's answer.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::{StoreError, UnitResult};
use crate::scim::etag::Version;

/// A request that carries an idempotency key, known by digests only: a client may put anything into a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keyed {
    /// SHA-256 of the key.
    pub key: [u8; 32],
    /// SHA-256 of what is asked: the same key with another is refused.
    pub request: [u8; 32],
    /// Answers given before are forgotten.
    pub since: Timestamp,
}

/// An HTTP answer to be given again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedAnswer {
    /// HTTP status.
    pub status: u16,
    /// `ETag`.
    pub version: Option<Version>,
    /// `Location`.
    pub location: Option<String>,
    /// The JSON body.
    pub body: Option<Vec<u8>>,
}

/// What is known of a key that was used before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recalled {
    /// This very request was answered so.
    Answer(SavedAnswer),
    /// The key came with another request.
    OtherRequest,
}

/// What a write with a key comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Once {
    /// It was applied, or refused, now; this is the answer, and it is remembered.
    First(SavedAnswer),
    /// The key was used before; nothing was done now.
    Before(Recalled),
}

/// Makes the answer from the write's results. Runs inside the transaction, maybe more than once.
#[derive(Clone)]
pub struct Render(Arc<RenderFn>);

type RenderFn = dyn Fn(Vec<UnitResult>) -> Result<SavedAnswer, StoreError> + Send + Sync;

impl Render {
    /// From a function; when it fails, the write fails.
    pub fn new(
        render: impl Fn(Vec<UnitResult>) -> Result<SavedAnswer, StoreError> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(render))
    }

    /// The answer.
    pub(super) fn render(&self, results: Vec<UnitResult>) -> Result<SavedAnswer, StoreError> {
        (self.0)(results)
    }
}

impl fmt::Debug for Render {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Render")
    }
}
