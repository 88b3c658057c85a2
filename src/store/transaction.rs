//! [`Transaction`]: what a backend does for `execute.rs`, row by row, and what a row holds.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;

use super::StoreError;
use super::audit;
use super::index::Entry;
use super::lifecycle::Leavers;
use crate::scim::member::{GroupRef, Member};
use crate::scim::resource::{Attributes, Related, Resource};
use crate::scim::schema::ResourceType;

/// A resource's row.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// The row's key in this database.
    pub key: i64,
    /// [`Resource::version`].
    pub version: u64,
    /// [`Resource::created`].
    pub created: Timestamp,
    /// [`Resource::last_modified`].
    pub last_modified: Timestamp,
    /// [`Resource::body`].
    pub body: Bytes,
}

/// What a row becomes.
#[derive(Debug)]
pub(super) struct Content {
    /// What groups show of it as a member.
    pub display: Option<String>,
    /// [`Resource::body`].
    pub body: Bytes,
}

/// Row operations of one tenant in one database transaction.
pub(super) trait Transaction: Leavers {
    /// The time of this transaction, in whole milliseconds.
    fn now(&self) -> Timestamp;
    /// The row of this type and id.
    async fn find(&mut self, resource_type: &str, id: &str) -> Result<Option<Row>, StoreError>;
    /// Adds a row, modified now, and counts it.
    async fn insert(
        &mut self,
        resource_type: &str,
        id: &str,
        version: u64,
        created: Timestamp,
        content: &Content,
    ) -> Result<i64, StoreError>;
    /// Sets a row's version and time, and its content when that changed.
    async fn update(
        &mut self,
        key: i64,
        version: u64,
        last_modified: Timestamp,
        content: Option<&Content>,
    ) -> Result<(), StoreError>;
    /// Removes a row, and counts it. Its index entries and memberships are removed before.
    async fn delete(&mut self, resource_type: &str, key: i64) -> Result<(), StoreError>;
    /// The index entries that a resource of a type has: of this type, and where the tenant's schemas have
    /// changed since the request began, of the type as it is by now.
    fn entries(&self, resource_type: &Arc<ResourceType>, attributes: &Attributes) -> Vec<Entry>;
    /// The id of a resource that has a unique entry's value. Before the attribute became unique, several
    /// may have got it.
    async fn owner(&mut self, entry: &Entry) -> Result<Option<String>, StoreError>;
    /// Adds an index entry; false when its value must be unique and is taken.
    async fn add_entry(&mut self, key: i64, entry: &Entry) -> Result<bool, StoreError>;
    /// Removes an index entry.
    async fn remove_entry(&mut self, key: i64, entry: &Entry) -> Result<(), StoreError>;
    /// The id of the resource of this key.
    async fn id(&mut self, key: i64) -> Result<Option<String>, StoreError>;
    /// The key of the user or group of this id.
    async fn member_key(&mut self, id: &str) -> Result<Option<i64>, StoreError>;
    /// Adds a member; false when it was one.
    async fn add_member(&mut self, group: i64, member: i64) -> Result<bool, StoreError>;
    /// Removes a member; false when it was none.
    async fn remove_member(&mut self, group: i64, member: i64) -> Result<bool, StoreError>;
    /// The keys of a group's members.
    async fn member_keys(&mut self, group: i64) -> Result<Vec<i64>, StoreError>;
    /// A group's members with keys above `after`, in the order of their keys.
    async fn members(
        &mut self,
        group: i64,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(i64, Member)>, StoreError>;
    /// The groups a resource belongs to, direct and indirect, ordered by id.
    async fn groups(&mut self, key: i64) -> Result<Vec<GroupRef>, StoreError>;
    /// Removes a resource from every group, and moves those groups' versions and times.
    async fn leave_groups(&mut self, key: i64) -> Result<Vec<Moved>, StoreError>;
    /// Moves the versions of the groups that show this resource as a member.
    async fn touch_groups(&mut self, key: i64) -> Result<Vec<Moved>, StoreError>;
    /// Appends a row to the tenant's audit log, with the next sequence and the write's [`super::Origin`]. Every move
    /// of a resource's version has its row.
    async fn record(&mut self, entry: audit::Entry<'_>) -> Result<(), StoreError>;
}

/// A resource whose version moved by one because of another.
#[derive(Debug)]
pub(super) struct Moved {
    pub resource_type: String,
    pub id: String,
    /// Its version now.
    pub version: u64,
}

impl Row {
    /// The resource of this row.
    pub(super) fn into_resource(
        self,
        resource_type: &Arc<ResourceType>,
        id: String,
        related: Related,
    ) -> Resource {
        let Self { key: _, version, created, last_modified, body } = self;
        Resource {
            resource_type: Arc::clone(resource_type),
            id,
            version,
            created,
            last_modified,
            body,
            related,
        }
    }
}

/// What a resource's row holds.
pub(super) fn content(id: &str, attributes: &Attributes) -> Result<Content, StoreError> {
    Ok(Content { display: display(attributes), body: write_body(id, attributes)? })
}

/// What groups show of a resource: its `displayName`.
pub(super) fn display(attributes: &Attributes) -> Option<String> {
    attributes.get("displayName").and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The stored body: `schemas` and `id` first, as [`Resource::body`] says.
pub(super) fn write_body(id: &str, attributes: &Attributes) -> Result<Bytes, StoreError> {
    let mut body = Vec::with_capacity(512);
    let mut write = |name: &str, value: &Value| {
        body.push(if body.is_empty() { b'{' } else { b',' });
        serde_json::to_writer(&mut body, name)?;
        body.push(b':');
        serde_json::to_writer(&mut body, value)
    };
    let written = (|| {
        write("schemas", attributes.get("schemas").unwrap_or(&Value::Array(Vec::new())))?;
        write("id", &Value::from(id))?;
        for (name, value) in attributes.iter().filter(|(name, _)| !matches!(name.as_str(), "schemas" | "id"))
        {
            write(name, value)?;
        }
        Ok::<_, serde_json::Error>(())
    })();
    written.map_err(|error| StoreError::Internal(format!("a resource cannot be serialised: {error}")))?;
    body.push(b'}');
    Ok(body.into())
}

/// The attributes of a stored body.
pub(super) fn parse_body(body: &[u8]) -> Result<Attributes, StoreError> {
    let mut attributes: Attributes = serde_json::from_slice(body)
        .map_err(|error| StoreError::Internal(format!("a stored resource is not JSON: {error}")))?;
    attributes.shift_remove("id");
    Ok(attributes)
}
