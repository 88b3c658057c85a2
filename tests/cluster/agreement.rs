//! The table of `tests/manifests/` against a real API server: what `validate` refuses and what a cluster refuses.
//!
//! `tests/manifests.rs` holds `validate` to the table; this holds the table to the truth. `changes/` is about rules
//! that compare an object with what it was before, which only an API server can ask.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use scim_operator::config::yaml;
use serde_json::Value;

use crate::support::{ApiServer, Verdict, text};

/// What `validate` finds and an API server does not, by code: only for these may a cluster accept a bad row.
const BEYOND_THE_API_SERVER: [&str; 28] = [
    // One object does not know another.
    "endpoint-missing",
    "host-taken",
    "limit-too-wide",
    "namespace-not-allowed",
    "namespace-unknown",
    "path-taken",
    "quota-exceeded",
    "secret-key-missing",
    // A Secret does not know what it is for.
    "token-characters",
    "token-empty",
    "token-short",
    "token-space",
    // The second replaces the first.
    "duplicate-key",
    "duplicate-object",
    // The API server drops it.
    "status",
    // A rule would need the clock.
    "token-expired",
    // A rule cannot read a certificate, nor tell an issuer that needs no audience by its URL.
    "audiences-missing",
    "certificate",
    // It is read by what connects.
    "database-url",
    // Names against each other and against those of RFC 7643, whatever their case: as rules these cost more than an
    // API server allows for lists of this length.
    "client-id-taken",
    "schema-attribute-shadows",
    "schema-attribute-taken",
    "schema-circle",
    "schema-core",
    "schema-endpoint-taken",
    "schema-type-taken",
    "schema-type-unknown",
    "schema-urn-taken",
];

struct Row {
    name: String,
    text: String,
}

impl Row {
    /// What follows `# KEY: ` in its head.
    fn says(&self, key: &str) -> Option<&str> {
        let prefix = format!("# {key}: ");
        self.text.lines().find_map(|line| line.strip_prefix(&prefix))
    }

    fn objects(&self) -> Vec<Value> {
        yaml::parse(&self.name, &self.text).0.into_iter().map(|document| document.value).collect()
    }

    /// The codes and fields of the findings that it names.
    fn findings(&self) -> Vec<(&str, &str)> {
        let lines = self.text.lines().filter_map(|line| line.strip_prefix("# finds: "));
        lines
            .map(|line| {
                let mut words = line.splitn(4, ' ').skip(2);
                (words.next().unwrap_or_default(), words.next().unwrap_or_default())
            })
            .collect()
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests").join(name)
}

fn rows(folder_name: &str) -> Vec<Row> {
    let mut paths: Vec<_> = fs::read_dir(folder(folder_name))
        .expect("the table is there")
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| Row {
            name: format!("{folder_name}/{}", path.file_name().unwrap_or_default().display()),
            text: fs::read_to_string(&path).expect("it is text"),
        })
        .collect()
}

/// Creates everything in a folder with the real kubectl, which splits, converts and sends it as it does for users, and
/// gives what it complains about, by file name.
fn complaints(server: &ApiServer, folder_name: &str) -> BTreeMap<String, String> {
    let folder = format!("{}/", folder(folder_name).display());
    let output = server.kubectl(&["create", "--dry-run=server", "--validate=strict", "-f", &folder]);
    // Every complaint names its file, often in quotes, and then says why; some share a line.
    let said = text(&output.stderr);
    let mut complaints = BTreeMap::<_, String>::new();
    for complaint in said.split(&folder).skip(1) {
        let (file, why) = complaint.split_once(".yaml").unwrap_or_else(|| panic!("kubectl: {said}"));
        // The namespaces of all rows are there, so that what is in them can be.
        let reason = why.lines().next().unwrap_or_default();
        if reason.contains("namespaces \"") && reason.ends_with("already exists") {
            continue;
        }
        complaints.entry(format!("{folder_name}/{file}.yaml")).or_default().push_str(why);
    }
    complaints
}

#[tokio::test]
async fn table_of_manifests_api_server_agrees_on_every_row() {
    let server = ApiServer::start().await;
    let mut wrong = Vec::new();
    for folder_name in ["good", "bad"] {
        let rows = rows(folder_name);
        for object in rows.iter().flat_map(Row::objects) {
            if let Some(namespace) = object["metadata"]["namespace"].as_str().filter(|name| is_label(name)) {
                server.create_namespace(namespace).await;
            }
        }
        let complaints = complaints(&server, folder_name);
        for row in &rows {
            let complaint = complaints.get(&row.name);
            wrong.extend(disagreement(row, complaint).map(|how| format!("{}: {how}", row.name)));
        }
        println!("{} rows of {folder_name}/", rows.len());
    }
    assert!(wrong.is_empty(), "{} rows are not as the cluster sees them:\n{}", wrong.len(), wrong.join("\n"));
}

/// How a row and what kubectl complains about it differ.
fn disagreement(row: &Row, complaint: Option<&String>) -> Option<String> {
    match (row.says("cluster"), complaint) {
        (None, None) => None, // a good one
        (None | Some("accepts"), Some(complaint)) => Some(format!("the cluster refuses it: {complaint}")),
        (Some("accepts"), None) => {
            row.findings().into_iter().find(|(code, _)| !BEYOND_THE_API_SERVER.contains(code)).map(
                |(code, _)| format!("the cluster accepts it, although a rule of the CRD can hold {code}"),
            )
        }
        (Some("refuses"), None) => Some("the cluster accepts it".to_owned()),
        (Some("refuses"), Some(complaint)) => {
            let found = row.findings().into_iter().any(|(_, field)| is_about(complaint, field));
            (!found).then(|| format!("the cluster refuses it for something else: {complaint}"))
        }
        (Some(verdict), _) => Some(format!("{verdict:?} is no verdict")),
    }
}

/// Whether a complaint names a field. Some name what it is in: of a label, `metadata.labels`; and a wrong apiVersion or
/// kind is one that matches nothing.
fn is_about(complaint: &str, field: &str) -> bool {
    let (parent, name) =
        field.split_once("[\"").or_else(|| field.rsplit_once('.')).unwrap_or(("no matches for kind", field));
    complaint.contains(name.trim_end_matches("\"]")) || complaint.contains(parent)
}

fn is_label(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

#[tokio::test]
async fn table_of_changes_api_server_decides_as_written() {
    let server = ApiServer::start().await;
    // They are stored, so in a namespace of their own.
    server.create_namespace("changes").await;
    let rows = rows("changes");
    for row in &rows {
        let objects = row.objects();
        let [before, after] = objects.as_slice() else { panic!("{} is not two objects", row.name) };
        let verdict = server.with_stored(before, async || server.dry_replace(after).await).await;
        match (row.says("cluster"), verdict) {
            (Some("accepts"), Verdict::Accepts) => {}
            (Some("refuses"), Verdict::Refuses(message)) => {
                let expected =
                    row.says("message").unwrap_or_else(|| panic!("{} expects no message", row.name));
                assert!(message.contains(expected), "{}: {message}", row.name);
            }
            (expected, verdict) => panic!("{}: expected {expected:?}, found {verdict:?}", row.name),
        }
    }
    println!("{} rows of changes/", rows.len());
}
