//! The controller's admin port: `/livez`, `/readyz` and `/metrics`.
//!
//! A process that stands by is ready: it has read all it needs and takes over when the leader goes.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use super::{accept::accept, metrics::Metrics};

/// Connections at once: a prober and a few scrapers.
const CONNECTIONS: usize = 32;
/// How long a connection may take to send a request's head.
const PATIENCE: Duration = Duration::from_secs(10);
/// What the admin port tells.
pub(crate) trait Health: Send + Sync + 'static {
    /// Whether it can act or stand by, or why not.
    fn ready(&self) -> Result<(), String>;

    /// The metrics, as of now.
    fn metrics(&self) -> &Metrics;
}

/// Answers until it is dropped.
pub(crate) async fn serve(listener: TcpListener, health: Arc<impl Health>) {
    accept(listener, CONNECTIONS, |stream| connection(stream, Arc::clone(&health))).await;
}

async fn connection(stream: TcpStream, health: Arc<impl Health>) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = answer(&*health, request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    // A client that goes away is no concern of ours.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

fn answer(health: &impl Health, method: &Method, path: &str) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    let (status, kind, body) = match path {
        _ if !matches!(*method, Method::GET | Method::HEAD) => {
            (StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET is allowed here\n".to_owned())
        }
        "/livez" => (StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" => match health.ready() {
            Ok(()) => (StatusCode::OK, TEXT, "ok\n".to_owned()),
            Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("not ready: {reason}\n")),
        },
        "/metrics" => match health.metrics().encode() {
            Ok(metrics) => {
                (StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", metrics)
            }
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("metrics: {error}\n")),
        },
        _ => (StatusCode::NOT_FOUND, TEXT, "there are /livez, /readyz and /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
