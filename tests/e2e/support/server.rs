//! The binary as a process: manifests and data of its own, free ports, dead when the test is.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::client::Client;

/// Readers run beside each other; a writer measures time and runs alone.
static MACHINE: RwLock<()> = RwLock::const_new(());

/// What is held of [`MACHINE`] until the server ends.
#[derive(Debug)]
enum Share {
    Part { _held: RwLockReadGuard<'static, ()> },
    Whole { _held: RwLockWriteGuard<'static, ()> },
}

/// One tenant to serve.
#[derive(Debug, Clone)]
pub(crate) struct Tenant {
    /// Its name, also its path.
    pub(crate) name: String,
    /// `Strict` or `Generic`.
    pub(crate) dialect: &'static str,
    /// More of its `spec`, as YAML lines.
    pub(crate) more: &'static str,
}

/// What to serve.
#[derive(Debug, Clone, Default)]
pub(crate) struct Setup {
    pub(crate) tenants: Vec<Tenant>,
    /// More of the endpoint's `spec`, as YAML lines.
    pub(crate) endpoint: &'static str,
    /// One more manifest.
    pub(crate) more: String,
}

impl Setup {
    /// One tenant of each dialect: `strict` and `generic`.
    pub(crate) fn both() -> Self {
        Self::default().tenant("strict", "Strict").tenant("generic", "Generic")
    }

    /// The one tenant `strict`.
    pub(crate) fn strict() -> Self {
        Self::default().tenant("strict", "Strict")
    }

    pub(crate) fn tenant(mut self, name: &str, dialect: &'static str) -> Self {
        self.tenants.push(Tenant { name: name.to_owned(), dialect, more: "" });
        self
    }

    /// The manifests, one file for the endpoint and one for each tenant with its Secret.
    pub(crate) fn write(&self, folder: &Path) {
        let mut endpoint =
            "apiVersion: scim-operator.io/v1alpha1\nkind: ScimEndpoint\nmetadata: {name: main}\nspec:\n"
                .to_owned();
        endpoint.push_str(if self.endpoint.is_empty() { "  {}\n" } else { self.endpoint });
        fs::write(folder.join("endpoint.yaml"), endpoint).expect("the folder is writable");
        if !self.more.is_empty() {
            fs::write(folder.join("more.yaml"), &self.more).expect("the folder is writable");
        }
        for tenant in &self.tenants {
            fs::write(folder.join(format!("tenant-{}.yaml", tenant.name)), tenant.yaml())
                .expect("the folder is writable");
        }
    }
}

impl Tenant {
    pub(crate) fn token(&self) -> String {
        token_of(&self.name)
    }

    /// Its manifest and its Secret's.
    pub(crate) fn yaml(&self) -> String {
        let Self { name, dialect, more } = self;
        let mut yaml = format!(
            "apiVersion: scim-operator.io/v1alpha1\nkind: ScimTenant\nmetadata: {{name: {name}}}\nspec:\n  \
             endpointRef: {{name: main}}\n  identityProvider: {dialect}\n  \
             authentication:\n    bearer: {{secretName: {name}-token}}\n{more}"
        );
        write!(
            yaml,
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}-token}}\nstringData:\n  token: {}\n",
            self.token()
        )
        .expect("writing to a string cannot fail");
        yaml
    }
}

/// Known to the test, long enough for the server.
pub(crate) fn token_of(tenant: &str) -> String {
    format!("e2e-token-of-{tenant}-0123456789abcdef0123456789abcdef")
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    listen: String,
    admin: String,
    /// What to serve, as options of the command line.
    source: Vec<String>,
    folder: TempDir,
    _share: Share,
}

impl Server {
    /// Serves `setup` and waits until it is ready.
    pub(crate) async fn start(setup: &Setup) -> Self {
        let share = Share::Part { _held: MACHINE.read().await };
        Self::start_with(setup, share).await
    }

    /// Like [`Self::start`], when no other server runs, for as long as this one lives.
    pub(crate) async fn start_alone(setup: &Setup) -> Self {
        let share = Share::Whole { _held: MACHINE.write().await };
        Self::start_with(setup, share).await
    }

    async fn start_with(setup: &Setup, share: Share) -> Self {
        let folder = TempDir::new().expect("the temporary folder is writable");
        fs::create_dir(folder.path().join("manifests")).expect("a new folder");
        setup.write(&folder.path().join("manifests"));
        let (listen, admin) = (free_address(), free_address());
        let manifests = folder.path().join("manifests").display().to_string();
        let source = vec!["--manifests".to_owned(), manifests];
        let child = spawn(folder.path(), &source, &listen, &admin);
        let mut server = Self { child, listen, admin, source, folder, _share: share };
        server.wait_until_ready().await;
        server
    }

    /// Serves as a pod does, from the folder `config`, which is empty yet; `more` are options with values that are
    /// below the server's folder. Does not wait.
    pub(crate) async fn start_pod(prepare: impl FnOnce(&Path), more: &[(&str, &str)]) -> Self {
        let share = Share::Part { _held: MACHINE.read().await };
        let folder = TempDir::new().expect("the temporary folder is writable");
        fs::create_dir(folder.path().join("config")).expect("a new folder");
        prepare(folder.path());
        let mut source = vec!["--config".to_owned(), folder.path().join("config").display().to_string()];
        for (option, value) in more {
            let value = match *option {
                "--tls" => folder.path().join(value).display().to_string(),
                _ => (*value).to_owned(),
            };
            source.extend([(*option).to_owned(), value]);
        }
        let (listen, admin) = (free_address(), free_address());
        let child = spawn(folder.path(), &source, &listen, &admin);
        Self { child, listen, admin, source, folder, _share: share }
    }

    /// `kill -9`, and waits until the process is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the server is our child");
        self.child.wait().expect("the server is our child");
    }

    /// Starts it again on the same manifests, data and ports, after it ended.
    pub(crate) async fn restart(&mut self) {
        self.child = spawn(self.folder.path(), &self.source, &self.listen, &self.admin);
        self.wait_until_ready().await;
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        let killed = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(killed.expect("kill is everywhere").success());
    }

    /// Waits for the process to end.
    pub(crate) async fn wait_for_exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.child.try_wait().expect("the server is our child") {
                return status;
            }
            assert!(Instant::now() < deadline, "the server does not end:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A client of one tenant.
    pub(crate) fn client(&self, tenant: &str) -> Client {
        Client::new(self.base(tenant), &token_of(tenant))
    }

    pub(crate) fn base(&self, tenant: &str) -> String {
        format!("http://{}/{tenant}/scim/v2", self.listen)
    }

    pub(crate) fn listen(&self) -> &str {
        &self.listen
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn manifests(&self) -> PathBuf {
        self.folder.path().join("manifests")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Status of an admin path and its text.
    pub(crate) async fn admin(&self, path: &str) -> Option<(u16, String)> {
        let client =
            reqwest::Client::builder().no_proxy().build().expect("a client without TLS always builds");
        let response = client.get(format!("http://{}{path}", self.admin)).send().await.ok()?;
        Some((response.status().as_u16(), response.text().await.ok()?))
    }

    /// What it said, stdout and stderr.
    pub(crate) fn log(&self) -> String {
        log_of(self.folder.path())
    }

    /// Waits until it is ready.
    pub(crate) async fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.child.try_wait().expect("the server is our child") {
                panic!("the server ended before it was ready ({status}):\n{}", self.log());
            }
            if self.admin("/readyz").await.is_some_and(|(status, _)| status == 200) {
                return;
            }
            assert!(Instant::now() < deadline, "the server is not ready after 30 s:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("the server's last words:\n{}", lines[lines.len().saturating_sub(10)..].join("\n"));
        }
    }
}

/// Runs the binary until it ends by itself, and gives its exit code and what it wrote to stderr.
pub(crate) fn run_to_exit(arguments: &[&str]) -> (Option<i32>, String) {
    let (code, _, stderr) = run_for_output(arguments);
    (code, stderr)
}

/// As [`run_to_exit`], with what it wrote to stdout before that to stderr.
pub(crate) fn run_for_output(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_scim-operator"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("cargo has built the binary");
    let mut stdout = child.stdout.take().expect("it is a pipe");
    let stdout = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).map(|_| bytes)
    });
    let deadline = Instant::now() + Duration::from_secs(20);
    while child.try_wait().expect("it is our child").is_none() {
        if Instant::now() >= deadline {
            child.kill().expect("it is our child");
            panic!("{arguments:?} does not end by itself");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().expect("it is our child");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let stdout = stdout.join().expect("reading does not panic").expect("a pipe can be read");
    (output.status.code(), text(&stdout), text(&output.stderr))
}

/// A port that nobody listens on. Another process may take it first; that has not been seen.
pub(crate) fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the machine has free ports");
    listener.local_addr().expect("a bound socket has an address").to_string()
}

fn spawn(folder: &Path, source: &[String], listen: &str, admin: &str) -> Child {
    let log =
        File::options().create(true).append(true).open(folder.join("log")).expect("the folder is writable");
    Command::new(env!("CARGO_BIN_EXE_scim-operator"))
        .arg("serve")
        .args(source)
        .arg("--data")
        .arg(folder.join("data"))
        .args(["--listen", listen, "--admin", admin])
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file handle can be shared"))
        .stderr(log)
        .spawn()
        .expect("cargo has built the binary")
}

fn log_of(folder: &Path) -> String {
    String::from_utf8_lossy(&fs::read(folder.join("log")).unwrap_or_default()).into_owned()
}
