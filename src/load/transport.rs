//! How requests reach a server: hyper's HTTP/1.1 client, each worker with kept-alive connections of its own.

use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::request::{Answer, Failure, Request};
use super::target::{Origin, Target};

/// No server's page of resources is longer; what is, is not read.
const LARGEST_ANSWER: usize = 256 << 20;
const CONNECT: Duration = Duration::from_secs(10);

/// Something that answers requests.
pub trait Transport {
    /// Sends one request to the tenant with this number, once.
    fn send(&mut self, tenant: usize, request: &Request) -> impl Future<Output = Result<Answer, Failure>>;
}

/// What all connections share.
#[derive(Clone)]
pub struct Network {
    tenants: Rc<[Destination]>,
    tls: Option<TlsConnector>,
    timeout: Duration,
}

struct Destination {
    target: Target,
    host: HeaderValue,
    authorization: HeaderValue,
}

/// Why there can be no connection to anybody.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the certificate authorities{of}: {why}")]
pub struct CertificateError {
    of: String,
    why: String,
}

impl Network {
    /// Reads certificates, and connects to nobody yet. `ca`: a PEM file in place of the system's authorities.
    pub fn new(targets: &[Target], ca: Option<&Path>, timeout: Duration) -> Result<Self, CertificateError> {
        let tls = if targets.iter().any(|target| target.origin.tls) {
            Some(TlsConnector::from(Arc::new(tls(ca)?)))
        } else {
            None
        };
        let tenants = targets
            .iter()
            .map(|target| {
                // Both were checked when the target was made: visible ASCII.
                let value =
                    |text: &str| HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""));
                let mut authorization = value(&target.authorization());
                authorization.set_sensitive(true);
                Destination { target: target.clone(), host: value(&target.origin.authority()), authorization }
            })
            .collect();
        Ok(Self { tenants, tls, timeout })
    }

    /// The connections of one worker: one to each server, opened when it is needed.
    #[must_use]
    pub fn lane(&self) -> Lane {
        Lane { network: self.clone(), open: HashMap::new() }
    }
}

fn tls(ca: Option<&Path>) -> Result<ClientConfig, CertificateError> {
    let of = ca.map(|path| format!(" of {}", path.display())).unwrap_or_default();
    let wrong = |why: String| CertificateError { of: of.clone(), why };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?;
    let Some(path) = ca else {
        let builder = builder.with_platform_verifier().map_err(|error| wrong(error.to_string()))?;
        return Ok(builder.with_no_client_auth());
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))? {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("the file holds no certificate".to_owned()));
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// The connections of one worker.
pub struct Lane {
    network: Network,
    open: HashMap<Origin, SendRequest<Full<Bytes>>>,
}

impl Lane {
    async fn connection(&mut self, origin: &Origin) -> Result<SendRequest<Full<Bytes>>, Failure> {
        if let Some(mut sender) = self.open.remove(origin)
            && !sender.is_closed()
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        let connected =
            timeout(CONNECT.min(self.network.timeout), connect(origin, self.network.tls.as_ref()));
        connected.await.unwrap_or_else(|_| Err(Failure::Connect("timed out".to_owned())))
    }
}

impl Transport for Lane {
    async fn send(&mut self, tenant: usize, request: &Request) -> Result<Answer, Failure> {
        let network = self.network.clone();
        let destination = &network.tenants[tenant];
        let origin = &destination.target.origin;
        let mut sender = self.connection(origin).await?;
        let mut builder = hyper::Request::builder()
            .method(&request.method)
            .uri(destination.target.request_target(&request.path))
            .header(HOST, &destination.host)
            .header(AUTHORIZATION, &destination.authorization)
            .header(ACCEPT, "application/scim+json, application/json")
            .header(USER_AGENT, concat!("scim-operator-load/", env!("CARGO_PKG_VERSION")));
        if request.body.is_some() {
            builder = builder.header(CONTENT_TYPE, "application/scim+json");
        }
        let body = Full::new(request.body.clone().unwrap_or_default());
        let built = builder.body(body).map_err(|error| Failure::Connect(error.to_string()))?;
        let exchange = async {
            let response = sender.send_request(built).await.map_err(|error| {
                // hyper says that it is cancelled when it has not begun to write the request.
                let why = causes(&error);
                if error.is_canceled() { Failure::Connect(why) } else { Failure::Cut(why) }
            })?;
            let (head, mut body) = response.into_parts();
            let mut bytes = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| Failure::Cut(causes(&error)))?;
                if let Ok(data) = frame.into_data() {
                    if bytes.len() + data.len() > LARGEST_ANSWER {
                        return Err(Failure::Cut("the answer is larger than 256 MiB".to_owned()));
                    }
                    bytes.extend_from_slice(&data);
                }
            }
            let retry_after = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let retry_after = retry_after.map(str::to_owned);
            Ok(Answer { status: head.status.as_u16(), retry_after, body: bytes.freeze() })
        };
        match timeout(network.timeout, exchange).await {
            Ok(Ok(answer)) => {
                self.open.insert(origin.clone(), sender);
                Ok(answer)
            }
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::Timeout(network.timeout)),
        }
    }
}

async fn connect(origin: &Origin, tls: Option<&TlsConnector>) -> Result<SendRequest<Full<Bytes>>, Failure> {
    let failed = |error: &dyn std::error::Error| Failure::Connect(causes(error));
    let host = origin.host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, origin.port)).await.map_err(|error| failed(&error))?;
    stream.set_nodelay(true).map_err(|error| failed(&error))?;
    // A connection ends with its sender.
    let Some(tls) = tls.filter(|_| origin.tls) else {
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
        tokio::task::spawn_local(connection);
        return Ok(sender);
    };
    let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(&error))?;
    let stream = tls.connect(name, stream).await.map_err(|error| failed(&error))?;
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}

/// An error with its causes.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}
