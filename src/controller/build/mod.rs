//! Build: from a [`ValidatedEndpoint`] to the objects that serve it. Pure, and one file for each kind.
//!
//! [`objects`] is the whole inventory in the order in which it is applied: what others refer to comes before them, the
//! configuration before the pods that read it, the way in last. An object of an earlier inventory that is not in this
//! one is to be deleted, but never a `PersistentVolumeClaim`: that takes a person, or `deletionPolicy: Delete`.

mod autoscaler;
mod certificate;
mod config;
mod credentials;
mod database;
mod deployment;
mod disruption;
#[cfg(test)]
mod fixture;
mod http_route;
mod identity;
mod ingress;
mod mounts;
mod network;
mod routes;
mod service;
mod volume;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource as _;
use serde::Serialize;
use serde_json::Value;

pub use self::{
    config::config_secrets,
    credentials::{NewCredentials, URL_KEY, credentials},
    database::{DATABASE_CA_KEY, DATABASE_URL_KEY},
    deployment::ADMIN_PORT,
};

use super::validate::{Exposure, Storage, ValidatedEndpoint};
use crate::crd::{API_VERSION, ScimEndpoint};

/// One object as it is applied: exactly the fields that are ours.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// The whole object, with `apiVersion` and `kind`.
    pub body: Value,
}

impl Object {
    /// # Panics
    /// Never: every object has a JSON form.
    fn new(object: &impl Serialize) -> Self {
        Self { body: serde_json::to_value(object).expect("an object has a JSON form") }
    }

    /// `apiVersion`.
    #[must_use]
    pub fn api_version(&self) -> &str {
        self.body["apiVersion"].as_str().unwrap_or_default()
    }

    /// `kind`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.body["kind"].as_str().unwrap_or_default()
    }

    /// `metadata.name`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.body["metadata"]["name"].as_str().unwrap_or_default()
    }
}

/// The objects of an endpoint, in the order in which they are applied. All are in its namespace.
#[derive(Debug, Clone, PartialEq)]
pub struct Objects(pub Vec<Object>);

/// Every object of an endpoint.
#[must_use]
pub fn objects(endpoint: &ValidatedEndpoint) -> Objects {
    let mut objects = vec![
        Object::new(&identity::service_account(endpoint)),
        Object::new(&identity::role(endpoint)),
        Object::new(&identity::role_binding(endpoint)),
    ];
    match &endpoint.storage {
        Storage::Sqlite(sqlite) => objects.push(Object::new(&volume::claim(endpoint, sqlite))),
        Storage::Postgres(postgres) => objects.push(Object::new(&database::secret(endpoint, postgres))),
    }
    objects.extend(network::policy(endpoint).as_ref().map(Object::new));
    objects.extend(certificate::certificate(endpoint).as_ref().map(Object::new));
    objects.extend(config_secrets(endpoint).iter().map(Object::new));
    objects.push(Object::new(&deployment::deployment(endpoint)));
    objects.extend(autoscaler::autoscaler(endpoint).as_ref().map(Object::new));
    objects.extend(disruption::budget(endpoint).as_ref().map(Object::new));
    objects.push(Object::new(&service::service(endpoint)));
    match &endpoint.exposure {
        Exposure::Ingress { host, ingress } => {
            objects.extend(ingress::ingresses(endpoint, host, ingress).iter().map(Object::new));
        }
        Exposure::Gateway { host, gateway } => {
            objects.extend(http_route::http_routes(endpoint, host, gateway).iter().map(Object::new));
        }
        Exposure::LoadBalancer(_) | Exposure::ClusterIp(_) => {}
    }
    Objects(objects)
}

/// Name, namespace, labels and owner of an object of the endpoint.
fn metadata(endpoint: &ValidatedEndpoint, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(endpoint.namespace.clone()),
        labels: Some(endpoint.names().labels()),
        owner_references: owner(endpoint).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}

/// The endpoint, as what its objects go with.
fn owner(endpoint: &ValidatedEndpoint) -> Option<OwnerReference> {
    Some(OwnerReference {
        api_version: API_VERSION.to_owned(),
        kind: ScimEndpoint::kind(&()).into_owned(),
        name: endpoint.name.clone(),
        uid: endpoint.uid.clone()?,
        controller: Some(true),
        block_owner_deletion: Some(true),
    })
}

#[cfg(test)]
mod tests {
    use super::{
        fixture::{fleet, tenant, validated},
        *,
    };

    fn inventory(spec: &str, others: &str) -> String {
        let objects = objects(&validated(spec, others)).0;
        objects
            .iter()
            .map(|object| format!("{} {} {}", object.api_version(), object.kind(), object.name()))
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn inventory_of_an_endpoint_behind_an_ingress_is_in_the_order_of_application() {
        let spec = "{host: scim.example.com, exposure: {ingress: {}}, tls: {issuerRef: {name: ca}}}";
        insta::assert_snapshot!(inventory(spec, &tenant("acme", "")), @r#"
        v1 ServiceAccount door-scim
        rbac.authorization.k8s.io/v1 Role door-scim
        rbac.authorization.k8s.io/v1 RoleBinding door-scim
        v1 PersistentVolumeClaim door-scim-data
        networking.k8s.io/v1 NetworkPolicy door-scim
        cert-manager.io/v1 Certificate door-scim-tls
        v1 Secret door-scim-config-01
        v1 Secret door-scim-config
        apps/v1 Deployment door-scim
        v1 Service door-scim
        networking.k8s.io/v1 Ingress door-scim
        "#);
    }

    #[test]
    fn inventory_of_an_endpoint_behind_a_gateway_has_routes_of_the_gateway() {
        let spec = "{host: scim.example.com, exposure: {gateway: {parentRefs: [{name: public}]}}, networkPolicy: {enabled: false}}";
        insta::assert_snapshot!(inventory(spec, &tenant("acme", "")), @r#"
        v1 ServiceAccount door-scim
        rbac.authorization.k8s.io/v1 Role door-scim
        rbac.authorization.k8s.io/v1 RoleBinding door-scim
        v1 PersistentVolumeClaim door-scim-data
        v1 Secret door-scim-config-01
        v1 Secret door-scim-config
        apps/v1 Deployment door-scim
        v1 Service door-scim
        gateway.networking.k8s.io/v1 HTTPRoute door-scim
        "#);
    }

    #[test]
    fn inventory_of_a_fleet_has_the_database_and_no_volume() {
        let spec = "{autoscaling: {maxReplicas: 5}}";
        let endpoint = fleet("{secretRef: {name: db}}", spec, "postgresql://scim@db/scim");
        let objects = objects(&endpoint).0;
        let names: Vec<_> =
            objects.iter().map(|object| format!("{} {}", object.kind(), object.name())).collect();
        insta::assert_snapshot!(names.join("\n"), @r#"
        ServiceAccount door-scim
        Role door-scim
        RoleBinding door-scim
        Secret door-scim-database
        NetworkPolicy door-scim
        Secret door-scim-config
        Deployment door-scim
        HorizontalPodAutoscaler door-scim
        PodDisruptionBudget door-scim
        Service door-scim
        "#);
    }

    #[test]
    fn objects_of_one_endpoint_are_the_same_every_time() {
        let spec = "{host: scim.example.com, exposure: {ingress: {}}}";
        let others = [tenant("acme", ""), tenant("globex", "")].concat();
        let again = [tenant("globex", ""), tenant("acme", "")].concat();
        assert_eq!(objects(&validated(spec, &others)), objects(&validated(spec, &again)));
    }
}
