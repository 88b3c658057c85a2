//! What the objects of an endpoint are called, and the labels that they have.
//!
//! Everything begins with the endpoint's name and `-scim`, so that two endpoints of a namespace never meet and a person
//! sees what belongs together. `ScimEndpoint` names have at most 50 characters, so that the longest name still is one.

use std::collections::BTreeMap;

/// The label that names the endpoint of an object; the watches choose by it.
pub const ENDPOINT_LABEL: &str = "scim-operator.io/endpoint";
/// `app.kubernetes.io/managed-by` of everything the controller makes.
pub const MANAGED_BY: &str = "scim-operator";
/// The field manager of everything the controller writes.
pub const FIELD_MANAGER: &str = "scim-operator";
/// The field manager that holds the number of pods when an autoscaler is to have it, so that there is always one.
pub const REPLICAS_MANAGER: &str = "scim-operator-replicas";
/// The annotation of pods that says with which versions of the Secrets of the database they began.
pub const DATABASE_VERSION: &str = "scim-operator.io/database-version";
/// The finalizer of a tenant whose data is to be purged before it goes.
pub const PURGE_FINALIZER: &str = "scim-operator.io/purge";
/// The Lease of the controllers' election.
pub const LEASE: &str = "scim-operator";

/// The names of one endpoint's objects.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    endpoint: &'a str,
}

impl<'a> Names<'a> {
    /// Of the endpoint with this `metadata.name`.
    #[must_use]
    pub fn of(endpoint: &'a str) -> Self {
        Self { endpoint }
    }

    /// The Deployment and everything there is one of: Service, `ServiceAccount`, Role, `RoleBinding`,
    /// `PodDisruptionBudget`, `HorizontalPodAutoscaler`, `NetworkPolicy`.
    #[must_use]
    pub fn workload(self) -> String {
        format!("{}-scim", self.endpoint)
    }

    /// The `PersistentVolumeClaim`.
    #[must_use]
    pub fn data(self) -> String {
        format!("{}-scim-data", self.endpoint)
    }

    /// The Secret with the URL of the database, from which pods have it.
    #[must_use]
    pub fn database(self) -> String {
        format!("{}-scim-database", self.endpoint)
    }

    /// The Certificate, and the Secret that cert-manager makes for it.
    #[must_use]
    pub fn certificate(self) -> String {
        format!("{}-scim-tls", self.endpoint)
    }

    /// The Secret with the head of the configuration.
    #[must_use]
    pub fn config(self) -> String {
        format!("{}-scim-config", self.endpoint)
    }

    /// The Secret with a shard of the configuration.
    #[must_use]
    pub fn config_shard(self, shard: u8) -> String {
        format!("{}-scim-config-{shard:02}", self.endpoint)
    }

    /// An Ingress or `HTTPRoute`: of all paths, or of those whose digest begins with these bits (see `build::routes`).
    #[must_use]
    pub fn route(self, bits: &str) -> String {
        if bits.is_empty() { self.workload() } else { format!("{}-scim-{bits}", self.endpoint) }
    }

    /// The labels of every object.
    #[must_use]
    pub fn labels(self) -> BTreeMap<String, String> {
        let mut labels = self.selector();
        labels.insert("app.kubernetes.io/name".to_owned(), "scim-operator".to_owned());
        labels.insert("app.kubernetes.io/instance".to_owned(), self.endpoint.to_owned());
        labels.insert("app.kubernetes.io/managed-by".to_owned(), MANAGED_BY.to_owned());
        labels
    }

    /// The labels by which the pods are found. A Deployment keeps them for life.
    #[must_use]
    pub fn selector(self) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("app.kubernetes.io/component".to_owned(), "server".to_owned()),
            (ENDPOINT_LABEL.to_owned(), self.endpoint.to_owned()),
        ])
    }
}
