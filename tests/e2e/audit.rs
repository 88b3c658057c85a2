//! `scim-operator audit` on the data of a running server: what it shows, what it follows, what it refuses.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::{self, Server, Setup};

fn command(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scim-operator"));
    command.arg("audit").arg("--data").arg(data).args(arguments);
    command
}

fn run(data: &Path, arguments: &[&str]) -> Output {
    command(data, arguments).output().expect("cargo has built the binary")
}

/// The rows that a command shows as JSON.
#[track_caller]
fn rows(data: &Path, arguments: &[&str]) -> Vec<Value> {
    let output = run(data, &[arguments, &["--output", "json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
}

/// The exit code and what is said on stderr, with the data folder as `DATA`.
fn refusal(data: &Path, arguments: &[&str]) -> String {
    let output = run(data, arguments);
    let said = String::from_utf8_lossy(&output.stderr).replace(data.to_str().expect("UTF-8"), "DATA");
    format!("{}: {}", output.status.code().expect("it exits"), said.trim_end())
}

#[tokio::test]
async fn log_of_a_running_server_is_shown_and_filtered() {
    let server = Server::start(&Setup::strict()).await;
    let (data, client) = (server.data(), server.client("strict"));
    let ann = client.create("/Users", &support::user("ann")).await;
    let group = client.create("/Groups", &support::group("staff")).await;
    client.patch(&format!("/Groups/{group}"), &support::add_member(&ann)).await.expect(204);
    let off = support::patch(json!([{"op": "replace", "path": "active", "value": false}]));
    client.patch(&format!("/Users/{ann}"), &off).await.expect(200);
    client.delete(&format!("/Users/{ann}")).await.expect(204);

    // The only tenant need not be named.
    let all = rows(&data, &[]);
    let said: Vec<_> = all.iter().map(|row| row["operation"].as_str().expect("a name")).collect();
    assert_eq!(said, ["create", "create", "patch", "patch", "member-deleted", "delete"]);
    let row = &all[2];
    assert_eq!(row["tenant"], "default/strict");
    assert_eq!(
        (&row["sequence"], &row["versionBefore"], &row["versionAfter"]),
        (&json!(3), &json!(1), &json!(2))
    );
    assert_eq!(row["members"], json!({"added": 1, "removed": 0, "ids": {"added": [ann], "removed": []}}));
    assert_eq!((&row["actor"], &row["client"]), (&json!("token"), &json!("127.0.0.1")));

    let sequences = |arguments: &[&str]| -> Vec<u64> {
        rows(&data, arguments).iter().map(|row| row["sequence"].as_u64().expect("a number")).collect()
    };
    assert_eq!(sequences(&["--tenant", "strict", "--attribute", "active"]), [4]);
    assert_eq!(sequences(&["--resource", &ann]), [1, 4, 6]);
    assert_eq!(sequences(&["--resource", &format!("Group/{group}")]), [2, 3, 5]);
    assert_eq!(sequences(&["--operation", "delete,member-deleted"]), [5, 6]);
    assert_eq!(sequences(&["--actor", "somebody"]), [0; 0]);
    assert_eq!(sequences(&["--limit", "2"]), [5, 6]);
    assert_eq!(sequences(&["--after", "4"]), [5, 6]);
    assert_eq!(sequences(&["--since", "1h"]), [1, 2, 3, 4, 5, 6]);
    assert_eq!(sequences(&["--until", "1h"]), [0; 0]);
    let fourth = all[3]["time"].as_str().expect("a time");
    assert!(sequences(&["--since", fourth]).ends_with(&[4, 5, 6]));

    let text = run(&data, &["--operation", "patch"]).stdout;
    let text = String::from_utf8(text).expect("UTF-8");
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.lines().next().is_some_and(|line| line.starts_with("TIME")), "{text}");
    assert!(text.contains("members +1 -0") && text.contains("1→2") && text.contains(&ann), "{text}");
}

#[tokio::test]
async fn follow_shows_what_is_written_while_it_runs() {
    let server = Server::start(&Setup::strict()).await;
    let (data, client) = (server.data(), server.client("strict"));
    client.create("/Users", &support::user("before")).await;
    let mut child = command(&data, &["--follow", "--limit", "0", "--output", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("cargo has built the binary");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let reading = tokio::task::spawn_blocking(move || {
        lines
            .take(3)
            .map(|line| serde_json::from_str(&line.expect("UTF-8")).expect("JSON"))
            .collect::<Vec<Value>>()
    });
    // Whether it has begun to read shows in nothing: each of these it sees, or the one before did not count.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.push(client.create("/Users", &support::user(name)).await);
    }
    let seen = tokio::time::timeout(std::time::Duration::from_secs(20), reading).await;
    let seen = seen.expect("rows are shown soon").expect("reading does not panic");
    child.kill().expect("it runs");
    child.wait().expect("it is our child");
    let shown: Vec<_> = seen.iter().map(|row| row["resourceId"].as_str().expect("an id")).collect();
    assert_eq!(shown, ids);
}

#[tokio::test]
async fn log_is_read_when_the_server_is_gone_and_its_lock_is_nobodys() {
    let mut server = Server::start(&Setup::strict()).await;
    server.client("strict").create("/Users", &support::user("ann")).await;
    server.kill();
    assert_eq!(rows(&server.data(), &[]).len(), 1);
    server.restart().await;
    server.client("strict").create("/Users", &support::user("bob")).await;
    assert_eq!(rows(&server.data(), &[]).len(), 2, "sequences go on");
    server.terminate();
    server.wait_for_exit().await;
    assert_eq!(rows(&server.data(), &[]).len(), 2);
}

#[tokio::test]
async fn what_cannot_be_shown_is_said_with_what_to_do() {
    let server = Server::start(&Setup::both()).await;
    let data = server.data();
    insta::assert_snapshot!(refusal(&data.join("none"), &[]), @"2: error: there is no database DATA/scim.db; name the data directory of the server with --data");
    server.client("strict").create("/Users", &support::user("ann")).await;
    server.client("generic").create("/Users", &support::user("ann")).await;
    insta::assert_snapshot!(refusal(&data, &["--tenant", "acme"]), @r#"
2: error: there is no tenant "acme" in this database; it has:
  default/generic
  default/strict
"#);
    insta::assert_snapshot!(refusal(&data, &[]), @r#"
2: error: name a tenant with --tenant; it has:
  default/generic
  default/strict
"#);
    insta::assert_snapshot!(refusal(&data, &["--tenant", "strict", "--after", "7"]), @"1: error: change 7 is not of this log, whose newest is 1: the tenant was purged or the database restored; read the resources anew and go on after 1");
    for wrong in [["--since", "yesterday"], ["--operation", "destroy"], ["--limit", "few"]] {
        let said = refusal(&data, &wrong);
        assert!(said.starts_with("2: error: invalid value"), "{said}");
    }
    let other = data.join("other");
    std::fs::create_dir(&other).expect("writable");
    std::fs::write(other.join("scim.db"), "not a database, ".repeat(100)).expect("writable");
    assert!(refusal(&other, &[]).starts_with("2: error: DATA/scim.db is not a database of scim-operator"));
}
