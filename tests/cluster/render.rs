//! What `render` prints against a real API server: every object that the controller would apply is one that a cluster
//! takes, with strict field validation and the restricted Pod Security Standard.

use std::{fs, path::Path, process::Command};

use scim_operator::config::yaml;
use serde_json::Value;

use crate::support::{ApiServer, text};

/// Kinds that a bare API server does not have.
const FROM_ELSEWHERE: [&str; 2] = ["Certificate", "HTTPRoute"];

#[tokio::test]
async fn rendered_objects_api_server_takes_every_one() {
    let server = ApiServer::start().await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = tempfile::tempdir().expect("there is room for a folder");
    let mut kinds = std::collections::BTreeMap::<String, usize>::new();
    let mut folders: Vec<_> = fs::read_dir(root.join("tests/manifests/good"))
        .expect("the table is there")
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    // With tenants, and so with routes.
    folders.push(root.join("examples/cluster"));
    folders.push(root.join("examples/postgres"));
    folders.sort();
    for path in &folders {
        let rendered = Command::new(env!("CARGO_BIN_EXE_scim-operator"))
            .args(["render", "--show-secrets"])
            .arg(path)
            .output()
            .expect("the binary runs");
        // A manifest may have tenants only, or nothing of ours.
        if !rendered.status.success() {
            assert!(
                text(&rendered.stderr).contains("there is no ScimEndpoint"),
                "{}: {}",
                path.display(),
                text(&rendered.stderr)
            );
            continue;
        }
        let (documents, findings) = yaml::parse("rendered", &text(&rendered.stdout));
        assert_eq!(findings, [], "{}", path.display());
        for (index, document) in documents.into_iter().map(|document| document.value).enumerate() {
            let kind = document["kind"].as_str().expect("it has a kind");
            if FROM_ELSEWHERE.contains(&kind) {
                continue;
            }
            let namespace = document["metadata"]["namespace"].as_str().expect("it has a namespace");
            server.create_namespace(namespace).await;
            restrict(&server, namespace);
            *kinds.entry(kind.to_owned()).or_default() += 1;
            let stem = path.file_stem().unwrap_or_default().display();
            let file = output.path().join(format!("{stem}-{index:03}.json"));
            fs::write(&file, document.to_string()).expect("it can be written");
        }
    }
    let folder = output.path().display().to_string();
    let applied = server.kubectl(&[
        "apply",
        "--server-side",
        "--field-manager=scim-operator",
        "--dry-run=server",
        "--validate=strict",
        "-f",
        &folder,
    ]);
    assert!(applied.status.success(), "{}", text(&applied.stderr));
    // Pod Security warns of what it would refuse in a pod.
    assert_eq!(text(&applied.stderr), "");
    println!("{kinds:?}");
    assert!(kinds.len() >= 9, "{kinds:?}");
}

/// Warns of everything that the restricted standard would refuse.
fn restrict(server: &ApiServer, namespace: &str) {
    let label = "pod-security.kubernetes.io/warn=restricted";
    let labelled = server.kubectl(&["label", "--overwrite", "namespace", namespace, label]);
    assert!(labelled.status.success(), "{}", text(&labelled.stderr));
}

#[test]
fn rendered_objects_are_in_the_namespaces_of_what_they_are_made_from() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rendered = Command::new(env!("CARGO_BIN_EXE_scim-operator"))
        .args(["render", "tests/manifests/good/tenants-from-selected-namespaces.yaml"])
        .current_dir(root)
        .output()
        .expect("the binary runs");
    let (documents, _) = yaml::parse("rendered", &text(&rendered.stdout));
    let places: Vec<_> = documents
        .iter()
        .map(|document| &document.value)
        .filter(|object| object["kind"] == "Secret")
        .map(|object| [&object["metadata"]["namespace"], &object["metadata"]["name"]].map(Value::to_string))
        .collect();
    assert!(places.contains(&["\"identity\"", "\"main-scim-config\""].map(str::to_owned)), "{places:?}");
    assert!(places.contains(&["\"customers\"", "\"acme-scim-token\""].map(str::to_owned)), "{places:?}");
}
