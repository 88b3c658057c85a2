//! A node is drained.

use super::fleets::{fleet, rolled_out};
use super::served;
use crate::support::{Cluster, Scene, until};
use crate::{Scenario, rows};

pub(super) fn all() -> Vec<Scenario> {
    rows![
        node_drained_moves_controller_and_server_and_loses_nothing_that_was_acknowledged,
        one_of_two_nodes_drained_under_load_fails_no_request,
    ]
}

async fn one_of_two_nodes_drained_under_load_fails_no_request(scene: Scene) {
    Cluster::add_node(&scene).await;
    let (_database, tenant) = fleet(&scene, 2).await;
    // Pods are spread over nodes where the scheduler finds that good; when it does not, they leave one after the other.
    let pods = scene.server_pods().await;
    let node = pods[0]["spec"]["nodeName"].as_str().expect("it is ready, and on a node").to_owned();
    let load = scene.load(&tenant);
    let drain = ["drain", &node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=90s"];
    scene.cluster.kubectl(&drain).await;
    let gone: Vec<_> = pods
        .iter()
        .filter(|pod| pod["spec"]["nodeName"] == *node)
        .filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned))
        .collect();
    rolled_out(&scene, 2, &gone).await;
    scene.ready("ScimEndpoint", "main").await;
    let seen = load.finish().await;
    println!("        node of {} of two pods drained: {seen}", gone.len());
    seen.nothing_failed();
    scene.cluster.kubectl(&["uncordon", &node]).await;
}

async fn node_drained_moves_controller_and_server_and_loses_nothing_that_was_acknowledged(scene: Scene) {
    Cluster::add_node(&scene).await;
    let tenant = served(&scene).await;
    let load = scene.load(&tenant);
    let drain = ["drain", "node1", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=90s"];
    scene.cluster.kubectl(&drain).await;
    until("the server is on the other node", async || {
        let pods = scene.server_pods().await;
        let nodes: Vec<_> = pods.iter().map(|pod| pod["spec"]["nodeName"].clone()).collect();
        if nodes == ["node2"] { Ok(()) } else { Err(format!("{nodes:?}")) }
    })
    .await;
    scene.ready("ScimEndpoint", "main").await;
    tenant.answers(200).await;
    let seen = load.finish().await;
    println!("        node of the server with SQLite drained: {seen}");
    seen.only_told_to_try_again();
    scene.cluster.kubectl(&["uncordon", "node1"]).await;
}
