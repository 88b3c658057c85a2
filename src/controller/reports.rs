//! What pods report of themselves: which configuration they run, what they count, and what they purge.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use futures::future::join_all;
use jiff::Timestamp;
use serde::Deserialize;

use super::{
    cache::Pod,
    context::Context,
    endpoint::write_status,
    failure::Failure,
    key::Key,
    metrics::Metrics,
    queue::Turn,
    view::{Counts, Pods, View},
};

/// How long a pod may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How a pod begins that says on `/readyz` that it cannot reach its store.
const STORELESS: &str = "the store is unavailable: ";

/// Asks pods.
pub(crate) struct Reporters {
    http: reqwest::Client,
    port: u16,
}

/// `GET /configuration` of a pod's admin port.
#[derive(Debug, Deserialize)]
struct Answer {
    /// None of a pod that has no configuration yet.
    digest: Option<String>,
    #[serde(default)]
    tenants: Vec<AnswerTenant>,
    #[serde(default)]
    purging: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerTenant {
    name: String,
    #[serde(default)]
    users: i64,
    #[serde(default)]
    groups: i64,
    #[serde(default)]
    last_request_time: Option<Timestamp>,
}

/// What the pods of an endpoint say.
pub(crate) struct Report {
    pods: usize,
    digests: Vec<String>,
    unreachable: Option<String>,
    purging: BTreeSet<String>,
    trouble: Option<String>,
    storeless: Option<String>,
    /// By tenant, `NAMESPACE/NAME`; `None` when it was not asked for.
    pub(crate) counts: Option<HashMap<String, Counts>>,
}

impl Reporters {
    pub(crate) fn new(port: u16) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).pool_max_idle_per_host(1);
        Ok(Self { http: http.build()?, port })
    }

    /// Asks the ready ones of these pods.
    pub(crate) async fn ask(&self, pods: &[Pod], with_tenants: bool, metrics: &Metrics) -> Report {
        let ready: Vec<&Pod> = pods.iter().filter(|pod| pod.ready && !pod.deleting).collect();
        let waiting = pods.iter().filter(|pod| !pod.ready && !pod.deleting && pod.trouble.is_none());
        // A second time when there was no answer: one that was lost under load says nothing about the pod.
        let ask = async |pod: &Pod| match self.ask_one(pod, with_tenants).await {
            Err(_) => self.ask_one(pod, with_tenants).await,
            answer => answer,
        };
        let (answers, storeless) = tokio::join!(
            join_all(ready.iter().map(async |pod| ask(pod).await)),
            join_all(waiting.map(|pod| self.ask_why(pod))),
        );
        let mut report = Report {
            pods: ready.len(),
            digests: Vec::new(),
            unreachable: None,
            purging: BTreeSet::new(),
            trouble: trouble(pods),
            storeless: storeless.into_iter().flatten().next(),
            counts: with_tenants.then(HashMap::new),
        };
        for (pod, answer) in ready.iter().zip(answers) {
            metrics.pod_asked(answer.is_ok());
            match answer {
                Ok(Answer { digest, tenants, purging }) => {
                    report.digests.push(digest.unwrap_or_default());
                    report.purging.extend(purging);
                    report.count(tenants);
                }
                Err(error) => {
                    let text = format!("pod {} does not say what it runs: {error}", pod.name);
                    report.unreachable = Some(text);
                }
            }
        }
        report
    }

    async fn ask_one(&self, pod: &Pod, with_tenants: bool) -> Result<Answer, String> {
        let address = pod.address.ok_or("it has no address")?;
        let host = std::net::SocketAddr::new(address, self.port);
        let url = format!("http://{host}/configuration?tenants={with_tenants}");
        let words = |error: reqwest::Error| super::run::report(&error.without_url());
        let answer = self.http.get(url).send().await.map_err(words)?.error_for_status().map_err(words)?;
        answer.json().await.map_err(words)
    }
}

impl Reporters {
    /// Why a pod that is not ready has no store, when that is why.
    async fn ask_why(&self, pod: &Pod) -> Option<String> {
        let url = format!("http://{}/readyz", std::net::SocketAddr::new(pod.address?, self.port));
        let answer = self.http.get(url).send().await.ok()?.text().await.ok()?;
        let (_, why) = answer.split_once(STORELESS)?;
        let why: String = why.lines().next().unwrap_or_default().chars().take(500).collect();
        Some(format!("pod {} cannot reach the database: {why}", pod.name))
    }
}

impl Report {
    /// Users and groups are in the one store that all pods share; requests are counted by each.
    fn count(&mut self, tenants: Vec<AnswerTenant>) {
        let Some(counts) = &mut self.counts else { return };
        for AnswerTenant { name, users, groups, last_request_time } in tenants {
            let known = counts.entry(name).or_default();
            known.users = known.users.max(users);
            known.groups = known.groups.max(groups);
            let minute =
                last_request_time.and_then(|time| Timestamp::from_second(time.as_second() / 60 * 60).ok());
            known.last_request = known.last_request.max(minute);
        }
    }

    /// What it comes to, by the configurations that are known.
    pub(crate) fn pods(&self, view: &View) -> Pods {
        let numbers: Vec<u64> = self.digests.iter().map(|digest| view.number(digest)).collect();
        let running = numbers.iter().min().copied().filter(|_| self.unreachable.is_none());
        Pods {
            asked: true,
            ready: self.pods,
            current: numbers.iter().filter(|number| **number == view.newest()).count(),
            running,
            unreachable: self.unreachable.clone(),
            purging: self.purging.clone(),
            trouble: self.trouble.clone(),
            storeless: self.storeless.clone(),
        }
    }
}

/// What pods that are not ready complain of; the same words of several are said once.
fn trouble(pods: &[Pod]) -> Option<String> {
    let mut found: BTreeMap<&str, &str> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| !pod.deleting) {
        if let Some(trouble) = &pod.trouble {
            found.entry(trouble).or_insert(&pod.name);
        }
    }
    let texts: Vec<String> = found.iter().map(|(trouble, pod)| format!("pod {pod}: {trouble}")).collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

/// Asks the pods of an endpoint, and tells whom it concerns.
pub(crate) async fn report(context: &Context, key: &Key) -> Result<Turn, Failure> {
    /// How often pods are asked when all is well.
    const IDLE: Duration = Duration::from_secs(10);
    /// How often those that are not ready are asked why.
    const STARTING: Duration = Duration::from_secs(1);
    /// How often they are asked for what they count.
    const COUNT: Duration = Duration::from_secs(30);
    let Some(state) = context.known_endpoint(key) else { return Ok(Turn::Done) };
    if context.cache.endpoint(key).is_none() {
        return Ok(Turn::Done);
    }
    // What pods say means nothing before it is known which configurations there were. The endpoint's turn asks then.
    if state.view().newest() == 0 {
        return Ok(Turn::Done);
    }
    let counted = state.view().counted_at;
    let with_tenants = counted.is_none_or(|at| at.elapsed() >= COUNT);
    let pods = context.cache.pods_of(key);
    let report = context.reporters.ask(&pods, with_tenants, &context.metrics).await;
    let mut concerned = Vec::new();
    let waits = {
        let mut view = state.view();
        let after = report.pods(&view);
        let before = std::mem::replace(&mut view.pods, after);
        let now = Instant::now();
        if let Some(counts) = &report.counts {
            view.counted_at = Some(now);
            for (tenant, known) in &mut view.tenants {
                let counts = counts.get(&tenant.to_string()).copied();
                known.counts = counts.or(known.counts);
                let shown = known.shown.map(|(shown, _)| shown);
                if known.counts.is_some() && known.counts_to_show(now) != shown {
                    concerned.push(tenant.clone());
                }
            }
        }
        let view = &*view;
        let changed = before != view.pods;
        if changed {
            let runs = |pods: &Pods, since: u64| {
                pods.ready > 0 && pods.running.is_some_and(|running| running >= since)
            };
            let words = |pods: &Pods| {
                (pods.asked, pods.unreachable.clone(), pods.trouble.clone(), pods.storeless.clone())
            };
            let others = words(&before) != words(&view.pods) || before.ready == 0 || view.pods.ready == 0;
            let told = view.tenants.iter().filter(|(_, tenant)| {
                let (was, is) = (runs(&before, tenant.changed), runs(&view.pods, tenant.changed));
                was != is || others && !is || !before.asked
            });
            concerned.extend(told.map(|(key, _)| key.clone()));
        }
        concerned.extend(view.gone.keys().cloned());
        let purging = !view.gone.is_empty() && view.pods.ready > 0;
        !view.runs(view.newest()) && view.pods.ready > 0 || purging
    };
    for tenant in concerned {
        context.queues.tenants.add(tenant, Duration::ZERO);
    }
    let mut work = state.work.lock().await;
    let age = work.configured_at.map_or(Duration::MAX, |at| at.elapsed());
    // Whether or not the pods said something new: an earlier write may have failed.
    write_status(context, key, &state, &mut work).await?;
    let starting = pods.iter().any(|pod| !pod.ready && !pod.deleting);
    Ok(Turn::Again(match (waits, age) {
        (false, _) if starting => STARTING,
        (false, _) => IDLE,
        (true, age) if age < Duration::from_secs(3) => Duration::from_millis(100),
        (true, age) if age < Duration::from_secs(15) => Duration::from_millis(250),
        (true, _) => Duration::from_secs(1),
    }))
}
