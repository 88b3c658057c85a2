//! Names to attributes: RFC 7644 section 3.10.
//!
//! A core or common attribute may carry its schema's URN, an extension's must. A bare extension URN
//! resolves to the extension itself, seen as a complex attribute whose name is the URN.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::model::{Attribute, AttributeRef, ResourceType, find};
use super::normalize::closest;
use crate::scim::path::AttributePath;

impl ResourceType {
    /// Resolves a parsed path; `None` when no schema of this type defines it. Knows the common
    /// attributes too (`schemas`, `id`, `externalId`, `meta` and its sub-attributes).
    #[must_use]
    pub fn resolve(&self, path: &AttributePath) -> Option<AttributeRef> {
        if let Some(extension) =
            self.extensions.iter().find(|extension| path.is_bare_urn(&extension.schema.id))
        {
            let attribute = Arc::clone(&extension.container);
            return Some(AttributeRef { extension: None, attribute, sub_attribute: None });
        }
        let schema = path.schema.as_deref().filter(|urn| !urn.eq_ignore_ascii_case(&self.schema.id));
        let (extension, attribute) = match schema {
            None => (None, self.core_attribute(&path.attribute)?),
            Some(urn) => {
                let extension = self.extensions.iter().find(|e| urn.eq_ignore_ascii_case(&e.schema.id))?;
                (Some(Arc::from(extension.schema.id.as_str())), extension.schema.attribute(&path.attribute)?)
            }
        };
        let sub_attribute = match path.sub_attribute.as_deref() {
            None => None,
            Some(name) => Some(Arc::clone(attribute.sub_attribute(name)?)),
        };
        Some(AttributeRef { extension, attribute: Arc::clone(attribute), sub_attribute })
    }

    /// `; did you mean "userName"?` for a path that does not resolve; empty when no name is close.
    #[must_use]
    pub fn hint(&self, path: &AttributePath) -> String {
        let holder = self.resolve(&AttributePath { sub_attribute: None, ..path.clone() });
        let close = match (&holder, path.sub_attribute.as_deref()) {
            (Some(holder), Some(name)) => {
                closest(name, holder.attribute.sub_attributes.iter().map(|part| part.name.as_str()))
            }
            (None, _) if path.schema.is_none() => {
                closest(&path.attribute, self.top_level().map(|attribute| attribute.name.as_str()))
            }
            _ => None,
        };
        close.map_or(String::new(), |name| format!("; did you mean {name:?}?"))
    }

    /// Takes from a stored body what the schemas do not define, where there may be such.
    pub(in crate::scim) fn hide(&self, body: &mut Map<String, Value>) {
        fn defined<A: AsRef<Attribute>>(attributes: &[A], object: &mut Map<String, Value>) {
            object.retain(|name, value| {
                let attribute = attributes.iter().map(AsRef::as_ref).find(|known| known.name == *name);
                let Some(attribute) = attribute else { return false };
                match value {
                    // An object from a time when the attribute was complex is one value now.
                    _ if attribute.sub_attributes.is_empty() => true,
                    Value::Object(object) => {
                        defined(&attribute.sub_attributes, object);
                        !object.is_empty()
                    }
                    Value::Array(elements) => {
                        for element in elements.iter_mut().filter_map(Value::as_object_mut) {
                            defined(&attribute.sub_attributes, element);
                        }
                        elements.retain(|element| element.as_object().is_none_or(|parts| !parts.is_empty()));
                        !elements.is_empty()
                    }
                    _ => true,
                }
            });
        }
        if self.hides {
            let top_level: Vec<&Arc<Attribute>> = self.top_level().collect();
            defined(&top_level, body);
            self.complete_schemas(body);
        }
    }

    /// Whether a group's `members` are kept in the membership table.
    #[must_use]
    pub fn has_members(&self) -> bool {
        self.schema.id == super::GROUP_SCHEMA
    }

    /// Whether `groups` shows the membership of resources of this type.
    #[must_use]
    pub fn has_groups(&self) -> bool {
        self.schema.id == super::USER_SCHEMA
    }

    fn core_attribute(&self, name: &str) -> Option<&Arc<Attribute>> {
        find(&self.common, name).or_else(|| self.schema.attribute(name))
    }
}
