//! A turn of a tenant: its finalizer, its credentials and its status. What is served of it is its endpoint's turn.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::{
    cache::Known,
    context::{Context, EndpointState},
    credentials::{self, Tended},
    endpoint::GRACE,
    events::Happening,
    failure::Failure,
    key::Key,
    kinds::Kind,
    names::PURGE_FINALIZER,
    publish, purge,
    queue::Turn,
    status::{self, Conditions, TenantFacts},
    view::{Counts, View, Why},
};
use crate::crd::{DeletionPolicy, ScimTenant, ScimTenantStatus, condition::Reason};

/// One turn.
pub(crate) async fn reconcile(context: &Context, key: &Key) -> Result<Turn, Failure> {
    let Some(known) = context.cache.tenant(key) else { return Ok(Turn::Done) };
    let tenant = match &known {
        Known::Object(tenant) => tenant,
        Known::Unreadable(unreadable) => {
            let message =
                format!("the object cannot be read by this version of the operator: {}", unreadable.message);
            let why = Why::new(Reason::Unreadable, message);
            let mut conditions = Conditions::new(unreadable.metadata.generation, Timestamp::now());
            status::tenant(&TenantFacts::NoEndpoint(&why), &mut conditions);
            let status = ScimTenantStatus {
                observed_generation: unreadable.metadata.generation,
                conditions: conditions.finish(),
                ..ScimTenantStatus::default()
            };
            publish::status(context, Kind::Tenant, key, &unreadable.metadata, &status).await?;
            return Ok(Turn::Done);
        }
    };
    if tenant.metadata.deletion_timestamp.is_some() {
        return purge::step(context, key, tenant).await;
    }
    set_finalizer(context, key, tenant).await?;
    let endpoint = super::cache::endpoint_of(tenant);
    if context.cache.endpoint(&endpoint).is_none() {
        let message = format!(
            "spec.endpointRef: there is no ScimEndpoint {endpoint}; create it, or name one that is there"
        );
        let why = Why::new(Reason::EndpointNotFound, message);
        write(context, key, tenant, &Told { facts: TenantFacts::NoEndpoint(&why), url: None, counts: None })
            .await?;
        return Ok(Turn::Done);
    }
    // Without a turn of the endpoint there is nothing to tell; it gives this tenant another one.
    let Some(state) = context.known_endpoint(&endpoint) else { return Ok(Turn::Done) };
    let Some(judged) = Judged::of(&state, key) else { return Ok(Turn::Done) };
    let (url, tenant_view) = match judged {
        Judged::EndpointRefused(why) => {
            let message = format!("ScimEndpoint {endpoint} is not accepted: {}", why.message);
            let why = Why::new(Reason::EndpointNotReady, message);
            let told = Told { facts: TenantFacts::EndpointRefused(&why), url: None, counts: None };
            write(context, key, tenant, &told).await?;
            return Ok(Turn::Done);
        }
        // It was changed since, and is judged again in a moment.
        Judged::Tenant { view, .. } if view.generation != tenant.metadata.generation => {
            return Ok(Turn::Done);
        }
        Judged::Tenant { url, view } => (url, view),
    };
    let url = url.map(|url| format!("{url}/{}/scim/v2", tenant.path()));
    let mut turn = Turn::Done;
    if tenant_view.admitted {
        match credentials::tend(context, key, tenant, url.as_deref()).await? {
            Tended::Made => return Ok(Turn::Done),
            Tended::Kept(Some(next)) => turn = Turn::Again(next),
            Tended::Kept(None) => {}
        }
    }
    let now = Instant::now();
    let (told, changed) = {
        let view = state.view();
        let Some(current) = view.tenants.get(key) else { return Ok(turn) };
        let catching_up =
            view.pods.ready > 0 && view.pods.unreachable.is_none() && !view.runs(current.changed);
        let age = current.changed_at.elapsed();
        if !view.pods.asked {
            return Ok(turn);
        }
        // The pods are about to say what will be true in a moment.
        if catching_up && age < GRACE && current.refusal.is_none() {
            return Ok(Turn::Again(GRACE.saturating_sub(age)));
        }
        let counts = current.counts_to_show(now);
        let mut conditions = Conditions::new(tenant.metadata.generation, Timestamp::now());
        let facts = TenantFacts::Judged { tenant: current, view: &view, suspended: tenant.spec.suspended };
        status::tenant(&facts, &mut conditions);
        (status_of(tenant, url.filter(|_| current.served.is_some()), counts, conditions), current.changed)
    };
    let refusal = tenant_view.refusal.as_ref();
    let written = publish::status(context, Kind::Tenant, key, &tenant.metadata, &told).await?;
    let mut view = state.view();
    if let Some(current) = view.tenants.get_mut(key).filter(|current| current.changed == changed)
        && let Some(users) = told.users
    {
        let counts = Counts {
            users,
            groups: told.groups.unwrap_or_default(),
            last_request: told.last_request_time.as_ref().map(|time| time.0),
        };
        if current.shown.is_none_or(|(shown, _)| shown != counts) {
            current.shown = Some((counts, now));
        }
    }
    drop(view);
    if let Some(why) = refusal.filter(|_| written) {
        context.events.tell(Kind::Tenant, &tenant.metadata, Happening::Refused, &why.message);
    }
    Ok(turn)
}

/// What its endpoint's turn found of a tenant.
enum Judged {
    EndpointRefused(Why),
    Tenant { url: Option<String>, view: super::view::TenantView },
}

impl Judged {
    fn of(state: &EndpointState, key: &Key) -> Option<Self> {
        let view: &View = &state.view();
        match view.accepted.as_ref()? {
            Err(why) => Some(Self::EndpointRefused(why.clone())),
            Ok(url) => Some(Self::Tenant { url: url.clone(), view: view.tenants.get(key)?.clone() }),
        }
    }
}

/// What is told of a tenant that was not judged.
struct Told<'a> {
    facts: TenantFacts<'a>,
    url: Option<String>,
    counts: Option<Counts>,
}

async fn write(context: &Context, key: &Key, tenant: &ScimTenant, told: &Told<'_>) -> Result<bool, Failure> {
    let mut conditions = Conditions::new(tenant.metadata.generation, Timestamp::now());
    status::tenant(&told.facts, &mut conditions);
    let status = status_of(tenant, told.url.clone(), told.counts, conditions);
    Ok(publish::status(context, Kind::Tenant, key, &tenant.metadata, &status).await?)
}

pub(crate) fn status_of(
    tenant: &ScimTenant,
    url: Option<String>,
    counts: Option<Counts>,
    conditions: Conditions,
) -> ScimTenantStatus {
    ScimTenantStatus {
        url,
        secret_name: tenant.token_secret(),
        users: counts.map(|counts| counts.users),
        groups: counts.map(|counts| counts.groups),
        last_request_time: counts.and_then(|counts| counts.last_request).map(Time),
        observed_generation: tenant.metadata.generation,
        conditions: conditions.finish(),
    }
}

/// The finalizer is there exactly while the tenant's data is to be purged with it.
async fn set_finalizer(context: &Context, key: &Key, tenant: &ScimTenant) -> Result<(), Failure> {
    let mut finalizers = tenant.metadata.finalizers.clone().unwrap_or_default();
    let has = finalizers.iter().any(|finalizer| finalizer == PURGE_FINALIZER);
    let wants = tenant.spec.deletion_policy == DeletionPolicy::Delete;
    if has == wants {
        return Ok(());
    }
    if wants {
        finalizers.push(PURGE_FINALIZER.to_owned());
    } else {
        finalizers.retain(|finalizer| finalizer != PURGE_FINALIZER);
    }
    put_finalizers(context, key, tenant, &finalizers).await
}

/// Replaces the finalizers of the version that we know; of another version they are somebody's decision since.
pub(crate) async fn put_finalizers(
    context: &Context,
    key: &Key,
    tenant: &ScimTenant,
    finalizers: &[String],
) -> Result<(), Failure> {
    let patch = json!({
        "metadata": { "resourceVersion": tenant.metadata.resource_version, "finalizers": finalizers },
    });
    match context.cluster.merge(Kind::Tenant, key, &patch).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        // A conflict: a watch brings the newer version in a moment, and this turn is tried again.
        Err(error) => Err(error.into()),
    }
}

/// How long until it is looked at again that a tenant is on its way out.
pub(crate) const PURGE_AGAIN: Duration = Duration::from_secs(5);
