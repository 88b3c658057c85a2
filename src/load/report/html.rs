//! The report as one page: nothing is fetched, everything is in it.

use std::fmt::Write as _;

use super::plot::{Line, Plot, escape};
use super::{Measured, Report, Verdict};

const STYLE: &str = "
:root { color-scheme: light dark; --text: #1b1f24; --soft: #6b7280; --rule: #d9dce1; --page: #fff; --a: #2563eb; --b: #d97706; --c: #dc2626 }
@media (prefers-color-scheme: dark) { :root { --text: #e6e8eb; --soft: #9aa2ad; --rule: #3a4048; --page: #16191d; --a: #6ea8fe; --b: #f0b35a; --c: #f47272 } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page); max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2.5rem }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums } .wide { overflow-x: auto }
th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid var(--rule); white-space: nowrap }
th { color: var(--soft); font-weight: 600 } th:first-child, td:first-child, .left { text-align: left } td.words { white-space: normal; text-align: left }
.verdict { padding: .7rem 1rem; border-left: .4rem solid } .passed { border-color: #16a34a } .failed { border-color: #dc2626 } .incomplete { border-color: #d97706 }
figure { margin: 1.5rem 0 } figcaption { font-weight: 600 } svg { width: 100%; height: auto } svg text { font-size: 11px; fill: var(--soft) }
.up { text-anchor: end } .across { text-anchor: middle } .grid { stroke: var(--rule) }
polyline { fill: none; stroke-width: 1.8 } .a { stroke: var(--a); stroke-width: 1.8 } .b { stroke: var(--b); stroke-width: 1.8 } .c { stroke: var(--c); stroke-width: 1.8 }
";

pub(super) fn render(report: &Report) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write(report, &mut page);
    page
}

fn write(report: &Report, page: &mut String) -> std::fmt::Result {
    let configuration = &report.configuration;
    let title = format!("Load: {} on {}", configuration.profile, whom(report));
    write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{0}</title>\n<style>{STYLE}</style>\n<h1>{0}</h1>\n<p>{1}, {2:.1} s, scim-operator {3}</p>\n",
        escape(&title),
        escape(&report.started_at),
        report.duration_seconds,
        report.version
    )?;
    let (class, words) = match report.verdict {
        Verdict::Passed => ("passed", "Passed: everything acknowledged is there."),
        Verdict::Failed => {
            ("failed", "Failed: the server lost, doubled or changed what it had acknowledged.")
        }
        Verdict::Incomplete => {
            ("incomplete", "Incomplete: nothing acknowledged is known to be lost, but not everything worked.")
        }
    };
    writeln!(page, "<p class=\"verdict {class}\">{words}</p>")?;
    write_comparison(report, page)?;
    page.push_str(&percentiles(report).svg());
    write_limit(report, page)?;
    page.push_str(&over_time(report, "Throughput", "requests/s", false));
    page.push_str(&latency_over_time(report));
    page.push_str(&over_time(report, "Errors", "errors/s", true));
    write_operations(report, page)?;
    write_phases(report, page)?;
    write_refusals(report, page)?;
    write_configuration(report, page)
}

fn whom(report: &Report) -> String {
    match report.targets.as_slice() {
        [one] => one.url.clone(),
        [first, ..] => format!("{} and {} more", first.url, report.targets.len() - 1),
        [] => "nothing".to_owned(),
    }
}

fn write_comparison(report: &Report, page: &mut String) -> std::fmt::Result {
    let it = &report.comparison;
    writeln!(page, "<h2>What was acknowledged, and what is there</h2>\n<div class=\"wide\"><table>")?;
    page.push_str("<tr><th>users<th>groups<th>memberships<th>lost<th>duplicated<th>wrong<th>unlisted<th>late<th>left open<th>stale reads</tr>\n<tr>");
    for count in [
        it.users,
        it.groups,
        it.memberships,
        it.lost,
        it.duplicated,
        it.wrong,
        it.unlisted,
        it.late,
        it.open,
        it.stale,
    ] {
        write!(page, "<td>{count}")?;
    }
    page.push_str("</tr></table></div>\n");
    if !it.findings.is_empty() {
        page.push_str("<div class=\"wide\"><table><tr><th>what<th class=\"left\">resource<th>target<th class=\"left\">detail</tr>\n");
        for finding in &it.findings {
            writeln!(
                page,
                "<tr><td>{:?}<td class=\"left\">{} {}<td>{}<td class=\"words\">{}</tr>",
                finding.kind,
                finding.resource_type,
                escape(&finding.name),
                finding.tenant,
                escape(&finding.detail)
            )?;
        }
        page.push_str("</table></div>\n");
    }
    Ok(())
}

/// Latency by percentile, the horizontal axis by nines.
fn percentiles(report: &Report) -> Plot<'_> {
    let nines = |share: f64| -(1.0 - share.min(0.999_999)).log10();
    let mut rows: Vec<&Measured> = report.operations.iter().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.requests));
    let mut lines = vec![("all", "a", &report.total)];
    lines.extend(rows.iter().take(2).zip(["b", "c"]).map(|(row, class)| (row.operation, class, *row)));
    let lines = lines
        .into_iter()
        .map(|(name, class, row)| Line {
            name,
            class,
            points: row.distribution.iter().map(|(share, latency)| (nines(*share), *latency)).collect(),
        })
        .collect();
    let marks =
        [(0.0, "0 %"), (0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %")];
    Plot {
        title: "Latency by percentile",
        across: "share of requests that were at least as fast",
        up: "ms",
        is_log: true,
        marks: marks.into_iter().map(|(share, text)| (nines(share), text.to_owned())).collect(),
        lines,
    }
}

fn write_limit(report: &Report, page: &mut String) -> std::fmt::Result {
    let Some(limit) = &report.limit else { return Ok(()) };
    let mut steps: Vec<_> = limit.steps.iter().collect();
    steps.sort_by(|a, b| a.offered.total_cmp(&b.offered));
    let of = |what: fn(&super::super::limit::LimitStep) -> f64| {
        steps.iter().map(|step| (step.offered, what(step))).collect()
    };
    let plot = Plot {
        title: "Latency by rate",
        across: "requests/s that were due",
        up: "ms",
        is_log: true,
        marks: Vec::new(),
        lines: vec![
            Line { name: "p50", class: "a", points: of(|step| step.latency.p50) },
            Line { name: "p99", class: "b", points: of(|step| step.latency.p99) },
        ],
    };
    let number =
        |rate: Option<f64>| rate.map_or_else(|| "none".to_owned(), |rate| format!("{rate:.0} requests/s"));
    writeln!(
        page,
        "<h2>Limit</h2>\n<p>Kept up with: {}. Did not keep up with: {}.</p>",
        number(limit.rate),
        number(limit.above)
    )?;
    page.push_str(&plot.svg());
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "seconds and counts are far below 2^52")]
fn over_time(report: &Report, title: &str, up: &str, errors: bool) -> String {
    let value = |second: &super::Second| if errors { second.errors } else { second.requests };
    let points = report.timeline.iter().map(|second| (second.second as f64, value(second) as f64)).collect();
    let class = if errors { "c" } else { "a" };
    let lines = vec![Line { name: up, class, points }];
    Plot { title, across: "seconds", up: "", is_log: false, marks: Vec::new(), lines }.svg()
}

#[expect(clippy::cast_precision_loss, reason = "seconds are far below 2^52")]
fn latency_over_time(report: &Report) -> String {
    let of = |what: fn(&super::Second) -> f64| -> Vec<(f64, f64)> {
        let seconds = report.timeline.iter().filter(|second| second.requests > 0);
        seconds.map(|second| (second.second as f64, what(second))).collect()
    };
    Plot {
        title: "Latency over time",
        across: "seconds",
        up: "ms",
        is_log: true,
        marks: Vec::new(),
        lines: vec![
            Line { name: "p50", class: "a", points: of(|second| second.p50) },
            Line { name: "p99", class: "b", points: of(|second| second.p99) },
            Line { name: "max", class: "c", points: of(|second| second.max) },
        ],
    }
    .svg()
}

fn write_operations(report: &Report, page: &mut String) -> std::fmt::Result {
    page.push_str("<h2>By operation</h2>\n<p>Milliseconds from when a request was due; p99 sent: from when it was sent.</p>\n<div class=\"wide\"><table>\n");
    page.push_str("<tr><th>operation<th>requests<th>errors<th>retries<th>p50<th>p90<th>p99<th>p99.9<th>max<th>p99 sent<th class=\"left\">errors by status</tr>\n");
    for row in report.operations.iter().chain([&report.total]) {
        let by_status: Vec<String> =
            row.errors_by_status.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        let it = &row.latency;
        writeln!(
            page,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{:.2}<td>{:.2}<td>{:.2}<td>{:.2}<td>{:.2}<td>{:.2}<td class=\"left\">{}</tr>",
            row.operation,
            row.requests,
            row.errors,
            row.retries,
            it.p50,
            it.p90,
            it.p99,
            it.p999,
            it.max,
            row.service.p99,
            by_status.join(", ")
        )?;
    }
    page.push_str("</table></div>\n");
    Ok(())
}

fn write_phases(report: &Report, page: &mut String) -> std::fmt::Result {
    page.push_str("<h2>By phase</h2>\n<div class=\"wide\"><table>\n<tr><th>phase<th>from s<th>seconds<th>share<th>requests<th>errors<th>requests/s<th>p50<th>p99</tr>\n");
    for phase in &report.phases {
        writeln!(
            page,
            "<tr><td>{}<td>{:.1}<td>{:.2}<td>{:.1} %<td>{}<td>{}<td>{:.1}<td>{:.2}<td>{:.2}</tr>",
            escape(&phase.name),
            phase.start_seconds,
            phase.duration_seconds,
            phase.share * 100.0,
            phase.requests,
            phase.errors,
            phase.requests_per_second,
            phase.latency.p50,
            phase.latency.p99
        )?;
    }
    page.push_str("</table></div>\n");
    Ok(())
}

fn write_refusals(report: &Report, page: &mut String) -> std::fmt::Result {
    if report.refusals.is_empty() {
        return Ok(());
    }
    page.push_str("<h2>Refused or given up</h2>\n<div class=\"wide\"><table><tr><th>operation<th>status<th>count<th class=\"left\">what the first was told</tr>\n");
    for refused in &report.refusals {
        writeln!(
            page,
            "<tr><td>{}<td>{}<td>{}<td class=\"words\">{}</tr>",
            refused.operation,
            refused.status,
            refused.count,
            escape(&refused.detail)
        )?;
    }
    page.push_str("</table></div>\n");
    Ok(())
}

fn write_configuration(report: &Report, page: &mut String) -> std::fmt::Result {
    page.push_str("<h2>Configuration</h2>\n<table>\n");
    if let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(&report.configuration) {
        for (name, value) in fields {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            writeln!(page, "<tr><td>{}<td class=\"words\">{}</tr>", escape(&name), escape(&text))?;
        }
    }
    for target in &report.targets {
        writeln!(page, "<tr><td>target<td class=\"words\">{}</tr>", escape(&target.url))?;
    }
    page.push_str("</table>\n");
    Ok(())
}
