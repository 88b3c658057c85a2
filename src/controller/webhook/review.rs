//! What is refused: an object that its endpoint, or the objects that are there already, would not let take effect.
//!
//! What may come later, such as a Secret or the endpoint itself, is a warning: the order in which objects are applied
//! is nobody's concern.

use std::sync::Arc;

use kube::{
    api::DynamicObject,
    core::admission::{AdmissionRequest, Operation},
};

use crate::{
    config::{
        admit::admit,
        compile::{self, Refusal},
        findings::Finding,
        objects::{Located, Object as _, SecretIndex},
        yaml::Source,
    },
    controller::{
        cache::{Cache, Rivals, endpoint_of},
        compile::messages,
        endpoint::host_taken,
        kinds::Kind,
    },
    crd::{ScimEndpoint, ScimTenant},
};

/// What is to be said of an object.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Decision {
    /// Why it is refused.
    pub(super) refusal: Option<String>,
    pub(super) warnings: Vec<String>,
}

impl Decision {
    fn refuse(findings: &[Finding]) -> Self {
        Self { refusal: Some(messages(findings)), warnings: Vec::new() }
    }

    fn warn(warning: String) -> Self {
        Self { refusal: None, warnings: vec![warning] }
    }
}

/// Judges an object that is about to be written.
pub(super) fn review(cache: &Cache, request: AdmissionRequest<DynamicObject>) -> Decision {
    let is_written = matches!(request.operation, Operation::Create | Operation::Update);
    let Some(object) = request.object.filter(|_| is_written) else { return Decision::default() };
    // What is on its way out, and what changes in labels or finalizers only, is never held up.
    let same = request.old_object.is_some_and(|old| old.data.get("spec") == object.data.get("spec"));
    if same || object.metadata.deletion_timestamp.is_some() {
        return Decision::default();
    }
    let kind = request.kind.kind.as_str();
    let decision = if kind == Kind::Endpoint.as_str() {
        object.try_parse().map(|object| endpoint(cache, &Arc::new(object)))
    } else if kind == Kind::Tenant.as_str() {
        object.try_parse().map(|object| tenant(cache, &Arc::new(object)))
    } else {
        Ok(Decision::default())
    };
    decision.unwrap_or_else(|error| {
        Decision::warn(format!("the object cannot be read by this version of the operator: {error}"))
    })
}

fn endpoint(cache: &Cache, endpoint: &Arc<ScimEndpoint>) -> Decision {
    if let Some(holder) = cache.host_holder(endpoint) {
        return Decision { refusal: Some(host_taken(endpoint, &holder)), warnings: Vec::new() };
    }
    match compile::endpoint_alone(&located(endpoint)) {
        Ok(_) => Decision::default(),
        Err(findings) => Decision::refuse(&findings),
    }
}

fn tenant(cache: &Cache, tenant: &Arc<ScimTenant>) -> Decision {
    let key = endpoint_of(tenant);
    let Some(Rivals { endpoint, tenants, namespaces }) = cache.rivals(&key, tenant.path()) else {
        return Decision::warn(format!(
            "spec.endpointRef: there is no ScimEndpoint {key} that can be read; the tenant is served once there is"
        ));
    };
    let endpoint = located(&endpoint);
    // As it is about to be, in place of what it was.
    let others = tenants.iter().filter(|other| other.key() != tenant.key());
    let tenants: Vec<_> = others.chain([tenant]).map(located).collect();
    let admissions = admit(&endpoint, &tenants, &namespaces);
    let own = admissions.into_iter().find(|admission| admission.tenant.object.key() == tenant.key());
    if let Some(finding) = own.and_then(|admission| admission.refusal) {
        return Decision::refuse(&[finding]);
    }
    let (result, warnings) = compile::one_tenant(&endpoint, &located(tenant), &SecretIndex::new(&[]));
    let findings = match &result {
        Ok(_) => &[],
        Err(refusal @ (Refusal::NotAdmitted(_) | Refusal::Unusable(_))) => refusal.findings(),
    };
    // Secrets were not looked at: the tenant's status says what is wrong with them.
    let of_secrets =
        |finding: &&Finding| finding.code.starts_with("secret-") || finding.code.starts_with("token-");
    let errors: Vec<Finding> = findings.iter().filter(|finding| !of_secrets(finding)).cloned().collect();
    if !errors.is_empty() {
        return Decision::refuse(&errors);
    }
    let warnings = warnings.iter().filter(|finding| !of_secrets(finding));
    Decision {
        refusal: None,
        warnings: warnings.map(|finding| messages(std::slice::from_ref(finding))).collect(),
    }
}

fn located<T>(object: &Arc<T>) -> Located<T> {
    Located { object: Arc::clone(object), source: Source::default() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::controller::{cache::Listener, key::Key};

    struct Nobody;

    impl Listener for Nobody {
        fn endpoint(&self, _: &Key) {}
        fn tenant(&self, _: &Key) {}
        fn pods(&self, _: &Key) {}
    }

    fn object(kind: &str, name: &str, spec: &Value) -> Value {
        json!({
            "apiVersion": "scim-operator.io/v1alpha1", "kind": kind, "spec": spec,
            "metadata": {"name": name, "namespace": "identity", "creationTimestamp": format!("2026-01-01T00:00:{:02}Z", name.len())},
        })
    }

    /// A cluster with these objects.
    fn cluster(objects: &[Value]) -> Arc<Cache> {
        let cache = Arc::new(Cache::new(Box::new(Nobody)));
        for object in objects {
            let kind = if object["kind"] == "ScimEndpoint" { Kind::Endpoint } else { Kind::Tenant };
            cache.sink(kind).put(serde_json::from_value(object.clone()).unwrap());
        }
        cache
    }

    fn request(object: &Value, old: Option<&Value>) -> AdmissionRequest<DynamicObject> {
        let (kind, operation) = (&object["kind"], if old.is_some() { "UPDATE" } else { "CREATE" });
        serde_json::from_value(json!({
            "uid": "1", "operation": operation, "userInfo": {}, "object": object, "oldObject": old,
            "kind": {"group": "scim-operator.io", "version": "v1alpha1", "kind": kind},
            "resource": {"group": "scim-operator.io", "version": "v1alpha1", "resource": "any"},
        }))
        .unwrap()
    }

    fn refusal(cache: &Cache, object: &Value, old: Option<&Value>) -> String {
        review(cache, request(object, old)).refusal.unwrap_or_default()
    }

    #[test]
    fn tenant_is_judged_with_its_neighbours_and_never_against_itself() {
        let endpoint = object("ScimEndpoint", "main", &json!({"maxTenants": 2}));
        let first = object("ScimTenant", "a", &json!({"endpointRef": {"name": "main"}, "path": "one"}));
        let cache = cluster(&[endpoint, first.clone()]);
        let taken = object("ScimTenant", "bb", &json!({"endpointRef": {"name": "main"}, "path": "one"}));
        assert_eq!(
            refusal(&cache, &taken, None),
            "spec.path: the path \"one\" is already that of ScimTenant identity/a; give one of them another spec.path"
        );
        let mut moved = first.clone();
        moved["spec"]["suspended"] = true.into();
        assert_eq!(refusal(&cache, &moved, Some(&first)), "");
        let second = object("ScimTenant", "bb", &json!({"endpointRef": {"name": "main"}}));
        assert_eq!(refusal(&cache, &second, None), "");
        cache.sink(Kind::Tenant).put(serde_json::from_value(second).unwrap());
        let third = object("ScimTenant", "ccc", &json!({"endpointRef": {"name": "main"}}));
        assert!(refusal(&cache, &third, None).contains("takes 2 tenants, and has them"));
    }

    #[test]
    fn labels_finalizers_and_deletion_are_never_held_up() {
        let endpoint = object("ScimEndpoint", "main", &json!({}));
        let first = object("ScimTenant", "a", &json!({"endpointRef": {"name": "main"}, "path": "one"}));
        let second = object("ScimTenant", "bb", &json!({"endpointRef": {"name": "main"}, "path": "one"}));
        let cache = cluster(&[endpoint, first, second.clone()]);
        let mut labelled = second.clone();
        labelled["metadata"]["labels"] = json!({"a": "b"});
        assert_eq!(refusal(&cache, &labelled, Some(&second)), "");
        let mut leaving = second.clone();
        leaving["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z".into();
        leaving["spec"]["suspended"] = true.into();
        assert_eq!(refusal(&cache, &leaving, Some(&second)), "");
        let mut edited = second.clone();
        edited["spec"]["suspended"] = true.into();
        assert!(refusal(&cache, &edited, Some(&second)).contains("already that of"));
    }

    #[test]
    fn what_may_come_later_is_a_warning() {
        let cache = cluster(&[object("ScimEndpoint", "main", &json!({}))]);
        let early = object("ScimTenant", "a", &json!({"endpointRef": {"name": "later"}}));
        let decision = review(&cache, request(&early, None));
        assert_eq!(decision.refusal, None);
        assert!(decision.warnings[0].contains("there is no ScimEndpoint identity/later"), "{decision:?}");
        // A Secret is not even that: it may be there and was not looked at.
        let tokens = json!([{"name": "one", "secretKeyRef": {"name": "none", "key": "token"}}]);
        let spec = json!({"endpointRef": {"name": "main"}, "authentication": {"bearer": {"tokens": tokens}}});
        assert_eq!(review(&cache, request(&object("ScimTenant", "a", &spec), None)), Decision::default());
    }
}
