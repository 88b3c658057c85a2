//! The access tokens that we give to a tenant's own clients: opaque to everyone else.
//!
//! A token is `sco_` and base64url of `version, expiry, scopes, credential, nonce, tag`; the tag is HMAC-SHA256 under
//! the store's key, so that every server on the same store verifies what another made. HMAC and not a signature,
//! because nobody but these servers ever verifies one: there is no public key to publish, no algorithm in a header to
//! argue about, and verifying costs a microsecond. (That issuers may not use HMAC is about keys which are shared with
//! somebody.) It is no JWT, so that it can never be taken for one of an issuer's.
//!
//! The tag covers the tenant, so that one tenant's token is none at another, and the token names the credential (the
//! secret or the public keys) it was given for: when that leaves the configuration, the token ends.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac};
use sha2::{Digest, Sha256};

use crate::config::{Scope, Scopes};

/// How a token begins: people and scanners for secrets tell what it is.
pub const PREFIX: &str = "sco_";

const FORMAT: u8 = 1;
const TAG_LENGTH: usize = 32;
const NONCE_LENGTH: usize = 12;

/// What stands for a credential: 16 bytes of a digest.
pub type CredentialId = [u8; 16];

/// What a token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessToken {
    /// Unix time in seconds from which it is good no more.
    pub expires_at: u64,
    /// What it may do.
    pub scopes: Scopes,
    /// What its client proved itself with.
    pub credential: CredentialId,
}

/// The id of a client's credential.
#[must_use]
pub fn credential_id(client_id: &str, credential: &[u8]) -> CredentialId {
    let digest = Sha256::new()
        .chain_update((client_id.len() as u64).to_be_bytes())
        .chain_update(client_id)
        .chain_update(credential)
        .finalize();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    id
}

/// The text of a token for a tenant; `nonce` makes it differ from others of the same second.
#[must_use]
pub fn encode(key: &[u8; 32], tenant: &str, token: &AccessToken, nonce: [u8; NONCE_LENGTH]) -> String {
    let AccessToken { expires_at, scopes, credential } = token;
    let mut bytes = vec![FORMAT];
    bytes.extend_from_slice(&expires_at.to_be_bytes());
    bytes.push(
        Scope::ALL.iter().zip(0..).fold(
            0,
            |bits, (scope, at)| {
                if scopes.contains(*scope) { bits | 1 << at } else { bits }
            },
        ),
    );
    bytes.extend_from_slice(credential);
    bytes.extend_from_slice(&nonce);
    let tag = mac(key, tenant, &bytes).finalize().into_bytes();
    bytes.extend_from_slice(&tag);
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// The token in a text; `None` when it was not made for this tenant. Whether it has expired is not looked at.
#[must_use]
pub fn decode(key: &[u8; 32], tenant: &str, text: &str) -> Option<AccessToken> {
    let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
    let (signed, tag) = bytes.split_at_checked(bytes.len().checked_sub(TAG_LENGTH)?)?;
    mac(key, tenant, signed).verify_slice(tag).ok()?;
    let (&[FORMAT], rest) = signed.split_first_chunk::<1>()? else { return None };
    let (expires_at, rest) = rest.split_first_chunk::<8>()?;
    let (&[bits], rest) = rest.split_first_chunk::<1>()?;
    let (credential, nonce) = rest.split_first_chunk::<16>()?;
    let scopes = Scope::ALL.into_iter().zip(0..).filter(|(_, at)| bits & (1 << at) != 0);
    (nonce.len() == NONCE_LENGTH).then(|| AccessToken {
        expires_at: u64::from_be_bytes(*expires_at),
        scopes: scopes.map(|(scope, _)| scope).collect(),
        credential: *credential,
    })
}

fn mac(key: &[u8; 32], tenant: &str, bytes: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    // No other use of the key begins so, and the length keeps tenant and content apart.
    mac.update(b"scim-operator access token\0");
    mac.update(&(tenant.len() as u64).to_be_bytes());
    mac.update(tenant.as_bytes());
    mac.update(bytes);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: [u8; 32] = [7; 32];

    fn token() -> AccessToken {
        AccessToken {
            expires_at: 1_900_000_000,
            scopes: Scopes::ALL,
            credential: credential_id("c", b"digest"),
        }
    }

    #[test]
    fn token_of_a_tenant_is_read_back() {
        for scopes in [Scopes::ALL, Scopes::NONE, [Scope::Read].into_iter().collect()] {
            let token = AccessToken { scopes, ..token() };
            assert_eq!(decode(&KEY, "ns/acme", &encode(&KEY, "ns/acme", &token, [1; 12])), Some(token));
        }
    }

    #[test]
    fn token_of_another_tenant_or_store_is_none() {
        let text = encode(&KEY, "ns/acme", &token(), [1; 12]);
        assert_eq!(decode(&KEY, "ns/globex", &text), None);
        assert_eq!(decode(&[8; 32], "ns/acme", &text), None);
        assert_eq!(decode(&KEY, "ns/acme", text.strip_prefix(PREFIX).unwrap()), None);
    }

    #[test]
    fn token_with_any_changed_character_is_none() {
        let text = encode(&KEY, "ns/acme", &token(), [1; 12]);
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(decode(&KEY, "ns/acme", std::str::from_utf8(&changed).unwrap()), None, "at {at}");
        }
    }

    #[test]
    fn credential_of_another_client_has_another_id() {
        assert_ne!(credential_id("a", b"bc"), credential_id("ab", b"c"));
    }

    proptest! {
        #[test]
        fn any_text_as_token_is_none(text in "(sco_)?[A-Za-z0-9_-]{0,200}") {
            prop_assert_eq!(decode(&KEY, "ns/acme", &text), None);
        }
    }
}
