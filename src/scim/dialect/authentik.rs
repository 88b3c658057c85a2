//! `Authentik`: one operation a member, in chunks of `bulk.maxOperations`; removals carry the member.
//!
//! Groups are replaced with a path-less value that holds the whole group, `id` included. All of it
//! is in [`generic`].

use super::{Rules, generic};

pub(super) const RULES: Rules = generic::RULES;
