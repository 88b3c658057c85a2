//! Clients that other people wrote, unmodified: scim2-tester's conformance checks, and a session each with
//! scim2-client and scim2-cli (Python), SCIM SDK by Captain Goldfish and the `UnboundID` SCIM 2 SDK (Java).
//!
//! `make test` installs them; `SCIM_CLIENTS_VENV` and `SCIM_CLIENTS_JARS` say where. Without these the tests fail:
//! a proof that is skipped is none.

use std::path::PathBuf;
use std::process::Command;

use crate::support::{Server, Setup, Tenant};

fn environment() -> PathBuf {
    let venv = std::env::var_os("SCIM_CLIENTS_VENV").map(PathBuf::from);
    let venv = venv.filter(|venv| venv.join("bin/scim").exists());
    venv.expect(
        "SCIM_CLIENTS_VENV must name the Python clients' environment: run `make test` or `make clients`",
    )
}

/// A program of the environment.
fn program(name: &str) -> String {
    environment().join("bin").join(name).display().to_string()
}

/// Runs `Session.java` of a folder in `tests/clients/` with the jars that its `pom.xml` names.
async fn java(tenant: &'static str, client: &str) {
    let jars = std::env::var_os("SCIM_CLIENTS_JARS").map(|jars| PathBuf::from(jars).join(client));
    let jars = jars
        .filter(|jars| jars.is_dir())
        .expect("SCIM_CLIENTS_JARS must name the Java clients' folder: run `make test` or `make clients`");
    let classpath = jars.join("*").display().to_string();
    run(tenant, &["java", "-cp", &classpath, &format!("{client}/Session.java")]).await;
}

/// Runs a command in `tests/clients/` on one tenant, whose base URL is its last argument.
async fn run(tenant: &'static str, command: &[&str]) {
    run_on(&Setup::both(), tenant, command).await;
}

/// The same on tenants of one's own; their own resource types are named in `SCIM_RESOURCE_TYPES`.
async fn run_on(setup: &Setup, tenant: &'static str, command: &[&str]) {
    let server = Server::start(setup).await;
    let mut process = Command::new(command[0]);
    process
        .args(&command[1..])
        .arg(server.base(tenant))
        .env("SCIM_RESOURCE_TYPES", if tenant == "custom" { "Role" } else { "" })
        .env("SCIM_TOKEN", server.client(tenant).token())
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients"));
    let output = tokio::task::spawn_blocking(move || process.output()).await.expect("no panic");
    let output = output.expect("the environment is complete");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    assert!(output.status.success(), "{command:?} on {tenant} ended with {}", output.status);
}

#[tokio::test]
async fn scim2_tester_on_strict_passes_every_check() {
    run("strict", &[&program("python"), "conformance.py"]).await;
}

#[tokio::test]
async fn scim2_tester_on_generic_passes_every_check() {
    run("generic", &[&program("python"), "conformance.py"]).await;
}

/// An extension and a resource type of the tenant's own. No list of plain strings: of a PATCH that adds to one,
/// scim2-tester expects the added value alone (RFC 7644 section 3.5.2.1 keeps the others).
const CUSTOM: &str = "
  schemas:
    extensions:
      - id: urn:example:scim:hr:2.0:User
        name: HumanResources
        resourceTypes: [User]
        attributes:
          - {name: badge}
          - {name: grade, canonicalValues: [junior, senior]}
          - {name: level, type: integer}
          - name: desk
            type: complex
            subAttributes: [{name: floor}, {name: seat}]
  resourceTypes:
    - name: Role
      endpoint: /Roles
      schema:
        id: urn:example:scim:2.0:Role
        name: Role
        attributes:
          - {name: displayName, required: true}
          - {name: code, uniqueness: server}
          - {name: active, type: boolean}
";

#[tokio::test]
async fn scim2_tester_on_custom_schemas_passes_every_check() {
    let custom = Tenant { name: "custom".to_owned(), dialect: "Strict", more: CUSTOM };
    let setup = Setup { tenants: vec![custom], ..Setup::default() };
    run_on(&setup, "custom", &[&program("python"), "conformance.py"]).await;
}

#[tokio::test]
async fn scim2_client_on_strict_runs_a_session() {
    run("strict", &[&program("python"), "session.py"]).await;
}

#[tokio::test]
async fn scim2_client_on_generic_runs_a_session() {
    run("generic", &[&program("python"), "session.py"]).await;
}

#[tokio::test]
async fn scim2_cli_on_strict_runs_a_session() {
    run("strict", &[concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/cli.sh"), &program("scim")]).await;
}

#[tokio::test]
async fn scim_sdk_on_strict_runs_a_session() {
    java("strict", "scim-sdk").await;
}

#[tokio::test]
async fn scim_sdk_on_generic_runs_a_session() {
    java("generic", "scim-sdk").await;
}

#[tokio::test]
async fn unboundid_sdk_on_strict_runs_a_session() {
    java("strict", "unboundid").await;
}

#[tokio::test]
async fn unboundid_sdk_on_generic_runs_a_session() {
    java("generic", "unboundid").await;
}
