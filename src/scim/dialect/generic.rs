//! `Generic`: tolerant where the RFCs leave room, for an identity provider that has no dialect of its own.
//!
//! The rules that most identity providers need; their dialects begin with this table.

use super::{Rule, Rules};

pub(super) const RULES: Rules = Rules::of(&[
    Rule::UnknownAttribute,
    Rule::UnknownSchema,
    Rule::MissingSchemas,
    Rule::StringBoolean,
    Rule::OpCase,
    Rule::RemoveWithValue,
    Rule::QualifiedNames,
    Rule::ReadOnlyInPatch,
    Rule::BareMember,
    Rule::AddByFilter,
    Rule::RemoveUnmatched,
]);

/// Rules of one provider that are watched for: a request that needs them has most likely come from it.
pub(super) const WATCHED: Rules =
    Rules::of(&[Rule::EnterpriseTypo, Rule::RootEnterprise, Rule::ManagerForm, Rule::UnquotedValue]);
