//! The audit log's rows: appended by the writer, read by everyone, pruned from the front.
//!
//! A row's key is its tenant and its sequence in one integer, so that the log needs no index beside its own
//! order and the writer appends without searching. The writer knows each tenant's newest row and is the
//! only one to append, so that rows become visible in the order of their sequence, whole batches at a time.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::de::DeserializeOwned;

use super::failure::{Sql, failed};
use crate::store::audit::{
    Change, Changed, Changes, Entry, FeedError, From, Operation, Pruned, Retention, Sequence,
};
use crate::store::{Origin, StoreError};

/// Rows removed in one transaction: a few milliseconds.
pub(super) const STEP: u64 = 1000;

/// Bits of a key that are the sequence: some 10¹² rows for each of 8 million tenants.
const BITS: u32 = 40;

/// The newest row of a tenant's log, which need not be there any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Head {
    sequence: Sequence,
    /// In milliseconds.
    time: i64,
}

/// What the writer knows of the tenants that have written.
pub(super) type Heads = HashMap<i64, Head>;

/// The key of a row; that of sequence 0, which there is not, comes before all of a tenant's.
pub(super) fn place(tenant: i64, sequence: Sequence) -> i64 {
    tenant << BITS | sequence.min((1 << BITS) - 1).cast_signed()
}

/// The sequence of a key.
pub(super) fn sequence(place: i64) -> Sequence {
    (place & ((1 << BITS) - 1)).cast_unsigned()
}

/// The newest row of a tenant.
pub(super) fn head(connection: &Connection, tenant: i64) -> Sql<Head> {
    let sql = "SELECT place, time FROM change WHERE place > ?1 AND place < ?2 ORDER BY place DESC LIMIT 1";
    let bounds = [place(tenant, 0), place(tenant + 1, 0)];
    let newest = connection
        .prepare_cached(sql)?
        .query_row(bounds, |row| Ok(Head { sequence: sequence(row.get(0)?), time: row.get(1)? }));
    match newest.optional()? {
        Some(head) => Ok(head),
        None => Ok(Head { sequence: pruned(connection, tenant)?, time: 0 }),
    }
}

/// The last sequence that is gone, the newest there is, and its time where its row is there.
pub(super) fn newest(connection: &Connection, tenant: i64) -> Sql<(Sequence, Sequence, Option<Timestamp>)> {
    let pruned = pruned(connection, tenant)?;
    let Head { sequence, time } = head(connection, tenant)?;
    let time = if sequence > pruned { Timestamp::from_millisecond(time).ok() } else { None };
    Ok((pruned, sequence, time))
}

/// The last sequence of a tenant that is gone.
fn pruned(connection: &Connection, tenant: i64) -> Sql<Sequence> {
    let mut statement = connection.prepare_cached("SELECT pruned FROM tenant WHERE key = ?1")?;
    let pruned: Option<i64> = statement.query_row([tenant], |row| row.get(0)).optional()?;
    Ok(pruned.unwrap_or(0).cast_unsigned())
}

/// Appends a row after `head`; the new head.
pub(super) fn append(
    connection: &Connection,
    tenant: i64,
    head: Head,
    now: Timestamp,
    origin: &Origin,
    entry: &Entry<'_>,
) -> Result<Head, StoreError> {
    let Entry { operation, resource_type, id, before, after, changed, members } = entry;
    let Origin { actor, client, request_id } = origin;
    // Reading by time and pruning search the log by it, so it goes one way when the clock does not.
    let head = Head { sequence: head.sequence + 1, time: head.time.max(now.as_millisecond()) };
    let members = members.as_ref().map(serde_json::to_string).transpose();
    let values = changed.values.as_ref().filter(|values| !values.is_empty());
    let values = values.map(serde_json::to_string).transpose();
    let unwritable = |error| StoreError::Internal(format!("a change cannot be serialised: {error}"));
    let mut statement = connection
        .prepare_cached(
            "INSERT INTO change (place, time, operation, type, id, before, after, actor, client, request, \
                                 attributes, members, \"values\")
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )
        .map_err(failed)?;
    statement
        .execute(params![
            place(tenant, head.sequence),
            head.time,
            operation.code(),
            resource_type,
            id,
            before.map(u64::cast_signed),
            after.map(u64::cast_signed),
            actor,
            client.map(|client| client.to_string()),
            request_id,
            changed.paths,
            members.map_err(unwritable)?,
            values.map_err(unwritable)?,
        ])
        .map_err(failed)?;
    Ok(head)
}

/// The log of a tenant that has never written.
pub(super) fn nothing(from: From) -> Result<Changes, FeedError> {
    match from {
        From::After(after) if after > 0 => Err(FeedError::Ahead { after, head: 0 }),
        _ => Ok(Changes { changes: Vec::new(), next: 0, head: 0 }),
    }
}

/// Some of a tenant's log, at one moment.
pub(super) fn read(
    connection: &Connection,
    tenant: i64,
    from: From,
    limit: usize,
) -> Result<Result<Changes, FeedError>, StoreError> {
    let (pruned, head) = bounds(connection, tenant).map_err(failed)?;
    let after = match from {
        From::Oldest => pruned,
        From::After(after) if after < pruned => return Ok(Err(FeedError::Pruned { after, pruned, head })),
        From::After(after) if after > head => return Ok(Err(FeedError::Ahead { after, head })),
        From::After(after) => after,
        From::Time(time) => {
            let time = time.as_millisecond();
            last_where(connection, tenant, pruned, head, |found| found < time).map_err(failed)?
        }
    };
    let mut statement = connection
        .prepare_cached(
            "SELECT place, time, operation, type, id, before, after, actor, client, request, attributes, \
                    members, \"values\"
             FROM change WHERE place > ?1 AND place < ?2 ORDER BY place LIMIT ?3",
        )
        .map_err(failed)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement
        .query_map(params![place(tenant, after), place(tenant + 1, 0), limit], change)
        .map_err(failed)?;
    let changes = rows.collect::<Sql<Vec<_>>>().map_err(failed)?;
    let next = changes.last().map_or(after, |change| change.sequence);
    Ok(Ok(Changes { changes, next, head }))
}

/// The last sequence that is gone and the newest there is.
fn bounds(connection: &Connection, tenant: i64) -> Sql<(Sequence, Sequence)> {
    Ok((pruned(connection, tenant)?, head(connection, tenant)?.sequence))
}

/// The last sequence above `from` up to `to` whose time passes a test that early ones pass and late ones do
/// not; `from` when none does.
fn last_where(
    connection: &Connection,
    tenant: i64,
    from: Sequence,
    to: Sequence,
    early: impl Fn(i64) -> bool,
) -> Sql<Sequence> {
    let mut statement = connection.prepare_cached("SELECT time FROM change WHERE place = ?1")?;
    let (mut passed, mut failed) = (from, to + 1);
    while failed - passed > 1 {
        let middle = passed + (failed - passed) / 2;
        let time = statement.query_row([place(tenant, middle)], |row| row.get(0))?;
        if early(time) { passed = middle } else { failed = middle }
    }
    Ok(passed)
}

/// Removes one small step of the rows that are not to be kept; with no `step`, only says whether there are any.
pub(super) fn prune(connection: &Connection, tenant: i64, retention: Retention, step: u64) -> Sql<Pruned> {
    let Retention { before, max_entries } = retention;
    let (pruned, head) = bounds(connection, tenant)?;
    let time = before.as_millisecond();
    let expired = last_where(connection, tenant, pruned, head, |found| found < time)?;
    let surplus = head.saturating_sub(max_entries);
    let target = expired.max(surplus).max(pruned);
    let now = target.min(pruned + step);
    if now > pruned {
        let bounds = [place(tenant, pruned), place(tenant, now)];
        connection.prepare_cached("DELETE FROM change WHERE place > ?1 AND place <= ?2")?.execute(bounds)?;
        connection
            .prepare_cached("UPDATE tenant SET pruned = ?2 WHERE key = ?1")?
            .execute([tenant, now.cast_signed()])?;
    }
    let mut statement = connection.prepare_cached("SELECT time FROM change WHERE place = ?1")?;
    let oldest = statement.query_row([place(tenant, now + 1)], |row| time_of(row, 0)).optional()?;
    Ok(Pruned { removed: now - pruned, entries: head - now, oldest, more: target > now })
}

/// Removes a batch of a tenant's whole log; how many rows that were.
pub(super) fn remove_some(connection: &Connection, tenant: i64, limit: i64) -> Sql<usize> {
    let sql = "DELETE FROM change WHERE place IN
               (SELECT place FROM change WHERE place > ?1 AND place < ?2 LIMIT ?3)";
    connection.prepare_cached(sql)?.execute([place(tenant, 0), place(tenant + 1, 0), limit])
}

fn change(row: &Row<'_>) -> Sql<Change> {
    let code = row.get(2)?;
    let operation = Operation::from_code(code).ok_or(rusqlite::Error::IntegralValueOutOfRange(2, code))?;
    let version = |column| row.get::<_, Option<i64>>(column).map(|version| version.map(i64::cast_unsigned));
    Ok(Change {
        sequence: sequence(row.get(0)?),
        time: time_of(row, 1)?,
        operation,
        resource_type: row.get(3)?,
        resource_id: row.get(4)?,
        version_before: version(5)?,
        version_after: version(6)?,
        actor: row.get(7)?,
        client: row.get::<_, Option<String>>(8)?.and_then(|client| client.parse().ok()),
        request_id: row.get(9)?,
        attributes: Changed::split(row.get_ref(10)?.as_str()?),
        members: json(row, 11)?,
        values: json(row, 12)?,
    })
}

fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Sql<Option<T>> {
    let Some(text) = row.get::<_, Option<String>>(column)? else { return Ok(None) };
    let parsed = serde_json::from_str(&text);
    parsed.map(Some).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.into())
    })
}

fn time_of(row: &Row<'_>, column: usize) -> Sql<Timestamp> {
    let milliseconds: i64 = row.get(column)?;
    Timestamp::from_millisecond(milliseconds)
        .map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, milliseconds))
}
