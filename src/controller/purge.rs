//! A tenant on its way out whose data is to be purged: the finalizer goes when no pod has the data any more.
//!
//! The endpoint's turn takes the tenant out of the configuration once every pod knows that its data is to be purged.
//! The pods purge, and say so. When nobody can, a condition says why.

use jiff::Timestamp;

use super::{
    cache::endpoint_of,
    context::Context,
    events::Happening,
    failure::Failure,
    key::Key,
    kinds::Kind,
    names::{Names, PURGE_FINALIZER},
    publish,
    queue::Turn,
    status::{self, Conditions, TenantFacts},
    tenant::{PURGE_AGAIN, put_finalizers, status_of},
    view::{View, Why},
};
use crate::crd::{DeletionPolicy, ScimTenant, condition::Reason};

/// How far a purge is.
enum Purge {
    Done(&'static str),
    Retained,
    UnderWay,
    Blocked(Why),
}

/// One turn.
pub(crate) async fn step(context: &Context, key: &Key, tenant: &ScimTenant) -> Result<Turn, Failure> {
    let mut finalizers = tenant.metadata.finalizers.iter().flatten();
    if !finalizers.any(|finalizer| finalizer == PURGE_FINALIZER) {
        return Ok(Turn::Done);
    }
    let endpoint = endpoint_of(tenant);
    let purge = match context.cache.endpoint(&endpoint) {
        // Somebody thought better of it.
        _ if tenant.spec.deletion_policy == DeletionPolicy::Retain => Purge::Retained,
        None => without_endpoint(context, &endpoint),
        Some(_) => match context.known_endpoint(&endpoint) {
            Some(state) => with_endpoint(&state.view(), key, &endpoint),
            None => Purge::UnderWay,
        },
    };
    let blocked = match &purge {
        Purge::Done(note) => {
            let_go(context, key, tenant).await?;
            context.events.tell(Kind::Tenant, &tenant.metadata, Happening::DataPurged, note);
            return Ok(Turn::Done);
        }
        Purge::Retained => {
            let_go(context, key, tenant).await?;
            return Ok(Turn::Done);
        }
        Purge::UnderWay => None,
        Purge::Blocked(why) => Some(why),
    };
    let mut conditions = Conditions::new(tenant.metadata.generation, Timestamp::now());
    status::tenant(&TenantFacts::Purging { blocked }, &mut conditions);
    let status = status_of(tenant, None, None, conditions);
    let written = publish::status(context, Kind::Tenant, key, &tenant.metadata, &status).await?;
    if let Some(why) = blocked.filter(|_| written) {
        context.events.tell(Kind::Tenant, &tenant.metadata, Happening::PurgeBlocked, &why.message);
    }
    Ok(Turn::Again(PURGE_AGAIN))
}

/// Takes our finalizer off.
async fn let_go(context: &Context, key: &Key, tenant: &ScimTenant) -> Result<(), Failure> {
    let finalizers = tenant.metadata.finalizers.iter().flatten();
    let rest: Vec<String> = finalizers.filter(|finalizer| *finalizer != PURGE_FINALIZER).cloned().collect();
    put_finalizers(context, key, tenant, &rest).await?;
    tracing::info!(tenant = %key, generation = tenant.metadata.generation, "let the tenant go");
    Ok(())
}

fn with_endpoint(view: &View, key: &Key, endpoint: &Key) -> Purge {
    let Some(since) = view.gone.get(key) else {
        let blocked = |message: String| Purge::Blocked(Why::new(Reason::PurgeBlocked, message));
        return match &view.accepted {
            Some(Err(why)) => blocked(format!(
                "ScimEndpoint {endpoint} is not accepted, so its pods are not told to purge: {}",
                why.message
            )),
            Some(Ok(_)) if view.pods.asked && view.pods.ready == 0 => blocked(no_pods(endpoint)),
            _ => Purge::UnderWay,
        };
    };
    if view.pods.purging.contains(&key.to_string()) {
        return Purge::UnderWay;
    }
    if view.runs(*since) {
        return Purge::Done("users and groups are purged");
    }
    if view.pods.asked && view.pods.ready == 0 {
        return Purge::Blocked(Why::new(Reason::PurgeBlocked, no_pods(endpoint)));
    }
    if let Some(unreachable) = &view.pods.unreachable {
        return Purge::Blocked(Why::new(Reason::PurgeBlocked, unreachable.clone()));
    }
    Purge::UnderWay
}

fn no_pods(endpoint: &Key) -> String {
    format!(
        "no pod of ScimEndpoint {endpoint} is ready to purge users and groups; see its conditions, or set spec.deletionPolicy to Retain to let the tenant go and its data stay"
    )
}

/// Without an endpoint nobody can purge; without its volume there is nothing to purge, unless it had a PostgreSQL, of
/// which nothing is known any more.
fn without_endpoint(context: &Context, endpoint: &Key) -> Purge {
    let volume = Key::new(&endpoint.namespace, &Names::of(&endpoint.name).data());
    match context.cache.child(Kind::PersistentVolumeClaim, &volume) {
        Some(claim) if !claim.deleting => {
            let message = format!(
                "ScimEndpoint {endpoint} is gone, and PersistentVolumeClaim {} still has users and groups of the tenant; create the endpoint again, or delete the volume, or set spec.deletionPolicy to Retain to let the tenant go and its data stay",
                volume.name
            );
            Purge::Blocked(Why::new(Reason::PurgeBlocked, message))
        }
        _ => Purge::Done(
            "the endpoint is gone, and its volume with users and groups; had it a PostgreSQL database, they are still there",
        ),
    }
}
