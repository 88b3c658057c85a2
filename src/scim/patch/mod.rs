//! PATCH (RFC 7644 section 3.5.2): compiled against the schema before any store is touched, then
//! applied operation by operation.
//!
//! What the RFC leaves open is decided so. A value is added once: values of a multi-valued attribute
//! are the same when their `value` and `type` are. Making a value primary takes the mark from the
//! others. `replace` of a complex attribute sets the sub-attributes given and leaves the others.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use super::dialect::{Rule, Tolerated};
use super::member::MemberChange;
use super::schema::AttributeRef;

mod apply;
mod compile;
mod members;

/// URN of the PATCH body's schema.
pub const PATCH_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// Operations that one PATCH may hold.
pub const MAX_OPERATIONS: usize = 1000;

/// A PATCH body, checked against the schema.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch {
    /// In the order sent; a path-less operation has become one step an attribute.
    pub steps: Vec<Step>,
    /// What was checked and then forgotten, by its path: a password.
    pub discarded: Vec<String>,
}

/// One step of a PATCH.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Changes the resource's own attributes.
    Attributes(AttributeChange),
    /// Changes a group's membership.
    Members(MemberChange),
}

/// A change of the resource's own attributes.
#[derive(Debug, Clone, PartialEq)]
pub struct AttributeChange {
    /// Add, replace or remove.
    pub op: Op,
    /// What it is about.
    pub target: AttributeRef,
    /// The value filter between the brackets, and what to do when it matches nothing.
    pub filter: Option<(super::filter::Filter, Unmatched)>,
    /// The normalised value; `None` for a value that clears. For `remove`, `None` removes the whole
    /// target and a list only the values in it.
    pub value: Option<Value>,
    /// Whether the filter matched nothing when the change was applied, and that was tolerated.
    pub unmatched: Noted,
}

/// Something that shows only when a change is applied, inside the store's transaction. It says nothing of
/// what the change is, so that it makes no difference between two.
#[derive(Debug, Default)]
pub struct Noted(AtomicBool);

impl Noted {
    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Clone for Noted {
    fn clone(&self) -> Self {
        Self(AtomicBool::new(self.is_set()))
    }
}

impl PartialEq for Noted {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Patch {
    /// Whether applying it may tolerate something that compiling it could not see.
    #[must_use]
    pub fn may_tolerate(&self) -> bool {
        self.filtered().any(|(_, unmatched)| *unmatched != Unmatched::Refuse)
    }

    /// Reports what was tolerated when the patch was applied.
    pub fn report(&self, tolerated: &mut Tolerated) {
        for (change, _) in self.filtered().filter(|(change, _)| change.unmatched.is_set()) {
            let rule = match change.op {
                Op::Add => Rule::AddByFilter,
                Op::Replace => Rule::ReplaceByFilter,
                Op::Remove => Rule::RemoveUnmatched,
            };
            tolerated.report(rule, change.target.to_string());
        }
    }

    fn filtered(&self) -> impl Iterator<Item = (&AttributeChange, &Unmatched)> {
        self.steps.iter().filter_map(|step| match step {
            Step::Attributes(change) => change.filter.as_ref().map(|(_, unmatched)| (change, unmatched)),
            Step::Members(_) => None,
        })
    }
}

/// What to do when a value filter matches no value.
#[derive(Debug, Clone, PartialEq)]
pub enum Unmatched {
    /// The whole PATCH fails: `noTarget`.
    Refuse,
    /// Nothing: what is to be removed is not there.
    Ignore,
    /// Append this value, which the filter describes.
    Append(Value),
}

/// `op` (RFC 7644 section 3.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named as in the RFC")]
pub enum Op {
    Add,
    Remove,
    Replace,
}

#[cfg(test)]
mod tests;
