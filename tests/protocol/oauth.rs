//! OAuth 2.0 over HTTP: tokens of an issuer that this test plays, and tokens that the endpoint itself gives.
//!
//! The keys under `tests/fixtures/oauth/` are good for nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::header::AUTHORIZATION;
use scim_operator::config::oauth2::{
    self, ClientConfig, GrantNames, IssuerConfig, OAuth2Config, PublicKey, RequiredClaim,
};
use scim_operator::config::{Scope, Scopes, ServerConfig};
use scim_operator::server::connection::ConnectionLimits;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{Reply, RequestExt, Server, USER, config, token};

fn pem(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/oauth/{name}.pem", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap()
}

/// A key of the fixtures, with the algorithm it signs with.
#[derive(Clone)]
struct SigningKey {
    id: &'static str,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl SigningKey {
    fn of(id: &'static str) -> Self {
        let text = pem(id);
        let (algorithm, key) = match id {
            "p256" => (Algorithm::ES256, EncodingKey::from_ec_pem(&text)),
            "p384" => (Algorithm::ES384, EncodingKey::from_ec_pem(&text)),
            "ed25519" => (Algorithm::EdDSA, EncodingKey::from_ed_pem(&text)),
            _ => (Algorithm::RS256, EncodingKey::from_rsa_pem(&text)),
        };
        Self { id, algorithm, key: key.unwrap() }
    }

    /// The public key as an issuer publishes it.
    fn jwk(&self) -> Value {
        let mut jwk =
            serde_json::to_value(Jwk::from_encoding_key(&self.key, self.algorithm).unwrap()).unwrap();
        jwk["kid"] = self.id.into();
        jwk["use"] = "sig".into();
        jwk
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.id.to_owned());
        encode(&header, claims, &self.key).unwrap()
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// An authorization server: metadata and keys, and how often it was asked for them.
struct Issuer {
    url: String,
    keys: Arc<std::sync::Mutex<Value>>,
    fetches: Arc<AtomicUsize>,
    /// The status with which it answers.
    status: Arc<AtomicU16>,
}

impl Issuer {
    async fn start(keys: &[&SigningKey]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/realms/test", listener.local_addr().unwrap());
        let issuer = Self {
            url: url.clone(),
            keys: Arc::default(),
            fetches: Arc::default(),
            status: Arc::new(AtomicU16::new(200)),
        };
        issuer.publish(keys);
        let (keys, fetches, status) =
            (Arc::clone(&issuer.keys), Arc::clone(&issuer.fetches), Arc::clone(&issuer.status));
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut request = vec![0; 4096];
                let length = socket.read(&mut request).await.unwrap_or(0);
                let path = String::from_utf8_lossy(&request[..length]).into_owned();
                let path = path.split(' ').nth(1).unwrap_or_default();
                let body = match path {
                    "/realms/test/.well-known/openid-configuration" => {
                        json!({"issuer": url, "jwks_uri": format!("{url}/certs")})
                    }
                    "/realms/test/certs" => {
                        fetches.fetch_add(1, Ordering::SeqCst);
                        keys.lock().unwrap().clone()
                    }
                    _ => Value::Null,
                };
                let status = if body.is_null() { 404 } else { status.load(Ordering::SeqCst) };
                let body = body.to_string();
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        });
        issuer
    }

    fn publish(&self, keys: &[&SigningKey]) {
        // As Keycloak does: an encryption key is among them.
        let mut encryption = SigningKey::of("rsa-2").jwk();
        encryption["use"] = "enc".into();
        encryption["alg"] = "RSA-OAEP".into();
        encryption["kid"] = "encryption".into();
        let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).chain([encryption]).collect();
        *self.keys.lock().unwrap() = json!({"keys": keys});
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    fn fail(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn config(&self) -> IssuerConfig {
        IssuerConfig {
            issuer: self.url.clone(),
            jwks_uri: None,
            audiences: vec!["scim".to_owned()],
            algorithms: oauth2::Algorithm::ALL.to_vec(),
            required_scopes: Vec::new(),
            required_claims: Vec::new(),
            scopes: GrantNames {
                read: vec!["scim.read".to_owned()],
                write: vec!["scim.write".to_owned()],
                always: Scopes::NONE,
            },
            clock_skew_seconds: 30,
            ca_certificates: None,
        }
    }

    /// Claims that are accepted.
    fn claims(&self) -> Value {
        json!({
            "iss": self.url, "aud": ["account", "scim"], "exp": now() + 300, "iat": now(), "sub": "f:1",
            "azp": "provisioner", "scope": "email scim.read scim.write",
        })
    }

    fn claims_with(&self, changes: &Value) -> Value {
        let mut claims = self.claims();
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }
}

fn with_oauth(oauth2: OAuth2Config) -> ServerConfig {
    let mut config = config();
    config.tenants[0].oauth2 = Some(oauth2);
    config
}

fn trusting(issuer: IssuerConfig) -> ServerConfig {
    with_oauth(OAuth2Config { issuers: vec![issuer], clients: Vec::new(), access_token_seconds: 3600 })
}

async fn serve(config: &ServerConfig) -> Server {
    Server::with(config, ConnectionLimits::default()).await
}

async fn users_of(server: &Server, tenant: &str, token: &str) -> Reply {
    server.anonymous("GET", &format!("{}/Users", server.base(tenant))).bearer_auth(token).reply().await
}

async fn users(server: &Server, token: &str) -> Reply {
    users_of(server, "acme", token).await
}

const NOT_ITS_TOKEN: &str = "401: not authenticated: the token is not one of this tenant's; check the token and the tenant in the URL";

#[tokio::test]
async fn token_of_the_issuer_lets_in_under_every_algorithm() {
    let keys = ["rsa-1", "p256", "p384", "ed25519"].map(SigningKey::of);
    let issuer = Issuer::start(&keys.each_ref()).await;
    let server = serve(&trusting(issuer.config())).await;
    for key in &keys {
        let reply = users(&server, &key.sign(&issuer.claims())).await;
        assert_eq!(reply.status, 200, "{}: {}", key.id, reply.text);
    }
    for algorithm in [Algorithm::RS384, Algorithm::RS512] {
        // The key says RS256, so it is for nothing else.
        let key = SigningKey { algorithm, ..keys[0].clone() };
        assert_eq!(users(&server, &key.sign(&issuer.claims())).await.error(), NOT_ITS_TOKEN);
    }
    let log = server.log();
    assert_eq!(log[0]["credential"], "provisioner", "the client is who acts");
}

#[tokio::test]
async fn token_that_is_wrong_before_its_signature_is_told_what_strangers_are_told() {
    let (key, other) = (SigningKey::of("rsa-1"), SigningKey::of("rsa-2"));
    let issuer = Issuer::start(&[&key]).await;
    let server = serve(&trusting(issuer.config())).await;
    assert_eq!(users(&server, &key.sign(&issuer.claims())).await.status, 200);

    let claims = issuer.claims();
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let unsigned = |header: Value| format!("{}.{}.", part(&header), part(&claims));
    // The public key, as the issuer publishes it, taken for the secret of an HMAC.
    let hmac = |secret: &[u8]| {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(key.id.to_owned());
        encode(&header, &claims, &EncodingKey::from_secret(secret)).unwrap()
    };
    let good = key.sign(&claims);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let raised = part(&issuer.claims_with(&json!({"scope": "scim.write", "sub": "admin"})));
    let stolen = SigningKey { id: "rsa-1", ..other.clone() };
    let critical = {
        let header = part(&json!({"alg": "RS256", "kid": "rsa-1", "crit": ["x"], "x": 1}));
        let message = format!("{header}.{}", part(&claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key.key, Algorithm::RS256).unwrap();
        format!("{message}.{signature}")
    };
    let logout = {
        let mut header = Header::new(Algorithm::RS256);
        (header.kid, header.typ) = (Some("rsa-1".to_owned()), Some("logout+jwt".to_owned()));
        encode(&header, &claims, &key.key).unwrap()
    };
    for (what, token) in [
        ("alg none", unsigned(json!({"alg": "none", "kid": "rsa-1"}))),
        ("alg None", unsigned(json!({"alg": "None", "kid": "rsa-1"}))),
        ("no signature", unsigned(json!({"alg": "RS256", "kid": "rsa-1"}))),
        ("HS256 with the PEM of the key", hmac(&pem("rsa-1"))),
        ("HS256 with the modulus", hmac(key.jwk()["n"].as_str().unwrap().as_bytes())),
        ("HS256 with the JWK", hmac(key.jwk().to_string().as_bytes())),
        ("other claims", format!("{header}.{raised}.{signature}")),
        ("signature of another key", stolen.sign(&claims)),
        ("the encryption key", SigningKey { id: "encryption", ..other }.sign(&claims)),
        ("another issuer", key.sign(&issuer.claims_with(&json!({"iss": "https://evil.example"})))),
        (
            "the issuer with a slash",
            key.sign(&issuer.claims_with(&json!({"iss": format!("{}/", issuer.url)}))),
        ),
        ("critical header", critical),
        ("logout token", logout),
        ("no kid at all", encode(&Header::new(Algorithm::PS256), &claims, &key.key).unwrap()),
        ("garbage", "a.b.c".to_owned()),
    ] {
        let reply = users(&server, &token).await;
        assert_eq!(reply.error(), NOT_ITS_TOKEN, "{what}");
        let challenge = reply.header("www-authenticate").unwrap();
        assert!(challenge.contains("error=\"invalid_token\""), "{what}: {challenge}");
        let unknown = users_of(&server, "nobody", &token).await;
        assert_eq!(
            (unknown.text, unknown.status),
            (reply.text, 401),
            "{what}: an unknown tenant says the same"
        );
    }
}

#[tokio::test]
async fn token_of_the_issuer_that_is_not_for_us_is_told_why() {
    let key = SigningKey::of("p256");
    let issuer = Issuer::start(&[&key]).await;
    let mut trusted = issuer.config();
    trusted.required_scopes = vec!["email".to_owned()];
    trusted.required_claims = vec![RequiredClaim { name: "azp".into(), values: vec!["provisioner".into()] }];
    let server = serve(&trusting(trusted)).await;
    assert_eq!(users(&server, &key.sign(&issuer.claims())).await.status, 200);
    for (changes, expected) in [
        (json!({"exp": now() - 31}), "the token has expired"),
        (json!({"nbf": now() + 90}), "the token is not valid yet"),
        (json!({"aud": "account"}), "the token was made for another audience"),
        (json!({"exp": "soon"}), "the token lacks exp, aud or a subject"),
        (json!({"scope": "scim.read"}), "the token lacks a scope that this tenant requires"),
        (json!({"azp": "somebody"}), "a claim of the token does not have the value"),
    ] {
        let token = key.sign(&issuer.claims_with(&changes));
        let reply = users(&server, &token).await;
        assert!(
            reply.error().starts_with(&format!("401: not authenticated: {expected}")),
            "{}",
            reply.error()
        );
        let challenge = reply.header("www-authenticate").unwrap();
        assert!(challenge.contains("invalid_token") && challenge.contains(expected), "{challenge}");
        assert!(!reply.text.contains(&token), "the token is not repeated");
    }
    // Within the skew.
    assert_eq!(users(&server, &key.sign(&issuer.claims_with(&json!({"exp": now() - 20})))).await.status, 200);
    let metrics = server.app.metrics().encode().unwrap();
    for outcome in
        ["valid", "expired", "not_yet_valid", "audience", "claims", "required_scope", "required_claim"]
    {
        let line =
            format!("scim_oauth_tokens_verified_total{{tenant=\"identity/acme\",outcome=\"{outcome}\"}}");
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn token_that_only_reads_cannot_write() {
    let key = SigningKey::of("rsa-1");
    let issuer = Issuer::start(&[&key]).await;
    let server = serve(&trusting(issuer.config())).await;
    let reads = key.sign(&issuer.claims_with(&json!({"scope": "scim.read"})));
    assert_eq!(users(&server, &reads).await.status, 200);
    let url = format!("{}/Users", server.base("acme"));
    let user = json!({"schemas": [USER], "userName": "a"});
    let reply = server.anonymous("POST", &url).bearer_auth(&reads).scim(&user).reply().await;
    assert_eq!(reply.status, 403, "{}", reply.text);
    let challenge = reply.header("www-authenticate").unwrap();
    assert!(challenge.contains("error=\"insufficient_scope\", scope=\"scim.write\""), "{challenge}");
    let both = key.sign(&issuer.claims());
    assert_eq!(server.anonymous("POST", &url).bearer_auth(&both).scim(&user).reply().await.status, 201);
    let none = key.sign(&issuer.claims_with(&json!({"scope": "openid"})));
    assert_eq!(users(&server, &none).await.status, 403);
}

#[tokio::test]
async fn tenants_do_not_accept_each_others_issuers() {
    let (key, other_key) = (SigningKey::of("rsa-1"), SigningKey::of("rsa-2"));
    let (issuer, other) = (Issuer::start(&[&key]).await, Issuer::start(&[&other_key]).await);
    let mut config = trusting(issuer.config());
    config.tenants[1].oauth2 =
        Some(OAuth2Config { issuers: vec![other.config()], clients: Vec::new(), access_token_seconds: 60 });
    let server = serve(&config).await;
    let (acme, globex) = (key.sign(&issuer.claims()), other_key.sign(&other.claims()));
    assert_eq!(users_of(&server, "acme", &acme).await.status, 200);
    assert_eq!(users_of(&server, "globex", &globex).await.status, 200);
    assert_eq!(users_of(&server, "globex", &acme).await.error(), NOT_ITS_TOKEN);
    assert_eq!(users_of(&server, "acme", &globex).await.error(), NOT_ITS_TOKEN);
    // A key of acme's issuer signs for globex's.
    assert_eq!(users_of(&server, "globex", &key.sign(&other.claims())).await.error(), NOT_ITS_TOKEN);
}

#[tokio::test]
async fn rotated_key_is_found_at_once_and_a_withdrawn_one_lets_nobody_in() {
    let (old, new) = (SigningKey::of("rsa-1"), SigningKey::of("p256"));
    let issuer = Issuer::start(&[&old]).await;
    let server = serve(&trusting(issuer.config())).await;
    let token = old.sign(&issuer.claims());
    assert_eq!(users(&server, &token).await.status, 200);
    issuer.publish(&[&new, &old]);
    assert_eq!(users(&server, &new.sign(&issuer.claims())).await.status, 200, "looked up again");
    assert_eq!(users(&server, &token).await.status, 200, "the old one is still published");
    issuer.publish(&[&new]);
    // Another unknown key makes us look again; the token was verified before and remembered.
    let unknown = SigningKey { id: "other", ..new.clone() };
    assert_eq!(users(&server, &unknown.sign(&issuer.claims())).await.error(), NOT_ITS_TOKEN);
    assert_eq!(users(&server, &token).await.error(), NOT_ITS_TOKEN, "its key is withdrawn");
}

#[tokio::test]
async fn flood_of_unknown_keys_makes_few_fetches() {
    let key = SigningKey::of("p256");
    let issuer = Issuer::start(&[&key]).await;
    let server = serve(&trusting(issuer.config())).await;
    assert_eq!(users(&server, &key.sign(&issuer.claims())).await.status, 200);
    for _ in 0..100 {
        let unknown = SigningKey { id: "unknown", ..key.clone() };
        assert_eq!(users(&server, &unknown.sign(&issuer.claims())).await.status, 401);
    }
    // One at the start, a burst of three, and one each ten seconds.
    assert!(issuer.fetches() <= 5, "{} fetches", issuer.fetches());
    assert_eq!(users(&server, &key.sign(&issuer.claims())).await.status, 200);
    // What could not be accepted anyway makes none.
    let before = issuer.fetches();
    let expired = SigningKey { id: "unknown", ..key.clone() }.sign(&issuer.claims_with(&json!({"exp": 1})));
    assert_eq!(users(&server, &expired).await.error(), NOT_ITS_TOKEN);
    assert_eq!(issuer.fetches(), before);
}

#[tokio::test]
async fn outage_of_the_issuer_is_survived_with_the_keys_that_are_known() {
    let key = SigningKey::of("rsa-1");
    let issuer = Issuer::start(&[&key]).await;
    let server = serve(&trusting(issuer.config())).await;
    assert_eq!(users(&server, &key.sign(&issuer.claims())).await.status, 200);
    issuer.fail(503);
    let other = key.sign(&issuer.claims_with(&json!({"jti": "another token"})));
    assert_eq!(users(&server, &other).await.status, 200, "the key is known");
    // Nobody can tell whether this key is new or made up.
    let new = SigningKey { id: "new", ..key.clone() };
    let reply = users(&server, &new.sign(&issuer.claims())).await;
    assert_eq!(reply.error(), "503: the keys of the token's issuer cannot be fetched now; try again");
    assert_eq!(reply.header("retry-after"), Some("10"));
}

#[tokio::test]
async fn issuer_that_was_never_reached_lets_nobody_in_and_says_to_wait() {
    let key = SigningKey::of("rsa-1");
    let issuer = Issuer::start(&[&key]).await;
    issuer.fail(500);
    let server = serve(&trusting(issuer.config())).await;
    assert_eq!(users(&server, &key.sign(&issuer.claims())).await.status, 503);
    let stranger = key.sign(&issuer.claims_with(&json!({"aud": "other"})));
    assert_eq!(users(&server, &stranger).await.error(), NOT_ITS_TOKEN, "who knows nothing learns nothing");
    assert_eq!(users(&server, "acme-token").await.status, 200, "bearer tokens need no issuer");
    issuer.fail(200);
    for _ in 0..100 {
        if users(&server, &key.sign(&issuer.claims())).await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the issuer is back and its tokens are not accepted");
}

#[tokio::test]
async fn metadata_that_redirects_or_lies_is_not_followed() {
    let key = SigningKey::of("rsa-1");
    let issuer = Issuer::start(&[&key]).await;
    issuer.fail(302);
    let server = serve(&trusting(issuer.config())).await;
    assert_eq!(users(&server, &key.sign(&issuer.claims())).await.status, 503);
    // The realm calls itself otherwise than the manifest does.
    let honest = Issuer::start(&[&key]).await;
    let mut config = honest.config();
    config.issuer = honest.url.replace("127.0.0.1", "localhost");
    let server = serve(&trusting(config.clone())).await;
    let token = key.sign(&honest.claims_with(&json!({"iss": config.issuer})));
    assert_eq!(users(&server, &token).await.status, 503);
}

#[tokio::test]
async fn removed_issuer_ends_its_tokens_with_the_next_request() {
    let key = SigningKey::of("rsa-1");
    let issuer = Issuer::start(&[&key]).await;
    let server = serve(&trusting(issuer.config())).await;
    let token = key.sign(&issuer.claims());
    assert_eq!(users(&server, &token).await.status, 200);
    let mut narrowed = issuer.config();
    narrowed.audiences = vec!["another".to_owned()];
    server.app.apply(&trusting(narrowed)).await.unwrap();
    assert_eq!(users(&server, &token).await.status, 401);
    server.app.apply(&trusting(issuer.config())).await.unwrap();
    assert_eq!(users(&server, &token).await.status, 200);
    server.app.apply(&config()).await.unwrap();
    assert_eq!(users(&server, &token).await.error(), NOT_ITS_TOKEN);
}

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
    suspended.tenants[0].suspended = true;
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
