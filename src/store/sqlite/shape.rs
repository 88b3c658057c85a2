//! A tenant's schemas change: the indexes they need are built before they are served, in steps between which
//! others write, and those that nobody goes by any more are removed after.
//!
//! From the first step on, writes keep the new indexes beside those of the schemas they came with, so that
//! nothing is missed. A build that does not end leaves entries that nobody knows of; the next one begins by
//! removing them.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use rusqlite::{Connection, params};

use super::batch::make_tenant;
use super::failure::Sql;
use super::writer::{Tenants, Writer};
use crate::scim::resource::Attributes;
use crate::scim::schema::{Registry, ResourceType};
use crate::store::index::{self, Entry};
use crate::store::shape::{Prepared, Shape};
use crate::store::{StoreError, TenantKey};

/// Rows read or removed in one transaction: some milliseconds.
const BATCH: i64 = 500;

/// The types of a tenant as they are by now, by name.
pub(super) type Types = Arc<HashMap<String, Arc<ResourceType>>>;

/// What is known of tenants with schemas of their own. Cloning shares it.
#[derive(Clone, Default)]
pub(super) struct Shapes(Arc<RwLock<Known>>);

#[derive(Default)]
struct Known {
    shapes: HashMap<i64, HashMap<String, Shape>>,
    types: HashMap<i64, Types>,
}

impl Shapes {
    /// What an earlier run has left.
    pub(super) fn load(connection: &Connection) -> Sql<Self> {
        let mut known = Known::default();
        let mut statement = connection.prepare("SELECT tenant, type, shape FROM shape")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let text: String = row.get(2)?;
            let shape = serde_json::from_str(&text).map_err(|error| {
                rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Text, error.into())
            })?;
            known.shapes.entry(row.get(0)?).or_default().insert(row.get(1)?, shape);
        }
        Ok(Self(Arc::new(RwLock::new(known))))
    }

    /// The tenant's types by whose indexes writes go, where it has schemas of its own.
    pub(super) fn types(&self, tenant: i64) -> Option<Types> {
        self.read(|known| known.types.get(&tenant).cloned())
    }

    /// Forgets a tenant that is purged.
    pub(super) fn forget(&self, tenant: i64) {
        self.change(|known| {
            known.shapes.remove(&tenant);
            known.types.remove(&tenant);
        });
    }

    fn shape(&self, tenant: i64, kind: &str) -> Option<Shape> {
        self.read(|known| known.shapes.get(&tenant)?.get(kind).cloned())
    }

    fn read<T>(&self, read: impl FnOnce(&Known) -> T) -> T {
        read(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Makes a tenant's indexes ready for its types.
pub(super) async fn prepare(
    writer: &Writer,
    tenants: &Tenants,
    shapes: &Shapes,
    tenant: &TenantKey,
    types: &[Arc<ResourceType>],
) -> Result<Prepared, StoreError> {
    let known = tenants.read().unwrap_or_else(PoisonError::into_inner).get(tenant).copied();
    let core = Registry::core();
    let plain = |kind: &Arc<ResourceType>| {
        core.resource_types.iter().any(|known| Arc::ptr_eq(known, kind))
            && known.is_none_or(|key| shapes.shape(key, &kind.name).is_none())
    };
    if types.iter().all(plain) {
        // RFC 7643 as it stands, and nothing else before: what writes do by themselves.
        if let Some(key) = known {
            shapes.change(|known| known.types.remove(&key));
        }
        return Ok(Prepared::default());
    }
    let key = if let Some(key) = known {
        key
    } else {
        let name = tenant.clone();
        let key = writer.run(move |connection| make_tenant(connection, &name)).await?;
        tenants.write().unwrap_or_else(PoisonError::into_inner).insert(tenant.clone(), key);
        key
    };
    let by_name = types.iter().map(|kind| (kind.name.clone(), Arc::clone(kind))).collect();
    shapes.change(|known| known.types.insert(key, Arc::new(by_name)));
    let mut prepared = Prepared::default();
    for kind in types {
        let before = shapes.shape(key, &kind.name);
        let shape = before.clone().unwrap_or_else(|| Shape::initial(&kind.name));
        let missing = shape.missing(kind);
        build(writer, key, kind, &missing).await?;
        let (name, wanted) = (kind.name.clone(), Arc::clone(kind));
        let (after, missing) = writer
            .run(move |connection| {
                let sql = "SELECT NOT EXISTS (SELECT 1 FROM resource WHERE tenant = ?1 AND type = ?2)
                             AND NOT EXISTS (SELECT 1 FROM retained WHERE tenant = ?1 AND type = ?2)";
                let empty = connection.query_row(sql, params![key, name], |row| row.get(0))?;
                let mut after = shape.under(&wanted, empty);
                let counted: Vec<String> =
                    after.duplicates.keys().cloned().chain(missing.iter().cloned()).collect();
                for name in counted {
                    let unique = index::all(&wanted).iter().any(|index| index.name == name && index.unique);
                    let count = if unique { shared(connection, key, &name)? } else { 0 };
                    if count > 0 {
                        after.duplicates.insert(name, count);
                    } else {
                        after.duplicates.remove(&name);
                    }
                }
                if before.as_ref() != Some(&after) {
                    store(connection, key, &name, &after)?;
                }
                Ok((after, missing))
            })
            .await?;
        if after.hides(kind) {
            prepared.hidden.insert(kind.name.clone());
        }
        prepared.duplicates.extend(after.duplicates(&kind.name));
        prepared.built.extend(missing);
        shapes.change(|known| known.shapes.entry(key).or_default().insert(kind.name.clone(), after));
    }
    Ok(prepared)
}

/// Removes the entries of indexes that nobody goes by any more.
pub(super) async fn retire(
    writer: &Writer,
    tenants: &Tenants,
    shapes: &Shapes,
    tenant: &TenantKey,
) -> Result<(), StoreError> {
    let key = tenants.read().unwrap_or_else(PoisonError::into_inner).get(tenant).copied();
    let Some(key) = key else { return Ok(()) };
    let all = shapes.read(|known| known.shapes.get(&key).cloned()).unwrap_or_default();
    for (kind, mut shape) in all {
        if shape.leaving.is_empty() {
            continue;
        }
        clear(writer, key, &shape.leaving).await?;
        shape.leaving.clear();
        let (name, written) = (kind.clone(), shape.clone());
        writer.run(move |connection| store(connection, key, &name, &written)).await?;
        shapes.change(|known| known.shapes.entry(key).or_default().insert(kind, shape));
    }
    Ok(())
}

async fn build(
    writer: &Writer,
    tenant: i64,
    kind: &Arc<ResourceType>,
    names: &BTreeSet<String>,
) -> Result<(), StoreError> {
    if names.is_empty() {
        return Ok(());
    }
    clear(writer, tenant, names).await?;
    let mut after = Some(0);
    while let Some(key) = after {
        let (kind, names) = (Arc::clone(kind), names.clone());
        after = writer.run(move |connection| add_some(connection, tenant, &kind, &names, key)).await?;
    }
    Ok(())
}

async fn clear(writer: &Writer, tenant: i64, names: &BTreeSet<String>) -> Result<(), StoreError> {
    for name in names {
        loop {
            let name = name.clone();
            let removed = writer
                .run(move |connection| {
                    let sql = "DELETE FROM lookup WHERE tenant = ?1 AND attribute = ?2 AND (value, slot) IN
                                   (SELECT value, slot FROM lookup WHERE tenant = ?1 AND attribute = ?2 LIMIT ?3)";
                    connection.prepare_cached(sql)?.execute(params![tenant, name, BATCH])
                })
                .await?;
            if removed == 0 {
                break;
            }
        }
    }
    Ok(())
}

/// Adds the entries of one batch of resources; where to go on.
fn add_some(
    connection: &Connection,
    tenant: i64,
    kind: &ResourceType,
    names: &BTreeSet<String>,
    after: i64,
) -> Sql<Option<i64>> {
    let sql =
        "SELECT key, body FROM resource WHERE tenant = ?1 AND type = ?2 AND key > ?3 ORDER BY key LIMIT ?4";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![tenant, kind.name, after, BATCH], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
    })?;
    let mut last = None;
    for row in rows {
        let (key, body) = row?;
        last = Some(key);
        // A body that is not JSON is reported by whoever reads it.
        let attributes: Attributes = serde_json::from_slice(&body).unwrap_or_default();
        for entry in
            index::entries(kind, &attributes).into_iter().filter(|entry| names.contains(&entry.attribute))
        {
            add(connection, tenant, key, &entry)?;
        }
    }
    Ok(last)
}

/// Adds an entry. The first to have a value that must be unique is its owner; others have it beside.
pub(super) fn add(connection: &Connection, tenant: i64, key: i64, entry: &Entry) -> Sql<()> {
    let insert = "INSERT INTO lookup (tenant, attribute, value, slot, resource) VALUES (?1, ?2, ?3, ?4, ?5)
                  ON CONFLICT DO NOTHING";
    let mut insert = connection.prepare_cached(insert)?;
    if entry.unique {
        insert.execute(params![tenant, entry.attribute, entry.value, 0, key])?;
        let sql =
            "SELECT resource FROM lookup WHERE tenant = ?1 AND attribute = ?2 AND value = ?3 AND slot = 0";
        let owner: i64 = connection
            .prepare_cached(sql)?
            .query_row(params![tenant, entry.attribute, entry.value], |row| row.get(0))?;
        if owner == key {
            return Ok(());
        }
    }
    insert.execute(params![tenant, entry.attribute, entry.value, key, key])?;
    Ok(())
}

/// How many values of a unique index are those of another resource as well.
fn shared(connection: &Connection, tenant: i64, name: &str) -> Sql<u64> {
    let sql = "SELECT count(*) FROM lookup WHERE tenant = ?1 AND attribute = ?2 AND slot <> 0";
    let count: i64 = connection.query_row(sql, params![tenant, name], |row| row.get(0))?;
    Ok(count.cast_unsigned())
}

/// Writes down a type's shape.
pub(super) fn store(connection: &Connection, tenant: i64, kind: &str, shape: &Shape) -> Sql<()> {
    let text = serde_json::to_string(shape)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let sql = "INSERT INTO shape (tenant, type, shape) VALUES (?1, ?2, ?3)
               ON CONFLICT DO UPDATE SET shape = excluded.shape";
    connection.execute(sql, params![tenant, kind, text]).map(drop)
}
