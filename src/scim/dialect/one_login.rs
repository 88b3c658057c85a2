//! `OneLogin`: what is reported of it needs no rule beyond [`generic`].
//!
//! Members are added with a path-less value; `manager` carries a read-only `displayName`.

use super::{Rules, generic};

pub(super) const RULES: Rules = generic::RULES;
