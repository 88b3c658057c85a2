//! The backends under test, each fresh and empty.

use std::sync::Arc;

use scim_operator::store::Store;
use scim_operator::store::postgres::PostgresStore;
use scim_operator::store::sqlite::SqliteStore;

use crate::database::{self, Database};
use crate::in_turn::InTurn;
use crate::pgbouncer;

/// A store and what lives as long as it.
pub(crate) struct Backend {
    /// The store.
    pub(crate) store: Arc<dyn Store>,
    data: Data,
}

/// Where a store keeps its data.
enum Data {
    Directory(tempfile::TempDir),
    Database(#[expect(dead_code, reason = "it is dropped after the store")] Database),
}

/// SQLite in a temporary directory.
pub(crate) fn sqlite() -> Backend {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(directory.path()).unwrap());
    Backend { store, data: Data::Directory(directory) }
}

/// Three servers on one PostgreSQL, asked in turn, in a database of its own; one of them by way of `PgBouncer`.
pub(crate) fn postgres() -> Backend {
    let database = database::database();
    let pooled = PostgresStore::new(database::settings(pgbouncer::url(&database.name))).unwrap();
    let servers = InTurn::new(vec![database.store(), database.store(), pooled]);
    Backend { store: Arc::new(servers), data: Data::Database(database) }
}

impl Backend {
    /// Drops the store and keeps its files.
    pub(crate) fn into_directory(self) -> tempfile::TempDir {
        match self.data {
            Data::Directory(directory) => directory,
            Data::Database(_) => panic!("this store is not in a directory"),
        }
    }
}
