//! Dialects: what an identity provider really sends, made standard before schema validation.
//!
//! A dialect is a table of [`Rules`], one file each: a vendor joins as a variant of [`Dialect`], a
//! file, and a line in [`Dialect::rules`]. A rule that a dialect does not need stays as in `strict`.

mod generic;
mod strict;

use serde::{Deserialize, Serialize};

use super::schema::Leniency;

/// The dialect a tenant speaks; `spec.identityProvider` of a `ScimTenant`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Dialect {
    /// The RFCs and nothing else.
    Strict,
    /// Tolerant where the RFCs leave room.
    #[default]
    Generic,
}

/// What a dialect changes in how requests are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How schema validation treats what the schema leaves open.
    pub leniency: Leniency,
    /// Whether `op` of a PATCH may be written in any case (`"Replace"`).
    pub lenient_op: bool,
}

impl Dialect {
    /// The dialect's table.
    #[must_use]
    pub fn rules(self) -> &'static Rules {
        match self {
            Self::Strict => &strict::RULES,
            Self::Generic => &generic::RULES,
        }
    }

    /// How schema validation treats this dialect's requests.
    #[must_use]
    pub fn leniency(self) -> Leniency {
        self.rules().leniency
    }

    /// Whether `op` may be written in any case (`"Replace"`).
    #[must_use]
    pub fn lenient_op(self) -> bool {
        self.rules().lenient_op
    }
}
