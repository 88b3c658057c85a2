//! Where pages of lists began: so that a client that walks by `startIndex` does not have the database step over all
//! that came before, page after page.
//!
//! An anchor says that so many resources of a type have an id up to this one. A new resource's id is above all others,
//! and leaves anchors as they are; any other that comes or goes ends them. The writer says so before it commits, and
//! a reader compares the commit that it sees with the one that ended them.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Anchors of a type at most; past that every second goes.
const MOST: usize = 1024;

/// The anchors of all tenants. Cloning shares them.
#[derive(Clone)]
pub(super) struct Anchors {
    /// Commits so far.
    commits: Arc<AtomicU64>,
    walks: Arc<Mutex<HashMap<i64, HashMap<String, Walk>>>>,
}

/// One type of one tenant.
#[derive(Default)]
struct Walk {
    /// By how many resources there are up to it: an id.
    anchors: BTreeMap<u64, String>,
    /// The commit that ended the anchors before.
    ended: u64,
    /// The newest commit that adds resources, and the lowest of their ids.
    added: Option<(u64, String)>,
}

impl Anchors {
    pub(super) fn new(commits: Arc<AtomicU64>) -> Self {
        Self { commits, walks: Arc::default() }
    }

    fn change(&self, tenant: i64, resource_type: &str, change: impl FnOnce(&mut Walk, u64)) {
        let commit = self.commits.load(Ordering::SeqCst) + 1;
        let mut walks = self.walks();
        let walks = walks.entry(tenant).or_default();
        match walks.get_mut(resource_type) {
            Some(walk) => change(walk, commit),
            None => change(walks.entry(resource_type.to_owned()).or_default(), commit),
        }
    }

    /// The next commit adds a resource.
    pub(super) fn added(&self, tenant: i64, resource_type: &str, id: &str) {
        self.change(tenant, resource_type, |walk, commit| {
            if walk.anchors.last_key_value().is_some_and(|(_, anchor)| **anchor >= *id) {
                walk.anchors.clear();
                walk.ended = commit;
            }
            match &mut walk.added {
                Some((newest, lowest)) if *newest == commit => {
                    if *id < **lowest {
                        id.clone_into(lowest);
                    }
                }
                added => *added = Some((commit, id.to_owned())),
            }
        });
    }

    /// The next commit removes a resource.
    pub(super) fn removed(&self, tenant: i64, resource_type: &str) {
        self.change(tenant, resource_type, |walk, commit| {
            walk.anchors.clear();
            walk.ended = commit;
        });
    }

    /// The last anchor up to an index, for a reader that sees this commit.
    pub(super) fn before(
        &self,
        tenant: i64,
        resource_type: &str,
        index: u64,
        commit: u64,
    ) -> Option<(u64, String)> {
        let walks = self.walks();
        let walk = walks.get(&tenant)?.get(resource_type).filter(|walk| commit >= walk.ended)?;
        walk.anchors.range(..=index).next_back().map(|(index, id)| (*index, id.clone()))
    }

    /// How far the last anchor is before an index.
    pub(super) fn distance(&self, tenant: i64, resource_type: &str, index: u64) -> u64 {
        self.before(tenant, resource_type, index, u64::MAX).map_or(index, |(anchor, _)| index - anchor)
    }

    /// A reader that sees this commit found that so many resources have an id up to this one.
    pub(super) fn remember(&self, tenant: i64, resource_type: &str, index: u64, id: &str, commit: u64) {
        self.change(tenant, resource_type, |walk, _| {
            let unseen = match &walk.added {
                Some((newest, lowest)) if *newest == commit + 1 => **lowest <= *id,
                Some((newest, _)) => *newest > commit,
                None => false,
            };
            if unseen || commit < walk.ended {
                return;
            }
            walk.anchors.insert(index, id.to_owned());
            if walk.anchors.len() > MOST {
                let mut second = false;
                walk.anchors.retain(|_, _| {
                    second = !second;
                    second
                });
            }
        });
    }

    fn walks(&self) -> MutexGuard<'_, HashMap<i64, HashMap<String, Walk>>> {
        self.walks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(anchors: &Anchors, index: u64) -> Option<u64> {
        let commit = anchors.commits.load(Ordering::SeqCst);
        anchors.before(1, "User", index, commit).map(|(index, _)| index)
    }

    #[test]
    fn anchor_holds_until_a_resource_before_it_comes_or_goes() {
        let commits = Arc::new(AtomicU64::new(5));
        let anchors = Anchors::new(Arc::clone(&commits));
        anchors.remember(1, "User", 100, "c", 5);
        anchors.remember(1, "User", 200, "e", 5);
        assert_eq!(found(&anchors, 99), None);
        assert_eq!(found(&anchors, 199), Some(100));
        assert_eq!(found(&anchors, 500), Some(200));
        assert_eq!(anchors.distance(1, "User", 250), 50);
        anchors.added(1, "User", "f");
        assert_eq!(found(&anchors, 500), Some(200), "it comes after them all");
        anchors.removed(1, "Group");
        assert_eq!(found(&anchors, 500), Some(200), "another type");
        anchors.added(1, "User", "d");
        assert_eq!(found(&anchors, 500), None);
        // What a reader saw before that commit is of no use after it.
        anchors.remember(1, "User", 100, "c", 5);
        assert_eq!(found(&anchors, 500), None);
        commits.store(6, Ordering::SeqCst);
        anchors.remember(1, "User", 100, "c", 6);
        assert_eq!(found(&anchors, 500), Some(100));
        anchors.removed(1, "User");
        assert_eq!(found(&anchors, 500), None);
    }

    #[test]
    fn reader_that_does_not_see_a_resource_leaves_no_anchor_behind_it() {
        let anchors = Anchors::new(Arc::new(AtomicU64::new(5)));
        anchors.added(1, "User", "d");
        anchors.remember(1, "User", 10, "c", 5);
        anchors.remember(1, "User", 20, "e", 5);
        assert_eq!(found(&anchors, 500), Some(10));
    }

    #[test]
    fn there_are_not_ever_more_of_them() {
        let anchors = Anchors::new(Arc::default());
        for index in 0..10_000 {
            anchors.remember(1, "User", index, &format!("{index:05}"), 0);
        }
        assert!(anchors.walks()[&1]["User"].anchors.len() <= MOST);
        assert!(anchors.distance(1, "User", 9_999) < 10);
    }
}
