//! The table of answers to requests with an idempotency key.

use bytes::Bytes;
use jiff::Timestamp;
use tokio_postgres::Row;

use super::failure::Failure;
use super::pool::Link;
use super::value::{Step, Value, get, limit};
use crate::scim::etag::Version;
use crate::store::idempotency::{Keyed, Recalled, SavedAnswer};

/// Answers removed in one transaction: a few milliseconds.
const BATCH: usize = 500;

/// An answer to remember.
#[derive(Debug)]
pub(super) struct Fresh {
    pub keyed: Keyed,
    pub answered: Timestamp,
    pub answer: SavedAnswer,
}

/// Asks what is known of a key.
pub(super) fn recall(tenant: i64, keyed: &Keyed) -> Step {
    let sql = "SELECT request, status, version, related, location, body FROM scim.answer
               WHERE tenant = $1 AND name = $2 AND answered >= $3";
    let name = Bytes::copy_from_slice(&keyed.key);
    Step::new(sql, [tenant.into(), name.into(), keyed.since.as_millisecond().into()])
}

/// What [`recall`] found.
pub(super) fn recalled(keyed: &Keyed, rows: &[Row]) -> Result<Option<Recalled>, Failure> {
    let Some(row) = rows.first() else { return Ok(None) };
    if get::<&[u8]>(row, 0)? != keyed.request {
        return Ok(Some(Recalled::OtherRequest));
    }
    let wrong = |_| Failure::Internal("a stored answer is out of range".into());
    let number: Option<i64> = get(row, 2)?;
    let related = get::<Option<i64>>(row, 3)?.map(u32::try_from).transpose().map_err(wrong)?;
    Ok(Some(Recalled::Answer(SavedAnswer {
        status: u16::try_from(get::<i64>(row, 1)?).map_err(wrong)?,
        version: number.map(|number| Version { number: number.cast_unsigned(), related }),
        location: get(row, 4)?,
        body: get::<Option<&[u8]>>(row, 5)?.map(<[u8]>::to_vec),
    })))
}

/// Remembers an answer, in place of a forgotten one of the same key.
pub(super) fn remember(tenant: i64, fresh: Fresh) -> Step {
    let Fresh { keyed, answered, answer } = fresh;
    let SavedAnswer { status, version, location, body } = answer;
    let sql = "INSERT INTO scim.answer (tenant, name, request, answered, status, version, related, location, body)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
               ON CONFLICT (tenant, name) DO UPDATE SET request = excluded.request, answered = excluded.answered,
                   status = excluded.status, version = excluded.version, related = excluded.related,
                   location = excluded.location, body = excluded.body";
    let values = [
        tenant.into(),
        Bytes::copy_from_slice(&keyed.key).into(),
        Bytes::copy_from_slice(&keyed.request).into(),
        answered.as_millisecond().into(),
        i64::from(status).into(),
        version.map(|version| version.number.cast_signed()).into(),
        version.and_then(|version| version.related).map(i64::from).into(),
        Value::Text(location),
        Value::Blob(body.map(Bytes::from)),
    ];
    Step::new(sql, values)
}

/// Removes some of the answers given before; how many. Several servers share the work.
pub(super) async fn forget_some(link: &mut Link, before: Timestamp) -> Result<u64, Failure> {
    let sql = "WITH old AS (
                   SELECT a.tenant, a.name FROM scim.tenant t CROSS JOIN LATERAL (
                       SELECT tenant, name FROM scim.answer
                       WHERE tenant = t.tenant AND answered < $1 ORDER BY answered LIMIT $2
                   ) a LIMIT $2
               ), gone AS (
                   DELETE FROM scim.answer a USING old
                   WHERE a.tenant = old.tenant AND a.name = old.name AND a.answered < $1 RETURNING 1
               ) SELECT count(*) FROM gone";
    let rows = link.query(sql, [before.as_millisecond().into(), limit(BATCH)]).await?;
    Ok(rows.first().map_or(Ok(0), |row| get::<i64>(row, 0))?.cast_unsigned())
}
