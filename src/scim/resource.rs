//! A stored SCIM resource (RFC 7643 section 3).

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::etag::Version;
use super::member::{GroupRef, Member};
use super::schema::ResourceType;

/// A resource's own attributes: normalised by [`ResourceType::normalize`], canonical names, no
/// `meta`, no `groups`, no `members`, never a `password`.
pub type Attributes = Map<String, Value>;

/// A resource as the store holds it.
#[derive(Debug, Clone)]
pub struct Resource {
    /// Its type.
    pub resource_type: Arc<ResourceType>,
    /// `id`: a version 7 UUID, so that ids sort by creation.
    pub id: String,
    /// The number in its version; see [`Resource::version`].
    pub version: u64,
    /// `meta.created`.
    pub created: Timestamp,
    /// `meta.lastModified`.
    pub last_modified: Timestamp,
    /// [`Attributes`] serialised as one JSON object that begins with `schemas` and `id`: reads splice
    /// `groups`, `members` and `meta` onto these bytes without parsing them.
    pub body: Bytes,
    /// What other tables say of it.
    pub related: Related,
}

/// A resource where it lies: a list is written from its rows, which become no [`Resource`] on the way.
#[derive(Debug, Clone, Copy)]
pub struct View<'r> {
    /// [`Resource::resource_type`].
    pub resource_type: &'r ResourceType,
    /// [`Resource::id`].
    pub id: &'r str,
    /// [`Resource::version`].
    pub version: u64,
    /// [`Resource::created`].
    pub created: Timestamp,
    /// [`Resource::last_modified`].
    pub last_modified: Timestamp,
    /// [`Resource::body`].
    pub body: &'r [u8],
    /// [`Resource::related`].
    pub related: &'r Related,
}

/// What a resource's representation takes from the membership table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Related {
    /// For a group: its direct members. `None` when they were not loaded.
    pub members: Option<Vec<Member>>,
    /// For a user: its groups, direct and indirect, ordered by id. `None` when not loaded.
    pub groups: Option<Vec<GroupRef>>,
}

/// What of [`Related`] to load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Load a group's members.
    pub members: bool,
    /// Load a user's groups; needed for its [`Resource::version`].
    pub groups: bool,
}

impl Load {
    /// Everything.
    pub const ALL: Self = Self { members: true, groups: true };
    /// Everything but a group's members.
    pub const WITHOUT_MEMBERS: Self = Self { members: false, groups: true };

    /// Whether all of `other` is loaded.
    #[must_use]
    pub fn includes(self, other: Self) -> bool {
        self.members >= other.members && self.groups >= other.groups
    }
}

impl Resource {
    /// The same, borrowed.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        let Self { resource_type, id, version, created, last_modified, body, related } = self;
        View {
            resource_type,
            id,
            version: *version,
            created: *created,
            last_modified: *last_modified,
            body,
            related,
        }
    }

    /// The version with the digest of derived state; needs `groups` to be loaded for a user.
    #[must_use]
    pub fn version(&self) -> Version {
        self.view().version()
    }
}

impl View<'_> {
    /// [`Resource::version`].
    #[must_use]
    pub fn version(&self) -> Version {
        let related = self.related.groups.as_ref().filter(|groups| !groups.is_empty()).map(|groups| {
            // FNV-1a: a change detector over trusted values, not a defence.
            let mut digest = 0x811c_9dc5_u32;
            for group in groups {
                let direct: &[u8] = if group.direct { b"d" } else { b"i" };
                let display = group.display.as_deref().unwrap_or_default();
                for byte in [group.id.as_bytes(), direct, display.as_bytes(), b"\0"].into_iter().flatten() {
                    digest = (digest ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
                }
            }
            digest
        });
        Version { number: self.version, related }
    }
}
