//! The identity-provider simulator: provisions a made-up directory into any SCIM 2.0 server as Okta, Entra ID and others
//! do, measures, and at the end compares what is there with what the server acknowledged.
//!
//! It is a client and knows servers by HTTP only. `run` is the whole way: look (`prepare`), load (`profile` says what, in
//! the words of `speech`; `session` sends, tries again by `retry` when `pace` says so, and writes down what was
//! acknowledged in the `model`), read back and `compare`, clean up, `report`. `docs/load.md` is for who uses it.

pub mod compare;
pub mod limit;
pub mod model;
pub mod pace;
pub mod population;
pub mod prepare;
pub mod profile;
pub mod progress;
pub mod random;
pub mod recorder;
pub mod report;
pub mod request;
pub mod retry;
pub mod run;
pub mod session;
pub mod speech;
pub mod target;
pub mod transport;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
