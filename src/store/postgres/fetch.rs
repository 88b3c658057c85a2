//! What a batch of requests is sure to ask for, fetched with the lock: the resources they name, whose the unique
//! values are that they want, and the memberships they change.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Row;

use super::failure::Failure;
use super::idempotency;
use super::value::{Step, Value, bytes, get};
use super::work::{Name, Roll, Work, columns};
use super::writer::Job;
use crate::scim::member::MemberChange;
use crate::scim::patch::Step as PatchStep;
use crate::scim::resource::Attributes;
use crate::scim::schema::ResourceType;
use crate::store::idempotency::Recalled;
use crate::store::{Command, index};

/// What to fetch.
#[derive(Default)]
pub(super) struct Wanted {
    /// Resources, and whether with their bodies.
    rows: BTreeMap<Name, bool>,
    /// Unique entries.
    owners: BTreeSet<Name>,
    /// Memberships, by the ids of group and member.
    members: BTreeSet<Name>,
    /// Resources of which only what does not exist is asked: new ones.
    created: BTreeSet<Name>,
    /// Idempotency keys, by the number of the job.
    keys: Vec<usize>,
}

impl Wanted {
    /// What some jobs want.
    pub(super) fn by(jobs: &[Job]) -> Self {
        let mut wanted = Self::default();
        for (number, job) in jobs.iter().enumerate() {
            if job.once.is_some() {
                wanted.keys.push(number);
            }
            for command in job.write.units.iter().flat_map(|unit| &unit.commands) {
                wanted.command(command);
            }
        }
        for created in &wanted.created {
            wanted.rows.remove(created);
        }
        wanted
    }

    fn command(&mut self, command: &Command) {
        match command {
            Command::Create { resource_type, id, attributes, members, .. } => {
                self.created.insert((resource_type.name.clone(), id.clone()));
                self.entries(resource_type, attributes);
                self.member_rows(members);
            }
            Command::Replace { resource_type, id, attributes, members, .. } => {
                self.row(&resource_type.name, id, true);
                self.entries(resource_type, attributes);
                self.member_rows(members);
            }
            Command::Patch { resource_type, id, patch, .. } => {
                self.row(&resource_type.name, id, true);
                for step in &patch.steps {
                    let PatchStep::Members(change) = step else { continue };
                    match change {
                        MemberChange::Add(ids) | MemberChange::Remove(ids) => {
                            self.member_rows(ids);
                            self.members.extend(ids.iter().map(|member| (id.clone(), member.clone())));
                        }
                        MemberChange::Replace(ids) => self.member_rows(ids),
                        MemberChange::RemoveMatching(_) | MemberChange::Clear => {}
                    }
                }
            }
            Command::Delete { resource_type, id, .. } | Command::Restore { resource_type, id } => {
                self.row(&resource_type.name, id, true);
            }
            Command::Purge { .. } | Command::Refuse(_) => {}
        }
    }

    fn row(&mut self, resource_type: &str, id: &str, body: bool) {
        *self.rows.entry((resource_type.to_owned(), id.to_owned())).or_default() |= body;
    }

    fn member_rows(&mut self, ids: &[String]) {
        for id in ids {
            self.row("User", id, false);
            self.row("Group", id, false);
        }
    }

    fn entries(&mut self, resource_type: &ResourceType, attributes: &Attributes) {
        let unique = index::entries(resource_type, attributes).into_iter().filter(|entry| entry.unique);
        self.owners.extend(unique.map(|entry| (entry.attribute, entry.value)));
    }

    /// The statements, in the order in which [`Self::learn`] takes their answers.
    pub(super) fn steps(&self, tenant: i64, jobs: &[Job]) -> Vec<Step> {
        let mut steps = Vec::new();
        if !self.rows.is_empty() {
            let (types, ids) = names(self.rows.keys());
            let bodies = Value::Bools(self.rows.values().copied().collect());
            let sql = concat!(
                "SELECT ",
                columns!("q.body"),
                " FROM unnest($2, $3, $4) AS q (type, id, body)
                 JOIN scim.resource r ON r.tenant = $1 AND r.type = q.type AND r.id = q.id"
            );
            steps.push(Step::new(sql, [tenant.into(), types, ids, bodies]));
        }
        if !self.owners.is_empty() {
            let (attributes, values) = names(&self.owners);
            let sql = "SELECT l.attribute, l.value, l.slot, l.resource FROM unnest($2, $3) AS q (attribute, value)
                       JOIN scim.lookup l ON l.tenant = $1 AND l.attribute = q.attribute AND l.value = q.value";
            steps.push(Step::new(sql, [tenant.into(), attributes, values]));
        }
        if !self.members.is_empty() {
            let (groups, members) =
                self.members.iter().map(|(group, member)| (Some(bytes(group)), Some(bytes(member)))).unzip();
            let sql = "SELECT m.\"group\", m.member FROM unnest($2, $3) AS q (\"group\", member)
                       JOIN scim.resource g ON g.tenant = $1 AND g.type = 'Group' AND g.id = q.\"group\"
                       JOIN scim.resource r ON r.tenant = $1 AND r.type IN ('User', 'Group') AND r.id = q.member
                       JOIN scim.member m ON m.tenant = $1 AND m.\"group\" = g.key AND m.member = r.key";
            steps.push(Step::new(sql, [tenant.into(), Value::Blobs(groups), Value::Blobs(members)]));
        }
        let keyed = self.keys.iter().filter_map(|number| jobs.get(*number)?.once.as_ref());
        steps.extend(keyed.map(|(keyed, _)| idempotency::recall(tenant, keyed)));
        steps
    }

    /// Takes in the answers; what is known of the jobs' idempotency keys, by job.
    pub(super) fn learn(
        self,
        work: &mut Work<'_>,
        jobs: &[Job],
        answers: Vec<Vec<Row>>,
    ) -> Result<BTreeMap<usize, Recalled>, Failure> {
        let mut answers = answers.into_iter();
        let mut next = || answers.next().unwrap_or_default();
        if !self.rows.is_empty() {
            for row in &next() {
                work.learn(row)?;
            }
            for name in self.rows.into_keys() {
                work.rows.entry(name).or_insert(None);
            }
        }
        // Ids are made by the server and are new; one that is not meets the primary key.
        for name in self.created {
            work.rows.entry(name).or_insert(None);
        }
        if !self.owners.is_empty() {
            work.learn_owners(self.owners, &next())?;
        }
        if !self.members.is_empty() {
            for row in &next() {
                let roll = work.rolls.entry(get(row, 0)?).or_default();
                roll.known.insert(get(row, 1)?, true);
            }
            for (group, member) in &self.members {
                let key = |resource_type: &str, id: &String| {
                    work.rows.get(&(resource_type.to_owned(), id.clone())).copied().flatten()
                };
                if let Some(group) = key("Group", group)
                    && let Some(member) = key("User", member).or_else(|| key("Group", member))
                {
                    let roll: &mut Roll = work.rolls.entry(group).or_default();
                    roll.known.entry(member).or_insert(false);
                }
            }
        }
        let mut recalled = BTreeMap::new();
        for number in self.keys {
            let Some((keyed, _)) = jobs.get(number).and_then(|job| job.once.as_ref()) else { continue };
            if let Some(known) = idempotency::recalled(keyed, &next())? {
                recalled.insert(number, known);
            }
        }
        Ok(recalled)
    }
}

fn names<'n>(names: impl IntoIterator<Item = &'n Name>) -> (Value, Value) {
    let (left, right) =
        names.into_iter().map(|(left, right)| (Some(left.clone()), Some(bytes(right)))).unzip();
    (Value::Texts(left), Value::Blobs(right))
}
