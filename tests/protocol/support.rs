//! A server in this process, and a client for it.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use scim_operator::config::{
    Audit, Lifecycle, Limits, Membership, Scopes, ServerConfig, TenantConfig, TokenDigest,
};
use scim_operator::scim::dialect::Dialect;
use scim_operator::scim::schema::CustomSchemas;
use scim_operator::server::App;
use scim_operator::server::connection::{ConnectionLimits, serve_admin, serve_scim};
use scim_operator::store::Store;
use scim_operator::store::sqlite::SqliteStore;
use scim_operator::telemetry::access_log::AccessLog;
use scim_operator::telemetry::logs::LogFormat;
use scim_operator::telemetry::metrics::Metrics;
use scim_operator::telemetry::writer::LogWriter;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::database;

pub(crate) const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub(crate) const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
pub(crate) const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
pub(crate) const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
pub(crate) const BULK: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
pub(crate) const SEARCH: &str = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";

/// What the access log wrote.
#[derive(Clone, Default)]
pub(crate) struct LogLines(Arc<Mutex<Vec<u8>>>);

impl Write for LogLines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Where a store keeps its data, for as long as that is needed.
#[expect(dead_code, reason = "it is dropped after the store")]
pub(crate) enum Data {
    Directory(TempDir),
    Database(database::Database),
}

/// A server of the tenants `acme` (Strict) and `globex` (Generic); a tenant's token is `TENANT-token`.
pub(crate) struct Server {
    store: Arc<dyn Store>,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) app: Arc<App>,
    client: reqwest::Client,
    lines: LogLines,
    writer: LogWriter,
    stop: watch::Sender<bool>,
    pub(crate) scim: tokio::task::JoinHandle<()>,
    _data: Option<Data>,
}

pub(crate) fn config() -> ServerConfig {
    ServerConfig {
        endpoint: "identity/main".to_owned(),
        host: None,
        allowed_cidrs: Vec::new(),
        trusted_proxies: Vec::new(),
        tenants: vec![tenant("acme", Dialect::Strict).into(), tenant("globex", Dialect::Generic).into()],
        removed: None,
    }
}

pub(crate) fn tenant(path: &str, identity_provider: Dialect) -> TenantConfig {
    TenantConfig {
        name: format!("identity/{path}"),
        path: path.to_owned(),
        identity_provider,
        tokens: vec![token(&format!("{path}-old")), token(&format!("{path}-token"))],
        schemas: CustomSchemas::default(),
        limits: Limits::default(),
        suspended: false,
        purge_on_removal: false,
        lifecycle: Lifecycle::default(),
        membership: Membership::default(),
        audit: Audit::default(),
        oauth2: None,
    }
}

pub(crate) fn token(text: &str) -> TokenDigest {
    let hex = |digest: &[u8]| digest.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    TokenDigest {
        name: format!("name of {text}"),
        sha256: hex(&Sha256::digest(text)),
        scopes: Scopes::ALL,
        not_before: None,
        expires_at: None,
        replaced_at: None,
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(&config(), ConnectionLimits::default()).await
    }

    pub(crate) async fn with(config: &ServerConfig, limits: ConnectionLimits) -> Self {
        // The one switch between the stores.
        if std::env::var_os("STORE").is_some_and(|store| store == "postgres") {
            let database = database::database();
            let store = Arc::new(database.store());
            return Self::on(store, Some(Data::Database(database)), config, limits).await;
        }
        let data = TempDir::new().unwrap();
        let store = Arc::new(SqliteStore::open(data.path()).unwrap());
        Self::on(store, Some(Data::Directory(data)), config, limits).await
    }

    /// On a store; `data` lives as long as the server.
    pub(crate) async fn on(
        store: Arc<dyn Store>,
        data: Option<Data>,
        config: &ServerConfig,
        limits: ConnectionLimits,
    ) -> Self {
        let lines = LogLines::default();
        let writer = LogWriter::spawn(Box::new(lines.clone())).unwrap();
        let access_log = AccessLog::new(writer.clone(), LogFormat::Json);
        let app = App::new(Arc::clone(&store), Metrics::new(|_| {}), access_log).await.unwrap();
        app.apply(config).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, admin) = (listener.local_addr().unwrap(), admin_listener.local_addr().unwrap());
        let scim = tokio::spawn(serve_scim(Arc::clone(&app), listener, limits, stopped.clone()));
        tokio::spawn(serve_admin(Arc::clone(&app), admin_listener, stopped));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { store, address, admin, app, client, lines, writer, stop, scim, _data: data }
    }

    /// Another server on the same store, which has only that to remember.
    pub(crate) async fn again(&self) -> Self {
        Self::on(Arc::clone(&self.store), None, &config(), ConnectionLimits::default()).await
    }

    pub(crate) fn stop(&self) {
        self.stop.send(true).unwrap();
    }

    pub(crate) fn base(&self, tenant: &str) -> String {
        format!("http://{}/{tenant}/scim/v2", self.address)
    }

    /// A request to a path below the base URL of `acme`, with its token.
    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.request_to("acme", method, path)
    }

    pub(crate) fn request_to(&self, tenant: &str, method: &str, path: &str) -> RequestBuilder {
        self.anonymous(method, &format!("{}{path}", self.base(tenant))).bearer_auth(format!("{tenant}-token"))
    }

    pub(crate) fn anonymous(&self, method: &str, url: &str) -> RequestBuilder {
        self.client.request(Method::from_bytes(method.as_bytes()).unwrap(), url)
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.request("GET", path).reply().await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: &Value) -> Reply {
        self.request(method, path).scim(body).reply().await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.request("DELETE", path).reply().await
    }

    /// Creates a user and gives its id.
    #[track_caller]
    pub(crate) fn user(&self, name: &str) -> impl Future<Output = String> {
        self.create(
            "/Users",
            json!({"schemas": [USER], "userName": name, "displayName": format!("The {name}")}),
        )
    }

    /// Creates a group and gives its id.
    #[track_caller]
    pub(crate) fn group(&self, name: &str, members: &[&str]) -> impl Future<Output = String> {
        let members: Vec<Value> = members.iter().map(|id| json!({"value": id})).collect();
        self.create("/Groups", json!({"schemas": [GROUP], "displayName": name, "members": members}))
    }

    async fn create(&self, path: &str, body: Value) -> String {
        let reply = self.send("POST", path, &body).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        reply.body["id"].as_str().unwrap().to_owned()
    }

    /// The access log so far, one JSON object a line.
    pub(crate) fn log(&self) -> Vec<Value> {
        self.writer.flush();
        let bytes = self.lines.0.lock().unwrap().clone();
        bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }
}

pub(crate) fn patch(operations: &Value) -> Value {
    json!({"schemas": [PATCH], "Operations": operations})
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// `status scimType: detail`.
    pub(crate) fn error(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/scim+json"), "{}", self.text);
        assert_eq!(self.body["schemas"][0], "urn:ietf:params:scim:api:messages:2.0:Error", "{}", self.text);
        assert_eq!(self.body["status"], self.status.to_string(), "status is a string");
        let scim_type = self.body["scimType"].as_str().map_or(String::new(), |text| format!(" {text}"));
        format!("{}{scim_type}: {}", self.status, self.body["detail"].as_str().unwrap())
    }
}

pub(crate) trait RequestExt {
    fn scim(self, body: &Value) -> Self;
    async fn reply(self) -> Reply;
}

impl RequestExt for RequestBuilder {
    fn scim(self, body: &Value) -> Self {
        self.header("content-type", "application/scim+json").body(body.to_string())
    }

    async fn reply(self) -> Reply {
        let response = self.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Reply { status, headers, text, body }
    }
}
