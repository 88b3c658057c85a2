//! PostgreSQL only: several servers on one database, and a database that is slow, gone, read-only, full or cut off.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use scim_operator::scim::resource::Load;
use scim_operator::store::audit::From;
use scim_operator::store::postgres::{PostgresStore, Settings, Url};
use scim_operator::store::{Outcome, Store as _, StoreError};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_postgres::NoTls;

use crate::database::{self, Database, Postgres, settings};
use crate::fixture::{Tenant, alone, new_id, write};
use crate::proxy::{Proxy, Weather};

/// How long anything may take to come to be.
const PATIENCE: Duration = Duration::from_mins(1);

fn acme(store: PostgresStore) -> Tenant {
    Tenant::on(Arc::new(store), "identity/acme")
}

async fn sql(url: &str, sql: &str) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
}

/// A store whose way to the database is a proxy's.
async fn through_proxy(database: &Database) -> (Proxy, Tenant) {
    let proxy = Proxy::to(database::shared().port).await;
    let url = format!("postgresql://postgres@{}/{}", proxy.address, database.name);
    (proxy, acme(PostgresStore::new(settings(url)).unwrap()))
}

/// Creates a user, as often as the store says that it is unavailable.
async fn created_at_last(acme: &Tenant, user_name: &str) -> String {
    let id = new_id();
    let create = async {
        loop {
            let command = acme.user_command(&id, json!({"userName": user_name}));
            match acme.store.write(&acme.key, write(vec![alone(command)])).await {
                Ok(results) => return assert!(results[0].is_ok(), "{results:?}"),
                Err(StoreError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(other) => panic!("{other}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, create).await.expect("the store recovers by itself");
    id
}

async fn unavailable(acme: &Tenant) -> String {
    let read = acme.store.get(&acme.key, &acme.user, "none", Load::ALL);
    match tokio::time::timeout(PATIENCE, read).await.expect("no read waits for ever") {
        Err(StoreError::Unavailable(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feed_of_three_servers_with_slow_transactions_has_no_gap_that_fills_later() {
    let database = database::database();
    let servers: Vec<_> = (0..3).map(|_| acme(database.store())).collect();
    servers[0].named("first").await;
    // Transactions take from nothing to 30 ms, and commit in another order than they began.
    let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN PERFORM pg_sleep(random() * 0.03); RETURN NULL; END $$;
                CREATE TRIGGER slow AFTER INSERT ON scim.change FOR EACH STATEMENT EXECUTE FUNCTION slow()";
    sql(&database.url(), slow).await;
    let mut tasks = JoinSet::new();
    for number in 0..90 {
        let server = servers[number % 3].clone();
        tasks.spawn(async move { server.named(&format!("user{number}")).await });
    }
    let (mut seen, mut ids) = (0, HashSet::new());
    let mut done = false;
    loop {
        // Writers are done before the last look.
        done = done || tasks.is_empty();
        let read =
            servers[seen % 3].store.changes(&servers[0].key, From::After(seen as u64), 7).await.unwrap();
        for change in read.changes {
            assert_eq!(change.sequence, seen as u64 + 1, "a row came before its forerunner");
            seen += 1;
            assert!(ids.insert(change.resource_id));
        }
        if done && seen == 91 {
            return;
        }
        while let Some(written) = tasks.try_join_next() {
            written.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_start_together_make_the_tables_once() {
    let server = database::shared();
    sql(&server.url("postgres"), "CREATE DATABASE together").await;
    let mut tasks = JoinSet::new();
    for number in 0..6 {
        let acme = acme(PostgresStore::new(settings(server.url("together"))).unwrap());
        tasks.spawn(async move { acme.named(&format!("user{number}")).await });
    }
    assert_eq!(tasks.join_all().await.len(), 6);
    let acme = acme(PostgresStore::new(settings(server.url("together"))).unwrap());
    assert_eq!(acme.store.count(&acme.key, "User").await.unwrap(), 6);
}

#[tokio::test]
async fn schema_that_needs_a_newer_server_is_not_served() {
    let database = database::database();
    sql(&database.url(), "UPDATE scim.schema_version SET version = 9, needs = 9").await;
    assert!(unavailable(&acme(database.store())).await.contains("run the newer one"));
    // One that only adds is.
    sql(&database.url(), "UPDATE scim.schema_version SET needs = 1").await;
    acme(database.store()).named("ann").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conflicts_and_deadlocks_are_tried_again() {
    let database = database::database();
    let acme = acme(database.store());
    acme.named("first").await;
    let conflicts = "CREATE SEQUENCE attempts;
        CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            CASE nextval('attempts') WHEN 1 THEN RAISE EXCEPTION 'conflict' USING ERRCODE = '40001';
                                     WHEN 2 THEN RAISE EXCEPTION 'deadlock' USING ERRCODE = '40P01';
                                     ELSE RETURN NULL; END CASE; END $$;
        CREATE TRIGGER conflict AFTER INSERT ON scim.resource FOR EACH STATEMENT EXECUTE FUNCTION conflict()";
    sql(&database.url(), conflicts).await;
    acme.named("ann").await;
    assert_eq!(acme.store.count(&acme.key, "User").await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commit_whose_answer_is_lost_is_found_and_not_done_twice() {
    for weather in [Weather::AnswerLost, Weather::CommitLost] {
        let database = database::database();
        let (proxy, acme) = through_proxy(&database).await;
        acme.named("first").await;
        proxy.set(weather);
        let cut = Arc::clone(&proxy.cut);
        let fair = tokio::spawn(async move {
            while cut.load(Ordering::SeqCst) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            proxy.set(Weather::Fair);
            proxy
        });
        let created = acme.run(acme.user_command(&new_id(), json!({"userName": "ann"}))).await;
        assert!(matches!(created, Ok(Outcome::Created(_))), "{weather:?}: {created:?}");
        fair.await.unwrap();
        assert_eq!(acme.find_users("userName eq \"ann\"").await.len(), 1);
        assert_eq!(acme.store.count(&acme.key, "User").await.unwrap(), 2);
        assert_eq!(acme.store.changes(&acme.key, From::Oldest, 10).await.unwrap().head, 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_network_is_unavailable_and_not_waited_for() {
    let database = database::database();
    let (proxy, acme) = through_proxy(&database).await;
    let id = acme.named("ann").await;
    proxy.set(Weather::Silent);
    assert!(!unavailable(&acme).await.is_empty());
    proxy.set(Weather::Fair);
    created_at_last(&acme, "bob").await;
    assert!(acme.get_user(&id).await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_database_keeps_what_was_acknowledged_and_is_used_when_it_is_back() {
    /// Writes under way before it is killed.
    const ENOUGH: usize = 20;
    // The one test that crashes it: this one flushes.
    let mut server = tokio::task::spawn_blocking(|| Postgres::start(true)).await.unwrap();
    let acme = acme(PostgresStore::new(settings(server.url("postgres"))).unwrap());
    for round in 0..3 {
        let writer = acme.clone();
        let (tell, mut told) = watch::channel(0);
        let writing = tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0.. {
                let id = new_id();
                let command = writer.user_command(&id, json!({"userName": format!("user{round}-{number}")}));
                let written = writer.store.write(&writer.key, write(vec![alone(command)])).await;
                match written {
                    Ok(_) => acknowledged.push(id),
                    Err(_) if acknowledged.len() >= ENOUGH => break,
                    Err(_) => {} // slow at first, not killed yet
                }
                tell.send_replace(acknowledged.len());
            }
            acknowledged
        });
        tokio::time::timeout(PATIENCE, told.wait_for(|count| *count >= ENOUGH)).await.unwrap().unwrap();
        let server_is = tokio::task::spawn_blocking(move || {
            server.stop("KILL");
            server
        });
        server = server_is.await.unwrap();
        let acknowledged = tokio::time::timeout(PATIENCE, writing).await.unwrap().unwrap();
        let reason = unavailable(&acme).await;
        assert!(reason.contains("cannot connect"), "{reason}");
        let ping = acme.store.ping().await.unwrap_err();
        assert!(ping.to_string().contains("cannot connect"), "{ping}");
        let running = tokio::task::spawn_blocking(move || {
            server.run();
            server
        });
        server = running.await.unwrap();
        created_at_last(&acme, &format!("after{round}")).await;
        for id in acknowledged {
            assert!(acme.get_user(&id).await.is_some(), "{id} was acknowledged and is gone");
        }
    }
    acme.store.close().await;
    tokio::task::spawn_blocking(move || drop(server)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn password_that_was_changed_fails_nothing_while_a_connection_is_there() {
    let starting = tokio::task::spawn_blocking(|| {
        Postgres::prepared(false, |data| {
            let file = data.join("pg_hba.conf");
            let rules = std::fs::read_to_string(&file).unwrap();
            std::fs::write(&file, format!("host all rotated 127.0.0.1/32 scram-sha-256\n{rules}")).unwrap();
            Vec::new()
        })
    });
    let server = starting.await.unwrap();
    let admin = server.url("postgres");
    sql(&admin, "CREATE ROLE rotated LOGIN PASSWORD 'one'").await;
    sql(&admin, "CREATE DATABASE rotated OWNER rotated").await;
    let url = |password: &str| format!("postgresql://rotated:{password}@127.0.0.1:{}/rotated", server.port);
    let acme = acme(PostgresStore::new(settings(url("one"))).unwrap());
    let ann = acme.named("ann").await;
    sql(&admin, "ALTER ROLE rotated PASSWORD 'two'").await;
    // More at once than there are connections.
    let found = futures::future::join_all((0..3).map(|_| acme.find_users(""))).await;
    assert!(found.iter().all(|users| *users == [ann.clone()]), "{found:?}");
    let other = PostgresStore::new(settings(url("one"))).unwrap();
    let reason = other.ping().await.unwrap_err().to_string();
    assert!(reason.contains("password authentication failed"), "{reason}");
    acme.store.close().await;
    tokio::task::spawn_blocking(move || drop(server)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_starts_before_its_database_serves_when_that_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("url");
    let store =
        PostgresStore::new(Settings { url: Url::File(file.clone()), ..settings(String::new()) }).unwrap();
    let acme = acme(store);
    assert!(unavailable(&acme).await.contains("cannot read the URL"));
    let server = database::shared();
    std::fs::write(&file, server.url("early")).unwrap();
    let reason = unavailable(&acme).await;
    assert!(reason.contains("does not exist"), "{reason}");
    sql(&server.url("postgres"), "CREATE DATABASE early").await;
    created_at_last(&acme, "ann").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_only_database_is_unavailable_for_writes_and_says_so() {
    let database = database::database();
    let acme = acme(database.store());
    let id = acme.named("ann").await;
    let disconnect = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                      WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let name = &database.name;
    sql(
        &database.url(),
        &format!("ALTER DATABASE {name} SET default_transaction_read_only = on; {disconnect}"),
    )
    .await;
    let command = acme.user_command(&new_id(), json!({"userName": "bob"}));
    let error = acme.store.write(&acme.key, write(vec![alone(command)])).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(reason) if reason.contains("read-only")), "{error}");
    assert!(acme.store.ping().await.unwrap_err().to_string().contains("read-only"));
    assert!(acme.get_user(&id).await.is_some(), "what is there is read on");
    let back =
        format!("SET transaction_read_only = off; ALTER DATABASE {name} RESET default_transaction_read_only");
    sql(&format!("{}?options=-c%20default_transaction_read_only%3Doff", database.url()), &back).await;
    created_at_last(&acme, "bob").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn database_without_connections_to_give_is_unavailable_until_it_has_some() {
    let database = database::database();
    acme(database.store()).named("ann").await;
    let name = &database.name;
    let limited = format!(
        "CREATE ROLE limited LOGIN CONNECTION LIMIT 1; GRANT ALL ON SCHEMA scim TO limited;
         GRANT ALL ON ALL TABLES IN SCHEMA scim TO limited; GRANT ALL ON DATABASE {name} TO limited"
    );
    sql(&database.url(), &limited).await;
    let url = database.url().replace("postgres@", "limited@");
    let (other, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let acme = acme(PostgresStore::new(settings(url)).unwrap());
    // On a busy machine it may be too slow to answer before it is asked for one too many.
    let said = async { while !unavailable(&acme).await.contains("too many connections") {} };
    tokio::time::timeout(PATIENCE, said).await.unwrap();
    drop(other);
    created_at_last(&acme, "bob").await;
    // One is enough for all that come at once.
    let mut tasks = JoinSet::new();
    for number in 0..20 {
        let acme = acme.clone();
        tasks.spawn(async move { acme.named(&format!("user{number}")).await });
    }
    assert_eq!(tasks.join_all().await.len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process_waits_for_its_database_says_so_and_serves() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("manifests")).unwrap();
    std::fs::write(path("manifests/all.yaml"), MANIFESTS).unwrap();
    let server = database::shared();
    std::fs::write(path("url"), server.url("waiting")).unwrap();
    let port = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (scim, admin) = (port(), port());
    let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_scim-operator"))
        .args(["serve", "--log-level", "error", "--database-tls", "disable", "--manifests"])
        .arg(path("manifests"))
        .arg("--data")
        .arg(path("data"))
        .arg("--database-url-file")
        .arg(path("url"))
        .args(["--listen", &scim.to_string(), "--admin", &admin.to_string()])
        .spawn()
        .unwrap();
    let client = reqwest::Client::new();
    let ready = || async {
        let answer = client.get(format!("http://{admin}/readyz")).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    };
    let until = async |what: &str, status: u16| {
        let reached = async {
            loop {
                if let Some((found, text)) = ready().await
                    && found == status
                    && text.contains(what)
                {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("not {status} {what}"));
    };
    until("database \"waiting\" does not exist", 503).await;
    assert_eq!(client.get(format!("http://{admin}/livez")).send().await.unwrap().status(), 200);
    let users = format!("http://{scim}/acme/scim/v2/Users");
    let refused = client.get(&users).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert!(refused.headers()["retry-after"].to_str().unwrap().parse::<u32>().is_ok());
    sql(&server.url("postgres"), "CREATE DATABASE waiting").await;
    until("ok", 200).await;
    let user = json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "ann"});
    let created = client.post(&users).bearer_auth(TOKEN).json(&user).send().await.unwrap();
    assert_eq!(created.status(), 201);
    let id = process.id().to_string();
    assert!(std::process::Command::new("kill").arg(&id).status().unwrap().success());
    assert!(tokio::task::spawn_blocking(move || process.wait()).await.unwrap().unwrap().success());
}

const TOKEN: &str = "a-token-that-is-long-enough-to-be-taken-seriously";

const MANIFESTS: &str = "
apiVersion: scim-operator.io/v1alpha1
kind: ScimEndpoint
metadata: {name: main}
spec: {}
---
apiVersion: scim-operator.io/v1alpha1
kind: ScimTenant
metadata: {name: acme}
spec: {endpointRef: {name: main}, authentication: {bearer: {secretName: acme-token}}}
---
apiVersion: v1
kind: Secret
metadata: {name: acme-token}
stringData: {token: a-token-that-is-long-enough-to-be-taken-seriously}
";
