//! What runs in the process: watches, the admin port, the election, and the workers while this process leads.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use kube::Client;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use super::{
    admin::{self, Health},
    cache::Cache,
    cluster::Cluster,
    context::{Context, Queues},
    endpoint,
    events::Events,
    failure::Failure,
    key::Key,
    kinds::Kind,
    leader::Election,
    metrics::Metrics,
    names::LEASE,
    queue::{Queue, Turn},
    reports::{self, Reporters},
    tenant,
    validate::Settings,
    watch::{Progress, Watch},
    webhook::{self, Served, Webhook},
};

/// How the controller runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// The namespaces that are watched; none for all of the cluster.
    pub namespaces: BTreeSet<String>,
    /// The container image of server pods whose endpoint names none.
    pub server_image: String,
    /// The namespace of the Lease.
    pub lease_namespace: String,
    /// Tells this process apart from others: unique, and stable while it lives.
    pub identity: String,
    /// The admin port of server pods.
    pub pod_admin_port: u16,
}

/// Why the controller could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No cluster is configured.
    #[error("cannot find a cluster: run in a pod with a service account, or set KUBECONFIG")]
    Config(#[source] kube::config::InferConfigError),
    /// The configuration of the cluster cannot be used.
    #[error("cannot use the configuration of the cluster")]
    Client(#[source] kube::Error),
    /// Pods cannot be asked.
    #[error("cannot make an HTTP client")]
    Http(#[source] reqwest::Error),
}

struct Controller {
    context: Context,
    watches: Vec<(Kind, Arc<Progress>)>,
    /// The webhook's certificate, when there is to be a webhook.
    webhook: Option<Arc<Served>>,
}

impl Health for Controller {
    fn ready(&self) -> Result<(), String> {
        let waiting: BTreeSet<&str> = self
            .watches
            .iter()
            .filter(|(_, progress)| !progress.synced())
            .map(|(kind, _)| kind.as_str())
            .collect();
        if waiting.is_empty() {
            return match &self.webhook {
                Some(served) if served.config().is_none() => {
                    Err("the webhook has no certificate yet".to_owned())
                }
                _ => Ok(()),
            };
        }
        let kinds = waiting.into_iter().collect::<Vec<_>>().join(", ");
        Err(format!("not all objects have been read yet: {kinds}"))
    }

    fn metrics(&self) -> &Metrics {
        let Context { cache, queues, metrics, .. } = &self.context;
        for (kind, known, unreadable) in cache.counts() {
            metrics.objects(kind.as_str(), known, unreadable);
        }
        metrics.depth("endpoints", queues.endpoints.len());
        metrics.depth("tenants", queues.tenants.len());
        metrics.depth("reports", queues.reports.len());
        metrics
    }
}

/// The cluster that the environment names: that of the pod, else that of `KUBECONFIG`.
async fn client() -> Result<Client, StartError> {
    let config = kube::Config::infer().await.map_err(StartError::Config)?;
    Client::try_from(config).map_err(StartError::Client)
}

/// Runs until `stop` is true. Requests under way then finish, and the Lease is given back.
pub async fn run(
    options: Options,
    admin: TcpListener,
    webhook: Option<Webhook>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), StartError> {
    let client = client().await?;
    let metrics = Arc::new(Metrics::new());
    let queues = Arc::new(Queues::new());
    let cache = Arc::new(Cache::new(Box::new(Arc::clone(&queues))));
    let cluster = Cluster::new(client.clone(), Arc::clone(&metrics));
    let (events, publish) = Events::new(client.clone(), options.identity.clone(), Arc::clone(&metrics));
    let reporters = Reporters::new(options.pod_admin_port).map_err(StartError::Http)?;
    let settings = Settings {
        server_image: options.server_image.clone(),
        operator_namespace: options.lease_namespace.clone(),
    };
    let context = Context::new(cache, cluster, queues, events, reporters, settings);

    // Ends with this function.
    let mut tasks = JoinSet::new();
    let watches = watches(&client, &options);
    let progress = watches.iter().map(|(kind, _)| (*kind, Arc::new(Progress::default()))).collect();
    let served = webhook.as_ref().map(|_| Arc::default());
    let controller = Arc::new(Controller { context, watches: progress, webhook: served.clone() });
    if let (Some(webhook), Some(served)) = (webhook, served) {
        tasks.spawn(webhook::run(webhook, client.clone(), Arc::clone(&controller.context.cache), served));
    }
    tasks.spawn(publish);
    tasks.spawn(admin::serve(admin, Arc::clone(&controller)));
    controller.start_watches(watches, &mut tasks);

    let synced = tokio::select! {
        () = controller.synced() => true,
        _ = stop.wait_for(|stop| *stop) => false,
    };
    if !synced {
        return Ok(());
    }
    tracing::info!("all objects are read: ready");
    let (leads, mut leading) = watch::channel(false);
    let (working, mut idle) = watch::channel(false);
    let election = Election::new(client, &options.lease_namespace, LEASE, options.identity.clone());
    let wait_idle = async move {
        let _ = idle.wait_for(|working| !*working).await;
    };
    let election = tokio::spawn(election.run(leads, stop.clone(), wait_idle));
    // The sender ends with the election.
    while leading.wait_for(|leads| *leads).await.is_ok() {
        working.send_replace(true);
        metrics.leads(true);
        tracing::info!(identity = options.identity, "leading");
        controller.work(&mut leading, &stop).await;
        metrics.leads(false);
        working.send_replace(false);
    }
    if let Err(error) = election.await {
        tracing::error!(%error, "the election ended unexpectedly");
    }
    tracing::info!("stopped");
    Ok(())
}

/// What is to be watched, and for which kind.
fn watches(client: &Client, options: &Options) -> Vec<(Kind, Watch)> {
    let mut kinds = vec![Kind::Endpoint, Kind::Tenant, Kind::Pod, Kind::Secret];
    kinds.extend(Kind::CHILDREN);
    let namespaces: Vec<Option<String>> = if options.namespaces.is_empty() {
        vec![None]
    } else {
        options.namespaces.iter().cloned().map(Some).collect()
    };
    let mut watches: Vec<(Kind, Watch)> = kinds
        .into_iter()
        .flat_map(|kind| namespaces.iter().map(move |namespace| (kind, namespace)))
        .map(|(kind, namespace)| (kind, watch_of(client, kind, namespace.clone())))
        .collect();
    // Who may read some namespaces only may not list them, and cannot choose by their labels.
    if options.namespaces.is_empty() {
        watches.push((Kind::Namespace, watch_of(client, Kind::Namespace, None)));
    }
    watches
}

fn watch_of(client: &Client, kind: Kind, namespace: Option<String>) -> Watch {
    const OURS: &str = "app.kubernetes.io/managed-by=scim-operator,scim-operator.io/endpoint";
    // Releases of Helm and tokens of service accounts are many, large, and never ours.
    const SECRETS: &str = "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token";
    let is_custom = matches!(kind, Kind::Endpoint | Kind::Tenant);
    let is_whole = is_custom || matches!(kind, Kind::Pod | Kind::Secret);
    let is_labelled = !is_custom && !matches!(kind, Kind::Secret | Kind::Namespace);
    Watch {
        kind,
        client: client.clone(),
        namespace,
        labels: is_labelled.then_some(OURS),
        fields: (kind == Kind::Secret).then_some(SECRETS),
        metadata_only: !is_whole,
    }
}

impl Controller {
    /// Secrets come after the objects that refer to them: whose data to keep is known by then.
    fn start_watches(self: &Arc<Self>, watches: Vec<(Kind, Watch)>, tasks: &mut JoinSet<()>) {
        for ((kind, watch), (_, progress)) in watches.into_iter().zip(&self.watches) {
            let (controller, progress) = (Arc::clone(self), Arc::clone(progress));
            let sink = self.context.cache.sink(kind);
            tasks.spawn(async move {
                if kind == Kind::Secret {
                    controller.synced_of(&[Kind::Endpoint, Kind::Tenant]).await;
                }
                watch.run(sink, progress, Arc::clone(&controller.context.metrics)).await;
            });
        }
    }

    async fn synced(&self) {
        while self.ready().is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn synced_of(&self, kinds: &[Kind]) {
        let waits = |(kind, progress): &(Kind, Arc<Progress>)| kinds.contains(kind) && !progress.synced();
        while self.watches.iter().any(waits) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Works while this process leads.
    async fn work(self: &Arc<Self>, leading: &mut watch::Receiver<bool>, stop: &watch::Receiver<bool>) {
        let mut workers = JoinSet::new();
        for work in Work::ALL {
            for _ in 0..work.workers() {
                workers.spawn(work.run(Arc::clone(self), stop.clone()));
            }
        }
        // Nobody leads any more when the election is gone.
        let _ = leading.wait_for(|leads| !*leads).await;
        if *stop.borrow() {
            // What is under way finishes, within reason.
            let _ =
                tokio::time::timeout(FINISH, async { while workers.join_next().await.is_some() {} }).await;
        }
        workers.shutdown().await;
        for work in Work::ALL {
            work.queue(&self.context.queues).abandon();
        }
        // Another process leads from now on; what it does is seen in the cluster when this one leads again.
        self.context.forget_all();
        self.context.cache.tell_all();
    }
}

/// After a signal to stop, how long requests under way may take: the next leader waits for it.
const FINISH: Duration = Duration::from_secs(2);

/// What workers do.
#[derive(Debug, Clone, Copy)]
enum Work {
    Endpoints,
    Tenants,
    Reports,
}

impl Work {
    const ALL: [Self; 3] = [Self::Endpoints, Self::Tenants, Self::Reports];

    /// How many of them there are at the same time.
    fn workers(self) -> usize {
        match self {
            Self::Endpoints | Self::Reports => 4,
            Self::Tenants => 16,
        }
    }

    /// What metrics and logs call it.
    fn name(self) -> &'static str {
        match self {
            Self::Endpoints => "ScimEndpoint",
            Self::Tenants => "ScimTenant",
            Self::Reports => "PodReport",
        }
    }

    fn queue(self, queues: &Queues) -> &Queue<Key> {
        match self {
            Self::Endpoints => &queues.endpoints,
            Self::Tenants => &queues.tenants,
            Self::Reports => &queues.reports,
        }
    }

    async fn turn(self, context: &Context, key: &Key) -> Result<Turn, Failure> {
        match self {
            Self::Endpoints => endpoint::reconcile(context, key).await,
            Self::Tenants => tenant::reconcile(context, key).await,
            Self::Reports => reports::report(context, key).await,
        }
    }

    /// Takes turns until `stop` is true.
    async fn run(self, controller: Arc<Controller>, mut stop: watch::Receiver<bool>) {
        let context = &controller.context;
        let queue = self.queue(&context.queues);
        loop {
            let key = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                key = queue.next() => key,
            };
            let begin = Instant::now();
            let result = self.turn(context, &key).await;
            let error = result.as_ref().err().map(Failure::reason);
            context.metrics.reconciled(self.name(), begin.elapsed(), error);
            queue.done(
                &key,
                result.unwrap_or_else(|error| {
                    let (kind, error) = (self.name(), report(&error));
                    tracing::warn!(kind, object = %key, error, "the turn failed; trying again");
                    Turn::Failed
                }),
            );
        }
    }
}

/// An error and its causes, one after the other.
pub(crate) fn report(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
