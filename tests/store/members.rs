//! Group membership: what groups show of members, what users show of groups, and whose version moves.

use scim_operator::scim::error::ScimType;
use scim_operator::scim::resource::{Load, Resource};
use scim_operator::store::{Outcome, Unit};
use serde_json::json;

use crate::backend::Backend;
use crate::fixture::{Tenant, alone, member_ids, new_id, shown};

/// A user's groups as `NAME` or, when indirect, `(NAME)`.
fn groups(resource: &Resource) -> Vec<String> {
    let groups = resource.related.groups.as_ref().unwrap();
    assert!(groups.is_sorted_by(|left, right| left.id < right.id));
    let name = |group: &scim_operator::scim::member::GroupRef| {
        let display = group.display.clone().unwrap();
        if group.direct { display } else { format!("({display})") }
    };
    let mut names: Vec<_> = groups.iter().map(name).collect();
    names.sort();
    names
}

pub(crate) async fn unknown_members_are_all_named(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let ann = acme.named("ann").await;
    let staff = acme.group("staff", &[]).await;
    let (one, two) = (new_id(), new_id());
    let put = acme.put_command(
        &acme.group,
        &staff,
        json!({"displayName": "x", "members": [{"value": ann}, {"value": one}, {"value": two}]}),
    );
    let patch = acme.patch_command(
        &acme.group,
        &staff,
        json!([
            {"op": "add", "path": "members", "value": [{"value": one}, {"value": ann}]},
            {"op": "add", "path": "members", "value": [{"value": two}, {"value": one}]},
        ]),
    );
    for command in [acme.group_command(&new_id(), "new", &[&one, &ann, &two]), put, patch] {
        let error = acme.run(command).await.unwrap_err();
        assert_eq!((error.status, error.scim_type), (400, Some(ScimType::InvalidValue)));
        assert_eq!(error.detail.matches(&one).count(), 1, "{}", error.detail);
        assert_eq!(error.detail.matches(&two).count(), 1, "{}", error.detail);
        assert!(!error.detail.contains(&ann));
    }
    let group = acme.get_group(&staff).await.unwrap();
    assert_eq!((member_ids(&group), group.version), (vec![], 1));
    assert_eq!(acme.find_groups("").await, [staff]);
}

pub(crate) async fn members_carry_type_and_live_display(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let ann = acme.user(json!({"userName": "ann", "displayName": "Ann A."})).await;
    let bob = acme.named("bob").await;
    let inner = acme.group("inner", &[]).await;
    let staff = acme.group("staff", &[&inner, &bob, &ann]).await;
    let show = |group: Resource| {
        let members = group.related.members.unwrap().into_iter();
        members
            .map(|m| format!("{} {}", m.resource_type, m.display.as_deref().unwrap_or("-")))
            .collect::<Vec<_>>()
    };
    assert_eq!(show(acme.get_group(&staff).await.unwrap()), ["User Ann A.", "User -", "Group inner"]);
    acme.patch_user(&ann, json!([{"op": "remove", "path": "displayName"}])).await.unwrap();
    acme.patch_user(&bob, json!([{"op": "replace", "path": "displayName", "value": "Bob"}])).await.unwrap();
    assert_eq!(show(acme.get_group(&staff).await.unwrap()), ["User -", "User Bob", "Group inner"]);
    let without =
        acme.store.get(&acme.key, &acme.group, &staff, Load::WITHOUT_MEMBERS).await.unwrap().unwrap();
    assert_eq!(without.related.members, None);
}

pub(crate) async fn groups_are_direct_and_indirect(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let ann = acme.named("ann").await;
    let inner = acme.group("inner", &[&ann]).await;
    let middle = acme.group("middle", &[&inner]).await;
    acme.group("outer", &[&middle, &ann]).await;
    acme.group("other", &[]).await;
    assert_eq!(groups(&acme.get_user(&ann).await.unwrap()), ["(middle)", "inner", "outer"]);
    assert_eq!(acme.find_users(&format!("groups.value eq \"{middle}\"")).await, [ann]);
}

pub(crate) async fn groups_that_contain_each_other_end(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let ann = acme.named("ann").await;
    let one = acme.group("one", &[&ann]).await;
    let two = acme.group("two", &[&one]).await;
    let add = |id: &str| json!([{"op": "add", "path": "members", "value": [{"value": id}]}]);
    acme.patch_group(&one, add(&two)).await.unwrap();
    acme.patch_group(&one, add(&one)).await.unwrap();
    assert_eq!(groups(&acme.get_user(&ann).await.unwrap()), ["(two)", "one"]);
    assert_eq!(acme.find_users(&format!("groups.value eq \"{two}\"")).await, [ann.as_str()]);
    acme.run(acme.delete_command(&acme.group, &one)).await.unwrap();
    assert!(groups(&acme.get_user(&ann).await.unwrap()).is_empty());
    assert!(member_ids(&acme.get_group(&two).await.unwrap()).is_empty());
}

pub(crate) async fn groups_of_one_unit_may_contain_each_other(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let (one, two, ann) = (new_id(), new_id(), new_id());
    let unit = Unit {
        commands: vec![
            acme.group_command(&one, "one", &[&two, &ann]),
            acme.group_command(&two, "two", &[&one]),
            acme.user_command(&ann, json!({"userName": "ann"})),
        ],
        requires: Vec::new(),
    };
    let results = acme.write(vec![unit]).await;
    let outcomes = results[0].as_ref().unwrap();
    let Outcome::Created(first) = &outcomes[0] else { panic!("{outcomes:?}") };
    assert_eq!((member_ids(first).len(), first.version), (2, 1));
    assert_eq!(groups(&acme.get_user(&ann).await.unwrap()), ["(two)", "one"]);
}

pub(crate) async fn put_makes_the_whole_membership(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let (ann, bob, eve) = (acme.named("ann").await, acme.named("bob").await, acme.named("eve").await);
    let staff = acme.group("staff", &[&ann, &bob]).await;
    let put = |members: &[&String]| {
        let members: Vec<_> = members.iter().map(|id| json!({"value": id})).collect();
        acme.put_command(&acme.group, &staff, json!({"displayName": "staff", "members": members}))
    };
    assert_eq!(Tenant::resource(acme.run(put(&[&bob, &ann, &bob])).await).version, 1);
    let group = Tenant::resource(acme.run(put(&[&eve, &bob])).await);
    assert_eq!((member_ids(&group), group.version), (vec![bob, eve], 2));
    let group = Tenant::resource(acme.run(put(&[])).await);
    assert_eq!((member_ids(&group), group.version), (vec![], 3));
}

pub(crate) async fn patch_that_leaves_membership_as_it_was_keeps_the_version(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let (ann, bob) = (acme.named("ann").await, acme.named("bob").await);
    let staff = acme.group("staff", &[&ann]).await;
    let before = acme.get_group(&staff).await.unwrap();
    for operations in [
        json!([{"op": "add", "path": "members", "value": [{"value": ann}]}]),
        json!([{"op": "remove", "path": format!("members[value eq \"{bob}\"]")}]),
        json!([{"op": "remove", "path": "members"}, {"op": "add", "path": "members", "value": [{"value": ann}]}]),
        json!([
            {"op": "add", "path": "members", "value": [{"value": bob}]},
            {"op": "remove", "path": format!("members[value eq \"{bob}\"]")},
        ]),
    ] {
        acme.patch_group(&staff, operations).await.unwrap();
        let after = acme.get_group(&staff).await.unwrap();
        assert_eq!((after.version, after.last_modified), (1, before.last_modified));
        assert_eq!(member_ids(&after), [ann.as_str()]);
    }
}

pub(crate) async fn filter_removes_the_members_it_matches(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let ann = acme.user(json!({"userName": "ann", "displayName": "A1"})).await;
    let bob = acme.user(json!({"userName": "bob", "displayName": "A2"})).await;
    let eve = acme.user(json!({"userName": "eve", "displayName": "B1"})).await;
    let inner = acme.group("A3", &[]).await;
    let staff = acme.group("staff", &[&ann, &bob, &eve, &inner]).await;
    let remove = |path: String| acme.patch_group(&staff, json!([{"op": "remove", "path": path}]));
    remove("members[display sw \"a\" and type eq \"User\"]".into()).await.unwrap();
    assert_eq!(member_ids(&acme.get_group(&staff).await.unwrap()), [eve.as_str(), &inner]);
    remove(format!("members[value eq \"{eve}\" or value eq \"{inner}\"]")).await.unwrap();
    let group = acme.get_group(&staff).await.unwrap();
    assert_eq!((member_ids(&group), group.version), (vec![], 3));
}

pub(crate) async fn deleted_member_leaves_its_groups_and_moves_their_versions(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let (ann, bob) = (acme.named("ann").await, acme.named("bob").await);
    let inner = acme.group("inner", &[&bob]).await;
    let with = acme.group("with", &[&ann, &bob, &inner]).await;
    let without = acme.group("without", &[&bob]).await;
    let before = acme.get_group(&with).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    acme.run(acme.delete_command(&acme.user, &ann)).await.unwrap();
    let after = acme.get_group(&with).await.unwrap();
    assert_eq!((member_ids(&after), after.version), (vec![bob.clone(), inner.clone()], 2));
    assert!(after.last_modified > before.last_modified);
    assert_eq!(acme.get_group(&without).await.unwrap().version, 1);
    acme.run(acme.delete_command(&acme.group, &inner)).await.unwrap();
    let after = acme.get_group(&with).await.unwrap();
    assert_eq!((member_ids(&after), after.version), (vec![bob], 3));
    assert!(acme.find_groups(&format!("members.value eq \"{ann}\"")).await.is_empty());
}

pub(crate) async fn deleted_group_is_no_group_of_its_members(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let ann = acme.named("ann").await;
    let staff = acme.group("staff", &[&ann]).await;
    let grouped = acme.get_user(&ann).await.unwrap();
    acme.run(acme.delete_command(&acme.group, &staff)).await.unwrap();
    let after = acme.get_user(&ann).await.unwrap();
    assert!(groups(&after).is_empty());
    assert_ne!(after.version(), grouped.version());
    assert_eq!(after.version, grouped.version);
}

pub(crate) async fn renamed_member_moves_the_version_of_its_groups(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let ann = acme.named("ann").await;
    let staff = acme.group("staff", &[&ann]).await;
    acme.patch_group(&staff, json!([{"op": "add", "path": "members", "value": [{"value": staff}]}]))
        .await
        .unwrap();
    acme.patch_user(&ann, json!([{"op": "replace", "path": "title", "value": "Dr"}])).await.unwrap();
    assert_eq!(acme.get_group(&staff).await.unwrap().version, 2);
    acme.patch_user(&ann, json!([{"op": "replace", "path": "displayName", "value": "Ann"}])).await.unwrap();
    assert_eq!(acme.get_group(&staff).await.unwrap().version, 3);
    let renamed =
        acme.patch_group(&staff, json!([{"op": "replace", "path": "displayName", "value": "all"}])).await;
    let renamed = Tenant::resource(renamed);
    let read = acme.get_group(&staff).await.unwrap();
    assert_eq!((read.version, read.related), (renamed.version, renamed.related));
    assert!(read.version > 3);
}

pub(crate) async fn large_group_reads_whole(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let users: Vec<_> = (0..3000).map(|_| new_id()).collect();
    let units = users.iter().map(|id| alone(acme.user_command(id, json!({"userName": id}))));
    acme.write(units.collect()).await;
    let members: Vec<_> = users.iter().map(String::as_str).collect();
    let staff = acme.group("staff", &members).await;
    assert_eq!(member_ids(&acme.get_group(&staff).await.unwrap()), users);
    let listing = acme.list(&acme.query(&acme.group, "", crate::fixture::first(10))).await;
    let members = shown(&listing)[0]["members"].as_array().unwrap().clone();
    assert_eq!(members.iter().map(|member| member["value"].as_str().unwrap()).collect::<Vec<_>>(), users);
    let removed = format!("members[value eq \"{}\"]", users[1500]);
    acme.patch_group(&staff, json!([{"op": "remove", "path": removed}])).await.unwrap();
    assert_eq!(member_ids(&acme.get_group(&staff).await.unwrap()).len(), 2999);
}
