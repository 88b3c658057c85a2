//! What is mounted into a pod, and where: its configuration, its data, its certificate, its token.

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, DownwardAPIProjection, DownwardAPIVolumeFile, EmptyDirVolumeSource, KeyToPath,
    ObjectFieldSelector, PersistentVolumeClaimVolumeSource, ProjectedVolumeSource, SecretProjection,
    SecretVolumeSource, ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::database::{DATABASE_CA_KEY, DATABASE_URL_KEY};

use crate::{
    config::shards::{HEAD_KEY, SHARD_KEY, SHARDS, shard_file},
    controller::validate::{Storage, ValidatedEndpoint},
};

/// The folder of the configuration.
pub(super) const CONFIG: &str = "/etc/scim-operator/config";
/// The folder of the certificate and its key.
pub(super) const TLS: &str = "/etc/scim-operator/tls";
/// The folder of the database's URL and of the authorities to trust.
pub(super) const DATABASE: &str = "/etc/scim-operator/database";
/// The data folder.
pub(super) const DATA: &str = "/var/lib/scim-operator";
/// Where every client of Kubernetes looks for its token.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Without SQLite the data folder holds a socket for operators, and nothing that grows.
const SCRATCH: &str = "64Mi";

/// Secret files may be read by the group of the pod, and by nobody else.
const GROUP_READABLE: i32 = 0o440;

pub(super) fn mounts(endpoint: &ValidatedEndpoint) -> Vec<VolumeMount> {
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    let mut mounts =
        vec![mount("config", CONFIG, true), mount("data", DATA, false), mount("token", TOKEN, true)];
    if endpoint.pods_serve_tls {
        mounts.push(mount("tls", TLS, true));
    }
    if let Storage::Postgres(postgres) = &endpoint.storage {
        // By file: such a mount stays as it was when the pod began, whatever becomes of the Secret.
        let files = [Some(DATABASE_URL_KEY), postgres.database.ca.as_ref().map(|_| DATABASE_CA_KEY)];
        mounts.extend(files.into_iter().flatten().map(|file| VolumeMount {
            sub_path: Some(file.to_owned()),
            ..mount("database", &format!("{DATABASE}/{file}"), true)
        }));
    }
    mounts
}

pub(super) fn volumes(endpoint: &ValidatedEndpoint) -> Vec<Volume> {
    let mut volumes = vec![config(endpoint), data(endpoint), token()];
    if let Some(certificate) = endpoint.certificate.as_ref().filter(|_| endpoint.pods_serve_tls) {
        volumes.push(secret("tls", certificate.secret_name.clone()));
    }
    if let Storage::Postgres(_) = endpoint.storage {
        volumes.push(secret("database", endpoint.names().database()));
    }
    volumes
}

fn secret(name: &str, secret: String) -> Volume {
    Volume {
        name: name.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret),
            default_mode: Some(GROUP_READABLE),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// Every shard there can be, so that the pods need not be replaced when one appears.
fn config(endpoint: &ValidatedEndpoint) -> Volume {
    let names = endpoint.names();
    let secret = |name: String, key: &str, path: String| VolumeProjection {
        secret: Some(SecretProjection {
            name,
            items: Some(vec![KeyToPath { key: key.to_owned(), path, mode: None }]),
            optional: Some(true),
        }),
        ..VolumeProjection::default()
    };
    let head = secret(names.config(), HEAD_KEY, HEAD_KEY.to_owned());
    let shards = (0..SHARDS).map(|shard| secret(names.config_shard(shard), SHARD_KEY, shard_file(shard)));
    projected("config", std::iter::once(head).chain(shards).collect())
}

fn data(endpoint: &ValidatedEndpoint) -> Volume {
    let mut volume = Volume { name: "data".to_owned(), ..Volume::default() };
    match endpoint.storage {
        Storage::Sqlite(_) => {
            volume.persistent_volume_claim = Some(PersistentVolumeClaimVolumeSource {
                claim_name: endpoint.names().data(),
                read_only: None,
            });
        }
        Storage::Postgres(_) => {
            volume.empty_dir = Some(EmptyDirVolumeSource {
                size_limit: Some(Quantity(SCRATCH.to_owned())),
                ..EmptyDirVolumeSource::default()
            });
        }
    }
    volume
}

/// What Kubernetes mounts by itself where it is let: here for the one container that needs it.
fn token() -> Volume {
    let projection = VolumeProjection::default;
    projected(
        "token",
        vec![
            VolumeProjection {
                service_account_token: Some(ServiceAccountTokenProjection {
                    path: "token".to_owned(),
                    expiration_seconds: Some(3607),
                    audience: None,
                }),
                ..projection()
            },
            VolumeProjection {
                config_map: Some(ConfigMapProjection {
                    name: "kube-root-ca.crt".to_owned(),
                    items: Some(vec![KeyToPath {
                        key: "ca.crt".to_owned(),
                        path: "ca.crt".to_owned(),
                        mode: None,
                    }]),
                    optional: None,
                }),
                ..projection()
            },
            VolumeProjection {
                downward_api: Some(DownwardAPIProjection {
                    items: Some(vec![DownwardAPIVolumeFile {
                        path: "namespace".to_owned(),
                        field_ref: Some(ObjectFieldSelector {
                            api_version: Some("v1".to_owned()),
                            field_path: "metadata.namespace".to_owned(),
                        }),
                        ..DownwardAPIVolumeFile::default()
                    }]),
                }),
                ..projection()
            },
        ],
    )
}

fn projected(name: &str, sources: Vec<VolumeProjection>) -> Volume {
    Volume {
        name: name.to_owned(),
        projected: Some(ProjectedVolumeSource { sources: Some(sources), default_mode: Some(GROUP_READABLE) }),
        ..Volume::default()
    }
}
