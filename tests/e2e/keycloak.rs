//! A real authorization server: Keycloak gives the tokens, rotates its keys under load, and goes away.
//!
//! `make tools` installs it outside the checkout; its folder is named by `SCIM_KEYCLOAK`. Without it this test fails.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::server::free_address;
use crate::support::{self, Server, Setup};

const AUDIENCE: &str = "https://scim.example.com/keycloak";

struct Keycloak {
    process: Child,
    url: String,
    http: reqwest::Client,
    log: TempDir,
}

impl Keycloak {
    async fn start() -> Self {
        let folder = std::env::var_os("SCIM_KEYCLOAK").map(PathBuf::from);
        let folder = folder.filter(|folder| folder.join(".ready").exists());
        let folder = folder
            .expect("SCIM_KEYCLOAK must name an installed Keycloak: run `make test` or `make keycloak`");
        let address = free_address();
        let (url, port) =
            (format!("http://{address}"), address.rsplit(':').next().expect("a port").to_owned());
        let log = TempDir::new().expect("the temporary folder is writable");
        let file = std::fs::File::create(log.path().join("log")).expect("the folder is writable");
        let process = Command::new("bash")
            .arg(folder.join("bin/kc.sh"))
            .args(["start", "--optimized", "--http-enabled=true", "--http-host=127.0.0.1", "--cache=local"])
            .arg(format!("--http-port={port}"))
            .arg(format!("--hostname={url}"))
            .env(
                "JAVA_OPTS",
                "-Xms64m -Xmx320m -XX:MaxMetaspaceSize=256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1",
            )
            .env("KC_BOOTSTRAP_ADMIN_USERNAME", "admin")
            .env("KC_BOOTSTRAP_ADMIN_PASSWORD", "admin")
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file handle can be shared"))
            .stderr(file)
            // kc.sh starts Java: both are stopped together, by this group's id.
            .process_group(0)
            .spawn()
            .expect("bash is everywhere");
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let mut keycloak = Self { process, url, http, log };
        keycloak.wait_until_ready().await;
        keycloak
    }

    async fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + Duration::from_mins(5);
        loop {
            let ready = self.http.get(format!("{}/realms/master", self.url)).send().await;
            if ready.is_ok_and(|response| response.status() == 200) {
                return;
            }
            let ended = self.process.try_wait().expect("it is our child");
            let log = || std::fs::read_to_string(self.log.path().join("log")).unwrap_or_default();
            assert!(ended.is_none(), "Keycloak ended: {ended:?}\n{}", log());
            assert!(Instant::now() < deadline, "Keycloak is not ready after 5 minutes:\n{}", log());
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// A token from the token endpoint of a realm.
    async fn token(&self, realm: &str, form: &str) -> String {
        let url = format!("{}/realms/{realm}/protocol/openid-connect/token", self.url);
        let request = self.http.post(url).header("content-type", "application/x-www-form-urlencoded");
        let response = request.body(form.to_owned()).send().await.expect("Keycloak answers");
        let body: Value = response.json().await.expect("JSON");
        body["access_token"].as_str().unwrap_or_else(|| panic!("{form}: {body}")).to_owned()
    }

    async fn token_of(&self, client: &str) -> String {
        let form =
            format!("grant_type=client_credentials&client_id={client}&client_secret=secret-of-{client}");
        self.token("acme", &form).await
    }

    async fn admin(&self, path: &str, body: &Value) {
        let form = "grant_type=password&client_id=admin-cli&username=admin&password=admin";
        let token = self.token("master", form).await;
        let request =
            self.http.post(format!("{}/admin/realms{path}", self.url)).bearer_auth(token).json(body);
        let response = request.send().await.expect("Keycloak answers");
        let status = response.status();
        assert_eq!(status, 201, "{path}: {}", response.text().await.unwrap_or_default());
    }

    /// A realm with a client that may write and one that only reads.
    async fn make_realm(&self) {
        let scope = |name: &str| {
            json!({
                "name": name, "protocol": "openid-connect",
                "attributes": {"include.in.token.scope": "true"},
            })
        };
        let client = |name: &str, scopes: &[&str]| {
            json!({
                "clientId": name, "secret": format!("secret-of-{name}"), "publicClient": false,
                "serviceAccountsEnabled": true, "standardFlowEnabled": false, "defaultClientScopes": scopes,
                "protocolMappers": [{
                    "name": "audience", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
                    "config": {"included.custom.audience": AUDIENCE, "access.token.claim": "true"},
                }],
            })
        };
        self.admin("", &json!({
            "realm": "acme", "enabled": true, "accessTokenLifespan": 300,
            "clientScopes": [scope("scim.read"), scope("scim.write")],
            "clients": [client("provisioner", &["scim.read", "scim.write"]), client("reader", &["scim.read"])],
        }))
        .await;
    }

    /// A new signing key that is used from now on; the old one is still published.
    async fn rotate(&self, priority: u32) {
        self.admin(
            "/acme/components",
            &json!({
                "name": format!("rsa-{priority}"), "providerId": "rsa-generated",
                "providerType": "org.keycloak.keys.KeyProvider",
                "config": {
                    "priority": [priority.to_string()], "enabled": ["true"], "active": ["true"],
                    "algorithm": ["RS256"], "keySize": ["2048"],
                },
            }),
        )
        .await;
    }

    fn stop(&mut self) {
        let group = format!("-{}", self.process.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.process.wait();
    }
}

impl Drop for Keycloak {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The key that signed a token.
fn key_id(token: &str) -> String {
    let header = token.split('.').next().and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let header: Value = serde_json::from_slice(&header.expect("base64url")).expect("JSON");
    header["kid"].as_str().expect("Keycloak names the key").to_owned()
}

#[tokio::test]
async fn tokens_of_keycloak_are_accepted_through_rotation_and_outage() {
    let mut keycloak = Keycloak::start().await;
    keycloak.make_realm().await;
    let server = Server::start(&Setup::strict()).await;
    let issuer = format!("{}/realms/acme", keycloak.url);
    let tenant = format!(
        "apiVersion: scim-operator.io/v1alpha1\nkind: ScimTenant\nmetadata: {{name: keycloak}}\nspec:\n  \
         endpointRef: {{name: main}}\n  identityProvider: Keycloak\n  authentication:\n    oauth2:\n      issuers:\n        \
         - issuer: {issuer}\n          audiences: [{AUDIENCE}]\n"
    );
    std::fs::write(server.manifests().join("tenant-keycloak.yaml"), tenant).expect("writable");

    // The session of a provisioner.
    let token = keycloak.token_of("provisioner").await;
    let client = server.client("keycloak").with_token(&token);
    let deadline = Instant::now() + Duration::from_secs(20);
    while client.get("/Users").await.status != 200 {
        assert!(Instant::now() < deadline, "the tenant is not served:\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let config = client.get("/ServiceProviderConfig").await.expect(200);
    assert_eq!(config.body["authenticationSchemes"][0]["type"], "oauth2");
    let id = client.create("/Users", &support::user("from.keycloak")).await;
    client.find("/Users", "userName eq \"from.keycloak\"").await.expect(200);

    let reader = server.client("keycloak").with_token(&keycloak.token_of("reader").await);
    reader.get(&format!("/Users/{id}")).await.expect(200);
    let refused = reader.request("DELETE", &format!("/Users/{id}")).send().await.expect(403);
    assert!(refused.header("WWW-Authenticate").contains("insufficient_scope"));
    // A token of the same server's other realm, and a good token at a tenant that does not know the issuer.
    let form = "grant_type=password&client_id=admin-cli&username=admin&password=admin";
    let admin = keycloak.token("master", form).await;
    server.client("keycloak").with_token(&admin).get("/Users").await.expect(401);
    server.client("strict").with_token(&token).get("/Users").await.expect(401);

    rotate_under_load(&keycloak, &server, &token, &id).await;

    // Keycloak goes: the keys that are known serve on.
    let last = keycloak.token_of("provisioner").await;
    let client = server.client("keycloak").with_token(&last);
    client.get("/Users").await.expect(200);
    keycloak.stop();
    for _ in 0..20 {
        client.get(&format!("/Users/{id}")).await.expect(200);
        reader.get("/Users").await.expect(200);
    }
    client.request("DELETE", &format!("/Users/{id}")).send().await.expect(204);
    assert!(!server.log().contains(&last), "no token is in the log");
    assert!(
        server.log().contains("\"credential\":\"provisioner\""),
        "the client is who acted:\n{}",
        server.log()
    );
}

/// Clients read without a pause, with an old token and with new ones, while the realm's key changes twice.
async fn rotate_under_load(keycloak: &Keycloak, server: &Server, old: &str, id: &str) {
    let stop = Arc::new(AtomicBool::new(false));
    let requests = Arc::new(AtomicUsize::new(0));
    let path = format!("/Users/{id}");
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (stop, requests, path) = (Arc::clone(&stop), Arc::clone(&requests), path.clone());
            let client = server.client("keycloak").with_token(old);
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    client.get(&path).await.expect(200);
                    requests.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            })
        })
        .collect();
    let first = key_id(old);
    let mut seen = vec![first];
    for priority in [200, 300] {
        keycloak.rotate(priority).await;
        for _ in 0..10 {
            let token = keycloak.token_of("provisioner").await;
            server.client("keycloak").with_token(&token).get(&path).await.expect(200);
            if !seen.contains(&key_id(&token)) {
                seen.push(key_id(&token));
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.expect("no request failed");
    }
    assert_eq!(seen.len(), 3, "the key changed twice: {seen:?}");
    println!(
        "{} requests, none failed, while the realm's key changed twice",
        requests.load(Ordering::Relaxed)
    );
}
