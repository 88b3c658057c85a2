//! The controller and one server pod as processes, and the objects around them.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use futures::stream::{self, StreamExt};
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api_server::ApiServer;

const NAMESPACE: &str = "identity";
/// Tenants that are created at the same time, as `kubectl apply` of a folder does not, and Argo CD does.
const AT_ONCE: usize = 16;
/// How long a step may take before the bench gives up.
const PATIENCE: Duration = Duration::from_mins(15);

/// A running operator with one endpoint and one server pod.
pub(crate) struct Operator {
    client: Client,
    http: reqwest::Client,
    controller: Process,
    server: Process,
    /// Where the server answers identity providers.
    address: String,
    started: Instant,
    api_server: ApiServer,
    _folder: TempDir,
}

impl Operator {
    /// Brings everything up, with an endpoint and without a tenant.
    pub(crate) async fn start() -> Self {
        let api_server = ApiServer::start().await;
        api_server.create_namespace(NAMESPACE).await;
        let folder = TempDir::new().expect("the temporary folder is writable");
        let kubeconfig = folder.path().join("kubeconfig");
        fs::write(&kubeconfig, api_server.kubeconfig()).expect("the folder is writable");
        let file = Kubeconfig::read_from(&kubeconfig).expect("it is a kubeconfig");
        let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
            .await
            .expect("of one cluster");
        config.proxy_url = None;
        let client = Client::try_from(config).expect("its certificate can be read");

        let (address, admin, metrics) = (free_address(), free_address(), free_address());
        let (_, admin_port) = admin.split_once(':').expect("an address has a port");
        let controller = [
            "controller",
            "--server-image=bench",
            "--lease-namespace=identity",
            "--pod-admin-port",
            admin_port,
        ];
        let controller = [&controller[..], &["--admin", &metrics]].concat();
        let controller = Process::start("controller", &controller, &kubeconfig, folder.path());
        let endpoint = json!({"apiVersion": "scim-operator.io/v1alpha1", "kind": "ScimEndpoint", "metadata": {"name": "main"},
            "spec": {"host": "scim.example.com", "exposure": {"ingress": {"className": "bench"}}}});
        create(&client, "ScimEndpoint", endpoint).await;

        // What kubelet does: it mounts the configuration, starts the server, and says that it is ready.
        let mounted = folder.path().join("configuration");
        fs::create_dir(&mounted).expect("the folder is writable");
        let head =
            wait_for("the configuration", async || get(&client, "Secret", "main-scim-config").await).await;
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(head["data"]["config.json"].as_str().unwrap_or_default());
        fs::write(mounted.join("config.json"), bytes.expect("Secrets are in base64"))
            .expect("the folder is writable");
        let (mounted, data) =
            (mounted.display().to_string(), folder.path().join("data").display().to_string());
        let server =
            ["serve", "--config", &mounted, "--config-secret", "identity/main-scim-config", "--data", &data];
        let server = [&server[..], &["--listen", &address, "--admin", &admin]].concat();
        let server = Process::start("server", &server, &kubeconfig, folder.path());
        let http = reqwest::Client::builder().no_proxy().build().expect("a client without TLS always builds");
        wait_for("the server", async || {
            http.get(format!("http://{admin}/readyz")).send().await.ok()?.error_for_status().ok()
        })
        .await;
        let operator = Self {
            client,
            http,
            controller,
            server,
            address,
            started: Instant::now(),
            api_server,
            _folder: folder,
        };
        operator.say_that_the_pod_is_ready().await;
        operator
    }

    async fn say_that_the_pod_is_ready(&self) {
        let deployment =
            wait_for("the Deployment", async || get(&self.client, "Deployment", "main-scim").await).await;
        let template = &deployment["spec"]["template"];
        // Of what a pod is, only what the controller reads: whose it is, where, and that it is ready.
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "main-scim-0", "labels": template["metadata"]["labels"]},
            "spec": {"containers": [{"name": "server", "image": "bench"}], "automountServiceAccountToken": false,
                "serviceAccountName": template["spec"]["serviceAccountName"]}});
        create(&self.client, "Pod", pod).await;
        let conditions = json!([{"type": "Ready", "status": "True"}]);
        let status = json!({"status": {"phase": "Running", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}], "conditions": conditions}});
        patch_status(&self.client, "Pod", "main-scim-0", status).await;
        let generation = &deployment["metadata"]["generation"];
        let status = json!({"status": {"observedGeneration": generation, "replicas": 1, "readyReplicas": 1,
            "updatedReplicas": 1, "availableReplicas": 1}});
        patch_status(&self.client, "Deployment", "main-scim", status).await;
    }

    /// Creates tenants, and says how long it took.
    pub(crate) async fn create_tenants(&mut self, count: usize) -> Duration {
        self.started = Instant::now();
        let created = stream::iter(0..count).map(async |number| {
            let tenant = json!({"apiVersion": "scim-operator.io/v1alpha1", "kind": "ScimTenant",
                "metadata": {"name": name(number)}, "spec": {"endpointRef": {"name": "main"}, "identityProvider": "Okta"}});
            create(&self.client, "ScimTenant", tenant).await;
        });
        created.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
        self.started.elapsed()
    }

    /// Waits until every tenant says Ready, and says how long after the first was created.
    pub(crate) async fn converged(&self, count: usize) -> Duration {
        // Cheap to ask again and again; that all are Ready is looked at once it says so.
        wait_for("the endpoint counts all tenants", async || {
            let endpoint = get(&self.client, "ScimEndpoint", "main").await?;
            (endpoint["status"]["tenants"] == count).then_some(())
        })
        .await;
        wait_for("all tenants are Ready", async || {
            let tenants = api(&self.client, "ScimTenant").list(&ListParams::default()).await.ok()?;
            let ready = tenants.items.iter().filter(|tenant| {
                let conditions = tenant.data["status"]["conditions"].as_array();
                conditions.is_some_and(|all| {
                    all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
                })
            });
            (ready.count() == count).then_some(())
        })
        .await;
        self.started.elapsed()
    }

    /// The most memory that controller and server have had.
    pub(crate) fn megabytes(&self) -> (f64, f64) {
        (self.controller.peak(), self.server.peak())
    }

    /// Suspends and resumes tenants, one after the other, and says of each how long after the API server was told its
    /// requests were answered so.
    pub(crate) async fn change_tenants(&self, tenants: usize, changes: usize) -> Vec<Duration> {
        let mut times = Vec::new();
        for change in 0..changes {
            let name = name(change / 2 * 7 % tenants);
            let secret =
                get(&self.client, "Secret", &format!("{name}-scim-token")).await.expect("it was made");
            let token = base64::engine::general_purpose::STANDARD
                .decode(secret["data"]["token"].as_str().unwrap_or_default());
            let token = String::from_utf8(token.expect("Secrets are in base64")).expect("a token is text");
            let url = format!("http://{}/{name}/scim/v2/Users?count=0", self.address);
            let suspended = change % 2 == 0;
            let started = Instant::now();
            let edit = json!({"spec": {"suspended": suspended}});
            let edited = api(&self.client, "ScimTenant")
                .patch(&name, &PatchParams::default(), &Patch::Merge(edit))
                .await;
            edited.unwrap_or_else(|error| panic!("{name}: {error}"));
            let expected = if suspended { 503 } else { 200 };
            wait_for("the change is enforced", async || {
                let answer =
                    self.http.get(&url).bearer_auth(&token).send().await.expect("the server answers");
                (answer.status() == expected).then_some(())
            })
            .await;
            times.push(started.elapsed());
        }
        times
    }

    pub(crate) async fn api_server_metrics(&self) -> String {
        self.api_server.metrics().await
    }
}

fn name(number: usize) -> String {
    format!("tenant-{number:05}")
}

fn api(client: &Client, kind: &str) -> Api<DynamicObject> {
    let (group, version) = match kind {
        "ScimEndpoint" | "ScimTenant" => ("scim-operator.io", "v1alpha1"),
        "Deployment" => ("apps", "v1"),
        _ => ("", "v1"),
    };
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Api::namespaced_with(client.clone(), NAMESPACE, &resource)
}

async fn create(client: &Client, kind: &str, object: Value) {
    let object = serde_json::from_value(object).expect("it is an object");
    let created = api(client, kind).create(&PostParams::default(), &object).await;
    created.unwrap_or_else(|error| panic!("{kind}: {error}"));
}

async fn get(client: &Client, kind: &str, name: &str) -> Option<Value> {
    let object = api(client, kind).get_opt(name).await.expect("the API server answers")?;
    Some(serde_json::to_value(object).expect("an object is JSON"))
}

async fn patch_status(client: &Client, kind: &str, name: &str, status: Value) {
    let patched = api(client, kind).patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await;
    patched.unwrap_or_else(|error| panic!("{kind} {name}: {error}"));
}

/// Asks until there is an answer.
async fn wait_for<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {} s: {what}", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the machine has free ports");
    listener.local_addr().expect("a bound socket has an address").to_string()
}

/// The release binary, killed with this value.
struct Process {
    name: &'static str,
    child: Child,
    log: std::path::PathBuf,
}

impl Process {
    fn start(name: &'static str, arguments: &[&str], kubeconfig: &Path, folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log).expect("the folder is writable");
        let child = Command::new(env!("CARGO_BIN_EXE_scim-operator"))
            .args(arguments)
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file handle can be shared"))
            .stderr(file)
            .spawn()
            .expect("cargo has built the binary");
        Self { name, child, log }
    }

    /// The most memory that it has had, in MB, as the kernel counts it.
    fn peak(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it is running");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux has it");
        line.trim().trim_end_matches(" kB").parse::<f64>().expect("it is a number") / 1000.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("{}'s last words:\n{}", self.name, lines[lines.len().saturating_sub(20)..].join("\n"));
        }
    }
}
