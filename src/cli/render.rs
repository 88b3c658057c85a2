//! `scim-operator render`: what the operator would apply, so that a pull request shows what it changes.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{Exit, validate};
use crate::{
    config::{
        digest::sha256_hex,
        findings::{self, Finding, has_errors},
        objects::{Located, Object as _},
        validate as checks,
    },
    controller::{build, render::render, validate::Settings},
    crd::ScimEndpoint,
};

/// Print what the operator would apply for manifests
///
/// The objects are written to the standard output as YAML, in the order in which they are applied, and the same
/// manifests always give the same text. Findings are written to the standard error, as by `validate`; after an error
/// nothing else is printed. What only a cluster knows is left out: owner references. Secrets that are not among the
/// manifests are taken to be there.
///
/// Exit status: 0 when there is no error, 1 when there is one, 2 when a path cannot be read.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files, folders (with all *.yaml and *.yml in and below them), or - for the standard input.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The one `ScimEndpoint` to render; all of them when absent.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    endpoint: Option<String>,
    /// Container image of server pods whose endpoint names none, as the operator is told.
    #[arg(long, value_name = "IMAGE", default_value = concat!("ghcr.io/scim-operator/scim-operator:", env!("CARGO_PKG_VERSION")))]
    server_image: String,
    /// The namespace in which the operator runs.
    #[arg(long, value_name = "NAMESPACE", default_value = "scim-operator")]
    operator_namespace: String,
    /// Print the values of Secrets, instead of their SHA-256 digests.
    #[arg(long)]
    show_secrets: bool,
}

/// Reads and judges the manifests, and prints the objects.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let files = match validate::read(&args.paths) {
        Ok(files) => files,
        Err(error) => {
            writeln!(io::stderr(), "error: {error}")?;
            return Ok(Exit::Usage.into());
        }
    };
    let (objects, mut found) = checks::read(&files);
    found.extend(checks::across(&objects, None));
    let asked = |endpoint: &&Located<ScimEndpoint>| {
        args.endpoint.as_ref().is_none_or(|asked| endpoint.object.key() == *asked)
    };
    let endpoints: Vec<_> = objects.endpoints.iter().filter(asked).collect();
    let mut rendered = Vec::new();
    if !has_errors(&found) {
        if endpoints.is_empty() {
            let asked = args.endpoint.as_ref().map(|endpoint| format!(" {endpoint}")).unwrap_or_default();
            writeln!(io::stderr(), "error: there is no ScimEndpoint{asked} among the manifests")?;
            return Ok(Exit::Failure.into());
        }
        let settings = Settings {
            server_image: args.server_image.clone(),
            operator_namespace: args.operator_namespace.clone(),
        };
        for endpoint in endpoints {
            match render(endpoint, &objects, &settings) {
                Ok(objects) => rendered.extend(objects),
                Err(errors) => found.extend(errors),
            }
        }
    }
    findings::sort(&mut found);
    say(&found)?;
    if has_errors(&found) {
        return Ok(Exit::Failure.into());
    }
    let mut text = String::new();
    for mut object in rendered {
        if !args.show_secrets {
            hide(&mut object);
        }
        text.push_str("---\n");
        text.push_str(&yaml(&object)?);
    }
    match io::stdout().lock().write_all(text.as_bytes()) {
        // The reader has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        result => result.context("cannot write to the standard output")?,
    }
    Ok(Exit::Success.into())
}

fn say(findings: &[Finding]) -> io::Result<()> {
    let mut out = io::stderr().lock();
    findings.iter().try_for_each(|finding| writeln!(out, "{finding}"))
}

/// Puts the digest of each value of a Secret in its place: a change is seen, and what changed is not. What is no secret
/// is shown, as `stringData`.
fn hide(object: &mut Value) {
    const SHOWN: [&str; 3] = [build::URL_KEY, crate::crd::TOKEN_KEY, build::DATABASE_CA_KEY];
    if object["kind"] != "Secret" {
        return;
    }
    let Some(data) = object.as_object_mut().and_then(|object| object.shift_remove("data")) else { return };
    let mut shown = serde_json::Map::new();
    for (key, value) in data.as_object().into_iter().flatten() {
        let bytes = serde_json::from_value::<k8s_openapi::ByteString>(value.clone()).unwrap_or_default().0;
        let text = match String::from_utf8(bytes) {
            // People make up passwords of databases: by a digest it could be found.
            Ok(_) if key == build::DATABASE_URL_KEY => "(not shown)".to_owned(),
            // The token is a placeholder: it is made in the cluster.
            Ok(text) if SHOWN.contains(&key.as_str()) => text,
            Ok(text) => format!("(not shown: sha256 {})", sha256_hex(text.as_bytes())),
            Err(error) => format!("(not shown: sha256 {})", sha256_hex(error.as_bytes())),
        };
        shown.insert(key.clone(), text.into());
    }
    object["stringData"] = json!(shown);
}

fn yaml(object: &Value) -> anyhow::Result<String> {
    let options = serde_saphyr::ser_options! { indent_step: 2, prefer_block_scalars: true };
    serde_saphyr::to_string_with_options(object, options).context("cannot write an object as YAML")
}
