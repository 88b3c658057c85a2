//! The database file: its settings and its schema, moved forward one migration at a time. A migration
//! is never edited once released; `user_version` counts those that are done.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::failure::{OpenError, Sql};

/// `SCIM` in ASCII: tells our files from other programs'.
const APPLICATION_ID: i32 = 0x5343_494D;

/// Databases up to this size are checked whole when they are opened; it takes some 20 ms.
const CHECKED_BYTES: i64 = 16 << 20;

/// The migrations, in order: the first makes version 1.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_initial.sql"),
    include_str!("migrations/0002_idempotency.sql"),
    include_str!("migrations/0003_audit.sql"),
    include_str!("migrations/0004_leavers.sql"),
    include_str!("migrations/0005_shape.sql"),
    include_str!("migrations/0006_token_use.sql"),
];

/// Opens the one connection that writes, and brings the schema up to date.
pub(super) fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    let failed = |error| OpenError::from_sqlite(path.to_owned(), &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(failed)?;
    check_file(&connection, path)?;
    configure(&connection).map_err(failed)?;
    migrate(&mut connection, MIGRATIONS).map_err(failed)?;
    Ok(connection)
}

/// Opens a connection that only reads, for a program that may not be the one that writes.
pub(super) fn open_beside(path: &Path) -> Result<Connection, OpenError> {
    let failed = |error| OpenError::from_sqlite(path.to_owned(), &error);
    let connection = open_reader(path, 0).map_err(failed)?;
    let found = check_origin(&connection, path)?;
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    if found < known {
        return Err(OpenError::Older { path: path.to_owned(), found, known });
    }
    Ok(connection)
}

/// Opens a connection that only reads.
pub(super) fn open_reader(path: &Path, mmap_bytes: i64) -> Sql<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    keep_plans(&connection)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // Room for the inner pages of the indexes of a million users; taken only as they are read.
    connection.pragma_update(None, "cache_size", -8192)?; // KiB
    connection.pragma_update(None, "mmap_size", mmap_bytes)?;
    Ok(connection)
}

/// A statement is planned once, whatever is bound to it. Without this SQLite plans again each time a `LIMIT`
/// is bound, which costs more than reading the page.
fn keep_plans(connection: &Connection) -> Sql<()> {
    connection.set_prepared_statement_cache_capacity(64);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

fn configure(connection: &Connection) -> Sql<()> {
    keep_plans(connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // An acknowledged write is on disk, not only in the page cache of the machine.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cache_size", -8192)?; // KiB
    // Checkpoints are the writer's longest pauses: fewer of them, each over more commits.
    connection.pragma_update(None, "wal_autocheckpoint", 4000)?; // pages
    connection.pragma_update(None, "journal_size_limit", 64 << 20)
}

/// Refuses what is not ours or newer than we are; its schema version.
fn check_origin(connection: &Connection, path: &Path) -> Result<u32, OpenError> {
    let failed = |error| OpenError::from_sqlite(path.to_owned(), &error);
    let number =
        |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).map_err(failed);
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    if tables > 0 && number("application_id")? != i64::from(APPLICATION_ID) {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    let found = u32::try_from(number("user_version")?).unwrap_or(u32::MAX);
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(OpenError::Newer { path: path.to_owned(), found, known });
    }
    Ok(found)
}

/// Refuses what is not ours, newer than we are, or damaged, before anything is changed.
fn check_file(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    check_origin(connection, path)?;
    let failed = |error| OpenError::from_sqlite(path.to_owned(), &error);
    let number =
        |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).map_err(failed);
    if number("page_count")? * number("page_size")? <= CHECKED_BYTES {
        let verdict: String =
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
        if verdict != "ok" {
            let reason = verdict.lines().next_back().unwrap_or_default().to_owned();
            return Err(OpenError::Corrupt { path: path.to_owned(), reason });
        }
    }
    Ok(())
}

/// Runs the migrations that have not been run, each in a transaction of its own.
pub(super) fn migrate(connection: &mut Connection, migrations: &[&str]) -> Sql<()> {
    let done: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for (version, migration) in (1_u32..).zip(migrations).filter(|(version, _)| *version > done) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::scim::projection::Projection;
    use crate::scim::resource::Load;
    use crate::scim::schema::Registry;
    use crate::store::audit::From;
    use crate::store::sqlite::SqliteStore;
    use crate::store::{Page, Query, Store, TenantKey};

    /// Rows as each version would have written them: the first item fills version 1. A migration adds
    /// the statements that fill what it makes.
    const ROWS: &[&str] = &[
        r#"
        INSERT INTO meta VALUES ('cursor_key', x'0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20');
        INSERT INTO tenant (key, name) VALUES (1, 'identity/acme');
        INSERT INTO resource VALUES
            (1, 1, 'User', 'u1', 3, 1000, 2000, 'ann', CAST('{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"u1","userName":"Ann"}' AS BLOB)),
            (2, 1, 'Group', 'g1', 2, 1000, 1500, 'staff', CAST('{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"id":"g1","displayName":"staff"}' AS BLOB));
        INSERT INTO lookup VALUES (1, 'User.userName', 'ann', 0, 1), (1, 'Group.displayName', 'staff', 2, 2);
        INSERT INTO member VALUES (1, 2, 1);
        INSERT INTO counter VALUES (1, 'User', 1), (1, 'Group', 1);
    "#,
        "
        INSERT INTO answer VALUES (1, 1, zeroblob(32), zeroblob(32), 1000, 204, 3, NULL, NULL, NULL);
    ",
        r"
        UPDATE tenant SET pruned = 4;
        INSERT INTO change VALUES
            ((1 << 40) + 5, 2000, 3, 'User', 'u1', 2, 3, 'token', '192.0.2.1', 'r1', 'title ', NULL, NULL);
    ",
        r#"
        INSERT INTO retained VALUES (1, 1, 'User', 'u2', 1, 1000, 1500, CAST('{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"u2","userName":"Bob"}' AS BLOB));
        INSERT INTO retained_name VALUES (1, 'User.userName', 'bob', 1);
        INSERT INTO awaited VALUES (1, 'g1', 'u2', 1), (1, 'g1', 'u3', 0);
        INSERT INTO counter VALUES (1, 'retained resources', 1), (1, 'pending members', 1);
    "#,
        r#"
        INSERT INTO shape VALUES (1, 'User', '{"indexes":["User.userName","User.externalId","User.displayName","User.emails.value"],"leaving":[],"attributes":[],"duplicates":{}}');
        "#,
        "INSERT INTO token_use VALUES ('identity/acme', x'0102030405060708', 1000);",
    ];

    #[tokio::test]
    async fn database_of_every_older_version_opens_with_its_rows() {
        assert_eq!(ROWS.len(), MIGRATIONS.len(), "each migration needs rows of the version it makes");
        for version in 1..=MIGRATIONS.len() {
            let directory = tempfile::tempdir().unwrap();
            let mut connection = Connection::open(directory.path().join("scim.db")).unwrap();
            migrate(&mut connection, &MIGRATIONS[..version]).unwrap();
            for rows in &ROWS[..version] {
                connection.execute_batch(rows).unwrap();
            }
            drop(connection);

            let store = SqliteStore::open(directory.path()).unwrap();
            let acme = TenantKey("identity/acme".into());
            let user = Registry::core().by_name("User").map(Arc::clone).unwrap();
            let ann = store.get(&acme, &user, "u1", Load::ALL).await.unwrap().unwrap();
            assert_eq!((ann.version, ann.last_modified.as_millisecond()), (3, 2000));
            assert_eq!(ann.related.groups.unwrap()[0].display.as_deref(), Some("staff"));
            assert_eq!(store.cursor_key().await.unwrap()[31], 32);
            let log = store.changes(&acme, From::Oldest, 10).await.unwrap();
            assert_eq!(log.head, if version < 3 { 0 } else { 5 });
            let page = Page::Index { start_index: 1, count: 10 };
            let (types, projection) = (vec![(user, None)], Projection::Default);
            let query = Query { types, sort: None, page, projection, base_url: "".into() };
            assert_eq!(store.list(&acme, &query).await.unwrap().total, 1);
        }
    }
}
