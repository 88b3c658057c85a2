//! From one endpoint, its tenants and their Secrets to a [`ServerConfig`]: pure, and the same for `serve` on a folder
//! of manifests, where one error refuses all, and for a controller, where each tenant has an outcome of its own.
//!
//! Tokens leave this file as SHA-256 digests only.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::{
    Audit, Lifecycle, Limits, Membership, ServerConfig, TenantConfig,
    admit::{Admission, admit, wider_limits},
    credentials,
    findings::{Finding, has_errors},
    oauth2::{self, Algorithm},
    objects::{Located, Namespaces, Object, Secret, SecretIndex},
    schemas, validate,
};
use crate::{
    crd::{
        self, Cidr, DeletionPolicy, IdentityProvider, MembershipSpec, OnDelete, OnRecreate, ScimEndpoint,
        ScimTenant, TenantLimits, UnknownMembers,
    },
    scim::dialect::Dialect,
};

/// How long leavers are retained when `spec.lifecycle.retention` is absent: 30 days.
const DEFAULT_RETENTION: Duration = Duration::from_hours(30 * 24);

/// What an endpoint and its tenants come to. A tenant that is wrong does not stop the others.
#[derive(Debug)]
pub struct Compiled<'a> {
    /// What is the endpoint's: the configuration without tenants. An error: nothing of it can be served.
    pub endpoint: Result<ServerConfig, Vec<Finding>>,
    /// The tenants that name this endpoint, oldest first.
    pub tenants: Vec<Outcome<'a>>,
}

/// What became of one tenant.
#[derive(Debug)]
pub struct Outcome<'a> {
    /// The tenant.
    pub tenant: &'a Located<ScimTenant>,
    /// What its servers serve, or why not.
    pub result: Result<Arc<TenantConfig>, Refusal>,
    /// What is probably not meant, but is no error.
    pub warnings: Vec<Finding>,
}

/// Why a tenant is not served as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The endpoint does not take it, because of its namespace, its path or the number of tenants: it is not served.
    NotAdmitted(Finding),
    /// It belongs here, and something that it names cannot be used, such as a Secret: what was served before may be
    /// served on.
    Unusable(Vec<Finding>),
}

impl Refusal {
    /// Why: at least one error.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        match self {
            Self::NotAdmitted(finding) => std::slice::from_ref(finding),
            Self::Unusable(findings) => findings,
        }
    }
}

/// Compiles what the servers of `endpoint` serve, each tenant for itself. Tenants of other endpoints are passed over.
#[must_use]
pub fn tenants<'a>(
    endpoint: &Located<ScimEndpoint>,
    tenants: &'a [Located<ScimTenant>],
    secrets: &[Located<Secret>],
    namespaces: &Namespaces,
) -> Compiled<'a> {
    let secrets = SecretIndex::new(secrets);
    let outcomes = admit(endpoint, tenants, namespaces).into_iter().map(|Admission { tenant, refusal }| {
        let (result, warnings) = match refusal {
            None => one_tenant(endpoint, tenant, &secrets),
            Some(finding) => (Err(Refusal::NotAdmitted(finding)), Vec::new()),
        };
        Outcome { tenant, result, warnings }
    });
    Compiled { endpoint: endpoint_alone(endpoint), tenants: outcomes.collect() }
}

/// As [`tenants`], all or nothing: the configuration with the warnings, or every finding, errors among them.
pub fn compile(
    endpoint: &Located<ScimEndpoint>,
    tenants: &[Located<ScimTenant>],
    secrets: &[Located<Secret>],
    namespaces: &Namespaces,
) -> Result<(ServerConfig, Vec<Finding>), Vec<Finding>> {
    let compiled = self::tenants(endpoint, tenants, secrets, namespaces);
    let (mut configs, mut findings) = (Vec::new(), Vec::new());
    for Outcome { tenant: _, result, warnings } in compiled.tenants {
        findings.extend(warnings);
        match result {
            Ok(config) => configs.push(config),
            Err(refusal) => findings.extend_from_slice(refusal.findings()),
        }
    }
    match compiled.endpoint {
        Ok(config) if !has_errors(&findings) => Ok((config.with(configs), findings)),
        Ok(_) => Err(findings),
        Err(found) => {
            findings.extend(found);
            Err(findings)
        }
    }
}

/// One tenant that was admitted: what is served, or why it cannot be; and the warnings.
pub fn one_tenant(
    endpoint: &Located<ScimEndpoint>,
    tenant: &Located<ScimTenant>,
    secrets: &SecretIndex<'_>,
) -> (Result<Arc<TenantConfig>, Refusal>, Vec<Finding>) {
    let (tokens, mut findings) = credentials::tokens(tenant, secrets);
    findings.extend(validate::schemas_of(tenant));
    findings.extend(wider_limits(endpoint, tenant));
    let spec = &tenant.object.spec;
    let config = TenantConfig {
        name: tenant.object.key(),
        path: tenant.object.path().to_owned(),
        identity_provider: spec.identity_provider.into(),
        tokens,
        schemas: schemas::custom(&tenant.object),
        oauth2: oauth2::compile(tenant, secrets, &mut findings),
        limits: narrow(endpoint.object.spec.limits.into(), spec.limits),
        suspended: spec.suspended,
        purge_on_removal: spec.deletion_policy == DeletionPolicy::Delete,
        lifecycle: (&spec.lifecycle).into(),
        membership: spec.membership.into(),
        audit: (&spec.audit).into(),
    };
    let (errors, warnings): (Vec<_>, Vec<_>) = findings.into_iter().partition(Finding::is_error);
    let result = if errors.is_empty() { Ok(Arc::new(config)) } else { Err(Refusal::Unusable(errors)) };
    (result, warnings)
}

/// What is the endpoint's own, without tenants.
pub fn endpoint_alone(endpoint: &Located<ScimEndpoint>) -> Result<ServerConfig, Vec<Finding>> {
    let spec = &endpoint.object.spec;
    let mut findings = Vec::new();
    let mut cidrs = |field: &str, blocks: &[Cidr]| {
        let mut networks = Vec::new();
        for (index, block) in blocks.iter().enumerate() {
            if let Ok(network) = block.0.parse::<IpNet>() {
                networks.push(network.trunc());
            } else {
                let field = super::yaml::item(&format!("spec.access.{field}"), index);
                findings.push(endpoint.finding(&field, Finding::error("cidr", "must be a CIDR block")));
            }
        }
        networks
    };
    let allowed_cidrs = cidrs("allowedCIDRs", &spec.access.allowed_cidrs);
    let trusted_proxies = cidrs("trustedProxies", &spec.access.trusted_proxies);
    if !findings.is_empty() {
        return Err(findings);
    }
    Ok(ServerConfig {
        endpoint: endpoint.object.key(),
        host: spec.host.clone(),
        allowed_cidrs,
        trusted_proxies,
        tenants: Vec::new(),
        removed: None,
    })
}

/// The endpoint's limits, narrowed by a tenant's.
fn narrow(outer: Limits, inner: TenantLimits) -> Limits {
    let TenantLimits { max_body_bytes, max_bulk_operations, max_bulk_payload_bytes, max_page_size } = inner;
    Limits {
        max_body_bytes: max_body_bytes.unwrap_or(u64::MAX).min(outer.max_body_bytes),
        max_bulk_operations: max_bulk_operations.unwrap_or(u32::MAX).min(outer.max_bulk_operations),
        max_bulk_payload_bytes: max_bulk_payload_bytes.unwrap_or(u64::MAX).min(outer.max_bulk_payload_bytes),
        max_page_size: max_page_size.unwrap_or(u32::MAX).min(outer.max_page_size),
    }
}

impl From<&crd::Lifecycle> for Lifecycle {
    fn from(lifecycle: &crd::Lifecycle) -> Self {
        let crd::Lifecycle { on_delete, retention, on_recreate, on_deactivate } = lifecycle;
        let retention = retention.as_ref().map_or(DEFAULT_RETENTION, crd::Duration::get);
        Self {
            retention_seconds: match on_delete {
                OnDelete::Purge => None,
                OnDelete::Retain => Some(retention.as_secs()),
            },
            restore_on_recreate: *on_recreate == OnRecreate::Restore,
            remove_from_groups_on_deactivate: on_deactivate.remove_from_groups,
        }
    }
}

impl From<&crd::Audit> for Audit {
    fn from(audit: &crd::Audit) -> Self {
        let crd::Audit { retention, max_entries, values } = audit;
        let default = Self::default();
        Self {
            retention_seconds: retention
                .as_ref()
                .map_or(default.retention_seconds, |time| time.get().as_secs()),
            max_entries: max_entries.unwrap_or(default.max_entries),
            values: *values,
        }
    }
}

impl From<MembershipSpec> for Membership {
    fn from(membership: MembershipSpec) -> Self {
        let MembershipSpec { unknown_members, match_external_id } = membership;
        Self { keep_unknown: unknown_members == UnknownMembers::Pending, match_external_id }
    }
}

impl From<IdentityProvider> for Dialect {
    fn from(provider: IdentityProvider) -> Self {
        match provider {
            IdentityProvider::Strict => Self::Strict,
            IdentityProvider::Generic => Self::Generic,
            IdentityProvider::Okta => Self::Okta,
            IdentityProvider::EntraID => Self::EntraID,
            IdentityProvider::OneLogin => Self::OneLogin,
            IdentityProvider::JumpCloud => Self::JumpCloud,
            IdentityProvider::PingOne => Self::PingOne,
            IdentityProvider::Authentik => Self::Authentik,
            IdentityProvider::GoogleWorkspace => Self::GoogleWorkspace,
            IdentityProvider::Keycloak => Self::Keycloak,
        }
    }
}

impl From<crd::OAuth2Algorithm> for Algorithm {
    fn from(algorithm: crd::OAuth2Algorithm) -> Self {
        match algorithm {
            crd::OAuth2Algorithm::RS256 => Self::RS256,
            crd::OAuth2Algorithm::RS384 => Self::RS384,
            crd::OAuth2Algorithm::RS512 => Self::RS512,
            crd::OAuth2Algorithm::PS256 => Self::PS256,
            crd::OAuth2Algorithm::PS384 => Self::PS384,
            crd::OAuth2Algorithm::PS512 => Self::PS512,
            crd::OAuth2Algorithm::ES256 => Self::ES256,
            crd::OAuth2Algorithm::ES384 => Self::ES384,
            crd::OAuth2Algorithm::EdDSA => Self::EdDSA,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{
        objects::Objects,
        validate::{File, read},
        yaml::Source,
    };

    // Name and namespace differ from those of the quickstart, so that nothing matches by chance.
    const ENDPOINT: &str = "
apiVersion: scim-operator.io/v1alpha1
kind: ScimEndpoint
metadata: {name: door, namespace: platform}
spec:
  host: scim.example.com
  access: {allowedCIDRs: [203.0.113.7/24], trustedProxies: ['2001:db8::/32']}
  limits: {maxBodyBytes: 5000, maxPageSize: 50}
";

    fn tenant(name: &str, spec: &str) -> String {
        format!(
            "---\napiVersion: scim-operator.io/v1alpha1\nkind: ScimTenant\nmetadata: {{name: {name}, namespace: platform}}\n\
             spec: {{endpointRef: {{name: door}}, {spec}}}\n"
        )
    }

    fn secret(name: &str, key: &str, token: &str) -> String {
        format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: platform}}\nstringData: {{{key}: {token:?}}}\n"
        )
    }

    fn objects(text: &str) -> Objects {
        let (objects, findings) = read(&[File { name: "m.yaml".into(), text: text.into() }]);
        assert_eq!(findings, []);
        objects
    }

    fn compile_text(text: &str) -> Result<(ServerConfig, Vec<Finding>), Vec<Finding>> {
        let Objects { endpoints, tenants, secrets, namespaces, .. } = objects(text);
        compile(&endpoints[0], &tenants, &secrets, &namespaces)
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a whole object")]
    fn everything_of_a_manifest_is_in_the_configuration_but_the_token() {
        let text = [
            ENDPOINT,
            &tenant(
                "globex",
                "path: gx, identityProvider: Strict, suspended: true, deletionPolicy: Delete, \
                 limits: {maxBodyBytes: 2000, maxPageSize: 500}, \
                 authentication: {bearer: {secretName: own, tokens: [{name: next, secretKeyRef: {name: own, key: new}, scopes: [scim.read]}]}}",
            ),
            &tenant("acme", ""),
            &secret("acme-scim-token", "token", "a-token-of-acme-123"),
            "---\napiVersion: v1\nkind: Secret\nmetadata: {name: own, namespace: platform}\n\
             stringData: {token: 'the-first-token-000', new: 'the-second-token-00'}\n",
        ]
        .concat();
        let (config, _) = compile_text(&text).unwrap();
        insta::assert_json_snapshot!(config, @r#"
        {
          "endpoint": "platform/door",
          "host": "scim.example.com",
          "allowedCidrs": [
            "203.0.113.0/24"
          ],
          "trustedProxies": [
            "2001:db8::/32"
          ],
          "tenants": [
            {
              "name": "platform/acme",
              "path": "acme",
              "identityProvider": "Generic",
              "tokens": [
                {
                  "name": "token",
                  "sha256": "054963e3d7736cc6e58fdfd8860a8902f22c366ccc461ba8c4771852b213a53e",
                  "scopes": [
                    "scim.read",
                    "scim.write"
                  ]
                }
              ],
              "oauth2": null,
              "limits": {
                "maxBodyBytes": 5000,
                "maxBulkOperations": 1000,
                "maxBulkPayloadBytes": 4194304,
                "maxPageSize": 50
              },
              "suspended": false,
              "purgeOnRemoval": false,
              "lifecycle": {
                "retentionSeconds": null,
                "restoreOnRecreate": false,
                "removeFromGroupsOnDeactivate": false
              },
              "membership": {
                "keepUnknown": false,
                "matchExternalId": false
              },
              "audit": {
                "retentionSeconds": 7776000,
                "maxEntries": 1000000,
                "values": false
              }
            },
            {
              "name": "platform/globex",
              "path": "gx",
              "identityProvider": "Strict",
              "tokens": [
                {
                  "name": "token",
                  "sha256": "a08bcc2cf778d2eb276708dfe373edbffc06eec4901ce1942b016591d1aeaf5f",
                  "scopes": [
                    "scim.read",
                    "scim.write"
                  ]
                },
                {
                  "name": "next",
                  "sha256": "c34bd22d599296f1ef058794b3ef298a8565655c0307de32eac183e5e5e4a5a0",
                  "scopes": [
                    "scim.read"
                  ]
                }
              ],
              "oauth2": null,
              "limits": {
                "maxBodyBytes": 2000,
                "maxBulkOperations": 1000,
                "maxBulkPayloadBytes": 4194304,
                "maxPageSize": 50
              },
              "suspended": true,
              "purgeOnRemoval": true,
              "lifecycle": {
                "retentionSeconds": null,
                "restoreOnRecreate": false,
                "removeFromGroupsOnDeactivate": false
              },
              "membership": {
                "keepUnknown": false,
                "matchExternalId": false
              },
              "audit": {
                "retentionSeconds": 7776000,
                "maxEntries": 1000000,
                "values": false
              }
            }
          ],
          "removed": null
        }
        "#);
    }

    #[test]
    fn configuration_survives_encoding() {
        let text =
            [ENDPOINT, &tenant("acme", ""), &secret("acme-scim-token", "token", "a-token-of-acme-123")]
                .concat();
        let (config, _) = compile_text(&text).unwrap();
        let encoded = serde_json::to_string(&config).unwrap();
        assert!(!encoded.contains("a-token-of-acme-123"));
        assert_eq!(serde_json::from_str::<ServerConfig>(&encoded).unwrap(), config);
    }

    #[test]
    fn tenant_limits_narrow_and_never_widen() {
        let outer = Limits {
            max_body_bytes: 10,
            max_bulk_operations: 20,
            max_bulk_payload_bytes: 30,
            max_page_size: 40,
        };
        assert_eq!(narrow(outer, TenantLimits::default()), outer);
        let inner =
            TenantLimits { max_body_bytes: Some(5), max_page_size: Some(400), ..TenantLimits::default() };
        assert_eq!(narrow(outer, inner), Limits { max_body_bytes: 5, ..outer });
    }

    #[test]
    fn missing_secret_is_an_error_that_names_tenant_and_field() {
        let findings = compile_text(&[ENDPOINT, &tenant("acme", "")].concat()).unwrap_err();
        insta::assert_snapshot!(findings[0], @r#"
        m.yaml:13:1: error: ScimTenant platform/acme: spec.authentication.bearer.secretName: there is no Secret platform/acme-scim-token
          hint: add its manifest to the folder
        "#);
    }

    #[test]
    fn tenant_that_is_wrong_does_not_stop_the_others() {
        let text = [
            ENDPOINT,
            &tenant("acme", ""),
            &tenant("broken", "limits: {maxPageSize: 1000}"),
            &tenant("late", "path: acme"),
            &secret("acme-scim-token", "token", "short"),
        ]
        .concat();
        let Objects { endpoints, tenants, secrets, namespaces, .. } = objects(&text);
        let compiled = super::tenants(&endpoints[0], &tenants, &secrets, &namespaces);
        assert_eq!(compiled.endpoint.unwrap().tenants, []);
        let shown: Vec<_> = compiled
            .tenants
            .iter()
            .map(|Outcome { tenant, result, warnings }| {
                let result = match result {
                    Ok(config) => format!("serves {}", config.path),
                    Err(Refusal::NotAdmitted(finding)) => format!("not admitted: {}", finding.code),
                    Err(Refusal::Unusable(findings)) => format!("unusable: {}", findings[0].code),
                };
                let warnings: Vec<_> = warnings.iter().map(|warning| warning.code).collect();
                format!("{}: {result}; warnings: {}", tenant.object.name(), warnings.join(" "))
            })
            .collect();
        insta::assert_snapshot!(shown.join("\n"), @r"
        acme: serves acme; warnings: token-short
        broken: unusable: secret-missing; warnings: limit-too-wide
        late: not admitted: path-taken; warnings: 
        ");
    }

    #[test]
    fn missing_secret_of_a_cluster_is_not_to_be_added_to_a_folder() {
        let mut objects = objects(&[ENDPOINT, &tenant("acme", "")].concat());
        objects.tenants[0].source = Source::default();
        let findings =
            compile(&objects.endpoints[0], &objects.tenants, &[], &objects.namespaces).unwrap_err();
        insta::assert_snapshot!(findings[0], @r"
        error: ScimTenant platform/acme: spec.authentication.bearer.secretName: there is no Secret platform/acme-scim-token
          hint: create the Secret, or name one that is there
        ");
    }

    #[test]
    fn findings_never_show_a_token() {
        for token in ["hunter2", "with space in it", "p\u{e4}ssword-of-some-length", " "] {
            let text = [ENDPOINT, &tenant("acme", ""), &secret("acme-scim-token", "token", token)].concat();
            let shown = match compile_text(&text) {
                Ok((config, findings)) => format!("{config:?}{findings:?}"),
                Err(findings) => format!("{findings:?}"),
            };
            assert!(token == " " || !shown.contains(token), "{shown}");
        }
    }
}
