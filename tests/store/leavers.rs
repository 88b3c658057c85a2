//! Leavers: what DELETE leaves behind for an operator, how it comes back, and when it ends.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use scim_operator::scim::error::{ScimError, ScimType};
use scim_operator::scim::resource::Resource;
use scim_operator::store::audit::{From, Operation};
use scim_operator::store::{Command, LeaverFigures, Outcome, Policy, Unit};
use serde_json::json;

use crate::backend::Backend;
use crate::fixture::{Tenant, alone, body, member_ids, new_id};

/// Deleted resources are kept for an hour.
fn retaining() -> Policy {
    Policy { retention: Some(Duration::from_hours(1)), ..Policy::default() }
}

/// And come back when they are made again.
fn restoring() -> Policy {
    Policy { restore_on_recreate: true, ..retaining() }
}

impl Tenant {
    async fn delete_user(&self, id: &str) {
        assert!(matches!(self.run(self.delete_command(&self.user, id)).await, Ok(Outcome::Deleted)));
    }

    async fn delete_group(&self, id: &str) {
        assert!(matches!(self.run(self.delete_command(&self.group, id)).await, Ok(Outcome::Deleted)));
    }

    async fn restore_user(&self, id: &str) -> Result<Resource, ScimError> {
        self.restore(Command::Restore { resource_type: self.user.clone(), id: id.into() }).await
    }

    async fn restore_group(&self, id: &str) -> Result<Resource, ScimError> {
        self.restore(Command::Restore { resource_type: self.group.clone(), id: id.into() }).await
    }

    async fn restore(&self, command: Command) -> Result<Resource, ScimError> {
        match self.run(command).await? {
            Outcome::Updated(resource) => Ok(resource),
            other => panic!("{other:?}"),
        }
    }

    /// The figures of this tenant: retained and pending.
    pub(crate) async fn figures(&self) -> (u64, u64) {
        let figures = self.store.leavers().await.unwrap();
        let mine = figures.into_iter().find(|figures| figures.tenant == self.key);
        mine.map_or((0, 0), |LeaverFigures { retained, pending, .. }| (retained, pending))
    }

    /// The ids of a user's groups.
    async fn groups_of(&self, id: &str) -> Vec<String> {
        let user = self.get_user(id).await.unwrap();
        user.related.groups.unwrap().into_iter().map(|group| group.id).collect()
    }

    async fn members_of(&self, id: &str) -> Vec<String> {
        let mut members = member_ids(&self.get_group(id).await.unwrap());
        members.sort();
        members
    }

    /// The audit log as `operation id`.
    pub(crate) async fn log(&self) -> Vec<(Operation, String)> {
        let log = self.store.changes(&self.key, From::Oldest, 1000).await.unwrap();
        log.changes.into_iter().map(|change| (change.operation, change.resource_id)).collect()
    }

    async fn purge(&self, before: Timestamp, limit: usize) -> (u64, bool) {
        match self.run(Command::Purge { before, limit }).await.unwrap() {
            Outcome::Purged { purged, more } => (purged, more),
            other => panic!("{other:?}"),
        }
    }
}

/// Later than anything that is deleted here.
fn tomorrow() -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(24)
}

pub(crate) async fn retained_user_is_gone_for_every_reader(backend: &Backend) {
    let acme = Tenant::acme(backend).with(retaining());
    let ann = acme.user(json!({"userName": "ann", "externalId": "e1"})).await;
    let staff = acme.group("staff", &[&ann]).await;
    acme.delete_user(&ann).await;

    assert!(acme.get_user(&ann).await.is_none());
    for filter in ["", "userName eq \"ann\"", "externalId eq \"e1\"", "userName sw \"a\""] {
        assert!(acme.find_users(filter).await.is_empty(), "{filter}");
    }
    assert!(acme.find_users(&format!("id eq \"{ann}\"")).await.is_empty());
    assert_eq!(acme.store.count(&acme.key, "User").await.unwrap(), 0);
    let group = acme.get_group(&staff).await.unwrap();
    assert_eq!((member_ids(&group), group.version), (vec![], 2));
    assert!(acme.find_groups(&format!("members.value eq \"{ann}\"")).await.is_empty());
    let again = acme.run(acme.delete_command(&acme.user, &ann)).await.unwrap_err();
    assert_eq!(again.status, 404);
    let patch = acme.patch_user(&ann, json!([{"op": "add", "path": "title", "value": "x"}])).await;
    assert_eq!(patch.unwrap_err().status, 404);
    assert_eq!(acme.figures().await, (1, 0));
    assert_ne!(acme.named("ANN").await, ann, "the name is free, for a new identity");
}

pub(crate) async fn purging_tenant_keeps_nothing(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let ann = acme.named("ann").await;
    acme.delete_user(&ann).await;
    assert_eq!(acme.figures().await, (0, 0));
    assert_eq!(acme.with(retaining()).restore_user(&ann).await.unwrap_err().status, 404);
}

pub(crate) async fn restored_user_is_as_it_was_with_its_groups(backend: &Backend) {
    let acme = Tenant::acme(backend).with(retaining());
    let ann = acme.user(json!({"userName": "ann", "title": "Dr", "displayName": "Ann"})).await;
    let before = acme.get_user(&ann).await.unwrap();
    let (staff, board) = (acme.group("staff", &[&ann]).await, acme.group("board", &[&ann]).await);
    acme.delete_user(&ann).await;

    let restored = acme.restore_user(&ann).await.unwrap();
    assert_eq!((restored.id.as_str(), restored.version), (ann.as_str(), before.version + 1));
    assert_eq!((body(&restored), restored.created), (body(&before), before.created));
    let read = acme.get_user(&ann).await.unwrap();
    assert_eq!(read.version(), restored.version());
    assert_eq!(acme.groups_of(&ann).await, [staff.clone(), board]);
    let group = acme.get_group(&staff).await.unwrap();
    assert_eq!((group.version, member_ids(&group)), (3, vec![ann.clone()]));
    assert_eq!(acme.find_users("userName eq \"ann\"").await, std::slice::from_ref(&ann));
    assert_eq!(acme.store.count(&acme.key, "User").await.unwrap(), 1);
    assert_eq!(acme.figures().await, (0, 0));
    let log = acme.log().await;
    let tail: Vec<Operation> = log[log.len() - 3..].iter().map(|(operation, _)| *operation).collect();
    assert_eq!(tail, [Operation::Restore, Operation::MemberArrived, Operation::MemberArrived]);
    assert_eq!(acme.restore_user(&ann).await.unwrap_err().status, 409, "it is there");
}

pub(crate) async fn restored_group_has_the_members_that_are_there(backend: &Backend) {
    let acme = Tenant::acme(backend).with(retaining());
    let (ann, bob, cid) = (acme.named("ann").await, acme.named("bob").await, acme.named("cid").await);
    let inner = acme.group("inner", &[&ann, &bob, &cid]).await;
    let outer = acme.group("outer", &[&inner]).await;
    acme.delete_group(&inner).await;
    acme.delete_user(&ann).await;
    acme.delete_user(&bob).await;
    assert_eq!(acme.figures().await, (3, 0));

    acme.restore_group(&inner).await.unwrap();
    assert_eq!(acme.members_of(&inner).await, std::slice::from_ref(&cid), "bob and ann are still away");
    assert_eq!(acme.members_of(&outer).await, std::slice::from_ref(&inner));
    acme.restore_user(&ann).await.unwrap();
    let mut both = [ann.clone(), cid.clone()];
    both.sort();
    assert_eq!(acme.members_of(&inner).await, both);
    assert_eq!(acme.purge(tomorrow(), 10).await, (1, false));
    assert_eq!(acme.restore_user(&bob).await.unwrap_err().status, 404, "he is erased");
}

pub(crate) async fn membership_that_was_taken_away_meanwhile_does_not_come_back(backend: &Backend) {
    let acme = Tenant::acme(backend).with(retaining());
    let ann = acme.named("ann").await;
    let (staff, board, club) = (
        acme.group("staff", &[&ann]).await,
        acme.group("board", &[&ann]).await,
        acme.group("club", &[&ann]).await,
    );
    acme.delete_user(&ann).await;
    let remove = json!([{"op": "remove", "path": format!("members[value eq \"{ann}\"]")}]);
    acme.patch_group(&staff, remove).await.unwrap();
    acme.run(acme.put_command(&acme.group, &board, json!({"displayName": "board"}))).await.unwrap();
    acme.restore_user(&ann).await.unwrap();
    assert_eq!(acme.groups_of(&ann).await, [club]);
}

pub(crate) async fn taken_name_is_in_the_way_of_a_restore(backend: &Backend) {
    let acme = Tenant::acme(backend).with(retaining());
    let old = acme.named("ann").await;
    acme.delete_user(&old).await;
    let new = acme.named("Ann").await;
    let error = acme.restore_user(&old).await.unwrap_err();
    assert_eq!((error.status, error.scim_type), (409, Some(ScimType::Uniqueness)));
    assert_eq!(
        error.detail,
        format!(
            "User {old:?} cannot be restored: its userName is now that of User {new:?}; change or delete that one first"
        )
    );
    acme.delete_user(&new).await;
    acme.restore_user(&old).await.unwrap();
    assert_eq!(acme.find_users("userName eq \"ann\"").await, [old]);
}

pub(crate) async fn retention_that_is_over_is_over_at_once(backend: &Backend) {
    let acme = Tenant::acme(backend).with(restoring());
    let ann = acme.named("ann").await;
    acme.delete_user(&ann).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let short = acme.with(Policy { retention: Some(Duration::from_millis(5)), ..restoring() });
    let error = short.restore_user(&ann).await.unwrap_err();
    assert_eq!(error.status, 410);
    assert!(error.detail.contains("is over"), "{}", error.detail);
    assert_ne!(short.named("ann").await, ann, "too late to come back");
}

pub(crate) async fn recreated_user_has_its_id_and_no_groups(backend: &Backend) {
    let acme = Tenant::acme(backend).with(restoring());
    let ann = acme.user(json!({"userName": "ann", "title": "Dr"})).await;
    let before = acme.get_user(&ann).await.unwrap();
    let staff = acme.group("staff", &[&ann]).await;
    acme.delete_user(&ann).await;
    let command = acme.user_command(&new_id(), json!({"userName": "ANN", "nickName": "A"}));
    let Ok(Outcome::Created(made)) = acme.run(command).await else { panic!("not made") };
    assert_eq!((made.id.as_str(), made.version), (ann.as_str(), before.version + 1));
    assert_eq!(made.created, before.created);
    assert_eq!((body(&made)["userName"].as_str(), body(&made).get("title")), (Some("ANN"), None));
    assert_eq!(body(&made)["id"], ann.as_str());
    assert!(acme.groups_of(&ann).await.is_empty());
    assert!(acme.members_of(&staff).await.is_empty());
    assert_eq!(acme.figures().await, (0, 0));
    assert_eq!(acme.log().await.last().unwrap(), &(Operation::Recreate, ann.clone()));
    // Deleted and restored by an operator: what was off before the recreation stays off.
    acme.delete_user(&ann).await;
    acme.restore_user(&ann).await.unwrap();
    assert!(acme.groups_of(&ann).await.is_empty());
}

pub(crate) async fn recreation_goes_by_external_id_before_user_name(backend: &Backend) {
    let acme = Tenant::acme(backend).with(restoring());
    let ann = acme.user(json!({"userName": "ann", "externalId": "e1"})).await;
    let bob = acme.user(json!({"userName": "bob", "externalId": "e2"})).await;
    acme.delete_user(&ann).await;
    acme.delete_user(&bob).await;
    // The externalId of one and the userName of the other.
    assert_eq!(acme.user(json!({"userName": "ann", "externalId": "e2"})).await.len(), 36);
    assert_eq!(acme.find_users("userName eq \"ann\"").await, [bob], "it is bob, renamed");
    assert_eq!(acme.figures().await, (1, 0));
    let error = acme.restore_user(&ann).await.unwrap_err();
    assert_eq!(error.status, 409, "her name is taken");
    // Of two who had a name, the one that was deleted last.
    let eve = acme.named("eve").await;
    acme.delete_user(&eve).await;
    let eva = {
        let new = acme.with(retaining());
        new.named("eve").await
    };
    acme.delete_user(&eva).await;
    acme.named("eve").await;
    assert_eq!(acme.find_users("userName eq \"eve\"").await, [eva]);
}

pub(crate) async fn recreated_in_bulk_is_what_the_others_refer_to(backend: &Backend) {
    let acme = Tenant::acme(backend).with(restoring());
    let (ann, boss) = (acme.named("ann").await, acme.named("boss").await);
    acme.delete_user(&ann).await;
    acme.delete_user(&boss).await;
    let (new_ann, new_boss, group) = (new_id(), new_id(), new_id());
    let urn = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    let mut user = acme.user_command(&new_ann, json!({"userName": "ann"}));
    let Command::Create { attributes, .. } = &mut user else { panic!("a create") };
    attributes.insert(urn.into(), json!({"manager": {"value": new_boss}}));
    let requires =
        |requires: &[usize], command| Unit { commands: vec![command], requires: requires.to_vec() };
    let results = acme
        .write(vec![
            alone(acme.user_command(&new_boss, json!({"userName": "boss"}))),
            requires(&[0], user),
            requires(&[0, 1], acme.group_command(&group, "g", &[&new_ann, &new_boss])),
            requires(
                &[1],
                acme.patch_command(
                    &acme.user,
                    &new_ann,
                    json!([{"op": "add", "path": "title", "value": "Dr"}]),
                ),
            ),
        ])
        .await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let read = acme.get_user(&ann).await.unwrap();
    assert_eq!(body(&read)[urn]["manager"]["value"], boss.as_str());
    assert_eq!(body(&read)["title"], "Dr");
    let mut both = [ann, boss];
    both.sort();
    assert_eq!(acme.members_of(&group).await, both);
}

pub(crate) async fn racing_recreations_have_one_winner(backend: &Backend) {
    let acme = Tenant::acme(backend).with(restoring());
    for round in 0..20 {
        let name = format!("ann{round}");
        let ann = acme.named(&name).await;
        acme.delete_user(&ann).await;
        let racers: Vec<_> = (0..4)
            .map(|_| {
                let acme = acme.clone();
                let command = acme.user_command(&new_id(), json!({"userName": name}));
                tokio::spawn(async move { acme.run(command).await })
            })
            .collect();
        let mut won = Vec::new();
        for racer in racers {
            match racer.await.unwrap() {
                Ok(Outcome::Created(resource)) => won.push(resource.id),
                Err(error) => assert_eq!((error.status, error.scim_type), (409, Some(ScimType::Uniqueness))),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(won, [ann]);
    }
}

pub(crate) async fn deactivated_user_leaves_its_groups_where_asked(backend: &Backend) {
    let plain = Tenant::acme(backend);
    let acme = plain.with(Policy { remove_from_groups_on_deactivate: true, ..Policy::default() });
    let off = json!([{"op": "replace", "path": "active", "value": false}]);
    let on = json!([{"op": "replace", "path": "active", "value": true}]);
    let ann = acme.named("ann").await;
    let staff = acme.group("staff", &[&ann]).await;
    plain.patch_user(&ann, off.clone()).await.unwrap();
    assert_eq!(plain.groups_of(&ann).await, std::slice::from_ref(&staff), "nobody asked");
    plain.patch_user(&ann, on.clone()).await.unwrap();

    let user = Tenant::resource(acme.patch_user(&ann, off.clone()).await);
    assert_eq!(user.related.groups.unwrap(), []);
    let group = acme.get_group(&staff).await.unwrap();
    assert_eq!((member_ids(&group), group.version), (vec![], 2));
    let log = acme.log().await;
    assert!(log.contains(&(Operation::MemberDeactivated, staff.clone())), "{log:?}");
    acme.patch_user(&ann, on).await.unwrap();
    assert!(acme.groups_of(&ann).await.is_empty(), "activation puts nothing back");

    // Who is inactive already may be put into a group, and stays there.
    acme.patch_user(&ann, off).await.unwrap();
    let add = json!([{"op": "add", "path": "members", "value": [{"value": ann}]}]);
    acme.patch_group(&staff, add).await.unwrap();
    let put = acme.put_command(&acme.user, &ann, json!({"userName": "ann", "active": false, "title": "x"}));
    acme.run(put).await.unwrap();
    assert_eq!(acme.groups_of(&ann).await, std::slice::from_ref(&staff));
    acme.run(acme.put_command(&acme.user, &ann, json!({"userName": "ann", "active": true}))).await.unwrap();
    acme.run(acme.put_command(&acme.user, &ann, json!({"userName": "ann", "active": false}))).await.unwrap();
    assert!(acme.groups_of(&ann).await.is_empty());
}

pub(crate) async fn purge_goes_in_steps_and_oldest_first(backend: &Backend) {
    let acme = Tenant::acme(backend).with(retaining());
    let mut users = Vec::new();
    for number in 0..5 {
        users.push(acme.named(&format!("u{number}")).await);
    }
    let members: Vec<&str> = users.iter().map(String::as_str).collect();
    let group = acme.group("all", &members).await;
    for user in &users {
        acme.delete_user(user).await;
    }
    acme.delete_group(&group).await;
    let retained = acme.store.retained(&acme.key, 0, 10).await.unwrap();
    let order: Vec<&str> = retained.iter().map(|retained| retained.id.as_str()).collect();
    assert_eq!(order, [&members[..], &[&group]].concat(), "in the order of deletion");
    let rest = acme.store.retained(&acme.key, retained[3].position, 10).await.unwrap();
    assert_eq!(rest.len(), 2);
    let oldest = acme.store.leavers().await.unwrap()[0].oldest.unwrap();
    assert_eq!(oldest, retained[0].deleted);

    assert_eq!(acme.purge(retained[0].deleted, 10).await, (0, false), "nothing is older");
    assert_eq!(acme.purge(tomorrow(), 2).await, (2, true));
    assert_eq!(acme.figures().await, (4, 0));
    assert_eq!(acme.restore_user(&users[1]).await.unwrap_err().status, 404);
    acme.restore_user(&users[2]).await.unwrap();
    assert_eq!(acme.purge(tomorrow(), 2).await, (2, true));
    assert_eq!(acme.purge(tomorrow(), 2).await, (1, false));
    assert_eq!(acme.figures().await, (0, 0));
    let purged = acme.log().await.into_iter().filter(|(operation, _)| *operation == Operation::Purge).count();
    assert_eq!(purged, 5);
    assert!(acme.groups_of(&users[2]).await.is_empty(), "its group is erased");
}

pub(crate) async fn large_group_is_purged_in_many_steps(backend: &Backend) {
    let acme = Tenant::acme(backend).with(retaining());
    let commands: Vec<String> = (0..2500).map(|_| new_id()).collect();
    let units = commands.iter().map(|id| alone(acme.user_command(id, json!({"userName": id})))).collect();
    acme.write(units).await;
    let members: Vec<&str> = commands.iter().map(String::as_str).collect();
    let group = acme.group("large", &members).await;
    acme.delete_group(&group).await;
    let mut steps = 0;
    loop {
        steps += 1;
        let (_, more) = acme.purge(tomorrow(), 100).await;
        if !more {
            break;
        }
    }
    assert!(steps >= 3, "{steps}");
    assert_eq!(acme.figures().await, (0, 0));
}

pub(crate) async fn removed_tenant_leaves_no_leavers(backend: &Backend) {
    let policy = Policy { keep_unknown_members: true, ..retaining() };
    let acme = Tenant::acme(backend).with(policy);
    let ann = acme.named("ann").await;
    acme.group("staff", &[&ann, "nobody"]).await;
    acme.delete_user(&ann).await;
    assert_eq!(acme.figures().await, (1, 1));
    acme.store.set_purge_on_removal(&acme.key, true).await.unwrap();
    assert_eq!(acme.store.purge_removed(&[], None).await.unwrap(), std::slice::from_ref(&acme.key));
    assert_eq!(acme.store.leavers().await.unwrap(), []);
    assert_eq!(acme.store.retained(&acme.key, 0, 10).await.unwrap(), []);
    assert_eq!(acme.restore_user(&ann).await.unwrap_err().status, 404, "the tenant comes back empty");
}

pub(crate) async fn deleted_or_deactivated_is_so_for_every_reader_at_once(backend: &Backend) {
    let acme = Tenant::acme(backend).with(retaining());
    for round in 0..30 {
        let name = format!("ann{round}");
        let ann = acme.named(&name).await;
        let group = acme.group(&name, &[&ann]).await;
        let (told, gone) = tokio::sync::watch::channel(false);
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let (acme, ann, name, group, gone) =
                    (acme.clone(), ann.clone(), name.clone(), group.clone(), gone.clone());
                tokio::spawn(async move {
                    let mut after = 0;
                    while after < 20 {
                        let gone = *gone.borrow();
                        let seen = acme.get_user(&ann).await.is_some();
                        let found = !acme.find_users(&format!("userName eq \"{name}\"")).await.is_empty();
                        let member = !member_ids(&acme.get_group(&group).await.unwrap()).is_empty();
                        assert!(!(gone && (seen || found || member)), "seen after the answer");
                        after += u32::from(gone);
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        tokio::task::yield_now().await;
        acme.delete_user(&ann).await;
        told.send(true).unwrap();
        for reader in readers {
            reader.await.unwrap();
        }
    }
}
