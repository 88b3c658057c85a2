//! SQLite only: what becomes of a data directory that cannot be served from, and what a restart keeps.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use scim_operator::scim::resource::Load;
use scim_operator::scim::schema::Registry;
use scim_operator::store::Store;
use scim_operator::store::sqlite::{OpenError, SqliteStore};
use serde_json::json;

use crate::backend;
use crate::fixture::Tenant;

#[track_caller]
fn refused(directory: &Path) -> OpenError {
    match SqliteStore::open(directory) {
        Err(error) => error,
        Ok(_) => panic!("{} was opened", directory.display()),
    }
}

/// A closed store with some users in it.
async fn filled() -> tempfile::TempDir {
    let backend = backend::sqlite();
    let acme = Tenant::acme(&backend);
    for number in 0..200 {
        acme.user(json!({"userName": format!("user{number}"), "title": "x".repeat(900)})).await;
    }
    backend.store.close().await;
    backend.into_directory()
}

#[tokio::test]
async fn reopened_store_has_what_was_written() {
    let directory = filled().await;
    let store = SqliteStore::open(directory.path()).unwrap();
    let key = store.cursor_key().await.unwrap();
    assert_eq!(store.count(&crate::fixture::tenant_key("identity/acme"), "User").await.unwrap(), 200);
    store.close().await;
    assert!(!directory.path().join("scim.db-wal").exists(), "closing folds the log into the database");
    assert_eq!(SqliteStore::open(directory.path()).unwrap().cursor_key().await.unwrap(), key);
}

#[tokio::test]
async fn dropped_store_has_what_was_acknowledged() {
    let backend = backend::sqlite();
    let id = Tenant::acme(&backend).named("ann").await;
    let directory = backend.into_directory();
    let user = Registry::core().by_name("User").unwrap().clone();
    let mut store = SqliteStore::open(directory.path());
    for _ in 0..100 {
        // The lock goes when the last of the dropped store does.
        if !matches!(store, Err(OpenError::Locked { .. })) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        store = SqliteStore::open(directory.path());
    }
    let tenant = crate::fixture::tenant_key("identity/acme");
    assert!(store.unwrap().get(&tenant, &user, &id, Load::ALL).await.unwrap().is_some());
}

#[tokio::test]
async fn files_are_for_their_owner_only() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("new/data");
    let store = SqliteStore::open(&directory).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    for file in fs::read_dir(&directory).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    store.close().await;
}

#[tokio::test]
async fn directory_in_use_is_refused_until_it_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let error = refused(directory.path());
    assert!(matches!(error, OpenError::Locked { .. }));
    assert!(error.to_string().contains("in use by another process"), "{error}");
    store.close().await;
    SqliteStore::open(directory.path()).unwrap();
}

#[test]
fn directory_that_is_a_file_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = refused(file.path());
    assert!(matches!(error, OpenError::Directory { .. }));
    assert!(error.to_string().contains(&file.path().display().to_string()));
}

#[test]
fn file_of_another_kind_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("scim.db");
    let text = "This is a letter, not a database. ".repeat(200);
    fs::write(&path, &text).unwrap();
    assert!(matches!(refused(directory.path()), OpenError::Foreign { .. }));
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn database_of_another_program_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("scim.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("CREATE TABLE resource (x)").unwrap();
    drop(connection);
    let before = fs::read(&path).unwrap();
    assert!(matches!(refused(directory.path()), OpenError::Foreign { .. }));
    assert!(fs::read(&path).unwrap() == before, "the file was changed");
}

#[tokio::test]
async fn newer_database_is_refused_and_left_alone() {
    let directory = filled().await;
    let path = directory.path().join("scim.db");
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = refused(directory.path());
    assert!(matches!(error, OpenError::Newer { found: 99, .. }));
    assert!(error.to_string().contains("schema version 99"), "{error}");
}

#[tokio::test]
async fn damaged_database_is_refused() {
    let directory = filled().await;
    let mut file = fs::OpenOptions::new().write(true).open(directory.path().join("scim.db")).unwrap();
    file.seek(SeekFrom::Start(4096)).unwrap();
    file.write_all(&vec![0x5a; 40_000]).unwrap();
    let error = refused(directory.path());
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("restore it from a backup"), "{error}");
}

#[tokio::test]
async fn cut_off_database_is_refused() {
    let directory = filled().await;
    let file = fs::OpenOptions::new().write(true).open(directory.path().join("scim.db")).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    let error = refused(directory.path());
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
}
