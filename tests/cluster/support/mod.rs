//! What the tests of this binary start.

pub(crate) mod api_server;

pub(crate) use api_server::{ApiServer, Verdict, text};
