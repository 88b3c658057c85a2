//! The Secret from which pods have the URL of their database: a copy of what the endpoint's Secrets hold.
//!
//! A copy, so that what cannot be a URL never reaches a pod, and a pod that is started while the other Secret is gone
//! has the last good one. Pods mount it and may not read it from the API server; each keeps what it began with, and
//! the [`version`](DATABASE_VERSION) in their template replaces them one by one, so that those which serve are never
//! led to a database that the next pod does not reach.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};

use super::metadata;
#[cfg(doc)]
use crate::controller::names::DATABASE_VERSION;
use crate::{
    config::database::Database,
    controller::validate::{Postgres, ValidatedEndpoint},
};

/// The key of the URL. Another one than that of a tenant's URL, which is no secret.
pub const DATABASE_URL_KEY: &str = "database-url";
/// The key of the authorities' certificates, which are no secret.
pub const DATABASE_CA_KEY: &str = "ca.crt";

pub(super) fn secret(endpoint: &ValidatedEndpoint, postgres: &Postgres) -> Secret {
    let Database { url, ca, tls: _, connections: _, ports: _ } = &postgres.database;
    let mut data = BTreeMap::from([(DATABASE_URL_KEY.to_owned(), ByteString(url.clone().into_bytes()))]);
    data.extend(ca.clone().map(|pem| (DATABASE_CA_KEY.to_owned(), ByteString(pem))));
    Secret {
        metadata: metadata(endpoint, endpoint.names().database()),
        data: Some(data),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::fixture::{fleet, yaml},
        *,
    };
    use crate::controller::validate::Storage;

    #[test]
    fn secret_has_the_url_and_the_authorities_under_its_own_keys() {
        let storage = "{secretRef: {name: db, key: url}, tls: {caSecretRef: {name: db, key: authority}}}";
        let endpoint = fleet(storage, "{}", "postgresql://scim:word@db/scim\n");
        let Storage::Postgres(postgres) = &endpoint.storage else { panic!("it is PostgreSQL") };
        let secret = secret(&endpoint, postgres);
        let data = secret.data.as_ref().unwrap();
        assert_eq!(data["database-url"].0, b"postgresql://scim:word@db/scim");
        assert!(data["ca.crt"].0.starts_with(b"-----BEGIN CERTIFICATE-----"));
        let mut shown = secret.clone();
        shown.data = None;
        insta::assert_snapshot!(yaml(&shown), @r#"
        apiVersion: v1
        kind: Secret
        metadata:
          name: door-scim-database
          namespace: platform
        type: Opaque
        "#);
    }
}
