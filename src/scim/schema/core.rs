//! The schemas of RFC 7643 (sections 3.1, 4 and 8.7.1), read once from the documents beside this file.
//!
//! Where the RFC's own listing says `caseExact: false` of a reference, binary data or an `id`, its
//! text says otherwise (sections 2.3.6, 2.3.7 and 3.1), and the text is followed.

use std::sync::{Arc, LazyLock};

use serde::de::DeserializeOwned;

use super::model::{Attribute, Registry, ResourceType, SchemaExtension};

static CORE: LazyLock<Registry> = LazyLock::new(|| {
    let enterprise = SchemaExtension::new(document(include_str!("enterprise_user.json")), false);
    let user = document(include_str!("user.json"));
    let group = document(include_str!("group.json"));
    Registry {
        resource_types: vec![
            Arc::new(ResourceType::new("User", "/Users", "User Account", user, vec![enterprise])),
            Arc::new(ResourceType::new("Group", "/Groups", "Group", group, Vec::new())),
        ],
    }
});

static COMMON: LazyLock<Vec<Arc<Attribute>>> = LazyLock::new(|| document(include_str!("common.json")));

impl Registry {
    /// The schemas of RFC 7643: User with the enterprise extension, and Group.
    #[must_use]
    pub fn core() -> Self {
        CORE.clone()
    }
}

/// The attributes every resource has (RFC 7643 section 3.1): `schemas`, `id`, `externalId`, `meta`.
pub(in crate::scim) fn common_attributes() -> &'static [Arc<Attribute>] {
    &COMMON
}

fn document<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).expect("the documents are part of the program and read by its tests")
}
