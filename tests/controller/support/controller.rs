//! The operator's process, killed with the value.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::json;
use tempfile::TempDir;

use super::{
    api_server::{ApiServer, TOKEN},
    objects::eventually,
    pod::ADMIN_PORT,
};

/// A running operator of one namespace.
pub(crate) struct Controller {
    child: Child,
    admin: String,
    folder: TempDir,
}

impl Controller {
    /// Starts one for this namespace, and waits until it has read what is there.
    pub(crate) async fn start(server: &ApiServer, namespace: &str) -> Self {
        Self::start_at(server, &server.running.url, namespace).await
    }

    /// As [`Self::start`], with the API server behind this URL.
    pub(crate) async fn start_at(server: &ApiServer, url: &str, namespace: &str) -> Self {
        Self::start_with(server, url, namespace, &[]).await
    }

    /// As [`Self::start_at`], with more arguments.
    pub(crate) async fn start_with(server: &ApiServer, url: &str, namespace: &str, more: &[&str]) -> Self {
        let folder = TempDir::new().expect("the temporary folder is writable");
        let certificate = server.running.folder.path().join("certificates/apiserver.crt");
        let authority = url.starts_with("https").then(|| certificate.display().to_string());
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": url, "certificate-authority": authority}}],
            "users": [{"name": "u", "user": {"token": TOKEN}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        });
        let kubeconfig = folder.path().join("kubeconfig");
        fs::write(&kubeconfig, config.to_string()).expect("it is writable");
        let admin = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let admin = admin.expect("the machine has free ports").to_string();
        let log = File::create(folder.path().join("log")).expect("it is writable");
        let child = Command::new(env!("CARGO_BIN_EXE_scim-operator"))
            .args(["controller", "--server-image=scim-operator:test", "--log-format=json"])
            .args(["--namespace", namespace, "--lease-namespace", namespace, "--admin", &admin])
            .arg(format!("--pod-admin-port={ADMIN_PORT}"))
            .args(more)
            .env("KUBECONFIG", kubeconfig)
            .env_remove("KUBERNETES_SERVICE_HOST")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle can be shared"))
            .stderr(log)
            .spawn()
            .expect("cargo has built the binary");
        let controller = Self { child, admin, folder };
        eventually("the operator is ready", async || {
            let answer = reqwest::get(format!("http://{}/readyz", controller.admin)).await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        controller
    }

    /// A sample of `/metrics`, by the beginning of its line; 0 when there is none.
    pub(crate) async fn metric(&self, sample: &str) -> f64 {
        let text = reqwest::get(format!("http://{}/metrics", self.admin)).await.expect("it answers");
        let text = text.text().await.expect("metrics are text");
        let lines = text.lines().filter(|line| line.starts_with(sample));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Stops it as Kubernetes does, and waits until it has ended.
    pub(crate) async fn terminate(mut self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill is there");
        assert!(sent.success());
        let status =
            eventually("the operator ends", async || self.child.try_wait().expect("it is our child"));
        assert!(status.await.success());
    }

    /// All that it said.
    pub(crate) fn log(&self) -> String {
        let path: PathBuf = self.folder.path().join("log");
        fs::read_to_string(path).unwrap_or_default()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("the operator's last words:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
    }
}
