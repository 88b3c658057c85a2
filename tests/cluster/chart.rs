//! The Helm chart's life against a real API server: installed, upgraded from older definitions, rolled back and
//! uninstalled. No pod runs here; what is asserted is which objects there are, and that ours outlive the release.

use std::{fs, path::Path, process::Output};

use serde_json::Value;

use crate::support::{ApiServer, text};

const NAMESPACE: [&str; 2] = ["--namespace", "scim-operator"];
const DEFINITION: &str = "crd/scimtenants.scim-operator.io";

fn chart() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/scim-operator").display().to_string()
}

#[track_caller]
fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// The definition of tenants as the API server has it.
fn definition(server: &ApiServer) -> Value {
    let output = done(&server.kubectl(&["get", DEFINITION, "--output", "json"]));
    serde_json::from_str(&output).expect("kubectl prints JSON")
}

fn short_names(server: &ApiServer) -> String {
    definition(server)["spec"]["names"]["shortNames"].to_string()
}

/// The chart as an earlier release might have been: its tenants had another short name.
fn older_chart(folder: &Path) -> String {
    let copied =
        std::process::Command::new("cp").arg("-r").arg(chart()).arg(folder).status().expect("cp is there");
    assert!(copied.success());
    let file = folder.join("scim-operator/files/crds/scimtenant.yaml");
    let definition = fs::read_to_string(&file).expect("the chart has the definition");
    let older = definition.replace("    - scimt\n", "    - scimold\n");
    assert_ne!(older, definition);
    fs::write(&file, older).expect("the folder is writable");
    folder.join("scim-operator").display().to_string()
}

#[tokio::test]
async fn release_is_installed_upgraded_rolled_back_and_uninstalled_and_tenants_stay() {
    let server = ApiServer::start_empty().await;
    let helm = |arguments: &[&str]| server.helm(&[arguments, &NAMESPACE].concat());
    let folder = tempfile::TempDir::new().expect("the temporary folder is writable");
    let (older, chart) = (older_chart(folder.path()), chart());

    let notes = done(&helm(&["install", "scim", &older, "--create-namespace"]));
    assert!(notes.contains("kubectl get scimep,scimt"), "{notes}");
    assert_eq!(short_names(&server), r#"["scimold"]"#);
    done(&server.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]));
    let quickstart = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart").display().to_string();
    done(&server.kubectl(&["create", "namespace", "identity"]));
    done(&server.kubectl(&["apply", "--server-side", "--filename", &quickstart]));
    let tenant =
        || server.kubectl(&["get", "scimtenant", "acme", "--namespace", "identity", "--output", "name"]);

    done(&helm(&["upgrade", "scim", &chart]));
    assert_eq!(short_names(&server), r#"["scimt"]"#, "an upgrade upgrades the definitions");
    done(&tenant());

    done(&helm(&["rollback", "scim", "1"]));
    assert_eq!(short_names(&server), r#"["scimold"]"#, "a rollback takes them back");
    done(&tenant());

    done(&helm(&["upgrade", "scim", &chart]));
    done(&helm(&["uninstall", "scim"]));
    let left = done(&server.kubectl(&[
        "get",
        "deployments,serviceaccounts,services,clusterroles,clusterrolebindings,roles,rolebindings",
        "--all-namespaces",
        "--selector=app.kubernetes.io/instance=scim",
        "--output=name",
    ]));
    assert_eq!(left, "", "an uninstallation removes what was installed");
    assert_eq!(short_names(&server), r#"["scimt"]"#, "and not the definitions");
    done(&tenant());

    // Under the same name they are its own again; under another it must be told to take them.
    done(&helm(&["install", "scim", &chart]));
    done(&helm(&["uninstall", "scim"]));
    let refused = text(&helm(&["install", "other", &chart]).stderr);
    assert!(refused.contains("invalid ownership metadata"), "{refused}");
    done(&helm(&["install", "other", &chart, "--take-ownership", "--set", "crds.keep=false"]));
    assert_eq!(definition(&server)["metadata"]["annotations"]["meta.helm.sh/release-name"], "other");

    // Asked to, it takes all with it.
    done(&helm(&["uninstall", "other"]));
    assert!(text(&server.kubectl(&["get", DEFINITION]).stderr).contains("NotFound"));
}

#[tokio::test]
async fn every_object_of_the_chart_is_what_an_api_server_takes() {
    let server = ApiServer::start().await;
    let values = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chart/values");
    let folder = tempfile::TempDir::new().expect("the temporary folder is writable");
    for namespace in ["scim-operator", "identity", "identity-staging"] {
        server.create_namespace(namespace).await;
    }
    for file in fs::read_dir(values).expect("there are values") {
        let file = file.expect("it can be listed").path().display().to_string();
        let rendered = done(&server.helm(&[
            "template",
            "scim",
            &chart(),
            "--values",
            &file,
            // Other tests have them there; the kinds of the Prometheus operator are not.
            "--set=crds.enabled=false,metrics.serviceMonitor.enabled=false",
            "--set=metrics.podMonitor.enabled=false,metrics.prometheusRule.enabled=false",
            "--namespace=scim-operator",
        ]));
        let manifests = folder.path().join("manifests.yaml");
        fs::write(&manifests, rendered).expect("the folder is writable");
        let manifests = manifests.display().to_string();
        // Strict: an unknown field is refused too.
        let taken = server.kubectl(&[
            "apply",
            "--server-side",
            "--dry-run=server",
            "--validate=strict",
            "--filename",
            &manifests,
        ]);
        assert!(taken.status.success(), "{file}:\n{}", text(&taken.stderr));
        assert_eq!(text(&taken.stderr), "", "{file}: with warnings");
    }
}
