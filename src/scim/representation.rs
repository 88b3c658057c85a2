//! A resource as a client sees it: stored bytes with `groups` or `members` and `meta` spliced on.
//!
//! [`write()`] is the hottest code there is: without a projection it copies the body and appends, and
//! parses nothing. [`to_value`] says the same as a JSON value, for filters and projections.

use std::io::Write as _;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde_json::{Map, Value, json};

use super::etag::Version;
use super::member::Member;
use super::projection::Projection;
use super::resource::{Resource, View};
use super::schema::ResourceType;

/// RFC 3339 in UTC with milliseconds.
const TIMESTAMPS: DateTimePrinter = DateTimePrinter::new().precision(Some(3));

/// Appends the JSON of a resource to `out`. `base_url` is the tenant's, with no slash at its end:
/// `https://scim.example.com/acme/scim/v2`. Without a projection no byte of the body is parsed.
pub fn write(resource: &Resource, base_url: &str, projection: &Projection, out: &mut Vec<u8>) {
    Writer::new(base_url, projection).write(resource.view(), out);
}

/// Writes resources for one client. What the resources of a page have in common is written out once.
#[derive(Debug)]
pub struct Writer<'w> {
    base_url: &'w str,
    projection: &'w Projection,
    /// The name of the type that the next two are for.
    resource_type: String,
    /// `meta` up to `created`.
    before_created: Vec<u8>,
    /// `meta` after `lastModified` up to the id in `location`.
    before_id: Vec<u8>,
    /// The time that was written last: resources that were pushed together share theirs.
    time: (Timestamp, Vec<u8>),
}

/// The full representation, for filters and projections.
///
/// # Panics
///
/// When the body is no JSON object, which a store never keeps.
#[must_use]
pub fn to_value(resource: View<'_>, base_url: &str) -> Value {
    let mut value: Map<String, Value> =
        serde_json::from_slice(resource.body).expect("the store keeps bodies that it wrote as JSON objects");
    resource.resource_type.hide(&mut value);
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
        "location": format!("{base_url}{}/{}", resource.resource_type.endpoint, resource.id),
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

impl<'w> Writer<'w> {
    /// For a tenant's base URL and what the client asked to see.
    #[must_use]
    pub fn new(base_url: &'w str, projection: &'w Projection) -> Self {
        let (resource_type, before_created, before_id) = Default::default();
        let time = (Timestamp::MIN, Vec::new());
        Self { base_url, projection, resource_type, before_created, before_id, time }
    }

    /// Appends the JSON of a resource to `out`, as [`write()`] does.
    pub fn write(&mut self, resource: View<'_>, out: &mut Vec<u8>) {
        if *self.projection == Projection::Default && resource.resource_type.shows_all_by_default {
            self.splice(resource, out);
            return;
        }
        let mut value = to_value(resource, self.base_url);
        self.projection.apply(resource.resource_type, &mut value);
        out.extend_from_slice(value.to_string().as_bytes());
    }

    fn splice(&mut self, resource: View<'_>, out: &mut Vec<u8>) {
        if self.resource_type != resource.resource_type.name {
            self.begin_type(resource.resource_type);
        }
        let base_url = self.base_url;
        let groups = resource.related.groups.as_deref().unwrap_or_default();
        let members = resource.related.members.as_deref().unwrap_or_default();
        let entry_size = 120 + base_url.len();
        out.reserve(resource.body.len() + 300 + base_url.len() + (groups.len() + members.len()) * entry_size);

        out.extend_from_slice(resource.body.strip_suffix(b"}").unwrap_or(resource.body));
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
                let Member { id, resource_type, display } = member;
                let endpoint = member_endpoint(resource_type);
                json.entry(index, base_url, endpoint, id, display.as_deref(), resource_type);
            }
            json.raw("]");
        }
        json.0.extend_from_slice(&self.before_created);
        self.timestamp(resource.created, json.0);
        json.raw("\",\"lastModified\":\"");
        self.timestamp(resource.last_modified, json.0);
        json.0.extend_from_slice(&self.before_id);
        json.text(resource.id);
        json.raw("\",\"version\":\"");
        json.version(resource.version());
        json.raw("\"}}");
    }

    fn begin_type(&mut self, resource_type: &ResourceType) {
        self.resource_type.clone_from(&resource_type.name);
        self.before_created.clear();
        let mut json = Json(&mut self.before_created);
        json.raw(",\"meta\":{\"resourceType\":\"");
        json.text(&resource_type.name);
        json.raw("\",\"created\":\"");
        self.before_id.clear();
        let mut json = Json(&mut self.before_id);
        json.raw("\",\"location\":\"");
        json.text(self.base_url);
        json.text(&resource_type.endpoint);
        json.raw("/");
    }

    fn timestamp(&mut self, timestamp: Timestamp, out: &mut Vec<u8>) {
        let (written, text) = &mut self.time;
        if *written != timestamp || text.is_empty() {
            text.clear();
            TIMESTAMPS.print_timestamp(&timestamp, &mut *text).expect("writing to memory does not fail");
            *written = timestamp;
        }
        out.extend_from_slice(text);
    }
}

/// JSON text at the end of a buffer.
struct Json<'a>(&'a mut Vec<u8>);

impl Json<'_> {
    fn raw(&mut self, json: &str) {
        self.0.extend_from_slice(json.as_bytes());
    }

    /// The inside of a JSON string.
    fn text(&mut self, text: &str) {
        // Looking at all of them looks at many at a time; stopping at the first would look at one by one.
        let escaped = text.bytes().fold(false, |found, byte| found | matches!(byte, 0..0x20 | b'"' | b'\\'));
        if !escaped {
            self.0.extend_from_slice(text.as_bytes());
            return;
        }
        let start = self.0.len();
        serde_json::to_writer(&mut *self.0, text).expect("a string can be written to memory");
        // Without the quotation marks.
        self.0.remove(start);
        self.0.pop();
    }

    /// The inside of a JSON string that holds an entity tag, as its `Display` says it.
    fn version(&mut self, version: Version) {
        let Version { number, related } = version;
        self.raw("W/\\\"");
        self.raw(itoa::Buffer::new().format(number));
        if let Some(digest) = related {
            write!(self.0, "-{digest:08x}").expect("writing to memory does not fail");
        }
        self.raw("\\\"");
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::scim::member::GroupRef;
    use crate::scim::resource::Related;
    use crate::scim::schema::{GROUP_SCHEMA, Registry, USER_SCHEMA};

    const BASE: &str = "https://scim.example.com/acme/scim/v2";

    fn resource(name: &str, body: &Value, related: Related) -> Resource {
        Resource {
            resource_type: Arc::clone(Registry::core().by_name(name).unwrap()),
            id: "0192".to_owned(),
            version: 3,
            created: "2026-01-23T04:56:22Z".parse().unwrap(),
            last_modified: "2026-05-13T04:42:34.987654Z".parse().unwrap(),
            body: Bytes::from(body.to_string()),
            related,
        }
    }

    fn written(resource: &Resource, projection: &Projection) -> String {
        let mut out = Vec::new();
        write(resource, BASE, projection, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn user_with_groups_is_body_then_groups_then_meta() {
        let groups = vec![
            GroupRef { id: "g1".to_owned(), display: Some("Tour \"Guides\"".to_owned()), direct: true },
            GroupRef { id: "g2".to_owned(), display: None, direct: false },
        ];
        let body = json!({"schemas": [USER_SCHEMA], "id": "0192", "userName": "b"});
        let user = resource("User", &body, Related { members: None, groups: Some(groups) });
        insta::assert_snapshot!(written(&user, &Projection::Default), @r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"0192","userName":"b","groups":[{"value":"g1","$ref":"https://scim.example.com/acme/scim/v2/Groups/g1","display":"Tour \"Guides\"","type":"direct"},{"value":"g2","$ref":"https://scim.example.com/acme/scim/v2/Groups/g2","type":"indirect"}],"meta":{"resourceType":"User","created":"2026-01-23T04:56:22.000Z","lastModified":"2026-05-13T04:42:34.987Z","location":"https://scim.example.com/acme/scim/v2/Users/0192","version":"W/\"3-04c02258\""}}"#);
    }

    #[test]
    fn group_with_members_shows_where_each_is() {
        let member = |id: &str, resource_type: &str, display: Option<&str>| Member {
            id: id.to_owned(),
            resource_type: resource_type.to_owned(),
            display: display.map(str::to_owned),
        };
        let members = vec![member("u1", "User", Some("Babs")), member("g2", "Group", None)];
        let body = json!({"schemas": [GROUP_SCHEMA], "id": "0192", "displayName": "g"});
        let group = resource("Group", &body, Related { members: Some(members), groups: None });
        insta::assert_snapshot!(written(&group, &Projection::Default), @r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"id":"0192","displayName":"g","members":[{"value":"u1","$ref":"https://scim.example.com/acme/scim/v2/Users/u1","display":"Babs","type":"User"},{"value":"g2","$ref":"https://scim.example.com/acme/scim/v2/Groups/g2","type":"Group"}],"meta":{"resourceType":"Group","created":"2026-01-23T04:56:22.000Z","lastModified":"2026-05-13T04:42:34.987Z","location":"https://scim.example.com/acme/scim/v2/Groups/0192","version":"W/\"3\""}}"#);
    }

    #[test]
    fn projection_shows_less() {
        let body = json!({"schemas": [USER_SCHEMA], "id": "0192", "userName": "b", "title": "t"});
        let user = resource("User", &body, Related::default());
        let projection = Projection::parse(&["userName", "meta.version"], &[]).unwrap();
        insta::assert_snapshot!(written(&user, &projection), @r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"0192","userName":"b","meta":{"version":"W/\"3\""}}"#);
    }

    fn display() -> impl Strategy<Value = Option<String>> {
        proptest::option::of(any::<String>())
    }

    proptest! {
        #[test]
        fn spliced_bytes_say_what_the_value_says(
            user_name in any::<String>(),
            groups in proptest::option::of(prop::collection::vec((any::<String>(), display(), any::<bool>()), 0..4)),
            members in proptest::option::of(prop::collection::vec((any::<String>(), any::<bool>(), display()), 0..4)),
            base in "https://[a-z\"\\\\/é]{1,9}",
            version in any::<u64>(),
            seconds in -60_000_000_000_i64..250_000_000_000,
            nanoseconds in 0..1_000_000_000_i32,
        ) {
            let groups = groups.map(|groups| {
                groups.into_iter().map(|(id, display, direct)| GroupRef { id, display, direct }).collect()
            });
            let members = members.map(|members| {
                let kind = |group| if group { "Group" } else { "User" }.to_owned();
                let member = |(id, group, display)| Member { id, resource_type: kind(group), display };
                members.into_iter().map(member).collect()
            });
            let body = json!({"schemas": [USER_SCHEMA], "id": "0192", "userName": user_name});
            let mut resource = resource("User", &body, Related { members, groups });
            resource.version = version;
            resource.created = Timestamp::new(seconds, nanoseconds).unwrap();
            let mut out = b"before".to_vec();
            write(&resource, &base, &Projection::Default, &mut out);
            let mut value = to_value(resource.view(), &base);
            prop_assert_eq!(std::str::from_utf8(&out[6..]).unwrap(), value.to_string());
            if resource.related.members.as_ref().is_none_or(Vec::is_empty) {
                let full = value.clone();
                Projection::Default.apply(&resource.resource_type, &mut value);
                prop_assert_eq!(value, full);
            }
        }
    }
}
