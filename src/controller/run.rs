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
    cache::{Cache, Listener},
    cluster::Cluster,
    failure::Failure,
    key::Key,
    kinds::Kind,
    leader::Election,
    metrics::Metrics,
    queue::{Queue, Turn},
    watch::{Progress, Watch},
};

/// The name of the Lease.
const LEASE: &str = "scim-operator";

/// A burst of changes, such as `kubectl apply` of a folder, is one turn of an endpoint.
const ENDPOINT_DEBOUNCE: Duration = Duration::from_millis(30);
/// What a change of a tenant brings along, such as its Secret, comes with it.
const TENANT_DEBOUNCE: Duration = Duration::from_millis(10);

/// Endpoints that are worked on at the same time.
const ENDPOINT_WORKERS: usize = 4;
/// Tenants that are worked on at the same time.
const TENANT_WORKERS: usize = 16;

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
}

struct Queues {
    endpoints: Queue<Key>,
    tenants: Queue<Key>,
}

impl Listener for Arc<Queues> {
    fn endpoint(&self, key: &Key) {
        self.endpoints.add(key.clone(), ENDPOINT_DEBOUNCE);
    }

    fn tenant(&self, key: &Key) {
        self.tenants.add(key.clone(), TENANT_DEBOUNCE);
    }

    fn pods(&self, endpoint: &Key) {
        self.endpoints.add(endpoint.clone(), ENDPOINT_DEBOUNCE);
    }
}

struct Controller {
    cache: Arc<Cache>,
    cluster: Cluster,
    metrics: Arc<Metrics>,
    queues: Arc<Queues>,
    watches: Vec<(Kind, Arc<Progress>)>,
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
            return Ok(());
        }
        let kinds = waiting.into_iter().collect::<Vec<_>>().join(", ");
        Err(format!("not all objects have been read yet: {kinds}"))
    }

    fn metrics(&self) -> &Metrics {
        for (kind, known, unreadable) in self.cache.counts() {
            self.metrics.objects(kind.as_str(), known, unreadable);
        }
        self.metrics.depth("endpoints", self.queues.endpoints.len());
        self.metrics.depth("tenants", self.queues.tenants.len());
        &self.metrics
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
    mut stop: watch::Receiver<bool>,
) -> Result<(), StartError> {
    let client = client().await?;
    let metrics = Arc::new(Metrics::new());
    let queues = Arc::new(Queues { endpoints: Queue::new(), tenants: Queue::new() });
    let cache = Arc::new(Cache::new(Box::new(Arc::clone(&queues))));
    let cluster = Cluster::new(client.clone(), Arc::clone(&metrics));

    // Ends with this function.
    let mut tasks = JoinSet::new();
    let watches = watches(&client, &options);
    let progress = watches.iter().map(|(kind, _)| (*kind, Arc::new(Progress::default()))).collect();
    let controller = Arc::new(Controller { cache, cluster, metrics, queues, watches: progress });
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
        controller.metrics.leads(true);
        tracing::info!(identity = options.identity, "leading");
        controller.work(&mut leading, &stop).await;
        controller.metrics.leads(false);
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
            let sink = self.cache.sink(kind);
            tasks.spawn(async move {
                if kind == Kind::Secret {
                    controller.synced_of(&[Kind::Endpoint, Kind::Tenant]).await;
                }
                watch.run(sink, progress, Arc::clone(&controller.metrics)).await;
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
        for _ in 0..ENDPOINT_WORKERS {
            let (controller, stop) = (Arc::clone(self), stop.clone());
            workers.spawn(async move {
                let queue = &controller.queues.endpoints;
                drain(queue, Kind::Endpoint, &controller.metrics, stop, async |key| {
                    tracing::info!(endpoint = %key, "reconcile");
                    Ok(Turn::Done)
                })
                .await;
            });
        }
        for _ in 0..TENANT_WORKERS {
            let (controller, stop) = (Arc::clone(self), stop.clone());
            workers.spawn(async move {
                let queue = &controller.queues.tenants;
                drain(queue, Kind::Tenant, &controller.metrics, stop, async |key| {
                    tracing::info!(tenant = %key, "reconcile");
                    Ok(Turn::Done)
                })
                .await;
            });
        }
        // Nobody leads any more when the election is gone.
        let _ = leading.wait_for(|leads| !*leads).await;
        if *stop.borrow() {
            // What is under way finishes, within reason.
            let _ =
                tokio::time::timeout(FINISH, async { while workers.join_next().await.is_some() {} }).await;
        }
        workers.shutdown().await;
        self.queues.endpoints.abandon();
        self.queues.tenants.abandon();
    }
}

/// After a signal to stop, how long requests under way may take: the next leader waits for it.
const FINISH: Duration = Duration::from_secs(2);

/// Takes turns until `stop` is true.
async fn drain(
    queue: &Queue<Key>,
    kind: Kind,
    metrics: &Metrics,
    mut stop: watch::Receiver<bool>,
    reconcile: impl AsyncFn(&Key) -> Result<Turn, Failure>,
) {
    loop {
        let key = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            key = queue.next() => key,
        };
        let begin = Instant::now();
        let result = reconcile(&key).await;
        let error = result.as_ref().err().map(Failure::reason);
        metrics.reconciled(kind.as_str(), begin.elapsed(), error);
        queue.done(&key, result.unwrap_or_else(|error| {
            tracing::warn!(kind = kind.as_str(), object = %key, error = report(&error), "the reconcile failed; trying again");
            Turn::Failed
        }));
    }
}

/// An error and its causes, one after the other.
fn report(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
