//! A proxy in front of the API server that cuts a connection at the Nth call of the operator.
//!
//! Calls that concern one object are counted; lists and watches pass. The operator speaks HTTP/1.1 to it, in the clear,
//! one request at a time on a connection.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustls::pki_types::{ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::CertificateDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsConnector;

use super::api_server::ApiServer;

/// Where a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Before this call reaches the API server, counted from 1.
    Before(usize),
    /// After the API server has carried it out, before its answer is read.
    After(usize),
    /// Nowhere.
    Never,
}

/// A proxy that ends with this value.
pub(crate) struct Proxy {
    pub(crate) url: String,
    calls: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(server: &ApiServer, cut: Cut) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the machine has free ports");
        let url = format!("http://{}", listener.local_addr().expect("a bound socket has an address"));
        let calls = Arc::new(AtomicUsize::new(0));
        let upstream = server.running.url.trim_start_matches("https://").to_owned();
        let connector = connector(server);
        let counted = Arc::clone(&calls);
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (connector, upstream) = (connector.clone(), upstream.clone());
                let calls = Arc::clone(&counted);
                connections.spawn(async move {
                    // Either side may end it at any time.
                    let _ = serve(client, &connector, &upstream, &calls, cut).await;
                });
            }
        });
        Self { url, calls, accepting }
    }

    /// How many calls there were.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn connector(server: &ApiServer) -> TlsConnector {
    let path = server.running.folder.path().join("certificates/apiserver.crt");
    let pem = std::fs::read(path).expect("the API server made itself a certificate");
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let _ = roots.add(certificate.expect("it is PEM"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

async fn serve(
    client: TcpStream,
    connector: &TlsConnector,
    upstream: &str,
    calls: &AtomicUsize,
    cut: Cut,
) -> io::Result<()> {
    let name = ServerName::try_from("127.0.0.1").expect("an address is a name");
    let server = connector.connect(name, TcpStream::connect(upstream).await?).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = tokio::io::split(server);
    // The answers go their way until the task ends, and the connection with it.
    let (answered, mut answers) = tokio::sync::watch::channel(0_usize);
    let back = async move {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = from_server.read(&mut buffer).await?;
            if length == 0 {
                return io::Result::Ok(());
            }
            answered.send_modify(|answers| *answers += 1);
            // Whoever cuts after an answer does so before it is seen.
            tokio::task::yield_now().await;
            to_client.write_all(&buffer[..length]).await?;
        }
    };
    let forth = async move {
        loop {
            let Some(request) = read_request(&mut from_client).await? else { return io::Result::Ok(()) };
            let number = if is_call(&request) { calls.fetch_add(1, Ordering::SeqCst) + 1 } else { 0 };
            if number > 0 && cut == Cut::Before(number) {
                return Ok(());
            }
            answers.mark_unchanged();
            to_server.write_all(&request).await?;
            to_server.flush().await?;
            if number > 0 && cut == Cut::After(number) {
                let _ = answers.changed().await;
                return Ok(());
            }
        }
    };
    tokio::select! {
        biased;
        done = forth => done,
        done = back => done,
    }
}

/// One request, head and body; none at the end.
async fn read_request(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut request = Vec::new();
    let end = loop {
        if let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if from.read_buf(&mut request).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let whole = end + length.unwrap_or(0);
    while request.len() < whole {
        if from.read_buf(&mut request).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(request))
}

/// Whether a request concerns one object: it writes, or it names what it reads.
fn is_call(request: &[u8]) -> bool {
    let head = String::from_utf8_lossy(&request[..request.len().min(1024)]).into_owned();
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    method != "GET" || !target.contains('?') && target.contains("/namespaces/")
}
