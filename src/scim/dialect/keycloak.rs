//! `Keycloak`: version 26 with the open `keycloak-scim` provider 1.0.1, as observed on the wire.
//!
//! `active` as a string is in [`generic`]; an old `id` in a POST, a relative `$ref` and a removal of
//! `members` without a value mean what the RFCs say.

use super::{Rules, generic};

pub(super) const RULES: Rules = generic::RULES;
