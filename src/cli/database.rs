//! Which store `serve` uses: SQLite in the data folder, or a PostgreSQL database when one is named.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::database::Storage;
use crate::crd::PostgresTlsMode;
use crate::store::Store;
use crate::store::metrics::StoreMetrics;
use crate::store::postgres::{Authorities, PostgresStore, Settings, TlsMode, Url};
use crate::store::sqlite::SqliteStore;

/// What the servers of an endpoint remember of resources, well below the memory that their pods may use.
const CACHE_BYTES: usize = 32 << 20;

/// A PostgreSQL database in place of the data folder's own, and of the one that manifests name.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "PostgreSQL")]
pub struct Database {
    /// File that holds the URL of a PostgreSQL database, `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`; any number of
    /// servers may use one. It is read again for each connection
    #[arg(long, value_name = "FILE")]
    pub database_url_file: Option<PathBuf>,
    /// How connections to the database are protected
    #[arg(long, value_enum, default_value_t = Tls::VerifyFull, requires = "database_url_file")]
    pub database_tls: Tls,
    /// PEM file of the certificate authorities to trust for the database; the system's when absent
    #[arg(long, value_name = "FILE", requires = "database_url_file")]
    pub database_ca: Option<PathBuf>,
    /// Connections to the database at most
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..), requires = "database_url_file")]
    pub database_connections: u16,
    /// Megabytes of resources to remember, so that reading what has not changed fetches nothing; 0 remembers none.
    /// Whether it has changed is asked each time
    #[arg(long, value_name = "N", default_value_t = 32, requires = "database_url_file")]
    pub database_cache_mb: u16,
}

/// How connections to the database are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Tls {
    /// Not at all
    Disable,
    /// Encrypted; whoever answers is believed
    Require,
    /// Encrypted, and the server's certificate is checked, with its name
    VerifyFull,
}

/// Opens the store that the manifests name, unless the command line does.
pub fn open_as(
    database: &Database,
    data: &Path,
    storage: Option<&Storage>,
) -> anyhow::Result<(Arc<dyn Store>, StoreMetrics)> {
    let Some(Storage::Postgres(named)) = storage.filter(|_| database.database_url_file.is_none()) else {
        return open(database, data);
    };
    let tls = match named.tls {
        PostgresTlsMode::Disable => TlsMode::Disable,
        PostgresTlsMode::Require => TlsMode::Require,
        PostgresTlsMode::VerifyFull => TlsMode::VerifyFull,
    };
    let (url, ca) = (Url::Text(named.url.clone()), named.ca.clone().map(Authorities::Pem));
    postgres(Settings { url, tls, ca, max_size: named.connections.into(), cache_bytes: CACHE_BYTES })
}

fn postgres(settings: Settings) -> anyhow::Result<(Arc<dyn Store>, StoreMetrics)> {
    let store = PostgresStore::new(settings)?;
    let metrics = store.metrics().clone();
    Ok((Arc::new(store), metrics))
}

/// Opens the store: its figures beside it.
pub fn open(database: &Database, data: &Path) -> anyhow::Result<(Arc<dyn Store>, StoreMetrics)> {
    let Some(settings) = settings(database) else {
        let store = SqliteStore::open(data)?;
        let metrics = store.metrics().clone();
        return Ok((Arc::new(store), metrics));
    };
    postgres(settings)
}

/// What an export reads from, or an import writes to.
pub enum Transfer {
    /// The database of the data folder.
    Folder,
    /// A PostgreSQL database.
    Postgres(Box<PostgresStore>),
}

/// Which store is meant; the data folder's own is not opened.
pub fn transfer(database: &Database) -> anyhow::Result<Transfer> {
    Ok(match settings(database) {
        Some(settings) => Transfer::Postgres(Box::new(PostgresStore::new(settings)?)),
        None => Transfer::Folder,
    })
}

/// How to reach the PostgreSQL database that the command line names.
fn settings(database: &Database) -> Option<Settings> {
    let url = database.database_url_file.as_ref()?;
    let tls = match database.database_tls {
        Tls::Disable => TlsMode::Disable,
        Tls::Require => TlsMode::Require,
        Tls::VerifyFull => TlsMode::VerifyFull,
    };
    let (url, ca) = (Url::File(url.clone()), database.database_ca.clone().map(Authorities::File));
    let cache_bytes = usize::from(database.database_cache_mb) << 20;
    let max_size = database.database_connections.into();
    Some(Settings { url, tls, ca, max_size, cache_bytes })
}
