//! What is wrong with a tenant's schemas that a rule of the custom resource cannot tell: names that clash
//! whatever their case, references to nothing, and core attributes that cannot be narrowed so.

use std::collections::HashMap;

use super::nearest;
use crate::{
    config::{
        findings::Finding,
        objects::Located,
        yaml::{child, item},
    },
    crd::{CoreAttribute, CoreMutability, CoreSchema, SchemaAttribute, SchemaUniqueness, ScimTenant},
    scim::{
        path::AttributePath,
        schema::{
            Attribute, AttributeRef, AttributeType, ENTERPRISE_USER_SCHEMA, GROUP_SCHEMA, Mutability,
            Registry, USER_SCHEMA, Uniqueness,
        },
    },
};

/// The attributes that every resource has (RFC 7643 section 3.1).
const COMMON: [&str; 4] = ["schemas", "id", "externalId", "meta"];

/// Names of resource types that mean something else: those of the RFCs, and what a reference may name beside them.
const TAKEN_TYPES: [&str; 7] =
    ["User", "Group", "ServiceProviderConfig", "ResourceType", "Schema", "external", "uri"];

/// Paths that are served already (RFC 7644 section 3.2).
const TAKEN_ENDPOINTS: [&str; 8] =
    ["/Users", "/Groups", "/Me", "/Bulk", "/Schemas", "/ResourceTypes", "/ServiceProviderConfig", "/.search"];

/// All findings about one tenant's schemas.
pub(super) fn check(tenant: &Located<ScimTenant>) -> Vec<Finding> {
    let mut check = Check { tenant, findings: Vec::new() };
    check.resource_types();
    check.urns();
    check.extensions();
    for (index, kind) in tenant.object.spec.resource_types.iter().enumerate() {
        let field = item("spec.resourceTypes", index);
        check.attributes(&kind.schema.attributes, &child(&child(&field, "schema"), "attributes"), true);
    }
    check.circles();
    let core = &tenant.object.spec.schemas.core;
    check.core("User", &core.user, "spec.schemas.core.user");
    check.core("Group", &core.group, "spec.schemas.core.group");
    check.findings
}

/// Where a schema's URN is written, and the schema's attributes.
type Written<'t> = (String, &'t Vec<SchemaAttribute>);

struct Check<'t> {
    tenant: &'t Located<ScimTenant>,
    findings: Vec<Finding>,
}

impl<'t> Check<'t> {
    fn error(&mut self, field: &str, code: &'static str, message: impl Into<String>, hint: &str) {
        let finding = Finding::error(code, message).hint(hint);
        self.findings.push(self.tenant.finding(field, finding));
    }

    /// The names of the tenant's resource types, those of RFC 7643 first.
    fn type_names(&self) -> Vec<&'t str> {
        let own = self.tenant.object.spec.resource_types.iter().map(|kind| kind.name.as_str());
        ["User", "Group"].into_iter().chain(own).collect()
    }

    fn resource_types(&mut self) {
        let mut names: HashMap<String, String> = HashMap::new();
        let mut endpoints = HashMap::new();
        for name in TAKEN_TYPES {
            names.insert(name.to_ascii_lowercase(), "SCIM itself".to_owned());
        }
        for endpoint in TAKEN_ENDPOINTS {
            endpoints.insert(endpoint.to_ascii_lowercase(), "SCIM itself".to_owned());
        }
        for (index, kind) in self.tenant.object.spec.resource_types.iter().enumerate() {
            let place = item("spec.resourceTypes", index);
            let taken = [
                ("name", &kind.name, &mut names, "schema-type-taken"),
                ("endpoint", &kind.endpoint, &mut endpoints, "schema-endpoint-taken"),
            ];
            for (field, written, known, code) in taken {
                let field = child(&place, field);
                if let Some(first) = known.get(&written.to_ascii_lowercase()) {
                    let message = format!("{written} is already taken by {first}, whatever its case");
                    self.error(&field, code, message, "choose another");
                } else {
                    known.insert(written.to_ascii_lowercase(), field);
                }
            }
        }
    }

    fn urns(&mut self) {
        let spec = &self.tenant.object.spec;
        let core = [USER_SCHEMA, GROUP_SCHEMA, ENTERPRISE_USER_SCHEMA].map(|urn| (urn.to_owned(), None));
        let extensions = spec.schemas.extensions.iter().enumerate().map(|(index, extension)| {
            let field = child(&item("spec.schemas.extensions", index), "id");
            (extension.id.clone(), Some((field, &extension.attributes)))
        });
        let kinds = spec.resource_types.iter().enumerate().map(|(index, kind)| {
            let field = child(&child(&item("spec.resourceTypes", index), "schema"), "id");
            (kind.schema.id.clone(), Some((field, &kind.schema.attributes)))
        });
        let all: Vec<(String, Option<Written<'_>>)> =
            core.into_iter().chain(extensions).chain(kinds).collect();
        for (position, (urn, own)) in all.iter().enumerate() {
            let Some((field, _)) = own else { continue };
            if let Some((_, first)) =
                all.iter().take(position).find(|(known, _)| known.eq_ignore_ascii_case(urn))
            {
                let first = first.as_ref().map_or("RFC 7643", |(field, _)| field);
                let message = format!("the URN is already that of {first}, whatever its case");
                self.error(field, "schema-urn-taken", message, "give each schema a URN of its own");
            }
            // `URN:name` is how a path names an attribute, so it can be no schema as well.
            for (known, other) in &all {
                let last = urn.get(..known.len()).filter(|head| head.eq_ignore_ascii_case(known));
                let last = last.and_then(|_| urn[known.len()..].strip_prefix(':'));
                let attributes = other.iter().flat_map(|(_, attributes)| attributes.iter());
                let clash = last.and_then(|last| {
                    attributes.into_iter().find(|attribute| attribute.name.eq_ignore_ascii_case(last))
                });
                if let Some(attribute) = clash {
                    let message = format!("the URN also names the attribute {} of {known}", attribute.name);
                    self.error(field, "schema-urn-taken", message, "give the schema another URN");
                }
            }
        }
    }

    fn extensions(&mut self) {
        let names = self.type_names();
        for (index, extension) in self.tenant.object.spec.schemas.extensions.iter().enumerate() {
            let place = item("spec.schemas.extensions", index);
            for (position, name) in extension.resource_types.iter().enumerate() {
                let field = item(&child(&place, "resourceTypes"), position);
                if !names.contains(&name.as_str()) {
                    self.unknown_type(&field, name, &names);
                } else if extension.resource_types.iter().take(position).any(|known| known == name) {
                    let message = format!("{name} is named twice");
                    self.error(&field, "schema-type-taken", message, "remove one");
                }
            }
            let field = child(&place, "attributes");
            self.attributes(&extension.attributes, &field, false);
            self.shadows(extension.resource_types.as_slice(), &extension.attributes, &field);
        }
    }

    fn unknown_type(&mut self, field: &str, name: &str, names: &[&str]) {
        let hint = match nearest(name, names.iter().copied()) {
            Some(name) => format!("did you mean {name}?"),
            None => format!("the resource types are {}", names.join(", ")),
        };
        self.error(field, "schema-type-unknown", format!("there is no resource type {name:?}"), &hint);
    }

    /// An extension's attribute that is called as one of the type's own is right, and easily mistaken for it.
    fn shadows(&mut self, types: &[String], attributes: &[SchemaAttribute], field: &str) {
        let core = Registry::core();
        for (index, attribute) in attributes.iter().enumerate() {
            let mut kinds = types.iter().filter_map(|name| core.by_name(name));
            let shadowed = kinds.find(|kind| kind.schema.attribute(&attribute.name).is_some());
            if let Some(kind) = shadowed {
                let message = format!("{} has an attribute {} of its own", kind.name, attribute.name);
                let finding = Finding::warning("schema-attribute-shadows", message)
                    .hint("use that one, or choose another name so that nobody takes one for the other");
                self.findings.push(self.tenant.finding(&child(&item(field, index), "name"), finding));
            }
        }
    }

    /// One schema's attributes: their names, and what references refer to.
    fn attributes(&mut self, attributes: &[SchemaAttribute], field: &str, base: bool) {
        let names = attributes.iter().map(|attribute| attribute.name.as_str());
        self.names(names, field);
        for (index, attribute) in attributes.iter().enumerate() {
            let place = item(field, index);
            if COMMON.iter().any(|common| common.eq_ignore_ascii_case(&attribute.name)) {
                let message = format!("{} is an attribute that every resource has", attribute.name);
                let hint = if base { "remove it: it is there already" } else { "choose another name" };
                self.error(&child(&place, "name"), "schema-attribute-taken", message, hint);
            }
            self.references(&attribute.reference_types, &place);
            let parts = child(&place, "subAttributes");
            self.names(attribute.sub_attributes.iter().map(|part| part.name.as_str()), &parts);
            for (index, part) in attribute.sub_attributes.iter().enumerate() {
                self.references(&part.reference_types, &item(&parts, index));
            }
        }
    }

    /// Names that differ in their case only; those that are the same are refused already.
    fn names<'n>(&mut self, names: impl Iterator<Item = &'n str>, field: &str) {
        let mut known: HashMap<String, &str> = HashMap::new();
        for (index, name) in names.enumerate() {
            match known.get(&name.to_ascii_lowercase()) {
                Some(first) => {
                    let message = format!("{name} is the same attribute as {first}: case does not matter");
                    let field = child(&item(field, index), "name");
                    self.error(&field, "schema-attribute-taken", message, "rename one or remove it");
                }
                None => {
                    known.insert(name.to_ascii_lowercase(), name);
                }
            }
        }
    }

    fn references(&mut self, types: &[String], place: &str) {
        let mut names = self.type_names();
        names.extend(["external", "uri"]);
        for (index, name) in types.iter().enumerate() {
            if !names.contains(&name.as_str()) {
                self.unknown_type(&item(&child(place, "referenceTypes"), index), name, &names);
            }
        }
    }

    /// Resource types of which none can be made first: each must refer to another.
    fn circles(&mut self) {
        let kinds = &self.tenant.object.spec.resource_types;
        // For each type, where its required references go; one that may go elsewhere holds nothing up.
        let needs: Vec<Vec<(usize, usize)>> = kinds
            .iter()
            .map(|kind| {
                let required = kind.schema.attributes.iter().enumerate().filter(|(_, attribute)| {
                    let parts = attribute.sub_attributes.iter().any(|part| part.required);
                    attribute.required && (!attribute.reference_types.is_empty() || parts)
                });
                required
                    .filter_map(|(index, attribute)| {
                        let parts = attribute.sub_attributes.iter().filter(|part| part.required);
                        let lists = std::iter::once(&attribute.reference_types)
                            .chain(parts.map(|part| &part.reference_types));
                        let only = lists.filter(|list| list.len() == 1).flatten().next()?;
                        let target = kinds.iter().position(|kind| kind.name == *only)?;
                        Some((index, target))
                    })
                    .collect()
            })
            .collect();
        for start in 0..kinds.len() {
            for (index, target) in &needs[start] {
                // Told once, at the first type of the circle.
                if *target >= start && reaches(&needs, *target, start, start) {
                    let attribute = child(&item("spec.resourceTypes", start), "schema");
                    let field = child(&item(&child(&attribute, "attributes"), *index), "required");
                    let message = format!(
                        "a {} must refer to a {} that must be there first, and the other way round",
                        kinds[start].name, kinds[*target].name
                    );
                    let hint = "make one of the references optional, so that there can be a first one";
                    self.error(&field, "schema-circle", message, hint);
                }
            }
        }
    }

    fn core(&mut self, name: &str, core: &CoreSchema, field: &str) {
        for (index, path) in core.required.iter().enumerate() {
            let field = item(&child(field, "required"), index);
            let Some(found) = self.core_attribute(name, path, &field) else { continue };
            let read_only = core.attributes.iter().any(|attribute| {
                attribute.name.eq_ignore_ascii_case(path)
                    && attribute.mutability == Some(CoreMutability::ReadOnly)
            });
            if leaf(&found).mutability == Mutability::ReadOnly || read_only {
                let message = format!("{path} is readOnly: no client could give it the value it must have");
                self.error(&field, "schema-core", message, "remove it from required, or the readOnly");
            }
        }
        for (index, attribute) in core.attributes.iter().enumerate() {
            let field = item(&child(field, "attributes"), index);
            self.core_characteristics(name, attribute, &field);
        }
    }

    fn core_characteristics(&mut self, name: &str, written: &CoreAttribute, field: &str) {
        let Some(found) = self.core_attribute(name, &written.name, &child(field, "name")) else { return };
        let known = leaf(&found);
        let path = &written.name;
        if written.mutability == Some(CoreMutability::ReadOnly) && known.required {
            let message =
                format!("{path} is required: it cannot be readOnly, for no client could give it a value");
            self.error(&child(field, "mutability"), "schema-core", message, "make it immutable, or leave it");
        }
        let unique = written.uniqueness == Some(SchemaUniqueness::Server);
        let kinds = [AttributeType::String, AttributeType::Reference, AttributeType::Integer];
        if unique && !kinds.contains(&known.kind) {
            let message = format!("{path} cannot be unique: that is for strings, references and integers");
            let hint = match known.sub_attribute("value") {
                Some(_) => format!("name {path}.value"),
                None => "remove it".to_owned(),
            };
            self.error(&child(field, "uniqueness"), "schema-core", message, &hint);
        }
        if written.uniqueness == Some(SchemaUniqueness::None) && known.uniqueness != Uniqueness::None {
            let message = format!("{path} is unique in RFC 7643, which cannot be taken back");
            self.error(&child(field, "uniqueness"), "schema-core", message, "remove it");
        }
        if !written.canonical_values.is_empty() && known.kind != AttributeType::String {
            let message = format!("{path} is no string, so it has no canonicalValues");
            self.error(&child(field, "canonicalValues"), "schema-core", message, "remove them");
        }
    }

    /// The attribute of a path, when a tenant may narrow it.
    fn core_attribute(&mut self, name: &str, path: &str, field: &str) -> Option<AttributeRef> {
        let registry = Registry::core();
        let kind = registry.by_name(name)?;
        let parsed = AttributePath::parse(path);
        let found = parsed.as_ref().ok().and_then(|path| kind.resolve(path));
        let Some(found) = found else {
            let hint = parsed.map_or(String::new(), |path| kind.hint(&path));
            let hint = match hint.strip_prefix("; ") {
                Some(hint) => hint.to_owned(),
                None => format!("name an attribute of RFC 7643's {name}, such as displayName"),
            };
            self.error(field, "schema-core", format!("{path:?} is not an attribute of {name}"), &hint);
            return None;
        };
        let top = found.attribute.name.as_str();
        let ours = match (&found.extension, top) {
            (None, "schemas" | "id" | "meta") => Some("the server gives every resource"),
            (None, "groups" | "members") => Some("comes from the membership of groups"),
            (None, "password") => Some("is checked and not kept"),
            (None, urn) if urn.contains(':') => Some("is a whole schema"),
            _ => None,
        };
        if let Some(why) = ours {
            let message = format!("{top} {why}: nothing more can be asked of it");
            self.error(field, "schema-core", message, "remove it");
            return None;
        }
        Some(found)
    }
}

fn leaf(found: &AttributeRef) -> &Attribute {
    found.sub_attribute.as_ref().unwrap_or(&found.attribute)
}

/// Whether required references lead from one type to another by way of types from `least` on.
fn reaches(needs: &[Vec<(usize, usize)>], from: usize, to: usize, least: usize) -> bool {
    let (mut seen, mut open) = (vec![false; needs.len()], vec![from]);
    while let Some(kind) = open.pop() {
        if kind == to {
            return true;
        }
        if kind >= least && !std::mem::replace(&mut seen[kind], true) {
            open.extend(needs[kind].iter().map(|(_, target)| *target));
        }
    }
    false
}
