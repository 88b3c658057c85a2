//! The report for a terminal.

use std::fmt::Write as _;

use super::{Measured, Report, Verdict};

/// Findings shown; the JSON report has more.
const MOST_SHOWN: usize = 20;

pub(super) fn render(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(report, &mut out);
    out
}

fn write(report: &Report, out: &mut String) -> std::fmt::Result {
    let configuration = &report.configuration;
    writeln!(
        out,
        "{} of {} users and {} groups in {} tenant{}, seed {}, {:.1} s",
        configuration.profile,
        configuration.users,
        configuration.groups,
        configuration.tenants,
        plural(configuration.tenants),
        configuration.seed,
        report.duration_seconds,
    )?;
    writeln!(
        out,
        "\n{:24} {:>9} {:>7} {:>9} {:>6} {:>9} {:>9} {:>9}",
        "PHASE", "SECONDS", "SHARE", "REQUESTS", "ERRORS", "REQ/S", "P50 MS", "P99 MS"
    )?;
    for phase in &report.phases {
        writeln!(
            out,
            "{:24} {:>9.2} {:>6.1}% {:>9} {:>6} {:>9.1} {:>9.2} {:>9.2}",
            phase.name,
            phase.duration_seconds,
            phase.share * 100.0,
            phase.requests,
            phase.errors,
            phase.requests_per_second,
            phase.latency.p50,
            phase.latency.p99,
        )?;
    }
    if !report.operations.is_empty() {
        writeln!(
            out,
            "\n{:15} {:>9} {:>7} {:>7} {:>9} {:>9} {:>9} {:>9} {:>9}  ERRORS BY STATUS",
            "OPERATION", "REQUESTS", "ERRORS", "RETRIES", "P50 MS", "P90 MS", "P99 MS", "P99.9 MS", "MAX MS"
        )?;
        for row in report.operations.iter().chain([&report.total]) {
            write_row(out, row)?;
        }
    }
    write_limit(report, out)?;
    write_retries(report, out)?;
    write_comparison(report, out)?;
    write_end(report, out)
}

fn write_row(out: &mut String, row: &Measured) -> std::fmt::Result {
    let by_status: Vec<String> =
        row.errors_by_status.iter().map(|(status, count)| format!("{status}: {count}")).collect();
    let line = format!(
        "{:15} {:>9} {:>7} {:>7} {:>9.2} {:>9.2} {:>9.2} {:>9.2} {:>9.2}  {}",
        row.operation,
        row.requests,
        row.errors,
        row.retries,
        row.latency.p50,
        row.latency.p90,
        row.latency.p99,
        row.latency.p999,
        row.latency.max,
        by_status.join(", "),
    );
    writeln!(out, "{}", line.trim_end())
}

fn write_limit(report: &Report, out: &mut String) -> std::fmt::Result {
    let Some(limit) = &report.limit else { return Ok(()) };
    writeln!(
        out,
        "\n{:>10} {:>10} {:>9} {:>9} {:>8}",
        "OFFERED/S", "ANSWERED/S", "P50 MS", "P99 MS", "ERRORS"
    )?;
    for step in &limit.steps {
        writeln!(
            out,
            "{:>10.0} {:>10.0} {:>9.2} {:>9.2} {:>7.2}%  {}",
            step.offered,
            step.achieved,
            step.latency.p50,
            step.latency.p99,
            step.error_share * 100.0,
            step.reason.as_deref().unwrap_or("kept up"),
        )?;
    }
    match (limit.rate, limit.above) {
        (Some(rate), Some(above)) => {
            writeln!(out, "limit: it keeps up with {rate:.0} requests/s, and not with {above:.0}")
        }
        (Some(rate), None) => {
            writeln!(
                out,
                "limit: not reached; it keeps up with {rate:.0} requests/s. A longer --duration tries more"
            )
        }
        (None, _) => writeln!(out, "limit: it did not keep up with any rate that was tried"),
    }
}

fn write_retries(report: &Report, out: &mut String) -> std::fmt::Result {
    let after = &report.retries.ended_well_after;
    let cured: u64 = after.iter().skip(1).sum();
    if cured + report.retries.given_up > 0 {
        let one = after.get(1).copied().unwrap_or_default();
        writeln!(
            out,
            "\nretries: {one} requests cured by the first, {} by a later one; {} refused or given up",
            cured - one,
            report.retries.given_up
        )?;
    }
    for refused in &report.refusals {
        let status = if refused.status == 0 { "no answer".to_owned() } else { refused.status.to_string() };
        writeln!(out, "  {} x {}: {status}: {}", refused.count, refused.operation, refused.detail)?;
    }
    Ok(())
}

fn write_comparison(report: &Report, out: &mut String) -> std::fmt::Result {
    let comparison = &report.comparison;
    for target in &report.targets {
        if !target.not_kept.is_empty() {
            writeln!(
                out,
                "\n{} does not give back {}: not compared",
                target.url,
                target.not_kept.join(", ")
            )?;
        }
    }
    if !comparison.complete {
        writeln!(out, "\nNOT COMPARED: not everything could be read back")?;
    }
    if comparison.users + comparison.groups > 0 {
        writeln!(
            out,
            "\ncompared: {} users, {} groups, {} memberships: {} lost, {} duplicated, {} wrong, {} unlisted",
            comparison.users,
            comparison.groups,
            comparison.memberships,
            comparison.lost,
            comparison.duplicated,
            comparison.wrong,
            comparison.unlisted,
        )?;
        if comparison.open + comparison.late + comparison.stale > 0 {
            writeln!(
                out,
                "  {} left open by requests without an answer, {} changed by such a request later, {} stale reads",
                comparison.open, comparison.late, comparison.stale,
            )?;
        }
    }
    for finding in comparison.findings.iter().take(MOST_SHOWN) {
        let id = finding.id.as_deref().unwrap_or("-");
        let kind = format!("{:?}", finding.kind).to_uppercase();
        let (tenant, kind_of, name, detail) =
            (finding.tenant, finding.resource_type, &finding.name, &finding.detail);
        writeln!(out, "  {kind} {kind_of} {name} ({id}) of target {tenant}: {detail}")?;
    }
    let more = comparison.findings.len().saturating_sub(MOST_SHOWN);
    if more > 0 {
        writeln!(out, "  and {more} more in the JSON report")?;
    }
    Ok(())
}

fn write_end(report: &Report, out: &mut String) -> std::fmt::Result {
    if report.generator.cpu_share.is_some_and(|share| share > 0.9) {
        writeln!(
            out,
            "\nNOTE: this generator used a whole core: the figures may be its own, not the server's"
        )?;
    }
    if report.cut_short {
        writeln!(
            out,
            "\nNOTE: the time or the number of requests ended before the work: not everything was provisioned"
        )?;
    }
    if let Some(cleanup) = &report.cleanup {
        writeln!(out, "cleaned up: {} resources removed, {} left", cleanup.removed, cleanup.left)?;
    } else {
        let seed = report.configuration.seed;
        writeln!(out, "kept: what was made is there; remove it with --cleanup-only --seed {seed}")?;
    }
    let verdict = match report.verdict {
        Verdict::Passed => "PASSED: everything acknowledged is there",
        Verdict::Failed => "FAILED: the server lost, doubled or changed what it had acknowledged",
        Verdict::Incomplete => {
            "INCOMPLETE: nothing that was acknowledged is known to be lost; see above what did not work"
        }
    };
    writeln!(out, "{verdict}")
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}
