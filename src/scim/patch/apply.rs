//! One change of a resource's attributes (RFC 7644 sections 3.5.2.1 to 3.5.2.3).

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::{AttributeChange, Op, Unmatched};
use crate::scim::error::ScimError;
use crate::scim::filter::{Filter, fold};
use crate::scim::resource::Attributes;
use crate::scim::schema::{Attribute, AttributeType, Mutability};

impl AttributeChange {
    /// Applies the change. Whether anything changed is for the caller to see by comparing.
    /// After the last step the caller calls [`crate::scim::schema::ResourceType::finish`].
    pub fn apply(&self, attributes: &mut Attributes) -> Result<(), ScimError> {
        let Some(urn) = &self.target.extension else { return self.apply_to(attributes) };
        self.apply_to(object_at(attributes, urn))?;
        remove_empty(attributes, urn);
        Ok(())
    }

    /// In the object that holds the attribute: the resource, or an extension.
    fn apply_to(&self, holder: &mut Map<String, Value>) -> Result<(), ScimError> {
        let attribute = self.target.attribute.as_ref();
        self.apply_to_attribute(attribute, holder)?;
        remove_empty(holder, &attribute.name);
        Ok(())
    }

    fn apply_to_attribute(
        &self,
        attribute: &Attribute,
        holder: &mut Map<String, Value>,
    ) -> Result<(), ScimError> {
        match (&self.filter, &self.target.sub_attribute) {
            (Some((filter, unmatched)), _) => self.apply_to_matches(holder, filter, unmatched),
            (None, None) if attribute.multi_valued => self.apply_to_list(holder),
            (None, None) if attribute.kind == AttributeType::Complex && self.value.is_some() => {
                merge(attribute, object_at(holder, &attribute.name), self.value.as_ref())
            }
            (None, None) => put(attribute, holder, self.value.as_ref()),
            (None, Some(part)) if attribute.multi_valued => {
                let elements = list_at(holder, &attribute.name);
                if let (true, Some(value)) = (elements.is_empty(), &self.value) {
                    elements.push(Value::Object(Map::from_iter([(part.name.clone(), value.clone())])));
                }
                self.each(elements, |element| match element {
                    Value::Object(element) => put(part, element, self.value.as_ref()),
                    _ => Ok(()),
                })
            }
            (None, Some(part)) => put(part, object_at(holder, &attribute.name), self.value.as_ref()),
        }
    }

    /// A multi-valued attribute as a whole.
    fn apply_to_list(&self, holder: &mut Map<String, Value>) -> Result<(), ScimError> {
        let attribute = self.target.attribute.as_ref();
        match (self.op, &self.value) {
            (Op::Add, Some(Value::Array(added))) => {
                let immutable = attribute.mutability == Mutability::Immutable;
                let before = if immutable { holder.get(&attribute.name).cloned() } else { None };
                add(attribute, list_at(holder, &attribute.name), added)?;
                guard(attribute, before.as_ref(), holder.get(&attribute.name))
            }
            (Op::Remove, Some(Value::Array(removed))) => {
                let removed: HashSet<String> =
                    removed.iter().map(|value| identity(attribute, value, Kind::IfGiven)).collect();
                let elements = list_at(holder, &attribute.name);
                let before = elements.len();
                elements.retain(|element| {
                    !removed.contains(&identity(attribute, element, Kind::Given))
                        && !removed.contains(&identity(attribute, element, Kind::Any))
                });
                if attribute.mutability == Mutability::Immutable && elements.len() != before {
                    return Err(immutable(attribute));
                }
                Ok(())
            }
            _ => put(attribute, holder, self.value.as_ref()),
        }
    }

    /// The values that a filter selects.
    fn apply_to_matches(
        &self,
        holder: &mut Map<String, Value>,
        filter: &Filter,
        unmatched: &Unmatched,
    ) -> Result<(), ScimError> {
        let attribute = self.target.attribute.as_ref();
        let elements = list_at(holder, &attribute.name);
        let matched: Vec<bool> = elements.iter().map(|element| filter.matches_element(element)).collect();
        if !matched.contains(&true) {
            if *unmatched != Unmatched::Refuse {
                self.unmatched.set();
            }
            return match unmatched {
                Unmatched::Ignore => Ok(()),
                Unmatched::Append(value) => add(attribute, elements, std::slice::from_ref(value)),
                Unmatched::Refuse => Err(ScimError::no_target(format!(
                    "no value of {} matches the filter of the path",
                    self.target.attribute.name
                ))),
            };
        }
        if attribute.mutability == Mutability::Immutable {
            return Err(immutable(attribute));
        }
        let (part, value) = (&self.target.sub_attribute, self.value.as_ref());
        if part.is_none() && value.is_none() {
            let mut matched = matched.into_iter();
            elements.retain(|_| !matched.next().unwrap_or(false));
            return Ok(());
        }
        let mut primary_given = false;
        for (element, _) in elements.iter_mut().zip(&matched).filter(|(_, matched)| **matched) {
            match (part, element) {
                (Some(part), Value::Object(element)) => {
                    put(part, element, value)?;
                    primary_given |= part.name == "primary" && value == Some(&Value::Bool(true));
                }
                (None, Value::Object(element)) => {
                    if self.op == Op::Replace {
                        let given = value.and_then(Value::as_object);
                        for part in &attribute.sub_attributes {
                            let kept = part.mutability == Mutability::ReadOnly;
                            if !kept && given.is_none_or(|given| !given.contains_key(&part.name)) {
                                put(part, element, None)?;
                            }
                        }
                    }
                    merge(attribute, element, value)?;
                    primary_given |= value.is_some_and(is_primary);
                }
                (_, element) => *element = value.cloned().unwrap_or_default(),
            }
        }
        if primary_given {
            demote(attribute, elements, |index| matched[index]);
        }
        Ok(())
    }

    /// Every value of a multi-valued attribute.
    fn each(
        &self,
        elements: &mut [Value],
        change: impl FnMut(&mut Value) -> Result<(), ScimError>,
    ) -> Result<(), ScimError> {
        if self.target.attribute.mutability == Mutability::Immutable {
            return Err(immutable(&self.target.attribute));
        }
        elements.iter_mut().try_for_each(change)
    }
}

/// Removes an attribute that has become unassigned (RFC 7643 section 2.5).
fn remove_empty(holder: &mut Map<String, Value>, name: &str) {
    if holder.get(name).is_some_and(is_unassigned) {
        holder.shift_remove(name);
    }
}

/// The object at a name, made when there is none.
fn object_at<'a>(holder: &'a mut Map<String, Value>, name: &str) -> &'a mut Map<String, Value> {
    let value = holder.entry(name).or_insert_with(|| Value::Object(Map::new()));
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("it was made an object")
}

/// The list at a name, made when there is none. A value from a time when the attribute held one is the
/// first of the list.
fn list_at<'a>(holder: &'a mut Map<String, Value>, name: &str) -> &'a mut Vec<Value> {
    let value = holder.entry(name).or_insert_with(|| Value::Array(Vec::new()));
    if !value.is_array() {
        *value = Value::Array(vec![value.take()]);
    }
    value.as_array_mut().expect("it was made a list")
}

/// Sets or removes one attribute of an object.
fn put(
    attribute: &Attribute,
    object: &mut Map<String, Value>,
    value: Option<&Value>,
) -> Result<(), ScimError> {
    guard(attribute, object.get(&attribute.name), value)?;
    match value {
        Some(value) => {
            object.insert(attribute.name.clone(), value.clone());
        }
        None => {
            object.shift_remove(&attribute.name);
        }
    }
    Ok(())
}

/// Sets the parts given of a complex value.
fn merge(
    attribute: &Attribute,
    object: &mut Map<String, Value>,
    value: Option<&Value>,
) -> Result<(), ScimError> {
    let Some(Value::Object(parts)) = value else { return Ok(()) };
    let before = (attribute.mutability == Mutability::Immutable).then(|| Value::Object(object.clone()));
    for (name, value) in parts {
        let part = attribute.sub_attribute(name);
        guard_part(part.map(AsRef::as_ref), object.get(name), Some(value))?;
        object.insert(name.clone(), value.clone());
    }
    match before {
        Some(before) if before.as_object() != Some(object) => guard(attribute, Some(&before), None),
        _ => Ok(()),
    }
}

fn guard_part(
    part: Option<&Attribute>,
    before: Option<&Value>,
    after: Option<&Value>,
) -> Result<(), ScimError> {
    part.map_or(Ok(()), |part| guard(part, before, after))
}

/// Refuses a change of an immutable attribute that has a value, or of an extension's, all at once.
fn guard(attribute: &Attribute, before: Option<&Value>, after: Option<&Value>) -> Result<(), ScimError> {
    let Some(before) = before.filter(|before| !is_unassigned(before)) else { return Ok(()) };
    if attribute.mutability == Mutability::Immutable && Some(before) != after {
        return Err(immutable(attribute));
    }
    if after.is_none() && !attribute.multi_valued {
        for part in &attribute.sub_attributes {
            guard(part, before.get(&part.name), None)?;
        }
    }
    Ok(())
}

fn is_unassigned(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(values) => values.is_empty(),
        Value::Object(values) => values.is_empty(),
        _ => false,
    }
}

fn immutable(attribute: &Attribute) -> ScimError {
    let name = &attribute.name;
    ScimError::mutability(format!("{name} is immutable: once it has a value, that value cannot change"))
}

/// Adds values to a list, each once: one that is there already takes over what is given of it.
fn add(attribute: &Attribute, elements: &mut Vec<Value>, added: &[Value]) -> Result<(), ScimError> {
    let mut places: HashMap<String, usize> = HashMap::with_capacity(elements.len());
    for (index, element) in elements.iter().enumerate() {
        places.entry(identity(attribute, element, Kind::Given)).or_insert(index);
    }
    let mut primary = None;
    for value in added {
        let place = places.entry(identity(attribute, value, Kind::Given)).or_insert(elements.len());
        match elements.get_mut(*place) {
            None => elements.push(value.clone()),
            Some(Value::Object(element)) => merge(attribute, element, Some(value))?,
            Some(_) => {}
        }
        if is_primary(value) {
            primary = Some(*place);
        }
    }
    if let Some(primary) = primary {
        demote(attribute, elements, |index| index == primary);
    }
    Ok(())
}

fn is_primary(value: &Value) -> bool {
    value.get("primary") == Some(&Value::Bool(true))
}

/// Takes the primary mark from all values but those that were just given it.
fn demote(attribute: &Attribute, elements: &mut [Value], given: impl Fn(usize) -> bool) {
    if attribute.sub_attribute("primary").is_none() {
        return;
    }
    for (index, element) in elements.iter_mut().enumerate() {
        if !given(index) && is_primary(element) {
            element["primary"] = Value::Bool(false);
        }
    }
}

/// What of `type` is part of a value's identity.
#[derive(Clone, Copy)]
enum Kind {
    /// What it is, also when there is none.
    Given,
    /// What it is; when there is none, any.
    IfGiven,
    /// Any.
    Any,
}

/// What makes two values of a multi-valued attribute the same: `value` and `type` (RFC 7643 section
/// 2.4), or the whole where there is no `value`.
fn identity(attribute: &Attribute, element: &Value, kind: Kind) -> String {
    let text = |part: &Attribute, value: &Value| match value {
        Value::String(text) => fold(text, part.compares_exactly()).into_owned(),
        value => value.to_string(),
    };
    let Value::Object(parts) = element else { return text(attribute, element) };
    let part = |name: &str| Some(text(attribute.sub_attribute(name)?, parts.get(name)?));
    let Some(value) = part("value") else { return element.to_string() };
    match (kind, part("type")) {
        (Kind::Any, _) | (Kind::IfGiven, None) => format!("{value}\0*"),
        (_, Some(kind)) => format!("{value}\0={kind}"),
        (Kind::Given, None) => format!("{value}\0"),
    }
}
