//! A real PostgreSQL of this test process: the Debian package's programs, a folder of its own, a port that was
//! free. It ends with the process, however that ends. PostgreSQL refuses to run as root, so root runs it as
//! another user.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use scim_operator::store::Store as _;
use scim_operator::store::postgres::{PostgresStore, Settings, TlsMode, Url};
use tokio_postgres::NoTls;

/// Where its tables are made once, to be copied for each test.
const TEMPLATE: &str = "scim_template";

/// A server.
pub(crate) struct Postgres {
    folder: PathBuf,
    pub(crate) port: u16,
    durable: bool,
    /// More settings, `NAME=VALUE`.
    settings: Vec<String>,
    process: Option<Child>,
    /// Stops the server when our end of its pipe is closed.
    watchdog: Child,
}

/// A database of one test, dropped with it.
pub(crate) struct Database {
    server: &'static Postgres,
    pub(crate) name: String,
}

/// The server that the tests of this process share.
pub(crate) fn shared() -> &'static Postgres {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = Postgres::start(false);
        let settings = settings(server.url("postgres"));
        on_a_thread(async move {
            let client = connect(&server).await;
            client.batch_execute(&format!("CREATE DATABASE {TEMPLATE}")).await.unwrap();
            let url = server.url(TEMPLATE);
            let store = PostgresStore::new(Settings { url: Url::Text(url), ..settings }).unwrap();
            store.ping().await.expect("the tables are made");
            store.close().await;
            server
        })
    })
}

/// Settings for a URL, without TLS.
pub(crate) fn settings(url: String) -> Settings {
    Settings { url: Url::Text(url), tls: TlsMode::Disable, ca: None, max_size: 8, cache_bytes: 1 << 20 }
}

/// A fresh database with empty tables.
pub(crate) fn database() -> Database {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let server = shared();
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let sql = format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}");
    on_a_thread(async move { connect(server).await.batch_execute(&sql).await.unwrap() });
    Database { server, name }
}

impl Database {
    /// Where it is.
    pub(crate) fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// A store on it.
    pub(crate) fn store(&self) -> PostgresStore {
        PostgresStore::new(settings(self.url())).unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, sql) = (self.server, format!("DROP DATABASE {} WITH (FORCE)", self.name));
        on_a_thread(async move {
            // A test that fails has other things to say.
            let _ = connect(server).await.batch_execute(&sql).await;
        });
    }
}

/// Runs something to its end, on a thread that no runtime has yet.
fn on_a_thread<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let run =
        move || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
    std::thread::spawn(run).join().unwrap()
}

/// A connection to the server's own database.
async fn connect(server: &Postgres) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(&server.url("postgres"), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

impl Postgres {
    /// Makes a server and starts it; `durable`: it flushes to disk.
    pub(crate) fn start(durable: bool) -> Self {
        Self::prepared(durable, |_| Vec::new())
    }

    /// As [`Self::start`], with what a test prepares in the data folder before the server starts, and more settings,
    /// `NAME=VALUE`.
    pub(crate) fn prepared(durable: bool, prepare: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let folder = tempfile::Builder::new().prefix("scim-postgres-").tempdir().unwrap().keep();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let user = user();
        if let Some((uid, gid)) = user {
            chown(&folder, Some(uid), Some(gid)).unwrap();
        }
        let mut initdb = command(&programs().join("initdb"));
        let made = initdb
            .args([
                "--username=postgres",
                "--auth=trust",
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C",
                "--pgdata",
            ])
            .arg(folder.join("data"))
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let script = "cat >/dev/null; id=$(head -1 \"$0/data/postmaster.pid\"); kill -INT \"$id\"; \
                      while kill -0 \"$id\"; do sleep 0.1; done; rm -rf \"$0\"";
        let watchdog = Command::new("sh")
            .args(["-c", script])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let settings = prepare(&folder.join("data"));
        let mut server = Self { folder, port, durable, settings, process: None, watchdog };
        server.run();
        server
    }

    /// A URL of one of its databases.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Starts the process, and waits until it answers.
    pub(crate) fn run(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.folder.join("log")).unwrap();
        let mut process = command(&programs().join("postgres"));
        process
            .arg("-D")
            .arg(self.folder.join("data"))
            .arg("-k")
            .arg(&self.folder)
            .args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1"])
            .args([
                "-c",
                "max_connections=60",
                "-c",
                "shared_buffers=64MB",
                "-c",
                "log_min_messages=warning",
            ]);
        if !self.durable {
            process.args(["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]);
        }
        for setting in &self.settings {
            process.args(["-c", setting]);
        }
        process.stdout(log.try_clone().unwrap()).stderr(log);
        let give_up = Instant::now() + Duration::from_mins(1);
        loop {
            // It ends when what it forked before it was killed has not all ended yet.
            let ended = |process: &mut Child| process.try_wait().unwrap().is_some();
            if self.process.as_mut().is_none_or(ended) {
                self.process = Some(process.spawn().unwrap());
            }
            let url = self.url("postgres");
            let answers = on_a_thread(async move {
                let Ok((client, connection)) = tokio_postgres::connect(&url, NoTls).await else {
                    return false;
                };
                tokio::spawn(connection);
                client.simple_query("SELECT 1").await.is_ok()
            });
            if answers {
                return;
            }
            assert!(Instant::now() < give_up, "PostgreSQL does not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the process with a signal: `INT` is its fast shutdown, `KILL` a crash.
    pub(crate) fn stop(&mut self, signal: &str) {
        let Some(mut process) = self.process.take() else { return };
        let id = process.id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap().success());
        process.wait().unwrap();
    }

    fn log(&self) -> String {
        let mut log = String::new();
        fs::File::open(self.folder.join("log")).unwrap().read_to_string(&mut log).unwrap();
        log
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop("INT");
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

/// Where the programs are.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let folders = versions.map(|version| version.path().join("bin"));
    let mut folders: Vec<_> = folders.filter(|folder| folder.join("postgres").exists()).collect();
    folders.sort();
    folders
        .pop()
        .expect("PostgreSQL is not installed: run scripts/install-postgres.sh as root, or make tools")
}

/// Whom to run it as: root may not.
pub(crate) fn user() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own)).unwrap() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let user = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let user = user
        .filter(|user| user.len() > 3 && matches!(user[0], "postgres" | "nobody"))
        .max_by_key(|user| user[0].to_owned());
    let user = user.expect("there is a user postgres or nobody");
    Some((user[2].parse().unwrap(), user[3].parse().unwrap()))
}

/// A command that runs as [`user`].
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").env("LC_ALL", "C").stdin(Stdio::null());
    if let Some((uid, gid)) = user() {
        command.uid(uid).gid(gid);
    }
    command
}
