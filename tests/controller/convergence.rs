//! Whatever call fails, the outcome is the same.

use std::pin::pin;

use futures::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::support::{ApiServer, Controller, Cut, Pod, Proxy, World, eventually};

/// Operators at the same time.
const AT_ONCE: usize = 6;

#[tokio::test]
async fn connection_cut_at_any_call_converges_with_nothing_orphaned_or_twice() {
    let server = ApiServer::alone().await;
    let (expected, calls) = converge(&server, "cut-never", Cut::Never).await;
    println!("a full reconcile makes {calls} calls:\n{expected}");
    let cuts = (1..=calls).flat_map(|call| [Cut::Before(call), Cut::After(call)]);
    let outcomes = stream::iter(cuts).map(async |cut| {
        let namespace = format!("{cut:?}").to_lowercase().replace(['(', ')'], "-");
        (cut, converge(&server, &format!("cut-{namespace}end"), cut).await.0)
    });
    let mut outcomes = pin!(outcomes.buffer_unordered(AT_ONCE));
    let mut done = 0;
    while let Some((cut, outcome)) = outcomes.next().await {
        assert_eq!(outcome, expected, "{cut:?}");
        done += 1;
    }
    println!("{done} cuts, all with the same outcome");
    assert_eq!(done, 2 * calls);
}

/// Runs an operator behind a proxy until all is well; gives what there is then, and how many calls it took.
async fn converge(server: &ApiServer, namespace: &str, cut: Cut) -> (String, usize) {
    let world = World::new(server, namespace).await;
    let pod = Pod::start(&world, "main").await;
    let spec = json!({"host": format!("{namespace}.example.com"), "exposure": {"ingress": {}}});
    world.endpoint("main", spec).await;
    world.tenant("acme", json!({"deletionPolicy": "Delete"})).await;
    let proxy = Proxy::start(server, cut).await;
    let controller = Controller::start_at(server, &proxy.url, namespace).await;
    world.wait_for("scimtenants", "acme", "Ready", "True").await;
    let endpoint = eventually("the endpoint counts its tenant", async || {
        let endpoint = world.wait_for("scimendpoints", "main", "Ready", "True").await;
        (endpoint["status"]["tenants"] == 1).then_some(endpoint)
    })
    .await;
    let tenant = world.get("scimtenants", "acme").await;
    let text = format!(
        "{}endpoint {}\ntenant {} {}\n",
        world.inventory().await.replace(&*shard(&world).await, "SHARD"),
        endpoint["status"]["tenants"],
        tenant["metadata"]["finalizers"],
        owners(&world).await,
    );
    let calls = proxy.calls();
    drop((controller, pod));
    (text, calls)
}

/// The one shard, whose number follows from the namespace.
async fn shard(world: &World<'_>) -> String {
    let names = world.list("secrets").await.into_iter();
    let mut names = names.filter_map(|secret| secret["metadata"]["name"].as_str().map(str::to_owned));
    names.find(|name| name.starts_with("main-scim-config-")).expect("a tenant is served")
}

/// How many objects have an owner that is there.
async fn owners(world: &World<'_>) -> usize {
    let uid = |object: &Value| object["metadata"]["uid"].clone();
    let there =
        [uid(&world.get("scimendpoints", "main").await), uid(&world.get("scimtenants", "acme").await)];
    let mut count = 0;
    for plural in
        ["deployments", "services", "secrets", "ingresses", "roles", "rolebindings", "serviceaccounts"]
    {
        for object in world.list(plural).await {
            count += usize::from(there.contains(&object["metadata"]["ownerReferences"][0]["uid"]));
        }
    }
    count
}
