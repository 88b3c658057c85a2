//! What the tests of this binary start.

#[expect(dead_code, reason = "another test binary uses the rest of it")]
pub(crate) mod api_server;

pub(crate) use api_server::{ApiServer, Verdict, text};
