//! What only the whole resource shows: required attributes, one primary value, `schemas`, and what
//! PUT must leave as it is (RFC 7643 sections 2.2, 2.4 and 3; RFC 7644 section 3.5.1).

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::model::{Attribute, AttributeType, Mutability, ResourceType, Returned};
use super::normalize::{Place, Step};
use crate::scim::error::ScimError;
use crate::scim::resource::Attributes;

impl ResourceType {
    /// Checks what only the whole resource shows, after POST: required attributes present, one
    /// primary at most, `schemas` in step with the extensions that have values. What a change left
    /// empty is removed, and attributes are put in the schema's order.
    pub fn finish(&self, attributes: &mut Attributes) -> Result<(), ScimError> {
        self.finish_change(None, attributes)
    }

    /// The same after PATCH. What the change left as it was is not asked about: a schema that asks for
    /// more than it did when a value was stored does not stand in the way of other changes.
    pub fn finish_change(
        &self,
        current: Option<&Attributes>,
        attributes: &mut Attributes,
    ) -> Result<(), ScimError> {
        attributes.retain(|_, value| !prune(value));
        self.complete_schemas(attributes);
        let top_level: Vec<&Arc<Attribute>> = self.top_level().collect();
        whole(&top_level, current, attributes, None)?;
        order(&top_level, attributes);
        Ok(())
    }

    /// Makes `new` the successor of `current` for PUT (RFC 7644 section 3.5.1): read-only values are
    /// kept, an immutable value that differs is a `mutability` error. An immutable value that `new`
    /// leaves out is kept: nothing a client does removes it. What clients are never shown is kept too,
    /// as they cannot send it back: what the schema does not define any more, and what is never returned.
    pub fn succeed(&self, current: &Attributes, mut new: Attributes) -> Result<Attributes, ScimError> {
        let top_level: Vec<&Arc<Attribute>> = self.top_level().collect();
        succeed(&top_level, current, &mut new, None)?;
        self.finish(&mut new)?;
        Ok(new)
    }

    /// `schemas` lists the base schema and the extensions that have values, no more and no less. Values
    /// of an extension that is gone keep its URN there, for the day that it comes back.
    pub(in crate::scim) fn complete_schemas(&self, attributes: &mut Attributes) {
        let used = self.extensions.iter().map(|extension| &extension.schema.id);
        let used = used.filter(|id| attributes.contains_key(*id));
        let mut schemas: Vec<Value> =
            std::iter::once(&self.schema.id).chain(used).map(|id| Value::from(id.as_str())).collect();
        let known = |name: &str| self.extensions.iter().any(|extension| extension.schema.id == name);
        schemas.extend(
            attributes
                .iter()
                .filter(|(name, value)| value.is_object() && name.contains(':') && !known(name))
                .map(|(name, _)| Value::from(name.as_str())),
        );
        attributes.insert("schemas".to_owned(), Value::Array(schemas));
    }
}

/// Removes what is unassigned (RFC 7643 section 2.5) below a value; whether the value itself is.
/// Recursion ends where a stored value does, and those are no deeper than their schema.
fn prune(value: &mut Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(values) => {
            values.retain_mut(|value| !prune(value));
            values.is_empty()
        }
        Value::Object(values) => {
            values.retain(|_, value| !prune(value));
            values.is_empty()
        }
        _ => false,
    }
}

/// Puts attributes in the schema's order, where they mostly are already.
fn order(top_level: &[&Arc<Attribute>], attributes: &mut Attributes) {
    let place = |name: &str| top_level.iter().position(|attribute| attribute.name == name);
    let place = |name: &str| place(name).unwrap_or(top_level.len());
    if attributes.keys().map(|name| place(name)).is_sorted() {
        return;
    }
    let mut ordered: Vec<(String, Value)> = std::mem::take(attributes).into_iter().collect();
    ordered.sort_by_key(|(name, _)| place(name));
    attributes.extend(ordered);
}

/// One value of a multi-valued attribute may be primary (RFC 7643 section 2.4).
pub(super) fn one_primary(
    attribute: &Attribute,
    values: &[Value],
    place: &Place<'_>,
) -> Result<(), ScimError> {
    let is_primary = |value: &&Value| value.get("primary") == Some(&Value::Bool(true));
    if attribute.sub_attribute("primary").is_some() && values.iter().filter(is_primary).count() > 1 {
        return Err(ScimError::invalid_value(format!(
            "\"{place}\" has more than one value with \"primary\": true; one at most may be primary"
        )));
    }
    Ok(())
}

/// Checks what is required, in what differs from `current`. Goes by the values that are there, for most
/// attributes have none.
fn whole<A: AsRef<Attribute>>(
    attributes: &[A],
    current: Option<&Map<String, Value>>,
    object: &Map<String, Value>,
    place: Option<&Place<'_>>,
) -> Result<(), ScimError> {
    for attribute in attributes.iter().map(AsRef::as_ref).filter(|attribute| attribute.required) {
        let ours = attribute.mutability == Mutability::ReadOnly || attribute.is_discarded();
        let asked = current.is_none_or(|current| current.contains_key(&attribute.name));
        if !ours && asked && !object.contains_key(&attribute.name) {
            let place = Place { parent: place, step: Step::Name(&attribute.name) };
            return Err(ScimError::invalid_value(format!("\"{place}\" is required")));
        }
    }
    for (name, value) in object {
        let Some(attribute) = attributes.iter().map(AsRef::as_ref).find(|a| a.name == *name) else {
            continue;
        };
        let before = current.and_then(|current| current.get(name));
        if before == Some(value) {
            continue;
        }
        let place = Place { parent: place, step: Step::Name(name) };
        if attribute.required && value.as_str().is_some_and(|text| text.trim().is_empty()) {
            return Err(ScimError::invalid_value(format!("\"{place}\" is required and must not be blank")));
        }
        match value {
            Value::Object(value) => {
                whole(&attribute.sub_attributes, before.and_then(Value::as_object), value, Some(&place))?;
            }
            Value::Array(values) => {
                one_primary(attribute, values, &place)?;
                let before = before.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                for (index, value) in values.iter().enumerate() {
                    let place = Place { parent: Some(&place), step: Step::Index(index) };
                    if let Value::Object(object) = value
                        && !before.contains(value)
                    {
                        whole(&attribute.sub_attributes, None, object, Some(&place))?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn succeed<A: AsRef<Attribute>>(
    attributes: &[A],
    current: &Map<String, Value>,
    new: &mut Map<String, Value>,
    place: Option<&Place<'_>>,
) -> Result<(), ScimError> {
    for attribute in attributes.iter().map(AsRef::as_ref) {
        let place = Place { parent: place, step: Step::Name(&attribute.name) };
        let before = current.get(&attribute.name);
        match attribute.mutability {
            Mutability::ReadOnly => {
                new.shift_remove(&attribute.name);
                if let Some(before) = before {
                    new.insert(attribute.name.clone(), before.clone());
                }
            }
            Mutability::Immutable => {
                let Some(before) = before else { continue };
                let after = new.entry(&attribute.name).or_insert_with(|| before.clone());
                if !same(attribute, before, after) {
                    return Err(ScimError::mutability(format!(
                        "\"{place}\" is immutable: once it has a value, that value cannot change"
                    )));
                }
            }
            Mutability::ReadWrite | Mutability::WriteOnly => {
                if let Some(before) = before
                    && attribute.returned == Returned::Never
                {
                    new.entry(&attribute.name).or_insert_with(|| before.clone());
                }
                if attribute.kind == AttributeType::Complex {
                    succeed_parts(attribute, before, new, &place)?;
                }
            }
        }
    }
    for (name, before) in current {
        if !attributes.iter().any(|attribute| attribute.as_ref().name == *name) && !new.contains_key(name) {
            new.insert(name.clone(), before.clone());
        }
    }
    Ok(())
}

/// The parts of a complex attribute that PUT may write. Values of a multi-valued attribute are the
/// same value when their `value` is.
fn succeed_parts(
    attribute: &Attribute,
    before: Option<&Value>,
    new: &mut Map<String, Value>,
    place: &Place<'_>,
) -> Result<(), ScimError> {
    match before {
        Some(Value::Object(before)) => {
            let entry = new.entry(&attribute.name).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(after) = entry else { return Ok(()) };
            succeed(&attribute.sub_attributes, before, after, Some(place))?;
            if after.is_empty() {
                new.shift_remove(&attribute.name);
            }
        }
        Some(Value::Array(before)) => {
            let Some(Value::Array(after)) = new.get_mut(&attribute.name) else { return Ok(()) };
            let identified =
                before.iter().filter_map(|value| Some((value.get("value")?, value.as_object()?)));
            let before: HashMap<&Value, &Map<String, Value>> = identified.collect();
            for (index, after) in after.iter_mut().enumerate() {
                let Some(before) = after.get("value").and_then(|value| before.get(value)) else { continue };
                let place = Place { parent: Some(place), step: Step::Index(index) };
                if let Value::Object(after) = after {
                    succeed(&attribute.sub_attributes, before, after, Some(&place))?;
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// Whether two values are the same value of an attribute, its case rule heeded.
fn same(attribute: &Attribute, before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::String(before), Value::String(after)) if !attribute.case_exact => {
            before.to_lowercase() == after.to_lowercase()
        }
        _ => before == after,
    }
}
