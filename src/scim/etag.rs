//! Entity tags (RFC 7644 section 3.14, RFC 9110 section 8.8.3) and the preconditions made of them.

use std::fmt;

use super::error::ScimError;

/// A resource's version. Its weak entity tag is `meta.version` and the `ETag` header.
///
/// `related` covers what a representation derives from other resources (a user's `groups`): a digest
/// of it, so that a conditional read never answers 304 while group membership has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version {
    /// Counts the changes of the resource's own state, from 1.
    pub number: u64,
    /// Digest of derived state; `None` when there is none.
    pub related: Option<u32>,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.related {
            None => write!(f, "W/\"{}\"", self.number),
            Some(digest) => write!(f, "W/\"{}-{digest:08x}\"", self.number),
        }
    }
}

/// One header's list of entity tags: `*` or tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntityTags {
    /// `*`: any existing resource.
    Any,
    /// Opaque tags without their `W/` prefix: SCIM compares weakly.
    Tags(Vec<String>),
}

/// The preconditions a request carries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// `If-Match`: proceed only when the version is one of these.
    pub if_match: Option<EntityTags>,
    /// `If-None-Match`: proceed only when the version is none of these.
    pub if_none_match: Option<EntityTags>,
}
