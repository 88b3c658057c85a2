//! The table of tokens' last uses.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};

use super::failure::Sql;
use super::writer::Writer;
use crate::store::token_use::{Fingerprint, TokenUse};
use crate::store::{StoreError, TenantKey};

/// Rows written in one transaction: a few milliseconds.
const BATCH: usize = 500;

/// What was last used longer ago is forgotten.
const KEPT: SignedDuration = SignedDuration::from_hours(400 * 24);

/// All that is known.
pub(super) fn all(connection: &Connection) -> Sql<Vec<TokenUse>> {
    let mut statement = connection.prepare_cached("SELECT tenant, token, last_used FROM token_use")?;
    let rows = statement.query_map([], |row| {
        let (tenant, token, second): (String, [u8; 8], i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let last_used = Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH);
        Ok(TokenUse { tenant: TenantKey(tenant.into()), token: Fingerprint(token), last_used })
    })?;
    rows.collect()
}

/// Remembers uses; one that is earlier than the one known changes nothing.
pub(super) async fn record(writer: &Writer, uses: Vec<TokenUse>) -> Result<(), StoreError> {
    let Some(latest) = uses.iter().map(|token| token.last_used).max() else { return Ok(()) };
    let forgotten = latest.checked_sub(KEPT).unwrap_or(Timestamp::UNIX_EPOCH).as_second();
    for batch in uses.chunks(BATCH) {
        let batch = batch.to_vec();
        writer.run(move |connection| upsert(connection, &batch)).await?;
    }
    let sql = "DELETE FROM token_use WHERE last_used < ?1";
    writer.run(move |connection| connection.prepare_cached(sql)?.execute([forgotten]).map(drop)).await
}

fn upsert(connection: &Connection, uses: &[TokenUse]) -> Sql<()> {
    let sql = "INSERT INTO token_use (tenant, token, last_used) VALUES (?1, ?2, ?3)
               ON CONFLICT DO UPDATE SET last_used = max(last_used, excluded.last_used)";
    let mut statement = connection.prepare_cached(sql)?;
    for TokenUse { tenant, token, last_used } in uses {
        statement.execute(params![&*tenant.0, token.0, last_used.as_second()])?;
    }
    Ok(())
}
