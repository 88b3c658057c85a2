//! `attributes` and `excludedAttributes` (RFC 7644 section 3.9) under the `returned` rules of
//! RFC 7643 section 2.2: `always` cannot be taken away, `never` cannot be had, `request` must be named.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::error::ScimError;
use super::path::AttributePath;
use super::resource::Load;
use super::schema::{Attribute, ResourceType, Returned};

/// Names at most: several times what the schemas have, few enough for each resource of a page.
const MAX_NAMES: usize = 500;

/// What a client asked to see.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Projection {
    /// Neither parameter: everything whose `returned` is `always` or `default`.
    #[default]
    Default,
    /// `attributes`: these and what is always returned.
    Only(Vec<AttributePath>),
    /// `excludedAttributes`: the default without these.
    Without(Vec<AttributePath>),
}

impl Projection {
    /// From the two parameters (comma-separated lists, split already); both at once is `invalidValue`.
    pub fn parse(attributes: &[&str], excluded: &[&str]) -> Result<Self, ScimError> {
        let (attributes, excluded) = (parse_names(attributes)?, parse_names(excluded)?);
        match (attributes.is_empty(), excluded.is_empty()) {
            (true, true) => Ok(Self::Default),
            (false, true) => Ok(Self::Only(attributes)),
            (true, false) => Ok(Self::Without(excluded)),
            (false, false) => Err(ScimError::invalid_value(
                "\"attributes\" and \"excludedAttributes\" exclude each other: send one of them",
            )),
        }
    }

    /// Which related data a type's representation needs under this projection. A user's groups are
    /// always needed: its version covers them, and every answer has a version.
    #[must_use]
    pub fn load(&self, resource_type: &ResourceType) -> Load {
        let members = resource_type.has_members()
            && match self {
                Self::Default => true,
                Self::Only(paths) => Selection::of(resource_type, paths).touches("members"),
                Self::Without(paths) => !Selection::of(resource_type, paths).names("members"),
            };
        Load { members, groups: resource_type.has_groups() }
    }

    /// Removes from a full representation what this projection does not show. Names that the type
    /// does not have are ignored.
    pub fn apply(&self, resource_type: &ResourceType, representation: &mut Value) {
        let Value::Object(resource) = representation else { return };
        let top_level: Vec<&Arc<Attribute>> = resource_type.top_level().collect();
        match self {
            Self::Default => without(&top_level, resource, &Selection::default()),
            Self::Only(paths) => only(&top_level, resource, &Selection::of(resource_type, paths)),
            Self::Without(paths) => without(&top_level, resource, &Selection::of(resource_type, paths)),
        }
    }
}

/// Each name once, whatever its case.
fn parse_names(names: &[&str]) -> Result<Vec<AttributePath>, ScimError> {
    let mut seen = HashSet::new();
    let mut paths = Vec::new();
    for name in names.iter().map(|name| name.trim()).filter(|name| !name.is_empty()) {
        if !seen.insert(name.to_ascii_lowercase()) {
            continue;
        }
        if paths.len() == MAX_NAMES {
            return Err(ScimError::invalid_value(format!(
                "more than {MAX_NAMES} attributes are named: leave both parameters out to get all"
            )));
        }
        paths.push(AttributePath::parse(name)?);
    }
    Ok(paths)
}

/// The names asked for, as a tree beside the schema's: extension, attribute, sub-attribute.
#[derive(Debug, Default)]
struct Selection {
    /// This was named itself, not only something below it.
    whole: bool,
    below: Vec<(Arc<Attribute>, Selection)>,
}

impl Selection {
    fn of(resource_type: &ResourceType, paths: &[AttributePath]) -> Self {
        let mut root = Self::default();
        for path in paths {
            if path.is_bare_urn(&resource_type.schema.id) {
                for attribute in &resource_type.schema.attributes {
                    root.child(attribute).whole = true;
                }
            }
            let Some(found) = resource_type.resolve(path) else { continue };
            let extension = found.extension.as_deref().and_then(|urn| {
                resource_type.extensions.iter().map(|e| &e.container).find(|container| container.name == urn)
            });
            let steps = extension.into_iter().chain([&found.attribute]).chain(&found.sub_attribute);
            steps.fold(&mut root, |node, attribute| node.child(attribute)).whole = true;
        }
        root
    }

    fn child(&mut self, attribute: &Arc<Attribute>) -> &mut Self {
        let known = self.below.iter().position(|(known, _)| known.name == attribute.name);
        let index = known.unwrap_or_else(|| {
            self.below.push((Arc::clone(attribute), Self::default()));
            self.below.len() - 1
        });
        &mut self.below[index].1
    }

    fn get(&self, name: &str) -> Option<&Self> {
        self.below.iter().find(|(attribute, _)| attribute.name == name).map(|(_, selection)| selection)
    }

    fn touches(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn names(&self, name: &str) -> bool {
        self.get(name).is_some_and(|selection| selection.whole)
    }
}

/// Keeps what is selected, and what is always returned.
fn only<A: AsRef<Attribute>>(attributes: &[A], object: &mut Map<String, Value>, selection: &Selection) {
    object.retain(|name, value| {
        let Some(attribute) = attributes.iter().map(AsRef::as_ref).find(|a| a.name == *name) else {
            return false;
        };
        let selected = selection.get(name);
        match (attribute.returned, selected) {
            (Returned::Never, _) => false,
            (_, Some(selected)) if !selected.whole => {
                parts(attribute, value, |object| only(&attribute.sub_attributes, object, selected))
            }
            (_, Some(selected)) => {
                parts(attribute, value, |object| named(&attribute.sub_attributes, object, selected))
            }
            (Returned::Always, None) => parts(attribute, value, |object| {
                without(&attribute.sub_attributes, object, &Selection::default());
            }),
            // An extension is a container: what is always returned of it is there without being asked for.
            (_, None) if name.contains(':') => parts(attribute, value, |object| {
                only(&attribute.sub_attributes, object, &Selection::default());
            }),
            (_, None) => false,
        }
    });
}

/// The parts of an attribute that was named whole: the default ones, and those named beside it.
fn named<A: AsRef<Attribute>>(attributes: &[A], object: &mut Map<String, Value>, selection: &Selection) {
    object.retain(|name, value| {
        let Some(attribute) = attributes.iter().map(AsRef::as_ref).find(|a| a.name == *name) else {
            return false;
        };
        let none = Selection::default();
        let selected = selection.get(name);
        match attribute.returned {
            Returned::Never => false,
            Returned::Request if selected.is_none() => false,
            _ => parts(attribute, value, |object| {
                named(&attribute.sub_attributes, object, selected.unwrap_or(&none));
            }),
        }
    });
}

/// Removes what is selected, and what is not returned by default.
fn without<A: AsRef<Attribute>>(attributes: &[A], object: &mut Map<String, Value>, selection: &Selection) {
    object.retain(|name, value| {
        let Some(attribute) = attributes.iter().map(AsRef::as_ref).find(|a| a.name == *name) else {
            return false;
        };
        let none = Selection::default();
        let selected = selection.get(name).unwrap_or(&none);
        match attribute.returned {
            Returned::Never | Returned::Request => false,
            Returned::Default if selected.whole && name.contains(':') => {
                parts(attribute, value, |object| only(&attribute.sub_attributes, object, &none))
            }
            Returned::Default if selected.whole => false,
            _ => parts(attribute, value, |object| without(&attribute.sub_attributes, object, selected)),
        }
    });
}

/// Projects the objects in an attribute's value; whether anything is left of it.
fn parts(attribute: &Attribute, value: &mut Value, mut project: impl FnMut(&mut Map<String, Value>)) -> bool {
    match value {
        // An object from a time when the attribute was complex is one value now.
        _ if attribute.sub_attributes.is_empty() => true,
        Value::Object(object) => {
            project(object);
            !object.is_empty()
        }
        Value::Array(values) => {
            values.retain_mut(|value| match value {
                Value::Object(object) => {
                    project(object);
                    !object.is_empty()
                }
                _ => true,
            });
            !values.is_empty()
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scim::schema::{
        ENTERPRISE_USER_SCHEMA, GROUP_SCHEMA, Registry, Schema, SchemaExtension, USER_SCHEMA,
    };

    fn paths(names: &str) -> Vec<&str> {
        names.split(',').collect()
    }

    fn shown(resource_type: &ResourceType, attributes: &str, excluded: &str, resource: &Value) -> String {
        let mut resource = resource.clone();
        let projection = Projection::parse(&paths(attributes), &paths(excluded)).unwrap();
        projection.apply(resource_type, &mut resource);
        resource.to_string()
    }

    fn jensen() -> Value {
        json!({
            "schemas": ["U"], "id": "1", "userName": "b", "name": {"givenName": "B", "familyName": "J"},
            "emails": [{"value": "b@x", "type": "work"}, {"type": "home"}], "groups": [{"value": "g"}],
            ENTERPRISE_USER_SCHEMA: {"department": "d", "manager": {"value": "2", "$ref": "r"}},
            "meta": {"version": "v", "created": "c"},
        })
    }

    #[test]
    fn attributes_show_what_was_asked_for_and_what_always_is() {
        let user = Registry::core();
        let user = user.by_name("User").unwrap();
        let only = |names: &str| shown(user, names, "", &jensen());
        insta::assert_snapshot!(only("userName"), @r#"{"schemas":["U"],"id":"1","userName":"b"}"#);
        insta::assert_snapshot!(only("USERNAME, nope,,meta"), @r#"{"schemas":["U"],"id":"1","userName":"b","meta":{"version":"v","created":"c"}}"#);
        insta::assert_snapshot!(only("name.familyName,emails.value"), @r#"{"schemas":["U"],"id":"1","name":{"familyName":"J"},"emails":[{"value":"b@x"}]}"#);
        insta::assert_snapshot!(only("name,name.familyName"), @r#"{"schemas":["U"],"id":"1","name":{"givenName":"B","familyName":"J"}}"#);
        insta::assert_snapshot!(only("urn:ietf:params:scim:schemas:core:2.0:User:userName"), @r#"{"schemas":["U"],"id":"1","userName":"b"}"#);
        insta::assert_snapshot!(only("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department"), @r#"{"schemas":["U"],"id":"1","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"d"}}"#);
        insta::assert_snapshot!(only("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value"), @r#"{"schemas":["U"],"id":"1","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"manager":{"value":"2"}}}"#);
        insta::assert_snapshot!(only("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"), @r#"{"schemas":["U"],"id":"1","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"d","manager":{"value":"2","$ref":"r"}}}"#);
        insta::assert_snapshot!(only("nope"), @r#"{"schemas":["U"],"id":"1"}"#);
        insta::assert_snapshot!(only(USER_SCHEMA), @r#"{"schemas":["U"],"id":"1","userName":"b","name":{"givenName":"B","familyName":"J"},"emails":[{"value":"b@x","type":"work"},{"type":"home"}],"groups":[{"value":"g"}]}"#);
    }

    #[test]
    fn excluded_attributes_are_gone_but_never_what_always_is() {
        let user = Registry::core();
        let user = user.by_name("User").unwrap();
        let without = |names: &str| {
            let names = format!("{names},groups,userName");
            shown(user, "", &names, &jensen())
        };
        insta::assert_snapshot!(without("id,schemas,name,emails,meta.created,urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"), @r#"{"schemas":["U"],"id":"1","meta":{"version":"v"}}"#);
        insta::assert_snapshot!(without("name.givenName,emails.type,meta,urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager"), @r#"{"schemas":["U"],"id":"1","name":{"familyName":"J"},"emails":[{"value":"b@x"}],"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"d"}}"#);
    }

    #[test]
    fn both_parameters_at_once_are_refused() {
        insta::assert_snapshot!(Projection::parse(&["userName"], &["name"]).unwrap_err(), @r#"400 invalidValue: "attributes" and "excludedAttributes" exclude each other: send one of them"#);
        assert_eq!(Projection::parse(&["", " "], &[""]), Ok(Projection::Default));
    }

    #[test]
    fn names_are_counted_once_each_and_bounded() {
        assert_eq!(Projection::parse(&["name", "NAME"], &[]), Projection::parse(&["name"], &[]));
        let names: Vec<String> = (0..501).map(|i| format!("a{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(Projection::parse(&names[..500], &[]).is_ok());
        insta::assert_snapshot!(Projection::parse(&names, &[]).unwrap_err(), @"400 invalidValue: more than 500 attributes are named: leave both parameters out to get all");
    }

    #[test]
    fn members_are_loaded_only_when_shown() {
        let registry = Registry::core();
        let (user, group) = (registry.by_name("User").unwrap(), registry.by_name("Group").unwrap());
        let load = |attributes: &str, excluded: &str| {
            Projection::parse(&paths(attributes), &paths(excluded)).unwrap().load(group).members
        };
        assert!(load("", ""));
        assert!(load("members.value", "") && load("Members", "") && load(GROUP_SCHEMA, ""));
        assert!(!load("displayName", ""));
        assert!(!load("", "members") && load("", "members.display") && load("", "displayName"));
        let only = Projection::parse(&["userName"], &[]).unwrap();
        assert_eq!(only.load(user), Load { members: false, groups: true });
    }

    #[test]
    fn returned_rules_hold_at_every_level() {
        let schema = |id: &str| -> Arc<Schema> {
            let attributes = json!([
                {"name": "shown"}, {"name": "fixed", "returned": "always"}, {"name": "hidden", "returned": "never"},
                {"name": "asked", "returned": "request"},
                {"name": "whole", "type": "complex", "subAttributes": [
                    {"name": "shown"}, {"name": "fixed", "returned": "always"}, {"name": "asked", "returned": "request"},
                    {"name": "hidden", "returned": "never"},
                ]},
            ]);
            serde_json::from_value(json!({"id": id, "name": id, "attributes": attributes})).unwrap()
        };
        let extension = SchemaExtension::new(schema("urn:x:E"), false);
        let thing = ResourceType::new("Thing", "/Things", "", schema("urn:x:T"), vec![extension]);
        let part = json!({"shown": 1, "fixed": 2, "asked": 3, "hidden": 4});
        let mut all = part.clone();
        all["whole"] = part;
        let mut resource = all.clone();
        resource["urn:x:E"] = all;
        let shown = |attributes: &str, excluded: &str| shown(&thing, attributes, excluded, &resource);
        insta::assert_snapshot!(shown("", ""), @r#"{"shown":1,"fixed":2,"whole":{"shown":1,"fixed":2},"urn:x:E":{"shown":1,"fixed":2,"whole":{"shown":1,"fixed":2}}}"#);
        insta::assert_snapshot!(shown("asked,hidden", ""), @r#"{"fixed":2,"asked":3,"urn:x:E":{"fixed":2}}"#);
        insta::assert_snapshot!(shown("whole", ""), @r#"{"fixed":2,"whole":{"shown":1,"fixed":2},"urn:x:E":{"fixed":2}}"#);
        insta::assert_snapshot!(shown("whole,whole.asked", ""), @r#"{"fixed":2,"whole":{"shown":1,"fixed":2,"asked":3},"urn:x:E":{"fixed":2}}"#);
        insta::assert_snapshot!(shown("whole.asked,whole.hidden", ""), @r#"{"fixed":2,"whole":{"fixed":2,"asked":3},"urn:x:E":{"fixed":2}}"#);
        insta::assert_snapshot!(shown("urn:x:E:whole.shown", ""), @r#"{"fixed":2,"urn:x:E":{"fixed":2,"whole":{"shown":1,"fixed":2}}}"#);
        insta::assert_snapshot!(shown("", "fixed,whole.fixed,whole.shown,urn:x:E"), @r#"{"shown":1,"fixed":2,"whole":{"fixed":2},"urn:x:E":{"fixed":2}}"#);
        insta::assert_snapshot!(shown("", "shown,whole"), @r#"{"fixed":2,"urn:x:E":{"shown":1,"fixed":2,"whole":{"shown":1,"fixed":2}}}"#);
    }
}
