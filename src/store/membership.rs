//! One command's changes of one group's membership, row by row, so that they cost what they change and
//! not what the group holds.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};

use super::StoreError;
use super::audit::{MAX_MEMBER_IDS, MemberChanges, MemberIds};
use super::execute::{Fault, Transaction};
use crate::scim::error::ScimError;
use crate::scim::filter::{Filter, Literal, Operator};
use crate::scim::member::{Member, MemberChange};

/// Members read at a time while a filter looks for those to remove.
const PAGE: usize = 1000;

/// The membership of one group under one command.
#[derive(Debug)]
pub(super) struct Membership {
    group: i64,
    /// Members whose state differs from what it was before the command: a member that is removed and
    /// added again has not changed.
    toggled: BTreeMap<i64, Toggled>,
    /// Ids that are neither a user nor a group of this tenant.
    unknown: Vec<String>,
}

/// How a member's state differs from what it was.
#[derive(Debug)]
struct Toggled {
    added: bool,
    /// Its id, where that was at hand.
    id: Option<String>,
}

impl Membership {
    /// No change yet.
    pub(super) fn of(group: i64) -> Self {
        Self { group, toggled: BTreeMap::new(), unknown: Vec::new() }
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

    /// Refuses the command when it named members that do not exist: every one is in the message.
    pub(super) fn finish(&self) -> Result<(), ScimError> {
        if self.unknown.is_empty() {
            return Ok(());
        }
        let mut seen = HashSet::new();
        let ids = self.unknown.iter().filter(|id| seen.insert(*id));
        let ids: Vec<_> = ids.map(|id| format!("{id:?}")).collect();
        Err(ScimError::invalid_value(format!(
            "members: no User or Group here has the id {}; nothing was changed",
            ids.join(", ")
        )))
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
            members.extend(self.resolve(transaction, id).await?.map(|key| (key, id)));
        }
        if self.unknown.is_empty() {
            for (member, id) in members {
                if transaction.add_member(self.group, member).await? {
                    self.note(member, true, Some(id));
                }
            }
        }
        Ok(())
    }

    async fn remove(&mut self, transaction: &mut impl Transaction, ids: &[String]) -> Result<(), Fault> {
        for id in ids {
            if let Some(member) = transaction.member_key(id).await? {
                self.remove_key(transaction, member, Some(id)).await?;
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
        for id in ids {
            wanted.extend(self.resolve(transaction, id).await?);
        }
        // The command will be refused.
        if !self.unknown.is_empty() {
            return Ok(());
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

    async fn resolve(
        &mut self,
        transaction: &mut impl Transaction,
        id: &str,
    ) -> Result<Option<i64>, StoreError> {
        let key = transaction.member_key(id).await?;
        if key.is_none() {
            self.unknown.push(id.to_owned());
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
