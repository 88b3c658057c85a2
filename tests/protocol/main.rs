//! The server's protocol, over HTTP against a server in this process with a real SQLite store.

mod bulk;
mod conditional;
mod connection;
mod discovery;
mod lists;
mod refusals;
mod resources;
mod security;
mod support;
mod telemetry;
