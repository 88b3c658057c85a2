//! The backends under test, each fresh and empty.

use std::sync::Arc;

use scim_operator::store::Store;
use scim_operator::store::sqlite::SqliteStore;

/// A store and what lives as long as it.
pub(crate) struct Backend {
    /// The store.
    pub(crate) store: Arc<dyn Store>,
    directory: tempfile::TempDir,
}

/// SQLite in a temporary directory.
pub(crate) fn sqlite() -> Backend {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(directory.path()).unwrap());
    Backend { store, directory }
}

impl Backend {
    /// Drops the store and keeps its files.
    pub(crate) fn into_directory(self) -> tempfile::TempDir {
        self.directory
    }
}
