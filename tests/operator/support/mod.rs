//! What scenarios are written with.

pub(crate) mod cluster;
mod database;
mod load;
#[path = "../../support/postgres.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "the tests of the store use the rest of it")]
mod postgres;
mod scene;
mod tenant;

use std::time::{Duration, Instant};

pub(crate) use cluster::Cluster;
pub(crate) use database::Database;
pub(crate) use load::Load;
pub(crate) use scene::Scene;
pub(crate) use tenant::Tenant;

/// How long anything may take: what is seen within a second on an idle machine, on a busy one.
const PATIENCE: Duration = Duration::from_mins(1);

/// Asks until the answer is yes. At the deadline it fails with the last no.
pub(crate) async fn until<T>(what: &str, ask: impl AsyncFnMut() -> Result<T, String>) -> T {
    until_within(PATIENCE, what, ask).await
}

/// As [`until`], for what others do in their own time.
pub(crate) async fn until_within<T>(
    patience: Duration,
    what: &str,
    mut ask: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        let no = match ask().await {
            Ok(answer) => return answer,
            Err(no) => no,
        };
        assert!(Instant::now() < deadline, "not within {} s: {what}; {no}", patience.as_secs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
