//! Who is calling, and as what: the client's address and the URL it used, through trusted proxies.
//!
//! `Forwarded` (RFC 7239) and `X-Forwarded-*` are believed only from a peer in `trustedProxies`, and
//! only as far back as the chain of trusted proxies reaches.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;

use crate::scim::error::ScimError;

use super::serving::Serving;

/// The two ends of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// The other end.
    pub remote: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// Whether TLS ends here.
    pub tls: bool,
}

/// What is known of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client<'a> {
    /// Its address.
    pub address: IpAddr,
    /// The scheme that a trusted proxy says it used.
    pub proto: Option<&'a str>,
    /// The host that a trusted proxy says it asked.
    pub host: Option<&'a str>,
}

impl<'a> Client<'a> {
    /// From the connection and, where the peer is trusted, the headers.
    #[must_use]
    pub fn of(serving: &Serving, headers: &'a HeaderMap, peer: Peer) -> Self {
        let mut client = Self { address: peer.remote.ip().to_canonical(), proto: None, host: None };
        if !serving.trusts(client.address) {
            return client;
        }
        // Each hop was written by the proxy nearer to us: believe it while that proxy is trusted.
        for hop in hops(headers).into_iter().rev() {
            if let Some(proto) = hop.proto.filter(|proto| is_proto(proto)) {
                client.proto = Some(proto);
            }
            if let Some(host) = hop.host.filter(|host| is_host(host)) {
                client.host = Some(host);
            }
            let Some(address) = hop.address.and_then(parse_node) else { break };
            client.address = address;
            if !serving.trusts(address) {
                break;
            }
        }
        client
    }

    /// 403 when the endpoint's allow-list does not have the client.
    pub fn check_allowed(&self, serving: &Serving) -> Result<(), ScimError> {
        if serving.allows(self.address) {
            return Ok(());
        }
        let detail =
            format!("client address {} is not in the allowed networks of this endpoint", self.address);
        Err(ScimError::new(403, detail))
    }
}

/// What one proxy said of the hop before it.
#[derive(Debug, Default, Clone)]
struct Hop<'a> {
    address: Option<&'a str>,
    proto: Option<&'a str>,
    host: Option<&'a str>,
}

/// The hops, the client's first. `Forwarded` is taken when it is there, `X-Forwarded-*` otherwise.
fn hops(headers: &HeaderMap) -> Vec<Hop<'_>> {
    let forwarded = list(headers, "forwarded");
    if !forwarded.is_empty() {
        return forwarded.into_iter().map(forwarded_element).collect();
    }
    let addresses = list(headers, "x-forwarded-for");
    let protos = list(headers, "x-forwarded-proto");
    let hosts = list(headers, "x-forwarded-host");
    let count = addresses.len().max(protos.len()).max(hosts.len());
    (0..count)
        .map(|index| Hop {
            address: aligned(&addresses, index, count),
            proto: aligned(&protos, index, count),
            host: aligned(&hosts, index, count),
        })
        .collect()
}

/// Lists of unequal length are aligned at their end, which the nearest proxy wrote.
fn aligned<'a>(list: &[&'a str], index: usize, count: usize) -> Option<&'a str> {
    (index + list.len()).checked_sub(count).map(|at| list[at])
}

/// A header's comma-separated values, over all its lines.
fn list<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|value| !value.is_empty())
        .collect()
}

fn forwarded_element(element: &str) -> Hop<'_> {
    let mut hop = Hop::default();
    for pair in element.split(';') {
        let Some((name, value)) = pair.trim().split_once('=') else { continue };
        let value = Some(value.trim().trim_matches('"'));
        match name.trim() {
            name if name.eq_ignore_ascii_case("for") => hop.address = value,
            name if name.eq_ignore_ascii_case("proto") => hop.proto = value,
            name if name.eq_ignore_ascii_case("host") => hop.host = value,
            _ => {}
        }
    }
    hop
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn parse_node(node: &str) -> Option<IpAddr> {
    let unbracketed = node.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(node);
    let address = unbracketed
        .parse::<IpAddr>()
        .or_else(|_| node.parse::<SocketAddr>().map(|address| address.ip()))
        .ok()?;
    Some(address.to_canonical())
}

fn is_proto(text: &str) -> bool {
    matches!(text, "http" | "https")
}

/// A host name or address with an optional port, and nothing that could make it something else.
fn is_host(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']'))
}

#[cfg(test)]
mod tests {
    use super::super::serving::Registries;
    use super::*;
    use crate::config::ServerConfig;
    use crate::server::authenticate::usage::Usage;

    #[track_caller]
    fn client(peer: &str, headers: &[(&str, &str)]) -> String {
        let config = ServerConfig {
            endpoint: "identity/main".to_owned(),
            host: None,
            allowed_cidrs: Vec::new(),
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            tenants: Vec::new(),
            removed: None,
        };
        let serving = Serving::compile(&config, &mut Registries::default(), &Usage::default(), None);
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let peer = Peer {
            remote: SocketAddr::new(peer.parse().unwrap(), 1),
            local: "127.0.0.1:8080".parse().unwrap(),
            tls: false,
        };
        let Client { address, proto, host } = Client::of(&serving, &headers, peer);
        format!("{address} {} {}", proto.unwrap_or("-"), host.unwrap_or("-"))
    }

    #[test]
    fn forwarded_headers_count_as_far_as_trusted_proxies_reach() {
        let all = [
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "scim.example.com"),
        ];
        assert_eq!(client("192.0.2.1", &all), "192.0.2.1 - -");
        assert_eq!(client("10.0.0.1", &all), "203.0.113.9 https scim.example.com");
        assert_eq!(client("::ffff:10.0.0.1", &all), "203.0.113.9 https scim.example.com");
        assert_eq!(
            client("10.0.0.1", &[("x-forwarded-for", "1.2.3.4, 203.0.113.9, 10.0.0.7")]),
            "203.0.113.9 - -"
        );
        assert_eq!(
            client(
                "10.0.0.1",
                &[(
                    "forwarded",
                    "for=6.6.6.6;host=evil, for=203.0.113.9;proto=https;host=good, for=10.0.0.7;host=inner"
                )]
            ),
            "203.0.113.9 https good"
        );
        assert_eq!(
            client("10.0.0.1", &[("forwarded", "for=\"[2001:db8::1]:4711\";proto=https;host=\"a:8443\"")]),
            "2001:db8::1 https a:8443"
        );
        assert_eq!(client("10.0.0.1", &[("forwarded", "for=unknown")]), "10.0.0.1 - -");
        assert_eq!(
            client("10.0.0.1", &[("x-forwarded-host", "a/b"), ("x-forwarded-proto", "gopher")]),
            "10.0.0.1 - -"
        );
    }
}
