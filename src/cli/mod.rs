//! The command line: one file per subcommand, and the only place for `anyhow`.

pub mod crd;
pub mod validate;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;

/// SCIM 2.0 provisioning as Kubernetes resources.
// The documentation of each variant is that of its arguments.
#[derive(Debug, Parser)]
#[command(version)]
enum Command {
    Crd(crd::Args),
    Validate(validate::Args),
}

/// Parses the arguments and runs the subcommand.
#[must_use]
pub fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Crd(args) => crd::run(&args),
        Command::Validate(args) => validate::run(&args),
    };
    result.unwrap_or_else(|error| {
        // Nobody to tell when the standard error is closed.
        let _ = writeln!(io::stderr(), "error: {error:#}");
        ExitCode::FAILURE
    })
}
