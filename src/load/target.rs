//! Who is asked: the base URL of a tenant and its token.

use std::fmt;

use hyper::Uri;
use hyper::http::uri::Scheme;

/// One tenant of a SCIM server.
#[derive(Clone)]
pub struct Target {
    /// Its base URL, without a slash at the end.
    pub url: String,
    /// The connection it needs.
    pub origin: Origin,
    /// The path of the base URL, without a slash at the end.
    pub path: String,
    /// The query of the base URL (Entra's `aadOptscim062020`), to be sent with each request.
    pub query: Option<String>,
    token: String,
}

/// Where connections go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Whether it is `https`.
    pub tls: bool,
    /// The name or address.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Origin {
    /// The `Host` header.
    #[must_use]
    pub fn authority(&self) -> String {
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => self.host.clone(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the token.
        write!(f, "Target({})", self.url)
    }
}

/// Why this cannot be a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not a URL.
    #[error("{0:?} is not the base URL of a SCIM tenant: write it as https://HOST/TENANT/scim/v2")]
    Url(String),
    /// It has a user or a password.
    #[error("the URL of {0:?} holds credentials: use a token instead, with --token-file or --token-env")]
    Credentials(String),
    /// It ends in an endpoint.
    #[error("{0:?} names an endpoint: a base URL ends before /{1}")]
    Endpoint(String, String),
    /// Not a token.
    #[error(
        "the token for {0:?} is empty or has blanks or control characters: the file or variable holds the token and nothing else"
    )]
    Token(String),
}

impl Target {
    /// A tenant by its base URL. Blanks around the token are not part of it.
    pub fn new(url: &str, token: &str) -> Result<Self, TargetError> {
        let wrong = || TargetError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?;
        if authority.as_str().contains('@') {
            return Err(TargetError::Credentials(authority.host().to_owned()));
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let path = uri.path().trim_end_matches('/').to_owned();
        if let Some(last) = path.rsplit('/').next()
            && matches!(last, "Users" | "Groups" | "ServiceProviderConfig")
        {
            return Err(TargetError::Endpoint(url.to_owned(), last.to_owned()));
        }
        let token = token.trim();
        let token = token.strip_prefix("Bearer ").unwrap_or(token);
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TargetError::Token(url.to_owned()));
        }
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            origin: Origin { tls, host: authority.host().to_owned(), port },
            path,
            query: uri.query().map(str::to_owned),
            token: token.to_owned(),
        })
    }

    /// The value of `Authorization`.
    #[must_use]
    pub fn authorization(&self) -> String {
        format!("Bearer {}", self.token)
    }

    /// The target of a request line.
    #[must_use]
    pub fn request_target(&self, path: &str) -> String {
        match &self.query {
            None => format!("{}{path}", self.path),
            Some(query) => {
                let joint = if path.contains('?') { '&' } else { '?' };
                format!("{}{path}{joint}{query}", self.path)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_url_with_a_query_sends_it_with_every_request() {
        let target = Target::new("https://example.com/acme/scim/v2/?aadOptscim062020", "t").unwrap();
        assert_eq!(target.origin, Origin { tls: true, host: "example.com".into(), port: 443 });
        assert_eq!(target.request_target("/Users"), "/acme/scim/v2/Users?aadOptscim062020");
        assert_eq!(target.request_target("/Users?count=1"), "/acme/scim/v2/Users?count=1&aadOptscim062020");
    }

    #[test]
    fn what_is_no_target_is_told_apart() {
        let error = |url, token| Target::new(url, token).unwrap_err().to_string();
        insta::assert_snapshot!(
            [
                error("example.com/scim/v2", "t"),
                error("ftp://example.com/scim/v2", "t"),
                error("https://me:secret@example.com/scim/v2", "t"),
                error("https://example.com/scim/v2/Users", "t"),
                error("https://example.com/scim/v2", "  \n"),
                error("https://example.com/scim/v2", "two words"),
            ]
            .join("\n"),
            @r#"
        "example.com/scim/v2" is not the base URL of a SCIM tenant: write it as https://HOST/TENANT/scim/v2
        "ftp://example.com/scim/v2" is not the base URL of a SCIM tenant: write it as https://HOST/TENANT/scim/v2
        the URL of "example.com" holds credentials: use a token instead, with --token-file or --token-env
        "https://example.com/scim/v2/Users" names an endpoint: a base URL ends before /Users
        the token for "https://example.com/scim/v2" is empty or has blanks or control characters: the file or variable holds the token and nothing else
        the token for "https://example.com/scim/v2" is empty or has blanks or control characters: the file or variable holds the token and nothing else
        "#
        );
    }

    #[test]
    fn token_is_never_shown() {
        let target = Target::new("http://127.0.0.1:8080/a/scim/v2", "Bearer s3cret\n").unwrap();
        assert_eq!(target.authorization(), "Bearer s3cret");
        assert!(!format!("{target:?}").contains("s3cret"));
    }
}
