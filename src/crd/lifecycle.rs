//! `spec.lifecycle` and `spec.membership` of a `ScimTenant`: what becomes of leavers, and of members that
//! nobody knows yet.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Duration;

/// What becomes of users and groups that are deleted, come back, or are deactivated.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.retention) || self.onDelete == 'Retain'")
        .message("retention has no effect unless onDelete is Retain: set onDelete: Retain, or remove retention")
        .field_path(".retention"),
    validation = Rule::new("self.onRecreate != 'Restore' || self.onDelete == 'Retain'")
        .message("onRecreate: Restore needs onDelete: Retain, as what is purged cannot come back")
        .field_path(".onRecreate")
)]
pub struct Lifecycle {
    /// What DELETE does. `Purge`: the resource is erased. `Retain`: it is gone at once for every SCIM request (its
    /// `userName` is free again), and for the time of `retention` an operator can bring it back with
    /// `scim-operator restore`; then it is erased.
    #[serde(default)]
    pub on_delete: OnDelete,
    /// How long a deleted resource is retained, counted from its deletion, such as `30d` or `72h`. Absent: `30d`.
    /// A change applies to what is retained already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Duration>,
    /// What a POST does that has the `externalId` or the `userName` of a retained resource of its type.
    /// `NewIdentity`: it makes a resource with a new `id`. `Restore`: the resource comes back with its old `id`,
    /// with the attributes of the POST and in none of its groups. `externalId` is looked at before `userName`.
    #[serde(default)]
    pub on_recreate: OnRecreate,
    /// What else happens when `active` becomes false, by PUT, PATCH or Bulk.
    #[serde(default)]
    pub on_deactivate: OnDeactivate,
}

/// What else happens to a user that is deactivated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OnDeactivate {
    /// Remove the user from all groups, in the transaction that makes `active` false. Activating the user again
    /// does not put them back.
    #[serde(default)]
    pub remove_from_groups: bool,
}

// No doc comments on the variants: they would turn the enumeration into alternatives in the schema.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the field that has this type explains the values")]
pub enum OnDelete {
    #[default]
    Purge,
    Retain,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the field that has this type explains the values")]
pub enum OnRecreate {
    #[default]
    NewIdentity,
    Restore,
}

/// How the members of groups are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MembershipSpec {
    /// What becomes of a group push that names members that do not exist. `Reject`: the push is refused whole, and
    /// the error names every unknown member. `Pending`: the known members are taken; each unknown one is stored
    /// without being shown, and becomes a member the moment a user or group of that `id` appears.
    #[serde(default)]
    pub unknown_members: UnknownMembers,
    /// Whether the `value` of a member may also be the `externalId` of a user or group, for identity providers that
    /// push groups in terms of their own ids.
    #[serde(default)]
    pub match_external_id: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the field that has this type explains the values")]
pub enum UnknownMembers {
    #[default]
    Reject,
    Pending,
}
