//! A tenant's schemas: from what a manifest says to [`CustomSchemas`], and what is wrong with them that a
//! rule of the custom resource cannot tell.

use std::sync::Arc;

use crate::{
    crd::{
        CoreMutability, CoreSchema, SchemaAttribute, SchemaMutability, SchemaReturned, SchemaSubAttribute,
        SchemaType, SchemaUniqueness, ScimTenant,
    },
    scim::schema::{
        Attribute, AttributeType, CustomExtension, CustomResourceType, CustomSchemas, Mutability, Narrowing,
        Returned, Schema, Uniqueness,
    },
};

/// What a tenant's manifest says of schemas.
#[must_use]
pub(super) fn custom(tenant: &ScimTenant) -> CustomSchemas {
    let spec = &tenant.spec;
    let schema = |id: &str, name: &str, description: Option<&String>, attributes: &[SchemaAttribute]| {
        Arc::new(Schema {
            id: id.to_owned(),
            name: name.to_owned(),
            description: description.cloned().unwrap_or_default(),
            attributes: attributes.iter().map(attribute).collect(),
        })
    };
    let extensions = spec.schemas.extensions.iter().map(|extension| {
        let name = extension.name.as_ref().unwrap_or(&extension.id);
        CustomExtension {
            schema: schema(&extension.id, name, extension.description.as_ref(), &extension.attributes),
            resource_types: extension.resource_types.clone(),
            required: extension.required,
        }
    });
    let resource_types = spec.resource_types.iter().map(|kind| {
        let base = &kind.schema;
        let name = base.name.as_ref().unwrap_or(&kind.name);
        CustomResourceType {
            name: kind.name.clone(),
            endpoint: kind.endpoint.clone(),
            description: kind.description.clone().unwrap_or_default(),
            schema: schema(&base.id, name, base.description.as_ref(), &base.attributes),
        }
    });
    let core = &spec.schemas.core;
    CustomSchemas {
        extensions: extensions.collect(),
        narrowed: [("User", &core.user), ("Group", &core.group)].into_iter().flat_map(narrowed).collect(),
        resource_types: resource_types.collect(),
    }
}

fn narrowed((resource_type, core): (&'static str, &CoreSchema)) -> Vec<Narrowing> {
    let of = |attribute: &str| Narrowing {
        resource_type: resource_type.to_owned(),
        attribute: attribute.to_owned(),
        ..Narrowing::default()
    };
    let required = core.required.iter().map(|path| Narrowing { required: true, ..of(path) });
    let attributes = core.attributes.iter().map(|attribute| Narrowing {
        mutability: attribute.mutability.map(Into::into),
        returned: attribute.returned.map(Into::into),
        uniqueness: attribute.uniqueness.map(Into::into),
        canonical_values: attribute.canonical_values.clone(),
        ..of(&attribute.name)
    });
    required.chain(attributes).collect()
}

fn attribute(written: &SchemaAttribute) -> Arc<Attribute> {
    let SchemaAttribute {
        name,
        kind,
        multi_valued,
        description,
        required,
        canonical_values,
        case_exact,
        mutability,
        returned,
        uniqueness,
        reference_types,
        sub_attributes,
    } = written.clone();
    let plain = SchemaSubAttribute {
        name,
        kind,
        multi_valued,
        description,
        required,
        canonical_values,
        case_exact,
        mutability,
        returned,
        uniqueness,
        reference_types,
    };
    let sub_attributes = sub_attributes.into_iter().map(|part| Arc::new(sub_attribute(part))).collect();
    Arc::new(Attribute { sub_attributes, ..sub_attribute(plain) })
}

fn sub_attribute(written: SchemaSubAttribute) -> Attribute {
    let SchemaSubAttribute {
        name,
        kind,
        multi_valued,
        description,
        required,
        canonical_values,
        case_exact,
        mutability,
        returned,
        uniqueness,
        reference_types,
    } = written;
    // RFC 7643 sections 2.3.6 and 2.3.7: binary data and references are case-exact whatever is said.
    let case_exact = case_exact || matches!(kind, SchemaType::Binary | SchemaType::Reference);
    Attribute {
        name,
        kind: kind.into(),
        multi_valued,
        description: description.unwrap_or_default(),
        required,
        canonical_values,
        closed: false,
        case_exact,
        mutability: mutability.into(),
        returned: returned.into(),
        uniqueness: uniqueness.into(),
        reference_types,
        sub_attributes: Vec::new(),
    }
}

impl From<SchemaType> for AttributeType {
    fn from(kind: SchemaType) -> Self {
        match kind {
            SchemaType::String => Self::String,
            SchemaType::Boolean => Self::Boolean,
            SchemaType::Decimal => Self::Decimal,
            SchemaType::Integer => Self::Integer,
            SchemaType::DateTime => Self::DateTime,
            SchemaType::Binary => Self::Binary,
            SchemaType::Reference => Self::Reference,
            SchemaType::Complex => Self::Complex,
        }
    }
}

impl From<SchemaMutability> for Mutability {
    fn from(mutability: SchemaMutability) -> Self {
        match mutability {
            SchemaMutability::ReadOnly => Self::ReadOnly,
            SchemaMutability::ReadWrite => Self::ReadWrite,
            SchemaMutability::Immutable => Self::Immutable,
            SchemaMutability::WriteOnly => Self::WriteOnly,
        }
    }
}

impl From<CoreMutability> for Mutability {
    fn from(mutability: CoreMutability) -> Self {
        match mutability {
            CoreMutability::ReadOnly => Self::ReadOnly,
            CoreMutability::Immutable => Self::Immutable,
        }
    }
}

impl From<SchemaReturned> for Returned {
    fn from(returned: SchemaReturned) -> Self {
        match returned {
            SchemaReturned::Always => Self::Always,
            SchemaReturned::Never => Self::Never,
            SchemaReturned::Default => Self::Default,
            SchemaReturned::Request => Self::Request,
        }
    }
}

impl From<SchemaUniqueness> for Uniqueness {
    fn from(uniqueness: SchemaUniqueness) -> Self {
        match uniqueness {
            SchemaUniqueness::None => Self::None,
            SchemaUniqueness::Server => Self::Server,
        }
    }
}
