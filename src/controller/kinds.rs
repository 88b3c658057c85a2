//! The kinds that the controller makes and watches, for requests without a Rust type of each.

use kube::{
    Api, Client, Resource,
    api::{ApiResource, GroupVersionKind},
    core::DynamicResourceScope,
};

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Endpoint,
    Tenant,
    Namespace,
    Secret,
    Pod,
    ServiceAccount,
    Role,
    RoleBinding,
    PersistentVolumeClaim,
    NetworkPolicy,
    PodDisruptionBudget,
    Certificate,
    Deployment,
    HorizontalPodAutoscaler,
    Service,
    Ingress,
    HttpRoute,
}

impl Kind {
    /// The kinds of which an endpoint has objects, config Secrets apart.
    pub(crate) const CHILDREN: [Self; 12] = [
        Self::ServiceAccount,
        Self::Role,
        Self::RoleBinding,
        Self::PersistentVolumeClaim,
        Self::NetworkPolicy,
        Self::PodDisruptionBudget,
        Self::Certificate,
        Self::Deployment,
        Self::HorizontalPodAutoscaler,
        Self::Service,
        Self::Ingress,
        Self::HttpRoute,
    ];

    /// The kind of an object with these `apiVersion` and `kind`, where it is one of ours.
    pub(crate) fn of(api_version: &str, kind: &str) -> Option<Self> {
        [&[Self::Secret], Self::CHILDREN.as_slice()].concat().into_iter().find(|known| {
            let resource = known.resource();
            resource.api_version == api_version && resource.kind == kind
        })
    }

    /// The name, as manifests write it.
    pub(crate) fn as_str(self) -> &'static str {
        self.parts().2
    }

    /// Whether a cluster may not have it.
    pub(crate) fn is_optional(self) -> bool {
        matches!(self, Self::Certificate | Self::HttpRoute)
    }

    /// What brings the kind to a cluster that does not have it.
    pub(crate) fn comes_with(self) -> &'static str {
        match self {
            Self::Certificate => "cert-manager",
            Self::HttpRoute => "the Gateway API",
            _ => "Kubernetes",
        }
    }

    /// How requests name it.
    pub(crate) fn resource(self) -> ApiResource {
        let (group, version, kind, plural) = self.parts();
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    }

    /// Its objects in a namespace, or in all.
    pub(crate) fn api<K>(self, client: &Client, namespace: Option<&str>) -> Api<K>
    where
        K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>,
    {
        let resource = self.resource();
        match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        }
    }

    /// Group, version, kind and plural.
    fn parts(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::Endpoint => ("scim-operator.io", "v1alpha1", "ScimEndpoint", "scimendpoints"),
            Self::Tenant => ("scim-operator.io", "v1alpha1", "ScimTenant", "scimtenants"),
            Self::Namespace => ("", "v1", "Namespace", "namespaces"),
            Self::Secret => ("", "v1", "Secret", "secrets"),
            Self::Pod => ("", "v1", "Pod", "pods"),
            Self::ServiceAccount => ("", "v1", "ServiceAccount", "serviceaccounts"),
            Self::Role => ("rbac.authorization.k8s.io", "v1", "Role", "roles"),
            Self::RoleBinding => ("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
            Self::PersistentVolumeClaim => ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
            Self::NetworkPolicy => ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
            Self::PodDisruptionBudget => ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
            Self::Certificate => ("cert-manager.io", "v1", "Certificate", "certificates"),
            Self::Deployment => ("apps", "v1", "Deployment", "deployments"),
            Self::HorizontalPodAutoscaler => {
                ("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
            }
            Self::Service => ("", "v1", "Service", "services"),
            Self::Ingress => ("networking.k8s.io", "v1", "Ingress", "ingresses"),
            Self::HttpRoute => ("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
        }
    }
}
