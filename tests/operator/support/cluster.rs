//! The cluster: `tests/cluster/cluster.sh` with our image and our chart in it.
//!
//! It is brought up once for all scenarios and always taken down again, unless the person who runs the tests asks to
//! keep it. Everything here is what a user has: `kubectl`, `helm`, and a client of the API server.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use kube::api::{DynamicObject, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Api, Client, Config};
use reqwest::Certificate;
use serde_json::Value;

use super::{Scene, until};

/// The address that Traefik listens on.
pub(crate) const TRAEFIK: [u8; 4] = [10, 98, 0, 2];
/// Where the API server is.
pub(crate) const API_SERVER: &str = "https://10.98.0.2:6443";
/// Where the chart is installed.
pub(crate) const SYSTEM: &str = "scim-operator";
/// The image that `make image` makes.
pub(crate) const IMAGE: &str = concat!("localhost/scim-operator:", env!("CARGO_PKG_VERSION"));

/// A running cluster.
pub(crate) struct Cluster {
    binaries: PathBuf,
    state: PathBuf,
    pub(crate) client: Client,
    /// The authority of the `ClusterIssuer` named `ca`.
    pub(crate) authority: Certificate,
}

impl Cluster {
    /// From nothing to Ready, with our image on its node. With `reuse`, the one that is up.
    pub(crate) async fn up(reuse: bool) -> Self {
        let image = image();
        assert!(image.exists(), "{} is missing: run `make image`", image.display());
        if !reuse {
            script(&["up"]).await;
        }
        script(&["image", &image.display().to_string()]).await;
        let mut path = Command::new(repository("tests/cluster/build.sh"));
        path.arg("path");
        let binaries = PathBuf::from(text(&output(path).await.stdout).trim());
        let state = std::env::var("SCIM_CLUSTER").unwrap_or("/var/tmp/scim-operator-cluster".into());
        let state = PathBuf::from(state);
        let client = client(&state).await;
        let authority = authority(&client).await;
        Self { binaries, state, client, authority }
    }

    pub(crate) async fn down() {
        script(&["down"]).await;
    }

    /// A second node, Ready, where there is none yet.
    pub(crate) async fn add_node(scene: &Scene) {
        if scene.find("Node", "node2").await.is_none() {
            script(&["node"]).await;
        }
    }

    /// The API server's machine fails.
    pub(crate) async fn stop_api_server() {
        script(&["stop", "kube-apiserver"]).await;
    }

    /// The API server comes back, and answers.
    pub(crate) async fn start_api_server(&self) {
        script(&["start", "kube-apiserver"]).await;
        until("the API server answers", async || {
            self.client.apiserver_version().await.map_err(|error| error.to_string())
        })
        .await;
    }

    /// What clients of the API server trust.
    pub(crate) fn api_server_authority(&self) -> Certificate {
        let pem = std::fs::read(self.state.join("pki/ca.crt")).expect("cluster.sh writes it");
        Certificate::from_pem(&pem).expect("it is a certificate")
    }

    /// The chart with its definitions, and more values, such as `["image.tag=next"]`; returns when the controller is ready.
    pub(crate) async fn install(&self, values: &[&str]) {
        let chart = repository("charts/scim-operator").display().to_string();
        let (registry, rest) = IMAGE.split_once('/').expect("the image has a registry");
        let (repository, tag) = rest.split_once(':').expect("the image has a tag");
        let mut arguments = vec!["upgrade", "--install", SYSTEM, &chart, "--namespace", SYSTEM];
        arguments.extend(["--create-namespace", "--wait", "--timeout", "90s"]);
        let image = format!("image.registry={registry},image.repository={repository},image.tag={tag}");
        for value in [image.as_str(), "image.pullPolicy=Never"].iter().chain(values) {
            arguments.extend(["--set", value]);
        }
        let output = self.tool("helm", &arguments).await;
        assert!(output.status.success(), "helm: {}", text(&output.stderr));
    }

    /// Runs kubectl, which must succeed, and gives what it prints.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> String {
        let output = self.tool("kubectl", arguments).await;
        assert!(output.status.success(), "kubectl {}: {}", arguments.join(" "), text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs kubectl or helm against the cluster.
    pub(crate) async fn tool(&self, name: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.binaries.join(name));
        command
            .args(arguments)
            .env("KUBECONFIG", self.state.join("pki/admin.kubeconfig"))
            .env("HOME", &self.state) // neither cache nor settings of the person who runs the tests
            .env("NO_PROXY", "*");
        output(command).await
    }

    /// What kubectl would tell somebody who looks for a cause in a namespace.
    pub(crate) async fn describe(&self, namespace: &str) -> String {
        let mut told = String::new();
        let describe = "scimendpoints,scimtenants,deployments,pods,ingresses,httproutes,certificates";
        for arguments in [
            vec!["describe", describe],
            vec!["get", "events", "--sort-by=.lastTimestamp"],
            vec![
                "logs",
                "--selector=app.kubernetes.io/component=server",
                "--all-pods",
                "--tail=30",
                "--prefix",
            ],
            vec!["logs", "deployment/scim-operator", "--namespace", SYSTEM, "--tail=60"],
        ] {
            let arguments = [vec!["--namespace", namespace], arguments].concat();
            let output = self.tool("kubectl", &arguments).await;
            let _ = writeln!(told, "\n$ kubectl {}", arguments.join(" "));
            told += &text(&output.stdout);
            told += &text(&output.stderr);
        }
        told
    }

    /// The objects of a kind, such as `Deployment`, in a namespace.
    pub(crate) fn api(&self, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let resource = kube::core::ApiResource::from_gvk(&group_version_kind(kind));
        if matches!(kind, "Namespace" | "Node" | "CustomResourceDefinition" | "PersistentVolume") {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), namespace, &resource)
        }
    }

    /// The pods of a namespace with a label, such as `app.kubernetes.io/component=server`.
    pub(crate) async fn pods(&self, namespace: &str, label: &str) -> Vec<Value> {
        let listed = self.api("Pod", namespace).list(&ListParams::default().labels(label)).await;
        let pods = listed.expect("pods can be listed").items;
        pods.iter().map(|pod| serde_json::to_value(pod).expect("an object is JSON")).collect()
    }

    /// Runs a command among the processes of a node, as an administrator logged in there would.
    pub(crate) async fn on_node(node: &str, command: &[&str]) -> String {
        let arguments: Vec<_> = ["on", node].iter().chain(command).copied().collect();
        text(&script(&arguments).await.stdout)
    }
}

/// The kinds that scenarios look at.
fn group_version_kind(kind: &str) -> GroupVersionKind {
    let (group, version) = match kind {
        "ScimEndpoint" | "ScimTenant" => ("scim-operator.io", "v1alpha1"),
        "Deployment" | "ReplicaSet" => ("apps", "v1"),
        "Ingress" | "NetworkPolicy" => ("networking.k8s.io", "v1"),
        "HTTPRoute" | "Gateway" => ("gateway.networking.k8s.io", "v1"),
        "Certificate" | "Issuer" => ("cert-manager.io", "v1"),
        "Role" | "RoleBinding" => ("rbac.authorization.k8s.io", "v1"),
        "PodDisruptionBudget" => ("policy", "v1"),
        "HorizontalPodAutoscaler" => ("autoscaling", "v2"),
        "Lease" => ("coordination.k8s.io", "v1"),
        "CustomResourceDefinition" => ("apiextensions.k8s.io", "v1"),
        _ => ("", "v1"),
    };
    GroupVersionKind::gvk(group, version, kind)
}

/// A file of this repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Where `make image` writes it: beside the build.
fn image() -> PathBuf {
    let target = std::env::var("CARGO_TARGET_DIR").map_or_else(|_| repository("target"), PathBuf::from);
    target.join("scim-operator-image.tar")
}

async fn client(state: &Path) -> Client {
    let file = Kubeconfig::read_from(state.join("pki/admin.kubeconfig")).expect("cluster.sh writes it");
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(file, &options).await.expect("it names one cluster");
    config.proxy_url = None;
    Client::try_from(config).expect("its certificates can be read")
}

/// What clients of the cluster's Ingresses trust.
async fn authority(client: &Client) -> Certificate {
    let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(client.clone(), "cert-manager");
    until("the cluster's authority has a certificate", async || {
        let secret = secrets.get("ca").await.map_err(|error| error.to_string())?;
        let pem = secret.data.unwrap_or_default().remove("tls.crt").ok_or("no tls.crt")?;
        Certificate::from_pem(&pem.0).map_err(|error| error.to_string())
    })
    .await
}

/// Runs `cluster.sh`, which must succeed.
async fn script(arguments: &[&str]) -> Output {
    let started = Instant::now();
    let mut command = Command::new(repository("tests/cluster/cluster.sh"));
    command.args(arguments);
    let output = output(command).await;
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    if matches!(arguments, ["up" | "node" | "down"]) {
        println!("        {:5.1} s  cluster.sh {}", started.elapsed().as_secs_f64(), arguments.join(" "));
    }
    output
}

/// Runs a command on a thread that may wait, and gives what it prints.
async fn output(mut command: Command) -> Output {
    let program = command.get_program().to_os_string();
    let output = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output()).await;
    output.expect("it does not panic").unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
