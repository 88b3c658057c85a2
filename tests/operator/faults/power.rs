//! A server pod that is taken over by an attacker: what its token can do.

use serde_json::{Value, json};

use super::served;
use crate::support::Scene;
use crate::support::cluster::API_SERVER;
use crate::{Scenario, rows};

pub(super) fn all() -> Vec<Scenario> {
    rows![server_pod_taken_over_reads_its_own_configuration_and_nothing_else]
}

async fn server_pod_taken_over_reads_its_own_configuration_and_nothing_else(scene: Scene) {
    served(&scene).await;
    let account = scene.server_pods().await.remove(0)["spec"]["serviceAccountName"].clone();
    let account = account.as_str().expect("a pod has a service account");
    let token = scene.cluster.kubectl(&["create", "token", account, "--namespace", &scene.namespace]).await;
    let thief = Thief::new(&scene, token.trim());
    let here = scene.namespace.as_str();

    // What the API server says that it may do.
    let rules = thief.rules(here).await;
    let (own, others): (Vec<_>, Vec<_>) =
        rules.iter().partition(|rule| rule["resources"] == json!(["secrets"]));
    for rule in &own {
        let names = rule["resourceNames"].as_array().cloned().unwrap_or_default();
        let is_configuration =
            |name: &Value| name.as_str().is_some_and(|name| name.starts_with("main-scim-config"));
        assert!(
            !names.is_empty() && names.iter().all(is_configuration),
            "it reads more than its own: {rule}"
        );
        let verbs = rule["verbs"].as_array().cloned().unwrap_or_default();
        assert!(
            verbs.iter().all(|verb| ["get", "list", "watch"].iter().any(|read| verb == read)),
            "it may write: {rule}"
        );
    }
    assert!(!own.is_empty(), "it may not read its own configuration: {rules:?}");
    for rule in others {
        // Everybody may ask who he is and what he may do.
        let resources = rule["resources"].as_array().cloned().unwrap_or_default();
        let is_a_question =
            |resource: &Value| resource.as_str().is_some_and(|name| name.starts_with("selfsubject"));
        assert!(resources.iter().all(is_a_question), "it has a right too many: {rule}");
    }

    // And what it gets when it tries.
    let secrets = format!("/api/v1/namespaces/{here}/secrets");
    let head = format!("{secrets}/main-scim-config");
    assert_eq!(thief.call("GET", &head, &Value::Null).await.0, 200);
    let custom = format!("/apis/scim-operator.io/v1alpha1/namespaces/{here}");
    for path in [
        secrets.clone(),
        format!("{secrets}/acme-scim-token"),
        format!("{secrets}/main-scim-tls"),
        "/api/v1/namespaces/cert-manager/secrets/ca".to_owned(),
        "/api/v1/secrets".to_owned(),
        "/api/v1/nodes".to_owned(),
        "/api/v1/namespaces".to_owned(),
        format!("/api/v1/namespaces/{here}/pods"),
        format!("/api/v1/namespaces/{here}/configmaps"),
        format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{here}/roles"),
        format!("{custom}/scimtenants"),
        format!("{custom}/scimendpoints/main"),
    ] {
        assert_eq!(thief.call("GET", &path, &Value::Null).await.0, 403, "GET {path}");
    }
    let loot = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "main-scim-config-loot"}});
    for (method, path, body) in [
        ("POST", secrets.clone(), &loot),
        ("PUT", head.clone(), &loot),
        ("DELETE", head.clone(), &Value::Null),
        ("DELETE", format!("{custom}/scimtenants/acme"), &Value::Null),
        ("POST", format!("/api/v1/namespaces/{here}/serviceaccounts/{account}/token"), &json!({})),
        ("POST", format!("/api/v1/namespaces/{here}/pods"), &json!({})),
    ] {
        assert_eq!(thief.call(method, &path, body).await.0, 403, "{method} {path}");
    }
}

/// Somebody who holds a token, and calls the API server with it.
struct Thief {
    http: reqwest::Client,
    token: String,
}

impl Thief {
    fn new(scene: &Scene, token: &str) -> Self {
        let http =
            reqwest::Client::builder().no_proxy().tls_certs_only([scene.cluster.api_server_authority()]);
        Self { http: http.build().expect("the authority is a certificate"), token: token.to_owned() }
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let method = method.parse().expect("an HTTP method");
        let request =
            self.http.request(method, format!("{API_SERVER}{path}")).bearer_auth(&self.token).json(body);
        let answer = request.send().await.expect("the API server answers");
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    /// What the API server says that it may do in a namespace.
    async fn rules(&self, namespace: &str) -> Vec<Value> {
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": namespace}});
        let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
        let (status, answer) = self.call("POST", path, &review).await;
        assert_eq!(status, 201, "{answer}");
        answer["status"]["resourceRules"].as_array().cloned().unwrap_or_default()
    }
}
