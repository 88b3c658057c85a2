//! OAuth 2.0 over HTTP: tokens of an issuer that this test plays, and tokens that the endpoint itself gives.
//!
//! The keys under `tests/fixtures/oauth/` are good for nothing else.

mod issuer_tokens;
mod token_endpoint;

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
    Arc::make_mut(&mut config.tenants[0]).oauth2 = Some(oauth2);
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
