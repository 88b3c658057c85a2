//! `POST /validate`, with TLS.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use kube::{
    api::DynamicObject,
    core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{certificate::Served, review};
use crate::controller::{accept::accept, cache::Cache};

/// Where reviews are sent.
const PATH: &str = "/validate";
/// Connections at once: the API servers, which keep theirs.
const CONNECTIONS: usize = 64;
/// How long a handshake, a request's head and its body may take, each.
const PATIENCE: Duration = Duration::from_secs(10);
/// A review has the object twice, and etcd takes 1.5 MiB of it.
const MAX_BODY: usize = 8 << 20;

/// Answers until it is dropped.
pub(super) async fn serve(listener: TcpListener, served: Arc<Served>, cache: Arc<Cache>) {
    accept(listener, CONNECTIONS, |stream| connection(stream, Arc::clone(&served), Arc::clone(&cache))).await;
}

async fn connection(stream: TcpStream, served: Arc<Served>, cache: Arc<Cache>) {
    // Without a certificate yet there is nothing to say; a client comes again.
    let Some(config) = served.config() else { return };
    let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, TlsAcceptor::from(config).accept(stream)).await
    else {
        return;
    };
    let service = service_fn(|request: Request<Incoming>| {
        let cache = Arc::clone(&cache);
        async move { Ok::<_, Infallible>(answer(&cache, request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    // A client that goes away is no concern of ours.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(cache: &Cache, request: Request<Incoming>) -> Response<Full<Bytes>> {
    if (request.method(), request.uri().path()) != (&Method::POST, PATH) {
        return respond(StatusCode::NOT_FOUND, "text/plain", format!("there is only POST {PATH} here\n"));
    }
    let body = tokio::time::timeout(PATIENCE, Limited::new(request.into_body(), MAX_BODY).collect()).await;
    let Ok(Ok(body)) = body else {
        return respond(StatusCode::BAD_REQUEST, "text/plain", "the body did not come whole\n".to_owned());
    };
    let review = review_of(cache, &body.to_bytes()).into_review();
    match serde_json::to_string(&review) {
        Ok(text) => respond(StatusCode::OK, "application/json", text),
        Err(error) => {
            respond(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("cannot write JSON: {error}\n"))
        }
    }
}

fn review_of(cache: &Cache, body: &[u8]) -> AdmissionResponse {
    let review: AdmissionReview<DynamicObject> = match serde_json::from_slice(body) {
        Ok(review) => review,
        Err(error) => return AdmissionResponse::invalid(format!("not an AdmissionReview: {error}")),
    };
    let request: AdmissionRequest<DynamicObject> = match review.try_into() {
        Ok(request) => request,
        Err(error) => return AdmissionResponse::invalid(error),
    };
    let mut response = AdmissionResponse::from(&request);
    let review::Decision { refusal, warnings } = review::review(cache, request);
    response.warnings = (!warnings.is_empty()).then_some(warnings);
    match refusal {
        Some(refusal) => {
            tracing::debug!(refusal, "refused by the webhook");
            let mut response = response.deny(refusal);
            response.result.code = StatusCode::UNPROCESSABLE_ENTITY.as_u16();
            "Invalid".clone_into(&mut response.result.reason);
            response
        }
        None => response,
    }
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
