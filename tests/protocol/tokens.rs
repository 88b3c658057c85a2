//! What a bearer token allows, and for how long.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use scim_operator::config::{Scope, Scopes, ServerConfig, TokenDigest};
use scim_operator::scim::dialect::Dialect;
use scim_operator::server::connection::ConnectionLimits;
use serde_json::json;

use crate::support::{BULK, Reply, RequestExt, SEARCH, Server, USER, config, patch, tenant, token};

/// `acme` with a token for each set of scopes: `reads`, `writes`, `nothing` and the usual ones.
async fn server() -> Server {
    let mut config = config();
    for (text, scopes) in [
        ("reads", [Scope::Read].into_iter().collect()),
        ("writes", [Scope::Write].into_iter().collect()),
        ("nothing", Scopes::NONE),
    ] {
        Arc::make_mut(&mut config.tenants[0]).tokens.push(TokenDigest { scopes, ..token(text) });
    }
    Server::with(&config, ConnectionLimits::default()).await
}

#[tokio::test]
async fn every_operation_needs_its_scope() {
    let server = server().await;
    let id = server.user("a").await;
    let user = |name: &str| json!({"schemas": [USER], "userName": name});
    let (new, other) = (user("b"), user("c"));
    let search = json!({"schemas": [SEARCH]});
    let change = patch(&json!([{"op": "replace", "path": "title", "value": "x"}]));
    let bulk = json!({"schemas": [BULK], "Operations": [{"method": "DELETE", "path": "/Users/none"}]});
    let one = format!("/Users/{id}");
    let operations = [
        ("GET", one.as_str(), None, Scope::Read),
        ("HEAD", &one, None, Scope::Read),
        ("GET", "/Users", None, Scope::Read),
        ("GET", "/", None, Scope::Read),
        ("POST", "/Users/.search", Some(&search), Scope::Read),
        ("POST", "/.search", Some(&search), Scope::Read),
        ("GET", "/ServiceProviderConfig", None, Scope::Read),
        ("GET", "/Schemas", None, Scope::Read),
        ("GET", "/ResourceTypes", None, Scope::Read),
        ("POST", "/Users", Some(&new), Scope::Write),
        ("PUT", &one, Some(&other), Scope::Write),
        ("PATCH", &one, Some(&change), Scope::Write),
        ("POST", "/Bulk", Some(&bulk), Scope::Write),
        ("DELETE", &one, None, Scope::Write),
    ];
    for (method, path, body, needed) in operations {
        for (credential, held) in
            [("nothing", None), ("reads", Some(Scope::Read)), ("writes", Some(Scope::Write))]
        {
            let url = format!("{}{path}", server.base("acme"));
            let mut request = server.anonymous(method, &url).bearer_auth(credential);
            if let Some(body) = body {
                request = request.scim(body);
            }
            let reply = request.reply().await;
            if held == Some(needed) {
                assert!(
                    (200..300).contains(&reply.status),
                    "{method} {path} by {credential}: {}",
                    reply.text
                );
                continue;
            }
            assert_eq!(reply.status, 403, "{method} {path} by {credential}: {}", reply.text);
            let challenge =
                format!("Bearer realm=\"scim\", error=\"insufficient_scope\", scope=\"{needed}\"");
            assert_eq!(reply.header("www-authenticate"), Some(challenge.as_str()));
            if method != "HEAD" {
                let has = held.map_or("none".to_owned(), |scope| format!("only {scope}"));
                assert_eq!(
                    reply.error(),
                    format!("403: this needs the scope {needed}, and the credential has {has}")
                );
            }
        }
    }
    assert_eq!(server.get(&one).await.status, 404, "the one that may write deleted it");
}

#[tokio::test]
async fn scope_is_asked_for_before_the_body_is_read_and_after_the_path() {
    let server = server().await;
    let url = |path: &str| format!("{}{path}", server.base("acme"));
    let broken = server.anonymous("POST", &url("/Users")).bearer_auth("reads").body("{");
    assert_eq!(broken.reply().await.status, 403);
    let nowhere = server.anonymous("POST", &url("/Nowhere")).bearer_auth("reads");
    assert_eq!(nowhere.reply().await.status, 404);
}

fn soon(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(Timestamp::now().as_millisecond() + milliseconds).unwrap()
}

async fn by(server: &Server, tenant: &str, authorization: &str) -> Reply {
    let url = format!("{}/Users", server.base(tenant));
    server.anonymous("GET", &url).header("authorization", authorization).reply().await
}

#[tokio::test]
async fn token_begins_and_ends_by_the_clock_alone() {
    let mut config = config();
    let (far, begin, end) = (soon(3_600_000), soon(400), soon(800));
    Arc::make_mut(&mut config.tenants[0]).tokens.extend([
        TokenDigest { not_before: Some(far), ..token("far") },
        TokenDigest { not_before: Some(begin), ..token("begins") },
        TokenDigest { expires_at: Some(end), ..token("ends") },
    ]);
    let server = Server::with(&config, ConnectionLimits::default()).await;
    let early = by(&server, "acme", "Bearer far").await;
    assert_eq!(early.error(), format!("401: not authenticated: the token is accepted from {far} on"));
    let accepted = async { while by(&server, "acme", "Bearer begins").await.status != 200 {} };
    tokio::time::timeout(Duration::from_secs(30), accepted).await.unwrap();
    assert!(Timestamp::now() >= begin);
    let refused = async { while by(&server, "acme", "Bearer ends").await.status == 200 {} };
    tokio::time::timeout(Duration::from_secs(30), refused).await.unwrap();
    let late = by(&server, "acme", "Bearer ends").await;
    let detail = format!("the token has expired at {end}; configure the tenant's new token");
    assert_eq!(late.error(), format!("401: not authenticated: {detail}"));
    let challenge = format!("Bearer realm=\"scim\", error=\"invalid_token\", error_description=\"{detail}\"");
    assert_eq!(late.header("www-authenticate"), Some(challenge.as_str()));
}

/// `okta` and `acme` (Strict), each with an expired token, and one that stands in two places.
fn expired() -> ServerConfig {
    let mut config = config();
    config.tenants.push(tenant("okta", Dialect::Okta).into());
    for tenant in &mut config.tenants {
        let tenant = Arc::make_mut(tenant);
        tenant.tokens.push(TokenDigest { expires_at: Some(soon(-1000)), ..token("ended") });
        tenant.tokens.push(TokenDigest { expires_at: Some(soon(-1000)), ..token("moved") });
        tenant.tokens.insert(0, token("moved"));
    }
    config
}

#[tokio::test]
async fn only_who_has_an_expired_token_learns_that_it_has_expired() {
    let server = Server::with(&expired(), ConnectionLimits::default()).await;
    let (wrong, nobody) =
        (by(&server, "acme", "Bearer wrong").await, by(&server, "nobody", "Bearer ended").await);
    assert_eq!(wrong.text, nobody.text);
    assert!(!wrong.text.contains("expired"));
    assert!(by(&server, "acme", "Bearer ended").await.text.contains("has expired at"));
    // Without `Bearer` it is a token only where the dialect takes it as one.
    assert!(by(&server, "okta", "ended").await.text.contains("has expired at"));
    let bare = by(&server, "acme", "ended").await;
    assert_eq!((bare.status, bare.text), (401, by(&server, "acme", "wrong").await.text));
}

#[tokio::test]
async fn token_in_two_places_is_good_while_one_of_them_is() {
    let server = Server::with(&expired(), ConnectionLimits::default()).await;
    assert_eq!(by(&server, "acme", "Bearer moved").await.status, 200);
    assert_eq!(by(&server, "okta", "moved").await.status, 200);
}

async fn series(server: &Server) -> Vec<String> {
    let metrics = server.anonymous("GET", &format!("http://{}/metrics", server.admin)).reply().await.text;
    metrics.lines().filter(|line| line.starts_with("scim_token_")).map(str::to_owned).collect()
}

#[tokio::test]
async fn metrics_tell_last_use_and_end_of_the_tokens_that_are_configured() {
    let mut config = config();
    Arc::make_mut(&mut config.tenants[0])
        .tokens
        .push(TokenDigest { expires_at: Some("2100-01-01T00:00:00Z".parse().unwrap()), ..token("next") });
    let server = Server::with(&config, ConnectionLimits::default()).await;
    let expiry =
        r#"scim_token_expiry_timestamp_seconds{tenant="identity/acme",token="name of next"} 4102444800"#;
    assert_eq!(series(&server).await, [expiry], "a token that was never used has no last use");
    let before = Timestamp::now().as_second();
    assert_eq!(by(&server, "acme", "Bearer next").await.status, 200);
    assert_eq!(by(&server, "acme", "Bearer wrong").await.status, 401);
    let found = series(&server).await;
    let (used, second) = found[0].rsplit_once(' ').unwrap();
    assert_eq!(
        used,
        r#"scim_token_last_used_timestamp_seconds{tenant="identity/acme",token="name of next"}"#
    );
    assert!((before..=Timestamp::now().as_second()).contains(&second.parse().unwrap()), "{second}");
    assert_eq!((found.len(), found[1].as_str()), (2, expiry));

    // A new configuration keeps what is known of the tokens that stay, whatever their name is now.
    Arc::make_mut(&mut config.tenants[0]).tokens =
        vec![TokenDigest { name: "token".to_owned(), ..token("next") }];
    server.app.apply(&config).await.unwrap();
    assert_eq!(
        series(&server).await,
        [format!(
            "scim_token_last_used_timestamp_seconds{{tenant=\"identity/acme\",token=\"token\"}} {second}"
        )]
    );
    Arc::make_mut(&mut config.tenants[0]).tokens.clear();
    server.app.apply(&config).await.unwrap();
    assert_eq!(series(&server).await, Vec::<String>::new());
}

#[tokio::test]
async fn last_use_survives_a_restart_once_it_was_tended() {
    let server = Server::start().await;
    server.get("/Users").await;
    let known = series(&server).await;
    server.app.tend_tokens().await.unwrap();
    let again = server.again().await;
    assert_eq!(series(&again).await, known);
}

#[tokio::test]
async fn admin_port_lists_the_tokens_for_people() {
    let mut config = config();
    let time = |text: &str| Some(text.parse().unwrap());
    config.tenants.truncate(1);
    Arc::make_mut(&mut config.tenants[0]).tokens = vec![
        TokenDigest { name: "token".to_owned(), ..token("main") },
        TokenDigest {
            name: "previous-token".to_owned(),
            expires_at: time("2020-01-01T00:00:00.5Z"),
            replaced_at: time("2019-12-01T00:00:00Z"),
            ..token("previous")
        },
        TokenDigest {
            name: "reporting".to_owned(),
            scopes: [Scope::Read].into_iter().collect(),
            not_before: time("2100-01-01T00:00:00Z"),
            expires_at: time("2101-01-01T00:00:00Z"),
            ..token("reader")
        },
    ];
    let server = Server::with(&config, ConnectionLimits::default()).await;
    by(&server, "acme", "Bearer main").await;
    let table = server.anonymous("GET", &format!("http://{}/tokens", server.admin)).reply().await;
    let used = series(&server).await[0].rsplit_once(' ').unwrap().1.parse().unwrap();
    let used = Timestamp::from_second(used).unwrap().to_string();
    insta::assert_snapshot!(table.text.replace(&used, "NOW"), @r"
    TENANT         TOKEN           SCOPES                ACCEPTED                   UNTIL                 LAST USED
    identity/acme  token           scim.read scim.write  yes                        -                     NOW
    identity/acme  previous-token  scim.read scim.write  no, expired                2020-01-01T00:00:00Z  never
    identity/acme  reporting       scim.read             from 2100-01-01T00:00:00Z  2101-01-01T00:00:00Z  never
    ");
}
