//! The product as a user runs it: the binary, one tenant, default logging into a file.

use std::fs::{self, File};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{self, Connection};

const TOKEN: &str = "bench-token-0123456789abcdef0123456789abcdef";
const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";

const MANIFESTS: &str = "\
apiVersion: scim-operator.io/v1alpha1
kind: ScimEndpoint
metadata: {name: main}
spec: {}
---
apiVersion: scim-operator.io/v1alpha1
kind: ScimTenant
metadata: {name: bench}
spec:
  endpointRef: {name: main}
  identityProvider: Strict
  authentication: {bearer: {secretName: bench-token}}
---
apiVersion: v1
kind: Secret
metadata: {name: bench-token}
stringData: {token: bench-token-0123456789abcdef0123456789abcdef}
";

/// A running server with data of its own.
#[derive(Debug)]
pub(crate) struct Product {
    child: Child,
    pub(crate) address: String,
    folder: TempDir,
    /// Arguments of its own.
    arguments: Vec<String>,
    /// From starting the process to the first answer of `/readyz`.
    pub(crate) start_to_ready: Duration,
}

impl Product {
    pub(crate) fn start() -> Self {
        let folder = TempDir::new().expect("the temporary folder is writable");
        fs::create_dir(folder.path().join("manifests")).expect("a new folder");
        fs::write(folder.path().join("manifests/bench.yaml"), MANIFESTS).expect("writable");
        Self::start_in(folder, Vec::new())
    }

    /// A server on a PostgreSQL database, with arguments of its own.
    pub(crate) fn start_on(url: &str, arguments: &[&str]) -> Self {
        let folder = TempDir::new().expect("the temporary folder is writable");
        fs::create_dir(folder.path().join("manifests")).expect("a new folder");
        fs::write(folder.path().join("manifests/bench.yaml"), MANIFESTS).expect("writable");
        let file = folder.path().join("database-url");
        fs::write(&file, url).expect("writable");
        let file = file.to_str().expect("a temporary folder's name is UTF-8");
        let database = ["--database-url-file", file, "--database-tls", "disable"];
        let arguments = database.iter().chain(arguments).map(|argument| (*argument).to_owned()).collect();
        Self::start_in(folder, arguments)
    }

    fn start_in(folder: TempDir, arguments: Vec<String>) -> Self {
        let (address, admin) = (free_address(), free_address());
        // Not beside the manifests: that folder is watched, and each line would wake the watcher.
        let output = folder.path().join("output");
        fs::create_dir_all(&output).expect("the folder is writable");
        let log = File::options().create(true).append(true).open(output.join("log")).expect("writable");
        let started = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_scim-operator"))
            .arg("serve")
            .arg("--manifests")
            .arg(folder.path().join("manifests"))
            .arg("--data")
            .arg(folder.path().join("data"))
            .args(["--listen", &address, "--admin", &admin])
            .args(&arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle can be shared"))
            .stderr(log)
            .spawn()
            .expect("cargo has built the binary");
        let mut product = Self { child, address, folder, arguments, start_to_ready: Duration::ZERO };
        while !is_ready(&admin) {
            if product.child.try_wait().expect("our child").is_some() || started.elapsed().as_secs() > 60 {
                let log = fs::read_to_string(product.folder.path().join("output/log"));
                panic!("the server does not start:\n{}", log.unwrap_or_default());
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        product.start_to_ready = started.elapsed();
        product
    }

    /// Ends it cleanly and starts it again on the same data.
    pub(crate) fn restart(mut self) -> Self {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill is everywhere").success());
        self.child.wait().expect("our child");
        let folder = std::mem::replace(&mut self.folder, TempDir::new().expect("writable"));
        let arguments = std::mem::take(&mut self.arguments);
        Self::start_in(folder, arguments)
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux has it");
        let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kibibytes * 1024.0
    }

    /// Its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn request(method: &str, path: &str, body: &str) -> Vec<u8> {
        http::request(method, &format!("/bench/scim/v2{path}"), TOKEN, body)
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open(&self.address)
    }

    /// Makes users `0..count` by bulk, several requests at once, and gives their ids in order.
    pub(crate) fn load(&self, count: usize) -> Vec<String> {
        const BATCH: usize = 1000;
        const LOADERS: usize = 4;
        let batches = count.div_ceil(BATCH);
        let mut loaded: Vec<(usize, Vec<String>)> = std::thread::scope(|scope| {
            let loaders: Vec<_> = (0..LOADERS)
                .map(|loader| {
                    scope.spawn(move || {
                        let mut connection = self.connect();
                        let mine = (0..batches).skip(loader).step_by(LOADERS);
                        mine.map(|batch| {
                            let users = batch * BATCH..count.min((batch + 1) * BATCH);
                            (batch, bulk(&mut connection, users))
                        })
                        .collect::<Vec<_>>()
                    })
                })
                .collect();
            loaders.into_iter().flat_map(|loader| loader.join().expect("no loader fails")).collect()
        });
        loaded.sort_unstable_by_key(|(batch, _)| *batch);
        loaded.into_iter().flat_map(|(_, ids)| ids).collect()
    }

    /// A group of these members, 1,000 to a PATCH.
    pub(crate) fn group(&self, name: &str, members: &[String]) -> String {
        let mut connection = self.connect();
        let group = json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": name});
        let created = connection.expect(201, &Self::request("POST", "/Groups", &group.to_string()));
        let id = created["id"].as_str().expect("an id").to_owned();
        for members in members.chunks(1000) {
            connection.expect(204, &add_members(&id, members));
        }
        id
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A user as an identity provider sends it.
pub(crate) fn user(n: usize) -> Value {
    json!({
        "schemas": [USER],
        "userName": user_name(n),
        "externalId": format!("00u{n:017}"),
        "name": {"givenName": "Barbara", "familyName": format!("Jensen {n}"), "formatted": format!("Barbara Jensen {n}")},
        "displayName": format!("Barbara Jensen {n}"),
        "emails": [{"value": format!("barbara.jensen.{n}@example.com"), "type": "work", "primary": true}],
        "active": true,
    })
}

pub(crate) fn user_name(n: usize) -> String {
    format!("barbara.jensen.{n}@example.com")
}

/// Users that were never made before, for rounds of POST.
#[derive(Debug, Default)]
pub(crate) struct Users(usize);

impl Users {
    /// Leaves out some rounds.
    pub(crate) fn skip(&mut self, rounds: usize) {
        self.0 += rounds;
    }

    /// Requests of one more round.
    pub(crate) fn round(&mut self) -> impl FnMut(&mut Vec<u8>) + use<> + 'static {
        self.0 += 1;
        let mut n = self.0 * 10_000_000;
        move |out: &mut Vec<u8>| {
            n += 1;
            out.extend_from_slice(&Product::request("POST", "/Users", &user(n).to_string()));
        }
    }
}

/// CPU seconds that a process has used, in user and kernel mode.
pub(crate) fn cpu_seconds(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace().collect();
    let ticks = |field: usize| fields.get(field).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0);
    // Linux counts in hundredths of a second for programs, whatever it does inside.
    (ticks(11) + ticks(12)) / 100.0
}

/// The request that sets a user's title.
pub(crate) fn set_title(user: &str, title: &str) -> Vec<u8> {
    let patch = patch(&json!({"op": "replace", "path": "title", "value": title}));
    Product::request("PATCH", &format!("/Users/{user}"), &patch)
}

/// The request that gives a group other members.
pub(crate) fn replace_members(group: &str, members: &[String]) -> Vec<u8> {
    let members: Vec<_> = members.iter().map(|id| json!({"value": id})).collect();
    let patch = patch(&json!({"op": "replace", "path": "members", "value": members}));
    Product::request("PATCH", &format!("/Groups/{group}"), &patch)
}

/// The request that adds members.
pub(crate) fn add_members(group: &str, members: &[String]) -> Vec<u8> {
    let members: Vec<_> = members.iter().map(|id| json!({"value": id})).collect();
    let patch = patch(&json!({"op": "add", "path": "members", "value": members}));
    Product::request("PATCH", &format!("/Groups/{group}"), &patch)
}

/// The request that removes a member.
pub(crate) fn remove_member(group: &str, member: &str) -> Vec<u8> {
    let patch = patch(&json!({"op": "remove", "path": format!("members[value eq \"{member}\"]")}));
    Product::request("PATCH", &format!("/Groups/{group}"), &patch)
}

fn patch(operation: &Value) -> String {
    json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation]})
        .to_string()
}

/// The request that makes users at once.
pub(crate) fn bulk_request(users: std::ops::Range<usize>) -> Vec<u8> {
    let operations: Vec<_> = users
        .map(|n| json!({"method": "POST", "path": "/Users", "bulkId": n.to_string(), "data": user(n)}))
        .collect();
    let request =
        json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": operations});
    Product::request("POST", "/Bulk", &request.to_string())
}

fn bulk(connection: &mut Connection, users: std::ops::Range<usize>) -> Vec<String> {
    let answer = connection.expect(200, &bulk_request(users));
    let operations = answer["Operations"].as_array().expect("a bulk answer");
    operations
        .iter()
        .map(|operation| {
            assert_eq!(operation["status"], "201", "{operation:#}");
            let location = operation["location"].as_str().expect("a location");
            location.rsplit('/').next().expect("a location ends in the id").to_owned()
        })
        .collect()
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the machine has free ports");
    listener.local_addr().expect("bound").to_string()
}

fn is_ready(admin: &str) -> bool {
    if std::net::TcpStream::connect(admin).is_err() {
        return false;
    }
    Connection::open(admin).call(&http::request("GET", "/readyz", "", "")).0 == 200
}
