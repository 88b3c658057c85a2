//! An operator and the running binary: what was deleted is listed, restored, and erased in time.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Server, Setup, add_member, group, run_for_output, run_to_exit, user};

fn setup(more: &'static str) -> Setup {
    let mut setup = Setup::default().tenant("acme", "Generic");
    setup.tenants[0].more = more;
    setup
}

fn restore(server: &Server, arguments: &[&str]) -> (Option<i32>, String, String) {
    let data = server.data();
    let fixed = ["restore", "--data", data.to_str().expect("temporary paths are text")];
    run_for_output(&[&fixed, arguments].concat())
}

#[tokio::test]
async fn operator_lists_and_restores_on_the_running_server_and_after_a_kill() {
    let mut server = Server::start(&setup("  lifecycle: {onDelete: Retain, retention: 1h}\n")).await;
    let acme = server.client("acme");
    let made = acme.post("/Users", &user("ann")).await;
    let id = made.body["id"].as_str().expect("a user has an id").to_owned();
    let staff = acme.post("/Groups", &group("Staff")).await;
    let staff = staff.body["id"].as_str().expect("a group has an id").to_owned();
    assert_eq!(acme.patch(&format!("/Groups/{staff}"), &add_member(&id)).await.status, 204);
    assert_eq!(acme.delete(&format!("/Users/{id}")).await.status, 204);
    server.kill();
    let (code, _, stderr) = restore(&server, &["--list"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("no server answers for the data folder"), "{stderr}");
    server.restart().await;

    let (code, stdout, _) = restore(&server, &["--list", "--output", "json"]);
    let listed: Value = serde_json::from_str(&stdout).expect("one line of JSON");
    assert_eq!(code, Some(0));
    assert_eq!((&listed["id"], &listed["name"]), (&json!(id), &json!("ann")), "{stdout}");
    assert_eq!((&listed["tenant"], &listed["resourceType"]), (&json!("default/acme"), &json!("User")));

    // The name is taken meanwhile: nothing happens until it is free again.
    let other = acme.post("/Users", &user("Ann")).await;
    let other = other.body["id"].as_str().expect("a user has an id").to_owned();
    let (code, _, stderr) = restore(&server, &["--tenant", "acme", "--resource", &id]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains(&format!("its userName is now that of User \"{other}\"")), "{stderr}");
    assert_eq!(acme.delete(&format!("/Users/{other}")).await.status, 204);

    let (code, stdout, stderr) = restore(&server, &["--tenant", "default/acme", "--resource", &id]);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stdout, format!("restored User {id} of default/acme, in Staff\n"));
    let back = acme.get(&format!("/Users/{id}")).await;
    assert_eq!((back.status, &back.body["groups"][0]["value"]), (200, &json!(staff)));
    assert_eq!(back.body["meta"]["created"], made.body["meta"]["created"]);
    let (_, _, stderr) = restore(&server, &["--tenant", "acme", "--resource", &id]);
    assert!(stderr.contains("is not deleted"), "{stderr}");
}

#[tokio::test]
async fn taken_group_name_is_told_with_its_url_where_names_are_unique() {
    let unique = "  schemas: {core: {group: {attributes: [{name: displayName, uniqueness: server}]}}}\n";
    let server = Server::start(&setup(unique)).await;
    let acme = server.client("acme");
    let made = acme.post("/Groups", &group("Staff")).await;
    let url = made.body["meta"]["location"].as_str().expect("a group has a location");
    let again = acme.post("/Groups", &group("STAFF")).await;
    assert_eq!((again.status, &again.body["scimType"]), (409, &json!("uniqueness")));
    let detail = again.body["detail"].as_str().expect("an error says why");
    assert!(detail.ends_with(&format!("; that one is {url}")), "{detail}");
}

#[tokio::test]
async fn operator_is_told_what_is_wrong() {
    let server = Server::start(&setup("  lifecycle: {onDelete: Retain}\n")).await;
    let (code, stdout, _) = restore(&server, &["--list"]);
    assert_eq!((code, stdout.as_str()), (Some(0), "nothing can be restored\n"));
    let (code, _, stderr) = restore(&server, &["--tenant", "globex", "--resource", "x"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("no tenant \"globex\" is served here; there are default/acme"), "{stderr}");
    let (code, _, stderr) = restore(&server, &["--tenant", "acme", "--resource", "x"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("retains no deleted resource \"x\""), "{stderr}");
    assert_eq!(run_to_exit(&["restore", "--tenant", "acme"]).0, Some(2), "neither --list nor --resource");
    assert_eq!(run_to_exit(&["restore", "--resource", "x"]).0, Some(2), "whose?");
}

#[tokio::test]
async fn leaver_is_erased_when_its_time_is_up() {
    let server = Server::start(&setup("  lifecycle: {onDelete: Retain, retention: 1s}\n")).await;
    let acme = server.client("acme");
    let made = acme.post("/Users", &user("ann")).await;
    let id = made.body["id"].as_str().expect("a user has an id").to_owned();
    assert_eq!(acme.delete(&format!("/Users/{id}")).await.status, 204);
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let (_, metrics) = server.admin("/metrics").await.expect("the admin port answers");
        if metrics.contains(r#"scim_retained_purged_total{tenant="default/acme"} 1"#) {
            assert!(!metrics.contains("scim_retained_resources{"), "{metrics}");
            break;
        }
        assert!(Instant::now() < deadline, "nothing was erased:\n{metrics}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let (code, _, _) = restore(&server, &["--tenant", "acme", "--resource", &id]);
    assert_eq!(code, Some(1));
}
