//! What a schema is: attributes, their characteristics, resource types (RFC 7643 sections 2, 6, 7).
//!
//! A characteristic that a schema document leaves out has the default of RFC 7643 section 2.2, so
//! the documents beside this file name only what differs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::core::common_attributes;

/// A schema: a URN and its attributes (RFC 7643 section 7).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Schema {
    /// The URN.
    pub id: String,
    /// Human-readable name.
    pub name: String,
    /// Human-readable description.
    #[serde(default)]
    pub description: String,
    /// The attributes, in the order they are shown.
    pub attributes: Vec<Arc<Attribute>>,
}

/// One attribute and its characteristics (RFC 7643 section 2.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "three are the RFC's own characteristics")]
pub struct Attribute {
    /// The name, in its canonical spelling.
    pub name: String,
    /// The data type of its value, or of each value when multi-valued.
    #[serde(rename = "type", default)]
    pub kind: AttributeType,
    /// Whether it holds a list.
    #[serde(default)]
    pub multi_valued: bool,
    /// Human-readable description.
    #[serde(default)]
    pub description: String,
    /// Whether a resource must have it.
    #[serde(default)]
    pub required: bool,
    /// Suggested values, such as `work` and `home`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub canonical_values: Vec<String>,
    /// Whether [`Self::canonical_values`] are the only ones. The RFC's own are suggestions.
    #[serde(skip)]
    pub closed: bool,
    /// Whether strings compare with regard to case.
    #[serde(default)]
    pub case_exact: bool,
    /// When a client may write it.
    #[serde(default)]
    pub mutability: Mutability,
    /// When it is returned.
    #[serde(default)]
    pub returned: Returned,
    /// Where its value must be unique.
    #[serde(default)]
    pub uniqueness: Uniqueness,
    /// For references: the resource types, `external` or `uri`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reference_types: Vec<String>,
    /// For complex attributes: the parts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sub_attributes: Vec<Arc<Attribute>>,
}

/// Data types of RFC 7643 section 2.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each is named as in the RFC")]
pub enum AttributeType {
    #[default]
    String,
    Boolean,
    Decimal,
    Integer,
    DateTime,
    Binary,
    Reference,
    Complex,
}

/// `mutability` (RFC 7643 section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each is named as in the RFC")]
pub enum Mutability {
    ReadOnly,
    #[default]
    ReadWrite,
    Immutable,
    WriteOnly,
}

/// `returned` (RFC 7643 section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each is named as in the RFC")]
pub enum Returned {
    Always,
    Never,
    #[default]
    Default,
    Request,
}

/// `uniqueness` (RFC 7643 section 2.2); `server` means unique in one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each is named as in the RFC")]
pub enum Uniqueness {
    #[default]
    None,
    Server,
    Global,
}

/// A resource type with its schemas resolved (RFC 7643 section 6).
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceType {
    /// `name` and `id`: `User`, `Group`.
    pub name: String,
    /// Path below the tenant's base URL, with its slash: `/Users`.
    pub endpoint: String,
    /// Human-readable description.
    pub description: String,
    /// The base schema.
    pub schema: Arc<Schema>,
    /// The extensions, in the order they are shown.
    pub extensions: Vec<SchemaExtension>,
    /// The attributes of every resource: `schemas`, `id`, `externalId`, `meta`.
    pub(crate) common: Arc<[Arc<Attribute>]>,
    /// Whether every attribute a body may hold is shown by default, so that stored bytes are the answer.
    pub(in crate::scim) shows_all_by_default: bool,
    /// Whether stored bodies may hold what the schemas do not define, and so do not show: data that
    /// stayed when a schema was narrowed.
    pub(in crate::scim) hides: bool,
}

/// An extension of a resource type.
#[derive(Debug, Clone, PartialEq)]
pub struct SchemaExtension {
    /// The extension schema.
    pub schema: Arc<Schema>,
    /// Whether every resource must carry it.
    pub required: bool,
    /// The extension as a resource shows it: a complex attribute whose name is the URN.
    pub(in crate::scim) container: Arc<Attribute>,
}

/// An attribute path resolved against a resource type, in the schema's own spelling.
#[derive(Debug, Clone, PartialEq)]
pub struct AttributeRef {
    /// URN of the extension that holds it; `None` for core and common attributes.
    pub extension: Option<Arc<str>>,
    /// The top-level attribute.
    pub attribute: Arc<Attribute>,
    /// The sub-attribute, when one was named.
    pub sub_attribute: Option<Arc<Attribute>>,
}

/// One tenant's schemas and resource types. Immutable once made.
#[derive(Debug, Clone, PartialEq)]
pub struct Registry {
    /// The resource types, in the order they are shown.
    pub resource_types: Vec<Arc<ResourceType>>,
}

impl Attribute {
    /// The sub-attribute of this name, whatever its case.
    #[must_use]
    pub fn sub_attribute(&self, name: &str) -> Option<&Arc<Self>> {
        find(&self.sub_attributes, name)
    }
}

impl Schema {
    /// The attribute of this name, whatever its case.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&Arc<Attribute>> {
        find(&self.attributes, name)
    }
}

impl SchemaExtension {
    /// An extension of a resource type by a schema.
    #[must_use]
    pub fn new(schema: Arc<Schema>, required: bool) -> Self {
        let container = Arc::new(Attribute {
            name: schema.id.clone(),
            kind: AttributeType::Complex,
            multi_valued: false,
            description: schema.description.clone(),
            required,
            canonical_values: Vec::new(),
            closed: false,
            case_exact: false,
            mutability: Mutability::default(),
            returned: Returned::default(),
            uniqueness: Uniqueness::default(),
            reference_types: Vec::new(),
            sub_attributes: schema.attributes.clone(),
        });
        Self { schema, required, container }
    }
}

impl ResourceType {
    /// A resource type: `new("User", "/Users", …)`.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        endpoint: impl Into<String>,
        description: impl Into<String>,
        schema: Arc<Schema>,
        extensions: Vec<SchemaExtension>,
    ) -> Self {
        let kind = Self {
            name: name.into(),
            endpoint: endpoint.into(),
            description: description.into(),
            schema,
            extensions,
            common: common_attributes().into(),
            shows_all_by_default: false,
            hides: false,
        };
        kind.settled(false)
    }

    /// What follows from the parts, once they are all there.
    pub(super) fn settled(self, hides: bool) -> Self {
        let shows_all_by_default = !hides
            && shown_by_default(&self.common)
            && shown_by_default(&self.schema.attributes)
            && self.extensions.iter().all(|extension| shown_by_default(&extension.schema.attributes));
        Self { shows_all_by_default, hides, ..self }
    }
}

impl Registry {
    /// The resource type served at an endpoint's last path segment (`Users`); exact spelling.
    #[must_use]
    pub fn by_endpoint(&self, segment: &str) -> Option<&Arc<ResourceType>> {
        self.resource_types.iter().find(|t| t.endpoint.strip_prefix('/') == Some(segment))
    }

    /// The resource type of this name (`User`).
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Arc<ResourceType>> {
        self.resource_types.iter().find(|t| t.name == name)
    }

    /// Every schema, base schemas and extensions, each once.
    #[must_use]
    pub fn schemas(&self) -> Vec<&Arc<Schema>> {
        let mut schemas: Vec<&Arc<Schema>> = Vec::new();
        for resource_type in &self.resource_types {
            let extensions = resource_type.extensions.iter().map(|extension| &extension.schema);
            for schema in std::iter::once(&resource_type.schema).chain(extensions) {
                if schemas.iter().all(|known| known.id != schema.id) {
                    schemas.push(schema);
                }
            }
        }
        schemas
    }
}

/// The attribute of this name, whatever its case. Schemas are short: a scan beats a map.
pub(super) fn find<'a>(attributes: &'a [Arc<Attribute>], name: &str) -> Option<&'a Arc<Attribute>> {
    attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}

/// Whether all that is stored of these attributes is shown by default. What is write-only is not stored.
fn shown_by_default(attributes: &[Arc<Attribute>]) -> bool {
    attributes.iter().filter(|a| !a.is_discarded()).all(|attribute| {
        matches!(attribute.returned, Returned::Always | Returned::Default)
            && shown_by_default(&attribute.sub_attributes)
    })
}

impl Attribute {
    /// Whether a value is checked and then forgotten: what is never returned and only written, as a
    /// password is, serves nobody here.
    pub(super) fn is_discarded(&self) -> bool {
        self.mutability == Mutability::WriteOnly && self.returned == Returned::Never
    }
}
