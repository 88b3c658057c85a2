//! What a [`Command`] does: the one meaning it has, for every backend.
//!
//! A backend implements [`Transaction`], a handful of row operations within one database transaction and
//! one tenant; everything that RFC 7644 says of a change is here. A refusal leaves half-done work
//! behind, which the caller rolls back.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::audit::{self, Changed, MemberChanges, Operation, changed};
use super::index::{self, Entry};
use super::lifecycle::{self, RetainedRow, Setting};
use super::membership::Membership;
use super::transaction::{Content, Moved, Row, Transaction, content, display, parse_body, write_body};
use super::{Command, Outcome, Refusal, StoreError, Unit};
use crate::scim::error::{Existing, ScimError};
use crate::scim::etag::Preconditions;
use crate::scim::patch::{Patch, Step};
use crate::scim::resource::{Attributes, Load, Related, Resource};
use crate::scim::schema::ResourceType;

/// Why a step went no further.
#[derive(Debug)]
pub(super) enum Fault {
    /// The client's doing: the unit is refused.
    Refused(ScimError),
    /// Ours: the whole write fails.
    Failed(StoreError),
}

impl From<ScimError> for Fault {
    fn from(error: ScimError) -> Self {
        Self::Refused(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// Why a unit was undone.
#[derive(Debug)]
pub(super) enum Undone {
    /// The client's doing.
    Refused(Refusal),
    /// Ours: the whole write fails.
    Failed(StoreError),
}

impl Undone {
    fn at(command: usize, fault: Fault) -> Self {
        match fault {
            Fault::Refused(error) => Self::Refused(Refusal::Command(command, error)),
            Fault::Failed(error) => Self::Failed(error),
        }
    }
}

/// Applies a unit's commands. New resources are all there before the first group looks for its
/// members: the groups of a bulk request may contain each other.
pub(super) async fn execute(
    transaction: &mut impl Transaction,
    setting: &mut Setting<'_>,
    unit: &Unit,
) -> Result<Vec<Outcome>, Undone> {
    for (index, command) in unit.commands.iter().enumerate() {
        if let Command::Refuse(error) = command {
            return Err(Undone::at(index, error.clone().into()));
        }
    }
    let mut back = BTreeMap::new();
    for (index, command) in unit.commands.iter().enumerate() {
        if let Command::Create { resource_type, id, attributes, .. } = command {
            let found =
                lifecycle::recognise(transaction, setting, &back, resource_type, id, attributes).await;
            if let Some(row) = found.map_err(Undone::Failed)? {
                back.insert(index, row);
            }
        }
    }
    let mut created = BTreeMap::new();
    for (index, command) in unit.commands.iter().enumerate() {
        if let Command::Create { resource_type, id, attributes, .. } = command {
            let row = create(transaction, setting, resource_type, id, attributes, back.get(&index)).await;
            created.insert(index, row.map_err(|fault| Undone::at(index, fault))?);
        }
    }
    let mut outcomes = Vec::with_capacity(unit.commands.len());
    for (index, command) in unit.commands.iter().enumerate() {
        let outcome = apply(transaction, setting, command, created.remove(&index)).await;
        outcomes.push(outcome.map_err(|fault| Undone::at(index, fault))?);
    }
    Ok(outcomes)
}

async fn apply(
    transaction: &mut impl Transaction,
    setting: &Setting<'_>,
    command: &Command,
    created: Option<Row>,
) -> Result<Outcome, Fault> {
    match command {
        Command::Create { resource_type, id, attributes, members, discarded } => {
            let row = created.ok_or_else(|| StoreError::Internal("a resource was not made".into()))?;
            let (id, attributes) = (setting.id(id), setting.attributes(attributes));
            let mut membership = Membership::of(setting, id, row.key);
            membership.add(transaction, members).await?;
            membership.finish()?;
            let mut changed = changed(resource_type, None, Some(&attributes), setting.policy.audit_values);
            for path in discarded {
                changed.name(path);
            }
            let members = membership.changes(transaction).await?;
            if members.is_some() {
                changed.name("members");
            }
            let entry = audit::Entry {
                operation: if row.version == 1 { Operation::Create } else { Operation::Recreate },
                resource_type: &resource_type.name,
                id,
                before: None,
                after: Some(row.version),
                changed,
                members,
            };
            transaction.record(entry).await?;
            membership.record_pending(transaction, resource_type, row.version).await?;
            let arrived =
                lifecycle::arrive(transaction, setting, resource_type, id, row.key, &attributes).await?;
            let load = Load { members: true, groups: arrived };
            let mut resource = finish_load(transaction, resource_type, id, row, load).await?;
            if !arrived {
                // Nothing can be said of it elsewhere yet.
                resource.related.groups = resource_type.has_groups().then(Vec::new);
            }
            Ok(Outcome::Created(resource))
        }
        Command::Replace { resource_type, id, attributes, members, discarded, preconditions, load } => {
            let id = setting.id(id);
            let row = find(transaction, resource_type, id, preconditions).await?;
            let current = parse_body(&row.body)?;
            let new = resource_type.succeed(&current, setting.attributes(attributes).into_owned())?;
            let mut membership = Membership::of(setting, id, row.key);
            if resource_type.has_members() {
                membership.replace(transaction, members).await?;
            }
            membership.finish()?;
            let subject = Subject { operation: Operation::Replace, resource_type, id, discarded, setting };
            let row = settle(transaction, &subject, row, Some((current, new)), &membership).await?;
            finish_load(transaction, resource_type, id, row, *load).await.map(Outcome::Updated)
        }
        Command::Patch { resource_type, id, patch, preconditions, load } => {
            let id = setting.id(id);
            let row = find(transaction, resource_type, id, preconditions).await?;
            let mut membership = Membership::of(setting, id, row.key);
            let attributes = apply_patch(transaction, resource_type, &row, patch, &mut membership).await?;
            let discarded = &patch.discarded;
            let subject = Subject { operation: Operation::Patch, resource_type, id, discarded, setting };
            let row = settle(transaction, &subject, row, attributes, &membership).await?;
            finish_load(transaction, resource_type, id, row, *load).await.map(Outcome::Updated)
        }
        Command::Delete { resource_type, id, preconditions } => {
            let id = setting.id(id);
            let row = find(transaction, resource_type, id, preconditions).await?;
            let attributes = parse_body(&row.body)?;
            lifecycle::delete(transaction, setting.policy, resource_type, id, row.key, &attributes).await?;
            let mut changed = changed(resource_type, Some(&attributes), None, setting.policy.audit_values);
            // All of them, which goes without saying.
            changed.paths.clear();
            let entry = audit::Entry {
                operation: Operation::Delete,
                resource_type: &resource_type.name,
                id,
                before: Some(row.version),
                after: None,
                changed,
                members: None,
            };
            transaction.record(entry).await?;
            Ok(Outcome::Deleted)
        }
        Command::Restore { resource_type, id } => {
            lifecycle::restore(transaction, setting, resource_type, id).await.map(Outcome::Updated)
        }
        Command::Purge { before, limit } => {
            let (purged, more) = lifecycle::purge(transaction, *before, *limit).await?;
            Ok(Outcome::Purged { purged, more })
        }
        Command::Refuse(error) => Err(error.clone().into()),
    }
}

/// Makes a new resource's row, or that of one which comes back.
async fn create(
    transaction: &mut impl Transaction,
    setting: &Setting<'_>,
    resource_type: &Arc<ResourceType>,
    id: &str,
    attributes: &Attributes,
    back: Option<&RetainedRow>,
) -> Result<Row, Fault> {
    let (id, attributes) = (setting.id(id), setting.attributes(attributes));
    let content = content(id, &attributes)?;
    let entries = transaction.entries(resource_type, &attributes);
    check_free(transaction, resource_type, &entries).await?;
    let now = transaction.now();
    let (version, created) = match back {
        Some(row) => (row.version + 1, row.created),
        None => (1, now),
    };
    if let Some(row) = back {
        lifecycle::take_back(transaction, row).await?;
    }
    let key = transaction.insert(&resource_type.name, id, version, created, &content).await?;
    for entry in &entries {
        claim(transaction, resource_type, key, entry).await?;
    }
    Ok(Row { key, version, created, last_modified: now, body: content.body })
}

/// The row a command is about, its preconditions checked.
async fn find(
    transaction: &mut impl Transaction,
    resource_type: &Arc<ResourceType>,
    id: &str,
    preconditions: &Preconditions,
) -> Result<Row, Fault> {
    let row = transaction.find(&resource_type.name, id).await?;
    let row = row.ok_or_else(|| ScimError::not_found(&resource_type.name, id))?;
    if *preconditions != Preconditions::default() {
        let load = Load { members: false, groups: true };
        let resource = finish_load(transaction, resource_type, id, row.clone(), load).await?;
        preconditions.check(&resource.version())?;
    }
    Ok(row)
}

/// Applies a patch's steps: the attributes before and after, when a step was about them.
async fn apply_patch(
    transaction: &mut impl Transaction,
    resource_type: &ResourceType,
    row: &Row,
    patch: &Patch,
    membership: &mut Membership<'_>,
) -> Result<Option<(Attributes, Attributes)>, Fault> {
    let mut attributes = None;
    for step in &patch.steps {
        match step {
            Step::Attributes(change) => {
                if attributes.is_none() {
                    let current = parse_body(&row.body)?;
                    attributes = Some((current.clone(), current));
                }
                if let Some((_, new)) = &mut attributes {
                    change.apply(new)?;
                }
            }
            Step::Members(change) => membership.apply(transaction, change).await?,
        }
    }
    if let Some((current, new)) = &mut attributes {
        if let Cow::Owned(meant) = membership.setting.attributes(new) {
            *new = meant;
        }
        resource_type.finish_change(Some(current), new)?;
    }
    membership.finish()?;
    Ok(attributes)
}

/// What is done to which resource.
struct Subject<'a> {
    operation: Operation,
    resource_type: &'a Arc<ResourceType>,
    id: &'a str,
    /// Paths of what was sent and is never stored.
    discarded: &'a [String],
    setting: &'a Setting<'a>,
}

/// Writes what changed, and records it; the version and the time move only if something did.
async fn settle(
    transaction: &mut impl Transaction,
    subject: &Subject<'_>,
    mut row: Row,
    attributes: Option<(Attributes, Attributes)>,
    membership: &Membership<'_>,
) -> Result<Row, Fault> {
    let Subject { operation, resource_type, id, discarded, setting } = *subject;
    let policy = setting.policy;
    let mut content = None;
    let mut differences = Changed::default();
    let mut renamed = None;
    if let Some((current, new)) = attributes.filter(|(current, new)| current != new) {
        let mut removed = transaction.entries(resource_type, &current);
        let mut added = transaction.entries(resource_type, &new);
        added.retain(|entry| match removed.iter().position(|old| old == entry) {
            Some(kept) => {
                removed.swap_remove(kept);
                false
            }
            None => true,
        });
        check_free(transaction, resource_type, &added).await?;
        for entry in &removed {
            transaction.remove_entry(row.key, entry).await?;
        }
        for entry in &added {
            claim(transaction, resource_type, row.key, entry).await?;
        }
        lifecycle::deactivate(transaction, policy, resource_type, (id, row.key), (&current, &new)).await?;
        let display = display(&new);
        if display != self::display(&current) {
            let groups = transaction.touch_groups(row.key).await?;
            record_moved(transaction, Operation::MemberRenamed, groups, id).await?;
            // A group may be a member of itself, and then has moved.
            if let Some(now) = transaction.find(&resource_type.name, id).await? {
                row.version = now.version;
            }
        }
        row.body = write_body(id, &new)?;
        differences = changed(resource_type, Some(&current), Some(&new), policy.audit_values);
        content = Some(Content { display, body: row.body.clone() });
        if policy.match_external_id && current.get("externalId") != new.get("externalId") {
            renamed = Some(new);
        }
    }
    let before = row.version;
    let moved = content.is_some() || membership.changed();
    if moved {
        row.version += 1;
        row.last_modified = row.last_modified.max(transaction.now());
        transaction.update(row.key, row.version, row.last_modified, content.as_ref()).await?;
    }
    // Whether a password is another than before, nobody knows: that it was sent is worth a row.
    if moved || !discarded.is_empty() {
        for path in discarded {
            differences.name(path);
        }
        let members = membership.changes(transaction).await?;
        if members.is_some() {
            differences.name("members");
        }
        let entry = audit::Entry {
            operation,
            resource_type: &resource_type.name,
            id,
            before: Some(before),
            after: Some(row.version),
            changed: differences,
            members,
        };
        transaction.record(entry).await?;
    }
    membership.record_pending(transaction, resource_type, row.version).await?;
    if let Some(new) = renamed
        && lifecycle::arrive(transaction, setting, resource_type, id, row.key, &new).await?
        // A group may have awaited itself.
        && let Some(now) = transaction.find(&resource_type.name, id).await?
    {
        row.version = now.version;
    }
    Ok(row)
}

/// Records the groups that moved because of their member of this id.
pub(super) async fn record_moved(
    transaction: &mut impl Transaction,
    operation: Operation,
    groups: Vec<Moved>,
    member: &str,
) -> Result<(), StoreError> {
    for Moved { resource_type, id, version } in groups {
        let (changed, members) = match operation {
            Operation::MemberDeleted | Operation::MemberDeactivated => {
                ("members", Some(MemberChanges::removal(member)))
            }
            Operation::MemberArrived => ("members", Some(MemberChanges::addition(member))),
            _ => ("members.display", None),
        };
        let entry = audit::Entry {
            operation,
            resource_type: &resource_type,
            id: &id,
            before: Some(version - 1),
            after: Some(version),
            changed: Changed::of(changed),
            members,
        };
        transaction.record(entry).await?;
    }
    Ok(())
}

/// Refuses values that are taken before anything is written: a refusal that leaves nothing behind
/// costs no roll-back.
async fn check_free(
    transaction: &mut impl Transaction,
    resource_type: &ResourceType,
    entries: &[Entry],
) -> Result<(), Fault> {
    match conflict(transaction, entries).await? {
        Some((entry, owner)) => Err(taken(resource_type, entry, &owner)),
        None => Ok(()),
    }
}

/// The first unique value that is taken, and the id of the resource that has it.
pub(super) async fn conflict<'e>(
    transaction: &mut impl Transaction,
    entries: &'e [Entry],
) -> Result<Option<(&'e Entry, String)>, StoreError> {
    for entry in entries.iter().filter(|entry| entry.unique) {
        if let Some(owner) = transaction.owner(entry).await? {
            return Ok(Some((entry, owner)));
        }
    }
    Ok(None)
}

/// Adds an index entry. The index itself holds uniqueness, whoever else writes.
pub(super) async fn claim(
    transaction: &mut impl Transaction,
    resource_type: &ResourceType,
    key: i64,
    entry: &Entry,
) -> Result<(), Fault> {
    if transaction.add_entry(key, entry).await? {
        return Ok(());
    }
    let owner = transaction.owner(entry).await?;
    let owner = owner.ok_or_else(|| StoreError::Internal("a value is taken by nobody".into()))?;
    Err(taken(resource_type, entry, &owner))
}

fn taken(resource_type: &ResourceType, entry: &Entry, owner: &str) -> Fault {
    let attribute = index::attribute_of(&entry.attribute);
    let mut error = ScimError::uniqueness(format!(
        "{attribute}: the value is taken by {} {owner}; {attribute} must be unique, so change or delete that one first, or choose another value",
        resource_type.name
    ));
    let endpoint = resource_type.endpoint.clone();
    error.existing = Some(Box::new(Existing { endpoint, id: owner.to_owned() }));
    Fault::Refused(error)
}

pub(super) async fn finish_load(
    transaction: &mut impl Transaction,
    resource_type: &Arc<ResourceType>,
    id: &str,
    row: Row,
    load: Load,
) -> Result<Resource, Fault> {
    let mut related = Related::default();
    if load.members && resource_type.has_members() {
        let members = transaction.members(row.key, 0, usize::MAX).await?;
        related.members = Some(members.into_iter().map(|(_, member)| member).collect());
    }
    if load.groups && resource_type.has_groups() {
        related.groups = Some(transaction.groups(row.key).await?);
    }
    Ok(row.into_resource(resource_type, id.to_owned(), related))
}
