//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a POST, PATCH or bulk request that comes again
//! with its key is given its first answer again instead of being done again.
//!
//! Remembered is what the store decided, success or refusal, in the same transaction. What never got there (a
//! malformed body, 401, 429, any 5xx) is not: asked again, such a request has another chance. A key belongs to
//! one tenant; it is known by its digest only, like the request it came with.

use std::sync::Arc;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use hyper::http::request::Parts;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::scim::error::ScimError;
use crate::store::StoreError;
use crate::store::idempotency::{Keyed, Once, Recalled, SavedAnswer};
use crate::telemetry::metrics::Replay;

use super::App;
use super::context::Context;
use super::respond::{Answer, Failure};
use super::route::Operation;

/// How long an answer is given again.
const LIFETIME: SignedDuration = SignedDuration::from_hours(24);

/// Time between looks for answers that are old enough to go.
const FORGET_EVERY: Duration = Duration::from_mins(10);

/// Characters of a key at most.
const MAX_KEY: usize = 255;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What is known of a request before it is taken up.
pub enum Recall {
    /// It was answered before: say the same.
    Answer(Answer),
    /// It is new; `None` when it carries no key.
    New(Option<Keyed>),
}

/// Looks for a request's first answer. Asks nothing of anybody when the request carries no key.
pub async fn recall(
    context: &Context<'_>,
    head: &Parts,
    operation: &Operation,
    body: &Value,
) -> Result<Recall, Failure> {
    let Some(key) = key(&head.headers)? else { return Ok(Recall::New(None)) };
    let keyed = Keyed {
        key: Sha256::digest(key).into(),
        request: fingerprint(head, operation, body),
        since: Timestamp::now() - LIFETIME,
    };
    match context.app.store.recall(&context.tenant.key, &keyed).await? {
        None => Ok(Recall::New(Some(keyed))),
        Some(recalled) => again(context, recalled).map(Recall::Answer),
    }
}

/// The answer to a request that carries a key, once the store has dealt with it.
pub fn answer(context: &Context<'_>, once: Once) -> Result<Answer, Failure> {
    match once {
        Once::Before(recalled) => again(context, recalled),
        Once::First(saved) => {
            context.app.metrics.idempotency(&context.tenant.key.0, Replay::Stored);
            Ok(from_saved(saved, false))
        }
    }
}

fn again(context: &Context<'_>, recalled: Recalled) -> Result<Answer, Failure> {
    let count = |replay| context.app.metrics.idempotency(&context.tenant.key.0, replay);
    match recalled {
        Recalled::Answer(saved) => {
            count(Replay::Replayed);
            Ok(from_saved(saved, true))
        }
        Recalled::OtherRequest => {
            count(Replay::Conflict);
            let detail = "this Idempotency-Key came with another request in the last 24 hours; \
                          send a new key with every new request, and the same key only with the same method, path, body and If-Match";
            Err(ScimError::new(422, detail).into())
        }
    }
}

/// What the store is to remember of an answer. A refusal is an answer too; our own failure is none.
pub fn to_saved(answer: Result<Answer, Failure>) -> Result<SavedAnswer, StoreError> {
    match answer {
        Ok(Answer { status, body, location, version, replayed: _ }) => {
            Ok(SavedAnswer { status, version, location, body })
        }
        Err(Failure::Scim(error)) => Ok(SavedAnswer {
            status: error.status,
            version: None,
            location: None,
            body: Some(error.body().to_string().into_bytes()),
        }),
        Err(Failure::Store(error)) => Err(error),
        Err(other) => Err(StoreError::Internal(format!("a write was answered with {other:?}"))),
    }
}

fn from_saved(saved: SavedAnswer, replayed: bool) -> Answer {
    let SavedAnswer { status, version, location, body } = saved;
    Answer { status, body, location, version, replayed }
}

/// The header's key: a string in quotes, as the draft has it, or the same without quotes.
fn key(headers: &HeaderMap) -> Result<Option<String>, ScimError> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(malformed("it is there more than once"));
    }
    let text = value.to_str().map_err(|_| malformed("it has characters that are not visible ASCII"))?.trim();
    let key = match text.strip_prefix('"') {
        Some(quoted) => unquoted(quoted)?,
        None if text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte)) => {
            text.to_owned()
        }
        None => return Err(malformed("it has a space, a quote, a comma, a semicolon or a backslash")),
    };
    match key.len() {
        0 => Err(malformed("it is empty")),
        1..=MAX_KEY => Ok(Some(key)),
        length => Err(malformed(&format!("it has {length} characters, and {MAX_KEY} are the most"))),
    }
}

/// The rest of an RFC 8941 string, after its first quote.
fn unquoted(quoted: &str) -> Result<String, ScimError> {
    let mut key = String::with_capacity(quoted.len());
    let mut rest = quoted.chars();
    loop {
        match rest.next() {
            Some('"') if rest.as_str().is_empty() => return Ok(key),
            Some('\\') => match rest.next() {
                Some(escaped @ ('"' | '\\')) => key.push(escaped),
                _ => return Err(malformed("a backslash in it is not followed by a quote or a backslash")),
            },
            Some('"') => return Err(malformed("something follows its closing quote")),
            Some(character @ ' '..='~') => key.push(character),
            Some(_) => return Err(malformed("it has characters that are not visible ASCII")),
            None => return Err(malformed("its closing quote is missing")),
        }
    }
}

fn malformed(reason: &str) -> ScimError {
    ScimError::invalid_value(format!(
        "Idempotency-Key is malformed: {reason}; send a new random key with every new request, such as \"8e03978e-40d5-43dd-bc93-6894a57f9324\""
    ))
}

/// Digest of what a request asks for. Two bodies that differ in spacing or in the order of names ask the same.
fn fingerprint(head: &Parts, operation: &Operation, body: &Value) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    let (kind, id) = operation.subject();
    part(operation.name().as_bytes());
    part(kind.map_or("", |kind| &kind.endpoint).as_bytes());
    part(id.unwrap_or_default().as_bytes());
    part(head.uri.query().unwrap_or_default().as_bytes());
    for name in [IF_MATCH, IF_NONE_MATCH] {
        for value in head.headers.get_all(&name) {
            part(name.as_str().as_bytes());
            part(value.as_bytes());
        }
    }
    digest(body, &mut part);
    hash.finalize().into()
}

fn digest(value: &Value, part: &mut impl FnMut(&[u8])) {
    match value {
        Value::Null => part(b"null"),
        Value::Bool(true) => part(b"true"),
        Value::Bool(false) => part(b"false"),
        Value::Number(number) => part(number.to_string().as_bytes()),
        Value::String(text) => {
            part(b"\"");
            part(text.as_bytes());
        }
        Value::Array(items) => {
            part(b"[");
            for item in items {
                digest(item, part);
            }
            part(b"]");
        }
        Value::Object(object) => {
            part(b"{");
            let mut fields: Vec<_> = object.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            for (name, value) in fields {
                part(name.as_bytes());
                digest(value, part);
            }
            part(b"}");
        }
    }
}

/// Removes answers that are old enough to go, now and every ten minutes, until the store closes.
pub async fn forget_old_answers(app: Arc<App>) {
    let mut interval = tokio::time::interval(FORGET_EVERY);
    loop {
        interval.tick().await;
        match app.store.forget_answers(Timestamp::now() - LIFETIME).await {
            Ok(forgotten) => tracing::debug!(forgotten, "removed answers kept for idempotency keys"),
            Err(StoreError::Closing) => return,
            Err(error) => tracing::warn!(%error, "old answers kept for idempotency keys stay for now"),
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;
    use hyper::header::HeaderValue;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::scim::schema::Registry;

    fn key_of(values: &[&str]) -> Result<Option<String>, String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        key(&headers).map_err(|error| error.to_string())
    }

    #[test]
    fn key_with_and_without_quotes_is_the_same() {
        assert_eq!(key_of(&[]), Ok(None));
        for text in ["8e03978e-40d5", "\"8e03978e-40d5\"", "  \"8e03978e-40d5\" "] {
            assert_eq!(key_of(&[text]), Ok(Some("8e03978e-40d5".to_owned())), "{text}");
        }
        assert_eq!(key_of(&[r#""a \"b\" \\ c""#]), Ok(Some(r#"a "b" \ c"#.to_owned())));
        assert!(key_of(&[&"k".repeat(255)]).is_ok());
    }

    #[test]
    fn key_malformed_is_refused_with_the_reason() {
        for (values, reason) in [
            (&["a", "a"][..], "more than once"),
            (&[""], "empty"),
            (&["\"\""], "empty"),
            (&["\"a"], "closing quote"),
            (&["\"a\"; v=1"], "follows"),
            (&["a b"], "a space"),
            (&["a,b"], "a comma"),
            (&["\"\\a\""], "backslash"),
            (&["\u{e9}"], "visible ASCII"),
            (&[&"k".repeat(256)], "256 characters"),
        ] {
            let error = key_of(values).unwrap_err();
            assert!(error.contains(reason) && error.starts_with("400 invalidValue"), "{values:?}: {error}");
        }
    }

    fn print(target: &str, if_match: Option<&str>, body: &Value) -> [u8; 32] {
        let mut request = Request::post(target);
        if let Some(tag) = if_match {
            request = request.header(IF_MATCH, tag);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let user = Arc::clone(Registry::core().by_name("User").unwrap());
        fingerprint(&head, &Operation::Create(user), body)
    }

    #[test]
    fn request_that_asks_the_same_has_one_fingerprint() {
        let body = json!({"a": [1, {"b": null, "c": "x"}], "d": true});
        let reordered: Value = serde_json::from_str(r#"{"d":true, "a":[1,{"c":"x","b":null}]}"#).unwrap();
        assert_eq!(print("/Users", None, &body), print("/Users", None, &reordered));
        let others = [
            print("/Users?attributes=id", None, &body),
            print("/Users", Some("W/\"1\""), &body),
            print("/Users", None, &json!({"a": [1, {"b": null, "c": "x"}], "d": false})),
            print("/Users", None, &json!({"a": [1, {"b": "null", "c": "x"}], "d": true})),
            print("/Users", None, &json!({"a": [1], "b": null, "c": "x", "d": true})),
        ];
        for other in others {
            assert_ne!(print("/Users", None, &body), other);
        }
    }

    proptest! {
        #[test]
        fn any_header_as_key_never_panics(text in "[ -~]{0,300}") {
            let _ = key_of(&[&text]);
        }

        #[test]
        fn key_quoted_reads_back(key in "[ -~]{1,80}") {
            let quoted = format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""));
            prop_assert_eq!(key_of(&[&quoted]), Ok(Some(key)));
        }
    }
}
