//! The request's identity in logs: `X-Request-Id` and `traceparent` (W3C Trace Context).

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::HeaderMap;
use hyper::header::HeaderValue;

/// Longest `X-Request-Id` that is taken over.
const MAX_REQUEST_ID: usize = 128;

/// Makes request ids: unique in this process, and with it almost surely anywhere.
pub struct RequestIds {
    /// Twelve hexadecimal digits and a hyphen.
    process: String,
    next: AtomicU64,
}

impl RequestIds {
    /// A source with a random prefix.
    #[must_use]
    pub fn new() -> Self {
        // `uuid` is the randomness at hand; its low half is 62 random bits.
        let (_, process) = uuid::Uuid::new_v4().as_u64_pair();
        Self { process: format!("{:012x}-", process & 0xffff_ffff_ffff), next: AtomicU64::new(1) }
    }

    fn make(&self) -> String {
        let mut id = String::with_capacity(self.process.len() + 16);
        id.push_str(&self.process);
        // Writing to a String cannot fail.
        let _ = write!(id, "{:x}", self.next.fetch_add(1, Ordering::Relaxed));
        id
    }
}

impl Default for RequestIds {
    fn default() -> Self {
        Self::new()
    }
}

/// One request's identity.
pub struct Trace {
    /// The client's `X-Request-Id` if it is sane, else ours.
    pub request_id: String,
    /// The trace id of `traceparent`: 32 hexadecimal digits.
    pub trace_id: Option<String>,
}

impl Trace {
    /// Reads the two headers.
    #[must_use]
    pub fn of(headers: &HeaderMap, ids: &RequestIds) -> Self {
        let request_id = headers.get("x-request-id").and_then(sane).map_or_else(|| ids.make(), str::to_owned);
        let trace_id = headers.get("traceparent").and_then(trace_id).map(str::to_owned);
        Self { request_id, trace_id }
    }
}

fn sane(value: &HeaderValue) -> Option<&str> {
    let text = value.to_str().ok()?;
    ((1..=MAX_REQUEST_ID).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()))
        .then_some(text)
}

/// `VERSION-TRACE_ID-PARENT_ID-FLAGS`; a trace id of zeros is invalid.
fn trace_id(value: &HeaderValue) -> Option<&str> {
    let mut parts = value.to_str().ok()?.split('-');
    let (version, trace_id, parent) = (parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let valid = hex(version, 2) && version != "ff" && hex(trace_id, 32) && hex(parent, 16);
    (valid && trace_id.bytes().any(|byte| byte != b'0')).then_some(trace_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparent_yields_its_trace_id_only_when_valid() {
        let cases = [
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                Some("4bf92f3577b34da6a3ce929d0e0e4736"),
            ),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", None),
            ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", None),
            ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(trace_id(&HeaderValue::from_str(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn request_id_that_is_not_sane_is_replaced() {
        let ids = RequestIds::new();
        for (text, kept) in [("abc", true), ("", false), ("a b", false), (&"x".repeat(129), false)] {
            let headers = HeaderMap::from_iter([(
                "x-request-id".parse().unwrap(),
                HeaderValue::from_str(text).unwrap(),
            )]);
            assert_eq!(Trace::of(&headers, &ids).request_id == text, kept, "{text}");
        }
    }
}
