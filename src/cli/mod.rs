//! The command line: one file per subcommand, and the only place for `anyhow`.

pub mod audit;
pub mod controller;
pub mod crd;
pub mod database;
pub mod export;
pub mod import;
pub mod load;
pub mod progress;
pub mod render;
pub mod restore;
pub mod serve;
pub mod validate;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;

/// SCIM 2.0 provisioning as Kubernetes resources.
// The documentation of each variant is that of its arguments.
#[derive(Debug, Parser)]
#[command(name = "scim-operator", version)]
enum Command {
    Serve(serve::Arguments),
    Controller(controller::Arguments),
    Validate(validate::Args),
    Render(render::Args),
    Audit(audit::Args),
    Crd(crd::Args),
    Restore(restore::Args),
    Load(Box<load::Args>),
    Export(export::Args),
    Import(import::Args),
}

/// How a subcommand ended: the process's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: all went well.
    Success,
    /// 1: it ran, and what it found or met is an error.
    Failure,
    /// 2: it could not begin: wrong arguments (also from the argument parser), or input that cannot be read.
    Usage,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Failure => 1,
            Exit::Usage => 2,
        })
    }
}

/// Parses the arguments and runs the subcommand.
#[must_use]
pub fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Controller(arguments) => controller::run(&arguments),
        Command::Validate(args) => validate::run(&args),
        Command::Render(args) => render::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Crd(args) => crd::run(&args),
        Command::Restore(args) => restore::run(&args),
        Command::Load(args) => load::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Import(args) => import::run(&args),
    };
    result.unwrap_or_else(|error| {
        // Nobody to tell when the standard error is closed.
        let _ = writeln!(io::stderr(), "error: {error:#}");
        Exit::Failure.into()
    })
}

/// Says on the standard error why it cannot begin.
fn refuse(error: &dyn std::fmt::Display) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: {error}");
    Exit::Usage.into()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Command::command().debug_assert();
    }
}
