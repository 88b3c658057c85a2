//! The lines of an export.
//!
//! ```text
//! {"scimOperatorExport":{"version":1}}
//! {"tenant":{"name":"identity/acme","head":3,…}}
//! {"resource":{…}}                                  rows, by section
//! {"check":{"lines":2,"sha256":"…"}}                after each chunk: its lines, the digest of the tenant so far
//! {"end":{"tenant":"identity/acme","resources":1,…,"sha256":"…"}}
//! {"complete":{"tenants":1,"sha256":"…"}}           the digest of the tenants' digests
//! ```

use serde::{Deserialize, Serialize};

use crate::store::transfer::{Hex, Row, Tenant};

/// The version that is written, and the newest that is read.
pub(super) const VERSION: u32 = 1;

/// Bytes of a chunk, give or take one line.
pub(super) const CHUNK_BYTES: u64 = 1 << 20;

/// Bytes of a line at most: more than a resource, or the values of a change, may have.
pub(super) const LINE_BYTES: u64 = 64 << 20;

/// A line that is no row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Frame {
    /// The first line.
    ScimOperatorExport(Opening),
    /// A tenant begins.
    Tenant(Tenant),
    /// A chunk ends.
    Check(Check),
    /// A tenant ends.
    End(End),
    /// The export ends.
    Complete(Complete),
}

/// What the first line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Opening {
    /// Of the format.
    pub version: u32,
}

/// What stands after a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Check {
    /// Lines since the check before, or since the tenant's begin with its line.
    pub lines: u64,
    /// Over all of the tenant so far: of the digest before and the bytes since.
    pub sha256: Hex<32>,
}

/// What stands after a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct End {
    /// Its name.
    pub tenant: String,
    /// How much it is.
    #[serde(flatten)]
    pub tally: Tally,
    /// That of its last check.
    pub sha256: Hex<32>,
}

/// What stands at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Complete {
    /// How many there are.
    pub tenants: u64,
    /// Of their digests, one after the other.
    pub sha256: Hex<32>,
}

/// How much a tenant is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Users, groups and what else there is.
    pub resources: u64,
    /// Members of all groups.
    pub memberships: u64,
    /// Deleted resources that can be brought back.
    pub retained: u64,
    /// Rows of the audit log.
    pub changes: u64,
    /// Members that are not there yet, and former memberships of what is retained.
    pub awaited: u64,
    /// Answers to requests with an idempotency key.
    pub answers: u64,
    /// Tokens whose last use is known.
    pub tokens: u64,
}

impl Tally {
    /// Counts a row.
    pub(super) fn add(&mut self, row: &Row) {
        match row {
            Row::Resource(_) => self.resources += 1,
            Row::Members(row) => self.memberships += row.members.len() as u64,
            Row::Retained(_) => self.retained += 1,
            Row::Change(_) => self.changes += 1,
            Row::Awaited(_) => self.awaited += 1,
            Row::Answer(_) => self.answers += 1,
            Row::Token(_) => self.tokens += 1,
        }
    }

    /// What progress goes by.
    pub(super) fn rows(&self) -> u64 {
        self.resources + self.memberships + self.changes
    }
}

/// A line.
#[derive(Debug)]
pub(super) enum Line {
    Frame(Frame),
    Row(Row),
}

impl Line {
    pub(super) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let key = text.strip_prefix("{\"").and_then(|rest| rest.split('"').next()).unwrap_or_default();
        match key {
            "scimOperatorExport" | "tenant" | "check" | "end" | "complete" => {
                serde_json::from_str(text).map(Self::Frame)
            }
            _ => serde_json::from_str(text).map(Self::Row),
        }
    }
}
