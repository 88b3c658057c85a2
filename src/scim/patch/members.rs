//! PATCH of a group's `members`: compiled to changes of the membership table.

use serde_json::{Value, json};

use super::compile::Compiler;
use super::{Op, Step};
use crate::scim::dialect::Rule;
use crate::scim::error::ScimError;
use crate::scim::filter::{Filter, Literal, Operator, fold};
use crate::scim::member::MemberChange;
use crate::scim::schema::{AttributeRef, ResourceType, member_ids};

pub(super) fn are_members(resource_type: &ResourceType, target: &AttributeRef) -> bool {
    resource_type.has_members() && target.extension.is_none() && target.attribute.name == "members"
}

impl Compiler<'_> {
    pub(super) fn members(
        &mut self,
        op: Op,
        target: &AttributeRef,
        filter: Option<Filter>,
        value: Option<Value>,
    ) -> Result<(), ScimError> {
        let of_ids = target.sub_attribute.as_ref().is_none_or(|sub_attribute| sub_attribute.name == "value");
        if !of_ids || (filter.is_some() && target.sub_attribute.is_some()) {
            return Err(ScimError::mutability(format!(
                "{target} cannot be changed: a member is added or removed as a whole"
            )));
        }
        let value = value.filter(|value| op != Op::Remove || !value.is_null());
        let change = match (op, filter) {
            (Op::Add | Op::Replace, Some(_)) => {
                return Err(ScimError::mutability(
                    "the members that a value filter selects cannot be changed; remove them and add others",
                ));
            }
            (Op::Remove, Some(filter)) => match ids(&filter) {
                Some(ids) => MemberChange::Remove(ids),
                None => MemberChange::RemoveMatching(filter),
            },
            (Op::Remove, None) => match value {
                None if target.sub_attribute.is_some() => {
                    return Err(ScimError::mutability("members.value is immutable; remove members instead"));
                }
                None => MemberChange::Clear,
                Some(value) if self.applies(Rule::RemoveWithValue, "members") => {
                    MemberChange::Remove(self.member_ids(target, value)?)
                }
                Some(_) => {
                    return Err(ScimError::invalid_syntax(
                        "remove takes no value; name the member in the path (members[value eq \"ID\"])",
                    ));
                }
            },
            (Op::Add | Op::Replace, None) => {
                let value = value
                    .ok_or_else(|| ScimError::invalid_value("value is missing; it must list the members"))?;
                let ids = self.member_ids(target, value)?;
                if op == Op::Add { MemberChange::Add(ids) } else { MemberChange::Replace(ids) }
            }
        };
        let change = match change {
            MemberChange::Add(ids) | MemberChange::Remove(ids) if ids.is_empty() => return Ok(()),
            MemberChange::Replace(ids) if ids.is_empty() => MemberChange::Clear,
            change => change,
        };
        self.steps.push(Step::Members(change));
        Ok(())
    }

    /// The ids in a value of `members` or `members.value`, each once.
    fn member_ids(&mut self, target: &AttributeRef, value: Value) -> Result<Vec<String>, ScimError> {
        let ids = target.sub_attribute.is_some();
        let mut member = |value: Value| match value {
            Value::String(id) if ids || self.applies(Rule::BareMember, "members") => json!({"value": id}),
            value => value,
        };
        let value = match value {
            Value::Array(values) => Value::Array(values.into_iter().map(member).collect()),
            value => member(value),
        };
        let members = AttributeRef { sub_attribute: None, ..target.clone() };
        Ok(member_ids(self.normalize(&members, value)?))
    }
}

/// The ids of a filter that is nothing but `value eq "ID"`, or several of them joined by `or`.
fn ids(filter: &Filter) -> Option<Vec<String>> {
    match filter {
        Filter::Or(left, right) => {
            let mut found = ids(left)?;
            found.extend(ids(right)?);
            Some(found)
        }
        Filter::Compare(attribute, Operator::Eq, Literal::String(id))
            if attribute.attribute.name == "value" =>
        {
            Some(vec![fold(id, attribute.attribute.case_exact).into_owned()])
        }
        _ => None,
    }
}
