//! `PingOne`: it may mark two emails as primary.
//!
//! It keeps one value of each type and cannot clear an attribute. Source: the notes on SCIM
//! provisioning in Ping Identity's documentation.

use super::{Rule, Rules, generic};

pub(super) const RULES: Rules = generic::RULES.and(&[Rule::FirstPrimary]);
