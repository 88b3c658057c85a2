//! Dialects: what an identity provider really sends, made standard before schema validation.
//!
//! A dialect is a table of [`Rules`], one file each: a vendor joins as a variant of [`Dialect`], a
//! file, and a line in [`Dialect::rules`]. What a rule means is written once, where it matters: here
//! when it changes a request's shape (`rewrite.rs`, `text.rs`), in schema validation and in PATCH when
//! it is about how a value is read.

mod authentik;
mod entra_id;
mod generic;
mod google_workspace;
mod jump_cloud;
mod keycloak;
mod okta;
mod one_login;
mod ping_one;
mod rewrite;
mod rule;
mod strict;
mod text;

use serde::{Deserialize, Serialize};

pub use rule::{Rule, Rules, Tolerated, Use};

/// The dialect a tenant speaks; `spec.identityProvider` of a `ScimTenant`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Dialect {
    /// The RFCs and nothing else.
    Strict,
    /// Tolerant where the RFCs leave room.
    #[default]
    Generic,
    /// Okta.
    Okta,
    /// Microsoft Entra ID, with and without `aadOptscim062020`.
    EntraID,
    /// `OneLogin`.
    OneLogin,
    /// `JumpCloud`.
    JumpCloud,
    /// `PingOne`.
    PingOne,
    /// authentik.
    Authentik,
    /// Google Workspace.
    GoogleWorkspace,
    /// Keycloak with the `keycloak-scim` provider.
    Keycloak,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Strict,
        Self::Generic,
        Self::Okta,
        Self::EntraID,
        Self::OneLogin,
        Self::JumpCloud,
        Self::PingOne,
        Self::Authentik,
        Self::GoogleWorkspace,
        Self::Keycloak,
    ];

    /// The providers whose dialect has a rule.
    pub fn with(rule: Rule) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |dialect| dialect.rules().has(rule))
    }

    /// Rules that the dialect does not have and looks out for.
    const fn watched(self) -> Rules {
        match self {
            Self::Generic => generic::WATCHED,
            _ => Rules::NONE,
        }
    }

    /// The dialect's table.
    #[must_use]
    pub const fn rules(self) -> Rules {
        match self {
            Self::Strict => strict::RULES,
            Self::Generic => generic::RULES,
            Self::Okta => okta::RULES,
            Self::EntraID => entra_id::RULES,
            Self::OneLogin => one_login::RULES,
            Self::JumpCloud => jump_cloud::RULES,
            Self::PingOne => ping_one::RULES,
            Self::Authentik => authentik::RULES,
            Self::GoogleWorkspace => google_workspace::RULES,
            Self::Keycloak => keycloak::RULES,
        }
    }
}
