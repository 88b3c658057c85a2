//! Which attributes filters can find resources by, and the index entries a resource has.
//!
//! An attribute is indexed when its schema says it is unique, and where identity providers look
//! resources up: `externalId`, `displayName` and a user's e-mail addresses. The rule reads the resource
//! type, so an extension's unique attribute is held unique and found like `userName`.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::scim::filter::fold;
use crate::scim::resource::Attributes;
use crate::scim::schema::{Attribute, AttributeRef, AttributeType, ResourceType, Uniqueness};

/// Characters of a value that the index holds as they are; what is longer ends in a digest of the whole.
pub(super) const MAX_PREFIX: usize = 448;

/// An indexed attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Indexed {
    /// Its name in the index: type, extension URN, attribute and sub-attribute.
    pub name: String,
    /// Whether two resources of one tenant may not share a value.
    pub unique: bool,
    /// Whether values compare with regard to case.
    pub case_exact: bool,
}

/// One value of an indexed attribute of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// [`Indexed::name`].
    pub attribute: String,
    /// [`key`] of the value.
    pub value: String,
    /// [`Indexed::unique`].
    pub unique: bool,
}

/// Whether and how an attribute of a type is indexed.
pub(super) fn indexed(resource_type: &ResourceType, attribute: &AttributeRef) -> Option<Indexed> {
    let extension = attribute.extension.as_deref();
    describe(resource_type, extension, &attribute.attribute, attribute.sub_attribute.as_deref())
}

fn describe(
    resource_type: &ResourceType,
    extension: Option<&str>,
    attribute: &Attribute,
    sub_attribute: Option<&Attribute>,
) -> Option<Indexed> {
    let leaf = sub_attribute.unwrap_or(attribute);
    let text = matches!(leaf.kind, AttributeType::String | AttributeType::Reference);
    let unique = leaf.uniqueness != Uniqueness::None;
    let looked_up = extension.is_none()
        && match (attribute.name.as_str(), sub_attribute.map(|sub| sub.name.as_str())) {
            ("externalId" | "displayName", None) | ("emails", Some("value")) => true,
            // Columns of the resource, not index entries.
            ("id" | "meta" | "schemas", _) => return None,
            _ => false,
        };
    if !text || !(unique || looked_up) {
        return None;
    }
    let mut name = resource_type.name.clone();
    let parts = [extension, Some(&attribute.name), sub_attribute.map(|sub| sub.name.as_str())];
    for part in parts.into_iter().flatten() {
        name.push('.');
        name.push_str(part);
    }
    Some(Indexed { name, unique, case_exact: leaf.compares_exactly() })
}

/// A value as the index holds it: folded unless case matters, bounded in length, and equal exactly
/// when the values are.
pub(super) fn key(value: &str, case_exact: bool) -> String {
    let mut key = fold(value, case_exact).into_owned();
    if let Some((cut, _)) = key.char_indices().nth(MAX_PREFIX) {
        let digest = Sha256::digest(key.as_bytes());
        key.truncate(cut);
        key.extend(digest.iter().map(|byte| format!("{byte:02x}")));
    }
    key
}

/// The index entries of a resource's attributes, each once.
pub(super) fn entries(resource_type: &ResourceType, attributes: &Attributes) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(4);
    if let Some(Value::String(external_id)) = attributes.get("externalId") {
        let attribute = format!("{}.externalId", resource_type.name);
        entries.push(Entry { attribute, value: key(external_id, true), unique: false });
    }
    let core = resource_type.schema.attributes.iter().map(|attribute| (None, attributes, attribute));
    let extended = resource_type.extensions.iter().filter_map(|extension| {
        let values = attributes.get(&extension.schema.id)?.as_object()?;
        Some((extension, values))
    });
    let extended = extended.flat_map(|(extension, values)| {
        let id = Some(extension.schema.id.as_str());
        extension.schema.attributes.iter().map(move |attribute| (id, values, attribute))
    });
    for (extension, values, attribute) in core.chain(extended) {
        let Some(value) = values.get(&attribute.name) else { continue };
        if let Some(indexed) = describe(resource_type, extension, attribute, None) {
            each(value, |value| push(&mut entries, &indexed, value));
        }
        for sub_attribute in &attribute.sub_attributes {
            if let Some(indexed) = describe(resource_type, extension, attribute, Some(sub_attribute)) {
                each(value, |element| {
                    if let Some(value) = element.get(&sub_attribute.name) {
                        each(value, |value| push(&mut entries, &indexed, value));
                    }
                });
            }
        }
    }
    entries
}

/// The value, or each of its elements when it is a list.
fn each(value: &Value, mut visit: impl FnMut(&Value)) {
    match value {
        Value::Array(elements) => elements.iter().for_each(visit),
        value => visit(value),
    }
}

fn push(entries: &mut Vec<Entry>, indexed: &Indexed, value: &Value) {
    let Value::String(value) = value else { return };
    let Indexed { name, unique, case_exact } = indexed;
    let entry = Entry { attribute: name.clone(), value: key(value, *case_exact), unique: *unique };
    if !entries.contains(&entry) {
        entries.push(entry);
    }
}
