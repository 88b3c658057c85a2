//! Connections, with TLS or without: accepting them, bounding how many there are and how long they may do nothing, and
//! letting them finish when the server stops.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::client::Peer;
use super::tls::Certificates;
use super::{App, health, pipeline};

/// How connections are bounded.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Open connections at once.
    pub connections: usize,
    /// How long a new connection may wait for one of them to end.
    pub wait: Duration,
    /// How long a new connection may take to send its first request's head.
    pub first_request: Duration,
    /// How long a connection may be without a request (and its answer be on the way). Longer than
    /// the 60 s after which common load balancers close theirs, so that no request meets our close.
    pub idle: Duration,
    /// How often connections are looked at.
    pub check: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            wait: Duration::from_secs(2),
            first_request: Duration::from_secs(15),
            idle: Duration::from_secs(75),
            check: Duration::from_secs(5),
        }
    }
}

/// Bytes of a request head that are buffered; beyond it the connection ends with a bare 431. Above
/// the pipeline's own limits, so that those answer with words where they can.
const MAX_HEAD_BUFFER: usize = 128 << 10;

/// Pause after an accept failed because this process or machine ran out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves SCIM on a listener until `stop` is true, then lets the requests under way finish.
pub async fn serve_scim(
    app: Arc<App>,
    listener: TcpListener,
    limits: ConnectionLimits,
    stop: watch::Receiver<bool>,
) {
    serve_scim_over(app, listener, None, limits, stop).await;
}

/// As [`serve_scim`], with TLS.
pub async fn serve_scim_tls(
    app: Arc<App>,
    listener: TcpListener,
    certificates: &Certificates,
    limits: ConnectionLimits,
    stop: watch::Receiver<bool>,
) {
    serve_scim_over(app, listener, Some(certificates.acceptor()), limits, stop).await;
}

async fn serve_scim_over(
    app: Arc<App>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    limits: ConnectionLimits,
    stop: watch::Receiver<bool>,
) {
    let gauge = app.metrics.connections().clone();
    let answer = move |peer: Peer, request: Request<Incoming>| {
        let app = Arc::clone(&app);
        async move {
            let mut response = pipeline::handle(&app, peer, request).await;
            if app.is_draining() {
                // The client makes its next connection to somebody else.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }
    };
    let observe = move |change: i64| {
        gauge.inc_by(change);
    };
    serve(listener, tls, limits, stop, answer, observe).await;
}

/// Serves the admin port on a listener until `stop` is true.
pub async fn serve_admin(app: Arc<App>, listener: TcpListener, stop: watch::Receiver<bool>) {
    let limits = ConnectionLimits { connections: 64, ..ConnectionLimits::default() };
    let answer = move |_: Peer, request: Request<Incoming>| {
        let app = Arc::clone(&app);
        async move { health::answer(&app, request.method(), request.uri()).await }
    };
    serve(listener, None, limits, stop, answer, |_| {}).await;
}

async fn serve<A, F, O>(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    limits: ConnectionLimits,
    mut stop: watch::Receiver<bool>,
    answer: A,
    observe: O,
) where
    A: Fn(Peer, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    O: Fn(i64) + Clone + Send + 'static,
{
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(limits.connections));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                if !is_the_clients(&error) {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                continue;
            }
        };
        let (slots, watcher, tls) = (Arc::clone(&slots), graceful.watcher(), tls.clone());
        let (answer, observe) = (answer.clone(), observe.clone());
        tokio::spawn(async move {
            let slot = tokio::time::timeout(limits.wait, slots.acquire_owned()).await;
            let Ok(Ok(_slot)) = slot else {
                // Words in the clear are noise to a client that begins with a handshake.
                if tls.is_none() {
                    refuse(stream).await;
                }
                return;
            };
            let (Ok(remote), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else { return };
            let peer = Peer { remote, local, tls: tls.is_some() };
            // Answers are whole: waiting for more to send would only delay them.
            let _ = stream.set_nodelay(true);
            let Some(tls) = tls else {
                observe(1);
                converse(stream, peer, limits, watcher, answer).await;
                observe(-1);
                return;
            };
            observe(1);
            match tokio::time::timeout(limits.first_request, tls.accept(stream)).await {
                Ok(Ok(stream)) => converse(stream, peer, limits, watcher, answer).await,
                Ok(Err(error)) => tracing::debug!(%error, %remote, "a TLS handshake failed"),
                Err(_) => tracing::debug!(%remote, "a TLS handshake took too long"),
            }
            observe(-1);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

/// Answers the requests of one connection, until either side has enough.
async fn converse<S, A, F>(stream: S, peer: Peer, limits: ConnectionLimits, watcher: Watcher, answer: A)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Peer, Request<Incoming>) -> F,
    F: Future<Output = Response<Full<Bytes>>>,
{
    let activity = Activity::new();
    let service = service_fn(|request| {
        activity.begin();
        let response = answer(peer, request);
        let activity = &activity;
        async move {
            let response = response.await;
            activity.end();
            Ok::<_, Infallible>(response)
        }
    });
    let mut http = http1::Builder::new();
    // [`Activity`] bounds waiting for a head, without a timer for every request.
    http.header_read_timeout(None).max_buf_size(MAX_HEAD_BUFFER).half_close(false);
    let connection = watcher.watch(http.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        biased;
        // A client that breaks the protocol or goes away is its own business.
        _ = connection => {}
        () = activity.stalled(limits) => {}
    }
}

/// When a connection last had something to do.
struct Activity {
    start: Instant,
    /// Milliseconds since `start` at which the last answer was ready, plus one; [`BUSY`] during a request.
    idle_since: AtomicU64,
    served: AtomicU64,
}

const BUSY: u64 = u64::MAX;

impl Activity {
    fn new() -> Self {
        Self { start: Instant::now(), idle_since: AtomicU64::new(0), served: AtomicU64::new(0) }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(BUSY - 1)
    }

    fn begin(&self) {
        self.idle_since.store(BUSY, Ordering::Relaxed);
    }

    fn end(&self) {
        self.served.fetch_add(1, Ordering::Relaxed);
        self.idle_since.store(self.now(), Ordering::Relaxed);
    }

    /// Ready when the connection has waited too long for its client.
    async fn stalled(&self, limits: ConnectionLimits) {
        loop {
            tokio::time::sleep(limits.check).await;
            let since = self.idle_since.load(Ordering::Relaxed);
            let first = self.served.load(Ordering::Relaxed) == 0;
            let allowed = if first { limits.first_request } else { limits.idle };
            if since != BUSY && u128::from(self.now().saturating_sub(since)) > allowed.as_millis() {
                return;
            }
        }
    }
}

/// Errors of `accept` that are about one connection and not about us.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// Tells a client that there is no room for its connection.
async fn refuse(stream: TcpStream) {
    let body = r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"503","detail":"the server has too many connections; try again"}"#;
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Type: application/scim+json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    // It is new: its send buffer has room for all of it.
    if let Ok(Ok(())) = tokio::time::timeout(Duration::from_secs(1), stream.writable()).await {
        let _ = stream.try_write(answer.as_bytes());
    }
}
