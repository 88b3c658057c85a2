//! The controller: from `ScimEndpoint`s and `ScimTenant`s to the objects that serve them.
//!
//! Watches keep a `cache` of the cluster; what changes gets a turn in a `queue`, and a turn is always the same
//! straight way: gather (from the cache) → validate → build → apply → status. Of several processes one acts, by a
//! `leader` election; the others keep their caches warm.

mod accept;
mod admin;
mod apply;
pub mod build;
mod cache;
mod canonical;
mod certificate;
mod cluster;
mod compare;
mod compile;
mod context;
mod credentials;
mod endpoint;
mod events;
mod failure;
mod key;
mod kinds;
mod leader;
mod metrics;
pub mod names;
mod observed;
mod publish;
mod purge;
mod queue;
pub mod render;
mod reports;
mod run;
mod status;
mod tenant;
pub mod validate;
mod view;
mod watch;
mod webhook;

pub use run::{Options, StartError, run};
pub use webhook::Webhook;
