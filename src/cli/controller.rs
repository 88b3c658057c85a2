//! `scim-operator controller`: the operator, in a cluster or beside one.

use std::{collections::BTreeSet, io::Write as _, net::SocketAddr, process::ExitCode};

use anyhow::Context as _;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::Exit;
use crate::{
    controller::{self, Options, Webhook},
    telemetry::logs::{self, LogFormat},
};

/// Run the operator
///
/// It watches `ScimEndpoint`s and `ScimTenant`s and keeps what serves them as they say. The cluster is that of the pod
/// it runs in, else that of KUBECONFIG. Several may run: one acts, and another takes over when it goes.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Namespace to watch; can be repeated. All namespaces when absent
    #[arg(long = "namespace", value_name = "NAMESPACE")]
    pub namespaces: Vec<String>,
    /// Container image of server pods whose endpoint names none
    #[arg(long, value_name = "IMAGE")]
    pub server_image: String,
    /// Address and port of /livez, /readyz and /metrics
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    pub admin: SocketAddr,
    /// Namespace of the Lease by which one of several operators is chosen; when absent, that of the pod (`POD_NAMESPACE`), else default
    #[arg(long, value_name = "NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// Address and port of the validating webhook, with TLS; none when absent
    #[arg(long, value_name = "ADDRESS", requires = "webhook_name")]
    pub webhook: Option<SocketAddr>,
    /// Name of the webhook's Service, of the Secret with its certificate, which is made and renewed, and of the
    /// `ValidatingWebhookConfiguration`, which gets the certificate; Service and Secret are in the namespace of the Lease
    #[arg(long, value_name = "NAME", requires = "webhook")]
    pub webhook_name: Option<String>,
    /// Port on which server pods tell what they run
    #[arg(long, value_name = "PORT", default_value_t = 9090, hide = true)]
    pub pod_admin_port: u16,
    /// How log lines look; auto is text on a terminal and JSON otherwise
    #[arg(long, value_enum, default_value_t = LogFormat::Auto)]
    pub log_format: LogFormat,
    /// Least level of log lines: error, warn, info, debug, trace; `RUST_LOG` when absent
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

/// Runs until a signal says to stop.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (writer, _) = match logs::init(arguments.log_format, arguments.log_level.as_deref()) {
        Ok(logs) => logs,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            return Ok(Exit::Usage.into());
        }
    };
    let options = Options {
        namespaces: arguments.namespaces.iter().cloned().collect::<BTreeSet<_>>(),
        server_image: arguments.server_image.clone(),
        lease_namespace: lease_namespace(arguments),
        identity: identity(),
        pod_admin_port: arguments.pod_admin_port,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the worker threads")?;
    let result = runtime.block_on(async {
        let admin = TcpListener::bind(arguments.admin).await;
        let admin = admin
            .with_context(|| format!("cannot listen on {} (choose another with --admin)", arguments.admin))?;
        let webhook = webhook(arguments).await?;
        let (sender, stop) = watch::channel(false);
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "stopping");
            sender.send_replace(true);
            // Until the process ends.
            std::future::pending::<()>().await;
        });
        controller::run(options, admin, webhook, stop).await.map_err(anyhow::Error::from)
    });
    writer.close();
    result.map(|()| Exit::Success.into())
}

async fn webhook(arguments: &Arguments) -> anyhow::Result<Option<Webhook>> {
    let (Some(address), Some(name)) = (arguments.webhook, &arguments.webhook_name) else { return Ok(None) };
    let listener = TcpListener::bind(address).await;
    let listener =
        listener.with_context(|| format!("cannot listen on {address} (choose another with --webhook)"))?;
    Ok(Some(Webhook { listener, name: name.clone(), namespace: lease_namespace(arguments) }))
}

fn lease_namespace(arguments: &Arguments) -> String {
    let own = || std::env::var("POD_NAMESPACE").unwrap_or_else(|_| "default".to_owned());
    arguments.lease_namespace.clone().unwrap_or_else(own)
}

/// The pod's name, and something that tells a restarted container from the one before.
fn identity() -> String {
    let host = std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME"));
    format!("{}_{}", host.as_deref().unwrap_or("scim-operator"), uuid::Uuid::new_v4())
}
