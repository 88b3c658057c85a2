//! What SQLite's errors mean: at run time ([`failed`]) and when a database is opened ([`OpenError`]).

use std::io;
use std::path::PathBuf;

use rusqlite::ErrorCode;

use crate::store::StoreError;

/// Shorthand for what rusqlite returns.
pub(super) type Sql<T> = rusqlite::Result<T>;

/// Why a data directory cannot be served from. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory or a file in it cannot be made or opened.
    #[error(
        "cannot use the data directory {path}: {error}; check that it exists or can be made, and is writable"
    )]
    Directory {
        /// What could not be used.
        path: PathBuf,
        /// Why; part of the message, so no source of its own.
        error: io::Error,
    },
    /// Another process serves from it.
    #[error(
        "the data directory {path} is in use by another process; stop that one, or choose another with --data"
    )]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// There is no database.
    #[error("there is no database {path}; name the data directory of the server with --data")]
    Missing {
        /// The file that is not there.
        path: PathBuf,
    },
    /// An older version of this program wrote it, and this one may not bring it up to date.
    #[error(
        "the database {path} has schema version {found}, and this program reads version {known}; start the server of this version first, which brings it up to date"
    )]
    Older {
        /// The database file.
        path: PathBuf,
        /// Its schema version.
        found: u32,
        /// The version this program reads.
        known: u32,
    },
    /// A newer version of this program wrote it.
    #[error(
        "the database {path} has schema version {found}, and this program knows versions up to {known}; run the newer program that wrote it"
    )]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Its schema version.
        found: u32,
        /// The newest this program knows.
        known: u32,
    },
    /// The file is no SQLite database, or another program's.
    #[error(
        "{path} is not a database of scim-operator; move it away, or choose another directory with --data"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The database is damaged.
    #[error(
        "the database {path} is corrupt ({reason}); restore it from a backup, or move it away to begin empty"
    )]
    Corrupt {
        /// The database file.
        path: PathBuf,
        /// What SQLite says.
        reason: String,
    },
    /// SQLite failed in another way.
    #[error("cannot open the database {path}: {reason}")]
    Database {
        /// The database file.
        path: PathBuf,
        /// What SQLite says.
        reason: String,
    },
}

impl OpenError {
    /// What an SQLite error means for the database at `path`.
    pub(super) fn from_sqlite(path: PathBuf, error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::Foreign { path },
            Some(ErrorCode::DatabaseCorrupt) => Self::Corrupt { path, reason: error.to_string() },
            _ => Self::Database { path, reason: error.to_string() },
        }
    }
}

/// What an SQLite error means for a request.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn failed(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::OutOfMemory
            | ErrorCode::PermissionDenied,
        ) => StoreError::Unavailable(error.to_string()),
        _ => StoreError::Internal(error.to_string()),
    }
}
