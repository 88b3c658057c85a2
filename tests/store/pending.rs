//! Members that a push names before they are there (`spec.membership.unknownMembers`).

use std::collections::HashSet;
use std::time::Duration;

use scim_operator::store::audit::{From, Operation};
use scim_operator::store::{Command, Outcome, Policy, Refusal, TenantKey, Unit};
use serde_json::{Value, json};

use crate::backend::Backend;
use crate::fixture::{Tenant, member_ids, new_id};

fn keeping() -> Policy {
    Policy { keep_unknown_members: true, ..Policy::default() }
}

fn by_external_id() -> Policy {
    Policy { match_external_id: true, ..keeping() }
}

fn retaining() -> Policy {
    Policy { retention: Some(Duration::from_hours(1)), restore_on_recreate: true, ..keeping() }
}

fn add(ids: &[&str]) -> Value {
    let members: Vec<Value> = ids.iter().map(|id| json!({"value": id})).collect();
    json!([{"op": "add", "path": "members", "value": members}])
}

fn remove(id: &str) -> Value {
    json!([{"op": "remove", "path": format!("members[value eq \"{id}\"]")}])
}

impl Tenant {
    async fn pending(&self) -> u64 {
        self.figures().await.1
    }

    async fn members(&self, group: &str) -> Vec<String> {
        let mut members = member_ids(&self.get_group(group).await.unwrap());
        members.sort();
        members
    }

    async fn put_members(&self, group: &str, ids: &[&str]) {
        let members: Vec<Value> = ids.iter().map(|id| json!({"value": id})).collect();
        let body = json!({"displayName": "g", "members": members});
        self.run(self.put_command(&self.group, group, body)).await.unwrap();
    }
}

pub(crate) async fn pending_member_is_seen_by_nobody(backend: &Backend) {
    let acme = Tenant::acme(backend).with(keeping());
    let ann = acme.named("ann").await;
    let unknown = new_id();
    let command = acme.group_command(&new_id(), "staff", &[&ann, &unknown]);
    let Ok(Outcome::Created(staff)) = acme.run(command).await else { panic!("refused") };
    assert_eq!(member_ids(&staff), std::slice::from_ref(&ann));
    assert_eq!(acme.members(&staff.id).await, [ann]);
    assert!(acme.find_groups(&format!("members.value eq \"{unknown}\"")).await.is_empty());
    assert_eq!(acme.pending().await, 1);

    let before = acme.get_group(&staff.id).await.unwrap();
    acme.patch_group(&staff.id, add(&[&new_id()])).await.unwrap();
    let after = acme.get_group(&staff.id).await.unwrap();
    assert_eq!(before.version(), after.version(), "nobody sees a change");
    assert_eq!(acme.pending().await, 2);
    let log = acme.store.changes(&acme.key, From::Oldest, 100).await.unwrap().changes;
    let stored: Vec<_> = log.iter().filter(|change| change.operation == Operation::MembersPending).collect();
    assert_eq!(stored.len(), 2);
    assert_eq!(stored[0].members.as_ref().unwrap().ids.as_ref().unwrap().added, [unknown]);
    assert_eq!((stored[1].version_before, stored[1].version_after), (Some(1), Some(1)));
}

pub(crate) async fn rejected_push_names_ten_thousand_unknown_members(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let ids: Vec<String> = (0..10_000).map(|_| new_id()).collect();
    let members: Vec<&str> = ids.iter().map(String::as_str).collect();
    let error = acme.run(acme.group_command(&new_id(), "large", &members)).await.unwrap_err();
    assert_eq!(error.status, 400);
    let named: HashSet<&str> = error.detail.split('"').collect();
    assert!(ids.iter().all(|id| named.contains(id.as_str())));
    assert_eq!(acme.find_groups("").await.len(), 0);
    // Beyond a mebibyte the rest is counted.
    let long: Vec<String> = (0..3).map(|number| format!("{number}{}", "x".repeat(400_000))).collect();
    let members: Vec<&str> = long.iter().map(String::as_str).collect();
    let error = acme.run(acme.group_command(&new_id(), "long", &members)).await.unwrap_err();
    assert!(error.detail.len() < 1_100_000);
    assert!(error.detail.ends_with(" and 1 more; nothing was changed"));
    let error = acme.with(keeping()).run(acme.group_command(&new_id(), "long", &members[..1])).await;
    assert!(error.unwrap_err().detail.contains("at most 256 bytes"));
    assert_eq!(acme.pending().await, 0);
}

pub(crate) async fn pending_member_becomes_real_when_it_comes_back(backend: &Backend) {
    let acme = Tenant::acme(backend).with(retaining());
    let (ann, bob) = (acme.named("ann").await, acme.named("bob").await);
    let staff = acme.group("staff", &[]).await;
    for user in [&ann, &bob] {
        acme.run(acme.delete_command(&acme.user, user)).await.unwrap();
    }
    acme.patch_group(&staff, add(&[&ann, &bob])).await.unwrap();
    assert_eq!((acme.members(&staff).await, acme.figures().await), (vec![], (2, 2)));
    let version = acme.get_group(&staff).await.unwrap().version;

    // By an operator, and by a POST of the same name: that push came after the deletion.
    let restore = Command::Restore { resource_type: acme.user.clone(), id: ann.clone() };
    acme.run(restore).await.unwrap();
    assert_eq!(acme.members(&staff).await, std::slice::from_ref(&ann));
    let Ok(Outcome::Created(again)) =
        acme.run(acme.user_command(&new_id(), json!({"userName": "bob"}))).await
    else {
        panic!("refused")
    };
    assert_eq!(again.id, bob);
    assert_eq!(again.related.groups.unwrap()[0].id, staff);
    let group = acme.get_group(&staff).await.unwrap();
    assert_eq!((group.version, group.related.members.unwrap().len()), (version + 2, 2));
    assert_eq!(acme.figures().await, (0, 0));
    let log = acme.log().await;
    let arrived = log.iter().filter(|entry| **entry == (Operation::MemberArrived, staff.clone()));
    assert_eq!(arrived.count(), 2);
}

pub(crate) async fn external_id_names_a_member_where_asked(backend: &Backend) {
    let acme = Tenant::acme(backend).with(by_external_id());
    let ann = acme.user(json!({"userName": "ann", "externalId": "e1"})).await;
    let staff = acme.group("staff", &["e1", "e2", "e3"]).await;
    assert_eq!((acme.members(&staff).await, acme.pending().await), (vec![ann.clone()], 2));

    let bob = acme.user(json!({"userName": "bob", "externalId": "e2"})).await;
    let cid = acme.named("cid").await;
    assert_eq!(acme.pending().await, 1);
    acme.patch_user(&cid, json!([{"op": "add", "path": "externalId", "value": "e3"}])).await.unwrap();
    let mut all = [ann.clone(), bob.clone(), cid.clone()];
    all.sort();
    assert_eq!((acme.members(&staff).await, acme.pending().await), (all.to_vec(), 0));
    acme.patch_group(&staff, remove("e1")).await.unwrap();
    acme.put_members(&staff, &["e2", &cid]).await;
    assert_eq!(acme.members(&staff).await.len(), 2);
    acme.put_members(&staff, &["e2"]).await;
    assert_eq!(acme.members(&staff).await, std::slice::from_ref(&bob));

    // A name that two have is nobody's; and nobody else's tenant is asked.
    acme.user(json!({"userName": "rob", "externalId": "e2"})).await;
    acme.put_members(&staff, &["e2"]).await;
    assert_eq!((acme.members(&staff).await, acme.pending().await), (vec![], 1));
    let other = Tenant { key: TenantKey("identity/globex".into()), ..acme.clone() };
    other.user(json!({"userName": "eve", "externalId": "e2"})).await;
    assert_eq!((acme.members(&staff).await, acme.pending().await), (vec![], 1));
    let strict = acme.with(Policy { keep_unknown_members: false, ..by_external_id() });
    assert_eq!(strict.patch_group(&staff, add(&["e9"])).await.unwrap_err().status, 400);
    strict.patch_group(&staff, add(&["e1"])).await.unwrap();
    assert_eq!(acme.members(&staff).await, [ann]);
}

pub(crate) async fn without_external_ids_only_an_id_is_a_member(backend: &Backend) {
    let acme = Tenant::acme(backend).with(keeping());
    let staff = acme.group("staff", &["e1"]).await;
    acme.user(json!({"userName": "ann", "externalId": "e1"})).await;
    assert_eq!((acme.members(&staff).await, acme.pending().await), (vec![], 1));
}

pub(crate) async fn push_that_takes_a_pending_member_away_is_heard(backend: &Backend) {
    let acme = Tenant::acme(backend).with(by_external_id());
    let staff = acme.group("staff", &["a", "b", "c", "d"]).await;
    acme.patch_group(&staff, remove("a")).await.unwrap();
    assert_eq!(acme.pending().await, 3);
    acme.put_members(&staff, &["c", "d"]).await;
    assert_eq!(acme.pending().await, 2);
    acme.patch_group(&staff, json!([{"op": "remove", "path": "members[value sw \"c\"]"}])).await.unwrap();
    assert_eq!(acme.pending().await, 1);
    acme.patch_group(&staff, json!([{"op": "remove", "path": "members"}])).await.unwrap();
    assert_eq!(acme.pending().await, 0);
    for id in ["a", "b", "c", "d"] {
        acme.user(json!({"userName": id, "externalId": id})).await;
    }
    assert!(acme.members(&staff).await.is_empty());

    let club = acme.group("club", &["x", "y"]).await;
    assert_eq!(acme.pending().await, 2);
    acme.run(acme.delete_command(&acme.group, &club)).await.unwrap();
    assert_eq!(acme.figures().await, (0, 0));
    acme.user(json!({"userName": "x", "externalId": "x"})).await;
}

pub(crate) async fn retained_group_keeps_its_pending_members_to_itself(backend: &Backend) {
    let policy = Policy { match_external_id: true, ..retaining() };
    let acme = Tenant::acme(backend).with(policy);
    let staff = acme.group("staff", &["x", "y"]).await;
    acme.run(acme.delete_command(&acme.group, &staff)).await.unwrap();
    assert_eq!(acme.figures().await, (1, 0));
    let x = acme.user(json!({"userName": "x", "externalId": "x"})).await;
    acme.run(Command::Restore { resource_type: acme.group.clone(), id: staff.clone() }).await.unwrap();
    assert_eq!((acme.members(&staff).await, acme.figures().await), (vec![x], (0, 1)));
    let y = acme.user(json!({"userName": "y", "externalId": "y"})).await;
    assert!(acme.members(&staff).await.contains(&y));
}

pub(crate) async fn refused_push_leaves_no_pending_member(backend: &Backend) {
    let acme = Tenant::acme(backend).with(keeping());
    let staff = acme.group("staff", &[]).await;
    acme.named("ann").await;
    let commands = vec![
        acme.patch_command(&acme.group, &staff, add(&["nobody"])),
        acme.put_command(&acme.group, "none", json!({"displayName": "x"})),
    ];
    let results = acme.write(vec![Unit { commands, requires: Vec::new() }]).await;
    assert!(matches!(results[0], Err(Refusal::Command(1, _))), "{results:?}");
    assert_eq!(acme.pending().await, 0);
    let twice = json!([
        {"op": "add", "path": "members", "value": [{"value": "nobody"}]},
        {"op": "remove", "path": "members[value eq \"nobody\"]"},
    ]);
    acme.patch_group(&staff, twice).await.unwrap();
    assert_eq!(acme.pending().await, 0);
    assert_eq!(acme.log().await.len(), 2, "what came and went is no entry");
}
