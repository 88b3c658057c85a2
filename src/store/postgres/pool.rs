//! Connections: made when they are needed, with the URL as it is in its file by then, and never one to a server
//! that only follows another, whose answers may be old. A pool of our own, because of these two and because a
//! server that has no more connections to give is no failure while one of ours comes free.

use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, NoTls, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::failure::{Failure, SetupError, reason};
use super::unverified::unverified;
use super::value::{Step, get};

/// How long connecting may take, and waiting for a connection of others.
const CONNECT: Duration = Duration::from_secs(2);

/// Connections that nobody has needed for so long are closed.
const IDLE: Duration = Duration::from_mins(2);

/// How often to look for a free connection when the server gives no new one.
const LOOK: Duration = Duration::from_millis(20);

/// How long to go without asking a server again that does not let us in.
const DENIED: Duration = Duration::from_millis(500);

/// Where system-wide CA certificates are, on Debian and in our image.
const SYSTEM_CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// How to reach a database.
#[derive(Clone)]
pub struct Settings {
    /// Where its URL is.
    pub url: Url,
    /// How the connection is protected.
    pub tls: TlsMode,
    /// The certificate authorities to trust; the system's when absent.
    pub ca: Option<Authorities>,
    /// Connections at most.
    pub max_size: usize,
    /// Bytes of resources that reads remember at most; 0: none.
    pub cache_bytes: usize,
}

/// A database's URL, which holds a password.
#[derive(Clone)]
pub enum Url {
    /// The URL itself.
    Text(String),
    /// A file that holds it, read anew for each connection: what follows a rotation of the password.
    File(PathBuf),
}

/// Certificate authorities.
#[derive(Debug, Clone)]
pub enum Authorities {
    /// Their certificates, as PEM.
    Pem(Vec<u8>),
    /// A PEM file of them.
    File(PathBuf),
}

impl fmt::Debug for Url {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => out.write_str("Text(..)"),
            Self::File(path) => out.debug_tuple("File").field(path).finish(),
        }
    }
}

impl Url {
    fn read(&self) -> Result<Config, SetupError> {
        let text = match self {
            Self::Text(text) => text.clone(),
            Self::File(path) => std::fs::read_to_string(path)
                .map_err(|error| SetupError::Unreadable { path: path.clone(), error })?,
        };
        text.trim().parse().map_err(|error: tokio_postgres::Error| SetupError::Url(reason(&error)))
    }
}

/// How connections to the database are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsMode {
    /// Not at all.
    Disable,
    /// Encrypted; whoever answers is believed.
    Require,
    /// Encrypted, and the server's certificate is checked, with its name.
    #[default]
    VerifyFull,
}

#[derive(Clone)]
enum Tls {
    Off,
    On(Box<MakeRustlsConnect>),
}

impl Tls {
    fn new(settings: &Settings) -> Result<Self, SetupError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| SetupError::Certificates(error.to_string()))?;
        let config = match settings.tls {
            TlsMode::Disable => return Ok(Self::Off),
            TlsMode::Require => builder
                .dangerous()
                .with_custom_certificate_verifier(unverified(&provider))
                .with_no_client_auth(),
            TlsMode::VerifyFull => {
                builder.with_root_certificates(roots(settings.ca.as_ref())?).with_no_client_auth()
            }
        };
        Ok(Self::On(Box::new(MakeRustlsConnect::new(config))))
    }
}

fn roots(authorities: Option<&Authorities>) -> Result<RootCertStore, SetupError> {
    let (path, pem) = match authorities {
        None => (Path::new(SYSTEM_CERTIFICATES), None),
        Some(Authorities::File(path)) => (path.as_path(), None),
        Some(Authorities::Pem(pem)) => (Path::new("the authorities of the database"), Some(pem)),
    };
    let wrong = |what: String| SetupError::Certificates(format!("{}: {what}", path.display()));
    let mut roots = RootCertStore::empty();
    let pem = match pem {
        Some(pem) => pem.clone(),
        None => std::fs::read(path).map_err(|error| wrong(error.to_string()))?,
    };
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() { Err(wrong("it holds no certificate".into())) } else { Ok(roots) }
}

/// The connections to one database. Cloning shares them.
#[derive(Clone)]
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    settings: Settings,
    tls: Tls,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<(Client, Instant)>>,
    closed: AtomicBool,
}

impl Pool {
    /// Checks the settings; connects to nothing yet.
    pub(super) fn new(settings: Settings) -> Result<Self, SetupError> {
        // A file may come later; a URL that is there must be one.
        match settings.url.read() {
            Ok(_) | Err(SetupError::Unreadable { .. }) => {}
            Err(error) => return Err(error),
        }
        let tls = Tls::new(&settings)?;
        let permits = Arc::new(Semaphore::new(settings.max_size.max(1)));
        let (idle, closed) = Default::default();
        Ok(Self(Arc::new(Shared { settings, tls, permits, idle, closed })))
    }

    /// A connection, to be used until a deadline.
    pub(super) async fn link(&self, deadline: Instant) -> Result<Link, Failure> {
        let patience = deadline.min(Instant::now() + CONNECT);
        let permit = match timeout_at(patience, Arc::clone(&self.0.permits).acquire_owned()).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(Failure::Unavailable("the store is closing".into())),
            Err(_) => {
                let most = self.0.settings.max_size;
                return Err(Failure::Unavailable(format!("all {most} connections to the database are busy")));
            }
        };
        let mut denied: Option<(String, Instant)> = None;
        let client = loop {
            // Before a look at what is free, so that what comes free in between is not missed.
            let others = self.0.settings.max_size.max(1) - self.0.permits.available_permits() > 1;
            if let Some(client) = self.0.idle_client() {
                break client;
            }
            if let Some((reason, until)) = denied.take_if(|(_, until)| Instant::now() < *until) {
                // The password was changed: connections that are there outlive that, and serve until this server
                // is told the new one. One of them may come free.
                if !others || Instant::now() + LOOK >= patience {
                    return Err(Failure::Unavailable(reason));
                }
                denied = Some((reason, until));
                tokio::time::sleep(LOOK).await;
                continue;
            }
            match timeout_at(patience, self.0.connect()).await {
                Ok(Ok(client)) => break client,
                Ok(Err(Refused::Full(reason))) => {
                    // One of ours may come free meanwhile.
                    if Instant::now() + LOOK >= patience {
                        return Err(Failure::Unavailable(reason));
                    }
                    tokio::time::sleep(LOOK).await;
                }
                Ok(Err(Refused::Denied(reason))) => denied = Some((reason, Instant::now() + DENIED)),
                Ok(Err(Refused::Failed(failure))) => return Err(failure),
                Err(_) => return Err(Failure::Unavailable("connecting to the database timed out".into())),
            }
        };
        let shared = Arc::clone(&self.0);
        Ok(Link { client: Some(client), shared, deadline, open: false, reusable: true, _permit: permit })
    }

    /// Whether [`Self::close`] was called.
    pub(super) fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::SeqCst)
    }

    /// Refuses new work, waits for what is under way, and closes the connections.
    pub(super) async fn close(&self) {
        self.0.closed.store(true, Ordering::SeqCst);
        let all = u32::try_from(self.0.settings.max_size.max(1)).unwrap_or(u32::MAX);
        // Every one is bounded by its deadline.
        let _ = self.0.permits.acquire_many(all).await;
        self.0.permits.close();
        self.0.idle().clear();
    }
}

/// Why there is no new connection.
enum Refused {
    /// The server has given all it has.
    Full(String),
    /// The server does not let us in.
    Denied(String),
    Failed(Failure),
}

impl From<tokio_postgres::Error> for Refused {
    fn from(error: tokio_postgres::Error) -> Self {
        let text = format!("cannot connect to the database: {}", reason(&error));
        match error.code().map(SqlState::code) {
            Some("53300") => Self::Full(text),
            Some("28000" | "28P01") => Self::Denied(text),
            // Not `Lost`: nothing was there to be lost, and trying again at once would not help.
            _ => Self::Failed(Failure::Unavailable(text)),
        }
    }
}

impl Shared {
    fn idle(&self) -> MutexGuard<'_, Vec<(Client, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle_client(&self) -> Option<Client> {
        let mut idle = self.idle();
        while let Some((client, _)) = idle.pop() {
            if !client.is_closed() {
                return Some(client);
            }
        }
        None
    }

    async fn connect(&self) -> Result<Client, Refused> {
        let unusable = |error: SetupError| Refused::Failed(Failure::Unavailable(error.to_string()));
        let mut config = self.settings.url.read().map_err(unusable)?;
        config
            .connect_timeout(CONNECT)
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(2)
            .tcp_user_timeout(Duration::from_secs(10));
        if config.get_application_name().is_none() {
            config.application_name("scim-operator");
        }
        if config.get_hosts().len() > 1 && config.get_target_session_attrs() == TargetSessionAttrs::Any {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        let local = config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        let client = match &self.tls {
            Tls::On(tls) if !local => {
                config.ssl_mode(SslMode::Require);
                let (client, connection) = config.connect((**tls).clone()).await?;
                tokio::spawn(connection);
                client
            }
            Tls::On(_) | Tls::Off => {
                config.ssl_mode(SslMode::Disable);
                let (client, connection) = config.connect(NoTls).await?;
                tokio::spawn(connection);
                client
            }
        };
        let row = client.query_typed("SELECT pg_is_in_recovery()", &[]).await?;
        let follows = row.first().map_or(Ok(false), |row| get(row, 0)).map_err(Refused::Failed)?;
        if follows {
            let reason = "the database is a standby, whose answers may be old: connect to the primary";
            return Err(Refused::Failed(Failure::Unavailable(reason.into())));
        }
        Ok(client)
    }

    /// Ends what a connection still does that nobody waits for.
    fn abandon(&self, client: Client) {
        let token = client.cancel_token();
        let tls = self.tls.clone();
        tokio::spawn(async move {
            let cancel = async {
                match tls {
                    Tls::Off => token.cancel_query(NoTls).await,
                    Tls::On(tls) => token.cancel_query(*tls).await,
                }
            };
            let _ = timeout(CONNECT, cancel).await;
            drop(client);
        });
    }
}

/// A connection while one task has it. Dropped with a transaction open or an answer outstanding, it is closed,
/// which undoes the transaction.
pub(super) struct Link {
    client: Option<Client>,
    shared: Arc<Shared>,
    deadline: Instant,
    /// Whether a transaction is open.
    open: bool,
    reusable: bool,
    _permit: OwnedSemaphorePermit,
}

/// What is done on a connection, which it gives back: a future that owns what it works on is the same for
/// whoever waits for it.
macro_rules! on_link {
    (|$link:ident $(, $argument:ident)?| $work:expr) => {
        move |mut $link: $crate::store::postgres::pool::Link $(, $argument: i64)?| async move {
            let done: Result<_, $crate::store::postgres::failure::Failure> = async { $work }.await;
            ($link, done)
        }
    };
}
pub(super) use on_link;

type Answer = Result<Vec<Row>, tokio_postgres::Error>;

impl Link {
    /// Gives it another deadline.
    pub(super) fn until(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// One statement's rows.
    pub(super) async fn query(
        &mut self,
        sql: impl Into<String>,
        values: impl Into<Vec<super::value::Value>>,
    ) -> Result<Vec<Row>, Failure> {
        Ok(self.send(&[Step::new(sql, values)]).await?.pop().unwrap_or_default())
    }

    /// Sends steps at once and waits for all their answers; the first failure is the result.
    pub(super) async fn send(&mut self, steps: &[Step]) -> Result<Vec<Vec<Row>>, Failure> {
        let Some(client) = &self.client else { return Err(Failure::Lost("the connection is gone".into())) };
        let mut open = self.open;
        let opened = self.open || steps.iter().any(|step| matches!(step, Step::Begin(_)));
        for step in steps {
            match step {
                Step::Begin(_) => open = true,
                Step::End(_) => open = false,
                Step::Statement(..) => {}
            }
        }
        self.reusable = false;
        let mut answers = steps.iter().map(|step| run(client, step)).collect::<Vec<_>>();
        let Ok(answers) = timeout_at(self.deadline, in_order(&mut answers)).await else {
            drop(answers);
            if let Some(client) = self.client.take() {
                self.shared.abandon(client);
            }
            return Err(Failure::Unavailable("the database did not answer in time".into()));
        };
        let mut rows = Vec::with_capacity(answers.len());
        for answer in answers {
            match answer {
                Ok(found) => rows.push(found),
                Err(error) => {
                    self.reusable = !Failure::spoils_connection(&error);
                    self.open = opened;
                    return Err(error.into());
                }
            }
        }
        self.open = open;
        self.reusable = true;
        Ok(rows)
    }

    /// Ends a transaction that is not to be, as far as the connection still can.
    pub(super) async fn roll_back(&mut self) {
        if self.open && self.reusable {
            let _ = self.send(&[Step::End("ROLLBACK")]).await;
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else { return };
        if self.open || !self.reusable || client.is_closed() || self.shared.closed.load(Ordering::SeqCst) {
            return;
        }
        let now = Instant::now();
        let mut idle = self.shared.idle();
        idle.retain(|(_, since)| now.duration_since(*since) < IDLE);
        idle.push((client, now));
    }
}

type Running<'s> = Pin<Box<dyn Future<Output = Answer> + Send + 's>>;

fn run<'s>(client: &'s Client, step: &'s Step) -> Running<'s> {
    match step {
        Step::Begin(commands) | Step::End(commands) => {
            client.batch_execute(commands).map(|done| done.map(|()| Vec::new())).boxed()
        }
        Step::Statement(sql, values) => async move {
            let values: Vec<(&(dyn ToSql + Sync), Type)> =
                values.iter().map(|value| (value as &(dyn ToSql + Sync), value.kind())).collect();
            client.query_typed(sql, &values).await
        }
        .boxed(),
    }
}

/// Drives futures together, always in their order: each sends what it has to when it is driven first.
async fn in_order(running: &mut [Running<'_>]) -> Vec<Answer> {
    let mut answers: Vec<Option<Answer>> = running.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        let mut waiting = false;
        for (future, answer) in running.iter_mut().zip(&mut answers) {
            if answer.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(done) => *answer = Some(done),
                    Poll::Pending => waiting = true,
                }
            }
        }
        if waiting { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    answers.into_iter().flatten().collect()
}
