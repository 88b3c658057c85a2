//! `spec.storage` of a `ScimEndpoint`: where users and groups are kept.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::crd::DeletionPolicy;
use crate::crd::authentication::IS_OBJECT_NAME;
use crate::crd::values::Size;

/// Where users and groups are kept: exactly one of the fields.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.sqlite) != has(self.postgres)")
        .message("must be exactly one of sqlite and postgres"),
    validation = Rule::new("has(self.sqlite) == has(oldSelf.sqlite)")
        .message("cannot change between sqlite and postgres, as users and groups would stay behind: make another endpoint, move the data with scim-operator export and import, and let tenants name that one")
)]
pub struct Storage {
    /// An SQLite database on a volume of its own (a `PersistentVolumeClaim`). One pod serves, as one pod can have the
    /// volume; while it is replaced, nobody serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqlite: Option<Sqlite>,
    /// A PostgreSQL database that you run, for any number of pods. It is left as it is when this object goes, with all
    /// users and groups: an endpoint that names it finds the data of its tenants again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres: Option<Postgres>,
}

impl Default for Storage {
    fn default() -> Self {
        Self { sqlite: Some(Sqlite::default()), postgres: None }
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

/// A PostgreSQL database.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Postgres {
    /// The key of a Secret, in the endpoint's namespace, that holds the URL of the database, with its password:
    /// `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`. When it changes, the pods are replaced one after the other, and
    /// those that run serve on until the next one reaches the database.
    pub secret_ref: UrlSecretRef,
    /// How connections to the database are protected.
    #[serde(default)]
    pub tls: PostgresTls,
    /// The connections of each pod.
    #[serde(default)]
    pub pool: PostgresPool,
}

/// The key of a Secret that holds the URL of a database.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UrlSecretRef {
    /// The name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = IS_OBJECT_NAME)]
    pub name: String,
    /// The key. (`uri` in the Secrets of `CloudNativePG`.)
    #[serde(default = "url_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// How connections to a database are protected.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.caSecretRef) || self.mode == 'VerifyFull'")
        .message("caSecretRef has no effect unless mode is VerifyFull: set mode: VerifyFull, or remove caSecretRef")
        .field_path(".caSecretRef")
)]
pub struct PostgresTls {
    /// `VerifyFull`: encrypted, and the server's certificate is checked, with its name. `Require`: encrypted, and
    /// whoever answers is believed. `Disable`: not encrypted; the password and all data can be read on the way.
    #[serde(default)]
    pub mode: PostgresTlsMode,
    /// The key of a Secret, in the endpoint's namespace, that holds the certificates of the authorities to trust, as
    /// PEM. Absent: those of the image, which are the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<CaSecretRef>,
}

// No doc comments on the variants: they would turn the enumeration into alternatives in the schema.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the field that has this type explains the values")]
pub enum PostgresTlsMode {
    #[default]
    VerifyFull,
    Require,
    Disable,
}

/// The key of a Secret that holds certificates of authorities.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaSecretRef {
    /// The name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = IS_OBJECT_NAME)]
    pub name: String,
    /// The key.
    #[serde(default = "ca_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// The connections of a pod to a database.
#[derive(KubeSchema, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PostgresPool {
    /// Connections of each pod at most. While pods are replaced there is one pod more: the database must allow
    /// (pods + 1) × this.
    #[serde(default = "sixteen")]
    #[schemars(with = "i32", range(min = 1, max = 1000))]
    pub max_size: u16,
}

impl Default for PostgresPool {
    fn default() -> Self {
        Self { max_size: sixteen() }
    }
}

fn url_key() -> String {
    "url".to_owned()
}

fn ca_key() -> String {
    "ca.crt".to_owned()
}

fn sixteen() -> u16 {
    16
}
