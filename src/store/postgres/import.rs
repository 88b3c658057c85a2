//! Writing tenants of an export into a database, beside servers that use it. A tenant's rows have a number that the
//! directory does not know until it is whole, so that nobody finds them; then the name gets that number in one
//! step, unless somebody has written to the tenant meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;
use tokio_postgres::error::SqlState;

use super::batch::number;
use super::failure::Failure;
use super::flush::append;
use super::leavers::{PENDING, RETAINED};
use super::pool::{Link, Pool};
use super::shape;
use super::tenants::{State, Tenants, counts, name, random};
use super::value::{Step, Value, bytes, get};
use super::work::ChangeRow;
use crate::scim::resource::Attributes;
use crate::store::lifecycle::names;
use crate::store::transaction::display;
use crate::store::transfer::{
    Found, Hex, ImportError, Imported, Importer, Mark, Members, Row, Shapes, Staged, Tenant, imported_name,
    in_words, note, read_note, staging_name,
};
use crate::store::{StoreError, TenantKey};

/// A statement may take this long.
const STEP: Duration = Duration::from_mins(5);

const BEGIN: Step = Step::Begin(
    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = '60s'",
);

/// A database that tenants are imported into.
pub struct PostgresImporter {
    pool: Pool,
    tenants: Tenants,
    current: Option<Current>,
}

/// The tenant that is imported.
struct Current {
    name: TenantKey,
    staged: Staged,
    shapes: Shapes,
}

impl From<Failure> for ImportError {
    fn from(failure: Failure) -> Self {
        Self::Store(failure.into())
    }
}

impl PostgresImporter {
    pub(super) fn new(pool: Pool, tenants: Tenants) -> Self {
        Self { pool, tenants, current: None }
    }

    async fn link(&self) -> Result<Link, Failure> {
        self.pool.link(Instant::now() + STEP).await
    }
}

/// Ends a transaction as its work did.
async fn settle<T>(link: &mut Link, done: Result<T, ImportError>) -> Result<T, ImportError> {
    match done {
        Ok(output) => Ok(link.send(&[Step::End("COMMIT")]).await.map(|_| output)?),
        Err(error) => {
            link.roll_back().await;
            Err(error)
        }
    }
}

async fn noted(link: &mut Link, name: &str) -> Result<Option<Vec<u8>>, Failure> {
    let found = link.query("SELECT value FROM scim.meta WHERE name = $1", [name.into()]).await?;
    found.first().map(|row| Ok(get::<&[u8]>(row, 0)?.to_vec())).transpose()
}

async fn write_note(link: &mut Link, name: &str, value: Vec<u8>) -> Result<(), Failure> {
    let sql = "INSERT INTO scim.meta VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    link.query(sql, [name.into(), Bytes::from(value).into()]).await.map(drop)
}

/// Takes an import's note in hand: nobody else has gone on with the import since we read it, and nobody does
/// until this transaction ends.
async fn take(link: &mut Link, current: &Current, before: &Staged) -> Result<(), ImportError> {
    let sql = "SELECT value FROM scim.meta WHERE name = $1 FOR UPDATE";
    let found = link.query(sql, [staging_name(&current.name).into()]).await?;
    let there = found.first().map(|row| get::<&[u8]>(row, 0)).transpose()?;
    let there: Option<Staged> = there.map(read_note).transpose()?;
    if there.as_ref() == Some(before) {
        return Ok(());
    }
    Err(ImportError::Refused(format!(
        "somebody else imports {} into this database at the same time; let that end, then run this again",
        current.name.0
    )))
}

/// What a tenant of the directory holds, in words, under its lock.
async fn occupied(link: &mut Link, tenant: i64) -> Result<Option<String>, Failure> {
    let locked = link.send(&[State::lock(tenant)]).await?;
    let state = State::locked(locked.first().map_or(&[], Vec::as_slice))?;
    let counts: Vec<_> = state.counts.into_iter().collect();
    Ok(in_words(&counts, state.head.cast_unsigned()))
}

/// The number of a tenant's data, whatever is remembered of it.
async fn in_directory(link: &mut Link, tenant: &TenantKey) -> Result<Option<i64>, Failure> {
    let found = link.query("SELECT tenant FROM scim.directory WHERE name = $1", [name(tenant)]).await?;
    found.first().map(|row| get(row, 0)).transpose()
}

/// Rows of one chunk, by table and column.
#[derive(Default)]
struct Tables {
    resources: Columns,
    entries: Columns,
    members: Vec<(u64, Members)>,
    retained: Columns,
    retained_names: Columns,
    changes: Vec<ChangeRow>,
    awaited: Columns,
    answers: Columns,
    tokens: Columns,
}

/// Columns that are filled side by side.
#[derive(Default)]
struct Columns(Vec<Value>);

impl Columns {
    /// Adds a row; all rows have the same kinds of values.
    fn push(&mut self, row: impl IntoIterator<Item = Value>) {
        for (index, value) in row.into_iter().enumerate() {
            if self.0.len() == index {
                self.0.push(match value {
                    Value::Int(_) => Value::Ints(Vec::new()),
                    Value::Bool(_) => Value::Bools(Vec::new()),
                    Value::Blob(_) => Value::Blobs(Vec::new()),
                    _ => Value::Texts(Vec::new()),
                });
            }
            match (self.0.get_mut(index), value) {
                (Some(Value::Ints(column)), Value::Int(value)) => column.push(value),
                (Some(Value::Bools(column)), Value::Bool(value)) => column.push(value),
                (Some(Value::Blobs(column)), Value::Blob(value)) => column.push(value),
                (Some(Value::Texts(column)), Value::Text(value)) => column.push(value),
                _ => {}
            }
        }
    }

    /// Inserts them: `into` names table and columns, and what beside `tenant` is selected from `q`.
    async fn insert(self, link: &mut Link, tenant: Value, into: &str) -> Result<(), Failure> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut values = vec![tenant];
        values.extend(self.0);
        link.query(into, values).await.map(drop)
    }
}

impl Tables {
    /// Sorts a row to where it belongs.
    fn add(&mut self, current: &mut Current, line: u64, row: Row) -> Result<(), ImportError> {
        let time = |time: jiff::Timestamp| Value::from(time.as_millisecond());
        let blob = |bytes: &[u8]| Value::from(Bytes::copy_from_slice(bytes));
        match row {
            Row::Resource(row) => {
                let attributes = attributes(line, row.body.get())?;
                let key = current.next_key();
                for entry in current.shapes.entries(&row.resource_type, &attributes) {
                    let (value, unique) = (Value::bytes(&entry.value), Value::from(entry.unique));
                    self.entries.push([entry.attribute.into(), value, unique, key.into()]);
                }
                self.resources.push([
                    row.resource_type.into(),
                    Value::bytes(&row.id),
                    key.into(),
                    row.version.cast_signed().into(),
                    time(row.created),
                    time(row.last_modified),
                    Value::Blob(display(&attributes).as_deref().map(bytes)),
                    blob(row.body.get().as_bytes()),
                ]);
            }
            Row::Members(row) => self.members.push((line, row)),
            Row::Retained(row) => {
                let attributes = attributes(line, row.body.get())?;
                let key = current.next_key();
                for entry in names(&row.resource_type, &attributes) {
                    self.retained_names.push([
                        entry.attribute.into(),
                        Value::bytes(&entry.value),
                        key.into(),
                    ]);
                }
                self.retained.push([
                    key.into(),
                    row.resource_type.into(),
                    Value::bytes(&row.id),
                    row.version.cast_signed().into(),
                    time(row.created),
                    time(row.deleted),
                    blob(row.body.get().as_bytes()),
                ]);
            }
            Row::Change(row) => self.changes.push(ChangeRow {
                sequence: row.sequence.cast_signed(),
                time: row.time.as_millisecond(),
                operation: row.operation.code(),
                id: bytes(&row.id),
                before: row.before.map(u64::cast_signed),
                after: row.after.map(u64::cast_signed),
                actor: bytes(&row.actor),
                request: bytes(&row.request),
                attributes: row.paths(),
                members: row.members.map(|json| json.get().to_owned()),
                values: row.values.map(|json| json.get().to_owned()),
                resource_type: row.resource_type,
                client: row.client,
            }),
            Row::Awaited(row) => {
                self.awaited.push([Value::bytes(&row.group), Value::bytes(&row.member), row.former.into()]);
            }
            Row::Answer(row) => self.answers.push([
                blob(&row.key.0),
                blob(&row.request.0),
                time(row.answered),
                i64::from(row.status).into(),
                row.version.map(u64::cast_signed).into(),
                row.related.map(i64::from).into(),
                Value::Text(row.location),
                Value::Blob(row.body.map(Bytes::from)),
            ]),
            Row::Token(row) => self.tokens.push([blob(&row.token.0), row.last_used.as_second().into()]),
        }
        Ok(())
    }

    async fn insert(self, link: &mut Link, current: &Current) -> Result<(), ImportError> {
        let tenant = || Value::from(current.staged.tenant);
        let sql =
            "INSERT INTO scim.resource (tenant, type, id, key, version, created, last_modified, display, body)
                   SELECT $1, * FROM unnest($2, $3, $4, $5, $6, $7, $8, $9)";
        self.resources.insert(link, tenant(), sql).await?;
        shape::add_all(link, tenant(), self.entries.0).await?;
        for (line, row) in self.members {
            insert_members(link, current.staged.tenant, line, row).await?;
        }
        let sql = "INSERT INTO scim.retained (tenant, key, type, id, version, created, deleted, body)
                   SELECT $1, * FROM unnest($2, $3, $4, $5, $6, $7, $8)";
        self.retained.insert(link, tenant(), sql).await?;
        let sql = "INSERT INTO scim.retained_name (tenant, attribute, value, retained)
                   SELECT $1, * FROM unnest($2, $3, $4) ON CONFLICT DO NOTHING";
        self.retained_names.insert(link, tenant(), sql).await?;
        if !self.changes.is_empty() {
            link.send(&[append(&tenant(), 0, self.changes)]).await?;
        }
        let sql = "INSERT INTO scim.awaited (tenant, \"group\", member, former)
                   SELECT $1, * FROM unnest($2, $3, $4)";
        self.awaited.insert(link, tenant(), sql).await?;
        let sql = "INSERT INTO scim.answer (tenant, name, request, answered, status, version, related, location, body)
                   SELECT $1, * FROM unnest($2, $3, $4, $5, $6, $7, $8, $9)";
        self.answers.insert(link, tenant(), sql).await?;
        let sql = "INSERT INTO scim.token_use (tenant, token, last_used)
                   SELECT $1, * FROM unnest($2, $3)
                   ON CONFLICT (tenant, token) DO UPDATE SET last_used = greatest(token_use.last_used, excluded.last_used)";
        self.tokens.insert(link, name(&current.name), sql).await?;
        Ok(())
    }
}

/// Adds a row of members, each of which must be there.
async fn insert_members(link: &mut Link, tenant: i64, at: u64, row: Members) -> Result<(), ImportError> {
    let Members { group, members } = row;
    let refused = |reason| ImportError::Row { line: at, reason };
    let sql = "SELECT key FROM scim.resource WHERE tenant = $1 AND type = 'Group' AND id = $2";
    let found = link.query(sql, [tenant.into(), Value::bytes(&group)]).await?;
    let Some(row) = found.first() else {
        return Err(refused(format!("there is no group {group:?} before this line")));
    };
    let key: i64 = get(row, 0)?;
    let ids = Value::Blobs(members.iter().map(|id| Some(bytes(id))).collect());
    let sql = "INSERT INTO scim.member (tenant, \"group\", member)
               SELECT $1, $2, r.key FROM unnest($3) AS q (id)
               CROSS JOIN LATERAL (
                   SELECT key FROM scim.resource
                   WHERE tenant = $1 AND type IN ('User', 'Group') AND id = q.id ORDER BY type DESC LIMIT 1
               ) r";
    link.query(sql, [tenant.into(), key.into(), ids.clone()]).await?;
    let sql = "SELECT q.id FROM unnest($2) AS q (id) WHERE NOT EXISTS (
                   SELECT 1 FROM scim.resource
                   WHERE tenant = $1 AND type IN ('User', 'Group') AND id = q.id) LIMIT 1";
    let missing = link.query(sql, [tenant.into(), ids]).await?;
    match missing.first() {
        Some(row) => {
            let id = super::value::text(row, 0)?;
            Err(refused(format!("there is no member {id:?} before this line")))
        }
        None => Ok(()),
    }
}

/// A body's attributes.
fn attributes(line: u64, body: &str) -> Result<Attributes, ImportError> {
    serde_json::from_str(body)
        .map_err(|error| ImportError::Row { line, reason: format!("the body is no JSON object: {error}") })
}

impl Current {
    fn next_key(&mut self) -> i64 {
        self.staged.next_key += 1;
        self.staged.next_key
    }
}

#[async_trait]
impl Importer for PostgresImporter {
    async fn look(&mut self, tenant: &TenantKey) -> Result<Found, ImportError> {
        let mut link = self.link().await?;
        if let Some(number) = in_directory(&mut link, tenant).await? {
            let sql = "SELECT head, counts FROM scim.tenant WHERE tenant = $1 AND live";
            let found = link.query(sql, [number.into()]).await?;
            let row = found.first().ok_or(Failure::Moved)?;
            let counts: Vec<_> = counts(get(row, 1)?)?.into_iter().collect();
            if let Some(words) = in_words(&counts, get::<i64>(row, 0)?.cast_unsigned()) {
                let imported = noted(&mut link, &imported_name(tenant)).await?;
                let imported: Option<Imported> = imported.as_deref().map(read_note).transpose()?;
                return Ok(match imported.filter(|imported| imported.tenant == number) {
                    Some(imported) => Found::Imported(imported.digest),
                    None => Found::Other(words),
                });
            }
        }
        match noted(&mut link, &staging_name(tenant)).await? {
            Some(staged) => Ok(Found::Partly(read_note::<Staged>(&staged)?.mark)),
            None => Ok(Found::Nothing),
        }
    }

    async fn begin(&mut self, tenant: &Tenant) -> Result<(), ImportError> {
        let key = TenantKey(tenant.name.as_str().into());
        let mark = Mark { chunks: 0, digest: Hex([0; 32]) };
        let staged = Staged { tenant: random()?, mark, next_key: 0 };
        let mut link = self.link().await?;
        link.send(&[BEGIN]).await?;
        let begun = async {
            if let Some(before) = noted(&mut link, &staging_name(&key)).await? {
                // What is not live goes when a server next looks after removed tenants.
                let before: Staged = read_note(&before)?;
                let sql = "UPDATE scim.tenant SET live = FALSE WHERE tenant = $1";
                link.query(sql, [before.tenant.into()]).await?;
            }
            let sql = "INSERT INTO scim.tenant (tenant, name) VALUES ($1, $2)";
            link.query(sql, [staged.tenant.into(), name(&key)]).await?;
            Ok(write_note(&mut link, &staging_name(&key), note(&staged)?).await?)
        };
        let begun = begun.await;
        settle(&mut link, begun).await?;
        self.current = Some(Current { name: key, staged, shapes: tenant.shapes.clone() });
        Ok(())
    }

    async fn go_on(&mut self, tenant: &Tenant) -> Result<(), ImportError> {
        let key = TenantKey(tenant.name.as_str().into());
        let mut link = self.link().await?;
        let staged = noted(&mut link, &staging_name(&key)).await?;
        let staged = staged.ok_or_else(|| ImportError::Refused("the import has ended meanwhile".into()))?;
        let staged = read_note(&staged)?;
        self.current = Some(Current { name: key, staged, shapes: tenant.shapes.clone() });
        Ok(())
    }

    async fn add(&mut self, rows: Vec<(u64, Row)>, mark: Mark) -> Result<(), ImportError> {
        let Some(mut current) = self.current.take() else { return Err(none_begun()) };
        let before = current.staged.clone();
        let (mut tables, first) = (Tables::default(), rows.first().map_or(0, |(line, _)| *line));
        for (line, row) in rows {
            tables.add(&mut current, line, row)?;
        }
        current.staged.mark = mark;
        let mut link = self.link().await?;
        link.send(&[BEGIN]).await?;
        let added = async {
            take(&mut link, &current, &before).await?;
            tables.insert(&mut link, &current).await.map_err(|error| twice(first, error))?;
            Ok(write_note(&mut link, &staging_name(&current.name), note(&current.staged)?).await?)
        };
        let added = added.await;
        settle(&mut link, added).await?;
        self.current = Some(current);
        Ok(())
    }

    async fn finish(&mut self, tenant: &Tenant, digest: Hex<32>) -> Result<(), ImportError> {
        let Some(current) = self.current.take() else { return Err(none_begun()) };
        let mut link = self.link().await?;
        link.send(&[BEGIN]).await?;
        let done = async {
            take(&mut link, &current, &current.staged).await?;
            finish(&mut link, &current, tenant).await?;
            let Current { name, staged: Staged { tenant, .. }, .. } = &current;
            link.query("DELETE FROM scim.meta WHERE name = $1", [staging_name(name).into()]).await?;
            let imported = note(&Imported { tenant: *tenant, digest })?;
            Ok(write_note(&mut link, &imported_name(name), imported).await?)
        };
        let done = done.await;
        settle(&mut link, done).await?;
        self.tenants.forget(&current.name);
        Ok(())
    }
}

fn none_begun() -> ImportError {
    StoreError::Internal("no import of a tenant has begun".into()).into()
}

/// Says of a row that is there twice where it is: the database names no row.
fn twice(line: u64, error: ImportError) -> ImportError {
    let unique = SqlState::UNIQUE_VIOLATION;
    match error {
        ImportError::Store(StoreError::Unavailable(reason)) if reason.contains(unique.code()) => {
            let reason = "one of the rows from here on is there twice".into();
            ImportError::Row { line, reason }
        }
        error => error,
    }
}

/// Gives a tenant its name, and counts what it has.
async fn finish(link: &mut Link, current: &Current, tenant: &Tenant) -> Result<(), ImportError> {
    let (staged, key) = (current.staged.tenant, &current.name);
    if let Some(there) = in_directory(link, key).await? {
        if let Some(words) = occupied(link, there).await? {
            return Err(ImportError::Refused(format!(
                "somebody has written to {} during the import: it now has {words}; nothing of it was changed",
                key.0
            )));
        }
        link.query("UPDATE scim.tenant SET live = FALSE WHERE tenant = $1", [there.into()]).await?;
        let sql = "UPDATE scim.directory SET tenant = $2 WHERE name = $1";
        link.query(sql, [name(key), staged.into()]).await?;
    } else {
        let sql = "INSERT INTO scim.directory (name, tenant) VALUES ($1, $2)";
        link.query(sql, [name(key), staged.into()]).await?;
    }
    let sql = "SELECT type, count(*) FROM scim.resource WHERE tenant = $1 GROUP BY type";
    let mut counts = BTreeMap::new();
    for row in &link.query(sql, [staged.into()]).await? {
        counts.insert(get::<String>(row, 0)?, get::<i64>(row, 1)?);
    }
    let sql = "SELECT count(*) FROM scim.retained WHERE tenant = $1";
    let retained = number(&link.query(sql, [staged.into()]).await?)?;
    let sql = "SELECT count(*) FROM scim.awaited a WHERE a.tenant = $1 AND NOT a.former AND EXISTS (
                   SELECT 1 FROM scim.resource r WHERE r.tenant = $1 AND r.type = 'Group' AND r.id = a.\"group\")";
    let pending = number(&link.query(sql, [staged.into()]).await?)?;
    for (name, count) in [(RETAINED, retained), (PENDING, pending)] {
        if count > 0 {
            counts.insert(name.to_owned(), count);
        }
    }
    let counts = serde_json::to_string(&counts)
        .map_err(|error| Failure::Internal(format!("a tenant's counts: {error}")))?;
    let shapes = shape::Shapes::of_types(&tenant.shapes.0).map(|shapes| shapes.to_text()).transpose()?;
    let sql = "UPDATE scim.tenant SET next_key = $2, head = $3, head_time = $4, pruned = $5, counts = $6, shapes = $7,
                   leavers = EXISTS (SELECT 1 FROM scim.retained WHERE tenant = $1)
                          OR EXISTS (SELECT 1 FROM scim.awaited WHERE tenant = $1)
               WHERE tenant = $1";
    let values = [
        staged.into(),
        (current.staged.next_key + 1).into(),
        tenant.head.cast_signed().into(),
        tenant.head_time.map_or(0, jiff::Timestamp::as_millisecond).into(),
        tenant.pruned.cast_signed().into(),
        counts.into(),
        Value::Text(shapes),
    ];
    link.query(sql, values).await?;
    Ok(())
}
