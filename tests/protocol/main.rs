//! The server's protocol, over HTTP against a server in this process with a real SQLite store.

#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

mod audit;
mod bulk;
mod conditional;
mod connection;
#[path = "../support/postgres.rs"]
mod database;
mod discovery;
mod failures;
mod idempotency;
mod leavers;
mod lists;
mod oauth;
mod refusals;
mod resources;
mod schemas;
mod security;
mod support;
mod telemetry;
mod tokens;
