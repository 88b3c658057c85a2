//! A tenant's schemas change: the indexes they need are built before they are served, in steps between which
//! others write, and those that nobody goes by any more are removed after.
//!
//! Servers take up a configuration one after the other, so what is indexed stands in the tenant's row, which
//! every write locks and reads: a server that still serves the schemas of before keeps the new indexes too. An
//! index's name says how to. One server builds at a time, by a lease; an index that is left stays complete
//! for as long as servers of before may go by it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::batch::{lock, number, unlock};
use super::failure::Failure;
use super::pool::{Link, Pool};
use super::tenants::{State, Tenants, random};
use super::value::{Value, bytes, get, limit};
use crate::scim::resource::Attributes;
use crate::scim::schema::{Registry, ResourceType};
use crate::store::TenantKey;
use crate::store::index::{self, Entry};
use crate::store::shape::{Prepared, Shape};

/// Rows read or removed in one transaction: some milliseconds.
const BATCH: usize = 500;

/// One step may take this long.
const STEP: Duration = Duration::from_secs(10);

/// A server that builds and does not go on for so long has died.
const LEASE: i64 = 15_000; // milliseconds

/// How long servers may take to follow a configuration: an index that was left goes after that.
const GRACE: i64 = 10 * 60 * 1000; // milliseconds

/// How often to look whether another server has built what is needed.
const LOOK: Duration = Duration::from_millis(100);

/// What is indexed of a tenant with schemas of its own: in its row, as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shapes {
    types: BTreeMap<String, Shape>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    building: Option<Building>,
    /// When an index was left last, in milliseconds.
    #[serde(default)]
    left: i64,
}

/// A build under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Building {
    /// Whose; a random number.
    owner: i64,
    /// Until when, unless it goes on.
    until: i64,
    resource_type: String,
    indexes: BTreeSet<String>,
}

impl Shapes {
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        serde_json::from_str(text).map_err(|error| Failure::Internal(format!("a tenant's shapes: {error}")))
    }

    /// As [`Self::parse`] reads it.
    pub(super) fn to_text(&self) -> Result<String, Failure> {
        serde_json::to_string(self).map_err(|error| Failure::Internal(format!("a tenant's shapes: {error}")))
    }

    /// Those of types, when there are any.
    pub(super) fn of_types(types: &BTreeMap<String, Shape>) -> Option<Self> {
        (!types.is_empty()).then(|| Self { types: types.clone(), ..Self::default() })
    }

    /// The shapes of types.
    pub(super) fn into_types(self) -> BTreeMap<String, Shape> {
        self.types
    }

    async fn store(&self, link: &mut Link, tenant: i64) -> Result<(), Failure> {
        let text = self.to_text()?;
        let sql = "UPDATE scim.tenant SET shapes = $2 WHERE tenant = $1";
        link.query(sql, [tenant.into(), text.into()]).await.map(drop)
    }
}

/// The index entries of a resource: by its type as the request has it, and by what else is kept.
pub(super) fn entries(
    shapes: Option<&Shapes>,
    resource_type: &Arc<ResourceType>,
    attributes: &Attributes,
) -> Vec<Entry> {
    let mut entries = index::entries(resource_type, attributes);
    let Some(shapes) = shapes else { return entries };
    let name = &resource_type.name;
    let own = index::names(resource_type);
    let shape = shapes.types.get(name);
    let building = shapes.building.as_ref().filter(|building| building.resource_type == *name);
    let kept = shape.into_iter().flat_map(|shape| &shape.indexes);
    let kept: BTreeSet<_> = kept.chain(building.into_iter().flat_map(|building| &building.indexes)).collect();
    let others = kept.iter().copied().filter(|name| !own.contains(*name));
    entries.extend(index::entries_in(others, name, attributes));
    let leaving = shape.into_iter().flat_map(|shape| &shape.leaving);
    let leaving = leaving.filter(|name| !own.contains(*name) && !kept.contains(name));
    // Nothing is held unique by what is to go.
    entries.extend(
        index::entries_in(leaving, name, attributes)
            .into_iter()
            .map(|entry| Entry { unique: false, ..entry }),
    );
    entries
}

/// Makes a tenant's indexes ready for its types.
pub(super) async fn prepare(
    pool: &Pool,
    tenants: &Tenants,
    tenant: &TenantKey,
    types: &[Arc<ResourceType>],
) -> Result<Prepared, Failure> {
    let core = Registry::core();
    let plain = |kind: &Arc<ResourceType>| core.resource_types.iter().any(|known| Arc::ptr_eq(known, kind));
    let mut link = pool.link(Instant::now() + STEP).await?;
    let found = tenants.find(&mut link, tenant).await?;
    let shapes = match found {
        Some(number) => stored(&mut link, number).await?,
        None => None,
    };
    let known = |kind: &Arc<ResourceType>| {
        shapes.as_ref().is_some_and(|shapes| shapes.types.contains_key(&kind.name))
    };
    if types.iter().all(|kind| plain(kind) && !known(kind)) {
        // RFC 7643 as it stands, and nothing else before: what writes do by themselves.
        return Ok(Prepared::default());
    }
    let number = tenants.make(&mut link, tenant).await?;
    drop(link);
    let mut prepared = Prepared::default();
    for kind in types {
        let built = build(pool, number, kind).await?;
        let mut link = pool.link(Instant::now() + STEP).await?;
        let state = lock(&mut link, number).await?;
        let finished = finish(&mut link, number, state, kind, &built).await;
        let after = unlock(&mut link, finished).await?;
        if after.hides(kind) {
            prepared.hidden.insert(kind.name.clone());
        }
        prepared.duplicates.extend(after.duplicates(&kind.name));
        prepared.built.extend(built);
    }
    Ok(prepared)
}

/// A tenant's shapes, as they are now.
async fn stored(link: &mut Link, tenant: i64) -> Result<Option<Shapes>, Failure> {
    let sql = "SELECT shapes FROM scim.tenant WHERE tenant = $1 AND live";
    let found = link.query(sql, [tenant.into()]).await?;
    let Some(row) = found.first() else { return Err(Failure::Moved) };
    get::<Option<&str>>(row, 0)?.map(Shapes::parse).transpose()
}

fn shape_of(shapes: &Shapes, kind: &ResourceType) -> Shape {
    shapes.types.get(&kind.name).cloned().unwrap_or_else(|| Shape::initial(&kind.name))
}

/// The database's clock, in milliseconds: servers' clocks may differ.
async fn now(link: &mut Link) -> Result<i64, Failure> {
    let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::BIGINT";
    number(&link.query(sql, []).await?)
}

/// Builds the indexes that a type misses; which.
async fn build(pool: &Pool, tenant: i64, kind: &Arc<ResourceType>) -> Result<BTreeSet<String>, Failure> {
    let owner = random()?;
    let begun = loop {
        let mut link = pool.link(Instant::now() + STEP).await?;
        let state = lock(&mut link, tenant).await?;
        let begun = begin(&mut link, tenant, state, owner, kind).await;
        match unlock(&mut link, begun).await? {
            Begun::Built => return Ok(BTreeSet::new()),
            Begun::Ours(missing) => break missing,
            Begun::Others => {
                drop(link);
                tokio::time::sleep(LOOK).await;
            }
        }
    };
    for name in &begun {
        clear(pool, tenant, name, Some(owner)).await?;
    }
    let mut after = Some(0);
    while let Some(key) = after {
        let mut link = pool.link(Instant::now() + STEP).await?;
        let state = lock(&mut link, tenant).await?;
        let added = add_some(&mut link, tenant, state, owner, kind, &begun, key).await;
        after = unlock(&mut link, added).await?;
    }
    Ok(begun)
}

enum Begun {
    /// There is nothing to build.
    Built,
    /// We build these.
    Ours(BTreeSet<String>),
    /// Another server builds.
    Others,
}

async fn begin(
    link: &mut Link,
    tenant: i64,
    state: State,
    owner: i64,
    kind: &ResourceType,
) -> Result<Begun, Failure> {
    let mut shapes = state.shapes.map_or_else(Shapes::default, |shapes| (*shapes).clone());
    let missing = shape_of(&shapes, kind).missing(kind);
    if missing.is_empty() {
        return Ok(Begun::Built);
    }
    let now = now(link).await?;
    if shapes.building.is_some_and(|building| building.until > now) {
        return Ok(Begun::Others);
    }
    let resource_type = kind.name.clone();
    shapes.building = Some(Building { owner, until: now + LEASE, resource_type, indexes: missing.clone() });
    shapes.store(link, tenant).await?;
    Ok(Begun::Ours(missing))
}

/// Keeps the lease; fails when another server has taken over.
async fn go_on(link: &mut Link, tenant: i64, state: State, owner: i64) -> Result<(), Failure> {
    let lost = || Failure::Unavailable("another server has taken over the building of an index".into());
    let mut shapes = state.shapes.map(|shapes| (*shapes).clone()).ok_or_else(lost)?;
    let building = shapes.building.as_mut().filter(|building| building.owner == owner).ok_or_else(lost)?;
    building.until = now(link).await? + LEASE;
    shapes.store(link, tenant).await
}

/// Writes down what is indexed now.
async fn finish(
    link: &mut Link,
    tenant: i64,
    state: State,
    kind: &Arc<ResourceType>,
    built: &BTreeSet<String>,
) -> Result<Shape, Failure> {
    let before = state.shapes.map_or_else(Shapes::default, |shapes| (*shapes).clone());
    let sql = "SELECT NOT EXISTS (SELECT 1 FROM scim.resource WHERE tenant = $1 AND type = $2)
                 AND NOT EXISTS (SELECT 1 FROM scim.retained WHERE tenant = $1 AND type = $2)";
    let empty = link.query(sql, [tenant.into(), kind.name.as_str().into()]).await?;
    let empty = empty.first().map_or(Ok(true), |row| get(row, 0))?;
    let mut shape = shape_of(&before, kind).under(kind, empty);
    let counted: Vec<String> = shape.duplicates.keys().chain(built).cloned().collect();
    for name in counted {
        let unique = index::all(kind).iter().any(|index| index.name == name && index.unique);
        let count = if unique { shared(link, tenant, &name).await? } else { 0 };
        if count > 0 {
            shape.duplicates.insert(name, count);
        } else {
            shape.duplicates.remove(&name);
        }
    }
    let mut after = before.clone();
    if !built.is_empty() {
        after.building = None;
    }
    if before.types.get(&kind.name).is_some_and(|before| before.leaving != shape.leaving) {
        after.left = now(link).await?;
    }
    after.types.insert(kind.name.clone(), shape.clone());
    if after != before {
        after.store(link, tenant).await?;
    }
    Ok(shape)
}

/// Removes the entries of indexes that no server goes by any more.
pub(super) async fn retire(pool: &Pool, tenants: &Tenants, tenant: &TenantKey) -> Result<(), Failure> {
    let mut link = pool.link(Instant::now() + STEP).await?;
    let Some(number) = tenants.find(&mut link, tenant).await? else { return Ok(()) };
    let Some(shapes) = stored(&mut link, number).await? else { return Ok(()) };
    let leaving: BTreeSet<_> = shapes.types.values().flat_map(|shape| shape.leaving.clone()).collect();
    if leaving.is_empty() || now(&mut link).await? - shapes.left < GRACE {
        return Ok(());
    }
    // From here on no write keeps them.
    let state = lock(&mut link, number).await?;
    let mut shapes = state.shapes.map_or_else(Shapes::default, |shapes| (*shapes).clone());
    for shape in shapes.types.values_mut() {
        shape.leaving.retain(|name| !leaving.contains(name));
    }
    let dropped = shapes.store(&mut link, number).await;
    unlock(&mut link, dropped).await?;
    drop(link);
    for name in &leaving {
        clear(pool, number, name, None).await?;
    }
    Ok(())
}

/// Removes the entries of an index, in steps.
async fn clear(pool: &Pool, tenant: i64, name: &str, owner: Option<i64>) -> Result<(), Failure> {
    loop {
        let mut link = pool.link(Instant::now() + STEP).await?;
        let state = lock(&mut link, tenant).await?;
        let removed = clear_some(&mut link, tenant, state, name, owner).await;
        if unlock(&mut link, removed).await? == 0 {
            return Ok(());
        }
    }
}

async fn clear_some(
    link: &mut Link,
    tenant: i64,
    state: State,
    name: &str,
    owner: Option<i64>,
) -> Result<i64, Failure> {
    if let Some(owner) = owner {
        go_on(link, tenant, state, owner).await?;
    }
    let sql =
        "WITH old AS (SELECT value, slot FROM scim.lookup WHERE tenant = $1 AND attribute = $2 LIMIT $3),
               gone AS (DELETE FROM scim.lookup l USING old WHERE l.tenant = $1 AND l.attribute = $2
                        AND l.value = old.value AND l.slot = old.slot RETURNING 1)
               SELECT count(*) FROM gone";
    number(&link.query(sql, [tenant.into(), name.into(), limit(BATCH)]).await?)
}

/// Adds the entries of one batch of resources; where to go on.
async fn add_some(
    link: &mut Link,
    tenant: i64,
    state: State,
    owner: i64,
    kind: &ResourceType,
    names: &BTreeSet<String>,
    after: i64,
) -> Result<Option<i64>, Failure> {
    go_on(link, tenant, state, owner).await?;
    let sql = "SELECT key, body FROM scim.resource WHERE tenant = $1 AND type = $2 AND key > $3
               ORDER BY key LIMIT $4";
    let found =
        link.query(sql, [tenant.into(), kind.name.as_str().into(), after.into(), limit(BATCH)]).await?;
    let mut last = None;
    let (mut attributes, mut values) = (Vec::new(), Vec::new());
    let (mut uniques, mut keys) = (Vec::new(), Vec::new());
    for row in &found {
        let key: i64 = get(row, 0)?;
        last = Some(key);
        // A body that is not JSON is reported by whoever reads it.
        let body: Attributes = serde_json::from_slice(get(row, 1)?).unwrap_or_default();
        for entry in index::entries(kind, &body).into_iter().filter(|entry| names.contains(&entry.attribute))
        {
            values.push(Some(bytes(&entry.value)));
            attributes.push(Some(entry.attribute));
            uniques.push(entry.unique);
            keys.push(Some(key));
        }
    }
    let columns = [Value::Texts(attributes), Value::Blobs(values), Value::Bools(uniques), Value::Ints(keys)];
    if last.is_some() {
        add_all(link, tenant.into(), columns).await?;
    }
    Ok(last)
}

/// Adds entries: attribute, value, whether it must be unique, and whose it is, by column. The first to have a value
/// that must be unique is its owner; others have it beside.
pub(super) async fn add_all(
    link: &mut Link,
    tenant: Value,
    columns: impl IntoIterator<Item = Value>,
) -> Result<(), Failure> {
    let mut values = vec![tenant];
    values.extend(columns);
    if values.len() == 1 {
        return Ok(());
    }
    let owners = "INSERT INTO scim.lookup (tenant, attribute, value, slot, resource)
                  SELECT DISTINCT ON (attribute, value) $1::BIGINT, attribute, value, 0, resource
                  FROM unnest($2, $3, $4, $5) AS q (attribute, value, is_unique, resource)
                  WHERE is_unique ORDER BY attribute, value, resource
                  ON CONFLICT DO NOTHING";
    link.query(owners, values.clone()).await?;
    let others = "INSERT INTO scim.lookup (tenant, attribute, value, slot, resource)
                  SELECT $1, q.attribute, q.value, q.resource, q.resource
                  FROM unnest($2, $3, $4, $5) AS q (attribute, value, is_unique, resource)
                  WHERE NOT q.is_unique OR NOT EXISTS (
                      SELECT 1 FROM scim.lookup l WHERE l.tenant = $1 AND l.attribute = q.attribute
                      AND l.value = q.value AND l.slot = 0 AND l.resource = q.resource)
                  ON CONFLICT DO NOTHING";
    link.query(others, values).await.map(drop)
}

/// How many values of a unique index are those of another resource as well.
async fn shared(link: &mut Link, tenant: i64, name: &str) -> Result<u64, Failure> {
    let sql = "SELECT count(*) FROM scim.lookup WHERE tenant = $1 AND attribute = $2 AND slot <> 0";
    Ok(number(&link.query(sql, [tenant.into(), name.into()]).await?)?.cast_unsigned())
}
