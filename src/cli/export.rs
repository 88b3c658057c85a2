//! `scim-operator export`: tenants of a store as a file that any store can import.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use super::Exit;
use super::database::{Database, Transfer};
use super::progress::Progress;
use crate::store::TenantKey;
use crate::store::sqlite::SqliteExporter;
use crate::store::transfer::Exporter;
use crate::transfer::{ExportError, Tally, export, export_to_file};

/// Export tenants: users, groups, members, what was deleted and is retained, and the audit log
///
/// Writes lines of JSON with checksums, for `scim-operator import`. A server may use the store meanwhile: each tenant is
/// exported as it is at one moment. What a client writes after that moment is not in the export, so suspend the tenants
/// first (`spec.suspended`) when you mean to move them. An export into a file that was stopped goes on where it was when
/// the same command is run again.
///
/// Exit status: 0 when the export is whole; 1 when it is not; 2 when there is no such store or tenant.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to write; `-` for the standard output
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Data folder of the server
    #[arg(long, value_name = "DIR", default_value = "scim-data")]
    data: PathBuf,
    /// A tenant to export, NAMESPACE/NAME; may be given several times; all tenants when absent
    #[arg(long, value_name = "NAMESPACE/NAME")]
    tenant: Vec<String>,
    /// Where users and groups are kept
    #[command(flatten)]
    database: Database,
}

/// Exports.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start")?.block_on(run_on(args))
}

async fn run_on(args: &Args) -> anyhow::Result<ExitCode> {
    let mut exporter: Box<dyn Exporter> = match super::database::transfer(&args.database)? {
        Transfer::Folder => match SqliteExporter::open(&args.data) {
            Ok(exporter) => Box::new(exporter),
            Err(error) => return Ok(super::refuse(&error)),
        },
        Transfer::Postgres(store) => Box::new(store.exporter().await?),
    };
    let there = exporter.tenants().await?;
    let tenants = match choose(there, &args.tenant) {
        Ok(tenants) => tenants,
        Err(error) => return Ok(super::refuse(&error)),
    };
    let mut progress = Progress::default();
    let mut watch = |step: crate::transfer::Progress<'_>| progress.show(step.what, step.done, step.total);
    let written = if args.file == Path::new("-") {
        export(&mut *exporter, &tenants, io::stdout(), &mut watch).await
    } else {
        export_to_file(&mut *exporter, &tenants, &args.file, &mut watch).await
    };
    progress.done();
    match written {
        Ok(written) => {
            for (tenant, tally) in &written {
                writeln!(io::stderr(), "exported {}: {}", tenant.0, in_words(tally))?;
            }
            if written.is_empty() {
                writeln!(io::stderr(), "exported no tenant: none has any data")?;
            }
            Ok(Exit::Success.into())
        }
        // Nobody reads any more.
        Err(ExportError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            Ok(Exit::Failure.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// The tenants that are meant, in the order of the store.
fn choose(there: Vec<TenantKey>, wanted: &[String]) -> Result<Vec<TenantKey>, String> {
    for name in wanted {
        if !there.iter().any(|tenant| *tenant.0 == **name) {
            return Err(super::audit::no_such_tenant(&there, name));
        }
    }
    let chosen = |tenant: &TenantKey| wanted.is_empty() || wanted.iter().any(|name| **name == *tenant.0);
    Ok(there.into_iter().filter(chosen).collect())
}

/// What a tenant has, for people.
pub(super) fn in_words(tally: &Tally) -> String {
    let Tally { resources, memberships, retained, changes, awaited, answers: _, tokens: _ } = tally;
    let mut words =
        format!("{resources} resources, {memberships} memberships, {changes} changes in the audit log");
    for (count, what) in [(retained, "retained"), (awaited, "awaited memberships")] {
        if *count > 0 {
            let _ = write!(words, ", {count} {what}");
        }
    }
    words
}
