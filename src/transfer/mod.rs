//! Moving tenants between stores: `scim-operator export` and `import`.
//!
//! An export is lines of JSON, read and written one chunk at a time, so that it takes as much memory for a tenant of
//! a million users as for one of ten. Each chunk carries a digest over all of its tenant so far: what is damaged,
//! cut or put together from two exports is found at its line, and what was stopped goes on where it was. Two
//! stores that hold the same data give the same bytes.
//!
//! `docs/moving-stores.md` describes the format.

mod export;
mod format;
mod import;
mod reader;
mod resume;
mod sums;

pub use self::export::{ExportError, export, export_to_file};
pub use self::format::Tally;
pub use self::import::{Outcome, TransferError, import};
pub use self::reader::ReadError;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'p> {
    /// What is done: `checking`, or a tenant's name.
    pub what: &'p str,
    /// How much of it: rows of an export, bytes of an import.
    pub done: u64,
    /// Of how much, more or less.
    pub total: u64,
}

/// Who is told of it, often.
pub type Watch<'w> = dyn FnMut(Progress<'_>) + Send + 'w;
