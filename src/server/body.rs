//! The request body: bounded in size and time, JSON, an object.

use std::fmt::Display;
use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::Body;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use serde_json::Value;

use crate::scim::error::ScimError;

/// How long a client may take to send a body.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// How much of a body that is too large is read all the same: a client that is still sending would
/// otherwise see a reset connection instead of the answer.
const DISCARD_BYTES: u64 = 16 << 20;

/// How long that may take.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads a body of at most `limit` bytes and parses it.
pub async fn read_object<B>(headers: &HeaderMap, body: B, limit: u64) -> Result<Value, ScimError>
where
    B: Body<Data = Bytes>,
    B::Error: Display,
{
    check_content_type(headers)?;
    parse_object(&read_bytes(headers, body, limit).await?)
}

/// Reads a body of at most `limit` bytes, whatever it is.
pub async fn read_bytes<B>(headers: &HeaderMap, body: B, limit: u64) -> Result<Bytes, ScimError>
where
    B: Body<Data = Bytes>,
    B::Error: Display,
{
    let read = tokio::time::timeout(READ_TIMEOUT, read(headers, body, limit)).await;
    read.map_err(|_| {
        ScimError::new(408, format!("the body did not arrive within {} seconds", READ_TIMEOUT.as_secs()))
    })?
}

/// RFC 7644 section 3.1: `application/scim+json`, or `application/json`. A body that names no type is
/// taken for JSON.
fn check_content_type(headers: &HeaderMap) -> Result<(), ScimError> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let text = value.to_str().unwrap_or("?");
    let mut parts = text.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    let json = ["application/scim+json", "application/json"]
        .iter()
        .any(|known| media_type.eq_ignore_ascii_case(known));
    let utf8 = parts
        .filter_map(|parameter| parameter.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
        .all(|(_, charset)| charset.trim().trim_matches('"').eq_ignore_ascii_case("utf-8"));
    if json && utf8 {
        return Ok(());
    }
    Err(ScimError::new(
        415,
        format!("Content-Type {text:?} is not supported; send application/scim+json in UTF-8"),
    ))
}

async fn read<B>(headers: &HeaderMap, body: B, limit: u64) -> Result<Bytes, ScimError>
where
    B: Body<Data = Bytes>,
    B::Error: Display,
{
    let mut body = pin!(body);
    let announced =
        headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let mut first = None;
    let mut rest = BytesMut::new();
    let mut length = 0;
    let mut too_large = announced.is_some_and(|length: u64| length > limit);
    while !too_large {
        let Some(frame) = body.frame().await else { break };
        let frame = frame
            .map_err(|error| ScimError::invalid_syntax(format!("the body could not be read: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len() as u64;
        too_large = length > limit;
        // Most bodies arrive in one piece, which needs no copy.
        if first.is_none() && rest.is_empty() {
            first = Some(data);
        } else {
            rest.extend_from_slice(&first.take().unwrap_or_default());
            rest.extend_from_slice(&data);
        }
    }
    if too_large {
        let discard = async {
            let mut discarded = 0;
            while discarded < DISCARD_BYTES
                && let Some(Ok(frame)) = body.frame().await
            {
                discarded += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
        };
        // A client that asked first (`Expect: 100-continue`) has not begun to send.
        if !headers.contains_key(EXPECT) {
            let _ = tokio::time::timeout(DISCARD_TIMEOUT, discard).await;
        }
        let size =
            announced.map_or_else(|| "the body".to_owned(), |length| format!("the body of {length} bytes"));
        return Err(ScimError::too_large(format!("{size} is larger than the limit of {limit} bytes")));
    }
    Ok(first.unwrap_or_else(|| rest.freeze()))
}

/// Parses JSON. Nesting is bounded by the parser (128 levels); of a name given twice in one object,
/// the last value counts.
fn parse_object(bytes: &[u8]) -> Result<Value, ScimError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.is_empty() {
        return Err(ScimError::invalid_syntax("the request has no body; send a JSON object"));
    }
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|error| ScimError::invalid_syntax(format!("the body is not valid JSON: {error}")))?;
    if !value.is_object() {
        return Err(ScimError::invalid_syntax("the body must be a JSON object"));
    }
    Ok(value)
}
