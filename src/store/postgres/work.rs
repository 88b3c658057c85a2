//! What a transaction knows and has still to write. The tenant's row is locked while it lives, so that nobody
//! else writes: what was read once stays true, and writes wait in memory until they are asked for by something
//! only the database can answer, or until the commit. A batch of many requests so comes to two round trips:
//! lock and fetch, then write and commit.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use jiff::Timestamp;
use tokio_postgres::Row;

use super::failure::Failure;
use super::idempotency::Fresh;
use super::pool::Link;
use super::tenants::State;
use super::value::{get, optional_text, text, time};
use crate::scim::member::GroupRef;

/// A resource's row, as far as it is known.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub resource_type: String,
    pub id: String,
    pub version: u64,
    pub created: Timestamp,
    pub last_modified: Timestamp,
    pub display: Option<String>,
    /// `None` when it was not fetched.
    pub body: Option<Bytes>,
    /// Whether it is a member of a group, or was when it was read.
    pub grouped: bool,
}

/// The columns of [`Work::learn`], of `resource r`; `$1` is the tenant and `want` whether the body is wanted.
macro_rules! columns {
    ($want:literal) => {
        concat!(
            "r.key, r.type, r.id, r.version, r.created, r.last_modified, r.display,
             CASE WHEN ",
            $want,
            " THEN r.body END,
             EXISTS (SELECT 1 FROM scim.member m WHERE m.tenant = r.tenant AND m.member = r.key)"
        )
    };
}
pub(super) use columns;

/// A group's members.
#[derive(Debug, Default)]
pub(super) struct Roll {
    /// Whether those that are not named here are no members.
    pub complete: bool,
    /// Whether a resource is a member.
    pub known: BTreeMap<i64, bool>,
}

/// An entry's attribute and value.
pub(super) type Name = (String, String);

/// What waits to be written.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub inserted: BTreeSet<i64>,
    /// Whether the content changes, or only version and time.
    pub updated: BTreeMap<i64, bool>,
    pub deleted: Vec<i64>,
    /// Index entries by attribute, value and slot; whose.
    pub entries_added: BTreeMap<(Name, i64), i64>,
    pub entries_removed: BTreeSet<(Name, i64, i64)>,
    /// By group and member.
    pub members_added: BTreeSet<(i64, i64)>,
    pub members_removed: BTreeSet<(i64, i64)>,
    pub changes: Vec<ChangeRow>,
    pub answers: Vec<Fresh>,
}

/// A row of the audit log.
#[derive(Debug)]
pub(super) struct ChangeRow {
    pub sequence: i64,
    pub time: i64,
    pub operation: i64,
    pub resource_type: String,
    pub id: Bytes,
    pub before: Option<i64>,
    pub after: Option<i64>,
    pub actor: Bytes,
    pub client: Option<String>,
    pub request: Bytes,
    pub attributes: String,
    pub members: Option<String>,
    pub values: Option<String>,
}

/// One tenant's open transaction.
pub(super) struct Work<'l> {
    pub link: &'l mut Link,
    pub tenant: i64,
    pub now: Timestamp,
    /// What tells the rows of this transaction from those of another.
    pub batch: i64,
    pub state: State,
    /// The state as it is in the database.
    pub stored: State,
    /// The key of the resource of a type and id; `None` when there is none.
    pub rows: HashMap<Name, Option<i64>>,
    pub known: HashMap<i64, Known>,
    /// Whose an index entry of a unique attribute is: slots and keys, all of them.
    pub owners: HashMap<Name, BTreeMap<i64, i64>>,
    pub rolls: HashMap<i64, Roll>,
    /// Resources that became members meanwhile.
    pub joined: HashSet<i64>,
    /// The groups of resources; all forgotten when a membership changes or a group's name.
    pub groups: HashMap<i64, Vec<GroupRef>>,
    pub pending: Pending,
    /// Counts what was changed, to tell whether something was.
    pub changes: u64,
    /// What went wrong with the database, more exactly than a [`crate::store::StoreError`] says.
    pub failure: Option<Failure>,
}

impl<'l> Work<'l> {
    pub(super) fn new(link: &'l mut Link, tenant: i64, now: Timestamp, batch: i64, state: State) -> Self {
        let stored = state.clone();
        let (rows, known, owners, rolls, joined, groups) = Default::default();
        let (pending, changes, failure) = Default::default();
        Self {
            link,
            tenant,
            now,
            batch,
            state,
            stored,
            rows,
            known,
            owners,
            rolls,
            joined,
            groups,
            pending,
            changes,
            failure,
        }
    }

    /// Forgets everything that was read or waits to be written, and takes up an earlier state.
    pub(super) fn reset(&mut self, state: State) {
        let next_key = self.state.next_key;
        self.state = state;
        // Keys are not given twice, whatever became of the first.
        self.state.next_key = next_key;
        self.rows.clear();
        self.known.clear();
        self.owners.clear();
        self.rolls.clear();
        self.joined.clear();
        self.groups.clear();
        self.pending = Pending::default();
    }

    /// Takes in a row of [`columns`]; its key.
    pub(super) fn learn(&mut self, row: &Row) -> Result<i64, Failure> {
        let key = get(row, 0)?;
        let known = Known {
            resource_type: get(row, 1)?,
            id: text(row, 2)?,
            version: get::<i64>(row, 3)?.cast_unsigned(),
            created: time(row, 4)?,
            last_modified: time(row, 5)?,
            display: optional_text(row, 6)?,
            body: get::<Option<&[u8]>>(row, 7)?.map(Bytes::copy_from_slice),
            grouped: get(row, 8)?,
        };
        self.rows.insert((known.resource_type.clone(), known.id.clone()), Some(key));
        self.known.insert(key, known);
        Ok(key)
    }

    /// Takes in rows of attribute, value, slot and resource for unique entries, after which all is known of
    /// `names`.
    pub(super) fn learn_owners(
        &mut self,
        names: impl IntoIterator<Item = Name>,
        rows: &[Row],
    ) -> Result<(), Failure> {
        for name in names {
            self.owners.entry(name).or_default();
        }
        for row in rows {
            let name = (get(row, 0)?, text(row, 1)?);
            self.owners.entry(name).or_default().insert(get(row, 2)?, get(row, 3)?);
        }
        Ok(())
    }

    /// A key for a new row.
    pub(super) fn next_key(&mut self) -> i64 {
        let key = self.state.next_key;
        self.state.next_key += 1;
        key
    }

    pub(super) fn count(&mut self, name: &str, by: i64) {
        if by == 0 {
            return;
        }
        match self.state.counts.get_mut(name) {
            Some(count) => *count += by,
            None => {
                self.state.counts.insert(name.to_owned(), by);
            }
        }
    }

    /// Whether the database knows a resource as no member of a group, and nothing here says otherwise.
    pub(super) fn is_ungrouped(&self, key: i64) -> bool {
        self.known.get(&key).is_some_and(|known| !known.grouped) && !self.joined.contains(&key)
    }

    /// Notes that a resource's row is other than it was.
    pub(super) fn touched(&mut self, key: i64, content: bool) {
        self.changes += 1;
        if !self.pending.inserted.contains(&key) {
            *self.pending.updated.entry(key).or_default() |= content;
        }
    }
}
