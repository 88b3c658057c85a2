//! PostgreSQL only: what a server remembers of resources is never what another server has changed since.

use std::sync::Arc;

use scim_operator::scim::resource::{Load, Resource};
use scim_operator::store::postgres::{PostgresStore, Settings};
use scim_operator::store::{Policy, StoreError};
use serde_json::json;
use tokio_postgres::NoTls;

use crate::database::{self, settings};
use crate::fixture::Tenant;

/// Another server on the same database, which remembers so many bytes.
fn server(url: &str, cache_bytes: usize) -> Arc<PostgresStore> {
    Arc::new(PostgresStore::new(Settings { cache_bytes, ..settings(url.to_owned()) }).unwrap())
}

/// What a client could see of a resource.
fn seen(resource: Option<Resource>) -> String {
    resource.map_or_else(String::new, |resource| {
        let Resource { id, version, created, last_modified, body, related, .. } = resource;
        format!("{id} {version} {created} {last_modified} {body:?} {related:?}")
    })
}

fn hits(store: &PostgresStore) -> u64 {
    store.metrics().cache_hits.get()
}

#[tokio::test]
async fn read_of_what_has_not_changed_is_a_hit_and_of_what_has_is_not() {
    let database = database::database();
    let (here, there) = (server(&database.url(), 1 << 20), server(&database.url(), 0));
    let (reader, writer) = (Tenant::on(here.clone(), "identity/acme"), Tenant::on(there, "identity/acme"));
    let (ann, bob) = (writer.named("ann").await, writer.named("bob").await);
    reader.get_user(&ann).await.unwrap();
    assert_eq!(hits(&here), 0);
    reader.get_user(&ann).await.unwrap();
    assert_eq!(hits(&here), 1);
    writer.patch_user(&bob, json!([{"op": "add", "path": "title", "value": "t"}])).await.unwrap();
    reader.get_user(&ann).await.unwrap();
    assert_eq!(hits(&here), 2, "another's change is none of hers");
    writer.patch_user(&ann, json!([{"op": "add", "path": "title", "value": "t"}])).await.unwrap();
    assert_eq!(reader.get_user(&ann).await.unwrap().version, 2);
    assert_eq!(hits(&here), 2);
    writer.run(writer.delete_command(&writer.user, &ann)).await.unwrap();
    assert!(reader.get_user(&ann).await.is_none());
}

/// Users in groups in groups are renamed, moved about, deleted, retained and brought back by one server, and read by
/// another that remembers and by one that does not: both see the same after every step.
#[tokio::test]
async fn server_that_remembers_sees_what_one_without_memory_sees() {
    let database = database::database();
    let policy = Policy {
        retention: Some(std::time::Duration::from_hours(1)),
        restore_on_recreate: true,
        remove_from_groups_on_deactivate: true,
        keep_unknown_members: true,
        ..Policy::default()
    };
    let tenant = |bytes| Tenant::on(server(&database.url(), bytes), "identity/acme").with(policy.clone());
    let remembering = server(&database.url(), 1 << 20);
    let with = Tenant::on(remembering.clone(), "identity/acme");
    // So small that it forgets all the time.
    let (writer, without, small) = (tenant(0), tenant(0), tenant(6 << 10));
    let mut users = Vec::new();
    for number in 0..6 {
        users.push(writer.named(&format!("user{number}")).await);
    }
    let mut groups = Vec::new();
    for number in 0..4 {
        groups.push(writer.group(&format!("group{number}"), &[]).await);
    }
    // The same steps each time, and many different ones.
    let mut state = 7_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    for step in 0..160 {
        let (user, group) = (users[random(6)].clone(), groups[random(4)].clone());
        let member = if random(3) == 0 { groups[random(4)].clone() } else { user.clone() };
        // What is not there now is refused, which is as good.
        let _ = match random(10) {
            0..=3 => {
                let value = json!([{"op": "add", "path": "members", "value": [{"value": member}]}]);
                writer.patch_group(&group, value).await
            }
            4 | 5 => {
                let path = format!("members[value eq \"{member}\"]");
                writer.patch_group(&group, json!([{"op": "remove", "path": path}])).await
            }
            6 => {
                let value = json!([{"op": "replace", "path": "displayName", "value": format!("g{step}")}]);
                writer.patch_group(&group, value).await
            }
            7 => {
                let value = json!([{"op": "replace", "path": "displayName", "value": format!("u{step}")},
                                   {"op": "replace", "path": "active", "value": random(4) > 0}]);
                writer.patch_user(&user, value).await
            }
            8 if random(2) == 0 => {
                let resource_type = if random(2) == 0 { &writer.group } else { &writer.user };
                let id = if Arc::ptr_eq(resource_type, &writer.group) { &group } else { &user };
                writer.run(writer.delete_command(resource_type, id)).await
            }
            _ => {
                let number = users.iter().position(|id| *id == user).unwrap();
                writer.run(writer.user_command(&user, json!({"userName": format!("user{number}")}))).await
            }
        };
        for reader in [&with, &small] {
            for id in &users {
                assert_eq!(seen(reader.get_user(id).await), seen(without.get_user(id).await), "step {step}");
            }
            for id in &groups {
                assert_eq!(
                    seen(reader.get_group(id).await),
                    seen(without.get_group(id).await),
                    "step {step}"
                );
            }
        }
    }
    assert!(hits(&remembering) > 300, "{} hits", hits(&remembering));
    assert!(remembering.metrics().cache_bytes.get() > 0);
}

#[tokio::test]
async fn database_set_back_to_an_earlier_moment_is_believed() {
    let database = database::database();
    let store = server(&database.url(), 1 << 20);
    let acme = Tenant::on(store.clone(), "identity/acme");
    let ann = acme.named("ann").await;
    acme.patch_user(&ann, json!([{"op": "add", "path": "title", "value": "lost"}])).await.unwrap();
    acme.get_user(&ann).await.unwrap();
    // What was acknowledged last is gone, and something else has happened since.
    let (client, connection) = tokio_postgres::connect(&database.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let sql =
        "UPDATE scim.resource SET version = 9; UPDATE scim.change SET batch = batch + 1 WHERE sequence = 2";
    client.batch_execute(sql).await.unwrap();
    assert_eq!(acme.get_user(&ann).await.unwrap().version, 9);
    let sql = "UPDATE scim.resource SET version = 8; DELETE FROM scim.change WHERE sequence = 2;
               UPDATE scim.tenant SET head = 1";
    client.batch_execute(sql).await.unwrap();
    assert_eq!(acme.get_user(&ann).await.unwrap().version, 8);
}

#[tokio::test]
async fn server_whose_database_is_gone_answers_nothing_from_memory() {
    let database = database::database();
    let store = server(&database.url(), 1 << 20);
    let acme = Tenant::on(store, "identity/acme");
    let ann = acme.named("ann").await;
    acme.get_user(&ann).await.unwrap();
    let (client, connection) =
        tokio_postgres::connect(&database::shared().url("postgres"), NoTls).await.unwrap();
    tokio::spawn(connection);
    let away = format!("ALTER DATABASE {0} RENAME TO {0}_away", database.name);
    let terminate =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'", database.name);
    for _ in 0..50 {
        client.batch_execute(&terminate).await.unwrap();
        if client.batch_execute(&away).await.is_ok() {
            break;
        }
    }
    let read = acme.store.get(&acme.key, &acme.user, &ann, Load::ALL).await;
    let back = format!("ALTER DATABASE {0}_away RENAME TO {0}", database.name);
    client.batch_execute(&back).await.unwrap();
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
    acme.get_user(&ann).await.unwrap();
}
