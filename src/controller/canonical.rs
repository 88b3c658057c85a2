//! A digest of JSON by what it says: the order of keys has no part in it.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Tells JSON values apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Digest([u8; 16]);

/// The digest of a value. Absent and `null` fields are the same.
pub(crate) fn digest(value: &Value) -> Digest {
    let mut hasher = Sha256::new();
    feed(value, "", &mut hasher);
    finish(hasher)
}

/// The digest of a status: as [`digest`], without the times at which conditions changed.
pub(crate) fn digest_of_status(status: &Value) -> Digest {
    let mut hasher = Sha256::new();
    feed(status, "lastTransitionTime", &mut hasher);
    finish(hasher)
}

fn finish(hasher: Sha256) -> Digest {
    let mut half = [0; 16];
    half.copy_from_slice(&hasher.finalize()[..16]);
    Digest(half)
}

fn feed(value: &Value, without: &str, hasher: &mut Sha256) {
    match value {
        Value::Object(map) => {
            let mut fields: Vec<_> =
                map.iter().filter(|(name, value)| *name != without && !value.is_null()).collect();
            fields.sort_by_key(|(name, _)| *name);
            hasher.update(b"{");
            for (name, value) in fields {
                feed(&Value::String(name.clone()), without, hasher);
                feed(value, without, hasher);
            }
            hasher.update(b"}");
        }
        Value::Array(items) => {
            hasher.update(b"[");
            for item in items {
                feed(item, without, hasher);
            }
            hasher.update(b"]");
        }
        Value::String(text) => {
            hasher.update(b"\"");
            hasher.update(text.len().to_le_bytes());
            hasher.update(text.as_bytes());
        }
        Value::Null => hasher.update(b"n"),
        Value::Bool(_) | Value::Number(_) => {
            hasher.update(b"=");
            hasher.update(value.to_string().as_bytes());
            hasher.update(b";");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn order_of_keys_and_absent_fields_have_no_part_in_it() {
        assert_eq!(digest(&json!({"a": 1, "b": [2]})), digest(&json!({"b": [2], "a": 1, "c": null})));
        assert_ne!(digest(&json!({"a": "1"})), digest(&json!({"a": 1})));
        assert_ne!(digest(&json!([["a"], "b"])), digest(&json!([["a", "b"]])));
    }

    #[test]
    fn time_of_a_transition_has_no_part_in_the_digest_of_a_status() {
        let status = |time: &str, message: &str| {
            digest_of_status(&json!({"conditions": [{"lastTransitionTime": time, "message": message}]}))
        };
        assert_eq!(status("1", "a"), status("2", "a"));
        assert_ne!(status("1", "a"), status("1", "b"));
    }
}
