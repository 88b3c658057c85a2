//! What `serve` says of what it serves: a table and lines to paste for people, log lines for machines.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use crate::config::ServerConfig;
use crate::config::manifests::{GeneratedSecret, Loaded, RotatedToken};
use crate::telemetry::writer::LogWriter;

/// Tells people, or machines, what is served.
pub(super) struct Announce {
    pub(super) address: SocketAddr,
    /// Where people read; `None` when only machines do.
    pub(super) people: Option<LogWriter>,
}

impl Announce {
    pub(super) fn served(&self, loaded: &Loaded) {
        let Loaded { config, generated, warnings, .. } = loaded;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        if let Some(people) = &self.people {
            people.write_lines(self.table(config, generated).as_bytes());
            return;
        }
        for tenant in &config.tenants {
            let url = self.url(&tenant.path);
            tracing::info!(tenant = tenant.name, url, dialect = ?tenant.identity_provider, suspended = tenant.suspended, "serving");
        }
        for GeneratedSecret { tenant, tenant_path, token_file } in generated {
            let try_it = self.curl(tenant_path, token_file);
            tracing::info!(tenant, token_file = %token_file.display(), try_it, "made a bearer token");
        }
    }

    /// Says where the new tokens are: once when they come, and again at each start while the old ones work.
    pub(super) fn rotated(&self, rotated: &[RotatedToken], all: bool) {
        for RotatedToken { tenant, tenant_path, token_file, previous_expires_at, just_now } in rotated {
            if !(all || *just_now) {
                continue;
            }
            if let Some(people) = &self.people {
                let line = format!(
                    "  The bearer token of {tenant} was replaced: {}\n  \
                     Give it to the identity provider; the old one works until {previous_expires_at}. Try it:\n    {}\n\n",
                    token_file.display(),
                    self.curl(tenant_path, token_file)
                );
                people.write_lines(line.as_bytes());
            } else {
                tracing::info!(tenant, token_file = %token_file.display(), old_token_works_until = %previous_expires_at, "replaced a bearer token: give the new one to the identity provider");
            }
        }
    }

    fn table(&self, config: &ServerConfig, generated: &[GeneratedSecret]) -> String {
        let width = |heading: &str, cells: &mut dyn Iterator<Item = usize>| {
            cells.max().unwrap_or(0).max(heading.len())
        };
        let name = width("TENANT", &mut config.tenants.iter().map(|tenant| tenant.name.len()));
        let url = width("URL", &mut config.tenants.iter().map(|tenant| self.url(&tenant.path).len()));
        let mut text = String::from("\n");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {:name$}  {:url$}  DIALECT", "TENANT", "URL");
        for tenant in &config.tenants {
            let suspended = if tenant.suspended { " (suspended)" } else { "" };
            let dialect = format!("{:?}{suspended}", tenant.identity_provider);
            let _ = writeln!(text, "  {:name$}  {:url$}  {dialect}", tenant.name, self.url(&tenant.path));
        }
        if config.tenants.is_empty() {
            text.push_str("  none yet: add a ScimTenant to the folder\n");
        }
        for GeneratedSecret { tenant, tenant_path, token_file } in generated {
            let file = token_file.display();
            let _ = writeln!(
                text,
                "\n  Made a bearer token for {tenant}: {file}\n  Try it:\n    {}",
                self.curl(tenant_path, token_file)
            );
        }
        text.push('\n');
        text
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}/scim/v2", reachable(self.address))
    }

    /// A command line that works when pasted and does not show the token.
    fn curl(&self, path: &str, token_file: &Path) -> String {
        let file = std::path::absolute(token_file).unwrap_or_else(|_| token_file.to_owned());
        let file = file.to_string_lossy().replace('\'', r"'\''");
        format!(
            r#"curl -H "Authorization: Bearer $(sed -n 's/^  token: //p' '{file}')" {}/Users"#,
            self.url(path)
        )
    }
}

/// Where this machine reaches a listener: an unspecified address is no destination.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], v4.port())),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], v6.port()))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use crate::config::{Audit, Lifecycle, Limits, Membership, TenantConfig};
    use crate::scim::dialect::Dialect;
    use crate::scim::schema::CustomSchemas;

    use super::*;

    fn tenant(path: &str, suspended: bool) -> TenantConfig {
        TenantConfig {
            name: format!("identity/{path}"),
            path: path.to_owned(),
            identity_provider: Dialect::Generic,
            tokens: Vec::new(),
            schemas: CustomSchemas::default(),
            limits: Limits::default(),
            suspended,
            purge_on_removal: false,
            lifecycle: Lifecycle::default(),
            membership: Membership::default(),
            audit: Audit::default(),
            oauth2: None,
        }
    }

    #[test]
    fn table_shows_tenants_urls_and_a_line_to_paste() {
        let config = ServerConfig {
            endpoint: "identity/main".to_owned(),
            host: None,
            allowed_cidrs: Vec::new(),
            trusted_proxies: Vec::new(),
            tenants: vec![tenant("acme", false).into(), tenant("globex-corporation", true).into()],
            removed: None,
        };
        let generated = GeneratedSecret {
            tenant: "identity/acme".to_owned(),
            tenant_path: "acme".to_owned(),
            token_file: PathBuf::from("/data/it's here.yaml"),
        };
        let announce = Announce { address: "0.0.0.0:8080".parse().unwrap(), people: None };
        insta::assert_snapshot!(announce.table(&config, &[generated]), @r#"

          TENANT                       URL                                               DIALECT
          identity/acme                http://127.0.0.1:8080/acme/scim/v2                Generic
          identity/globex-corporation  http://127.0.0.1:8080/globex-corporation/scim/v2  Generic (suspended)

          Made a bearer token for identity/acme: /data/it's here.yaml
          Try it:
            curl -H "Authorization: Bearer $(sed -n 's/^  token: //p' '/data/it'\''s here.yaml')" http://127.0.0.1:8080/acme/scim/v2/Users
        "#);
    }

    #[test]
    fn listener_on_every_address_is_reached_on_loopback() {
        for (listen, shown) in
            [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("192.0.2.1:80", "192.0.2.1:80")]
        {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), shown);
        }
    }
}
