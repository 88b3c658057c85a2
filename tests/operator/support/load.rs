//! Constant load, as identity providers make it, and the count of what failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use tokio::task::JoinHandle;

use super::{Cluster, Tenant};

/// Clients at once; every other one makes a new connection for each request.
const CLIENTS: usize = 4;
/// Between two requests of one client.
const PAUSE: Duration = Duration::from_millis(15);

/// Clients that create users and read them until they are told to stop.
#[derive(Debug)]
pub(crate) struct Load {
    tenant: Tenant,
    started: Instant,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Tally>>,
}

/// What the clients saw.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) requests: usize,
    /// What was answered by anything but success, or not at all.
    pub(crate) failed: Vec<String>,
    /// From the first failure to the last.
    pub(crate) failing: Option<(Instant, Instant)>,
    /// Users whose creation was acknowledged.
    created: Vec<String>,
    /// How long it ran.
    pub(crate) time: Duration,
}

impl Load {
    pub(crate) fn start(cluster: &Cluster, tenant: &Tenant) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = (0..CLIENTS).map(|number| {
            let tenant = if number % 2 == 0 { tenant.clone() } else { tenant.without_connections(cluster) };
            tokio::spawn(client(tenant, number, stop.clone()))
        });
        Self { tenant: tenant.clone(), started: Instant::now(), clients: clients.collect(), stop }
    }

    /// Ends the load and says what was seen. Every user whose creation was acknowledged must be there.
    pub(crate) async fn finish(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Tally { time: self.started.elapsed(), ..Tally::default() };
        for client in self.clients {
            let tally = client.await.expect("clients do not panic");
            all.requests += tally.requests;
            all.failed.extend(tally.failed);
            all.created.extend(tally.created);
            all.failing = match (all.failing, tally.failing) {
                (Some((first, last)), Some((from, to))) => Some((first.min(from), last.max(to))),
                (one, other) => one.or(other),
            };
        }
        for id in &all.created {
            let (status, _) = self.tenant.get(&format!("/Users/{id}")).await.expect("the server answers");
            assert_eq!(status, 200, "user {id} was acknowledged and is lost");
        }
        all
    }
}

impl Tally {
    /// The claim of most rows: nobody noticed.
    pub(crate) fn nothing_failed(&self) {
        assert!(self.requests > 20, "only {} requests: this proves nothing", self.requests);
        let shown = &self.failed[..self.failed.len().min(5)];
        assert!(
            self.failed.is_empty(),
            "{} of {} requests failed: {shown:#?}",
            self.failed.len(),
            self.requests
        );
    }
}

impl Tally {
    /// The claim where there was nobody to answer for a while: identity providers had no answer, or one that makes them
    /// try again, and none was told anything wrong, such as that a user is not there.
    pub(crate) fn only_told_to_try_again(&self) {
        let retried = |how: &&String| {
            let answered = how.starts_with(|first: char| first.is_ascii_digit());
            !answered || ["502 ", "503 ", "504 "].iter().any(|status| how.starts_with(status))
        };
        let others: Vec<_> = self.failed.iter().filter(|how| !retried(how)).take(5).collect();
        assert!(others.is_empty(), "{others:#?}");
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "{} requests in {:.1} s, {} failed",
            self.requests,
            self.time.as_secs_f64(),
            self.failed.len()
        )?;
        match self.failing {
            Some((first, last)) => write!(out, " over {:.1} s", (last - first).as_secs_f64()),
            None => Ok(()),
        }
    }
}

async fn client(tenant: Tenant, number: usize, stop: Arc<AtomicBool>) -> Tally {
    let mut tally = Tally::default();
    let mut last = None;
    while !stop.load(Ordering::Relaxed) {
        let round = tally.requests;
        let answer = match &last {
            Some(id) if round % 4 != 0 => tenant.send(Method::GET, &format!("/Users/{id}"), None).await,
            _ => tenant.try_create_user(&format!("load-{number}-{round}-{}", uuid::Uuid::new_v4())).await,
        };
        tally.requests += 1;
        match answer {
            Ok((201, body)) => {
                let id = body["id"].as_str().expect("a resource has an id").to_owned();
                tally.created.push(id.clone());
                last = Some(id);
            }
            Ok((200, _)) => {}
            Ok((status, body)) => tally.fail(format!("{status} {body}")),
            Err(error) => tally.fail(error),
        }
        tokio::time::sleep(PAUSE).await;
    }
    tally
}

impl Tally {
    fn fail(&mut self, how: String) {
        let now = Instant::now();
        self.failing = Some((self.failing.map_or(now, |(first, _)| first), now));
        self.failed.push(how);
    }
}
