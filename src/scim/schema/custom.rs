//! A tenant's own schemas: extensions, resource types of its own, and core attributes narrowed.
//!
//! [`CustomSchemas`] is data that can be written down and compared; [`Registry::with`] compiles it. It
//! takes whatever it is given: what makes no sense is refused where manifests are read, and passed over here.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::core::common_attributes;
use super::model::{
    Attribute, Mutability, Registry, ResourceType, Returned, Schema, SchemaExtension, Uniqueness,
};
use crate::scim::path::AttributePath;

/// What a tenant's schemas are beside those of RFC 7643.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CustomSchemas {
    /// Schema extensions, in the order they are shown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<CustomExtension>,
    /// Attributes of RFC 7643 that are narrowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub narrowed: Vec<Narrowing>,
    /// Resource types beside User and Group, in the order they are shown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_types: Vec<CustomResourceType>,
}

/// A schema that extends resource types (RFC 7643 section 3.3).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CustomExtension {
    /// The schema.
    pub schema: Arc<Schema>,
    /// The names of the resource types it extends.
    pub resource_types: Vec<String>,
    /// Whether every resource of those types must carry it.
    pub required: bool,
}

/// A resource type (RFC 7643 section 6).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CustomResourceType {
    /// Its name: `Role`.
    pub name: String,
    /// Its path below the tenant's base URL: `/Roles`.
    pub endpoint: String,
    /// Human-readable description.
    pub description: String,
    /// Its base schema.
    pub schema: Arc<Schema>,
}

/// What is asked of an attribute beyond RFC 7643. A characteristic that is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Narrowing {
    /// The resource type: `User`.
    pub resource_type: String,
    /// The attribute's path: `name.familyName`.
    pub attribute: String,
    /// Whether a resource must have it.
    #[serde(default)]
    pub required: bool,
    /// When a client may write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutability: Option<Mutability>,
    /// When it is returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returned: Option<Returned>,
    /// Where its value must be unique.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uniqueness: Option<Uniqueness>,
    /// The values it may have; empty allows any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub canonical_values: Vec<String>,
}

impl CustomSchemas {
    /// Whether there is nothing but RFC 7643.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { extensions, narrowed, resource_types } = self;
        extensions.is_empty() && narrowed.is_empty() && resource_types.is_empty()
    }
}

impl Registry {
    /// The schemas of RFC 7643 with a tenant's own. `hidden` names the resource types whose stored
    /// resources may hold what these schemas do not define.
    #[must_use]
    pub fn with(custom: &CustomSchemas, hidden: &BTreeSet<String>) -> Self {
        let core = Self::core();
        if custom.is_empty() && hidden.is_empty() {
            return core;
        }
        let mut resource_types = Vec::with_capacity(core.resource_types.len() + custom.resource_types.len());
        for kind in &core.resource_types {
            let mut kind = ResourceType::clone(kind);
            for narrowing in &custom.narrowed {
                if narrowing.resource_type == kind.name {
                    narrow(&mut kind, narrowing);
                }
            }
            resource_types.push(kind);
        }
        for CustomResourceType { name, endpoint, description, schema } in &custom.resource_types {
            let schema = closed(schema);
            resource_types.push(ResourceType::new(name, endpoint, description, schema, Vec::new()));
        }
        let resource_types = resource_types.into_iter().map(|mut kind| {
            let of_kind = |extension: &&CustomExtension| extension.resource_types.contains(&kind.name);
            let extensions = custom.extensions.iter().filter(of_kind);
            let extensions: Vec<_> = extensions
                .map(|CustomExtension { schema, required, .. }| {
                    SchemaExtension::new(closed(schema), *required)
                })
                .collect();
            kind.extensions.extend(extensions);
            let hides = hidden.contains(&kind.name);
            Arc::new(kind.settled(hides))
        });
        Self { resource_types: resource_types.collect() }
    }
}

/// A schema whose canonical values are the only ones: a tenant that names values means them.
fn closed(schema: &Schema) -> Arc<Schema> {
    fn close(attribute: &Arc<Attribute>) -> Arc<Attribute> {
        let mut attribute = Attribute::clone(attribute);
        attribute.closed = !attribute.canonical_values.is_empty();
        attribute.sub_attributes = attribute.sub_attributes.iter().map(close).collect();
        Arc::new(attribute)
    }
    Arc::new(Schema { attributes: schema.attributes.iter().map(close).collect(), ..schema.clone() })
}

/// Narrows one attribute of a resource type: of its base schema, an extension, or `externalId`.
fn narrow(kind: &mut ResourceType, narrowing: &Narrowing) {
    let Ok(path) = AttributePath::parse(&narrowing.attribute) else { return };
    let extension = kind.extensions.iter_mut().find(|extension| {
        path.schema.as_deref().is_some_and(|urn| urn.eq_ignore_ascii_case(&extension.schema.id))
    });
    if let Some(extension) = extension {
        let attributes = changed(&extension.schema.attributes, &path, narrowing);
        let schema = Schema { attributes, ..Schema::clone(&extension.schema) };
        *extension = SchemaExtension::new(Arc::new(schema), extension.required);
    } else if common_attributes().iter().any(|known| known.name.eq_ignore_ascii_case(&path.attribute)) {
        kind.common = changed(&kind.common, &path, narrowing).into();
    } else {
        let attributes = changed(&kind.schema.attributes, &path, narrowing);
        kind.schema = Arc::new(Schema { attributes, ..Schema::clone(&kind.schema) });
    }
}

/// Attributes with the one of a path narrowed.
fn changed(
    attributes: &[Arc<Attribute>],
    path: &AttributePath,
    narrowing: &Narrowing,
) -> Vec<Arc<Attribute>> {
    let one = |attribute: &Arc<Attribute>| {
        if !attribute.name.eq_ignore_ascii_case(&path.attribute) {
            return Arc::clone(attribute);
        }
        let mut attribute = Attribute::clone(attribute);
        match &path.sub_attribute {
            None => apply(&mut attribute, narrowing),
            Some(name) => {
                let parts = attribute.sub_attributes.iter_mut();
                for part in parts.filter(|part| part.name.eq_ignore_ascii_case(name)) {
                    apply(Arc::make_mut(part), narrowing);
                }
            }
        }
        Arc::new(attribute)
    };
    attributes.iter().map(one).collect()
}

fn apply(attribute: &mut Attribute, narrowing: &Narrowing) {
    let Narrowing { required, mutability, returned, uniqueness, canonical_values, .. } = narrowing;
    attribute.required |= required;
    attribute.mutability = mutability.unwrap_or(attribute.mutability);
    attribute.returned = returned.unwrap_or(attribute.returned);
    attribute.uniqueness = uniqueness.unwrap_or(attribute.uniqueness);
    if !canonical_values.is_empty() {
        attribute.canonical_values.clone_from(canonical_values);
        attribute.closed = true;
    }
}
