//! Which attributes filters can find resources by, and the index entries a resource has.
//!
//! An attribute is indexed when its schema says it is unique, and where identity providers look
//! resources up: `externalId`, `displayName` and a user's e-mail addresses. The rule reads the resource
//! type, so an extension's unique attribute is held unique and found like `userName`.
//!
//! An index's name says all that its entries depend on, so that a schema that changes one of these has
//! another index, and the entries of the one are never taken for those of the other.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Number, Value};
use sha2::{Digest, Sha256};

use crate::scim::filter::fold;
use crate::scim::resource::Attributes;
use crate::scim::schema::{Attribute, AttributeRef, AttributeType, ResourceType, Schema, Uniqueness};

/// Characters of a value that the index holds as they are; what is longer ends in a digest of the whole.
pub(super) const MAX_PREFIX: usize = 448;

/// An indexed attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Indexed {
    /// Its name in the index: type, extension URN, attribute and sub-attribute, and what is unusual of it.
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
    let indexable =
        matches!(leaf.kind, AttributeType::String | AttributeType::Reference | AttributeType::Integer);
    let unique = leaf.uniqueness != Uniqueness::None;
    let looked_up = extension.is_none()
        && match (attribute.name.as_str(), sub_attribute.map(|sub| sub.name.as_str())) {
            ("externalId" | "displayName", None) | ("emails", Some("value")) => true,
            // Columns of the resource, not index entries.
            ("id" | "meta" | "schemas", _) => return None,
            _ => false,
        };
    if !indexable || !(unique || looked_up) {
        return None;
    }
    let mut name = resource_type.name.clone();
    let parts = [extension, Some(&attribute.name), sub_attribute.map(|sub| sub.name.as_str())];
    for part in parts.into_iter().flatten() {
        name.push('.');
        name.push_str(part);
    }
    let case_exact = leaf.compares_exactly();
    let usual = match (extension, sub_attribute.is_some(), attribute.name.as_str()) {
        (None, false, "userName") => (true, false),
        (None, false, "externalId") => (false, true),
        _ => (false, false),
    };
    if leaf.kind == AttributeType::Integer {
        name.push_str("#integer");
    } else if (unique, case_exact) != usual {
        name.push_str(if case_exact { "#exact" } else { "#folded" });
    }
    if unique != usual.0 {
        name.push_str(if unique { "#unique" } else { "#shared" });
    }
    Some(Indexed { name, unique, case_exact })
}

/// The attribute in the name of an index, as errors show it: `urn:example:hr.badge`.
pub(super) fn attribute_of(name: &str) -> &str {
    let name = name.split('#').next().unwrap_or_default();
    name.split_once('.').map_or(name, |(_, attribute)| attribute)
}

/// The indexes of a type.
pub(super) fn all(resource_type: &ResourceType) -> Vec<Indexed> {
    let core = resource_type.common.iter().chain(&resource_type.schema.attributes);
    let core = core.map(|attribute| (None, attribute));
    let extended = resource_type.extensions.iter().flat_map(|extension| {
        let urn = Some(extension.schema.id.as_str());
        extension.schema.attributes.iter().map(move |attribute| (urn, attribute))
    });
    let mut all = Vec::new();
    for (extension, attribute) in core.chain(extended) {
        all.extend(describe(resource_type, extension, attribute, None));
        for part in &attribute.sub_attributes {
            all.extend(describe(resource_type, extension, attribute, Some(part)));
        }
    }
    all
}

/// The names of the indexes of a type.
pub(super) fn names(resource_type: &ResourceType) -> BTreeSet<String> {
    all(resource_type).into_iter().map(|indexed| indexed.name).collect()
}

/// The entries of a resource in indexes that are known by their names only: what another server, with other
/// schemas, has begun to keep.
pub(super) fn entries_in<'n>(
    names: impl IntoIterator<Item = &'n String>,
    resource_type: &str,
    attributes: &Attributes,
) -> Vec<Entry> {
    let mut entries = Vec::new();
    for name in names {
        let Some(indexed) = parse(name) else { continue };
        let path =
            name.split('#').next().and_then(|path| path.strip_prefix(resource_type)?.strip_prefix('.'));
        let Some(path) = path else { continue };
        let extension = attributes.iter().find_map(|(urn, value)| {
            let rest = path.strip_prefix(urn.as_str()).filter(|_| urn.contains(':'))?.strip_prefix('.')?;
            Some((value.as_object()?, rest))
        });
        let (values, path) = extension.unwrap_or((attributes, path));
        let (attribute, sub_attribute) = path.split_once('.').map_or((path, None), |(a, b)| (a, Some(b)));
        let Some(value) = values.get(attribute) else { continue };
        match sub_attribute {
            None => each(value, |value| push(&mut entries, &indexed, value)),
            Some(part) => each(value, |element| {
                if let Some(value) = element.get(part) {
                    each(value, |value| push(&mut entries, &indexed, value));
                }
            }),
        }
    }
    entries
}

/// What an index's name says of it.
fn parse(name: &str) -> Option<Indexed> {
    let mut parts = name.split('#');
    let path = parts.next()?;
    let usual = match path.split_once('.')?.1 {
        "userName" => (true, false),
        "externalId" => (false, true),
        _ => (false, false),
    };
    let mut indexed = Indexed { name: name.to_owned(), unique: usual.0, case_exact: usual.1 };
    for part in parts {
        match part {
            "exact" => indexed.case_exact = true,
            "folded" => indexed.case_exact = false,
            "unique" => indexed.unique = true,
            "shared" => indexed.unique = false,
            "integer" => {}
            _ => return None,
        }
    }
    Some(indexed)
}

/// The index entries of a resource by several types, which are what one type was and is.
pub(super) fn entries_by(types: &[Arc<ResourceType>], attributes: &Attributes) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    for entry in types.iter().flat_map(|resource_type| entries(resource_type, attributes)) {
        if !all.contains(&entry) {
            all.push(entry);
        }
    }
    all
}

/// The key of a number in a filter, when an integer can be equal to it.
pub(super) fn integer_key(number: &Number) -> Option<String> {
    (number.is_i64() || number.is_u64()).then(|| number.to_string())
}

/// A value as the index holds it: folded unless case matters, bounded in length, and equal exactly
/// when the values are.
pub(super) fn key(value: &str, case_exact: bool) -> String {
    let mut key = fold(value, case_exact).into_owned();
    if key.len() > MAX_PREFIX
        && let Some((cut, _)) = key.char_indices().nth(MAX_PREFIX)
    {
        let digest = Sha256::digest(key.as_bytes());
        key.truncate(cut);
        key.extend(digest.iter().map(|byte| format!("{byte:02x}")));
    }
    key
}

/// The index entries of a resource's attributes, each once. Goes by the values that are there, for most
/// attributes have none.
pub(super) fn entries(resource_type: &ResourceType, attributes: &Attributes) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(4);
    for (name, value) in attributes {
        let extension = resource_type.extensions.iter().find(|extension| extension.schema.id == *name);
        let (Some(extension), Value::Object(values)) = (extension, value) else {
            attribute(resource_type, None, name, value, &mut entries);
            continue;
        };
        for (name, value) in values {
            attribute(resource_type, Some(&extension.schema), name, value, &mut entries);
        }
    }
    entries
}

/// The entries of one attribute's value.
fn attribute(
    resource_type: &ResourceType,
    extension: Option<&Schema>,
    name: &str,
    value: &Value,
    entries: &mut Vec<Entry>,
) {
    let common = if extension.is_none() { &resource_type.common[..] } else { &[] };
    let schema = extension.unwrap_or(&resource_type.schema);
    let mut known = common.iter().chain(&schema.attributes);
    let Some(attribute) = known.find(|attribute| attribute.name == name) else { return };
    let extension = extension.map(|schema| schema.id.as_str());
    if let Some(indexed) = describe(resource_type, extension, attribute, None) {
        each(value, |value| push(entries, &indexed, value));
    }
    for sub_attribute in &attribute.sub_attributes {
        if let Some(indexed) = describe(resource_type, extension, attribute, Some(sub_attribute)) {
            each(value, |element| {
                if let Some(value) = element.get(&sub_attribute.name) {
                    each(value, |value| push(entries, &indexed, value));
                }
            });
        }
    }
}

/// The value, or each of its elements when it is a list.
fn each(value: &Value, mut visit: impl FnMut(&Value)) {
    match value {
        Value::Array(elements) => elements.iter().for_each(visit),
        value => visit(value),
    }
}

fn push(entries: &mut Vec<Entry>, indexed: &Indexed, value: &Value) {
    let Indexed { name, unique, case_exact } = indexed;
    // What no longer fits the type, after a change of the schema, is in no index.
    let value = match value {
        Value::String(value) if !name.contains("#integer") => key(value, *case_exact),
        Value::Number(number) if name.contains("#integer") => number.to_string(),
        _ => return,
    };
    let entry = Entry { attribute: name.clone(), value, unique: *unique };
    if !entries.contains(&entry) {
        entries.push(entry);
    }
}
