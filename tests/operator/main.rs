//! The operator on a real cluster: `make operator-test`.
//!
//! The cluster is brought up once. Then come the quickstart alone, the scenarios side by side, each in a namespace of
//! its own, and one after the other what needs the cluster for itself: definitions that change, and faults. The
//! cluster is taken down at the end, also after a panic or Ctrl-C.
//!
//! `cargo test --test operator -- [--keep] [--reuse] [WORDS...]`: `--keep` leaves the cluster up, `--reuse` takes the one that
//! is, and words choose the scenarios whose names contain one of them.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table of scenarios is what this program is for"
)]

mod faults;
mod quickstart;
mod scenarios;
mod support;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{FutureExt, LocalBoxFuture};
use futures::stream::{self, StreamExt};

use support::{Cluster, Scene};

/// How many scenarios run at once: they wait for pods most of the time, and pods start on two cores.
const AT_ONCE: usize = 5;

/// How long a scenario may take.
const PATIENCE: Duration = Duration::from_mins(4);

/// One row of the table: what is done and what must hold, as its name says.
#[derive(Clone, Copy)]
struct Scenario {
    name: &'static str,
    run: fn(Scene) -> LocalBoxFuture<'static, ()>,
}

/// The rows of a group: `rows![a, b]`.
macro_rules! rows {
    ($($scenario:path),* $(,)?) => {
        vec![$(crate::Scenario { name: stringify!($scenario), run: |scene| Box::pin($scenario(scene)) }),*]
    };
}
use rows;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let words: Vec<String> =
        arguments.iter().filter(|argument| !argument.starts_with("--")).cloned().collect();
    let reuse = has("--reuse");
    let outcome = tokio::select! {
        outcome = AssertUnwindSafe(all(reuse, words)).catch_unwind() => outcome.unwrap_or(false),
        () = told_to_stop() => false,
    };
    if !reuse && !has("--keep") {
        Cluster::down().await;
    }
    if outcome { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).expect("signals can be waited for");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    eprintln!("told to stop: taking the cluster down");
}

/// Runs what was asked for, and says whether all of it holds.
async fn all(reuse: bool, words: Vec<String>) -> bool {
    let started = Instant::now();
    let cluster = Arc::new(Cluster::up(reuse).await);
    let chosen = |scenario: &Scenario| {
        words.is_empty() || words.iter().any(|word| scenario.name.contains(word.as_str()))
    };
    let mut rows = Vec::new();
    if reuse || !words.is_empty() {
        cluster.install(&[]).await;
    }
    for (scenarios, at_once) in [(quickstart::all(), 1), (scenarios::all(), AT_ONCE), (faults::all(), 1)] {
        let scenarios: Vec<_> = scenarios.into_iter().filter(chosen).collect();
        rows.extend(
            stream::iter(scenarios)
                .map(|scenario| run(&cluster, scenario))
                .buffer_unordered(at_once)
                .collect::<Vec<_>>()
                .await,
        );
    }
    let failed: Vec<_> = rows.iter().filter(|row| !row.holds).collect();
    println!("\n{} scenarios in {:.0} s, {} fail", rows.len(), started.elapsed().as_secs_f64(), failed.len());
    for row in &failed {
        println!("  {}", row.scenario);
    }
    !rows.is_empty() && failed.is_empty()
}

struct Row {
    scenario: &'static str,
    holds: bool,
}

/// Runs one scenario in a namespace of its own. Where it fails, it says what the cluster looks like, and the
/// namespace stays.
async fn run(cluster: &Arc<Cluster>, scenario: Scenario) -> Row {
    let started = Instant::now();
    let scene = Scene::open(cluster.clone(), scenario.name).await;
    let ended = tokio::time::timeout(PATIENCE, (scenario.run)(scene.clone()));
    let outcome = AssertUnwindSafe(ended).catch_unwind().await;
    let holds = matches!(outcome, Ok(Ok(())));
    let mark = if holds { "ok  " } else { "FAIL" };
    println!("{mark}    {:5.1} s  {}", started.elapsed().as_secs_f64(), scenario.name);
    if holds {
        scene.delete("Namespace", &scene.namespace).await;
    } else {
        let why = match outcome {
            Err(panic) => message(&*panic),
            Ok(_) => format!("it has not ended after {} s", PATIENCE.as_secs()),
        };
        println!(
            "--- {}: {why}\n{}\n--- end of {}",
            scenario.name,
            scene.cluster.describe(&scene.namespace).await,
            scenario.name
        );
    }
    Row { scenario: scenario.name, holds }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it panicked").to_owned()
}
