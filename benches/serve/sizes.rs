//! What grows with the directory, a group or the number of clients, and what must not.

use crate::Scale;
use crate::http::Connection;
use crate::measures::{latencies, time};
use crate::product::{self, Product};
use crate::report::{Bar, Report};

/// Connections of a server with many clients.
const CONNECTIONS: usize = 1000;

/// A page far along `startIndex`, vs the first one.
pub(crate) fn start_index(scale: &Scale, large: &Product, report: &mut Report) {
    let page = |number: usize| {
        let start = (number - 1) * 100 + 1;
        Product::request("GET", &format!("/Users?startIndex={start}&count=100"), "")
    };
    let (far, first) = (page(scale.far_page), page(1));
    let (mut one, mut other) = (large.connect(), large.connect());
    let rounds = latencies(scale, |_| time(&mut one, &far, 200), |_| time(&mut other, &first, 200));
    let measure = format!("startIndex page {} vs page 1, 100 a page", scale.far_page);
    report.ratio(&measure, "µs", &rounds, Bar::AtMost(1.5));
}

/// One PATCH that replaces all members of a group with others.
pub(crate) fn replace(scale: &Scale, large: &Product, ids: &[String], report: &mut Report) {
    let members = scale.members.min(10_000).min(ids.len() / 2);
    let group = large.group("replaced", &ids[..members]);
    let sides = [&ids[members..2 * members], &ids[..members]];
    let requests = sides.map(|members| product::replace_members(&group, members));
    let mut connection = large.connect();
    let times = (0..2 * scale.rounds)
        .map(|round| time(&mut connection, &requests[round % 2], 204).as_secs_f64() * 1e3)
        .collect();
    report.figure(&format!("replace all members of a group of {members}"), "ms", times, Bar::AtMost(300.0));
}

/// Resident memory with a large directory that was read and changed.
pub(crate) fn directory(scale: &Scale, large: &Product, report: &mut Report) {
    std::thread::sleep(std::time::Duration::from_secs(2));
    let measure = format!("resident memory with {} users", scale.users);
    report.figure(&measure, "MB", vec![large.resident() / 1e6], Bar::AtMost(120.0));
}

/// Resident memory with many clients, each of which has read something.
pub(crate) fn connections(product: &Product, ids: &[String], report: &mut Report) {
    let mut connections: Vec<Connection> = (0..CONNECTIONS).map(|_| product.connect()).collect();
    for (connection, id) in connections.iter_mut().zip(ids.iter().cycle()) {
        connection.expect(200, &Product::request("GET", &format!("/Users/{id}"), ""));
    }
    let measure = format!("resident memory with {CONNECTIONS} connections");
    report.figure(&measure, "MB", vec![product.resident() / 1e6], Bar::AtMost(150.0));
}

/// Ten times as much in one request, and what it costs: nothing may grow faster than its input.
pub(crate) fn ten_times(scale: &Scale, product: &Product, ids: &[String], report: &mut Report) {
    let (few, many) = (100, 1000);
    let group = product.group("grown", &[]);
    let mut turn = |count: usize| {
        let mut connection = product.connect();
        let took = time(&mut connection, &product::add_members(&group, &ids[..count]), 204);
        connection.expect(204, &product::replace_members(&group, &[]));
        took
    };
    let cheap = Scale { requests: scale.requests.min(20), ..*scale };
    let rounds = {
        let turn = std::cell::RefCell::new(&mut turn);
        latencies(&cheap, |_| (turn.borrow_mut())(many), |_| (turn.borrow_mut())(few))
    };
    report.ratio("PATCH that adds 1,000 members vs 100", "µs", &rounds, Bar::AtMost(12.0));
    let mut number = 0;
    let mut bulk = |count: usize| {
        number += 1;
        let users = 900_000_000 + number * many;
        let request = product::bulk_request(users..users + count);
        time(&mut product.connect(), &request, 200)
    };
    let rounds = {
        let bulk = std::cell::RefCell::new(&mut bulk);
        latencies(&cheap, |_| (bulk.borrow_mut())(many), |_| (bulk.borrow_mut())(few))
    };
    report.ratio("Bulk of 1,000 users vs 100", "µs", &rounds, Bar::AtMost(12.0));
}
