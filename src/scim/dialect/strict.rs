//! `Strict`: the RFCs and nothing else.
//!
//! What no schema defines is refused by name, so that a client under test learns of its faults.

use super::{Leniency, Rules};

pub(super) const RULES: Rules =
    Rules { leniency: Leniency { drop_unknown: false, string_booleans: false }, lenient_op: false };
