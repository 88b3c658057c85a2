//! What identity providers send, replayed over HTTP: one file each, from the vendor's documented
//! bodies, with status, answer and what is stored afterwards.

#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

mod authentik;
#[path = "../support/postgres.rs"]
mod database;
mod entra_id;
mod entra_id_opt_in;
mod entra_id_validation;
mod fixture;
mod google_workspace;
mod jump_cloud;
mod keycloak;
mod logs;
mod mistakes;
mod okta;
mod okta_spec;
mod one_login;
mod others;
mod ping_one;
#[path = "../protocol/support.rs"]
#[expect(dead_code, reason = "the protocol's tests use the rest")]
mod support;
