//! PATCH (RFC 7644 section 3.5.2): compiled against the schema before any store is touched, then
//! applied operation by operation.

use serde_json::Value;

use super::error::ScimError;
use super::member::MemberChange;
use super::resource::Attributes;
use super::schema::{AttributeRef, Leniency, ResourceType, Tolerated};

/// A PATCH body, checked against the schema.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch {
    /// In the order sent; a path-less operation has become one step an attribute.
    pub steps: Vec<Step>,
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
    /// The value filter between the brackets.
    pub filter: Option<super::filter::Filter>,
    /// The normalised value; `None` for `remove`, and for a value that clears.
    pub value: Option<Value>,
}

/// `op` (RFC 7644 section 3.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named as in the RFC")]
pub enum Op {
    Add,
    Remove,
    Replace,
}

impl Patch {
    /// Compiles a PATCH body. `lenient_op` accepts any case of `op`.
    pub fn compile(
        _body: Value,
        _resource_type: &ResourceType,
        _leniency: Leniency,
        _lenient_op: bool,
        _tolerated: &mut Tolerated,
    ) -> Result<Self, ScimError> {
        todo!()
    }
}

impl AttributeChange {
    /// Applies the change. Whether anything changed is for the caller to see by comparing.
    /// After the last step the caller calls [`ResourceType::finish`].
    pub fn apply(&self, _attributes: &mut Attributes) -> Result<(), ScimError> {
        todo!()
    }
}
