//! One scenario's place: a namespace of its own, and what a user does and sees there.

use std::sync::Arc;

use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use scim_operator::config::yaml;
use serde_json::{Value, json};

use super::{Cluster, Load, Tenant, until};

/// The namespace of a scenario. Objects whose YAML names no namespace go there.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) namespace: String,
}

impl Scene {
    /// Makes the namespace, which refuses pods that ask for more than they need.
    pub(crate) async fn open(cluster: Arc<Cluster>, scenario: &str) -> Self {
        let mut namespace = scenario.rsplit("::").next().unwrap_or_default().replace('_', "-");
        namespace.truncate(40);
        let scene = Self { cluster, namespace: namespace.trim_end_matches('-').to_owned() };
        scene.add_namespace(&scene.namespace, &json!({})).await;
        scene
    }

    /// One more namespace, with labels.
    pub(crate) async fn add_namespace(&self, name: &str, labels: &Value) {
        let mut namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = json!("restricted");
        self.apply_object(namespace).await.unwrap_or_else(|error| panic!("namespace {name}: {error}"));
    }

    /// The same cluster seen from another namespace.
    pub(crate) fn within(&self, namespace: &str) -> Self {
        Self { cluster: self.cluster.clone(), namespace: namespace.to_owned() }
    }

    /// The host name that is this scene's own.
    pub(crate) fn host(&self) -> String {
        format!("{}.example.com", self.namespace)
    }

    /// Applies manifests; the API server must take them. `$HOST` is [`Self::host`].
    pub(crate) async fn apply(&self, manifests: &str) {
        for object in self.objects(manifests) {
            self.apply_value(object).await;
        }
    }

    /// Applies one object; the API server must take it.
    pub(crate) async fn apply_value(&self, object: Value) {
        let name = object["metadata"]["name"].clone();
        if let Err(error) = self.apply_object(object).await {
            panic!("{name} is refused: {error}");
        }
    }

    /// Applies a manifest that the API server must refuse, and gives what it says.
    pub(crate) async fn refused(&self, manifest: &str) -> String {
        self.try_apply(manifest).await.expect_err("the API server takes it")
    }

    /// Applies a manifest; the error is what the API server says.
    pub(crate) async fn try_apply(&self, manifest: &str) -> Result<(), String> {
        let [object] = <[Value; 1]>::try_from(self.objects(manifest)).expect("one object");
        self.apply_object(object).await
    }

    fn objects(&self, manifests: &str) -> Vec<Value> {
        let (documents, findings) = yaml::parse("scenario", &manifests.replace("$HOST", &self.host()));
        assert!(findings.is_empty(), "{findings:?}");
        documents.into_iter().map(|document| document.value).collect()
    }

    /// Applies a manifest as soon as the API server takes it: a definition counts a moment after it has changed.
    pub(crate) async fn becomes_possible(&self, manifest: &str) {
        until("the API server takes it", async || self.try_apply(manifest).await).await;
    }

    async fn apply_object(&self, object: Value) -> Result<(), String> {
        self.apply_as("user", object).await
    }

    /// Applies an object as `kubectl apply --server-side --force-conflicts --field-manager MANAGER` does.
    pub(crate) async fn apply_as(&self, manager: &str, object: Value) -> Result<(), String> {
        let object: DynamicObject = serde_json::from_value(object).map_err(|error| error.to_string())?;
        let kind = object.types.as_ref().map(|types| types.kind.clone()).ok_or("it has no kind")?;
        let name = object.metadata.name.clone().ok_or("it has no name")?;
        let namespace = object.metadata.namespace.clone().unwrap_or_else(|| self.namespace.clone());
        let parameters = PatchParams::apply(manager).force();
        let applied =
            self.cluster.api(&kind, &namespace).patch(&name, &parameters, &Patch::Apply(&object)).await;
        applied.map(drop).map_err(|error| error.to_string())
    }

    /// Changes an object as `kubectl edit` or `kubectl patch --type=merge` does.
    pub(crate) async fn edit(&self, kind: &str, name: &str, change: Value) {
        let parameters = PatchParams { field_manager: Some("somebody".into()), ..PatchParams::default() };
        let edited =
            self.cluster.api(kind, &self.namespace).patch(name, &parameters, &Patch::Merge(change)).await;
        edited.unwrap_or_else(|error| panic!("{kind} {name}: {error}"));
    }

    /// The same by a list of operations (RFC 6902), for parts of lists.
    pub(crate) async fn edit_json(&self, kind: &str, name: &str, operations: Value) {
        let patch = serde_json::from_value(operations).expect("the test writes a JSON patch");
        let patch = Patch::<()>::Json(patch);
        let edited =
            self.cluster.api(kind, &self.namespace).patch(name, &PatchParams::default(), &patch).await;
        edited.unwrap_or_else(|error| panic!("{kind} {name}: {error}"));
    }

    /// Changes an object's status, as the controller of another product does.
    pub(crate) async fn edit_status(&self, kind: &str, name: &str, change: Value) {
        let api = self.cluster.api(kind, &self.namespace);
        let edited = api.patch_status(name, &PatchParams::default(), &Patch::Merge(change)).await;
        edited.unwrap_or_else(|error| panic!("{kind} {name}: {error}"));
    }

    /// Deletes an object, and does not wait until it is gone.
    pub(crate) async fn delete(&self, kind: &str, name: &str) {
        let deleted = self.cluster.api(kind, &self.namespace).delete(name, &DeleteParams::default()).await;
        deleted.unwrap_or_else(|error| panic!("{kind} {name}: {error}"));
    }

    /// An object as it is now, if there is one.
    pub(crate) async fn find(&self, kind: &str, name: &str) -> Option<Value> {
        let found = self.cluster.api(kind, &self.namespace).get_opt(name).await;
        let found = found.unwrap_or_else(|error| panic!("{kind} {name}: {error}"));
        found.map(|object| serde_json::to_value(object).expect("an object is JSON"))
    }

    /// An object as it is now.
    pub(crate) async fn get(&self, kind: &str, name: &str) -> Value {
        self.find(kind, name).await.unwrap_or_else(|| panic!("there is no {kind} {name}"))
    }

    /// The objects of a kind.
    pub(crate) async fn list(&self, kind: &str) -> Vec<Value> {
        let listed = self.cluster.api(kind, &self.namespace).list(&kube::api::ListParams::default()).await;
        let items = listed.unwrap_or_else(|error| panic!("{kind}: {error}")).items;
        items.iter().map(|object| serde_json::to_value(object).expect("an object is JSON")).collect()
    }

    /// Waits until there is an object of that name.
    pub(crate) async fn appears(&self, kind: &str, name: &str) -> Value {
        until(&format!("there is {kind} {name}"), async || self.find(kind, name).await.ok_or("no".to_owned()))
            .await
    }

    /// Waits until an object is gone.
    pub(crate) async fn disappears(&self, kind: &str, name: &str) {
        until(&format!("{kind} {name} is gone"), async || match self.find(kind, name).await {
            None => Ok(()),
            Some(object) => Err(format!("it has finalizers {}", object["metadata"]["finalizers"])),
        })
        .await;
    }

    /// Waits until an object is as a test says.
    pub(crate) async fn becomes(
        &self,
        kind: &str,
        name: &str,
        what: &str,
        test: impl Fn(&Value) -> bool,
    ) -> Value {
        until(&format!("{kind} {name} {what}"), async || {
            let object = self.find(kind, name).await.ok_or("there is none")?;
            if test(&object) { Ok(object) } else { Err(format!("it is {:#}", without_noise(object))) }
        })
        .await
    }

    /// Waits for a condition that is about the object's present generation, and gives its message.
    pub(crate) async fn condition(
        &self,
        object: (&str, &str),
        kind: &str,
        status: &str,
        reason: &str,
    ) -> String {
        until(&format!("{} {} is {kind}={status} {reason}", object.0, object.1), async || {
            let found = self.find(object.0, object.1).await.ok_or("there is none")?;
            let conditions = &found["status"]["conditions"];
            let condition =
                condition_of(&found, kind).ok_or_else(|| format!("its conditions are {conditions:#}"))?;
            let current = condition["observedGeneration"] == found["metadata"]["generation"];
            if current && condition["status"] == status && condition["reason"] == reason {
                Ok(condition["message"].as_str().unwrap_or_default().to_owned())
            } else {
                Err(format!("generation {}, conditions {conditions:#}", found["metadata"]["generation"]))
            }
        })
        .await
    }

    /// Waits until an object says Ready about its present generation.
    pub(crate) async fn ready(&self, kind: &str, name: &str) -> Value {
        self.becomes(kind, name, "is ready", |object| {
            condition_of(object, "Ready").is_some_and(|ready| {
                ready["status"] == "True" && ready["observedGeneration"] == object["metadata"]["generation"]
            })
        })
        .await
    }

    /// Waits until an object is refused with a reason: `Accepted` and `Ready` are false, and it is not stalled without
    /// saying so. Gives the message, which must say more than the reason.
    pub(crate) async fn refuses(&self, object: (&str, &str), reason: &str) -> String {
        let message = self.condition(object, "Accepted", "False", reason).await;
        self.condition(object, "Ready", "False", reason).await;
        assert!(message.split_whitespace().count() >= 5, "{reason} says too little: {message:?}");
        message
    }

    /// Waits for an Event about an object, and gives its message.
    pub(crate) async fn event(&self, object: (&str, &str), reason: &str) -> String {
        until(&format!("an Event {reason} about {} {}", object.0, object.1), async || {
            let events = self.list("Event").await;
            let about = |event: &&Value| {
                let involved = &event["involvedObject"];
                involved["kind"] == object.0 && involved["name"] == object.1
            };
            let about: Vec<_> = events.iter().filter(about).collect();
            let found = about.iter().find(|event| event["reason"] == reason);
            found.map(|event| event["message"].as_str().unwrap_or_default().to_owned()).ok_or_else(|| {
                let reasons: Vec<_> = about.iter().map(|event| event["reason"].to_string()).collect();
                format!("its Events are {}", reasons.join(", "))
            })
        })
        .await
    }

    /// The tenant, over HTTPS through Traefik, as its Ready status and its Secret tell its identity provider.
    pub(crate) async fn tenant(&self, name: &str) -> Tenant {
        let object = self.ready("ScimTenant", name).await;
        let url = object["status"]["url"].as_str().expect("a ready tenant has a URL");
        let secret = object["spec"]["authentication"]["bearer"]["secretName"].as_str();
        let secret = secret.map_or_else(|| format!("{name}-scim-token"), ToOwned::to_owned);
        Tenant::new(&self.cluster, url, &self.secret(&secret, "token").await)
    }

    /// Constant load on a tenant.
    pub(crate) fn load(&self, tenant: &Tenant) -> Load {
        Load::start(&self.cluster, tenant)
    }

    /// A key of a Secret, in plain text.
    pub(crate) async fn secret(&self, name: &str, key: &str) -> String {
        use base64::Engine as _;
        let secret = self.appears("Secret", name).await;
        let encoded = secret["data"][key].as_str().unwrap_or_else(|| panic!("Secret {name} has no {key}"));
        let decoded =
            base64::engine::general_purpose::STANDARD.decode(encoded).expect("Secrets are in base64");
        String::from_utf8(decoded).expect("it is text")
    }

    /// The server pods of the scene that are not about to end.
    pub(crate) async fn server_pods(&self) -> Vec<Value> {
        let pods = self.cluster.pods(&self.namespace, "app.kubernetes.io/component=server").await;
        pods.into_iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).collect()
    }

    /// The names of those pods: they stay the same as long as no pod is replaced.
    pub(crate) async fn server_pod_names(&self) -> Vec<String> {
        let pods = self.server_pods().await;
        pods.iter().map(|pod| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

/// A condition of an object.
fn condition_of<'object>(object: &'object Value, kind: &str) -> Option<&'object Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

fn without_noise(mut object: Value) -> Value {
    object["metadata"]["managedFields"] = Value::Null;
    object
}
