//! What the database's errors mean: whether asking again may help, and where.

use std::error::Error as _;
use std::path::PathBuf;

use tokio_postgres::error::SqlState;

use crate::store::StoreError;

/// Why the database gave no answer.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// The connection is gone; another may work.
    Lost(String),
    /// Others were faster, and the transaction must be run again.
    Conflict(String),
    /// The tenant's number is that of a purged tenant: look its name up again.
    Moved,
    /// Nothing that this request can do helps now.
    Unavailable(String),
    /// The database says something that it should not.
    Internal(String),
}

impl Failure {
    /// Whether the connection may be given to somebody else.
    pub(super) fn spoils_connection(error: &tokio_postgres::Error) -> bool {
        // A server that has become read-only is not the one to write to any more: connect anew.
        error.code().is_none_or(|code| {
            *code == SqlState::READ_ONLY_SQL_TRANSACTION || matches!(&code.code()[..2], "08" | "57" | "58")
        })
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let reason = reason(&error);
        let Some(code) = error.code() else {
            // Not from the server: the connection was closed, or what came over it was no answer.
            return if error.is_closed()
                || error.source().is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
            {
                Self::Lost(reason)
            } else {
                Self::Internal(reason)
            };
        };
        match (code.code(), &code.code()[..2]) {
            // serialization_failure, deadlock_detected, and a key that another transaction took meanwhile.
            ("40001" | "40P01" | "23505", _) => Self::Conflict(reason),
            // query_canceled is the server's own deadline.
            ("57014" | "55P03", _) => Self::Unavailable(format!("the database is too slow: {reason}")),
            ("25006", _) => Self::Unavailable(format!("the database is read-only: {reason}")),
            // Connection lost, shut down by an administrator, cut off while it waited in a transaction.
            ("25P03" | "57P01" | "57P02" | "57P03" | "57P05", _) | (_, "08") => Self::Lost(reason),
            // Out of resources, not there (yet), not for us (yet), trouble with the disk.
            ("3D000" | "3F000" | "42P01" | "42501", _) | (_, "53" | "28" | "57" | "58") => {
                Self::Unavailable(reason)
            }
            _ => Self::Internal(reason),
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Lost(reason) | Failure::Unavailable(reason) => Self::Unavailable(reason),
            Failure::Conflict(reason) => {
                Self::Unavailable(format!("too many writers are in each other's way: {reason}"))
            }
            Failure::Moved => Self::Unavailable("the tenant is being purged".into()),
            Failure::Internal(reason) => Self::Internal(reason),
        }
    }
}

/// What the driver says, with what is behind it, and nothing of the data: the details of a server's error may
/// quote a row.
pub(super) fn reason(error: &tokio_postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        return format!("{} ({})", error.message(), error.code().code());
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Why a PostgreSQL store cannot be set up. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The file with the URL cannot be read.
    #[error("cannot read the URL of the database from {path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The URL cannot be used. It is not repeated: it holds a password.
    #[error(
        "the URL of the database cannot be used: {0}; expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
    )]
    Url(String),
    /// The certificates cannot be used.
    #[error("the CA certificates for the database cannot be used: {0}; expected a PEM file with one or more")]
    Certificates(String),
}
