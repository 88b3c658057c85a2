//! The Helm chart, by the real Helm: whole manifests for values that people write, and what is said to wrong values.
//!
//! `values/` are good files, whose manifests are in `snapshots/` (`INSTA_UPDATE=always` writes them anew); `bad/` are
//! wrong ones, which begin with `# says: ` and a part of the message. Installing it is in `tests/cluster/chart.rs`.

mod gitops;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::LazyLock,
};

use scim_operator::{
    config::validate::{File, validate},
    crd,
};

/// The Helm that `make tools` builds.
static HELM: LazyLock<PathBuf> = LazyLock::new(|| {
    let output =
        Command::new(root().join("tests/cluster/build.sh")).arg("path").output().expect("bash is there");
    assert!(output.status.success(), "{}", text(&output.stderr));
    Path::new(text(&output.stdout).trim()).join("helm")
});

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn chart() -> PathBuf {
    root().join("charts/scim-operator")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whole manifests, each in a file of `snapshots/`.
fn snapshots() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
}

/// The values files of one folder.
fn values(folder: &str) -> Vec<PathBuf> {
    let folder = root().join("tests/chart").join(folder);
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

fn helm(arguments: &[&str], values: Option<&Path>) -> Output {
    let mut command = Command::new(&*HELM);
    // Neither the cluster nor the plug-ins of the person who runs the test.
    let home = root().join("target/helm");
    command
        .args(arguments)
        .env("KUBECONFIG", "/dev/null")
        .env("HELM_PLUGINS", &home)
        .env("HELM_CACHE_HOME", &home);
    if let Some(values) = values {
        command.arg("--values").arg(values);
    }
    command.output().expect("make tools has built Helm")
}

/// The manifests of a release `scim` in the namespace `scim-operator`, each with the template that it comes from.
fn rendered(values: Option<&Path>) -> Vec<(String, String)> {
    let chart = chart().display().to_string();
    let output = helm(&["template", "scim", &chart, "--namespace", "scim-operator"], values);
    assert!(output.status.success(), "{values:?}:\n{}", text(&output.stderr));
    text(&output.stdout)
        .split("---\n# Source: scim-operator/templates/")
        .filter(|part| !part.trim().is_empty())
        .map(|part| {
            let (template, manifest) = part.split_once('\n').expect("a template's name is a line");
            (template.to_owned(), manifest.to_owned())
        })
        .collect()
}

#[test]
fn good_values_pass_the_strict_linter_and_render_to_these_manifests() {
    for file in values("values") {
        let linted = helm(&["lint", "--strict", "--quiet", &chart().display().to_string()], Some(&file));
        assert!(
            linted.status.success(),
            "{}:\n{}{}",
            file.display(),
            text(&linted.stdout),
            text(&linted.stderr)
        );

        let manifests: Vec<_> = rendered(Some(&file))
            .into_iter()
            // Long, and held to `crds/` below.
            .filter(|(template, _)| template != "crds.yaml")
            .map(|(template, manifest)| format!("--- # {template}\n{}", manifest.trim_end()))
            .collect();
        let name = file.file_stem().expect("a file has a name").to_string_lossy();
        snapshots().bind(|| insta::assert_snapshot!(&*name, manifests.join("\n")));
    }
}

#[test]
fn bad_values_are_refused_in_words() {
    for file in values("bad") {
        let content = fs::read_to_string(&file).expect("it is text");
        let expected = content.lines().next().and_then(|line| line.strip_prefix("# says: "));
        let expected = expected.unwrap_or_else(|| panic!("{} does not say what is said", file.display()));
        let output = helm(&["template", "scim", &chart().display().to_string()], Some(&file));
        let said = text(&output.stderr);
        assert!(!output.status.success(), "{} is accepted", file.display());
        assert!(said.contains(expected), "{}: expected {expected:?}, but found\n{said}", file.display());
    }
}

#[test]
fn definitions_of_the_chart_are_those_of_the_types() {
    let manifests = rendered(None);
    let manifests: Vec<_> = manifests.iter().filter(|(template, _)| template == "crds.yaml").collect();
    assert_eq!(manifests.len(), crd::definitions().len());
    for (definition, (_, manifest)) in crd::definitions().iter().zip(manifests) {
        let fresh = crd::definition_yaml(definition);
        let name = definition["spec"]["names"]["singular"].as_str().expect("a kind has a name");
        let file = chart().join(format!("files/crds/{name}.yaml"));
        assert!(
            fs::read_to_string(&file).is_ok_and(|text| text == fresh),
            "{} is stale: run `make generate`",
            file.display()
        );
        // Nothing is added but this.
        let metadata = "
metadata:
  annotations:
    helm.sh/resource-policy: keep
  labels:
    app.kubernetes.io/component: controller
    app.kubernetes.io/instance: scim
    app.kubernetes.io/managed-by: Helm
    app.kubernetes.io/name: scim-operator
    app.kubernetes.io/version: VERSION
    helm.sh/chart: scim-operator-VERSION
"
        .replace("VERSION", env!("CARGO_PKG_VERSION"));
        assert_eq!(manifest.trim(), fresh.replace("\nmetadata:\n", &metadata).trim());
    }
}

#[test]
fn readme_has_every_value() {
    let output = Command::new("python3")
        .arg(root().join("scripts/chart-readme.py"))
        .arg("--check")
        .output()
        .expect("Python is there");
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// The files below a folder of `src/`, one after the other.
fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            text.push_str(&sources(&path));
        } else {
            text.push_str(&fs::read_to_string(path).expect("it is text"));
        }
    }
    text
}

#[test]
fn alerts_ask_for_metrics_that_there_are() {
    let sources = sources(&root().join("src"));
    let mut names = 0;
    for file in ["controller", "server"] {
        let file = chart().join(format!("files/alerts/{file}.yaml"));
        let alerts = fs::read_to_string(&file).expect("the chart has alerts");
        for word in alerts.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_') {
            let Some(name) = word.strip_prefix("scim_") else { continue };
            // The exposition adds it to a counter.
            let name = name.strip_suffix("_total").unwrap_or(name);
            assert!(
                sources.contains(&format!("\"scim_{name}\"")),
                "{}: there is no metric {word}",
                file.display()
            );
            names += 1;
        }
    }
    assert!(names >= 7, "{names}");
}

#[test]
fn notes_name_the_next_command_and_its_manifest_is_valid() {
    for file in values("values") {
        let chart = chart().display().to_string();
        let output = helm(
            &["install", "scim", &chart, "--dry-run=client", "--namespace", "scim-operator"],
            Some(&file),
        );
        assert!(output.status.success(), "{}", text(&output.stderr));
        let output = text(&output.stdout);
        let (_, notes) = output.split_once("\nNOTES:\n").expect("there are notes");
        let (before, rest) =
            notes.split_once("  kubectl apply --filename - <<YAML\n").expect("they say what to apply");
        let (manifest, after) = rest.split_once("  YAML\n").expect("which has an end");
        assert!(before.starts_with("scim-operator "), "{notes}");
        assert!(after.contains("kubectl get scimep,scimt"), "{notes}");
        // Two columns in, as the whole block is.
        let manifest = manifest.lines().map(|line| &line[2..]).collect::<Vec<_>>().join(
            "
",
        );
        let findings = validate(&[File { name: "NOTES.txt".to_owned(), text: manifest }]);
        let findings: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(findings, Vec::<String>::new(), "{}", file.display());
    }
}

#[test]
fn version_of_the_chart_is_that_of_the_program() {
    let chart = fs::read_to_string(chart().join("Chart.yaml")).expect("the chart has a Chart.yaml");
    let version = env!("CARGO_PKG_VERSION");
    assert!(chart.contains(&format!("\nversion: {version}\n")), "{chart}");
    assert!(chart.contains(&format!("\nappVersion: \"{version}\"\n")), "{chart}");
}
