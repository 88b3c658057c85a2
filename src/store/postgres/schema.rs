//! The schema, moved forward one migration at a time under an advisory lock, so that any number of servers may
//! start at once. A migration is never edited once released.
//!
//! Old and new servers run side by side while a version rolls out, so a migration only adds what old servers can
//! do without (expand); what nobody uses any more goes in a later release (contract). A server therefore serves
//! from a schema that is newer than it knows, unless that `needs` more than the server knows: then it says so, also
//! when it has served until then ([`Schema::check`]).

use std::time::Duration;

use tokio::time::Instant;

use super::failure::Failure;
use super::pool::{Link, Pool};
use super::value::{Step, get};

/// The migrations, in order: the first makes version 1.
const MIGRATIONS: &[&str] = &[include_str!("migrations/0001_initial.sql")];

/// How long a request waits for it; the next goes on where it stands.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// `SCIM` in ASCII, twice.
const LOCK: i64 = 0x5343_494D_5343_494D;

/// The version that a server must know at least to work with the schema of [`MIGRATIONS`]: moved up when a
/// migration contracts.
const NEEDS: i64 = 1;

/// The schema that a server works with.
#[derive(Debug, Clone)]
pub(super) struct Schema {
    migrations: Vec<&'static str>,
    needs: i64,
}

/// A version of the schema after this one, so that tests have an old and a new server.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Later {
    /// Its migration.
    pub migration: &'static str,
    /// Whether servers of this version can do without what it takes away.
    pub expands: bool,
}

impl Schema {
    /// This version's.
    pub(super) fn ours() -> Self {
        Self { migrations: MIGRATIONS.to_vec(), needs: NEEDS }
    }

    /// With versions after this one.
    pub(super) fn with(mut self, later: &[Later]) -> Self {
        for Later { migration, expands } in later {
            self.migrations.push(migration);
            if !expands {
                self.needs = self.known();
            }
        }
        self
    }

    /// The newest version that the server knows.
    fn known(&self) -> i64 {
        i64::try_from(self.migrations.len()).unwrap_or(i64::MAX)
    }

    /// Refuses a schema that takes a newer server.
    pub(super) fn check(&self, version: i64, needs: i64) -> Result<(), Failure> {
        let known = self.known();
        if needs <= known {
            return Ok(());
        }
        Err(Failure::Unavailable(format!(
            "the database has schema version {version}, which takes a server that knows version {needs}, and this one knows {known}: run the newer one"
        )))
    }
}

const BEGIN: Step = Step::Begin("BEGIN; SET LOCAL lock_timeout = '30s'");

/// How often a migration is tried that met writers: tables are locked whole, in another order than writers take rows.
const ATTEMPTS: usize = 8;

/// Brings the schema up to date.
pub(super) async fn migrate(pool: &Pool, deadline: Instant, schema: &Schema) -> Result<(), Failure> {
    for _ in 1..ATTEMPTS {
        match attempt(pool, deadline, schema).await {
            Err(Failure::Conflict(_)) => {}
            done => return done,
        }
    }
    attempt(pool, deadline, schema).await
}

async fn attempt(pool: &Pool, deadline: Instant, schema: &Schema) -> Result<(), Failure> {
    let mut link = pool.link(deadline).await?;
    if version(&mut link, schema).await? >= schema.migrations.len() {
        return Ok(());
    }
    // The lock ends with its transaction, which a pooler keeps on one server.
    let lock = Step::new("SELECT pg_advisory_xact_lock($1)", [LOCK.into()]);
    let done = match link.send(&[BEGIN, lock]).await {
        Ok(_) => run(&mut link, schema).await,
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

async fn run(link: &mut Link, schema: &Schema) -> Result<(), Failure> {
    let done = version(link, schema).await?;
    if done == 0 {
        let there = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = 'scim'";
        // Whoever may not make schemas has one made for them.
        if link.query(there, []).await?.is_empty() {
            link.query("CREATE SCHEMA scim", []).await?;
        }
        link.query("CREATE TABLE scim.schema_version (version BIGINT NOT NULL, needs BIGINT NOT NULL)", [])
            .await?;
        link.query("INSERT INTO scim.schema_version VALUES (0, 0)", []).await?;
    }
    // Another server may have done it meanwhile, and more.
    if done < schema.migrations.len() {
        for migration in schema.migrations.iter().skip(done) {
            link.send(&[Step::Begin(migration)]).await?;
        }
        let sql = "UPDATE scim.schema_version SET version = $1, needs = $2";
        link.query(sql, [schema.known().into(), schema.needs.into()]).await?;
    }
    link.send(&[Step::End("COMMIT")]).await.map(drop)
}

/// The version of the schema that is there; 0 when there is none.
async fn version(link: &mut Link, schema: &Schema) -> Result<usize, Failure> {
    // Not `to_regclass`, which may not have heard of what another server committed while this one waited.
    let there = "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = 'scim' AND c.relname = 'schema_version'";
    if link.query(there, []).await?.is_empty() {
        return Ok(0);
    }
    let found = link.query("SELECT version, needs FROM scim.schema_version", []).await?;
    let Some(row) = found.first() else { return Ok(0) };
    let (version, needs): (i64, i64) = (get(row, 0)?, get(row, 1)?);
    schema.check(version, needs)?;
    Ok(usize::try_from(version).unwrap_or(0))
}
