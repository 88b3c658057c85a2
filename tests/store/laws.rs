//! The laws of membership: whatever comes and goes, the store has the members that a model in memory has.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use scim_operator::store::{Command, Outcome, Policy};
use serde_json::{Value, json};

use crate::backend::Backend;
use crate::fixture::{Tenant, member_ids, new_id};

/// Resources: the first are users, the others groups.
const USERS: usize = 4;
const ALL: usize = 7;
/// References to nobody, after them.
const NOBODY: usize = 2;

#[derive(Debug, Clone)]
enum Step {
    Create(usize),
    Delete(usize),
    Restore(usize),
    Purge,
    Add(usize, usize),
    Remove(usize, usize),
    Put(usize, BTreeSet<usize>),
}

fn step() -> impl Strategy<Value = Step> {
    let group = USERS..ALL;
    let reference = 0..ALL + NOBODY;
    prop_oneof![
        6 => (0..ALL).prop_map(Step::Create),
        3 => (0..ALL).prop_map(Step::Delete),
        2 => (0..ALL).prop_map(Step::Restore),
        1 => Just(Step::Purge),
        6 => (group.clone(), reference.clone()).prop_map(|(group, member)| Step::Add(group, member)),
        2 => (group.clone(), reference.clone()).prop_map(|(group, member)| Step::Remove(group, member)),
        2 => (group, prop::collection::btree_set(reference, 0..4))
            .prop_map(|(group, members)| Step::Put(group, members)),
    ]
}

/// What is true of ids: who is there, who is retained, and which pairs of group and member there are.
#[derive(Debug, Default)]
struct Model {
    there: BTreeSet<String>,
    retained: BTreeSet<String>,
    real: BTreeSet<(String, String)>,
    former: BTreeSet<(String, String)>,
    pending: BTreeSet<(String, String)>,
}

impl Model {
    fn arrive(&mut self, id: &str) {
        self.there.insert(id.to_owned());
        self.retained.remove(id);
        let awaited: Vec<_> = self.former.union(&self.pending).cloned().collect();
        for pair in awaited {
            let touches = pair.0 == id || pair.1 == id;
            if touches && self.there.contains(&pair.0) && self.there.contains(&pair.1) {
                self.forget(&pair);
                self.real.insert(pair);
            }
        }
    }

    fn forget(&mut self, pair: &(String, String)) {
        self.former.remove(pair);
        self.pending.remove(pair);
    }

    fn delete(&mut self, id: &str) {
        self.there.remove(id);
        self.retained.insert(id.to_owned());
        let (gone, stay) = self.real.iter().cloned().partition(|(group, member)| group == id || member == id);
        self.real = stay;
        let gone: BTreeSet<_> = gone;
        self.former.extend(gone);
    }

    /// What was on its account is no more.
    fn erase(&mut self, id: &str) {
        self.former.retain(|(group, member)| group != id && member != id);
        self.pending.retain(|(group, _)| group != id);
        self.retained.remove(id);
    }

    fn add(&mut self, group: &str, member: &str) {
        let pair = (group.to_owned(), member.to_owned());
        if self.there.contains(member) {
            self.real.insert(pair)
        } else {
            self.pending.insert(pair)
        };
    }

    fn remove(&mut self, group: &str, member: &str) {
        let pair = (group.to_owned(), member.to_owned());
        self.real.remove(&pair);
        self.forget(&pair);
    }

    fn put(&mut self, group: &str, members: &BTreeSet<String>) {
        let dropped = |(known, member): &(String, String)| known == group && !members.contains(member);
        self.real.retain(|pair| !dropped(pair));
        self.former.retain(|pair| !dropped(pair));
        self.pending.retain(|pair| !dropped(pair));
        for member in members {
            self.add(group, member);
        }
    }

    fn members(&self, id: &str) -> BTreeSet<String> {
        self.real.iter().filter(|(group, _)| group == id).map(|(_, member)| member.clone()).collect()
    }

    fn figures(&self) -> (u64, u64) {
        let pending = self.pending.iter().filter(|(group, _)| self.there.contains(group)).count();
        (self.retained.len() as u64, pending as u64)
    }
}

/// Both sides of one run.
struct Run {
    acme: Tenant,
    model: Model,
    /// The last id of each resource; a reference to nobody has a name of its own.
    ids: Vec<String>,
}

impl Run {
    fn is_there(&self, index: usize) -> bool {
        self.model.there.contains(&self.ids[index])
    }

    fn members(&self, members: &BTreeSet<usize>) -> BTreeSet<String> {
        members.iter().map(|member| self.ids[*member].clone()).collect()
    }

    async fn step(&mut self, step: &Step) {
        let acme = self.acme.clone();
        match step {
            Step::Create(index) if !self.is_there(*index) => {
                let (kind, name) =
                    if *index < USERS { (&acme.user, "userName") } else { (&acme.group, "displayName") };
                let key = format!("r{index}");
                let body = json!({"schemas": [kind.schema.id], name: key, "externalId": key});
                let command = acme.create_command(&new_id(), kind, body);
                let Ok(Outcome::Created(made)) = acme.run(command).await else { panic!("{step:?}") };
                if self.model.retained.contains(&self.ids[*index]) {
                    assert_eq!(made.id, self.ids[*index]);
                    self.model.erase(&made.id);
                }
                self.ids[*index] = made.id;
                self.model.arrive(&self.ids[*index]);
            }
            Step::Delete(index) if self.is_there(*index) => {
                let kind = if *index < USERS { &acme.user } else { &acme.group };
                acme.run(acme.delete_command(kind, &self.ids[*index])).await.unwrap();
                self.model.delete(&self.ids[*index]);
            }
            Step::Restore(index) if self.model.retained.contains(&self.ids[*index]) => {
                let kind = if *index < USERS { &acme.user } else { &acme.group };
                let command = Command::Restore { resource_type: kind.clone(), id: self.ids[*index].clone() };
                acme.run(command).await.unwrap();
                self.model.arrive(&self.ids[*index]);
            }
            Step::Purge => {
                let before = Timestamp::now() + SignedDuration::from_hours(1);
                acme.run(Command::Purge { before, limit: 100 }).await.unwrap();
                for id in self.model.retained.clone() {
                    self.model.erase(&id);
                }
            }
            Step::Add(group, member) if self.is_there(*group) => {
                let (group, member) = (&self.ids[*group], &self.ids[*member]);
                let add = json!([{"op": "add", "path": "members", "value": [{"value": member}]}]);
                acme.patch_group(group, add).await.unwrap();
                self.model.add(group, member);
            }
            Step::Remove(group, member) if self.is_there(*group) => {
                let (group, member) = (&self.ids[*group], &self.ids[*member]);
                let remove = json!([{"op": "remove", "path": format!("members[value eq \"{member}\"]")}]);
                acme.patch_group(group, remove).await.unwrap();
                self.model.remove(group, member);
            }
            Step::Put(index, members) if self.is_there(*index) => {
                let members = self.members(members);
                let list: Vec<Value> = members.iter().map(|id| json!({"value": id})).collect();
                let key = format!("r{index}");
                let body = json!({"displayName": key, "externalId": key, "members": list});
                acme.run(acme.put_command(&acme.group, &self.ids[*index], body)).await.unwrap();
                self.model.put(&self.ids[*index], &members);
            }
            _ => {}
        }
    }

    async fn check(&self, history: &[Step]) {
        for id in &self.ids[USERS..ALL] {
            let stored = self.acme.get_group(id).await;
            assert_eq!(stored.is_some(), self.model.there.contains(id), "{history:?}");
            if let Some(group) = stored {
                let members: BTreeSet<_> = member_ids(&group).into_iter().collect();
                assert_eq!(members, self.model.members(id), "{history:?}");
            }
        }
        assert_eq!(self.acme.figures().await, self.model.figures(), "{history:?}");
    }
}

pub(crate) async fn members_are_those_of_the_model(backend: &Backend) {
    let mut runner = TestRunner::default();
    let policy = Policy {
        retention: Some(Duration::from_hours(1)),
        restore_on_recreate: true,
        keep_unknown_members: true,
        ..Policy::default()
    };
    for round in 0..12 {
        let acme = Tenant::of(backend, &format!("identity/acme{round}")).with(policy.clone());
        let ids = (0..ALL + NOBODY).map(|index| format!("nobody-{index}")).collect();
        let mut run = Run { acme, model: Model::default(), ids };
        let mut history = Vec::new();
        for _ in 0..40 {
            let step = step().new_tree(&mut runner).unwrap().current();
            history.push(step.clone());
            run.step(&step).await;
            run.check(&history).await;
        }
        let live: BTreeMap<_, _> = run.ids.iter().map(|id| (id, run.model.there.contains(id))).collect();
        let users = run.acme.find_users("").await;
        assert!(users.iter().all(|id| live[id]), "{history:?}");
    }
}
