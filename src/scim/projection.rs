//! `attributes` and `excludedAttributes` (RFC 7644 section 3.9) under the `returned` rules of
//! RFC 7643 section 2.2: `always` cannot be taken away, `never` cannot be had, `request` must be named.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::error::ScimError;
use super::path::AttributePath;
use super::resource::Load;
use super::schema::{Attribute, ResourceType, Returned};

/// What a client asked to see.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Projection {
    /// Neither parameter: everything whose `returned` is `always` or `default`.
    #[default]
    Default,
    /// `attributes`: these and what is always returned.
    Only(Vec<AttributePath>),
    /// `excludedAttributes`: the default without these.
    Without(Vec<AttributePath>),
}

impl Projection {
    /// From the two parameters (comma-separated lists, split already); both at once is `invalidValue`.
    pub fn parse(attributes: &[&str], excluded: &[&str]) -> Result<Self, ScimError> {
        let parse = |names: &[&str]| -> Result<Vec<AttributePath>, ScimError> {
            let names = names.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
            names.map(AttributePath::parse).collect()
        };
        let (attributes, excluded) = (parse(attributes)?, parse(excluded)?);
        match (attributes.is_empty(), excluded.is_empty()) {
            (true, true) => Ok(Self::Default),
            (false, true) => Ok(Self::Only(attributes)),
            (true, false) => Ok(Self::Without(excluded)),
            (false, false) => Err(ScimError::invalid_value(
                "\"attributes\" and \"excludedAttributes\" exclude each other: send one of them",
            )),
        }
    }

    /// Which related data a type's representation needs under this projection. A user's groups are
    /// always needed: its version covers them, and every answer has a version.
    #[must_use]
    pub fn load(&self, resource_type: &ResourceType) -> Load {
        let members = resource_type.has_members()
            && match self {
                Self::Default => true,
                Self::Only(paths) => Selection::of(resource_type, paths).touches("members"),
                Self::Without(paths) => !Selection::of(resource_type, paths).names("members"),
            };
        Load { members, groups: resource_type.has_groups() }
    }

    /// Removes from a full representation what this projection does not show. Names that the type
    /// does not have are ignored.
    pub fn apply(&self, resource_type: &ResourceType, representation: &mut Value) {
        let Value::Object(resource) = representation else { return };
        let top_level: Vec<&Arc<Attribute>> = resource_type.top_level().collect();
        match self {
            Self::Default => without(&top_level, resource, &Selection::default()),
            Self::Only(paths) => only(&top_level, resource, &Selection::of(resource_type, paths)),
            Self::Without(paths) => without(&top_level, resource, &Selection::of(resource_type, paths)),
        }
    }
}

/// The names asked for, as a tree beside the schema's: extension, attribute, sub-attribute.
#[derive(Debug, Default)]
struct Selection {
    /// This was named itself, not only something below it.
    whole: bool,
    below: Vec<(Arc<Attribute>, Selection)>,
}

impl Selection {
    fn of(resource_type: &ResourceType, paths: &[AttributePath]) -> Self {
        let mut root = Self::default();
        for path in paths {
            if resource_type.is_base_schema(path) {
                for attribute in &resource_type.schema.attributes {
                    root.child(attribute).whole = true;
                }
            }
            let Some(found) = resource_type.resolve(path) else { continue };
            let extension = found.extension.as_deref().and_then(|urn| {
                resource_type.extensions.iter().map(|e| &e.container).find(|container| container.name == urn)
            });
            let steps = extension.into_iter().chain([&found.attribute]).chain(&found.sub_attribute);
            steps.fold(&mut root, |node, attribute| node.child(attribute)).whole = true;
        }
        root
    }

    fn child(&mut self, attribute: &Arc<Attribute>) -> &mut Self {
        let known = self.below.iter().position(|(known, _)| known.name == attribute.name);
        let index = known.unwrap_or_else(|| {
            self.below.push((Arc::clone(attribute), Self::default()));
            self.below.len() - 1
        });
        &mut self.below[index].1
    }

    fn get(&self, name: &str) -> Option<&Self> {
        self.below.iter().find(|(attribute, _)| attribute.name == name).map(|(_, selection)| selection)
    }

    fn touches(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn names(&self, name: &str) -> bool {
        self.get(name).is_some_and(|selection| selection.whole)
    }
}

/// Keeps what is selected, and what is always returned.
fn only<A: AsRef<Attribute>>(attributes: &[A], object: &mut Map<String, Value>, selection: &Selection) {
    object.retain(|name, value| {
        let Some(attribute) = attributes.iter().map(AsRef::as_ref).find(|a| a.name == *name) else {
            return false;
        };
        let selected = selection.get(name);
        match (attribute.returned, selected) {
            (Returned::Never, _) => false,
            (_, Some(selected)) if !selected.whole => {
                parts(value, |object| only(&attribute.sub_attributes, object, selected))
            }
            (_, Some(selected)) => parts(value, |object| named(&attribute.sub_attributes, object, selected)),
            (Returned::Always, None) => {
                parts(value, |object| without(&attribute.sub_attributes, object, &Selection::default()))
            }
            // An extension is a container: what is always returned of it is there without being asked for.
            (_, None) if name.contains(':') => {
                parts(value, |object| only(&attribute.sub_attributes, object, &Selection::default()))
            }
            (_, None) => false,
        }
    });
}

/// The parts of an attribute that was named whole: the default ones, and those named beside it.
fn named<A: AsRef<Attribute>>(attributes: &[A], object: &mut Map<String, Value>, selection: &Selection) {
    object.retain(|name, value| {
        let Some(attribute) = attributes.iter().map(AsRef::as_ref).find(|a| a.name == *name) else {
            return true;
        };
        let none = Selection::default();
        let selected = selection.get(name);
        match attribute.returned {
            Returned::Never => false,
            Returned::Request if selected.is_none() => false,
            _ => parts(value, |object| named(&attribute.sub_attributes, object, selected.unwrap_or(&none))),
        }
    });
}

/// Removes what is selected, and what is not returned by default.
fn without<A: AsRef<Attribute>>(attributes: &[A], object: &mut Map<String, Value>, selection: &Selection) {
    object.retain(|name, value| {
        let Some(attribute) = attributes.iter().map(AsRef::as_ref).find(|a| a.name == *name) else {
            return true;
        };
        let none = Selection::default();
        let selected = selection.get(name).unwrap_or(&none);
        match attribute.returned {
            Returned::Never | Returned::Request => false,
            Returned::Default if selected.whole && name.contains(':') => {
                parts(value, |object| only(&attribute.sub_attributes, object, &none))
            }
            Returned::Default if selected.whole => false,
            _ => parts(value, |object| without(&attribute.sub_attributes, object, selected)),
        }
    });
}

/// Projects the objects in a value; whether anything is left of it.
fn parts(value: &mut Value, mut project: impl FnMut(&mut Map<String, Value>)) -> bool {
    match value {
        Value::Object(object) => {
            project(object);
            !object.is_empty()
        }
        Value::Array(values) => {
            values.retain_mut(|value| match value {
                Value::Object(object) => {
                    project(object);
                    !object.is_empty()
                }
                _ => true,
            });
            !values.is_empty()
        }
        _ => true,
    }
}
