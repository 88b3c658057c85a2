//! A real `PgBouncer` in transaction mode before the server of this test process: consecutive transactions of one
//! connection may run on different ones of the server.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::database;

/// The URL of a database of the shared server, by way of `PgBouncer`.
pub(crate) fn url(database: &str) -> String {
    static PORT: OnceLock<u16> = OnceLock::new();
    let port = PORT.get_or_init(start);
    format!("postgresql://postgres@127.0.0.1:{port}/{database}")
}

fn start() -> u16 {
    let program = Path::new("/usr/sbin/pgbouncer");
    assert!(
        program.exists(),
        "PgBouncer is not installed: run scripts/install-postgres.sh as root, or make tools"
    );
    let folder = tempfile::Builder::new().prefix("scim-pgbouncer-").tempdir().unwrap().keep();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = database::shared().port;
    let users = folder.join("users");
    fs::write(&users, "\"postgres\" \"\"\n").unwrap();
    let settings = folder.join("pgbouncer.ini");
    // Two servers for each database: a connection's transactions do not stay on one for long.
    let text = format!(
        "[databases]\n* = host=127.0.0.1 port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
         unix_socket_dir =\nauth_type = any\nauth_file = {}\npool_mode = transaction\ndefault_pool_size = 2\n\
         max_client_conn = 500\nserver_idle_timeout = 5\nlog_connections = 0\nlog_disconnections = 0\n",
        users.display()
    );
    // `any` logs in as one user, whoever comes.
    fs::write(&settings, text.replace(&format!("port={server}"), &format!("port={server} user=postgres")))
        .unwrap();
    for file in [&users, &settings] {
        fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
    }
    #[expect(clippy::zombie_processes, reason = "it runs as long as this process, and ends after it")]
    let mut process = database::command(program)
        .arg(&settings)
        .stdout(Stdio::null())
        .stderr(fs::File::create(folder.join("log")).unwrap())
        .spawn()
        .unwrap();
    let give_up = Instant::now() + Duration::from_mins(1);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let ended = process.try_wait().unwrap().is_some();
        let log = || fs::read_to_string(folder.join("log")).unwrap_or_default();
        assert!(!ended && Instant::now() < give_up, "PgBouncer does not start: {}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
    // It ends with this process, however that ends: then our end of this pipe is closed.
    let watchdog = Command::new("sh")
        .args(["-c", "cat >/dev/null; kill \"$1\"; rm -rf \"$0\""])
        .arg(&folder)
        .arg(process.id().to_string())
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    std::mem::forget(watchdog);
    port
}
