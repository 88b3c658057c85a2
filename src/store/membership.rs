//! One command's changes of one group's membership, row by row, so that they cost what they change and
//! not what the group holds.
//!
//! Members that do not exist are refused, every one named; or, where the tenant says so, kept as pending
//! (`store/lifecycle.rs`): they are no members for any reader until they appear.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::StoreError;
use super::audit::{self, Changed, MAX_MEMBER_IDS, MemberChanges, MemberIds, Operation};
use super::execute::Fault;
use super::lifecycle::{Setting, find_member};
use super::transaction::Transaction;
use crate::scim::error::ScimError;
use crate::scim::filter::{Filter, Literal, Operator};
use crate::scim::member::{Member, MemberChange};
use crate::scim::schema::ResourceType;

/// Members read at a time while a filter looks for those to remove.
const PAGE: usize = 1000;

/// Bytes of unknown ids that one error names: all that a body of the default size can hold.
const MAX_NAMED: usize = 1 << 20;

/// Bytes of a pending member's `value`.
const MAX_VALUE: usize = 256;

/// The membership of one group under one command.
#[derive(Debug)]
pub(super) struct Membership<'s> {
    /// What the write's units have in common.
    pub setting: &'s Setting<'s>,
    id: &'s str,
    group: i64,
    /// Members whose state differs from what it was before the command: a member that is removed and
    /// added again has not changed.
    toggled: BTreeMap<i64, Toggled>,
    /// The same of pending members: true for those that came.
    pending: BTreeMap<String, bool>,
    /// Ids that are neither a user nor a group of this tenant, and cannot be pending.
    unknown: Vec<String>,
}

/// How a member's state differs from what it was.
#[derive(Debug)]
struct Toggled {
    added: bool,
    /// Its id, where that was at hand.
    id: Option<String>,
}

impl<'s> Membership<'s> {
    /// No change yet.
    pub(super) fn of(setting: &'s Setting<'s>, id: &'s str, group: i64) -> Self {
        let (toggled, pending) = Default::default();
        Self { setting, id, group, toggled, pending, unknown: Vec::new() }
    }

    /// Whether the group's members are other than before.
    pub(super) fn changed(&self) -> bool {
        !self.toggled.is_empty()
    }

    /// What became of the membership, for the audit log.
    pub(super) async fn changes(
        &self,
        transaction: &mut impl Transaction,
    ) -> Result<Option<MemberChanges>, StoreError> {
        if self.toggled.is_empty() {
            return Ok(None);
        }
        let added = self.toggled.values().filter(|toggled| toggled.added).count() as u64;
        let removed = self.toggled.len() as u64 - added;
        let mut ids = None;
        if self.toggled.len() <= MAX_MEMBER_IDS {
            let mut named = MemberIds::default();
            for (key, Toggled { added, id }) in &self.toggled {
                let id = match id {
                    Some(id) => Some(id.clone()),
                    None => transaction.id(*key).await?,
                };
                if *added { &mut named.added } else { &mut named.removed }.extend(id);
            }
            ids = Some(named);
        }
        Ok(Some(MemberChanges { added, removed, ids }))
    }

    /// Records what became of pending members: nothing that readers see, so that the version stays.
    pub(super) async fn record_pending(
        &self,
        transaction: &mut impl Transaction,
        resource_type: &ResourceType,
        version: u64,
    ) -> Result<(), StoreError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let named = |added: bool| self.pending.iter().filter(move |(_, came)| **came == added);
        let ids = |added| named(added).map(|(id, _)| id.clone()).collect();
        let few = self.pending.len() <= MAX_MEMBER_IDS;
        let members = MemberChanges {
            added: named(true).count() as u64,
            removed: named(false).count() as u64,
            ids: few.then(|| MemberIds { added: ids(true), removed: ids(false) }),
        };
        let entry = audit::Entry {
            operation: Operation::MembersPending,
            resource_type: &resource_type.name,
            id: self.id,
            before: Some(version),
            after: Some(version),
            changed: Changed::default(),
            members: Some(members),
        };
        transaction.record(entry).await
    }

    /// Refuses the command when it named members that do not exist and cannot be pending: every one is in
    /// the message, as far as [`MAX_NAMED`] goes.
    pub(super) fn finish(&self) -> Result<(), ScimError> {
        if self.unknown.is_empty() {
            return Ok(());
        }
        let mut seen = HashSet::new();
        let ids: Vec<&String> = self.unknown.iter().filter(|id| seen.insert(*id)).collect();
        let mut named = String::new();
        let mut count = 0;
        for id in &ids {
            let text = format!("{id:?}");
            if named.len() + text.len() > MAX_NAMED {
                break;
            }
            named.push_str(if count == 0 { "" } else { ", " });
            named.push_str(&text);
            count += 1;
        }
        if count < ids.len() {
            // Writing to a String cannot fail.
            let _ = write!(named, " and {} more", ids.len() - count);
        }
        let why = if self.setting.policy.keep_unknown_members {
            format!(
                "the value of a member that does not exist yet has at most {MAX_VALUE} bytes, unlike {named}"
            )
        } else {
            format!("no User or Group here has the id {named}")
        };
        Err(ScimError::invalid_value(format!("members: {why}; nothing was changed")))
    }

    /// Applies one change.
    pub(super) async fn apply(
        &mut self,
        transaction: &mut impl Transaction,
        change: &MemberChange,
    ) -> Result<(), Fault> {
        match change {
            MemberChange::Add(ids) => self.add(transaction, ids).await,
            MemberChange::Remove(ids) => self.remove(transaction, ids).await,
            MemberChange::RemoveMatching(filter) => match named(filter) {
                Some(ids) => self.remove(transaction, &ids).await,
                None => self.remove_matching(transaction, filter).await,
            },
            MemberChange::Clear => self.replace(transaction, &[]).await,
            MemberChange::Replace(ids) => self.replace(transaction, ids).await,
        }
    }

    /// Adds members.
    pub(super) async fn add(
        &mut self,
        transaction: &mut impl Transaction,
        ids: &[String],
    ) -> Result<(), Fault> {
        let mut members = Vec::with_capacity(ids.len());
        for id in ids {
            members.push((id, self.resolve(transaction, id).await?));
        }
        // The command will be refused.
        if !self.unknown.is_empty() {
            return Ok(());
        }
        for (id, member) in members {
            match member {
                Some(member) => {
                    if transaction.add_member(self.group, member).await? {
                        self.note(member, true, self.named(id));
                    }
                }
                None => self.await_member(transaction, id).await?,
            }
        }
        Ok(())
    }

    async fn remove(&mut self, transaction: &mut impl Transaction, ids: &[String]) -> Result<(), Fault> {
        for id in ids {
            if let Some(member) = find_member(transaction, self.setting, id).await? {
                self.remove_key(transaction, member, self.named(id)).await?;
            }
            if transaction.has_leavers() {
                self.forget(transaction, self.setting.id(id)).await?;
            }
        }
        Ok(())
    }

    /// Makes these ids the whole membership; rows that stay are not touched.
    pub(super) async fn replace(
        &mut self,
        transaction: &mut impl Transaction,
        ids: &[String],
    ) -> Result<(), Fault> {
        let mut wanted = HashSet::with_capacity(ids.len());
        let mut awaited = HashSet::new();
        for id in ids {
            match self.resolve(transaction, id).await? {
                Some(member) => {
                    wanted.insert(member);
                }
                None => {
                    awaited.insert(self.setting.id(id));
                }
            }
        }
        // The command will be refused.
        if !self.unknown.is_empty() {
            return Ok(());
        }
        if transaction.has_leavers() {
            for member in transaction.awaited_of(self.id).await? {
                if !awaited.contains(member.as_str()) {
                    self.forget(transaction, &member).await?;
                }
            }
        }
        for member in awaited {
            self.await_member(transaction, member).await?;
        }
        for member in transaction.member_keys(self.group).await? {
            if !wanted.remove(&member) {
                self.remove_key(transaction, member, None).await?;
            }
        }
        for member in wanted {
            if transaction.add_member(self.group, member).await? {
                self.note(member, true, None);
            }
        }
        Ok(())
    }

    async fn remove_matching(
        &mut self,
        transaction: &mut impl Transaction,
        filter: &Filter,
    ) -> Result<(), Fault> {
        if transaction.has_leavers() {
            for member in transaction.awaited_of(self.id).await? {
                if filter.matches_element(&json!({"value": member})) {
                    self.forget(transaction, &member).await?;
                }
            }
        }
        let mut after = 0;
        loop {
            let page = transaction.members(self.group, after, PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = *last;
            for (key, member) in &page {
                if filter.matches_element(&element(member)) {
                    self.remove_key(transaction, *key, Some(&member.id)).await?;
                }
            }
        }
    }

    async fn remove_key(
        &mut self,
        transaction: &mut impl Transaction,
        member: i64,
        id: Option<&str>,
    ) -> Result<(), StoreError> {
        if transaction.remove_member(self.group, member).await? {
            self.note(member, false, id);
        }
        Ok(())
    }

    async fn await_member(&mut self, transaction: &mut impl Transaction, id: &str) -> Result<(), StoreError> {
        let id = self.setting.id(id);
        if transaction.await_member(self.id, id).await? {
            self.note_pending(id, true);
        }
        Ok(())
    }

    async fn forget(&mut self, transaction: &mut impl Transaction, id: &str) -> Result<(), StoreError> {
        if transaction.forget_member(self.id, id).await? {
            self.note_pending(id, false);
        }
        Ok(())
    }

    fn note_pending(&mut self, id: &str, came: bool) {
        if self.pending.remove(id).is_none() {
            self.pending.insert(id.to_owned(), came);
        }
    }

    /// A member's id, from what a request calls it; `None` when that may be an `externalId`.
    fn named<'i>(&self, value: &'i str) -> Option<&'i str>
    where
        's: 'i,
    {
        (!self.setting.policy.match_external_id).then(|| self.setting.id(value))
    }

    /// The key of a member. `None` when it is unknown: then it can be pending, or it is noted.
    async fn resolve(
        &mut self,
        transaction: &mut impl Transaction,
        value: &str,
    ) -> Result<Option<i64>, StoreError> {
        let key = find_member(transaction, self.setting, value).await?;
        if key.is_none() && !(self.setting.policy.keep_unknown_members && value.len() <= MAX_VALUE) {
            self.unknown.push(value.to_owned());
        }
        Ok(key)
    }

    fn note(&mut self, member: i64, added: bool, id: Option<&str>) {
        if self.toggled.remove(&member).is_none() {
            // Beyond that many, none is named.
            let id = id.filter(|_| self.toggled.len() < MAX_MEMBER_IDS).map(str::to_owned);
            self.toggled.insert(member, Toggled { added, id });
        }
    }
}

/// The ids that a value filter names, when it does nothing else: `value eq "a" or value eq "b"`.
fn named(filter: &Filter) -> Option<Vec<String>> {
    match filter {
        Filter::Or(left, right) => {
            let mut ids = named(left)?;
            ids.extend(named(right)?);
            Some(ids)
        }
        Filter::Compare(attribute, Operator::Eq, Literal::String(id)) => {
            let leaf = attribute.sub_attribute.as_ref().unwrap_or(&attribute.attribute);
            (leaf.name == "value").then(|| vec![id.clone()])
        }
        _ => None,
    }
}

/// A member as a value filter sees it.
fn element(member: &Member) -> Value {
    let Member { id, resource_type, display } = member;
    let mut element = json!({"value": id, "type": resource_type});
    if let Some(display) = display {
        element["display"] = display.as_str().into();
    }
    element
}
