//! What the server must have, from what it acknowledged.
//!
//! A request that was answered with success has happened; one that was refused has not. One whose answer was lost, or
//! was a 5xx, may have: then a resource may be in several states, until a later acknowledgement settles it. A request
//! that was given up may even take effect later, when a retry of it has long been answered: what it would have made
//! of the resource is kept, so that this is told apart from a lost write.

use std::collections::{HashMap, HashSet};

use super::population::UserRecord;

/// More open states than this and a resource is no longer compared.
const MOST_STATES: usize = 16;

/// The states that something may be in: one, unless the outcome of a request is open.
#[derive(Debug, Clone)]
pub struct Possible<T> {
    latest: T,
    open: Option<Box<Open<T>>>,
}

#[derive(Debug, Clone)]
struct Open<T> {
    /// Beside `latest`.
    others: Vec<T>,
    /// What requests without an answer would have made, at whatever time.
    late: Vec<T>,
    /// There were too many.
    anything: bool,
}

/// What comparing with what is there says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// It is as acknowledged.
    Same,
    /// It is one of the states that were left open.
    Open,
    /// Only a request without an answer that took effect later explains it.
    Late,
    /// Nothing explains it.
    Different,
}

impl<T: Clone + PartialEq> Possible<T> {
    /// Surely this.
    pub fn new(state: T) -> Self {
        Self { latest: state, open: None }
    }

    /// The state by the last acknowledgement, or the likeliest.
    pub fn latest(&self) -> &T {
        &self.latest
    }

    /// Whether there is one state only.
    pub fn is_settled(&self) -> bool {
        self.open.as_ref().is_none_or(|open| open.others.is_empty() && !open.anything)
    }

    /// The server said that it made this change.
    pub fn acknowledged(&mut self, change: impl Fn(&T) -> T) {
        self.latest = change(&self.latest);
        if let Some(open) = &mut self.open {
            for other in &mut open.others {
                *other = change(other);
            }
            let latest = &self.latest;
            open.others.retain(|other| other != latest);
            open.others.dedup();
        }
    }

    /// The server was asked for this change and nobody knows what became of it.
    pub fn uncertain(&mut self, change: impl Fn(&T) -> T) {
        let latest = self.latest.clone();
        let open = self
            .open
            .get_or_insert_with(|| Box::new(Open { others: Vec::new(), late: Vec::new(), anything: false }));
        let changed: Vec<T> = open.others.iter().chain([&latest]).map(&change).collect();
        for state in changed {
            if !open.late.contains(&state) {
                open.late.push(state.clone());
            }
            if state != latest && !open.others.contains(&state) {
                open.others.push(state);
            }
        }
        if open.others.len() > MOST_STATES || open.late.len() > 4 * MOST_STATES {
            open.anything = true;
            open.others.truncate(MOST_STATES);
            open.late.truncate(MOST_STATES);
        }
    }

    /// It was seen to be this, when nothing that changes it was under way.
    pub fn seen(&mut self, state: &T) {
        self.acknowledged(|_| state.clone());
        if let Some(open) = &mut self.open {
            open.others.clear();
            open.anything = false;
        }
    }

    /// It may be anything; `likely` is what to work with.
    pub fn unknown(&mut self, likely: T) {
        self.latest = likely;
        let others = Vec::new();
        let late = self.open.take().map(|open| open.late).unwrap_or_default();
        self.open = Some(Box::new(Open { others, late, anything: true }));
    }

    /// Compares with what is there. `is` tells whether a state is what is there.
    pub fn compare(&self, is: impl Fn(&T) -> bool) -> Agreement {
        if is(&self.latest) {
            return Agreement::Same;
        }
        match &self.open {
            Some(open) if open.anything || open.others.iter().any(&is) => Agreement::Open,
            Some(open) if open.late.iter().any(&is) => Agreement::Late,
            _ => Agreement::Different,
        }
    }
}

/// A user: none when it does not exist.
#[derive(Debug, Clone)]
pub struct User {
    /// The server's id, once it is known.
    pub id: Option<Box<str>>,
    /// Its state.
    pub state: Possible<Option<UserRecord>>,
    /// Creations that may have happened beside the one that was acknowledged.
    pub uncertain_creations: u16,
}

/// A group.
#[derive(Debug, Clone)]
pub struct Group {
    /// The server's id, once it is known.
    pub id: Option<Box<str>>,
    /// How often it was renamed; none when it does not exist.
    pub state: Possible<Option<u16>>,
    /// Users that are, were or may be members.
    pub members: HashMap<u32, Possible<bool>>,
    /// Creations that may have happened beside the one that was acknowledged.
    pub uncertain_creations: u16,
}

impl Default for User {
    fn default() -> Self {
        Self { id: None, state: Possible::new(None), uncertain_creations: 0 }
    }
}

impl Default for Group {
    fn default() -> Self {
        Self { id: None, state: Possible::new(None), members: HashMap::new(), uncertain_creations: 0 }
    }
}

impl Group {
    /// The membership of a user.
    pub fn member(&mut self, user: u32) -> &mut Possible<bool> {
        self.members.entry(user).or_insert_with(|| Possible::new(false))
    }

    /// Whether the user is a member, by the last acknowledgement.
    #[must_use]
    pub fn has(&self, user: u32) -> bool {
        self.members.get(&user).is_some_and(|member| *member.latest())
    }
}

/// All of one tenant.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// By number.
    pub users: Vec<User>,
    /// By number.
    pub groups: Vec<Group>,
    /// Ids of users who were deleted, or may have been.
    pub former: HashSet<Box<str>>,
}

impl Model {
    /// An empty tenant for this many users and groups.
    #[must_use]
    pub fn new(users: u32, groups: u32) -> Self {
        let (users, groups) =
            (vec![User::default(); users as usize], vec![Group::default(); groups as usize]);
        Self { users, groups, former: HashSet::new() }
    }

    /// The user at a number.
    pub fn user(&mut self, user: u32) -> &mut User {
        &mut self.users[user as usize]
    }

    /// The group at a number.
    pub fn group(&mut self, group: u32) -> &mut Group {
        &mut self.groups[group as usize]
    }

    /// The id of a user who is surely there.
    #[must_use]
    pub fn id_of(&self, user: u32) -> Option<&str> {
        let user = &self.users[user as usize];
        (user.state.is_settled() && user.state.latest().is_some()).then_some(user.id.as_deref()).flatten()
    }

    /// The state of a user who is surely there.
    #[must_use]
    pub fn record_of(&self, user: u32) -> Option<UserRecord> {
        let state = &self.users[user as usize].state;
        if state.is_settled() { *state.latest() } else { None }
    }

    /// The user is no longer there, nor in any group.
    pub fn deleted(&mut self, user: u32) {
        self.user(user).state.acknowledged(|_| None);
        self.former.extend(self.users[user as usize].id.clone());
        for group in &mut self.groups {
            if let Some(member) = group.members.get_mut(&user) {
                member.acknowledged(|_| false);
            }
        }
    }

    /// The user may no longer be there, and then is in no group.
    pub fn maybe_deleted(&mut self, user: u32) {
        self.user(user).state.uncertain(|_| None);
        self.former.extend(self.users[user as usize].id.clone());
        for group in &mut self.groups {
            if let Some(member) = group.members.get_mut(&user) {
                member.uncertain(|_| false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_after_a_lost_answer_is_either_until_the_retry_is_answered() {
        let mut title = Possible::new(1);
        title.uncertain(|_| 2);
        assert!(!title.is_settled());
        assert_eq!(title.compare(|state| *state == 1), Agreement::Same);
        assert_eq!(title.compare(|state| *state == 2), Agreement::Open);
        assert_eq!(title.compare(|state| *state == 3), Agreement::Different);
        title.acknowledged(|_| 2);
        assert!(title.is_settled());
        assert_eq!(title.compare(|state| *state == 1), Agreement::Different);
    }

    #[test]
    fn write_without_an_answer_may_come_late_and_is_told_apart_from_a_lost_one() {
        let mut title = Possible::new(1);
        title.uncertain(|_| 2);
        title.acknowledged(|_| 2);
        title.acknowledged(|_| 3);
        assert_eq!(title.compare(|state| *state == 3), Agreement::Same);
        assert_eq!(title.compare(|state| *state == 2), Agreement::Late);
        assert_eq!(title.compare(|state| *state == 1), Agreement::Different);
    }

    #[test]
    fn change_of_one_attribute_keeps_what_is_open_of_another() {
        let mut pair = Possible::new((0, 0));
        pair.uncertain(|(_, b)| (1, *b));
        pair.acknowledged(|(a, _)| (*a, 5));
        assert_eq!(pair.compare(|state| *state == (1, 5)), Agreement::Open);
        assert_eq!(pair.compare(|state| *state == (0, 5)), Agreement::Same);
        // Only the request without an answer, arriving before the other, would explain this; it was answered since.
        assert_eq!(pair.compare(|state| *state == (0, 0)), Agreement::Different);
    }

    #[test]
    fn too_many_open_states_are_not_compared() {
        let mut number = Possible::new(0);
        for bit in 0..8 {
            number.uncertain(move |value| value | 1 << bit);
        }
        assert_eq!(number.compare(|state| *state == 9999), Agreement::Open);
    }
}
