//! `EntraID`: Microsoft Entra ID, with and without the flag `aadOptscim062020`.
//!
//! Without the flag it writes `Replace`, `"False"` and removals that carry the members to remove
//! ([`generic`]); with it, dotted names in a path-less value. With or without, it replaces what does
//! not exist yet. Source: Microsoft's "Develop and plan provisioning for a SCIM endpoint".

use super::{Rule, Rules, generic};

pub(super) const RULES: Rules = generic::RULES.and(&[
    Rule::ReplaceByFilter,
    Rule::EmptyClears,
    Rule::EnterpriseTypo,
    Rule::RootEnterprise,
    Rule::ManagerForm,
    Rule::UnquotedValue,
]);
