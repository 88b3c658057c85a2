//! TLS in the server itself: a certificate and its key from a folder, replaced while connections go on.
//!
//! A connection has the certificate that was there when it began. A new one that cannot be used changes nothing.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use prometheus_client::metrics::gauge::Gauge;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};
use tokio_rustls::TlsAcceptor;
use x509_cert::der::Decode as _;

/// The file of the certificate and those between it and an authority, as a Secret of type `kubernetes.io/tls` has it.
const CERTIFICATE: &str = "tls.crt";
/// The file of the key.
const KEY: &str = "tls.key";

/// Why a folder has no certificate that can be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {error}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is not PEM, or has none of what it should have.
    #[error("{} is not what it should be: {error}", .path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        error: pem::Error,
    },
    /// There is no certificate.
    #[error("{} has no certificate", .0.display())]
    NoCertificate(PathBuf),
    /// The key is of no known kind, or is not that of the certificate.
    #[error("the certificate and its key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// The certificate that is served, and where the next one comes from.
#[derive(Debug)]
pub struct Certificates {
    folder: PathBuf,
    current: Arc<Current>,
    /// The bytes of the two files as they were read last.
    seen: Mutex<[Vec<u8>; 2]>,
    not_after: Gauge,
    config: Arc<ServerConfig>,
}

/// The certificate for new connections.
struct Current(ArcSwap<CertifiedKey>);

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Certificates {
    /// Reads the certificate of a folder. The gauge gets the second at which it ends.
    pub fn load(folder: &Path, not_after: Gauge) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let files = read(folder)?;
        let certified = certified(folder, &files, &provider)?;
        not_after.set(end(&certified).map_or(0, Timestamp::as_second));
        let current = Arc::new(Current(ArcSwap::from_pointee(certified)));
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])?;
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(&current) as _;
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            folder: folder.to_owned(),
            current,
            seen: Mutex::new(files),
            not_after,
            config: config.into(),
        })
    }

    /// Looks whether the folder has another certificate; from then on new connections get it. After an error the
    /// one of before is served on, and the error is told once.
    pub fn reload(&self) -> Result<Option<Timestamp>, TlsError> {
        let files = read(&self.folder)?;
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == files {
                return Ok(None);
            }
            seen.clone_from(&files);
        }
        let certified = certified(&self.folder, &files, self.config.crypto_provider())?;
        let end = end(&certified).unwrap_or(Timestamp::UNIX_EPOCH);
        self.not_after.set(end.as_second());
        self.current.0.store(Arc::new(certified));
        Ok(Some(end))
    }

    /// What takes connections.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}

fn read(folder: &Path) -> Result<[Vec<u8>; 2], TlsError> {
    let file = |name| {
        let path = folder.join(name);
        fs::read(&path).map_err(|error| TlsError::Unreadable { path, error })
    };
    Ok([file(CERTIFICATE)?, file(KEY)?])
}

fn certified(
    folder: &Path,
    [certificates, key]: &[Vec<u8>; 2],
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let pem = |name| move |error| TlsError::Pem { path: folder.join(name), error };
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(certificates).collect::<Result<_, _>>().map_err(pem(CERTIFICATE))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(folder.join(CERTIFICATE)));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(pem(KEY))?;
    Ok(CertifiedKey::from_der(chain, key, provider)?)
}

/// When a certificate ends.
fn end(certified: &CertifiedKey) -> Option<Timestamp> {
    let certificate = x509_cert::Certificate::from_der(certified.cert.first()?).ok()?;
    let seconds = certificate.tbs_certificate.validity.not_after.to_unix_duration().as_secs();
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}
