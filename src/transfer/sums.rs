//! The digests of a tenant, the same for who writes it and who reads it.

use sha2::{Digest as _, Sha256};

use super::format::{Check, Complete};
use crate::store::transfer::{Hex, Mark};

/// Of one tenant, chunk by chunk.
#[derive(Clone)]
pub(super) struct Sums {
    chunk: Sha256,
    lines: u64,
    bytes: u64,
    /// The chunks before.
    mark: Mark,
}

impl Sums {
    /// At a tenant's begin.
    pub(super) fn new() -> Self {
        Self::after(Mark { chunks: 0, digest: Hex([0; 32]) })
    }

    /// After some chunks.
    pub(super) fn after(mark: Mark) -> Self {
        Self { chunk: Sha256::new_with_prefix(mark.digest.0), lines: 0, bytes: 0, mark }
    }

    /// Adds a line, without its end.
    pub(super) fn line(&mut self, line: &[u8]) {
        self.chunk.update(line);
        self.chunk.update(b"\n");
        self.lines += 1;
        self.bytes += line.len() as u64 + 1;
    }

    /// Bytes since the last check.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Lines since the last check.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    /// The chunks that are checked.
    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    /// Ends a chunk: what is to be said of it.
    pub(super) fn check(&mut self) -> Check {
        let digest = Hex(std::mem::take(&mut self.chunk).finalize().into());
        let check = Check { lines: self.lines, sha256: digest };
        *self = Self::after(Mark { chunks: self.mark.chunks + 1, digest });
        check
    }
}

/// Of a whole export.
#[derive(Clone, Default)]
pub(super) struct Whole {
    sum: Sha256,
    tenants: u64,
}

impl Whole {
    /// Adds a tenant's digest.
    pub(super) fn add(&mut self, digest: Hex<32>) {
        self.sum.update(digest.0);
        self.tenants += 1;
    }

    /// What is to be said at the end.
    pub(super) fn complete(&self) -> Complete {
        Complete { tenants: self.tenants, sha256: Hex(self.sum.clone().finalize().into()) }
    }
}
