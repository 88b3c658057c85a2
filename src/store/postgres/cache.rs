//! Resources as they were read last, so that a read that finds nothing changed fetches nothing.
//!
//! Nothing here is answered by itself. Every move of a resource's version has its row in the tenant's audit log, and
//! rows are numbered in the order of the commits: all that is here of a tenant is as it was at one number of its log
//! or later, and a read asks the database, after it came, what has been appended since ([`Since`]). What that
//! says of a resource takes it out of here, and of a group also the users who show the group.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::get::Found;
use crate::scim::resource::Load;
use crate::store::audit::{MemberChanges, Operation};
use crate::store::metrics::StoreMetrics;

/// Bytes of the largest resource that is kept: a group of some hundred members.
const MAX_ENTRY: usize = 64 << 10;

/// What an entry takes beside its strings.
const OVERHEAD: usize = 256;

/// A place in a tenant's log: its number and the transaction that wrote it, which tells two histories apart when
/// the database was set back to an earlier moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    pub head: i64,
    pub batch: i64,
}

/// One row that was appended to a tenant's log.
#[derive(Debug)]
pub(super) struct Appended {
    pub sequence: i64,
    pub operation: Operation,
    pub id: String,
    /// Whether it may have changed what others show of it.
    pub renamed: bool,
    pub members: Option<MemberChanges>,
}

/// What was appended to a tenant's log since a place, up to another.
#[derive(Debug)]
pub(super) enum Since {
    /// Each row.
    Rows(Place, Vec<Appended>),
    /// Too much to tell, or another log.
    Unknown,
}

/// The cache. Two generations: what is used moves to the young one; when that has half of the bytes, what was
/// not used since the last time goes.
pub(super) struct Cache {
    most: usize,
    inner: Mutex<Inner>,
    metrics: StoreMetrics,
}

#[derive(Default)]
struct Inner {
    /// By the tenant's number in the database.
    tenants: HashMap<i64, Tenant>,
    young_bytes: usize,
    old_bytes: usize,
}

#[derive(Default)]
struct Tenant {
    place: Place,
    young: HashMap<String, Entry>,
    old: HashMap<String, Entry>,
    /// How many entries show a group of this id.
    shown: HashMap<String, usize>,
}

struct Entry {
    resource_type: String,
    load: Load,
    found: Found,
    bytes: usize,
}

impl Cache {
    /// A cache of so many bytes at most; 0 keeps nothing.
    pub(super) fn new(most: usize, metrics: StoreMetrics) -> Self {
        Self { most, inner: Mutex::default(), metrics }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is here of some resources, and the place it is to be validated against; nothing when nothing is.
    pub(super) fn look<'n>(
        &self,
        tenant: i64,
        load: Load,
        names: impl ExactSizeIterator<Item = (&'n str, &'n str)>,
    ) -> (Place, Vec<Option<Found>>) {
        let mut inner = self.inner();
        let inner = &mut *inner;
        let Some(cached) = inner.tenants.get_mut(&tenant) else {
            return (Place::default(), vec![None; names.len()]);
        };
        let found = names
            .map(|(resource_type, id)| {
                let answers =
                    |entry: &&Entry| entry.resource_type == resource_type && entry.load.includes(load);
                if let Some(entry) = cached.young.get(id) {
                    return Some(entry).filter(answers).map(|entry| entry.show(load));
                }
                let found = cached.old.get(id).filter(answers)?.show(load);
                if let Some((id, entry)) = cached.old.remove_entry(id) {
                    inner.old_bytes -= entry.bytes;
                    inner.young_bytes += entry.bytes;
                    cached.young.insert(id, entry);
                }
                Some(found)
            })
            .collect();
        let place = cached.place;
        self.turn(inner);
        (place, found)
    }

    /// Takes in what was appended to a tenant's log since a place that [`Self::look`] gave.
    pub(super) fn learn(&self, tenant: i64, since: &Since) {
        let mut inner = self.inner();
        let inner = &mut *inner;
        let Some(cached) = inner.tenants.get_mut(&tenant) else { return };
        match since {
            Since::Unknown => inner.forget(tenant),
            Since::Rows(place, _) if place.head <= cached.place.head => {}
            Since::Rows(place, rows) => {
                let news = rows.iter().filter(|row| row.sequence > cached.place.head);
                match Gone::of(news) {
                    Gone::Some { changed, related } => {
                        cached.place = *place;
                        let removed = cached.remove(&changed, &related);
                        inner.young_bytes -= removed.0;
                        inner.old_bytes -= removed.1;
                    }
                    Gone::All => inner.forget(tenant),
                }
            }
        }
        self.measure(inner);
    }

    /// Keeps what was read at a place of the tenant's log.
    pub(super) fn keep<'n>(
        &self,
        tenant: i64,
        load: Load,
        place: Place,
        found: impl Iterator<Item = (&'n str, &'n str, &'n Found)>,
    ) {
        if self.most == 0 {
            return;
        }
        let mut inner = self.inner();
        let inner = &mut *inner;
        let other = inner
            .tenants
            .get(&tenant)
            .is_some_and(|cached| cached.place.head == place.head && cached.place.batch != place.batch);
        if other {
            inner.forget(tenant);
        }
        let cached = inner.tenants.entry(tenant).or_insert_with(|| Tenant { place, ..Tenant::default() });
        // What was appended meanwhile has been taken in without these.
        if cached.place.head > place.head {
            return;
        }
        for (resource_type, id, found) in found {
            let bytes = weight(resource_type, id, found);
            if bytes > MAX_ENTRY {
                continue;
            }
            let removed = cached.take(id);
            inner.young_bytes -= removed.0;
            inner.old_bytes -= removed.1;
            for group in groups_of(found) {
                *cached.shown.entry(group.to_owned()).or_default() += 1;
            }
            inner.young_bytes += bytes;
            let entry = Entry { resource_type: resource_type.to_owned(), load, found: found.clone(), bytes };
            cached.young.insert(id.to_owned(), entry);
        }
        self.turn(inner);
        self.measure(inner);
    }

    /// Forgets what was not used, when the young generation is full.
    fn turn(&self, inner: &mut Inner) {
        if inner.young_bytes <= self.most / 2 {
            return;
        }
        for cached in inner.tenants.values_mut() {
            let old = std::mem::take(&mut cached.old);
            for entry in old.values() {
                cached.unshow(&entry.found);
            }
            cached.old = std::mem::take(&mut cached.young);
        }
        inner.tenants.retain(|_, cached| !cached.old.is_empty());
        (inner.old_bytes, inner.young_bytes) = (inner.young_bytes, 0);
    }

    fn measure(&self, inner: &Inner) {
        let bytes = inner.young_bytes + inner.old_bytes;
        self.metrics.cache_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

impl Inner {
    fn forget(&mut self, tenant: i64) {
        if let Some(cached) = self.tenants.remove(&tenant) {
            self.young_bytes -= cached.young.values().map(|entry| entry.bytes).sum::<usize>();
            self.old_bytes -= cached.old.values().map(|entry| entry.bytes).sum::<usize>();
        }
    }
}

impl Tenant {
    /// Removes an entry; the bytes that the two generations lose.
    fn take(&mut self, id: &str) -> (usize, usize) {
        let mut bytes = (0, 0);
        if let Some(entry) = self.young.remove(id) {
            bytes.0 = entry.bytes;
            self.unshow(&entry.found);
        }
        if let Some(entry) = self.old.remove(id) {
            bytes.1 = entry.bytes;
            self.unshow(&entry.found);
        }
        bytes
    }

    fn unshow(&mut self, found: &Found) {
        for group in groups_of(found) {
            if let Some(count) = self.shown.get_mut(group) {
                *count -= 1;
                if *count == 0 {
                    self.shown.remove(group);
                }
            }
        }
    }

    fn remove(&mut self, changed: &HashSet<&str>, related: &HashSet<&str>) -> (usize, usize) {
        // Mostly nobody shows them: then there is nothing to look through.
        let shown: HashSet<&str> =
            related.iter().copied().filter(|id| self.shown.contains_key(*id)).collect();
        let mut ids: Vec<String> = changed.union(related).map(|id| (*id).to_owned()).collect();
        if !shown.is_empty() {
            let entries = self.young.iter().chain(&self.old);
            let showing =
                entries.filter(|(_, entry)| groups_of(&entry.found).any(|group| shown.contains(group)));
            ids.extend(showing.map(|(id, _)| id.clone()));
        }
        ids.iter().fold((0, 0), |sum, id| {
            let bytes = self.take(id);
            (sum.0 + bytes.0, sum.1 + bytes.1)
        })
    }
}

impl Entry {
    fn show(&self, load: Load) -> Found {
        let (row, mut related) = self.found.clone();
        related.members = related.members.filter(|_| load.members);
        related.groups = related.groups.filter(|_| load.groups);
        (row, related)
    }
}

/// What some rows of the log make untrue.
pub(super) enum Gone<'r> {
    /// The log does not say.
    All,
    Some {
        /// Resources that changed themselves.
        changed: HashSet<&'r str>,
        /// Those who joined or left a group, and groups of another name: they, and whoever shows them as a group.
        related: HashSet<&'r str>,
    },
}

impl Since {
    /// What is not true any more.
    pub(super) fn gone(&self) -> Gone<'_> {
        match self {
            Self::Rows(_, rows) => Gone::of(rows.iter()),
            Self::Unknown => Gone::All,
        }
    }
}

impl<'r> Gone<'r> {
    fn of(rows: impl Iterator<Item = &'r Appended>) -> Self {
        let (mut changed, mut related) = (HashSet::new(), HashSet::new());
        for row in rows {
            changed.insert(row.id.as_str());
            if row.renamed {
                related.insert(row.id.as_str());
            }
            if row.operation == Operation::MembersPending {
                continue;
            }
            if let Some(members) = &row.members {
                let Some(ids) = &members.ids else { return Self::All };
                related.extend(ids.added.iter().chain(&ids.removed).map(String::as_str));
            }
        }
        Self::Some { changed, related }
    }

    /// Whether a resource is not what it was.
    pub(super) fn includes(&self, id: &str, found: &Found) -> bool {
        match self {
            Self::All => true,
            Self::Some { changed, related } => {
                changed.contains(id)
                    || related.contains(id)
                    || groups_of(found).any(|group| related.contains(group))
            }
        }
    }
}

fn groups_of(found: &Found) -> impl Iterator<Item = &str> {
    found.1.groups.iter().flatten().map(|group| group.id.as_str())
}

fn weight(resource_type: &str, id: &str, (row, related): &Found) -> usize {
    let groups = related.groups.iter().flatten();
    let groups = groups.map(|group| 64 + group.id.len() + group.display.as_ref().map_or(0, String::len));
    let members = related.members.iter().flatten();
    let members = members.map(|member| {
        80 + member.id.len() + member.resource_type.len() + member.display.as_ref().map_or(0, String::len)
    });
    OVERHEAD + resource_type.len() + id.len() + row.body.len() + groups.chain(members).sum::<usize>()
}
