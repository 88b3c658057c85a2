//! Fetching an issuer's keys: bounded in time and bytes, over TLS or from this machine, with no redirects.
//!
//! The address of the keys comes from the issuer's metadata, OpenID Connect Discovery first and then RFC 8414, unless
//! the configuration names it. Metadata must name the very issuer it was asked for (RFC 8414 section 3.3).

use std::time::Duration;

use serde_json::Value;

use crate::config::oauth2::IssuerConfig;

use super::jwks::KeySet;

/// Time for one document, connection included.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of a document; real ones have a few KiB.
const MAX_BYTES: usize = 512 << 10;

/// Why there are no keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The TLS client could not be made; this is about us.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
    /// The name does not resolve, nobody listens, the certificate is not trusted, or it takes too long.
    #[error("cannot reach {url}: {reason}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// Why.
        reason: String,
    },
    /// Another status than 200.
    #[error("{url} answered {status}{}", if (300..400).contains(.status) { ": redirects are not followed, name the last URL in jwksUri" } else { "" })]
    Status {
        /// What was asked for.
        url: String,
        /// The status.
        status: u16,
    },
    /// The answer is too large.
    #[error("{0} answered with more than {MAX_BYTES} bytes")]
    TooLarge(String),
    /// The answer is not what it should be.
    #[error("{url} {reason}")]
    Invalid {
        /// What was asked for.
        url: String,
        /// What it is instead.
        reason: String,
    },
}

impl FetchError {
    /// The label in metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Tls(_) => "tls",
            Self::Unreachable { .. } => "unreachable",
            Self::Status { .. } => "status",
            Self::TooLarge(_) => "too_large",
            Self::Invalid { .. } => "invalid",
        }
    }
}

/// A client for one issuer: it trusts what the system trusts, and the issuer's own authority.
pub fn client(ca_certificates: Option<&str>) -> Result<reqwest::Client, FetchError> {
    let failed = |error: reqwest::Error| FetchError::Tls(reason(&error));
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .connect_timeout(TIMEOUT)
        // A fetch every few minutes needs no connection in between.
        .pool_max_idle_per_host(0)
        .user_agent(concat!("scim-operator/", env!("CARGO_PKG_VERSION")));
    if let Some(pem) = ca_certificates {
        let certificates = reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(failed)?;
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(failed)
}

/// Fetches the keys of an issuer.
pub async fn keys(
    client: &reqwest::Client,
    issuer: &str,
    jwks_uri: Option<&str>,
) -> Result<KeySet, FetchError> {
    let url = match jwks_uri {
        Some(url) => url.to_owned(),
        None => discover(client, issuer).await?,
    };
    let document = get(client, &url).await?;
    let invalid = |reason: &str| FetchError::Invalid { url: url.clone(), reason: reason.to_owned() };
    let keys = KeySet::parse(&document).ok_or_else(|| invalid("is no JWK Set"))?;
    if keys.is_empty() {
        return Err(invalid("has no key that can verify signatures"));
    }
    Ok(keys)
}

/// The address of an issuer's keys, from its metadata.
async fn discover(client: &reqwest::Client, issuer: &str) -> Result<String, FetchError> {
    let [openid, oauth] = metadata_urls(issuer);
    let (url, document) = match get(client, &openid).await {
        Ok(document) => (openid, document),
        Err(FetchError::Status { .. }) => {
            let document = get(client, &oauth).await?;
            (oauth, document)
        }
        Err(error) => return Err(error),
    };
    jwks_uri(issuer, &document).map_err(|reason| FetchError::Invalid { url, reason })
}

/// Where an issuer's metadata is: OpenID Connect Discovery section 4 appends, RFC 8414 section 3 puts in between.
fn metadata_urls(issuer: &str) -> [String; 2] {
    let bare = issuer.strip_suffix('/').unwrap_or(issuer);
    let authority = bare.find("://").map_or(0, |at| at + 3);
    let path = bare[authority..].find('/').map_or(bare.len(), |at| authority + at);
    let (origin, path) = bare.split_at(path);
    [
        format!("{bare}/.well-known/openid-configuration"),
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
    ]
}

/// `jwks_uri` of an issuer's metadata; or what is wrong with it.
fn jwks_uri(issuer: &str, document: &[u8]) -> Result<String, String> {
    let document: Value = serde_json::from_slice(document).map_err(|_| "is not JSON".to_owned())?;
    match document["issuer"].as_str() {
        Some(found) if found == issuer => {}
        // Who publishes the metadata is the issuer, whose name is no secret.
        Some(found) => {
            return Err(format!(
                "is the metadata of {found:?} and not of {issuer:?}: write the issuer exactly so, or check the URL"
            ));
        }
        None => return Err("names no issuer".to_owned()),
    }
    let url = document["jwks_uri"].as_str().ok_or_else(|| "names no jwks_uri".to_owned())?;
    // A loopback issuer may have its keys on the loopback; an issuer on the network may not send us there.
    if url.starts_with("https://") || (issuer.starts_with("http://") && is_loopback(url)) {
        return Ok(url.to_owned());
    }
    Err("has a jwks_uri that is not https".to_owned())
}

/// Whether it is an `http` URL of this machine.
fn is_loopback(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if let Some(host) = authority.strip_prefix('[') {
        return host.split(']').next() == Some("::1");
    }
    let host = authority.split(':').next().unwrap_or_default();
    host == "localhost" || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

/// Whether an issuer's own URLs are ones that we fetch: the manifests' rules say so too, and a file could be edited.
#[must_use]
pub fn is_acceptable(issuer: &IssuerConfig) -> bool {
    let acceptable = |url: &str| url.starts_with("https://") || is_loopback(url);
    acceptable(&issuer.issuer) && issuer.jwks_uri.as_deref().is_none_or(acceptable)
}

async fn get(client: &reqwest::Client, url: &str) -> Result<Vec<u8>, FetchError> {
    let unreachable =
        |error: reqwest::Error| FetchError::Unreachable { url: url.to_owned(), reason: reason(&error) };
    let request = client.get(url).header("accept", "application/json");
    let mut response = request.send().await.map_err(unreachable)?;
    if response.status() != 200 {
        return Err(FetchError::Status { url: url.to_owned(), status: response.status().as_u16() });
    }
    let mut document = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        document.extend_from_slice(&chunk);
        if document.len() > MAX_BYTES {
            return Err(FetchError::TooLarge(url.to_owned()));
        }
    }
    Ok(document)
}

/// An error and what caused it, without the URL that the message names already.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if error.is_timeout() {
        format!("no answer within {} seconds", TIMEOUT.as_secs())
    } else {
        cause.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_looked_for_where_the_two_standards_put_it() {
        insta::assert_snapshot!(metadata_urls("https://id.example.com").join("\n"), @r"
        https://id.example.com/.well-known/openid-configuration
        https://id.example.com/.well-known/oauth-authorization-server
        ");
        insta::assert_snapshot!(metadata_urls("https://id.example.com:8443/realms/a/").join("\n"), @r"
        https://id.example.com:8443/realms/a/.well-known/openid-configuration
        https://id.example.com:8443/.well-known/oauth-authorization-server/realms/a
        ");
    }

    #[test]
    fn metadata_of_another_issuer_is_refused() {
        let document = br#"{"issuer": "https://evil.example", "jwks_uri": "https://evil.example/keys"}"#;
        let reason = jwks_uri("https://id.example.com", document).unwrap_err();
        assert!(reason.contains("metadata of \"https://evil.example\""), "{reason}");
        let same = br#"{"issuer": "https://id.example.com", "jwks_uri": "https://keys.example.net/k"}"#;
        assert_eq!(jwks_uri("https://id.example.com", same).unwrap(), "https://keys.example.net/k");
        for text in ["", "[]", "{}", r#"{"issuer": 1}"#, r#"{"issuer": "https://id.example.com"}"#] {
            assert!(jwks_uri("https://id.example.com", text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn keys_without_tls_are_taken_from_this_machine_only() {
        let uri = |issuer: &str, url: &str| {
            let document = format!(r#"{{"issuer": "{issuer}", "jwks_uri": "{url}"}}"#);
            jwks_uri(issuer, document.as_bytes()).is_ok()
        };
        assert!(uri("http://127.0.0.1:8180/realms/a", "http://127.0.0.1:8180/certs"));
        assert!(uri("http://localhost:1", "http://[::1]:1/certs"));
        assert!(!uri("https://id.example.com", "http://id.example.com/certs"));
        assert!(!uri("https://id.example.com", "http://127.0.0.1/certs"), "no errand to our own ports");
        assert!(!uri("http://localhost:1", "http://localhost.evil.example/certs"));
        assert!(!uri("http://localhost:1", "http://127.0.0.1@evil.example/certs"));
        assert!(!uri("http://localhost:1", "file:///etc/passwd"));
    }
}
