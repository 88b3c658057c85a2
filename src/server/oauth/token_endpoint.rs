//! `POST /TENANT/oauth2/token`: the client credentials grant (RFC 6749 section 4.4).
//!
//! A client proves who it is with `client_secret_basic`, `client_secret_post` or `private_key_jwt`. An unknown tenant,
//! an unknown client and a wrong secret get the same answer after the same work; secrets are known by their digests
//! and compared in constant time.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body;
use hyper::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, PRAGMA, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::oauth2::ClientConfig;
use crate::config::{Scope, Scopes};
use crate::server::body::read_bytes;
use crate::server::respond::SUSPENDED_RETRY_AFTER;
use crate::server::serving::{Tenant, decode_sha256};

use super::access_token::{self, AccessToken, CredentialId, credential_id};
use super::assertion::{self, Used};
use super::jwks::KeySet;
use super::{OAuth, metadata, unix_time};

/// Bytes of a token request; an assertion with a large RSA key has some 2 KiB.
const MAX_BODY: u64 = 16 << 10;

/// The only `client_assertion_type` there is (RFC 7523 section 2.2).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What outlives a configuration of a client.
#[derive(Debug, Default)]
pub struct ClientState {
    used: Used,
}

/// A client that gets tokens here.
pub struct Client {
    /// Its name, for logs.
    pub name: Arc<str>,
    /// The scopes it may have.
    pub scopes: Scopes,
    id: String,
    /// SHA-256 of its secret.
    secret: Option<[u8; 32]>,
    keys: KeySet,
    /// What stands for its secret and for its keys in tokens.
    secret_id: CredentialId,
    keys_id: CredentialId,
    state: Arc<ClientState>,
}

impl Client {
    /// A client of a configuration.
    pub(super) fn new(config: &ClientConfig, state: Arc<ClientState>) -> Self {
        let ClientConfig { name, client_id, secret_sha256, public_keys, scopes } = config;
        let secret = secret_sha256.as_deref().and_then(decode_sha256);
        let keys: Vec<Value> = public_keys.iter().filter_map(|key| serde_json::to_value(key).ok()).collect();
        let written = serde_json::to_vec(public_keys).unwrap_or_default();
        let keys = KeySet::of(keys.iter());
        if keys.len() < public_keys.len() {
            tracing::warn!(
                client = name,
                "a public key of an OAuth client cannot verify signatures and is passed over"
            );
        }
        Self {
            name: name.as_str().into(),
            scopes: *scopes,
            id: client_id.clone(),
            secret,
            keys,
            secret_id: credential_id(client_id, &secret.unwrap_or_default()),
            keys_id: credential_id(client_id, &written),
            state,
        }
    }

    /// Whether a token was given for a credential that the client still has.
    pub(super) fn has_credential(&self, id: &CredentialId) -> bool {
        (self.secret.is_some() && self.secret_id == *id) || (!self.keys.is_empty() && self.keys_id == *id)
    }
}

/// Why no token was given (RFC 6749 section 5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
enum TokenError {
    /// 400: what is wrong with the request.
    InvalidRequest(&'static str),
    /// 401: nobody, or not who it says.
    InvalidClient,
    /// 400: another grant than `client_credentials`.
    UnsupportedGrantType,
    /// 400: a scope that the client may not have.
    InvalidScope(Scopes),
    /// 429: too many requests; seconds until the next.
    TooMany(u32),
    /// 503: the tenant is suspended.
    Suspended,
    /// 405.
    Method,
    /// The body could not be read: a status of its own.
    Body(u16, String),
}

/// What a client shows.
#[derive(Debug, PartialEq, Eq)]
enum Credential<'a> {
    Secret {
        id: String,
        /// As the standard reads the header, and as it was sent: many clients do not encode.
        secrets: [String; 2],
    },
    Assertion(&'a str),
}

/// A token request and what it needs to know of where it came from.
pub struct TokenRequest<'a> {
    /// The first path segment.
    pub path: &'a str,
    /// The tenant of that path, if there is one.
    pub tenant: Option<&'a Arc<Tenant>>,
    /// The tenant's SCIM base URL for this client.
    pub base_url: &'a str,
    /// Where it came from.
    pub address: std::net::IpAddr,
}

/// The answer, and the name of the client that was authenticated.
pub struct TokenAnswer {
    /// The response.
    pub response: Response<Full<Bytes>>,
    /// The client.
    pub client: Option<Arc<str>>,
}

/// Answers a token request.
pub async fn answer<B>(oauth: &OAuth, request: TokenRequest<'_>, head: &Parts, body: B) -> TokenAnswer
where
    B: Body<Data = Bytes>,
    B::Error: Display,
{
    let mut client = None;
    let result = token(oauth, &request, head, body, &mut client).await;
    // The name of a tenant is a stranger's word until a client of it is known.
    let tenant = request
        .tenant
        .filter(|_| client.is_some())
        .map_or_else(|| Arc::from(""), |tenant| Arc::clone(&tenant.key.0));
    let (outcome, response) = match result {
        Ok(token) => ("issued", respond(StatusCode::OK, &token, None)),
        Err(error) => failure(&error),
    };
    oauth.metrics.token_request(&tenant, outcome);
    TokenAnswer { response, client }
}

async fn token<B>(
    oauth: &OAuth,
    request: &TokenRequest<'_>,
    head: &Parts,
    body: B,
    authenticated: &mut Option<Arc<str>>,
) -> Result<Value, TokenError>
where
    B: Body<Data = Bytes>,
    B::Error: Display,
{
    if head.method != Method::POST {
        return Err(TokenError::Method);
    }
    let failures = (Box::from(request.path), request.address);
    oauth.failures.check(&failures, Instant::now()).map_err(TokenError::TooMany)?;
    check_content_type(&head.headers)?;
    let body = read_bytes(&head.headers, body, MAX_BODY)
        .await
        .map_err(|error| TokenError::Body(error.status, error.detail))?;
    let form = parse_form(&body)?;
    let credential = credential(&head.headers, &form)?;

    let Some((tenant, client, credential)) = authenticate(request, &form, credential) else {
        oauth.failures.take(failures, Instant::now());
        return Err(TokenError::InvalidClient);
    };
    *authenticated = Some(Arc::clone(&client.name));
    if tenant.suspended {
        return Err(TokenError::Suspended);
    }
    let key = (tenant.key.clone(), client.id.clone());
    oauth.tokens.check(&key, Instant::now()).map_err(TokenError::TooMany)?;
    oauth.tokens.take(key, Instant::now());
    match form.get("grant_type").map(AsRef::as_ref) {
        Some("client_credentials") => {}
        Some(_) => return Err(TokenError::UnsupportedGrantType),
        None => {
            return Err(TokenError::InvalidRequest(
                "grant_type is missing; send grant_type=client_credentials",
            ));
        }
    }
    let scopes = scopes(form.get("scope").map(AsRef::as_ref), client.scopes)?;
    let lifetime = tenant.oauth.as_ref().map_or(0, |oauth| oauth.access_token_seconds);
    let token = AccessToken { expires_at: unix_time() + lifetime, scopes, credential };
    let mut nonce = [0; 12];
    // Without randomness two tokens of one second are the same token: no harm is done.
    let _ = getrandom::fill(&mut nonce);
    Ok(json!({
        "access_token": access_token::encode(&oauth.key, &tenant.key.0, &token, nonce),
        "token_type": "Bearer",
        "expires_in": lifetime,
        "scope": scopes.to_string(),
    }))
}

/// The client that a request is from, with the credential that it showed.
fn authenticate<'a>(
    request: &TokenRequest<'a>,
    form: &HashMap<&str, Cow<'_, str>>,
    credential: Credential<'_>,
) -> Option<(&'a Arc<Tenant>, &'a Client, CredentialId)> {
    let clients =
        request.tenant.and_then(|tenant| tenant.oauth.as_ref()).map_or(&[][..], |oauth| &oauth.clients);
    match credential {
        Credential::Secret { id, secrets } => {
            let client = clients.iter().find(|client| client.id == id);
            // Nothing has the digest of zeros that stands for nobody.
            let expected = client.and_then(|client| client.secret).unwrap_or_default();
            let [decoded, sent] =
                secrets.map(|secret| expected.ct_eq(&<[u8; 32]>::from(Sha256::digest(secret))));
            let same = bool::from(decoded | sent);
            client.filter(|_| same).and_then(|client| Some((request.tenant?, client, client.secret_id)))
        }
        Credential::Assertion(text) => {
            let subject = assertion::subject(text)?;
            if form.get("client_id").is_some_and(|id| *id != subject) {
                return None;
            }
            let client = clients.iter().find(|client| client.id == subject)?;
            let (issuer, endpoint) = metadata::urls(request.base_url);
            let names = [issuer, endpoint];
            assertion::check(text, &client.id, &client.keys, &names, &client.state.used, unix_time())
                .map_err(|rejection| {
                    tracing::info!(client = %client.name, reason = rejection.label(), "a client assertion was refused");
                })
                .ok()?;
            Some((request.tenant?, client, client.keys_id))
        }
    }
}

fn check_content_type(headers: &HeaderMap) -> Result<(), TokenError> {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Ok(());
    }
    Err(TokenError::InvalidRequest("send the parameters as application/x-www-form-urlencoded"))
}

/// The parameters of a form; one without a value is taken for absent (RFC 6749 section 3.2).
fn parse_form(body: &[u8]) -> Result<HashMap<&str, Cow<'_, str>>, TokenError> {
    let malformed = TokenError::InvalidRequest("the body is no form in UTF-8");
    let text = std::str::from_utf8(body).map_err(|_| malformed.clone())?;
    let mut form = HashMap::new();
    for pair in text.trim_ascii().split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode_form(value).ok_or_else(|| malformed.clone())?;
        if !value.is_empty() && form.insert(name, value).is_some() {
            return Err(TokenError::InvalidRequest("a parameter is there twice; send each once"));
        }
    }
    Ok(form)
}

/// A value of `application/x-www-form-urlencoded`.
fn decode_form(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(Cow::Borrowed(text));
    }
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(|text| Cow::Owned(text.into_owned()))
}

/// The one credential of a request (RFC 6749 section 2.3: one method at a time).
fn credential<'a>(
    headers: &HeaderMap,
    form: &'a HashMap<&str, Cow<'_, str>>,
) -> Result<Credential<'a>, TokenError> {
    let several = TokenError::InvalidRequest("the client authenticates in several ways; use one");
    let assertion = match (form.get("client_assertion_type"), form.get("client_assertion")) {
        (None, None) => None,
        (Some(kind), Some(assertion)) if *kind == JWT_BEARER => Some(assertion.as_ref()),
        _ => {
            return Err(TokenError::InvalidRequest(
                "client_assertion needs client_assertion_type urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ));
        }
    };
    let basic =
        headers.get(AUTHORIZATION).map(|value| basic(value).ok_or(TokenError::InvalidClient)).transpose()?;
    let id = form.get("client_id").map(AsRef::as_ref);
    match (basic, form.get("client_secret"), assertion) {
        (Some((user, secrets)), None, None) => {
            if id.is_some_and(|id| id != user) {
                return Err(TokenError::InvalidRequest(
                    "client_id is another than that of the Authorization header",
                ));
            }
            Ok(Credential::Secret { id: user, secrets })
        }
        (None, Some(secret), None) => {
            let id = id.ok_or(TokenError::InvalidRequest("client_id is missing"))?;
            let secret = secret.clone().into_owned();
            Ok(Credential::Secret { id: id.to_owned(), secrets: [secret.clone(), secret] })
        }
        (None, None, Some(assertion)) => Ok(Credential::Assertion(assertion)),
        (None, None, None) => Err(TokenError::InvalidClient),
        _ => Err(several),
    }
}

/// User and password of `Authorization: Basic`: each is form-encoded (RFC 6749 section 2.3.1), which many clients
/// leave out. That makes a difference for `%` and `+`, so the password is given both ways.
fn basic(value: &HeaderValue) -> Option<(String, [String; 2])> {
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    let decoded = decode_form(password).map_or_else(|| password.to_owned(), Cow::into_owned);
    Some((decode_form(user)?.into_owned(), [decoded, password.to_owned()]))
}

/// The scopes of a token: what was asked for, which the client must all be allowed; all it may have when it asked for
/// none.
fn scopes(asked: Option<&str>, allowed: Scopes) -> Result<Scopes, TokenError> {
    let Some(asked) = asked else { return Ok(allowed) };
    let mut scopes = Vec::new();
    for name in asked.split(' ').filter(|name| !name.is_empty()) {
        match Scope::parse(name).filter(|scope| allowed.contains(*scope)) {
            Some(scope) => scopes.push(scope),
            None => return Err(TokenError::InvalidScope(allowed)),
        }
    }
    if scopes.is_empty() { Ok(allowed) } else { Ok(scopes.into_iter().collect()) }
}

/// The outcome for metrics, and the response.
fn failure(error: &TokenError) -> (&'static str, Response<Full<Bytes>>) {
    let header = |name: HeaderName, value: HeaderValue| Some((name, value));
    let (status, code, description, header) = match error {
        TokenError::InvalidRequest(what) => (StatusCode::BAD_REQUEST, "invalid_request", (*what).to_owned(), None),
        TokenError::InvalidClient => (
            StatusCode::UNAUTHORIZED,
            "invalid_client",
            "the client is not known here or did not prove who it is; check the tenant in the URL, client_id and secret"
                .to_owned(),
            header(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"scim\"")),
        ),
        TokenError::UnsupportedGrantType => (
            StatusCode::BAD_REQUEST,
            "unsupported_grant_type",
            "only grant_type=client_credentials is supported".to_owned(),
            None,
        ),
        TokenError::InvalidScope(allowed) => (
            StatusCode::BAD_REQUEST,
            "invalid_scope",
            format!("this client may have: {allowed}; ask for these, or leave scope out"),
            None,
        ),
        TokenError::TooMany(seconds) => (
            StatusCode::TOO_MANY_REQUESTS,
            "temporarily_unavailable",
            format!("too many token requests; try again in {seconds} s, and use a token until it expires"),
            header(RETRY_AFTER, (*seconds).into()),
        ),
        TokenError::Suspended => (
            StatusCode::SERVICE_UNAVAILABLE,
            "temporarily_unavailable",
            "this tenant is suspended; try again later".to_owned(),
            header(RETRY_AFTER, SUSPENDED_RETRY_AFTER.into()),
        ),
        TokenError::Method => (
            StatusCode::METHOD_NOT_ALLOWED,
            "invalid_request",
            "send the token request with POST".to_owned(),
            header(ALLOW, HeaderValue::from_static("POST")),
        ),
        TokenError::Body(status, detail) => (
            StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_REQUEST),
            "invalid_request",
            // RFC 6749 section 5.2 leaves out the quotation mark and the backslash.
            detail.replace(['"', '\\'], "'"),
            None,
        ),
    };
    (code, respond(status, &json!({"error": code, "error_description": description}), header))
}

/// A JSON response that nobody may keep.
pub(super) fn respond(
    status: StatusCode,
    body: &Value,
    header: Option<(HeaderName, HeaderValue)>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    headers.extend(header);
    response
}
