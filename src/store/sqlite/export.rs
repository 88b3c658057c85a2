//! Reading a data directory's tenants for an export: a connection that only reads, beside a server's or without
//! one. Each tenant is read in one read transaction, so that it is of one moment.

use std::path::Path;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::value::RawValue;

use super::failure::{OpenError, Sql, failed};
use super::rows::{tenant_key, time};
use super::{changes, rows, schema};
use crate::store::audit::{Changed, Operation};
use crate::store::transfer::{
    Answer, Awaited, Change, Exporter, Hex, Members, PAGE_BYTES, PAGE_ROWS, Pair, Resource, Retained, Row,
    Section, Shapes, Tenant, Token, Totals, member_rows,
};
use crate::store::{StoreError, TenantKey};

/// Memberships read in one go: more than one row of an export may hold.
const PAIRS: usize = 4000;

/// The tenants of one data directory.
pub struct SqliteExporter {
    connection: Connection,
    open: Option<Open>,
}

/// The tenant that is read, and where.
struct Open {
    tenant: i64,
    name: String,
    section: Section,
    /// The keys of what the section reads by key, in their order: no index has them so. Eight bytes each.
    keys: Vec<i64>,
    /// How many of these were read.
    read: usize,
    /// Where else it stands: a membership, or a sequence.
    place: (i64, i64),
    /// The last row, where the section goes by what it holds.
    last: Option<Row>,
}

impl SqliteExporter {
    /// Opens the database of a data directory, which must be there.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join("scim.db");
        if !path.exists() {
            return Err(OpenError::Missing { path });
        }
        Ok(Self { connection: schema::open_beside(&path)?, open: None })
    }

    fn begin(&mut self, tenant: &TenantKey) -> Sql<Option<(Tenant, Totals)>> {
        if self.open.take().is_some() {
            self.connection.execute_batch("COMMIT")?;
        }
        self.connection.execute_batch("BEGIN")?;
        let connection = &self.connection;
        let Some(key) = tenant_key(connection, tenant)? else {
            self.connection.execute_batch("COMMIT")?;
            return Ok(None);
        };
        let (pruned, head, head_time) = changes::newest(connection, key)?;
        let mut statement = connection.prepare_cached("SELECT type, shape FROM shape WHERE tenant = ?1")?;
        let shapes = statement.query_map([key], |row| {
            let text: String = row.get(1)?;
            let shape = serde_json::from_str(&text).map_err(|error| wrong(1, error))?;
            Ok((row.get(0)?, shape))
        })?;
        let shapes = Shapes::new(shapes.collect::<Sql<Vec<_>>>()?);
        let count = |sql| connection.prepare_cached(sql)?.query_row([key], |row| row.get::<_, i64>(0));
        let totals = Totals {
            resources: count("SELECT count(*) FROM resource WHERE tenant = ?1")?.cast_unsigned(),
            memberships: count("SELECT count(*) FROM member WHERE tenant = ?1")?.cast_unsigned(),
            changes: head - pruned,
        };
        let name = tenant.0.to_string();
        self.open = Some(Open {
            tenant: key,
            name: name.clone(),
            section: Section::Resources,
            keys: Vec::new(),
            read: 0,
            place: (0, 0),
            last: None,
        });
        Ok(Some((Tenant { name, head, head_time, pruned, shapes }, totals)))
    }
}

fn wrong(column: usize, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, error.into())
}

/// A column of JSON, as it stands.
fn raw(row: &rusqlite::Row<'_>, column: usize) -> Sql<Box<RawValue>> {
    serde_json::from_slice(row.get_ref(column)?.as_bytes()?).map_err(|error| wrong(column, error))
}

fn optional_raw(row: &rusqlite::Row<'_>, column: usize) -> Sql<Option<Box<RawValue>>> {
    let text = row.get_ref(column)?.as_str_or_null().map_err(|error| wrong(column, error))?;
    text.map(|text| serde_json::from_str(text).map_err(|error| wrong(column, error))).transpose()
}

fn unsigned(row: &rusqlite::Row<'_>, column: usize) -> Sql<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

impl Open {
    fn seek(&mut self, connection: &Connection, section: Section, after: Option<&Row>) -> Sql<bool> {
        self.section = section;
        (self.keys, self.read, self.place, self.last) = (Vec::new(), 0, (0, 0), None);
        let table = match section {
            Section::Resources => "resource",
            Section::Retained => "retained",
            _ => "",
        };
        if !table.is_empty() {
            let sql = format!("SELECT key FROM {table} WHERE tenant = ?1");
            let mut statement = connection.prepare_cached(&sql)?;
            let keys = statement.query_map([self.tenant], |row| row.get(0))?;
            self.keys = keys.collect::<Sql<_>>()?;
            self.keys.sort_unstable();
        }
        let key = |table: &str, kind: &str, id: &str| {
            let sql = format!("SELECT key FROM {table} WHERE tenant = ?1 AND type = ?2 AND id = ?3");
            connection.query_row(&sql, params![self.tenant, kind, id], |row| row.get::<_, i64>(0)).optional()
        };
        match after {
            None => return Ok(true),
            Some(
                Row::Resource(Resource { resource_type, id, .. })
                | Row::Retained(Retained { resource_type, id, .. }),
            ) => {
                let Some(key) = key(table, resource_type, id)? else { return Ok(false) };
                self.read = self.keys.partition_point(|known| *known <= key);
            }
            Some(Row::Members(Members { group, members })) => {
                let last = members.last().map_or("", String::as_str);
                let group = key("resource", "Group", group)?;
                let member = match key("resource", "User", last)? {
                    Some(member) => Some(member),
                    None => key("resource", "Group", last)?,
                };
                let (Some(group), Some(member)) = (group, member) else { return Ok(false) };
                self.place = (group, member);
            }
            Some(Row::Change(Change { sequence, .. })) => self.place = (sequence.cast_signed(), 0),
            Some(row @ (Row::Awaited(_) | Row::Answer(_) | Row::Token(_))) => self.last = Some(row.clone()),
        }
        Ok(true)
    }

    fn next(&mut self, connection: &Connection) -> Sql<Vec<Row>> {
        let rows = match self.section {
            Section::Resources => return self.resources(connection),
            Section::Retained => return self.retained(connection),
            Section::Members => return self.members(connection),
            Section::Changes => return self.changes(connection),
            Section::Awaited => self.awaited(connection)?,
            Section::Answers => self.answers(connection)?,
            Section::Tokens => self.tokens(connection)?,
        };
        if let Some(last) = rows.last() {
            self.last = Some(last.clone());
        }
        Ok(rows)
    }

    fn resources(&mut self, connection: &Connection) -> Sql<Vec<Row>> {
        let mut statement = connection.prepare_cached(
            "SELECT type, id, version, created, last_modified, body FROM resource WHERE key = ?1",
        )?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        while found.len() < PAGE_ROWS && bytes < PAGE_BYTES {
            let Some(key) = self.keys.get(self.read) else { break };
            self.read += 1;
            let resource = statement.query_row([key], |row| {
                Ok(Resource {
                    resource_type: row.get(0)?,
                    id: row.get(1)?,
                    version: unsigned(row, 2)?,
                    created: time(row, 3)?,
                    last_modified: time(row, 4)?,
                    body: raw(row, 5)?,
                })
            })?;
            bytes += resource.body.get().len();
            found.push(Row::Resource(resource));
        }
        Ok(found)
    }

    fn retained(&mut self, connection: &Connection) -> Sql<Vec<Row>> {
        let mut statement = connection.prepare_cached(
            "SELECT type, id, version, created, deleted, body FROM retained WHERE key = ?1",
        )?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        while found.len() < PAGE_ROWS && bytes < PAGE_BYTES {
            let Some(key) = self.keys.get(self.read) else { break };
            self.read += 1;
            let retained = statement.query_row([key], |row| {
                Ok(Retained {
                    resource_type: row.get(0)?,
                    id: row.get(1)?,
                    version: unsigned(row, 2)?,
                    created: time(row, 3)?,
                    deleted: time(row, 4)?,
                    body: raw(row, 5)?,
                })
            })?;
            bytes += retained.body.get().len();
            found.push(Row::Retained(retained));
        }
        Ok(found)
    }

    fn members(&mut self, connection: &Connection) -> Sql<Vec<Row>> {
        let mut statement = connection.prepare_cached(
            "SELECT m.\"group\", m.member, g.id, r.id FROM member m
             JOIN resource g ON g.key = m.\"group\" JOIN resource r ON r.key = m.member
             WHERE m.tenant = ?1 AND (m.\"group\", m.member) > (?2, ?3)
             ORDER BY m.\"group\", m.member LIMIT ?4",
        )?;
        let (group, member) = self.place;
        let most = i64::try_from(PAIRS).unwrap_or(i64::MAX);
        let page = statement.query_map([self.tenant, group, member, most], |row| {
            Ok(Pair { keys: (row.get(0)?, row.get(1)?), group: row.get(2)?, member: row.get(3)? })
        })?;
        let page = page.collect::<Sql<Vec<_>>>()?;
        let more = page.len() == PAIRS;
        let rows = member_rows(page, more);
        self.place = rows.last().map_or(self.place, |(keys, _)| *keys);
        Ok(rows.into_iter().map(|(_, row)| Row::Members(row)).collect())
    }

    fn changes(&mut self, connection: &Connection) -> Sql<Vec<Row>> {
        let mut statement = connection.prepare_cached(
            "SELECT place, time, operation, type, id, before, after, actor, client, request, attributes,
                    members, \"values\"
             FROM change WHERE place > ?1 AND place < ?2 ORDER BY place LIMIT ?3",
        )?;
        let after = changes::place(self.tenant, self.place.0.cast_unsigned());
        let end = changes::place(self.tenant + 1, 0);
        let most = i64::try_from(PAGE_ROWS).unwrap_or(i64::MAX);
        let mut rows = statement.query([after, end, most])?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        while bytes < PAGE_BYTES
            && let Some(row) = rows.next()?
        {
            let code = row.get(2)?;
            let operation =
                Operation::from_code(code).ok_or(rusqlite::Error::IntegralValueOutOfRange(2, code))?;
            let version =
                |column| row.get::<_, Option<i64>>(column).map(|version| version.map(i64::cast_unsigned));
            let change = Change {
                sequence: changes::sequence(row.get(0)?),
                time: time(row, 1)?,
                operation,
                resource_type: row.get(3)?,
                id: row.get(4)?,
                before: version(5)?,
                after: version(6)?,
                actor: row.get(7)?,
                client: row.get(8)?,
                request: row.get(9)?,
                attributes: Changed::split(row.get_ref(10)?.as_str()?),
                members: optional_raw(row, 11)?,
                values: optional_raw(row, 12)?,
            };
            let long = |json: &Option<Box<RawValue>>| json.as_ref().map_or(0, |json| json.get().len());
            bytes += long(&change.members) + long(&change.values);
            self.place.0 = change.sequence.cast_signed();
            found.push(Row::Change(change));
        }
        Ok(found)
    }

    fn awaited(&self, connection: &Connection) -> Sql<Vec<Row>> {
        let mut statement = connection.prepare_cached(
            "SELECT \"group\", member, former FROM awaited
             WHERE tenant = ?1 AND (?2 IS NULL OR (\"group\", member, former) > (?2, ?3, ?4))
             ORDER BY \"group\", member, former LIMIT ?5",
        )?;
        let (group, member, former) = match &self.last {
            Some(Row::Awaited(Awaited { group, member, former })) => (Some(group), Some(member), *former),
            _ => (None, None, false),
        };
        let most = i64::try_from(PAGE_ROWS).unwrap_or(i64::MAX);
        let rows = statement.query_map(params![self.tenant, group, member, former, most], |row| {
            Ok(Row::Awaited(Awaited { group: row.get(0)?, member: row.get(1)?, former: row.get(2)? }))
        })?;
        rows.collect()
    }

    fn answers(&self, connection: &Connection) -> Sql<Vec<Row>> {
        let mut statement = connection.prepare_cached(
            "SELECT name, request, answered, status, version, related, location, body FROM answer
             WHERE tenant = ?1 AND name > ?2 ORDER BY name LIMIT ?3",
        )?;
        let after = match &self.last {
            Some(Row::Answer(answer)) => &answer.key.0[..],
            _ => &[],
        };
        let most = i64::try_from(PAGE_ROWS).unwrap_or(i64::MAX);
        let mut rows = statement.query(params![self.tenant, after, most])?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        while bytes < PAGE_BYTES
            && let Some(row) = rows.next()?
        {
            let body: Option<Vec<u8>> = row.get(7)?;
            let body = body.map(String::from_utf8).transpose().map_err(|error| wrong(7, error))?;
            bytes += body.as_ref().map_or(0, String::len);
            found.push(Row::Answer(Answer {
                key: Hex(row.get(0)?),
                request: Hex(row.get(1)?),
                answered: time(row, 2)?,
                status: row.get(3)?,
                version: row.get::<_, Option<i64>>(4)?.map(i64::cast_unsigned),
                related: row.get(5)?,
                location: row.get(6)?,
                body,
            }));
        }
        Ok(found)
    }

    fn tokens(&self, connection: &Connection) -> Sql<Vec<Row>> {
        let mut statement = connection.prepare_cached(
            "SELECT token, last_used FROM token_use WHERE tenant = ?1 AND token > ?2 ORDER BY token LIMIT ?3",
        )?;
        let after = match &self.last {
            Some(Row::Token(token)) => &token.token.0[..],
            _ => &[],
        };
        let most = i64::try_from(PAGE_ROWS).unwrap_or(i64::MAX);
        let rows = statement.query_map(params![self.name, after, most], |row| {
            let last_used = Timestamp::from_second(row.get(1)?).unwrap_or(Timestamp::UNIX_EPOCH);
            Ok(Row::Token(Token { token: Hex(row.get(0)?), last_used }))
        })?;
        rows.collect()
    }
}

#[async_trait]
impl Exporter for SqliteExporter {
    async fn tenants(&mut self) -> Result<Vec<TenantKey>, StoreError> {
        let mut written = Vec::new();
        for tenant in rows::tenants(&self.connection).map_err(failed)? {
            let has_data = || {
                let Some(key) = tenant_key(&self.connection, &tenant)? else { return Ok(false) };
                let (_, head, _) = changes::newest(&self.connection, key)?;
                let sql = "SELECT EXISTS (SELECT 1 FROM counter WHERE tenant = ?1 AND n > 0)";
                Ok(head > 0 || self.connection.query_row(sql, [key], |row| row.get(0))?)
            };
            if has_data().map_err(failed)? {
                written.push(tenant);
            }
        }
        Ok(written)
    }

    async fn open(&mut self, tenant: &TenantKey) -> Result<Option<(Tenant, Totals)>, StoreError> {
        self.begin(tenant).map_err(failed)
    }

    async fn seek(&mut self, section: Section, after: Option<&Row>) -> Result<bool, StoreError> {
        let Some(open) = &mut self.open else { return Ok(false) };
        open.seek(&self.connection, section, after).map_err(failed)
    }

    async fn next(&mut self) -> Result<Vec<Row>, StoreError> {
        let Some(open) = &mut self.open else { return Ok(Vec::new()) };
        open.next(&self.connection).map_err(failed)
    }
}
