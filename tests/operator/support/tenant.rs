//! A SCIM client as an identity provider has one: HTTPS, through Traefik, with the tenant's token.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use reqwest::{Certificate, Method};
use serde_json::{Value, json};

use super::cluster::TRAEFIK;
use super::{Cluster, until};

/// One tenant's base URL and token.
#[derive(Debug, Clone)]
pub(crate) struct Tenant {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Tenant {
    /// `base` is the tenant's `status.url`; its host need not be in any DNS.
    pub(crate) fn new(cluster: &Cluster, base: &str, token: &str) -> Self {
        let http = through_traefik(base, &cluster.authority).build().expect("the authority is a certificate");
        Self { http, base: base.to_owned(), token: token.to_owned() }
    }

    /// The same with a new connection for each request.
    pub(crate) fn without_connections(&self, cluster: &Cluster) -> Self {
        let http = through_traefik(&self.base, &cluster.authority).pool_max_idle_per_host(0).build();
        Self { http: http.expect("the authority is a certificate"), ..self.clone() }
    }

    /// By another address: straight to a pod or Service, such as `http://10.96.1.2/acme/scim/v2`.
    pub(crate) fn at(&self, base: &str) -> Self {
        Self { base: base.to_owned(), ..self.clone() }
    }

    /// Straight to a pod that speaks TLS, by the tenant's own host name.
    pub(crate) fn by_address(&self, cluster: &Cluster, address: IpAddr, port: u16) -> Self {
        let (_, rest) = self.base.split_once("://").expect("a base URL has a scheme");
        let (host, path) = rest.split_once('/').expect("a base URL has a path");
        let http = client(&cluster.authority).resolve(host, SocketAddr::from((address, port)));
        let http = http.build().expect("the authority is a certificate");
        Self { http, base: format!("https://{host}:{port}/{path}"), token: self.token.clone() }
    }

    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Status and body; an error when there is no answer.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value), String> {
        let url = format!("{}{path}", self.base);
        let mut request = self.http.request(method, url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.header("content-type", "application/scim+json").body(body.to_string());
        }
        let answer = request.send().await.map_err(|error| chain(&error))?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.map_err(|error| chain(&error))?;
        Ok((status, serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into())))
    }

    pub(crate) async fn get(&self, path: &str) -> Result<(u16, Value), String> {
        self.send(Method::GET, path, None).await
    }

    /// Creates a user, which must succeed, and gives its id.
    pub(crate) async fn create_user(&self, name: &str) -> String {
        let (status, answer) = self.try_create_user(name).await.expect("the server answers");
        assert_eq!(status, 201, "{answer}");
        answer["id"].as_str().expect("a resource has an id").to_owned()
    }

    pub(crate) async fn try_create_user(&self, name: &str) -> Result<(u16, Value), String> {
        let user = json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": name});
        self.send(Method::POST, "/Users", Some(&user)).await
    }

    /// How many users it has.
    pub(crate) async fn users(&self) -> u64 {
        let (status, answer) = self.get("/Users?count=0").await.expect("the server answers");
        assert_eq!(status, 200, "{answer}");
        answer["totalResults"].as_u64().expect("a list has a total")
    }

    /// Waits until a list of its users is answered so.
    pub(crate) async fn answers(&self, expected: u16) -> Value {
        until(&format!("{} answers {expected}", self.base), async || match self.get("/Users?count=1").await {
            Ok((status, body)) if status == expected => Ok(body),
            Ok((status, body)) => Err(format!("{status} {body}")),
            Err(error) => Err(error),
        })
        .await
    }
}

/// A client that finds the host of a URL at Traefik's address.
fn through_traefik(url: &str, authority: &Certificate) -> reqwest::ClientBuilder {
    let host = url.split("://").nth(1).unwrap_or_default().split(['/', ':']).next().unwrap_or_default();
    client(authority).resolve(host, SocketAddr::from((TRAEFIK, 0)))
}

fn client(authority: &Certificate) -> reqwest::ClientBuilder {
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([authority.clone()]);
    client.timeout(Duration::from_secs(10))
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told.push_str(": ");
        told.push_str(&error.to_string());
        cause = error.source();
    }
    told
}
