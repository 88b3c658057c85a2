//! `scim-operator import`: tenants of an export into a store.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use super::Exit;
use super::database::{Database, Transfer};
use super::export::in_words;
use super::progress::Progress;
use crate::store::TenantKey;
use crate::store::sqlite::SqliteImporter;
use crate::store::transfer::Importer;
use crate::transfer::{Outcome, import};

/// Import tenants of an export into a store, as they were: ids, versions, times, memberships, audit log
///
/// The whole file is checked before anything is written, and a tenant is there when all of it is. A tenant that has data
/// already is refused, unless this very export brought it: then it is left as it is. An import that was stopped goes on
/// where it was when the same command is run again. A data folder must not be in use by a server; a PostgreSQL database
/// may be.
///
/// Exit status: 0 when all tenants are there; 1 when they are not; 2 when there is no such file or store.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to read
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Data folder of the server; made when absent
    #[arg(long, value_name = "DIR", default_value = "scim-data")]
    data: PathBuf,
    /// A tenant to import, NAMESPACE/NAME; may be given several times; all tenants when absent
    #[arg(long, value_name = "NAMESPACE/NAME")]
    tenant: Vec<String>,
    /// Where users and groups are to be kept
    #[command(flatten)]
    database: Database,
}

/// Imports.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start")?.block_on(run_on(args))
}

async fn run_on(args: &Args) -> anyhow::Result<ExitCode> {
    let name = args.file.display();
    let file = match File::open(&args.file) {
        Ok(file) => file,
        Err(error) => return Ok(super::refuse(&format!("cannot read {name}: {error}"))),
    };
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Ok(super::refuse(&format!(
            "{name} is no file; an import reads it twice, so a pipe will not do"
        )));
    }
    let mut importer: Box<dyn Importer> = match super::database::transfer(&args.database)? {
        Transfer::Folder => match SqliteImporter::open(&args.data) {
            Ok(importer) => Box::new(importer),
            Err(error) => return Ok(super::refuse(&error)),
        },
        Transfer::Postgres(store) => Box::new(store.importer().await?),
    };
    let only: Vec<_> = args.tenant.iter().map(|tenant| TenantKey(tenant.as_str().into())).collect();
    let mut progress = Progress::default();
    let mut watch = |step: crate::transfer::Progress<'_>| progress.show(step.what, step.done, step.total);
    let done = import(&mut *importer, &file, &only, &mut watch).await;
    progress.done();
    for (tenant, outcome) in done.with_context(|| format!("cannot import {name}"))? {
        match outcome {
            Outcome::Imported(tally) => {
                writeln!(io::stderr(), "imported {}: {}", tenant.0, in_words(&tally))?;
            }
            Outcome::ThereBefore => {
                writeln!(
                    io::stderr(),
                    "{} was imported from this export before, and is left as it is",
                    tenant.0
                )?;
            }
        }
    }
    Ok(Exit::Success.into())
}
