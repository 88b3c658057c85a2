//! The table of tokens' last uses.

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::failure::Failure;
use super::pool::Link;
use super::value::{Value, get};
use crate::store::TenantKey;
use crate::store::token_use::{Fingerprint, TokenUse};

/// Rows written in one transaction: a few milliseconds.
const BATCH: usize = 500;

/// What was last used longer ago is forgotten.
const KEPT: SignedDuration = SignedDuration::from_hours(400 * 24);

/// All that is known.
pub(super) async fn all(link: &mut Link) -> Result<Vec<TokenUse>, Failure> {
    let rows = link
        .query("SELECT tenant, token, last_used FROM scim.token_use ORDER BY tenant COLLATE \"C\", token", [])
        .await?;
    let mut uses = Vec::with_capacity(rows.len());
    for row in &rows {
        let token: [u8; 8] = get::<&[u8]>(row, 1)?
            .try_into()
            .map_err(|_| Failure::Internal("a stored fingerprint has not 8 bytes".into()))?;
        uses.push(TokenUse {
            tenant: TenantKey(get::<&str>(row, 0)?.into()),
            token: Fingerprint(token),
            last_used: Timestamp::from_second(get(row, 2)?).unwrap_or(Timestamp::UNIX_EPOCH),
        });
    }
    Ok(uses)
}

/// Remembers uses; one that is earlier than the one known changes nothing.
pub(super) async fn record(link: &mut Link, mut uses: Vec<TokenUse>) -> Result<(), Failure> {
    let Some(latest) = uses.iter().map(|token| token.last_used).max() else { return Ok(()) };
    // Servers that write the same rows take them in one order, so that none waits for one that waits for it.
    uses.sort_by(|a, b| (&a.tenant, a.token.0).cmp(&(&b.tenant, b.token.0)));
    let forgotten = latest.checked_sub(KEPT).unwrap_or(Timestamp::UNIX_EPOCH).as_second();
    for batch in uses.chunks(BATCH) {
        let (mut tenants, mut tokens, mut times) = (Vec::new(), Vec::new(), Vec::new());
        for TokenUse { tenant, token, last_used } in batch {
            tenants.push(Some(tenant.0.to_string()));
            tokens.push(Some(Bytes::copy_from_slice(&token.0)));
            times.push(Some(last_used.as_second()));
        }
        let sql = "INSERT INTO scim.token_use (tenant, token, last_used)
                   SELECT tenant, token, max(last_used) FROM unnest($1, $2, $3) AS q (tenant, token, last_used)
                   GROUP BY tenant, token ORDER BY tenant, token
                   ON CONFLICT (tenant, token) DO UPDATE
                   SET last_used = greatest(token_use.last_used, excluded.last_used)
                   WHERE token_use.last_used < excluded.last_used";
        link.query(sql, [Value::Texts(tenants), Value::Blobs(tokens), Value::Ints(times)]).await?;
    }
    link.query("DELETE FROM scim.token_use WHERE last_used < $1", [forgotten.into()]).await.map(drop)
}
