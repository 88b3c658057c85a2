//! `scim-operator serve`: a SCIM server, from a folder of manifests with no cluster at all (`folder`), or in a pod from
//! the configuration that the controller wrote (`pod`).
//!
//! Start: bind the ports, open the store, serve, follow what is to be served. Stop: `/readyz` fails, requests under way
//! finish, the store closes.

mod announce;
mod certificate;
mod folder;
mod mounted;
mod pod;
mod secret;

use std::io::Write as _;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};

use crate::config::manifests::{LoadError, Loaded, Options, load};
use crate::server::App;
use crate::server::audit::prune_audit_logs;
use crate::server::connection::{ConnectionLimits, serve_admin, serve_scim, serve_scim_tls};
use crate::server::control::{self, Control};
use crate::server::idempotency::forget_old_answers;
use crate::server::leavers::purge_leavers;
use crate::server::tls::Certificates;
use crate::server::waiting;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::logs::{self, LogFormat};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::writer::LogWriter;

use self::announce::Announce;
use self::pod::{Following, SecretName};

use super::Exit;
use super::database::{self, Database};

/// After SIGTERM, how long to go on as before while `/readyz` fails: load balancers look away first.
const DRAIN: Duration = Duration::from_secs(1);

/// How often tokens are looked at: their last uses are written down, and what ends soon is said.
const TEND_TOKENS: Duration = Duration::from_mins(1);

/// How long requests under way may take to finish.
const FINISH: Duration = Duration::from_secs(30);

/// When to try again to look after the data of removed tenants.
const SETTLE_AGAIN: Duration = Duration::from_secs(5);

/// Serve the tenants of a folder of manifests, or in a pod those of an endpoint
///
/// With `--manifests`, every `ScimTenant` in the folder is served at `http://LISTEN/TENANT/scim/v2`. The folder is
/// followed: an edit takes effect at once, and one that is wrong changes nothing. A tenant without a bearer Secret gets
/// one under the data folder. With `--config`, the configuration that the controller wrote is served: that is what pods
/// do.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Folder (or file) of `ScimEndpoint`, `ScimTenant` and `Secret` manifests
    #[arg(long, value_name = "DIR", required_unless_present = "config", conflicts_with = "config")]
    pub manifests: Option<PathBuf>,
    /// Folder where the controller's configuration is mounted
    #[arg(long, value_name = "DIR")]
    pub config: Option<PathBuf>,
    /// Secret to follow at the API server, of which the folder of --config is the slower copy
    #[arg(long, value_name = "NAMESPACE/NAME", requires = "config")]
    pub config_secret: Option<SecretName>,
    /// Folder for the database and the Secrets that are made; made when absent
    #[arg(long, value_name = "DIR", default_value = "scim-data")]
    pub data: PathBuf,
    /// Address and port of the SCIM server
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = address)]
    pub listen: SocketAddr,
    /// Address and port of the SCIM server with TLS
    #[arg(long, value_name = "ADDRESS", value_parser = address, requires = "tls")]
    pub tls_listen: Option<SocketAddr>,
    /// Folder of tls.crt and tls.key, for --tls-listen; a new certificate is served at once
    #[arg(long, value_name = "DIR", requires = "tls_listen")]
    pub tls: Option<PathBuf>,
    /// Address and port of /livez, /readyz, /metrics, /tokens and /configuration
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090", value_parser = address)]
    pub admin: SocketAddr,
    /// The `ScimEndpoint` to serve, when the folder has several
    #[arg(long, value_name = "NAMESPACE/NAME", conflicts_with = "config")]
    pub endpoint: Option<String>,
    /// How log lines look; auto is text on a terminal and JSON otherwise
    #[arg(long, value_enum, default_value_t = LogFormat::Auto)]
    pub log_format: LogFormat,
    /// Least level of log lines: error, warn, info, debug, trace; `RUST_LOG` when absent
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Worker threads; one per core when absent
    #[arg(long, value_name = "N")]
    pub workers: Option<std::num::NonZeroUsize>,
    /// Where users and groups are kept
    #[command(flatten)]
    pub database: Database,
}

/// An address, or a host name that has one.
fn address(text: &str) -> Result<SocketAddr, String> {
    let wrong = || format!("expected ADDRESS:PORT, such as 127.0.0.1:8080, but found {text:?}");
    text.to_socket_addrs().ok().and_then(|mut found| found.next()).ok_or_else(wrong)
}

/// What is served.
enum Source {
    /// A folder of manifests, and what it came to.
    Folder(Options, Box<Loaded>),
    /// What the controller wrote.
    Pod(pod::Options),
}

/// The ports, and where the certificate of the second is.
struct Ports {
    scim: TcpListener,
    tls: Option<(TcpListener, PathBuf)>,
    admin: TcpListener,
}

/// Serves until a signal says to stop.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (writer, request_lines) = match logs::init(arguments.log_format, arguments.log_level.as_deref()) {
        Ok(logs) => logs,
        Err(error) => return Ok(refuse(&error, Exit::Usage)),
    };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = arguments.workers {
        runtime.worker_threads(workers.get());
    }
    let runtime = runtime.enable_all().build().context("cannot start the worker threads")?;
    // Before tokens are made for tenants that lack one: those are announced once, so only when they will be served.
    let ports = runtime.block_on(bind_all(arguments))?;
    let source = match (&arguments.manifests, &arguments.config) {
        (_, Some(folder)) => {
            Source::Pod(pod::Options { folder: folder.clone(), secret: arguments.config_secret.clone() })
        }
        (manifests, None) => {
            let options = Options {
                manifests: manifests.clone().unwrap_or_default(),
                data: arguments.data.clone(),
                endpoint: arguments.endpoint.clone(),
            };
            match load(&options) {
                Ok(Loaded { storage: Err(findings), .. })
                    if arguments.database.database_url_file.is_none() =>
                {
                    return Ok(refuse(&LoadError::Findings(findings), Exit::Failure));
                }
                Ok(loaded) => Source::Folder(options, Box::new(loaded)),
                Err(error @ LoadError::Findings(_)) => return Ok(refuse(&error, Exit::Failure)),
                Err(error) => return Ok(refuse(&error, Exit::Usage)),
            }
        }
    };
    let format = arguments.log_format.resolved();
    let access_log = if request_lines { AccessLog::new(writer.clone(), format) } else { AccessLog::off() };
    let people = (format == LogFormat::Text).then(|| writer.clone());
    let keep = (&arguments.database, &*arguments.data);
    let result = runtime.block_on(serve(ports, source, keep, &writer, access_log, people));
    // Connections that did not finish in time end here.
    runtime.shutdown_timeout(Duration::from_secs(1));
    writer.close();
    result.map(|()| Exit::Success.into())
}

/// Says on stderr why there is nothing to serve.
fn refuse(error: &dyn std::error::Error, exit: Exit) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "error: {error}");
    exit.into()
}

async fn serve(
    ports: Ports,
    source: Source,
    (database, data): (&Database, &Path),
    writer: &LogWriter,
    access_log: AccessLog,
    people: Option<LogWriter>,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let Ports { scim, tls, admin } = ports;
    let address = scim.local_addr().context("the SCIM port has no address")?;

    let not_after = Gauge::default();
    let certificates = match &tls {
        Some((_, folder)) => Some(Arc::new(Certificates::load(folder, not_after.clone())?)),
        None => None,
    };
    let storage = match &source {
        Source::Folder(_, loaded) if database.database_url_file.is_none() => loaded.storage.clone().ok(),
        Source::Folder(..) | Source::Pod(_) => None,
    };
    let (store, figures) = database::open_as(database, data, storage.as_ref())?;
    let metrics = Metrics::new(|registry| {
        figures.register(registry);
        registry.register(
            "scim_log_lines_dropped",
            "Log lines dropped because stdout was read too slowly",
            writer.dropped(),
        );
        if certificates.is_some() {
            registry.register(
                "scim_certificate_not_after_timestamp_seconds",
                "When the certificate that is served ends, in seconds since 1970",
                not_after,
            );
        }
    });
    tokio::select! {
        there = waiting::until_there(&*store, &scim, &admin) => there?,
        name = first(&mut terminate, &mut interrupt) => {
            tracing::info!(signal = name, "stopped while the store was waited for");
            return Ok(());
        }
    }
    let app = App::new(Arc::clone(&store), metrics, access_log).await?;

    tokio::spawn(forget_old_answers(Arc::clone(&app)));
    tokio::spawn(prune_audit_logs(Arc::clone(&app)));
    tokio::spawn(purge_leavers(Arc::clone(&app)));
    let settle = Arc::new(Notify::new());
    let settling = tokio::spawn(settle_removals(Arc::clone(&app), Arc::clone(&settle)));
    let control = control(data);
    let (stop, stopped) = watch::channel(false);
    let (stop_admin, admin_stopped) = watch::channel(false);
    let serving_admin = || tokio::spawn(serve_admin(Arc::clone(&app), admin, admin_stopped));
    let followed = match source {
        Source::Folder(options, loaded) => {
            let announce = Announce { address, people };
            let follower = folder::start(&app, options, *loaded, storage, announce, settle).await?;
            serving_admin();
            Followed::Folder { _follower: follower }
        }
        Source::Pod(options) => {
            // `/readyz` says what is waited for.
            serving_admin();
            Followed::Pod(pod::start(Arc::clone(&app), options, settle))
        }
    };

    let tls = tls.zip(certificates);
    let mut serving =
        tokio::spawn(serve_clients(Arc::clone(&app), scim, tls, followed.configured(), stopped.clone()));
    if let Some(control) = control {
        tokio::spawn(control::serve_control(Arc::clone(&app), control, stopped));
    }
    let tending = tokio::spawn(tend_tokens(Arc::clone(&app)));

    let name = first(&mut terminate, &mut interrupt).await;
    tracing::info!(signal = name, "stopping: requests under way finish, a second signal ends at once");
    app.drain();
    let finish = async {
        drop(followed);
        if name == "SIGTERM" {
            tokio::time::sleep(DRAIN).await;
        }
        let _ = stop.send(true);
        if tokio::time::timeout(FINISH, &mut serving).await.is_err() {
            tracing::warn!("requests were still under way after {} seconds", FINISH.as_secs());
        }
        tending.abort();
        settling.abort();
        if let Err(error) = app.tend_tokens().await {
            tracing::warn!(%error, "cannot write down when tokens were last used");
        }
        store.close().await;
        let _ = stop_admin.send(true);
    };
    tokio::select! {
        () = finish => tracing::info!("stopped"),
        name = first(&mut terminate, &mut interrupt) => {
            tracing::warn!(signal = name, "stopped at once");
            writer.close();
            // What was acknowledged is on disk already.
            std::process::exit(1);
        }
    }
    Ok(())
}

/// Serves both ports, from when there is something to serve until `stopped`. Whoever connects before waits: an answer
/// would be about tenants that are not known yet.
async fn serve_clients(
    app: Arc<App>,
    plain: TcpListener,
    tls: Option<((TcpListener, PathBuf), Arc<Certificates>)>,
    configured: impl Future<Output = ()>,
    mut stopped: watch::Receiver<bool>,
) {
    tokio::select! {
        () = configured => {}
        _ = stopped.wait_for(|stop| *stop) => return,
    }
    let limits = ConnectionLimits::default();
    let plain = serve_scim(Arc::clone(&app), plain, limits, stopped.clone());
    let Some(((listener, folder), certificates)) = tls else { return plain.await };
    let renewing = tokio::spawn(certificate::follow(Arc::clone(&certificates), folder));
    tokio::join!(plain, serve_scim_tls(app, listener, &certificates, limits, stopped));
    renewing.abort();
}

/// What follows the source, until it is dropped.
enum Followed {
    Folder { _follower: crate::config::follow::Follower },
    Pod(Following),
}

impl Followed {
    /// Ready when there is something to serve.
    fn configured(&self) -> impl Future<Output = ()> + Send + 'static {
        let configured = match self {
            Self::Folder { .. } => None,
            Self::Pod(following) => Some(following.configured()),
        };
        async move {
            if let Some(mut configured) = configured {
                // An error: nobody follows any more, and the server is about to stop.
                let _ = configured.wait_for(|configured| *configured).await;
            }
        }
    }
}

async fn bind_all(arguments: &Arguments) -> anyhow::Result<Ports> {
    Ok(Ports {
        scim: bind(arguments.listen, "--listen").await?,
        tls: match (arguments.tls_listen, &arguments.tls) {
            (Some(address), Some(folder)) => Some((bind(address, "--tls-listen").await?, folder.clone())),
            _ => None,
        },
        admin: bind(arguments.admin, "--admin").await?,
    })
}

/// After each change, sees to the data of tenants that are gone; again after a failure.
async fn settle_removals(app: Arc<App>, changed: Arc<Notify>) {
    loop {
        changed.notified().await;
        while let Err(error) = app.settle_removals().await {
            tracing::error!(%error, "cannot look after the data of removed tenants; it stays, and it is tried again");
            tokio::time::sleep(SETTLE_AGAIN).await;
        }
    }
}

/// Where `scim-operator restore` reaches this server; a server without it serves all the same.
fn control(data: &Path) -> Option<Control> {
    match Control::bind(data) {
        Ok(control) => Some(control),
        Err(error) => {
            let socket = data.join(control::SOCKET);
            tracing::warn!(%error, socket = %socket.display(), "cannot listen for operators: scim-operator restore will not reach this server");
            None
        }
    }
}

/// Looks at the tokens now and then, until it is dropped.
async fn tend_tokens(app: Arc<App>) {
    let mut ticks = tokio::time::interval(TEND_TOKENS);
    loop {
        ticks.tick().await;
        if let Err(error) = app.tend_tokens().await {
            tracing::warn!(%error, "cannot write down when tokens were last used; trying again");
        }
    }
}

async fn bind(address: SocketAddr, option: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} (choose another with {option})"))
}

async fn first(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
