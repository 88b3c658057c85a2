//! `spec.storage` of an endpoint with what its Secrets hold: where users and groups are kept, and how to get there.
//!
//! The URL of a database holds a password: it reaches the store and the pods' own Secret, and no finding, no log and no
//! [`super::ServerConfig`].

use std::{collections::BTreeSet, fmt};

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use tokio_postgres::config::Host;
use x509_cert::{Certificate, der::Decode as _};

use super::{
    findings::Finding,
    objects::{Located, Object as _, Secret, SecretIndex},
    yaml,
};
use crate::crd::{Postgres, PostgresTlsMode, ScimEndpoint};

/// The port of PostgreSQL where a URL names none.
const PORT: u16 = 5432;

const SECRET_REF: &str = "spec.storage.postgres.secretRef";
const CA_SECRET_REF: &str = "spec.storage.postgres.tls.caSecretRef";

/// Where users and groups are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// In SQLite, in a folder.
    Sqlite,
    /// In a PostgreSQL database.
    Postgres(Database),
}

/// A PostgreSQL database.
#[derive(Clone, PartialEq, Eq)]
pub struct Database {
    /// Its URL, which holds a password.
    pub url: String,
    /// How connections are protected.
    pub tls: PostgresTlsMode,
    /// The certificates of the authorities to trust, as PEM; the system's when absent.
    pub ca: Option<Vec<u8>>,
    /// Connections of one server at most.
    pub connections: u16,
    /// The TCP ports that it is reached on; none for a Unix socket.
    pub ports: BTreeSet<u16>,
}

impl fmt::Debug for Database {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, tls, ca, connections, ports } = self;
        out.debug_struct("Database")
            .field("url", &"..")
            .field("tls", tls)
            .field("ca", &ca.is_some())
            .field("connections", connections)
            .field("ports", ports)
            .finish()
    }
}

impl Database {
    /// A database of which only the manifest is known: these texts stand for what its Secrets hold.
    #[must_use]
    pub fn placeholder(postgres: &Postgres, url: String, ca: Option<Vec<u8>>) -> Self {
        let Postgres { secret_ref: _, tls, pool } = postgres;
        let ports = BTreeSet::from([PORT]);
        Self { url, tls: tls.mode, ca, connections: pool.max_size, ports }
    }
}

/// Where an endpoint keeps its data; or why that cannot be known.
pub fn storage(endpoint: &Located<ScimEndpoint>, secrets: &SecretIndex<'_>) -> Result<Storage, Vec<Finding>> {
    let Some(postgres) = &endpoint.object.spec.storage.postgres else { return Ok(Storage::Sqlite) };
    let mut findings = Vec::new();
    let database = database(endpoint, postgres, secrets, &mut findings);
    match database {
        Some(database) if findings.is_empty() => Ok(Storage::Postgres(database)),
        _ => Err(findings),
    }
}

/// What is wrong with the Secrets of an endpoint's storage, without those that are not there: they may be in the
/// cluster.
pub(super) fn check(endpoint: &Located<ScimEndpoint>, secrets: &SecretIndex<'_>) -> Vec<Finding> {
    let mut findings = storage(endpoint, secrets).err().unwrap_or_default();
    findings.retain(|finding| finding.code != "secret-missing");
    findings
}

fn database(
    endpoint: &Located<ScimEndpoint>,
    postgres: &Postgres,
    secrets: &SecretIndex<'_>,
    findings: &mut Vec<Finding>,
) -> Option<Database> {
    let Postgres { secret_ref, tls, pool } = postgres;
    let url = value(endpoint, &secret_ref.name, &secret_ref.key, SECRET_REF, secrets);
    let authority = tls.ca_secret_ref.as_ref();
    let authority =
        authority.map(|ca| value(endpoint, &ca.name, &ca.key, CA_SECRET_REF, secrets)).transpose();
    let ca = match authority {
        Ok(Some((secret, key, pem))) => {
            if !is_pem_certificate(pem) {
                let finding = Finding::error("certificate", "the value holds no certificate in PEM")
                    .hint("put the authority's certificate there, from -----BEGIN CERTIFICATE----- on");
                findings.push(in_secret(secret, key, finding));
            }
            Some(pem.to_vec())
        }
        Ok(None) => None,
        Err(finding) => {
            findings.push(*finding);
            None
        }
    };
    let (secret, key, url) = match url {
        Ok(found) => found,
        Err(finding) => {
            findings.push(*finding);
            return None;
        }
    };
    match parse(url) {
        Ok((url, ports)) => Some(Database { url, tls: tls.mode, ca, connections: pool.max_size, ports }),
        Err(finding) => {
            findings.push(in_secret(secret, key, *finding));
            None
        }
    }
}

/// A Secret, a key of it and the key's value.
type Item<'s, 'k> = (&'s Located<Secret>, &'k str, &'s [u8]);

/// A value of a Secret of the endpoint's namespace.
fn value<'s, 'k>(
    endpoint: &Located<ScimEndpoint>,
    name: &str,
    key: &'k str,
    field: &str,
    secrets: &SecretIndex<'s>,
) -> Result<Item<'s, 'k>, Box<Finding>> {
    let namespace = endpoint.object.namespace();
    let Some(found) = secrets.get(namespace, name) else {
        let finding = Finding::error("secret-missing", format!("there is no Secret {namespace}/{name}"));
        let hint = endpoint.how_to_add("Secret");
        return Err(endpoint.finding(&format!("{field}.name"), finding.hint(hint)).into());
    };
    let Some(value) = found.object.data.get(key) else {
        let message = format!("{} has no key {key:?}", found.id_and_place());
        let keys: Vec<_> = found.object.data.keys().map(String::as_str).collect();
        let keys = if keys.is_empty() {
            "it has no keys".to_owned()
        } else {
            format!("its keys are {}", keys.join(", "))
        };
        let hint = format!("add the key, or name another with {field}.key; {keys}");
        let finding = Finding::error("secret-key-missing", message).hint(hint);
        return Err(endpoint.finding(&format!("{field}.key"), finding).into());
    };
    Ok((found, key, value))
}

/// A finding about a value of a Secret.
fn in_secret(secret: &Located<Secret>, key: &str, finding: Finding) -> Finding {
    let fields = ["stringData", "data"].map(|map| yaml::child(map, key));
    let field = fields.iter().find(|field| secret.source.has(field)).unwrap_or(&fields[0]);
    secret.finding(field, finding)
}

/// The URL without the white space around it, and the ports that it names. No finding quotes any of it.
fn parse(value: &[u8]) -> Result<(String, BTreeSet<u16>), Box<Finding>> {
    let wrong = |message: &str, hint: &str| Box::new(Finding::error("database-url", message).hint(hint));
    let example = "write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, and in the user and the password %40 for @, %2F for / and so on";
    let text = std::str::from_utf8(value).map(str::trim_ascii).unwrap_or_default();
    if text.is_empty() {
        return Err(wrong("it holds no URL of a database", example));
    }
    let config: tokio_postgres::Config = text.parse().map_err(|error: tokio_postgres::Error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        // These are names of options; other causes may quote what stands there.
        match cause.strip_prefix("invalid value for option ").filter(|name| name.len() < 40) {
            Some("`sslmode`") => wrong(
                "the URL has a value of sslmode that is not known here",
                "remove sslmode: spec.storage.postgres.tls.mode says how connections are protected",
            ),
            Some(option) => {
                wrong(&format!("the option {option} of the URL has a value that cannot be used"), example)
            }
            None => wrong("it is not the URL of a PostgreSQL database", example),
        }
    })?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(wrong("the URL names no host", example));
    }
    if config.get_user().is_none() {
        return Err(wrong("the URL names no user", example));
    }
    let is_remote = |host: &Host| matches!(host, Host::Tcp(_));
    let ports = match config.get_ports() {
        _ if !config.get_hosts().iter().any(is_remote) && config.get_hostaddrs().is_empty() => {
            BTreeSet::new()
        }
        [] => BTreeSet::from([PORT]),
        ports => ports.iter().copied().collect(),
    };
    Ok((text.to_owned(), ports))
}

fn is_pem_certificate(pem: &[u8]) -> bool {
    let is_certificate = |der: CertificateDer<'_>| Certificate::from_der(&der).is_ok();
    let mut certificates = CertificateDer::pem_slice_iter(pem).peekable();
    certificates.peek().is_some() && certificates.all(|certificate| certificate.is_ok_and(is_certificate))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::validate::{File, read};

    /// What an endpoint with this storage comes to, beside these Secrets.
    fn compiled(storage: &str, secrets: &str) -> Result<Storage, String> {
        let text = format!(
            "apiVersion: scim-operator.io/v1alpha1\nkind: ScimEndpoint\n\
             metadata: {{name: door, namespace: platform}}\nspec: {{storage: {storage}}}\n{secrets}"
        );
        let (objects, findings) = read(&[File { name: "m.yaml".into(), text }]);
        assert_eq!(findings, []);
        let found = super::storage(&objects.endpoints[0], &SecretIndex::new(&objects.secrets));
        found.map_err(|found| found.iter().fold(String::new(), |text, finding| format!("{text}{finding}\n")))
    }

    fn secret(name: &str, key: &str, value: &str) -> String {
        let data = serde_json::json!({key: value});
        format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: platform}}\nstringData: {data}\n"
        )
    }

    const POSTGRES: &str = "{postgres: {secretRef: {name: db}}}";

    fn url(value: &str) -> Result<Database, String> {
        match compiled(POSTGRES, &secret("db", "url", value))? {
            Storage::Postgres(database) => Ok(database),
            Storage::Sqlite => panic!("it is PostgreSQL"),
        }
    }

    #[test]
    fn database_has_what_the_secrets_hold_and_its_defaults() {
        assert_eq!(compiled("{sqlite: {}}", ""), Ok(Storage::Sqlite));
        let database = url("  postgresql://scim:s3cret-word@db.example.com/scim\n").unwrap();
        assert_eq!(database.url, "postgresql://scim:s3cret-word@db.example.com/scim");
        assert_eq!(
            (database.tls, &database.ca, database.connections, &database.ports),
            (PostgresTlsMode::VerifyFull, &None, 16, &BTreeSet::from([5432]))
        );
        assert!(!format!("{database:?}").contains("s3cret"));
        let several = url("postgresql://scim@a:6432,b:6433/scim").unwrap();
        assert_eq!(several.ports, BTreeSet::from([6432, 6433]));
        let socket = url("postgresql://scim@%2Frun%2Fpostgresql/scim").unwrap();
        assert_eq!(socket.ports, BTreeSet::new());
    }

    #[test]
    fn wrong_url_is_told_in_words_that_quote_nothing_of_it() {
        let wrong = [
            "",
            "s3cret-word",
            "http://s3cret-word@db/scim",
            "postgresql://scim:s3cret-word@db:port/scim",
            "postgresql://scim:s3cret-word@db/scim?sslmode=verify-full",
            "postgresql://scim:s3cret-word@db/scim?s3cret-word=1",
            "postgresql://db/scim",
        ];
        let told: String = wrong.iter().map(|text| url(text).unwrap_err()).collect();
        assert!(!told.contains("s3cret"), "{told}");
        insta::assert_snapshot!(told, @r#"
        m.yaml:9:20: error: Secret platform/db: stringData.url: it holds no URL of a database
          hint: write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, and in the user and the password %40 for @, %2F for / and so on
        m.yaml:9:20: error: Secret platform/db: stringData.url: it is not the URL of a PostgreSQL database
          hint: write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, and in the user and the password %40 for @, %2F for / and so on
        m.yaml:9:20: error: Secret platform/db: stringData.url: it is not the URL of a PostgreSQL database
          hint: write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, and in the user and the password %40 for @, %2F for / and so on
        m.yaml:9:20: error: Secret platform/db: stringData.url: the option `port` of the URL has a value that cannot be used
          hint: write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, and in the user and the password %40 for @, %2F for / and so on
        m.yaml:9:20: error: Secret platform/db: stringData.url: the URL has a value of sslmode that is not known here
          hint: remove sslmode: spec.storage.postgres.tls.mode says how connections are protected
        m.yaml:9:20: error: Secret platform/db: stringData.url: it is not the URL of a PostgreSQL database
          hint: write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, and in the user and the password %40 for @, %2F for / and so on
        m.yaml:9:20: error: Secret platform/db: stringData.url: the URL names no user
          hint: write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, and in the user and the password %40 for @, %2F for / and so on
        "#);
    }

    #[test]
    fn secret_that_is_not_there_or_lacks_a_key_is_told_with_what_to_do() {
        let storage = "{postgres: {secretRef: {name: db}, tls: {caSecretRef: {name: db-ca}}}}";
        let ca = secret("db-ca", "ca.crt", "not a certificate");
        let uri = secret("db", "uri", "postgresql://scim@db/scim");
        let told = [compiled(storage, ""), compiled(storage, &[uri, ca].concat())];
        insta::assert_snapshot!(told.map(Result::unwrap_err).concat(), @r#"
        m.yaml:4:78: error: ScimEndpoint platform/door: spec.storage.postgres.tls.caSecretRef.name: there is no Secret platform/db-ca
          hint: add its manifest to the folder
        m.yaml:4:47: error: ScimEndpoint platform/door: spec.storage.postgres.secretRef.name: there is no Secret platform/db
          hint: add its manifest to the folder
        m.yaml:14:23: error: Secret platform/db-ca: stringData["ca.crt"]: the value holds no certificate in PEM
          hint: put the authority's certificate there, from -----BEGIN CERTIFICATE----- on
        m.yaml:4:29: error: ScimEndpoint platform/door: spec.storage.postgres.secretRef.key: Secret platform/db (m.yaml:8:18) has no key "url"
          hint: add the key, or name another with spec.storage.postgres.secretRef.key; its keys are uri
        "#);
    }
}
