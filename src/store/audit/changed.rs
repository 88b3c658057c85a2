//! Which attributes of a resource differ between before and after, by their full paths, found without
//! copying either; and their values, where the tenant keeps them.

use serde_json::{Map, Value};

use crate::scim::path::AttributePath;
use crate::scim::resource::Attributes;
use crate::scim::schema::{Attribute, ResourceType, Returned};

/// What differs.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Changed {
    /// The paths, each followed by a space: no name and no URN has one.
    pub paths: String,
    /// `[old, new]` by path; `None` where values are not kept.
    pub values: Option<Map<String, Value>>,
}

impl Changed {
    /// One path, without values.
    pub(crate) fn of(path: &str) -> Self {
        let mut changed = Self::default();
        changed.name(path);
        changed
    }

    /// Adds a path without values.
    pub(crate) fn name(&mut self, path: &str) {
        self.paths.push_str(path);
        self.paths.push(' ');
    }

    /// The paths of a stored row.
    pub(crate) fn split(paths: &str) -> Vec<String> {
        paths.split_ascii_whitespace().map(str::to_owned).collect()
    }
}

/// What differs between two states; `None` is a resource that is not there. `schemas`, which follows from
/// the rest, is passed over.
pub(crate) fn changed(
    resource_type: &ResourceType,
    before: Option<&Attributes>,
    after: Option<&Attributes>,
    keep_values: bool,
) -> Changed {
    let mut walk = Walk {
        resource_type,
        changed: Changed { paths: String::new(), values: keep_values.then(Map::new) },
        path: String::new(),
    };
    walk.objects(before, after, None);
    walk.changed
}

struct Walk<'a> {
    resource_type: &'a ResourceType,
    changed: Changed,
    /// Where the walk is.
    path: String,
}

impl Walk<'_> {
    /// `separator` stands between the path so far and a name; none at the top.
    fn objects(
        &mut self,
        before: Option<&Map<String, Value>>,
        after: Option<&Map<String, Value>>,
        separator: Option<char>,
    ) {
        for (name, after) in after.into_iter().flatten() {
            self.step(name, before.and_then(|before| before.get(name)), Some(after), separator);
        }
        for (name, before) in before.into_iter().flatten() {
            if after.is_none_or(|after| !after.contains_key(name)) {
                self.step(name, Some(before), None, separator);
            }
        }
    }

    fn step(&mut self, name: &str, before: Option<&Value>, after: Option<&Value>, separator: Option<char>) {
        if before == after || (separator.is_none() && name == "schemas") {
            return;
        }
        let length = self.path.len();
        self.path.extend(separator);
        self.path.push_str(name);
        match (before, after) {
            (Some(Value::Object(_)) | None, Some(Value::Object(_)) | None) => {
                // An extension is named by its URN.
                let separator = if separator.is_none() && name.contains(':') { ':' } else { '.' };
                let [before, after] = [before, after].map(|value| value.and_then(Value::as_object));
                self.objects(before, after, Some(separator));
            }
            _ => self.leaf(before, after),
        }
        self.path.truncate(length);
    }

    fn leaf(&mut self, before: Option<&Value>, after: Option<&Value>) {
        if let Some(values) = &mut self.changed.values {
            let found = AttributePath::parse(&self.path).ok();
            let found = found.and_then(|path| self.resource_type.resolve(&path));
            // What the schema does not know may be what is not to be shown.
            if let Some(found) = found
                && found.attribute.returned != Returned::Never
                && found.leaf().returned != Returned::Never
            {
                let side =
                    |value: Option<&Value>| value.map_or(Value::Null, |value| shown(found.leaf(), value));
                values.insert(self.path.clone(), Value::Array(vec![side(before), side(after)]));
            }
        }
        self.changed.paths.push_str(&self.path);
        self.changed.paths.push(' ');
    }
}

/// A value without the parts that are never returned.
fn shown(attribute: &Attribute, value: &Value) -> Value {
    match value {
        Value::Array(elements) => elements.iter().map(|element| shown(attribute, element)).collect(),
        Value::Object(parts) => {
            let returned = |name: &String| {
                attribute.sub_attribute(name).is_some_and(|part| part.returned != Returned::Never)
            };
            let parts = parts.iter().filter(|(name, _)| returned(name));
            Value::Object(parts.map(|(name, value)| (name.clone(), value.clone())).collect())
        }
        value => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::scim::schema::{Registry, Schema};

    fn attributes(value: Value) -> Attributes {
        serde_json::from_value(value).unwrap()
    }

    fn user() -> Arc<ResourceType> {
        Arc::clone(Registry::core().by_name("User").unwrap())
    }

    #[test]
    fn paths_name_the_leaves_that_differ() {
        let urn = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
        let before = attributes(json!({"schemas": ["a"], "userName": "u", "title": "t",
            "name": {"givenName": "g", "familyName": "f"}, "emails": [{"value": "a"}],
            urn: {"manager": {"value": "m"}, "department": "d"}}));
        let after = attributes(json!({"schemas": ["a", "b"], "userName": "u", "name": {"familyName": "F"},
            "emails": [{"value": "b"}], urn: {"manager": {"value": "M"}, "department": "d"}}));
        let changed = changed(&user(), Some(&before), Some(&after), false);
        let expected = format!("name.familyName name.givenName emails {urn}:manager.value title ");
        assert_eq!((changed.paths.as_str(), changed.values), (expected.as_str(), None));
    }

    #[test]
    fn what_is_never_returned_or_not_in_the_schema_has_no_value() {
        let attribute =
            |name: &str, returned: &str| json!({"name": name, "type": "string", "returned": returned});
        let secrets = json!({"name": "secrets", "type": "complex", "multiValued": true,
            "subAttributes": [attribute("name", "default"), attribute("pin", "never")]});
        let schema = json!({"id": "urn:example:Thing", "name": "Thing", "description": "",
            "attributes": [attribute("open", "default"), attribute("hidden", "never"), secrets]});
        let schema: Schema = serde_json::from_value(schema).unwrap();
        let thing = ResourceType::new("Thing", "/Things", "", Arc::new(schema), Vec::new());
        let after = attributes(json!({"open": "seen", "hidden": "1234", "gone": "5678",
            "secrets": [{"name": "n", "pin": "4321"}]}));
        let changed = changed(&thing, None, Some(&after), true);
        assert_eq!(changed.paths, "open hidden gone secrets ");
        let values = json!({"open": [null, "seen"], "secrets": [null, [{"name": "n"}]]});
        assert_eq!(json!(changed.values), values);
    }

    fn any_attributes() -> impl Strategy<Value = Attributes> {
        let leaf =
            prop_oneof![Just(json!("a")), Just(json!("b")), Just(json!([1])), Just(json!([{"value": 1}]))];
        let name = || proptest::sample::select(vec!["title", "name", "emails", "urn:x:y"]);
        let value = leaf.prop_recursive(2, 8, 3, move |inner| {
            prop::collection::btree_map(name(), inner, 0..3).prop_map(|map| json!(map))
        });
        let name = proptest::sample::select(vec!["title", "name", "emails", "urn:x:y"]);
        prop::collection::btree_map(name, value, 0..4).prop_map(|map| attributes(json!(map)))
    }

    proptest! {
        #[test]
        fn equal_states_have_no_paths_and_each_path_is_given_once(before in any_attributes(), after in any_attributes()) {
            let user = user();
            prop_assert_eq!(changed(&user, Some(&before), Some(&before), true).paths, "");
            let found = changed(&user, Some(&before), Some(&after), true);
            let mut paths = Changed::split(&found.paths);
            let back = changed(&user, Some(&after), Some(&before), true);
            let mut back = Changed::split(&back.paths);
            paths.sort();
            back.sort();
            prop_assert_eq!(&paths, &back);
            let count = paths.len();
            paths.dedup();
            prop_assert_eq!(paths.len(), count);
        }
    }
}
