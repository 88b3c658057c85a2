//! Leavers: what DELETE leaves behind, how it comes back, and when it ends (`spec.lifecycle`).
//!
//! A retained resource is no row among the resources any more, so that no read, filter, count or uniqueness
//! can see it. Its memberships are kept by id as *awaited* ones, beside the members that a push named before
//! they were there (`spec.membership`): an awaited membership becomes a real one when group and member are
//! both there. Tenants that have neither pay nothing: [`Leavers::has_leavers`] is known without a look.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::audit::{self, Changed, MAX_MEMBER_IDS, MemberChanges, MemberIds, Operation, changed};
use super::execute::{Fault, claim, conflict, finish_load, record_moved};
use super::index::{self, Entry};
use super::transaction::{Moved, Transaction, content, parse_body};
use super::{Policy, StoreError};
use crate::scim::error::ScimError;
use crate::scim::resource::{Attributes, Load, Resource};
use crate::scim::schema::ResourceType;

/// Awaited memberships removed in one step of purging.
const STEP: usize = 1000;

/// A deleted resource that can come back.
#[derive(Debug, Clone)]
pub(super) struct RetainedRow {
    /// The row's key.
    pub key: i64,
    /// The name of its type.
    pub resource_type: String,
    /// Its id.
    pub id: String,
    /// The version it had.
    pub version: u64,
    /// [`Resource::created`].
    pub created: Timestamp,
    /// When it was deleted.
    pub deleted: Timestamp,
    /// [`Resource::body`].
    pub body: bytes::Bytes,
}

/// Row operations on what is retained and awaited.
pub(super) trait Leavers {
    /// Whether the tenant may have retained resources or awaited members; known without a look.
    fn has_leavers(&self) -> bool;
    /// Moves a row from the resources to the retained, to be found by these entries; counts both.
    async fn retain(&mut self, resource_type: &str, key: i64, names: &[Entry]) -> Result<(), StoreError>;
    /// The retained resource of this type and id.
    async fn retained(&mut self, resource_type: &str, id: &str) -> Result<Option<RetainedRow>, StoreError>;
    /// The id of the resource that had this entry and was deleted last, not before `since`.
    async fn retained_as(&mut self, entry: &Entry, since: Timestamp) -> Result<Option<String>, StoreError>;
    /// The retained resources that were deleted before a time, oldest first; without their bodies.
    async fn retained_before(
        &mut self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<RetainedRow>, StoreError>;
    /// Removes a retained resource, and counts it.
    async fn drop_retained(&mut self, key: i64) -> Result<(), StoreError>;
    /// Moves a group's version and time.
    async fn touch(&mut self, key: i64) -> Result<Vec<Moved>, StoreError>;
    /// Keeps the direct memberships of a resource, as group and as member, by their ids.
    async fn keep_memberships(&mut self, key: i64) -> Result<(), StoreError>;
    /// Stores a member that is not there yet; false when it was stored already.
    async fn await_member(&mut self, group: &str, member: &str) -> Result<bool, StoreError>;
    /// Forgets an awaited member of a group that is there; true when a push had named it.
    async fn forget_member(&mut self, group: &str, member: &str) -> Result<bool, StoreError>;
    /// Forgets every group that awaits this member and is not there itself.
    async fn forget_groups(&mut self, member: &str) -> Result<(), StoreError>;
    /// Forgets some of what is awaited on account of a resource that is gone for good: what it awaits as a
    /// group, and its former memberships. How many; `limit` when there may be more. `counted`: it was there
    /// until now, so that its pending members were counted.
    async fn forget_traces(&mut self, id: &str, counted: bool, limit: usize) -> Result<usize, StoreError>;
    /// Counts a group's pending members no longer, or again: it is not there, or there again.
    async fn count_pending(&mut self, group: &str, there: bool) -> Result<(), StoreError>;
    /// What a group awaits, each once.
    async fn awaited_of(&mut self, group: &str) -> Result<Vec<String>, StoreError>;
    /// The groups that await this member and are there: id and key.
    async fn awaiting(&mut self, member: &str) -> Result<Vec<(String, i64)>, StoreError>;
    /// The keys of the users and groups with this `externalId`, two at most.
    async fn known_as(&mut self, external_id: &str) -> Result<Vec<i64>, StoreError>;
}

/// What the units of one write have in common.
#[derive(Debug)]
pub(super) struct Setting<'w> {
    /// The tenant's choices.
    pub policy: &'w Policy,
    /// Ids that were meant for new resources, and what they got instead because they came back. Later
    /// operations of the same bulk request refer to the former.
    renamed: HashMap<String, String>,
}

impl<'w> Setting<'w> {
    /// At the start of a write.
    pub(super) fn new(policy: &'w Policy) -> Self {
        Self { policy, renamed: HashMap::new() }
    }

    /// The id that a reference means.
    pub(super) fn id<'i>(&'i self, id: &'i str) -> &'i str {
        self.renamed.get(id).map_or(id, String::as_str)
    }

    /// Attributes with the references in them as they are meant.
    pub(super) fn attributes<'a>(&self, attributes: &'a Attributes) -> Cow<'a, Attributes> {
        if self.renamed.is_empty() {
            return Cow::Borrowed(attributes);
        }
        let mut attributes = attributes.clone();
        attributes.values_mut().for_each(|value| self.rename(value));
        Cow::Owned(attributes)
    }

    fn rename(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(id) = self.renamed.get(text.as_str()) {
                    text.clone_from(id);
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.rename(value)),
            Value::Object(fields) => fields.values_mut().for_each(|value| self.rename(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// The entries by which a deleted resource is known again: `externalId`, then `userName`. Whatever the tenant's
/// schemas say of them, and said when it was deleted.
pub(super) fn names(resource_type: &str, attributes: &Attributes) -> Vec<Entry> {
    let known_by = [("externalId", true), ("userName", false)];
    let entries = known_by.into_iter().filter_map(|(name, case_exact)| {
        let value = attributes.get(name)?.as_str()?;
        let attribute = format!("{resource_type}.{name}");
        Some(Entry { attribute, value: index::key(value, case_exact), unique: false })
    });
    entries.collect()
}

/// Whether a new resource is one that comes back: then it is, for the rest of the write. `back`: those of the
/// unit that were recognised before it.
pub(super) async fn recognise(
    transaction: &mut impl Transaction,
    setting: &mut Setting<'_>,
    back: &BTreeMap<usize, RetainedRow>,
    resource_type: &ResourceType,
    id: &str,
    attributes: &Attributes,
) -> Result<Option<RetainedRow>, StoreError> {
    if !setting.policy.restore_on_recreate || !transaction.has_leavers() {
        return Ok(None);
    }
    let Some(since) = setting.policy.retained_since(transaction.now()) else { return Ok(None) };
    for name in names(&resource_type.name, attributes) {
        let Some(found) = transaction.retained_as(&name, since).await? else { continue };
        if back.values().any(|row| row.id == found && row.resource_type == resource_type.name) {
            continue;
        }
        let row = transaction.retained(&resource_type.name, &found).await?;
        setting.renamed.insert(id.to_owned(), found);
        return Ok(row);
    }
    Ok(None)
}

/// Removes what is retained of a resource that is made again: its memberships do not come back.
pub(super) async fn take_back(
    transaction: &mut impl Transaction,
    row: &RetainedRow,
) -> Result<(), StoreError> {
    transaction.drop_retained(row.key).await?;
    transaction.forget_traces(&row.id, false, usize::MAX).await.map(drop)
}

/// Makes the awaited memberships of a resource real that can be, in other groups and in itself; true when some
/// became so. After the resource has its own row in the audit log.
pub(super) async fn arrive(
    transaction: &mut impl Transaction,
    setting: &Setting<'_>,
    resource_type: &ResourceType,
    id: &str,
    key: i64,
    attributes: &Attributes,
) -> Result<bool, StoreError> {
    if !transaction.has_leavers() || !is_member_type(resource_type) {
        return Ok(false);
    }
    let mut arrived = false;
    let external_id = attributes.get("externalId").and_then(Value::as_str);
    let external_id = external_id.filter(|_| setting.policy.match_external_id);
    for name in std::iter::once(id).chain(external_id) {
        for (group, group_key) in transaction.awaiting(name).await? {
            transaction.forget_member(&group, name).await?;
            if transaction.add_member(group_key, key).await? {
                let moved = transaction.touch(group_key).await?;
                record_moved(transaction, Operation::MemberArrived, moved, id).await?;
                arrived = true;
            }
        }
    }
    Ok(arrived)
}

/// Makes the awaited members of a group that is there again real, where they are there too.
async fn gather(
    transaction: &mut impl Transaction,
    setting: &Setting<'_>,
    id: &str,
    key: i64,
) -> Result<Option<MemberChanges>, StoreError> {
    let mut added = Vec::new();
    for member in transaction.awaited_of(id).await? {
        if let Some(member_key) = find_member(transaction, setting, &member).await? {
            transaction.forget_member(id, &member).await?;
            if transaction.add_member(key, member_key).await? {
                added.extend(transaction.id(member_key).await?);
            }
        }
    }
    let count = added.len() as u64;
    let ids = (added.len() <= MAX_MEMBER_IDS).then(|| MemberIds { added, removed: Vec::new() });
    Ok((count > 0).then_some(MemberChanges { added: count, removed: 0, ids }))
}

/// Whether groups may have resources of this type as members (RFC 7643 section 4.2).
fn is_member_type(resource_type: &ResourceType) -> bool {
    matches!(resource_type.name.as_str(), "User" | "Group")
}

/// The key of the user or group that a member's `value` names.
pub(super) async fn find_member(
    transaction: &mut impl Transaction,
    setting: &Setting<'_>,
    value: &str,
) -> Result<Option<i64>, StoreError> {
    let found = transaction.member_key(setting.id(value)).await?;
    if found.is_some() || !setting.policy.match_external_id {
        return Ok(found);
    }
    // What two resources have names neither.
    match transaction.known_as(value).await?[..] {
        [key] => Ok(Some(key)),
        _ => Ok(None),
    }
}

/// What a user does that is deactivated.
pub(super) async fn deactivate(
    transaction: &mut impl Transaction,
    policy: &Policy,
    resource_type: &ResourceType,
    (id, key): (&str, i64),
    (current, new): (&Attributes, &Attributes),
) -> Result<(), StoreError> {
    let is_inactive = |attributes: &Attributes| attributes.get("active") == Some(&Value::Bool(false));
    if !policy.remove_from_groups_on_deactivate
        || !resource_type.has_groups()
        || is_inactive(current)
        || !is_inactive(new)
    {
        return Ok(());
    }
    let groups = transaction.leave_groups(key).await?;
    record_moved(transaction, Operation::MemberDeactivated, groups, id).await?;
    if transaction.has_leavers() {
        // A retained group that comes back does not bring the user back into it.
        transaction.forget_groups(id).await?;
    }
    Ok(())
}

/// Deletes a resource, retained or for good.
pub(super) async fn delete(
    transaction: &mut impl Transaction,
    policy: &Policy,
    resource_type: &Arc<ResourceType>,
    id: &str,
    key: i64,
    attributes: &Attributes,
) -> Result<(), StoreError> {
    let retain = policy.retention.is_some();
    if retain {
        transaction.keep_memberships(key).await?;
        if resource_type.has_members() {
            transaction.count_pending(id, false).await?;
        }
    } else if transaction.has_leavers() {
        transaction.forget_traces(id, true, usize::MAX).await?;
    }
    for entry in transaction.entries(resource_type, attributes) {
        transaction.remove_entry(key, &entry).await?;
    }
    let groups = transaction.leave_groups(key).await?;
    record_moved(transaction, Operation::MemberDeleted, groups, id).await?;
    if resource_type.has_members() {
        for member in transaction.member_keys(key).await? {
            transaction.remove_member(key, member).await?;
        }
    }
    if retain {
        transaction.retain(&resource_type.name, key, &names(&resource_type.name, attributes)).await
    } else {
        transaction.delete(&resource_type.name, key).await
    }
}

/// Brings a retained resource back as it was, with its memberships.
pub(super) async fn restore(
    transaction: &mut impl Transaction,
    setting: &Setting<'_>,
    resource_type: &Arc<ResourceType>,
    id: &str,
) -> Result<Resource, Fault> {
    let name = &resource_type.name;
    let Some(row) = transaction.retained(name, id).await? else {
        return Err(match transaction.find(name, id).await? {
            Some(_) => ScimError::new(409, format!("{name} {id:?} is not deleted")),
            None => ScimError::new(404, format!("no deleted {name} {id:?} is retained")),
        }
        .into());
    };
    let since = setting.policy.retained_since(transaction.now());
    if since.is_none_or(|since| row.deleted < since) {
        let detail = format!("the retention of {name} {id:?} is over: it was deleted at {}", row.deleted);
        return Err(ScimError::new(410, detail).into());
    }
    let attributes = parse_body(&row.body)?;
    let entries = transaction.entries(resource_type, &attributes);
    if let Some((entry, owner)) = conflict(transaction, &entries).await? {
        let attribute = index::attribute_of(&entry.attribute);
        return Err(ScimError::uniqueness(format!(
            "{name} {id:?} cannot be restored: its {attribute} is now that of {name} {owner:?}; change or delete that one first"
        ))
        .into());
    }
    transaction.drop_retained(row.key).await?;
    let content = content(id, &attributes)?;
    let key = transaction.insert(name, id, row.version + 1, row.created, &content).await?;
    for entry in &entries {
        claim(transaction, resource_type, key, entry).await?;
    }
    let mut members = None;
    if resource_type.has_members() {
        transaction.count_pending(id, true).await?;
        members = gather(transaction, setting, id, key).await?;
    }
    let entry = audit::Entry {
        operation: Operation::Restore,
        resource_type: name,
        id,
        before: None,
        after: Some(row.version + 1),
        changed: changed(resource_type, None, Some(&attributes), setting.policy.audit_values),
        members,
    };
    transaction.record(entry).await?;
    arrive(transaction, setting, resource_type, id, key, &attributes).await?;
    let row = transaction.find(name, id).await?;
    let row = row.ok_or_else(|| StoreError::Internal("a restored resource is not there".into()))?;
    finish_load(transaction, resource_type, id, row, Load::WITHOUT_MEMBERS).await
}

/// Erases some of the resources that were deleted before a time, oldest first: how many, and whether there
/// may be more.
pub(super) async fn purge(
    transaction: &mut impl Transaction,
    before: Timestamp,
    limit: usize,
) -> Result<(u64, bool), StoreError> {
    let mut purged = 0;
    let mut left = STEP;
    let rows = transaction.retained_before(before, limit).await?;
    let more = rows.len() == limit;
    for row in rows {
        // A group of 100,000 goes in many steps.
        let forgotten = transaction.forget_traces(&row.id, false, left).await?;
        if forgotten == left {
            return Ok((purged, true));
        }
        left -= forgotten;
        transaction.drop_retained(row.key).await?;
        let entry = audit::Entry {
            operation: Operation::Purge,
            resource_type: &row.resource_type,
            id: &row.id,
            before: None,
            after: None,
            changed: Changed::default(),
            members: None,
        };
        transaction.record(entry).await?;
        purged += 1;
    }
    Ok((purged, more))
}
