//! Reading rows: what the writer and the readers have in common.

use std::collections::HashMap;

use super::failure::Failure;
use super::pool::Link;
use super::value::{Value, get, optional_text, text};
use crate::scim::member::{GroupRef, Member};

/// The groups that resources belong to, direct and indirect, ordered by id; nothing for those without.
/// `UNION` drops what it has seen, so groups that contain each other end.
pub(super) async fn groups(
    link: &mut Link,
    tenant: i64,
    keys: &[i64],
) -> Result<HashMap<i64, Vec<GroupRef>>, Failure> {
    let sql = "WITH RECURSIVE above (root, key, direct) AS (
                   SELECT m.member, m.\"group\", TRUE FROM scim.member m
                   WHERE m.tenant = $1 AND m.member = ANY ($2)
                   UNION
                   SELECT a.root, m.\"group\", FALSE FROM above a
                   JOIN scim.member m ON m.tenant = $1 AND m.member = a.key
               ), each (root, key, direct) AS (
                   SELECT root, key, bool_or(direct) FROM above GROUP BY root, key
               )
               SELECT e.root, r.id, r.display, e.direct FROM each e
               JOIN scim.resource r ON r.tenant = $1 AND r.key = e.key ORDER BY e.root, r.id";
    let keys = Value::Ints(keys.iter().copied().map(Some).collect());
    let mut groups = HashMap::<_, Vec<_>>::new();
    for row in &link.query(sql, [tenant.into(), keys]).await? {
        let group = GroupRef { id: text(row, 1)?, display: optional_text(row, 2)?, direct: get(row, 3)? };
        groups.entry(get(row, 0)?).or_default().push(group);
    }
    Ok(groups)
}

/// The members of groups, each in the order in which they came.
pub(super) async fn members(
    link: &mut Link,
    tenant: i64,
    groups: &[i64],
) -> Result<HashMap<i64, Vec<Member>>, Failure> {
    let sql = "SELECT m.\"group\", r.id, r.type, r.display FROM scim.member m
               JOIN scim.resource r ON r.tenant = $1 AND r.key = m.member
               WHERE m.tenant = $1 AND m.\"group\" = ANY ($2) ORDER BY m.\"group\", m.member";
    let groups = Value::Ints(groups.iter().copied().map(Some).collect());
    let mut members = HashMap::<_, Vec<_>>::new();
    for row in &link.query(sql, [tenant.into(), groups]).await? {
        let member =
            Member { id: text(row, 1)?, resource_type: get(row, 2)?, display: optional_text(row, 3)? };
        members.entry(get(row, 0)?).or_default().push(member);
    }
    Ok(members)
}
