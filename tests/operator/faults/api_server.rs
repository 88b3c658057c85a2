//! The API server is away.

use std::time::Duration;

use serde_json::json;

use super::fleets::rolled_out;
use super::served;
use crate::support::{Cluster, Scene};
use crate::{Scenario, rows};

/// How long identity providers push meanwhile. Nothing in the data plane has a timer that is longer.
const OUTAGE: Duration = Duration::from_mins(1);

pub(super) fn all() -> Vec<Scenario> {
    rows![api_server_stopped_fails_no_request_and_the_controller_recovers]
}

async fn api_server_stopped_fails_no_request_and_the_controller_recovers(scene: Scene) {
    let tenant = served(&scene).await;
    let id = tenant.create_user("kept").await;
    let pod = scene.server_pods().await.remove(0);
    let container = pod["status"]["containerStatuses"][0]["containerID"].as_str().unwrap_or_default();
    let container = container.trim_start_matches("containerd://").to_owned();
    let load = scene.load(&tenant);
    Cluster::stop_api_server().await;
    tokio::time::sleep(OUTAGE).await;
    let seen = load.finish().await;
    println!("        API server stopped: {seen}");
    seen.nothing_failed();

    // A container that is killed meanwhile is started again by its node, from the configuration that is mounted.
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    Cluster::on_node(
        node,
        &["ctr", "--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", &container],
    )
    .await;
    tenant.answers(200).await;
    let (status, _) = tenant.get(&format!("/Users/{id}")).await.expect("the server answers");
    assert_eq!(status, 200);

    scene.cluster.start_api_server().await;
    scene.edit("ScimTenant", "acme", json!({"spec": {"suspended": true}})).await;
    tenant.answers(503).await;
    scene.edit("ScimTenant", "acme", json!({"spec": {"suspended": false}})).await;
    tenant.answers(200).await;
    scene.ready("ScimTenant", "acme").await;
    let pod = scene.server_pods().await.remove(0);
    assert_eq!(
        pod["status"]["containerStatuses"][0]["restartCount"], 1,
        "it was killed, and is the same pod"
    );

    // The rest of Kubernetes asks a lost API server less and less often, and needs longer than the operator.
    let pod = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    scene.delete("Pod", &pod).await;
    rolled_out(&scene, 1, &[pod]).await;
}
