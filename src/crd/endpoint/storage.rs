//! `spec.storage` of a `ScimEndpoint`: where users and groups are kept.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::crd::DeletionPolicy;
use crate::crd::authentication::IS_OBJECT_NAME;
use crate::crd::values::Size;

/// Where users and groups are kept: exactly one of the fields.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.sqlite)].filter(is, is).size() == 1")
        .message("must have sqlite")
)]
pub struct Storage {
    /// An SQLite database on a volume of its own (a `PersistentVolumeClaim`). One pod serves, as one pod can have the
    /// volume; while it is replaced, nobody serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqlite: Option<Sqlite>,
}

impl Default for Storage {
    fn default() -> Self {
        Self { sqlite: Some(Sqlite::default()) }
    }
}

/// The volume of an SQLite database.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)")
        .message("storageClassName cannot change, as a volume keeps its class: make another endpoint, or move the volume")
        .field_path(".storageClassName")
)]
pub struct Sqlite {
    /// The size of the volume. It can grow where its class allows that, and cannot shrink.
    #[serde(default = "one_gibibyte")]
    #[x_kube(validation = Rule::new("!isQuantity(self) || !isQuantity(oldSelf) || quantity(self).compareTo(quantity(oldSelf)) >= 0")
        .message("cannot shrink, as a volume only grows"))]
    pub size: Size,
    /// The `StorageClass` of the volume. Absent: the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = IS_OBJECT_NAME)]
    pub storage_class_name: Option<String>,
    /// What becomes of the volume when this object goes. `Retain`: the `PersistentVolumeClaim` stays, and an endpoint
    /// of the same namespace and name finds its data again. `Delete`: it goes too, with all users and groups.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

impl Default for Sqlite {
    fn default() -> Self {
        Self { size: one_gibibyte(), storage_class_name: None, deletion_policy: DeletionPolicy::default() }
    }
}

fn one_gibibyte() -> Size {
    Size("1Gi".to_owned())
}
