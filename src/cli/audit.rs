//! `scim-operator audit`: who changed what, read from a data directory beside the server that writes it.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use jiff::{Timestamp, civil, tz::TimeZone};
use serde::Serialize;
use serde_json::Value;

use super::Exit;
use crate::crd;
use crate::store::TenantKey;
use crate::store::audit::{
    Change, Changes, FeedError, From, MAX_CHANGES, MemberChanges, MemberIds, Operation, Sequence,
};
use crate::store::sqlite::AuditFile;

/// How often `--follow` looks whether somebody has written; it asks the file's header and reads nothing else.
const POLL: Duration = Duration::from_millis(100);

/// What stands before the lines that belong to a row.
const INDENT: &str = "                                  ";

/// Members that people are shown of one row.
const MEMBERS: usize = 10;

/// Show who changed what: the audit log of one tenant
///
/// Reads the database of a running server too. One line for each changed resource, the oldest first.
///
/// Exit status: 0 when the log was read, also when nothing in it matches; 1 when it cannot be read to its end, such as
/// when rows that were to follow have been pruned; 2 when there is no such database or tenant, or an argument is wrong.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Data folder of the server
    #[arg(long, value_name = "DIR", default_value = "scim-data")]
    data: PathBuf,
    /// The tenant: NAMESPACE/NAME, or NAME when only one is called so; may be left out when there is only one
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// From then on: a time such as 2026-11-22T08:00:00Z or 2026-11-22 (UTC), or how long ago, such as 30m, 2h or 7d
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Until before then; as --since
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "follow")]
    until: Option<Timestamp>,
    /// After this sequence, which a program has seen; fails when rows after it have been pruned
    #[arg(long, value_name = "SEQUENCE", conflicts_with = "since")]
    after: Option<Sequence>,
    /// Only this resource: its id, or TYPE/ID
    #[arg(long, value_name = "[TYPE/]ID")]
    resource: Option<String>,
    /// Only what this token or OAuth subject did
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Only these operations: create, replace, patch, delete, …; several with commas
    #[arg(long, value_name = "OPERATION", value_delimiter = ',')]
    operation: Vec<Operation>,
    /// Only where this attribute changed, or a part of it: active, name, name.familyName, members, …
    #[arg(long, value_name = "PATH")]
    attribute: Option<String>,
    /// Only the newest N of them
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Go on with what is written from now on, until interrupted
    #[arg(long)]
    follow: bool,
    /// A line for people, or a JSON object a line for programs
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Why it ends early.
enum Stop {
    /// Nobody reads any more.
    Closed,
    /// The log cannot be read.
    Feed(FeedError),
    /// The output cannot be written.
    Output(io::Error),
}

impl std::convert::From<FeedError> for Stop {
    fn from(error: FeedError) -> Self {
        Self::Feed(error)
    }
}

impl std::convert::From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Closed } else { Self::Output(error) }
    }
}

/// Reads and prints the log.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let refuse = |error: &dyn std::fmt::Display| {
        let _ = writeln!(io::stderr(), "error: {error}");
        Ok(Exit::Usage.into())
    };
    let file = match AuditFile::open(&args.data) {
        Ok(file) => file,
        Err(error) => return refuse(&error),
    };
    let tenant = match choose(&file.tenants()?, args.tenant.as_deref()) {
        Ok(tenant) => tenant,
        Err(error) => return refuse(&error),
    };
    match print(args, &file, &tenant) {
        Ok(()) | Err(Stop::Closed) => Ok(Exit::Success.into()),
        Err(Stop::Feed(error)) => Err(error.into()),
        Err(Stop::Output(error)) => {
            Err(anyhow::Error::new(error).context("cannot write to the standard output"))
        }
    }
}

/// The tenant that is meant; or which there are.
fn choose(tenants: &[TenantKey], wanted: Option<&str>) -> Result<TenantKey, String> {
    let named = |tenant: &&TenantKey| match wanted {
        None => true,
        Some(wanted) => &*tenant.0 == wanted || tenant.0.rsplit('/').next() == Some(wanted),
    };
    let mut found = tenants.iter().filter(named);
    match (found.next(), found.next()) {
        (Some(tenant), None) => Ok(tenant.clone()),
        _ if tenants.is_empty() => Err(no_such_tenant(tenants, "")),
        (None, _) => Err(no_such_tenant(tenants, wanted.unwrap_or_default())),
        (Some(_), Some(_)) if wanted.is_none() => {
            Err(format!("name a tenant with --tenant; {}", listed(tenants)))
        }
        (Some(_), Some(_)) => {
            Err(format!("several tenants are called {:?}; {}", wanted.unwrap_or_default(), listed(tenants)))
        }
    }
}

/// Says that there is no such tenant, and which there are.
pub(super) fn no_such_tenant(tenants: &[TenantKey], wanted: &str) -> String {
    if tenants.is_empty() {
        return "no tenant has been served from this database yet".to_owned();
    }
    format!("there is no tenant {wanted:?} in this database; {}", listed(tenants))
}

fn listed(tenants: &[TenantKey]) -> String {
    const MOST: usize = 50;
    let mut text = "it has:".to_owned();
    for tenant in tenants.iter().take(MOST) {
        let _ = write!(text, "\n  {}", tenant.0);
    }
    if tenants.len() > MOST {
        let _ = write!(text, "\n  and {} more", tenants.len() - MOST);
    }
    text
}

/// Prints what there is, and with `--follow` what comes.
fn print(args: &Args, file: &AuditFile, tenant: &TenantKey) -> Result<(), Stop> {
    let mut printer =
        Printer { out: BufWriter::new(io::stdout().lock()), format: args.output, tenant, lines: 0 };
    let from = match (args.since, args.after) {
        (Some(time), _) => From::Time(time),
        (None, Some(after)) => From::After(after),
        (None, None) => From::Oldest,
    };
    let mut version = file.data_version().map_err(FeedError::from)?;
    let mut read = file.changes(tenant, from, MAX_CHANGES)?;
    tell_of_pruned(args, file, tenant, &read)?;
    let mut last = VecDeque::new();
    loop {
        let done = read.next == read.head || read.changes.is_empty();
        let past = |change: &Change| args.until.is_some_and(|until| change.time >= until);
        let beyond = read.changes.last().is_some_and(past);
        for change in read.changes.drain(..).filter(|change| !past(change) && matches(args, change)) {
            match args.limit {
                None => printer.print(&change)?,
                Some(limit) => {
                    last.push_back(change);
                    if last.len() > limit {
                        last.pop_front();
                    }
                }
            }
        }
        if done || beyond {
            break;
        }
        read = file.changes(tenant, From::After(read.next), MAX_CHANGES)?;
    }
    for change in &last {
        printer.print(change)?;
    }
    printer.out.flush()?;
    let mut next = read.next;
    if !args.follow {
        return Ok(());
    }
    loop {
        std::thread::sleep(POLL);
        let now = file.data_version().map_err(FeedError::from)?;
        if now == version {
            continue;
        }
        version = now;
        loop {
            let read = file.changes(tenant, From::After(next), MAX_CHANGES)?;
            next = read.next;
            for change in read.changes.iter().filter(|change| matches(args, change)) {
                printer.print(change)?;
            }
            if next == read.head {
                break;
            }
        }
        printer.out.flush()?;
    }
}

/// Says that what was asked for begins before the log does: those rows may have been there once.
fn tell_of_pruned(args: &Args, file: &AuditFile, tenant: &TenantKey, read: &Changes) -> Result<(), Stop> {
    let oldest = file.changes(tenant, From::Oldest, 1)?;
    let Some(oldest) = oldest.changes.first().filter(|oldest| oldest.sequence > 1) else { return Ok(()) };
    let asked = args.since.is_none_or(|since| since < oldest.time) && args.after.is_none();
    if asked && read.changes.first().is_some_and(|first| first.sequence == oldest.sequence) {
        let _ = writeln!(
            io::stderr(),
            "note: the log begins at {:.3} with sequence {}; what was before has been pruned (spec.audit.retention and maxEntries)",
            oldest.time,
            oldest.sequence
        );
    }
    Ok(())
}

/// Whether a row is among those asked for.
fn matches(args: &Args, change: &Change) -> bool {
    let Args { resource, actor, operation, attribute, .. } = args;
    let resource = resource.as_deref().is_none_or(|wanted| {
        wanted == change.resource_id
            || wanted.split_once('/').is_some_and(|(kind, id)| {
                id == change.resource_id && kind.eq_ignore_ascii_case(&change.resource_type)
            })
    });
    resource
        && actor.as_ref().is_none_or(|wanted| *wanted == change.actor)
        && (operation.is_empty() || operation.contains(&change.operation))
        && attribute
            .as_deref()
            .is_none_or(|wanted| change.attributes.iter().any(|path| is_part(path, wanted)))
}

/// Whether a path is an attribute or a part of it, with or without the URN of its extension.
fn is_part(path: &str, wanted: &str) -> bool {
    let (path, wanted) = (path.to_ascii_lowercase(), wanted.to_ascii_lowercase());
    let within = |path: &str| {
        path.strip_prefix(&wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', ':']))
    };
    within(&path) || path.rsplit_once(':').is_some_and(|(_, name)| within(name))
}

struct Printer<'a, W: Write> {
    out: W,
    format: Format,
    tenant: &'a TenantKey,
    lines: usize,
}

impl<W: Write> Printer<'_, W> {
    fn print(&mut self, change: &Change) -> io::Result<()> {
        match self.format {
            Format::Json => {
                #[derive(Serialize)]
                struct Line<'a> {
                    tenant: &'a str,
                    #[serde(flatten)]
                    change: &'a Change,
                }
                serde_json::to_writer(&mut self.out, &Line { tenant: &self.tenant.0, change })?;
                writeln!(self.out)
            }
            Format::Text => {
                if self.lines == 0 {
                    let [time, operation, resource, version] = ["TIME", "OPERATION", "RESOURCE", "VERSION"];
                    let [sequence, actor, client, changed] = ["SEQ", "ACTOR", "CLIENT", "CHANGED"];
                    writeln!(
                        self.out,
                        "{time:24}  {sequence:>6}  {operation:18}  {resource:42}  {version:9}  {actor:12}  {client:15}  {changed}"
                    )?;
                }
                self.lines += 1;
                self.out.write_all(line(change).as_bytes())
            }
        }
    }
}

/// A row for people, and a line for each value.
fn line(change: &Change) -> String {
    let Change { sequence, time, actor, client, request_id: _, operation, .. } = change;
    let resource = format!("{}/{}", change.resource_type, shown(&change.resource_id));
    let version = |version: Option<u64>| version.map_or("-".to_owned(), |version| version.to_string());
    let version = format!("{}→{}", version(change.version_before), version(change.version_after));
    let client = client.map_or("-".to_owned(), |client| client.to_string());
    let actor = if actor.is_empty() { "-".to_owned() } else { shown(actor) };
    let mut changed: Vec<String> = change.attributes.clone();
    if let Some(MemberChanges { added, removed, .. }) = change.members {
        changed.retain(|path| path != "members");
        changed.push(format!("members +{added} -{removed}"));
    }
    let mut text = format!(
        "{time:<24.3}  {sequence:>6}  {operation:18}  {resource:42}  {version:9}  {actor:12}  {client:15}  {}",
        changed.join(", ")
    );
    text.truncate(text.trim_end().len());
    text.push('\n');
    let named = change.members.iter().filter_map(|members| members.ids.as_ref());
    for MemberIds { added, removed } in named {
        let lines = added.iter().map(|id| ('+', id)).chain(removed.iter().map(|id| ('-', id)));
        for (sign, id) in lines.take(MEMBERS) {
            let _ = writeln!(text, "{INDENT}member {sign}{}", shown(id));
        }
        if added.len() + removed.len() > MEMBERS {
            let _ = writeln!(text, "{INDENT}and more; --output json has them");
        }
    }
    for (path, pair) in change.values.iter().flatten() {
        let side = |index: usize| pair.get(index).filter(|value| !value.is_null());
        let side = |index: usize| side(index).map_or("nothing".to_owned(), Value::to_string);
        let _ = writeln!(text, "{INDENT}{path}: {} → {}", side(0), side(1));
    }
    text
}

/// A text that a client may have chosen: nothing in it controls the terminal.
fn shown(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// A time, or how long ago.
fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Ok(zoned) = text.parse::<civil::Date>().map(|date| date.to_zoned(TimeZone::UTC)) {
        return zoned.map(|zoned| zoned.timestamp()).map_err(|error| error.to_string());
    }
    let ago = crd::Duration::try_from(text.to_owned()).map_err(|_| {
        "expected a time such as 2026-11-22T08:00:00Z or 2026-11-22, or how long ago, such as 30m, 2h or 7d"
            .to_owned()
    })?;
    Timestamp::now().checked_sub(ago.get()).map_err(|_| "that is before all time".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenants(names: &[&str]) -> Vec<TenantKey> {
        names.iter().map(|name| TenantKey((*name).into())).collect()
    }

    #[test]
    fn tenant_is_found_by_whole_name_or_by_unique_name() {
        let two = tenants(&["a/acme", "b/acme", "b/other"]);
        assert_eq!(choose(&two, Some("b/acme")), Ok(two[1].clone()));
        assert_eq!(choose(&two, Some("other")), Ok(two[2].clone()));
        insta::assert_snapshot!(choose(&two, Some("acme")).unwrap_err(), @r#"
        several tenants are called "acme"; it has:
          a/acme
          b/acme
          b/other
        "#);
        assert!(choose(&two, Some("x")).unwrap_err().starts_with("there is no tenant \"x\""));
        assert!(choose(&two, None).unwrap_err().starts_with("name a tenant with --tenant"));
        assert_eq!(choose(&two[..1], None), Ok(two[0].clone()));
        assert!(choose(&[], Some("x")).unwrap_err().starts_with("no tenant"));
    }

    #[test]
    fn time_is_a_time_or_how_long_ago() {
        assert_eq!(time("2026-11-22T08:00:00+01:00").unwrap(), "2026-11-22T07:00:00Z".parse().unwrap());
        assert_eq!(time("2026-11-22").unwrap(), "2026-11-22T00:00:00Z".parse().unwrap());
        let ago = Timestamp::now().duration_since(time("2h").unwrap()).as_secs();
        assert!((7199..=7201).contains(&ago), "{ago}");
        for wrong in ["", "yesterday", "2 hours", "-2h", "2026-13-01", "9999999d"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn attribute_is_matched_by_itself_or_its_parts() {
        let urn = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
        for (path, wanted) in [
            ("active", "active"),
            ("active", "Active"),
            ("name.familyName", "name"),
            (&format!("{urn}:department"), "department"),
            (&format!("{urn}:department"), urn),
            (&format!("{urn}:manager.value"), "manager"),
        ] {
            assert!(is_part(path, wanted), "{path} {wanted}");
        }
        for (path, wanted) in [("active", "act"), ("displayName", "name"), ("name", "name.familyName")] {
            assert!(!is_part(path, wanted), "{path} {wanted}");
        }
    }

    #[test]
    fn line_shows_a_change_and_its_values() {
        let pair = serde_json::json!({"active": [true, false], "title": [null, "x"]});
        let change = Change {
            sequence: 7,
            time: "2026-11-22T08:00:00.5Z".parse().unwrap(),
            actor: "to\u{1b}ken".to_owned(),
            client: Some("192.0.2.1".parse().unwrap()),
            request_id: "r".to_owned(),
            operation: Operation::Patch,
            resource_type: "User".to_owned(),
            resource_id: "u1".to_owned(),
            version_before: Some(1),
            version_after: Some(2),
            attributes: vec!["active".to_owned(), "title".to_owned()],
            members: None,
            values: pair.as_object().cloned(),
        };
        insta::assert_snapshot!(line(&change), @r#"
2026-11-22T08:00:00.500Z       7  patch               User/u1                                     1→2        to\u{1b}ken   192.0.2.1        active, title
                                  active: true → false
                                  title: nothing → "x"
"#);
        let members = Some(MemberChanges { added: 2000, removed: 1, ids: None });
        let mut group = Change { attributes: vec!["members".to_owned()], members, values: None, ..change };
        assert!(line(&group).ends_with("members +2000 -1\n"), "{}", line(&group));
        let ids =
            MemberIds { added: (1..=11).map(|n| format!("u{n}")).collect(), removed: vec!["u12".to_owned()] };
        group.members = Some(MemberChanges { added: 11, removed: 1, ids: Some(ids) });
        let text = line(&group);
        assert!(text.contains("member +u10\n") && !text.contains("u11"), "{text}");
        assert!(text.ends_with("and more; --output json has them\n"), "{text}");
    }
}
