//! The tenant's base URL for the client that asked: `meta.location`, `Location`, `$ref`.
//!
//! 1. A trusted proxy says which scheme and host the client used: those.
//! 2. The client asked for the endpoint's own host: `https://HOST`.
//! 3. The client is on this machine: the socket it reached.
//! 4. The endpoint has a host: `https://HOST`; else the socket.
//!
//! A `Host` header that none of these vouches for is never repeated.

use hyper::HeaderMap;
use hyper::header::HOST;

use super::client::{Client, Peer};
use super::serving::Serving;

/// The URL before the resource type's endpoint, with no slash at its end.
#[must_use]
pub fn base_url(
    serving: &Serving,
    client: &Client<'_>,
    peer: Peer,
    headers: &HeaderMap,
    tenant: &str,
) -> String {
    if let Some(host) = client.host {
        let proto = client.proto.unwrap_or("https");
        return format!("{proto}://{host}/{tenant}/scim/v2");
    }
    if let Some(host) = serving.host.as_deref() {
        let asked = headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let name = asked.split_once(':').map_or(asked, |(name, _port)| name);
        if name.eq_ignore_ascii_case(host) || !peer.remote.ip().to_canonical().is_loopback() {
            return format!("https://{host}/{tenant}/scim/v2");
        }
    }
    format!(
        "{}://{}/{tenant}/scim/v2",
        if peer.tls { "https" } else { "http" },
        std::net::SocketAddr::new(peer.local.ip().to_canonical(), peer.local.port())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn url(
        configured: Option<&str>,
        remote: &str,
        host_header: &str,
        forwarded: Option<(&str, &str)>,
    ) -> String {
        let mut serving = Serving::nothing();
        serving.host = configured.map(str::to_owned);
        let headers = HeaderMap::from_iter([(HOST, host_header.parse().unwrap())]);
        let peer =
            Peer { remote: remote.parse().unwrap(), local: "127.0.0.1:8080".parse().unwrap(), tls: false };
        let client = Client {
            address: peer.remote.ip(),
            proto: forwarded.map(|(proto, _)| proto),
            host: forwarded.map(|(_, host)| host),
        };
        base_url(&serving, &client, peer, &headers, "acme")
    }

    #[test]
    fn base_url_is_vouched_for_and_never_an_untrusted_host() {
        let configured = Some("scim.example.com");
        assert_eq!(url(configured, "10.0.0.1:1", "x", Some(("http", "in:81"))), "http://in:81/acme/scim/v2");
        assert_eq!(
            url(configured, "127.0.0.1:1", "SCIM.example.com:443", None),
            "https://scim.example.com/acme/scim/v2"
        );
        assert_eq!(
            url(configured, "127.0.0.1:1", "localhost:8080", None),
            "http://127.0.0.1:8080/acme/scim/v2"
        );
        assert_eq!(
            url(configured, "192.0.2.1:1", "evil.example", None),
            "https://scim.example.com/acme/scim/v2"
        );
        assert_eq!(url(None, "192.0.2.1:1", "evil.example", None), "http://127.0.0.1:8080/acme/scim/v2");
    }
}
