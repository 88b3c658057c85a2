//! The measures and their bars.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Scale;
use crate::floor::Floor;
use crate::http::{self, Connection};
use crate::load;
use crate::postgres;
use crate::product::{self, Product, Users};
use crate::report::{Bar, Report, Rounds, median};
use crate::sizes;

/// Users of the small directory.
const FEW: usize = 1000;

/// Runs every measure, or those whose name contains one of `only`.
pub(crate) fn all(scale: &Scale, only: &[&String], report: &mut Report) {
    let wanted = |name: &str| only.is_empty() || only.iter().any(|part| name.contains(part.as_str()));
    if wanted("start") {
        start(report);
    }
    if wanted("get") || wanted("list") || wanted("connections") || wanted("ten-times") {
        let small = Product::start();
        let ids = small.load(FEW);
        if wanted("get") {
            get(scale, &small, &ids, report);
        }
        if wanted("list") {
            list(scale, &small, report);
        }
        if wanted("ten-times") {
            sizes::ten_times(scale, &small, &ids, report);
        }
        if wanted("connections") {
            sizes::connections(&small, &ids, report);
        }
    }
    if wanted("post") {
        post(scale, report);
    }
    postgres::all(scale, &wanted, report);
    let large = ["member", "filter", "cursor", "start-index", "replace", "directory"];
    if large.into_iter().any(&wanted) {
        let (small, large) = (Product::start(), Product::start());
        small.load(FEW);
        let loading = Instant::now();
        let ids = large.load(scale.users);
        let took = loading.elapsed();
        let each = took / u32::try_from(scale.users).expect("fewer than 4 billion users");
        report.note(format!(
            "{} users loaded by bulk in {:.1} s, {each:?} each",
            scale.users,
            took.as_secs_f64()
        ));
        if wanted("filter") {
            filter(scale, &small, &large, report);
        }
        if wanted("cursor") {
            cursor(scale, &large, report);
        }
        if wanted("start-index") {
            sizes::start_index(scale, &large, report);
        }
        if wanted("member") {
            member(scale, &large, &ids, report);
        }
        if wanted("replace") {
            sizes::replace(scale, &large, &ids, report);
        }
        if wanted("directory") {
            sizes::directory(scale, &large, report);
        }
    }
}

/// Requests that walk over `paths` again and again.
pub(crate) fn walk(paths: Vec<Vec<u8>>) -> impl FnMut(&mut Vec<u8>) + 'static {
    let mut next = 0;
    move |out| {
        out.extend_from_slice(&paths[next % paths.len()]);
        next += 1;
    }
}

/// One side, then the other, as often as the scale says, after one round that does not count.
pub(crate) fn interleave(
    scale: &Scale,
    mut product: impl FnMut() -> f64,
    mut floor: impl FnMut() -> f64,
) -> Rounds {
    let mut rounds: Vec<_> = (0..=scale.rounds).map(|_| (product(), floor())).collect();
    rounds.remove(0);
    Rounds(rounds)
}

fn get(scale: &Scale, small: &Product, ids: &[String], report: &mut Report) {
    let requests: Vec<_> =
        ids.iter().map(|id| Product::request("GET", &format!("/Users/{id}"), "")).collect();
    let body = small.connect().call(&requests[0]).1.to_vec();
    let floor = Floor::bytes(&body);
    let address = floor.address();
    let rounds = interleave(
        scale,
        || load::rate(&small.address, 32, scale.round, 200, walk(requests.clone())),
        || load::rate(&address, 32, scale.round, 200, walk(requests.clone())),
    );
    report.ratio("GET by id, 32 connections, vs bare handler", "/s", &rounds, Bar::AtLeast(0.7));
}

fn list(scale: &Scale, small: &Product, report: &mut Report) {
    let requests = vec![Product::request("GET", "/Users?startIndex=1&count=100", "")];
    let body = small.connect().call(&requests[0]).1.to_vec();
    let page: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(page["Resources"].as_array().map(Vec::len), Some(100));
    let floor = Floor::bytes(&body);
    let address = floor.address();
    let rounds = interleave(
        scale,
        || load::rate(&small.address, 32, scale.round, 200, walk(requests.clone())),
        || load::rate(&address, 32, scale.round, 200, walk(requests.clone())),
    );
    report.ratio("list of 100 users, 32 connections, vs bare handler", "/s", &rounds, Bar::AtLeast(0.3));
}

fn post(scale: &Scale, report: &mut Report) {
    let (product, floor) = (Product::start(), Floor::insert());
    let address = floor.address();
    // Both sides are sent the same users, each user once.
    let (mut ours, mut theirs) = (Users::default(), Users::default());
    let (mut requests, before) = (0.0, product::cpu_seconds(product.process()));
    let (mut inserts, floors) = (0.0, product::cpu_seconds(floor.process()));
    let seconds = scale.round.as_secs_f64();
    let rounds = interleave(
        scale,
        || {
            let rate = load::rate(&product.address, 64, scale.round, 201, ours.round());
            requests += rate * seconds;
            rate
        },
        || {
            let rate = load::rate(&address, 64, scale.round, 201, theirs.round());
            inserts += rate * seconds;
            rate
        },
    );
    report.ratio("durable POST, 64 connections, vs bare insert", "/s", &rounds, Bar::AtLeast(0.6));
    let ours = (product::cpu_seconds(product.process()) - before) / requests * 1e6;
    let theirs = (product::cpu_seconds(floor.process()) - floors) / inserts * 1e6;
    report.note(format!("CPU of a POST: {ours:.0} µs, of a bare insert {theirs:.0} µs"));
    changes(scale, &product, "", report);
}

/// PATCH of a user and PATCH that adds one member, vs POST, on one server.
pub(crate) fn changes(scale: &Scale, product: &Product, store: &str, report: &mut Report) {
    const GROUPS: usize = 100;
    let ids = Rc::new(product.load(FEW));
    let groups: Vec<_> = (0..GROUPS).map(|n| product.group(&format!("group {n}"), &[])).collect();
    let groups = Rc::new(groups);
    let mut users = Users::default();
    // Far from those that were made before.
    users.skip(50);
    let mut made = 0;
    let mut patches = || {
        let ids = Rc::clone(&ids);
        made += 1_000_000;
        let mut n = made;
        move |out: &mut Vec<u8>| {
            n += 1;
            out.extend_from_slice(&product::set_title(&ids[n % ids.len()], &format!("title {n}")));
        }
    };
    let rounds = interleave(
        scale,
        || load::rate(&product.address, 64, scale.round, 200, patches()),
        || load::rate(&product.address, 64, scale.round, 201, users.round()),
    );
    report.ratio(&format!("{store}PATCH of a user vs POST"), "/s", &rounds, Bar::AtLeast(0.8));
    // Each membership once: a hundred groups of a thousand.
    let next = Rc::new(Cell::new(0));
    let joins = || {
        let (ids, groups, next) = (Rc::clone(&ids), Rc::clone(&groups), Rc::clone(&next));
        move |out: &mut Vec<u8>| {
            let n = next.replace(next.get() + 1) % (FEW * GROUPS);
            let (group, user) = (&groups[n % GROUPS], &ids[n / GROUPS]);
            out.extend_from_slice(&product::add_members(group, std::slice::from_ref(user)));
        }
    };
    let rounds = interleave(
        scale,
        || load::rate(&product.address, 64, scale.round, 204, joins()),
        || load::rate(&product.address, 64, scale.round, 201, users.round()),
    );
    report.ratio(&format!("{store}PATCH add one member vs POST"), "/s", &rounds, Bar::AtLeast(0.8));
    if next.get() > FEW * GROUPS {
        report.note("the last members added were members before".to_owned());
    }
}

/// Median latency of both sides in microseconds, request by request in turn.
pub(crate) fn latencies(
    scale: &Scale,
    mut large: impl FnMut(usize) -> Duration,
    mut small: impl FnMut(usize) -> Duration,
) -> Rounds {
    let mut rounds = Vec::new();
    for round in 0..=scale.rounds {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for n in 0..scale.requests {
            let n = round * scale.requests + n;
            first.push(large(n).as_secs_f64() * 1e6);
            second.push(small(n).as_secs_f64() * 1e6);
        }
        rounds.push((median(first), median(second)));
    }
    rounds.remove(0);
    Rounds(rounds)
}

pub(crate) fn time(connection: &mut Connection, request: &[u8], expected: u16) -> Duration {
    let start = Instant::now();
    let (status, _) = connection.call(request);
    let took = start.elapsed();
    assert_eq!(status, expected);
    took
}

fn filter(scale: &Scale, small: &Product, large: &Product, report: &mut Report) {
    let request = |n: usize| {
        let name = product::user_name(n).replace('@', "%40");
        Product::request("GET", &format!("/Users?filter=userName%20eq%20%22{name}%22"), "")
    };
    let (mut to_large, mut to_small) = (large.connect(), small.connect());
    assert_eq!(to_large.expect(200, &request(scale.users - 1))["totalResults"], 1);
    // A step that is coprime to the directory's size visits all of it.
    let rounds = latencies(
        scale,
        |n| time(&mut to_large, &request((n * 7919) % scale.users), 200),
        |n| time(&mut to_small, &request((n * 7919) % FEW), 200),
    );
    let measure = format!("userName eq, {} users vs {FEW}", scale.users);
    report.ratio(&measure, "µs", &rounds, Bar::AtMost(1.5));
}

fn cursor(scale: &Scale, large: &Product, report: &mut Report) {
    let page = |cursor: &str| {
        let cursor = cursor.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        Product::request("GET", &format!("/Users?cursor={cursor}&count=100"), "")
    };
    let mut connection = large.connect();
    let mut cursor = String::new();
    for _ in 1..scale.far_page {
        let listing = connection.expect(200, &page(&cursor));
        listing["nextCursor"].as_str().expect("there are more").clone_into(&mut cursor);
    }
    let (far, first) = (page(&cursor), page(""));
    let mut other = large.connect();
    let rounds = latencies(scale, |_| time(&mut connection, &far, 200), |_| time(&mut other, &first, 200));
    let measure = format!("cursor page {} vs page 1, 100 a page", scale.far_page);
    report.ratio(&measure, "µs", &rounds, Bar::AtMost(1.5));
}

fn member(scale: &Scale, large: &Product, ids: &[String], report: &mut Report) {
    let loading = Instant::now();
    let big = large.group("big", &ids[..scale.members]);
    report.note(format!("a group of {} filled in {:.1} s", scale.members, loading.elapsed().as_secs_f64()));
    let little = large.group("little", &ids[..10]);
    let joins = &ids[scale.members..];
    let (mut one, mut other) = (large.connect(), large.connect());
    // Added, measured, and removed again, so that both keep their size.
    let turn = |connection: &mut Connection, group: &str, n: usize| {
        let id = &joins[n % joins.len()];
        let took = time(connection, &product::add_members(group, std::slice::from_ref(id)), 204);
        connection.expect(204, &product::remove_member(group, id));
        took
    };
    let rounds = latencies(scale, |n| turn(&mut one, &big, n), |n| turn(&mut other, &little, n));
    let measure = format!("add one member, group of {} vs 10", scale.members);
    report.ratio(&measure, "µs", &rounds, Bar::AtMost(1.3));
}

fn start(report: &mut Report) {
    let mut product = Product::start();
    product.load(FEW);
    let (mut times, mut resident) = (Vec::new(), Vec::new());
    for round in 0..10 {
        product = product.restart();
        times.push(product.start_to_ready.as_secs_f64() * 1e3);
        if round % 3 == 0 {
            // One user's worth of use, then idle.
            let found = http::request("GET", "/bench/scim/v2/Users?count=1", "wrong", "");
            product.connect().expect(401, &found);
            std::thread::sleep(Duration::from_secs(1));
            resident.push(product.resident() / 1e6);
        }
    }
    report.figure("start to ready, one tenant", "ms", times, Bar::AtMost(200.0));
    report.figure("resident memory when idle, one tenant", "MB", resident, Bar::AtMost(25.0));
}
