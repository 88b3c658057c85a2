//! A filter's names and operators against the schema (RFC 7644 section 3.4.2.2).

use std::sync::Arc;

use super::{Expression, Filter, Literal, Operator, instant};
use crate::scim::error::ScimError;
use crate::scim::path::AttributePath;
use crate::scim::schema::{Attribute, AttributeRef, AttributeType, ResourceType, Returned};

impl Expression {
    /// Resolves the names for one type. An unknown attribute, or an operator that its type does not
    /// allow (`gt` on a boolean), is `invalidFilter`.
    pub fn resolve(&self, resource_type: &ResourceType) -> Result<Filter, ScimError> {
        self.resolve_in(Scope::Resource(resource_type))
    }

    /// Resolves the names for a query across types (RFC 7644 section 3.4.2.1): an attribute that this
    /// type does not have has no value, and a comparison that its type does not allow never holds.
    #[must_use]
    pub fn resolve_lenient(&self, resource_type: &ResourceType) -> Filter {
        let resolve = |inner: &Self| Box::new(inner.resolve_lenient(resource_type));
        match self {
            Self::And(left, right) => Filter::And(resolve(left), resolve(right)),
            Self::Or(left, right) => Filter::Or(resolve(left), resolve(right)),
            Self::Not(inner) => Filter::Not(resolve(inner)),
            Self::Compare(path, operator, literal) if resource_type.resolve(path).is_none() => {
                // No value equals null and differs from every other.
                match (operator, literal == &Literal::Null) {
                    (Operator::Eq, true) | (Operator::Ne, false) => Filter::Not(Box::new(Filter::Nothing)),
                    _ => Filter::Nothing,
                }
            }
            Self::Compare(..) | Self::Present(_) | Self::ValuePath(..) => {
                self.resolve(resource_type).unwrap_or(Filter::Nothing)
            }
        }
    }

    /// Resolves a value filter's names relative to a multi-valued or complex attribute. In the result
    /// an [`AttributeRef::attribute`] is a sub-attribute of it; the elements of a list of plain values
    /// are its `value`.
    pub fn resolve_within(&self, attribute: &AttributeRef) -> Result<Filter, ScimError> {
        self.resolve_in(Scope::Value(attribute))
    }

    fn resolve_in(&self, scope: Scope<'_>) -> Result<Filter, ScimError> {
        let resolve = |inner: &Self| Ok::<_, ScimError>(Box::new(inner.resolve_in(scope)?));
        Ok(match self {
            Self::And(left, right) => Filter::And(resolve(left)?, resolve(right)?),
            Self::Or(left, right) => Filter::Or(resolve(left)?, resolve(right)?),
            Self::Not(inner) => Filter::Not(resolve(inner)?),
            Self::Present(path) => Filter::Present(scope.attribute(path)?),
            Self::Compare(path, operator, literal) => compare(scope.attribute(path)?, *operator, literal)?,
            Self::ValuePath(path, inner) => {
                let attribute = scope.attribute(path)?;
                let of_values =
                    attribute.attribute.multi_valued || attribute.attribute.kind == AttributeType::Complex;
                if !of_values {
                    return Err(ScimError::invalid_filter(format!(
                        "{path} has a single value and no sub-attributes: it cannot have a value filter"
                    )));
                }
                let inner = inner.resolve_within(&attribute)?;
                Filter::ValuePath(attribute, Box::new(inner))
            }
        })
    }
}

/// What names are relative to.
#[derive(Clone, Copy)]
enum Scope<'a> {
    Resource(&'a ResourceType),
    Value(&'a AttributeRef),
}

impl Scope<'_> {
    fn attribute(self, path: &AttributePath) -> Result<AttributeRef, ScimError> {
        let found = match self {
            Self::Resource(resource_type) => resource_type.resolve(path).ok_or_else(|| {
                let hint = resource_type.hint(path);
                ScimError::invalid_filter(format!(
                    "{path} is not an attribute of {}{hint}",
                    resource_type.name
                ))
            }),
            Self::Value(attribute) => within(&attribute.attribute, path).ok_or_else(|| {
                let holder = &attribute.attribute.name;
                ScimError::invalid_filter(format!("{path} is not a sub-attribute of {holder}"))
            }),
        }?;
        let leaf = found.sub_attribute.as_ref().unwrap_or(&found.attribute);
        if leaf.returned == Returned::Never {
            return Err(ScimError::invalid_filter(format!(
                "{path} is never returned and cannot be filtered on"
            )));
        }
        Ok(found)
    }
}

/// A sub-attribute, as an attribute of the value that holds it.
fn within(attribute: &Attribute, path: &AttributePath) -> Option<AttributeRef> {
    if path.schema.is_some() || path.sub_attribute.is_some() {
        return None;
    }
    let found = if attribute.kind == AttributeType::Complex {
        Arc::clone(attribute.sub_attribute(&path.attribute)?)
    } else if path.attribute.eq_ignore_ascii_case("value") {
        Arc::new(Attribute { name: "value".into(), multi_valued: false, ..attribute.clone() })
    } else {
        return None;
    };
    Some(AttributeRef { extension: None, attribute: found, sub_attribute: None })
}

fn compare(mut attribute: AttributeRef, operator: Operator, literal: &Literal) -> Result<Filter, ScimError> {
    if *literal == Literal::Null {
        let present = Filter::Present(attribute);
        return match operator {
            Operator::Eq => Ok(Filter::Not(Box::new(present))),
            Operator::Ne => Ok(present),
            _ => Err(ScimError::invalid_filter(format!(
                "{} cannot compare with null; only eq and ne can",
                operator.keyword()
            ))),
        };
    }
    if attribute.sub_attribute.is_none() && attribute.attribute.kind == AttributeType::Complex {
        // `emails co "x"` compares what the values' `value` says.
        attribute.sub_attribute = attribute.attribute.sub_attribute("value").cloned();
        if attribute.sub_attribute.is_none() {
            return Err(ScimError::invalid_filter(format!(
                "{} is complex; compare one of its sub-attributes",
                attribute.attribute.name
            )));
        }
    }
    let leaf = attribute.sub_attribute.as_ref().unwrap_or(&attribute.attribute);
    let (name, keyword) = (attribute.to_string(), operator.keyword());
    if !allowed(leaf.kind, operator) {
        return Err(ScimError::invalid_filter(format!(
            "{keyword} cannot compare {name}, {}",
            kind(leaf.kind)
        )));
    }
    let fits = match (leaf.kind, literal) {
        (AttributeType::Boolean, Literal::Boolean(_))
        | (AttributeType::Integer | AttributeType::Decimal, Literal::Number(_))
        | (AttributeType::String | AttributeType::Reference | AttributeType::Binary, Literal::String(_)) => {
            true
        }
        (AttributeType::DateTime, Literal::String(text)) => instant(text).is_some(),
        _ => false,
    };
    if !fits {
        return Err(ScimError::invalid_filter(format!(
            "{name} is {}: it cannot be compared with {literal}",
            kind(leaf.kind)
        )));
    }
    Ok(Filter::Compare(attribute, operator, literal.clone()))
}

fn allowed(kind: AttributeType, operator: Operator) -> bool {
    match operator {
        Operator::Eq | Operator::Ne => kind != AttributeType::Complex,
        Operator::Co | Operator::Sw | Operator::Ew => {
            matches!(kind, AttributeType::String | AttributeType::Reference | AttributeType::Binary)
        }
        Operator::Gt | Operator::Ge | Operator::Lt | Operator::Le => {
            !matches!(kind, AttributeType::Boolean | AttributeType::Binary | AttributeType::Complex)
        }
    }
}

fn kind(kind: AttributeType) -> &'static str {
    match kind {
        AttributeType::String => "a string (text in double quotes)",
        AttributeType::Boolean => "a boolean (true or false)",
        AttributeType::Decimal => "a number",
        AttributeType::Integer => "an integer",
        AttributeType::DateTime => "a date and time (such as \"2011-05-13T04:42:34Z\")",
        AttributeType::Binary => "binary (base64 in double quotes)",
        AttributeType::Reference => "a reference (a URI in double quotes)",
        AttributeType::Complex => "complex",
    }
}
