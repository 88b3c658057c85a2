//! The volume of an SQLite database.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};

use super::metadata;
use crate::{
    controller::validate::ValidatedEndpoint,
    crd::{DeletionPolicy, Sqlite},
};

pub(super) fn claim(endpoint: &ValidatedEndpoint, sqlite: &Sqlite) -> PersistentVolumeClaim {
    let mut metadata = metadata(endpoint, endpoint.names().data());
    if sqlite.deletion_policy == DeletionPolicy::Retain {
        // Without an owner it stays when the endpoint goes.
        metadata.owner_references = None;
    }
    PersistentVolumeClaim {
        metadata,
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), Quantity(sqlite.size.0.clone()))])),
                limits: None,
            }),
            storage_class_name: sqlite.storage_class_name.clone(),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::fixture::{validated, whole},
        *,
    };
    use crate::controller::validate::Storage;

    fn built(spec: &str) -> PersistentVolumeClaim {
        let endpoint = validated(spec, "");
        let Storage::Sqlite(sqlite) = &endpoint.storage else { panic!("it is SQLite") };
        claim(&endpoint, sqlite)
    }

    #[test]
    fn volume_has_no_owner_so_that_it_stays_when_the_endpoint_goes() {
        insta::assert_snapshot!(whole(&built("{}")), @r#"
        apiVersion: v1
        kind: PersistentVolumeClaim
        metadata:
          labels:
            app.kubernetes.io/component: server
            app.kubernetes.io/instance: door
            app.kubernetes.io/managed-by: scim-operator
            app.kubernetes.io/name: scim-operator
            scim-operator.io/endpoint: door
          name: door-scim-data
          namespace: platform
        spec:
          accessModes:
          - ReadWriteOnce
          resources:
            requests:
              storage: 1Gi
        "#);
    }

    #[test]
    fn volume_that_is_to_be_deleted_goes_with_the_endpoint() {
        let spec = "{storage: {sqlite: {size: 5Gi, storageClassName: fast, deletionPolicy: Delete}}}";
        let claim = built(spec);
        assert_eq!(claim.metadata.owner_references.unwrap()[0].uid, "0a1b");
        insta::assert_snapshot!(whole(&claim.spec), @r#"
        accessModes:
        - ReadWriteOnce
        resources:
          requests:
            storage: 5Gi
        storageClassName: fast
        "#);
    }
}
