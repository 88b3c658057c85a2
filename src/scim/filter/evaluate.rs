//! What a filter means: evaluation on a resource's JSON (RFC 7644 section 3.4.2.2).
//!
//! - A comparison holds when it holds for any one value of the attribute.
//! - `ne` is the negation of `eq`: no value equals. So it holds for an attribute that has no value.
//! - `pr` holds for a value that is neither null nor empty, however deep.
//! - Strings that are not case-exact compare by [`fold`], also for `gt` and its kin, which then order
//!   by code point. Dates compare as instants, numbers by value.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Number, Value};

use super::{Filter, Literal, Operator};
use crate::scim::schema::{Attribute, AttributeRef, AttributeType};

/// Of a long text, this much decides its place in a sorted list.
const MAX_SORT_KEY_CHARS: usize = 256;

impl Filter {
    /// Whether a resource's full JSON ([`crate::scim::representation::to_value`]) matches.
    #[must_use]
    pub fn matches(&self, resource: &Value) -> bool {
        match self {
            Self::And(left, right) => left.matches(resource) && right.matches(resource),
            Self::Or(left, right) => left.matches(resource) || right.matches(resource),
            Self::Not(inner) => !inner.matches(resource),
            Self::Nothing => false,
            Self::Present(attribute) => any(resource, attribute, &mut present),
            Self::Compare(attribute, Operator::Ne, literal) => {
                !any(resource, attribute, &mut |value| holds(attribute.leaf(), Operator::Eq, value, literal))
            }
            Self::Compare(attribute, operator, literal) => {
                any(resource, attribute, &mut |value| holds(attribute.leaf(), *operator, value, literal))
            }
            Self::ValuePath(attribute, inner) => {
                any(resource, attribute, &mut |value| inner.matches_element(value))
            }
        }
    }

    /// Whether one value of a multi-valued attribute matches a filter from
    /// [`super::Expression::resolve_within`].
    #[must_use]
    pub fn matches_element(&self, element: &Value) -> bool {
        match element {
            Value::Object(_) => self.matches(element),
            // The elements of a list of plain values are their own `value`.
            plain => self.matches(&serde_json::json!({"value": plain})),
        }
    }
}

impl AttributeRef {
    /// The attribute whose values are meant: the sub-attribute where one was named.
    #[must_use]
    pub fn leaf(&self) -> &Attribute {
        self.sub_attribute.as_ref().unwrap_or(&self.attribute)
    }
}

impl fmt::Display for AttributeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(urn) = &self.extension {
            write!(f, "{urn}:")?;
        }
        f.write_str(&self.attribute.name)?;
        self.sub_attribute.as_ref().map_or(Ok(()), |sub_attribute| write!(f, ".{}", sub_attribute.name))
    }
}

/// Whether the test holds for any value of the attribute.
fn any(resource: &Value, attribute: &AttributeRef, test: &mut dyn FnMut(&Value) -> bool) -> bool {
    let holder = match &attribute.extension {
        None => Some(resource),
        Some(urn) => resource.get(urn.as_ref()),
    };
    let Some(value) = holder.and_then(|holder| holder.get(&attribute.attribute.name)) else { return false };
    let mut each = |value: &Value| match &attribute.sub_attribute {
        None => test(value),
        Some(sub_attribute) => match value.get(&sub_attribute.name) {
            None => false,
            Some(Value::Array(values)) => values.iter().any(&mut *test),
            Some(value) => test(value),
        },
    };
    match value {
        Value::Array(values) => values.iter().any(each),
        value => each(value),
    }
}

fn present(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => values.iter().any(present),
        Value::Object(object) => object.values().any(present),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

fn holds(attribute: &Attribute, operator: Operator, value: &Value, literal: &Literal) -> bool {
    match (value, literal) {
        (Value::Bool(value), Literal::Boolean(literal)) => operator == Operator::Eq && value == literal,
        (Value::Number(value), Literal::Number(literal)) => {
            ordered(operator, compare_numbers(value, literal))
        }
        (Value::String(value), Literal::String(literal)) => {
            if attribute.kind == AttributeType::DateTime {
                return match (instant(value), instant(literal)) {
                    (Some(value), Some(literal)) => ordered(operator, value.cmp(&literal)),
                    _ => false,
                };
            }
            let exact = attribute.compares_exactly();
            let (value, literal) = (fold(value, exact), fold(literal, exact));
            match operator {
                Operator::Co => value.contains(literal.as_ref()),
                Operator::Sw => value.starts_with(literal.as_ref()),
                Operator::Ew => value.ends_with(literal.as_ref()),
                operator => ordered(operator, value.cmp(&literal)),
            }
        }
        _ => false,
    }
}

fn ordered(operator: Operator, ordering: Ordering) -> bool {
    match operator {
        Operator::Eq => ordering.is_eq(),
        Operator::Ne => ordering.is_ne(),
        Operator::Gt => ordering.is_gt(),
        Operator::Ge => ordering.is_ge(),
        Operator::Lt => ordering.is_lt(),
        Operator::Le => ordering.is_le(),
        Operator::Co | Operator::Sw | Operator::Ew => false,
    }
}

/// By value, whatever the spelling: `1` is `1.0`.
fn compare_numbers(left: &Number, right: &Number) -> Ordering {
    let integer =
        |number: &Number| number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    match (integer(left), integer(right)) {
        (Some(left), Some(right)) => left.cmp(&right),
        _ => left.as_f64().unwrap_or(f64::NAN).total_cmp(&right.as_f64().unwrap_or(f64::NAN)),
    }
}

impl Attribute {
    /// Whether its strings compare with regard to case. Binary always does (RFC 7643 section 2.3.6).
    #[must_use]
    pub fn compares_exactly(&self) -> bool {
        self.case_exact || self.kind == AttributeType::Binary
    }
}

/// A string as it is compared: as it is, or in lower case character by character, so that what begins
/// or ends a string also begins or ends what it folds to.
#[must_use]
pub fn fold(text: &str, case_exact: bool) -> Cow<'_, str> {
    if text.is_ascii() && !case_exact {
        let upper = text.bytes().any(|byte| byte.is_ascii_uppercase());
        return if upper { Cow::Owned(text.to_ascii_lowercase()) } else { Cow::Borrowed(text) };
    }
    if case_exact || !text.chars().any(|c| !c.is_ascii_lowercase() && c.to_lowercase().ne([c])) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().flat_map(char::to_lowercase).collect())
}

/// The instant that a `dateTime` names (RFC 7643 section 2.3.5); without an offset it is UTC.
#[must_use]
pub fn instant(text: &str) -> Option<Timestamp> {
    text.parse().ok().or_else(|| {
        let civil: DateTime = text.parse().ok()?;
        Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
    })
}

/// The key that orders a resource in a list sorted by an attribute: the primary value of several, or
/// else the first (RFC 7644 section 3.4.2.3). Keys compare as strings; `None` when there is no value.
#[must_use]
pub fn sort_key(resource: &Value, by: &AttributeRef) -> Option<String> {
    let holder = match &by.extension {
        None => resource,
        Some(urn) => resource.get(urn.as_ref())?,
    };
    let first = |value: &Value| match value {
        Value::Array(values) => {
            let is_primary = |value: &&Value| value.get("primary") == Some(&Value::Bool(true));
            values.iter().find(is_primary).or_else(|| values.first()).cloned()
        }
        value => Some(value.clone()),
    };
    let value = first(holder.get(&by.attribute.name)?)?;
    let (leaf, value) = match &by.sub_attribute {
        Some(sub_attribute) => (sub_attribute, first(value.get(&sub_attribute.name)?)?),
        None if by.attribute.kind == AttributeType::Complex => {
            (by.attribute.sub_attribute("value")?, value.get("value")?.clone())
        }
        None => (&by.attribute, value),
    };
    key(leaf, &value)
}

fn key(attribute: &Attribute, value: &Value) -> Option<String> {
    match value {
        Value::String(text) if attribute.kind == AttributeType::DateTime => {
            // Moved so that no instant is negative: years -9999 to 9999 are within 4e20 ns of 1970.
            let moved = instant(text)?.as_nanosecond() + 1_000_000_000_000_000_000_000;
            Some(format!("{moved:022}"))
        }
        Value::String(text) => {
            let mut key = fold(text, attribute.compares_exactly()).into_owned();
            // Keys travel in cursors. What is alike for so long is ordered by id.
            if let Some((cut, _)) = key.char_indices().nth(MAX_SORT_KEY_CHARS) {
                key.truncate(cut);
            }
            Some(key)
        }
        Value::Bool(value) => Some(u8::from(*value).to_string()),
        Value::Number(number) => {
            // An IEEE 754 number orders as an integer once negative ones are flipped.
            let bits = number.as_f64()?.to_bits();
            let flipped = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
            Some(format!("{flipped:016x}"))
        }
        _ => None,
    }
}
