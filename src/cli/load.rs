//! `scim-operator load`: the identity-provider simulator.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;

use crate::load::limit::LimitSettings;
use crate::load::profile::Profile;
use crate::load::progress::Progress;
use crate::load::report::{Report, Verdict};
use crate::load::run::{self, Settings};
use crate::load::target::Target;

use super::Exit;

/// Simulate an identity provider: provision made-up users and groups into a SCIM server, measure, and compare
///
/// Works with any SCIM 2.0 server. It writes into the tenants that are named, under names of its own, refuses a tenant
/// that holds anything else, and removes what it made. At the end it reads everything back and compares it with what the
/// server acknowledged.
///
/// Exit codes: 0 everything was accepted and is there; 1 something acknowledged is lost, doubled or changed; 2 wrong
/// arguments, or no SCIM server, token or empty tenant; 3 nothing is known to be lost, but requests were refused or given
/// up, or not everything could be compared.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Base URL of a tenant, that is `https://HOST/TENANT/scim/v2`; several for several tenants. With --tenants, {n} in it is 1, 2, …
    #[arg(value_name = "URL", required_unless_present = "targets")]
    urls: Vec<String>,
    /// File that holds the bearer token; one for all URLs, or one for each in their order. With --tenants, {n} as in the URL
    #[arg(long, value_name = "FILE")]
    token_file: Vec<String>,
    /// Environment variable that holds the bearer token; as --token-file
    #[arg(long, value_name = "VARIABLE", conflicts_with = "token_file")]
    token_env: Vec<String>,
    /// File with a tenant in each line: its URL, a blank, and `file:PATH`, `env:VARIABLE` or `token:TOKEN`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["urls", "token_file", "token_env", "tenants"])]
    targets: Option<PathBuf>,
    /// How many tenants the one URL with {n} names
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    tenants: Option<u32>,

    /// How it behaves
    #[arg(long, value_enum, default_value_t = Profile::Steady, help_heading = "Load")]
    profile: Profile,
    /// Users in each tenant
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000_000), help_heading = "Load")]
    users: u32,
    /// Groups in each tenant
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=1_000_000), help_heading = "Load")]
    groups: u32,
    /// Memberships in each tenant, about: sizes of groups fall as 1, 1/2, 1/3, … [default: 5 for each user]
    #[arg(long, value_name = "N", help_heading = "Load")]
    memberships: Option<u64>,
    /// Requests per second of all tenants together; latency counts from when a request was due. Without it, each connection sends as soon as it is free
    #[arg(long, value_name = "R", value_parser = positive, help_heading = "Load")]
    rate: Option<f64>,
    /// The same while the directory is made that steady and full-resync need [default: --rate]
    #[arg(long, value_name = "R", value_parser = positive, help_heading = "Load")]
    populate_rate: Option<f64>,
    /// How long the load lasts; profiles that are done once end earlier
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration, help_heading = "Load")]
    duration: Duration,
    /// How long making the directory before may take
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration, help_heading = "Load")]
    populate_timeout: Duration,
    /// Requests of the load at most
    #[arg(long, value_name = "N", default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..), help_heading = "Load")]
    max_requests: u64,
    /// Connections, each with one request under way
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=20_000), help_heading = "Load")]
    concurrency: u16,
    /// Names, sizes and decisions follow from it: the same seed does the same again
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Load")]
    seed: u64,

    /// How long one request may take
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration, help_heading = "Behaviour")]
    timeout: Duration,
    /// The provider's long waits (Entra's 40 minutes between cycles, Okta's 5 minutes after a 429) are so many times shorter
    #[arg(long, value_name = "FACTOR", default_value_t = 60.0, value_parser = positive, help_heading = "Behaviour")]
    compress: f64,
    /// No wait before a retry is longer, whatever Retry-After says
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration, help_heading = "Behaviour")]
    max_backoff: Duration,
    /// Members in one PATCH at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000), help_heading = "Behaviour")]
    members_per_request: u16,
    /// PEM file of the certificate authorities to trust; the system's when absent
    #[arg(long, value_name = "FILE", help_heading = "Behaviour")]
    ca_file: Option<PathBuf>,

    /// Find the highest rate that the server keeps up with: the steady mix, at a rate that doubles and then closes in
    #[arg(long, help_heading = "Limit")]
    find_limit: bool,
    /// Keeping up means a 99th percentile of latency of at most this
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = duration, help_heading = "Limit")]
    limit_p99: Duration,
    /// Keeping up means at most this share of requests without success, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0, value_parser = share, help_heading = "Limit")]
    limit_errors: f64,
    /// How long each rate is tried; the first is --rate, or 100 a second
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration, help_heading = "Limit")]
    limit_step: Duration,

    /// Begin all names with this
    #[arg(long, value_name = "TEXT", default_value = "load", value_parser = prefix, help_heading = "Data")]
    prefix: String,
    /// Leave what was made
    #[arg(long, help_heading = "Data")]
    keep: bool,
    /// Do nothing but remove what an earlier run with the same --prefix and --seed left
    #[arg(long, conflicts_with = "keep", help_heading = "Data")]
    cleanup_only: bool,
    /// Work in tenants that hold other data too; that is not touched
    #[arg(long, help_heading = "Data")]
    allow_existing: bool,

    /// Write the report as one HTML page
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    report: Option<PathBuf>,
    /// Write the report as JSON; - is the standard output, in place of the table
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    json: Option<PathBuf>,
    /// Show no progress
    #[arg(long, short, help_heading = "Report")]
    quiet: bool,
}

const EXAMPLES: &str = "\
Examples:
  An empty tenant under 50 requests per second for five minutes:
    scim-operator load https://scim.example.com/load/scim/v2 --token-file token --rate 50 --duration 5m --report load.html

  What the first sync of 10,000 people from Entra ID will be like:
    scim-operator load https://scim.example.com/load/scim/v2 --token-file token --profile entra --users 10000 --groups 500 --duration 30m

  Where the limit is, over twenty tenants t1 … t20 with a token file each:
    scim-operator load 'https://scim.example.com/t{n}/scim/v2' --token-file 'tokens/t{n}' --tenants 20 --find-limit --duration 3m";

/// Runs and reports.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let settings = match settings(args) {
        Ok(settings) => settings,
        Err(error) => return Ok(refuse(&format!("{error:#}"))),
    };
    // A report that cannot be written should not be found out after an hour.
    for path in [&args.report, &args.json].into_iter().flatten().filter(|path| path.as_os_str() != "-") {
        if let Err(error) = fs::File::options().append(true).create(true).open(path) {
            return Ok(refuse(&format!("cannot write the report {}: {error}", path.display())));
        }
    }
    let started_at = Timestamp::now().to_string();
    let progress = Progress::new(args.quiet);
    // One thread: nothing is shared, nothing is locked, and the rest of the machine is the server's.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    let outcome = match tasks.block_on(&runtime, run::run(&settings, &progress)) {
        Ok(outcome) => outcome,
        Err(error) => return Ok(refuse(&error.to_string())),
    };
    let report = Report::new(&settings, &outcome, started_at);
    if let Some(path) = &args.report {
        fs::write(path, report.html()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let mut out = io::stdout().lock();
    match &args.json {
        Some(path) if path.as_os_str() == "-" => writeln!(out, "{}", report.json())?,
        Some(path) => {
            fs::write(path, report.json()).with_context(|| format!("cannot write {}", path.display()))?;
            write!(out, "{}", report.text())?;
        }
        None => write!(out, "{}", report.text())?,
    }
    Ok(match report.verdict {
        Verdict::Passed => Exit::Success.into(),
        Verdict::Failed => Exit::Failure.into(),
        Verdict::Incomplete => ExitCode::from(3),
    })
}

fn refuse(why: &str) -> ExitCode {
    // Nobody to tell when the standard error is closed.
    let _ = writeln!(io::stderr(), "error: {why}");
    Exit::Usage.into()
}

fn settings(args: &Args) -> anyhow::Result<Settings> {
    let targets = targets(args)?;
    for (number, target) in targets.iter().enumerate() {
        if targets[..number].iter().any(|other| other.url == target.url) {
            bail!("{} is named twice; each target is a tenant of its own", target.url);
        }
    }
    let resources = u64::from(args.users) * targets.len() as u64;
    if resources > 20_000_000 {
        bail!("{resources} users in all tenants together are more than 20 million");
    }
    Ok(Settings {
        targets,
        profile: args.profile,
        users: args.users,
        groups: args.groups,
        memberships: args.memberships.unwrap_or(u64::from(args.users) * 5),
        rate: args.rate,
        populate_rate: args.populate_rate,
        duration: args.duration,
        populate_timeout: args.populate_timeout,
        concurrency: args.concurrency.into(),
        seed: args.seed,
        prefix: args.prefix.clone(),
        timeout: args.timeout,
        max_requests: args.max_requests,
        compress: args.compress,
        max_backoff: args.max_backoff,
        members_per_request: args.members_per_request.into(),
        keep: args.keep,
        cleanup_only: args.cleanup_only,
        allow_existing: args.allow_existing,
        ca: args.ca_file.clone(),
        find_limit: args.find_limit.then(|| LimitSettings {
            p99: args.limit_p99,
            errors: args.limit_errors / 100.0,
            step: args.limit_step,
            first: args.rate.unwrap_or(100.0),
        }),
    })
}

fn targets(args: &Args) -> anyhow::Result<Vec<Target>> {
    if let Some(path) = &args.targets {
        return targets_of(path);
    }
    let mut urls = args.urls.clone();
    let mut files: Vec<String> = args.token_file.clone();
    let mut variables: Vec<String> = args.token_env.clone();
    let is_template = urls.iter().any(|url| url.contains("{n}"));
    match args.tenants {
        Some(tenants) => {
            let [url] = urls.as_slice() else { bail!("--tenants needs one URL, with {{n}} in it") };
            if !is_template {
                bail!(
                    "--tenants needs {{n}} in the URL, as in https://HOST/t{{n}}/scim/v2: each tenant has a URL of its own"
                );
            }
            urls = numbered(url, tenants);
            files = files.first().map(|file| numbered(file, tenants)).unwrap_or_default();
            variables = variables.first().map(|name| numbered(name, tenants)).unwrap_or_default();
        }
        None if is_template => bail!("how many tenants are {{n}}? Say --tenants N"),
        None => {}
    }
    let sources: Vec<Source<'_>> = match (files.as_slice(), variables.as_slice()) {
        ([], []) => bail!("a token is needed: --token-file FILE or --token-env VARIABLE"),
        (files, []) => files.iter().map(|file| Source::File(Path::new(file))).collect(),
        (_, variables) => variables.iter().map(|name| Source::Variable(name)).collect(),
    };
    if sources.len() != 1 && sources.len() != urls.len() {
        bail!(
            "there are {} tokens for {} URLs: name one for all, or one for each",
            sources.len(),
            urls.len()
        );
    }
    let tokens = sources.iter().map(Source::read).collect::<anyhow::Result<Vec<_>>>()?;
    urls.iter().zip(tokens.iter().cycle()).map(|(url, token)| Ok(Target::new(url, token)?)).collect()
}

/// The texts in which `{n}` is 1, 2, ….
fn numbered(text: &str, tenants: u32) -> Vec<String> {
    (1..=tenants).map(|n| text.replace("{n}", &n.to_string())).collect()
}

/// Where a token is.
enum Source<'a> {
    File(&'a Path),
    Variable(&'a str),
    Token(&'a str),
}

impl Source<'_> {
    fn read(&self) -> anyhow::Result<String> {
        match self {
            Self::File(path) => fs::read_to_string(path)
                .with_context(|| format!("cannot read the token file {}", path.display())),
            Self::Variable(name) => {
                std::env::var(name).with_context(|| format!("the environment variable {name} has no token"))
            }
            Self::Token(token) => Ok((*token).to_owned()),
        }
    }
}

fn targets_of(path: &Path) -> anyhow::Result<Vec<Target>> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the targets file {}", path.display()))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut targets = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let at = || format!("{}:{number}", path.display());
        let Some((url, source)) = line.split_once(char::is_whitespace) else {
            bail!("{}: expected a URL and then file:PATH, env:VARIABLE or token:TOKEN", at());
        };
        let file;
        let source = match source.trim().split_once(':') {
            Some(("file", name)) => {
                file = folder.join(name);
                Source::File(&file)
            }
            Some(("env", name)) => Source::Variable(name),
            Some(("token", token)) => Source::Token(token),
            _ => bail!("{}: after the URL expected file:PATH, env:VARIABLE or token:TOKEN", at()),
        };
        let token = source.read().with_context(at)?;
        targets.push(Target::new(url, &token).with_context(at)?);
    }
    if targets.is_empty() {
        bail!("the targets file {} names no target", path.display());
    }
    Ok(targets)
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("expected a number above 0".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..=100.0).contains(&number) => Ok(number),
        _ => Err("expected a number from 0 to 100".to_owned()),
    }
}

/// `500ms`, `60s`, `5m`, `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a length of time, such as 500ms, 60s, 5m or 1h".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(wrong()),
    };
    if !(0.001..=7.0 * 86_400.0).contains(&seconds) {
        return Err("expected a length of time from 1ms to 168h".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

fn prefix(text: &str) -> Result<String, String> {
    let is_fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=32).contains(&text.len())
        && text.bytes().all(is_fine)
        && !text.starts_with('-')
        && !text.ends_with('-')
    {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 32 lower-case letters, digits and dashes".to_owned())
    }
}
