//! `JumpCloud`: activating an integration creates a test user and a test group and deletes them.
//!
//! Nothing it documents needs a rule beyond [`generic`].

use super::{Rules, generic};

pub(super) const RULES: Rules = generic::RULES;
