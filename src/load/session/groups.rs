//! What identity providers do with a group.

use std::rc::Rc;

use serde_json::Value;

use crate::load::random::Random;
use crate::load::request::Verdict;
use crate::load::transport::Transport;

use super::users::{Found, first_named, id_in};
use super::{Session, Step};

impl<T: Transport> Session<T> {
    /// Looks for a group by its name.
    pub(crate) async fn find_group(&mut self, tenant: usize, group: u32) -> Found {
        let revision = self.shared.models[tenant].borrow().groups[group as usize].state.latest().unwrap_or(0);
        let name = self.shared.population.group_name(group, revision);
        let request = self.shared.speech.get().find_group(&name);
        match self.call(tenant, &request, &[404]).await {
            Verdict::Accepted(answer) => first_named(&answer, "displayName", &name),
            Verdict::Refused { answer, .. } if answer.status == 404 => Found::Nothing,
            _ => Found::Unknown,
        }
    }

    /// Looks for the group and creates it when it is not there.
    pub(super) async fn provision_group(&mut self, tenant: usize, group: u32) {
        match self.find_group(tenant, group).await {
            Found::One(resource) => self.adopt_group(tenant, group, &resource).await,
            Found::Nothing => self.create_group(tenant, group).await,
            Found::Unknown => {}
        }
    }

    async fn create_group(&mut self, tenant: usize, group: u32) {
        let shared = Rc::clone(&self.shared);
        let request = shared.speech.get().create_group(&shared.population, group);
        let mut tried = 0;
        let mut doubt = false;
        loop {
            tried += 1;
            match self.step(tenant, &request, tried, doubt, &[]).await {
                Step::Done(Verdict::Accepted(answer)) => {
                    let id = id_in(&answer.json());
                    {
                        let mut model = shared.models[tenant].borrow_mut();
                        let entry = model.group(group);
                        entry.state.acknowledged(|_| Some(0));
                        entry.id.clone_from(&id);
                    }
                    if id.is_none()
                        && let Found::One(resource) = self.find_group(tenant, group).await
                    {
                        shared.models[tenant].borrow_mut().group(group).id = id_in(&resource);
                    }
                    return;
                }
                Step::Done(Verdict::Refused { answer, .. }) if answer.status == 409 => {
                    if let Found::One(resource) = self.find_group(tenant, group).await {
                        self.adopt_group(tenant, group, &resource).await;
                    }
                    return;
                }
                Step::Done(verdict) => {
                    if !doubt && verdict.is_open() {
                        self.maybe_created_group(tenant, group);
                    }
                    return;
                }
                Step::Again { wait, doubt: may_have_happened } => {
                    if may_have_happened {
                        doubt = true;
                        self.maybe_created_group(tenant, group);
                    }
                    tokio::time::sleep(wait).await;
                    // RFC 7643 lets two groups have one name: without a look there would be two.
                    if doubt && let Found::One(resource) = self.find_group(tenant, group).await {
                        return self.adopt_group(tenant, group, &resource).await;
                    }
                }
            }
        }
    }

    fn maybe_created_group(&self, tenant: usize, group: u32) {
        let mut model = self.shared.models[tenant].borrow_mut();
        let entry = model.group(group);
        entry.uncertain_creations += 1;
        entry.state.uncertain(|_| Some(0));
    }

    /// Takes over a group that is there. Its members are read: an earlier run may have left some.
    async fn adopt_group(&mut self, tenant: usize, group: u32, resource: &Value) {
        let shared = Rc::clone(&self.shared);
        let Some(id) = id_in(resource) else { return };
        let was_ours = {
            let mut model = shared.models[tenant].borrow_mut();
            let entry = model.group(group);
            entry.id = Some(id.clone());
            let was_ours = entry.uncertain_creations > 0;
            let revision = entry.state.latest().unwrap_or(0);
            entry.state.seen(&Some(revision));
            was_ours
        };
        if was_ours {
            return;
        }
        // Members of an earlier run would be found at the end, and nobody would have added them.
        let request = crate::load::request::Request::get(
            crate::load::request::Operation::GetGroup,
            format!("/Groups/{}", crate::load::request::segment(&id)),
        );
        let Verdict::Accepted(answer) = self.call(tenant, &request, &[]).await else { return };
        let read = answer.json();
        let mut left: Vec<(String, String)> =
            member_ids(&read).map(|id| (id.to_owned(), String::new())).collect();
        while !left.is_empty() {
            let batch: Vec<_> = left.drain(..left.len().min(shared.members_per_request)).collect();
            let request = shared.speech.get().change_members(&id, &[], &batch);
            self.call(tenant, &request, &[]).await;
        }
    }

    /// Another name.
    pub(super) async fn rename_group(&mut self, tenant: usize, group: u32, revision: u16) {
        let shared = Rc::clone(&self.shared);
        let Some(id) = self.group_id(tenant, group) else { return };
        let request = shared.speech.get().rename_group(&id, &shared.population.group_name(group, revision));
        let verdict = self.call(tenant, &request, &[]).await;
        let mut model = shared.models[tenant].borrow_mut();
        let state = &mut model.group(group).state;
        match verdict {
            Verdict::Accepted(_) => state.acknowledged(|_| Some(revision)),
            verdict if verdict.is_open() => state.uncertain(|_| Some(revision)),
            _ => {}
        }
    }

    /// Adds all members that the group is to have in the beginning, in batches.
    pub(super) async fn fill_group(&mut self, tenant: usize, group: u32) {
        let shared = Rc::clone(&self.shared);
        let members = shared.population.members(group);
        for batch in members.chunks(shared.members_per_request) {
            if shared.is_over() {
                return;
            }
            self.change_members(tenant, group, batch, &[]).await;
        }
    }

    /// Some members leave and as many others come.
    pub(super) async fn turn_members(&mut self, tenant: usize, group: u32, count: u32, seed: u64) {
        let shared = Rc::clone(&self.shared);
        let (mut add, mut remove) = (Vec::new(), Vec::new());
        {
            let model = shared.models[tenant].borrow();
            let mut random = Random::new(seed, group.into());
            for _ in 0..u64::from(count) * 8 {
                let user = random.index(shared.population.users);
                if model.id_of(user).is_none() || add.contains(&user) || remove.contains(&user) {
                    continue;
                }
                let list = if model.groups[group as usize].has(user) { &mut remove } else { &mut add };
                if list.len() < count as usize {
                    list.push(user);
                }
            }
        }
        for (add, remove) in batches(&add, &remove, shared.members_per_request) {
            self.change_members(tenant, group, add, remove).await;
        }
    }

    /// One PATCH of members. Users who are not surely there are left out.
    pub(super) async fn change_members(&mut self, tenant: usize, group: u32, add: &[u32], remove: &[u32]) {
        let shared = Rc::clone(&self.shared);
        let Some(id) = self.group_id(tenant, group) else { return };
        let (with, without) = {
            let model = shared.models[tenant].borrow();
            let named = |users: &[u32]| -> Vec<(u32, (String, String))> {
                let known = users.iter().filter_map(|user| Some((*user, model.id_of(*user)?)));
                known.map(|(user, id)| (user, (id.to_owned(), shared.population.user_name(user)))).collect()
            };
            (named(add), named(remove))
        };
        if with.is_empty() && without.is_empty() {
            return;
        }
        let ids = |users: &[(u32, (String, String))]| {
            users.iter().map(|(_, user)| user.clone()).collect::<Vec<_>>()
        };
        let request = shared.speech.get().change_members(&id, &ids(&with), &ids(&without));
        let verdict = self.call(tenant, &request, &[]).await;
        let mut model = shared.models[tenant].borrow_mut();
        let group = model.group(group);
        let changes = with.iter().map(|(user, _)| (*user, true));
        for (user, is_member) in changes.chain(without.iter().map(|(user, _)| (*user, false))) {
            match &verdict {
                Verdict::Accepted(_) => group.member(user).acknowledged(|_| is_member),
                verdict if verdict.is_open() => group.member(user).uncertain(|_| is_member),
                _ => {}
            }
        }
    }

    /// Reads a group, without its members where the provider does.
    pub(super) async fn get_group(&mut self, tenant: usize, group: u32) {
        let Some(id) = self.group_id(tenant, group) else { return };
        let request = self.shared.speech.get().get_group(&id);
        self.call(tenant, &request, &[]).await;
    }

    fn group_id(&self, tenant: usize, group: u32) -> Option<String> {
        let model = self.shared.models[tenant].borrow();
        let entry = &model.groups[group as usize];
        entry.state.latest().is_some().then(|| entry.id.as_deref().map(str::to_owned)).flatten()
    }
}

/// Pairs of batches, each no larger than a request may be.
fn batches<'a>(add: &'a [u32], remove: &'a [u32], size: usize) -> Vec<(&'a [u32], &'a [u32])> {
    let (mut add, mut remove) = (add.chunks(size), remove.chunks(size));
    let mut batches = Vec::new();
    loop {
        match (add.next(), remove.next()) {
            (None, None) => return batches,
            (some, other) => batches.push((some.unwrap_or_default(), other.unwrap_or_default())),
        }
    }
}

/// The ids of a group's members.
pub(crate) fn member_ids(group: &Value) -> impl Iterator<Item = &str> {
    let members = group.get("members").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    members.iter().filter_map(|member| member.get("value").and_then(Value::as_str))
}
