//! The one way that every request goes, in order, cheap before costly:
//!
//!  1. request id and trace             [`Trace::of`]
//!  2. client address and allow-list    [`Client::of`], [`Client::check_allowed`]
//!  3. size of URL and headers          `check_head`
//!  4. tenant and authentication        [`authenticate`]: one step, so that both fail alike
//!  5. method and path                  [`route`]
//!  6. scope                            [`Authenticated::require`]
//!  7. body: limit, decode              [`read_object`]
//!  8. `Idempotency-Key`                [`idempotency::recall`]: an answer given before is given again
//!  9. dialect and schema validation    `resources::*`: the body becomes a store command
//! 10. store                            one transaction
//! 11. projection                       what the client asked to see
//! 12. SCIM response or SCIM error      [`respond`]
//! 13. access log and metrics

use std::any::Any;
use std::fmt::Display;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response};

use crate::scim::dialect::{Rule, Tolerated};
use crate::scim::error::ScimError;
use crate::store::Origin;
use crate::telemetry::access_log::Record;

use super::authenticate::{Authenticated, authenticate};
use super::base_url::base_url;
use super::body::read_object;
use super::client::{Client, Peer};
use super::context::Context;
use super::idempotency::{self, Recall};
use super::oauth::metadata::{self, Endpoint};
use super::oauth::token_endpoint::{self, TokenAnswer, TokenRequest};
use super::query::Parameters;
use super::resources;
use super::respond::{self, Answer, Failure, SUSPENDED_RETRY_AFTER};
use super::route::{Operation, route, split_tenant};
use super::serving::Serving;
use super::trace::Trace;
use super::{App, discovery, me};

/// Bytes of a request target: the longest filter, percent-encoded, with room for the rest.
const MAX_URL: usize = 32 << 10;

/// Bytes of all header names and values.
const MAX_HEADERS: usize = 32 << 10;

/// Tenant in metrics before one is authenticated: its name would be a stranger's word.
static NO_TENANT: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from(""));

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What became known of a request on its way, for the log.
#[derive(Default)]
struct Seen {
    authenticated: Option<Authenticated>,
    operation: Option<Operation>,
    /// The endpoint, when it is one of OAuth's.
    oauth: Option<&'static str>,
    /// The tenant and the client that proved itself there.
    client: Option<(Arc<str>, Arc<str>)>,
    /// Id of the resource that was made.
    created: Option<String>,
}

/// Answers one request.
pub async fn handle<B>(app: &App, peer: Peer, request: Request<B>) -> Response<Full<Bytes>>
where
    B: Body<Data = Bytes>,
    B::Error: Display,
{
    let started = Instant::now();
    let serving = app.serving.load_full();
    let (head, body) = request.into_parts();
    let trace = Trace::of(&head.headers, &app.request_ids);
    let client = Client::of(&serving, &head.headers, peer);

    let mut seen = Seen::default();
    let result = if let Some(endpoint) = Endpoint::of(head.uri.path()) {
        caught(oauth_steps(app, &serving, peer, &client, endpoint, &head, body, &mut seen)).await
    } else {
        let result = caught(steps(app, &serving, peer, &client, &trace, &head, body, &mut seen)).await;
        result.map(|result| {
            result.map(|answer| {
                if answer.status == 201 {
                    seen.created = answer.location.as_deref().and_then(last_segment);
                }
                respond::success(answer)
            })
        })
    };
    let mut response = match result {
        Ok(Ok(response)) => response,
        Ok(Err(failure)) => respond::failure(failure, &trace.request_id),
        Err(panic) => {
            app.metrics.panicked();
            tracing::error!(request_id = %trace.request_id, panic = panic_text(&*panic), "a request panicked: this is a bug, please report it");
            let detail =
                format!("the server failed; its log has the reason under request id {}", trace.request_id);
            respond::failure(ScimError::new(500, detail).into(), &trace.request_id)
        }
    };
    // The id is visible ASCII, whoever made it.
    if let Ok(id) = HeaderValue::from_str(&trace.request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }

    record(app, &client, &trace, &seen, response.status().as_u16(), started);
    response
}

/// Steps 2 to 11.
#[expect(clippy::too_many_arguments, reason = "what a request is made of; each step takes its part")]
async fn steps<B>(
    app: &App,
    serving: &Serving,
    peer: Peer,
    client: &Client<'_>,
    trace: &Trace,
    head: &Parts,
    body: B,
    seen: &mut Seen,
) -> Result<Answer, Failure>
where
    B: Body<Data = Bytes>,
    B::Error: Display,
{
    client.check_allowed(serving)?;
    check_head(head)?;

    let (path, rest) = split_tenant(head.uri.path()).ok_or_else(|| {
        ScimError::new(404, "nothing is served here; SCIM base URLs have the form /TENANT/scim/v2")
    })?;
    let authenticated = seen.authenticated.insert(authenticate(serving, path, &head.headers).await?);
    let tenant = &*authenticated.tenant;
    if tenant.suspended {
        return Err(Failure::RetryLater(SUSPENDED_RETRY_AFTER, "this tenant is suspended; try again later"));
    }

    let operation = seen.operation.insert(route(&tenant.registry, &head.method, rest)?);
    authenticated.require(operation.scope())?;
    let context = Context {
        app,
        tenant,
        base_url: base_url(serving, client, peer, &head.headers, path),
        headers: &head.headers,
        parameters: Parameters::parse(head.uri.query())?,
        request_id: &trace.request_id,
        origin: Arc::new(Origin {
            actor: authenticated.actor.to_string(),
            client: Some(client.address),
            request_id: trace.request_id.clone(),
        }),
    };
    if authenticated.bare {
        let mut tolerated = Tolerated::default();
        tolerated.report(Rule::BareToken, "Authorization");
        context.note(&tolerated);
    }
    let object = |limit: u64| read_object(&head.headers, body, limit);
    let limits = &tenant.limits;

    match operation {
        Operation::Get(kind, id) => resources::get::answer(&context, kind, id).await,
        Operation::List(kind) => resources::list::answer(&context, kind.as_ref()).await,
        Operation::Search(kind) => {
            resources::search::answer(&context, kind.as_ref(), object(limits.max_body_bytes).await?).await
        }
        Operation::Create(_) | Operation::Patch(..) | Operation::Bulk => {
            let bulk = *operation == Operation::Bulk;
            let limit = if bulk { limits.max_bulk_payload_bytes } else { limits.max_body_bytes };
            let body = object(limit).await?;
            let keyed = match idempotency::recall(&context, head, operation, &body).await? {
                Recall::Answer(answer) => return Ok(answer),
                Recall::New(keyed) => keyed,
            };
            match operation {
                Operation::Create(kind) => resources::create::answer(&context, kind, body, keyed).await,
                Operation::Patch(kind, id) => resources::patch::answer(&context, kind, id, body, keyed).await,
                _ => resources::bulk::answer(&context, body, keyed).await,
            }
        }
        Operation::Replace(kind, id) => {
            resources::replace::answer(&context, kind, id, object(limits.max_body_bytes).await?).await
        }
        Operation::Delete(kind, id) => resources::delete::answer(&context, kind, id).await,
        Operation::Discover(document) => discovery::answer(&context, document),
        Operation::Me => Err(me::answer()),
    }
}

/// What is beside SCIM: the token endpoint and its metadata, where nobody is authenticated yet.
#[expect(clippy::too_many_arguments, reason = "what a request is made of; each step takes its part")]
async fn oauth_steps<B>(
    app: &App,
    serving: &Serving,
    peer: Peer,
    client: &Client<'_>,
    endpoint: Endpoint<'_>,
    head: &Parts,
    body: B,
    seen: &mut Seen,
) -> Result<Response<Full<Bytes>>, Failure>
where
    B: Body<Data = Bytes>,
    B::Error: Display,
{
    seen.oauth = Some(endpoint.name());
    client.check_allowed(serving)?;
    check_head(head)?;
    let path = endpoint.tenant();
    let base_url = base_url(serving, client, peer, &head.headers, path);
    match endpoint {
        Endpoint::Metadata(_) => Ok(metadata::answer(&head.method, &base_url)),
        Endpoint::Token(_) => {
            let tenant = serving.tenant(path);
            let request = TokenRequest { path, tenant, base_url: &base_url, address: client.address };
            let TokenAnswer { response, client } =
                token_endpoint::answer(&app.oauth, request, head, body).await;
            seen.client = tenant.map(|tenant| Arc::clone(&tenant.key.0)).zip(client);
            Ok(response)
        }
    }
}

/// 414 and 431, where the transport let the request through.
fn check_head(head: &Parts) -> Result<(), ScimError> {
    let url = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if url > MAX_URL {
        return Err(ScimError::new(
            414,
            format!(
                "the URL has {url} bytes and the limit is {MAX_URL}; send long queries with POST to .search"
            ),
        ));
    }
    let headers: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers > MAX_HEADERS {
        return Err(ScimError::new(
            431,
            format!("the headers have {headers} bytes and the limit is {MAX_HEADERS}"),
        ));
    }
    Ok(())
}

/// Step 13.
fn record(app: &App, client: &Client<'_>, trace: &Trace, seen: &Seen, status: u16, started: Instant) {
    let duration = started.elapsed();
    let operation = seen.operation.as_ref().map_or(seen.oauth.unwrap_or("none"), Operation::name);
    let (kind, id) = seen.operation.as_ref().map_or((None, None), Operation::subject);
    let authenticated = seen.authenticated.as_ref();
    let tenant = authenticated.map(|authenticated| &authenticated.tenant.key.0);
    let tenant = tenant.or(seen.client.as_ref().map(|(tenant, _)| tenant));
    let credential = authenticated.map(|authenticated| &*authenticated.actor);
    let credential = credential.or(seen.client.as_ref().map(|(_, client)| &**client));
    app.metrics.request(tenant.unwrap_or(&NO_TENANT), operation, status, duration);
    app.access_log.record(&Record {
        request_id: &trace.request_id,
        trace_id: trace.trace_id.as_deref(),
        tenant: tenant.map(AsRef::as_ref),
        credential,
        operation,
        resource_type: kind.map(|kind| kind.name.as_str()),
        // What is no id of ours could be a person's address that somebody put in the URL.
        resource_id: id.or(seen.created.as_deref()).filter(|id| is_uuid(id)),
        status,
        duration,
        client: client.address,
    });
}

fn last_segment(url: &str) -> Option<String> {
    url.rsplit('/').next().map(str::to_owned)
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// Runs a future to its end or its panic: one bad request must not end the connection's others.
async fn caught<F: Future>(future: F) -> Result<F::Output, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
