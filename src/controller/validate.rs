//! Validate: from an endpoint as people write it to a [`ValidatedEndpoint`], which is all that builders look at.
//!
//! Pure. The API server has asked the rules of the CRD already; an object may be older than a rule, so what a builder
//! relies on is asked again here, and is a reason and a message instead of an object that cannot work.

use std::collections::BTreeSet;

use crate::{
    config::{
        ServerConfig, TenantConfig,
        database::{self, Database},
        objects::Object,
        shards::Encoded,
    },
    crd::{
        ClusterIpExposure, GatewayExposure, ImagePullPolicy, IngressExposure, IssuerRef,
        LoadBalancerExposure, NetworkPolicySpec, Routing, ScimEndpoint, Server, Sqlite, condition::Reason,
    },
};

use super::names::Names;

/// What the controller was told, and every endpoint needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The image of the pods of endpoints that name none.
    pub server_image: String,
    /// The namespace in which the controller runs: from there it asks pods what they serve.
    pub operator_namespace: String,
}

/// Why an endpoint cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Invalid {
    /// The reason for its conditions.
    pub reason: Reason,
    /// The field, as `spec.host`.
    pub field: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

/// An endpoint that makes sense, with all that its objects are built from.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidatedEndpoint {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.uid`; none for a manifest that no cluster has seen. Without it there are no owner references.
    pub uid: Option<String>,
    /// The public DNS name.
    pub host: Option<String>,
    /// How requests reach the pods.
    pub exposure: Exposure,
    /// What the routes let through.
    pub routing: Routing,
    /// The certificate, where there is one.
    pub certificate: Option<Certificate>,
    /// The pods present the certificate: they serve HTTPS.
    pub pods_serve_tls: bool,
    /// Whether only some clients may call, so that their addresses must reach the pods.
    pub restricts_clients: bool,
    /// `spec.server`.
    pub server: Server,
    /// The container image.
    pub image: String,
    /// When it is pulled.
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Where data is kept.
    pub storage: Storage,
    /// Who may reach the pods and whom they reach.
    pub network: Network,
    /// The tenants' paths, in order.
    pub tenants: Vec<TenantRoute>,
    /// The configuration, as it is written to Secrets.
    pub config: Encoded,
}

/// How requests reach the pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exposure {
    /// Through an ingress controller.
    Ingress {
        /// The host of the rules.
        host: String,
        /// `spec.exposure.ingress`.
        ingress: IngressExposure,
    },
    /// Through a Gateway.
    Gateway {
        /// The host of the routes.
        host: String,
        /// `spec.exposure.gateway`.
        gateway: GatewayExposure,
    },
    /// Through a load balancer.
    LoadBalancer(LoadBalancerExposure),
    /// Within the cluster.
    ClusterIp(ClusterIpExposure),
}

/// The endpoint's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The Secret that holds it.
    pub secret_name: String,
    /// Who makes it; none when people do.
    pub issuer: Option<IssuerRef>,
    /// The names that it must have.
    pub dns_names: Vec<String>,
}

/// Where data is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// In a file on a volume: one pod.
    Sqlite(Sqlite),
    /// In a PostgreSQL database: any number of pods.
    Postgres(Postgres),
}

/// A PostgreSQL database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postgres {
    /// How to get there.
    pub database: Database,
    /// The versions of the Secrets that say so; none for manifests that no cluster has seen. It is no digest: of a
    /// password that people made up, whoever sees one can find it.
    pub version: Option<String>,
}

/// What an endpoint and its tenants were compiled to.
#[derive(Debug)]
pub struct Compiled<'a> {
    /// The configuration.
    pub config: &'a ServerConfig,
    /// Its bytes.
    pub encoded: Encoded,
    /// Where data is kept.
    pub storage: database::Storage,
    /// The versions of the Secrets of the storage.
    pub version: Option<String>,
}

/// Who may reach the pods and whom they reach.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// `spec.networkPolicy`.
    pub policy: NetworkPolicySpec,
    /// The namespace in which the controller runs.
    pub operator_namespace: String,
    /// The ports of OAuth 2.0 issuers.
    pub issuer_ports: BTreeSet<u16>,
    /// The ports of the database.
    pub database_ports: BTreeSet<u16>,
}

/// Under which paths a tenant is served.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TenantRoute {
    /// The first path segment.
    pub path: String,
    /// It has OAuth 2.0 clients, which get tokens from the endpoint.
    pub issues_tokens: bool,
}

impl ValidatedEndpoint {
    /// The names of its objects.
    #[must_use]
    pub fn names(&self) -> Names<'_> {
        Names::of(&self.name)
    }

    /// How many pods there are to be; `None` when an autoscaler decides.
    #[must_use]
    pub fn replicas(&self) -> Option<i32> {
        match self.server.autoscaling {
            Some(_) => None,
            None => Some(self.server.replicas.unwrap_or(1)),
        }
    }

    /// Whether one pod has the data for itself, so that there can be no second one, not even for a moment.
    #[must_use]
    pub fn holds_volume(&self) -> bool {
        match self.storage {
            Storage::Sqlite(_) => true,
            Storage::Postgres(_) => false,
        }
    }

    /// Where it is served; none for a load balancer without host, whose `address` is not known yet.
    #[must_use]
    pub fn url(&self, address: Option<&str>) -> Option<String> {
        if let Some(host) = &self.host {
            return Some(format!("https://{host}"));
        }
        let scheme = if self.pods_serve_tls { "https" } else { "http" };
        let host = match self.exposure {
            Exposure::LoadBalancer(_) => address?.to_owned(),
            _ => service_host(&self.name, &self.namespace),
        };
        Some(format!("{scheme}://{host}"))
    }
}

/// The name of the Service, as it is resolved anywhere in the cluster.
fn service_host(endpoint: &str, namespace: &str) -> String {
    format!("{}.{namespace}.svc", Names::of(endpoint).workload())
}

/// Judges an endpoint together with what was compiled for it.
pub fn validate(
    endpoint: &ScimEndpoint,
    compiled: Compiled<'_>,
    settings: &Settings,
) -> Result<ValidatedEndpoint, Invalid> {
    let Compiled { config, encoded, storage: kept, version } = compiled;
    let spec = &endpoint.spec;
    let exposure = exposure(endpoint)?;
    let certificate = certificate(endpoint)?;
    let behind_proxy = matches!(exposure, Exposure::Ingress { .. });
    let pods_serve_tls = spec.tls.as_ref().is_some_and(|tls| tls.end_to_end || !behind_proxy);
    let server = spec.server.clone();
    let database_ports = match &kept {
        database::Storage::Sqlite => BTreeSet::new(),
        database::Storage::Postgres(database) => database.ports.clone(),
    };
    let storage = storage(endpoint, kept, version)?;
    if server.replicas.is_some() && server.autoscaling.is_some() {
        let message = "cannot be set together with autoscaling, which decides how many there are: remove one";
        return Err(invalid("spec.server.replicas", message));
    }
    let mut tenants: Vec<TenantRoute> = config.tenants.iter().map(|tenant| route(tenant)).collect();
    tenants.sort();
    Ok(ValidatedEndpoint {
        name: endpoint.name().to_owned(),
        namespace: endpoint.namespace().to_owned(),
        uid: endpoint.metadata.uid.clone(),
        host: spec.host.clone(),
        exposure,
        routing: spec.routing,
        certificate,
        pods_serve_tls,
        restricts_clients: !spec.access.allowed_cidrs.is_empty(),
        image: server.image.clone().unwrap_or_else(|| settings.server_image.clone()),
        image_pull_policy: server.image_pull_policy,
        server,
        storage,
        network: Network {
            policy: spec.network_policy.clone(),
            operator_namespace: settings.operator_namespace.clone(),
            database_ports,
            issuer_ports: config.tenants.iter().flat_map(|tenant| issuer_ports(tenant)).collect(),
        },
        tenants,
        config: encoded,
    })
}

fn invalid(field: &'static str, message: impl Into<String>) -> Invalid {
    Invalid { reason: Reason::InvalidSpec, field, message: message.into() }
}

fn exposure(endpoint: &ScimEndpoint) -> Result<Exposure, Invalid> {
    let spec = &endpoint.spec;
    let host = || {
        let message = "is required with exposure.ingress and exposure.gateway: requests are routed by it";
        spec.host.clone().ok_or_else(|| invalid("spec.host", message))
    };
    let crate::crd::Exposure { ingress, gateway, load_balancer, cluster_ip } = spec.exposure.clone();
    match (ingress, gateway, load_balancer, cluster_ip) {
        (Some(ingress), None, None, None) => Ok(Exposure::Ingress { host: host()?, ingress }),
        (None, Some(gateway), None, None) => {
            if spec.tls.is_some() {
                let message = "cannot be set with exposure.gateway, where the listeners of the Gateway have the certificate: configure it there";
                return Err(invalid("spec.tls", message));
            }
            Ok(Exposure::Gateway { host: host()?, gateway })
        }
        (None, None, Some(load_balancer), None) => Ok(Exposure::LoadBalancer(load_balancer)),
        (None, None, None, Some(cluster_ip)) => Ok(Exposure::ClusterIp(cluster_ip)),
        _ => {
            let message = "must be exactly one of ingress, gateway, loadBalancer and clusterIP";
            Err(invalid("spec.exposure", message))
        }
    }
}

fn certificate(endpoint: &ScimEndpoint) -> Result<Option<Certificate>, Invalid> {
    let Some(tls) = &endpoint.spec.tls else { return Ok(None) };
    let names = Names::of(endpoint.name());
    let (secret_name, issuer) = match (&tls.secret_name, &tls.issuer_ref) {
        (Some(secret), None) => (secret.clone(), None),
        (None, Some(issuer)) => (names.certificate(), Some(issuer.clone())),
        _ => return Err(invalid("spec.tls", "must have exactly one of secretName and issuerRef")),
    };
    let dns_names = match &endpoint.spec.host {
        Some(host) => vec![host.clone()],
        // Only clients in the cluster have a name for it.
        None => vec![service_host(endpoint.name(), endpoint.namespace())],
    };
    Ok(Some(Certificate { secret_name, issuer, dns_names }))
}

fn storage(
    endpoint: &ScimEndpoint,
    kept: database::Storage,
    version: Option<String>,
) -> Result<Storage, Invalid> {
    let crate::crd::Storage { sqlite, postgres } = &endpoint.spec.storage;
    let server = &endpoint.spec.server;
    match (sqlite, postgres, kept) {
        (Some(sqlite), None, database::Storage::Sqlite) => {
            if server.replicas.is_some_and(|replicas| replicas != 1) || server.autoscaling.is_some() {
                let message = "there can be one pod with storage.sqlite, as one pod can have its volume: use storage.postgres for more";
                return Err(invalid("spec.server.replicas", message));
            }
            Ok(Storage::Sqlite(sqlite.clone()))
        }
        (None, Some(_), database::Storage::Postgres(database)) => {
            if database.ports.is_empty() {
                let message = "the URL in the Secret names a Unix socket, and pods have none: name a host";
                let field = "spec.storage.postgres.secretRef";
                return Err(Invalid { reason: Reason::SecretInvalid, field, message: message.to_owned() });
            }
            Ok(Storage::Postgres(Postgres { database, version }))
        }
        _ => Err(invalid("spec.storage", "must be exactly one of sqlite and postgres")),
    }
}

fn route(tenant: &TenantConfig) -> TenantRoute {
    let issues_tokens = tenant.oauth2.as_ref().is_some_and(|oauth2| !oauth2.clients.is_empty());
    TenantRoute { path: tenant.path.clone(), issues_tokens }
}

/// The ports to which keys are fetched from.
fn issuer_ports(tenant: &TenantConfig) -> Vec<u16> {
    let issuers = tenant.oauth2.iter().flat_map(|oauth2| &oauth2.issuers);
    let urls = issuers.flat_map(|issuer| [Some(&issuer.issuer), issuer.jwks_uri.as_ref()]).flatten();
    urls.filter_map(|url| url.parse::<hyper::Uri>().ok()?.port_u16()).collect()
}
