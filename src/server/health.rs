//! The admin port: `/livez`, `/readyz`, `/metrics`, `/tokens` and `/configuration`.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode, Uri};
use jiff::Timestamp;

use super::authenticate::report;
use super::{App, configuration, leavers};

/// How long the store may take to answer `/readyz`.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Answers one request on the admin port.
pub async fn answer(app: &App, method: &Method, uri: &Uri) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is allowed here\n".to_owned());
    }
    match uri.path() {
        "/livez" => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => match ready(app).await {
            Ok(()) => text(StatusCode::OK, "ok\n".to_owned()),
            Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
        },
        "/metrics" => match metrics(app).await {
            Ok(metrics) => {
                let mut response = text(StatusCode::OK, metrics);
                let open_metrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(open_metrics));
                response
            }
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("metrics: {error}\n")),
        },
        "/tokens" => text(StatusCode::OK, report::table(&app.serving.load(), Timestamp::now())),
        "/configuration" => {
            let with_tenants = uri.query() != Some("tenants=false");
            match configuration::report(app, with_tenants).await.map(|report| serde_json::to_string(&report))
            {
                Ok(Ok(report)) => {
                    let mut response = text(StatusCode::OK, report);
                    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                    response
                }
                Ok(Err(error)) => {
                    text(StatusCode::INTERNAL_SERVER_ERROR, format!("configuration: {error}\n"))
                }
                Err(error) => text(StatusCode::SERVICE_UNAVAILABLE, format!("configuration: {error}\n")),
            }
        }
        _ => text(
            StatusCode::NOT_FOUND,
            "there are /livez, /readyz, /metrics, /tokens and /configuration\n".to_owned(),
        ),
    }
}

/// The metrics, with the store's own figures as they are now, or were when it last answered.
async fn metrics(app: &App) -> Result<String, std::fmt::Error> {
    match tokio::time::timeout(PING_TIMEOUT, leavers::measure(app)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the store gives no figures for the metrics"),
        Err(_) => tracing::debug!("the store is slow to give figures for the metrics"),
    }
    app.metrics.encode()
}

/// Whether new clients should be sent here, and if not why.
async fn ready(app: &App) -> Result<(), String> {
    if app.draining.load(Ordering::Acquire) {
        return Err("the server is shutting down".to_owned());
    }
    if !app.configured.load(Ordering::Acquire) {
        return Err(app.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone());
    }
    match tokio::time::timeout(PING_TIMEOUT, app.store.ping()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("the store did not answer within {} seconds", PING_TIMEOUT.as_secs())),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
