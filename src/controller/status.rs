//! Status: what is told of an endpoint and of a tenant, from what was applied and what pods reported.
//!
//! Pure. An [`EndpointFacts::Applied`] can only be made from [`Applied`], which only the apply step makes, so that a
//! status never speaks of what was merely intended.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{
    apply::Applied,
    kinds::Kind,
    observed::{Observed, Rollout},
    view::{Pods, TenantView, View, Why},
};
use crate::crd::condition::{self, ConditionStatus, ConditionType, Reason};

/// The conditions of one object, in the making.
pub(crate) struct Conditions {
    list: Vec<Condition>,
    generation: Option<i64>,
    now: Timestamp,
}

impl Conditions {
    pub(crate) fn new(generation: Option<i64>, now: Timestamp) -> Self {
        Self { list: Vec::new(), generation, now }
    }

    pub(crate) fn set(
        &mut self,
        kind: ConditionType,
        status: impl Into<ConditionStatus>,
        reason: Reason,
        message: impl Into<String>,
    ) {
        condition::set(&mut self.list, kind, status, reason, message, self.generation, self.now);
    }

    fn holds(&mut self, kind: ConditionType, reason: Reason, message: impl Into<String>) {
        self.set(kind, true, reason, message);
    }

    fn fails(&mut self, kind: ConditionType, why: &Why) {
        self.set(kind, false, why.reason, &*why.message);
    }

    pub(crate) fn finish(self) -> Vec<Condition> {
        self.list
    }
}

/// What an endpoint's status is made from.
pub(crate) enum EndpointFacts<'a> {
    /// It is not accepted.
    Refused(&'a Why),
    /// It is accepted, and not everything could be applied.
    Failed(&'a Why),
    /// Everything was applied.
    Applied(&'a Applied),
}

/// What the certificate is found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CertificateState {
    /// None is needed here, or it is good.
    Good,
    /// It works, and a person should know.
    Warning(Why),
    /// Clients are refused, or will see an error.
    Bad(Why),
}

/// The conditions of an endpoint.
pub(crate) fn endpoint(
    facts: &EndpointFacts<'_>,
    view: &View,
    certificate: &CertificateState,
    conditions: &mut Conditions,
) {
    use ConditionType::{Accepted, Programmed, Ready, Reconciling, Stalled};
    let applied = match facts {
        EndpointFacts::Refused(why) => {
            conditions.fails(Accepted, why);
            conditions.fails(Programmed, why);
            conditions.fails(Ready, why);
            conditions.set(Stalled, true, why.reason, &*why.message);
            return;
        }
        EndpointFacts::Failed(why) => {
            conditions.holds(Accepted, Reason::Accepted, "the spec is being carried out");
            conditions.fails(Programmed, why);
            conditions.fails(Ready, why);
            conditions.set(Stalled, true, why.reason, &*why.message);
            return;
        }
        EndpointFacts::Applied(applied) => applied,
    };
    conditions.holds(Accepted, Reason::Accepted, "the spec is being carried out");
    let rollout = rollout(applied);
    let programmed = programmed(&view.pods, &rollout, view.newest());
    match &programmed {
        Ok(message) => conditions.holds(Programmed, Reason::Programmed, message),
        Err(why) => conditions.fails(Programmed, why),
    }
    // The first thing in the way of a client is what is told.
    let blocked = programmed
        .as_ref()
        .err()
        .cloned()
        .or_else(|| match certificate {
            CertificateState::Bad(why) => Some(why.clone()),
            CertificateState::Good | CertificateState::Warning(_) => None,
        })
        .or_else(|| way_in(applied));
    match (&blocked, certificate) {
        (Some(why), _) => conditions.fails(Ready, why),
        (None, CertificateState::Warning(why)) => conditions.holds(Ready, why.reason, &*why.message),
        (None, _) => conditions.holds(Ready, Reason::Ready, "identity providers can push"),
    }
    // kstatus: somebody must act, or it goes on by itself.
    match &blocked {
        Some(why) if needs_somebody(why.reason) => {
            conditions.set(Stalled, true, why.reason, &*why.message);
        }
        Some(why) => conditions.set(Reconciling, true, why.reason, &*why.message),
        None if !rollout.complete => match &view.pods.storeless {
            Some(storeless) => {
                let message =
                    format!("{storeless}; the pods that are there serve on until the next one does");
                conditions.set(Reconciling, true, Reason::DatabaseUnavailable, message);
            }
            None => conditions.set(Reconciling, true, Reason::RollingOut, "pods are being replaced"),
        },
        None => {}
    }
}

fn needs_somebody(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::PodsFailing
            | Reason::CertificateExpired
            | Reason::CertificateInvalid
            | Reason::CertificateNotFound
            | Reason::ApplyRefused
            | Reason::KindNotInstalled
            | Reason::NameTaken
    )
}

fn rollout(applied: &Applied) -> Rollout {
    let found = applied.observed(Kind::Deployment).find_map(|(_, observed)| match observed {
        Observed::Deployment(rollout) => Some(rollout.clone()),
        _ => None,
    });
    found.unwrap_or_default()
}

/// Whether every ready pod runs the newest configuration.
fn programmed(pods: &Pods, rollout: &Rollout, newest: u64) -> Result<String, Why> {
    let Pods { asked, ready, current, running, unreachable, purging: _, trouble, storeless } = pods;
    if *ready == 0 {
        if let Some(trouble) = trouble.as_ref().or(rollout.failure.as_ref()) {
            return Err(Why::new(Reason::PodsFailing, trouble.clone()));
        }
        if let Some(storeless) = storeless {
            return Err(Why::new(Reason::DatabaseUnavailable, storeless.clone()));
        }
        let message = format!("0 of {} pods are ready", rollout.replicas);
        let reason = if rollout.complete { Reason::NoReadyPods } else { Reason::RollingOut };
        return Err(Why::new(reason, message));
    }
    if let Some(unreachable) = unreachable {
        return Err(Why::new(Reason::PodsUnreachable, unreachable.clone()));
    }
    if *asked && running.is_some_and(|running| running >= newest) {
        return Ok(format!("{} run the newest configuration", count(*ready, "ready pod")));
    }
    let message = format!("{current} of {} run the newest configuration", count(*ready, "ready pod"));
    Err(Why::new(Reason::ConfigurationPending, message))
}

fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// What stands between a client and the pods.
fn way_in(applied: &Applied) -> Option<Why> {
    for (key, observed) in applied.observed(Kind::HttpRoute) {
        if let Observed::Route { taken: Err(words) } = observed {
            return Some(Why::new(Reason::RoutesPending, format!("HTTPRoute {}: {words}", key.name)));
        }
    }
    for (key, observed) in applied.observed(Kind::Service) {
        if let Observed::Service { waits: true, .. } = observed {
            let message = format!(
                "Service {} has no address yet: a load balancer of the cluster has to give it one; \
                 `kubectl describe service {}` tells what it says",
                key.name, key.name
            );
            return Some(Why::new(Reason::AddressPending, message));
        }
    }
    None
}

/// What a tenant's status is made from.
pub(crate) enum TenantFacts<'a> {
    /// It names no endpoint that is there.
    NoEndpoint(&'a Why),
    /// Its endpoint is there and not accepted; what was served of the tenant may be served on.
    EndpointRefused(&'a Why),
    /// Its endpoint has judged it.
    Judged { tenant: &'a TenantView, view: &'a View, suspended: bool },
    /// It is on its way out, and its data is to be purged before.
    Purging { blocked: Option<&'a Why> },
}

/// The conditions of a tenant.
pub(crate) fn tenant(facts: &TenantFacts<'_>, conditions: &mut Conditions) {
    use ConditionType::{Accepted, Programmed, Ready, Reconciling, Stalled};
    let (tenant, view, suspended) = match facts {
        TenantFacts::NoEndpoint(why) => {
            conditions.fails(Accepted, why);
            conditions.fails(Programmed, why);
            conditions.fails(Ready, why);
            conditions.set(Stalled, true, why.reason, &*why.message);
            return;
        }
        TenantFacts::EndpointRefused(why) => {
            conditions.set(Accepted, ConditionStatus::Unknown, why.reason, &*why.message);
            conditions.fails(Programmed, why);
            conditions.fails(Ready, why);
            conditions.set(Reconciling, true, why.reason, &*why.message);
            return;
        }
        TenantFacts::Purging { blocked } => {
            let purging = Why::new(Reason::Purging, "users and groups are being purged");
            let why = blocked.unwrap_or(&purging);
            conditions.fails(Accepted, why);
            conditions.fails(Programmed, why);
            conditions.fails(Ready, why);
            let kind = if blocked.is_some() { Stalled } else { Reconciling };
            conditions.set(kind, true, why.reason, &*why.message);
            return;
        }
        TenantFacts::Judged { tenant, view, suspended } => (*tenant, *view, *suspended),
    };
    if let Some(why) = &tenant.refusal {
        let why = match &tenant.served {
            Some(_) => Why::new(why.reason, format!("{}. What was served before is served on", why.message)),
            None => why.clone(),
        };
        conditions.fails(Accepted, &why);
        conditions.fails(Programmed, &why);
        conditions.fails(Ready, &why);
        conditions.set(Stalled, true, why.reason, why.message);
        return;
    }
    let words = tenant.warning.as_deref().unwrap_or("the endpoint takes the tenant");
    conditions.holds(Accepted, Reason::Accepted, words);
    let programmed = tenant_programmed(tenant, view);
    match &programmed {
        Ok(()) => conditions.holds(Programmed, Reason::Programmed, "every ready pod serves it as written"),
        Err(why) => conditions.fails(Programmed, why),
    }
    match programmed {
        Err(why) => {
            conditions.fails(Ready, &why);
            conditions.set(Reconciling, true, why.reason, why.message);
        }
        Ok(()) if suspended => {
            let message = "suspended: identity providers are told to wait (503); set spec.suspended to false";
            conditions.set(Ready, false, Reason::Suspended, message);
        }
        Ok(()) => conditions.holds(Ready, Reason::Ready, "the identity provider can push"),
    }
}

fn tenant_programmed(tenant: &TenantView, view: &View) -> Result<(), Why> {
    if view.runs(tenant.changed) {
        return Ok(());
    }
    let Pods { ready, unreachable, trouble, storeless, .. } = &view.pods;
    if let (0, None, Some(storeless)) = (ready, trouble, storeless) {
        return Err(Why::new(Reason::DatabaseUnavailable, storeless.clone()));
    }
    Err(match (ready, unreachable, trouble) {
        (0, _, Some(trouble)) => {
            Why::new(Reason::PodsFailing, format!("no pod of the endpoint is ready: {trouble}"))
        }
        (0, _, None) => Why::new(Reason::NoReadyPods, "no pod of the endpoint is ready"),
        (_, Some(unreachable), _) => Why::new(Reason::PodsUnreachable, unreachable.clone()),
        _ => Why::new(Reason::ConfigurationPending, "not every pod of the endpoint serves it as written yet"),
    })
}
