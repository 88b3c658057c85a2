//! `scim-operator crd`: the custom resource definitions, to be installed or read.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use serde_json::Value;

use super::Exit;
use crate::crd;

/// Print the custom resource definitions as YAML.
///
/// `scim-operator crd | kubectl apply --server-side -f -` installs them.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write one YAML file for each kind into this folder instead of printing.
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
    /// Write the field reference of each kind and that of the conditions, as Markdown, into this folder instead of printing.
    #[arg(long, value_name = "DIR")]
    reference_dir: Option<PathBuf>,
}

/// Prints or writes the definitions.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Args { output_dir, reference_dir } = args;
    if let Some(folder) = output_dir {
        write_files(folder, "yaml", crd::definition_yaml)?;
    }
    if let Some(folder) = reference_dir {
        write_files(folder, "md", crd::reference_markdown)?;
        let file = folder.join("conditions.md");
        fs::write(&file, crd::condition::reference_markdown())
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    if output_dir.is_none() && reference_dir.is_none() {
        let text: String = crd::definitions()
            .iter()
            .flat_map(|definition| ["---\n".to_owned(), crd::definition_yaml(definition)])
            .collect();
        match io::stdout().lock().write_all(text.as_bytes()) {
            // The reader has read enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            result => result.context("cannot write to the standard output")?,
        }
    }
    Ok(Exit::Success.into())
}

fn write_files(folder: &Path, extension: &str, render: fn(&Value) -> String) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    for definition in crd::definitions() {
        let name = definition["spec"]["names"]["singular"].as_str().unwrap_or_default();
        let file = folder.join(format!("{name}.{extension}"));
        fs::write(&file, render(definition)).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}
