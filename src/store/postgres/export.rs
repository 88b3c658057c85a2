//! Reading a database's tenants for an export. Each tenant is read in one transaction with one snapshot, so that it
//! is of one moment, whoever writes meanwhile.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_postgres::Row as Found;

use super::failure::Failure;
use super::pool::{Link, Pool};
use super::shape;
use super::tenants::{counts, name};
use super::value::{Step, Value, get, limit, optional_text, text, time};
use crate::store::audit::{Changed, Operation};
use crate::store::transfer::{
    Answer, Awaited, Change, Exporter, Hex, Members, PAGE_BYTES, PAGE_ROWS, Pair, Resource, Retained, Row,
    Section, Shapes, Tenant, Token, Totals, member_rows,
};
use crate::store::{StoreError, TenantKey};

/// Memberships read in one go: more than one row of an export may hold.
const PAIRS: usize = 4000;

/// Rows asked for first, before their size is known.
const FIRST: usize = 64;

/// A statement may take this long.
const STEP: Duration = Duration::from_mins(5);

/// Nobody ends the transaction because whoever reads the export is slow.
const BEGIN: Step = Step::Begin(
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL idle_in_transaction_session_timeout = 0",
);

/// The tenants of one database.
pub struct PostgresExporter {
    pool: Pool,
    open: Option<Open>,
}

/// The tenant that is read, and where.
struct Open {
    link: Link,
    tenant: i64,
    name: TenantKey,
    section: Section,
    /// The last key that was read: of a resource, a membership, a sequence.
    place: (i64, i64),
    /// The last row, where the section goes by what it holds.
    last: Option<Row>,
    /// Rows to ask for: as many as are some [`PAGE_BYTES`].
    rows: usize,
}

impl PostgresExporter {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool, open: None }
    }

    async fn begin(&mut self, tenant: &TenantKey) -> Result<Option<(Tenant, Totals)>, Failure> {
        if let Some(mut open) = self.open.take() {
            open.link.roll_back().await;
        }
        let mut link = self.pool.link(Instant::now() + STEP).await?;
        link.send(&[BEGIN]).await?;
        let sql = "SELECT t.tenant, t.head, t.pruned, t.shapes,
                       (SELECT c.time FROM scim.change c WHERE c.tenant = t.tenant AND c.sequence = t.head),
                       (SELECT count(*) FROM scim.member m WHERE m.tenant = t.tenant),
                       (SELECT count(*) FROM scim.resource r WHERE r.tenant = t.tenant)
                   FROM scim.directory d JOIN scim.tenant t ON t.tenant = d.tenant AND t.live
                   WHERE d.name = $1";
        let found = link.query(sql, [name(tenant)]).await?;
        let Some(row) = found.first() else {
            link.roll_back().await;
            return Ok(None);
        };
        let number = |column| Ok::<_, Failure>(get::<i64>(row, column)?.cast_unsigned());
        let (head, pruned) = (number(1)?, number(2)?);
        let shapes = get::<Option<&str>>(row, 3)?.map(shape::Shapes::parse).transpose()?;
        let head_time = get::<Option<i64>>(row, 4)?.map(|_| time(row, 4)).transpose()?;
        let totals =
            Totals { resources: number(6)?, memberships: number(5)?, changes: head.saturating_sub(pruned) };
        let tenant_row = Tenant {
            name: tenant.0.to_string(),
            head,
            head_time,
            pruned,
            shapes: Shapes::new(shapes.into_iter().flat_map(shape::Shapes::into_types)),
        };
        self.open = Some(Open {
            tenant: get(row, 0)?,
            name: tenant.clone(),
            link,
            section: Section::Resources,
            place: (0, 0),
            last: None,
            rows: FIRST,
        });
        Ok(Some((tenant_row, totals)))
    }
}

fn raw(row: &Found, column: usize) -> Result<Box<RawValue>, Failure> {
    serde_json::from_slice(get(row, column)?)
        .map_err(|error| Failure::Internal(format!("a stored resource is not JSON: {error}")))
}

fn optional_raw(row: &Found, column: usize) -> Result<Option<Box<RawValue>>, Failure> {
    let parsed = get::<Option<&str>>(row, column)?.map(serde_json::from_str).transpose();
    parsed.map_err(|error| Failure::Internal(format!("a stored change is not JSON: {error}")))
}

fn unsigned(row: &Found, column: usize) -> Result<u64, Failure> {
    Ok(get::<i64>(row, column)?.cast_unsigned())
}

fn hex<const N: usize>(row: &Found, column: usize) -> Result<Hex<N>, Failure> {
    let bytes: &[u8] = get(row, column)?;
    let bytes = bytes.try_into().map_err(|_| Failure::Internal(format!("column {column} has not {N} bytes")));
    bytes.map(Hex)
}

impl Open {
    async fn query(&mut self, sql: &str, values: impl Into<Vec<Value>>) -> Result<Vec<Found>, Failure> {
        self.link.until(Instant::now() + STEP);
        self.link.query(sql, values).await
    }

    async fn seek(&mut self, section: Section, after: Option<&Row>) -> Result<bool, Failure> {
        (self.section, self.place, self.last, self.rows) = (section, (0, 0), None, FIRST);
        match after {
            None => {}
            Some(Row::Resource(Resource { resource_type, id, .. })) => {
                let Some(key) = self.key("resource", resource_type, id).await? else { return Ok(false) };
                self.place.0 = key;
            }
            Some(Row::Retained(Retained { resource_type, id, .. })) => {
                let Some(key) = self.key("retained", resource_type, id).await? else { return Ok(false) };
                self.place.0 = key;
            }
            Some(Row::Members(Members { group, members })) => {
                let last = members.last().map_or("", String::as_str);
                let group = self.key("resource", "Group", group).await?;
                let member = match self.key("resource", "User", last).await? {
                    Some(member) => Some(member),
                    None => self.key("resource", "Group", last).await?,
                };
                let (Some(group), Some(member)) = (group, member) else { return Ok(false) };
                self.place = (group, member);
            }
            Some(Row::Change(Change { sequence, .. })) => self.place.0 = sequence.cast_signed(),
            Some(row @ (Row::Awaited(_) | Row::Answer(_) | Row::Token(_))) => self.last = Some(row.clone()),
        }
        Ok(true)
    }

    async fn key(&mut self, table: &str, kind: &str, id: &str) -> Result<Option<i64>, Failure> {
        let sql = format!("SELECT key FROM scim.{table} WHERE tenant = $1 AND type = $2 AND id = $3");
        let found = self.query(&sql, [self.tenant.into(), kind.into(), Value::bytes(id)]).await?;
        found.first().map(|row| get(row, 0)).transpose()
    }

    async fn next(&mut self) -> Result<Vec<Row>, Failure> {
        let rows = match self.section {
            Section::Resources => self.resources().await?,
            Section::Members => return self.members().await,
            Section::Retained => self.retained().await?,
            Section::Changes => self.changes().await?,
            Section::Awaited => self.awaited().await?,
            Section::Answers => self.answers().await?,
            Section::Tokens => self.tokens().await?,
        };
        if !self.section.is_settled()
            && let Some(last) = rows.last()
        {
            self.last = Some(last.clone());
        }
        if !rows.is_empty() {
            let bytes: usize = rows.iter().map(size).sum();
            let fit = PAGE_BYTES / (bytes / rows.len()).max(1);
            self.rows = fit.clamp(1, PAGE_ROWS).min(4 * self.rows);
        }
        Ok(rows)
    }

    async fn resources(&mut self) -> Result<Vec<Row>, Failure> {
        let sql = "SELECT key, type, id, version, created, last_modified, body FROM scim.resource
                   WHERE tenant = $1 AND key > $2 ORDER BY key LIMIT $3";
        let found = self.query(sql, [self.tenant.into(), self.place.0.into(), limit(self.rows)]).await?;
        let mut rows = Vec::with_capacity(found.len());
        for row in &found {
            self.place.0 = get(row, 0)?;
            rows.push(Row::Resource(Resource {
                resource_type: get(row, 1)?,
                id: text(row, 2)?,
                version: unsigned(row, 3)?,
                created: time(row, 4)?,
                last_modified: time(row, 5)?,
                body: raw(row, 6)?,
            }));
        }
        Ok(rows)
    }

    async fn retained(&mut self) -> Result<Vec<Row>, Failure> {
        let sql = "SELECT key, type, id, version, created, deleted, body FROM scim.retained
                   WHERE tenant = $1 AND key > $2 ORDER BY key LIMIT $3";
        let found = self.query(sql, [self.tenant.into(), self.place.0.into(), limit(self.rows)]).await?;
        let mut rows = Vec::with_capacity(found.len());
        for row in &found {
            self.place.0 = get(row, 0)?;
            rows.push(Row::Retained(Retained {
                resource_type: get(row, 1)?,
                id: text(row, 2)?,
                version: unsigned(row, 3)?,
                created: time(row, 4)?,
                deleted: time(row, 5)?,
                body: raw(row, 6)?,
            }));
        }
        Ok(rows)
    }

    async fn members(&mut self) -> Result<Vec<Row>, Failure> {
        let sql = "SELECT m.\"group\", m.member, g.id, r.id FROM (
                       SELECT tenant, \"group\", member FROM scim.member
                       WHERE tenant = $1 AND (\"group\", member) > ($2, $3)
                       ORDER BY \"group\", member LIMIT $4
                   ) m
                   JOIN scim.resource g ON g.tenant = m.tenant AND g.key = m.\"group\"
                   JOIN scim.resource r ON r.tenant = m.tenant AND r.key = m.member
                   ORDER BY m.\"group\", m.member";
        let (group, member) = self.place;
        let found = self.query(sql, [self.tenant.into(), group.into(), member.into(), limit(PAIRS)]).await?;
        let pair = |row| {
            let keys = (get(row, 0)?, get(row, 1)?);
            Ok::<_, Failure>(Pair { keys, group: text(row, 2)?, member: text(row, 3)? })
        };
        let page = found.iter().map(pair).collect::<Result<Vec<_>, _>>()?;
        let more = page.len() == PAIRS;
        let rows = member_rows(page, more);
        self.place = rows.last().map_or(self.place, |(keys, _)| *keys);
        Ok(rows.into_iter().map(|(_, row)| Row::Members(row)).collect())
    }

    async fn changes(&mut self) -> Result<Vec<Row>, Failure> {
        let sql =
            "SELECT sequence, time, operation, type, id, before, after, actor, client, request, attributes,
                       members, \"values\"
                   FROM scim.change WHERE tenant = $1 AND sequence > $2 ORDER BY sequence LIMIT $3";
        let found = self.query(sql, [self.tenant.into(), self.place.0.into(), limit(self.rows)]).await?;
        let mut rows = Vec::with_capacity(found.len());
        for row in &found {
            self.place.0 = get(row, 0)?;
            let operation = Operation::from_code(get(row, 2)?)
                .ok_or_else(|| Failure::Internal("a stored change has an unknown operation".into()))?;
            let version = |column| Ok::<_, Failure>(get::<Option<i64>>(row, column)?.map(i64::cast_unsigned));
            rows.push(Row::Change(Change {
                sequence: unsigned(row, 0)?,
                time: time(row, 1)?,
                operation,
                resource_type: get(row, 3)?,
                id: text(row, 4)?,
                before: version(5)?,
                after: version(6)?,
                actor: text(row, 7)?,
                client: get(row, 8)?,
                request: text(row, 9)?,
                attributes: Changed::split(get(row, 10)?),
                members: optional_raw(row, 11)?,
                values: optional_raw(row, 12)?,
            }));
        }
        Ok(rows)
    }

    async fn awaited(&mut self) -> Result<Vec<Row>, Failure> {
        let (after, group, member, former) = match &self.last {
            Some(Row::Awaited(Awaited { group, member, former })) => (true, &**group, &**member, *former),
            _ => (false, "", "", false),
        };
        let values =
            [self.tenant.into(), after.into(), Value::bytes(group), Value::bytes(member), former.into()];
        let sql = "SELECT \"group\", member, former FROM scim.awaited
                   WHERE tenant = $1 AND (NOT $2 OR (\"group\", member, former) > ($3, $4, $5))
                   ORDER BY \"group\", member, former LIMIT $6";
        let mut values = values.to_vec();
        values.push(limit(self.rows));
        let found = self.query(sql, values).await?;
        let awaited = |row| {
            let (group, member, former) = (text(row, 0)?, text(row, 1)?, get(row, 2)?);
            Ok(Row::Awaited(Awaited { group, member, former }))
        };
        found.iter().map(awaited).collect()
    }

    async fn answers(&mut self) -> Result<Vec<Row>, Failure> {
        let after = match &self.last {
            Some(Row::Answer(answer)) => bytes::Bytes::copy_from_slice(&answer.key.0),
            _ => bytes::Bytes::new(),
        };
        let sql = "SELECT name, request, answered, status, version, related, location, body FROM scim.answer
                   WHERE tenant = $1 AND name > $2 ORDER BY name LIMIT $3";
        let found = self.query(sql, [self.tenant.into(), after.into(), limit(self.rows)]).await?;
        let wrong = |_| Failure::Internal("a stored answer is out of range".into());
        let answer = |row| {
            Ok(Row::Answer(Answer {
                key: hex(row, 0)?,
                request: hex(row, 1)?,
                answered: time(row, 2)?,
                status: u16::try_from(get::<i64>(row, 3)?).map_err(wrong)?,
                version: get::<Option<i64>>(row, 4)?.map(i64::cast_unsigned),
                related: get::<Option<i64>>(row, 5)?.map(u32::try_from).transpose().map_err(wrong)?,
                location: get(row, 6)?,
                body: optional_text(row, 7)?,
            }))
        };
        found.iter().map(answer).collect()
    }

    async fn tokens(&mut self) -> Result<Vec<Row>, Failure> {
        let after = match &self.last {
            Some(Row::Token(token)) => bytes::Bytes::copy_from_slice(&token.token.0),
            _ => bytes::Bytes::new(),
        };
        let sql = "SELECT token, last_used FROM scim.token_use WHERE tenant = $1 AND token > $2
                   ORDER BY token LIMIT $3";
        let tenant = name(&self.name);
        let found = self.query(sql, [tenant, after.into(), limit(self.rows)]).await?;
        let token = |row| {
            let last_used = Timestamp::from_second(get(row, 1)?).unwrap_or(Timestamp::UNIX_EPOCH);
            Ok(Row::Token(Token { token: hex(row, 0)?, last_used }))
        };
        found.iter().map(token).collect()
    }
}

/// How much a row holds, more or less.
fn size(row: &Row) -> usize {
    let json = |json: &Option<Box<RawValue>>| json.as_ref().map_or(0, |json| json.get().len());
    100 + match row {
        Row::Resource(row) => row.body.get().len(),
        Row::Retained(row) => row.body.get().len(),
        Row::Change(row) => json(&row.members) + json(&row.values),
        Row::Answer(row) => row.body.as_ref().map_or(0, String::len),
        Row::Members(_) | Row::Awaited(_) | Row::Token(_) => 0,
    }
}

#[async_trait]
impl Exporter for PostgresExporter {
    async fn tenants(&mut self) -> Result<Vec<TenantKey>, StoreError> {
        let mut link = self.pool.link(Instant::now() + STEP).await?;
        let sql = "SELECT d.name, t.head, t.counts FROM scim.directory d
                   JOIN scim.tenant t ON t.tenant = d.tenant AND t.live ORDER BY d.name COLLATE \"C\"";
        let mut written = Vec::new();
        for row in &link.query(sql, []).await? {
            if get::<i64>(row, 1)? > 0 || counts(get(row, 2)?)?.values().any(|count| *count > 0) {
                written.push(TenantKey(get::<&str>(row, 0)?.into()));
            }
        }
        Ok(written)
    }

    async fn open(&mut self, tenant: &TenantKey) -> Result<Option<(Tenant, Totals)>, StoreError> {
        Ok(self.begin(tenant).await?)
    }

    async fn seek(&mut self, section: Section, after: Option<&Row>) -> Result<bool, StoreError> {
        let Some(open) = &mut self.open else { return Ok(false) };
        Ok(open.seek(section, after).await?)
    }

    async fn next(&mut self) -> Result<Vec<Row>, StoreError> {
        let Some(open) = &mut self.open else { return Ok(Vec::new()) };
        Ok(open.next().await?)
    }
}
