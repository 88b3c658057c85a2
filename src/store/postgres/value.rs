//! What goes to the database and comes from it: a [`Step`] of a conversation with its [`Value`]s, and the
//! columns of a row.
//!
//! Statements are unnamed and carry the types of their values: one round trip each, nothing is left behind in
//! the session, and a pooler between may give every transaction another server.

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::failure::Failure;

/// A parameter.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Int(Option<i64>),
    Bool(bool),
    Text(Option<String>),
    Blob(Option<Bytes>),
    Ints(Vec<Option<i64>>),
    Bools(Vec<bool>),
    Texts(Vec<Option<String>>),
    Blobs(Vec<Option<Bytes>>),
}

impl Value {
    /// Bytes of a string, for a BYTEA column.
    pub(super) fn bytes(text: &str) -> Self {
        Self::Blob(Some(bytes(text)))
    }

    pub(super) fn kind(&self) -> Type {
        match self {
            Self::Int(_) => Type::INT8,
            Self::Bool(_) => Type::BOOL,
            Self::Text(_) => Type::TEXT,
            Self::Blob(_) => Type::BYTEA,
            Self::Ints(_) => Type::INT8_ARRAY,
            Self::Bools(_) => Type::BOOL_ARRAY,
            Self::Texts(_) => Type::TEXT_ARRAY,
            Self::Blobs(_) => Type::BYTEA_ARRAY,
        }
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(Some(value))
    }
}

impl From<Bytes> for Value {
    fn from(value: Bytes) -> Self {
        Self::Blob(Some(value))
    }
}

impl ToSql for Value {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Int(value) => value.to_sql(kind, out),
            Self::Bool(value) => value.to_sql(kind, out),
            Self::Text(value) => value.to_sql(kind, out),
            Self::Blob(value) => value.as_deref().to_sql(kind, out),
            Self::Ints(values) => values.to_sql(kind, out),
            Self::Bools(values) => values.to_sql(kind, out),
            Self::Texts(values) => values.to_sql(kind, out),
            Self::Blobs(values) => values.iter().map(Option::as_deref).collect::<Vec<_>>().to_sql(kind, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A string's bytes.
pub(super) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// What is sent in one go.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Commands without values that open a transaction.
    Begin(&'static str),
    /// Commands without values that end it.
    End(&'static str),
    /// A statement with its values, `$1` and on.
    Statement(String, Vec<Value>),
}

impl Step {
    pub(super) fn new(sql: impl Into<String>, values: impl Into<Vec<Value>>) -> Self {
        Self::Statement(sql.into(), values.into())
    }
}

/// A column of a row.
pub(super) fn get<'r, T: FromSql<'r>>(row: &'r Row, column: usize) -> Result<T, Failure> {
    row.try_get(column).map_err(|error| Failure::Internal(format!("column {column}: {error}")))
}

/// A BYTEA column that holds a string.
pub(super) fn text(row: &Row, column: usize) -> Result<String, Failure> {
    string(get(row, column)?)
}

/// A BYTEA column that may hold a string.
pub(super) fn optional_text(row: &Row, column: usize) -> Result<Option<String>, Failure> {
    get::<Option<&[u8]>>(row, column)?.map(string).transpose()
}

fn string(bytes: &[u8]) -> Result<String, Failure> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Failure::Internal("a stored string is not UTF-8".into()))
}

/// A column of milliseconds since 1970.
pub(super) fn time(row: &Row, column: usize) -> Result<Timestamp, Failure> {
    Timestamp::from_millisecond(get(row, column)?)
        .map_err(|_| Failure::Internal(format!("column {column} is no time")))
}

/// A BYTEA column.
pub(super) fn blob(row: &Row, column: usize) -> Result<Bytes, Failure> {
    Ok(Bytes::copy_from_slice(get(row, column)?))
}

/// A limit as SQL has it.
pub(super) fn limit(limit: usize) -> Value {
    Value::Int(Some(i64::try_from(limit).unwrap_or(i64::MAX)))
}
