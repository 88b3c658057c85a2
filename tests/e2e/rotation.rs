//! Tokens that are replaced while requests come: by us, by a person who edits manifests, and across a `kill -9` at any
//! instant. Nobody who holds a token that should work is ever refused.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinHandle;

use crate::support::{Client, Random, Server, Setup};

/// How often the server is killed around a rotation.
const KILLS: usize = 8;

/// How long before its end a client lets go of an old token: on a busy machine a request takes its time.
const MARGIN: Duration = Duration::from_millis(900);

fn tenant(dialect: &str, bearer: &str) -> String {
    format!(
        "apiVersion: scim-operator.io/v1alpha1\nkind: ScimTenant\nmetadata: {{name: rotated}}\nspec:\n  \
         endpointRef: {{name: main}}\n  identityProvider: {dialect}\n  authentication:\n    bearer: {bearer}\n"
    )
}

fn secret(name: &str, token: &str) -> String {
    format!("---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{token: {token}}}\n")
}

/// What the made Secret says to who reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Secret {
    token: String,
    /// The old token and its end.
    previous: Option<(String, Timestamp)>,
}

impl Secret {
    fn file(server: &Server) -> PathBuf {
        server.data().join("secrets/default.rotated-scim-token.yaml")
    }

    fn read(server: &Server) -> Option<Self> {
        let text = fs::read_to_string(Self::file(server)).ok()?;
        let after = |prefix: &str| text.lines().find_map(|line| line.strip_prefix(prefix)).map(str::to_owned);
        let end = after("    scim-operator.io/previous-token-expires-at: ")
            .map(|end| end.trim_matches('"').parse().expect("a time"));
        let token = after("  token: ").expect("a made Secret always has a token");
        Some(Self { token, previous: after("  previous-token: ").zip(end) })
    }

    /// Whether the server should accept a token a moment from now.
    fn accepts(&self, token: &str) -> bool {
        let lives = |end: Timestamp| Timestamp::now().checked_add(MARGIN).expect("in range") < end;
        token == self.token
            || self.previous.as_ref().is_some_and(|(previous, end)| token == previous && lives(*end))
    }
}

async fn made(server: &Server) -> Secret {
    for _ in 0..500 {
        if let Some(secret) = Secret::read(server) {
            return secret;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no token is made:\n{}", server.log());
}

/// Starts a server whose tenant `rotated` has a token that we make and rotate.
async fn rotating(dialect: &str, rotation: &str) -> Server {
    let server = Server::start(&Setup::default()).await;
    let bearer = format!("{{rotation: {{{rotation}}}}}");
    fs::write(server.manifests().join("rotated.yaml"), tenant(dialect, &bearer)).expect("writable");
    server
}

/// Requests without a pause, each with what `token` gives, until `stop`; how many there were. One that is refused
/// fails the test.
fn load(
    server: &Arc<Server>,
    stop: &Arc<AtomicBool>,
    bare: bool,
    mut token: impl FnMut(&Server) -> String + Send + 'static,
) -> JoinHandle<u32> {
    let (server, stop) = (Arc::clone(server), Arc::clone(stop));
    tokio::spawn(async move {
        let client = server.client("rotated");
        let http = reqwest::Client::builder().no_proxy().build().expect("a client without TLS always builds");
        let mut requests = 0;
        while !stop.load(Ordering::Relaxed) {
            let token = token(&server);
            let header = if bare { token.clone() } else { format!("Bearer {token}") };
            let response = http
                .get(format!("{}/Users?count=1", client.base))
                .header("Authorization", header)
                .send()
                .await
                .expect("the server answers");
            let status = response.status();
            let text = response.text().await.expect("a whole answer");
            let read = Secret::read(&server)
                .map(|secret| (secret.accepts(&token), secret.previous.map(|(_, end)| end)));
            assert_eq!(status, 200, "request {requests}: {text} (accepted, end: {read:?})");
            requests += 1;
        }
        requests
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn rotation_under_load_fails_no_request() {
    // Okta sends tokens without `Bearer`: both ways rotate alike.
    let server = Arc::new(rotating("Okta", "interval: 5s, overlap: 3s").await);
    let first = made(&server).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for bare in [false, true] {
        // One that always has the newest token, from the instant it can be read.
        clients.push(load(&server, &stop, bare, |server| Secret::read(server).expect("it was made").token));
        // One that keeps its token as long as it works.
        let mut kept = first.token.clone();
        clients.push(load(&server, &stop, bare, move |server| {
            let secret = Secret::read(server).expect("it was made");
            if !secret.accepts(&kept) {
                kept = secret.token;
            }
            kept.clone()
        }));
    }
    let mut seen = vec![first.token.clone()];
    while seen.len() < 4 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let token = made(&server).await.token;
        if !seen.contains(&token) {
            seen.push(token);
        }
        assert!(clients.iter().all(|client| !client.is_finished()), "a client was refused");
    }
    stop.store(true, Ordering::Relaxed);
    let mut requests = 0;
    for client in clients {
        requests += client.await.expect("no request was refused");
    }
    println!("{requests} requests over {} rotations, none refused", seen.len() - 1);
    assert!(requests > 100, "{requests} requests are no load");

    let late = server.client("rotated").with_token(&first.token).get("/Users").await.expect(401);
    assert!(late.header("WWW-Authenticate").contains("invalid_token"), "{:?}", late.headers);
    let log = server.log();
    assert!(log.contains("replaced a bearer token"), "{log}");
    assert!(log.contains("default.rotated-scim-token.yaml"), "a person is told where it is: {log}");
    for token in seen {
        assert!(!log.contains(&token), "a token is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rotation_by_editing_manifests_fails_no_request() {
    let server = Arc::new(Server::start(&Setup::default()).await);
    let (old, new) = ("the-old-token-of-a-person-0001", "the-new-token-of-a-person-0002");
    let edit = |bearer: &str, secrets: &str| {
        // As an editor that saves whole files.
        let file = server.manifests().join("rotated.yaml");
        fs::write(file.with_extension("new"), tenant("Generic", bearer) + secrets).expect("writable");
        fs::rename(file.with_extension("new"), file).expect("writable");
    };
    let accepted = async |token: &str, accepted: bool| {
        let client = server.client("rotated").with_token(token);
        for _ in 0..500 {
            if (client.get("/Users?count=1").await.status == 200) == accepted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{token} is accepted: not {accepted}");
    };
    edit("{secretName: main}", &secret("main", old));
    accepted(old, true).await;
    // Which token the identity provider is configured with.
    let configured = Arc::new(AtomicU32::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let configured = Arc::clone(&configured);
            load(&server, &stop, false, move |_| {
                [old, new][configured.load(Ordering::SeqCst) as usize].to_owned()
            })
        })
        .collect();
    // Add the new token beside the old one, give it to the identity provider, move it, and remove the old one.
    let both = secret("main", old) + &secret("next", new);
    edit("{secretName: main, tokens: [{name: next, secretKeyRef: {name: next, key: token}}]}", &both);
    accepted(new, true).await;
    configured.store(1, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(500)).await;
    edit("{secretName: next, tokens: [{name: old, secretKeyRef: {name: main, key: token}}]}", &both);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    edit("{secretName: next}", &secret("next", new));
    accepted(old, false).await;
    stop.store(true, Ordering::Relaxed);
    let mut requests = 0;
    for client in clients {
        requests += client.await.expect("no request was refused");
    }
    println!("{requests} requests, none refused");
}

/// Every promise that a Secret makes is kept by the server: of the token, and of the old one until its end.
async fn keeps_its_promises(server: &Server, client: &Client, given: &Secret) {
    let status = async |token: &str| client.with_token(token).get("/Users?count=1").await.status;
    let mut now = made(server).await;
    loop {
        let current = status(&now.token).await;
        let after = made(server).await;
        if current == 200 || after == now {
            assert_eq!(current, 200, "the current token is refused:\n{}", server.log());
            break;
        }
        now = after;
    }
    if now.accepts(&given.token) {
        assert_eq!(status(&given.token).await, 200, "a token that was given is refused:\n{}", server.log());
    }
    if let Some((previous, end)) = &given.previous {
        let ended = Timestamp::now() >= *end;
        let status = status(previous).await;
        assert!(!ended || status == 401, "a token outlives its end: {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_at_any_instant_of_a_rotation_locks_nobody_out() {
    let mut random = Random::seeded("rotation");
    let mut server = rotating("Generic", "interval: 2s, overlap: 1s").await;
    let mut given = made(&server).await;
    let mut rotations = 0;
    for round in 0..KILLS {
        // Within a second around the next rotation, which comes with a whole second.
        let pause = Duration::from_millis(u64::try_from(random.below(2_300)).expect("small"));
        tokio::time::sleep(pause).await;
        server.kill();
        let left = Secret::read(&server).unwrap_or_else(|| panic!("round {round}: the token is lost"));
        server.restart().await;
        let client = server.client("rotated");
        keeps_its_promises(&server, &client, &left).await;
        rotations += u32::from(left.token != given.token);
        given = left;
    }
    println!("{rotations} of the kills met a new token");
}

#[tokio::test]
async fn last_use_of_a_token_survives_a_restart() {
    let mut server = Server::start(&Setup::strict()).await;
    server.client("strict").get("/Users").await.expect(200);
    let line = async |server: &Server| {
        let (_, metrics) = server.admin("/metrics").await.expect("it answers");
        let name = "scim_token_last_used_timestamp_seconds{tenant=\"default/strict\",token=\"token\"}";
        metrics.lines().find(|line| line.starts_with(name)).map(str::to_owned)
    };
    let before = line(&server).await.expect("it was used");
    server.terminate();
    assert!(server.wait_for_exit().await.success());
    server.restart().await;
    assert_eq!(line(&server).await, Some(before));
}
