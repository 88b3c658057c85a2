//! The `Certificate` of `spec.tls.issuerRef`, with the few fields of cert-manager's type that we write.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use super::metadata;
use crate::{controller::validate::ValidatedEndpoint, crd::IssuerRef};

/// `cert-manager.io/v1` `Certificate`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Certificate {
    api_version: &'static str,
    kind: &'static str,
    metadata: ObjectMeta,
    spec: CertificateSpec,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct CertificateSpec {
    secret_name: String,
    dns_names: Vec<String>,
    issuer_ref: IssuerRef,
    private_key: PrivateKey,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct PrivateKey {
    algorithm: &'static str,
    size: u16,
    rotation_policy: &'static str,
}

pub(super) fn certificate(endpoint: &ValidatedEndpoint) -> Option<Certificate> {
    let certificate = endpoint.certificate.as_ref()?;
    let issuer_ref = certificate.issuer.clone()?;
    Some(Certificate {
        api_version: "cert-manager.io/v1",
        kind: "Certificate",
        metadata: metadata(endpoint, endpoint.names().certificate()),
        spec: CertificateSpec {
            secret_name: certificate.secret_name.clone(),
            dns_names: certificate.dns_names.clone(),
            issuer_ref,
            // A handshake costs a tenth of one with RSA, and a renewal makes a new key.
            private_key: PrivateKey { algorithm: "ECDSA", size: 256, rotation_policy: "Always" },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::fixture::{validated, yaml},
        *,
    };

    #[test]
    fn certificate_is_for_the_host() {
        let spec = "{host: scim.example.com, exposure: {ingress: {}}, tls: {issuerRef: {name: letsencrypt, kind: ClusterIssuer}}}";
        insta::assert_snapshot!(yaml(&certificate(&validated(spec, ""))), @r#"
        apiVersion: cert-manager.io/v1
        kind: Certificate
        metadata:
          name: door-scim-tls
          namespace: platform
        spec:
          secretName: door-scim-tls
          dnsNames:
          - scim.example.com
          issuerRef:
            name: letsencrypt
            kind: ClusterIssuer
            group: cert-manager.io
          privateKey:
            algorithm: ECDSA
            size: 256
            rotationPolicy: Always
        "#);
    }

    #[test]
    fn certificate_without_host_is_for_the_service() {
        let spec = "{tls: {issuerRef: {name: ca}}}";
        let certificate = certificate(&validated(spec, "")).unwrap();
        assert_eq!(certificate.spec.dns_names, ["door-scim.platform.svc"]);
        assert_eq!(certificate.spec.issuer_ref.kind, "Issuer");
    }

    #[test]
    fn certificate_that_people_keep_is_not_made() {
        assert!(certificate(&validated("{tls: {secretName: cert}}", "")).is_none());
    }
}
