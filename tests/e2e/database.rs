//! `serve --manifests` with `storage.postgres`: the endpoint in the folder says where users and groups are kept.

use std::fs;

use serde_json::json;

use crate::postgres;
use crate::support::{self, Server, Setup};

const ENDPOINT: &str =
    "  storage: {postgres: {secretRef: {name: database}, tls: {mode: Disable}, pool: {maxSize: 4}}}\n";

fn secret(url: &str) -> String {
    let data = json!({"url": url});
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: database}}\nstringData: {data}\n")
}

fn setup(url: &str) -> Setup {
    Setup { endpoint: ENDPOINT, more: secret(url), ..Setup::strict() }
}

#[tokio::test]
async fn servers_of_one_folder_share_the_database_that_its_endpoint_names() {
    let database = postgres::database();
    let setup = setup(&database.url());
    let (mut one, other) = (Server::start(&setup).await, Server::start(&setup).await);
    let (client, another) = (one.client("strict"), other.client("strict"));
    let id = client.create("/Users", &support::user("ada")).await;
    another.get(&format!("/Users/{id}")).await.expect(200);
    another.post("/Users", &support::user("ada")).await.expect(409);
    one.kill();
    one.restart().await;
    client.get(&format!("/Users/{id}")).await.expect(200);
    assert!(!one.data().join("scim.db").exists(), "there is no SQLite beside it");
}

#[tokio::test]
async fn storage_of_a_server_that_runs_does_not_change_and_the_log_says_what_to_do() {
    let database = postgres::database();
    let server = Server::start(&setup(&database.url())).await;
    let client = server.client("strict");
    let id = client.create("/Users", &support::user("ada")).await;
    for (edit, said) in [
        (secret("postgresql://somebody@127.0.0.1:1/else"), "start serve again"),
        (secret("http://s3cret"), "it is not the URL of a PostgreSQL database"),
        (String::new(), "there is no Secret default/database"),
    ] {
        fs::write(server.manifests().join("more.yaml"), edit).expect("the folder is writable");
        let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
        while !server.log().contains(said) {
            assert!(std::time::Instant::now() < deadline, "{said} is not in the log");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        client.get(&format!("/Users/{id}")).await.expect(200);
    }
    assert!(!server.log().contains("s3cret"));
    // As it was before: edits count again.
    fs::write(server.manifests().join("more.yaml"), secret(&database.url())).expect("the folder is writable");
    let globex = Setup::default().tenant("globex", "Strict").tenants[0].yaml();
    fs::write(server.manifests().join("globex.yaml"), globex).expect("the folder is writable");
    let globex = server.client("globex");
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    while globex.get("/Users").await.status != 200 {
        assert!(std::time::Instant::now() < deadline, "{}", server.log());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[test]
fn database_whose_secret_is_not_in_the_folder_is_refused_unless_the_command_line_names_one() {
    let folder = tempfile::TempDir::new().expect("the temporary folder is writable");
    Setup { more: String::new(), ..setup("") }.write(folder.path());
    let (manifests, data) = (folder.path().display().to_string(), folder.path().join("data"));
    let data = data.display().to_string();
    let serve = ["serve", "--manifests", &manifests, "--data", &data];
    let ports = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let (code, said) = support::run_to_exit(&[&serve[..], &ports].concat());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("there is no Secret default/database"), "{said}");
    // Its own mistake, and not that of the manifests.
    let url = folder.path().join("url");
    fs::write(&url, "http://wrong").expect("the folder is writable");
    let flag = ["--database-url-file", url.to_str().expect("it is text")];
    let (_, said) = support::run_to_exit(&[&serve[..], &ports, &flag].concat());
    assert!(!said.contains("default/database"), "{said}");
}
