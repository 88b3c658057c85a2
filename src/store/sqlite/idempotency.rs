//! The table of answers to requests with an idempotency key.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::failure::Sql;
use super::writer::Writer;
use crate::scim::etag::Version;
use crate::store::StoreError;
use crate::store::idempotency::{Keyed, Recalled, SavedAnswer};

/// Answers removed in one transaction: a few milliseconds.
const BATCH: i64 = 500;

/// What is known of a key.
pub(super) fn recall(connection: &Connection, tenant: i64, keyed: &Keyed) -> Sql<Option<Recalled>> {
    let sql = "SELECT request, status, version, related, location, body FROM answer
               WHERE tenant = ?1 AND name = ?2 AND answered >= ?3";
    let mut statement = connection.prepare_cached(sql)?;
    statement
        .query_row(params![tenant, keyed.key, keyed.since.as_millisecond()], |row| {
            if row.get::<_, [u8; 32]>(0)? != keyed.request {
                return Ok(Recalled::OtherRequest);
            }
            let number: Option<i64> = row.get(2)?;
            let related = row.get(3)?;
            Ok(Recalled::Answer(SavedAnswer {
                status: row.get(1)?,
                version: number.map(|number| Version { number: number.cast_unsigned(), related }),
                location: row.get(4)?,
                body: row.get(5)?,
            }))
        })
        .optional()
}

/// Remembers an answer, in place of a forgotten one of the same key.
pub(super) fn remember(
    connection: &Connection,
    tenant: i64,
    keyed: &Keyed,
    now: Timestamp,
    answer: &SavedAnswer,
) -> Sql<()> {
    let SavedAnswer { status, version, location, body } = answer;
    let number = version.map(|version| version.number.cast_signed());
    let related = version.and_then(|version| version.related);
    let sql = "INSERT OR REPLACE INTO answer
                   (tenant, name, request, answered, status, version, related, location, body)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    connection.prepare_cached(sql)?.execute(params![
        tenant,
        keyed.key,
        keyed.request,
        now.as_millisecond(),
        status,
        number,
        related,
        location,
        body,
    ])?;
    Ok(())
}

/// Removes the answers given before, oldest first, in small batches between which others write.
pub(super) async fn forget(writer: &Writer, before: Timestamp) -> Result<u64, StoreError> {
    let before = before.as_millisecond();
    let sql =
        "DELETE FROM answer WHERE answered < ?1 AND key IN (SELECT key FROM answer ORDER BY key LIMIT ?2)";
    let mut forgotten = 0;
    loop {
        let removed = writer
            .run(move |connection| connection.prepare_cached(sql)?.execute(params![before, BATCH]))
            .await?;
        forgotten += removed as u64;
        if removed == 0 {
            return Ok(forgotten);
        }
    }
}
