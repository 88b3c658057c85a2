//! A kube-apiserver with its etcd: no controllers, no nodes, and our definitions installed. What it takes and refuses
//! is what any cluster of that version takes and refuses.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use reqwest::{Certificate, Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Mutex;

/// Whoever presents it may do everything; the server listens on this machine only and lives for seconds.
pub(crate) const TOKEN: &str = "admin";
/// A cold start on a busy machine; an idle one needs 3 s.
const PATIENCE: Duration = Duration::from_mins(2);

/// The one that runs, as long as a test uses it.
static RUNNING: Mutex<Weak<Running>> = Mutex::const_new(Weak::new());

/// An API server that tests running at the same time share; it ends with the last of them, also when one panics.
/// Each has a client of its own, as connections belong to the runtime of one test.
#[derive(Debug)]
pub(crate) struct ApiServer {
    pub(crate) client: Client,
    pub(crate) running: Arc<Running>,
}

/// The processes and how to reach them.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) url: String,
    certificate: Vec<Certificate>,
    binaries: PathBuf,
    // In this order: an API server without its etcd only makes noise.
    _server: Process,
    _etcd: Process,
    pub(crate) folder: TempDir,
}

/// What the API server says to one object.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It would be stored.
    Accepts,
    /// It would not, and why.
    Refuses(String),
}

impl ApiServer {
    /// The one that other tests use now, else a new one with `crds/` installed.
    pub(crate) async fn start() -> Self {
        let mut running = RUNNING.lock().await;
        if let Some(running) = running.upgrade() {
            return Self { client: client(&running.certificate), running };
        }
        let server = Self::alone().await;
        *running = Arc::downgrade(&server.running);
        server
    }

    /// A new one with `crds/` installed, that no other test uses.
    pub(crate) async fn alone() -> Self {
        let started = Instant::now();
        let server = Self::start_empty().await;
        server.install_definitions().await;
        println!("API server with our definitions: ready after {:.1} s", started.elapsed().as_secs_f64());
        server
    }

    /// One of its own for this test, without our definitions.
    pub(crate) async fn start_empty() -> Self {
        let running = Arc::new(Running::start().await);
        Self { client: client(&running.certificate), running }
    }

    /// Applies `crds/` as a user would, and waits until objects of every kind can be listed.
    async fn install_definitions(&self) {
        let definitions = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
        let applied = self.kubectl(&["apply", "--server-side", "-f", &definitions.display().to_string()]);
        assert!(applied.status.success(), "crds/ is refused:\n{}", text(&applied.stderr));
        assert_eq!(text(&applied.stderr), "", "crds/ is applied with warnings");
        let wait = ["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"];
        let established = self.kubectl(&wait);
        assert!(established.status.success(), "crds/ is not established:\n{}", text(&established.stderr));
        for definition in scim_operator::crd::definitions() {
            let plural = definition["spec"]["names"]["plural"].as_str().expect("every kind has a plural");
            let deadline = Instant::now() + PATIENCE;
            while self.get(&format!("/apis/scim-operator.io/v1alpha1/{plural}")).await.0 != StatusCode::OK {
                assert!(Instant::now() < deadline, "{plural} cannot be listed");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Makes a namespace; one that is there already is left as it is.
    pub(crate) async fn create_namespace(&self, name: &str) {
        let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        let (status, answer) = self.send(Method::POST, "/api/v1/namespaces", &body).await;
        assert!(
            matches!(status, StatusCode::CREATED | StatusCode::CONFLICT),
            "namespace {name}: {status} {answer}"
        );
    }

    /// What it says to the creation of one of our objects, in its namespace, without storing it.
    pub(crate) async fn dry_create(&self, object: &Value) -> Verdict {
        let path = format!("{}?dryRun=All&fieldValidation=Strict", collection(object));
        verdict(self.send(Method::POST, &path, object).await)
    }

    /// Stores one of our objects, does something with it there, and deletes it.
    pub(crate) async fn with_stored<T>(&self, object: &Value, then: impl AsyncFnOnce() -> T) -> T {
        let path = format!("{}?fieldValidation=Strict", collection(object));
        let (status, answer) = self.send(Method::POST, &path, object).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        let done = then().await;
        let (status, answer) = self.send(Method::DELETE, &one(object), &json!({})).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        done
    }

    /// What it says to a stored object becoming this one, without storing it.
    pub(crate) async fn dry_replace(&self, object: &Value) -> Verdict {
        let (status, stored) = self.get(&one(object)).await;
        assert_eq!(status, StatusCode::OK, "{stored}");
        let mut object = object.clone();
        object["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"].clone();
        let path = format!("{}?dryRun=All&fieldValidation=Strict", one(&object));
        verdict(self.send(Method::PUT, &path, &object).await)
    }

    /// What it counts of itself, for Prometheus.
    pub(crate) async fn metrics(&self) -> String {
        let request = self.client.get(format!("{}/metrics", self.running.url)).bearer_auth(TOKEN);
        let answer = request.send().await.expect("the API server answers");
        answer.text().await.expect("metrics are text")
    }

    /// A kubeconfig of an administrator.
    pub(crate) fn kubeconfig(&self) -> String {
        self.kubeconfig_of(TOKEN)
    }

    /// A kubeconfig for whoever has this token.
    pub(crate) fn kubeconfig_of(&self, token: &str) -> String {
        let certificate = self.running.folder.path().join("certificates/apiserver.crt").display().to_string();
        let cluster = json!({ "server": self.running.url, "certificate-authority": certificate });
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "tests",
            "clusters": [{ "name": "tests", "cluster": cluster }],
            "users": [{ "name": "somebody", "user": { "token": token } }],
            "contexts": [{ "name": "tests", "context": { "cluster": "tests", "user": "somebody" } }],
        })
        .to_string()
    }

    /// Runs the real kubectl against it.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Output {
        self.client_program("kubectl", ["--server", "--token", "--certificate-authority"], arguments)
    }

    /// Runs the real Helm against it.
    pub(crate) fn helm(&self, arguments: &[&str]) -> Output {
        self.client_program("helm", ["--kube-apiserver", "--kube-token", "--kube-ca-file"], arguments)
    }

    /// `flags`: how the program calls URL, token and certificate.
    fn client_program(&self, name: &str, flags: [&str; 3], arguments: &[&str]) -> Output {
        let certificate = self.running.folder.path().join("certificates/apiserver.crt").display().to_string();
        let [url, token, authority] = flags;
        Command::new(self.running.binaries.join(name))
            .args([url, &self.running.url, token, TOKEN, authority, &certificate])
            // Neither the configuration nor the cache of the person who runs the test.
            .env("KUBECONFIG", "/dev/null")
            .env("HOME", self.running.folder.path())
            .args(arguments)
            .output()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error}; run `make tools`"))
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.send(Method::GET, path, &Value::Null).await
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let request = self.client.request(method, format!("{}{path}", self.running.url)).bearer_auth(TOKEN);
        let request = if body.is_null() { request } else { request.json(body) };
        let answer = request.send().await.expect("the API server answers");
        (answer.status(), answer.json().await.unwrap_or_default())
    }
}

impl Running {
    /// Starts both, and waits until the API server is ready.
    async fn start() -> Self {
        let binaries = binaries();
        let folder = TempDir::new().expect("the temporary folder is writable");
        let path = |name: &str| folder.path().join(name).display().to_string();

        let etcd_url = format!("http://{}", free_address());
        let etcd = Process::start(
            "etcd",
            &binaries,
            folder.path(),
            &[
                // Data of one test need not survive a power cut.
                "--unsafe-no-fsync",
                "--log-level=error",
                &format!("--data-dir={}", path("etcd")),
                &format!("--listen-client-urls={etcd_url}"),
                &format!("--advertise-client-urls={etcd_url}"),
                // It has no peers, and insists on listening for them.
                "--listen-peer-urls=http://127.0.0.1:0",
            ],
        );

        let address = free_address();
        let (_, port) = address.split_once(':').expect("an address has a port");
        fs::write(path("tokens.csv"), format!("{TOKEN},admin,admin,system:masters\n"))
            .expect("it is writable");
        write_service_account_key(Path::new(&path("service-account.key")));
        let key = path("service-account.key");
        let api_server = Process::start(
            "kube-apiserver",
            &binaries,
            folder.path(),
            &[
                &format!("--etcd-servers={etcd_url}"),
                "--bind-address=127.0.0.1",
                &format!("--secure-port={port}"),
                // It makes itself a certificate there, which `client` trusts.
                &format!("--cert-dir={}", path("certificates")),
                &format!("--token-auth-file={}", path("tokens.csv")),
                // The admin is a master of the system; everybody else may do what a Role says.
                "--authorization-mode=RBAC",
                // Pods would need these, and there are none; it does not start without.
                "--service-cluster-ip-range=10.96.0.0/16",
                "--service-account-issuer=https://kubernetes.default.svc",
                &format!("--service-account-key-file={key}"),
                &format!("--service-account-signing-key-file={key}"),
                // One client, that waits for its answers: nothing to arbitrate and nothing to profile.
                "--enable-priority-and-fairness=false",
                "--profiling=false",
            ],
        );

        let mut processes = [etcd, api_server];
        let certificate = wait_for("the API server's certificate", &mut processes, async || {
            let pem = fs::read(folder.path().join("certificates/apiserver.crt")).ok()?;
            Certificate::from_pem_bundle(&pem).ok().filter(|chain| chain.len() > 1)
        })
        .await;
        let client = client(&certificate);
        let url = format!("https://{address}");
        wait_for("the API server's /readyz", &mut processes, async || {
            let answer = client.get(format!("{url}/readyz")).bearer_auth(TOKEN).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;

        let [etcd, api_server] = processes;
        Self { url, certificate, binaries, _server: api_server, _etcd: etcd, folder }
    }
}

/// Trusts the certificate that the API server made itself, and nothing else.
fn client(certificate: &[Certificate]) -> Client {
    Client::builder()
        .no_proxy()
        .tls_certs_only(certificate.iter().cloned())
        .build()
        .expect("its certificate is one that we can read")
}

/// The path of an object's kind in its namespace.
fn collection(object: &Value) -> String {
    let definition = scim_operator::crd::definitions()
        .iter()
        .find(|definition| definition["spec"]["names"]["kind"] == object["kind"])
        .expect("only objects of our kinds are sent");
    let plural = definition["spec"]["names"]["plural"].as_str().expect("every kind has a plural");
    let namespace = object["metadata"]["namespace"].as_str().expect("the object names its namespace");
    format!("/apis/scim-operator.io/v1alpha1/namespaces/{namespace}/{plural}")
}

fn one(object: &Value) -> String {
    format!("{}/{}", collection(object), object["metadata"]["name"].as_str().expect("the object has a name"))
}

fn verdict((status, answer): (StatusCode, Value)) -> Verdict {
    let message = answer["message"].as_str().unwrap_or_default().to_owned();
    match status {
        StatusCode::CREATED | StatusCode::OK => Verdict::Accepts,
        _ if status.is_client_error() => Verdict::Refuses(message),
        _ => panic!("the API server fails: {status} {answer}"),
    }
}

/// The folder of the binaries that `make tools` builds.
fn binaries() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/build.sh");
    let output = Command::new(script).arg("path").output().expect("bash is there");
    assert!(output.status.success(), "{}", text(&output.stderr));
    PathBuf::from(text(&output.stdout).trim())
}

/// The API server signs the tokens of pods with it and does not start without one.
fn write_service_account_key(path: &Path) {
    let made = Command::new("openssl")
        .args(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"])
        .arg(path)
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "openssl: {}", text(&made.stderr));
}

/// A port that nobody listens on. Another process may take it first; that has not been seen.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the machine has free ports");
    listener.local_addr().expect("a bound socket has an address").to_string()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// One component, killed with this value.
#[derive(Debug)]
struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    fn start(name: &'static str, binaries: &Path, folder: &Path, arguments: &[&str]) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log).expect("the folder is writable");
        let child = Command::new(binaries.join(name))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file handle can be shared"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error}; run `make tools`"));
        Self { name, child, log }
    }

    fn last_words(&self) -> String {
        let log = text(&fs::read(&self.log).unwrap_or_default());
        let lines: Vec<_> = log.lines().collect();
        format!("{}'s last words:\n{}", self.name, lines[lines.len().saturating_sub(10)..].join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.last_words());
        }
    }
}

/// Asks until there is an answer, for as long as all processes live.
async fn wait_for<T>(what: &str, processes: &mut [Process], mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        for process in &mut *processes {
            let ended = process.child.try_wait().expect("it is our child");
            assert!(ended.is_none(), "{} ended while waiting for {what}", process.name);
        }
        assert!(Instant::now() < deadline, "{what} is not there after {} s", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
