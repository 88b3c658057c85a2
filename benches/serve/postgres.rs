//! What PostgreSQL costs: the same requests against servers on a real one, which flushes to disk. The floors use the same
//! database server through as many connections, with statements prepared once.

use std::fs;

use tokio_postgres::NoTls;

use crate::Scale;
use crate::database::Postgres;
use crate::floor::Floor;
use crate::http;
use crate::load;
use crate::measures::{changes, interleave, walk};
use crate::product::{self, Product};
use crate::report::{Bar, Report, median};

/// Users that are read.
const USERS: usize = 1000;

/// Connections of clients for reads.
const READERS: usize = 32;

/// Measures reads and writes on PostgreSQL, as far as they are wanted.
pub(crate) fn all(scale: &Scale, wanted: &dyn Fn(&str) -> bool, report: &mut Report) {
    let (reads, writes) = (wanted("pg-reads"), wanted("pg-writes"));
    let pods = wanted("pg-pods");
    if !(reads || writes || pods) {
        return;
    }
    let server = Postgres::start(true);
    if reads {
        get(scale, &server, report);
    }
    if writes {
        post(scale, &server, report);
    }
    if pods {
        scale_out(scale, &server, report);
    }
}

/// A new database of a server; its URL.
fn database(server: &Postgres, name: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let url = server.url("postgres");
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("it answers");
        tokio::spawn(connection);
        client.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("a new name");
    });
    server.url(name)
}

/// The process of a server that starts the others.
fn postmaster(server: &Postgres) -> u32 {
    let port = server.port.to_string();
    let processes = fs::read_dir("/proc").expect("Linux").flatten();
    let mut found = processes.filter_map(|entry| {
        let process = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let arguments: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let program = arguments.first()?.ends_with(b"/postgres");
        (program && arguments.windows(2).any(|pair| pair == [b"-p", port.as_bytes()])).then_some(process)
    });
    found.next().expect("the server runs")
}

fn requests(ids: &[String]) -> Vec<Vec<u8>> {
    ids.iter().map(|id| Product::request("GET", &format!("/Users/{id}"), "")).collect()
}

fn get(scale: &Scale, server: &Postgres, report: &mut Report) {
    let url = database(server, "reads");
    let hot = Product::start_on(&url, &[]);
    let cold = Product::start_on(&url, &["--database-cache-mb", "0"]);
    let requests = requests(&hot.load(USERS));
    let body = hot.connect().call(&requests[0]).1.to_vec();
    let floor = Floor::select(&database(server, "floor_reads"), &body, USERS);
    let address = floor.address();
    let rows: Vec<_> = (0..USERS).map(|n| http::request("GET", &format!("/{n}"), "none", "")).collect();
    for (product, kind, bar) in [(&hot, "hot", 1.0), (&cold, "cold", 0.8)] {
        let rounds = interleave(
            scale,
            || load::rate(&product.address, READERS, scale.round, 200, walk(requests.clone())),
            || load::rate(&address, READERS, scale.round, 200, walk(rows.clone())),
        );
        let measure = format!("PostgreSQL: GET by id, {READERS} connections, {kind}, vs bare SELECT");
        report.ratio(&measure, "/s", &rounds, Bar::AtLeast(bar));
    }
}

fn post(scale: &Scale, server: &Postgres, report: &mut Report) {
    let product = Product::start_on(&database(server, "writes"), &[]);
    let floor = Floor::insert_into(&database(server, "floor_writes"));
    let address = floor.address();
    let (mut ours, mut theirs) = (product::Users::default(), product::Users::default());
    let rounds = interleave(
        scale,
        || load::rate(&product.address, 64, scale.round, 201, ours.round()),
        || load::rate(&address, 64, scale.round, 201, theirs.round()),
    );
    let measure = "PostgreSQL: durable POST, 64 connections, vs bare INSERT";
    report.ratio(measure, "/s", &rounds, Bar::AtLeast(0.7));
    changes(scale, &product, "PostgreSQL: ", report);
}

/// The CPU time of a read, all processes that serve it together: on one server, and on three with as many clients each.
fn scale_out(scale: &Scale, server: &Postgres, report: &mut Report) {
    let url = database(server, "pods");
    let pods: Vec<_> = (0..3).map(|_| Product::start_on(&url, &[])).collect();
    let requests = requests(&pods[0].load(USERS));
    let cost = |pods: &[Product]| {
        let before = spent(server, pods);
        let answered: f64 = std::thread::scope(|scope| {
            let loads: Vec<_> = pods
                .iter()
                .map(|pod| {
                    let requests = requests.clone();
                    let seconds = scale.round.as_secs_f64();
                    scope.spawn(move || {
                        load::rate(&pod.address, READERS, scale.round, 200, walk(requests)) * seconds
                    })
                })
                .collect();
            loads.into_iter().map(|load| load.join().expect("no load fails")).sum()
        });
        (spent(server, pods) - before) / answered * 1e6
    };
    let rounds = interleave(scale, || cost(&pods), || cost(&pods[..1]));
    let measure = format!("PostgreSQL: CPU of a GET, 3 servers vs 1, {READERS} connections each");
    report.ratio(&measure, "µs", &rounds, Bar::AtMost(1.1));
    let (one, three): (Vec<_>, Vec<_>) = rounds.0.iter().map(|(three, one)| (*one, *three)).unzip();
    report.note(format!(
        "CPU of a read: {:.1} µs on one server, {:.1} µs on three",
        median(one),
        median(three)
    ));
}

/// CPU seconds of some servers and of the database's processes.
fn spent(server: &Postgres, pods: &[Product]) -> f64 {
    let servers = pods.iter().map(|pod| product::cpu_seconds(pod.process()));
    let postmaster = postmaster(server).to_string();
    let backends = fs::read_dir("/proc").expect("Linux").flatten().filter_map(|entry| {
        let process = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let parent = stat.rsplit(')').next()?.split_ascii_whitespace().nth(1)?;
        (parent == postmaster).then(|| product::cpu_seconds(process))
    });
    servers.chain(backends).sum()
}
