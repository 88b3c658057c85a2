//! `scim-operator serve`: a SCIM server from a folder of manifests, with no cluster at all.
//!
//! Start: load the manifests, bind the ports, open the store, serve, follow the folder. Stop: `/readyz`
//! fails, requests under way finish, the store closes.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::config::ServerConfig;
use crate::config::follow::follow;
use crate::config::manifests::{GeneratedSecret, LoadError, Loaded, Options, RotatedToken, load};
use crate::server::App;
use crate::server::audit::prune_audit_logs;
use crate::server::connection::{ConnectionLimits, serve_admin, serve_scim};
use crate::server::control::{self, Control};
use crate::server::idempotency::forget_old_answers;
use crate::server::leavers::purge_leavers;
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, StoreError};
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::logs::{self, LogFormat};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::writer::LogWriter;

use super::Exit;

/// After SIGTERM, how long to go on as before while `/readyz` fails: load balancers look away first.
const DRAIN: Duration = Duration::from_secs(1);

/// How often tokens are looked at: their last uses are written down, and what ends soon is said.
const TEND_TOKENS: Duration = Duration::from_mins(1);

/// How long requests under way may take to finish.
const FINISH: Duration = Duration::from_secs(30);

/// Serve the tenants of a folder of manifests
///
/// Every `ScimTenant` in the folder is served at `http://LISTEN/TENANT/scim/v2`. The folder is followed: an edit takes
/// effect at once, and one that is wrong changes nothing. A tenant without a bearer Secret gets one under the data
/// folder.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Folder (or file) of `ScimEndpoint`, `ScimTenant` and `Secret` manifests
    #[arg(long, value_name = "DIR")]
    pub manifests: PathBuf,
    /// Folder for the database and the Secrets that are made; made when absent
    #[arg(long, value_name = "DIR", default_value = "scim-data")]
    pub data: PathBuf,
    /// Address and port of the SCIM server
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = address)]
    pub listen: SocketAddr,
    /// Address and port of /livez, /readyz, /metrics and /tokens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090", value_parser = address)]
    pub admin: SocketAddr,
    /// The `ScimEndpoint` to serve, when the folder has several
    #[arg(long, value_name = "NAMESPACE/NAME")]
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
}

/// An address, or a host name that has one.
fn address(text: &str) -> Result<SocketAddr, String> {
    let wrong = || format!("expected ADDRESS:PORT, such as 127.0.0.1:8080, but found {text:?}");
    text.to_socket_addrs().ok().and_then(|mut found| found.next()).ok_or_else(wrong)
}

/// Serves until a signal says to stop.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (writer, request_lines) = match logs::init(arguments.log_format, arguments.log_level.as_deref()) {
        Ok(logs) => logs,
        Err(error) => return Ok(refuse(&error, Exit::Usage)),
    };
    let options = Options {
        manifests: arguments.manifests.clone(),
        data: arguments.data.clone(),
        endpoint: arguments.endpoint.clone(),
    };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = arguments.workers {
        runtime.worker_threads(workers.get());
    }
    let runtime = runtime.enable_all().build().context("cannot start the worker threads")?;
    // Before tokens are made for tenants that lack one: those are announced once, so only when they will be served.
    let scim = runtime.block_on(bind(arguments.listen, "--listen"))?;
    let admin = runtime.block_on(bind(arguments.admin, "--admin"))?;
    let loaded = match load(&options) {
        Ok(loaded) => loaded,
        Err(error @ LoadError::Findings(_)) => return Ok(refuse(&error, Exit::Failure)),
        Err(error) => return Ok(refuse(&error, Exit::Usage)),
    };
    let format = arguments.log_format.resolved();
    let access_log = if request_lines { AccessLog::new(writer.clone(), format) } else { AccessLog::off() };
    let people = (format == LogFormat::Text).then(|| writer.clone());
    let result = runtime.block_on(serve([scim, admin], options, loaded, &writer, access_log, people));
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
    ports: [TcpListener; 2],
    options: Options,
    mut loaded: Loaded,
    writer: &LogWriter,
    access_log: AccessLog,
    people: Option<LogWriter>,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let [scim, admin] = ports;
    let address = scim.local_addr().context("the SCIM port has no address")?;

    let store = SqliteStore::open(&options.data)?;
    let metrics = Metrics::new(|registry| {
        store.metrics().register(registry);
        registry.register(
            "scim_log_lines_dropped",
            "Log lines dropped because stdout was read too slowly",
            writer.dropped(),
        );
    });
    let store: Arc<dyn Store> = Arc::new(store);
    let app = App::new(Arc::clone(&store), metrics, access_log).await?;

    tokio::spawn(forget_old_answers(Arc::clone(&app)));
    tokio::spawn(prune_audit_logs(Arc::clone(&app)));
    tokio::spawn(purge_leavers(Arc::clone(&app)));
    let control = control(&options.data);
    let announce = Announce { address, people };
    apply(&app, &loaded.config, &Handle::current()).await?;
    loaded.publish()?;
    announce.served(&loaded);
    announce.rotated(&loaded.rotated, true);

    let (stop, stopped) = watch::channel(false);
    let (stop_admin, admin_stopped) = watch::channel(false);
    let mut scim =
        tokio::spawn(serve_scim(Arc::clone(&app), scim, ConnectionLimits::default(), stopped.clone()));
    if let Some(control) = control {
        tokio::spawn(control::serve_control(Arc::clone(&app), control, stopped));
    }
    tokio::spawn(serve_admin(Arc::clone(&app), admin, admin_stopped));
    let follower = {
        let (app, runtime) = (Arc::clone(&app), Handle::current());
        follow(options, &loaded, move |changed| match changed {
            Ok(mut loaded) => {
                if let Err(error) = runtime.block_on(apply(&app, &loaded.config, &runtime)) {
                    tracing::error!(%error, "the store is not ready for the edit, the last good configuration serves on; edit again when it is");
                    return;
                }
                if let Err(error) = loaded.publish() {
                    tracing::error!(%error, "a new token is not in its place; the old one works on, and it is tried again");
                    return;
                }
                announce.served(&loaded);
                announce.rotated(&loaded.rotated, false);
            }
            Err(error) => {
                tracing::error!("the edit is not applied, the last good configuration serves on:\n{error}");
            }
        })
    };

    let tending = tokio::spawn(tend_tokens(Arc::clone(&app)));

    let name = first(&mut terminate, &mut interrupt).await;
    tracing::info!(signal = name, "stopping: requests under way finish, a second signal ends at once");
    app.drain();
    let finish = async {
        drop(follower);
        if name == "SIGTERM" {
            tokio::time::sleep(DRAIN).await;
        }
        let _ = stop.send(true);
        if tokio::time::timeout(FINISH, &mut scim).await.is_err() {
            tracing::warn!("requests were still under way after {} seconds", FINISH.as_secs());
        }
        tending.abort();
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

/// Serves a configuration, and then sees to the data of tenants that are gone.
async fn apply(app: &Arc<App>, config: &ServerConfig, runtime: &Handle) -> Result<(), StoreError> {
    app.apply(config).await?;
    let app = Arc::clone(app);
    runtime.spawn(async move {
        if let Err(error) = app.settle_removals().await {
            tracing::error!(%error, "cannot look after the data of removed tenants; it stays");
        }
    });
    Ok(())
}

/// Tells people, or machines, what is served.
struct Announce {
    address: SocketAddr,
    /// Where people read; `None` when only machines do.
    people: Option<LogWriter>,
}

impl Announce {
    fn served(&self, loaded: &Loaded) {
        let Loaded { config, generated, warnings, .. } = loaded;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        if let Some(people) = &self.people {
            people.write_lines(self.table(config, generated).as_bytes());
            return;
        }
        for tenant in &config.tenants {
            let url = self.url(&tenant.path);
            tracing::info!(tenant = tenant.name, url, dialect = ?tenant.identity_provider, suspended = tenant.suspended, "serving");
        }
        for GeneratedSecret { tenant, tenant_path, token_file } in generated {
            let try_it = self.curl(tenant_path, token_file);
            tracing::info!(tenant, token_file = %token_file.display(), try_it, "made a bearer token");
        }
    }

    /// Says where the new tokens are: once when they come, and again at each start while the old ones work.
    fn rotated(&self, rotated: &[RotatedToken], all: bool) {
        for RotatedToken { tenant, tenant_path, token_file, previous_expires_at, just_now } in rotated {
            if !(all || *just_now) {
                continue;
            }
            if let Some(people) = &self.people {
                let line = format!(
                    "  The bearer token of {tenant} was replaced: {}\n  \
                     Give it to the identity provider; the old one works until {previous_expires_at}. Try it:\n    {}\n\n",
                    token_file.display(),
                    self.curl(tenant_path, token_file)
                );
                people.write_lines(line.as_bytes());
            } else {
                tracing::info!(tenant, token_file = %token_file.display(), old_token_works_until = %previous_expires_at, "replaced a bearer token: give the new one to the identity provider");
            }
        }
    }

    fn table(&self, config: &ServerConfig, generated: &[GeneratedSecret]) -> String {
        let width = |heading: &str, cells: &mut dyn Iterator<Item = usize>| {
            cells.max().unwrap_or(0).max(heading.len())
        };
        let name = width("TENANT", &mut config.tenants.iter().map(|tenant| tenant.name.len()));
        let url = width("URL", &mut config.tenants.iter().map(|tenant| self.url(&tenant.path).len()));
        let mut text = String::from("\n");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {:name$}  {:url$}  DIALECT", "TENANT", "URL");
        for tenant in &config.tenants {
            let suspended = if tenant.suspended { " (suspended)" } else { "" };
            let dialect = format!("{:?}{suspended}", tenant.identity_provider);
            let _ = writeln!(text, "  {:name$}  {:url$}  {dialect}", tenant.name, self.url(&tenant.path));
        }
        if config.tenants.is_empty() {
            text.push_str("  none yet: add a ScimTenant to the folder\n");
        }
        for GeneratedSecret { tenant, tenant_path, token_file } in generated {
            let file = token_file.display();
            let _ = writeln!(
                text,
                "\n  Made a bearer token for {tenant}: {file}\n  Try it:\n    {}",
                self.curl(tenant_path, token_file)
            );
        }
        text.push('\n');
        text
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}/scim/v2", reachable(self.address))
    }

    /// A command line that works when pasted and does not show the token.
    fn curl(&self, path: &str, token_file: &Path) -> String {
        let file = std::path::absolute(token_file).unwrap_or_else(|_| token_file.to_owned());
        let file = file.to_string_lossy().replace('\'', r"'\''");
        format!(
            r#"curl -H "Authorization: Bearer $(sed -n 's/^  token: //p' '{file}')" {}/Users"#,
            self.url(path)
        )
    }
}

/// Where this machine reaches a listener: an unspecified address is no destination.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], v4.port())),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], v6.port()))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Audit, Lifecycle, Limits, Membership, TenantConfig};
    use crate::scim::dialect::Dialect;
    use crate::scim::schema::CustomSchemas;

    use super::*;

    fn tenant(path: &str, suspended: bool) -> TenantConfig {
        TenantConfig {
            name: format!("identity/{path}"),
            path: path.to_owned(),
            identity_provider: Dialect::Generic,
            tokens: Vec::new(),
            schemas: CustomSchemas::default(),
            limits: Limits::default(),
            suspended,
            purge_on_removal: false,
            lifecycle: Lifecycle::default(),
            membership: Membership::default(),
            audit: Audit::default(),
            oauth2: None,
        }
    }

    #[test]
    fn table_shows_tenants_urls_and_a_line_to_paste() {
        let config = ServerConfig {
            endpoint: "identity/main".to_owned(),
            host: None,
            allowed_cidrs: Vec::new(),
            trusted_proxies: Vec::new(),
            tenants: vec![tenant("acme", false).into(), tenant("globex-corporation", true).into()],
        };
        let generated = GeneratedSecret {
            tenant: "identity/acme".to_owned(),
            tenant_path: "acme".to_owned(),
            token_file: PathBuf::from("/data/it's here.yaml"),
        };
        let announce = Announce { address: "0.0.0.0:8080".parse().unwrap(), people: None };
        insta::assert_snapshot!(announce.table(&config, &[generated]), @r#"

          TENANT                       URL                                               DIALECT
          identity/acme                http://127.0.0.1:8080/acme/scim/v2                Generic
          identity/globex-corporation  http://127.0.0.1:8080/globex-corporation/scim/v2  Generic (suspended)

          Made a bearer token for identity/acme: /data/it's here.yaml
          Try it:
            curl -H "Authorization: Bearer $(sed -n 's/^  token: //p' '/data/it'\''s here.yaml')" http://127.0.0.1:8080/acme/scim/v2/Users
        "#);
    }

    #[test]
    fn listener_on_every_address_is_reached_on_loopback() {
        for (listen, shown) in
            [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("192.0.2.1:80", "192.0.2.1:80")]
        {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), shown);
        }
    }
}
