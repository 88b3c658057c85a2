//! Purging a removed tenant: its name is taken from its data in one step, so that it is gone at once and
//! the name is free, and the rows follow in small batches between which others write.

use std::collections::HashSet;

use tokio::time::Instant;

use super::batch::number;
use super::failure::Failure;
use super::pool::{Link, Pool};
use super::tenants::{State, Tenants, name};
use super::value::{Step, get, limit};
use super::writer::DEADLINE;
use crate::store::TenantKey;

/// Rows removed in one transaction: a few milliseconds.
const BATCH: usize = 1000;

/// Remembers what is to become of a tenant's data.
pub(super) async fn mark(
    link: &mut Link,
    tenants: &Tenants,
    tenant: &TenantKey,
    purge: bool,
) -> Result<(), Failure> {
    let sql = "UPDATE scim.directory SET purge_on_removal = $2 WHERE name = $1 AND purge_on_removal <> $2";
    tenants.make(link, tenant).await?;
    link.query(sql, [name(tenant), purge.into()]).await.map(drop)
}

/// The tenants that are marked.
pub(super) async fn marked(link: &mut Link) -> Result<Vec<TenantKey>, Failure> {
    let sql = "SELECT name FROM scim.directory WHERE purge_on_removal ORDER BY name COLLATE \"C\"";
    let rows = link.query(sql, []).await?;
    rows.iter().map(|row| Ok(TenantKey(get::<&str>(row, 0)?.into()))).collect()
}

/// Purges the tenants that are marked and not among `served`, with `removed` of these only, and what an earlier purge left.
pub(super) async fn purge_removed(
    pool: &Pool,
    tenants: &Tenants,
    served: &[TenantKey],
    removed: Option<&[TenantKey]>,
) -> Result<Vec<TenantKey>, Failure> {
    let served: HashSet<&str> = served.iter().map(|tenant| &*tenant.0).collect();
    let mut link = pool.link(Instant::now() + DEADLINE).await?;
    let sql = "SELECT name, tenant FROM scim.directory WHERE purge_on_removal ORDER BY name COLLATE \"C\"";
    let mut purged = Vec::new();
    for row in &link.query(sql, []).await? {
        let (name, number): (&str, i64) = (get(row, 0)?, get(row, 1)?);
        let is_removed = |removed: &[TenantKey]| removed.iter().any(|tenant| &*tenant.0 == name);
        if !served.contains(name) && removed.is_none_or(is_removed) {
            let tenant = TenantKey(name.into());
            detach(&mut link, &tenant, number).await?;
            tenants.forget(&tenant);
            purged.push(tenant);
        }
    }
    let gone = link.query("SELECT tenant FROM scim.tenant WHERE NOT live", []).await?;
    drop(link);
    for row in &gone {
        let tenant = get(row, 0)?;
        loop {
            let mut link = pool.link(Instant::now() + DEADLINE).await?;
            if remove_some(&mut link, tenant).await? {
                break;
            }
        }
    }
    Ok(purged)
}

/// Takes a tenant's name from its data. Whoever writes has done so before, or finds it gone.
async fn detach(link: &mut Link, tenant: &TenantKey, number: i64) -> Result<(), Failure> {
    let steps = [
        Step::Begin("BEGIN; SET LOCAL statement_timeout = '8s'"),
        State::lock(number),
        Step::new(
            "DELETE FROM scim.directory WHERE name = $1 AND tenant = $2",
            [name(tenant), number.into()],
        ),
        Step::new("UPDATE scim.tenant SET live = FALSE WHERE tenant = $1", [number.into()]),
        Step::new("DELETE FROM scim.token_use WHERE tenant = $1", [name(tenant)]),
        Step::End("COMMIT"),
    ];
    let done = link.send(&steps).await;
    if done.is_err() {
        link.roll_back().await;
    }
    done.map(drop)
}

/// Removes one batch of a purged tenant's rows; true when it was the last.
async fn remove_some(link: &mut Link, tenant: i64) -> Result<bool, Failure> {
    for (table, columns) in [
        ("member", &["\"group\"", "member"][..]),
        ("lookup", &["attribute", "value", "slot"]),
        ("answer", &["name"]),
        ("awaited", &["\"group\"", "member", "former"]),
        ("retained_name", &["attribute", "value", "retained"]),
        ("retained", &["key"]),
        ("resource", &["type", "id"]),
        ("change", &["sequence"]),
    ] {
        let list = columns.join(", ");
        let same: Vec<_> = columns.iter().map(|column| format!("x.{column} = old.{column}")).collect();
        let sql = format!(
            "WITH old AS (SELECT {list} FROM scim.{table} WHERE tenant = $1 LIMIT $2),
                  gone AS (DELETE FROM scim.{table} x USING old WHERE x.tenant = $1 AND {} RETURNING 1)
             SELECT count(*) FROM gone",
            same.join(" AND ")
        );
        if number(&link.query(sql, [tenant.into(), limit(BATCH)]).await?)? > 0 {
            return Ok(false);
        }
    }
    link.query("DELETE FROM scim.tenant WHERE tenant = $1 AND NOT live", [tenant.into()]).await?;
    Ok(true)
}
