//! The schema, moved forward one migration at a time under an advisory lock, so that any number of servers may
//! start at once. A migration is never edited once released.
//!
//! Old and new servers run side by side while a version rolls out, so a migration only adds what old servers can
//! do without (expand); what nobody uses any more goes in a later release (contract). A server therefore serves
//! from a schema that is newer than it knows, unless that `needs` more than the server knows.

use std::time::Duration;

use tokio::time::Instant;

use super::failure::Failure;
use super::pool::{Link, Pool};
use super::value::{Step, get};

/// The migrations, in order: the first makes version 1.
pub(super) const MIGRATIONS: &[&str] = &[include_str!("migrations/0001_initial.sql")];

/// How long a request waits for it; the next goes on where it stands.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// `SCIM` in ASCII, twice.
const LOCK: i64 = 0x5343_494D_5343_494D;

/// The version that a server must know at least to work with the schema of [`MIGRATIONS`]: moved up when a
/// migration contracts.
const NEEDS: i64 = 1;

const BEGIN: Step = Step::Begin("BEGIN; SET LOCAL lock_timeout = '30s'");

/// Brings the schema up to date.
pub(super) async fn migrate(
    pool: &Pool,
    deadline: Instant,
    migrations: &[&'static str],
) -> Result<(), Failure> {
    let mut link = pool.link(deadline).await?;
    if version(&mut link).await? >= migrations.len() {
        return Ok(());
    }
    // The lock ends with its transaction, which a pooler keeps on one server.
    let lock = Step::new("SELECT pg_advisory_xact_lock($1)", [LOCK.into()]);
    let done = match link.send(&[BEGIN, lock]).await {
        Ok(_) => run(&mut link, migrations).await,
        Err(failure) => Err(failure),
    };
    match done {
        Ok(()) => Ok(()),
        Err(failure) => {
            link.roll_back().await;
            Err(failure)
        }
    }
}

async fn run(link: &mut Link, migrations: &[&'static str]) -> Result<(), Failure> {
    let done = version(link).await?;
    if done == 0 {
        let schema = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = 'scim'";
        // Whoever may not make schemas has one made for them.
        if link.query(schema, []).await?.is_empty() {
            link.query("CREATE SCHEMA scim", []).await?;
        }
        link.query("CREATE TABLE scim.schema_version (version BIGINT NOT NULL, needs BIGINT NOT NULL)", [])
            .await?;
        link.query("INSERT INTO scim.schema_version VALUES (0, 0)", []).await?;
    }
    for migration in migrations.iter().skip(done) {
        link.send(&[Step::Begin(migration)]).await?;
    }
    let count = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
    let update =
        Step::new("UPDATE scim.schema_version SET version = $1, needs = $2", [count.into(), NEEDS.into()]);
    link.send(&[update, Step::End("COMMIT")]).await.map(drop)
}

/// The version of the schema that is there; 0 when there is none.
async fn version(link: &mut Link) -> Result<usize, Failure> {
    // Not `to_regclass`, which may not have heard of what another server committed while this one waited.
    let there = "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = 'scim' AND c.relname = 'schema_version'";
    if link.query(there, []).await?.is_empty() {
        return Ok(0);
    }
    let found = link.query("SELECT version, needs FROM scim.schema_version", []).await?;
    let Some(row) = found.first() else { return Ok(0) };
    let (version, needs): (i64, i64) = (get(row, 0)?, get(row, 1)?);
    let known = MIGRATIONS.len();
    if usize::try_from(needs).unwrap_or(0) > known {
        return Err(Failure::Unavailable(format!(
            "the database has schema version {version}, which takes a server that knows version {needs}, and this one knows {known}: run the newer one"
        )));
    }
    Ok(usize::try_from(version).unwrap_or(0))
}
