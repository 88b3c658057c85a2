//! `spec.tls` of a `ScimEndpoint`: where its certificate comes from, and who presents it.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::crd::authentication::IS_OBJECT_NAME;

/// The endpoint's certificate.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.secretName) != has(self.issuerRef)")
        .message("must have exactly one of secretName and issuerRef")
)]
pub struct Tls {
    /// A Secret of type `kubernetes.io/tls` in the endpoint's namespace, which you keep up to date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = IS_OBJECT_NAME)]
    pub secret_name: Option<String>,
    /// An issuer of cert-manager, which then makes and renews the certificate: a `Certificate` object, and the Secret,
    /// are named after the endpoint with `-scim-tls` at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerRef>,
    /// With `exposure.ingress`: the pods serve HTTPS too, with the same certificate, so that nothing is in the clear
    /// between the ingress controller and them. (Most ingress controllers must be told whom to trust, see
    /// `exposure.ingress.annotations` and `serviceAnnotations`.) With `exposure.loadBalancer` and `exposure.clusterIP`
    /// they always do.
    #[serde(default)]
    pub end_to_end: bool,
}

/// An issuer of cert-manager.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuerRef {
    /// The name of the issuer.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = IS_OBJECT_NAME)]
    pub name: String,
    /// `Issuer`, in the endpoint's namespace, or `ClusterIssuer`; or the kind of an external issuer in `group`.
    #[serde(default = "issuer")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// The API group of `kind`.
    #[serde(default = "cert_manager")]
    #[schemars(length(min = 1, max = 253))]
    pub group: String,
}

fn issuer() -> String {
    "Issuer".to_owned()
}

fn cert_manager() -> String {
    "cert-manager.io".to_owned()
}
