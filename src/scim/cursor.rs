//! Cursors of RFC 9865: where a page ended, signed so that no client can make or change one.
//!
//! A token is base64url of `version, issued at, query digest, position, tag`; the tag is HMAC-SHA256
//! under the store's key. The digest binds it to one tenant, endpoint, filter and order
//! ([`super::list::ListRequest::digest`]), so that a cursor of one query never pages through another.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac};
use sha2::Sha256;

use super::error::{ScimError, ScimType};

/// Where a page ended: enough to find what comes next, whatever was added or removed meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The sort key of the last resource; `None` when the query is not sorted or it had no value.
    pub sort_key: Option<String>,
    /// Name of the last resource's type.
    pub resource_type: String,
    /// The last resource's id.
    pub id: String,
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Where to go on.
    pub position: Position,
    /// Of the query it was made for.
    pub query_digest: [u8; 8],
    /// Unix time in seconds.
    pub issued_at: u64,
}

const FORMAT: u8 = 1;
const TAG_LENGTH: usize = 16;
/// Longer text is refused before it is decoded.
const MAX_TOKEN_LENGTH: usize = 16 * 1024;

/// The token for a cursor.
#[must_use]
pub fn encode(key: &[u8; 32], cursor: &Cursor) -> String {
    let Cursor { position: Position { sort_key, resource_type, id }, query_digest, issued_at } = cursor;
    let mut bytes = vec![FORMAT];
    bytes.extend_from_slice(&issued_at.to_be_bytes());
    bytes.extend_from_slice(query_digest);
    bytes.push(u8::from(sort_key.is_some()));
    for text in [sort_key.as_deref().unwrap_or_default(), resource_type, id] {
        bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    let tag = mac(key, &bytes).finalize().into_bytes();
    bytes.extend_from_slice(&tag[..TAG_LENGTH]);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The cursor in a token: `invalidCursor` when it is not one of ours or was made for another query,
/// `expiredCursor` when it is more than `max_age` seconds old at `now`.
pub fn decode(
    key: &[u8; 32],
    text: &str,
    query_digest: [u8; 8],
    now: u64,
    max_age: u64,
) -> Result<Cursor, ScimError> {
    let cursor = open(key, text).ok_or_else(|| {
        ScimError::bad_request(
            ScimType::InvalidCursor,
            "cursor is not one that this server issued; begin again with an empty cursor",
        )
    })?;
    if cursor.query_digest != query_digest {
        return Err(ScimError::bad_request(
            ScimType::InvalidCursor,
            "cursor was issued for another query; keep filter, sortBy and sortOrder the same from page to page",
        ));
    }
    if now.saturating_sub(cursor.issued_at) > max_age {
        return Err(ScimError::bad_request(
            ScimType::ExpiredCursor,
            format!("cursor is more than {max_age} seconds old; begin again with an empty cursor"),
        ));
    }
    Ok(cursor)
}

fn mac(key: &[u8; 32], bytes: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(b"scim-operator cursor\0");
    mac.update(bytes);
    mac
}

fn open(key: &[u8; 32], text: &str) -> Option<Cursor> {
    if text.len() > MAX_TOKEN_LENGTH {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (signed, tag) = bytes.split_at_checked(bytes.len().checked_sub(TAG_LENGTH)?)?;
    mac(key, signed).verify_truncated_left(tag).ok()?;
    let (&[FORMAT], rest) = signed.split_first_chunk::<1>()? else { return None };
    let (issued_at, rest) = rest.split_first_chunk::<8>()?;
    let (query_digest, rest) = rest.split_first_chunk::<8>()?;
    let (&[sorted], mut rest) = rest.split_first_chunk::<1>()?;
    let mut text = || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (text, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        rest = after;
        String::from_utf8(text.to_vec()).ok()
    };
    let (sort_key, resource_type, id) = (text()?, text()?, text()?);
    let position = Position { sort_key: (sorted == 1).then_some(sort_key), resource_type, id };
    rest.is_empty().then_some(Cursor {
        position,
        query_digest: *query_digest,
        issued_at: u64::from_be_bytes(*issued_at),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: [u8; 32] = [7; 32];
    const DIGEST: [u8; 8] = *b"querydig";

    fn cursor() -> Cursor {
        Cursor {
            position: Position {
                sort_key: Some("bjensen".into()),
                resource_type: "User".into(),
                id: "1".into(),
            },
            query_digest: DIGEST,
            issued_at: 1_000,
        }
    }

    #[test]
    fn token_decoded_in_time_is_the_cursor() {
        let token = encode(&KEY, &cursor());
        assert_eq!(decode(&KEY, &token, DIGEST, 1_600, 600), Ok(cursor()));
        let unsorted = Cursor { position: Position { sort_key: None, ..cursor().position }, ..cursor() };
        assert_eq!(decode(&KEY, &encode(&KEY, &unsorted), DIGEST, 0, 600), Ok(unsorted));
    }

    #[test]
    fn token_too_old_is_expired() {
        let error = decode(&KEY, &encode(&KEY, &cursor()), DIGEST, 1_601, 600).unwrap_err();
        assert_eq!((error.status, error.scim_type), (400, Some(ScimType::ExpiredCursor)));
    }

    #[test]
    fn token_of_another_query_or_key_is_invalid() {
        let token = encode(&KEY, &cursor());
        for error in [decode(&KEY, &token, [0; 8], 1_000, 600), decode(&[8; 32], &token, DIGEST, 1_000, 600)]
        {
            assert_eq!(error.unwrap_err().scim_type, Some(ScimType::InvalidCursor));
        }
    }

    #[test]
    fn token_with_any_changed_character_is_invalid() {
        let token = encode(&KEY, &cursor());
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            let error = decode(&KEY, &changed, DIGEST, 1_000, 600).unwrap_err();
            assert_eq!(error.scim_type, Some(ScimType::InvalidCursor), "{changed}");
        }
    }

    proptest! {
        #[test]
        fn any_text_as_token_is_refused(text in ".{0,200}") {
            prop_assert!(decode(&KEY, &text, DIGEST, 0, 600).is_err());
        }
    }
}
