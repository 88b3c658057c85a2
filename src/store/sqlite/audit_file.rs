//! The audit log of a data directory, read from outside the server: a connection that only reads, beside the
//! server's or without one. The directory's lock is for those who write.

use std::path::Path;

use super::changes;
use super::failure::{OpenError, Sql, failed};
use super::{rows, schema};
use crate::store::audit::{Changes, FeedError, From, MAX_CHANGES};
use crate::store::{StoreError, TenantKey};

/// The audit logs in one data directory.
pub struct AuditFile {
    connection: rusqlite::Connection,
}

impl AuditFile {
    /// Opens the database of a data directory, which must be there.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join("scim.db");
        if !path.exists() {
            return Err(OpenError::Missing { path });
        }
        Ok(Self { connection: schema::open_beside(&path)? })
    }

    /// The tenants that were ever served from this database and not purged since, ordered by name.
    pub fn tenants(&self) -> Result<Vec<TenantKey>, StoreError> {
        rows::tenants(&self.connection).map_err(failed)
    }

    /// Some of a tenant's log, as [`crate::store::Store::changes`] gives it.
    pub fn changes(&self, tenant: &TenantKey, from: From, limit: usize) -> Result<Changes, FeedError> {
        // One moment for all that is read.
        let moment = self.connection.unchecked_transaction().map_err(failed)?;
        match rows::tenant_key(&moment, tenant).map_err(failed)? {
            Some(key) => changes::read(&moment, key, from, limit.min(MAX_CHANGES))?,
            None => changes::nothing(from),
        }
    }

    /// A number that is another whenever somebody else has committed something.
    pub fn data_version(&self) -> Result<i64, StoreError> {
        let read: Sql<i64> = self.connection.pragma_query_value(None, "data_version", |row| row.get(0));
        read.map_err(failed)
    }
}
