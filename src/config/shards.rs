//! [`ServerConfig`] as a controller writes it and pods read it: a head and up to [`SHARDS`] shards of tenants.
//!
//! The head has what is the endpoint's, and the SHA-256 digest of every shard. A tenant's shard follows from its key
//! alone, so a change of one tenant rewrites one shard and the head: kilobytes, whatever the number of tenants. Equal
//! configurations are equal bytes. A writer writes the shards first and then the head; a reader that finds a shard
//! which is not the one the head speaks of waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _, Write as _};
use std::sync::Arc;

use flate2::{Compression, GzBuilder, read::GzDecoder};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{ServerConfig, TenantConfig, digest::sha256_hex};

/// How many shards the tenants are spread over. With 10,000 tenants a shard is a tenth of what a Secret can hold.
pub const SHARDS: u8 = 16;

/// The version of this format. A reader refuses a later one; what a reader may safely pass over does not raise it.
pub const FORMAT: u32 = 1;

/// The key of the head, in its Secret and as a mounted file.
pub const HEAD_KEY: &str = "config.json";

/// The key of a shard in its Secret.
pub const SHARD_KEY: &str = "tenants.json.gz";

/// Bytes of a shard at most when it is unpacked: a Secret holds 1 MiB, and text shrinks to a tenth.
const MAX_UNPACKED: u64 = 64 << 20;

/// A configuration as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// SHA-256 of the head, in hexadecimal: it tells configurations apart.
    pub digest: String,
    /// The head: JSON.
    pub head: Vec<u8>,
    /// The shards that are not empty: gzipped JSON.
    pub shards: BTreeMap<u8, Vec<u8>>,
}

/// What a head says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    /// `NAMESPACE/NAME` of the `ScimEndpoint`.
    pub endpoint: String,
    /// [`ServerConfig::host`].
    pub host: Option<String>,
    /// [`ServerConfig::allowed_cidrs`].
    pub allowed_cidrs: Vec<IpNet>,
    /// [`ServerConfig::trusted_proxies`].
    pub trusted_proxies: Vec<IpNet>,
    /// [`ServerConfig::removed`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<BTreeSet<String>>,
    /// The SHA-256 digest of each shard that is not empty, in hexadecimal.
    pub shards: BTreeMap<u8, String>,
}

/// Why bytes are not a configuration.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The head cannot be read.
    #[error("{HEAD_KEY} is not a configuration: {0}")]
    Head(serde_json::Error),
    /// The head is of a later version.
    #[error("{HEAD_KEY} has format {0}, and this version reads up to {FORMAT}: update this server")]
    Format(u32),
    /// A shard cannot be read.
    #[error("shard {shard:02} holds no tenants: {error}")]
    Shard {
        /// Which.
        shard: u8,
        /// Why.
        error: io::Error,
    },
    /// The head speaks of a shard that is not there.
    #[error("shard {0:02} is not there yet")]
    Missing(u8),
    /// A shard is older or newer than the head.
    #[error("shard {0:02} is not the one of this {HEAD_KEY} yet")]
    Mismatch(u8),
}

impl DecodeError {
    /// Whether it goes by itself, as it does while a writer is half-way.
    #[must_use]
    pub fn is_half_written(&self) -> bool {
        matches!(self, Self::Missing(_) | Self::Mismatch(_))
    }
}

/// The shard of a tenant, by its key `NAMESPACE/NAME`.
#[must_use]
pub fn shard_of(tenant: &str) -> u8 {
    Sha256::digest(tenant.as_bytes())[0] % SHARDS
}

/// The name of a shard's mounted file.
#[must_use]
pub fn shard_file(shard: u8) -> String {
    format!("tenants-{shard:02}.json.gz")
}

/// Writes a configuration down.
#[must_use]
pub fn encode(config: &ServerConfig) -> Encoded {
    Encoder::default().encode(config)
}

/// Writes one configuration after the other, and a shard of the same tenants only once.
#[derive(Debug, Default)]
pub struct Encoder {
    shards: BTreeMap<u8, (Vec<Arc<TenantConfig>>, Vec<u8>)>,
}

impl Encoder {
    /// As [`encode`].
    pub fn encode(&mut self, config: &ServerConfig) -> Encoded {
        let ServerConfig { endpoint, host, allowed_cidrs, trusted_proxies, tenants, removed } = config;
        let mut by_shard: BTreeMap<u8, Vec<Arc<TenantConfig>>> = BTreeMap::new();
        for tenant in tenants {
            by_shard.entry(shard_of(&tenant.name)).or_default().push(Arc::clone(tenant));
        }
        self.shards.retain(|shard, _| by_shard.contains_key(shard));
        for (shard, mut tenants) in by_shard {
            tenants.sort_by(|a, b| a.name.cmp(&b.name));
            let before = self.shards.get(&shard);
            let is_same = before.is_some_and(|(before, _)| {
                before.len() == tenants.len() && before.iter().zip(&tenants).all(|(a, b)| Arc::ptr_eq(a, b))
            });
            if !is_same {
                let bytes = pack(&json(&tenants));
                self.shards.insert(shard, (tenants, bytes));
            }
        }
        let digests = self.shards.iter().map(|(shard, (_, bytes))| (*shard, sha256_hex(bytes)));
        let head = json(&Head {
            format: FORMAT,
            endpoint: endpoint.clone(),
            host: host.clone(),
            allowed_cidrs: allowed_cidrs.clone(),
            trusted_proxies: trusted_proxies.clone(),
            removed: removed.clone(),
            shards: digests.collect(),
        });
        let shards = self.shards.iter().map(|(shard, (_, bytes))| (*shard, bytes.clone())).collect();
        Encoded { digest: sha256_hex(&head), head, shards }
    }
}

/// Reads a whole configuration.
pub fn decode(encoded: &Encoded) -> Result<ServerConfig, DecodeError> {
    let head = decode_head(&encoded.head)?;
    let mut tenants = Vec::new();
    for (shard, digest) in &head.shards {
        let bytes = encoded.shards.get(shard).ok_or(DecodeError::Missing(*shard))?;
        tenants.extend(decode_shard_of(*shard, digest, bytes)?);
    }
    Ok(head.with(tenants))
}

/// Reads a head.
pub fn decode_head(bytes: &[u8]) -> Result<Head, DecodeError> {
    /// Comes first: what a later format means by the other fields is not known.
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let Version { format } = serde_json::from_slice(bytes).map_err(DecodeError::Head)?;
    if format > FORMAT {
        return Err(DecodeError::Format(format));
    }
    serde_json::from_slice(bytes).map_err(DecodeError::Head)
}

/// Reads the shard of which a head says that it has this digest.
pub fn decode_shard_of(shard: u8, digest: &str, bytes: &[u8]) -> Result<Vec<Arc<TenantConfig>>, DecodeError> {
    if sha256_hex(bytes) != digest {
        return Err(DecodeError::Mismatch(shard));
    }
    decode_shard(bytes).map_err(|error| DecodeError::Shard { shard, error })
}

/// Reads a shard's tenants, in order of their names.
pub fn decode_shard(bytes: &[u8]) -> io::Result<Vec<Arc<TenantConfig>>> {
    let mut json = Vec::new();
    GzDecoder::new(bytes).take(MAX_UNPACKED).read_to_end(&mut json)?;
    serde_json::from_slice(&json).map_err(io::Error::from)
}

impl Head {
    /// The configuration of this head and all tenants of its shards, in any order.
    #[must_use]
    pub fn with(self, tenants: Vec<Arc<TenantConfig>>) -> ServerConfig {
        let Self { format: _, endpoint, host, allowed_cidrs, trusted_proxies, removed, shards: _ } = self;
        ServerConfig { endpoint, host, allowed_cidrs, trusted_proxies, tenants: Vec::new(), removed }
            .with(tenants)
    }
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("a configuration has text keys only and writing to memory cannot fail")
}

/// Compresses without a time or a name, so that equal text is equal bytes.
fn pack(text: &[u8]) -> Vec<u8> {
    let mut packed = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
    packed.write_all(text).and_then(|()| packed.finish()).expect("writing to memory cannot fail")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::{Audit, Lifecycle, Limits, Membership, Scopes, TokenDigest};
    use crate::scim::{dialect::Dialect, schema::CustomSchemas};

    /// What a Secret holds at most, all its values together, before base64.
    const SECRET_LIMIT: usize = 1 << 20;

    fn tenant(namespace: &str, name: &str) -> TenantConfig {
        TenantConfig {
            name: format!("{namespace}/{name}"),
            path: name.to_owned(),
            identity_provider: Dialect::Okta,
            tokens: vec![TokenDigest {
                name: "token".to_owned(),
                // A digest does not compress.
                sha256: sha256_hex(name),
                scopes: Scopes::ALL,
                not_before: None,
                expires_at: None,
                replaced_at: None,
            }],
            schemas: CustomSchemas::default(),
            oauth2: None,
            limits: Limits::default(),
            suspended: false,
            purge_on_removal: false,
            lifecycle: Lifecycle::default(),
            membership: Membership::default(),
            audit: Audit::default(),
        }
    }

    fn config(tenants: impl IntoIterator<Item = TenantConfig>) -> ServerConfig {
        let mut tenants: Vec<_> = tenants.into_iter().map(Arc::new).collect();
        tenants.sort_by(|a, b| a.path.cmp(&b.path));
        ServerConfig {
            endpoint: "identity/main".to_owned(),
            host: Some("scim.example.com".to_owned()),
            allowed_cidrs: vec!["203.0.113.0/24".parse().unwrap()],
            trusted_proxies: vec!["2001:db8::/32".parse().unwrap()],
            tenants,
            removed: Some(["customers/gone".to_owned()].into()),
        }
    }

    fn many(count: usize) -> ServerConfig {
        config((0..count).map(|n| tenant("customers", &format!("customer-{n:05}"))))
    }

    #[test]
    fn head_is_readable_and_says_which_shards_there_are() {
        let encoded = encode(&config([tenant("identity", "acme")]));
        let head = String::from_utf8(encoded.head).unwrap();
        let digest = sha256_hex(&encoded.shards[&14]);
        insta::assert_snapshot!(head.replace(&digest, "DIGEST"), @r#"
        {"format":1,"endpoint":"identity/main","host":"scim.example.com","allowedCidrs":["203.0.113.0/24"],"trustedProxies":["2001:db8::/32"],"removed":["customers/gone"],"shards":{"14":"DIGEST"}}
        "#);
    }

    #[test]
    fn ten_thousand_tenants_fit_and_one_change_is_one_shard_and_the_head() {
        let before = many(10_000);
        let encoded = encode(&before);
        assert_eq!(encoded.shards.len(), usize::from(SHARDS));
        let largest = encoded.shards.values().map(Vec::len).max().unwrap();
        assert!(largest < SECRET_LIMIT / 8, "the largest shard has {largest} bytes");
        assert!(encoded.head.len() < 4096, "the head has {} bytes", encoded.head.len());

        let mut after = before.clone();
        Arc::make_mut(&mut after.tenants[1234]).suspended = true;
        let changed = encode(&after);
        assert_ne!(changed.digest, encoded.digest);
        let rewritten: Vec<_> =
            changed.shards.iter().filter(|(shard, bytes)| encoded.shards[*shard] != **bytes).collect();
        assert_eq!(rewritten.len(), 1);
        assert_eq!(*rewritten[0].0, shard_of("customers/customer-01234"));
        assert_eq!(decode(&changed).unwrap(), after);
    }

    #[test]
    fn encoder_that_wrote_before_writes_the_same() {
        let mut encoder = Encoder::default();
        let mut config = many(100);
        assert_eq!(encoder.encode(&config), encode(&config));
        Arc::make_mut(&mut config.tenants[7]).suspended = true;
        config.tenants.remove(50);
        assert_eq!(encoder.encode(&config), encode(&config));
        config.tenants.truncate(1);
        assert_eq!(encoder.encode(&config), encode(&config));
    }

    #[test]
    fn empty_configuration_has_no_shards() {
        let encoded = encode(&config([]));
        assert_eq!(encoded.shards.len(), 0);
        assert_eq!(decode(&encoded).unwrap(), config([]));
    }

    #[test]
    fn field_of_a_newer_controller_is_passed_over_and_a_newer_format_is_refused() {
        let config = config([tenant("identity", "acme")]);
        let Encoded { head, mut shards, .. } = encode(&config);
        let mut tenants: serde_json::Value = serde_json::to_value(&config.tenants).unwrap();
        tenants[0]["limits"]["maxFilterNodes"] = 9.into();
        tenants[0]["mappings"] = serde_json::json!([{"from": "a"}]);
        let shard = shard_of("identity/acme");
        shards.insert(shard, pack(tenants.to_string().as_bytes()));
        let mut newer: serde_json::Value = serde_json::from_slice(&head).unwrap();
        newer["requestsPerSecond"] = 50.into();
        newer["shards"][shard.to_string()] = sha256_hex(&shards[&shard]).into();
        let read = |newer: &serde_json::Value| {
            let head = newer.to_string().into_bytes();
            decode(&Encoded { digest: String::new(), head, shards: shards.clone() })
        };
        assert_eq!(read(&newer).unwrap(), config);
        newer["format"] = 2.into();
        insta::assert_snapshot!(read(&newer).unwrap_err(), @"config.json has format 2, and this version reads up to 1: update this server");
    }

    #[test]
    fn shard_that_is_not_that_of_the_head_is_half_written_and_broken_bytes_are_not() {
        let good = encode(&config([tenant("identity", "acme")]));
        let shard = shard_of("identity/acme");
        let other = encode(&config([tenant("identity", "acme"), tenant("identity", "acme-2")]));

        let mut early = good.clone();
        early.shards.insert(shard, other.shards[&shard_of("identity/acme-2")][1..].to_vec());
        let error = decode(&early).unwrap_err();
        assert!(error.is_half_written());
        insta::assert_snapshot!(error, @"shard 14 is not the one of this config.json yet");

        let mut missing = good.clone();
        missing.shards.clear();
        let error = decode(&missing).unwrap_err();
        assert!(error.is_half_written());
        insta::assert_snapshot!(error, @"shard 14 is not there yet");

        let error = decode_shard_of(shard, &sha256_hex("[{}"), b"[{}").unwrap_err();
        assert!(!error.is_half_written());
        insta::assert_snapshot!(error, @"shard 14 holds no tenants: unexpected end of file");

        let error = decode(&Encoded { head: b"{".to_vec(), ..good }).unwrap_err();
        assert!(!error.is_half_written());
        insta::assert_snapshot!(error, @"config.json is not a configuration: EOF while parsing an object at line 1 column 1");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn every_configuration_comes_back_and_order_does_not_matter(
            names in prop::collection::btree_set("[a-z0-9]{1,8}", 0..40),
            host in prop::option::of("[a-z]{1,9}[.]example"),
            suspended: bool,
            retention_seconds in prop::option::of(any::<u64>()),
            identity_provider in prop::sample::select(vec![Dialect::Strict, Dialect::EntraID, Dialect::Keycloak]),
        ) {
            let mut config = config(names.iter().map(|name| TenantConfig {
                suspended,
                identity_provider,
                lifecycle: Lifecycle { retention_seconds, ..Lifecycle::default() },
                ..tenant("identity", name)
            }));
            config.host = host;
            let encoded = encode(&config);
            prop_assert_eq!(&decode(&encoded).unwrap(), &config);
            config.tenants.reverse();
            prop_assert_eq!(encode(&config), encoded);
        }
    }
}
