//! `make bench`: ten thousand tenants on one endpoint.
//!
//! A real kube-apiserver with its etcd, the controller and one server pod's process from the release build, on one
//! machine. There is no kubelet: the bench says of a pod that it is ready, and mounts its configuration. The API
//! server and the bench's own clients take their part of the cores, so that times are those of a small cluster.
//! `--quick` has a tenth of the tenants.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the table is what this program is for")]

#[expect(dead_code, reason = "tests use the rest")]
#[path = "../../tests/cluster/support/api_server.rs"]
mod api_server;
mod operator;
#[expect(dead_code, reason = "the other bench has ratios")]
#[path = "../serve/report.rs"]
mod report;
mod writes;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use operator::Operator;
use report::{Bar, Report};
use writes::Writes;

/// Without a request and without a change, the operator must not write: looked at for so long.
const IDLE: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> ExitCode {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (tenants, changes) = if quick { (1_000, 20) } else { (10_000, 200) };
    let started = Instant::now();
    let mut report = Report::new(quick);
    let mut operator = Operator::start().await;
    report.note(format!("{tenants} tenants on one endpoint"));

    let created = operator.create_tenants(tenants).await;
    let converged = operator.converged(tenants).await;
    report.note(format!("{:.1} s of it until the API server had taken them all", created.as_secs_f64()));
    report.figure(
        "all tenants Ready, from the first create",
        "s",
        vec![converged.as_secs_f64()],
        Bar::AtMost(60.0),
    );
    let (controller, server) = operator.megabytes();
    report.figure("memory of the controller (peak)", "MB", vec![controller], Bar::AtMost(100.0));
    report.figure("memory of the server pod (peak)", "MB", vec![server], Bar::AtMost(150.0));

    // The last statuses and Events.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = Writes::of(&operator).await;
    tokio::time::sleep(IDLE).await;
    let idle = Writes::of(&operator).await.since(&before);
    report.note(format!("writes in {} s of idleness, without the Lease: {idle}", IDLE.as_secs()));
    report.figure("writes when idle", "", vec![idle.count()], Bar::AtMost(0.0));

    let before = Writes::of(&operator).await;
    let mut times = operator.change_tenants(tenants, changes).await;
    times.sort();
    let at = |percent: usize| times[(times.len() * percent).div_ceil(100) - 1].as_secs_f64();
    report.note(format!("a change of one tenant: enforced p50 {:.0} ms", at(50) * 1000.0));
    report.figure("a change of one tenant: enforced p99", "s", vec![at(99)], Bar::AtMost(1.0));
    let written = Writes::of(&operator).await.since(&before);
    // The bench's own changes are a few hundred bytes each.
    let kilobytes = written.bytes() / 1000.0 / f64::from(u32::try_from(changes).expect("a few"));
    report.note(format!("writes of {changes} changes: {written}"));
    report.figure(
        "a change of one tenant: written to the API server",
        "kB",
        vec![kilobytes],
        Bar::AtMost(100.0),
    );
    report.finish("operator", started.elapsed())
}
