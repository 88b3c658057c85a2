//! Group membership (RFC 7643 section 4.2), which the store keeps as a table and not in a body.

use super::filter::Filter;

/// One direct member of a group, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// `value`: the member's id.
    pub id: String,
    /// `type`: name of the member's resource type, `User` or `Group`.
    pub resource_type: String,
    /// `display`: the member's `displayName`, when it has one.
    pub display: Option<String>,
}

/// One group that a resource belongs to: an entry of a user's `groups`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRef {
    /// `value`: the group's id.
    pub id: String,
    /// `display`: the group's `displayName`.
    pub display: Option<String>,
    /// `type`: `direct` when true, else `indirect` (through nested groups).
    pub direct: bool,
}

/// A change of a group's members, executed by the store against its membership table, so that its
/// cost follows the change and not the group.
#[derive(Debug, Clone, PartialEq)]
pub enum MemberChange {
    /// Add these member ids; those that are members already are left as they are.
    Add(Vec<String>),
    /// Remove these member ids; those that are no members are ignored.
    Remove(Vec<String>),
    /// Remove the members that a value filter matches (`members[display sw "a"]`).
    RemoveMatching(Filter),
    /// Remove every member.
    Clear,
    /// Make these ids the whole membership.
    Replace(Vec<String>),
}
