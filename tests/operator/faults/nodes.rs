//! A node is drained.

use super::served;
use crate::support::{Cluster, Scene, until};
use crate::{Scenario, rows};

pub(super) fn all() -> Vec<Scenario> {
    rows![node_drained_moves_controller_and_server_and_loses_nothing_that_was_acknowledged]
}

async fn node_drained_moves_controller_and_server_and_loses_nothing_that_was_acknowledged(scene: Scene) {
    Cluster::add_node().await;
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
