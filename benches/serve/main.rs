//! `make bench`: what the server costs over the least that the same work can cost.
//!
//! Machines differ, so every figure is a ratio: to a bare axum handler measured in the same run ([`floor`]), or of
//! the product to itself at another size. Rounds are interleaved and the median counts. The product runs as a
//! user runs it: release build, default logging to a file, bearer authentication, SQLite with full durability.
//! `--quick` is a smaller run to try a change with; its verdicts mean little.

#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

#[path = "../../tests/support/postgres.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "the tests' own")]
mod database;
mod floor;
mod http;
mod load;
mod measures;
mod postgres;
mod product;
mod report;
mod sizes;

use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The product's allocator, so that floors do not pay for another one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How much to measure.
#[derive(Debug, Clone, Copy)]
struct Scale {
    /// Rounds of each measure; the median counts.
    rounds: usize,
    /// How long one side of a round takes, for rates.
    round: Duration,
    /// Requests of each side in a round, for latencies.
    requests: usize,
    /// Users of the large directory.
    users: usize,
    /// Members of the large group.
    members: usize,
    /// The far page of a cursor.
    far_page: usize,
}

const FULL: Scale = Scale {
    rounds: 7,
    round: Duration::from_secs(2),
    requests: 200,
    users: 1_000_000,
    members: 100_000,
    far_page: 1_000,
};

const QUICK: Scale = Scale {
    rounds: 3,
    round: Duration::from_millis(500),
    requests: 60,
    users: 20_000,
    members: 10_000,
    far_page: 150,
};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // The bench starts itself again as the floors, so that they are processes as the product is.
    if let [flag, kind, file] = arguments.as_slice()
        && flag == "--floor"
    {
        floor::serve(kind, file);
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let scale = if quick { QUICK } else { FULL };
    let only: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let started = Instant::now();
    let mut report = report::Report::new(quick);
    measures::all(&scale, &only, &mut report);
    report.finish("serve", started.elapsed())
}
