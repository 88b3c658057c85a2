//! Access tokens that the endpoint gives to a tenant's own clients.

use super::*;
use std::sync::Arc;

const SECRET: &str = "a+secret/with=odd%characters";

fn client() -> ClientConfig {
    ClientConfig {
        name: "entra".to_owned(),
        client_id: "entra-gallery".to_owned(),
        secret_sha256: Some(token(SECRET).sha256),
        public_keys: Vec::new(),
        scopes: Scopes::ALL,
    }
}

fn giving(clients: Vec<ClientConfig>) -> ServerConfig {
    with_oauth(OAuth2Config { issuers: Vec::new(), clients, access_token_seconds: 900 })
}

async fn ask(server: &Server, tenant: &str, authorization: Option<&str>, form: &[(&str, &str)]) -> Reply {
    let encode = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let body: Vec<String> = form.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    let url = format!("http://{}/{tenant}/oauth2/token", server.address);
    let mut request = server.anonymous("POST", &url).body(body.join("&"));
    request = request.header("content-type", "application/x-www-form-urlencoded");
    if let Some(authorization) = authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    request.reply().await
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

const GRANT: (&str, &str) = ("grant_type", "client_credentials");

#[tokio::test]
async fn client_gets_a_token_with_basic_and_with_post() {
    let server = serve(&giving(vec![client()])).await;
    let encoded = "a%2Bsecret%2Fwith%3Dodd%25characters";
    let form = [GRANT, ("client_id", "entra-gallery"), ("client_secret", SECRET)];
    for reply in [
        ask(&server, "acme", Some(&basic("entra-gallery", encoded)), &[GRANT]).await,
        ask(&server, "acme", Some(&basic("entra-gallery", SECRET)), &[GRANT]).await,
        ask(&server, "acme", None, &form).await,
    ] {
        assert_eq!(reply.status, 200, "{}", reply.text);
        assert_eq!(
            (reply.header("cache-control"), reply.header("pragma")),
            (Some("no-store"), Some("no-cache"))
        );
        assert_eq!(reply.body["token_type"], "Bearer");
        assert_eq!(reply.body["expires_in"], 900);
        assert_eq!(reply.body["scope"], "scim.read scim.write");
        let token = reply.body["access_token"].as_str().unwrap();
        assert_eq!(users(&server, token).await.status, 200);
        assert_eq!(users_of(&server, "globex", token).await.error(), NOT_ITS_TOKEN, "a tenant is a wall");
    }
    let log = server.log();
    assert!(log.iter().any(|line| line["operation"] == "token" && line["credential"] == "entra"), "{log:?}");
    assert!(!format!("{log:?}").contains("sco_"), "no token is in the log");
    let metrics = server.app.metrics().encode().unwrap();
    assert!(
        metrics.contains("scim_oauth_token_requests_total{tenant=\"identity/acme\",outcome=\"issued\"} 3"),
        "{metrics}"
    );
}

#[tokio::test]
async fn unknown_tenant_unknown_client_and_wrong_secret_get_one_answer() {
    let server = serve(&giving(vec![client()])).await;
    let wrong = ask(&server, "acme", Some(&basic("entra-gallery", "wrong")), &[GRANT]).await;
    assert_eq!((wrong.status, &wrong.body["error"]), (401, &json!("invalid_client")));
    assert_eq!(wrong.header("www-authenticate"), Some("Basic realm=\"scim\""));
    for (tenant, user) in [("acme", "nobody"), ("globex", "entra-gallery"), ("nobody", "entra-gallery")] {
        let reply = ask(&server, tenant, Some(&basic(user, SECRET)), &[GRANT]).await;
        assert_eq!((reply.status, reply.text), (401, wrong.text.clone()), "{tenant} {user}");
    }
    let none = ask(&server, "acme", None, &[GRANT]).await;
    assert_eq!((none.status, none.text), (401, wrong.text.clone()));
    let bearer = ask(&server, "acme", Some("Bearer acme-token"), &[GRANT]).await;
    assert_eq!((bearer.status, bearer.text), (401, wrong.text));
}

#[tokio::test]
async fn wrong_token_request_gets_the_error_of_rfc_6749() {
    let server =
        serve(&giving(vec![ClientConfig { scopes: [Scope::Read].into_iter().collect(), ..client() }])).await;
    let auth = basic("entra-gallery", SECRET);
    for (form, status, error) in [
        (vec![], 400, "invalid_request"),
        (vec![("grant_type", "")], 400, "invalid_request"),
        (vec![("grant_type", "password")], 400, "unsupported_grant_type"),
        (vec![GRANT, GRANT], 400, "invalid_request"),
        (vec![GRANT, ("client_secret", SECRET), ("client_id", "entra-gallery")], 400, "invalid_request"),
        (vec![GRANT, ("client_id", "another")], 400, "invalid_request"),
        (vec![GRANT, ("client_assertion", "x")], 400, "invalid_request"),
        (vec![GRANT, ("scope", "scim.write")], 400, "invalid_scope"),
        (vec![GRANT, ("scope", "openid")], 400, "invalid_scope"),
    ] {
        let reply = ask(&server, "acme", Some(&auth), &form).await;
        assert_eq!((reply.status, &reply.body["error"]), (status, &json!(error)), "{form:?}: {}", reply.text);
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert!(reply.body["error_description"].is_string());
    }
    let url = format!("http://{}/acme/oauth2/token", server.address);
    let reply = server.anonymous("GET", &url).reply().await;
    assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")));
    let reply =
        server.anonymous("POST", &url).header("content-type", "application/json").body("{}").reply().await;
    assert_eq!((reply.status, &reply.body["error"]), (400, &json!("invalid_request")));
    let large = "a".repeat(20_000);
    let reply = ask(&server, "acme", Some(&auth), &[GRANT, ("x", &large)]).await;
    assert_eq!(reply.status, 413);

    let reply = ask(&server, "acme", Some(&auth), &[GRANT, ("scope", "scim.read")]).await;
    let token = reply.body["access_token"].as_str().unwrap();
    assert_eq!(users(&server, token).await.status, 200);
    let write = server.anonymous("DELETE", &format!("{}/Users/x", server.base("acme"))).bearer_auth(token);
    assert_eq!(write.reply().await.status, 403);
}

#[tokio::test]
async fn token_ends_with_its_client_or_its_secret() {
    let server = serve(&giving(vec![client()])).await;
    let auth = basic("entra-gallery", SECRET);
    let reply = ask(&server, "acme", Some(&auth), &[GRANT]).await;
    let given = reply.body["access_token"].as_str().unwrap().to_owned();
    assert_eq!(users(&server, &given).await.status, 200);
    server
        .app
        .apply(&giving(vec![ClientConfig { secret_sha256: Some(token("another").sha256), ..client() }]))
        .await
        .unwrap();
    assert_eq!(users(&server, &given).await.error(), NOT_ITS_TOKEN);
    server
        .app
        .apply(&giving(vec![ClientConfig { scopes: [Scope::Read].into_iter().collect(), ..client() }]))
        .await
        .unwrap();
    assert_eq!(users(&server, &given).await.status, 200);
    let write = server.anonymous("DELETE", &format!("{}/Users/x", server.base("acme"))).bearer_auth(&given);
    assert_eq!(write.reply().await.status, 403, "it has the scopes that its client still has");
    let mut suspended = giving(vec![client()]);
    Arc::make_mut(&mut suspended.tenants[0]).suspended = true;
    server.app.apply(&suspended).await.unwrap();
    let reply = ask(&server, "acme", Some(&auth), &[GRANT]).await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("300")));
}

#[tokio::test]
async fn guessing_is_slowed_down_and_does_not_lock_the_client_out_for_long() {
    let server = serve(&giving(vec![client()])).await;
    let mut last = None;
    for _ in 0..25 {
        last = Some(ask(&server, "acme", Some(&basic("entra-gallery", "guess")), &[GRANT]).await);
    }
    let last = last.unwrap();
    assert_eq!(last.status, 429, "{}", last.text);
    let seconds: u32 = last.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(
        ask(&server, "globex", Some(&basic("x", "y")), &[GRANT]).await.status,
        401,
        "another tenant is another"
    );
}

#[tokio::test]
async fn client_that_asks_all_the_time_is_told_to_wait() {
    let server = serve(&giving(vec![client()])).await;
    let auth = basic("entra-gallery", SECRET);
    for _ in 0..40 {
        let reply = ask(&server, "acme", Some(&auth), &[GRANT]).await;
        if reply.status == 429 {
            assert_eq!(reply.header("retry-after"), Some("1"));
            return;
        }
        assert_eq!(reply.status, 200, "{}", reply.text);
    }
    panic!("40 tokens at once");
}

fn public_key(key: &SigningKey) -> PublicKey {
    let jwk = key.jwk();
    let text = |name: &str| jwk[name].as_str().map(str::to_owned);
    PublicKey {
        kty: text("kty").unwrap(),
        kid: text("kid"),
        alg: None,
        n: text("n"),
        e: text("e"),
        crv: text("crv"),
        x: text("x"),
        y: text("y"),
    }
}

#[tokio::test]
async fn client_proves_itself_with_its_own_key_once_per_assertion() {
    const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let keys = [SigningKey::of("rsa-1"), SigningKey::of("p256")];
    let client =
        ClientConfig { secret_sha256: None, public_keys: keys.iter().map(public_key).collect(), ..client() };
    let server = serve(&giving(vec![client])).await;
    let audience = format!("http://{}/acme/oauth2/token", server.address);
    let claims = |changes: Value| {
        let mut claims = json!({
            "iss": "entra-gallery", "sub": "entra-gallery", "aud": audience, "exp": now() + 60, "jti": "1",
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    };
    let send = async |assertion: String| {
        let form = [GRANT, ("client_assertion_type", JWT_BEARER), ("client_assertion", &assertion)];
        ask(&server, "acme", None, &form).await
    };
    let first = keys[0].sign(&claims(json!({})));
    let reply = send(first.clone()).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert_eq!(users(&server, reply.body["access_token"].as_str().unwrap()).await.status, 200);
    assert_eq!(send(first).await.status, 401, "an assertion is good once");
    let issuer = audience.strip_suffix("/oauth2/token").unwrap();
    assert_eq!(send(keys[1].sign(&claims(json!({"jti": "2", "aud": issuer})))).await.status, 200);
    for (what, changes) in [
        ("another audience", json!({"jti": "3", "aud": "https://other.example/token"})),
        ("no jti", json!({"jti": null})),
        ("expired", json!({"jti": "4", "exp": now() - 61})),
        ("good for too long", json!({"jti": "5", "exp": now() + 3600})),
        ("another subject", json!({"jti": "6", "sub": "other"})),
        ("another issuer", json!({"jti": "7", "iss": "other"})),
        ("not yet", json!({"jti": "8", "nbf": now() + 300})),
    ] {
        assert_eq!(send(keys[0].sign(&claims(changes))).await.status, 401, "{what}");
    }
    let stranger = SigningKey { id: "rsa-1", ..SigningKey::of("rsa-2") };
    assert_eq!(send(stranger.sign(&claims(json!({"jti": "9"})))).await.status, 401);
    let secret = ask(&server, "acme", Some(&basic("entra-gallery", "")), &[GRANT]).await;
    assert_eq!(secret.status, 401, "no secret is not an empty secret");
}

#[tokio::test]
async fn metadata_is_the_same_for_every_name() {
    let server = serve(&giving(vec![client()])).await;
    let at = |name: &str| format!("http://{}/.well-known/oauth-authorization-server/{name}", server.address);
    let acme = server.anonymous("GET", &at("acme")).reply().await;
    assert_eq!((acme.status, acme.header("content-type")), (200, Some("application/json")));
    assert_eq!(acme.body["issuer"], format!("http://{}/acme", server.address));
    assert_eq!(acme.body["token_endpoint"], format!("http://{}/acme/oauth2/token", server.address));
    let nobody = server.anonymous("GET", &at("nobody")).reply().await;
    assert_eq!(nobody.text, acme.text.replace("/acme", "/nobody"));
    assert_eq!(server.anonymous("POST", &at("acme")).reply().await.status, 405);
}
