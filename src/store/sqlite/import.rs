//! Writing tenants of an export into a data directory, which no server uses meanwhile: the directory is locked.
//! A tenant has a name that nobody knows until it is whole.

use std::fs::File;
use std::path::Path;

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use super::failure::{OpenError, Sql, failed};
use super::rows::{counts_of, tenant_key};
use super::{changes, leavers, lock, schema, shape};
use crate::scim::resource::Attributes;
use crate::store::lifecycle::names;
use crate::store::transaction::display;
use crate::store::transfer::{
    Answer, Awaited, Change, Found, Hex, ImportError, Imported, Importer, Mark, Members, Resource, Retained,
    Row, Shapes, Staged, Tenant, Token, imported_name, in_words, note, read_note, staging_name,
};
use crate::store::{StoreError, TenantKey};

/// A data directory that tenants are imported into.
pub struct SqliteImporter {
    connection: Connection,
    current: Option<Current>,
    /// Held so that no server writes.
    _lock: File,
}

/// The tenant that is imported.
struct Current {
    name: TenantKey,
    staged: Staged,
    shapes: Shapes,
}

impl SqliteImporter {
    /// Opens the database of a data directory; both are made when they are not there.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let (lock, path) = lock(directory)?;
        Ok(Self { connection: schema::open_writer(&path)?, current: None, _lock: lock })
    }

    fn noted(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT value FROM meta WHERE name = ?1";
        self.connection.query_row(sql, [name], |row| row.get(0)).optional().map_err(failed)
    }

    /// Runs something all or none.
    fn transact<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> Result<T, ImportError>,
    ) -> Result<T, ImportError> {
        let transaction = self.connection.transaction().map_err(failed)?;
        let done = work(&transaction)?;
        transaction.commit().map_err(failed)?;
        Ok(done)
    }
}

fn write_note(connection: &Connection, name: &str, value: &[u8]) -> Result<(), StoreError> {
    let sql = "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value";
    connection.execute(sql, params![name, value]).map(drop).map_err(failed)
}

/// What a statement's failure says of a row.
fn row_failed(line: u64, what: &str, error: rusqlite::Error) -> ImportError {
    if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) {
        let reason = format!("{what} is there twice, or contradicts what was before it");
        return ImportError::Row { line, reason };
    }
    failed(error).into()
}

impl Current {
    fn add(&self, connection: &Connection, line: u64, row: &Row) -> Result<(), ImportError> {
        match row {
            Row::Resource(row) => self.resource(connection, line, row),
            Row::Members(row) => self.members(connection, line, row),
            Row::Retained(row) => self.retained(connection, line, row),
            Row::Change(row) => {
                self.change(connection, row).map_err(|error| row_failed(line, "this change", error))
            }
            Row::Awaited(row) => {
                self.awaited(connection, row).map_err(|error| row_failed(line, "this membership", error))
            }
            Row::Answer(row) => {
                self.answer(connection, row).map_err(|error| row_failed(line, "this answer", error))
            }
            Row::Token(row) => {
                self.token(connection, row).map_err(|error| row_failed(line, "this token", error))
            }
        }
    }

    fn resource(&self, connection: &Connection, line: u64, row: &Resource) -> Result<(), ImportError> {
        let Resource { resource_type, id, version, created, last_modified, body } = row;
        let attributes = attributes(line, body.get())?;
        let what = format!("{resource_type} {id:?}");
        let insert = || {
            let sql =
                "INSERT INTO resource (tenant, type, id, version, created, last_modified, display, body)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            connection.prepare_cached(sql)?.execute(params![
                self.staged.tenant,
                resource_type,
                id,
                version.cast_signed(),
                created.as_millisecond(),
                last_modified.as_millisecond(),
                display(&attributes),
                body.get().as_bytes(),
            ])?;
            let key = connection.last_insert_rowid();
            for entry in self.shapes.entries(resource_type, &attributes) {
                shape::add(connection, self.staged.tenant, key, &entry)?;
            }
            Ok(())
        };
        insert().map_err(|error| row_failed(line, &what, error))
    }

    fn members(&self, connection: &Connection, line: u64, row: &Members) -> Result<(), ImportError> {
        let Members { group, members } = row;
        let tenant = self.staged.tenant;
        let group_key = self.key(connection, "Group", group)?;
        let unknown =
            |what: &str| ImportError::Row { line, reason: format!("there is no {what} before this line") };
        let group_key = group_key.ok_or_else(|| unknown(&format!("group {group:?}")))?;
        let sql = "INSERT INTO member (tenant, \"group\", member) VALUES (?1, ?2, ?3)";
        let mut insert = connection.prepare_cached(sql).map_err(failed)?;
        for member in members {
            let key = match self.key(connection, "User", member)? {
                Some(key) => Some(key),
                None => self.key(connection, "Group", member)?,
            };
            let key = key.ok_or_else(|| unknown(&format!("member {member:?}")))?;
            let inserted = insert.execute([tenant, group_key, key]);
            inserted.map_err(|error| row_failed(line, &format!("member {member:?}"), error))?;
        }
        Ok(())
    }

    fn key(&self, connection: &Connection, kind: &str, id: &str) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT key FROM resource WHERE tenant = ?1 AND type = ?2 AND id = ?3";
        let mut statement = connection.prepare_cached(sql).map_err(failed)?;
        statement
            .query_row(params![self.staged.tenant, kind, id], |row| row.get(0))
            .optional()
            .map_err(failed)
    }

    fn retained(&self, connection: &Connection, line: u64, row: &Retained) -> Result<(), ImportError> {
        let Retained { resource_type, id, version, created, deleted, body } = row;
        let attributes = attributes(line, body.get())?;
        let insert = || {
            let sql = "INSERT INTO retained (tenant, type, id, version, created, deleted, body)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            connection.prepare_cached(sql)?.execute(params![
                self.staged.tenant,
                resource_type,
                id,
                version.cast_signed(),
                created.as_millisecond(),
                deleted.as_millisecond(),
                body.get().as_bytes(),
            ])?;
            let key = connection.last_insert_rowid();
            let sql = "INSERT INTO retained_name (tenant, attribute, value, retained) VALUES (?1, ?2, ?3, ?4)
                       ON CONFLICT DO NOTHING";
            for name in names(resource_type, &attributes) {
                connection.prepare_cached(sql)?.execute(params![
                    self.staged.tenant,
                    name.attribute,
                    name.value,
                    key
                ])?;
            }
            Ok(())
        };
        insert().map_err(|error| row_failed(line, &format!("retained {resource_type} {id:?}"), error))
    }

    fn change(&self, connection: &Connection, row: &Change) -> Sql<()> {
        let sql =
            "INSERT INTO change (place, time, operation, type, id, before, after, actor, client, request,
                                       attributes, members, \"values\")
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
        let inserted = connection.prepare_cached(sql)?.execute(params![
            changes::place(self.staged.tenant, row.sequence),
            row.time.as_millisecond(),
            row.operation.code(),
            row.resource_type,
            row.id,
            row.before.map(u64::cast_signed),
            row.after.map(u64::cast_signed),
            row.actor,
            row.client,
            row.request,
            row.paths(),
            row.members.as_ref().map(|json| json.get()),
            row.values.as_ref().map(|json| json.get()),
        ]);
        inserted.map(drop)
    }

    fn awaited(&self, connection: &Connection, row: &Awaited) -> Sql<()> {
        let Awaited { group, member, former } = row;
        let sql = "INSERT INTO awaited (tenant, \"group\", member, former) VALUES (?1, ?2, ?3, ?4)";
        let tenant = self.staged.tenant;
        connection.prepare_cached(sql)?.execute(params![tenant, group, member, former]).map(drop)
    }

    fn answer(&self, connection: &Connection, row: &Answer) -> Sql<()> {
        let Answer { key, request, answered, status, version, related, location, body } = row;
        let sql =
            "INSERT INTO answer (tenant, name, request, answered, status, version, related, location, body)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let inserted = connection.prepare_cached(sql)?.execute(params![
            self.staged.tenant,
            key.0,
            request.0,
            answered.as_millisecond(),
            status,
            version.map(u64::cast_signed),
            related,
            location,
            body.as_ref().map(String::as_bytes),
        ]);
        inserted.map(drop)
    }

    fn token(&self, connection: &Connection, row: &Token) -> Sql<()> {
        let sql = "INSERT INTO token_use (tenant, token, last_used) VALUES (?1, ?2, ?3)
                   ON CONFLICT DO UPDATE SET last_used = max(last_used, excluded.last_used)";
        let values = params![&*self.name.0, row.token.0, row.last_used.as_second()];
        connection.prepare_cached(sql)?.execute(values).map(drop)
    }
}

/// A body's attributes.
fn attributes(line: u64, body: &str) -> Result<Attributes, ImportError> {
    serde_json::from_str(body)
        .map_err(|error| ImportError::Row { line, reason: format!("the body is no JSON object: {error}") })
}

#[async_trait]
impl Importer for SqliteImporter {
    async fn look(&mut self, tenant: &TenantKey) -> Result<Found, ImportError> {
        let key = tenant_key(&self.connection, tenant).map_err(failed)?;
        if let Some(key) = key {
            let counts = counts_of(&self.connection, key).map_err(failed)?;
            let (_, head, _) = changes::newest(&self.connection, key).map_err(failed)?;
            if let Some(words) = in_words(&counts, head) {
                let imported = self.noted(&imported_name(tenant))?;
                let imported: Option<Imported> = imported.as_deref().map(read_note).transpose()?;
                return Ok(match imported.filter(|imported| imported.tenant == key) {
                    Some(imported) => Found::Imported(imported.digest),
                    None => Found::Other(words),
                });
            }
        }
        match self.noted(&staging_name(tenant))? {
            Some(staged) => Ok(Found::Partly(read_note::<Staged>(&staged)?.mark)),
            None => Ok(Found::Nothing),
        }
    }

    async fn begin(&mut self, tenant: &Tenant) -> Result<(), ImportError> {
        let name = TenantKey(tenant.name.as_str().into());
        let staging = staging_name(&name);
        let shapes = tenant.shapes.clone();
        let staged = self.transact(|connection| {
            // What is nameless goes when a server next looks after removed tenants.
            let sql = "UPDATE tenant SET name = NULL WHERE name = ?1";
            connection.execute(sql, [&staging]).map_err(failed)?;
            connection.execute("INSERT INTO tenant (name) VALUES (?1)", [&staging]).map_err(failed)?;
            let mark = Mark { chunks: 0, digest: Hex([0; 32]) };
            let staged = Staged { tenant: connection.last_insert_rowid(), mark, next_key: 0 };
            write_note(connection, &staging, &note(&staged)?)?;
            Ok(staged)
        })?;
        self.current = Some(Current { name, staged, shapes });
        Ok(())
    }

    async fn go_on(&mut self, tenant: &Tenant) -> Result<(), ImportError> {
        let name = TenantKey(tenant.name.as_str().into());
        let staged = self.noted(&staging_name(&name))?;
        let staged = staged.ok_or_else(|| ImportError::Refused("the import has ended meanwhile".into()))?;
        let staged = read_note(&staged)?;
        self.current = Some(Current { name, staged, shapes: tenant.shapes.clone() });
        Ok(())
    }

    async fn add(&mut self, rows: Vec<(u64, Row)>, mark: Mark) -> Result<(), ImportError> {
        let Some(mut current) = self.current.take() else { return Err(none_begun()) };
        current.staged.mark = mark;
        self.transact(|connection| {
            for (line, row) in &rows {
                current.add(connection, *line, row)?;
            }
            write_note(connection, &staging_name(&current.name), &note(&current.staged)?)?;
            Ok(())
        })?;
        self.current = Some(current);
        Ok(())
    }

    async fn finish(&mut self, tenant: &Tenant, digest: Hex<32>) -> Result<(), ImportError> {
        let Some(current) = self.current.take() else { return Err(none_begun()) };
        self.transact(|connection| {
            let Current { name, staged: Staged { tenant: key, .. }, .. } = &current;
            finish(connection, *key, &name.0, tenant).map_err(failed)?;
            let sql = "DELETE FROM meta WHERE name = ?1";
            connection.execute(sql, [staging_name(name)]).map_err(failed)?;
            write_note(connection, &imported_name(name), &note(&Imported { tenant: *key, digest })?)?;
            Ok(())
        })
    }
}

fn none_begun() -> ImportError {
    StoreError::Internal("no import of a tenant has begun".into()).into()
}

/// Gives a tenant its name, and counts what it has.
fn finish(connection: &Connection, key: i64, name: &str, tenant: &Tenant) -> Sql<()> {
    connection.execute("UPDATE tenant SET name = NULL WHERE name = ?1", [name])?;
    connection.execute(
        "UPDATE tenant SET name = ?2, pruned = ?3 WHERE key = ?1",
        params![key, name, tenant.pruned.cast_signed()],
    )?;
    for (kind, shape) in &tenant.shapes.0 {
        shape::store(connection, key, kind, shape)?;
    }
    connection.execute(
        "INSERT INTO counter (tenant, type, n) SELECT tenant, type, count(*) FROM resource WHERE tenant = ?1
         GROUP BY type",
        [key],
    )?;
    leavers::count_all(connection, key)
}
