//! The rows of a tenant, as an export has them: one JSON object each.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::scim::resource::Attributes;
use crate::store::audit::Operation;
use crate::store::index::{self, Entry};
use crate::store::shape::Shape;

/// Members that one row names at most.
const MEMBERS: usize = 1000;

/// A tenant as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tenant {
    /// `NAMESPACE/NAME`.
    pub name: String,
    /// The newest row of its audit log. Resources, members, what is retained and the log are the same as long as
    /// this is.
    pub head: u64,
    /// When that was; `None` when the row is not there any more.
    pub head_time: Option<Timestamp>,
    /// The last row of its audit log that is gone.
    pub pruned: u64,
    /// What is indexed, where the tenant has schemas of its own.
    pub shapes: Shapes,
}

/// What is indexed of a tenant's resources, by type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shapes(pub(in crate::store) BTreeMap<String, Shape>);

impl Shapes {
    /// Of what a store keeps, without what is about to go.
    pub(in crate::store) fn new(kept: impl IntoIterator<Item = (String, Shape)>) -> Self {
        let settled = |(name, shape)| (name, Shape { leaving: BTreeSet::new(), ..shape });
        Self(kept.into_iter().map(settled).collect())
    }

    /// The index entries of a resource of a type.
    pub(in crate::store) fn entries(&self, resource_type: &str, attributes: &Attributes) -> Vec<Entry> {
        match self.0.get(resource_type) {
            Some(shape) => index::entries_in(&shape.indexes, resource_type, attributes),
            None => index::entries_in(&Shape::initial(resource_type).indexes, resource_type, attributes),
        }
    }
}

/// A part of a tenant's rows. The first four are the same as long as [`Tenant::head`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// In the order of their making.
    Resources,
    /// By group, in the order of these and of their members.
    Members,
    /// In the order of deletion.
    Retained,
    /// In the order of the log.
    Changes,
    /// By group and member.
    Awaited,
    /// By the digest of their key.
    Answers,
    /// By fingerprint.
    Tokens,
}

impl Section {
    /// All of them, in the order of an export.
    pub const ALL: [Self; 7] = [
        Self::Resources,
        Self::Members,
        Self::Retained,
        Self::Changes,
        Self::Awaited,
        Self::Answers,
        Self::Tokens,
    ];

    /// Whether the section is the same as long as the tenant's head is.
    #[must_use]
    pub fn is_settled(self) -> bool {
        self <= Self::Changes
    }
}

/// One row.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Row {
    /// A resource.
    Resource(Resource),
    /// Some of a group's members.
    Members(Members),
    /// A deleted resource that can be brought back.
    Retained(Retained),
    /// A row of the audit log.
    Change(Change),
    /// A membership of which one side is not there.
    Awaited(Awaited),
    /// An answer to a request with an idempotency key.
    Answer(Answer),
    /// When a token was used last.
    Token(Token),
}

impl Row {
    /// Where it belongs.
    #[must_use]
    pub fn section(&self) -> Section {
        match self {
            Self::Resource(_) => Section::Resources,
            Self::Members(_) => Section::Members,
            Self::Retained(_) => Section::Retained,
            Self::Change(_) => Section::Changes,
            Self::Awaited(_) => Section::Awaited,
            Self::Answer(_) => Section::Answers,
            Self::Token(_) => Section::Tokens,
        }
    }
}

/// A resource.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resource {
    /// The name of its type.
    #[serde(rename = "type")]
    pub resource_type: String,
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: u64,
    /// `meta.created`.
    pub created: Timestamp,
    /// `meta.lastModified`.
    pub last_modified: Timestamp,
    /// The stored body, byte for byte.
    pub body: Box<RawValue>,
}

/// Some of a group's members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Members {
    /// The group's id.
    pub group: String,
    /// The members' ids: a thousand at most.
    pub members: Vec<String>,
}

/// A deleted resource that can be brought back.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retained {
    /// The name of its type.
    #[serde(rename = "type")]
    pub resource_type: String,
    /// Its id.
    pub id: String,
    /// The version it had.
    pub version: u64,
    /// `meta.created`.
    pub created: Timestamp,
    /// When it was deleted.
    pub deleted: Timestamp,
    /// The stored body, byte for byte.
    pub body: Box<RawValue>,
}

/// A row of the audit log.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Change {
    /// Its place in the log.
    pub sequence: u64,
    /// When.
    pub time: Timestamp,
    /// What was done.
    pub operation: Operation,
    /// The resource's type.
    #[serde(rename = "type")]
    pub resource_type: String,
    /// The resource's id.
    pub id: String,
    /// Its version before.
    pub before: Option<u64>,
    /// Its version after.
    pub after: Option<u64>,
    /// Who.
    pub actor: String,
    /// From where.
    pub client: Option<String>,
    /// In which request.
    pub request: String,
    /// The paths that changed.
    pub attributes: Vec<String>,
    /// Members that came and went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Box<RawValue>>,
    /// Old and new values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<Box<RawValue>>,
}

impl Change {
    /// The paths as stores keep them: each followed by a space.
    pub(in crate::store) fn paths(&self) -> String {
        self.attributes.iter().fold(String::new(), |paths, path| paths + path + " ")
    }
}

/// A membership of which one side is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Awaited {
    /// The group's id.
    pub group: String,
    /// The member's id, or its `externalId`.
    pub member: String,
    /// It was a member until one of them was deleted; else it was pushed before it was there.
    pub former: bool,
}

/// An answer to a request with an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Answer {
    /// SHA-256 of the key.
    pub key: super::Hex<32>,
    /// SHA-256 of what was asked.
    pub request: super::Hex<32>,
    /// When.
    pub answered: Timestamp,
    /// HTTP status.
    pub status: u16,
    /// `ETag`: the version's number,
    pub version: Option<u64>,
    /// and its digest of related data.
    pub related: Option<u32>,
    /// `Location`.
    pub location: Option<String>,
    /// The body, as text.
    pub body: Option<String>,
}

/// When a token was used last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Token {
    /// The first eight bytes of its SHA-256.
    pub token: super::Hex<8>,
    /// When, to the second.
    pub last_used: Timestamp,
}

/// A membership by the keys of a store and by ids.
pub(in crate::store) struct Pair {
    pub keys: (i64, i64),
    pub group: String,
    pub member: String,
}

/// Rows of a page of memberships in the order of their keys, each with the keys of its last. A row is full or the
/// last of its group, so that they are the same wherever pages end: what may go on is left to the next page.
pub(in crate::store) fn member_rows(page: Vec<Pair>, more: bool) -> Vec<((i64, i64), Members)> {
    let mut rows: Vec<((i64, i64), Members)> = Vec::new();
    for Pair { keys, group, member } in page {
        match rows.last_mut() {
            Some((last, row)) if last.0 == keys.0 && row.members.len() < MEMBERS => {
                *last = keys;
                row.members.push(member);
            }
            _ => rows.push((keys, Members { group, members: vec![member] })),
        }
    }
    if more && rows.last().is_some_and(|(_, row)| row.members.len() < MEMBERS) {
        rows.pop();
    }
    rows
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::scim::dialect::{Rules, Tolerated};
    use crate::scim::schema::Registry;

    #[test]
    fn entries_by_the_names_of_indexes_are_those_of_the_type() {
        let registry = Registry::core();
        let user = registry.by_name("User").unwrap();
        let group = registry.by_name("Group").unwrap();
        let bodies = [
            (
                user,
                json!({"userName": "Ann", "externalId": "X1", "displayName": "Ann", "emails": [
                {"value": "a@x.example"}, {"value": "A@x.example", "type": "work"}, {"type": "home"}]}),
            ),
            (user, json!({"userName": "ſ".repeat(1000)})),
            (group, json!({"displayName": "Staff", "externalId": "x"})),
        ];
        for (kind, mut body) in bodies {
            body["schemas"] = json!([kind.schema.id]);
            let normal = kind.normalize(body, Rules::NONE, &mut Tolerated::default()).unwrap().attributes;
            let by = |entry: &Entry| (entry.attribute.clone(), entry.value.clone());
            let (mut one, mut other) =
                (index::entries(kind, &normal), Shapes::default().entries(&kind.name, &normal));
            one.sort_by_key(by);
            other.sort_by_key(by);
            assert_eq!(one, other);
            assert!(!one.is_empty());
        }
    }

    proptest! {
        #[test]
        fn member_rows_are_the_same_wherever_pages_end(
            groups in prop::collection::vec(1_usize..3000, 1..6), size in 1001_usize..4000,
        ) {
            let all: Vec<(i64, i64)> =
                (1_i64..).zip(&groups).flat_map(|(g, n)| (1..=i64::try_from(*n).unwrap()).map(move |m| (g, m))).collect();
            let page = |from: usize, size: usize| {
                let pairs = all.iter().skip(from).take(size);
                pairs.map(|keys| Pair { keys: *keys, group: keys.0.to_string(), member: keys.1.to_string() }).collect::<Vec<_>>()
            };
            let whole: Vec<_> = member_rows(page(0, usize::MAX), false);
            let (mut paged, mut from) = (Vec::new(), 0);
            while from < all.len() {
                let page = page(from, size);
                let more = page.len() == size;
                let rows = member_rows(page, more);
                from = rows.last().map_or(all.len(), |(keys, _)| all.iter().position(|k| k == keys).unwrap() + 1);
                paged.extend(rows);
            }
            prop_assert_eq!(whole, paged);
        }
    }
}
