//! [`Leavers`] on a SQLite connection: the tables of what is retained and awaited.

use std::collections::HashSet;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::failure::{Sql, failed};
use super::rows::time;
use super::transaction::SqliteTransaction;
use crate::store::index::Entry;
use crate::store::lifecycle::{Leavers, RetainedRow};
use crate::store::transaction::Moved;
use crate::store::{LeaverFigures, Retained, StoreError, TenantKey};

/// What [`super::rows::count`] counts under beside resource types, whose names have no spaces.
const RETAINED: &str = "retained resources";
const PENDING: &str = "pending members";

/// The columns of [`retained_row`].
macro_rules! columns {
    () => {
        "x.key, x.type, x.id, x.version, x.created, x.deleted"
    };
}

fn retained_row(row: &rusqlite::Row<'_>, body: Vec<u8>) -> Sql<RetainedRow> {
    Ok(RetainedRow {
        key: row.get(0)?,
        resource_type: row.get(1)?,
        id: row.get(2)?,
        version: row.get::<_, i64>(3)?.cast_unsigned(),
        created: time(row, 4)?,
        deleted: time(row, 5)?,
        body: body.into(),
    })
}

/// A limit as SQL has it.
fn sql_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

impl SqliteTransaction<'_> {
    fn count_rows(&mut self, name: &str, rows: usize, add: bool) {
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        if rows != 0 {
            self.count(name, if add { rows } else { -rows });
        }
    }

    fn strings(&self, sql: &str, text: &str) -> Result<Vec<String>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let found = statement.query_map(params![self.tenant, text], |row| row.get(0)).map_err(failed)?;
        found.collect::<Sql<_>>().map_err(failed)
    }
}

impl Leavers for SqliteTransaction<'_> {
    fn has_leavers(&self) -> bool {
        self.leavers.borrow().contains(&self.tenant)
    }

    async fn retain(&mut self, resource_type: &str, key: i64, names: &[Entry]) -> Result<(), StoreError> {
        self.run(
            "INSERT INTO retained (tenant, type, id, version, created, deleted, body)
             SELECT tenant, type, id, version, created, ?2, body FROM resource WHERE key = ?1",
            params![key, self.now.as_millisecond()],
        )?;
        let retained = self.connection.last_insert_rowid();
        for Entry { attribute, value, unique: _ } in names {
            self.run(
                "INSERT INTO retained_name (tenant, attribute, value, retained) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO NOTHING",
                params![self.tenant, attribute, value, retained],
            )?;
        }
        self.remove_row(resource_type, key)?;
        self.count(RETAINED, 1);
        self.leavers.borrow_mut().insert(self.tenant);
        Ok(())
    }

    async fn retained(&mut self, resource_type: &str, id: &str) -> Result<Option<RetainedRow>, StoreError> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            ", x.body FROM retained x WHERE x.tenant = ?1 AND x.type = ?2 AND x.id = ?3"
        );
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let found = statement
            .query_row(params![self.tenant, resource_type, id], |row| retained_row(row, row.get(6)?));
        found.optional().map_err(failed)
    }

    async fn retained_as(&mut self, entry: &Entry, since: Timestamp) -> Result<Option<String>, StoreError> {
        self.one(
            "SELECT x.id FROM retained_name n JOIN retained x ON x.key = n.retained
             WHERE n.tenant = ?1 AND n.attribute = ?2 AND n.value = ?3 AND x.deleted >= ?4
             ORDER BY n.retained DESC LIMIT 1",
            params![self.tenant, entry.attribute, entry.value, since.as_millisecond()],
        )
    }

    async fn retained_before(
        &mut self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<RetainedRow>, StoreError> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM retained x WHERE x.tenant = ?1 AND x.deleted < ?2 ORDER BY x.deleted LIMIT ?3"
        );
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let rows = statement
            .query_map(params![self.tenant, before.as_millisecond(), sql_limit(limit)], |row| {
                retained_row(row, Vec::new())
            })
            .map_err(failed)?;
        rows.collect::<Sql<_>>().map_err(failed)
    }

    async fn drop_retained(&mut self, key: i64) -> Result<(), StoreError> {
        self.run("DELETE FROM retained_name WHERE retained = ?1", [key])?;
        self.run("DELETE FROM retained WHERE key = ?1", [key])?;
        self.count(RETAINED, -1);
        Ok(())
    }

    async fn touch(&mut self, key: i64) -> Result<Vec<Moved>, StoreError> {
        self.moved(
            "UPDATE resource SET version = version + 1, last_modified = max(last_modified, ?2) WHERE key = ?1
             RETURNING type, id, version",
            params![key, self.now.as_millisecond()],
        )
    }

    async fn keep_memberships(&mut self, key: i64) -> Result<(), StoreError> {
        for column in ["member", "\"group\""] {
            self.run(
                &format!(
                    "INSERT INTO awaited (tenant, \"group\", member, former)
                     SELECT ?1, g.id, r.id, 1 FROM member m
                     JOIN resource g ON g.key = m.\"group\" JOIN resource r ON r.key = m.member
                     WHERE m.tenant = ?1 AND m.{column} = ?2 ON CONFLICT DO NOTHING"
                ),
                params![self.tenant, key],
            )?;
        }
        Ok(())
    }

    async fn await_member(&mut self, group: &str, member: &str) -> Result<bool, StoreError> {
        let added = self.run(
            "INSERT INTO awaited (tenant, \"group\", member, former) VALUES (?1, ?2, ?3, 0)
             ON CONFLICT DO NOTHING",
            params![self.tenant, group, member],
        )?;
        self.count_rows(PENDING, added, true);
        self.leavers.borrow_mut().insert(self.tenant);
        Ok(added == 1)
    }

    async fn forget_member(&mut self, group: &str, member: &str) -> Result<bool, StoreError> {
        let sql = "DELETE FROM awaited WHERE tenant = ?1 AND \"group\" = ?2 AND member = ?3 AND former = ?4";
        self.run(sql, params![self.tenant, group, member, true])?;
        let pending = self.run(sql, params![self.tenant, group, member, false])?;
        self.count_rows(PENDING, pending, false);
        Ok(pending == 1)
    }

    async fn forget_groups(&mut self, member: &str) -> Result<(), StoreError> {
        self.run(
            "DELETE FROM awaited WHERE tenant = ?1 AND member = ?2 AND NOT EXISTS
                 (SELECT 1 FROM resource r
                  WHERE r.tenant = ?1 AND r.type = 'Group' AND r.id = awaited.\"group\")",
            params![self.tenant, member],
        )?;
        Ok(())
    }

    async fn forget_traces(&mut self, id: &str, counted: bool, limit: usize) -> Result<usize, StoreError> {
        let former = self.run(
            "DELETE FROM awaited WHERE tenant = ?1 AND former = 1 AND (\"group\", member) IN
                 (SELECT \"group\", member FROM awaited
                  WHERE tenant = ?1 AND former = 1 AND (\"group\" = ?2 OR member = ?2) LIMIT ?3)",
            params![self.tenant, id, sql_limit(limit)],
        )?;
        let pending = self.run(
            "DELETE FROM awaited WHERE tenant = ?1 AND \"group\" = ?2 AND former = 0 AND member IN
                 (SELECT member FROM awaited WHERE tenant = ?1 AND \"group\" = ?2 AND former = 0 LIMIT ?3)",
            params![self.tenant, id, sql_limit(limit.saturating_sub(former))],
        )?;
        if counted {
            self.count_rows(PENDING, pending, false);
        }
        Ok(former + pending)
    }

    async fn count_pending(&mut self, group: &str, there: bool) -> Result<(), StoreError> {
        let pending: Option<i64> = self.one(
            "SELECT count(*) FROM awaited WHERE tenant = ?1 AND \"group\" = ?2 AND former = 0",
            params![self.tenant, group],
        )?;
        let pending = pending.unwrap_or(0);
        self.count(PENDING, if there { pending } else { -pending });
        Ok(())
    }

    async fn awaited_of(&mut self, group: &str) -> Result<Vec<String>, StoreError> {
        self.strings("SELECT DISTINCT member FROM awaited WHERE tenant = ?1 AND \"group\" = ?2", group)
    }

    async fn awaiting(&mut self, member: &str) -> Result<Vec<(String, i64)>, StoreError> {
        let sql = "SELECT DISTINCT a.\"group\", r.key FROM awaited a
                   JOIN resource r ON r.tenant = ?1 AND r.type = 'Group' AND r.id = a.\"group\"
                   WHERE a.tenant = ?1 AND a.member = ?2";
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let found = statement
            .query_map(params![self.tenant, member], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(failed)?;
        found.collect::<Sql<_>>().map_err(failed)
    }

    async fn known_as(&mut self, external_id: &str) -> Result<Vec<i64>, StoreError> {
        let sql = "SELECT resource FROM lookup WHERE tenant = ?1
                   AND attribute IN ('User.externalId', 'Group.externalId',
                       'User.externalId#exact#unique', 'Group.externalId#exact#unique')
                   AND value = ?2 LIMIT 2";
        let key = crate::store::index::key(external_id, true);
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let found = statement.query_map(params![self.tenant, key], |row| row.get(0)).map_err(failed)?;
        found.collect::<Sql<_>>().map_err(failed)
    }
}

/// The tenants that have retained resources or awaited members.
pub(super) fn tenants(connection: &Connection) -> Sql<HashSet<i64>> {
    let mut statement = connection.prepare(
        "SELECT key FROM tenant t WHERE EXISTS (SELECT 1 FROM awaited a WHERE a.tenant = t.key)
         OR EXISTS (SELECT 1 FROM retained x WHERE x.tenant = t.key)",
    )?;
    let found = statement.query_map([], |row| row.get(0))?;
    found.collect()
}

/// Counts what a tenant has of both, anew.
pub(super) fn count_all(connection: &Connection, tenant: i64) -> Sql<()> {
    let retained = "SELECT count(*) FROM retained WHERE tenant = ?1";
    let pending = "SELECT count(*) FROM awaited a WHERE a.tenant = ?1 AND a.former = 0 AND EXISTS
                       (SELECT 1 FROM resource r WHERE r.tenant = ?1 AND r.type = 'Group' AND r.id = a.\"group\")";
    for (name, sql) in [(RETAINED, retained), (PENDING, pending)] {
        let count: i64 = connection.query_row(sql, [tenant], |row| row.get(0))?;
        if count > 0 {
            let sql = "INSERT INTO counter (tenant, type, n) VALUES (?1, ?2, ?3)";
            connection.execute(sql, params![tenant, name, count])?;
        }
    }
    Ok(())
}

/// A tenant's retained resources in the order of deletion, after a position.
pub(super) fn list(connection: &Connection, tenant: i64, after: i64, limit: usize) -> Sql<Vec<Retained>> {
    let mut statement = connection.prepare_cached(
        "SELECT key, type, id, deleted, body FROM retained
         WHERE tenant = ?1 AND key > ?2 ORDER BY key LIMIT ?3",
    )?;
    let found = statement.query_map(params![tenant, after, sql_limit(limit)], |row| {
        Ok(Retained {
            position: row.get(0)?,
            resource_type: row.get(1)?,
            id: row.get(2)?,
            deleted: time(row, 3)?,
            body: row.get::<_, Vec<u8>>(4)?.into(),
        })
    })?;
    found.collect()
}

/// The figures of the tenants that have any.
pub(super) fn figures(connection: &Connection) -> Sql<Vec<LeaverFigures>> {
    let mut statement = connection.prepare_cached(
        "SELECT t.name, sum(CASE c.type WHEN ?1 THEN c.n ELSE 0 END), sum(CASE c.type WHEN ?2 THEN c.n ELSE 0 END),
                (SELECT min(x.deleted) FROM retained x WHERE x.tenant = t.key)
         FROM counter c JOIN tenant t ON t.key = c.tenant
         WHERE c.type IN (?1, ?2) AND c.n > 0 AND t.name IS NOT NULL GROUP BY t.key ORDER BY t.name",
    )?;
    let found = statement.query_map([RETAINED, PENDING], |row| {
        let name: String = row.get(0)?;
        let oldest: Option<i64> = row.get(3)?;
        Ok(LeaverFigures {
            tenant: TenantKey(name.into()),
            retained: row.get::<_, i64>(1)?.cast_unsigned(),
            pending: row.get::<_, i64>(2)?.cast_unsigned(),
            oldest: oldest.map(|_| time(row, 3)).transpose()?,
        })
    })?;
    found.collect()
}
