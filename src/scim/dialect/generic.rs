//! `Generic`: tolerant where the RFCs leave room, for an identity provider that has no dialect of its own.
//!
//! `"op": "Replace"`, `"active": "False"`, attributes and schema URNs that this tenant does not know
//! (dropped, and reported by name), a missing `schemas`.

use super::{Leniency, Rules};

pub(super) const RULES: Rules =
    Rules { leniency: Leniency { drop_unknown: true, string_booleans: true }, lenient_op: true };
