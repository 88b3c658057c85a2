//! New versions of the operator and of the servers, under constant load.

use serde_json::json;

use super::served;
use crate::support::cluster::{Cluster, IMAGE, SYSTEM};
use crate::support::{Scene, until};
use crate::{Scenario, rows};

pub(super) fn all() -> Vec<Scenario> {
    rows![
        operator_upgraded_under_load_fails_no_request,
        server_with_sqlite_upgraded_under_load_loses_nothing_that_was_acknowledged,
    ]
}

async fn operator_upgraded_under_load_fails_no_request(scene: Scene) {
    let tenant = served(&scene).await;
    let servers = scene.server_pod_names().await;
    let controller = controller_pods(&scene).await;
    let load = scene.load(&tenant);
    scene.cluster.install(&["podAnnotations.example\\.com/round=second"]).await;
    until("another controller", async || {
        let now = controller_pods(&scene).await;
        if now.iter().any(|pod| controller.contains(pod)) { Err(format!("{now:?}")) } else { Ok(()) }
    })
    .await;
    // The new one works.
    scene.edit("ScimTenant", "acme", json!({"spec": {"limits": {"maxPageSize": 10}}})).await;
    scene.ready("ScimTenant", "acme").await;
    let seen = load.finish().await;
    println!("        operator upgraded: {seen}");
    seen.nothing_failed();
    assert_eq!(scene.server_pod_names().await, servers, "no server was touched");
}

async fn controller_pods(scene: &Scene) -> Vec<String> {
    let pods = scene.cluster.pods(SYSTEM, "app.kubernetes.io/name=scim-operator").await;
    pods.iter().map(|pod| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect()
}

/// One replica, replaced by `Recreate`: identity providers are told to try again for as long as it takes, and find
/// everything that was acknowledged.
async fn server_with_sqlite_upgraded_under_load_loses_nothing_that_was_acknowledged(scene: Scene) {
    let tenant = served(&scene).await;
    let (name, _) = IMAGE.rsplit_once(':').expect("the image has a tag");
    let next = format!("{name}:next");
    Cluster::on_node("node1", &["ctr", "--namespace", "k8s.io", "images", "tag", "--force", IMAGE, &next])
        .await;
    let load = scene.load(&tenant);
    scene.cluster.install(&["image.tag=next"]).await;
    until("the server is of the next version", async || {
        let pods = scene.server_pods().await;
        let images: Vec<_> = pods.iter().map(|pod| pod["spec"]["containers"][0]["image"].clone()).collect();
        if images == [json!(next)] { Ok(()) } else { Err(format!("{images:?}")) }
    })
    .await;
    scene.ready("ScimEndpoint", "main").await;
    tenant.answers(200).await;
    let seen = load.finish().await;
    println!("        server with SQLite replaced: {seen}");
    seen.only_told_to_try_again();
    scene.cluster.install(&[]).await;
}
