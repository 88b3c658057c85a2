//! A tenant's data as rows that no backend owns: what `export` reads from one store and `import` writes to
//! another.
//!
//! Rows name each other by id, never by a backend's keys, and come in an order that is the same in every store
//! that holds the same data. What can be derived is not among them: index entries, counters.

mod hex;
mod rows;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use self::hex::Hex;
pub use self::rows::{
    Answer, Awaited, Change, Members, Resource, Retained, Row, Section, Shapes, Tenant, Token,
};
pub(super) use self::rows::{Pair, member_rows};
use super::{StoreError, TenantKey};

/// Bytes of rows that are held at a time, give or take one row.
pub(super) const PAGE_BYTES: usize = 1 << 20;

/// Rows that are held at a time.
pub(super) const PAGE_ROWS: usize = 1000;

/// How much a tenant has, to show how far an export is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Users, groups and what else there is.
    pub resources: u64,
    /// Members of all groups.
    pub memberships: u64,
    /// Rows of the audit log.
    pub changes: u64,
}

/// Reads tenants, each as it was at one moment, whoever writes meanwhile.
#[async_trait]
pub trait Exporter: Send {
    /// The tenants that have, or had, any data; ordered by name.
    async fn tenants(&mut self) -> Result<Vec<TenantKey>, StoreError>;

    /// Takes a tenant as it is now; `None` when it has never written.
    async fn open(&mut self, tenant: &TenantKey) -> Result<Option<(Tenant, Totals)>, StoreError>;

    /// Goes to a section of the open tenant: to its begin, or to what comes after a row of it. False when there is
    /// no such row.
    async fn seek(&mut self, section: Section, after: Option<&Row>) -> Result<bool, StoreError>;

    /// The next rows of the section; none at its end.
    async fn next(&mut self) -> Result<Vec<Row>, StoreError>;
}

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Chunks of the tenant that are in the store.
    pub chunks: u64,
    /// The digest over them.
    pub digest: Hex<32>,
}

/// What a store holds of a tenant that is to be imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// Part of an import that was stopped.
    Partly(Mark),
    /// All of an export with this digest, and maybe what was written since.
    Imported(Hex<32>),
    /// Data that no import brought; how much, in words.
    Other(String),
}

/// Why rows cannot be imported.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ImportError {
    /// A row cannot be, whatever the store.
    #[error("line {line}: {reason}")]
    Row {
        /// Its line in the export.
        line: u64,
        /// Why.
        reason: String,
    },
    /// The tenant is not as it was when the import began.
    #[error("{0}")]
    Refused(String),
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Writes tenants. Nobody sees a tenant before it is whole: [`Self::finish`] gives it its name.
#[async_trait]
pub trait Importer: Send {
    /// What there is of a tenant.
    async fn look(&mut self, tenant: &TenantKey) -> Result<Found, ImportError>;

    /// Begins a tenant that [`Self::look`] has not found, or only in part; drops that part.
    async fn begin(&mut self, tenant: &Tenant) -> Result<(), ImportError>;

    /// Goes on with a tenant that was found in part.
    async fn go_on(&mut self, tenant: &Tenant) -> Result<(), ImportError>;

    /// Adds rows with their lines, durably and all or none, and remembers how far it is.
    async fn add(&mut self, rows: Vec<(u64, Row)>, mark: Mark) -> Result<(), ImportError>;

    /// Makes the tenant be there, whole; the digest is that of all of it.
    async fn finish(&mut self, tenant: &Tenant, digest: Hex<32>) -> Result<(), ImportError>;
}

/// Where a store notes an import under way: no tenant is called so, as names have no spaces.
pub(super) fn staging_name(tenant: &TenantKey) -> String {
    format!("import {}", tenant.0)
}

/// Where a store notes an import that is done.
pub(super) fn imported_name(tenant: &TenantKey) -> String {
    format!("imported {}", tenant.0)
}

/// An import under way, as a store notes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Staged {
    /// The number that the tenant's rows have.
    pub tenant: i64,
    /// How far it is.
    pub mark: Mark,
    /// The next resource's key, where the tenant counts them.
    pub next_key: i64,
}

/// An import that is done, as a store notes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Imported {
    /// The number that the tenant's rows have: another tenant of the same name has another.
    pub tenant: i64,
    /// Of what.
    pub digest: Hex<32>,
}

/// As JSON, the way a store keeps it.
pub(super) fn note<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError::Internal(format!("a note on an import: {error}")))
}

/// What [`note`] wrote.
pub(super) fn read_note<'n, T: Deserialize<'n>>(note: &'n [u8]) -> Result<T, StoreError> {
    serde_json::from_slice(note)
        .map_err(|error| StoreError::Internal(format!("a note on an import: {error}")))
}

/// What a tenant holds that no import brought, in words; `None` when it holds nothing.
pub(super) fn in_words(counts: &[(String, i64)], head: u64) -> Option<String> {
    let counts: Vec<_> =
        counts.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{name}: {n}")).collect();
    match (counts.is_empty(), head) {
        (true, 0) => None,
        (true, head) => Some(format!("{head} changes in its audit log")),
        (false, _) => Some(counts.join(", ")),
    }
}
