//! From one endpoint, its tenants and their Secrets to a [`ServerConfig`]: pure, and the same for `serve` on a folder
//! of manifests and for a controller.
//!
//! Tokens leave this file as SHA-256 digests only.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::{
    Audit, Lifecycle, Limits, Membership, ServerConfig, TenantConfig, credentials,
    findings::{Finding, has_errors},
    oauth2::{self, Algorithm},
    objects::{Located, Namespaces, Object, Secret, SecretIndex, refers_to},
    schemas,
};
use crate::{
    crd::{
        self, Cidr, DeletionPolicy, IdentityProvider, MembershipSpec, NamespaceFrom, OnDelete, OnRecreate,
        ScimEndpoint, ScimTenant, TenantLimits, TenantNamespaces, UnknownMembers,
    },
    scim::dialect::Dialect,
};

/// How long leavers are retained when `spec.lifecycle.retention` is absent: 30 days.
const DEFAULT_RETENTION: Duration = Duration::from_hours(30 * 24);

/// Compiles what the servers of `endpoint` serve, with the warnings; or gives every finding, errors among them.
///
/// Tenants of other endpoints are passed over.
pub fn compile(
    endpoint: &Located<ScimEndpoint>,
    tenants: &[Located<ScimTenant>],
    secrets: &[Located<Secret>],
    namespaces: &Namespaces,
) -> Result<(ServerConfig, Vec<Finding>), Vec<Finding>> {
    let (admitted, mut findings) = admit(endpoint, tenants, namespaces);
    let secrets = SecretIndex::new(secrets);
    let spec = &endpoint.object.spec;
    let mut configs = Vec::new();
    for tenant in admitted {
        let (tokens, found) = credentials::tokens(tenant, &secrets);
        findings.extend(found);
        configs.push(Arc::new(TenantConfig {
            name: tenant.object.key(),
            path: tenant.object.path().to_owned(),
            identity_provider: tenant.object.spec.identity_provider.into(),
            tokens,
            schemas: schemas::custom(&tenant.object),
            oauth2: oauth2::compile(tenant, &secrets, &mut findings),
            limits: narrow(spec.limits.into(), tenant.object.spec.limits),
            suspended: tenant.object.spec.suspended,
            purge_on_removal: tenant.object.spec.deletion_policy == DeletionPolicy::Delete,
            lifecycle: (&tenant.object.spec.lifecycle).into(),
            membership: tenant.object.spec.membership.into(),
            audit: (&tenant.object.spec.audit).into(),
        }));
    }
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
    if has_errors(&findings) {
        return Err(findings);
    }
    configs.sort_by(|a, b| a.path.cmp(&b.path));
    let config = ServerConfig {
        endpoint: endpoint.object.key(),
        host: spec.host.clone(),
        allowed_cidrs,
        trusted_proxies,
        tenants: configs,
    };
    Ok((config, findings))
}

/// The tenants that an endpoint serves, oldest first, and findings about those that it does not serve as written.
#[must_use]
pub fn admit<'a>(
    endpoint: &Located<ScimEndpoint>,
    tenants: &'a [Located<ScimTenant>],
    namespaces: &Namespaces,
) -> (Vec<&'a Located<ScimTenant>>, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut candidates: Vec<_> =
        tenants.iter().filter(|tenant| refers_to(&tenant.object, &endpoint.object)).collect();
    // In a cluster the older object keeps its path; in a folder, the one written first.
    candidates.sort_by_key(|tenant| {
        let created = tenant.object.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (created.is_none(), created)
    });
    let mut admitted = Vec::new();
    let mut taken: HashMap<&str, &Located<ScimTenant>> = HashMap::new();
    for tenant in candidates {
        if let Err(finding) = allows(endpoint, &tenant.object, namespaces) {
            findings.push(tenant.finding("spec.endpointRef.namespace", finding));
            continue;
        }
        let path = tenant.object.path();
        if let Some(first) = taken.get(path) {
            if first.object.key() != tenant.object.key() {
                let message = format!("the path {path:?} is already that of {}", first.id_and_place());
                let finding =
                    Finding::error("path-taken", message).hint("give one of them another spec.path");
                let field = if tenant.object.spec.path.is_some() { "spec.path" } else { "metadata.name" };
                findings.push(tenant.finding(field, finding));
            }
            continue;
        }
        if let Some(max) = endpoint.object.spec.max_tenants.filter(|max| admitted.len() >= *max as usize) {
            let message = format!("{} takes {max} tenants, and has them", endpoint.id_and_place());
            let finding = Finding::error("quota-exceeded", message);
            let finding = finding.hint("raise spec.maxTenants of the endpoint, or remove a tenant");
            findings.push(tenant.finding("spec.endpointRef.name", finding));
            continue;
        }
        wider_limits(endpoint, tenant, &mut findings);
        taken.insert(path, tenant);
        admitted.push(tenant);
    }
    (admitted, findings)
}

/// Whether an endpoint takes tenants from a tenant's namespace; the finding says what it takes.
fn allows(
    endpoint: &Located<ScimEndpoint>,
    tenant: &ScimTenant,
    namespaces: &Namespaces,
) -> Result<(), Finding> {
    let home = endpoint.object.namespace();
    let namespace = tenant.namespace();
    let TenantNamespaces { from, selector } = &endpoint.object.spec.allowed_tenants.namespaces;
    let refused = |takes: &str, hint: String| {
        let message = format!("{} takes tenants of {takes} only", endpoint.id_and_place());
        Err(Finding::error("namespace-not-allowed", message).hint(hint))
    };
    match (from, selector) {
        (NamespaceFrom::All, _) => Ok(()),
        (NamespaceFrom::Same, _) if home == namespace => Ok(()),
        (NamespaceFrom::Selector, Some(selector)) => {
            let labels = namespaces.labels(namespace);
            if selector.matches(&labels) {
                return Ok(());
            }
            if !namespaces.knows(namespace) && selector.keys().any(|key| !labels.contains_key(key)) {
                let message = format!(
                    "the labels of namespace {namespace} are not known: it has no Namespace manifest"
                );
                let hint = format!(
                    "{} selects namespaces by their labels: add the manifest of namespace {namespace}",
                    endpoint.id_and_place()
                );
                return Err(Finding::error("namespace-unknown", message).hint(hint));
            }
            let hint = format!(
                "give namespace {namespace} the labels of spec.allowedTenants.namespaces.selector, or change the selector"
            );
            refused("the namespaces that it selects", hint)
        }
        (NamespaceFrom::Same | NamespaceFrom::Selector, _) => {
            let hint = format!(
                "set spec.allowedTenants.namespaces.from to All in the endpoint, or put the tenant in namespace {home}"
            );
            refused("its own namespace", hint)
        }
    }
}

fn wider_limits(endpoint: &Located<ScimEndpoint>, tenant: &Located<ScimTenant>, findings: &mut Vec<Finding>) {
    let outer: Limits = endpoint.object.spec.limits.into();
    let TenantLimits { max_body_bytes, max_bulk_operations, max_bulk_payload_bytes, max_page_size } =
        tenant.object.spec.limits;
    let limits = [
        ("maxBodyBytes", max_body_bytes, outer.max_body_bytes),
        ("maxBulkOperations", max_bulk_operations.map(Into::into), outer.max_bulk_operations.into()),
        ("maxBulkPayloadBytes", max_bulk_payload_bytes, outer.max_bulk_payload_bytes),
        ("maxPageSize", max_page_size.map(Into::into), outer.max_page_size.into()),
    ];
    for (field, inner, outer) in limits {
        if let Some(inner) = inner.filter(|inner| *inner > outer) {
            let message = format!("{inner} has no effect: {} allows {outer}", endpoint.id_and_place());
            let finding =
                Finding::warning("limit-too-wide", message).hint("raise the endpoint's limit, or lower this");
            findings.push(tenant.finding(&format!("spec.limits.{field}"), finding));
        }
    }
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
          ]
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
    fn older_tenant_keeps_the_path() {
        let text = [ENDPOINT, &tenant("young", "path: one"), &tenant("old", "path: one")].concat();
        let mut objects = objects(&text);
        for (tenant, created) in
            objects.tenants.iter_mut().zip(["2026-02-01T00:00:00Z", "2026-01-01T00:00:00Z"])
        {
            tenant.object.metadata.creation_timestamp = serde_json::from_value(created.into()).unwrap();
        }
        let (admitted, findings) = admit(&objects.endpoints[0], &objects.tenants, &objects.namespaces);
        assert_eq!(admitted.iter().map(|tenant| tenant.object.name()).collect::<Vec<_>>(), ["old"]);
        assert_eq!(findings[0].object.as_deref(), Some("ScimTenant platform/young"));
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
