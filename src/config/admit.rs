//! Which tenants an endpoint takes: by namespace, path and number, the older object first.

use std::collections::HashMap;

use super::{
    Limits,
    findings::Finding,
    objects::{Located, Namespaces, Object, refers_to},
};
use crate::crd::{NamespaceFrom, ScimEndpoint, ScimTenant, TenantLimits, TenantNamespaces};

/// A tenant that names an endpoint, and whether the endpoint takes it.
#[derive(Debug)]
pub struct Admission<'a> {
    /// The tenant.
    pub tenant: &'a Located<ScimTenant>,
    /// Who or what is in the way; none when the endpoint takes it.
    pub refusal: Option<Finding>,
}

/// Judges the tenants that name an endpoint, oldest first. An object that is there twice counts once.
#[must_use]
pub fn admit<'a>(
    endpoint: &Located<ScimEndpoint>,
    tenants: &'a [Located<ScimTenant>],
    namespaces: &Namespaces,
) -> Vec<Admission<'a>> {
    let mut candidates: Vec<_> =
        tenants.iter().filter(|tenant| refers_to(&tenant.object, &endpoint.object)).collect();
    // In a cluster the older object keeps its path, and of two that were made in one second the first by name; in a
    // folder, the one written first.
    candidates.sort_by_cached_key(|tenant| {
        let created = tenant.object.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (created.is_none(), created, created.map(|_| tenant.object.key()))
    });
    let mut admissions = Vec::with_capacity(candidates.len());
    let mut taken: HashMap<&str, &Located<ScimTenant>> = HashMap::new();
    for tenant in candidates {
        let path = tenant.object.path();
        let first = taken.get(path).copied();
        if first.is_some_and(|first| first.object.key() == tenant.object.key()) {
            continue;
        }
        let refusal = not_allowed(endpoint, tenant, namespaces)
            .or_else(|| first.map(|first| path_taken(tenant, first)))
            .or_else(|| quota_exceeded(endpoint, tenant, taken.len()));
        if refusal.is_none() {
            taken.insert(path, tenant);
        }
        admissions.push(Admission { tenant, refusal });
    }
    admissions
}

fn path_taken(tenant: &Located<ScimTenant>, first: &Located<ScimTenant>) -> Finding {
    let message = format!("the path {:?} is already that of {}", tenant.object.path(), first.id_and_place());
    let field = if tenant.object.spec.path.is_some() { "spec.path" } else { "metadata.name" };
    tenant.finding(field, Finding::error("path-taken", message).hint("give one of them another spec.path"))
}

/// Whether an endpoint that took so many tenants has no room for another.
fn quota_exceeded(
    endpoint: &Located<ScimEndpoint>,
    tenant: &Located<ScimTenant>,
    admitted: usize,
) -> Option<Finding> {
    let max = endpoint.object.spec.max_tenants.filter(|max| admitted >= *max as usize)?;
    let message = format!("{} takes {max} tenants, and has them", endpoint.id_and_place());
    let finding = Finding::error("quota-exceeded", message);
    let finding = finding.hint("raise spec.maxTenants of the endpoint, or remove a tenant");
    Some(tenant.finding("spec.endpointRef.name", finding))
}

/// Whether an endpoint takes no tenants from a tenant's namespace; the finding says what it takes.
fn not_allowed(
    endpoint: &Located<ScimEndpoint>,
    tenant: &Located<ScimTenant>,
    namespaces: &Namespaces,
) -> Option<Finding> {
    let home = endpoint.object.namespace();
    let namespace = tenant.object.namespace();
    let TenantNamespaces { from, selector } = &endpoint.object.spec.allowed_tenants.namespaces;
    let refused = |takes: &str, hint: String| {
        let message = format!("{} takes tenants of {takes} only", endpoint.id_and_place());
        let finding = Finding::error("namespace-not-allowed", message).hint(hint);
        Some(tenant.finding("spec.endpointRef.namespace", finding))
    };
    match (from, selector) {
        (NamespaceFrom::All, _) => None,
        (NamespaceFrom::Same, _) if home == namespace => None,
        (NamespaceFrom::Selector, Some(selector)) => {
            let labels = namespaces.labels(namespace);
            if selector.matches(&labels) {
                return None;
            }
            if !namespaces.knows(namespace) && selector.keys().any(|key| !labels.contains_key(key)) {
                let message = format!(
                    "the labels of namespace {namespace} are not known: it has no Namespace manifest"
                );
                let hint = format!(
                    "{} selects namespaces by their labels: add the manifest of namespace {namespace}",
                    endpoint.id_and_place()
                );
                let finding = Finding::error("namespace-unknown", message).hint(hint);
                return Some(tenant.finding("spec.endpointRef.namespace", finding));
            }
            let hint = format!(
                "give namespace {namespace} the labels of spec.allowedTenants.namespaces.selector, or change the selector"
            );
            refused("the namespaces that it selects", hint)
        }
        (NamespaceFrom::Same | NamespaceFrom::Selector, _) => {
            let hint = format!(
                "set spec.allowedTenants.namespaces.from to All in the endpoint, or put the tenant in namespace {home}"
            );
            refused("its own namespace", hint)
        }
    }
}

/// Warns of limits by which a tenant wants more than its endpoint allows.
pub(super) fn wider_limits(endpoint: &Located<ScimEndpoint>, tenant: &Located<ScimTenant>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let outer: Limits = endpoint.object.spec.limits.into();
    let TenantLimits { max_body_bytes, max_bulk_operations, max_bulk_payload_bytes, max_page_size } =
        tenant.object.spec.limits;
    let limits = [
        ("maxBodyBytes", max_body_bytes, outer.max_body_bytes),
        ("maxBulkOperations", max_bulk_operations.map(Into::into), outer.max_bulk_operations.into()),
        ("maxBulkPayloadBytes", max_bulk_payload_bytes, outer.max_bulk_payload_bytes),
        ("maxPageSize", max_page_size.map(Into::into), outer.max_page_size.into()),
    ];
    for (field, inner, outer) in limits {
        if let Some(inner) = inner.filter(|inner| *inner > outer) {
            let message = format!("{inner} has no effect: {} allows {outer}", endpoint.id_and_place());
            let finding =
                Finding::warning("limit-too-wide", message).hint("raise the endpoint's limit, or lower this");
            findings.push(tenant.finding(&format!("spec.limits.{field}"), finding));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{
        objects::Objects,
        validate::{File, read},
    };

    const TENANT: &str = "---\napiVersion: scim-operator.io/v1alpha1\nkind: ScimTenant\n";

    /// An endpoint with this `spec`, and tenants `NAMESPACE/NAME@CREATED` of one path each.
    fn objects(spec: &str, tenants: &[&str]) -> Objects {
        let endpoint = format!(
            "apiVersion: scim-operator.io/v1alpha1\nkind: ScimEndpoint\n\
             metadata: {{name: door, namespace: platform}}\nspec: {spec}\n"
        );
        let manifest = |tenant: &str| {
            let (namespace, rest) = tenant.split_once('/').unwrap();
            let (name, path) = rest.split('@').next().unwrap().split_once(':').unwrap();
            format!(
                "{TENANT}metadata: {{name: {name}, namespace: {namespace}}}\n\
                 spec: {{path: {path}, endpointRef: {{name: door, namespace: platform}}}}\n"
            )
        };
        let text = tenants.iter().fold(endpoint, |text, tenant| text + &manifest(tenant));
        let (mut objects, findings) = read(&[File { name: "m.yaml".into(), text }]);
        assert_eq!(findings, []);
        for (located, tenant) in objects.tenants.iter_mut().zip(tenants) {
            if let Some((_, created)) = tenant.split_once('@') {
                std::sync::Arc::make_mut(&mut located.object).metadata.creation_timestamp =
                    serde_json::from_value(format!("2026-01-01T00:00:{created}Z").into()).unwrap();
            }
        }
        objects
    }

    fn verdicts(objects: &Objects) -> Vec<String> {
        admit(&objects.endpoints[0], &objects.tenants, &objects.namespaces)
            .into_iter()
            .map(|Admission { tenant, refusal }| {
                format!("{} {}", tenant.object.key(), refusal.map_or("taken", |finding| finding.code))
            })
            .collect()
    }

    #[test]
    fn older_tenant_keeps_the_path_and_of_two_of_one_second_the_first_by_name() {
        let objects = objects("{}", &["platform/young:one@02", "platform/z:one@01", "platform/a:one@01"]);
        assert_eq!(
            verdicts(&objects),
            ["platform/a taken", "platform/z path-taken", "platform/young path-taken"]
        );
    }

    #[test]
    fn folder_keeps_the_path_of_the_tenant_that_is_written_first() {
        let objects = objects("{}", &["platform/z:one", "platform/a:one"]);
        assert_eq!(verdicts(&objects), ["platform/z taken", "platform/a path-taken"]);
    }

    #[test]
    fn quota_refuses_the_youngest_and_counts_only_those_that_are_taken() {
        let spec = "{maxTenants: 2}";
        let objects = objects(
            spec,
            &["platform/d:four@04", "elsewhere/a:one@01", "platform/b:two@02", "platform/c:three@03"],
        );
        assert_eq!(
            verdicts(&objects),
            [
                "elsewhere/a namespace-not-allowed",
                "platform/b taken",
                "platform/c taken",
                "platform/d quota-exceeded"
            ]
        );
    }

    #[test]
    fn selector_takes_namespaces_with_its_labels_and_the_endpoints_own_is_no_exception() {
        let spec = "{allowedTenants: {namespaces: {from: Selector, selector: {matchLabels: {scim: 'on'}}}}}";
        let mut objects = objects(spec, &["eu/a:one", "platform/b:two", "us/c:three"]);
        let labels = |value: &str| [("scim".to_owned(), value.to_owned())].into();
        objects.namespaces.insert("eu", labels("on"));
        objects.namespaces.insert("platform", labels("off"));
        assert_eq!(
            verdicts(&objects),
            ["eu/a taken", "platform/b namespace-not-allowed", "us/c namespace-unknown"]
        );
    }
}
