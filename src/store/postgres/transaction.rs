//! [`Transaction`] in PostgreSQL: one unit's row operations on what the transaction knows ([`Work`]), asking the
//! database only for what was not fetched before.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use tokio_postgres::Row as Found;

use super::failure::Failure;
use super::rows;
use super::value::{Value, bytes, get, limit, optional_text, text};
use super::work::{ChangeRow, Known, Name, Roll, Work, columns};
use crate::scim::member::{GroupRef, Member};
use crate::scim::resource::Attributes;
use crate::scim::schema::ResourceType;
use crate::store::audit;
use crate::store::index::Entry;
use crate::store::transaction::{Content, Moved, Row, Transaction};
use crate::store::{Origin, StoreError};

/// One unit's part of the open transaction.
pub(super) struct PostgresTransaction<'t, 'l> {
    pub work: &'t mut Work<'l>,
    pub origin: &'t Origin,
}

impl PostgresTransaction<'_, '_> {
    /// The result of work, as the trait has it; what went wrong is kept for whoever runs the batch.
    pub(super) fn done<T>(&mut self, result: Result<T, Failure>) -> Result<T, StoreError> {
        result.map_err(|failure| {
            self.work.failure = Some(failure.clone());
            failure.into()
        })
    }
}

impl Work<'_> {
    /// Asks the database after writing what waits.
    pub(super) async fn ask(
        &mut self,
        sql: &str,
        values: impl Into<Vec<Value>>,
    ) -> Result<Vec<Found>, Failure> {
        self.flush().await?;
        self.link.query(sql, values).await
    }

    /// The key of the resource of a type and id.
    pub(super) async fn locate(&mut self, resource_type: &str, id: &str) -> Result<Option<i64>, Failure> {
        let name: Name = (resource_type.to_owned(), id.to_owned());
        if let Some(key) = self.rows.get(&name) {
            return Ok(*key);
        }
        let sql = concat!(
            "SELECT ",
            columns!("TRUE"),
            " FROM scim.resource r WHERE r.tenant = $1 AND r.type = $2 AND r.id = $3"
        );
        let found =
            self.link.query(sql, [self.tenant.into(), resource_type.into(), Value::bytes(id)]).await?;
        if let Some(row) = found.first() {
            return self.learn(row).map(Some);
        }
        self.rows.insert(name, None);
        Ok(None)
    }

    /// What is known of the resource of a key, which is there.
    pub(super) async fn row(&mut self, key: i64, with_body: bool) -> Result<&Known, Failure> {
        let enough = self.known.get(&key).is_some_and(|known| known.body.is_some() || !with_body);
        if !enough {
            let sql = concat!(
                "SELECT ",
                columns!("TRUE"),
                " FROM scim.resource r WHERE r.tenant = $1 AND r.key = $2"
            );
            let found = self.ask(sql, [self.tenant.into(), key.into()]).await?;
            if let Some(row) = found.first() {
                self.learn(row)?;
            }
        }
        self.known.get(&key).ok_or_else(|| Failure::Internal(format!("there is no resource {key}")))
    }

    /// All slots of a unique entry, and whose they are.
    async fn owners(&mut self, entry: &Entry) -> Result<&mut BTreeMap<i64, i64>, Failure> {
        let name = (entry.attribute.clone(), entry.value.clone());
        if !self.owners.contains_key(&name) {
            let sql = "SELECT attribute, value, slot, resource FROM scim.lookup
                       WHERE tenant = $1 AND attribute = $2 AND value = $3";
            let values = [self.tenant.into(), name.0.as_str().into(), Value::bytes(&name.1)];
            let found = self.ask(sql, values).await?;
            self.learn_owners([name.clone()], &found)?;
        }
        Ok(self.owners.entry(name).or_default())
    }

    /// Whether a resource is a member of a group.
    async fn is_member(&mut self, group: i64, member: i64) -> Result<bool, Failure> {
        if let Some(roll) = self.rolls.get(&group) {
            match roll.known.get(&member) {
                Some(known) => return Ok(*known),
                None if roll.complete => return Ok(false),
                None => {}
            }
        }
        let sql = "SELECT 1 FROM scim.member WHERE tenant = $1 AND \"group\" = $2 AND member = $3";
        let found = self.ask(sql, [self.tenant.into(), group.into(), member.into()]).await?;
        self.rolls.entry(group).or_default().known.insert(member, !found.is_empty());
        Ok(!found.is_empty())
    }

    /// Sets a resource's membership; false when it was so.
    pub(super) async fn set_member(&mut self, group: i64, member: i64, to: bool) -> Result<bool, Failure> {
        if self.is_member(group, member).await? == to {
            return Ok(false);
        }
        self.changes += 1;
        self.rolls.entry(group).or_default().known.insert(member, to);
        self.groups.clear();
        let pair = (group, member);
        let pending = &mut self.pending;
        if to {
            self.joined.insert(member);
            if !pending.members_removed.remove(&pair) {
                pending.members_added.insert(pair);
            }
        } else if !pending.members_added.remove(&pair) {
            pending.members_removed.insert(pair);
        }
        Ok(true)
    }

    fn add_entry(&mut self, key: i64, entry: &Entry, slot: i64) {
        self.changes += 1;
        let name = (entry.attribute.clone(), entry.value.clone());
        if let Some(owners) = self.owners.get_mut(&name) {
            owners.insert(slot, key);
        }
        if !self.pending.entries_removed.remove(&(name.clone(), slot, key)) {
            self.pending.entries_added.insert((name, slot), key);
        }
    }

    fn remove_entry(&mut self, key: i64, entry: &Entry) {
        self.changes += 1;
        let name = (entry.attribute.clone(), entry.value.clone());
        let owners = self.owners.get_mut(&name);
        let slots: Vec<i64> = match &owners {
            // A value that must be unique may be another's as well, from a time when it need not.
            _ if !entry.unique => vec![key],
            Some(owners) => {
                owners.iter().filter(|(_, owner)| **owner == key).map(|(slot, _)| *slot).collect()
            }
            None => vec![0, key],
        };
        if let Some(owners) = owners {
            owners.retain(|_, owner| *owner != key);
        }
        for slot in slots {
            let place = (name.clone(), slot);
            if self.pending.entries_added.get(&place) == Some(&key) {
                self.pending.entries_added.remove(&place);
            } else {
                self.pending.entries_removed.insert((name.clone(), slot, key));
            }
        }
    }

    /// Takes in the rows of an UPDATE that returned key, type, id, version and time; ordered by id.
    pub(super) fn moved(&mut self, found: &[Found]) -> Result<Vec<Moved>, Failure> {
        let mut moved = Vec::with_capacity(found.len());
        for row in found {
            let version = get::<i64>(row, 3)?.cast_unsigned();
            if let Some(known) = self.known.get_mut(&get(row, 0)?) {
                known.version = version;
                known.last_modified = super::value::time(row, 4)?;
            }
            moved.push(Moved { resource_type: get(row, 1)?, id: text(row, 2)?, version });
            self.changes += 1;
        }
        moved.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(moved)
    }

    async fn move_groups(&mut self, key: i64, leave: bool) -> Result<Vec<Moved>, Failure> {
        if self.is_ungrouped(key) {
            return Ok(Vec::new());
        }
        let sql =
            "UPDATE scim.resource r SET version = version + 1, last_modified = greatest(last_modified, $3)
                   FROM scim.member m
                   WHERE m.tenant = $1 AND m.member = $2 AND r.tenant = $1 AND r.key = m.\"group\"
                   RETURNING r.key, r.type, r.id, r.version, r.last_modified";
        let time = if leave { self.now.as_millisecond() } else { i64::MIN };
        let found = self.ask(sql, [self.tenant.into(), key.into(), time.into()]).await?;
        let moved = self.moved(&found)?;
        self.groups.clear();
        if leave && !moved.is_empty() {
            let sql = "DELETE FROM scim.member WHERE tenant = $1 AND member = $2";
            self.link.query(sql, [self.tenant.into(), key.into()]).await?;
            for roll in self.rolls.values_mut() {
                roll.known.insert(key, false);
            }
        }
        if leave {
            self.joined.remove(&key);
            if let Some(known) = self.known.get_mut(&key) {
                known.grouped = false;
            }
        }
        Ok(moved)
    }

    async fn member_keys(&mut self, group: i64) -> Result<Vec<i64>, Failure> {
        if !self.rolls.get(&group).is_some_and(|roll| roll.complete) {
            let sql = "SELECT member FROM scim.member WHERE tenant = $1 AND \"group\" = $2";
            let found = self.link.query(sql, [self.tenant.into(), group.into()]).await?;
            let roll = self.rolls.entry(group).or_default();
            for row in &found {
                roll.known.entry(get(row, 0)?).or_insert(true);
            }
            roll.complete = true;
        }
        let known = self.rolls.get(&group).map(|roll| &roll.known);
        Ok(known.into_iter().flatten().filter(|(_, member)| **member).map(|(key, _)| *key).collect())
    }

    /// A group's members without asking, where all of them are known.
    fn known_members(&self, group: i64, after: i64, limit: usize) -> Option<Vec<(i64, Member)>> {
        let roll = self.rolls.get(&group).filter(|roll| roll.complete)?;
        let keys = roll.known.range(after + 1..).filter(|(_, member)| **member).map(|(key, _)| *key);
        let member = |key| {
            let Known { resource_type, id, display, .. } = self.known.get(&key)?;
            let (id, resource_type, display) = (id.clone(), resource_type.clone(), display.clone());
            Some((key, Member { id, resource_type, display }))
        };
        keys.take(limit).map(member).collect()
    }

    async fn members(&mut self, group: i64, after: i64, most: usize) -> Result<Vec<(i64, Member)>, Failure> {
        if let Some(members) = self.known_members(group, after, most) {
            return Ok(members);
        }
        let sql = "SELECT m.member, r.id, r.type, r.display FROM scim.member m
                   JOIN scim.resource r ON r.tenant = m.tenant AND r.key = m.member
                   WHERE m.tenant = $1 AND m.\"group\" = $2 AND m.member > $3 ORDER BY m.member LIMIT $4";
        let found = self.ask(sql, [self.tenant.into(), group.into(), after.into(), limit(most)]).await?;
        let mut members = Vec::with_capacity(found.len());
        for row in &found {
            let key = get(row, 0)?;
            let member =
                Member { id: text(row, 1)?, resource_type: get(row, 2)?, display: optional_text(row, 3)? };
            members.push((key, member));
        }
        let roll = self.rolls.entry(group).or_default();
        roll.known.extend(members.iter().map(|(key, _)| (*key, true)));
        Ok(members)
    }

    async fn groups(&mut self, key: i64) -> Result<Vec<GroupRef>, Failure> {
        if self.is_ungrouped(key) {
            return Ok(Vec::new());
        }
        if let Some(groups) = self.groups.get(&key) {
            return Ok(groups.clone());
        }
        self.flush().await?;
        let mut groups = rows::groups(self.link, self.tenant, &[key]).await?;
        let groups = groups.remove(&key).unwrap_or_default();
        self.groups.insert(key, groups.clone());
        Ok(groups)
    }
}

impl Transaction for PostgresTransaction<'_, '_> {
    fn now(&self) -> Timestamp {
        self.work.now
    }

    async fn find(&mut self, resource_type: &str, id: &str) -> Result<Option<Row>, StoreError> {
        let found = self.work.locate(resource_type, id).await;
        let Some(key) = self.done(found)? else { return Ok(None) };
        let row = self.work.row(key, true).await.map(|known| Row {
            key,
            version: known.version,
            created: known.created,
            last_modified: known.last_modified,
            body: known.body.clone().unwrap_or_default(),
        });
        self.done(row).map(Some)
    }

    async fn insert(
        &mut self,
        resource_type: &str,
        id: &str,
        version: u64,
        created: Timestamp,
        content: &Content,
    ) -> Result<i64, StoreError> {
        let work = &mut *self.work;
        let key = work.next_key();
        let known = Known {
            resource_type: resource_type.to_owned(),
            id: id.to_owned(),
            version,
            created,
            last_modified: work.now,
            display: content.display.clone(),
            body: Some(content.body.clone()),
            grouped: false,
        };
        work.rows.insert((known.resource_type.clone(), known.id.clone()), Some(key));
        work.known.insert(key, known);
        work.rolls.insert(key, Roll { complete: true, ..Roll::default() });
        work.pending.inserted.insert(key);
        work.changes += 1;
        work.count(resource_type, 1);
        Ok(key)
    }

    async fn update(
        &mut self,
        key: i64,
        version: u64,
        last_modified: Timestamp,
        content: Option<&Content>,
    ) -> Result<(), StoreError> {
        let known = self.work.row(key, false).await.map(drop);
        self.done(known)?;
        let work = &mut *self.work;
        if let Some(known) = work.known.get_mut(&key) {
            known.version = version;
            known.last_modified = last_modified;
            if let Some(Content { display, body }) = content {
                if known.display != *display {
                    known.display.clone_from(display);
                    work.groups.clear();
                }
                known.body = Some(body.clone());
            }
        }
        work.touched(key, content.is_some());
        Ok(())
    }

    async fn delete(&mut self, resource_type: &str, key: i64) -> Result<(), StoreError> {
        let work = &mut *self.work;
        work.forget_row(key);
        if !work.pending.inserted.remove(&key) {
            work.pending.updated.remove(&key);
            work.pending.deleted.push(key);
        }
        work.changes += 1;
        work.count(resource_type, -1);
        Ok(())
    }

    fn entries(&self, resource_type: &Arc<ResourceType>, attributes: &Attributes) -> Vec<Entry> {
        super::shape::entries(self.work.state.shapes.as_deref(), resource_type, attributes)
    }

    async fn owner(&mut self, entry: &Entry) -> Result<Option<String>, StoreError> {
        let owner = self.work.owners(entry).await.map(|owners| owners.values().next().copied());
        match self.done(owner)? {
            Some(key) => self.id(key).await,
            None => Ok(None),
        }
    }

    async fn add_entry(&mut self, key: i64, entry: &Entry) -> Result<bool, StoreError> {
        if !entry.unique {
            self.work.add_entry(key, entry, key);
            return Ok(true);
        }
        let free = self.work.owners(entry).await.map(|owners| !owners.contains_key(&0));
        let free = self.done(free)?;
        if free {
            self.work.add_entry(key, entry, 0);
        }
        Ok(free)
    }

    async fn remove_entry(&mut self, key: i64, entry: &Entry) -> Result<(), StoreError> {
        self.work.remove_entry(key, entry);
        Ok(())
    }

    async fn id(&mut self, key: i64) -> Result<Option<String>, StoreError> {
        let id = self.work.row(key, false).await.map(|known| known.id.clone());
        self.done(id).map(Some)
    }

    async fn member_key(&mut self, id: &str) -> Result<Option<i64>, StoreError> {
        for resource_type in ["User", "Group"] {
            let found = self.work.locate(resource_type, id).await;
            if let Some(key) = self.done(found)? {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    async fn add_member(&mut self, group: i64, member: i64) -> Result<bool, StoreError> {
        let added = self.work.set_member(group, member, true).await;
        self.done(added)
    }

    async fn remove_member(&mut self, group: i64, member: i64) -> Result<bool, StoreError> {
        let removed = self.work.set_member(group, member, false).await;
        self.done(removed)
    }

    async fn member_keys(&mut self, group: i64) -> Result<Vec<i64>, StoreError> {
        let keys = self.work.member_keys(group).await;
        self.done(keys)
    }

    async fn members(
        &mut self,
        group: i64,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(i64, Member)>, StoreError> {
        let members = self.work.members(group, after, limit).await;
        self.done(members)
    }

    async fn groups(&mut self, key: i64) -> Result<Vec<GroupRef>, StoreError> {
        let groups = self.work.groups(key).await;
        self.done(groups)
    }

    async fn leave_groups(&mut self, key: i64) -> Result<Vec<Moved>, StoreError> {
        let moved = self.work.move_groups(key, true).await;
        self.done(moved)
    }

    async fn touch_groups(&mut self, key: i64) -> Result<Vec<Moved>, StoreError> {
        let moved = self.work.move_groups(key, false).await;
        self.done(moved)
    }

    async fn record(&mut self, entry: audit::Entry<'_>) -> Result<(), StoreError> {
        let audit::Entry { operation, resource_type, id, before, after, changed, members } = entry;
        let Origin { actor, client, request_id } = self.origin;
        let work = &mut *self.work;
        let unwritable = |error| StoreError::Internal(format!("a change cannot be serialised: {error}"));
        let members = members.as_ref().map(serde_json::to_string).transpose().map_err(unwritable)?;
        let values = changed.values.filter(|values| !values.is_empty());
        let values = values.as_ref().map(serde_json::to_string).transpose().map_err(unwritable)?;
        work.state.head += 1;
        // Reading by time and pruning search the log by it, so it goes one way when the clock does not.
        work.state.head_time = work.state.head_time.max(work.now.as_millisecond());
        work.changes += 1;
        work.pending.changes.push(ChangeRow {
            sequence: work.state.head,
            time: work.state.head_time,
            operation: operation.code(),
            resource_type: resource_type.to_owned(),
            id: bytes(id),
            before: before.map(u64::cast_signed),
            after: after.map(u64::cast_signed),
            actor: bytes(actor),
            client: client.map(|client| client.to_string()),
            request: bytes(request_id),
            attributes: changed.paths,
            members,
            values,
        });
        Ok(())
    }
}

impl Work<'_> {
    /// Forgets a row that is no more.
    pub(super) fn forget_row(&mut self, key: i64) {
        if let Some(Known { resource_type, id, .. }) = self.known.remove(&key) {
            self.rows.insert((resource_type, id), None);
        }
        self.rolls.remove(&key);
        self.groups.clear();
    }
}
