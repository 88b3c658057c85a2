//! `GoogleWorkspace`: no primary source says what it sends, so it is read as [`generic`] is.

use super::{Rules, generic};

pub(super) const RULES: Rules = generic::RULES;
