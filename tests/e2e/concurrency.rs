//! Many clients at once: nothing is lost, nothing is made twice, configuration changes under load drop nothing.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::support::{self, Answer, Client, Server, Setup, Tenant};

const CLIENTS: usize = 64;

/// Runs one task for each of 64 clients, all let go at the same moment.
async fn together<F, T>(client: &Client, task: impl Fn(usize, Client) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let start = Arc::new(Barrier::new(CLIENTS));
    let mut running = JoinSet::new();
    for n in 0..CLIENTS {
        let (start, run) = (start.clone(), task(n, client.another()));
        running.spawn(async move {
            start.wait().await;
            run.await
        });
    }
    running.join_all().await
}

fn statuses(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

#[tokio::test]
async fn patch_of_one_group_by_64_clients_loses_no_member() {
    let server = Server::start(&Setup::both()).await;
    for tenant in ["strict", "generic"] {
        let client = server.client(tenant);
        let group = client.create("/Groups", &support::group("everyone")).await;
        let path = format!("/Groups/{group}");
        let users = together(&client, |n, client| {
            let path = path.clone();
            async move {
                let mut mine = Vec::new();
                for round in 0..3 {
                    let id = client.create("/Users", &support::user(&format!("member-{n}-{round}"))).await;
                    client.patch(&path, &support::add_member(&id)).await.expect(204);
                    mine.push(id);
                }
                // One of the three leaves again.
                let leaves = mine.remove(n % 3);
                let remove = json!([{"op": "remove", "path": format!("members[value eq \"{leaves}\"]")}]);
                client.patch(&path, &support::patch(remove)).await.expect(204);
                mine
            }
        })
        .await;
        let expected: BTreeSet<String> = users.into_iter().flatten().collect();
        let members = client.get(&path).await.expect(200).body["members"].clone();
        let members: Vec<_> =
            members.as_array().expect("members").iter().map(|member| &member["value"]).collect();
        let seen: BTreeSet<String> =
            members.iter().map(|value| value.as_str().expect("a value").to_owned()).collect();
        assert_eq!(seen.len(), members.len(), "no member twice");
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn patch_of_one_user_by_64_clients_loses_no_value() {
    let server = Server::start(&Setup::strict()).await;
    let client = server.client("strict");
    let path = format!("/Users/{}", client.create("/Users", &support::user("shared")).await);
    let versions = together(&client, |n, client| {
        let path = path.clone();
        async move {
            let mut versions = Vec::new();
            for round in 0..2 {
                let email = json!([{"value": format!("{n}-{round}@example.com"), "type": "work"}]);
                let add = support::patch(json!([{"op": "add", "path": "emails", "value": email}]));
                versions.push(client.patch(&path, &add).await.expect(200).version());
            }
            versions
        }
    })
    .await;
    let user = client.get(&path).await.expect(200);
    assert_eq!(user.body["emails"].as_array().map(Vec::len), Some(2 * CLIENTS));
    let versions: BTreeSet<String> = versions.into_iter().flatten().collect();
    assert_eq!(versions.len(), 2 * CLIENTS, "every change has a version of its own");
    assert!(versions.contains(&user.version()));
}

#[tokio::test]
async fn create_of_one_user_name_by_64_clients_makes_one() {
    let server = Server::start(&Setup::both()).await;
    for tenant in ["strict", "generic"] {
        let client = server.client(tenant);
        let answers = together(&client, |n, client| async move {
            // The same name to the server, in two spellings.
            let name = if n % 2 == 0 { "Jensen@Example.com" } else { "jensen@example.com" };
            client.post("/Users", &support::user(name)).await
        })
        .await;
        assert_eq!((statuses(&answers, 201), statuses(&answers, 409)), (1, CLIENTS - 1));
        assert_eq!(client.total("/Users").await, 1);
        let refused = answers.iter().find(|answer| answer.status == 409).expect("counted");
        assert_eq!(refused.body["scimType"], "uniqueness");
    }
}

#[tokio::test]
async fn rename_to_one_user_name_by_64_clients_lets_one_have_it() {
    let server = Server::start(&Setup::strict()).await;
    let client = server.client("strict");
    let answers = together(&client, |n, client| async move {
        let id = client.create("/Users", &support::user(&format!("before-{n}"))).await;
        if n % 2 == 0 {
            let rename = support::patch(json!([{"op": "replace", "path": "userName", "value": "after"}]));
            client.patch(&format!("/Users/{id}"), &rename).await
        } else {
            client.put(&format!("/Users/{id}"), &support::user("AFTER")).await
        }
    })
    .await;
    assert_eq!((statuses(&answers, 200), statuses(&answers, 409)), (1, CLIENTS - 1));
    let found = client.find("/Users", "userName eq \"after\"").await.expect(200);
    assert_eq!(found.body["totalResults"], 1);
}

#[tokio::test]
async fn if_match_of_64_clients_on_one_version_lets_one_through() {
    let server = Server::start(&Setup::strict()).await;
    let client = server.client("strict");
    let created = client.post("/Users", &support::user("contended")).await.expect(201);
    let (path, version) = (format!("/Users/{}", created.id()), created.version());
    let answers = together(&client, |n, client| {
        let (path, version) = (path.clone(), version.clone());
        async move {
            let change =
                support::patch(json!([{"op": "add", "path": "title", "value": format!("title {n}")}]));
            let mut user = support::user("contended");
            user["title"] = json!(format!("title {n}"));
            // A third each: PATCH and PUT of the known version, DELETE of one that never was.
            let request = match n % 3 {
                0 => client.request("PATCH", &path).body(&change).header("If-Match", &version),
                1 => client.request("PUT", &path).body(&user).header("If-Match", &version),
                _ => client.request("DELETE", &path).header("If-Match", "W/\"never\""),
            };
            request.send().await
        }
    })
    .await;
    assert_eq!((statuses(&answers, 200), statuses(&answers, 412)), (1, CLIENTS - 1));
    let now = client.get(&path).await.expect(200).version();
    assert_ne!(now, version);
    let unchanged = client.request("GET", &path).header("If-None-Match", &now).send().await;
    assert_eq!(unchanged.status, 304);
}

/// Requests without a pause from several clients until told to stop; every one must succeed.
fn load(client: &Client, stop: &Arc<AtomicBool>) -> JoinSet<usize> {
    let mut running = JoinSet::new();
    for n in 0..8 {
        let (client, stop) = (client.another(), stop.clone());
        running.spawn(async move {
            let mut done = 0;
            while !stop.load(Ordering::Relaxed) {
                let id = client.create("/Users", &support::user(&format!("load-{n}-{done}"))).await;
                client.get(&format!("/Users/{id}")).await.expect(200);
                client.delete(&format!("/Users/{id}")).await.expect(204);
                done += 1;
            }
            done
        });
    }
    running
}

/// How long until `client` is answered with `status`.
async fn time_until(client: &Client, status: u16) -> Duration {
    let start = Instant::now();
    while client.get("/Users?count=0").await.status != status {
        assert!(start.elapsed() < Duration::from_secs(10), "never {status}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    start.elapsed()
}

#[tokio::test]
async fn edit_of_manifests_under_load_takes_effect_within_a_second_and_fails_no_request() {
    let server = Server::start_alone(&Setup::strict()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut running = load(&server.client("strict"), &stop);
    let late = Tenant { name: "late".to_owned(), dialect: "Generic", more: "" };
    let file = server.manifests().join("tenant-late.yaml");
    let client = server.client("late");
    let second = Duration::from_secs(1);

    client.get("/Users").await.expect(401);
    std::fs::write(&file, late.yaml()).expect("the folder is writable");
    let (added, created) =
        (time_until(&client, 200).await, client.create("/Users", &support::user("kept")).await);

    // What does not compile changes nothing, and is said with its place.
    std::fs::write(&file, late.yaml().replace("identityProvider", "identityProvidr")).expect("writable");
    tokio::time::sleep(second).await;
    client.get("/Users").await.expect(200);
    let log = server.log();
    assert!(log.contains("tenant-late.yaml:6:3") && log.contains("identityProvidr"), "{log}");

    // An editor's way to save: a new file in the old one's place.
    let suspended = Tenant { more: "  suspended: true\n", ..late.clone() };
    std::fs::write(server.folder().join("draft"), suspended.yaml()).expect("writable");
    std::fs::rename(server.folder().join("draft"), &file).expect("the same file system");
    let replaced = time_until(&client, 503).await;
    assert_ne!(client.get("/Users").await.header("Retry-After"), "");

    std::fs::remove_file(&file).expect("it is there");
    let removed = time_until(&client, 401).await;
    std::fs::write(&file, late.yaml()).expect("writable");
    let returned = time_until(&client, 200).await;
    client.get(&format!("/Users/{created}")).await.expect(200);

    stop.store(true, Ordering::Relaxed);
    let mut requests = 0;
    while let Some(done) = running.join_next().await {
        requests += done.expect("no request failed");
    }
    println!(
        "effect after {added:?} (added), {replaced:?} (replaced), {removed:?} (removed), {returned:?} (back), \
         with {requests} rounds of requests meanwhile"
    );
    assert!(requests > 0);
    for effect in [added, replaced, removed, returned] {
        assert!(effect < second, "{effect:?} is more than a second");
    }
}

#[tokio::test]
async fn removal_of_a_tenant_keeps_or_purges_its_data_as_its_policy_says() {
    let server = Server::start(&Setup::strict()).await;
    for (more, users) in [("  deletionPolicy: Retain\n", 1), ("  deletionPolicy: Delete\n", 0)] {
        let tenant = Tenant { name: "leaver".to_owned(), dialect: "Strict", more };
        let file = server.manifests().join("tenant-leaver.yaml");
        let client = server.client("leaver");
        std::fs::write(&file, tenant.yaml()).expect("the folder is writable");
        time_until(&client, 200).await;
        if client.total("/Users").await == 0 {
            client.create("/Users", &support::user("left behind")).await;
        }
        // Give the policy a moment to be stored before the tenant goes.
        tokio::time::sleep(Duration::from_secs(1)).await;
        std::fs::remove_file(&file).expect("it is there");
        time_until(&client, 401).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        std::fs::write(&file, tenant.yaml()).expect("the folder is writable");
        time_until(&client, 200).await;
        assert_eq!(client.total("/Users").await, users, "{more}");
    }
}

#[tokio::test]
async fn sigterm_under_load_finishes_what_was_accepted() {
    let mut server = Server::start(&Setup::strict()).await;
    let mut running = JoinSet::new();
    for n in 0..16 {
        let client = server.client("strict");
        running.spawn(async move {
            let mut acknowledged = Vec::new();
            for i in 0.. {
                match client
                    .request("POST", "/Users")
                    .body(&support::user(&format!("{n}-{i}")))
                    .try_send()
                    .await
                {
                    Ok(answer) => acknowledged.push(answer.expect(201).id()),
                    // Refused once the listener is closed; an answer that breaks off in the middle would be a body error.
                    Err(error) => {
                        assert!(!error.is_body() && !error.is_decode(), "an answer broke off: {error:?}");
                        break;
                    }
                }
            }
            acknowledged
        });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let start = Instant::now();
    server.terminate();
    let status = server.wait_for_exit().await;
    let took = start.elapsed();
    assert!(status.success(), "{status}\n{}", server.log());
    let acknowledged: Vec<String> = running.join_all().await.into_iter().flatten().collect();
    assert!(!acknowledged.is_empty());
    assert!(took < Duration::from_secs(5), "it took {took:?}");

    server.restart().await;
    let client = server.client("strict");
    let stored: BTreeSet<String> =
        client.all("/Users").await.iter().map(|user| user["id"].to_string()).collect();
    for id in acknowledged {
        assert!(stored.contains(&format!("\"{id}\"")), "{id} was acknowledged and is lost");
    }
}
