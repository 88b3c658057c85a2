//! scim-operator: SCIM 2.0 provisioning as Kubernetes resources.
//!
//! The crate has two halves and one seam. [`crd`] holds the custom resources people write;
//! [`config`] compiles them into a [`config::ServerConfig`], which is all that [`server`] needs in
//! order to serve. [`scim`] is RFC 7643, RFC 7644 and RFC 9865 with no I/O; [`store`] keeps resources.
//!
//! `docs/architecture.md` walks one request through these modules.

pub mod cli;
pub mod config;
pub mod controller;
pub mod crd;
pub mod load;
pub mod scim;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod transfer;
