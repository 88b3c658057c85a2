//! A server pod, played: an object whose status says that it is ready, and an admin port that says what it runs.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
};

use axum::{Router, routing::get};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{api_server::TOKEN, objects::World};

/// The admin port of all pods; each has an address of its own.
pub(crate) const ADMIN_PORT: u16 = 19_090;

/// Addresses of this machine that nobody else uses.
static NEXT: AtomicU8 = AtomicU8::new(2);

/// A pod that is ready until it is dropped.
pub(crate) struct Pod {
    said: Arc<Mutex<Said>>,
    serving: JoinHandle<()>,
}

/// What the pod says beside the digest that it reads from the cluster.
#[derive(Default)]
struct Said {
    /// It says this one, whatever the cluster has.
    stuck_at: Option<String>,
    purging: Vec<String>,
    tenants: Vec<Value>,
}

impl Pod {
    /// Starts a pod of an endpoint, that runs what the cluster has as its configuration.
    pub(crate) async fn start(world: &World<'_>, endpoint: &str) -> Self {
        let address = Ipv4Addr::new(127, 0, 91, NEXT.fetch_add(1, Ordering::Relaxed));
        let name = format!("{endpoint}-scim-{}", address.octets()[3]);
        world.create("pods", &object(&name, endpoint)).await;
        let path = format!("/api/v1/namespaces/{}/pods/{name}/status", world.namespace);
        let (_, mut pod) = world.server.get(path.trim_end_matches("/status")).await;
        pod["status"] = json!({
            "phase": "Running",
            "podIP": address.to_string(),
            "podIPs": [{"ip": address.to_string()}],
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        });
        let (status, answer) = world.server.send(Method::PUT, &path, &pod).await;
        assert!(status.is_success(), "{answer}");

        let said = Arc::new(Mutex::new(Said::default()));
        let head = format!(
            "{}/api/v1/namespaces/{}/secrets/{endpoint}-scim-config",
            world.server.running.url, world.namespace
        );
        let (client, told) = (world.server.client.clone(), Arc::clone(&said));
        let router = Router::new().route(
            "/configuration",
            get(async move || {
                let digest = running(&client, &head).await;
                let said = told.lock().expect("nobody panics with it");
                let digest = said.stuck_at.clone().or(digest);
                json!({"digest": digest, "tenants": said.tenants, "purging": said.purging}).to_string()
            }),
        );
        let listener = tokio::net::TcpListener::bind(SocketAddr::new(IpAddr::V4(address), ADMIN_PORT)).await;
        let listener = listener.expect("addresses that begin with 127 are this machine's");
        let serving = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Self { said, serving }
    }

    /// From now on it says that it runs this, or again what the cluster has.
    pub(crate) fn say_digest(&self, digest: Option<&str>) {
        self.said.lock().expect("nobody panics with it").stuck_at = digest.map(str::to_owned);
    }

    /// From now on it says that it purges these.
    pub(crate) fn say_purging(&self, tenants: &[&str]) {
        let tenants = tenants.iter().map(|tenant| (*tenant).to_owned()).collect();
        self.said.lock().expect("nobody panics with it").purging = tenants;
    }

    /// From now on it counts this for its tenants.
    pub(crate) fn say_tenants(&self, tenants: &[Value]) {
        self.said.lock().expect("nobody panics with it").tenants = tenants.to_vec();
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The digest of the configuration that the cluster has.
async fn running(client: &reqwest::Client, head: &str) -> Option<String> {
    let secret: Value = client.get(head).bearer_auth(TOKEN).send().await.ok()?.json().await.ok()?;
    let bytes = BASE64_STANDARD.decode(secret["data"]["config.json"].as_str()?).ok()?;
    Some(scim_operator::config::digest::sha256_hex(bytes))
}

fn object(name: &str, endpoint: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {
                "app.kubernetes.io/name": "scim-operator",
                "app.kubernetes.io/instance": endpoint,
                "app.kubernetes.io/component": "server",
                "app.kubernetes.io/managed-by": "scim-operator",
                "scim-operator.io/endpoint": endpoint,
            },
        },
        // Nobody runs it, and no service account is there to be mounted.
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{"name": "server", "image": "none"}],
        },
    })
}
