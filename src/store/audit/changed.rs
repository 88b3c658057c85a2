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
