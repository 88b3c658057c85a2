//! `Okta`: its header authentication sends the token with nothing before it.
//!
//! The rest of what it sends beside the RFCs is in [`generic`]: groups without `schemas`, a read-only
//! `id` inside the value of a PATCH. Source: Okta's "SCIM 2.0 protocol reference" and its SPEC suite.

use super::{Rule, Rules, generic};

pub(super) const RULES: Rules = generic::RULES.and(&[Rule::BareToken]);
