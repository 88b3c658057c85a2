//! What is to be said of an endpoint's certificate before users notice: that it is not there, not for the host, over,
//! or soon over. Pure but for the time that it is given.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_cert::{
    Certificate,
    der::Decode,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use super::{status::CertificateState, validate, view::Why};
use crate::{config::objects::Secret, crd::condition::Reason};

/// Less than this before the end somebody is told, or less than a fifth of the certificate's time.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Judges the Secret of a certificate. The time says when to look again, if nothing changes until then.
pub(crate) fn judge(
    wanted: &validate::Certificate,
    secret: Option<&Secret>,
    waiting: Option<&str>,
    now: Timestamp,
) -> (CertificateState, Option<Duration>) {
    let name = &wanted.secret_name;
    let bad = |reason, message: String| (CertificateState::Bad(Why::new(reason, message)), None);
    let maker = match &wanted.issuer {
        Some(issuer) => format!("{} {} of cert-manager has to make it", issuer.kind, issuer.name),
        None => format!("make it with `kubectl create secret tls {name} --cert=FILE --key=FILE`"),
    };
    let Some(secret) = secret else {
        let words = waiting.map(|words| format!(": {words}")).unwrap_or_default();
        return bad(Reason::CertificateNotFound, format!("there is no Secret {name}; {maker}{words}"));
    };
    let Some(pem) = secret.data.get("tls.crt").filter(|pem| !pem.is_empty()) else {
        return bad(Reason::CertificateInvalid, format!("Secret {name} has no tls.crt; {maker}"));
    };
    if secret.data.get("tls.key").is_none_or(Vec::is_empty) {
        return bad(Reason::CertificateInvalid, format!("Secret {name} has no tls.key; {maker}"));
    }
    let Some(found) = read(pem) else {
        return bad(Reason::CertificateInvalid, format!("tls.crt of Secret {name} is no PEM certificate"));
    };
    if let Some(missing) = wanted.dns_names.iter().find(|name| !found.names.iter().any(|is| covers(is, name)))
    {
        let names = found.names.join(", ");
        let names = if names.is_empty() { "no host".to_owned() } else { names };
        let message = format!("the certificate in Secret {name} is for {names}, not for {missing}");
        return bad(Reason::CertificateInvalid, message);
    }
    let Found { from, until, .. } = found;
    if until <= now {
        return bad(
            Reason::CertificateExpired,
            format!("the certificate in Secret {name} expired at {until}"),
        );
    }
    let left = until.duration_since(now);
    let soon = SOON.min(until.duration_since(from) / 5);
    if from > now {
        let wait = Duration::try_from(from.duration_since(now)).ok();
        let message = format!("the certificate in Secret {name} is not valid before {from}");
        return (CertificateState::Bad(Why::new(Reason::CertificateInvalid, message)), wait);
    }
    if left <= soon {
        let message = format!("the certificate in Secret {name} expires at {until} and has not been renewed");
        let why = Why::new(Reason::CertificateExpiring, message);
        return (CertificateState::Warning(why), Duration::try_from(left).ok());
    }
    (CertificateState::Good, Duration::try_from(left - soon).ok())
}

/// What a certificate says.
struct Found {
    names: Vec<String>,
    from: Timestamp,
    until: Timestamp,
}

fn read(pem: &[u8]) -> Option<Found> {
    let first = CertificateDer::pem_slice_iter(pem).next()?.ok()?;
    let certificate = Certificate::from_der(&first).ok()?.tbs_certificate;
    let time = |time: x509_cert::time::Time| {
        Timestamp::from_second(i64::try_from(time.to_unix_duration().as_secs()).ok()?).ok()
    };
    let alternative: Option<(bool, SubjectAltName)> = certificate.get().ok()?;
    let names = alternative.into_iter().flat_map(|(_, names)| names.0).filter_map(|name| match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        _ => None,
    });
    Some(Found {
        names: names.collect(),
        from: time(certificate.validity.not_before)?,
        until: time(certificate.validity.not_after)?,
    })
}

/// Whether a name of a certificate is for a host: one label may be a wildcard (RFC 6125).
fn covers(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest == parent),
        None => name == host,
    }
}
