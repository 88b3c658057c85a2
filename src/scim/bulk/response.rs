//! The answer to a bulk request (RFC 7644 section 3.7.3).

use serde_json::{Map, Value};

use super::{BULK_RESPONSE_SCHEMA, Method};
use crate::scim::error::ScimError;

/// What became of one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkResult {
    /// `method`, when the request's was one.
    pub method: Option<Method>,
    /// `bulkId` of the request.
    pub bulk_id: Option<String>,
    /// The resource's version after it.
    pub version: Option<String>,
    /// The resource's URL; left out for a POST that failed.
    pub location: Option<String>,
    /// The HTTP status it would have had alone; or its error.
    pub outcome: Result<u16, ScimError>,
}

/// Appends a bulk answer to `out`.
pub fn write_response(out: &mut Vec<u8>, results: &[BulkResult]) {
    out.extend_from_slice(b"{\"schemas\":[\"");
    out.extend_from_slice(BULK_RESPONSE_SCHEMA.as_bytes());
    out.extend_from_slice(b"\"],\"Operations\":[");
    for (index, result) in results.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(entry(result).to_string().as_bytes());
    }
    out.extend_from_slice(b"]}");
}

fn entry(result: &BulkResult) -> Value {
    let BulkResult { method, bulk_id, version, location, outcome } = result;
    let mut entry = Map::new();
    let texts = [
        ("location", location.as_deref()),
        ("method", method.map(Method::as_str)),
        ("bulkId", bulk_id.as_deref()),
        ("version", version.as_deref()),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            entry.insert(name.into(), text.into());
        }
    }
    let status = match outcome {
        Ok(status) => *status,
        Err(error) => error.status,
    };
    entry.insert("status".into(), status.to_string().into());
    if let Err(error) = outcome {
        entry.insert("response".into(), error.body());
    }
    Value::Object(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_written_are_the_answer_of_the_rfc() {
        let results = [
            BulkResult {
                method: Some(Method::Post),
                bulk_id: Some("qwerty".into()),
                version: Some("W/\"1\"".into()),
                location: Some("https://example.com/v2/Users/92b7".into()),
                outcome: Ok(201),
            },
            BulkResult {
                method: Some(Method::Post),
                bulk_id: Some("q\"".into()),
                version: None,
                location: None,
                outcome: Err(ScimError::invalid_syntax("no")),
            },
        ];
        let mut out = Vec::new();
        write_response(&mut out, &results);
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:BulkResponse"],"Operations":[{"location":"https://example.com/v2/Users/92b7","method":"POST","bulkId":"qwerty","version":"W/\"1\"","status":"201"},{"method":"POST","bulkId":"q\"","status":"400","response":{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"400","scimType":"invalidSyntax","detail":"no"}}]}"#);
    }
}
