//! [`Leavers`] in PostgreSQL: the tables of what is retained and awaited. Each operation writes what waits and
//! asks: tenants without leavers never come here.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tokio_postgres::Row;

use super::failure::Failure;
use super::pool::Link;
use super::tenants::counts;
use super::transaction::PostgresTransaction;
use super::value::{Value, blob, bytes, get, limit, text, time};
use super::work::Work;
use crate::store::index::Entry;
use crate::store::lifecycle::{Leavers, RetainedRow};
use crate::store::transaction::Moved;
use crate::store::{LeaverFigures, Retained, StoreError, TenantKey};

/// What is counted beside resource types, whose names have no spaces.
pub(super) const RETAINED: &str = "retained resources";
pub(super) const PENDING: &str = "pending members";

/// The columns of [`retained_row`].
macro_rules! columns {
    () => {
        "x.key, x.type, x.id, x.version, x.created, x.deleted"
    };
}

fn retained_row(row: &Row, body: bytes::Bytes) -> Result<RetainedRow, Failure> {
    Ok(RetainedRow {
        key: get(row, 0)?,
        resource_type: get(row, 1)?,
        id: text(row, 2)?,
        version: get::<i64>(row, 3)?.cast_unsigned(),
        created: time(row, 4)?,
        deleted: time(row, 5)?,
        body,
    })
}

/// The one number of an answer, 0 when there is none.
fn number(rows: &[Row]) -> Result<i64, Failure> {
    rows.first().map_or(Ok(0), |row| get(row, 0))
}

impl Work<'_> {
    /// Runs a statement that changes rows and answers with how many.
    async fn change(&mut self, sql: &str, values: impl Into<Vec<Value>>) -> Result<i64, Failure> {
        let changed = number(&self.ask(sql, values).await?)?;
        self.changes += changed.unsigned_abs();
        Ok(changed)
    }

    async fn retain(&mut self, resource_type: &str, key: i64, names: &[Entry]) -> Result<(), Failure> {
        let retained = self.next_key();
        let attributes = names.iter().map(|name| Some(name.attribute.clone())).collect();
        let values = names.iter().map(|name| Some(bytes(&name.value))).collect();
        let sql = "WITH gone AS (
                       DELETE FROM scim.resource WHERE tenant = $1 AND key = $2
                       RETURNING type, id, version, created, body
                   ), kept AS (
                       INSERT INTO scim.retained (tenant, key, type, id, version, created, deleted, body)
                       SELECT $1, $3, type, id, version, created, $4, body FROM gone RETURNING 1
                   ), named AS (
                       INSERT INTO scim.retained_name (tenant, attribute, value, retained)
                       SELECT $1, attribute, value, $3 FROM unnest($5, $6) AS q (attribute, value)
                       ON CONFLICT DO NOTHING RETURNING 1
                   ) SELECT count(*) FROM kept";
        let now = self.now.as_millisecond();
        let values = [
            self.tenant.into(),
            key.into(),
            retained.into(),
            now.into(),
            Value::Texts(attributes),
            Value::Blobs(values),
        ];
        self.change(sql, values).await?;
        self.forget_row(key);
        self.count(resource_type, -1);
        self.count(RETAINED, 1);
        self.state.leavers = true;
        Ok(())
    }

    async fn retained(&mut self, resource_type: &str, id: &str) -> Result<Option<RetainedRow>, Failure> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            ", x.body FROM scim.retained x WHERE x.tenant = $1 AND x.type = $2 AND x.id = $3"
        );
        let found = self.ask(sql, [self.tenant.into(), resource_type.into(), Value::bytes(id)]).await?;
        found.first().map(|row| retained_row(row, blob(row, 6)?)).transpose()
    }

    async fn retained_as(&mut self, entry: &Entry, since: Timestamp) -> Result<Option<String>, Failure> {
        let sql = "SELECT x.id FROM scim.retained_name n
                   JOIN scim.retained x ON x.tenant = n.tenant AND x.key = n.retained
                   WHERE n.tenant = $1 AND n.attribute = $2 AND n.value = $3 AND x.deleted >= $4
                   ORDER BY n.retained DESC LIMIT 1";
        let values = [
            self.tenant.into(),
            entry.attribute.as_str().into(),
            Value::bytes(&entry.value),
            since.as_millisecond().into(),
        ];
        self.ask(sql, values).await?.first().map(|row| text(row, 0)).transpose()
    }

    async fn retained_before(&mut self, before: Timestamp, most: usize) -> Result<Vec<RetainedRow>, Failure> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM scim.retained x WHERE x.tenant = $1 AND x.deleted < $2 ORDER BY x.deleted, x.key LIMIT $3"
        );
        let values = [self.tenant.into(), before.as_millisecond().into(), limit(most)];
        let found = self.ask(sql, values).await?;
        found.iter().map(|row| retained_row(row, bytes::Bytes::new())).collect()
    }

    async fn drop_retained(&mut self, key: i64) -> Result<(), Failure> {
        let sql = "WITH names AS (DELETE FROM scim.retained_name WHERE tenant = $1 AND retained = $2),
                        gone AS (DELETE FROM scim.retained WHERE tenant = $1 AND key = $2 RETURNING 1)
                   SELECT count(*) FROM gone";
        self.change(sql, [self.tenant.into(), key.into()]).await?;
        self.count(RETAINED, -1);
        Ok(())
    }

    async fn touch(&mut self, key: i64) -> Result<Vec<Moved>, Failure> {
        let sql =
            "UPDATE scim.resource SET version = version + 1, last_modified = greatest(last_modified, $3)
                   WHERE tenant = $1 AND key = $2 RETURNING key, type, id, version, last_modified";
        let now = self.now.as_millisecond();
        let found = self.ask(sql, [self.tenant.into(), key.into(), now.into()]).await?;
        self.moved(&found)
    }

    async fn keep_memberships(&mut self, key: i64) -> Result<(), Failure> {
        let sql = "WITH kept AS (
                       INSERT INTO scim.awaited (tenant, \"group\", member, former)
                       SELECT $1, g.id, r.id, TRUE FROM scim.member m
                       JOIN scim.resource g ON g.tenant = $1 AND g.key = m.\"group\"
                       JOIN scim.resource r ON r.tenant = $1 AND r.key = m.member
                       WHERE m.tenant = $1 AND (m.member = $2 OR m.\"group\" = $2)
                       ON CONFLICT DO NOTHING RETURNING 1
                   ) SELECT count(*) FROM kept";
        self.change(sql, [self.tenant.into(), key.into()]).await.map(drop)
    }

    async fn await_member(&mut self, group: &str, member: &str) -> Result<bool, Failure> {
        let sql = "WITH added AS (
                       INSERT INTO scim.awaited (tenant, \"group\", member, former) VALUES ($1, $2, $3, FALSE)
                       ON CONFLICT DO NOTHING RETURNING 1
                   ) SELECT count(*) FROM added";
        let added = self.change(sql, [self.tenant.into(), Value::bytes(group), Value::bytes(member)]).await?;
        self.count(PENDING, added);
        self.state.leavers = true;
        Ok(added == 1)
    }

    async fn forget_member(&mut self, group: &str, member: &str) -> Result<bool, Failure> {
        let sql = "WITH gone AS (
                       DELETE FROM scim.awaited WHERE tenant = $1 AND \"group\" = $2 AND member = $3
                       RETURNING former
                   ) SELECT count(*) FILTER (WHERE NOT former) FROM gone";
        // One that was a member once is no news, and a change all the same.
        self.changes += 1;
        let pending =
            self.change(sql, [self.tenant.into(), Value::bytes(group), Value::bytes(member)]).await?;
        self.count(PENDING, -pending);
        Ok(pending == 1)
    }

    async fn forget_groups(&mut self, member: &str) -> Result<(), Failure> {
        let sql = "WITH gone AS (
                       DELETE FROM scim.awaited a WHERE a.tenant = $1 AND a.member = $2 AND NOT EXISTS
                           (SELECT 1 FROM scim.resource r
                            WHERE r.tenant = $1 AND r.type = 'Group' AND r.id = a.\"group\") RETURNING 1
                   ) SELECT count(*) FROM gone";
        self.change(sql, [self.tenant.into(), Value::bytes(member)]).await.map(drop)
    }

    async fn forget_traces(&mut self, id: &str, counted: bool, most: usize) -> Result<usize, Failure> {
        let former = "WITH old AS (
                          SELECT \"group\", member FROM scim.awaited
                          WHERE tenant = $1 AND former AND (\"group\" = $2 OR member = $2) LIMIT $3
                      ), gone AS (
                          DELETE FROM scim.awaited a USING old WHERE a.tenant = $1 AND a.former
                          AND a.\"group\" = old.\"group\" AND a.member = old.member RETURNING 1
                      ) SELECT count(*) FROM gone";
        let pending = "WITH old AS (
                           SELECT member FROM scim.awaited
                           WHERE tenant = $1 AND NOT former AND \"group\" = $2 LIMIT $3
                       ), gone AS (
                           DELETE FROM scim.awaited a USING old WHERE a.tenant = $1 AND NOT a.former
                           AND a.\"group\" = $2 AND a.member = old.member RETURNING 1
                       ) SELECT count(*) FROM gone";
        let former = self.change(former, [self.tenant.into(), Value::bytes(id), limit(most)]).await?;
        let former = usize::try_from(former).unwrap_or(0);
        let left = limit(most.saturating_sub(former));
        let pending = self.change(pending, [self.tenant.into(), Value::bytes(id), left]).await?;
        if counted {
            self.count(PENDING, -pending);
        }
        Ok(former + usize::try_from(pending).unwrap_or(0))
    }

    async fn count_pending(&mut self, group: &str, there: bool) -> Result<(), Failure> {
        let sql = "SELECT count(*) FROM scim.awaited WHERE tenant = $1 AND \"group\" = $2 AND NOT former";
        let pending = number(&self.ask(sql, [self.tenant.into(), Value::bytes(group)]).await?)?;
        self.count(PENDING, if there { pending } else { -pending });
        Ok(())
    }

    async fn awaited_of(&mut self, group: &str) -> Result<Vec<String>, Failure> {
        let sql = "SELECT DISTINCT member FROM scim.awaited WHERE tenant = $1 AND \"group\" = $2";
        let found = self.ask(sql, [self.tenant.into(), Value::bytes(group)]).await?;
        found.iter().map(|row| text(row, 0)).collect()
    }

    async fn awaiting(&mut self, member: &str) -> Result<Vec<(String, i64)>, Failure> {
        let sql = "SELECT DISTINCT a.\"group\", r.key FROM scim.awaited a
                   JOIN scim.resource r ON r.tenant = $1 AND r.type = 'Group' AND r.id = a.\"group\"
                   WHERE a.tenant = $1 AND a.member = $2";
        let found = self.ask(sql, [self.tenant.into(), Value::bytes(member)]).await?;
        found.iter().map(|row| Ok((text(row, 0)?, get(row, 1)?))).collect()
    }

    async fn known_as(&mut self, external_id: &str) -> Result<Vec<i64>, Failure> {
        let sql = "SELECT resource FROM scim.lookup WHERE tenant = $1
                   AND attribute IN ('User.externalId', 'Group.externalId',
                       'User.externalId#exact#unique', 'Group.externalId#exact#unique')
                   AND value = $2 LIMIT 2";
        let key = crate::store::index::key(external_id, true);
        let found = self.ask(sql, [self.tenant.into(), Value::bytes(&key)]).await?;
        found.iter().map(|row| get(row, 0)).collect()
    }
}

impl Leavers for PostgresTransaction<'_, '_> {
    fn has_leavers(&self) -> bool {
        self.work.state.leavers
    }

    async fn retain(&mut self, resource_type: &str, key: i64, names: &[Entry]) -> Result<(), StoreError> {
        let done = self.work.retain(resource_type, key, names).await;
        self.done(done)
    }

    async fn retained(&mut self, resource_type: &str, id: &str) -> Result<Option<RetainedRow>, StoreError> {
        let found = self.work.retained(resource_type, id).await;
        self.done(found)
    }

    async fn retained_as(&mut self, entry: &Entry, since: Timestamp) -> Result<Option<String>, StoreError> {
        let found = self.work.retained_as(entry, since).await;
        self.done(found)
    }

    async fn retained_before(
        &mut self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<RetainedRow>, StoreError> {
        let found = self.work.retained_before(before, limit).await;
        self.done(found)
    }

    async fn drop_retained(&mut self, key: i64) -> Result<(), StoreError> {
        let done = self.work.drop_retained(key).await;
        self.done(done)
    }

    async fn touch(&mut self, key: i64) -> Result<Vec<Moved>, StoreError> {
        let moved = self.work.touch(key).await;
        self.done(moved)
    }

    async fn keep_memberships(&mut self, key: i64) -> Result<(), StoreError> {
        let done = self.work.keep_memberships(key).await;
        self.done(done)
    }

    async fn await_member(&mut self, group: &str, member: &str) -> Result<bool, StoreError> {
        let done = self.work.await_member(group, member).await;
        self.done(done)
    }

    async fn forget_member(&mut self, group: &str, member: &str) -> Result<bool, StoreError> {
        let done = self.work.forget_member(group, member).await;
        self.done(done)
    }

    async fn forget_groups(&mut self, member: &str) -> Result<(), StoreError> {
        let done = self.work.forget_groups(member).await;
        self.done(done)
    }

    async fn forget_traces(&mut self, id: &str, counted: bool, limit: usize) -> Result<usize, StoreError> {
        let done = self.work.forget_traces(id, counted, limit).await;
        self.done(done)
    }

    async fn count_pending(&mut self, group: &str, there: bool) -> Result<(), StoreError> {
        let done = self.work.count_pending(group, there).await;
        self.done(done)
    }

    async fn awaited_of(&mut self, group: &str) -> Result<Vec<String>, StoreError> {
        let found = self.work.awaited_of(group).await;
        self.done(found)
    }

    async fn awaiting(&mut self, member: &str) -> Result<Vec<(String, i64)>, StoreError> {
        let found = self.work.awaiting(member).await;
        self.done(found)
    }

    async fn known_as(&mut self, external_id: &str) -> Result<Vec<i64>, StoreError> {
        let found = self.work.known_as(external_id).await;
        self.done(found)
    }
}

/// A tenant's retained resources in the order of deletion, after a position.
pub(super) async fn list(
    link: &mut Link,
    tenant: i64,
    after: i64,
    most: usize,
) -> Result<Vec<Retained>, Failure> {
    let sql = "SELECT x.key, x.type, x.id, x.deleted, x.body FROM scim.retained x
               JOIN scim.tenant t ON t.tenant = x.tenant AND t.live
               WHERE x.tenant = $1 AND x.key > $2 ORDER BY x.key LIMIT $3";
    let found = link.query(sql, [tenant.into(), after.into(), limit(most)]).await?;
    let retained = |row: &Row| {
        Ok(Retained {
            position: get(row, 0)?,
            resource_type: get(row, 1)?,
            id: text(row, 2)?,
            deleted: time(row, 3)?,
            body: blob(row, 4)?,
        })
    };
    found.iter().map(retained).collect()
}

/// The figures of the tenants that have any.
pub(super) async fn figures(link: &mut Link) -> Result<Vec<LeaverFigures>, Failure> {
    let sql = "SELECT t.name, t.counts,
                   (SELECT min(x.deleted) FROM scim.retained x WHERE x.tenant = t.tenant)
               FROM scim.tenant t WHERE t.leavers AND t.live ORDER BY t.name COLLATE \"C\"";
    let mut figures = Vec::new();
    for row in &link.query(sql, []).await? {
        let counts: BTreeMap<String, i64> = counts(get(row, 1)?)?;
        let count = |name| counts.get(name).copied().unwrap_or(0).max(0).cast_unsigned();
        let (retained, pending) = (count(RETAINED), count(PENDING));
        if retained == 0 && pending == 0 {
            continue;
        }
        let tenant = TenantKey(get::<&str>(row, 0)?.into());
        let oldest = get::<Option<i64>>(row, 2)?.map(|_| time(row, 2)).transpose()?;
        figures.push(LeaverFigures { tenant, retained, oldest, pending });
    }
    Ok(figures)
}
