//! What is wrong between objects that are each right: an API server takes them all, and something is not served.

use std::collections::{HashMap, hash_map::Entry};

use jiff::Timestamp;

use crate::{
    config::{
        admit::{Admission, admit, wider_limits},
        credentials, database,
        findings::Finding,
        oauth2,
        objects::{Located, Object, Objects, SecretIndex},
    },
    crd::{ScimEndpoint, ScimTenant},
};

use super::schemas;

/// All findings between objects; with the time, also about tokens that end. `made` is the
/// folder of the Secrets that we made.
pub(super) fn check(objects: &Objects, now: Option<Timestamp>, made: Option<&str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    duplicates(&objects.endpoints, &mut findings);
    duplicates(&objects.tenants, &mut findings);
    duplicates(&objects.secrets, &mut findings);
    hosts(objects, &mut findings);
    let secrets = SecretIndex::new(&objects.secrets);
    for tenant in &objects.tenants {
        findings.extend(schemas::check(tenant));
        if objects.endpoint_of(&tenant.object).is_none() {
            findings.extend(endpoint_missing(tenant, objects));
        }
        findings.extend(credentials::check(tenant, &secrets));
        findings.extend(credentials::rotation_without_effect(tenant, &secrets, made));
        if let Some(now) = now {
            findings.extend(credentials::expiring(tenant, now));
        }
    }
    for tenant in &objects.tenants {
        let mut found = Vec::new();
        oauth2::compile(tenant, &secrets, &mut found);
        findings.extend(found.into_iter().filter(|finding| finding.code != "secret-missing"));
    }
    findings.extend(credentials::rotations_that_differ(&objects.tenants));
    for endpoint in &objects.endpoints {
        findings.extend(database::check(endpoint, &secrets));
        for Admission { tenant, refusal } in admit(endpoint, &objects.tenants, &objects.namespaces) {
            match refusal {
                None => findings.extend(wider_limits(endpoint, tenant)),
                Some(finding) => findings.push(finding),
            }
        }
    }
    findings
}

fn duplicates<T: Object>(objects: &[Located<T>], findings: &mut Vec<Finding>) {
    let mut seen: HashMap<String, &Located<T>> = HashMap::new();
    for located in objects {
        match seen.entry(located.object.key()) {
            Entry::Vacant(vacant) => {
                vacant.insert(located);
            }
            Entry::Occupied(first) => {
                let message =
                    format!("the object is written twice: the other is {}", first.get().id_and_place());
                let finding = Finding::error("duplicate-object", message).hint("rename one or remove it");
                findings.push(located.finding("metadata.name", finding));
            }
        }
    }
}

fn hosts(objects: &Objects, findings: &mut Vec<Finding>) {
    let mut seen = HashMap::new();
    for endpoint in &objects.endpoints {
        let Some(host) = &endpoint.object.spec.host else { continue };
        match seen.entry(host) {
            Entry::Vacant(vacant) => {
                vacant.insert(endpoint);
            }
            Entry::Occupied(first) if first.get().object.key() != endpoint.object.key() => {
                let message = format!("the host {host} is already that of {}", first.get().id_and_place());
                let finding =
                    Finding::error("host-taken", message).hint("give each endpoint a host of its own");
                findings.push(endpoint.finding("spec.host", finding));
            }
            // The same object twice is a finding of its own.
            Entry::Occupied(_) => {}
        }
    }
}

/// None when the endpoint may be there, only not readable: that is a finding already.
fn endpoint_missing(tenant: &Located<ScimTenant>, objects: &Objects) -> Option<Finding> {
    let reference = &tenant.object.spec.endpoint_ref;
    let namespace = reference.namespace.as_deref().unwrap_or(tenant.object.namespace());
    let id = format!("{} {namespace}/{}", ScimEndpoint::KIND, reference.name);
    if objects.incomplete || objects.refused.contains(&id) {
        return None;
    }
    let message = format!("there is no {id} among the manifests");
    let elsewhere = objects.endpoints.iter().find(|endpoint| endpoint.object.name() == reference.name);
    let names = objects.endpoints.iter().map(|endpoint| endpoint.object.name());
    let hint = if let Some(endpoint) = elsewhere {
        format!(
            "{} has that name: set spec.endpointRef.namespace to {}",
            endpoint.id(),
            endpoint.object.namespace()
        )
    } else if let Some(name) = super::nearest(&reference.name, names) {
        format!("did you mean {name}?")
    } else {
        "name an endpoint that is there, or add its manifest".to_owned()
    };
    Some(tenant.finding("spec.endpointRef.name", Finding::error("endpoint-missing", message).hint(hint)))
}
