//! An operator and the running binary: what was deleted is listed, restored, and erased in time.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{BULK, Server, Setup, add_member, group, run_for_output, run_to_exit, user};

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

#[tokio::test]
async fn external_id_that_is_unique_names_a_member_too() {
    let more = "  membership: {unknownMembers: Pending, matchExternalId: true}\n  schemas: {core: {user: {attributes: \
                [{name: externalId, uniqueness: server}]}}}\n";
    let server = Server::start(&setup(more)).await;
    let acme = server.client("acme");
    let named = |name: &str| {
        let mut body = user(name);
        body["externalId"] = name.into();
        body
    };
    let ann = acme.post("/Users", &named("ann")).await;
    let mut body = group("Staff");
    body["members"] = json!([{"value": "ann"}, {"value": "bob"}]);
    let staff = acme.post("/Groups", &body).await;
    assert_eq!(staff.body["members"].as_array().map(Vec::len), Some(1), "{}", staff.body);
    assert_eq!(staff.body["members"][0]["value"], ann.body["id"]);
    let bob = acme.post("/Users", &named("bob")).await;
    assert_eq!(bob.body["groups"][0]["display"], "Staff", "{}", bob.body);
}

#[tokio::test]
async fn purge_that_is_killed_erases_each_leaver_once() {
    const USERS: usize = 300;
    let mut server = Server::start(&setup("  lifecycle: {onDelete: Retain, retention: 1s}\n")).await;
    let acme = server.client("acme");
    let bulk = |operations: Vec<Value>| json!({"schemas": [BULK], "Operations": operations});
    let posts = (0..USERS).map(|number| {
        json!({"method": "POST", "path": "/Users", "bulkId": number.to_string(), "data": user(&format!("u{number}"))})
    });
    let made = acme.post("/Bulk", &bulk(posts.collect())).await;
    let operations = made.body["Operations"].as_array().expect("a bulk answer has operations");
    let deletes = operations.iter().map(|operation| {
        let location = operation["location"].as_str().expect("made resources have locations");
        let path = location.strip_prefix(&acme.base).expect("they are below the base URL");
        json!({"method": "DELETE", "path": path})
    });
    assert_eq!(acme.post("/Bulk", &bulk(deletes.collect())).await.status, 200);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    for round in 0..4 {
        server.kill();
        server.restart().await;
        tokio::time::sleep(Duration::from_millis(3 * round)).await;
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let (_, metrics) = server.admin("/metrics").await.expect("the admin port answers");
        if !metrics.contains("scim_retained_resources{") {
            break;
        }
        assert!(Instant::now() < deadline, "not everything was erased:\n{metrics}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let data = server.data();
    let data = data.to_str().expect("temporary paths are text");
    let (code, rows, stderr) =
        run_for_output(&["audit", "--data", data, "--operation", "purge", "--output", "json"]);
    assert_eq!(code, Some(0), "{stderr}");
    let rows: Vec<Value> =
        rows.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    let ids: HashSet<&str> = rows.iter().filter_map(|row| row["resourceId"].as_str()).collect();
    assert_eq!((rows.len(), ids.len()), (USERS, USERS));
    assert!(rows.iter().all(|row| row["actor"] == "retention"));
}
