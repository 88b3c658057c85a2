//! [`Transaction`] on a SQLite connection: one tenant's row operations inside the writer's open
//! transaction. Every future here is ready at once; [`ready`] drives them.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::anchors::Anchors;
use super::batch::Index;
use super::changes::{self, Head};
use super::failure::{Sql, failed};
use super::rows;
use super::shape::Types;
use crate::scim::member::{GroupRef, Member};
use crate::scim::resource::Attributes;
use crate::scim::schema::ResourceType;
use crate::store::audit;
use crate::store::index::{self, Entry};
use crate::store::transaction::{Content, Moved, Row, Transaction};
use crate::store::{Origin, StoreError};

/// One tenant's part of the open transaction.
pub(super) struct SqliteTransaction<'c> {
    pub(super) connection: &'c Connection,
    pub(super) tenant: i64,
    pub(super) now: Timestamp,
    origin: &'c Origin,
    /// The tenant's types as they are by now, where it has schemas of its own.
    types: Option<Types>,
    /// The tenant's newest row of the audit log.
    pub head: Head,
    /// The tenants that may have retained resources or awaited members.
    pub(super) leavers: &'c RefCell<HashSet<i64>>,
    anchors: &'c Anchors,
    /// How the number of resources of each type moves, written once before the commit.
    pub counts: HashMap<String, i64>,
}

impl<'c> SqliteTransaction<'c> {
    pub(super) fn new(
        connection: &'c Connection,
        tenant: i64,
        now: Timestamp,
        origin: &'c Origin,
        types: Option<Types>,
        head: Head,
        index: Index<'c>,
    ) -> Self {
        let Index { leavers, anchors } = index;
        Self { connection, tenant, now, origin, types, head, leavers, anchors, counts: HashMap::new() }
    }

    pub(super) fn count(&mut self, resource_type: &str, by: i64) {
        match self.counts.get_mut(resource_type) {
            Some(count) => *count += by,
            None => {
                self.counts.insert(resource_type.to_owned(), by);
            }
        }
    }

    /// Removes a resource's row.
    pub(super) fn remove_row(&mut self, resource_type: &str, key: i64) -> Result<(), StoreError> {
        self.anchors.removed(self.tenant, resource_type);
        self.run("DELETE FROM resource WHERE key = ?1", [key])?;
        self.count(resource_type, -1);
        Ok(())
    }

    pub(super) fn run(&self, sql: &str, params: impl rusqlite::Params) -> Result<usize, StoreError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params))
            .map_err(failed)
    }

    /// The resources that an UPDATE has moved, ordered by id.
    pub(super) fn moved(&self, sql: &str, params: impl rusqlite::Params) -> Result<Vec<Moved>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let moved = statement.query_map(params, |row| {
            let version = row.get::<_, i64>(2)?.cast_unsigned();
            Ok(Moved { resource_type: row.get(0)?, id: row.get(1)?, version })
        });
        let mut moved = moved.and_then(Iterator::collect::<Sql<Vec<_>>>).map_err(failed)?;
        moved.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(moved)
    }

    pub(super) fn one<T: rusqlite::types::FromSql>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        statement.query_row(params, |row| row.get(0)).optional().map_err(failed)
    }
}

impl Transaction for SqliteTransaction<'_> {
    fn now(&self) -> Timestamp {
        self.now
    }

    async fn find(&mut self, resource_type: &str, id: &str) -> Result<Option<Row>, StoreError> {
        rows::find(self.connection, self.tenant, resource_type, id).map(|found| found.map(|(row, _)| row))
    }

    async fn insert(
        &mut self,
        resource_type: &str,
        id: &str,
        version: u64,
        created: Timestamp,
        content: &Content,
    ) -> Result<i64, StoreError> {
        self.anchors.added(self.tenant, resource_type, id);
        let (version, created) = (version.cast_signed(), created.as_millisecond());
        let now = self.now.as_millisecond();
        self.run(
            "INSERT INTO resource (tenant, type, id, version, created, last_modified, display, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                self.tenant,
                resource_type,
                id,
                version,
                created,
                now,
                content.display,
                &content.body[..]
            ],
        )?;
        self.count(resource_type, 1);
        Ok(self.connection.last_insert_rowid())
    }

    async fn update(
        &mut self,
        key: i64,
        version: u64,
        last_modified: Timestamp,
        content: Option<&Content>,
    ) -> Result<(), StoreError> {
        let version = version.cast_signed();
        let time = last_modified.as_millisecond();
        match content {
            Some(Content { display, body }) => self.run(
                "UPDATE resource SET version = ?2, last_modified = ?3, display = ?4, body = ?5 WHERE key = ?1",
                params![key, version, time, display, &body[..]],
            )?,
            None => self.run(
                "UPDATE resource SET version = ?2, last_modified = ?3 WHERE key = ?1",
                params![key, version, time],
            )?,
        };
        Ok(())
    }

    async fn delete(&mut self, resource_type: &str, key: i64) -> Result<(), StoreError> {
        self.remove_row(resource_type, key)
    }

    fn entries(&self, resource_type: &Arc<ResourceType>, attributes: &Attributes) -> Vec<Entry> {
        let newer = self.types.as_ref().and_then(|types| types.get(&resource_type.name));
        match newer.filter(|newer| !Arc::ptr_eq(newer, resource_type)) {
            None => index::entries(resource_type, attributes),
            Some(newer) => index::entries_by(&[Arc::clone(newer), Arc::clone(resource_type)], attributes),
        }
    }

    async fn owner(&mut self, entry: &Entry) -> Result<Option<String>, StoreError> {
        self.one(
            "SELECT r.id FROM lookup l JOIN resource r ON r.key = l.resource
             WHERE l.tenant = ?1 AND l.attribute = ?2 AND l.value = ?3 ORDER BY l.slot LIMIT 1",
            params![self.tenant, entry.attribute, entry.value],
        )
    }

    async fn add_entry(&mut self, key: i64, entry: &Entry) -> Result<bool, StoreError> {
        let slot = if entry.unique { 0 } else { key };
        let added = self.run(
            "INSERT INTO lookup (tenant, attribute, value, slot, resource) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO NOTHING",
            params![self.tenant, entry.attribute, entry.value, slot, key],
        )?;
        Ok(added == 1)
    }

    async fn remove_entry(&mut self, key: i64, entry: &Entry) -> Result<(), StoreError> {
        // A value that must be unique may be another's as well, from a time when it need not.
        let sql = if entry.unique {
            "DELETE FROM lookup WHERE tenant = ?1 AND attribute = ?2 AND value = ?3 AND slot IN (0, ?4) AND resource = ?4"
        } else {
            "DELETE FROM lookup WHERE tenant = ?1 AND attribute = ?2 AND value = ?3 AND slot = ?4"
        };
        self.run(sql, params![self.tenant, entry.attribute, entry.value, key])?;
        Ok(())
    }

    async fn id(&mut self, key: i64) -> Result<Option<String>, StoreError> {
        self.one("SELECT id FROM resource WHERE key = ?1", [key])
    }

    async fn member_key(&mut self, id: &str) -> Result<Option<i64>, StoreError> {
        self.one(
            "SELECT key FROM resource WHERE tenant = ?1 AND type IN ('User', 'Group') AND id = ?2",
            params![self.tenant, id],
        )
    }

    async fn add_member(&mut self, group: i64, member: i64) -> Result<bool, StoreError> {
        let added = self.run(
            "INSERT INTO member (tenant, \"group\", member) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            params![self.tenant, group, member],
        )?;
        Ok(added == 1)
    }

    async fn remove_member(&mut self, group: i64, member: i64) -> Result<bool, StoreError> {
        let removed = self.run(
            "DELETE FROM member WHERE tenant = ?1 AND \"group\" = ?2 AND member = ?3",
            params![self.tenant, group, member],
        )?;
        Ok(removed == 1)
    }

    async fn member_keys(&mut self, group: i64) -> Result<Vec<i64>, StoreError> {
        let sql = "SELECT member FROM member WHERE tenant = ?1 AND \"group\" = ?2 ORDER BY member";
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let keys = statement.query_map(params![self.tenant, group], |row| row.get(0)).map_err(failed)?;
        keys.collect::<Sql<_>>().map_err(failed)
    }

    async fn members(
        &mut self,
        group: i64,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(i64, Member)>, StoreError> {
        rows::members(self.connection, self.tenant, group, after, limit).map_err(failed)
    }

    async fn groups(&mut self, key: i64) -> Result<Vec<GroupRef>, StoreError> {
        rows::groups(self.connection, self.tenant, key).map_err(failed)
    }

    async fn leave_groups(&mut self, key: i64) -> Result<Vec<Moved>, StoreError> {
        let moved = self.moved(
            "UPDATE resource SET version = version + 1, last_modified = max(last_modified, ?3)
             WHERE key IN (SELECT \"group\" FROM member WHERE tenant = ?1 AND member = ?2)
             RETURNING type, id, version",
            params![self.tenant, key, self.now.as_millisecond()],
        )?;
        if !moved.is_empty() {
            self.run("DELETE FROM member WHERE tenant = ?1 AND member = ?2", params![self.tenant, key])?;
        }
        Ok(moved)
    }

    async fn touch_groups(&mut self, key: i64) -> Result<Vec<Moved>, StoreError> {
        self.moved(
            "UPDATE resource SET version = version + 1
             WHERE key IN (SELECT \"group\" FROM member WHERE tenant = ?1 AND member = ?2)
             RETURNING type, id, version",
            params![self.tenant, key],
        )
    }

    async fn record(&mut self, entry: audit::Entry<'_>) -> Result<(), StoreError> {
        self.head = changes::append(self.connection, self.tenant, self.head, self.now, self.origin, &entry)?;
        Ok(())
    }
}

/// The result of a future that never waits.
pub(super) fn ready<F: Future>(future: F) -> Result<F::Output, StoreError> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Ok(output),
        Poll::Pending => Err(StoreError::Internal("a SQLite transaction waited".into())),
    }
}
