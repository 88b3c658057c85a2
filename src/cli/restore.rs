//! `scim-operator restore`: what was deleted and is retained, and bringing it back, on a running server.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use crate::server::control::{AskError, Line, Request, ask};
use crate::server::leavers::{Restorable, Restored};

use super::Exit;

/// Restore a deleted user or group, or list what can be restored
///
/// Works on a running server, whose tenant has `spec.lifecycle.onDelete: Retain`: run it on the same machine (in a
/// cluster, with `kubectl exec` in the server's pod) as the user that the server runs as. A restored resource is as
/// it was when it was deleted, with its groups.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["list", "resource"])))]
pub struct Args {
    /// The server's folder for its database
    #[arg(long, value_name = "DIR", default_value = "scim-data")]
    data: PathBuf,
    /// The tenant: its path, or `NAMESPACE/NAME`; all of them when a list is asked for without
    #[arg(long, value_name = "TENANT", required_unless_present = "list")]
    tenant: Option<String>,
    /// The id of the resource to restore
    #[arg(long, value_name = "ID")]
    resource: Option<String>,
    /// List what can be restored, in the order of deletion
    #[arg(long)]
    list: bool,
    /// How the answer looks; json is one object a line
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// How the answer looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Asks the server and shows its answer.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let request = match (&args.tenant, &args.resource) {
        (Some(tenant), Some(resource)) => {
            Request::Restore { tenant: tenant.clone(), resource: resource.clone() }
        }
        (tenant, _) => Request::List { tenant: tenant.clone() },
    };
    let mut out = io::stdout().lock();
    let mut lines = 0;
    let asked = ask(&args.data, &request, |line| {
        lines += 1;
        match args.output {
            Output::Json => show_json(&mut out, &line),
            Output::Text => show_text(&mut out, &line, lines == 1),
        }
    });
    match asked {
        Ok(()) => {
            if lines == 0 && args.output == Output::Text {
                writeln!(out, "nothing can be restored")?;
            }
            Ok(Exit::Success.into())
        }
        Err(AskError::Unreachable(error)) => {
            let data = args.data.display();
            anyhow::bail!(
                "no server answers for the data folder {data} ({error}); start it with `scim-operator serve --data {data}`, or name its folder with --data"
            )
        }
        Err(error) => Err(error.into()),
    }
}

fn show_json(out: &mut impl Write, line: &Line) -> io::Result<()> {
    match line {
        Line::Restorable(restorable) => serde_json::to_writer(&mut *out, restorable)?,
        Line::Restored(restored) => serde_json::to_writer(&mut *out, restored)?,
        Line::Error(_) | Line::Done => return Ok(()),
    }
    writeln!(out)
}

fn show_text(out: &mut impl Write, line: &Line, first: bool) -> io::Result<()> {
    match line {
        Line::Restorable(Restorable { tenant, resource_type, id, name, external_id: _, deleted, until }) => {
            if first {
                writeln!(
                    out,
                    "{:20}  {:20}  {:24}  {:8}  {:36}  NAME",
                    "DELETED", "UNTIL", "TENANT", "TYPE", "ID"
                )?;
            }
            // A name is a client's word: nothing in it speaks to the terminal.
            let name = name.as_deref().unwrap_or("-").escape_debug();
            writeln!(out, "{deleted:20}  {until:20}  {tenant:24}  {resource_type:8}  {id:36}  {name}")
        }
        Line::Restored(Restored { tenant, resource_type, id, groups }) => {
            write!(out, "restored {resource_type} {id} of {tenant}")?;
            if !groups.is_empty() {
                let names: Vec<_> = groups.iter().map(|name| name.escape_debug().to_string()).collect();
                write!(out, ", in {}", names.join(", "))?;
            }
            writeln!(out)
        }
        Line::Error(_) | Line::Done => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_shows_who_was_deleted_until_when() {
        let restorable = Restorable {
            tenant: "identity/acme".to_owned(),
            resource_type: "User".to_owned(),
            id: "0192f0c4-0000-7000-8000-000000000001".to_owned(),
            name: Some("ann\u{1b}[31m".to_owned()),
            external_id: None,
            deleted: "2026-11-22T10:00:00Z".to_owned(),
            until: "2026-12-22T10:00:00Z".to_owned(),
        };
        let mut out = Vec::new();
        show_text(&mut out, &Line::Restorable(restorable), true).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r"
        DELETED               UNTIL                 TENANT                    TYPE      ID                                    NAME
        2026-11-22T10:00:00Z  2026-12-22T10:00:00Z  identity/acme             User      0192f0c4-0000-7000-8000-000000000001  ann\u{1b}[31m
        ");
    }
}
