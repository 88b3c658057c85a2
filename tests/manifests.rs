//! The table of good and bad manifests under `tests/manifests/`, and the files generated from the schema.
//!
//! A bad manifest begins with what is to be found, one `# finds: LINE:COLUMN SEVERITY CODE FIELD` each, and with what
//! an API server does with it: `# cluster: refuses` when one object is wrong in itself, `# cluster: accepts` when only
//! the objects together are, or when `kubectl` reads over it. The same table is run against a real API server.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use proptest::prelude::*;
use scim_operator::{
    config::validate::{File, validate},
    crd,
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn manifests(folder: &str) -> Vec<(PathBuf, String)> {
    let folder = root().join("tests/manifests").join(folder);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the table is there")
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).expect("it is text"))).collect()
}

fn found(text: &str) -> Vec<String> {
    let files = [File { name: "m.yaml".to_owned(), text: text.to_owned() }];
    validate(&files)
        .into_iter()
        .map(|finding| {
            let place = finding.location.expect("each finding has a place");
            let field = finding.field.unwrap_or_default();
            format!("{}:{} {} {} {field}", place.line, place.column, finding.severity, finding.code)
                .trim_end()
                .to_owned()
        })
        .collect()
}

#[test]
fn good_manifests_have_no_findings() {
    for (path, text) in manifests("good") {
        assert_eq!(found(&text), Vec::<String>::new(), "{}", path.display());
    }
}

#[test]
fn bad_manifests_have_the_findings_they_name() {
    for (path, text) in manifests("bad") {
        let expected: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# finds: ")).collect();
        assert!(!expected.is_empty(), "{} names no finding", path.display());
        assert_eq!(found(&text), expected, "{}", path.display());
        let cluster = text.lines().find_map(|line| line.strip_prefix("# cluster: "));
        assert!(
            matches!(cluster, Some("accepts" | "refuses")),
            "{} does not name the cluster's verdict",
            path.display()
        );
    }
}

#[test]
fn generated_files_are_those_of_the_schema() {
    for definition in crd::definitions() {
        let name = definition["spec"]["names"]["singular"].as_str().unwrap();
        for (file, expected) in [
            (format!("crds/{name}.yaml"), crd::definition_yaml(definition)),
            (format!("docs/reference/{name}.md"), crd::reference_markdown(definition)),
        ] {
            let found = fs::read_to_string(root().join(&file)).unwrap_or_default();
            assert!(found == expected, "{file} is stale: run `make generate`");
        }
    }
    let conditions = fs::read_to_string(root().join("docs/reference/conditions.md")).unwrap_or_default();
    assert!(
        conditions == crd::condition::reference_markdown(),
        "conditions.md is stale: run `make generate`"
    );
}

#[test]
fn generated_definitions_read_back_as_they_were() {
    for definition in crd::definitions() {
        let files = [File { name: "crd.yaml".to_owned(), text: crd::definition_yaml(definition) }];
        let (documents, findings) = scim_operator::config::yaml::parse("crd.yaml", &files[0].text);
        assert_eq!(findings, []);
        assert_eq!(documents.len(), 1);
        assert!(documents[0].value == *definition);
    }
}

fn validate_command(arguments: &[&str]) -> Output {
    command("validate", arguments)
}

fn command(name: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_scim-operator"))
        .arg(name)
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("the binary runs")
}

#[test]
fn validate_ends_with_0_1_or_2() {
    let clean = validate_command(&["examples/quickstart"]);
    assert_eq!((clean.status.code(), clean.stdout.as_slice()), (Some(0), b"".as_slice()));
    assert_eq!(validate_command(&["tests/manifests/bad/token-short.yaml"]).status.code(), Some(0));
    assert_eq!(validate_command(&["examples/quickstart", "tests/manifests/bad"]).status.code(), Some(1));
    assert_eq!(validate_command(&["no/such/path"]).status.code(), Some(2));
    assert_eq!(validate_command(&["src"]).status.code(), Some(2));
    assert_eq!(validate_command(&[]).status.code(), Some(2));
}

#[test]
fn validate_prints_findings_for_people_and_for_programs() {
    let text = validate_command(&["tests/manifests/bad/unknown-field.yaml"]);
    insta::assert_snapshot!(String::from_utf8(text.stdout).unwrap(), @r"
    tests/manifests/bad/unknown-field.yaml:9:3: error: ScimEndpoint identity/main: spec.hots: unknown field
      hint: did you mean host?
    ");
    insta::assert_snapshot!(String::from_utf8(text.stderr).unwrap(), @"1 error, 0 warnings in 1 file");
    let json = validate_command(&["--output", "json", "tests/manifests/bad/unknown-field.yaml"]);
    insta::assert_snapshot!(String::from_utf8(json.stdout).unwrap(), @r#"
    {
      "files": 1,
      "errors": 1,
      "warnings": 0,
      "findings": [
        {
          "severity": "error",
          "code": "unknown-field",
          "file": "tests/manifests/bad/unknown-field.yaml",
          "line": 9,
          "column": 3,
          "object": "ScimEndpoint identity/main",
          "field": "spec.hots",
          "message": "unknown field",
          "hint": "did you mean host?"
        }
      ]
    }
    "#);
}

/// `KIND NAME` of the objects that `render` prints.
fn rendered(arguments: &[&str]) -> Vec<String> {
    let output = command("render", arguments);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("what is rendered is text");
    let (documents, findings) = scim_operator::config::yaml::parse("rendered", &text);
    assert_eq!(findings, []);
    let name = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    documents
        .iter()
        .map(|document| &document.value)
        .map(|object| format!("{} {}", name(&object["kind"]), name(&object["metadata"]["name"])))
        .collect()
}

#[test]
fn render_prints_the_objects_in_the_order_of_application() {
    insta::assert_snapshot!(rendered(&["tests/manifests/good/exposure-ingress-with-tls.yaml"]).join("\n"), @r"
    ServiceAccount main-scim
    Role main-scim
    RoleBinding main-scim
    PersistentVolumeClaim main-scim-data
    NetworkPolicy main-scim
    Certificate main-scim-tls
    Secret main-scim-config
    Deployment main-scim
    Service main-scim
    ");
}

#[test]
fn render_is_the_same_every_time() {
    let of = || command("render", &["examples/quickstart"]).stdout;
    assert_eq!(of(), of());
}

#[test]
fn render_shows_no_secret_unless_asked() {
    // Its Secrets have tokens in them, as text and in base64.
    let arguments = ["tests/manifests/good/everything.yaml"];
    let hidden = String::from_utf8(command("render", &arguments).stdout).unwrap();
    let digests = ["sha256 ", "(not shown"];
    assert!(digests.iter().all(|text| hidden.contains(text)), "{hidden}");
    assert!(!hidden.contains("\ndata:"), "{hidden}");
    let shown = command("render", &["--show-secrets", arguments[0]]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("\ndata:"), "{shown}");
    for text in [&hidden, &shown] {
        assert!(!text.contains("abcdefghijklmnopqrstuvwxyz"), "{text}");
    }
}

/// People make up the passwords of databases: not even a digest of one is shown.
#[test]
fn example_with_postgres_is_valid_and_render_shows_its_pods_and_not_its_password() {
    let clean = validate_command(&["examples/postgres"]);
    assert_eq!((clean.status.code(), clean.stdout.as_slice()), (Some(0), b"".as_slice()));
    let text = String::from_utf8(command("render", &["examples/postgres"]).stdout).unwrap();
    for part in
        ["database-url: (not shown)\n", "replicas: 3", "--database-tls=verify-full", "emptyDir", "port: 5432"]
    {
        assert!(text.contains(part), "there is no {part:?} in {text}");
    }
    assert!(!text.contains("change-me") && !text.contains("PersistentVolumeClaim"), "{text}");
    // As in Git, where the Secret is not.
    let alone = command("render", &["examples/postgres/endpoint.yaml"]);
    assert_eq!(alone.status.code(), Some(0), "{}", String::from_utf8_lossy(&alone.stderr));
    let alone = String::from_utf8(alone.stdout).unwrap();
    assert!(alone.contains("database-url: (not shown)"), "{alone}");
    let authority = command("render", &["tests/manifests/good/storage-postgres-everything.yaml"]);
    let authority = String::from_utf8(authority.stdout).unwrap();
    assert!(authority.contains("--database-ca="), "{authority}");
}

#[test]
fn render_makes_placeholders_of_what_the_operator_makes_and_of_secrets_that_are_elsewhere() {
    let output = command("render", &["tests/manifests/good/oauth2.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let output = command("render", &["tests/manifests/good/minimal.yaml"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("token: (made by the operator)"), "{text}");
}

#[test]
fn render_chooses_one_endpoint_and_its_image() {
    let file = "tests/manifests/good/one-path-on-two-endpoints.yaml";
    let of = |endpoint: &str| rendered(&["--endpoint", endpoint, file]);
    assert!(
        of("identity/second").iter().all(|object| object.contains("second") || object.contains("acme-two"))
    );
    assert_eq!(rendered(&[file]).len(), of("identity/main").len() + of("identity/second").len());
    let output = command("render", &["--server-image", "registry.example.com/x:1", file]);
    assert!(String::from_utf8(output.stdout).unwrap().contains("image: registry.example.com/x:1"));
}

#[test]
fn render_ends_with_0_1_or_2_and_prints_nothing_beside_an_error() {
    let wrong = command("render", &["examples/quickstart", "tests/manifests/bad/unknown-field.yaml"]);
    assert_eq!((wrong.status.code(), wrong.stdout.as_slice()), (Some(1), b"".as_slice()));
    insta::assert_snapshot!(String::from_utf8(command("render", &["tests/manifests/bad/unknown-field.yaml"]).stderr).unwrap(), @r"
    tests/manifests/bad/unknown-field.yaml:9:3: error: ScimEndpoint identity/main: spec.hots: unknown field
      hint: did you mean host?
    ");
    let nobody = command("render", &["--endpoint", "identity/other", "examples/quickstart"]);
    assert_eq!(nobody.status.code(), Some(1));
    insta::assert_snapshot!(String::from_utf8(nobody.stderr).unwrap(), @"error: there is no ScimEndpoint identity/other among the manifests");
    assert_eq!(command("render", &["no/such/path"]).status.code(), Some(2));
}

#[test]
fn unreadable_path_is_named_in_one_line() {
    let output = validate_command(&["no/such/path"]);
    insta::assert_snapshot!(String::from_utf8(output.stderr).unwrap(), @"error: cannot read no/such/path: No such file or directory (os error 2)");
}

/// A manifest of the table with a few bytes of YAML's own characters put in or taken out.
fn mutated() -> impl Strategy<Value = String> {
    let texts: Vec<String> =
        ["good", "bad"].iter().flat_map(|folder| manifests(folder)).map(|(_, text)| text).collect();
    let edit = (any::<prop::sample::Index>(), "[-\\[\\]{}:,&*!|>'\"#%@`~<\t\n a0]{0,3}", 0..4_usize);
    (prop::sample::select(texts), prop::collection::vec(edit, 1..6)).prop_map(|(text, edits)| {
        let mut chars: Vec<char> = text.chars().collect();
        for (at, insert, remove) in edits {
            let at = at.index(chars.len() + 1);
            let end = (at + remove).min(chars.len());
            chars.splice(at..end, insert.chars());
        }
        chars.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_manifests_never_panic(text in mutated()) {
        let _ = found(&text);
    }

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        let _ = found(&text);
    }

    #[test]
    fn yaml_like_text_never_panics(text in "([-?:&*!|>'\"%@`{}\\[\\],# \n\t]|<<|&a|\\*a|kind|: |\n- |---\n|a){0,60}") {
        let _ = found(&text);
    }
}

#[test]
fn aliases_that_multiply_are_one_finding() {
    let mut text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, of) in ["b", "c", "d", "e", "f", "g", "h"].iter().zip(["a", "b", "c", "d", "e", "f", "g"]) {
        let items = vec![format!("*{of}"); 10].join(", ");
        text.extend([name, ": &", name, " [", &items, "]\n"]);
    }
    assert_eq!(found(&text), ["6:8 error too-large"]);
}

#[test]
fn deep_nesting_is_a_finding() {
    let text = format!("a: {}", "[".repeat(10_000));
    assert_eq!(found(&text).len(), 1);
}
