//! What identity providers do with a user.

use std::rc::Rc;

use serde_json::Value;

use crate::load::compare::{Finding, Kind, differences};
use crate::load::population::{UserChange, UserRecord};
use crate::load::request::{Answer, Verdict};
use crate::load::speech::Speech;
use crate::load::transport::Transport;

use super::{Session, Step};

/// What looking for one resource came to.
#[derive(Debug)]
pub(crate) enum Found {
    /// It is there.
    One(Value),
    /// It is not.
    Nothing,
    /// Nobody could say.
    Unknown,
}

/// Of a list's resources the first that has this name.
pub(super) fn first_named(answer: &Answer, attribute: &str, name: &str) -> Found {
    let mut list = answer.json();
    let resources = list.get_mut("Resources").and_then(Value::as_array_mut);
    // A server that ignores the filter answers with others.
    let found = resources.and_then(|resources| {
        let named = |resource: &&mut Value| {
            let value = resource.get(attribute).and_then(Value::as_str);
            value.is_some_and(|value| value.eq_ignore_ascii_case(name))
        };
        resources.iter_mut().find(named).map(Value::take)
    });
    found.map_or(Found::Nothing, Found::One)
}

/// The `id` of a resource.
pub(super) fn id_in(resource: &Value) -> Option<Box<str>> {
    resource.get("id").and_then(Value::as_str).map(Box::from)
}

impl<T: Transport> Session<T> {
    /// Looks for a user by name.
    pub(crate) async fn find_user(&mut self, tenant: usize, user: u32) -> Found {
        let name = self.shared.population.user_name(user);
        let request = self.shared.speech.get().find_user(&name);
        match self.call(tenant, &request, &[404]).await {
            Verdict::Accepted(answer) => first_named(&answer, "userName", &name),
            Verdict::Refused { answer, .. } if answer.status == 404 => Found::Nothing,
            _ => Found::Unknown,
        }
    }

    /// Looks for the user and creates it when it is not there: every provider's first step.
    pub(super) async fn provision_user(&mut self, tenant: usize, user: u32) {
        match self.find_user(tenant, user).await {
            Found::One(resource) => self.adopt_user(tenant, user, &resource).await,
            Found::Nothing => self.create_user(tenant, user).await,
            Found::Unknown => {}
        }
    }

    /// Creates a user. After a try without an answer it looks whether the user is there.
    async fn create_user(&mut self, tenant: usize, user: u32) {
        let shared = Rc::clone(&self.shared);
        let request = shared.speech.get().create_user(&shared.population, tenant, user);
        let mut tried = 0;
        let mut doubt = false;
        loop {
            tried += 1;
            match self.step(tenant, &request, tried, doubt, &[]).await {
                Step::Done(Verdict::Accepted(answer)) => {
                    let id = id_in(&answer.json());
                    {
                        let mut model = shared.models[tenant].borrow_mut();
                        let entry = model.user(user);
                        entry.state.acknowledged(|_| Some(UserRecord::NEW));
                        entry.id.clone_from(&id);
                    }
                    if id.is_none()
                        && let Found::One(resource) = self.find_user(tenant, user).await
                    {
                        shared.models[tenant].borrow_mut().user(user).id = id_in(&resource);
                    }
                    return;
                }
                Step::Done(Verdict::Refused { answer, .. }) if answer.status == 409 => {
                    if let Found::One(resource) = self.find_user(tenant, user).await {
                        self.adopt_user(tenant, user, &resource).await;
                    }
                    return;
                }
                Step::Done(verdict) => {
                    // What earlier tries left open has been written down.
                    if !doubt && verdict.is_open() {
                        self.maybe_created(tenant, user);
                    }
                    return;
                }
                Step::Again { wait, doubt: may_have_happened } => {
                    if may_have_happened {
                        doubt = true;
                        self.maybe_created(tenant, user);
                    }
                    tokio::time::sleep(wait).await;
                    if doubt && let Found::One(resource) = self.find_user(tenant, user).await {
                        return self.adopt_user(tenant, user, &resource).await;
                    }
                }
            }
        }
    }

    fn maybe_created(&self, tenant: usize, user: u32) {
        let mut model = self.shared.models[tenant].borrow_mut();
        let entry = model.user(user);
        entry.uncertain_creations += 1;
        entry.state.uncertain(|_| Some(UserRecord::NEW));
    }

    /// Takes over a user who is there: the answer to its creation was lost, or an earlier run left it.
    async fn adopt_user(&mut self, tenant: usize, user: u32, resource: &Value) {
        let known = {
            let shared = Rc::clone(&self.shared);
            let mut model = shared.models[tenant].borrow_mut();
            let entry = model.user(user);
            entry.id = id_in(resource);
            let record = entry.state.latest().unwrap_or(UserRecord::NEW);
            let same = differences(
                &shared.population,
                tenant,
                user,
                record,
                resource,
                &shared.not_kept[tenant].borrow(),
            );
            if same.is_empty() {
                entry.state.seen(&Some(record));
            } else {
                entry.state.unknown(Some(UserRecord::NEW));
            }
            same.is_empty()
        };
        if !known {
            self.write_user(tenant, user, UserChange::to(UserRecord::NEW)).await;
        }
    }

    /// Changes some attributes, as the provider does when somebody changed in its directory.
    pub(super) async fn update_user(&mut self, tenant: usize, user: u32, change: UserChange) {
        let speech = self.shared.speech.get();
        let only_active = change.family.is_none() && change.title.is_none();
        match speech {
            // Okta reads, changes what it read and sends it back; switching an account is a PATCH.
            Speech::Okta if !only_active => {
                let Some(id) = self.user_id(tenant, user) else { return };
                let request = speech.get_user(&id);
                let Verdict::Accepted(answer) = self.call(tenant, &request, &[]).await else { return };
                let read = answer.json();
                self.check_user(tenant, user, &read);
                self.put_user(tenant, user, change, Some(read)).await;
            }
            // Entra looks the user up before it sends what is different.
            Speech::Entra => {
                if let Found::One(read) = self.find_user(tenant, user).await {
                    self.check_user(tenant, user, &read);
                    self.write_user(tenant, user, change).await;
                }
            }
            _ => self.write_user(tenant, user, change).await,
        }
    }

    /// Sends the whole user anew.
    pub(super) async fn replace_user(&mut self, tenant: usize, user: u32, change: UserChange) {
        self.put_user(tenant, user, change, None).await;
    }

    async fn put_user(&mut self, tenant: usize, user: u32, change: UserChange, read: Option<Value>) {
        let shared = Rc::clone(&self.shared);
        let Some(id) = self.user_id(tenant, user) else { return };
        let Some(before) = shared.models[tenant].borrow().record_of(user) else { return };
        let after = change.apply(before);
        let request = shared.speech.get().put_user(&shared.population, tenant, user, &id, after, read);
        let verdict = self.call(tenant, &request, &[]).await;
        self.settle_user(tenant, user, &verdict, |_| Some(after));
    }

    /// Changes some attributes by PATCH.
    async fn write_user(&mut self, tenant: usize, user: u32, change: UserChange) {
        let shared = Rc::clone(&self.shared);
        let Some(id) = self.user_id(tenant, user) else { return };
        let request = shared.speech.get().patch_user(&shared.population, tenant, user, &id, change);
        let verdict = self.call(tenant, &request, &[]).await;
        self.settle_user(tenant, user, &verdict, |state| state.map(|record| change.apply(record)));
        if change.family.is_some() && change.title.is_some() && change.active.is_some() {
            // All that can be changed was: whatever it was before, it is known now.
            if let (Verdict::Accepted(_), Some(record)) = (&verdict, Some(change.apply(UserRecord::NEW))) {
                shared.models[tenant].borrow_mut().user(user).state.seen(&Some(record));
            }
        }
    }

    fn settle_user(
        &self,
        tenant: usize,
        user: u32,
        verdict: &Verdict,
        change: impl Fn(&Option<UserRecord>) -> Option<UserRecord>,
    ) {
        let mut model = self.shared.models[tenant].borrow_mut();
        let state = &mut model.user(user).state;
        match verdict {
            Verdict::Accepted(_) => state.acknowledged(change),
            verdict if verdict.is_open() => state.uncertain(change),
            _ => {}
        }
    }

    /// Deletes a user.
    pub(super) async fn delete_user(&mut self, tenant: usize, user: u32) {
        let Some(id) = self.user_id(tenant, user) else { return };
        let request = self.shared.speech.get().delete_user(&id);
        let verdict = self.call(tenant, &request, &[]).await;
        let mut model = self.shared.models[tenant].borrow_mut();
        match verdict {
            Verdict::Accepted(_) => model.deleted(user),
            Verdict::Refused { answer, doubt: true } if answer.status == 404 => model.deleted(user),
            verdict if verdict.is_open() => model.maybe_deleted(user),
            _ => {}
        }
    }

    /// Reads a user, and compares.
    pub(super) async fn get_user(&mut self, tenant: usize, user: u32) {
        let Some(id) = self.user_id(tenant, user) else { return };
        let request = self.shared.speech.get().get_user(&id);
        match self.call(tenant, &request, &[]).await {
            Verdict::Accepted(answer) => self.check_user(tenant, user, &answer.json()),
            Verdict::Refused { answer, .. } if answer.status == 404 => {
                let name = self.shared.population.user_name(user);
                self.stale(Finding::user(
                    Kind::Stale,
                    tenant,
                    &name,
                    Some(&id),
                    "a read says that it is not there",
                ));
            }
            _ => {}
        }
    }

    /// Looks a user up by name, compares, and sends a PATCH when something is to change.
    pub(super) async fn reconcile_user(&mut self, tenant: usize, user: u32, change: Option<UserChange>) {
        match self.find_user(tenant, user).await {
            Found::One(resource) => {
                self.check_user(tenant, user, &resource);
                if let Some(change) = change {
                    self.write_user(tenant, user, change).await;
                }
            }
            Found::Nothing => {
                if self.shared.models[tenant].borrow().id_of(user).is_some() {
                    let name = self.shared.population.user_name(user);
                    self.stale(Finding::user(Kind::Stale, tenant, &name, None, "a filter does not find it"));
                } else {
                    self.create_user(tenant, user).await;
                }
            }
            Found::Unknown => {}
        }
    }

    /// Compares what was read with what was acknowledged; nobody else changes this user meanwhile.
    fn check_user(&self, tenant: usize, user: u32, resource: &Value) {
        let shared = &self.shared;
        let Some(record) = shared.models[tenant].borrow().record_of(user) else { return };
        let not_kept = shared.not_kept[tenant].borrow();
        let found = differences(&shared.population, tenant, user, record, resource, &not_kept);
        if !found.is_empty() {
            let name = shared.population.user_name(user);
            let id = id_in(resource);
            self.stale(Finding::user(Kind::Stale, tenant, &name, id.as_deref(), &found.join("; ")));
        }
    }

    fn user_id(&self, tenant: usize, user: u32) -> Option<String> {
        let model = self.shared.models[tenant].borrow();
        let entry = &model.users[user as usize];
        entry.state.latest().is_some().then(|| entry.id.as_deref().map(str::to_owned)).flatten()
    }
}
