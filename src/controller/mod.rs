//! The controller: from `ScimEndpoint`s and `ScimTenant`s to the objects that serve them.
//!
//! Watches keep a [`cache`] of the cluster; what changes gets a turn in a [`queue`], and a turn is always the same
//! straight way: gather (from the cache) → validate → build → apply → status. Of several processes one acts, by a
//! [`leader`] election; the others keep their caches warm.

mod admin;
pub mod build;
mod cache;
mod cluster;
mod failure;
mod key;
mod kinds;
mod leader;
mod metrics;
pub mod names;
mod queue;
mod run;
pub mod validate;
mod watch;

pub use run::{Options, StartError, run};
