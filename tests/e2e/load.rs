//! `scim-operator load` against our own server, and against one that loses, fails and cuts on its way.

#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::support::{Server, Setup, token_of, user};

/// Runs it to its end, which it sets itself.
async fn load(tenant: &'static str, url: String, options: &[&str]) -> (Option<i32>, Value, String) {
    let folder = TempDir::new().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, token_of(tenant)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_scim-operator"));
    command
        .arg("load")
        .arg(url)
        .arg("--token-file")
        .arg(token)
        .args(["--json", "-", "--quiet"])
        .args(options);
    let Output { status, stdout, stderr } =
        tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let stderr = String::from_utf8_lossy(&stderr).into_owned();
    (status.code(), serde_json::from_slice(&stdout).unwrap_or_default(), stderr)
}

const SMALL: &[&str] = &["--users", "30", "--groups", "4", "--concurrency", "6", "--max-requests", "400"];

#[tokio::test(flavor = "multi_thread")]
async fn load_of_every_profile_finds_nothing_lost() {
    let setup =
        Setup::default().tenant("generic", "Generic").tenant("okta", "Okta").tenant("entra", "EntraID");
    let server = Server::start(&setup).await;
    for (profile, tenant) in [
        ("okta", "okta"),
        ("entra", "entra"),
        ("steady", "generic"),
        ("onboarding-rush", "generic"),
        ("full-resync", "generic"),
    ] {
        let options = [SMALL, &["--profile", profile, "--compress", "100000"]].concat();
        let (code, report, stderr) = load(tenant, server.base(tenant), &options).await;
        assert_eq!(code, Some(0), "{profile}: {stderr}\n{report:#}");
        assert_eq!(report["verdict"], "passed", "{profile}");
        assert!(report["total"]["requests"].as_u64().unwrap() > 60, "{profile}: {}", report["total"]);
        assert_eq!(report["comparison"]["stale"], 0, "{profile}: {}", report["comparison"]);
        assert_eq!(report["cleanup"]["left"], 0, "{profile}");
    }
}

/// What becomes of a write on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is answered with success and goes no further.
    Swallowed,
    /// It is answered with this status and goes no further.
    Refused(u16),
    /// It is done, and the connection ends before the answer.
    Cut,
}

/// A way to the server on which every write whose number `fate` knows has that fate. Gives the address.
async fn way(server: &Server, fate: fn(usize) -> Option<Fate>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (to, writes) = (server.listen().to_owned(), Arc::new(AtomicUsize::new(0)));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (to, writes, client) = (to.clone(), Arc::clone(&writes), client.clone());
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    pass(request, to.clone(), Arc::clone(&writes), client.clone(), fate)
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address.to_string()
}

async fn pass(
    request: Request<Incoming>,
    to: String,
    writes: Arc<AtomicUsize>,
    client: reqwest::Client,
    fate: fn(usize) -> Option<Fate>,
) -> Result<Response<Full<Bytes>>, String> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
    // Removing what was made is not what is tried.
    let is_write = head.method != "GET" && head.method != "DELETE";
    let fate = if is_write { fate(writes.fetch_add(1, Ordering::SeqCst)) } else { None };
    let answer = |status: u16, body: Bytes| Response::builder().status(status).body(Full::new(body)).unwrap();
    match fate {
        Some(Fate::Refused(status)) => return Ok(answer(status, Bytes::new())),
        Some(Fate::Swallowed) => {
            let mut echo: Value = serde_json::from_slice(&body).unwrap();
            echo["id"] = json!("01900000-0000-7000-8000-000000000000");
            let status = if head.method == "POST" { 201 } else { 200 };
            return Ok(answer(status, echo.to_string().into()));
        }
        Some(Fate::Cut) | None => {}
    }
    let mut forward = client.request(head.method, format!("http://{to}{}", head.uri)).body(body);
    for name in ["authorization", "content-type"] {
        if let Some(value) = head.headers.get(name) {
            forward = forward.header(name, value);
        }
    }
    let response = forward.send().await.map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    let body = response.bytes().await.map_err(|error| error.to_string())?;
    // An error ends the connection without an answer.
    if fate == Some(Fate::Cut) { Err("cut".to_owned()) } else { Ok(answer(status, body)) }
}

async fn through(fate: fn(usize) -> Option<Fate>) -> (Option<i32>, Value, String) {
    let server = Server::start(&Setup::default().tenant("generic", "Generic")).await;
    let way = way(&server, fate).await;
    let options = [SMALL, &["--profile", "onboarding-rush", "--max-backoff", "50ms"]].concat();
    load("generic", format!("http://{way}/generic/scim/v2"), &options).await
}

#[tokio::test(flavor = "multi_thread")]
async fn load_through_a_network_that_swallows_a_write_tells_it_as_lost() {
    // The first writes are a user, then four groups; the tenth is a user again or a membership.
    let (code, report, stderr) = through(|write| (write == 9).then_some(Fate::Swallowed)).await;
    assert_eq!(code, Some(1), "{stderr}\n{report:#}");
    assert_eq!(report["verdict"], "failed");
    let comparison = &report["comparison"];
    let found = comparison["lost"].as_u64().unwrap() + comparison["wrong"].as_u64().unwrap();
    assert!(found > 0, "{comparison}");
    assert!(!comparison["findings"].as_array().unwrap().is_empty());
    assert!(report["cleanup"].is_null(), "what is wrong stays to be looked at");
}

#[tokio::test(flavor = "multi_thread")]
async fn load_through_a_network_that_fails_and_cuts_is_cured_by_retries() {
    let (code, report, stderr) = through(|write| match write % 10 {
        3 => Some(Fate::Refused(500)),
        5 => Some(Fate::Refused(503)),
        7 => Some(Fate::Refused(429)),
        8 => Some(Fate::Cut),
        _ => None,
    })
    .await;
    assert_eq!(code, Some(0), "{stderr}\n{report:#}");
    assert!(report["retries"]["endedWellAfter"][1].as_u64().unwrap() > 0, "{}", report["retries"]);
    assert_eq!(report["retries"]["givenUp"], 0);
    for status in ["500", "503", "429", "cut"] {
        assert!(report["total"]["errorsByStatus"][status].as_u64().unwrap_or(0) > 0, "{}", report["total"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn load_of_what_is_no_empty_scim_tenant_is_refused() {
    let server = Server::start(&Setup::default().tenant("generic", "Generic")).await;
    let begins = |stderr: &str, with: &str| assert!(stderr.starts_with(with), "{stderr}");

    let (code, _, stderr) = load("other", server.base("generic"), &[]).await;
    assert_eq!(code, Some(2), "{stderr}");
    begins(&stderr, &format!("error: {} refuses the token (401): ", server.base("generic")));

    let (code, _, stderr) = load("generic", format!("http://{}", server.listen()), &[]).await;
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("is not a SCIM 2.0 server"), "{stderr}");

    let (code, _, stderr) = load("generic", "http://127.0.0.1:9/generic/scim/v2".to_owned(), &[]).await;
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("cannot be reached"), "{stderr}");

    server.client("generic").create("/Users", &user("ann")).await;
    let (code, _, stderr) = load("generic", server.base("generic"), &[]).await;
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("has data that no load run made (\"ann\" and maybe more)"), "{stderr}");
    let options = [SMALL, &["--allow-existing", "--profile", "onboarding-rush"]].concat();
    let (code, report, stderr) = load("generic", server.base("generic"), &options).await;
    assert_eq!(code, Some(0), "{stderr}\n{report:#}");
}
