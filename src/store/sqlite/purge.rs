//! Purging a removed tenant: its name is taken from its data in one step, so that it is gone at once and
//! the name is free, and the rows follow in small batches between which others write.

use std::collections::HashSet;
use std::sync::PoisonError;

use rusqlite::{Connection, params};

use super::batch::make_tenant;
use super::changes;
use super::failure::Sql;
use super::shape::Shapes;
use super::writer::{Tenants, Writer};
use crate::store::{StoreError, TenantKey};

/// Rows removed in one transaction: a few milliseconds.
const BATCH: i64 = 1000;

/// Remembers what is to become of a tenant's data.
pub(super) async fn mark(
    writer: &Writer,
    tenants: &Tenants,
    tenant: &TenantKey,
    purge: bool,
) -> Result<(), StoreError> {
    let name = tenant.clone();
    let key = writer
        .run(move |connection| {
            let key = make_tenant(connection, &name)?;
            connection
                .execute("UPDATE tenant SET purge_on_removal = ?2 WHERE key = ?1", params![key, purge])?;
            Ok(key)
        })
        .await?;
    tenants.write().unwrap_or_else(PoisonError::into_inner).insert(tenant.clone(), key);
    Ok(())
}

/// Purges the tenants that are marked and not among `served`, with `removed` of these only, and what an earlier purge left.
pub(super) async fn purge_removed(
    writer: &Writer,
    tenants: &Tenants,
    shapes: &Shapes,
    served: &[TenantKey],
    removed: Option<&[TenantKey]>,
) -> Result<Vec<TenantKey>, StoreError> {
    let served: HashSet<TenantKey> = served.iter().cloned().collect();
    let only: Option<HashSet<TenantKey>> = removed.map(|removed| removed.iter().cloned().collect());
    let known = tenants.clone();
    let (purged, keys) = writer
        .run(move |connection| {
            let purged = detach(connection, &served, only.as_ref())?;
            // Within the writer's turn: no write can take the old key up again.
            let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
            for tenant in &purged {
                known.remove(tenant);
            }
            let mut statement = connection.prepare("SELECT key FROM tenant WHERE name IS NULL")?;
            let keys: Vec<i64> = statement.query_map([], |row| row.get(0))?.collect::<Sql<_>>()?;
            Ok((purged, keys))
        })
        .await?;
    for key in keys {
        shapes.forget(key);
        while !writer.run(move |connection| remove_some(connection, key)).await? {}
    }
    Ok(purged)
}

/// The tenants that are marked.
pub(super) fn marked(connection: &Connection) -> Sql<Vec<TenantKey>> {
    let mut statement = connection
        .prepare("SELECT name FROM tenant WHERE purge_on_removal AND name IS NOT NULL ORDER BY name")?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    names.map(|name| Ok(TenantKey(name?.into()))).collect()
}

/// Takes the names of marked tenants from their data.
fn detach(
    connection: &Connection,
    served: &HashSet<TenantKey>,
    only: Option<&HashSet<TenantKey>>,
) -> Sql<Vec<TenantKey>> {
    let mut removed = marked(connection)?;
    removed.retain(|tenant| !served.contains(tenant) && only.is_none_or(|only| only.contains(tenant)));
    for tenant in &removed {
        connection.execute("UPDATE tenant SET name = NULL WHERE name = ?1", [&*tenant.0])?;
        connection.execute("DELETE FROM token_use WHERE tenant = ?1", [&*tenant.0])?;
    }
    Ok(removed)
}

/// Removes one batch of a nameless tenant's rows; true when it was the last.
fn remove_some(connection: &Connection, tenant: i64) -> Sql<bool> {
    for sql in [
        "DELETE FROM member WHERE tenant = ?1 AND (\"group\", member) IN
             (SELECT \"group\", member FROM member WHERE tenant = ?1 LIMIT ?2)",
        "DELETE FROM lookup WHERE tenant = ?1 AND (attribute, value, slot) IN
             (SELECT attribute, value, slot FROM lookup WHERE tenant = ?1 LIMIT ?2)",
        "DELETE FROM answer WHERE key IN (SELECT key FROM answer WHERE tenant = ?1 LIMIT ?2)",
        "DELETE FROM awaited WHERE tenant = ?1 AND (\"group\", member) IN
             (SELECT \"group\", member FROM awaited WHERE tenant = ?1 LIMIT ?2)",
        "DELETE FROM retained_name WHERE tenant = ?1 AND (attribute, value, retained) IN
             (SELECT attribute, value, retained FROM retained_name WHERE tenant = ?1 LIMIT ?2)",
        "DELETE FROM retained WHERE key IN (SELECT key FROM retained WHERE tenant = ?1 LIMIT ?2)",
        "DELETE FROM resource WHERE key IN (SELECT key FROM resource WHERE tenant = ?1 LIMIT ?2)",
    ] {
        if connection.prepare_cached(sql)?.execute(params![tenant, BATCH])? > 0 {
            return Ok(false);
        }
    }
    if changes::remove_some(connection, tenant, BATCH)? > 0 {
        return Ok(false);
    }
    connection.execute("DELETE FROM shape WHERE tenant = ?1", [tenant])?;
    connection.execute("DELETE FROM counter WHERE tenant = ?1", [tenant])?;
    connection.execute("DELETE FROM tenant WHERE key = ?1", [tenant])?;
    Ok(true)
}
