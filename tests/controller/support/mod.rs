//! What the tests of this binary start, and what they play.

#[expect(dead_code, reason = "another test binary uses the rest of it")]
#[path = "../../cluster/support/api_server.rs"]
pub(crate) mod api_server;
mod controller;
mod objects;
mod pod;
mod proxy;

pub(crate) use self::{
    api_server::{ApiServer, TOKEN},
    controller::Controller,
    objects::{World, condition, eventually},
    pod::Pod,
    proxy::{Cut, Proxy},
};
