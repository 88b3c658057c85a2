//! `scim-operator crd`: the custom resource definitions, to be installed or read.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use clap::ValueEnum;

use crate::crd;

/// Print the custom resource definitions.
///
/// `scim-operator crd | kubectl apply --server-side -f -` installs them.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// YAML to install, or the field reference as Markdown.
    #[arg(long, value_enum, default_value_t = Format::Yaml)]
    output: Format,
    /// Write one file for each kind into this folder instead of printing.
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
}

/// What to print.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Yaml,
    Markdown,
}

/// Prints or writes the definitions.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    if let Some(folder) = &args.output_dir {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    for (index, definition) in crd::definitions().iter().enumerate() {
        let (text, extension) = match args.output {
            Format::Yaml => (crd::definition_yaml(definition), "yaml"),
            Format::Markdown => (crd::reference_markdown(definition), "md"),
        };
        if let Some(folder) = &args.output_dir {
            let name = definition["spec"]["names"]["singular"].as_str().unwrap_or_default();
            let file = folder.join(format!("{name}.{extension}"));
            fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
            continue;
        }
        let separator = match args.output {
            Format::Yaml => "---\n",
            Format::Markdown if index > 0 => "\n",
            Format::Markdown => "",
        };
        match write!(out, "{separator}{text}") {
            // The reader has read enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            result => result.context("cannot write to the standard output")?,
        }
    }
    Ok(ExitCode::SUCCESS)
}
