//! Single resources are linearizable (`docs/consistency.md`): histories of calls on three servers of one PostgreSQL,
//! while the network between a server and the database is cut, silent or loses answers, servers end in the middle of
//! what they do, and the database is killed; each resource's history goes through a checker.

mod checker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use scim_operator::scim::resource::Load;
use scim_operator::store::StoreError;
use scim_operator::store::postgres::PostgresStore;
use serde_json::json;
use tokio::sync::RwLock;
use tokio::task::JoinSet;

use self::checker::{Asked, Call, is_linearizable};
use crate::database::{self, Postgres, settings};
use crate::fixture::{Tenant, alone, body, write};
use crate::proxy::{Proxy, Weather};

const SERVERS: usize = 3;
const RESOURCES: usize = 4;
const CLIENTS: usize = 9;

/// Calls of one client on one resource are answered before the run ends, at least.
const ENOUGH: u64 = 1500;

/// A server: what it is now, and the way to its database.
struct Server {
    acme: RwLock<Tenant>,
    proxy: Proxy,
}

impl Server {
    async fn new(port: u16) -> Self {
        let proxy = Proxy::to(port).await;
        Self { acme: RwLock::new(Self::process(&proxy)), proxy }
    }

    /// As a process that has just started: it remembers nothing.
    fn process(proxy: &Proxy) -> Tenant {
        let url = format!("postgresql://postgres@{}/postgres", proxy.address);
        Tenant::on(Arc::new(PostgresStore::new(settings(url)).unwrap()), "identity/acme")
    }
}

/// What all clients share.
struct Run {
    servers: Vec<Server>,
    ids: Vec<String>,
    clock: AtomicU64,
    answered: AtomicU64,
    over: AtomicBool,
}

impl Run {
    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// One call on one server; `None` when a read was not answered.
    async fn call(&self, server: usize, resource: usize, value: Option<u64>) -> Option<Call> {
        let acme = self.servers[server].acme.read().await.clone();
        let id = &self.ids[resource];
        let began = self.now();
        let (asked, answered) = if let Some(value) = value {
            let operations = json!([{"op": "replace", "path": "title", "value": value.to_string()}]);
            let command = acme.patch_command(&acme.user, id, operations);
            let written = acme.store.write(&acme.key, write(vec![alone(command)])).await;
            if let Ok(results) = &written {
                assert!(results[0].is_ok(), "{results:?}");
            }
            (Asked::Write(value), written.map(drop))
        } else {
            match acme.store.get(&acme.key, &acme.user, id, Load::ALL).await {
                Ok(found) => {
                    let title =
                        body(&found.expect("nobody deletes it"))["title"].as_str().unwrap().to_owned();
                    (Asked::Read(title.parse().unwrap()), Ok(()))
                }
                Err(error) => (Asked::Read(0), Err(error)),
            }
        };
        match (answered, asked) {
            (Ok(()), _) => {
                self.answered.fetch_add(1, Ordering::SeqCst);
                Some(Call { asked, began, ended: Some(self.now()) })
            }
            (Err(StoreError::Unavailable(_) | StoreError::Closing), Asked::Write(_)) => {
                Some(Call { asked, began, ended: None })
            }
            (Err(StoreError::Unavailable(_) | StoreError::Closing), Asked::Read(_)) => None,
            (Err(other), _) => panic!("{other}"),
        }
    }
}

/// Numbers that are the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

/// Calls until the run is over; what was called, by resource.
async fn client(run: Arc<Run>, number: usize) -> Vec<(usize, Call)> {
    let mut random = Random(number as u64);
    let mut calls = Vec::new();
    let mut value = number as u64;
    while !run.over.load(Ordering::SeqCst) {
        let (server, resource) = (random.below(SERVERS), random.below(RESOURCES));
        // Nobody else writes the same.
        value += CLIENTS as u64;
        let value = (random.below(3) == 0).then_some(value);
        let called = run.call(server, resource, value).await;
        if called.is_none_or(|call| call.ended.is_none()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        calls.extend(called.map(|call| (resource, call)));
    }
    calls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_under_faults_are_linearizable() {
    let mut database = tokio::task::spawn_blocking(|| Postgres::start(true)).await.unwrap();
    let mut servers = Vec::new();
    for _ in 0..SERVERS {
        servers.push(Server::new(database.port).await);
    }
    let acme = servers[0].acme.read().await.clone();
    let mut ids = Vec::new();
    for resource in 0..RESOURCES {
        ids.push(acme.user(json!({"userName": format!("user{resource}"), "title": "0"})).await);
    }
    let (clock, answered, over) = (AtomicU64::new(1), AtomicU64::new(0), AtomicBool::new(false));
    let run = Arc::new(Run { servers, ids, clock, answered, over });
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(client(Arc::clone(&run), number));
    }
    // Each fault at least once, and as many as it takes until there is enough to check.
    let mut random = Random(4711);
    let mut faults = 0;
    while faults < 12 || run.answered.load(Ordering::SeqCst) < ENOUGH {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let server = &run.servers[random.below(SERVERS)];
        match faults % 6 {
            0 => server.proxy.set(Weather::Silent),
            1 | 4 => server.proxy.set(Weather::AnswerLost),
            2 => server.proxy.set(Weather::CommitLost),
            3 => {
                // The process is gone with all it knew, and another one is in its place.
                let fresh = Server::process(&server.proxy);
                *server.acme.write().await = fresh;
            }
            _ => {
                let restarted = move || {
                    database.stop("KILL");
                    database.run();
                    database
                };
                database = tokio::task::spawn_blocking(restarted).await.unwrap();
            }
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
        server.proxy.set(Weather::Fair);
        faults += 1;
    }
    run.over.store(true, Ordering::SeqCst);
    let mut histories = vec![Vec::new(); RESOURCES];
    for (resource, call) in clients.join_all().await.into_iter().flatten() {
        histories[resource].push(call);
    }
    let doubtful = histories.iter().flatten().filter(|call| call.ended.is_none()).count();
    let count: usize = histories.iter().map(Vec::len).sum();
    println!("linearizable: {count} calls under {faults} faults, {doubtful} writes without an answer");
    for (resource, mut history) in histories.into_iter().enumerate() {
        history.sort_by_key(|call| call.began);
        assert!(is_linearizable(&history), "resource {resource}: {history:#?}");
    }
    for server in &run.servers {
        server.acme.read().await.store.close().await;
    }
    tokio::task::spawn_blocking(move || drop(database)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_is_cut_off_does_not_answer_with_what_it_knew() {
    let database = database::database();
    let acme = Tenant::on(Arc::new(database.store()), "identity/acme");
    let id = acme.user(json!({"userName": "ann", "title": "before"})).await;
    let proxy = Proxy::to(database::shared().port).await;
    let url = format!("postgresql://postgres@{}/{}", proxy.address, database.name);
    let cut_off = Tenant::on(Arc::new(PostgresStore::new(settings(url)).unwrap()), "identity/acme");
    assert_eq!(body(&cut_off.get_user(&id).await.unwrap())["title"], "before");
    proxy.set(Weather::Silent);
    acme.patch_user(&id, json!([{"op": "replace", "path": "title", "value": "after"}])).await.unwrap();
    let read = cut_off.store.get(&cut_off.key, &cut_off.user, &id, Load::ALL).await;
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
    let query = cut_off.query(&cut_off.user, "userName eq \"ann\"", crate::fixture::first(1));
    let listed = cut_off.store.list(&cut_off.key, &query).await;
    assert!(matches!(listed, Err(StoreError::Unavailable(_))), "{listed:?}");
    proxy.set(Weather::Fair);
    let again = async {
        loop {
            if let Ok(found) = cut_off.store.get(&cut_off.key, &cut_off.user, &id, Load::ALL).await {
                return found.unwrap();
            }
        }
    };
    let found = tokio::time::timeout(Duration::from_mins(1), again).await.expect("it recovers by itself");
    assert_eq!(body(&found)["title"], "after");
}
