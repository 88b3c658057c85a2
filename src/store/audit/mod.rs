//! The audit log, which is also the change feed: who changed what, one row for each changed resource,
//! appended in the transaction of the change.
//!
//! [`super::Store::changes`] reads it and says what is promised. A row names the attributes that changed;
//! it holds values only where the tenant asked for it, and never one that is not returned to clients.

mod changed;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use jiff::Timestamp;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};

use super::StoreError;
pub(super) use changed::{Changed, changed};

/// Ids of members that one row names at most. A larger change is counted only: who replicates a group then
/// reads it whole.
pub const MAX_MEMBER_IDS: usize = 1000;

/// Rows that one call of [`super::Store::changes`] answers with at most.
pub const MAX_CHANGES: usize = 1000;

/// A row's place in its tenant's log: 1, 2, 3, … without a gap, in the order of the commits.
pub type Sequence = u64;

/// What was done to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// POST made it.
    Create,
    /// PUT.
    Replace,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
    /// A member of this group was deleted, and so left it.
    MemberDeleted,
    /// A member of this group has another `displayName`, which the group shows.
    MemberRenamed,
    /// POST made it again: it was retained, and has its old id (`onRecreate: Restore`).
    Recreate,
    /// An operator brought it back: it was retained.
    Restore,
    /// Its retention was over, and it was erased. Readers had it no more since its `Delete`.
    Purge,
    /// A member of this group was deactivated, and so left it (`onDeactivate`).
    MemberDeactivated,
    /// A member that this group awaited is there.
    MemberArrived,
    /// This group was pushed with members that do not exist: `members` names them, and they are none yet
    /// (`unknownMembers: Pending`), or are awaited no more. The version does not move.
    MembersPending,
}

impl Operation {
    /// Every operation with its number in the store and its name. A number is never given to another.
    const TABLE: &[(Self, i64, &str)] = &[
        (Self::Create, 1, "create"),
        (Self::Replace, 2, "replace"),
        (Self::Patch, 3, "patch"),
        (Self::Delete, 4, "delete"),
        (Self::MemberDeleted, 5, "member-deleted"),
        (Self::MemberRenamed, 6, "member-renamed"),
        (Self::Recreate, 7, "recreate"),
        (Self::Restore, 8, "restore"),
        (Self::Purge, 9, "purge"),
        (Self::MemberDeactivated, 10, "member-deactivated"),
        (Self::MemberArrived, 11, "member-arrived"),
        (Self::MembersPending, 12, "members-pending"),
    ];

    /// Every operation.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::TABLE.iter().map(|(operation, ..)| *operation)
    }

    /// Its name for people and programs: `create`.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::TABLE.iter().find(|(known, ..)| *known == self).map_or("", |(_, _, name)| name)
    }

    /// Its number in the store.
    pub(super) fn code(self) -> i64 {
        Self::TABLE.iter().find(|(known, ..)| *known == self).map_or(0, |(_, code, _)| *code)
    }

    /// The operation of a number in the store.
    pub(super) fn from_code(code: i64) -> Option<Self> {
        Self::TABLE.iter().find(|(_, known, _)| *known == code).map(|(operation, ..)| *operation)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Operation {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::TABLE.iter().find(|(_, _, known)| *known == name).map(|(operation, ..)| *operation);
        found.ok_or_else(|| {
            let names: Vec<_> = Self::all().map(Self::name).collect();
            format!("there is no operation {name:?}; the operations are {}", names.join(", "))
        })
    }
}

impl Serialize for Operation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Operation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// One row: what one write did to one resource.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Its place in the tenant's log.
    pub sequence: Sequence,
    /// When, in whole milliseconds; never before the row before it, whatever the clock did.
    #[serde(serialize_with = "milliseconds")]
    pub time: Timestamp,
    /// Who authenticated: the name of a token, or the subject of an OAuth token.
    pub actor: String,
    /// Where the request came from; `None` for what the server did by itself.
    pub client: Option<IpAddr>,
    /// The request's id, as in the log.
    pub request_id: String,
    /// What was done.
    pub operation: Operation,
    /// The resource's type.
    pub resource_type: String,
    /// The resource's id.
    pub resource_id: String,
    /// Its version before; `None` when it was not there.
    pub version_before: Option<u64>,
    /// Its version after; `None` when it is not there any more.
    pub version_after: Option<u64>,
    /// The attributes that changed, by their full paths: `name.familyName`, `emails`, `URN:department`,
    /// `members`.
    pub attributes: Vec<String>,
    /// What became of a group's membership; `None` when nothing did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<MemberChanges>,
    /// Old and new values by attribute path, where the tenant keeps them (`spec.audit.values`).
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "old_and_new")]
    pub values: Option<Map<String, Value>>,
}

/// What one write did to a group's membership.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberChanges {
    /// How many members were added.
    pub added: u64,
    /// How many were removed.
    pub removed: u64,
    /// Who; `None` when there were more than [`MAX_MEMBER_IDS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<MemberIds>,
}

impl MemberChanges {
    /// One member less.
    pub(super) fn removal(id: &str) -> Self {
        let ids = MemberIds { added: Vec::new(), removed: vec![id.to_owned()] };
        Self { added: 0, removed: 1, ids: Some(ids) }
    }

    /// One member more.
    pub(super) fn addition(id: &str) -> Self {
        let ids = MemberIds { added: vec![id.to_owned()], removed: Vec::new() };
        Self { added: 1, removed: 0, ids: Some(ids) }
    }
}

/// The ids of members that came and went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberIds {
    /// Those added.
    pub added: Vec<String>,
    /// Those removed.
    pub removed: Vec<String>,
}

/// A row that is about to be appended: all of [`Change`] that the command knows.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    /// [`Change::operation`].
    pub operation: Operation,
    /// [`Change::resource_type`].
    pub resource_type: &'a str,
    /// [`Change::resource_id`].
    pub id: &'a str,
    /// [`Change::version_before`].
    pub before: Option<u64>,
    /// [`Change::version_after`].
    pub after: Option<u64>,
    /// [`Change::attributes`] and [`Change::values`].
    pub changed: Changed,
    /// [`Change::members`].
    pub members: Option<MemberChanges>,
}

/// Where in a tenant's log to begin to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The oldest row there is: whoever asks so has seen nothing and misses nothing.
    Oldest,
    /// The row after this one, which the reader has seen; 0 for the first row that ever was.
    After(Sequence),
    /// The first row of this time or later that there is.
    Time(Timestamp),
}

/// Some of a tenant's log.
#[derive(Debug, Clone, PartialEq)]
pub struct Changes {
    /// The rows, each one more than the one before.
    pub changes: Vec<Change>,
    /// What to ask for next: [`From::After`] this.
    pub next: Sequence,
    /// The newest row of the tenant; there is more to read when it is above `next`.
    pub head: Sequence,
}

/// Why a tenant's log cannot be read from where the reader stands.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FeedError {
    /// Rows that the reader has not seen are gone: it must read the tenant's resources anew.
    #[error(
        "the changes after {after} are no longer all there: they were pruned up to {pruned}; read the resources anew and go on after {head}"
    )]
    Pruned {
        /// What the reader has seen.
        after: Sequence,
        /// The last row that is gone.
        pruned: Sequence,
        /// The newest row.
        head: Sequence,
    },
    /// The reader has seen rows that there never were: this is another log, such as that of a restored backup.
    #[error(
        "change {after} is not of this log, whose newest is {head}: the tenant was purged or the database restored; read the resources anew and go on after {head}"
    )]
    Ahead {
        /// What the reader has seen.
        after: Sequence,
        /// The newest row.
        head: Sequence,
    },
    /// The store cannot say.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What keeps a tenant's log bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Rows older than this go.
    pub before: Timestamp,
    /// Rows that stay at most; the oldest go.
    pub max_entries: u64,
}

/// What a step of pruning did, and what is there after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Rows removed.
    pub removed: u64,
    /// Rows that are there.
    pub entries: u64,
    /// The time of the oldest row that is there.
    pub oldest: Option<Timestamp>,
    /// Whether there is more to remove.
    pub more: bool,
}

fn milliseconds<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.3}"))
}

/// Stored as `[old, new]`, shown by name.
#[expect(clippy::ref_option, reason = "serde passes fields so")]
fn old_and_new<S: Serializer>(values: &Option<Map<String, Value>>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct OldAndNew<'a> {
        old: &'a Value,
        new: &'a Value,
    }
    let mut map = serializer.serialize_map(None)?;
    for (path, pair) in values.iter().flatten() {
        let side = |index: usize| pair.get(index).unwrap_or(&Value::Null);
        map.serialize_entry(path, &OldAndNew { old: side(0), new: side(1) })?;
    }
    map.end()
}
