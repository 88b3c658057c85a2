//! Tenants are walls, and a bulk request is the same as its calls one by one.
//!
//! Both are properties over random directories; `SEED` repeats a run, `PROPTEST_CASES` asks for more.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::{self, Answer, BULK, Client, GROUP, Random, Server, Setup, USER};

fn cases(default: usize) -> usize {
    std::env::var("PROPTEST_CASES").map_or(default, |n| n.parse::<usize>().expect("a number").min(500))
}

/// A random directory; the names come from a small set, so that two tenants hold the same ones.
async fn populate(client: &Client, random: &mut Random) -> (Vec<String>, Vec<String>) {
    let (mut users, mut groups) = (Vec::new(), Vec::new());
    for n in 0..3 + random.below(5) {
        let mut user = support::user(&format!("user-{n}"));
        user["externalId"] = json!(format!("ext-{n}"));
        user["emails"] = json!([{"value": format!("user-{n}@example.com")}]);
        users.push(client.create("/Users", &user).await);
    }
    for n in 0..=random.below(3) {
        let mut group = support::group(&format!("group-{n}"));
        let members: Vec<_> =
            users.iter().filter(|_| random.below(2) == 0).map(|id| json!({"value": id})).collect();
        group["members"] = json!(members);
        groups.push(client.create("/Groups", &group).await);
    }
    (users, groups)
}

fn ids(listing: &Answer) -> BTreeSet<String> {
    let resources = listing.body["Resources"].as_array().into_iter().flatten();
    resources.map(|resource| resource["id"].as_str().expect("required").to_owned()).collect()
}

#[tokio::test]
async fn tenants_never_see_each_other() {
    let mut random = Random::seeded("tenants");
    for _ in 0..cases(6) {
        let server =
            Server::start(&Setup::default().tenant("ours", "Strict").tenant("theirs", "Generic")).await;
        let (ours, theirs) = (server.client("ours"), server.client("theirs"));
        let (our_users, our_groups) = populate(&ours, &mut random).await;
        let (their_users, their_groups) = populate(&theirs, &mut random).await;
        let our_ids: BTreeSet<String> = our_users.iter().chain(&our_groups).cloned().collect();

        // The token of one tenant on the other's path.
        let crossed = theirs.with_token(ours.token());
        assert_eq!(crossed.get("/Users").await.status, 401);

        // Ids, with the right ETag too.
        let by_type = [("Users", &their_users, &our_users), ("Groups", &their_groups, &our_groups)];
        for (path, their_ids, _) in by_type {
            for id in their_ids {
                let at = format!("/{path}/{id}");
                let version = theirs.get(&at).await.expect(200).version();
                for method in ["GET", "DELETE"] {
                    let request = ours.request(method, &at).header("If-Match", &version);
                    assert_eq!(request.send().await.status, 404, "{method} {at}");
                }
                let fresh = ours.request("GET", &at).header("If-None-Match", &version).send().await;
                assert_eq!(fresh.status, 404, "an ETag must not answer for an absent resource");
                let body = if path == "Users" { support::user("x") } else { support::group("x") };
                ours.put(&at, &body).await.expect(404);
                ours.patch(&at, &support::patch(json!([{"op": "remove", "path": "externalId"}])))
                    .await
                    .expect(404);
            }
        }

        // Filters: by what is the same in both, and by the other's ids.
        let id = random.pick(&their_users).clone();
        for filter in [
            "userName sw \"user\"".to_owned(),
            "displayName sw \"group\" or externalId pr".to_owned(),
            "meta.created pr".to_owned(),
            "not (id eq \"x\")".to_owned(),
            format!("id eq \"{id}\""),
            format!("members[value eq \"{id}\"]"),
            format!("groups.value eq \"{}\"", random.pick(&their_groups)),
        ] {
            let search = json!({
                "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],
                "filter": filter,
            });
            let found = ours.post("/.search", &search).await;
            if found.status == 200 {
                assert!(ids(&found).is_subset(&our_ids), "{filter}: {:#}", found.body);
                assert_eq!(found.body["totalResults"], ids(&found).len(), "{filter}");
            } else {
                assert_eq!(found.body["scimType"], "invalidFilter", "{filter}: {:#}", found.body);
            }
        }

        // References: members that only the other has.
        let foreign = json!({"schemas": [GROUP], "displayName": "foreign", "members": [{"value": id}]});
        let foreign = ours.post("/Groups", &foreign).await;
        assert!(foreign.status == 400 || foreign.body["members"].is_null(), "{:#}", foreign.body);
        let into = format!("/Groups/{}", random.pick(&our_groups));
        ours.patch(&into, &support::add_member(&id)).await;
        let seen = theirs.get(&format!("/Users/{id}")).await.expect(200).body["groups"].clone();
        for group in seen.as_array().into_iter().flatten() {
            assert!(their_groups.contains(&group["value"].as_str().expect("a value").to_owned()), "{seen:#}");
        }

        // Cursors.
        let page = theirs.get("/Users?cursor&count=1").await.expect(200);
        let cursor = page.body["nextCursor"].as_str().expect("there are more").to_owned();
        theirs
            .request("GET", "/Users")
            .query(&[("cursor", &cursor), ("count", "1")])
            .send()
            .await
            .expect(200);
        let stolen = ours.request("GET", "/Users").query(&[("cursor", &cursor), ("count", "1")]).send().await;
        assert_eq!(stolen.expect(400).body["scimType"], "invalidCursor");

        // Bulk: operations on the other's resources.
        let operations = json!([
            {"method": "DELETE", "path": format!("/Users/{id}")},
            {"method": "PUT", "path": format!("/Users/{id}"), "data": support::user("taken")},
            {"method": "PATCH", "path": format!("/Groups/{}", their_groups[0]), "data": support::add_member(&our_users[0])},
        ]);
        let bulk =
            ours.post("/Bulk", &json!({"schemas": [BULK], "Operations": operations})).await.expect(200);
        for operation in bulk.body["Operations"].as_array().expect("a bulk answer") {
            assert_eq!(operation["status"], "404", "{operation:#}");
        }
        assert_eq!(ids(&theirs.get("/Users").await), their_users.iter().cloned().collect());
        assert_eq!(ids(&ours.get("/Users").await), our_users.iter().cloned().collect());
    }
}

/// One random operation. Names are drawn from few, so that some collide; targets are earlier creations, by
/// their index among the operations, or nothing that exists.
#[derive(Debug, Clone)]
enum Step {
    CreateUser { name: usize },
    CreateGroup { name: usize, members: Vec<usize> },
    PatchUser { target: Option<usize>, change: Value },
    PutUser { target: Option<usize>, name: usize },
    AddMember { target: Option<usize>, member: usize },
    Delete { target: Option<usize> },
}

fn steps(random: &mut Random) -> Vec<Step> {
    let (mut users, mut groups) = (Vec::new(), Vec::new());
    let mut steps = Vec::new();
    for n in 0..8 + random.below(20) {
        let target = |random: &mut Random, from: &[usize]| {
            if from.is_empty() || random.below(8) == 0 { None } else { Some(*random.pick(from)) }
        };
        steps.push(match random.below(10) {
            0..=2 => {
                users.push(n);
                Step::CreateUser { name: random.below(12) }
            }
            3 | 4 => {
                groups.push(n);
                Step::CreateGroup {
                    name: random.below(6),
                    members: users.iter().copied().filter(|_| random.below(3) == 0).collect(),
                }
            }
            5 | 6 => {
                let changes = [
                    json!([{"op": "replace", "path": "title", "value": "Guide"}]),
                    json!([{"op": "add", "value": {"displayName": "D", "nickName": "N"}}]),
                    json!([{"op": "remove", "path": "title"}]),
                    json!([{"op": "replace", "path": "userName", "value": "user-3"}]),
                    json!([{"op": "replace", "path": "meta.created", "value": "2011-05-13T04:42:34Z"}]),
                    json!([{"op": "replace", "path": "emails[type eq \"work\"].value", "value": "x"}]),
                ];
                Step::PatchUser { target: target(random, &users), change: random.pick(&changes).clone() }
            }
            7 => Step::PutUser { target: target(random, &users), name: random.below(12) },
            8 if !users.is_empty() => {
                Step::AddMember { target: target(random, &groups), member: *random.pick(&users) }
            }
            _ => {
                let all: Vec<_> = users.iter().chain(&groups).copied().collect();
                Step::Delete { target: target(random, &all) }
            }
        });
    }
    steps
}

/// Method, path and body of a step; `id` gives the id of an earlier creation, or a reference to it.
fn call(
    step: &Step,
    is_user: impl Fn(usize) -> bool,
    id: impl Fn(usize) -> String,
) -> (&'static str, String, Value) {
    let name = |name: usize| format!("user-{name}");
    let at =
        |kind: &str, target: Option<usize>| format!("/{kind}/{}", target.map_or("nothing".to_owned(), &id));
    match step {
        Step::CreateUser { name: n } => ("POST", "/Users".to_owned(), support::user(&name(*n))),
        Step::CreateGroup { name, members } => {
            let members: Vec<_> = members.iter().map(|member| json!({"value": id(*member)})).collect();
            let group =
                json!({"schemas": [GROUP], "displayName": format!("group-{name}"), "members": members});
            ("POST", "/Groups".to_owned(), group)
        }
        Step::PatchUser { target, change } => ("PATCH", at("Users", *target), support::patch(change.clone())),
        Step::PutUser { target, name: n } => {
            let user = json!({"schemas": [USER], "userName": name(*n), "title": "Replaced"});
            ("PUT", at("Users", *target), user)
        }
        Step::AddMember { target, member } => {
            ("PATCH", at("Groups", *target), support::add_member(&id(*member)))
        }
        Step::Delete { target } => {
            let kind = if target.is_none_or(&is_user) { "Users" } else { "Groups" };
            ("DELETE", at(kind, *target), Value::Null)
        }
    }
}

/// A tenant's resources without what differs between two runs: ids become names, times and versions go.
async fn contents(client: &Client) -> Vec<Value> {
    let mut users = client.all("/Users").await;
    let groups = client.all("/Groups").await;
    users.extend(groups);
    let names: BTreeMap<String, String> = users
        .iter()
        .map(|resource| {
            let name = resource["userName"].as_str().or(resource["displayName"].as_str()).expect("named");
            (resource["id"].as_str().expect("required").to_owned(), name.to_owned())
        })
        .collect();
    for resource in &mut users {
        let object = resource.as_object_mut().expect("a resource");
        object.remove("meta");
        object.remove("id");
        for list in ["members", "groups"] {
            let Some(references) = object.get_mut(list).and_then(Value::as_array_mut) else { continue };
            for reference in references.iter_mut() {
                let value = reference["value"].as_str().expect("a value");
                *reference = json!(names.get(value).unwrap_or_else(|| panic!("{value} is nobody")));
            }
            references.sort_by_key(ToString::to_string);
        }
    }
    users.sort_by_key(ToString::to_string);
    users
}

#[tokio::test]
async fn bulk_equals_the_same_calls_one_by_one() {
    let mut random = Random::seeded("bulk");
    for case in 0..cases(12) {
        let setup = Setup::default().tenant("bulk", "Strict").tenant("single", "Strict");
        let server = Server::start(&setup).await;
        let (bulk, single) = (server.client("bulk"), server.client("single"));
        let steps = steps(&mut random);
        let is_user = |n: usize| matches!(steps[n], Step::CreateUser { .. });

        // One by one first: what is created, and what fails, is known from it.
        let mut created: BTreeMap<usize, String> = BTreeMap::new();
        let mut one_by_one = Vec::new();
        for (n, step) in steps.iter().enumerate() {
            let id = |target: usize| created.get(&target).cloned().unwrap_or_else(|| "refused".to_owned());
            let (method, path, body) = call(step, is_user, id);
            let request = single.request(method, &path);
            let answer = if body.is_null() { request.send().await } else { request.body(&body).send().await };
            if answer.status == 201 {
                created.insert(n, answer.id());
            }
            one_by_one.push(answer);
        }

        // The same in bulk requests: a new one whenever a path needs the id of something just created, because
        // a bulkId stands in `data` only.
        let mut locations: BTreeMap<usize, String> = BTreeMap::new();
        let mut answers: Vec<Value> = Vec::new();
        let mut batch: Vec<Value> = Vec::new();
        let mut first = 0;
        for (n, step) in steps.iter().enumerate() {
            let target = match step {
                Step::PatchUser { target, .. }
                | Step::PutUser { target, .. }
                | Step::AddMember { target, .. }
                | Step::Delete { target } => *target,
                Step::CreateUser { .. } | Step::CreateGroup { .. } => None,
            };
            if target.is_some_and(|target| target >= first && created.contains_key(&target)) {
                flush(&bulk, &mut batch, first, &mut answers, &mut locations).await;
                first = n;
            }
            let id = |target: usize| match locations.get(&target) {
                Some(id) => id.clone(),
                None if created.contains_key(&target) => format!("bulkId:{target}"),
                None => "refused".to_owned(),
            };
            let (method, path, body) = call(step, is_user, id);
            let mut operation = json!({"method": method, "path": path});
            if method == "POST" {
                operation["bulkId"] = json!(n.to_string());
            }
            if !body.is_null() {
                operation["data"] = body;
            }
            batch.push(operation);
        }
        flush(&bulk, &mut batch, first, &mut answers, &mut locations).await;

        for (n, (single, bulk)) in one_by_one.iter().zip(&answers).enumerate() {
            let step = &steps[n];
            assert_eq!(
                bulk["status"],
                single.status.to_string(),
                "case {case}: {step:?}\n{bulk:#}\n{:#}",
                single.body
            );
            if single.status >= 400 {
                assert_eq!(
                    bulk["response"]["scimType"], single.body["scimType"],
                    "case {case}: {step:?}\n{bulk:#}"
                );
            }
        }
        assert_eq!(contents(&bulk).await, contents(&single).await, "case {case}: {steps:#?}");
    }
}

async fn flush(
    client: &Client,
    batch: &mut Vec<Value>,
    first: usize,
    answers: &mut Vec<Value>,
    locations: &mut BTreeMap<usize, String>,
) {
    if batch.is_empty() {
        return;
    }
    let request = json!({"schemas": [BULK], "Operations": std::mem::take(batch)});
    let answer = client.post("/Bulk", &request).await.expect(200);
    let operations = answer.body["Operations"].as_array().expect("a bulk answer").clone();
    for (offset, operation) in operations.iter().enumerate() {
        if operation["status"] == "201" {
            let id = operation["location"].as_str().and_then(|location| location.rsplit('/').next());
            locations.insert(first + offset, id.expect("a location ends in the id").to_owned());
        }
    }
    answers.extend(operations);
}
