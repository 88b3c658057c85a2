//! `kill -9` at random moments under load: what was acknowledged is there, what was not is whole or absent.
//!
//! Each worker keeps a [`Model`] of what the server has acknowledged. One request of each worker may be under way
//! when the process dies; that one is *pending*: either side of it is right, nothing in between. After every
//! restart the whole tenant is read and compared. `CRASH_ROUNDS` says how often, `SEED` repeats a run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use scim_operator::store::TenantKey;
use scim_operator::store::audit::From;
use scim_operator::store::sqlite::AuditFile;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{self, Answer, BULK, Client, GROUP, Random, Server, Setup, USER};

const WORKERS: usize = 16;

/// What one worker knows to be stored.
#[derive(Debug, Default)]
struct Model {
    /// By id.
    users: BTreeMap<String, Stored>,
    /// Users whose bulk request also made a group.
    linked: BTreeSet<String>,
    /// Pairs of groups made by one circular bulk request.
    pairs: usize,
    /// Names used so far, never again.
    names: usize,
    /// Ids of this worker's users that are in the shared group.
    members: BTreeSet<String>,
    pending: Option<Pending>,
    acknowledged: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stored {
    user_name: String,
    /// The same in three attributes that are always written together.
    mark: String,
    /// The version's number, without the digest that follows its groups.
    version: String,
}

/// A request that has been sent and not answered.
#[derive(Debug, Clone)]
enum Pending {
    Create {
        user_name: String,
    },
    Patch {
        id: String,
        mark: String,
    },
    Delete {
        id: String,
    },
    Join {
        id: String,
    },
    Leave {
        id: String,
    },
    /// A user, and a group that refers to it.
    Linked {
        user_name: String,
    },
    /// Two groups, each a member of the other: one unit.
    Pair,
}

/// One worker: its name prefixes everything it makes.
#[derive(Debug)]
struct Worker {
    name: String,
    model: Model,
    random: Random,
}

#[tokio::test]
async fn kill_under_load_every_acknowledged_write_survives_whole() {
    let rounds: usize =
        std::env::var("CRASH_ROUNDS").map_or(25, |n| n.parse().expect("CRASH_ROUNDS is a number"));
    let mut random = Random::seeded("crash");
    let mut server = Server::start(&Setup::strict()).await;
    let client = server.client("strict");
    let shared = client.create("/Groups", &support::group("shared")).await;
    let mut workers: Vec<_> = (0..WORKERS)
        .map(|n| Worker { name: format!("w{n}"), model: Model::default(), random: random.split() })
        .collect();
    let (mut unfinished, mut half) = (0, 0);
    for round in 0..rounds {
        let mut running = JoinSet::new();
        for worker in workers.drain(..) {
            running.spawn(worker.work_until_it_dies(client.another(), shared.clone()));
        }
        tokio::time::sleep(Duration::from_millis(20 + random.below(380) as u64)).await;
        server.kill();
        while let Some(worker) = running.join_next().await {
            workers.push(worker.expect("a worker does not panic"));
        }
        server.restart().await;
        unfinished += workers.iter().filter(|worker| worker.model.pending.is_some()).count();
        half += verify(&server.client("strict"), &shared, &mut workers, round).await;
        compare_with_audit_log(&server, round).await;
    }
    let acknowledged: usize = workers.iter().map(|worker| worker.model.acknowledged).sum();
    println!(
        "crash: {rounds} rounds, {acknowledged} acknowledged writes, all there; {unfinished} were under way, \
         {half} of them had reached the disk"
    );
    assert!(acknowledged > rounds, "the load was no load");
}

impl Worker {
    async fn work_until_it_dies(mut self, client: Client, shared: String) -> Self {
        loop {
            let pending = self.choose();
            self.model.pending = Some(pending.clone());
            let Ok(answer) = send(&client, &shared, &pending, &self.name, self.model.pairs).await else {
                return self;
            };
            self.acknowledge(pending, &answer);
        }
    }

    fn choose(&mut self) -> Pending {
        let ids: Vec<_> = self.model.users.keys().cloned().collect();
        let new_name = |model: &mut Model, name: &str| {
            model.names += 1;
            format!("{name}-{}", model.names)
        };
        let kind = if ids.len() < 3 { 0 } else { self.random.below(16) };
        match kind {
            0..=3 => Pending::Create { user_name: new_name(&mut self.model, &self.name) },
            4..=7 => {
                let mark = new_name(&mut self.model, &self.name);
                Pending::Patch { id: self.random.pick(&ids).clone(), mark }
            }
            8 => Pending::Delete { id: self.random.pick(&ids).clone() },
            9..=12 => {
                let id = self.random.pick(&ids).clone();
                if self.model.members.contains(&id) { Pending::Leave { id } } else { Pending::Join { id } }
            }
            13 | 14 => Pending::Linked { user_name: new_name(&mut self.model, &self.name) },
            _ => Pending::Pair,
        }
    }

    fn acknowledge(&mut self, pending: Pending, answer: &Answer) {
        let model = &mut self.model;
        model.acknowledged += 1;
        model.pending = None;
        let stored = |user_name: String, answer: &Answer| Stored {
            mark: user_name.clone(),
            user_name,
            version: number(&answer.version()),
        };
        match (pending, answer.status) {
            (Pending::Create { user_name }, 201) => {
                model.users.insert(answer.id(), stored(user_name, answer));
            }
            (Pending::Patch { id, mark }, 200) => {
                let user = model.users.get_mut(&id).expect("only known users are patched");
                user.mark = mark;
                user.version = number(&answer.version());
            }
            (Pending::Delete { id }, 204) => {
                model.users.remove(&id);
                model.members.remove(&id);
            }
            (Pending::Join { id }, 204) => {
                model.members.insert(id);
            }
            (Pending::Leave { id }, 204) => {
                model.members.remove(&id);
            }
            (Pending::Linked { user_name }, 200) => {
                let operations = answer.body["Operations"].as_array().expect("a bulk answer");
                assert!(operations.iter().all(|operation| operation["status"] == "201"), "{operations:#?}");
                let id = operations[0]["location"].as_str().and_then(|location| location.rsplit('/').next());
                let version = operations[0]["version"].as_str().expect("a bulk answer has versions");
                model.linked.insert(user_name.clone());
                let mark = user_name.clone();
                let user = Stored { user_name, mark, version: number(version) };
                model.users.insert(id.expect("a location ends in the id").to_owned(), user);
            }
            (Pending::Pair, 200) => {
                let operations = answer.body["Operations"].as_array().expect("a bulk answer");
                assert!(operations.iter().all(|operation| operation["status"] == "201"), "{operations:#?}");
                model.pairs += 1;
            }
            (pending, status) => panic!("{pending:?} was answered {status}: {:#}", answer.body),
        }
    }
}

async fn send(
    client: &Client,
    shared: &str,
    pending: &Pending,
    worker: &str,
    pairs: usize,
) -> Result<Answer, reqwest::Error> {
    let group = format!("/Groups/{shared}");
    let request = match pending {
        Pending::Create { user_name } => client.request("POST", "/Users").body(&marked(user_name)),
        Pending::Patch { id, mark } => {
            let value = json!({"displayName": mark, "title": mark, "nickName": mark});
            let patch = support::patch(json!([{"op": "replace", "value": value}]));
            client.request("PATCH", &format!("/Users/{id}")).body(&patch)
        }
        Pending::Delete { id } => client.request("DELETE", &format!("/Users/{id}")),
        Pending::Join { id } => client.request("PATCH", &group).body(&support::add_member(id)),
        Pending::Leave { id } => {
            let path = format!("members[value eq \"{id}\"]");
            client.request("PATCH", &group).body(&support::patch(json!([{"op": "remove", "path": path}])))
        }
        Pending::Linked { user_name } => {
            let member = json!([{"value": "bulkId:user"}]);
            client.request("POST", "/Bulk").body(&bulk(&[
                json!({"method": "POST", "path": "/Users", "bulkId": "user", "data": marked(user_name)}),
                post_group("group", &format!("linked {user_name}"), &member),
            ]))
        }
        Pending::Pair => client.request("POST", "/Bulk").body(&bulk(&[
            post_group("a", &format!("pair {worker} {pairs} a"), &json!([{"value": "bulkId:b"}])),
            post_group("b", &format!("pair {worker} {pairs} b"), &json!([{"value": "bulkId:a"}])),
        ])),
    };
    request.try_send().await
}

fn marked(user_name: &str) -> Value {
    json!({"schemas": [USER], "userName": user_name, "displayName": user_name, "title": user_name, "nickName": user_name})
}

fn post_group(bulk_id: &str, display_name: &str, members: &Value) -> Value {
    let data = json!({"schemas": [GROUP], "displayName": display_name, "members": members});
    json!({"method": "POST", "path": "/Groups", "bulkId": bulk_id, "data": data})
}

fn bulk(operations: &[Value]) -> Value {
    json!({"schemas": [BULK], "Operations": operations})
}

/// Compares the whole tenant with the models, settles what was pending, and says how much of it was on disk.
async fn verify(client: &Client, shared: &str, workers: &mut [Worker], round: usize) -> usize {
    let users: BTreeMap<String, Value> = by_id(client.all("/Users").await);
    let mut groups = by_id(client.all("/Groups").await);
    assert_eq!(client.total("/Users").await, users.len() as u64, "round {round}: the users' count is right");
    assert_eq!(
        client.total("/Groups").await,
        groups.len() as u64,
        "round {round}: the groups' count is right"
    );

    let shared_members = member_ids(&groups.remove(shared).expect("the shared group was acknowledged"));
    let by_name: BTreeMap<String, Value> = groups
        .into_values()
        .map(|group| (group["displayName"].as_str().expect("required").to_owned(), group))
        .collect();
    let mut done = 0;
    for worker in workers.iter_mut() {
        done += usize::from(worker.settle(&users, &shared_members, &by_name, round));
    }

    let known: usize = workers.iter().map(|worker| worker.model.users.len()).sum();
    assert_eq!(users.len(), known, "round {round}: users that nobody made");
    let members: BTreeSet<_> =
        workers.iter().flat_map(|worker| worker.model.members.iter().cloned()).collect();
    assert_eq!(shared_members, members, "round {round}: the shared group's members");
    for worker in workers.iter() {
        for (id, stored) in &worker.model.users {
            let user = users
                .get(id)
                .unwrap_or_else(|| panic!("round {round}: {stored:?} was acknowledged and is lost"));
            assert_eq!(&seen(user, round), stored, "round {round}: user {id}");
            check_linked(&by_name, id, stored, round);
        }
        for user_name in &worker.model.linked {
            let group = by_name.contains_key(&format!("linked {user_name}"));
            assert!(group, "round {round}: the group of {user_name} was acknowledged and is lost");
        }
        for pair in 0..worker.model.pairs {
            check_pair(&by_name, &worker.name, pair, round);
        }
    }
    done
}

impl Worker {
    /// Finds out on which side of its pending request the server stopped, and takes that as the truth.
    fn settle(
        &mut self,
        users: &BTreeMap<String, Value>,
        shared_members: &BTreeSet<String>,
        groups: &BTreeMap<String, Value>,
        round: usize,
    ) -> bool {
        let model = &mut self.model;
        let Some(pending) = model.pending.take() else { return false };
        match pending {
            Pending::Create { user_name } | Pending::Linked { user_name } => {
                let Some((id, user)) = users.iter().find(|(_, user)| user["userName"] == user_name.as_str())
                else {
                    let group = groups.get(&format!("linked {user_name}"));
                    assert!(
                        group.is_none(),
                        "round {round}: a group was stored without the user it refers to"
                    );
                    return false;
                };
                model.users.insert(id.clone(), seen(user, round));
                true
            }
            Pending::Patch { id, mark } => {
                let stored = model.users.get_mut(&id).expect("only known users are patched");
                let now =
                    users.get(&id).map(|user| seen(user, round)).expect("a patched user was acknowledged");
                if now.mark == mark {
                    assert_ne!(now.version, stored.version, "round {round}: a change moves the version");
                    *stored = now;
                    return true;
                }
                false
            }
            Pending::Delete { id } if !users.contains_key(&id) => {
                model.users.remove(&id);
                model.members.remove(&id);
                true
            }
            Pending::Join { id } if shared_members.contains(&id) => model.members.insert(id),
            Pending::Leave { id } if !shared_members.contains(&id) => model.members.remove(&id),
            Pending::Delete { .. } | Pending::Join { .. } | Pending::Leave { .. } => false,
            Pending::Pair => {
                let name = |side: &str| format!("pair {} {} {side}", self.name, model.pairs);
                let both = (groups.contains_key(&name("a")), groups.contains_key(&name("b")));
                assert_eq!(both.0, both.1, "round {round}: half of a circular bulk request was stored");
                model.pairs += usize::from(both.0);
                both.0
            }
        }
    }
}

/// What the audit log says of each resource's version, read from its beginning, is what the server says: what was
/// acknowledged has its row, and what has a row happened.
async fn compare_with_audit_log(server: &Server, round: usize) {
    let log = AuditFile::open(&server.data()).expect("the server has made it");
    let tenant = TenantKey("default/strict".into());
    let (mut versions, mut seen) = (BTreeMap::new(), 0);
    loop {
        let read = log.changes(&tenant, From::After(seen), 1000).expect("nothing was pruned");
        for change in read.changes {
            seen += 1;
            assert_eq!(change.sequence, seen, "round {round}: sequences have no gap");
            let before = match change.version_after {
                Some(version) => versions.insert(change.resource_id.clone(), version),
                None => versions.remove(&change.resource_id),
            };
            assert_eq!(before, change.version_before, "round {round}: {change:?}");
        }
        if seen == read.head {
            break;
        }
    }
    let client = server.client("strict");
    let mut stored = BTreeMap::new();
    for path in ["/Users", "/Groups"] {
        for (id, resource) in by_id(client.all(path).await) {
            let version = number(resource["meta"]["version"].as_str().expect("required"));
            stored.insert(id, version.parse().expect("a number"));
        }
    }
    assert_eq!(versions, stored, "round {round}: the audit log and the resources");
}

/// A user as the server has it now; its three marks agree or a write was torn.
fn seen(user: &Value, round: usize) -> Stored {
    let text =
        |value: &Value| value.as_str().unwrap_or_else(|| panic!("round {round}: torn: {user:#}")).to_owned();
    assert!(
        user["title"] == user["displayName"] && user["nickName"] == user["displayName"],
        "round {round}: torn: {user:#}"
    );
    Stored {
        user_name: text(&user["userName"]),
        mark: text(&user["displayName"]),
        version: number(&text(&user["meta"]["version"])),
    }
}

/// `W/"7-0badcafe"` is version 7.
fn number(version: &str) -> String {
    version.trim_start_matches("W/\"").chars().take_while(char::is_ascii_digit).collect()
}

/// The group that was made for a user in the same bulk request has it as its member.
fn check_linked(groups: &BTreeMap<String, Value>, id: &str, stored: &Stored, round: usize) {
    if let Some(group) = groups.get(&format!("linked {}", stored.user_name)) {
        assert_eq!(member_ids(group), BTreeSet::from([id.to_owned()]), "round {round}: {stored:?}");
    }
}

fn check_pair(groups: &BTreeMap<String, Value>, worker: &str, pair: usize, round: usize) {
    let side = |side: &str| {
        let name = format!("pair {worker} {pair} {side}");
        groups.get(&name).unwrap_or_else(|| panic!("round {round}: {name} was acknowledged and is lost"))
    };
    let id = |group: &Value| BTreeSet::from([group["id"].as_str().expect("required").to_owned()]);
    let (a, b) = (side("a"), side("b"));
    assert_eq!((member_ids(a), member_ids(b)), (id(b), id(a)), "round {round}: pair {pair} of {worker}");
}

fn member_ids(group: &Value) -> BTreeSet<String> {
    let members = group["members"].as_array().into_iter().flatten();
    members.map(|member| member["value"].as_str().expect("a member has a value").to_owned()).collect()
}

fn by_id(resources: Vec<Value>) -> BTreeMap<String, Value> {
    let count = resources.len();
    let map: BTreeMap<_, _> = resources
        .into_iter()
        .map(|resource| (resource["id"].as_str().expect("required").to_owned(), resource))
        .collect();
    assert_eq!(map.len(), count, "a cursor gives each resource once");
    map
}
