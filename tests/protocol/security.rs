//! Who is let in, and which URL they are told.

use scim_operator::server::connection::ConnectionLimits;
use serde_json::json;
use std::sync::Arc;

use crate::support::{RequestExt, Server, USER, config, token};

#[tokio::test]
async fn wrong_token_and_unknown_tenant_look_the_same() {
    let server = Server::start().await;
    let wrong = |tenant: &str| {
        server.anonymous("GET", &format!("{}/Users", server.base(tenant))).bearer_auth("wrong")
    };
    let (known, unknown) = (wrong("acme").reply().await, wrong("nobody").reply().await);
    assert_eq!(
        known.error(),
        "401: not authenticated: the token is not one of this tenant's; check the token and the tenant in the URL"
    );
    assert_eq!(
        known.header("www-authenticate"),
        Some(
            "Bearer realm=\"scim\", error=\"invalid_token\", error_description=\"the token is not one of this \
             tenant's; check the token and the tenant in the URL\""
        )
    );
    assert_eq!(known.header("www-authenticate"), unknown.header("www-authenticate"));
    assert_eq!(known.text, unknown.text);
    let names =
        |reply: &crate::support::Reply| reply.headers.keys().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&known), names(&unknown));

    for header in [None, Some("non-token"), Some("Bearer"), Some("Bearer "), Some("Basic YTpi")] {
        for tenant in ["acme", "nobody"] {
            let mut request = server.anonymous("GET", &format!("{}/Users", server.base(tenant)));
            if let Some(header) = header {
                request = request.header("authorization", header);
            }
            let reply = request.reply().await;
            assert_eq!(
                (reply.status, reply.header("www-authenticate")),
                (401, Some("Bearer realm=\"scim\"")),
                "{header:?}"
            );
            assert_eq!(reply.body["status"], "401");
        }
    }
}

#[tokio::test]
async fn every_token_of_a_tenant_opens_it() {
    let server = Server::start().await;
    for header in ["Bearer acme-token", "bearer acme-old", "BEARER  acme-token "] {
        let url = format!("{}/Users", server.base("acme"));
        let reply = server.anonymous("GET", &url).header("authorization", header).reply().await;
        assert_eq!(reply.status, 200, "{header}: {}", reply.text);
    }
}

#[tokio::test]
async fn new_configuration_takes_effect_with_the_next_request() {
    let server = Server::start().await;
    let id = server.user("a").await;
    let mut rotated = config();
    Arc::make_mut(&mut rotated.tenants[0]).tokens = vec![token("acme-new")];
    server.app.apply(&rotated).await.unwrap();
    assert_eq!(server.get(&format!("/Users/{id}")).await.status, 401);
    let url = format!("{}/Users/{id}", server.base("acme"));
    assert_eq!(server.anonymous("GET", &url).bearer_auth("acme-new").reply().await.status, 200);
    server.app.apply(&config()).await.unwrap();
    assert_eq!(server.get(&format!("/Users/{id}")).await.status, 200);
}

#[tokio::test]
async fn removed_tenant_keeps_its_data_unless_it_was_to_be_deleted() {
    let server = Server::start().await;
    let (acme, globex) = (
        server.user("a").await,
        server
            .request_to("globex", "POST", "/Users")
            .scim(&json!({"schemas": [USER], "userName": "b"}))
            .reply()
            .await,
    );
    let globex = globex.body["id"].as_str().unwrap().to_owned();
    let mut marked = config();
    Arc::make_mut(&mut marked.tenants[1]).purge_on_removal = true;
    server.app.apply(&marked).await.unwrap();
    server.app.settle_removals().await.unwrap();
    let mut removed = config();
    removed.tenants.clear();
    server.app.apply(&removed).await.unwrap();
    server.app.settle_removals().await.unwrap();
    assert_eq!(server.get(&format!("/Users/{acme}")).await.status, 401);

    server.app.apply(&config()).await.unwrap();
    assert_eq!(server.get(&format!("/Users/{acme}")).await.status, 200);
    assert_eq!(server.request_to("globex", "GET", &format!("/Users/{globex}")).reply().await.status, 404);
}

#[tokio::test]
async fn suspended_tenant_waits_and_strangers_do_not_learn_of_it() {
    let mut config = config();
    Arc::make_mut(&mut config.tenants[0]).suspended = true;
    let server = Server::with(&config, ConnectionLimits::default()).await;
    let reply = server.get("/Users").await;
    assert_eq!(reply.error(), "503: this tenant is suspended; try again later");
    assert_eq!(reply.header("retry-after"), Some("300"));
    let stranger =
        server.anonymous("GET", &format!("{}/Users", server.base("acme"))).bearer_auth("wrong").reply().await;
    assert_eq!(stranger.status, 401);
}

#[tokio::test]
async fn tenants_do_not_see_each_other() {
    let server = Server::start().await;
    let id = server.user("a").await;
    for method in ["GET", "DELETE"] {
        let reply = server.request_to("globex", method, &format!("/Users/{id}")).reply().await;
        assert_eq!(reply.status, 404);
    }
    let list = server.request_to("globex", "GET", "/Users").reply().await;
    assert_eq!(list.body["totalResults"], 0);
    assert_eq!(server.get(&format!("/Users/{id}")).await.status, 200);
}

#[tokio::test]
async fn client_outside_the_allowed_networks_is_forbidden() {
    let mut config = config();
    config.allowed_cidrs = vec!["203.0.113.0/24".parse().unwrap()];
    config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let server = Server::with(&config, ConnectionLimits::default()).await;
    let reply = server.get("/Users").await;
    assert_eq!(
        reply.error(),
        "403: client address 127.0.0.1 is not in the allowed networks of this endpoint"
    );
    for (client, status) in [("203.0.113.5", 200), ("198.51.100.1", 403), ("203.0.113.5, 198.51.100.1", 403)]
    {
        let reply = server.request("GET", "/Users").header("x-forwarded-for", client).reply().await;
        assert_eq!(reply.status, status, "{client}");
    }
}

#[tokio::test]
async fn location_is_the_one_the_client_asked_for() {
    let mut config = config();
    config.host = Some("scim.example.com".to_owned());
    let server = Server::with(&config, ConnectionLimits::default()).await;
    let path = format!("/Users/{}", server.user("a").await);
    let local = format!("{}{path}", server.base("acme"));
    let public = format!("https://scim.example.com/acme/scim/v2{path}");
    for (headers, expected) in [
        (vec![], local.as_str()),
        (vec![("host", "scim.example.com")], &public),
        (vec![("host", "evil.example")], &local),
        (vec![("x-forwarded-host", "evil.example"), ("x-forwarded-proto", "https")], &local),
        (vec![("forwarded", "host=evil.example;proto=https")], &local),
    ] {
        let mut request = server.request("GET", &path);
        for (name, value) in &headers {
            request = request.header(*name, *value);
        }
        let reply = request.reply().await;
        assert_eq!(reply.body["meta"]["location"], expected, "{headers:?}");
        assert_eq!(reply.header("location"), Some(expected));
    }

    config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    server.app.apply(&config).await.unwrap();
    let proxied = server
        .request("GET", &path)
        .header("x-forwarded-host", "id.example.org:8443")
        .header("x-forwarded-proto", "https");
    assert_eq!(
        proxied.reply().await.body["meta"]["location"],
        format!("https://id.example.org:8443/acme/scim/v2{path}")
    );
    let injected =
        server.request("GET", &path).header("x-forwarded-host", "a/b?c").header("x-forwarded-proto", "https");
    assert_eq!(injected.reply().await.body["meta"]["location"], local);
}
