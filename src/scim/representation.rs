//! A resource as a client sees it: stored bytes with `groups` or `members` and `meta` spliced on.

use serde_json::Value;

use super::projection::Projection;
use super::resource::Resource;

/// Appends the JSON of a resource to `out`. `base_url` is the tenant's, with no slash at its end:
/// `https://scim.example.com/acme/scim/v2`. Without a projection no byte of the body is parsed.
pub fn write(_resource: &Resource, _base_url: &str, _projection: &Projection, _out: &mut Vec<u8>) {
    todo!()
}

/// The full representation, for filters and projections.
#[must_use]
pub fn to_value(_resource: &Resource, _base_url: &str) -> Value {
    todo!()
}

/// The resource's URL: `meta.location` and the `Location` header.
#[must_use]
pub fn location(resource: &Resource, base_url: &str) -> String {
    format!("{base_url}{}/{}", resource.resource_type.endpoint, resource.id)
}
