//! Filters (RFC 7644 section 3.4.2.2): parsed to an [`Expression`], resolved against a resource type
//! to a [`Filter`], evaluated on a resource's JSON. The evaluator is the only meaning a filter has:
//! a store may use an index to find candidates, and what it answers equals what [`Filter::matches`] says.

use serde_json::Value;

use super::error::ScimError;
use super::path::AttributePath;
use super::schema::{AttributeRef, ResourceType};

mod display;
mod parse;

pub(super) use parse::Syntax;

/// A parsed filter; names are as written.
#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    /// Both hold.
    And(Box<Expression>, Box<Expression>),
    /// One holds.
    Or(Box<Expression>, Box<Expression>),
    /// It does not hold.
    Not(Box<Expression>),
    /// `attribute op value`.
    Compare(AttributePath, Operator, Literal),
    /// `attribute pr`.
    Present(AttributePath),
    /// `attribute[filter]`.
    ValuePath(AttributePath, Box<Expression>),
}

/// A filter whose attributes are resolved.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// Both hold.
    And(Box<Filter>, Box<Filter>),
    /// One holds.
    Or(Box<Filter>, Box<Filter>),
    /// It does not hold.
    Not(Box<Filter>),
    /// `attribute op value`.
    Compare(AttributeRef, Operator, Literal),
    /// `attribute pr`.
    Present(AttributeRef),
    /// `attribute[filter]`: some one value matches the whole filter.
    ValuePath(AttributeRef, Box<Filter>),
    /// Matches nothing: in a query across types, an attribute this type does not have.
    Nothing,
}

/// Comparison operators of RFC 7644 table 3, `pr` apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is named as in the RFC")]
pub enum Operator {
    Eq,
    Ne,
    Co,
    Sw,
    Ew,
    Gt,
    Ge,
    Lt,
    Le,
}

/// A comparison value: `compValue` of the grammar.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each is named as in the grammar")]
pub enum Literal {
    Null,
    Boolean(bool),
    Number(serde_json::Number),
    String(String),
}

/// Bounds on a filter's text, so that no filter costs more than they allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilterLimits {
    /// Bytes of text.
    pub max_length: usize,
    /// Nesting of parentheses, brackets and `not`.
    pub max_depth: usize,
    /// Comparisons in all.
    pub max_terms: usize,
}

impl Default for FilterLimits {
    fn default() -> Self {
        Self { max_length: 8 * 1024, max_depth: 32, max_terms: 256 }
    }
}

impl Expression {
    /// Resolves the names for one type. An unknown attribute, or an operator that its type does not
    /// allow (`gt` on a boolean), is `invalidFilter`.
    pub fn resolve(&self, _resource_type: &ResourceType) -> Result<Filter, ScimError> {
        todo!()
    }

    /// Resolves the names for a query across types (RFC 7644 section 3.4.2.1): an attribute that this
    /// type does not have matches nothing.
    #[must_use]
    pub fn resolve_lenient(&self, _resource_type: &ResourceType) -> Filter {
        todo!()
    }

    /// Resolves a value filter's names relative to a multi-valued complex attribute.
    pub fn resolve_within(&self, _attribute: &AttributeRef) -> Result<Filter, ScimError> {
        todo!()
    }
}

impl Filter {
    /// Whether a resource's full JSON ([`super::representation::to_value`]) matches.
    #[must_use]
    pub fn matches(&self, _resource: &Value) -> bool {
        todo!()
    }

    /// Whether one value of a multi-valued attribute matches a filter from
    /// [`Expression::resolve_within`].
    #[must_use]
    pub fn matches_element(&self, _element: &Value) -> bool {
        todo!()
    }
}
