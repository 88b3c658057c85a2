//! `kill -9` under load, and every request without an answer is sent again with its `Idempotency-Key`: nothing is
//! there twice, nothing is missing, and what was answered before is answered the same.
//!
//! `CRASH_ROUNDS` says how often, `SEED` repeats a run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{self, Answer, BULK, Client, GROUP, Random, Server, Setup, USER};

const WORKERS: usize = 8;

/// A request that must have its effect once.
#[derive(Debug, Clone)]
struct Keyed {
    key: String,
    method: &'static str,
    path: String,
    body: Value,
}

impl Keyed {
    async fn send(&self, client: &Client) -> Result<Answer, reqwest::Error> {
        let request = client.request(self.method, &self.path).header("Idempotency-Key", &self.key);
        request.body(&self.body).try_send().await
    }
}

struct Worker {
    name: String,
    /// Keys used so far, never again.
    keys: usize,
    random: Random,
    /// Every PATCH appends an address to this user.
    user: String,
    /// The keys of those requests, in order: each is the `type` of its address.
    appended: Vec<String>,
    /// User names that were made.
    made: BTreeSet<String>,
    /// Answered requests, to be sent again now and then.
    answered: Vec<(Keyed, Answer)>,
    unanswered: Option<Keyed>,
}

#[tokio::test]
async fn unanswered_requests_sent_again_with_their_keys_happen_once() {
    let rounds: usize =
        std::env::var("CRASH_ROUNDS").map_or(10, |n| n.parse().expect("CRASH_ROUNDS is a number"));
    let mut random = Random::seeded("retries");
    let mut server = Server::start(&Setup::strict()).await;
    let mut workers = Vec::new();
    for n in 0..WORKERS {
        let name = format!("w{n}");
        let user = server.client("strict").create("/Users", &support::user(&name)).await;
        let made = BTreeSet::from([name.clone()]);
        let (appended, answered) = Default::default();
        let random = random.split();
        workers.push(Worker { name, keys: 0, random, user, appended, made, answered, unanswered: None });
    }
    let (mut retried, mut replayed) = (0, 0);
    for round in 0..rounds {
        let mut running = JoinSet::new();
        for worker in workers.drain(..) {
            running.spawn(worker.work_until_it_dies(server.client("strict").another()));
        }
        tokio::time::sleep(Duration::from_millis(20 + random.below(380) as u64)).await;
        server.kill();
        while let Some(worker) = running.join_next().await {
            workers.push(worker.expect("a worker does not panic"));
        }
        server.restart().await;
        let client = server.client("strict");
        for worker in &mut workers {
            if let Some(request) = worker.unanswered.take() {
                let answer = request.send(&client).await.expect("the server answers");
                retried += 1;
                replayed += usize::from(answer.header("idempotent-replayed") == "true");
                worker.answered(request, answer);
            }
            worker.ask_again(&client, round).await;
        }
        verify(&client, &workers, round).await;
    }
    let answered: usize = workers.iter().map(|worker| worker.keys).sum();
    println!(
        "retries: {rounds} rounds, {answered} requests with keys, each once; {retried} were sent again without \
         an answer, {replayed} of them had reached the disk"
    );
    assert!(answered > rounds, "the load was no load");
}

impl Worker {
    async fn work_until_it_dies(mut self, client: Client) -> Self {
        loop {
            let request = self.next();
            let Ok(answer) = request.send(&client).await else {
                self.unanswered = Some(request);
                return self;
            };
            self.answered(request, answer);
        }
    }

    fn next(&mut self) -> Keyed {
        self.keys += 1;
        let key = format!("{}-{}", self.name, self.keys);
        let (method, path, body) = match self.random.below(4) {
            0 | 1 => ("POST", "/Users".to_owned(), support::user(&key)),
            2 => {
                let value = json!([{"value": format!("{key}@example.com"), "type": key}]);
                let patch = support::patch(json!([{"op": "add", "path": "emails", "value": value}]));
                ("PATCH", format!("/Users/{}", self.user), patch)
            }
            _ => {
                let member = json!([{"value": "bulkId:user"}]);
                let operations = json!([
                    {"method": "POST", "path": "/Users", "bulkId": "user", "data": support::user(&key)},
                    {"method": "POST", "path": "/Groups", "bulkId": "group",
                        "data": {"schemas": [GROUP], "displayName": key, "members": member}},
                    {"method": "POST", "path": "/Users", "bulkId": "taken", "data": {"schemas": [USER], "userName": self.name}},
                ]);
                ("POST", "/Bulk".to_owned(), json!({"schemas": [BULK], "Operations": operations}))
            }
        };
        Keyed { key, method, path, body }
    }

    fn answered(&mut self, request: Keyed, answer: Answer) {
        match (request.method, answer.status) {
            ("POST", 201) => assert!(self.made.insert(request.key.clone())),
            ("PATCH", 200) => self.appended.push(request.key.clone()),
            ("POST", 200) => {
                let statuses: Vec<&Value> = answer.body["Operations"]
                    .as_array()
                    .expect("a bulk answer")
                    .iter()
                    .map(|done| &done["status"])
                    .collect();
                assert_eq!(statuses, ["201", "201", "409"], "{:#}", answer.body);
                assert!(self.made.insert(request.key.clone()));
            }
            (_, status) => panic!("{request:?} was answered {status}: {:#}", answer.body),
        }
        self.answered.push((request, answer));
    }

    /// Sends a request that was answered once more.
    async fn ask_again(&mut self, client: &Client, round: usize) {
        if self.answered.is_empty() {
            return;
        }
        let (request, first) = self.random.pick(&self.answered);
        let again = request.send(client).await.expect("the server answers");
        assert_eq!(again.header("idempotent-replayed"), "true", "round {round}: {request:?}");
        assert_eq!((again.status, &again.body), (first.status, &first.body), "round {round}: {request:?}");
        for name in ["etag", "location"] {
            assert_eq!(again.header(name), first.header(name), "round {round}: {request:?}");
        }
    }
}

async fn verify(client: &Client, workers: &[Worker], round: usize) {
    let users = client.all("/Users").await;
    let by_id: BTreeMap<&str, &Value> =
        users.iter().map(|user| (user["id"].as_str().expect("required"), user)).collect();
    let names: BTreeSet<&str> =
        users.iter().map(|user| user["userName"].as_str().expect("required")).collect();
    let made: BTreeSet<&str> =
        workers.iter().flat_map(|worker| worker.made.iter().map(String::as_str)).collect();
    assert_eq!(names, made, "round {round}: each user that was asked for, and no other");
    let groups = client.all("/Groups").await;
    let titles: BTreeSet<&str> =
        groups.iter().map(|group| group["displayName"].as_str().expect("required")).collect();
    assert_eq!(titles.len(), groups.len(), "round {round}: a group was made twice");
    for worker in workers {
        let emails = by_id[worker.user.as_str()]["emails"].as_array();
        let emails: Vec<&str> = emails
            .into_iter()
            .flatten()
            .filter_map(|email| email["type"].as_str().filter(|kind| *kind != "work"))
            .collect();
        assert_eq!(emails, worker.appended, "round {round}: each value that was added, once and in order");
    }
}
