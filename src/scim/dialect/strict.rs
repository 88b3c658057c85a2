//! `Strict`: the RFCs and nothing else.
//!
//! What no schema defines is refused by name, so that a client under test learns of its faults.

use super::Rules;

pub(super) const RULES: Rules = Rules::NONE;
