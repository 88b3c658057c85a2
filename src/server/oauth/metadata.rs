//! Authorization server metadata (RFC 8414) of the token endpoint.
//!
//! The issuer of a tenant is `https://HOST/TENANT`, so its metadata is at
//! `/.well-known/oauth-authorization-server/TENANT`. It follows from the URL alone and is the same for every name,
//! so that nobody learns from it which tenants there are.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::config::Scope;
use crate::config::oauth2::Algorithm;

use super::token_endpoint::respond;

/// The path under which the metadata of all tenants is.
const WELL_KNOWN: &str = "/.well-known/oauth-authorization-server/";

/// The token endpoint's path below the tenant's.
const TOKEN: &str = "/oauth2/token";

/// What of a tenant's OAuth a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint<'a> {
    /// The token endpoint of a tenant.
    Token(&'a str),
    /// The metadata of a tenant.
    Metadata(&'a str),
}

impl<'a> Endpoint<'a> {
    /// The endpoint of a path; `None` when it is none of OAuth's.
    #[must_use]
    pub fn of(path: &'a str) -> Option<Self> {
        let is_name = |name: &&str| {
            let part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            (1..=63).contains(&name.len()) && name.bytes().all(part)
        };
        if let Some(name) = path.strip_prefix(WELL_KNOWN) {
            return Some(name).filter(is_name).map(Self::Metadata);
        }
        let name = path.strip_prefix('/')?.strip_suffix(TOKEN)?;
        Some(name).filter(is_name).map(Self::Token)
    }

    /// The name in logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::Metadata(_) => "oauth_metadata",
        }
    }

    /// The tenant's path segment.
    #[must_use]
    pub fn tenant(self) -> &'a str {
        match self {
            Self::Token(tenant) | Self::Metadata(tenant) => tenant,
        }
    }
}

/// Issuer and token endpoint of a tenant, from its SCIM base URL.
#[must_use]
pub fn urls(base_url: &str) -> (String, String) {
    let issuer = base_url.strip_suffix("/scim/v2").unwrap_or(base_url);
    (issuer.to_owned(), format!("{issuer}{TOKEN}"))
}

/// Answers a request for the metadata.
#[must_use]
pub fn answer(method: &Method, base_url: &str) -> Response<Full<Bytes>> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return respond(StatusCode::OK, &document(base_url), None);
    }
    let body = json!({"error": "invalid_request", "error_description": "ask for the metadata with GET"});
    let allow = (ALLOW, HeaderValue::from_static("GET, HEAD"));
    respond(StatusCode::METHOD_NOT_ALLOWED, &body, Some(allow))
}

/// The metadata document (RFC 8414 section 2).
fn document(base_url: &str) -> Value {
    let (issuer, token_endpoint) = urls(base_url);
    json!({
        "issuer": issuer,
        "token_endpoint": token_endpoint,
        "token_endpoint_auth_methods_supported":
            ["client_secret_basic", "client_secret_post", "private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": Algorithm::ALL.map(Algorithm::name),
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": [],
        "scopes_supported": Scope::ALL.map(Scope::name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_oauth_are_told_from_others() {
        assert_eq!(Endpoint::of("/acme/oauth2/token"), Some(Endpoint::Token("acme")));
        let metadata = Endpoint::of("/.well-known/oauth-authorization-server/acme-1");
        assert_eq!(metadata, Some(Endpoint::Metadata("acme-1")));
        for path in [
            "/oauth2/token",
            "//oauth2/token",
            "/acme/oauth2/token/",
            "/acme/x/oauth2/token",
            "/Acme/oauth2/token",
            "/.well-known/oauth-authorization-server",
            "/.well-known/oauth-authorization-server/",
            "/.well-known/oauth-authorization-server/a/b",
            "/.well-known/oauth2/token",
            "/acme/scim/v2/Users",
        ] {
            assert_eq!(Endpoint::of(path), None, "{path}");
        }
    }

    #[test]
    fn metadata_says_what_works() {
        insta::assert_json_snapshot!(document("https://scim.example.com/acme/scim/v2"), @r#"
        {
          "issuer": "https://scim.example.com/acme",
          "token_endpoint": "https://scim.example.com/acme/oauth2/token",
          "token_endpoint_auth_methods_supported": [
            "client_secret_basic",
            "client_secret_post",
            "private_key_jwt"
          ],
          "token_endpoint_auth_signing_alg_values_supported": [
            "RS256",
            "RS384",
            "RS512",
            "PS256",
            "PS384",
            "PS512",
            "ES256",
            "ES384",
            "EdDSA"
          ],
          "grant_types_supported": [
            "client_credentials"
          ],
          "response_types_supported": [],
          "scopes_supported": [
            "scim.read",
            "scim.write"
          ]
        }
        "#);
    }
}
