//! A tenant's schemas as manifests write them: `spec.schemas` and `spec.resourceTypes`.
//!
//! The fields are those of a schema document (RFC 7643 section 7), so that a vendor's schema can be
//! pasted. Sub-attributes are one level deep, as in the RFC, so the types are not recursive. Sizes are
//! bounded because an API server estimates what a rule costs from the most there can be.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// RFC 7643 section 2.1; `$ref` is the one name that begins otherwise.
const IS_ATTRIBUTE_NAME: (&str, &str) = (
    r"self.matches('^([A-Za-z][-$_A-Za-z0-9]*|[$]ref)$')",
    "must begin with a letter and have letters, digits, '-', '_' and '$' (RFC 7643 section 2.1)",
);

const IS_URN: (&str, &str) = (
    "self.matches('^[uU][rR][nN]:[A-Za-z0-9][-A-Za-z0-9]+(:[-._A-Za-z0-9]+)+$')",
    "must be a URN of letters, digits, '-', '.' and '_' between colons, such as urn:example:scim:hr:2.0:User",
);

const IS_NOT_RESERVED: (&str, &str) = (
    "!self.lowerAscii().startsWith('urn:ietf:') || (self.lowerAscii().startsWith('urn:ietf:params:scim:schemas:extension:') && !self.lowerAscii().startsWith('urn:ietf:params:scim:schemas:extension:enterprise:'))",
    "is reserved for the IETF's schemas: name it in your own namespace, such as urn:example:scim:hr:2.0:User, or as Entra ID does, urn:ietf:params:scim:schemas:extension:COMPANY:2.0:User",
);

/// A resource type's name.
const IS_TYPE_NAME: (&str, &str) = (
    "self.matches('^[A-Za-z][-_A-Za-z0-9]*$')",
    "must begin with a letter and have letters, digits, '-' and '_'",
);

/// A resource type's path.
const IS_ENDPOINT: (&str, &str) = (
    "self.matches('^/[A-Za-z][-_A-Za-z0-9]*$')",
    "must be '/' and one name of letters, digits, '-' and '_', such as /Roles",
);

const COMPLEX_HAS_PARTS: (&str, &str) = (
    "(self.type == 'complex') == (has(self.subAttributes) && size(self.subAttributes) > 0)",
    "subAttributes are what an attribute of type complex consists of: give a complex attribute some, and no other type any",
);
const SUB_ATTRIBUTE_IS_SIMPLE: (&str, &str) = (
    "self.type != 'complex'",
    "a sub-attribute cannot be complex (RFC 7643 section 2.3.8): give it another type",
);
const REQUIRED_IS_WRITABLE: (&str, &str) = (
    "!self.required || self.mutability != 'readOnly'",
    "a required attribute that is readOnly could never be given a value: remove required, or make it readWrite or immutable",
);
const UNIQUE_IS_TEXT_OR_INTEGER: (&str, &str) = (
    "self.uniqueness == 'none' || self.type in ['string', 'reference', 'integer']",
    "uniqueness is for attributes of type string, reference and integer: remove it; for a complex attribute, set it on a sub-attribute",
);
const CANONICAL_IS_TEXT: (&str, &str) = (
    "!has(self.canonicalValues) || self.type == 'string'",
    "canonicalValues are for attributes of type string: remove them, or make it a string",
);
const REFERENCE_NAMES_ITS_TYPES: (&str, &str) = (
    "(self.type == 'reference') == (has(self.referenceTypes) && size(self.referenceTypes) > 0)",
    "referenceTypes say what an attribute of type reference refers to: give a reference some (User, Group, a resource type, external or uri), and no other type any",
);
const WRITE_ONLY_IS_NEVER_SHOWN: (&str, &str) = (
    "self.mutability != 'writeOnly' || (self.returned == 'never' && self.uniqueness == 'none')",
    "an attribute that is writeOnly is checked and not kept: set returned to never and uniqueness to none, or make it readWrite",
);

/// What a tenant's User and Group resources have beyond RFC 7643, and where less is allowed.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantSchemas {
    /// Schema extensions (RFC 7643 section 3.3): attributes of your own, under a URN of your own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    pub extensions: Vec<ExtensionSchema>,
    /// What is asked of the attributes of RFC 7643 beyond what it asks.
    #[serde(default)]
    pub core: CoreSchemas,
}

/// What is asked of the attributes of RFC 7643, by resource type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CoreSchemas {
    /// Attributes of User, those of the enterprise extension among them.
    #[serde(default)]
    pub user: CoreSchema,
    /// Attributes of Group.
    #[serde(default)]
    pub group: CoreSchema,
}

/// What is asked of one resource type's attributes.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CoreSchema {
    /// Paths of attributes that every resource must have: `emails`, `name.familyName`, `externalId`. A POST or PUT
    /// without one is refused, and so is a PATCH that removes one. Resources that are stored already stay as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 255)))]
    pub required: Vec<String>,
    /// Attributes with other characteristics than RFC 7643 gives them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub attributes: Vec<CoreAttribute>,
}

/// Another characteristic of a core attribute. One that is absent stays as RFC 7643 has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CoreAttribute {
    /// The attribute's path: `userType`, `name.givenName`, `externalId`, or
    /// `urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:employeeNumber`.
    #[schemars(length(min = 1, max = 255))]
    pub name: String,
    /// `immutable`: once it has a value, that value cannot change. `readOnly`: what clients send for it is dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutability: Option<CoreMutability>,
    /// When an answer has it. `always`: whatever `attributes` asks for; `request`: only when `attributes` names it;
    /// `never`: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returned: Option<SchemaReturned>,
    /// `server`: no two resources of the type may share a value. Where stored ones do already, they stay, and the
    /// log and `scim_schema_duplicates` tell how many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uniqueness: Option<SchemaUniqueness>,
    /// The values it may have. Others are refused; what is stored already stays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(min = 1, max = 255)))]
    pub canonical_values: Vec<String>,
}

/// A schema extension.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtensionSchema {
    /// The schema's URN, the key of its attributes in a resource: `urn:example:scim:hr:2.0:User`. URNs under
    /// `urn:ietf:` are reserved, but for `urn:ietf:params:scim:schemas:extension:COMPANY:...`, which is how Entra ID
    /// has its users name extensions.
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = IS_URN, validation = IS_NOT_RESERVED)]
    pub id: String,
    /// The schema's name, for people. Absent: the URN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub name: Option<String>,
    /// What the schema is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
    /// The resource types it extends: `User`, `Group`, or the name of one of `spec.resourceTypes`.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 64)))]
    pub resource_types: Vec<String>,
    /// Whether every resource of those types must carry it.
    #[serde(default)]
    pub required: bool,
    /// The attributes.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub attributes: Vec<SchemaAttribute>,
}

/// A resource type of the tenant's own (RFC 7643 section 6), with the whole protocol.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantResourceType {
    /// The type's name, as in `meta.resourceType` and `/ResourceTypes`: `Role`. Stored resources belong to it: they
    /// are out of reach when the type is removed, and there again when a type of this name comes back.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = IS_TYPE_NAME)]
    pub name: String,
    /// Its path below the tenant's base URL: `/Roles`.
    #[schemars(length(min = 2, max = 65))]
    #[x_kube(validation = IS_ENDPOINT)]
    pub endpoint: String,
    /// What its resources are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
    /// Its schema. `id`, `externalId`, `schemas` and `meta` are there already.
    pub schema: BaseSchema,
}

/// The base schema of a resource type.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BaseSchema {
    /// The schema's URN: `urn:example:scim:2.0:Role`.
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = IS_URN, validation = IS_NOT_RESERVED)]
    pub id: String,
    /// The schema's name, for people. Absent: the resource type's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub name: Option<String>,
    /// What the schema is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
    /// The attributes.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub attributes: Vec<SchemaAttribute>,
}

/// The fields that attributes and sub-attributes share (RFC 7643 section 2.2).
macro_rules! attribute {
    ($(#[$meta:meta])* $name:ident, $rule:expr, { $($more:tt)* }) => {
        $(#[$meta])*
        #[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        #[x_kube(
            validation = $rule,
            validation = REQUIRED_IS_WRITABLE,
            validation = UNIQUE_IS_TEXT_OR_INTEGER,
            validation = CANONICAL_IS_TEXT,
            validation = REFERENCE_NAMES_ITS_TYPES,
            validation = WRITE_ONLY_IS_NEVER_SHOWN
        )]
        pub struct $name {
            /// The name. Names are the same whatever their case.
            #[schemars(length(min = 1, max = 64))]
            #[x_kube(validation = IS_ATTRIBUTE_NAME)]
            pub name: String,
            /// The data type of its value, or of each value when it is multi-valued.
            #[serde(rename = "type", default)]
            pub kind: SchemaType,
            /// Whether it holds a list.
            #[serde(default)]
            pub multi_valued: bool,
            /// What it means.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(length(max = 1024))]
            pub description: Option<String>,
            /// Whether a resource must have it. A POST or PUT without it is refused, and so is a PATCH that removes
            /// it; resources that are stored already stay as they are.
            #[serde(default)]
            pub required: bool,
            /// The values it may have. Others are refused; what is stored already stays.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            #[schemars(length(max = 128), inner(length(min = 1, max = 255)))]
            pub canonical_values: Vec<String>,
            /// Whether strings compare with regard to case, in filters and for uniqueness.
            #[serde(default)]
            pub case_exact: bool,
            /// Who may write it. `immutable`: once it has a value, that value cannot change. `readOnly`: what clients
            /// send for it is dropped. `writeOnly`: checked and not kept, as a password is.
            #[serde(default)]
            pub mutability: SchemaMutability,
            /// When an answer has it. `always`: whatever `attributes` asks for; `request`: only when `attributes`
            /// names it; `never`: not at all.
            #[serde(default)]
            pub returned: SchemaReturned,
            /// `server`: no two resources of the type may share a value. Where stored ones do already, they stay, and
            /// the log and `scim_schema_duplicates` tell how many.
            #[serde(default)]
            pub uniqueness: SchemaUniqueness,
            /// For a reference, what it refers to: names of resource types, `external` or `uri`.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            #[schemars(length(max = 16), inner(length(min = 1, max = 64)))]
            pub reference_types: Vec<String>,
            $($more)*
        }
    };
}

attribute! {
    /// An attribute.
    SchemaAttribute, COMPLEX_HAS_PARTS, {
        /// What a complex attribute consists of.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schemars(length(max = 20))]
        #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
        pub sub_attributes: Vec<SchemaSubAttribute>,
    }
}

attribute! {
    /// A part of a complex attribute.
    SchemaSubAttribute, SUB_ATTRIBUTE_IS_SIMPLE, {}
}

// No doc comments on the variants: they would turn the enumeration into alternatives in the schema.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each is named as in RFC 7643 section 2.3")]
pub enum SchemaType {
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

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the field that has this type explains the values")]
pub enum SchemaMutability {
    ReadOnly,
    #[default]
    ReadWrite,
    Immutable,
    WriteOnly,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the field that has this type explains the values")]
pub enum CoreMutability {
    ReadOnly,
    Immutable,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the field that has this type explains the values")]
pub enum SchemaReturned {
    Always,
    Never,
    #[default]
    Default,
    Request,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the field that has this type explains the values")]
pub enum SchemaUniqueness {
    #[default]
    None,
    Server,
}
