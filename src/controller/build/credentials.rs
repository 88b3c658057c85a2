//! The Secret with what an identity provider is to be told: where, and with which token. It is made once; from then on
//! only a rotation of a token that we made changes it.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::Resource as _;

use crate::{
    config::objects::Object as _,
    controller::names::MANAGED_BY,
    crd::{API_VERSION, ISSUED_AT_ANNOTATION, ScimTenant, TOKEN_KEY},
};

/// The key with the tenant's SCIM base URL.
pub const URL_KEY: &str = "url";

/// What goes into new credentials.
pub struct NewCredentials<'a> {
    /// The tenant's SCIM base URL; none when it is not known yet.
    pub url: Option<&'a str>,
    /// The token.
    pub token: &'a str,
    /// When the token was made (RFC 3339); it says that the token is ours.
    pub issued_at: Option<&'a str>,
}

/// The credentials of a tenant that has none; nothing when it has no bearer token at all.
#[must_use]
pub fn credentials(tenant: &ScimTenant, new: &NewCredentials<'_>) -> Option<Secret> {
    let NewCredentials { url, token, issued_at } = new;
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let mut data = BTreeMap::from([(TOKEN_KEY.to_owned(), bytes(token))]);
    data.extend(url.map(|url| (URL_KEY.to_owned(), bytes(url))));
    let owner = tenant.metadata.uid.clone().map(|uid| OwnerReference {
        api_version: API_VERSION.to_owned(),
        kind: ScimTenant::kind(&()).into_owned(),
        name: tenant.name().to_owned(),
        uid,
        controller: Some(true),
        block_owner_deletion: Some(true),
    });
    Some(Secret {
        metadata: ObjectMeta {
            name: Some(tenant.token_secret()?),
            namespace: Some(tenant.namespace().to_owned()),
            labels: Some(BTreeMap::from([
                ("app.kubernetes.io/managed-by".to_owned(), MANAGED_BY.to_owned()),
                ("scim-operator.io/tenant".to_owned(), tenant.name().to_owned()),
            ])),
            annotations: issued_at
                .map(|time| BTreeMap::from([(ISSUED_AT_ANNOTATION.to_owned(), time.to_owned())])),
            owner_references: owner.map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some(data),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    })
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::whole, *};

    #[test]
    fn credentials_say_where_and_with_which_token() {
        let tenant: ScimTenant = serde_json::from_value(serde_json::json!({
            "apiVersion": "scim-operator.io/v1alpha1", "kind": "ScimTenant",
            "metadata": {"name": "acme", "namespace": "customers", "uid": "2c3d"},
            "spec": {"endpointRef": {"name": "door", "namespace": "platform"}},
        }))
        .unwrap();
        let url = Some("https://scim.example.com/acme/scim/v2");
        let new = NewCredentials { url, token: "t", issued_at: Some("2026-11-23T01:20:00Z") };
        insta::assert_snapshot!(whole(&credentials(&tenant, &new)), @r#"
        apiVersion: v1
        kind: Secret
        data:
          token: dA==
          url: aHR0cHM6Ly9zY2ltLmV4YW1wbGUuY29tL2FjbWUvc2NpbS92Mg==
        metadata:
          annotations:
            scim-operator.io/token-issued-at: "2026-11-23T01:20:00Z"
          labels:
            app.kubernetes.io/managed-by: scim-operator
            scim-operator.io/tenant: acme
          name: acme-scim-token
          namespace: customers
          ownerReferences:
          - apiVersion: scim-operator.io/v1alpha1
            blockOwnerDeletion: true
            controller: true
            kind: ScimTenant
            name: acme
            uid: 2c3d
        type: Opaque
        "#);
    }
}
