//! A PostgreSQL on this machine that pods reach, as a database service outside the cluster is reached: by address, with
//! TLS and a password.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tokio_postgres::NoTls;

use super::postgres::{Postgres, user};

/// The machine's end of the cable to the nodes: nothing else is connected to it.
const ADDRESS: &str = "10.98.0.1";
/// The networks of nodes and pods.
const NETWORKS: [&str; 2] = ["10.98.0.0/16", "10.244.0.0/16"];

/// A server with an empty database, as long as the value is there.
pub(crate) struct Database {
    server: Postgres,
    authority: String,
}

impl Database {
    /// Starts a server.
    pub(crate) async fn start() -> Self {
        let (server, authority) = tokio::task::spawn_blocking(|| {
            let mut authority = String::new();
            let server = Postgres::prepared(false, |data| {
                authority = prepare(data);
                vec![format!("listen_addresses=127.0.0.1,{ADDRESS}"), "ssl=on".to_owned()]
            });
            (server, authority)
        })
        .await
        .expect("PostgreSQL starts");
        let database = Self { server, authority };
        database.execute("CREATE ROLE scim LOGIN; CREATE DATABASE scim OWNER scim").await;
        database
    }

    /// Gives its role a password; the one of before is no longer taken for new connections.
    pub(crate) async fn set_password(&self, password: &str) {
        self.execute(&format!("ALTER ROLE scim PASSWORD '{password}'")).await;
    }

    async fn execute(&self, sql: &str) {
        let url = self.server.url("postgres");
        for sql in sql.split("; ") {
            let (client, connection) =
                tokio_postgres::connect(&url, NoTls).await.expect("PostgreSQL answers");
            tokio::spawn(connection);
            client.batch_execute(sql).await.expect("PostgreSQL does as it is told");
        }
    }

    /// The Secret by which an endpoint finds it.
    pub(crate) fn secret(&self, password: &str) -> Value {
        let url = format!("postgresql://scim:{password}@{ADDRESS}:{}/scim", self.server.port);
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "database"},
            "stringData": {"url": url, "ca.crt": self.authority},
        })
    }
}

/// Writes a certificate for the address and who may connect; gives the certificate.
fn prepare(data: &Path) -> String {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=database", "-addext", &format!("subjectAltName=IP:{ADDRESS}")])
        // Debian's settings make an authority of it, which rustls does not take for a server.
        .args(["-addext", "basicConstraints=critical,CA:false", "-addext", "extendedKeyUsage=serverAuth"])
        .args(["-keyout", "server.key", "-out", "server.crt"])
        .current_dir(data)
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let key = data.join("server.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
    if let Some((uid, gid)) = user() {
        for file in ["server.key", "server.crt"] {
            chown(data.join(file), Some(uid), Some(gid)).expect("root may");
        }
    }
    let rules = std::fs::read_to_string(data.join("pg_hba.conf")).expect("initdb writes it");
    let rules = NETWORKS
        .iter()
        .fold(rules, |rules, network| format!("{rules}hostssl scim scim {network} scram-sha-256\n"));
    std::fs::write(data.join("pg_hba.conf"), rules).expect("it can be written");
    std::fs::read_to_string(data.join("server.crt")).expect("openssl writes it")
}
