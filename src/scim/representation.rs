//! A resource as a client sees it: stored bytes with `groups` or `members` and `meta` spliced on.
//!
//! [`write`] is the hottest code there is: without a projection it copies the body and appends, and
//! parses nothing. [`to_value`] says the same as a JSON value, for filters and projections.

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde_json::{Map, Value, json};

use super::projection::Projection;
use super::resource::Resource;

/// RFC 3339 in UTC with milliseconds.
const TIMESTAMPS: DateTimePrinter = DateTimePrinter::new().precision(Some(3));

/// Appends the JSON of a resource to `out`. `base_url` is the tenant's, with no slash at its end:
/// `https://scim.example.com/acme/scim/v2`. Without a projection no byte of the body is parsed.
pub fn write(resource: &Resource, base_url: &str, projection: &Projection, out: &mut Vec<u8>) {
    if *projection == Projection::Default && resource.resource_type.shows_all_by_default {
        splice(resource, base_url, out);
        return;
    }
    let mut value = to_value(resource, base_url);
    projection.apply(&resource.resource_type, &mut value);
    serde_json::to_writer(out, &value).expect("a JSON value can be written to memory");
}

/// The full representation, for filters and projections.
#[must_use]
pub fn to_value(resource: &Resource, base_url: &str) -> Value {
    let mut value: Map<String, Value> =
        serde_json::from_slice(&resource.body).expect("the store keeps bodies that it wrote as JSON objects");
    if let Some(groups) = resource.related.groups.as_deref().filter(|groups| !groups.is_empty()) {
        let groups = groups.iter().map(|group| {
            let kind = if group.direct { "direct" } else { "indirect" };
            entry(base_url, "/Groups", &group.id, group.display.as_deref(), kind)
        });
        value.insert("groups".to_owned(), groups.collect());
    }
    if let Some(members) = resource.related.members.as_deref().filter(|members| !members.is_empty()) {
        let members = members.iter().map(|member| {
            let endpoint = member_endpoint(&member.resource_type);
            entry(base_url, endpoint, &member.id, member.display.as_deref(), &member.resource_type)
        });
        value.insert("members".to_owned(), members.collect());
    }
    let meta = json!({
        "resourceType": resource.resource_type.name,
        "created": TIMESTAMPS.timestamp_to_string(&resource.created),
        "lastModified": TIMESTAMPS.timestamp_to_string(&resource.last_modified),
        "location": location(resource, base_url),
        "version": resource.version().to_string(),
    });
    value.insert("meta".to_owned(), meta);
    Value::Object(value)
}

/// The resource's URL: `meta.location` and the `Location` header.
#[must_use]
pub fn location(resource: &Resource, base_url: &str) -> String {
    format!("{base_url}{}/{}", resource.resource_type.endpoint, resource.id)
}

/// Where members of a type are served: groups hold users and groups (RFC 7643 section 4.2).
fn member_endpoint(resource_type: &str) -> &'static str {
    if resource_type == "Group" { "/Groups" } else { "/Users" }
}

fn entry(base_url: &str, endpoint: &str, id: &str, display: Option<&str>, kind: &str) -> Value {
    let mut entry = Map::with_capacity(4);
    entry.insert("value".to_owned(), id.into());
    entry.insert("$ref".to_owned(), format!("{base_url}{endpoint}/{id}").into());
    if let Some(display) = display {
        entry.insert("display".to_owned(), display.into());
    }
    entry.insert("type".to_owned(), kind.into());
    Value::Object(entry)
}

fn splice(resource: &Resource, base_url: &str, out: &mut Vec<u8>) {
    let groups = resource.related.groups.as_deref().unwrap_or_default();
    let members = resource.related.members.as_deref().unwrap_or_default();
    let entry_size = 120 + base_url.len();
    out.reserve(resource.body.len() + 300 + base_url.len() + (groups.len() + members.len()) * entry_size);

    let body = resource.body.strip_suffix(b"}").unwrap_or(&resource.body);
    out.extend_from_slice(body);
    let mut json = Json(out);
    if !groups.is_empty() {
        json.raw(",\"groups\":[");
        for (index, group) in groups.iter().enumerate() {
            let kind = if group.direct { "direct" } else { "indirect" };
            json.entry(index, base_url, "/Groups", &group.id, group.display.as_deref(), kind);
        }
        json.raw("]");
    }
    if !members.is_empty() {
        json.raw(",\"members\":[");
        for (index, member) in members.iter().enumerate() {
            let endpoint = member_endpoint(&member.resource_type);
            json.entry(
                index,
                base_url,
                endpoint,
                &member.id,
                member.display.as_deref(),
                &member.resource_type,
            );
        }
        json.raw("]");
    }
    json.raw(",\"meta\":{\"resourceType\":\"");
    json.text(&resource.resource_type.name);
    json.raw("\",\"created\":\"");
    json.timestamp(&resource.created);
    json.raw("\",\"lastModified\":\"");
    json.timestamp(&resource.last_modified);
    json.raw("\",\"location\":\"");
    json.text(base_url);
    json.text(&resource.resource_type.endpoint);
    json.raw("/");
    json.text(&resource.id);
    json.raw("\",\"version\":\"");
    write!(json, "{}", resource.version()).expect("writing to memory does not fail");
    json.raw("\"}}");
}

/// JSON text at the end of a buffer. Formatting into it writes the inside of a string.
struct Json<'a>(&'a mut Vec<u8>);

impl Json<'_> {
    fn raw(&mut self, json: &str) {
        self.0.extend_from_slice(json.as_bytes());
    }

    /// The inside of a JSON string.
    fn text(&mut self, text: &str) {
        let plain = text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\');
        if plain {
            self.0.extend_from_slice(text.as_bytes());
            return;
        }
        let start = self.0.len();
        serde_json::to_writer(&mut *self.0, text).expect("a string can be written to memory");
        // Without the quotation marks.
        self.0.remove(start);
        self.0.pop();
    }

    fn timestamp(&mut self, timestamp: &Timestamp) {
        TIMESTAMPS.print_timestamp(timestamp, &mut *self.0).expect("writing to memory does not fail");
    }

    fn entry(
        &mut self,
        index: usize,
        base_url: &str,
        endpoint: &str,
        id: &str,
        display: Option<&str>,
        kind: &str,
    ) {
        self.raw(if index == 0 { "{\"value\":\"" } else { ",{\"value\":\"" });
        self.text(id);
        self.raw("\",\"$ref\":\"");
        self.text(base_url);
        self.raw(endpoint);
        self.raw("/");
        self.text(id);
        if let Some(display) = display {
            self.raw("\",\"display\":\"");
            self.text(display);
        }
        self.raw("\",\"type\":\"");
        self.text(kind);
        self.raw("\"}");
    }
}

impl fmt::Write for Json<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text(text);
        Ok(())
    }
}
