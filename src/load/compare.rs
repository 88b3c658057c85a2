//! What is there against what was acknowledged: lost, duplicated, wrong.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::Serialize;
use serde_json::Value;

use super::model::{Agreement, Model};
use super::population::{Population, UserRecord, value_at};
use super::session::member_ids;

/// What is wrong with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// It was acknowledged and is not there.
    Lost,
    /// It is there more than once.
    Duplicated,
    /// It is there with other attributes or members than were acknowledged, or though it was deleted.
    Wrong,
    /// It is there by its id, and a list of all resources does not have it.
    Unlisted,
    /// A request that was never answered took effect after later ones that were: allowed, and good to know.
    Late,
    /// A read during the run did not show what had been acknowledged before it.
    Stale,
}

/// One resource that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What is wrong.
    pub kind: Kind,
    /// The number of the target, from 0.
    pub tenant: usize,
    /// `User` or `Group`.
    pub resource_type: &'static str,
    /// `userName` or `displayName`.
    pub name: String,
    /// Its id, when it is known.
    pub id: Option<String>,
    /// What exactly.
    pub detail: String,
}

impl Finding {
    /// About a user.
    #[must_use]
    pub fn user(kind: Kind, tenant: usize, name: &str, id: Option<&str>, detail: &str) -> Self {
        Self::of("User", kind, tenant, name, id, detail)
    }

    fn of(
        resource_type: &'static str,
        kind: Kind,
        tenant: usize,
        name: &str,
        id: Option<&str>,
        detail: &str,
    ) -> Self {
        // A server's words do not speak to the terminal.
        let clean = |text: &str| text.chars().filter(|c| !c.is_control()).take(400).collect::<String>();
        let (name, id, detail) = (clean(name), id.map(clean), clean(detail));
        Self { kind, tenant, resource_type, name, id, detail }
    }
}

/// All of one tenant, as read back.
#[derive(Debug, Clone, Default)]
pub struct ReadBack {
    /// Every user of the lists, and those found otherwise.
    pub users: Vec<Value>,
    /// Every group, with its members.
    pub groups: Vec<Value>,
    /// Ids that no list had.
    pub unlisted: HashSet<String>,
}

/// How what is there compares with what was acknowledged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the documentation of the report has each")]
pub struct Comparison {
    /// Whether everything could be read.
    pub complete: bool,
    pub users: u64,
    pub groups: u64,
    pub memberships: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub wrong: u64,
    pub unlisted: u64,
    pub late: u64,
    pub stale: u64,
    /// Resources and memberships that were in a state that a request without an answer left open.
    pub open: u64,
    /// The first of what was found.
    pub findings: Vec<Finding>,
}

/// Findings listed at most; all are counted.
pub const MOST_FINDINGS: usize = 100;

impl Comparison {
    /// Whether nothing acknowledged was lost, nothing doubled, nothing changed.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost + self.duplicated + self.wrong + self.unlisted == 0
    }

    /// Adds another tenant's.
    pub fn add(&mut self, other: Self) {
        self.complete &= other.complete;
        self.users += other.users;
        self.groups += other.groups;
        self.memberships += other.memberships;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.wrong += other.wrong;
        self.unlisted += other.unlisted;
        self.late += other.late;
        self.stale += other.stale;
        self.open += other.open;
        self.findings.extend(other.findings);
        self.findings.sort_by_key(|finding| finding.kind);
        self.findings.truncate(MOST_FINDINGS);
    }

    fn find(&mut self, finding: Finding) {
        *match finding.kind {
            Kind::Lost => &mut self.lost,
            Kind::Duplicated => &mut self.duplicated,
            Kind::Wrong => &mut self.wrong,
            Kind::Unlisted => &mut self.unlisted,
            Kind::Late => &mut self.late,
            Kind::Stale => &mut self.stale,
        } += 1;
        if self.findings.len() < MOST_FINDINGS {
            self.findings.push(finding);
        }
    }
}

/// In what a user is not as it should be, for people. `not_kept`: attributes that are not compared.
#[must_use]
pub fn differences(
    population: &Population,
    tenant: usize,
    user: u32,
    record: UserRecord,
    resource: &Value,
    not_kept: &BTreeSet<&'static str>,
) -> Vec<String> {
    let mut found = Vec::new();
    for (path, expected) in population.user(tenant, user, record) {
        if not_kept.contains(path) {
            continue;
        }
        let same = match value_at(resource, path) {
            // Neither has a case, RFC 7643 section 4.1.
            Some(Value::String(actual)) if path == "userName" || path.starts_with("emails") => {
                expected.as_str().is_some_and(|expected| expected.eq_ignore_ascii_case(actual))
            }
            Some(actual) if *actual == expected => true,
            Some(actual) => {
                found.push(format!("{path} is {actual}, not {expected}"));
                continue;
            }
            None => {
                found.push(format!("{path} is missing, not {expected}"));
                continue;
            }
        };
        if !same {
            found.push(format!("{path} is not {expected}"));
        }
    }
    found
}

/// Compares one tenant. Pure.
#[must_use]
pub fn compare(
    population: &Population,
    tenant: usize,
    model: &Model,
    not_kept: &BTreeSet<&'static str>,
    there: &ReadBack,
) -> Comparison {
    let mut comparison = Comparison { complete: true, ..Comparison::default() };
    let id = |resource: &Value| resource.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let text = |resource: &Value, name: &str| {
        resource.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };

    // By id first: a resource whose name was changed is still that resource.
    let by_id: HashMap<&str, u32> =
        (0..).zip(&model.users).filter_map(|(number, user)| Some((user.id.as_deref()?, number))).collect();
    let mut copies: HashMap<u32, Vec<&Value>> = HashMap::new();
    let mut number_of: HashMap<String, u32> = HashMap::new();
    for resource in &there.users {
        let found = by_id.get(id(resource).as_str()).copied();
        let Some(user) = found.or_else(|| population.user_of(&text(resource, "userName"))) else { continue };
        if number_of.insert(id(resource), user).is_none() {
            copies.entry(user).or_default().push(resource);
        }
    }
    for (number, user) in (0..).zip(&model.users) {
        let name = population.user_name(number);
        let here = copies.get(&number).map(Vec::as_slice).unwrap_or_default();
        let state = &user.state;
        comparison.users += u64::from(state.latest().is_some());
        let ours = here.iter().find(|copy| Some(id(copy).as_str()) == user.id.as_deref());
        let Some(copy) = ours.or(here.first()) else {
            match state.compare(Option::is_none) {
                Agreement::Same => {}
                Agreement::Open => comparison.open += 1,
                agreement => {
                    let kind = if agreement == Agreement::Late { Kind::Late } else { Kind::Lost };
                    let detail = "it was acknowledged and is not there";
                    comparison.find(Finding::user(kind, tenant, &name, user.id.as_deref(), detail));
                }
            }
            continue;
        };
        let here_id = id(copy);
        if there.unlisted.contains(&here_id) {
            let detail = "it is there by its id, and the list of all users does not have it";
            comparison.find(Finding::user(Kind::Unlisted, tenant, &name, Some(&here_id), detail));
        }
        if here.len() > 1 {
            let ids: Vec<String> = here.iter().map(|copy| id(copy)).collect();
            let detail = format!("{} users have this userName: {}", ids.len(), ids.join(", "));
            comparison.find(Finding::user(Kind::Duplicated, tenant, &name, Some(&here_id), &detail));
        }
        let is = |state: &Option<UserRecord>| {
            state.is_some_and(|record| {
                differences(population, tenant, number, record, copy, not_kept).is_empty()
            })
        };
        let moved = user.id.as_deref().filter(|known| *known != here_id);
        match state.compare(is) {
            Agreement::Same if moved.is_none() => {}
            Agreement::Same => {
                let detail = format!("it was created with the id {}", moved.unwrap_or_default());
                comparison.find(Finding::user(Kind::Wrong, tenant, &name, Some(&here_id), &detail));
            }
            Agreement::Open => comparison.open += 1,
            agreement => {
                let kind = if agreement == Agreement::Late { Kind::Late } else { Kind::Wrong };
                let detail = match state.latest() {
                    None => "it was deleted and is there".to_owned(),
                    Some(record) => {
                        differences(population, tenant, number, *record, copy, not_kept).join("; ")
                    }
                };
                comparison.find(Finding::user(kind, tenant, &name, Some(&here_id), &detail));
            }
        }
    }
    compare_groups(population, tenant, model, there, &number_of, &mut comparison);
    comparison
}

fn compare_groups(
    population: &Population,
    tenant: usize,
    model: &Model,
    there: &ReadBack,
    number_of: &HashMap<String, u32>,
    comparison: &mut Comparison,
) {
    let id = |resource: &Value| resource.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let name =
        |resource: &Value| resource.get("displayName").and_then(Value::as_str).unwrap_or_default().to_owned();
    let by_id: HashMap<&str, u32> =
        (0..).zip(&model.groups).filter_map(|(number, group)| Some((group.id.as_deref()?, number))).collect();
    let mut copies: HashMap<u32, Vec<&Value>> = HashMap::new();
    let mut seen = HashSet::new();
    for resource in &there.groups {
        let found = by_id.get(id(resource).as_str()).copied();
        // A group that an earlier run renamed is not this run's.
        let by_name = || {
            let group = population.group_of(&name(resource))?;
            let revision = model.groups[group as usize].state.latest().unwrap_or(0);
            (population.group_name(group, revision) == name(resource)).then_some(group)
        };
        let Some(group) = found.or_else(by_name) else { continue };
        if seen.insert(id(resource)) {
            copies.entry(group).or_default().push(resource);
        }
    }
    for (number, group) in (0..).zip(&model.groups) {
        let here = copies.get(&number).map(Vec::as_slice).unwrap_or_default();
        let state = &group.state;
        comparison.groups += u64::from(state.latest().is_some());
        let expected = population.group_name(number, state.latest().unwrap_or(0));
        let finding =
            |kind, id: Option<&str>, detail: &str| Finding::of("Group", kind, tenant, &expected, id, detail);
        let ours = here.iter().find(|copy| Some(id(copy).as_str()) == group.id.as_deref());
        let Some(copy) = ours.or(here.first()) else {
            match state.compare(Option::is_none) {
                Agreement::Same => {}
                Agreement::Open => comparison.open += 1,
                agreement => {
                    let kind = if agreement == Agreement::Late { Kind::Late } else { Kind::Lost };
                    comparison.find(finding(
                        kind,
                        group.id.as_deref(),
                        "it was acknowledged and is not there",
                    ));
                }
            }
            continue;
        };
        let here_id = id(copy);
        if there.unlisted.contains(&here_id) {
            let detail = "it is there by its id, and the list of all groups does not have it";
            comparison.find(finding(Kind::Unlisted, Some(&here_id), detail));
        }
        if here.len() > 1 {
            let detail = format!("{} groups have this displayName", here.len());
            // Each creation without an answer may have made one, whatever came after: names of groups are not unique.
            let explained = here.len() - 1 <= usize::from(group.uncertain_creations);
            let kind = if explained { Kind::Late } else { Kind::Duplicated };
            comparison.find(finding(kind, Some(&here_id), &detail));
        }
        let actual = name(copy);
        let is = |state: &Option<u16>| {
            state.is_some_and(|revision| population.group_name(number, revision) == actual)
        };
        match state.compare(is) {
            Agreement::Same => {}
            Agreement::Open => comparison.open += 1,
            agreement => {
                let kind = if agreement == Agreement::Late { Kind::Late } else { Kind::Wrong };
                let detail = match state.latest() {
                    None => "it was deleted and is there".to_owned(),
                    Some(_) => format!("displayName is {actual:?}, not {expected:?}"),
                };
                comparison.find(finding(kind, Some(&here_id), &detail));
            }
        }
        compare_members(population, model, number, copy, number_of, comparison, &finding);
    }
}

fn compare_members(
    population: &Population,
    model: &Model,
    number: u32,
    copy: &Value,
    number_of: &HashMap<String, u32>,
    comparison: &mut Comparison,
    finding: &dyn Fn(Kind, Option<&str>, &str) -> Finding,
) {
    let group = &model.groups[number as usize];
    let here_id = copy.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut actual = HashSet::new();
    let (mut strangers, mut twice) = (Vec::new(), Vec::new());
    for member in member_ids(copy) {
        match number_of.get(member) {
            Some(user) if !actual.insert(*user) => twice.push(population.user_name(*user)),
            Some(user) if !group.members.contains_key(user) => strangers.push(population.user_name(*user)),
            Some(_) => {}
            // Left of a user who was deleted: the RFC does not say that it must go.
            None if model.former.contains(member) => {}
            None => strangers.push(format!("the unknown id {member}")),
        }
    }
    let (mut missing, mut extra, mut late) = (Vec::new(), Vec::new(), Vec::new());
    let mut members: Vec<_> = group.members.iter().collect();
    members.sort_by_key(|(user, _)| **user);
    for (user, membership) in members {
        comparison.memberships += u64::from(*membership.latest());
        let is_member = actual.contains(user);
        match membership.compare(|state| *state == is_member) {
            Agreement::Same => {}
            Agreement::Open => comparison.open += 1,
            Agreement::Late => late.push(population.user_name(*user)),
            Agreement::Different if is_member => extra.push(population.user_name(*user)),
            Agreement::Different => missing.push(population.user_name(*user)),
        }
    }
    let mut report = |kind, what: &str, users: &[String]| {
        if let Some(first) = users.first() {
            let detail = match users.len() {
                1 => format!("{what}: {first}"),
                count => format!("{what}: {first} and {} more", count - 1),
            };
            comparison.find(finding(kind, Some(&here_id), &detail));
        }
    };
    report(Kind::Wrong, "members that were added are not there", &missing);
    report(Kind::Wrong, "members that were removed are there", &extra);
    report(Kind::Wrong, "members that nobody added are there", &strangers);
    report(Kind::Wrong, "members are listed twice", &twice);
    report(Kind::Late, "members by a request without an answer", &late);
}
