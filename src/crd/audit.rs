//! `spec.audit` of a `ScimTenant`: what the audit log holds, and for how long.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Duration;

/// The audit log: a row for each change of a user or group, with who made it. It is read with `scim-operator audit`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// How long rows are kept, such as `90d` or `26280h`. Absent: `90d`. A change applies to the rows that are there
    /// already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Duration>,
    /// How many rows are kept at most; the oldest go first, however young they are. Absent: 1,000,000, which take
    /// some 250 MB when they hold no values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1000, max = 1_000_000_000))]
    pub max_entries: Option<u64>,
    /// Keep the old and new values of the attributes that change, beside their names. Values are personal data, and
    /// then outlive the user that they were of: until `retention` is up. Passwords, and attributes that are
    /// never returned, are not kept whatever this says. Members of groups are named by their ids in any case.
    #[serde(default)]
    pub values: bool,
}
