//! What only the running server can show: the real binary, on free ports, with its own manifests and data.
//!
//! One test binary with a module for each kind of proof, so that it links once. Every test that starts a
//! server holds a share of the machine; those that measure time ask for all of it ([`support::Server::start_alone`]).

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "seeds and counts belong in a test's output")]

mod audit;
mod clients;
mod concurrency;
mod crash;
mod database;
mod keycloak;
mod leavers;
mod load;
mod pod;
#[path = "../support/postgres.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "the tests of the store use the rest of it")]
mod postgres;
mod process;
mod retries;
mod rfc;
mod rotation;
mod support;
mod tenants;
