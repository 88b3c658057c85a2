//! Two versions of the schema side by side while a new version of the server rolls out. There is one version yet, so
//! the new servers here have a migration that the product has not.

use std::sync::Arc;
use std::time::Duration;

use scim_operator::scim::resource::Load;
use scim_operator::store::StoreError;
use scim_operator::store::audit::From;
use scim_operator::store::postgres::{Later, PostgresStore};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::database::{self, Database};
use crate::fixture::{Tenant, alone, member_ids, new_id, write};

/// What a migration may do while servers of before serve: columns that have a value by themselves, tables, indexes.
const EXPAND: Later = Later {
    migration: "
        ALTER TABLE scim.resource ADD COLUMN colour TEXT NOT NULL DEFAULT 'green';
        ALTER TABLE scim.tenant ADD COLUMN colours BIGINT NOT NULL DEFAULT 0;
        ALTER TABLE scim.change ADD COLUMN colour TEXT;
        ALTER TABLE scim.member ADD COLUMN since BIGINT;
        CREATE INDEX resource_by_colour ON scim.resource (tenant, colour);
        CREATE TABLE scim.colour (tenant BIGINT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (tenant, name))",
    expands: true,
};

/// What may only be done when no server of before is left.
const CONTRACT: Later = Later { migration: "ALTER TABLE scim.resource DROP COLUMN display", expands: false };

fn server(database: &Database, later: &[Later]) -> Tenant {
    let store = PostgresStore::later(database::settings(database.url()), later).unwrap();
    Tenant::on(Arc::new(store), "identity/acme")
}

/// Makes users and members by one server until it is told to stop; the users' ids.
async fn work(acme: Tenant, group: String, name: String, stopped: watch::Receiver<bool>) -> Vec<String> {
    let mut made = Vec::new();
    while !*stopped.borrow() {
        let id = new_id();
        let create = acme.user_command(&id, json!({"userName": format!("{name}{}", made.len())}));
        let add = json!([{"op": "add", "path": "members", "value": [{"value": id}]}]);
        let join = acme.patch_command(&acme.group, &group, add);
        let done = acme.store.write(&acme.key, write(vec![alone(create), alone(join)])).await.unwrap();
        assert!(done.iter().all(Result::is_ok), "{done:?}");
        assert!(acme.get_user(&id).await.is_some());
        made.push(id);
    }
    made
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_and_new_servers_serve_one_database_while_it_is_expanded() {
    let database = database::database();
    let old = [server(&database, &[]), server(&database, &[])];
    let group = old[0].group("All", &[]).await;
    let (stop, stopped) = watch::channel(false);
    let mut workers = JoinSet::new();
    let mut start = |acme: &Tenant, name: &str| {
        workers.spawn(work(acme.clone(), group.clone(), name.to_owned(), stopped.clone()));
    };
    for (number, acme) in old.iter().enumerate() {
        start(acme, &format!("old{number}-"));
    }
    let some = async |more: u64| {
        let seen = old[0].store.count(&old[0].key, "User").await.unwrap();
        while old[0].store.count(&old[0].key, "User").await.unwrap() < seen + more {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    some(20).await;
    // The migration runs under this load, and old servers go on beside the new ones.
    let new = [server(&database, &[EXPAND]), server(&database, &[EXPAND])];
    new[0].named("first").await;
    for (number, acme) in new.iter().enumerate() {
        start(acme, &format!("new{number}-"));
    }
    // One of before that starts again, as when it was killed or rolled back.
    start(&server(&database, &[]), "again-");
    some(60).await;
    stop.send(true).unwrap();
    let made: Vec<String> = workers.join_all().await.into_iter().flatten().collect();
    for acme in old.iter().chain(&new) {
        assert!(acme.store.ping().await.is_ok());
        let members = member_ids(&acme.get_group(&group).await.unwrap());
        assert_eq!(members.len(), made.len());
        for id in &made {
            assert!(acme.get_user(id).await.is_some(), "{id} was acknowledged");
        }
        assert_eq!(acme.store.count(&acme.key, "User").await.unwrap(), made.len() as u64 + 1);
        // Every creation and every joining, the group and the first user, without a gap.
        let head = acme.store.changes(&acme.key, From::Oldest, 1).await.unwrap().head;
        assert_eq!(head, 2 * made.len() as u64 + 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_whose_schema_was_taken_away_refuses_in_words() {
    let database = database::database();
    let old = server(&database, &[]);
    let id = old.named("ann").await;
    let newest = server(&database, &[EXPAND, CONTRACT]);
    newest.store.ping().await.unwrap();
    let words = "the database has schema version 3, which takes a server that knows version 3, and this one knows 1: \
                 run the newer one";
    for server in [old, server(&database, &[])] {
        // A pod is asked for this all the time.
        let error = server.store.ping().await.unwrap_err();
        assert!(matches!(&error, StoreError::Unavailable(reason) if reason == words), "{error}");
        let read = server.store.get(&server.key, &server.user, &id, Load::ALL).await;
        assert!(matches!(&read, Err(StoreError::Unavailable(reason)) if reason == words), "{read:?}");
    }
    // One between them as well: it knows what was added, and not what was taken away.
    let between = server(&database, &[EXPAND]).store.ping().await.unwrap_err();
    assert!(between.to_string().contains("this one knows 2: run the newer one"), "{between}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_of_two_versions_that_start_together_migrate_once() {
    let database = database::database();
    let mut starts = JoinSet::new();
    for number in 0..8 {
        let later: &[Later] = if number % 2 == 0 { &[EXPAND] } else { &[] };
        let acme = server(&database, later);
        starts.spawn(async move { acme.named(&format!("user{number}")).await });
    }
    assert_eq!(starts.join_all().await.len(), 8);
    let acme = server(&database, &[EXPAND]);
    assert_eq!(acme.store.count(&acme.key, "User").await.unwrap(), 8);
}
