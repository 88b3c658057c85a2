//! Tenants' numbers. What a server remembers of them is a guess that every statement has confirmed: another
//! server may have purged the tenant and the name may be another's by now ([`Failure::Moved`]).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use tokio_postgres::Row;

use super::failure::Failure;
use super::pool::Link;
use super::shape::Shapes;
use super::value::{Step, get};
use crate::store::{Count, TenantKey};

/// The numbers seen so far. Cloning shares them.
#[derive(Clone, Default)]
pub(super) struct Tenants(Arc<RwLock<HashMap<TenantKey, i64>>>);

impl Tenants {
    /// What the tenant's number was when it was seen last.
    pub(super) fn remembered(&self, tenant: &TenantKey) -> Option<i64> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(tenant).copied()
    }

    /// Forgets a number that turned out to be another's.
    pub(super) fn forget(&self, tenant: &TenantKey) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }

    /// The tenant's number; `None` when it has never written.
    pub(super) async fn find(&self, link: &mut Link, tenant: &TenantKey) -> Result<Option<i64>, Failure> {
        if let Some(number) = self.remembered(tenant) {
            return Ok(Some(number));
        }
        let rows = link.query("SELECT tenant FROM scim.directory WHERE name = $1", [name(tenant)]).await?;
        let number = rows.first().map(|row| get(row, 0)).transpose()?;
        if let Some(number) = number {
            self.remember(tenant, number);
        }
        Ok(number)
    }

    /// The tenant's number, given when it has none.
    pub(super) async fn make(&self, link: &mut Link, tenant: &TenantKey) -> Result<i64, Failure> {
        if let Some(number) = self.find(link, tenant).await? {
            return Ok(number);
        }
        let fresh = random()?;
        let sql = "WITH made AS (INSERT INTO scim.directory (name, tenant) VALUES ($1, $2)
                       ON CONFLICT DO NOTHING RETURNING tenant)
                   INSERT INTO scim.tenant (tenant, name) SELECT tenant, $1 FROM made";
        link.query(sql, [name(tenant), fresh.into()]).await?;
        // Maybe another server's.
        self.find(link, tenant).await?.ok_or(Failure::Moved)
    }

    fn remember(&self, tenant: &TenantKey, number: i64) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(tenant.clone(), number);
    }
}

/// A tenant's name as a value.
pub(super) fn name(tenant: &TenantKey) -> super::value::Value {
    (&*tenant.0).into()
}

/// A number that nobody else has: 62 bits of chance.
pub(super) fn random() -> Result<i64, Failure> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| Failure::Internal(format!("no random numbers: {error}")))?;
    Ok(i64::from_be_bytes(bytes) & (i64::MAX >> 1))
}

/// A tenant's own row.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub next_key: i64,
    /// The newest row of the audit log, and its time in milliseconds.
    pub head: i64,
    pub head_time: i64,
    /// Whether there may be retained resources or awaited members.
    pub leavers: bool,
    /// How many resources there are of each type.
    pub counts: BTreeMap<String, i64>,
    pub shapes: Option<Arc<Shapes>>,
}

impl State {
    /// Locks the row until the transaction ends: whoever writes to a tenant does so one after the other.
    pub(super) fn lock(tenant: i64) -> Step {
        let sql = "SELECT live, next_key, head, head_time, leavers, counts, shapes
                   FROM scim.tenant WHERE tenant = $1 FOR UPDATE";
        Step::new(sql, [tenant.into()])
    }

    /// What [`Self::lock`] found.
    pub(super) fn locked(rows: &[Row]) -> Result<Self, Failure> {
        let Some(row) = rows.first() else { return Err(Failure::Moved) };
        if !get::<bool>(row, 0)? {
            return Err(Failure::Moved);
        }
        Ok(Self {
            next_key: get(row, 1)?,
            head: get(row, 2)?,
            head_time: get(row, 3)?,
            leavers: get(row, 4)?,
            counts: counts(get(row, 5)?)?,
            shapes: get::<Option<&str>>(row, 6)?.map(Shapes::parse).transpose()?.map(Arc::new),
        })
    }
}

/// The counts in a tenant's row.
pub(super) fn counts(text: &str) -> Result<BTreeMap<String, i64>, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::Internal(format!("a tenant's counts: {error}")))
}

/// How many resources of each type the tenants have. The names of other counters have spaces.
pub(super) async fn resources(link: &mut Link) -> Result<Vec<Count>, Failure> {
    let mut found = Vec::new();
    for row in &link.query("SELECT name, counts FROM scim.tenant WHERE live", []).await? {
        let tenant = TenantKey(get::<&str>(row, 0)?.into());
        for (resource_type, resources) in counts(get(row, 1)?)? {
            if resources > 0 && !resource_type.contains(' ') {
                let resources = resources.cast_unsigned();
                found.push(Count { tenant: tenant.clone(), resource_type, resources });
            }
        }
    }
    Ok(found)
}

/// The tenants that have a resource.
pub(super) async fn with_data(link: &mut Link) -> Result<Vec<TenantKey>, Failure> {
    let sql = "SELECT name, counts FROM scim.tenant WHERE live ORDER BY name COLLATE \"C\"";
    let mut tenants = Vec::new();
    for row in &link.query(sql, []).await? {
        if counts(get(row, 1)?)?.values().any(|count| *count > 0) {
            tenants.push(TenantKey(get::<&str>(row, 0)?.into()));
        }
    }
    Ok(tenants)
}
