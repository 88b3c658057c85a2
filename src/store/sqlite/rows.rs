//! Reading rows: what the writer's transaction and the readers have in common.

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::failure::{Sql, failed};
use super::reader::ReadError;
use crate::scim::member::{GroupRef, Member};
use crate::scim::resource::{Related, View};
use crate::scim::schema::ResourceType;
use crate::store::transaction::Row;
use crate::store::{Count, StoreError, TenantKey};

/// The columns of [`row`] and [`Listed::of`], of `resource r`.
macro_rules! columns {
    () => {
        "r.key, r.version, r.created, r.last_modified, r.body, r.id"
    };
}
pub(super) use columns;

/// A row of [`columns`].
fn row(row: &rusqlite::Row<'_>) -> Sql<Row> {
    let body = row.get_ref(4)?.as_bytes()?;
    Ok(Row {
        key: row.get(0)?,
        version: row.get::<_, i64>(1)?.cast_unsigned(),
        created: time(row, 2)?,
        last_modified: time(row, 3)?,
        body: Bytes::copy_from_slice(body),
    })
}

/// A row found by other means than its id, where it lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listed<'r> {
    pub key: i64,
    pub version: u64,
    pub created: Timestamp,
    pub last_modified: Timestamp,
    pub body: &'r [u8],
    pub id: &'r str,
}

impl<'r> Listed<'r> {
    /// From a row of [`columns`].
    pub(super) fn of(row: &'r rusqlite::Row<'_>) -> Sql<Self> {
        Ok(Self {
            key: row.get_ref(0)?.as_i64()?,
            version: row.get_ref(1)?.as_i64()?.cast_unsigned(),
            created: time(row, 2)?,
            last_modified: time(row, 3)?,
            body: row.get_ref(4)?.as_bytes()?,
            id: row.get_ref(5)?.as_str()?,
        })
    }

    /// The resource of this row.
    pub(super) fn view(self, resource_type: &'r ResourceType, related: &'r Related) -> View<'r> {
        let Self { key: _, version, created, last_modified, body, id } = self;
        View { resource_type, id, version, created, last_modified, body, related }
    }
}

/// Visits the row of a key.
pub(super) fn by_key<T>(
    connection: &Connection,
    key: i64,
    visit: impl FnOnce(Listed<'_>) -> Result<T, ReadError>,
) -> Result<T, ReadError> {
    let sql = concat!("SELECT ", columns!(), " FROM resource r WHERE r.key = ?1");
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([key])?;
    visit(Listed::of(rows.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?)?)
}

/// A column of milliseconds since 1970.
pub(super) fn time(row: &rusqlite::Row<'_>, column: usize) -> Sql<Timestamp> {
    let milliseconds = row.get_ref(column)?.as_i64()?;
    Timestamp::from_millisecond(milliseconds)
        .map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, milliseconds))
}

/// A resource's row and whether it is a member of a group.
pub(super) fn find(
    connection: &Connection,
    tenant: i64,
    resource_type: &str,
    id: &str,
) -> Result<Option<(Row, bool)>, StoreError> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        ", EXISTS (SELECT 1 FROM member m WHERE m.tenant = r.tenant AND m.member = r.key)
         FROM resource r WHERE r.tenant = ?1 AND r.type = ?2 AND r.id = ?3"
    );
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    let found =
        statement.query_row(params![tenant, resource_type, id], |found| Ok((row(found)?, found.get(6)?)));
    found.optional().map_err(failed)
}

/// A group's members with keys above `after`, in the order of their keys.
pub(super) fn members(
    connection: &Connection,
    tenant: i64,
    group: i64,
    after: i64,
    limit: usize,
) -> Sql<Vec<(i64, Member)>> {
    let mut statement = connection.prepare_cached(
        "SELECT m.member, r.id, r.type, r.display FROM member m JOIN resource r ON r.key = m.member
         WHERE m.tenant = ?1 AND m.\"group\" = ?2 AND m.member > ?3 ORDER BY m.member LIMIT ?4",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let members = statement.query_map(params![tenant, group, after, limit], |row| {
        let member = Member { id: row.get(1)?, resource_type: row.get(2)?, display: row.get(3)? };
        Ok((row.get(0)?, member))
    })?;
    members.collect()
}

/// The groups a resource belongs to, direct and indirect, ordered by id. `UNION` drops what it has
/// seen, so groups that contain each other end.
pub(super) fn groups(connection: &Connection, tenant: i64, key: i64) -> Sql<Vec<GroupRef>> {
    let mut statement = connection.prepare_cached(
        "WITH RECURSIVE above (key, direct) AS (
             SELECT \"group\", 1 FROM member WHERE tenant = ?1 AND member = ?2
             UNION
             SELECT m.\"group\", 0 FROM above JOIN member m ON m.tenant = ?1 AND m.member = above.key
         )
         SELECT r.id, r.display, max(above.direct) FROM above JOIN resource r ON r.key = above.key
         GROUP BY r.id ORDER BY r.id",
    )?;
    let groups = statement.query_map(params![tenant, key], |row| {
        Ok(GroupRef { id: row.get(0)?, display: row.get(1)?, direct: row.get(2)? })
    })?;
    groups.collect()
}

/// Which resources are members of a group, asked for one after the other. One look along the index answers
/// up to the next key that is one, so that for most pages one look is enough.
pub(super) struct Grouped {
    tenant: i64,
    /// The last key that was looked from, and the first from there on that is a member.
    known: Option<(i64, i64)>,
}

impl Grouped {
    pub(super) fn new(tenant: i64) -> Self {
        Self { tenant, known: None }
    }

    /// Whether a resource is a member of a group.
    pub(super) fn contains(&mut self, connection: &Connection, key: i64) -> Sql<bool> {
        if let Some((from, next)) = self.known
            && (from..=next).contains(&key)
        {
            return Ok(key == next);
        }
        let mut statement =
            connection.prepare_cached("SELECT min(member) FROM member WHERE tenant = ?1 AND member >= ?2")?;
        let next: Option<i64> = statement.query_row([self.tenant, key], |row| row.get(0))?;
        let next = next.unwrap_or(i64::MAX);
        self.known = Some((key, next));
        Ok(key == next)
    }
}

/// How many resources of a type a tenant has.
pub(super) fn count(connection: &Connection, tenant: i64, resource_type: &str) -> Sql<u64> {
    let mut statement = connection.prepare_cached("SELECT n FROM counter WHERE tenant = ?1 AND type = ?2")?;
    let count: Option<i64> =
        statement.query_row(params![tenant, resource_type], |row| row.get(0)).optional()?;
    Ok(count.unwrap_or(0).cast_unsigned())
}

/// How many resources of each type the tenants have. The names of other counters have spaces.
pub(super) fn counts(connection: &Connection) -> Sql<Vec<Count>> {
    let sql = "SELECT name, type, n FROM counter JOIN tenant ON tenant.key = counter.tenant
               WHERE n > 0 AND name IS NOT NULL AND type NOT LIKE '% %'";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        Ok(Count {
            tenant: TenantKey(row.get::<_, String>(0)?.into()),
            resource_type: row.get(1)?,
            resources: row.get::<_, i64>(2)?.cast_unsigned(),
        })
    })?;
    rows.collect()
}

/// What a tenant's counters say, by name.
pub(super) fn counts_of(connection: &Connection, tenant: i64) -> Sql<Vec<(String, i64)>> {
    let mut statement =
        connection.prepare_cached("SELECT type, n FROM counter WHERE tenant = ?1 ORDER BY type")?;
    let rows = statement.query_map([tenant], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

/// The tenants that were ever served from this database and not purged since, ordered by name.
pub(super) fn tenants(connection: &Connection) -> Sql<Vec<TenantKey>> {
    // A name with a space is that of an import under way.
    let sql = "SELECT name FROM tenant WHERE name IS NOT NULL AND name NOT LIKE '% %' ORDER BY name";
    let mut statement = connection.prepare_cached(sql)?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    names.map(|name| Ok(TenantKey(name?.into()))).collect()
}

/// A tenant's key in this database.
pub(super) fn tenant_key(connection: &Connection, tenant: &TenantKey) -> Sql<Option<i64>> {
    let mut statement = connection.prepare_cached("SELECT key FROM tenant WHERE name = ?1")?;
    statement.query_row([&*tenant.0], |row| row.get(0)).optional()
}

/// The tenants that have a resource.
pub(super) fn tenants_with_data(connection: &Connection) -> Sql<Vec<TenantKey>> {
    let mut statement = connection.prepare_cached(
        "SELECT t.name FROM tenant t WHERE t.name IS NOT NULL
         AND EXISTS (SELECT 1 FROM counter c WHERE c.tenant = t.key AND c.n > 0) ORDER BY t.name",
    )?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    names.map(|name| Ok(TenantKey(name?.into()))).collect()
}
