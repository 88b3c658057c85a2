//! The body of a bulk request, parsed (RFC 7644 section 3.7).

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{BULK_REQUEST_SCHEMA, BulkOperation, BulkRequest, Method, RequestedOperation};
use crate::scim::error::ScimError;

impl BulkRequest {
    /// Parses a body. What is wrong with one operation fails that operation; what is wrong with the
    /// whole fails the request, more than `max_operations` with 413.
    pub fn parse(body: Value, max_operations: usize) -> Result<Self, ScimError> {
        let Value::Object(mut body) = body else {
            return Err(ScimError::invalid_syntax("the body of a bulk request must be a JSON object"));
        };
        let declared = take(&mut body, "schemas").is_some_and(|schemas| {
            let wanted = |schema: &Value| {
                schema.as_str().is_some_and(|schema| schema.eq_ignore_ascii_case(BULK_REQUEST_SCHEMA))
            };
            schemas.as_array().is_some_and(|schemas| schemas.iter().any(wanted))
        });
        if !declared {
            return Err(ScimError::invalid_syntax(format!("schemas must contain {BULK_REQUEST_SCHEMA:?}")));
        }
        let fail_on_errors = match take(&mut body, "failOnErrors") {
            None | Some(Value::Null) => None,
            Some(value) => {
                let count = value.as_u64().filter(|count| *count > 0).ok_or_else(|| {
                    ScimError::invalid_value("failOnErrors must be an integer of 1 or more")
                })?;
                Some(usize::try_from(count).unwrap_or(usize::MAX))
            }
        };
        let Some(Value::Array(operations)) = take(&mut body, "Operations") else {
            return Err(ScimError::invalid_syntax("Operations must be a list"));
        };
        if operations.len() > max_operations {
            return Err(ScimError::too_large(format!(
                "the bulk request has {} operations; at most {max_operations} are allowed \
                 (bulk.maxOperations of ServiceProviderConfig)",
                operations.len()
            )));
        }
        let mut operations: Vec<_> = operations.into_iter().map(operation).collect();
        refuse_duplicate_names(&mut operations);
        Ok(Self { fail_on_errors, operations })
    }
}

/// Takes a member out; names are matched without regard to case, as attribute names are.
fn take(object: &mut Map<String, Value>, name: &str) -> Option<Value> {
    let key = object.keys().find(|key| key.eq_ignore_ascii_case(name))?.clone();
    object.swap_remove(&key)
}

/// A string member; `Err` when it is there and no string.
fn text(object: &mut Map<String, Value>, name: &str) -> Result<Option<String>, ScimError> {
    match take(object, name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(ScimError::invalid_syntax(format!("{name} must be a string"))),
    }
}

fn operation(value: Value) -> RequestedOperation {
    let Value::Object(mut object) = value else {
        let error = ScimError::invalid_syntax("each of Operations must be a JSON object");
        return RequestedOperation { method: None, bulk_id: None, operation: Err(error) };
    };
    let method = method(&mut object);
    let bulk_id = text(&mut object, "bulkId");
    RequestedOperation {
        method: method.as_ref().ok().copied(),
        bulk_id: bulk_id.as_ref().ok().cloned().flatten(),
        operation: method.and_then(|method| details(method, bulk_id?, object)),
    }
}

fn method(object: &mut Map<String, Value>) -> Result<Method, ScimError> {
    let Some(text) = text(object, "method")? else {
        return Err(ScimError::invalid_syntax("method is missing; it must be POST, PUT, PATCH or DELETE"));
    };
    [Method::Post, Method::Put, Method::Patch, Method::Delete]
        .into_iter()
        .find(|method| method.as_str().eq_ignore_ascii_case(&text))
        .ok_or_else(|| {
            ScimError::invalid_syntax(format!("method must be POST, PUT, PATCH or DELETE, not {text:?}"))
        })
}

fn details(
    method: Method,
    bulk_id: Option<String>,
    mut object: Map<String, Value>,
) -> Result<BulkOperation, ScimError> {
    let version = text(&mut object, "version")?;
    let Some(path) = text(&mut object, "path")? else {
        return Err(ScimError::invalid_syntax(
            "path is missing; it must be like \"/Users\" or \"/Users/ID\"",
        ));
    };
    let relative = path.strip_prefix('/').unwrap_or(&path);
    let (endpoint, id) = match relative.split_once('/') {
        None => (relative, None),
        Some((endpoint, id)) => (endpoint, Some(id)),
    };
    let well_formed = |segment: &str| !segment.is_empty() && !segment.contains(['/', '?', '#']);
    if !well_formed(endpoint) || !id.is_none_or(well_formed) {
        return Err(ScimError::invalid_syntax(format!(
            "path must be like \"/Users\" or \"/Users/ID\", relative to the base URL, not {path:?}"
        )));
    }
    if endpoint.eq_ignore_ascii_case("Bulk") {
        return Err(ScimError::invalid_syntax("a bulk request cannot hold another bulk request"));
    }
    match (method, id) {
        (Method::Post, Some(_)) => {
            return Err(ScimError::invalid_syntax(format!(
                "path of POST must name an endpoint such as \"/Users\", not {path:?}"
            )));
        }
        (Method::Post, None) if bulk_id.as_ref().is_none_or(String::is_empty) => {
            return Err(ScimError::invalid_syntax("bulkId is missing; POST needs one"));
        }
        (Method::Put | Method::Patch | Method::Delete, None) => {
            return Err(ScimError::invalid_syntax(format!(
                "path of {} must name a resource such as \"/Users/ID\", not {path:?}",
                method.as_str()
            )));
        }
        _ => {}
    }
    let data = match (method, take(&mut object, "data")) {
        (Method::Delete, _) => None,
        (_, Some(data @ Value::Object(_))) => Some(data),
        _ => {
            let method = method.as_str();
            return Err(ScimError::invalid_syntax(format!("data of {method} must be a JSON object")));
        }
    };
    let (endpoint, id) = (endpoint.to_owned(), id.map(str::to_owned));
    Ok(BulkOperation { method, bulk_id, version, endpoint, id, data, path })
}

/// A name that two POSTs share names neither: the later ones are refused.
fn refuse_duplicate_names(operations: &mut [RequestedOperation]) {
    let mut names = HashSet::new();
    for requested in operations {
        let Ok(BulkOperation { method: Method::Post, bulk_id: Some(name), .. }) = &requested.operation else {
            continue;
        };
        if !names.insert(name.clone()) {
            requested.operation = Err(ScimError::invalid_value(format!(
                "bulkId {name:?} is used by an earlier operation; each POST needs its own"
            )));
        }
    }
}
