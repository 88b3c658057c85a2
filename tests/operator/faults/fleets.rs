//! Several pods on one PostgreSQL, under constant load: nothing that happens to one of them is noticed.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Database, Scene, Tenant, until, until_within};
use crate::{Scenario, rows};

pub(super) fn all() -> Vec<Scenario> {
    rows![
        fleet_of_three_on_postgres_is_rolled_under_load_fails_no_request,
        fleet_whose_database_secret_breaks_serves_on_and_says_why_until_it_is_repaired,
        fleet_that_is_scaled_out_by_its_autoscaler_keeps_its_replicas,
    ]
}

const PASSWORD: &str = "first-password";

/// An endpoint with this many pods, and a tenant.
const MANIFESTS: &str = "
apiVersion: scim-operator.io/v1alpha1
kind: ScimEndpoint
metadata: {name: main}
spec:
  host: $HOST
  exposure: {ingress: {className: traefik}}
  tls: {issuerRef: {name: ca, kind: ClusterIssuer}}
  server: {replicas: $REPLICAS, resources: {requests: {cpu: 20m, memory: 32Mi}}}
  storage:
    postgres:
      secretRef: {name: database}
      tls: {caSecretRef: {name: database}}
      pool: {maxSize: 6}
---
apiVersion: scim-operator.io/v1alpha1
kind: ScimTenant
metadata: {name: acme}
spec: {endpointRef: {name: main}}
";

/// A tenant that so many pods serve from a database of their own.
pub(super) async fn fleet(scene: &Scene, replicas: usize) -> (Database, Tenant) {
    let database = Database::start().await;
    database.set_password(PASSWORD).await;
    scene.apply_value(database.secret(PASSWORD)).await;
    scene.apply(&MANIFESTS.replace("$REPLICAS", &replicas.to_string())).await;
    let tenant = scene.tenant("acme").await;
    rolled_out(scene, replicas, &[]).await;
    tenant.answers(200).await;
    (database, tenant)
}

/// Waits until the fleet has as many pods, all ready, and none of these; gives their names.
pub(super) async fn rolled_out(scene: &Scene, replicas: usize, before: &[String]) -> Vec<String> {
    until_within(Duration::from_mins(2), &format!("{replicas} other pods are ready"), async || {
        let pods = scene.server_pods().await;
        let name = |pod: &Value| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let names: Vec<_> = pods.iter().map(name).collect();
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
        if ready == replicas && names.len() == replicas && !names.iter().any(|name| before.contains(name)) {
            Ok(names)
        } else {
            Err(format!("{ready} of {names:?} are ready"))
        }
    })
    .await
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

async fn fleet_of_three_on_postgres_is_rolled_under_load_fails_no_request(scene: Scene) {
    let (_database, tenant) = fleet(&scene, 3).await;
    let before = scene.server_pod_names().await;
    let budget = scene.get("PodDisruptionBudget", "main-scim").await;
    assert_eq!(budget["spec"]["maxUnavailable"], 1, "{budget:#}");
    assert!(scene.list("PersistentVolumeClaim").await.is_empty(), "nothing is kept in a volume");
    let load = scene.load(&tenant);
    let annotations = json!({"example.com/round": "second"});
    scene.edit("ScimEndpoint", "main", json!({"spec": {"server": {"podAnnotations": annotations}}})).await;
    rolled_out(&scene, 3, &before).await;
    scene.ready("ScimEndpoint", "main").await;
    let seen = load.finish().await;
    println!("        fleet of three rolled: {seen}");
    seen.nothing_failed();
}

async fn fleet_whose_database_secret_breaks_serves_on_and_says_why_until_it_is_repaired(scene: Scene) {
    let (database, tenant) = fleet(&scene, 2).await;
    let before = scene.server_pod_names().await;
    let load = scene.load(&tenant);
    scene.edit("Secret", "database", json!({"stringData": {"url": "http://s3cret"}})).await;
    let said = scene.refuses(("ScimEndpoint", "main"), "SecretInvalid").await;
    assert!(said.contains("database") && !said.contains("s3cret"), "{said}");
    scene.delete("Secret", "database").await;
    let said = scene.refuses(("ScimEndpoint", "main"), "SecretNotFound").await;
    assert!(said.contains("database"), "{said}");
    // A URL like any other, and the password is wrong: the next pod is not ready, and says why.
    scene.apply_value(database.secret("another-password")).await;
    until("it is said why the next pod is not ready", async || {
        let endpoint = ("ScimEndpoint", "main");
        let said = scene.condition(endpoint, "Reconciling", "True", "DatabaseUnavailable").await;
        if said.contains("password authentication failed") { Ok(()) } else { Err(said) }
    })
    .await;
    let now = scene.server_pod_names().await;
    assert!(before.iter().all(|pod| now.contains(pod)), "{before:?} {now:?}");
    // Rotated at last: those that serve have connections, the next ones the new password.
    database.set_password("another-password").await;
    rolled_out(&scene, 2, &before).await;
    scene.ready("ScimEndpoint", "main").await;
    let seen = load.finish().await;
    println!("        password of the database rotated: {seen}");
    seen.nothing_failed();
}

async fn fleet_that_is_scaled_out_by_its_autoscaler_keeps_its_replicas(scene: Scene) {
    let (_database, tenant) = fleet(&scene, 2).await;
    let load = scene.load(&tenant);
    // Of the 20m that a pod requests, some requests a second are more than this.
    let autoscaling = json!({"minReplicas": 2, "maxReplicas": 3, "targetCPUUtilization": 5});
    let server = json!({"replicas": null, "autoscaling": autoscaling});
    scene.edit("ScimEndpoint", "main", json!({"spec": {"server": server}})).await;
    scene.appears("HorizontalPodAutoscaler", "main-scim").await;
    until_within(Duration::from_mins(3), "the autoscaler has scaled out", async || {
        let deployment = scene.get("Deployment", "main-scim").await;
        let replicas = deployment["spec"]["replicas"].as_i64().unwrap_or_default();
        assert!(replicas >= 2, "the fleet was scaled in to {replicas} on the way");
        let autoscaler = scene.get("HorizontalPodAutoscaler", "main-scim").await;
        if replicas == 3 { Ok(()) } else { Err(format!("{replicas}, {:#}", autoscaler["status"])) }
    })
    .await;
    let before = rolled_out(&scene, 3, &[]).await;
    // What else changes leaves the number alone.
    let annotations = json!({"example.com/round": "second"});
    scene.edit("ScimEndpoint", "main", json!({"spec": {"server": {"podAnnotations": annotations}}})).await;
    rolled_out(&scene, 3, &before).await;
    let deployment = scene.get("Deployment", "main-scim").await;
    assert_eq!(deployment["spec"]["replicas"], 3);
    until("the status counts them", async || {
        let status = scene.get("ScimEndpoint", "main").await["status"].clone();
        if status["readyReplicas"] == 3 { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    let seen = load.finish().await;
    println!("        fleet scaled out: {seen}");
    seen.nothing_failed();
}
