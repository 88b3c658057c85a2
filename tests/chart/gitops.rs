//! The examples of delivery from Git: what Kustomize makes of them is what `validate` takes, what they give the chart
//! is what its schema takes, and the paths that they name are there.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use scim_operator::config::{
    validate::{File, validate},
    yaml,
};
use serde_json::Value;

use super::{HELM, chart, helm, root, snapshots, text};

/// What `kubectl kustomize` prints for a folder.
fn kustomized(folder: &str) -> String {
    let output = Command::new(HELM.with_file_name("kubectl"))
        .arg("kustomize")
        .arg(root().join(folder))
        .env("KUBECONFIG", "/dev/null")
        .output()
        .expect("make tools has built kubectl");
    assert!(output.status.success(), "{folder}: {}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "", "{folder}: with warnings");
    text(&output.stdout)
}

/// The documents of all files in a folder of `examples/gitops`.
fn documents(folder: &str) -> Vec<Value> {
    let folder = root().join("examples/gitops").join(folder);
    let mut documents = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be listed").path();
        let content = fs::read_to_string(&path).expect("it is text");
        let (found, findings) = yaml::parse(&path.display().to_string(), &content);
        assert_eq!(findings.len(), 0, "{findings:?}");
        documents.extend(found.into_iter().map(|document| document.value));
    }
    documents
}

#[test]
fn kustomizations_build_and_validate() {
    for folder in
        ["examples/cluster", "examples/gitops/overlays/staging", "examples/gitops/overlays/production"]
    {
        let manifests = kustomized(folder);
        assert!(
            manifests.contains("kind: ScimEndpoint") && manifests.contains("kind: ScimTenant"),
            "{manifests}"
        );
        let findings = validate(&[File { name: folder.to_owned(), text: manifests.clone() }]);
        let findings: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(findings, Vec::<String>::new());
        let name = folder.replace('/', "-");
        snapshots().bind(|| insta::assert_snapshot!(name, manifests));
    }
}

#[test]
fn values_for_the_chart_are_what_its_schema_takes() {
    let values = documents("argocd")
        .into_iter()
        .filter_map(|document| document.pointer("/spec/source/helm/valuesObject").cloned())
        .chain(
            documents("flux").into_iter().filter_map(|document| document.pointer("/spec/values").cloned()),
        );
    let values: Vec<_> = values.collect();
    assert_eq!(values.len(), 2, "one of Argo CD and one of Flux");
    let folder = tempfile::TempDir::new().expect("the temporary folder is writable");
    let file = folder.path().join("values.json");
    for values in values {
        fs::write(&file, values.to_string()).expect("the folder is writable");
        let output = helm(&["template", "scim", &chart().display().to_string()], Some(&file));
        assert!(output.status.success(), "{values}:\n{}", text(&output.stderr));
    }
}

#[test]
fn paths_that_argo_and_flux_read_are_there() {
    let paths = ["/spec/source/path", "/spec/path", "/spec/chart/spec/chart"];
    let named: Vec<PathBuf> = [documents("argocd"), documents("flux")]
        .concat()
        .iter()
        .flat_map(|document| {
            paths.map(|path| document.pointer(path).and_then(Value::as_str).map(PathBuf::from))
        })
        .flatten()
        .collect();
    assert_eq!(named.len(), 4, "operator and tenants, of Argo CD and of Flux");
    for path in named {
        let folder: &Path = &root().join(&path);
        let there = ["Chart.yaml", "kustomization.yaml"].iter().any(|file| folder.join(file).is_file());
        assert!(there, "{} is neither a chart nor a kustomization", path.display());
    }
}
