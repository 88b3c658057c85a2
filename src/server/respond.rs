//! Answers: what an operation gives, and how that becomes an HTTP response.

use std::borrow::Cow;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ALLOW, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};

use crate::config::{Scope, Scopes};
use crate::scim::error::ScimError;
use crate::scim::etag::Version;
use crate::store::StoreError;

/// The media type of every body (RFC 7644 section 8.1).
const SCIM_JSON: HeaderValue = HeaderValue::from_static("application/scim+json");

/// Tells a client that its request was not done again.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Seconds after which a client may ask again when the store cannot answer.
const STORE_RETRY_AFTER: u32 = 5;

/// Seconds after which a suspended tenant's identity provider may ask again.
pub const SUSPENDED_RETRY_AFTER: u32 = 300;

/// What a finished operation says.
#[derive(Debug, Default)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The JSON body; `None` for 204 and 304.
    pub body: Option<Vec<u8>>,
    /// The resource's URL.
    pub location: Option<String>,
    /// The resource's version.
    pub version: Option<Version>,
    /// Whether this was said before, to the same request (`idempotency.rs`).
    pub replayed: bool,
}

/// Why an operation did not finish.
#[derive(Debug)]
pub enum Failure {
    /// The client's error, or a truth about us that has a SCIM error.
    Scim(ScimError),
    /// 401; says what to send.
    Unauthenticated(Challenge),
    /// 403: the credential does not allow this.
    InsufficientScope {
        /// What it would have to allow.
        needed: Scope,
        /// What it allows.
        held: Scopes,
    },
    /// 405; the methods that are allowed.
    MethodNotAllowed(&'static str),
    /// 503 with `Retry-After` in seconds.
    RetryLater(u32, &'static str),
    /// The store failed: the client is told when to come back, the log is told why.
    Store(StoreError),
}

/// Why a request is not authenticated (RFC 6750 section 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// The error code; none when no credential was presented.
    error: Option<&'static str>,
    /// What to do.
    detail: Cow<'static, str>,
}

impl Challenge {
    /// No credential was presented.
    pub fn new(detail: impl Into<Cow<'static, str>>) -> Self {
        Self { error: None, detail: detail.into() }
    }

    /// A credential was presented and is no good.
    pub fn invalid_token(detail: impl Into<Cow<'static, str>>) -> Self {
        Self { error: Some("invalid_token"), detail: detail.into() }
    }

    /// The value of `WWW-Authenticate`.
    fn header(&self) -> HeaderValue {
        match self.error {
            None => HeaderValue::from_static("Bearer realm=\"scim\""),
            Some(error) => challenge(&format!(
                "Bearer realm=\"scim\", error=\"{error}\", error_description=\"{}\"",
                quotable(&self.detail)
            )),
        }
    }
}

impl From<Challenge> for Failure {
    fn from(challenge: Challenge) -> Self {
        Self::Unauthenticated(challenge)
    }
}

fn challenge(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("Bearer realm=\"scim\""))
}

/// What `error_description` may hold (RFC 6750 section 3): ASCII without `"` and `\`.
fn quotable(text: &str) -> String {
    text.chars().map(|c| if matches!(c, ' '..='~') && !matches!(c, '"' | '\\') { c } else { '\'' }).collect()
}

impl From<ScimError> for Failure {
    fn from(error: ScimError) -> Self {
        Self::Scim(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The HTTP response of an answer.
#[must_use]
pub fn success(answer: Answer) -> Response<Full<Bytes>> {
    let Answer { status, body, location, version, replayed } = answer;
    let has_body = body.is_some();
    let mut response = Response::new(Full::new(Bytes::from(body.unwrap_or_default())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if has_body {
        headers.insert(CONTENT_TYPE, SCIM_JSON);
    }
    if let Some(location) = location.and_then(|url| HeaderValue::try_from(url).ok()) {
        headers.insert(LOCATION, location);
    }
    if let Some(tag) = version.and_then(|version| HeaderValue::try_from(version.to_string()).ok()) {
        headers.insert(ETAG, tag);
    }
    if replayed {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// The HTTP response of a failure: always a SCIM error body (RFC 7644 section 3.12).
#[must_use]
pub fn failure(failure: Failure, request_id: &str) -> Response<Full<Bytes>> {
    let (error, header): (ScimError, Option<(HeaderName, HeaderValue)>) = match failure {
        Failure::Scim(error) => (error, None),
        Failure::Unauthenticated(challenge) => (
            ScimError::new(401, format!("not authenticated: {}", challenge.detail)),
            Some((WWW_AUTHENTICATE, challenge.header())),
        ),
        Failure::InsufficientScope { needed, held } => (
            ScimError::new(
                403,
                format!("this needs the scope {needed}, and the credential has {}", shown(held)),
            ),
            Some((
                WWW_AUTHENTICATE,
                challenge(&format!(
                    "Bearer realm=\"scim\", error=\"insufficient_scope\", scope=\"{needed}\""
                )),
            )),
        ),
        Failure::MethodNotAllowed(allow) => (
            ScimError::new(405, format!("this method is not allowed here; allowed are {allow}")),
            Some((ALLOW, HeaderValue::from_static(allow))),
        ),
        Failure::RetryLater(seconds, detail) => {
            (ScimError::new(503, detail), Some((RETRY_AFTER, seconds.into())))
        }
        Failure::Store(error) => {
            tracing::error!(request_id, %error, "the store failed a request");
            match error {
                StoreError::Unavailable(_) | StoreError::Closing => (
                    ScimError::new(503, "the server cannot reach its store now; try again"),
                    Some((RETRY_AFTER, STORE_RETRY_AFTER.into())),
                ),
                StoreError::Internal(_) => (
                    ScimError::new(
                        500,
                        format!("the server failed; its log has the reason under request id {request_id}"),
                    ),
                    None,
                ),
            }
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(error.body().to_string())));
    *response.status_mut() = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, SCIM_JSON);
    if let Some((name, value)) = header {
        response.headers_mut().insert(name, value);
    }
    response
}

fn shown(scopes: Scopes) -> String {
    if scopes == Scopes::NONE { "none".to_owned() } else { format!("only {scopes}") }
}
