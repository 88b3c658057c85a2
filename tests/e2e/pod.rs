//! `serve --config`: what a pod does with the files that a kubelet mounts, without any API server.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Certificate, StatusCode};
use scim_operator::config::digest::sha256_hex;
use scim_operator::config::shards::{Encoded, HEAD_KEY, encode, shard_file};
use scim_operator::config::{
    Audit, Lifecycle, Limits, Membership, Scopes, ServerConfig, TenantConfig, TokenDigest,
};
use scim_operator::scim::dialect::Dialect;
use scim_operator::scim::schema::CustomSchemas;
use serde_json::{Value, json};

use crate::support::{Server, free_address, token_of, user};

fn tenant(name: &str) -> TenantConfig {
    TenantConfig {
        name: format!("identity/{name}"),
        path: name.to_owned(),
        identity_provider: Dialect::Strict,
        tokens: vec![TokenDigest {
            name: "token".to_owned(),
            sha256: sha256_hex(token_of(name)),
            scopes: Scopes::ALL,
            not_before: None,
            expires_at: None,
            replaced_at: None,
        }],
        schemas: CustomSchemas::default(),
        oauth2: None,
        limits: Limits::default(),
        suspended: false,
        purge_on_removal: false,
        lifecycle: Lifecycle::default(),
        membership: Membership::default(),
        audit: Audit::default(),
    }
}

fn config(tenants: impl IntoIterator<Item = TenantConfig>) -> Encoded {
    config_that_removes(None, tenants)
}

fn config_that_removes(removed: Option<&[&str]>, tenants: impl IntoIterator<Item = TenantConfig>) -> Encoded {
    let config = ServerConfig {
        endpoint: "identity/main".to_owned(),
        host: None,
        allowed_cidrs: Vec::new(),
        trusted_proxies: Vec::new(),
        tenants: Vec::new(),
        removed: removed.map(|names| names.iter().map(ToString::to_string).collect()),
    };
    encode(&config.with(tenants.into_iter().map(Arc::new).collect()))
}

/// Puts a configuration in a folder as a kubelet does: whole, by replacing the link `..data`.
fn mount(folder: &Path, encoded: &Encoded) {
    let version = format!("..{}", encoded.digest);
    let files = folder.join(&version);
    fs::create_dir(&files).expect("the temporary folder is writable");
    fs::write(files.join(HEAD_KEY), &encoded.head).expect("the temporary folder is writable");
    for (shard, bytes) in &encoded.shards {
        fs::write(files.join(shard_file(*shard)), bytes).expect("the temporary folder is writable");
    }
    symlink(&version, folder.join("..data_tmp")).expect("the temporary folder is writable");
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).expect("the temporary folder is writable");
    let shards = encoded.shards.keys().map(|shard| shard_file(*shard));
    for name in std::iter::once(HEAD_KEY.to_owned()).chain(shards) {
        // There already: the link is the same.
        let _ = symlink(format!("..data/{name}"), folder.join(name));
    }
}

async fn configuration(server: &Server) -> Value {
    let (status, text) = server.admin("/configuration").await.expect("the server answers");
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).expect("the server answers")
}

/// Waits until the server says so.
async fn until(server: &Server, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let now = configuration(server).await;
        if holds(&now) {
            return now;
        }
        assert!(Instant::now() < deadline, "not {what} after 30 s: {now}\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn runs(server: &Server, encoded: &Encoded) -> Value {
    until(server, "run", |now| now["digest"] == *encoded.digest).await
}

#[tokio::test]
async fn pod_waits_for_its_configuration_and_then_follows_the_files() {
    let mut server = Server::start_pod(|_| {}, &[]).await;
    let folder = server.folder().join("config");
    let deadline = Instant::now() + Duration::from_secs(30);
    let waiting = loop {
        match server.admin("/readyz").await {
            Some((503, text)) if text.contains(HEAD_KEY) => break text,
            other => assert!(Instant::now() < deadline, "{other:?}\n{}", server.log()),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(
        waiting,
        "not ready: there is no configuration yet: config.json is not there yet: the controller writes it\n"
    );
    assert_eq!(configuration(&server).await["digest"], Value::Null);

    let first = config([tenant("acme")]);
    mount(&folder, &first);
    server.wait_until_ready().await;
    assert_eq!(runs(&server, &first).await["tenants"][0]["lastRequestTime"], Value::Null);
    let acme = server.client("acme");
    assert_eq!(acme.post("/Users", &user("ann")).await.status, 201);

    let second = config([tenant("acme"), tenant("globex")]);
    mount(&folder, &second);
    let now = runs(&server, &second).await;
    assert_eq!(now["tenants"][0]["users"], 1);
    assert_eq!(now["tenants"][0]["groups"], 0);
    assert!(now["tenants"][0]["lastRequestTime"].is_string(), "{now}");
    assert_eq!(
        (&now["tenants"][1]["name"], &now["tenants"][1]["path"]),
        (&json!("identity/globex"), &json!("globex"))
    );
    assert_eq!(server.client("globex").get("/Users").await.status, 200);
    let (_, short) = server.admin("/configuration?tenants=false").await.unwrap();
    assert_eq!(short, format!(r#"{{"digest":"{}","purging":[]}}"#, second.digest));
}

#[tokio::test]
async fn broken_configuration_changes_nothing_and_a_good_one_is_served_after_it() {
    let first = config([tenant("acme")]);
    let mut server = Server::start_pod(|folder| mount(&folder.join("config"), &first), &[]).await;
    server.wait_until_ready().await;
    let folder = server.folder().join("config");

    let broken = Encoded { digest: "broken".to_owned(), head: b"{".to_vec(), ..first.clone() };
    mount(&folder, &broken);
    let mut half = config([tenant("acme"), tenant("globex")]);
    half.shards.clear();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !server.log().contains("config.json is not a configuration") {
        assert!(Instant::now() < deadline, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    mount(&folder, &half);
    assert_eq!(configuration(&server).await["digest"], *first.digest);
    assert_eq!(server.client("acme").get("/Users").await.status, 200);
    assert_eq!(server.admin("/readyz").await.unwrap().0, 200);

    let third = config([tenant("initech")]);
    mount(&folder, &third);
    runs(&server, &third).await;
    assert_eq!(server.client("acme").get("/Users").await.status, 401);
}

#[tokio::test]
async fn removed_tenant_is_purging_until_its_data_is_gone() {
    let marked = config([TenantConfig { purge_on_removal: true, ..tenant("acme") }, tenant("globex")]);
    let mut server = Server::start_pod(|folder| mount(&folder.join("config"), &marked), &[]).await;
    server.wait_until_ready().await;
    for name in ["acme", "globex"] {
        assert_eq!(server.client(name).post("/Users", &user("ann")).await.status, 201);
    }
    let folder = server.folder().join("config");
    let without = config([]);
    mount(&folder, &without);
    runs(&server, &without).await;
    until(&server, "purged", |now| now["purging"] == json!([])).await;
    // It comes back empty, and what was not marked comes back as it was.
    let back = config([tenant("acme"), tenant("globex"), tenant("new")]);
    mount(&folder, &back);
    let now = runs(&server, &back).await;
    let users: Vec<_> = now["tenants"].as_array().unwrap().iter().map(|tenant| &tenant["users"]).collect();
    assert_eq!(users, [0, 1, 0]);
}

/// Of pods on one database each may know other tenants: those of an endpoint of its own, or of a moment ago.
#[tokio::test]
async fn tenant_that_is_only_unknown_is_not_purged_and_one_that_is_removed_is() {
    let marked = || TenantConfig { purge_on_removal: true, ..tenant("acme") };
    let first = config_that_removes(Some(&[]), [marked()]);
    let mut server = Server::start_pod(|folder| mount(&folder.join("config"), &first), &[]).await;
    server.wait_until_ready().await;
    assert_eq!(server.client("acme").post("/Users", &user("ann")).await.status, 201);
    let folder = server.folder().join("config");
    let rounds =
        [("one", &[] as &[&str], 1), ("two", &["identity/other"], 1), ("three", &["identity/acme"], 0)];
    for (round, removed, kept) in rounds {
        let without = config_that_removes(Some(removed), [tenant(round)]);
        mount(&folder, &without);
        runs(&server, &without).await;
        until(&server, "purged", |now| now["purging"] == json!([])).await;
        let back = config_that_removes(Some(&[]), [marked(), tenant(round)]);
        mount(&folder, &back);
        let now = runs(&server, &back).await;
        assert_eq!(now["tenants"][0]["users"], kept, "{removed:?}");
    }
}

/// Makes `tls.crt` and `tls.key` for localhost.
fn make_certificate(folder: &Path) -> Certificate {
    fs::create_dir_all(folder).expect("the temporary folder is writable");
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-days", "30", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(folder.join("tls.key"))
        .arg("-out")
        .arg(folder.join("tls.crt"))
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Certificate::from_pem(&fs::read(folder.join("tls.crt")).expect("a certificate that was just made"))
        .expect("a certificate that was just made")
}

async fn get(client: &reqwest::Client, address: &str) -> reqwest::Result<(StatusCode, Value)> {
    let url = format!("https://{address}/acme/scim/v2/Users");
    let answer = client.get(url).bearer_auth(token_of("acme")).send().await?;
    Ok((answer.status(), answer.json().await?))
}

fn trusting(certificate: &Certificate) -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([certificate.clone()])
        .build()
        .expect("a client always builds")
}

#[tokio::test]
async fn tls_is_served_and_a_new_certificate_is_taken_up_while_connections_go_on() {
    let address = free_address();
    let first = config([tenant("acme")]);
    let mut certificate = None;
    let prepare = |folder: &Path| {
        mount(&folder.join("config"), &first);
        certificate = Some(make_certificate(&folder.join("tls")));
    };
    let mut server = Server::start_pod(prepare, &[("--tls", "tls"), ("--tls-listen", &address)]).await;
    server.wait_until_ready().await;
    let old = trusting(&certificate.unwrap());
    assert_eq!(server.client("acme").post("/Users", &user("ann")).await.status, 201);
    let (status, list) = get(&old, &address).await.unwrap();
    assert_eq!((status, &list["totalResults"]), (StatusCode::OK, &json!(1)));
    let location = list["Resources"][0]["meta"]["location"].as_str().unwrap();
    assert!(location.starts_with(&format!("https://{address}/acme/scim/v2/Users/")), "{location}");
    let (_, metrics) = server.admin("/metrics").await.unwrap();
    assert!(metrics.contains("scim_certificate_not_after_timestamp_seconds 1"), "{metrics}");

    let tls = server.folder().join("tls");
    fs::write(tls.join("tls.crt"), "no certificate").unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !server.log().contains("the new certificate cannot be served") {
        assert!(Instant::now() < deadline, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let fresh = reqwest::Client::builder().no_proxy().tls_danger_accept_invalid_certs(true).build().unwrap();
    assert_eq!(get(&fresh, &address).await.unwrap().0, StatusCode::OK, "the old certificate is served on");

    let new = make_certificate(&tls);
    loop {
        match get(&trusting(&new), &address).await {
            Ok((status, _)) => break assert_eq!(status, StatusCode::OK),
            Err(error) => assert!(Instant::now() < deadline, "{error:?}\n{}", server.log()),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Its connection is from before.
    assert_eq!(get(&old, &address).await.unwrap().0, StatusCode::OK);
}

#[tokio::test]
async fn stopping_pod_asks_its_clients_to_go_elsewhere_and_loses_no_request() {
    let first = config([tenant("acme")]);
    let mut server = Server::start_pod(|folder| mount(&folder.join("config"), &first), &[]).await;
    server.wait_until_ready().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/Users", server.base("acme"));
    server.terminate();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let answer =
            client.get(&url).bearer_auth(token_of("acme")).send().await.expect("nothing is refused yet");
        assert_eq!(answer.status(), StatusCode::OK);
        if answer.headers().get("connection").is_some_and(|value| value == "close") {
            break;
        }
        assert!(Instant::now() < deadline, "no answer says close");
    }
    assert_eq!(server.admin("/readyz").await.unwrap().0, 503);
    assert!(server.wait_for_exit().await.success());
}
