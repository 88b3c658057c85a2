//! A namespace of a test, and the objects in it.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::api_server::{ApiServer, TOKEN};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Asks until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "not after {} s: {what}", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A condition as `STATUS REASON: MESSAGE`; empty when there is none of this type.
pub(crate) fn condition(object: &Value, kind: &str) -> String {
    let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let found = conditions.iter().find(|condition| condition["type"] == kind);
    let found = found
        .map(|one| format!("{} {}: {}", text(&one["status"]), text(&one["reason"]), text(&one["message"])));
    found.unwrap_or_default()
}

/// A namespace of one test.
pub(crate) struct World<'a> {
    pub(crate) server: &'a ApiServer,
    pub(crate) namespace: String,
}

impl<'a> World<'a> {
    pub(crate) async fn new(server: &'a ApiServer, namespace: &str) -> Self {
        server.create_namespace(namespace).await;
        let world = Self { server, namespace: namespace.to_owned() };
        // What a controller of Kubernetes makes in every namespace, and no pod is taken without.
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        world.create("serviceaccounts", &account).await;
        world
    }

    /// An endpoint without anything around it.
    pub(crate) async fn endpoint(&self, name: &str, spec: Value) -> Value {
        self.create("scimendpoints", &custom("ScimEndpoint", name, &spec)).await
    }

    /// A tenant of the endpoint `main`, with more in its spec.
    pub(crate) async fn tenant(&self, name: &str, mut spec: Value) -> Value {
        if spec["endpointRef"].is_null() {
            spec["endpointRef"] = json!({"name": "main"});
        }
        self.create("scimtenants", &custom("ScimTenant", name, &spec)).await
    }

    pub(crate) async fn create(&self, plural: &str, object: &Value) -> Value {
        let (status, answer) = self.server.send(Method::POST, &self.path(plural, ""), object).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        answer
    }

    /// The object, when it is there.
    pub(crate) async fn find(&self, plural: &str, name: &str) -> Option<Value> {
        let (status, answer) = self.server.get(&self.path(plural, name)).await;
        (status == StatusCode::OK).then_some(answer)
    }

    pub(crate) async fn get(&self, plural: &str, name: &str) -> Value {
        self.find(plural, name).await.unwrap_or_else(|| panic!("{plural} {name} is not there"))
    }

    pub(crate) async fn list(&self, plural: &str) -> Vec<Value> {
        let (status, answer) = self.server.get(&self.path(plural, "")).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["items"].as_array().cloned().unwrap_or_default()
    }

    /// Changes an object as `kubectl patch --type=merge` does.
    pub(crate) async fn patch(&self, plural: &str, name: &str, patch: &Value) -> Value {
        let url = format!("{}{}", self.server.running.url, self.path(plural, name));
        let request = self.server.client.patch(url).bearer_auth(TOKEN).body(patch.to_string());
        let request = request.header("content-type", "application/merge-patch+json");
        let answer = request.send().await.expect("the API server answers");
        let (status, answer) = (answer.status(), answer.json::<Value>().await.unwrap_or_default());
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }

    pub(crate) async fn delete(&self, plural: &str, name: &str) {
        let (status, answer) = self.server.send(Method::DELETE, &self.path(plural, name), &json!({})).await;
        assert!(status.is_success(), "{answer}");
    }

    /// Waits for a condition of an object to begin with this text; gives the object.
    pub(crate) async fn wait_for(&self, plural: &str, name: &str, kind: &str, begins: &str) -> Value {
        let mut last = String::new();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(object) = self.find(plural, name).await {
                last = condition(&object, kind);
                if last.starts_with(begins) {
                    return object;
                }
            }
            assert!(Instant::now() < deadline, "{plural} {name}: {kind} is {last:?}, not {begins:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits for an Event with this reason whose note has this text.
    pub(crate) async fn wait_for_event(&self, reason: &str, text: &str) {
        eventually(&format!("an Event {reason} with {text:?}"), async || {
            let events = self.list("events").await;
            let told =
                |event: &Value| event["note"].as_str().or(event["message"].as_str()).map(str::to_owned);
            events
                .iter()
                .any(|event| event["reason"] == reason && told(event).is_some_and(|note| note.contains(text)))
                .then_some(())
        })
        .await;
    }

    /// Every object that the operator made, as `KIND/NAME`, in order.
    pub(crate) async fn inventory(&self) -> String {
        const PLURALS: [&str; 11] = [
            "deployments",
            "horizontalpodautoscalers",
            "ingresses",
            "networkpolicies",
            "persistentvolumeclaims",
            "poddisruptionbudgets",
            "rolebindings",
            "roles",
            "secrets",
            "serviceaccounts",
            "services",
        ];
        let mut text = String::new();
        for plural in PLURALS {
            for object in self.list(plural).await {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                if name == "default" {
                    continue;
                }
                let _ = writeln!(text, "{plural}/{name}");
            }
        }
        text
    }

    pub(crate) fn path(&self, plural: &str, name: &str) -> String {
        let api = match plural {
            "scimendpoints" | "scimtenants" => "apis/scim-operator.io/v1alpha1",
            "deployments" => "apis/apps/v1",
            "ingresses" | "networkpolicies" => "apis/networking.k8s.io/v1",
            "roles" | "rolebindings" => "apis/rbac.authorization.k8s.io/v1",
            "poddisruptionbudgets" => "apis/policy/v1",
            "horizontalpodautoscalers" => "apis/autoscaling/v2",
            "leases" => "apis/coordination.k8s.io/v1",
            "events" => "apis/events.k8s.io/v1",
            _ => "api/v1",
        };
        let path = format!("/{api}/namespaces/{}/{plural}", self.namespace);
        if name.is_empty() { path } else { format!("{path}/{name}") }
    }
}

fn custom(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "scim-operator.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    })
}
