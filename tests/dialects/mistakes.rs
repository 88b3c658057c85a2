//! What goes wrong most, provider by provider, and that `docs/identity-providers/` quotes the answer word for word.

use std::fmt::Write as _;

use scim_operator::scim::dialect::Dialect;
use serde_json::{Value, json};

use crate::fixture::Tenant;
use crate::support::{ENTERPRISE, RequestExt, USER};

/// The page of a provider, its lines joined.
fn page(name: &str) -> String {
    let path = format!("{}/docs/identity-providers/{name}.md", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What the tables under "When it goes wrong" lack: each answer begins a row.
#[derive(Default)]
struct Lacking(String);

impl Lacking {
    fn check(&mut self, name: &str, mistake: &str, answer: &str) {
        let page = page(name);
        let (_, table) = page.split_once("## When it goes wrong").unwrap_or_default();
        let row =
            if answer.contains('`') { format!("| `` {answer} `` |") } else { format!("| `{answer}` |") };
        if !table.contains(&row) {
            let told = writeln!(self.0, "{name}.md does not tell of \"{mistake}\":\n{row}");
            told.expect("a string takes all");
        }
    }

    #[track_caller]
    fn nothing(self) {
        assert!(self.0.is_empty(), "{}", self.0);
    }
}

const PAGES: [(&str, Dialect); 8] = [
    ("okta", Dialect::Okta),
    ("entra-id", Dialect::EntraID),
    ("onelogin", Dialect::OneLogin),
    ("jumpcloud", Dialect::JumpCloud),
    ("pingone", Dialect::PingOne),
    ("authentik", Dialect::Authentik),
    ("google-workspace", Dialect::GoogleWorkspace),
    ("keycloak", Dialect::Keycloak),
];

#[tokio::test]
async fn wrong_url_and_wrong_token_are_told_as_each_page_says() {
    let mut lacking = Lacking::default();
    for (name, dialect) in PAGES {
        let tenant = Tenant::of(dialect).await;
        let base = tenant.server.base("acme");
        let get = |url: String, authorization: Option<&str>| {
            let request = tenant.server.anonymous("GET", &url);
            let request = match authorization {
                Some(value) => request.header("authorization", value),
                None => request,
            };
            async move { request.reply().await.error() }
        };
        let good = Some("Bearer acme-token");
        let without_path = base.replace("/scim/v2", "");
        for (mistake, answer) in [
            ("the base URL without /scim/v2", get(format!("{without_path}/Users"), good).await),
            ("the base URL with /Users at its end", get(format!("{base}/Users/Users"), good).await),
            ("no token", get(format!("{base}/Users"), None).await),
            ("a wrong token", get(format!("{base}/Users"), Some("Bearer other-token")).await),
            ("another tenant", get(format!("{}/Users", tenant.server.base("globex")), good).await),
            ("Bearer twice", get(format!("{base}/Users"), Some("Bearer Bearer acme-token")).await),
        ] {
            lacking.check(name, mistake, &answer);
        }
    }
    lacking.nothing();
}

/// A provider's own request, sent to a tenant of another `identityProvider`.
async fn refused(dialect: Dialect, request: &str, body: Value) -> String {
    let tenant = Tenant::of(dialect).await;
    let user = tenant.user("somebody").await;
    let group = json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "g"});
    let group = tenant.made("/Groups", group).await;
    let reply = match request {
        "POST user" => tenant.send("POST", "/Users", body).await,
        "PATCH user" => tenant.patch(&format!("/Users/{user}"), body).await,
        "PATCH group" => tenant.patch(&format!("/Groups/{group}"), body).await,
        filter => tenant.list("/Users", &[("filter", filter)]).await,
    };
    assert_eq!(reply.status / 100, 4, "{dialect:?} takes {request}: {}", reply.text);
    reply.error()
}

#[tokio::test]
async fn wrong_identity_provider_is_told_as_each_page_says() {
    let (strict, generic) = (Dialect::Strict, Dialect::Generic);
    let no_schemas = || json!({"userName": "a"});
    let emails = json!([{"value": "w@x", "primary": true}, {"value": "h@x", "primary": true}]);
    let two_primary = json!({"schemas": [USER], "userName": "a", "emails": emails});
    let manager = json!([{"op": "add", "path": format!("{ENTERPRISE}:manager"), "value": "M"}]);
    let replace = json!([{"op": "Replace", "path": "active", "value": "False"}]);
    let remove = json!([{"op": "remove", "path": "members", "value": [{"value": "ID"}]}]);
    let text = json!([{"op": "replace", "path": "active", "value": "false"}]);
    let rename = json!([{"op": "replace", "value": {"id": "ID", "displayName": "New"}}]);
    let unknown = json!({"schemas": [USER], "userName": "a", "department": "D"});
    let mut lacking = Lacking::default();
    for (page, dialect, request, body) in [
        ("entra-id", strict, "PATCH user", replace),
        ("entra-id", generic, "PATCH user", manager),
        ("entra-id", generic, "externalId eq jyoung", Value::Null),
        ("entra-id", strict, "PATCH group", remove.clone()),
        ("okta", strict, "PATCH group", rename),
        ("okta", strict, "POST user", no_schemas()),
        ("onelogin", strict, "POST user", unknown.clone()),
        ("jumpcloud", strict, "POST user", unknown.clone()),
        ("google-workspace", strict, "POST user", unknown),
        ("pingone", generic, "POST user", two_primary),
        ("authentik", strict, "PATCH group", remove),
        ("keycloak", strict, "PATCH user", text),
    ] {
        let answer = refused(dialect, request, body).await;
        lacking.check(page, &format!("{dialect:?} for {request}"), &answer);
    }
    lacking.nothing();
}

/// Okta's header without `Bearer`, where the tenant is not Okta's.
#[tokio::test]
async fn bare_token_of_another_dialect_is_told_as_the_page_says() {
    let generic = Tenant::of(Dialect::Generic).await;
    let url = format!("{}/Users", generic.server.base("acme"));
    let bare = generic.server.anonymous("GET", &url).header("authorization", "acme-token").reply().await;
    let mut lacking = Lacking::default();
    lacking.check("okta", "a bare token for Generic", &bare.error());
    lacking.nothing();
}
