//! A tenant's own schemas and resource types, from its manifest to the wire.

use std::sync::Arc;

use scim_operator::config::ServerConfig;
use scim_operator::config::compile::compile;
use scim_operator::config::validate::{File, read};
use scim_operator::scim::dialect::Dialect;
use scim_operator::server::connection::ConnectionLimits;
use serde_json::{Value, json};

use crate::support::{BULK, RequestExt, SEARCH, Server, USER, config, patch, tenant};

const HR: &str = "urn:example:scim:hr:2.0:User";
const ROLE: &str = "urn:example:scim:2.0:Role";

/// The schemas of a manifest's `spec.schemas` and `spec.resourceTypes`, compiled as `serve` does it.
fn served(spec: &str) -> ServerConfig {
    let text = format!(
        "apiVersion: scim-operator.io/v1alpha1\nkind: ScimEndpoint\nmetadata: {{name: main, namespace: identity}}\nspec: {{}}\n\
         ---\napiVersion: scim-operator.io/v1alpha1\nkind: ScimTenant\nmetadata: {{name: acme, namespace: identity}}\n\
         spec:\n  endpointRef: {{name: main}}\n{spec}\n\
         ---\napiVersion: v1\nkind: Secret\nmetadata: {{name: acme-scim-token, namespace: identity}}\n\
         stringData: {{token: a-token-of-acme-123}}\n"
    );
    let (objects, findings) = read(&[File { name: "m.yaml".into(), text }]);
    assert_eq!(findings, []);
    let (compiled, findings) =
        compile(&objects.endpoints[0], &objects.tenants, &objects.secrets, &objects.namespaces).unwrap();
    assert_eq!(findings, []);
    let compiled: ServerConfig = serde_json::from_value(serde_json::to_value(compiled).unwrap()).unwrap();
    let mut config = config();
    config.tenants[0] = tenant("acme", Dialect::Strict).into();
    Arc::make_mut(&mut config.tenants[0]).schemas = compiled.tenants[0].schemas.clone();
    config
}

async fn serve(spec: &str) -> Server {
    Server::with(&served(spec), ConnectionLimits::default()).await
}

const SPEC: &str = "
  schemas:
    core:
      user:
        required: [name.familyName]
        attributes:
          - {name: externalId, uniqueness: server}
          - {name: userType, canonicalValues: [Employee, Contractor]}
    extensions:
      - id: urn:example:scim:hr:2.0:User
        name: HR
        resourceTypes: [User]
        attributes:
          - {name: badge, uniqueness: server}
          - {name: grade, required: true, canonicalValues: [junior, senior]}
          - {name: hired, type: dateTime, mutability: immutable}
          - {name: level, type: integer}
          - {name: note, returned: request}
          - {name: secret, returned: never}
          - {name: skills, multiValued: true}
          - name: desks
            type: complex
            multiValued: true
            subAttributes:
              - {name: value, required: true}
              - {name: floor, type: integer}
  resourceTypes:
    - name: Role
      endpoint: /Roles
      description: What somebody may do
      schema:
        id: urn:example:scim:2.0:Role
        attributes:
          - {name: displayName, required: true}
          - {name: code, required: true, uniqueness: server, caseExact: true}
          - {name: owner, type: reference, referenceTypes: [User]}
          - {name: rank, type: integer}
";

fn person(name: &str, hr: &Value) -> Value {
    json!({"schemas": [USER, HR], "userName": name, "name": {"familyName": "F"}, HR: hr})
}

fn role(code: &str, rank: i64) -> Value {
    json!({"schemas": [ROLE], "displayName": format!("Role {code}"), "code": code, "rank": rank})
}

#[tokio::test]
async fn schemas_and_resource_types_are_discovered() {
    let server = serve(SPEC).await;
    let schema = server.get(&format!("/Schemas/{HR}")).await;
    let attributes = schema.body["attributes"].as_array().unwrap();
    assert_eq!(attributes.len(), 8);
    let badge = json!({"name": "badge", "type": "string", "multiValued": false, "description": "", "required": false,
        "caseExact": false, "mutability": "readWrite", "returned": "default", "uniqueness": "server"});
    assert_eq!(attributes[0], badge);
    let kinds = server.get("/ResourceTypes").await;
    assert_eq!(kinds.body["totalResults"], 3);
    let role = server.get("/ResourceTypes/Role").await;
    assert_eq!((&role.body["endpoint"], &role.body["schema"]), (&json!("/Roles"), &json!(ROLE)));
    let user = server.get("/ResourceTypes/User").await;
    assert_eq!(user.body["schemaExtensions"][1], json!({"schema": HR, "required": false}));
    let core = server.get(&format!("/Schemas/{USER}")).await.body;
    let name = core["attributes"].as_array().unwrap().iter().find(|a| a["name"] == "name").unwrap().clone();
    let family = name["subAttributes"].as_array().unwrap().iter().find(|a| a["name"] == "familyName");
    assert_eq!(family.unwrap()["required"], true);
    // Another tenant has none of it.
    let other = server.request_to("globex", "GET", "/Roles").reply().await;
    assert_eq!(other.status, 404);
}

#[tokio::test]
async fn extension_is_enforced_on_every_write() {
    let server = serve(SPEC).await;
    let error = |body: Value| {
        let server = &server;
        async move { server.send("POST", "/Users", &body).await.error() }
    };
    for (hr, expected) in [
        (json!({"badge": "b"}), format!("400 invalidValue: \"{HR}:grade\" is required")),
        (
            json!({"grade": "Boss"}),
            format!("400 invalidValue: \"{HR}:grade\" must be one of \"junior\", \"senior\""),
        ),
        (
            json!({"grade": "junior", "level": "1"}),
            format!("400 invalidValue: \"{HR}:level\" must be an integer, not a string"),
        ),
        (
            json!({"grade": "junior", "hired": "soon"}),
            format!("400 invalidValue: \"{HR}:hired\" must be a date and time as in 2008-01-23T04:56:22Z"),
        ),
        (
            json!({"grade": "junior", "desks": [{"floor": 1}]}),
            format!("400 invalidValue: \"{HR}:desks[0].value\" is required"),
        ),
        (
            json!({"grade": "junior", "bagde": "b"}),
            format!("400 invalidSyntax: \"{HR}:bagde\" is not an attribute of User; did you mean \"badge\"?"),
        ),
    ] {
        assert_eq!(error(person("ann", &hr)).await, expected);
    }
    let mut typed = person("ann", &json!({"grade": "junior"}));
    typed["userType"] = "Robot".into();
    assert_eq!(
        error(typed).await,
        "400 invalidValue: \"userType\" must be one of \"Employee\", \"Contractor\""
    );
    let nameless = json!({"schemas": [USER], "userName": "ann", "name": {"givenName": "A"}});
    assert_eq!(error(nameless).await, "400 invalidValue: \"name.familyName\" is required");

    // Case does not matter where the schema does not say so.
    let made = server
        .send(
            "POST",
            "/Users",
            &person("ann", &json!({"GRADE": "Junior", "hired": "2020-01-01T00:00:00Z", "level": 3})),
        )
        .await;
    assert_eq!(made.status, 201, "{}", made.text);
    let path = format!("/Users/{}", made.body["id"].as_str().unwrap());
    let replace = |attribute: &str, value: Value| {
        patch(&json!([{"op": "replace", "path": format!("{HR}:{attribute}"), "value": value}]))
    };
    let reply = server.send("PATCH", &path, &replace("grade", json!("Boss"))).await;
    assert!(reply.error().contains("must be one of"), "{}", reply.text);
    let reply = server.send("PATCH", &path, &replace("hired", json!("2021-01-01T00:00:00Z"))).await;
    assert!(reply.error().starts_with("400 mutability"), "{}", reply.text);
    let reply = server.send("PATCH", &path, &replace("grade", json!("senior"))).await;
    assert_eq!((reply.status, &reply.body[HR]["grade"]), (200, &json!("senior")));
    let reply = server.send("PUT", &path, &person("ann", &json!({"level": 4}))).await;
    assert!(reply.error().contains("grade\" is required"), "{}", reply.text);
    let reply =
        server.send("PATCH", &path, &patch(&json!([{"op": "remove", "path": "name.familyName"}]))).await;
    assert!(reply.error().starts_with("400 mutability"), "{}", reply.text);
}

#[tokio::test]
async fn extension_is_filtered_sorted_and_projected() {
    let server = serve(SPEC).await;
    for (name, level) in [("ann", 10), ("bob", 9), ("cara", 100)] {
        let hr = json!({"grade": "junior", "level": level, "badge": format!("B-{name}"), "note": "n", "secret": "s",
            "skills": ["rust", name], "desks": [{"value": name, "floor": level}]});
        let made = server.send("POST", "/Users", &person(name, &hr)).await;
        assert_eq!(made.status, 201, "{}", made.text);
        assert_eq!((&made.body[HR]["note"], &made.body[HR]["secret"]), (&Value::Null, &Value::Null));
    }
    let names = |query: String| {
        let server = &server;
        async move {
            let body = json!({"schemas": [SEARCH], "filter": query, "sortBy": format!("{HR}:level")});
            let found = server.send("POST", "/Users/.search", &body).await;
            assert_eq!(found.status, 200, "{}", found.text);
            let found = found.body["Resources"].as_array().cloned().unwrap_or_default();
            found
                .iter()
                .map(|user| user["userName"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
                .join(" ")
        }
    };
    for (filter, expected) in [
        (format!("{HR}:badge eq \"b-ANN\""), "ann"),
        (format!("{HR}:level gt 9"), "ann cara"),
        (format!("{HR}:level eq 9"), "bob"),
        (format!("{HR}:skills eq \"rust\""), "bob ann cara"),
        (format!("{HR}:desks[value eq \"bob\" and floor lt 10]"), "bob"),
        (format!("{HR}:desks.floor eq 100"), "cara"),
        (format!("{HR} pr"), "bob ann cara"),
        (format!("not ({HR}:badge sw \"b-\")"), ""),
    ] {
        assert_eq!(names(filter.clone()).await, expected, "{filter}");
    }
    let hidden = server.get(&format!("/Users?filter={HR}:secret%20pr")).await;
    assert!(hidden.error().starts_with("400 invalidFilter"), "{}", hidden.text);
    let asked = server.get(&format!("/Users?count=1&attributes={HR}:note,{HR}:secret,{HR}:level")).await;
    assert_eq!(asked.body["Resources"][0][HR], json!({"level": 10, "note": "n"}));
    let without = server.get(&format!("/Users?count=1&excludedAttributes={HR}:skills,{HR}:desks")).await;
    assert_eq!(without.body["Resources"][0][HR], json!({"badge": "B-ann", "grade": "junior", "level": 10}));
}

#[tokio::test]
async fn unique_values_are_409_in_extensions_core_and_types() {
    let server = serve(SPEC).await;
    let hr = json!({"grade": "junior", "badge": "X1"});
    let mut ann = person("ann", &hr);
    ann["externalId"] = "e1".into();
    assert_eq!(server.send("POST", "/Users", &ann).await.status, 201);
    let again =
        server.send("POST", "/Users", &person("bob", &json!({"grade": "junior", "badge": "x1"}))).await;
    assert!(
        again.error().starts_with(&format!("409 uniqueness: {HR}.badge: the value is taken")),
        "{}",
        again.text
    );
    let mut bob = person("bob", &json!({"grade": "junior"}));
    bob["externalId"] = "e1".into();
    let again = server.send("POST", "/Users", &bob).await;
    assert!(again.error().starts_with("409 uniqueness: externalId:"), "{}", again.text);
    assert_eq!(server.send("POST", "/Roles", &role("a", 1)).await.status, 201);
    assert_eq!(server.send("POST", "/Roles", &role("A", 1)).await.status, 201, "case matters here");
    assert_eq!(server.send("POST", "/Roles", &role("a", 1)).await.status, 409);
}

#[tokio::test]
async fn resource_type_has_the_whole_protocol() {
    let server = serve(SPEC).await;
    let made = server.send("POST", "/Roles", &role("r1", 7)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(made.body["meta"]["resourceType"], "Role");
    let id = made.body["id"].as_str().unwrap().to_owned();
    let path = format!("/Roles/{id}");
    assert_eq!(made.header("location").unwrap(), format!("{}{path}", server.base("acme")));
    let etag = made.header("etag").unwrap().to_owned();
    let unchanged = server.request("GET", &path).header("if-none-match", &etag).reply().await;
    assert_eq!(unchanged.status, 304);
    let stale = server.request("PUT", &path).header("if-match", "W/\"9\"").scim(&role("r1", 8)).reply().await;
    assert_eq!(stale.status, 412);
    let put = server.send("PUT", &path, &role("r1", 8)).await;
    assert_eq!((put.status, &put.body["rank"]), (200, &json!(8)));
    let patched = server
        .send(
            "PATCH",
            &path,
            &patch(
                &json!([{"op": "add", "path": "externalId", "value": "x"}, {"op": "remove", "path": "rank"}]),
            ),
        )
        .await;
    assert_eq!(
        (patched.status, &patched.body["externalId"], &patched.body["rank"]),
        (200, &json!("x"), &Value::Null)
    );
    for number in 2..6 {
        assert_eq!(server.send("POST", "/Roles", &role(&format!("r{number}"), number)).await.status, 201);
    }
    let page =
        server.get("/Roles?sortBy=rank&sortOrder=descending&startIndex=2&count=2&attributes=code").await;
    let codes: Vec<_> =
        page.body["Resources"].as_array().unwrap().iter().map(|role| role["code"].clone()).collect();
    // A missing value is first when descending.
    assert_eq!((codes, &page.body["totalResults"]), (vec![json!("r5"), json!("r4")], &json!(5)));
    let cursor = server.get("/Roles?cursor&count=3").await;
    let next = cursor.body["nextCursor"].as_str().unwrap();
    assert_eq!(server.get(&format!("/Roles?count=3&cursor={next}")).await.body["itemsPerPage"], 2);
    let found = server.get("/?filter=code%20eq%20%22r3%22").await;
    assert_eq!((&found.body["totalResults"], &found.body["Resources"][0]["code"]), (&json!(1), &json!("r3")));

    let bulk = json!({"schemas": [BULK], "Operations": [
        {"method": "POST", "path": "/Users", "bulkId": "u", "data": person("boss", &json!({"grade": "senior"}))},
        {"method": "POST", "path": "/Roles", "bulkId": "r", "data": {"schemas": [ROLE], "displayName": "d", "code": "b", "owner": "bulkId:u"}},
        {"method": "DELETE", "path": path},
    ]});
    let done = server.send("POST", "/Bulk", &bulk).await;
    let statuses: Vec<_> =
        done.body["Operations"].as_array().unwrap().iter().map(|o| o["status"].clone()).collect();
    assert_eq!(statuses, ["201", "201", "204"], "{}", done.text);
    assert_eq!(server.get(&path).await.status, 404);
    let log = server.log();
    assert!(log.iter().any(|line| line["operation"] == "create" && line["resource_type"] == "Role"));
}

#[tokio::test]
async fn removed_schemas_are_not_shown_and_come_back_whole() {
    let server = serve(SPEC).await;
    let hr = json!({"badge": "B1", "grade": "junior", "level": 3, "skills": ["a"]});
    let made = server.send("POST", "/Users", &person("ann", &hr)).await;
    let path = format!("/Users/{}", made.body["id"].as_str().unwrap());
    let role = server.send("POST", "/Roles", &role("r1", 7)).await;
    let role = format!("/Roles/{}", role.body["id"].as_str().unwrap());

    server.app.apply(&config()).await.unwrap();
    server.app.settle_removals().await.unwrap();
    for query in [
        path.clone(),
        format!("{path}?attributes=userName,schemas"),
        format!("{path}?excludedAttributes=title"),
    ] {
        let shown = server.get(&query).await;
        assert_eq!(shown.status, 200);
        assert!(!shown.text.contains("example:scim:hr") && !shown.text.contains("B1"), "{}", shown.text);
    }
    let listed = server.get("/Users").await;
    assert!(!listed.text.contains("B1"), "{}", listed.text);
    assert_eq!(server.get(&role).await.status, 404);
    let body = json!({"schemas": [USER], "userName": "ann", "title": "t"});
    let put = server.send("PUT", &path, &body).await;
    assert!(put.status == 200 && !put.text.contains("B1"), "{}", put.text);
    // New resources are shown as ever.
    server.user("new").await;

    server.app.apply(&served(SPEC)).await.unwrap();
    let shown = server.get(&path).await;
    assert_eq!((&shown.body[HR], &shown.body["title"]), (&hr, &json!("t")), "{}", shown.text);
    assert_eq!(shown.body["schemas"], json!([USER, HR]));
    assert_eq!(server.get(&role).await.body["code"], "r1");
}

#[tokio::test]
async fn duplicates_of_a_newly_unique_attribute_are_counted_and_stay() {
    let shared = SPEC.replace("{name: badge, uniqueness: server}", "{name: badge}");
    let server = serve(&shared).await;
    for name in ["ann", "bob", "cara"] {
        let made =
            server.send("POST", "/Users", &person(name, &json!({"grade": "junior", "badge": "B1"}))).await;
        assert_eq!(made.status, 201);
    }
    server.app.apply(&served(SPEC)).await.unwrap();
    let metrics = server.app.metrics().encode().unwrap();
    let line = format!(
        "scim_schema_duplicates{{tenant=\"identity/acme\",resource_type=\"User\",attribute=\"{HR}.badge\"}} 2"
    );
    assert!(metrics.contains(&line), "{metrics}");
    assert_eq!(
        server.get(&format!("/Users?filter={HR}:badge%20eq%20%22b1%22")).await.body["totalResults"],
        3
    );
    let more =
        server.send("POST", "/Users", &person("dan", &json!({"grade": "junior", "badge": "b1"}))).await;
    assert_eq!(more.status, 409);
}

#[tokio::test]
async fn tenants_with_one_set_of_schemas_share_its_registry() {
    use scim_operator::server::authenticate::usage::Usage;
    use scim_operator::server::serving::{Registries, Serving};
    let mut config = served(SPEC);
    let mut third = tenant("third", Dialect::Generic);
    third.schemas = config.tenants[0].schemas.clone();
    config.tenants.push(third.into());
    let serving = Serving::compile(&config, &mut Registries::default(), &Usage::default(), None);
    let registry = |path| &serving.tenant(path).unwrap().registry;
    assert!(Arc::ptr_eq(registry("acme"), registry("third")));
    assert!(!Arc::ptr_eq(registry("acme"), registry("globex")));
}
