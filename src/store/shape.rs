//! What a store knows of the schemas that a tenant's resources were stored under, so that it can tell what a
//! change of them asks for: which indexes there are, and which attributes stored bodies may hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::index;
use crate::scim::schema::{Attribute, Registry, ResourceType};

/// What a change of a tenant's schemas came to: [`super::Store::prepare`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prepared {
    /// The resource types whose stored bodies may hold what the schemas do not define.
    pub hidden: BTreeSet<String>,
    /// Attributes that must be unique and were not when they became so.
    pub duplicates: Vec<Duplicates>,
    /// The indexes that were built: attributes that were made unique.
    pub built: BTreeSet<String>,
}

/// Values that were there twice when their attribute became unique. They stay, and nobody else gets them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicates {
    /// The resource type.
    pub resource_type: String,
    /// The attribute's path.
    pub attribute: String,
    /// How many values are those of another resource as well.
    pub count: u64,
}

/// What is kept of one resource type of one tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Shape {
    /// The indexes that are complete and kept so by every write.
    pub indexes: BTreeSet<String>,
    /// Indexes that nobody goes by any more, and whose entries are still to be removed.
    pub leaving: BTreeSet<String>,
    /// The tenant's own attributes that bodies may hold: those of now and of before.
    pub attributes: BTreeSet<String>,
    /// Unique indexes in which values are there twice, and how often.
    pub duplicates: BTreeMap<String, u64>,
}

impl Shape {
    /// The shape of a type that nobody has changed: RFC 7643's, or none.
    pub(super) fn initial(name: &str) -> Self {
        let indexes = Registry::core().by_name(name).map(|kind| index::names(kind)).unwrap_or_default();
        Self { indexes, ..Self::default() }
    }

    /// The indexes that a type needs and that are not there.
    pub(super) fn missing(&self, kind: &ResourceType) -> BTreeSet<String> {
        index::names(kind).difference(&self.indexes).cloned().collect()
    }

    /// The shape under a type's schemas, once the missing indexes are there.
    pub(super) fn under(&self, kind: &ResourceType, empty: bool) -> Self {
        let indexes = index::names(kind);
        let mut attributes = own_attributes(kind);
        if !empty {
            attributes.extend(self.attributes.iter().cloned());
        }
        let leaving = self.leaving.union(&self.indexes).filter(|name| !indexes.contains(*name)).cloned();
        let mut duplicates = self.duplicates.clone();
        duplicates.retain(|name, _| indexes.contains(name));
        Self { leaving: leaving.collect(), indexes, attributes, duplicates }
    }

    /// Whether bodies may hold what a type's schemas do not define.
    pub(super) fn hides(&self, kind: &ResourceType) -> bool {
        !self.attributes.is_subset(&own_attributes(kind))
    }

    /// The attributes that must be unique and are not.
    pub(super) fn duplicates(&self, kind: &str) -> impl Iterator<Item = Duplicates> {
        self.duplicates.iter().filter(|(_, count)| **count > 0).map(move |(name, count)| Duplicates {
            resource_type: kind.to_owned(),
            attribute: index::attribute_of(name).to_owned(),
            count: *count,
        })
    }
}

/// The paths of a type's attributes that RFC 7643 does not define.
fn own_attributes(kind: &ResourceType) -> BTreeSet<String> {
    let core = Registry::core();
    let mut paths = BTreeSet::new();
    let mut add = |prefix: &str, attributes: &[Arc<Attribute>]| {
        for attribute in attributes {
            let path = format!("{prefix}{}", attribute.name);
            paths.extend(attribute.sub_attributes.iter().map(|part| format!("{path}.{}", part.name)));
            paths.insert(path);
        }
    };
    let known = core.by_name(&kind.name);
    if known.is_none() {
        add("", &kind.schema.attributes);
    }
    for extension in &kind.extensions {
        let is_core = known
            .is_some_and(|known| known.extensions.iter().any(|other| other.schema.id == extension.schema.id));
        if !is_core {
            add(&format!("{}:", extension.schema.id), &extension.schema.attributes);
        }
    }
    paths
}
