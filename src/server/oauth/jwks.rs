//! Published keys (RFC 7517): which of them may verify a signature, and which one verifies a given token.
//!
//! A key is bound to its type: RSA verifies `RS*` and `PS*`, P-256 `ES256`, P-384 `ES384`, Ed25519 `EdDSA`, and a key
//! that names its `alg` verifies only that (RFC 8725 section 3.1). What cannot verify (encryption keys, symmetric
//! keys, RSA below 2048 bits, unknown curves) is passed over, not an error: issuers publish such keys beside the others.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::config::oauth2::Algorithm;

use super::jose::Jws;
use super::rejection::Rejection;

/// Keys at most; more are passed over.
const MAX_KEYS: usize = 100;

/// Bytes of the smallest and the largest RSA modulus: 2048 bits (RFC 7518 section 3.3), and what verifies in a
/// millisecond.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// What a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// A public key that may verify signatures.
#[derive(Debug, Clone)]
pub struct Key {
    id: Option<String>,
    kind: Kind,
    algorithm: Option<Algorithm>,
    public: DecodingKey,
    /// SHA-256 of what the key is made of: the same key under another `kid` has the same.
    pub fingerprint: [u8; 32],
}

/// The keys of one issuer or client.
#[derive(Debug, Clone, Default)]
pub struct KeySet(Vec<Key>);

impl KeySet {
    /// Reads a JWK Set; `None` when it is none.
    #[must_use]
    pub fn parse(document: &[u8]) -> Option<Self> {
        let document: Value = serde_json::from_slice(document).ok()?;
        let keys = document.get("keys")?.as_array()?;
        Some(Self::of(keys.iter()))
    }

    /// The keys among these JWKs that may verify a signature.
    pub fn of<'a>(keys: impl Iterator<Item = &'a Value>) -> Self {
        Self(keys.filter_map(Key::parse).take(MAX_KEYS).collect())
    }

    /// Whether there is no usable key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many usable keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the key with this fingerprint is still among them.
    #[must_use]
    pub fn has(&self, fingerprint: &[u8; 32]) -> bool {
        self.0.iter().any(|key| key.fingerprint == *fingerprint)
    }

    /// The one key that may have signed a token. A token that names none is taken only when a single key fits: trying
    /// one after the other would let a stranger choose how much work we do.
    pub fn find(&self, jws: &Jws<'_>) -> Result<&Key, Rejection> {
        let mut fitting = self.0.iter().filter(|key| key.verifies(jws.algorithm));
        match &jws.key_id {
            Some(id) => fitting.find(|key| key.id.as_ref() == Some(id)).ok_or(Rejection::UnknownKey),
            None => match (fitting.next(), fitting.next()) {
                (Some(key), None) => Ok(key),
                (None, _) => Err(Rejection::UnknownKey),
                (Some(_), Some(_)) => Err(Rejection::AmbiguousKey),
            },
        }
    }
}

impl Key {
    /// A JWK; `None` when it cannot verify signatures of ours.
    #[must_use]
    pub fn parse(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?.trim_end_matches('=')).ok();
        if text("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        if let Some(operations) = jwk.get("key_ops").and_then(Value::as_array)
            && !operations.iter().any(|operation| operation == "verify")
        {
            return None;
        }
        let algorithm = match text("alg") {
            Some(name) => Some(Algorithm::from_name(name)?),
            None => None,
        };
        let (kind, key, material) = match (text("kty")?, text("crv")) {
            ("RSA", _) => {
                let (modulus, exponent) = (bytes("n")?, bytes("e")?);
                let leading = modulus.iter().take_while(|byte| **byte == 0).count();
                let modulus = &modulus[leading..];
                let leading = exponent.iter().take_while(|byte| **byte == 0).count();
                let exponent = &exponent[leading..];
                // An exponent of 1 would make every message its own signature.
                let odd_and_more_than_one =
                    exponent.last().is_some_and(|byte| byte % 2 == 1) && exponent != [1];
                if !RSA_BYTES.contains(&modulus.len()) || exponent.len() > 8 || !odd_and_more_than_one {
                    return None;
                }
                let key = DecodingKey::from_rsa_raw_components(modulus, exponent);
                (Kind::Rsa, key, [modulus, exponent].concat())
            }
            ("EC", Some(curve)) => {
                let (kind, length) = match curve {
                    "P-256" => (Kind::P256, 32),
                    "P-384" => (Kind::P384, 48),
                    _ => return None,
                };
                let point = [bytes("x")?, bytes("y")?];
                if point.iter().any(|coordinate| coordinate.len() != length) {
                    return None;
                }
                let [x, y] = &point;
                let key =
                    DecodingKey::from_ec_components(&URL_SAFE_NO_PAD.encode(x), &URL_SAFE_NO_PAD.encode(y));
                (kind, key.ok()?, point.concat())
            }
            ("OKP", Some("Ed25519")) => {
                let x = bytes("x").filter(|x| x.len() == 32)?;
                (Kind::Ed25519, DecodingKey::from_ed_components(&URL_SAFE_NO_PAD.encode(&x)).ok()?, x)
            }
            _ => return None,
        };
        let key = Self {
            id: text("kid").map(str::to_owned),
            kind,
            algorithm,
            public: key,
            fingerprint: Sha256::new().chain_update([kind as u8]).chain_update(material).finalize().into(),
        };
        algorithm.is_none_or(|algorithm| key.verifies(algorithm)).then_some(key)
    }

    /// Whether it is a key for this algorithm.
    fn verifies(&self, algorithm: Algorithm) -> bool {
        let kind = match algorithm {
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512 => Kind::Rsa,
            Algorithm::ES256 => Kind::P256,
            Algorithm::ES384 => Kind::P384,
            Algorithm::EdDSA => Kind::Ed25519,
        };
        kind == self.kind && self.algorithm.is_none_or(|own| own == algorithm)
    }

    /// Verifies a token's signature.
    pub fn verify(&self, jws: &Jws<'_>) -> Result<(), Rejection> {
        let algorithm = signature_algorithm(jws.algorithm);
        match jsonwebtoken::crypto::verify(jws.signature, jws.signed, &self.public, algorithm) {
            Ok(true) if self.verifies(jws.algorithm) => Ok(()),
            _ => Err(Rejection::Signature),
        }
    }
}

fn signature_algorithm(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::RS256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::RS384 => jsonwebtoken::Algorithm::RS384,
        Algorithm::RS512 => jsonwebtoken::Algorithm::RS512,
        Algorithm::PS256 => jsonwebtoken::Algorithm::PS256,
        Algorithm::PS384 => jsonwebtoken::Algorithm::PS384,
        Algorithm::PS512 => jsonwebtoken::Algorithm::PS512,
        Algorithm::ES256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::ES384 => jsonwebtoken::Algorithm::ES384,
        Algorithm::EdDSA => jsonwebtoken::Algorithm::EdDSA,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The coordinates of RFC 7515 appendix A.3.1.
    fn p256() -> Value {
        json!({
            "kty": "EC", "crv": "P-256", "kid": "a",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        })
    }

    fn rsa(bytes: usize) -> Value {
        json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode(vec![0xc1; bytes]), "e": "AQAB"})
    }

    fn with(mut key: Value, name: &str, value: Value) -> Value {
        key[name] = value;
        key
    }

    fn usable(key: &Value) -> bool {
        Key::parse(key).is_some()
    }

    #[test]
    fn keys_that_can_verify_are_taken() {
        for key in [
            p256(),
            with(p256(), "alg", json!("ES256")),
            with(p256(), "use", json!("sig")),
            with(p256(), "key_ops", json!(["verify"])),
            rsa(256),
            rsa(512),
            with(rsa(256), "e", json!("Aw")),
            json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
        ] {
            assert!(usable(&key), "{key}");
        }
    }

    #[test]
    fn keys_that_cannot_verify_are_passed_over() {
        for key in [
            with(p256(), "use", json!("enc")),
            with(p256(), "key_ops", json!(["sign"])),
            with(p256(), "alg", json!("ES384")),
            with(p256(), "alg", json!("HS256")),
            with(p256(), "alg", json!("none")),
            with(p256(), "crv", json!("secp256k1")),
            with(p256(), "crv", json!("P-384")),
            with(p256(), "x", json!("AA")),
            with(p256(), "y", json!(null)),
            json!({"kty": "oct", "k": "c2VjcmV0"}),
            json!({"kty": "OKP", "crv": "Ed448", "x": "AA"}),
            json!({"kty": "OKP", "crv": "X25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
            rsa(255),
            rsa(1025),
            with(rsa(256), "e", json!("AQ")),
            with(rsa(256), "e", json!("AA")),
            with(rsa(256), "e", json!("Ag")),
            with(rsa(256), "e", json!("")),
            with(rsa(256), "n", json!("not base64!")),
            json!({}),
            json!(null),
            json!("RSA"),
        ] {
            assert!(!usable(&key), "{key}");
        }
        let padded = [vec![0; 100], vec![0xc1; 200]].concat();
        assert!(
            !usable(&with(rsa(256), "n", json!(URL_SAFE_NO_PAD.encode(padded)))),
            "zeros are no strength"
        );
    }

    #[test]
    fn documents_that_are_no_set_are_refused() {
        for text in ["", "[]", "{}", r#"{"keys": {}}"#, r#"{"keys": "x"}"#] {
            assert!(KeySet::parse(text.as_bytes()).is_none(), "{text}");
        }
        assert!(KeySet::parse(br#"{"keys": []}"#).unwrap().is_empty());
        let many: Vec<Value> = (0..1000).map(|_| p256()).collect();
        assert_eq!(KeySet::of(many.iter()).len(), MAX_KEYS);
    }

    fn token(header: &Value) -> String {
        format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(header.to_string()))
    }

    #[test]
    fn key_is_found_by_id_and_kind_or_when_it_is_the_only_one() {
        let find = |keys: &[Value], header: Value| {
            let (keys, token) = (KeySet::of(keys.iter()), token(&header));
            let jws = super::super::jose::parse(&token, &[]).unwrap();
            keys.find(&jws).map(|key| key.id.clone())
        };
        let (a, b) = (p256(), with(p256(), "kid", json!("b")));
        let es256 = json!({"alg": "ES256"});
        let named = |id: &str| json!({"alg": "ES256", "kid": id});
        assert_eq!(find(&[a.clone(), b.clone()], named("b")), Ok(Some("b".into())));
        assert_eq!(find(&[a.clone(), b.clone()], named("c")), Err(Rejection::UnknownKey));
        assert_eq!(find(&[a.clone(), b], es256.clone()), Err(Rejection::AmbiguousKey));
        assert_eq!(find(&[a.clone(), rsa(256)], es256), Ok(Some("a".into())));
        let confused = json!({"alg": "RS256", "kid": "a"});
        assert_eq!(find(&[a], confused), Err(Rejection::UnknownKey), "a key is for its own kind");
    }
}
