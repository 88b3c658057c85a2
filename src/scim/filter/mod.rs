//! Filters (RFC 7644 section 3.4.2.2): parsed to an [`Expression`], resolved against a resource type
//! to a [`Filter`], evaluated on a resource's JSON. The evaluator is the only meaning a filter has:
//! a store may use an index to find candidates, and what it answers equals what [`Filter::matches`] says.

use super::path::AttributePath;
use super::schema::AttributeRef;

mod display;
mod evaluate;
mod parse;
mod resolve;

pub use evaluate::{fold, instant, sort_key};
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

#[cfg(test)]
mod tests;
