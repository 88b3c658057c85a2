//! [`Scopes`]: what a credential allows (RFC 6749 section 3.3), the same for bearer tokens and OAuth.
//!
//! `scim.read` and `scim.write` stand beside each other: neither includes the other.

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};
use serde::ser::{SerializeSeq, Serializer};
use serde::{Deserialize, Serialize};

/// One thing that a credential can allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `scim.read`: GET, lists, `.search` and discovery.
    Read,
    /// `scim.write`: POST, PUT, PATCH, DELETE and Bulk.
    Write,
}

impl Scope {
    /// All there are, in order.
    pub const ALL: [Self; 2] = [Self::Read, Self::Write];

    /// The name in tokens, manifests and challenges.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "scim.read",
            Self::Write => "scim.write",
        }
    }

    /// The scope of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A set of [`Scope`]s; as JSON a list of names.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scopes(u8);

impl Scopes {
    /// No scope.
    pub const NONE: Self = Self(0);
    /// Every scope.
    pub const ALL: Self = Self(0b11);

    /// Whether a scope is among these.
    #[must_use]
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & bit(scope) != 0
    }

    /// Those of a list of names that are scopes of ours: an OAuth `scope` may name others' too.
    #[must_use]
    pub fn known<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        names.into_iter().filter_map(Scope::parse).collect()
    }

    /// The scopes, in order.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.contains(*scope))
    }
}

fn bit(scope: Scope) -> u8 {
    match scope {
        Scope::Read => 0b01,
        Scope::Write => 0b10,
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | bit(scope)))
    }
}

/// Separated by spaces, as OAuth writes them.
impl fmt::Display for Scopes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.iter().enumerate() {
            write!(out, "{}{scope}", if index == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for scope in self.iter() {
            list.serialize_element(scope.name())?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Scopes;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a list of scim.read and scim.write")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Scopes, A::Error> {
                let mut scopes = Vec::new();
                while let Some(name) = list.next_element::<String>()? {
                    let scope = Scope::parse(&name)
                        .ok_or_else(|| A::Error::unknown_variant(&name, &["scim.read", "scim.write"]))?;
                    scopes.push(scope);
                }
                Ok(scopes.into_iter().collect())
            }
        }
        deserializer.deserialize_seq(List)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_survives_json_and_unknown_names_do_not() {
        for (scopes, json) in [
            (Scopes::NONE, "[]"),
            (Scope::Read.into_set(), r#"["scim.read"]"#),
            (Scope::Write.into_set(), r#"["scim.write"]"#),
            (Scopes::ALL, r#"["scim.read","scim.write"]"#),
        ] {
            assert_eq!(serde_json::to_string(&scopes).unwrap(), json);
            assert_eq!(serde_json::from_str::<Scopes>(json).unwrap(), scopes);
        }
        let error = serde_json::from_str::<Scopes>(r#"["scim.admin"]"#).unwrap_err().to_string();
        assert!(error.contains("scim.admin"), "{error}");
    }

    #[test]
    fn oauth_scope_of_others_is_passed_over() {
        let scopes = Scopes::known("openid scim.read SCIM.WRITE profile".split(' '));
        assert_eq!((scopes, scopes.to_string()), (Scope::Read.into_set(), "scim.read".to_owned()));
    }

    impl Scope {
        fn into_set(self) -> Scopes {
            [self].into_iter().collect()
        }
    }
}
