//! What a YAML scalar means: the rules of `sigs.k8s.io/yaml`, which is what `kubectl` reads manifests with.
//!
//! They are YAML 1.1: `yes` and `off` are booleans, `010` and `0o10` are eight, `1_000` is a thousand, and a
//! timestamp stays text. A number with an integral value becomes an integer, as it does on its way through JSON.

use base64::{Engine, prelude::BASE64_STANDARD};
use granit_parser::Tag;
use serde_json::{Number, Value};

/// The value of a scalar. `plain` is a scalar without quotes.
pub(super) fn resolve(text: &str, plain: bool, tag: Option<&Tag>) -> Value {
    let tag = tag.map(|tag| tag.suffix_in_namespace("tag:yaml.org,2002:").unwrap_or_default());
    let plain = match tag.as_deref() {
        None => plain,
        Some("binary") => return binary(text),
        // A tag also makes quoted text the type that it names.
        Some("int" | "float" | "bool" | "null") => true,
        // `!!str`, and tags that nobody knows.
        Some(_) => false,
    };
    if plain { resolve_plain(text) } else { Value::String(text.to_owned()) }
}

fn binary(text: &str) -> Value {
    let decoded = BASE64_STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    Value::String(decoded.unwrap_or_else(|| text.to_owned()))
}

fn resolve_plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            Value::Bool(true)
        }
        "false" | "False" | "FALSE" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            Value::Bool(false)
        }
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return None;
    }
    let digits = text.replace('_', "");
    integer(&digits).or_else(|| float(&digits))
}

/// Go's `strconv.ParseInt(text, 0, 64)`: a prefix names the base, and so does a leading zero.
fn integer(text: &str) -> Option<Number> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'-' => ("-", &text[1..]),
        b'+' => ("", &text[1..]),
        _ => ("", text),
    };
    let lower = rest.to_ascii_lowercase();
    let (radix, digits) = if let Some(hex) = lower.strip_prefix("0x") {
        (16, hex)
    } else if let Some(binary) = lower.strip_prefix("0b") {
        (2, binary)
    } else if let Some(octal) = lower.strip_prefix("0o") {
        (8, octal)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{digits}"), radix)
        .map(Number::from)
        .ok()
        .or_else(|| u64::from_str_radix(digits, radix).ok().filter(|_| sign.is_empty()).map(Number::from))
}

fn float(text: &str) -> Option<Number> {
    let mut digits = 0;
    let mut rest = text.trim_start_matches(['+', '-']);
    if text.len() - rest.len() > 1 {
        return None;
    }
    rest = skip_digits(rest, &mut digits);
    if let Some(after) = rest.strip_prefix('.') {
        rest = skip_digits(after, &mut digits);
    }
    if digits == 0 {
        return None;
    }
    if let Some(after) = rest.strip_prefix(['e', 'E']) {
        let mut exponent = 0;
        rest = skip_digits(after.strip_prefix(['+', '-']).unwrap_or(after), &mut exponent);
        if exponent == 0 {
            return None;
        }
    }
    if !rest.is_empty() {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    // Go writes an integral float without a fraction, so the API server reads an integer.
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return format!("{value:.0}").parse::<i64>().ok().map(Number::from);
    }
    Number::from_f64(value)
}

fn skip_digits<'a>(text: &'a str, count: &mut usize) -> &'a str {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    *count += text.len() - rest.len();
    rest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    // The right-hand side is what kubectl 1.32 made of each.
    #[test]
    fn plain_scalars_resolve_as_kubectl_resolves_them() {
        let table = [
            ("", json!(null)),
            ("~", json!(null)),
            ("yes", json!(true)),
            ("Off", json!(false)),
            ("y", json!(true)),
            ("yEs", json!("yEs")),
            ("10", json!(10)),
            ("+10", json!(10)),
            ("010", json!(8)),
            ("0o10", json!(8)),
            ("08", json!(8)),
            ("0o8", json!("0o8")),
            ("1_", json!(1)),
            ("_1", json!("_1")),
            ("0x1F", json!(31)),
            ("-0b11", json!(-3)),
            ("1_000", json!(1000)),
            ("1.0", json!(1)),
            ("1.5", json!(1.5)),
            (".5", json!(0.5)),
            ("1e3", json!(1000)),
            ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
            ("1.2.3", json!("1.2.3")),
            ("10.0.0.0/8", json!("10.0.0.0/8")),
            ("-", json!("-")),
            ("+-1", json!("+-1")),
            ("0x", json!("0x")),
            ("e3", json!("e3")),
            ("2026-11-22", json!("2026-11-22")),
            ("acme", json!("acme")),
        ];
        for (text, value) in table {
            assert_eq!(resolve(text, true, None), value, "{text:?}");
        }
    }

    #[test]
    fn quoted_scalars_are_text_unless_tagged() {
        let tag = |suffix| Tag::new("tag:yaml.org,2002:", suffix);
        assert_eq!(resolve("yes", false, None), json!("yes"));
        assert_eq!(resolve("5", true, Some(&tag("str"))), json!("5"));
        assert_eq!(resolve("5", false, Some(&tag("int"))), json!(5));
        assert_eq!(resolve("aGVsbG8=", true, Some(&tag("binary"))), json!("hello"));
        assert_eq!(resolve("5", true, Some(&Tag::new("!", "foo"))), json!("5"));
    }
}
