//! How long after `kubectl apply` a change is enforced.

use std::time::{Duration, Instant};

use serde_json::json;

use super::served;
use crate::support::Scene;
use crate::{Scenario, rows};

/// Changes of one tenant, one after the other.
const CHANGES: usize = 50;
const GOAL: Duration = Duration::from_secs(1);

pub(super) fn all() -> Vec<Scenario> {
    rows![tenant_changed_fifty_times_is_enforced_each_time]
}

/// From before the API server is told until an identity provider sees it, through Traefik, in the pod: the tenant is
/// suspended and resumed.
async fn tenant_changed_fifty_times_is_enforced_each_time(scene: Scene) {
    let tenant = served(&scene).await;
    let pods = scene.server_pod_names().await;
    let mut times = Vec::new();
    for change in 0..CHANGES {
        let suspended = change % 2 == 0;
        let started = Instant::now();
        scene.edit("ScimTenant", "acme", json!({"spec": {"suspended": suspended}})).await;
        let expected = if suspended { 503 } else { 200 };
        while tenant.get("/Users?count=0").await.expect("the server answers").0 != expected {
            assert!(started.elapsed() < Duration::from_mins(1), "change {change} is not enforced");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        times.push(started.elapsed());
    }
    assert_eq!(scene.server_pod_names().await, pods, "no pod is replaced for it");
    times.sort();
    let at = |share: usize| times[(times.len() * share).div_ceil(100) - 1].as_secs_f64() * 1000.0;
    println!(
        "        apply of a tenant to enforced, {CHANGES} times: p50 {:.0} ms, p99 {:.0} ms (goal: {} ms)",
        at(50),
        at(99),
        GOAL.as_millis()
    );
}
