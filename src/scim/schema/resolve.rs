//! Names to attributes: RFC 7644 section 3.10.
//!
//! A core or common attribute may carry its schema's URN, an extension's must. A bare extension URN
//! resolves to the extension itself, seen as a complex attribute whose name is the URN.

use std::sync::Arc;

use super::core::common_attributes;
use super::model::{Attribute, AttributeRef, ResourceType, find};
use crate::scim::path::AttributePath;

impl ResourceType {
    /// Resolves a parsed path; `None` when no schema of this type defines it. Knows the common
    /// attributes too (`schemas`, `id`, `externalId`, `meta` and its sub-attributes).
    #[must_use]
    pub fn resolve(&self, path: &AttributePath) -> Option<AttributeRef> {
        let (extension, attribute) = match path.schema.as_deref() {
            None => (None, self.core_attribute(&path.attribute)?),
            Some(urn) => {
                if let Some(container) = self.bare_extension(urn, &path.attribute) {
                    (None, container)
                } else if urn.eq_ignore_ascii_case(&self.schema.id) {
                    (None, self.core_attribute(&path.attribute)?)
                } else {
                    let extension =
                        self.extensions.iter().find(|e| urn.eq_ignore_ascii_case(&e.schema.id))?;
                    (
                        Some(Arc::from(extension.schema.id.as_str())),
                        extension.schema.attribute(&path.attribute)?,
                    )
                }
            }
        };
        let sub_attribute = match path.sub_attribute.as_deref() {
            None => None,
            Some(name) => Some(Arc::clone(attribute.sub_attribute(name)?)),
        };
        Some(AttributeRef { extension, attribute: Arc::clone(attribute), sub_attribute })
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

    /// Whether a path is this type's base schema's bare URN, which stands for all of its attributes.
    pub(in crate::scim) fn is_base_schema(&self, path: &AttributePath) -> bool {
        path.sub_attribute.is_none()
            && path.schema.as_deref().is_some_and(|urn| is_bare(&self.schema.id, urn, &path.attribute))
    }

    fn core_attribute(&self, name: &str) -> Option<&Arc<Attribute>> {
        find(common_attributes(), name).or_else(|| self.schema.attribute(name))
    }

    fn bare_extension(&self, urn: &str, attribute: &str) -> Option<&Arc<Attribute>> {
        self.extensions
            .iter()
            .map(|e| &e.container)
            .find(|container| is_bare(&container.name, urn, attribute))
    }
}

/// A bare URN reaches us whole, or with its last part taken for an attribute name.
fn is_bare(id: &str, urn: &str, attribute: &str) -> bool {
    match id.rsplit_once(':') {
        _ if attribute.is_empty() => id.eq_ignore_ascii_case(urn),
        Some((head, tail)) => head.eq_ignore_ascii_case(urn) && tail.eq_ignore_ascii_case(attribute),
        None => false,
    }
}
