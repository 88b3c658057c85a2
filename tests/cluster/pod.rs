//! A pod's process against a real API server, with the token of an account that may read its configuration and nothing
//! else: what the controller writes is served at once, and losing the API server or the right to read harms nobody.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use scim_operator::config::digest::sha256_hex;
use scim_operator::config::shards::{Encoded, HEAD_KEY, SHARD_KEY, SHARDS, encode, shard_file, shard_of};
use scim_operator::config::{
    Audit, Lifecycle, Limits, Membership, Scopes, ServerConfig, TenantConfig, TokenDigest,
};
use scim_operator::scim::{dialect::Dialect, schema::CustomSchemas};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{ApiServer, text};

const NAMESPACE: &str = "platform";
const SECRET: &str = "door-scim-config";
const ACCOUNT: &str = "door-scim";
const PATIENCE: Duration = Duration::from_mins(1);

fn config(names: &[&str]) -> Encoded {
    let tenant = |name: &&str| {
        Arc::new(TenantConfig {
            name: format!("{NAMESPACE}/{name}"),
            path: (*name).to_owned(),
            identity_provider: Dialect::Generic,
            tokens: vec![TokenDigest {
                name: "token".to_owned(),
                sha256: sha256_hex(format!("token-of-{name}")),
                scopes: Scopes::ALL,
                not_before: None,
                expires_at: None,
                replaced_at: None,
            }],
            schemas: CustomSchemas::default(),
            oauth2: None,
            limits: Limits::default(),
            suspended: false,
            purge_on_removal: false,
            lifecycle: Lifecycle::default(),
            membership: Membership::default(),
            audit: Audit::default(),
        })
    };
    let config = ServerConfig {
        endpoint: format!("{NAMESPACE}/door"),
        host: None,
        allowed_cidrs: Vec::new(),
        trusted_proxies: Vec::new(),
        tenants: Vec::new(),
        removed: None,
    };
    encode(&config.with(names.iter().map(tenant).collect()))
}

fn secret(name: &str, key: &str, bytes: &[u8]) -> Value {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "data": {key: BASE64_STANDARD.encode(bytes)},
    })
}

/// The API server, and files to apply there.
struct Cluster {
    api: ApiServer,
    folder: TempDir,
}

impl Cluster {
    async fn start() -> Self {
        let cluster = Self {
            api: ApiServer::start_empty().await,
            folder: TempDir::new().expect("the temporary folder is writable"),
        };
        cluster.api.create_namespace(NAMESPACE).await;
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": ACCOUNT, "namespace": NAMESPACE},
        });
        let mut names = vec![SECRET.to_owned()];
        names.extend((0..SHARDS).map(|shard| format!("{SECRET}-{shard:02}")));
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": ACCOUNT, "namespace": NAMESPACE},
            "rules": [{
                "apiGroups": [""], "resources": ["secrets"], "resourceNames": names,
                "verbs": ["get", "watch"],
            }],
        });
        cluster.apply(&[account, role, binding()]);
        cluster
    }

    fn apply(&self, objects: &[Value]) {
        for object in objects {
            let file = self.folder.path().join("object.json");
            fs::write(&file, object.to_string()).expect("the temporary folder is writable");
            self.kubectl(&["apply", "--server-side", "-f", &file.display().to_string()]);
        }
    }

    /// Writes a configuration as the controller does: the head last.
    fn write(&self, encoded: &Encoded) {
        for (shard, bytes) in &encoded.shards {
            self.apply(&[secret(&format!("{SECRET}-{shard:02}"), SHARD_KEY, bytes)]);
        }
        self.apply(&[secret(SECRET, HEAD_KEY, &encoded.head)]);
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        let output = self.api.kubectl(arguments);
        assert!(output.status.success(), "kubectl {arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// What the account of the pod presents.
    fn kubeconfig(&self) -> String {
        let token = self.kubectl(&["create", "token", ACCOUNT, "--namespace", NAMESPACE]);
        self.api.kubeconfig_of(token.trim())
    }
}

fn binding() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": ACCOUNT, "namespace": NAMESPACE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}],
    })
}

/// The process of a pod.
struct Pod {
    child: Child,
    folder: TempDir,
    listen: String,
    admin: String,
    client: reqwest::Client,
}

impl Pod {
    fn start(kubeconfig: &str) -> Self {
        let folder = TempDir::new().expect("the temporary folder is writable");
        let (listen, admin) = (free_address(), free_address());
        fs::create_dir(folder.path().join("config")).expect("the temporary folder is writable");
        fs::write(folder.path().join("kubeconfig"), kubeconfig).expect("the temporary folder is writable");
        let log = File::create(folder.path().join("log")).expect("the temporary folder is writable");
        let child = Command::new(env!("CARGO_BIN_EXE_scim-operator"))
            .arg("serve")
            .arg("--config")
            .arg(folder.path().join("config"))
            .args(["--config-secret", &format!("{NAMESPACE}/{SECRET}")])
            .arg("--data")
            .arg(folder.path().join("data"))
            .args(["--listen", &listen, "--admin", &admin])
            .env("KUBECONFIG", folder.path().join("kubeconfig"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the temporary folder is writable"))
            .stderr(log)
            .spawn()
            .expect("cargo has built the binary");
        let client = reqwest::Client::builder().no_proxy().build().expect("a client always builds");
        Self { child, folder, listen, admin, client }
    }

    fn log(&self) -> String {
        text(&fs::read(self.folder.path().join("log")).expect("the temporary folder is writable"))
    }

    async fn digest(&self) -> Option<String> {
        let url = format!("http://{}/configuration?tenants=false", self.admin);
        let answer: Value = self.client.get(url).send().await.ok()?.json().await.ok()?;
        Some(answer["digest"].as_str()?.to_owned())
    }

    async fn runs(&self, encoded: &Encoded) {
        let deadline = Instant::now() + PATIENCE;
        while self.digest().await.as_ref() != Some(&encoded.digest) {
            assert!(Instant::now() < deadline, "another configuration runs:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn says(&self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(words) {
            assert!(Instant::now() < deadline, "{words:?} is not in the log:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn status(&self, tenant: &str) -> u16 {
        let url = format!("http://{}/{tenant}/scim/v2/Users", self.listen);
        let request = self.client.get(url).bearer_auth(format!("token-of-{tenant}"));
        request.send().await.expect("the pod serves").status().as_u16()
    }

    fn mount(&self, encoded: &Encoded) {
        let folder: &Path = &self.folder.path().join("config");
        for (shard, bytes) in &encoded.shards {
            fs::write(folder.join(shard_file(*shard)), bytes).expect("the temporary folder is writable");
        }
        fs::write(folder.join(HEAD_KEY), &encoded.head).expect("the temporary folder is writable");
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the machine has free ports");
    listener.local_addr().expect("a bound socket has an address").to_string()
}

#[tokio::test]
async fn pod_follows_its_secret_and_serves_on_without_rights_and_without_the_api_server() {
    let cluster = Cluster::start().await;
    let pod = Pod::start(&cluster.kubeconfig());
    let first = config(&["acme"]);
    cluster.write(&first);
    pod.runs(&first).await;
    assert_eq!(pod.status("acme").await, 200);

    let second = config(&["acme", "globex"]);
    let began = Instant::now();
    cluster.write(&second);
    pod.runs(&second).await;
    println!("a change, kubectl and all, is served after {} ms", began.elapsed().as_millis());
    assert_eq!((pod.status("acme").await, pod.status("globex").await), (200, 200));

    // Its files are older than what it runs: they are the fallback, not news.
    pod.mount(&first);

    // A head before its shards is half-written: nothing changes until they are there.
    let third = config(&["acme", "globex", "initech"]);
    cluster.apply(&[secret(SECRET, HEAD_KEY, &third.head)]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(pod.digest().await.as_ref(), Some(&second.digest), "neither the files nor half a Secret");
    let shard = shard_of(&format!("{NAMESPACE}/initech"));
    cluster.apply(&[secret(&format!("{SECRET}-{shard:02}"), SHARD_KEY, &third.shards[&shard])]);
    cluster.write(&third);
    pod.runs(&third).await;

    // Without the right to read, what runs is served on; with it, what was missed is taken up.
    cluster.kubectl(&["delete", "rolebinding", ACCOUNT, "--namespace", NAMESPACE]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let fourth = config(&["acme", "hooli"]);
    cluster.write(&fourth);
    pod.says("forbidden").await;
    assert_eq!((pod.digest().await.as_ref(), pod.status("globex").await), (Some(&third.digest), 200));
    cluster.apply(&[binding()]);
    pod.runs(&fourth).await;
    assert_eq!(pod.status("globex").await, 401);

    // Without the API server, a change of the files is what there is.
    drop(cluster);
    pod.says("the mounted files are followed").await;
    assert_eq!(pod.digest().await.as_ref(), Some(&fourth.digest), "the old files are no news");
    let fifth = config(&["acme", "initech"]);
    pod.mount(&fifth);
    pod.runs(&fifth).await;
    assert_eq!((pod.status("acme").await, pod.status("hooli").await), (200, 401));
}

#[tokio::test]
async fn pod_with_a_token_that_nobody_knows_serves_its_mounted_configuration() {
    let cluster = Cluster::start().await;
    let first = config(&["acme"]);
    cluster.write(&config(&["globex"]));
    let pod = Pod::start(&cluster.api.kubeconfig_of("nobody"));
    pod.says("the mounted files are followed").await;
    pod.mount(&first);
    pod.runs(&first).await;
    assert_eq!((pod.status("acme").await, pod.status("globex").await), (200, 401));
}
