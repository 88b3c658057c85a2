//! The volume of an SQLite database.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};

use super::metadata;
use crate::{
    controller::validate::{Storage, ValidatedEndpoint},
    crd::DeletionPolicy,
};

pub(super) fn claim(endpoint: &ValidatedEndpoint) -> Option<PersistentVolumeClaim> {
    let Storage::Sqlite(sqlite) = &endpoint.storage;
    let mut metadata = metadata(endpoint, endpoint.names().data());
    if sqlite.deletion_policy == DeletionPolicy::Retain {
        // Without an owner it stays when the endpoint goes.
        metadata.owner_references = None;
    }
    Some(PersistentVolumeClaim {
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
    })
}
