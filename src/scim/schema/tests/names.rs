//! Names to attributes, and the characteristics of the core schemas.

use super::*;

#[test]
fn paths_resolve_to_the_schemas_spelling() {
    let user = resource_type("User");
    let resolved = |schema: Option<&str>, attribute: &str, sub: Option<&str>| {
        user.resolve(&path(schema, attribute, sub)).map(|found| {
            let extension = found.extension.map(|urn| format!("{urn}|")).unwrap_or_default();
            let sub = found.sub_attribute.map(|sub| format!(".{}", sub.name)).unwrap_or_default();
            format!("{extension}{}{sub}", found.attribute.name)
        })
    };
    let enterprise = |rest: &str| Some(format!("{ENTERPRISE_USER_SCHEMA}{rest}"));
    assert_eq!(resolved(None, "USERNAME", None).as_deref(), Some("userName"));
    assert_eq!(resolved(None, "emails", Some("Value")).as_deref(), Some("emails.value"));
    assert_eq!(resolved(None, "META", Some("lastmodified")).as_deref(), Some("meta.lastModified"));
    assert_eq!(resolved(Some(USER_SCHEMA), "name", Some("givenName")).as_deref(), Some("name.givenName"));
    let upper = ENTERPRISE_USER_SCHEMA.to_uppercase();
    assert_eq!(resolved(Some(&upper), "manager", Some("$REF")), enterprise("|manager.$ref"));
    assert_eq!(resolved(Some(ENTERPRISE_USER_SCHEMA), "", None), enterprise(""));
    let (head, tail) = ENTERPRISE_USER_SCHEMA.rsplit_once(':').unwrap();
    assert_eq!(resolved(Some(head), tail, None), enterprise(""));
    for (schema, attribute, sub) in [
        (None, "nope", None),
        (None, "userName", Some("value")),
        (None, "employeeNumber", None),
        (Some(USER_SCHEMA), "employeeNumber", None),
        (Some(GROUP_SCHEMA), "displayName", None),
        (Some(ENTERPRISE_USER_SCHEMA), "userName", None),
    ] {
        assert_eq!(resolved(schema, attribute, sub), None, "{schema:?} {attribute} {sub:?}");
    }
}

#[test]
fn registry_finds_types_by_endpoint_and_name() {
    let registry = Registry::core();
    assert_eq!(registry.by_endpoint("Users").unwrap().name, "User");
    assert_eq!(registry.by_name("Group").unwrap().endpoint, "/Groups");
    assert!(registry.by_endpoint("users").is_none() && registry.by_endpoint("/Users").is_none());
    assert_eq!(registry.schemas().len(), 3);
}

#[test]
fn core_characteristics_are_those_of_the_rfc() {
    let user = resource_type("User");
    let of = |name: &str| user.resolve(&path(None, name, None)).unwrap().attribute;
    assert!(of("userName").required && !of("userName").case_exact);
    assert_eq!(of("userName").uniqueness, Uniqueness::Server);
    assert!(of("externalId").case_exact && of("id").case_exact);
    assert_eq!(
        (of("password").mutability, of("password").returned),
        (Mutability::WriteOnly, Returned::Never)
    );
    assert_eq!(of("groups").mutability, Mutability::ReadOnly);
    assert_eq!((of("id").returned, of("schemas").returned), (Returned::Always, Returned::Always));
    let types = of("phoneNumbers").sub_attribute("type").unwrap().canonical_values.clone();
    assert_eq!(types, ["work", "home", "mobile", "fax", "pager", "other"]);
    for resource_type in &Registry::core().resource_types {
        for attribute in resource_type.top_level() {
            for part in std::iter::once(attribute).chain(&attribute.sub_attributes) {
                assert!(!part.description.is_empty(), "{} is described", part.name);
                assert_eq!(
                    part.kind == AttributeType::Reference,
                    !part.reference_types.is_empty(),
                    "{}",
                    part.name
                );
                assert_eq!(
                    part.kind == AttributeType::Complex,
                    !part.sub_attributes.is_empty(),
                    "{}",
                    part.name
                );
            }
        }
        assert!(resource_type.shows_all_by_default);
    }
    assert!(!device().shows_all_by_default);
}
