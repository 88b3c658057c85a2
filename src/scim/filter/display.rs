//! A parsed filter as text that parses back to the same tree.

use std::fmt;

use super::{Expression, Literal};

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Both operators associate to the left: a chain on the right keeps its parentheses.
            Self::And(left, right) => {
                Grouped(left, matches!(**left, Self::Or(..))).fmt(f)?;
                f.write_str(" and ")?;
                Grouped(right, matches!(**right, Self::And(..) | Self::Or(..))).fmt(f)
            }
            Self::Or(left, right) => {
                write!(f, "{left} or ")?;
                Grouped(right, matches!(**right, Self::Or(..))).fmt(f)
            }
            Self::Not(inner) => write!(f, "not ({inner})"),
            Self::Compare(attribute, operator, literal) => {
                write!(f, "{attribute} {} {literal}", operator.keyword())
            }
            Self::Present(attribute) => write!(f, "{attribute} pr"),
            Self::ValuePath(attribute, inner) => write!(f, "{attribute}[{inner}]"),
        }
    }
}

/// An operand, in parentheses when the flag says so.
struct Grouped<'a>(&'a Expression, bool);

impl fmt::Display for Grouped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(expression, grouped) = self;
        if *grouped { write!(f, "({expression})") } else { expression.fmt(f) }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Boolean(value) => value.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::String(text) => serde_json::Value::from(text.as_str()).fmt(f),
        }
    }
}
