//! The audit log's rows: read by everyone, pruned from the front. They are appended with the writes
//! (`flush.rs`), numbered under the lock of the tenant's row, so that they become visible in their order.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use tokio_postgres::Row;

use super::batch::{lock, unlock};
use super::failure::Failure;
use super::pool::Link;
use super::value::{Value, get, limit, text, time};
use crate::store::audit::{
    Change, Changed, Changes, FeedError, From, Operation, Pruned, Retention, Sequence,
};

/// Rows removed in one transaction: a few milliseconds.
const STEP: i64 = 1000;

/// The last sequence above `pruned` whose time is before `$2`, found by halving; for a tenant `t`.
const BEFORE: &str = "WITH RECURSIVE half (low, high) AS (
           SELECT t.pruned, t.head + 1 FROM scim.tenant t WHERE t.tenant = $1 AND t.live
           UNION ALL
           SELECT CASE WHEN early THEN middle ELSE low END, CASE WHEN early THEN high ELSE middle END
           FROM (
               SELECT low, high, (low + high) / 2 AS middle,
                   (SELECT c.time FROM scim.change c WHERE c.tenant = $1 AND c.sequence = (low + high) / 2) < $2 AS early
               FROM half WHERE high - low > 1
           ) AS step
       ) SELECT low FROM half ORDER BY high - low LIMIT 1";

/// The log of a tenant that has never written.
pub(super) fn nothing(from: From) -> Result<Changes, FeedError> {
    match from {
        From::After(after) if after > 0 => Err(FeedError::Ahead { after, head: 0 }),
        _ => Ok(Changes { changes: Vec::new(), next: 0, head: 0 }),
    }
}

/// Some of a tenant's log, at one moment.
pub(super) async fn read(
    link: &mut Link,
    tenant: i64,
    from: From,
    most: usize,
) -> Result<Result<Changes, FeedError>, Failure> {
    let (start, value) = match from {
        From::Oldest => ("SELECT pruned FROM bounds".to_owned(), Value::Int(None)),
        From::After(after) => ("SELECT $2".to_owned(), after.cast_signed().into()),
        From::Time(time) => (BEFORE.to_owned(), time.as_millisecond().into()),
    };
    // One statement is one moment. The row of the bounds is there when no change is.
    let sql = format!(
        "WITH bounds AS (SELECT pruned, head FROM scim.tenant WHERE tenant = $1 AND live),
              start AS (SELECT ({start}) AS after WHERE $2::BIGINT IS NULL OR TRUE)
         SELECT b.pruned, b.head, s.after, c.*
         FROM bounds b CROSS JOIN start s LEFT JOIN LATERAL (
             SELECT sequence, time, operation, type, id, before, after, actor, client, request, attributes,
                    members, \"values\"
             FROM scim.change WHERE tenant = $1 AND sequence > s.after ORDER BY sequence LIMIT $3
         ) c ON TRUE ORDER BY c.sequence"
    );
    let rows = link.query(sql, [tenant.into(), value, limit(most)]).await?;
    let Some(first) = rows.first() else { return Err(Failure::Moved) };
    let sequence = |row: &Row, column| Ok::<_, Failure>(get::<i64>(row, column)?.cast_unsigned());
    let (pruned, head, after) = (sequence(first, 0)?, sequence(first, 1)?, sequence(first, 2)?);
    if let From::After(after) = from {
        if after < pruned {
            return Ok(Err(FeedError::Pruned { after, pruned, head }));
        }
        if after > head {
            return Ok(Err(FeedError::Ahead { after, head }));
        }
    }
    let mut changes = Vec::with_capacity(rows.len());
    for row in &rows {
        if get::<Option<i64>>(row, 3)?.is_some() {
            changes.push(change(row)?);
        }
    }
    let next = changes.last().map_or(after, |change| change.sequence);
    Ok(Ok(Changes { changes, next, head }))
}

fn change(row: &Row) -> Result<Change, Failure> {
    let operation = Operation::from_code(get(row, 5)?)
        .ok_or_else(|| Failure::Internal("a stored change has an unknown operation".into()))?;
    let version = |column| Ok::<_, Failure>(get::<Option<i64>>(row, column)?.map(i64::cast_unsigned));
    Ok(Change {
        sequence: get::<i64>(row, 3)?.cast_unsigned(),
        time: time(row, 4)?,
        operation,
        resource_type: get(row, 6)?,
        resource_id: text(row, 7)?,
        version_before: version(8)?,
        version_after: version(9)?,
        actor: text(row, 10)?,
        client: get::<Option<&str>>(row, 11)?.and_then(|client| client.parse().ok()),
        request_id: text(row, 12)?,
        attributes: Changed::split(get(row, 13)?),
        members: json(row, 14)?,
        values: json(row, 15)?,
    })
}

fn json<T: DeserializeOwned>(row: &Row, column: usize) -> Result<Option<T>, Failure> {
    let text: Option<&str> = get(row, column)?;
    let parsed = text.map(serde_json::from_str).transpose();
    parsed.map_err(|error| Failure::Internal(format!("a stored change: {error}")))
}

/// Removes one small step of the rows that are not to be kept.
pub(super) async fn prune(link: &mut Link, tenant: i64, retention: Retention) -> Result<Pruned, Failure> {
    let Plan { pruned, head, target } = plan(link, tenant, retention).await?;
    // Mostly there is nothing to do, and then no writer has to wait.
    if target == pruned {
        return summary(link, tenant, pruned, head, 0, false).await;
    }
    lock(link, tenant).await?;
    let pruned = prune_some(link, tenant, retention).await;
    unlock(link, pruned).await
}

async fn prune_some(link: &mut Link, tenant: i64, retention: Retention) -> Result<Pruned, Failure> {
    let Plan { pruned, head, target } = plan(link, tenant, retention).await?;
    let now = target.min(pruned + STEP);
    let sql = "DELETE FROM scim.change WHERE tenant = $1 AND sequence > $2 AND sequence <= $3";
    link.query(sql, [tenant.into(), pruned.into(), now.into()]).await?;
    let sql = "UPDATE scim.tenant SET pruned = $2 WHERE tenant = $1";
    link.query(sql, [tenant.into(), now.into()]).await?;
    summary(link, tenant, now, head, now - pruned, target > now).await
}

/// What is there and what of it is to go: all up to `target`.
struct Plan {
    pruned: i64,
    head: i64,
    target: i64,
}

async fn plan(link: &mut Link, tenant: i64, retention: Retention) -> Result<Plan, Failure> {
    let Retention { before, max_entries } = retention;
    let sql = format!("SELECT pruned, head, ({BEFORE}) FROM scim.tenant WHERE tenant = $1 AND live");
    let rows = link.query(sql, [tenant.into(), before.as_millisecond().into()]).await?;
    let Some(row) = rows.first() else { return Err(Failure::Moved) };
    let (pruned, head): (i64, i64) = (get(row, 0)?, get(row, 1)?);
    let expired: i64 = get(row, 2)?;
    let surplus = head.cast_unsigned().saturating_sub(max_entries).cast_signed();
    Ok(Plan { pruned, head, target: expired.max(surplus).max(pruned) })
}

async fn summary(
    link: &mut Link,
    tenant: i64,
    pruned: i64,
    head: i64,
    removed: i64,
    more: bool,
) -> Result<Pruned, Failure> {
    let sql = "SELECT time FROM scim.change WHERE tenant = $1 AND sequence = $2";
    let rows = link.query(sql, [tenant.into(), (pruned + 1).into()]).await?;
    let oldest: Option<Timestamp> = rows.first().map(|row| time(row, 0)).transpose()?;
    let count = |count: i64| -> Sequence { count.max(0).cast_unsigned() };
    Ok(Pruned { removed: count(removed), entries: count(head - pruned), oldest, more })
}
