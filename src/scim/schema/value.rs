//! Single values against their data type (RFC 7643 section 2.3).

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use super::model::AttributeType;

const BASE64: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, BASE64);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, BASE64);

/// What is wrong with a value that is not null; `None` when it fits. Reads on after the attribute's name.
pub(super) fn fault(kind: AttributeType, value: &Value) -> Option<String> {
    // Not every database keeps it, and no name has it.
    if value.as_str().is_some_and(|text| text.contains('\0')) {
        return Some("must not contain the character U+0000".to_owned());
    }
    let wanted = match (kind, value) {
        (AttributeType::String, Value::String(_))
        | (AttributeType::Boolean, Value::Bool(_))
        | (AttributeType::Decimal, Value::Number(_)) => return None,
        (AttributeType::Integer, Value::Number(number)) => {
            let integral = number.is_i64() || number.is_u64();
            return (!integral)
                .then(|| "must be an integer of 64 bits, with neither fraction nor exponent".to_owned());
        }
        (AttributeType::DateTime, Value::String(text)) => {
            return (!is_date_time(text))
                .then(|| "must be a date and time as in 2008-01-23T04:56:22Z".to_owned());
        }
        (AttributeType::Binary, Value::String(text)) => {
            return (!is_base64(text)).then(|| "must be base64 (RFC 4648 section 4 or 5)".to_owned());
        }
        (AttributeType::Reference, Value::String(text)) => {
            return (!is_reference(text))
                .then(|| "must be a URI, with no spaces or control characters".to_owned());
        }
        (AttributeType::String, _) => "a string",
        (AttributeType::Boolean, _) => "a boolean, true or false",
        (AttributeType::Decimal, _) => "a number",
        (AttributeType::Integer, _) => "an integer",
        (AttributeType::DateTime, _) => "a string that holds a date and time",
        (AttributeType::Binary, _) => "a string that holds base64",
        (AttributeType::Reference, _) => "a string that holds a URI",
        (AttributeType::Complex, _) => "an object",
    };
    Some(format!("must be {wanted}, not {}", kind_of(value)))
}

/// The JSON type of a value, with its article.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A boolean written as a string, in any case.
pub(super) fn boolean_text(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        return Some(true);
    }
    text.eq_ignore_ascii_case("false").then_some(false)
}

/// `xsd:dateTime` with both a date and a time (RFC 7643 section 2.3.5); the offset may be missing.
fn is_date_time(text: &str) -> bool {
    // The parsers know more formats than the RFC: annotations, a space for the T, no seconds.
    let shape =
        text.is_ascii() && text.as_bytes().get(10) == Some(&b'T') && text.as_bytes().get(16) == Some(&b':');
    shape
        && !text.contains('[')
        && (text.parse::<jiff::Timestamp>().is_ok() || text.parse::<jiff::civil::DateTime>().is_ok())
}

fn is_base64(text: &str) -> bool {
    STANDARD.decode(text).is_ok() || URL_SAFE.decode(text).is_ok()
}

/// Absolute or relative: clients send `$ref` as `../Users/2819c223`, too.
fn is_reference(text: &str) -> bool {
    !text.chars().any(|c| c.is_whitespace() || c.is_control())
}
