//! A server whose store is not there yet: the ports answer, and say why nothing else does. `/livez` is well, so that
//! nobody restarts what only waits.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::scim::error::ScimError;
use crate::store::{Store, StoreError};

/// How often the store is asked.
const LOOK: Duration = Duration::from_millis(250);

/// Waits until the store answers, and answers on the ports meanwhile.
pub async fn until_there(
    store: &dyn Store,
    scim: &TcpListener,
    admin: &TcpListener,
) -> Result<(), StoreError> {
    let reason = Arc::new(Mutex::new(String::new()));
    let asking = async {
        loop {
            match store.ping().await {
                Err(StoreError::Unavailable(why)) => {
                    let mut known = reason.lock().unwrap_or_else(PoisonError::into_inner);
                    if *known != why {
                        tracing::warn!(reason = why, "waiting for the store");
                        *known = why;
                    }
                }
                done => return done,
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    // The first connection that nobody serves otherwise: a server that need not wait answers nobody from here.
    tokio::select! {
        biased;
        done = asking => done,
        () = answer(scim, &reason, on_scim) => Ok(()),
        () = answer(admin, &reason, on_admin) => Ok(()),
    }
}

type Answer = fn(&str, &str) -> Response<Full<Bytes>>;

/// Answers every request, without end; dropped, it closes its connections.
async fn answer(listener: &TcpListener, reason: &Arc<Mutex<String>>, answer: Answer) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(serve(stream, Arc::clone(reason), answer));
            }
            Err(_) => tokio::time::sleep(LOOK).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, reason: Arc<Mutex<String>>, answer: Answer) {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let reason = reason.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let response = answer(request.uri().path(), &reason);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .timer(hyper_util::rt::TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    // Whoever went away needs no answer.
    let _ = connection.await;
}

fn on_scim(_: &str, _: &str) -> Response<Full<Bytes>> {
    let error = ScimError::new(503, "the server cannot reach its store now; try again");
    let mut response = Response::new(Full::new(Bytes::from(error.body().to_string())));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/scim+json"));
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

fn on_admin(path: &str, reason: &str) -> Response<Full<Bytes>> {
    let (status, body) = match path {
        "/livez" => (StatusCode::OK, "ok\n".to_owned()),
        _ if reason.is_empty() => {
            (StatusCode::SERVICE_UNAVAILABLE, "not ready: the store has not answered yet\n".to_owned())
        }
        _ => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: the store is unavailable: {reason}\n")),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
