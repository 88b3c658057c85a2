//! `scim-operator validate`: what an API server would refuse, and what would not be served, found in a pipeline.

use std::{
    io::{self, IsTerminal, Read, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::ValueEnum;
use serde_json::json;

use super::Exit;
use crate::config::{
    findings::{Finding, has_errors},
    manifests,
    validate::{File, validate},
};

/// Check manifests: fields, types, rules, and how the objects fit together.
///
/// Exit status: 0 when there is no error, 1 when there is one, 2 when a path cannot be read.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files, folders (with all *.yaml and *.yml in and below them), or - for the standard input.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Text for people, or JSON for programs.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Reads and judges the manifests, and prints the findings on the standard output.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let files = match read(&args.paths) {
        Ok(files) => files,
        Err(error) => {
            writeln!(io::stderr(), "error: {error}")?;
            return Ok(Exit::Usage.into());
        }
    };
    let findings = validate(&files);
    let printed = match args.output {
        Format::Text => print_text(&findings, files.len()),
        Format::Json => print_json(&findings, files.len()),
    };
    match printed {
        // The reader has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        result => result?,
    }
    Ok(if has_errors(&findings) { Exit::Failure } else { Exit::Success }.into())
}

/// The files at paths; `-` is the standard input.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<File>, String> {
    let mut files: Vec<File> = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| format!("cannot read the standard input: {error}"))?;
            files.push(File { name: "<stdin>".to_owned(), text });
            continue;
        }
        let found = manifests::collect(path).map_err(|error| error.to_string())?;
        if found.is_empty() {
            return Err(format!("there is no *.yaml or *.yml in {}", path.display()));
        }
        for file in found {
            // A file named twice is one file.
            if !files.iter().any(|known| known.name == file.name) {
                files.push(file);
            }
        }
    }
    Ok(files)
}

fn print_text(findings: &[Finding], files: usize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for finding in findings {
        writeln!(out, "{finding}")?;
    }
    let errors = findings.iter().filter(|finding| finding.is_error()).count();
    let warnings = findings.len() - errors;
    // The verdict is for people; a program has the exit status.
    if io::stderr().is_terminal() || !findings.is_empty() {
        let count =
            |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
        let (errors, warnings, files) =
            (count(errors, "error"), count(warnings, "warning"), count(files, "file"));
        writeln!(io::stderr(), "{errors}, {warnings} in {files}")?;
    }
    Ok(())
}

fn print_json(findings: &[Finding], files: usize) -> io::Result<()> {
    let errors = findings.iter().filter(|finding| finding.is_error()).count();
    let report = json!({
        "files": files,
        "errors": errors,
        "warnings": findings.len() - errors,
        "findings": findings,
    });
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &report)?;
    writeln!(out)
}
