//! Create, replace, patch, delete: what they leave, what they refuse, and that they do it whole.

use scim_operator::scim::error::ScimType;
use scim_operator::scim::etag::Preconditions;
use scim_operator::store::{Command, Outcome, Refusal, Unit, Write};
use serde_json::{Value, json};

use crate::backend::Backend;
use crate::fixture::{Tenant, alone, body, new_id, write};

pub(crate) async fn created_resource_reads_back_as_written(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let id = new_id();
    let created =
        Tenant::resource(acme.run(acme.user_command(&id, json!({"userName": "Ann", "active": true}))).await);
    let read = acme.get_user(&id).await.unwrap();
    assert_eq!((read.id.as_str(), read.version), (id.as_str(), 1));
    assert_eq!(read.created, read.last_modified);
    assert_eq!(read.body, created.body);
    assert_eq!(read.created, created.created);
    assert_eq!(read.related, created.related);
    assert_eq!(read.related.groups, Some(Vec::new()));
    assert_eq!(read.related.members, None);
    assert_eq!(body(&read)["userName"], "Ann");
}

pub(crate) async fn created_body_begins_with_schemas_and_id(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let id = acme.user(json!({"userName": "ann", "externalId": "7", "displayName": "Ann"})).await;
    let resource = acme.get_user(&id).await.unwrap();
    let text = std::str::from_utf8(&resource.body).unwrap();
    let schema = &acme.user.schema.id;
    assert!(text.starts_with(&format!("{{\"schemas\":[\"{schema}\"],\"id\":\"{id}\",")), "{text}");
    assert_eq!(text.matches("\"id\"").count(), 1);
}

pub(crate) async fn resource_of_another_type_or_id_is_not_found(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let id = acme.named("ann").await;
    assert!(acme.get_group(&id).await.is_none());
    assert!(acme.get_user(&id.to_uppercase()).await.is_none());
    assert!(acme.get_user("").await.is_none());
    assert!(acme.get_user("a\0' OR 1=1 --").await.is_none());
}

pub(crate) async fn taken_user_name_is_refused_in_any_case(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let first = acme.named("Ann.Ärger@example.com").await;
    let error = acme
        .run(acme.user_command(&new_id(), json!({"userName": "ann.äRGER@EXAMPLE.com"})))
        .await
        .unwrap_err();
    assert_eq!((error.status, error.scim_type), (409, Some(ScimType::Uniqueness)));
    assert!(error.detail.starts_with("userName: "), "{}", error.detail);
    assert!(error.detail.contains(&first), "{}", error.detail);
    assert!(!error.detail.contains("example"), "{}", error.detail);
    assert_eq!(acme.find_users("").await, [first]);
}

pub(crate) async fn taken_user_name_is_refused_on_put_and_patch(backend: &Backend) {
    let acme = Tenant::acme(backend);
    acme.named("ann").await;
    let bob = acme.named("bob").await;
    let patch = acme.patch_user(&bob, json!([{"op": "replace", "path": "userName", "value": "ANN"}])).await;
    assert_eq!(patch.unwrap_err().status, 409);
    let put = acme.run(acme.put_command(&acme.user, &bob, json!({"userName": "Ann"}))).await;
    assert_eq!(put.unwrap_err().status, 409);
    let resource = acme.get_user(&bob).await.unwrap();
    assert_eq!((body(&resource)["userName"].as_str(), resource.version), (Some("bob"), 1));
    // Its own name in another case is no conflict.
    let patch = acme.patch_user(&bob, json!([{"op": "replace", "path": "userName", "value": "BOB"}])).await;
    assert_eq!(Tenant::resource(patch).version, 2);
}

pub(crate) async fn freed_user_name_can_be_taken(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let ann = acme.named("ann").await;
    let bob = acme.named("bob").await;
    acme.run(acme.delete_command(&acme.user, &ann)).await.unwrap();
    acme.patch_user(&bob, json!([{"op": "replace", "path": "userName", "value": "ann"}])).await.unwrap();
    let new = acme.named("bob").await;
    assert_eq!(acme.find_users("userName eq \"ann\"").await, [bob]);
    assert_eq!(acme.find_users("userName eq \"bob\"").await, [new]);
}

pub(crate) async fn replaced_resource_moves_its_version_and_time(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let id = acme.user(json!({"userName": "ann", "title": "Dr"})).await;
    let before = acme.get_user(&id).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    let outcome =
        acme.run(acme.put_command(&acme.user, &id, json!({"userName": "ann", "nickName": "A"}))).await;
    let after = acme.get_user(&id).await.unwrap();
    assert_eq!(Tenant::resource(outcome).body, after.body);
    assert_eq!(after.version, 2);
    assert_eq!(after.created, before.created);
    assert!(after.last_modified > before.last_modified);
    assert_eq!((body(&after).get("title"), &body(&after)["nickName"]), (None, &json!("A")));
}

pub(crate) async fn put_or_patch_that_changes_nothing_keeps_the_version(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let id = acme.user(json!({"userName": "ann", "title": "Dr"})).await;
    let before = acme.get_user(&id).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    acme.run(acme.put_command(&acme.user, &id, json!({"title": "Dr", "userName": "ann"}))).await.unwrap();
    acme.patch_user(&id, json!([{"op": "replace", "path": "title", "value": "Dr"}])).await.unwrap();
    acme.patch_user(&id, json!([{"op": "remove", "path": "nickName"}])).await.unwrap();
    let after = acme.get_user(&id).await.unwrap();
    assert_eq!((after.version, after.last_modified), (1, before.last_modified));
    assert_eq!(after.body, before.body);
}

pub(crate) async fn missing_resource_is_404_for_every_change(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let group = acme.group("staff", &[]).await;
    for command in [
        acme.put_command(&acme.user, &group, json!({"userName": "ann"})),
        acme.patch_command(&acme.user, &group, json!([{"op": "replace", "path": "title", "value": "x"}])),
        acme.delete_command(&acme.user, &group),
    ] {
        assert_eq!(acme.run(command).await.unwrap_err().status, 404);
    }
    assert!(acme.get_group(&group).await.is_some());
}

fn with(command: Command, conditions: &Preconditions) -> Command {
    match command {
        Command::Replace { resource_type, id, attributes, members, discarded, load, .. } => {
            Command::Replace {
                resource_type,
                id,
                attributes,
                members,
                discarded,
                preconditions: conditions.clone(),
                load,
            }
        }
        Command::Patch { resource_type, id, patch, load, .. } => {
            Command::Patch { resource_type, id, patch, preconditions: conditions.clone(), load }
        }
        Command::Delete { resource_type, id, .. } => {
            Command::Delete { resource_type, id, preconditions: conditions.clone() }
        }
        other => other,
    }
}

pub(crate) async fn failed_precondition_is_412_and_changes_nothing(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let id = acme.named("ann").await;
    let stale = Preconditions::parse(Some("W/\"7\""), None).unwrap();
    let any = Preconditions::parse(None, Some("*")).unwrap();
    for conditions in [&stale, &any] {
        for command in [
            acme.put_command(&acme.user, &id, json!({"userName": "bob"})),
            acme.patch_command(&acme.user, &id, json!([{"op": "replace", "path": "title", "value": "x"}])),
            acme.delete_command(&acme.user, &id),
        ] {
            assert_eq!(acme.run(with(command, conditions)).await.unwrap_err().status, 412);
        }
    }
    assert_eq!(acme.get_user(&id).await.unwrap().version, 1);
    let current = Preconditions::parse(Some("W/\"1\""), None).unwrap();
    acme.run(with(acme.delete_command(&acme.user, &id), &current)).await.unwrap();
}

pub(crate) async fn version_of_a_user_in_groups_is_checked_whole(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let id = acme.named("ann").await;
    let alone = acme.get_user(&id).await.unwrap().version();
    acme.group("staff", &[&id]).await;
    let grouped = acme.get_user(&id).await.unwrap().version();
    assert_ne!(alone, grouped);
    let command =
        || acme.patch_command(&acme.user, &id, json!([{"op": "replace", "path": "title", "value": "x"}]));
    let stale = Preconditions::parse(Some(&alone.to_string()), None).unwrap();
    assert_eq!(acme.run(with(command(), &stale)).await.unwrap_err().status, 412);
    let current = Preconditions::parse(Some(&grouped.to_string()), None).unwrap();
    acme.run(with(command(), &current)).await.unwrap();
}

pub(crate) async fn refused_unit_leaves_nothing_behind(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let ann = acme.named("ann").await;
    let (bob, staff) = (new_id(), new_id());
    let unit = Unit {
        commands: vec![
            acme.user_command(&bob, json!({"userName": "bob", "externalId": "7"})),
            acme.group_command(&staff, "staff", &[&ann, &bob]),
            acme.patch_command(
                &acme.user,
                &ann,
                json!([{"op": "replace", "path": "userName", "value": "eve"}]),
            ),
            acme.patch_command(
                &acme.user,
                &ann,
                json!([{"op": "replace", "path": "userName", "value": "bob"}]),
            ),
        ],
        requires: Vec::new(),
    };
    let results = acme.write(vec![unit]).await;
    let [Err(Refusal::Command(3, error))] = &results[..] else { panic!("{results:?}") };
    assert_eq!(error.status, 409);
    assert_eq!(acme.find_users("").await, [ann.as_str()]);
    assert!(acme.find_groups("").await.is_empty());
    assert!(
        acme.find_users("userName eq \"eve\" or userName eq \"bob\" or externalId eq \"7\"").await.is_empty()
    );
    assert_eq!(acme.store.count(&acme.key, "User").await.unwrap(), 1);
    assert_eq!(acme.store.count(&acme.key, "Group").await.unwrap(), 0);
    assert_eq!(acme.get_user(&ann).await.unwrap().related.groups, Some(Vec::new()));
}

pub(crate) async fn unit_that_requires_a_refused_one_is_refused(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let create = |name: &str| acme.user_command(&new_id(), json!({"userName": name}));
    let after = |name: &str, requires| Unit { commands: vec![create(name)], requires };
    let units = vec![
        alone(create("ann")),
        alone(create("ANN")),
        after("bob", vec![0]),
        after("eve", vec![0, 1]),
        after("dan", vec![3]),
    ];
    let results = acme.write(units).await;
    assert!(matches!(&results[0], Ok(outcomes) if matches!(outcomes[..], [Outcome::Created(_)])));
    assert!(matches!(&results[1], Err(Refusal::Command(0, error)) if error.status == 409));
    assert!(results[2].is_ok());
    assert_eq!(results[3].as_ref().unwrap_err(), &Refusal::Requires(1));
    assert_eq!(results[4].as_ref().unwrap_err(), &Refusal::Requires(3));
    assert_eq!(acme.find_users("").await.len(), 2);
}

pub(crate) async fn units_after_max_errors_are_not_tried(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let names = ["ann", "Ann", "bob", "BOB", "eve"];
    let units = names.map(|name| alone(acme.user_command(&new_id(), json!({"userName": name}))));
    let results =
        acme.store.write(&acme.key, Write { max_errors: Some(2), ..write(units.to_vec()) }).await.unwrap();
    let good: Vec<_> = results.iter().map(Result::is_ok).collect();
    assert_eq!(good, [true, false, true, false]);
    assert_eq!(acme.find_users("").await.len(), 2);
}

pub(crate) async fn counters_follow_every_change(backend: &Backend) {
    let acme = Tenant::acme(backend);
    assert_eq!(acme.store.count(&acme.key, "User").await.unwrap(), 0);
    let ann = acme.named("ann").await;
    acme.named("bob").await;
    acme.group("staff", &[&ann]).await;
    let twice = acme.user_command(&new_id(), json!({"userName": "ann"}));
    acme.run(twice).await.unwrap_err();
    acme.run(acme.delete_command(&acme.user, &ann)).await.unwrap();
    assert_eq!(acme.store.count(&acme.key, "User").await.unwrap(), 1);
    assert_eq!(acme.store.count(&acme.key, "Group").await.unwrap(), 1);
    assert_eq!(acme.find_users("").await.len(), 1);
}

pub(crate) async fn long_values_are_told_apart(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let long = "é".repeat(2000);
    let one = acme.named(&format!("{long}1")).await;
    let two = acme.named(&format!("{long}2")).await;
    let taken = acme.user_command(&new_id(), json!({"userName": format!("{}1", "É".repeat(2000))}));
    assert_eq!(acme.run(taken).await.unwrap_err().status, 409);
    assert_eq!(acme.find_users(&format!("userName eq \"{long}1\"")).await, [one.as_str()]);
    assert_eq!(acme.find_users(&format!("userName sw \"{long}2\"")).await, [two.as_str()]);
    assert_eq!(acme.find_users(&format!("userName sw \"{long}\"")).await, [one, two]);
    let value = Value::from("é".repeat(447));
    assert_eq!(acme.find_users(&format!("userName sw {value}")).await.len(), 2);
}
