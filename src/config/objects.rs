//! The objects of a set of manifests, typed, each with where it was written.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{
    findings::{Finding, Location},
    yaml::Source,
};
use crate::crd::{ScimEndpoint, ScimTenant};

/// An object and where it was written.
#[derive(Debug, Clone)]
pub struct Located<T> {
    /// The object; shared, as whoever watches a cluster has it already.
    pub object: Arc<T>,
    /// Where its parts are; the default when it did not come from a file.
    pub source: Source,
}

/// What a set of manifests holds for us, in the order written.
#[derive(Default)]
pub struct Objects {
    /// The `ScimEndpoint`s.
    pub endpoints: Vec<Located<ScimEndpoint>>,
    /// The `ScimTenant`s.
    pub tenants: Vec<Located<ScimTenant>>,
    /// The `Secret`s.
    pub secrets: Vec<Located<Secret>>,
    /// The labels of the `Namespace`s.
    pub namespaces: Namespaces,
    /// `KIND NAMESPACE/NAME` of the objects that are wrong in themselves, and so are not among the others.
    pub refused: HashSet<String>,
    /// There is text that could not be read: any object may be in it.
    pub incomplete: bool,
}

/// The label that every namespace has in a cluster.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The labels of namespaces, by name. Some may not be known, as a folder need not have their manifests.
#[derive(Debug, Clone, Default)]
pub struct Namespaces(HashMap<String, BTreeMap<String, String>>);

impl Namespaces {
    /// Makes a namespace known.
    pub fn insert(&mut self, name: impl Into<String>, labels: BTreeMap<String, String>) {
        self.0.insert(name.into(), labels);
    }

    /// Whether a namespace is known.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The labels of a namespace, as far as they are known: its name is one.
    #[must_use]
    pub fn labels(&self, name: &str) -> BTreeMap<String, String> {
        let mut labels = self.0.get(name).cloned().unwrap_or_default();
        labels.insert(NAME_LABEL.to_owned(), name.to_owned());
        labels
    }
}

/// A Kubernetes `Secret`. It has no `Debug`, so that its values cannot reach a log.
#[derive(Clone)]
pub struct Secret {
    /// Name and namespace.
    pub metadata: ObjectMeta,
    /// The decoded values, from `data` and `stringData`.
    pub data: BTreeMap<String, Vec<u8>>,
}

impl Secret {
    /// The time in an annotation; none when it is absent or no time (RFC 3339).
    #[must_use]
    pub fn time(&self, annotation: &str) -> Option<Timestamp> {
        self.metadata.annotations.as_ref()?.get(annotation)?.parse().ok()
    }
}

/// What all kinds have.
pub trait Object {
    /// The kind, as manifests write it.
    const KIND: &'static str;

    /// The object's metadata.
    fn metadata(&self) -> &ObjectMeta;

    /// The namespace; `default` when absent, as for `kubectl`.
    fn namespace(&self) -> &str {
        self.metadata().namespace.as_deref().unwrap_or("default")
    }

    /// The name.
    fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    /// `NAMESPACE/NAME`.
    fn key(&self) -> String {
        format!("{}/{}", self.namespace(), self.name())
    }
}

impl Object for ScimEndpoint {
    const KIND: &'static str = "ScimEndpoint";

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
}

impl Object for ScimTenant {
    const KIND: &'static str = "ScimTenant";

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
}

impl Object for Secret {
    const KIND: &'static str = "Secret";

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
}

impl<T: Object> Located<T> {
    /// `KIND NAMESPACE/NAME`, as findings name objects.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{} {}", T::KIND, self.object.key())
    }

    /// `KIND NAMESPACE/NAME (FILE:LINE:COLUMN)`, for a finding about another object.
    #[must_use]
    pub fn id_and_place(&self) -> String {
        match self.place("metadata.name") {
            Some(place) => format!("{} ({place})", self.id()),
            None => self.id(),
        }
    }

    /// What to do about an object that this one names and that is not there.
    #[must_use]
    pub fn how_to_add(&self, kind: &str) -> String {
        match self.place("metadata.name") {
            Some(_) => "add its manifest to the folder".to_owned(),
            None => format!("create the {kind}, or name one that is there"),
        }
    }

    /// Where the value of a field is.
    #[must_use]
    pub fn place(&self, field: &str) -> Option<Location> {
        self.source.value(field)
    }

    /// Makes a finding one about a field of this object.
    #[must_use]
    pub fn finding(&self, field: &str, finding: Finding) -> Finding {
        finding.at(self.place(field)).object(self.id()).field(field)
    }
}

impl Objects {
    /// The endpoint a tenant refers to.
    #[must_use]
    pub fn endpoint_of(&self, tenant: &ScimTenant) -> Option<&Located<ScimEndpoint>> {
        self.endpoints.iter().find(|endpoint| refers_to(tenant, &endpoint.object))
    }
}

/// Whether a tenant's `spec.endpointRef` names this endpoint.
#[must_use]
pub fn refers_to(tenant: &ScimTenant, endpoint: &ScimEndpoint) -> bool {
    let reference = &tenant.spec.endpoint_ref;
    reference.name == endpoint.name()
        && reference.namespace.as_deref().unwrap_or(tenant.namespace()) == endpoint.namespace()
}

/// Secrets by namespace and name; the first when there are several.
pub struct SecretIndex<'a>(HashMap<(&'a str, &'a str), &'a Located<Secret>>);

impl<'a> SecretIndex<'a> {
    /// Indexes a list.
    #[must_use]
    pub fn new(secrets: &'a [Located<Secret>]) -> Self {
        let mut index = HashMap::new();
        for secret in secrets {
            index.entry((secret.object.namespace(), secret.object.name())).or_insert(secret);
        }
        Self(index)
    }

    /// The Secret of a namespace and name.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<&'a Located<Secret>> {
        self.0.get(&(namespace, name)).copied()
    }
}
