//! The webhook's certificate: made, renewed and made known by the operator itself.
//!
//! It signs itself, and is its own authority: the API server trusts exactly it (`clientConfig.caBundle`), and the one
//! before, for as long as another replica may still show that. Any replica renews; the Secret's version decides which.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwapOption;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use k8s_openapi::{
    ByteString,
    api::{admissionregistration::v1::ValidatingWebhookConfiguration, core::v1::Secret},
};
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, SanType, date_time_ymd,
};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    version,
};
use serde_json::json;
use x509_cert::der::Decode as _;

use crate::controller::{key::Key, names::FIELD_MANAGER, run::report};

/// How long a certificate is good for. It is renewed when a third of that is left.
const LIFETIME: Duration = Duration::from_hours(24 * 90);
/// How often the Secret is looked at: another replica may have renewed.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// After a failure.
const TRY_AGAIN: Duration = Duration::from_secs(2);
/// Requests that have no answer by then failed.
const PATIENCE: Duration = Duration::from_secs(15);

/// Keys of the Secret, as in one of type `kubernetes.io/tls`.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const BUNDLE: &str = "ca.crt";

/// What connections are taken with; nothing until there is a certificate.
#[derive(Default)]
pub(crate) struct Served(ArcSwapOption<ServerConfig>);

impl Served {
    pub(crate) fn config(&self) -> Option<Arc<ServerConfig>> {
        self.0.load_full()
    }
}

/// Why the certificate could not be looked after.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error("the API server did not answer in time")]
    TimedOut,
    #[error("the API server")]
    Api(#[from] kube::Error),
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    #[error("the certificate in the Secret is not PEM")]
    Pem(#[from] pem::Error),
    #[error("the certificate in the Secret cannot be used")]
    Tls(#[from] rustls::Error),
}

/// A certificate and its key, as PEM, and all that is to be trusted meanwhile.
#[derive(Clone, PartialEq, Eq)]
struct Pair {
    certificate: String,
    key: String,
    bundle: String,
}

impl Pair {
    /// A new one for these names, which comes after another.
    fn make(names: &[String], now: Timestamp, before: Option<&Self>) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::new(names)?;
        // For whoever looks at it by way of `kubectl port-forward`.
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "scim-operator webhook");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // Days are exact enough, and a clock that is a little behind finds it good already.
        let lifetime = SignedDuration::try_from(LIFETIME).unwrap_or(SignedDuration::MAX);
        let day = |time: Timestamp| {
            let date = time.to_zoned(TimeZone::UTC).date();
            date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
        };
        params.not_before = day(now - SignedDuration::from_hours(24));
        params.not_after = day(now.saturating_add(lifetime).unwrap_or(Timestamp::MAX));
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        let bundle = before.map_or_else(String::new, |before| before.certificate.clone());
        Ok(Self { bundle: certificate.clone() + &bundle, certificate, key: key.serialize_pem() })
    }

    /// What a Secret has; `None` unless all of it is there.
    fn of(secret: &Secret) -> Option<Self> {
        let text = |key| String::from_utf8(secret.data.as_ref()?.get(key)?.0.clone()).ok();
        Some(Self { certificate: text(CERTIFICATE)?, key: text(KEY)?, bundle: text(BUNDLE)? })
    }

    fn data(&self) -> std::collections::BTreeMap<String, ByteString> {
        let item = |key: &str, text: &str| (key.to_owned(), ByteString(text.as_bytes().to_vec()));
        [item(CERTIFICATE, &self.certificate), item(KEY, &self.key), item(BUNDLE, &self.bundle)].into()
    }

    /// Whether it can be served, and not too much of its time is over.
    fn is_fresh(&self, now: Timestamp) -> bool {
        let end = CertificateDer::from_pem_slice(self.certificate.as_bytes()).ok().and_then(|der| {
            let certificate = x509_cert::Certificate::from_der(&der).ok()?;
            let seconds = certificate.tbs_certificate.validity.not_after.to_unix_duration().as_secs();
            Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
        });
        let margin = SignedDuration::try_from(LIFETIME / 3).unwrap_or(SignedDuration::MAX);
        end.is_some_and(|end| end.duration_since(now) > margin) && self.config().is_ok()
    }

    fn config(&self) -> Result<ServerConfig, KeepError> {
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes()).collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())?;
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])?;
        let mut config = builder.with_no_client_auth().with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// Keeps the certificate.
pub(super) struct Keeper {
    secrets: Api<Secret>,
    configurations: Api<ValidatingWebhookConfiguration>,
    /// Of the Secret; its name is also that of the configuration and of the Service.
    place: Key,
    served: Arc<Served>,
}

impl Keeper {
    pub(super) fn new(client: Client, place: Key, served: Arc<Served>) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), &place.namespace),
            configurations: Api::all(client),
            place,
            served,
        }
    }

    /// Keeps it until it is dropped.
    pub(super) async fn keep(self) {
        let mut served = None;
        loop {
            let result = match tokio::time::timeout(PATIENCE, self.look(Timestamp::now())).await {
                Ok(result) => result,
                Err(_) => Err(KeepError::TimedOut),
            };
            let wait = match result.and_then(|pair| {
                if served.as_ref() != Some(&pair) {
                    self.served.0.store(Some(Arc::new(pair.config()?)));
                    tracing::info!(secret = %self.place, "the webhook has a certificate");
                    served = Some(pair);
                }
                Ok(())
            }) {
                Ok(()) => LOOK_EVERY,
                Err(error) => {
                    let error = report(&error);
                    tracing::warn!(secret = %self.place, error, "cannot look after the webhook's certificate");
                    TRY_AGAIN
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// The certificate to serve: it is in the Secret, and the API server trusts it.
    async fn look(&self, now: Timestamp) -> Result<Pair, KeepError> {
        let secret = self.secrets.get_opt(&self.place.name).await?;
        let pair = match secret.as_ref().and_then(Pair::of) {
            Some(pair) if pair.is_fresh(now) => pair,
            before => {
                let (name, namespace) = (&self.place.name, &self.place.namespace);
                let names = [format!("{name}.{namespace}.svc"), "localhost".to_owned()];
                let pair = Pair::make(&names, now, before.as_ref())?;
                self.write(secret, &pair).await?;
                tracing::info!(secret = %self.place, "made a certificate for the webhook");
                pair
            }
        };
        // Before it is shown to anybody.
        self.trust(&pair.bundle).await?;
        Ok(pair)
    }

    /// Writes the Secret; fails when another replica was faster, and that one's is taken at the next look.
    async fn write(&self, secret: Option<Secret>, pair: &Pair) -> Result<(), KeepError> {
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        if let Some(secret) = secret {
            let secret = Secret { data: Some(pair.data()), ..secret };
            self.secrets.replace(&self.place.name, &params, &secret).await?;
        } else {
            let labels = [("app.kubernetes.io/managed-by".to_owned(), "scim-operator".to_owned())];
            let secret = Secret {
                metadata: ObjectMeta {
                    name: Some(self.place.name.to_string()),
                    namespace: Some(self.place.namespace.to_string()),
                    labels: Some(labels.into()),
                    ..ObjectMeta::default()
                },
                type_: Some("kubernetes.io/tls".to_owned()),
                data: Some(pair.data()),
                ..Secret::default()
            };
            self.secrets.create(&params, &secret).await?;
        }
        Ok(())
    }

    /// Has the API server trust these, and no others.
    async fn trust(&self, bundle: &str) -> Result<(), KeepError> {
        let configuration = self.configurations.get(&self.place.name).await?;
        let webhooks = configuration.webhooks.unwrap_or_default();
        let knows =
            |known: &Option<ByteString>| known.as_ref().is_some_and(|known| known.0 == bundle.as_bytes());
        if webhooks.iter().all(|webhook| knows(&webhook.client_config.ca_bundle)) {
            return Ok(());
        }
        let bundle = ByteString(bundle.as_bytes().to_vec());
        let webhooks: Vec<_> = webhooks
            .iter()
            .map(|webhook| json!({ "name": webhook.name, "clientConfig": { "caBundle": bundle } }))
            .collect();
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Strategic(json!({ "webhooks": webhooks }));
        self.configurations.patch(&self.place.name, &params, &patch).await?;
        tracing::info!(configuration = &*self.place.name, "the API server trusts the webhook's certificate");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 1] = ["scim-operator-webhook.operators.svc"];

    fn made(now: &str, before: Option<&Pair>) -> Pair {
        Pair::make(&NAMES.map(str::to_owned), now.parse().unwrap(), before).unwrap()
    }

    #[test]
    fn new_certificate_is_served_and_trusted_as_itself() {
        let pair = made("2026-01-10T12:00:00Z", None);
        assert_eq!(pair.bundle, pair.certificate);
        assert!(pair.is_fresh("2026-01-10T12:00:00Z".parse().unwrap()));
        let der = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
        let certificate = x509_cert::Certificate::from_der(&der).unwrap();
        let validity = certificate.tbs_certificate.validity;
        assert_eq!(validity.not_before.to_string(), "2026-01-09T00:00:00Z");
        assert_eq!(validity.not_after.to_string(), "2026-04-10T00:00:00Z");
    }

    #[test]
    fn certificate_is_renewed_when_a_third_of_its_time_is_left() {
        let pair = made("2026-01-10T00:00:00Z", None);
        assert!(pair.is_fresh("2026-03-10T00:00:00Z".parse().unwrap()));
        assert!(!pair.is_fresh("2026-03-12T00:00:00Z".parse().unwrap()));
    }

    #[test]
    fn the_one_before_is_trusted_and_the_one_before_that_is_not() {
        let first = made("2026-01-10T00:00:00Z", None);
        let second = made("2026-03-12T00:00:00Z", Some(&first));
        let third = made("2026-05-12T00:00:00Z", Some(&second));
        assert_eq!(second.bundle, format!("{}{}", second.certificate, first.certificate));
        assert_eq!(third.bundle, format!("{}{}", third.certificate, second.certificate));
    }

    #[test]
    fn secret_says_the_same_when_it_is_read_and_half_of_one_is_none() {
        let pair = made("2026-01-10T00:00:00Z", None);
        let mut secret = Secret { data: Some(pair.data()), ..Secret::default() };
        assert!(Pair::of(&secret) == Some(pair.clone()));
        secret.data.as_mut().unwrap().remove(KEY);
        assert!(Pair::of(&secret).is_none());
        let other = made("2026-01-10T00:00:00Z", None);
        let mixed = Pair { key: other.key, ..pair };
        assert!(!mixed.is_fresh("2026-01-10T00:00:00Z".parse().unwrap()), "a key of another certificate");
    }
}
