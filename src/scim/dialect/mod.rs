//! Dialects: what an identity provider really sends, made standard before schema validation.

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

impl Dialect {
    /// How schema validation treats this dialect's requests.
    #[must_use]
    pub fn leniency(self) -> Leniency {
        todo!()
    }

    /// Whether `op` may be written in any case (`"Replace"`).
    #[must_use]
    pub fn lenient_op(self) -> bool {
        matches!(self, Self::Generic)
    }
}
