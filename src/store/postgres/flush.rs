//! Writes what waits: a statement for each table, however many rows, all in one go.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::failure::Failure;
use super::idempotency;
use super::value::{Step, Value, bytes};
use super::work::{ChangeRow, Known, Pending, Work};

impl Work<'_> {
    /// Writes what waits, so that the database can be asked.
    pub(super) async fn flush(&mut self) -> Result<(), Failure> {
        let steps = self.take_pending()?;
        if !steps.is_empty() {
            self.link.send(&steps).await?;
        }
        Ok(())
    }

    /// Writes what waits and the tenant's row, and commits.
    pub(super) async fn commit(&mut self) -> Result<(), Failure> {
        let mut steps = self.take_pending()?;
        let (state, stored) = (&self.state, &self.stored);
        if state.next_key != stored.next_key
            || state.head != stored.head
            || state.leavers != stored.leavers
            || state.counts != stored.counts
        {
            let counts: BTreeMap<_, _> = state.counts.iter().filter(|(_, count)| **count != 0).collect();
            let counts = serde_json::to_string(&counts)
                .map_err(|error| Failure::Internal(format!("a tenant's counts: {error}")))?;
            let sql =
                "UPDATE scim.tenant SET next_key = $2, head = $3, head_time = $4, leavers = $5, counts = $6
                       WHERE tenant = $1";
            let values = [
                self.tenant.into(),
                state.next_key.into(),
                state.head.into(),
                state.head_time.into(),
                state.leavers.into(),
                counts.into(),
            ];
            steps.push(Step::new(sql, values));
        }
        steps.push(Step::End("COMMIT"));
        self.link.send(&steps).await.map(drop)
    }

    /// Statements for what waits. Removals first: what one gives up, another may take.
    fn take_pending(&mut self) -> Result<Vec<Step>, Failure> {
        let Pending {
            inserted,
            updated,
            deleted,
            entries_added,
            entries_removed,
            members_added,
            members_removed,
            changes,
            answers,
        } = std::mem::take(&mut self.pending);
        let tenant = Value::from(self.tenant);
        let mut steps = Vec::new();
        if !members_removed.is_empty() {
            let (groups, members) = pairs(members_removed);
            let sql = "DELETE FROM scim.member m USING unnest($2, $3) AS q (\"group\", member)
                       WHERE m.tenant = $1 AND m.\"group\" = q.\"group\" AND m.member = q.member";
            steps.push(Step::new(sql, [tenant.clone(), groups, members]));
        }
        if !entries_removed.is_empty() {
            let mut columns = Columns::default();
            for (((attribute, value), slot), key) in
                entries_removed.into_iter().map(|(name, slot, key)| ((name, slot), key))
            {
                columns.add(attribute, &value, slot, key);
            }
            let sql = "DELETE FROM scim.lookup l USING unnest($2, $3, $4, $5) AS q (attribute, value, slot, resource)
                       WHERE l.tenant = $1 AND l.attribute = q.attribute AND l.value = q.value
                       AND l.slot = q.slot AND l.resource = q.resource";
            steps.push(Step::new(sql, columns.values(&tenant)));
        }
        if !deleted.is_empty() {
            let keys = Value::Ints(deleted.into_iter().map(Some).collect());
            let sql = "DELETE FROM scim.resource WHERE tenant = $1 AND key = ANY ($2)";
            steps.push(Step::new(sql, [tenant.clone(), keys]));
        }
        self.resources(&inserted.into_iter().collect::<Vec<_>>(), updated, &mut steps)?;
        if !entries_added.is_empty() {
            let mut columns = Columns::default();
            for (((attribute, value), slot), key) in entries_added {
                columns.add(attribute, &value, slot, key);
            }
            let sql = "INSERT INTO scim.lookup (tenant, attribute, value, slot, resource)
                       SELECT $1, * FROM unnest($2, $3, $4, $5)";
            steps.push(Step::new(sql, columns.values(&tenant)));
        }
        if !members_added.is_empty() {
            let (groups, members) = pairs(members_added);
            let sql = "INSERT INTO scim.member (tenant, \"group\", member) SELECT $1, * FROM unnest($2, $3)";
            steps.push(Step::new(sql, [tenant.clone(), groups, members]));
        }
        if !changes.is_empty() {
            steps.push(append(&tenant, self.batch, changes));
        }
        steps.extend(answers.into_iter().map(|fresh| idempotency::remember(self.tenant, fresh)));
        Ok(steps)
    }

    fn resources(
        &self,
        inserted: &[i64],
        updated: BTreeMap<i64, bool>,
        steps: &mut Vec<Step>,
    ) -> Result<(), Failure> {
        let known = |key: &i64| {
            let known = self.known.get(key);
            known.ok_or_else(|| Failure::Internal("a row to write is not known".into()))
        };
        let body = |known: &Known| {
            let body = known.body.clone();
            body.map(Some).ok_or_else(|| Failure::Internal("a body to write is not known".into()))
        };
        if !inserted.is_empty() {
            let (mut types, mut ids, mut keys, mut versions) =
                (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            let (mut created, mut modified, mut displays, mut bodies) =
                (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            for key in inserted {
                let row = known(key)?;
                types.push(Some(row.resource_type.clone()));
                ids.push(Some(bytes(&row.id)));
                keys.push(Some(*key));
                versions.push(Some(row.version.cast_signed()));
                created.push(Some(row.created.as_millisecond()));
                modified.push(Some(row.last_modified.as_millisecond()));
                displays.push(row.display.as_deref().map(bytes));
                bodies.push(body(row)?);
            }
            let sql = "INSERT INTO scim.resource
                           (tenant, type, id, key, version, created, last_modified, display, body)
                       SELECT $1, * FROM unnest($2, $3, $4, $5, $6, $7, $8, $9)";
            let values = [
                self.tenant.into(),
                Value::Texts(types),
                Value::Blobs(ids),
                Value::Ints(keys),
                Value::Ints(versions),
                Value::Ints(created),
                Value::Ints(modified),
                Value::Blobs(displays),
                Value::Blobs(bodies),
            ];
            steps.push(Step::new(sql, values));
        }
        let (contents, moves): (Vec<_>, Vec<_>) = updated.into_iter().partition(|(_, content)| *content);
        for (updated, content) in [(contents, true), (moves, false)] {
            if updated.is_empty() {
                continue;
            }
            let (mut keys, mut versions, mut modified) = (Vec::new(), Vec::new(), Vec::new());
            let (mut displays, mut bodies) = (Vec::new(), Vec::new());
            for (key, _) in &updated {
                let row = known(key)?;
                keys.push(Some(*key));
                versions.push(Some(row.version.cast_signed()));
                modified.push(Some(row.last_modified.as_millisecond()));
                if content {
                    displays.push(row.display.as_deref().map(bytes));
                    bodies.push(body(row)?);
                }
            }
            let mut values =
                vec![self.tenant.into(), Value::Ints(keys), Value::Ints(versions), Value::Ints(modified)];
            let sql = if content {
                values.extend([Value::Blobs(displays), Value::Blobs(bodies)]);
                "UPDATE scim.resource r SET version = q.version, last_modified = q.modified,
                     display = q.display, body = q.body
                 FROM unnest($2, $3, $4, $5, $6) AS q (key, version, modified, display, body)
                 WHERE r.tenant = $1 AND r.key = q.key"
            } else {
                "UPDATE scim.resource r SET version = q.version, last_modified = q.modified
                 FROM unnest($2, $3, $4) AS q (key, version, modified)
                 WHERE r.tenant = $1 AND r.key = q.key"
            };
            steps.push(Step::new(sql, values));
        }
        Ok(())
    }
}

fn pairs(pairs: impl IntoIterator<Item = (i64, i64)>) -> (Value, Value) {
    let (left, right) = pairs.into_iter().map(|(left, right)| (Some(left), Some(right))).unzip();
    (Value::Ints(left), Value::Ints(right))
}

/// Index entries, by column.
#[derive(Default)]
struct Columns {
    attributes: Vec<Option<String>>,
    values: Vec<Option<Bytes>>,
    slots: Vec<Option<i64>>,
    keys: Vec<Option<i64>>,
}

impl Columns {
    fn add(&mut self, attribute: String, value: &str, slot: i64, key: i64) {
        self.attributes.push(Some(attribute));
        self.values.push(Some(bytes(value)));
        self.slots.push(Some(slot));
        self.keys.push(Some(key));
    }

    fn values(self, tenant: &Value) -> [Value; 5] {
        let Self { attributes, values, slots, keys } = self;
        [
            tenant.clone(),
            Value::Texts(attributes),
            Value::Blobs(values),
            Value::Ints(slots),
            Value::Ints(keys),
        ]
    }
}

/// Appends rows to a tenant's audit log.
pub(super) fn append(tenant: &Value, batch: i64, changes: Vec<ChangeRow>) -> Step {
    let (mut sequences, mut times, mut operations, mut befores, mut afters) =
        <(Vec<_>, Vec<_>, Vec<_>, Vec<_>, Vec<_>)>::default();
    let (mut ids, mut actors, mut requests) = <(Vec<_>, Vec<_>, Vec<_>)>::default();
    let (mut types, mut clients, mut paths, mut members, mut values) =
        <(Vec<_>, Vec<_>, Vec<_>, Vec<_>, Vec<_>)>::default();
    for row in changes {
        sequences.push(Some(row.sequence));
        times.push(Some(row.time));
        operations.push(Some(row.operation));
        types.push(Some(row.resource_type));
        ids.push(Some(row.id));
        befores.push(row.before);
        afters.push(row.after);
        actors.push(Some(row.actor));
        clients.push(row.client);
        requests.push(Some(row.request));
        paths.push(Some(row.attributes));
        members.push(row.members);
        values.push(row.values);
    }
    let sql =
        "INSERT INTO scim.change (tenant, batch, sequence, time, operation, type, id, before, after, actor,
                                        client, request, attributes, members, \"values\")
               SELECT $1, $2, * FROM unnest($3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
    let values = [
        tenant.clone(),
        batch.into(),
        Value::Ints(sequences),
        Value::Ints(times),
        Value::Ints(operations),
        Value::Texts(types),
        Value::Blobs(ids),
        Value::Ints(befores),
        Value::Ints(afters),
        Value::Blobs(actors),
        Value::Texts(clients),
        Value::Blobs(requests),
        Value::Texts(paths),
        Value::Texts(members),
        Value::Texts(values),
    ];
    Step::new(sql, values)
}
