//! One of several operators acts.

use std::time::Instant;

use serde_json::json;

use super::support::{ApiServer, Controller, World, eventually};

const LEADER: &str = "scim_controller_leader ";

#[tokio::test]
async fn leader_that_stops_hands_over_and_one_that_dies_is_succeeded() {
    let server = ApiServer::start().await;
    let world = World::new(&server, "election").await;
    let leads = async |controller: &Controller| controller.metric(LEADER).await > 0.5;
    let first = Controller::start(&server, &world.namespace).await;
    eventually("the first leads", async || leads(&first).await.then_some(())).await;
    let second = Controller::start(&server, &world.namespace).await;
    world.endpoint("main", json!({})).await;
    eventually("the first acts", async || world.find("deployments", "main-scim").await).await;
    assert!(!leads(&second).await, "one leads");

    first.terminate().await;
    let stopped = Instant::now();
    // It was given back: nobody waits for it to run out.
    let holder = world.get("leases", "scim-operator").await["spec"]["holderIdentity"].clone();
    eventually("the second leads", async || leads(&second).await.then_some(())).await;
    println!(
        "handed over {:.1} s after the stop; the lease was held by {holder}",
        stopped.elapsed().as_secs_f64()
    );
    let now = world.get("leases", "scim-operator").await["spec"]["holderIdentity"].clone();
    assert!(holder == "" || holder == now, "{holder} was left in the lease");
    world.delete("deployments", "main-scim").await;
    eventually("the second acts", async || world.find("deployments", "main-scim").await).await;

    let third = Controller::start(&server, &world.namespace).await;
    drop(second);
    eventually("the third leads", async || leads(&third).await.then_some(())).await;
}
