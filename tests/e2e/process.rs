//! `serve` as a process: what stops it from starting, its tokens, its admin port, its end.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{fs, io::Write as _};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{self, Server, Setup, run_to_exit};

/// Runs `serve`, which must refuse: its one line on stderr, with the folder's own path as `FOLDER`.
#[track_caller]
fn refusal(folder: &Path, more: &[&str]) -> String {
    let (manifests, data) = (folder.join("manifests"), folder.join("data"));
    let mut arguments = vec!["serve", "--manifests", manifests.to_str().expect("UTF-8")];
    arguments.extend(["--data", data.to_str().expect("UTF-8")]);
    let free = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    arguments.extend(if more.is_empty() { &free[..] } else { more });
    let (code, said) = run_to_exit(&arguments);
    assert!(code.is_some_and(|code| code != 0), "{code:?}: {said}");
    let errors: Vec<_> = said.lines().filter(|line| !line.starts_with('{')).collect();
    assert_eq!(errors.len(), 1, "one clear line:\n{said}");
    errors[0].replace(folder.to_str().expect("UTF-8"), "FOLDER")
}

fn folder_with(setup: &Setup) -> TempDir {
    let folder = TempDir::new().expect("the temporary folder is writable");
    fs::create_dir(folder.path().join("manifests")).expect("a new folder");
    setup.write(&folder.path().join("manifests"));
    folder
}

#[test]
fn port_taken_is_one_clear_line() {
    let folder = folder_with(&Setup::strict());
    let taken = TcpListener::bind("127.0.0.1:0").expect("the machine has free ports");
    let address = taken.local_addr().expect("bound").to_string();
    let line = refusal(folder.path(), &["--listen", &address, "--admin", "127.0.0.1:0"])
        .replace(&address, "ADDRESS");
    insta::assert_snapshot!(line, @"error: cannot listen on ADDRESS (choose another with --listen): Address already in use (os error 98)");
    let line = refusal(folder.path(), &["--listen", "127.0.0.1:0", "--admin", &address])
        .replace(&address, "ADDRESS");
    insta::assert_snapshot!(line, @"error: cannot listen on ADDRESS (choose another with --admin): Address already in use (os error 98)");
}

#[test]
fn port_taken_makes_no_token_that_nobody_is_told_of() {
    let folder = folder_with(&Setup::strict());
    let file = folder.path().join("manifests/tenant-strict.yaml");
    let yaml = fs::read_to_string(&file).expect("it was written");
    fs::write(file, yaml.split_once("---\n").expect("two documents").0).expect("writable");
    let taken = TcpListener::bind("127.0.0.1:0").expect("the machine has free ports");
    let address = taken.local_addr().expect("bound").to_string();
    refusal(folder.path(), &["--listen", &address, "--admin", "127.0.0.1:0"]);
    assert!(!folder.path().join("data/secrets").exists());
}

#[test]
fn manifests_folder_missing_is_one_clear_line() {
    let folder = TempDir::new().expect("the temporary folder is writable");
    insta::assert_snapshot!(refusal(folder.path(), &[]), @"error: cannot read FOLDER/manifests: No such file or directory (os error 2)");
}

#[test]
fn manifests_without_endpoint_is_one_clear_line() {
    let folder = folder_with(&Setup::strict());
    for file in ["endpoint.yaml", "tenant-strict.yaml"] {
        fs::remove_file(folder.path().join("manifests").join(file)).expect("it was written");
    }
    insta::assert_snapshot!(refusal(folder.path(), &[]), @"error: there is no ScimEndpoint in FOLDER/manifests: add one, or name the folder that has it");
}

#[test]
fn manifest_with_a_finding_is_said_with_its_place() {
    let folder = folder_with(&Setup::strict());
    fs::remove_file(folder.path().join("manifests/endpoint.yaml")).expect("it was written");
    let (manifests, data) = (folder.path().join("manifests"), folder.path().join("data"));
    let manifests = manifests.to_str().expect("UTF-8");
    let (code, said) =
        run_to_exit(&["serve", "--manifests", manifests, "--data", data.to_str().expect("UTF-8")]);
    assert_eq!(code, Some(1));
    insta::assert_snapshot!(said.replace(manifests, "FOLDER"), @r"
    error: FOLDER/tenant-strict.yaml:5:23: error: ScimTenant default/strict: spec.endpointRef.name: there is no ScimEndpoint default/main among the manifests
      hint: name an endpoint that is there, or add its manifest
    ");
}

#[test]
fn data_folder_not_writable_is_one_clear_line() {
    let folder = folder_with(&Setup::strict());
    fs::write(folder.path().join("data"), "a file where the folder should be").expect("writable");
    insta::assert_snapshot!(refusal(folder.path(), &[]), @"error: cannot use the data directory FOLDER/data: File exists (os error 17); check that it exists or can be made, and is writable");
}

#[tokio::test]
async fn data_locked_by_another_process_is_one_clear_line() {
    let server = Server::start(&Setup::strict()).await;
    let folder = server.folder().to_owned();
    let line = tokio::task::spawn_blocking(move || refusal(&folder, &[])).await.expect("no panic");
    insta::assert_snapshot!(line, @"error: the data directory FOLDER/data is in use by another process; stop that one, or choose another with --data");
}

/// The database file under `--data`.
fn database(data: &Path) -> std::path::PathBuf {
    let mut files =
        fs::read_dir(data).expect("the server made it").map(|entry| entry.expect("readable").path());
    files.find(|path| path.extension().is_some_and(|extension| extension == "db")).expect("a database")
}

async fn stopped() -> Server {
    let mut server = Server::start(&Setup::strict()).await;
    server.client("strict").create("/Users", &support::user("stored")).await;
    server.terminate();
    assert!(server.wait_for_exit().await.success());
    server
}

#[tokio::test]
async fn database_corrupt_is_one_clear_line() {
    let server = stopped().await;
    let mut file = fs::File::options().write(true).open(database(&server.data())).expect("it exists");
    file.write_all(&[0x55; 8192]).expect("writable");
    let folder = server.folder().to_owned();
    let line = tokio::task::spawn_blocking(move || refusal(&folder, &[])).await.expect("no panic");
    insta::assert_snapshot!(line, @"error: FOLDER/data/scim.db is not a database of scim-operator; move it away, or choose another directory with --data");
}

#[tokio::test]
async fn database_newer_than_the_binary_is_one_clear_line() {
    let server = stopped().await;
    let database = rusqlite::Connection::open(database(&server.data())).expect("it exists");
    database.pragma_update(None, "user_version", 9_999).expect("writable");
    drop(database);
    let folder = server.folder().to_owned();
    let line = tokio::task::spawn_blocking(move || refusal(&folder, &[])).await.expect("no panic");
    insta::assert_snapshot!(line, @"error: the database FOLDER/data/scim.db has schema version 9999, and this program knows versions up to 6; run the newer program that wrote it");
}

#[tokio::test]
async fn data_after_a_clean_end_is_one_file_without_a_log() {
    let server = stopped().await;
    let wal = database(&server.data()).with_extension("db-wal");
    assert!(!wal.exists(), "the store was not closed clean");
}

#[tokio::test]
async fn secret_missing_is_made_and_its_curl_line_works_when_pasted() {
    let setup = Setup::strict();
    let folder = folder_with(&setup);
    let file = folder.path().join("manifests/tenant-strict.yaml");
    let yaml = fs::read_to_string(&file).expect("it was written");
    let (tenant, _secret) = yaml.split_once("---\n").expect("two documents");
    let server = Server::start(&Setup::default().tenant("other", "Strict")).await;
    fs::write(server.manifests().join("tenant-strict.yaml"), tenant).expect("writable");

    // It also works for a tenant that is added while the server runs.
    let line = loop {
        let log = server.log().replace("\\\"", "\"");
        if let Some(start) = log.find("curl ") {
            let line = log[start..].lines().next().expect("a line").to_owned();
            break line.trim_end_matches("\"}").trim_end_matches('}').to_owned();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let output =
        Command::new("bash").arg("-c").arg(&line).env("no_proxy", "*").output().expect("bash is everywhere");
    let body: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{line}: {output:?}"));
    assert!(body["schemas"].is_array() && body.get("status").is_none(), "{line}: {body:#}");

    let secrets =
        walk(&server.data()).into_iter().filter(|path| path.extension().is_some_and(|e| e == "yaml"));
    for secret in secrets {
        let mode = fs::metadata(&secret).expect("it exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", secret.display());
        let yaml = fs::read_to_string(&secret).expect("ours");
        let token = yaml.lines().find_map(|line| line.trim().strip_prefix("token: ")).expect("a token");
        assert!(!server.log().contains(token.trim_matches('"')), "the token is in the log");
    }
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else {
            files.push(path);
        }
    }
    files
}

#[tokio::test]
async fn admin_port_tells_health_and_metrics() {
    let server = Server::start(&Setup::both()).await;
    let client = server.client("strict");
    client.create("/Users", &support::user("counted")).await;
    client.get("/Users/none").await.expect(404);
    for path in ["/livez", "/readyz"] {
        assert_eq!(server.admin(path).await.expect("it answers").0, 200, "{path}");
    }
    let (_, metrics) = server.admin("/metrics").await.expect("it answers");
    for part in ["tenant=\"default/strict\"", "status=\"201\"", "status=\"404\"", "_bucket{", "# EOF"] {
        assert!(metrics.contains(part), "{part} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn log_has_one_line_for_a_request_and_no_personal_data() {
    let server = Server::start(&Setup::strict()).await;
    let client = server.client("strict");
    let mut user = support::user("very.private@example.com");
    user["password"] = "Sup3r-secret".into();
    let answer =
        client.request("POST", "/Users").header("X-Request-Id", "req-from-proxy").body(&user).send().await;
    let id = answer.expect(201).id();
    client.find("/Users", "userName eq \"very.private@example.com\"").await.expect(200);
    client.with_token("wrong-token-wrong-token").get("/Users").await.expect(401);
    tokio::time::sleep(Duration::from_millis(200)).await;

    let log = server.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("req-from-proxy")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    for part in [id.as_str(), "201", "strict"] {
        assert!(lines[0].contains(part), "{part} is not in {}", lines[0]);
    }
    for secret in ["very.private", "Sup3r", "wrong-token", client.token()] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
}

#[tokio::test]
async fn unknown_tenant_looks_like_a_wrong_token() {
    let server = Server::start(&Setup::strict()).await;
    let wrong = server.client("strict").with_token("wrong").get("/Users").await.expect(401);
    let unknown = server.client("nobody").get("/Users").await.expect(401);
    assert_eq!(wrong.body, unknown.body);
    assert_eq!(wrong.body["status"], "401");
    let mut headers: Vec<_> = wrong.headers.keys().map(ToString::to_string).collect();
    let mut others: Vec<_> = unknown.headers.keys().map(ToString::to_string).collect();
    headers.sort_unstable();
    others.sort_unstable();
    assert_eq!(headers, others);
    assert!(wrong.header("WWW-Authenticate").starts_with("Bearer"));
}

#[tokio::test]
async fn second_sigterm_ends_at_once() {
    let mut server = Server::start(&Setup::strict()).await;
    // A request that never ends keeps the first signal waiting.
    let mut slow = std::net::TcpStream::connect(server.listen()).expect("it listens");
    let token = server.client("strict").token().to_owned();
    write!(
        slow,
        "POST /strict/scim/v2/Users HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/scim+json\r\nContent-Length: 100\r\n\r\n{{"
    )
    .expect("it reads");
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.terminate();
    tokio::time::sleep(Duration::from_millis(200)).await;
    if let Some((status, _)) = server.admin("/readyz").await {
        assert_eq!(status, 503, "no new work after the first signal");
    }
    let start = std::time::Instant::now();
    server.terminate();
    server.wait_for_exit().await;
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}
