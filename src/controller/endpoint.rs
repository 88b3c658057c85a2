//! A turn of an endpoint: gather → validate → build → apply → status.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DynamicObject;

use super::{
    apply::{self, Applied, ApplyError, Change, Owner, Wanted},
    build,
    cache::{Gathered, Known, secrets_of_endpoint},
    certificate,
    compile::{Compiled, Compiler, Verdict},
    context::{Context, EndpointState},
    events::Happening,
    failure::Failure,
    key::Key,
    kinds::Kind,
    names::Names,
    observed::Observed,
    publish,
    queue::Turn,
    status::{self, CertificateState, Conditions, EndpointFacts},
    validate::{self, ValidatedEndpoint},
    view::{TenantView, View, Why},
};
use crate::{
    config::shards::{self, HEAD_KEY, SHARD_KEY},
    crd::{ScimEndpoint, ScimEndpointStatus, condition::Reason},
};

/// A refusal is asked about again now and then: what is in the way may be gone without our being told.
const REFUSED_AGAIN: Duration = Duration::from_secs(30);
/// Something is on its way out: it is looked at again soon.
const GOING_AGAIN: Duration = Duration::from_millis(500);
/// Pods take a new configuration within this time: as long, a status does not say that they have not.
pub(crate) const GRACE: Duration = Duration::from_millis(1500);

/// What is kept between the turns of an endpoint.
#[derive(Default)]
pub(crate) struct Work {
    uid: Option<String>,
    /// What the cluster has of the configuration was read.
    loaded: bool,
    compiler: Compiler,
    memory: apply::Memory,
    outcome: Option<Outcome>,
    /// When the newest configuration was written.
    pub(crate) configured_at: Option<Instant>,
    /// The reason that was last told in an Event.
    told: Option<Reason>,
}

/// What the last turn came to, for the status.
struct Outcome {
    metadata: ObjectMeta,
    result: Result<Applied, (Stage, Why)>,
    url: Option<String>,
    served: usize,
    refused: usize,
    certificate: CertificateState,
}

/// Where a turn ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Validate,
    Apply,
}

/// One turn.
pub(crate) async fn reconcile(context: &Context, key: &Key) -> Result<Turn, Failure> {
    let Some(gathered) = context.cache.gather(key) else {
        context.forget(key);
        return Ok(Turn::Done);
    };
    let state = context.endpoint(key);
    let mut work = state.work.lock().await;
    let metadata = gathered.endpoint.metadata().clone();
    if metadata.deletion_timestamp.is_some() {
        return Ok(Turn::Done);
    }
    if work.uid != metadata.uid {
        // Another object of the same name.
        *work = Work { uid: metadata.uid.clone(), ..Work::default() };
        *state.view() = View::default();
    }
    let endpoint = match &gathered.endpoint {
        Known::Object(endpoint) => Arc::clone(endpoint),
        Known::Unreadable(unreadable) => {
            let why =
                Why::new(Reason::Unreadable, format!("the object cannot be read: {}", unreadable.message));
            return refuse(context, key, &state, &mut work, metadata, &gathered, why).await;
        }
    };
    if let Some(holder) = &gathered.host_holder {
        let why = Why::new(Reason::HostTaken, host_taken(&endpoint, holder));
        return refuse(context, key, &state, &mut work, metadata, &gathered, why).await;
    }
    fill_secrets(context, &endpoint, &gathered).await?;
    load(context, key, &state, &mut work).await?;

    // Validate.
    let compiled = {
        let view = state.view();
        work.compiler.compile(&endpoint, &gathered, &context.cache, &view)
    };
    let judged = compiled.and_then(|Compiled { config, encoded, storage, version, tenants }| {
        let compiled = validate::Compiled { config: &config, encoded, storage, version };
        match validate::validate(&endpoint, compiled, &context.settings) {
            Ok(validated) => Ok((validated, tenants)),
            Err(invalid) => Err(Why::new(invalid.reason, invalid.to_string())),
        }
    });
    let (validated, tenants) = match judged {
        Ok(judged) => judged,
        Err(why) => return refuse(context, key, &state, &mut work, metadata, &gathered, why).await,
    };

    // Build and apply.
    let wanted = wanted(key, &validated);
    let owner = Owner { key: key.clone(), uid: metadata.uid.as_deref().unwrap_or_default().into() };
    let apply::Outcome { result, configured, changes } =
        apply::apply(&context.cluster, &owner, &wanted, &gathered.children, &mut work.memory).await;
    tell_changes(context, &metadata, &changes);
    let address = result.as_ref().ok().and_then(load_balancer_address);
    let url = validated.url(address.as_deref());
    let served = tenants.iter().filter(|tenant| tenant.served.is_some()).count();
    let refused = tenants.iter().filter(|tenant| tenant.refusal.is_some()).count();
    if configured {
        let digest = validated.config.digest.clone();
        let news = note(&mut state.view(), context, &metadata, digest, url.clone(), tenants, &gathered);
        if news.configured {
            work.configured_at = Some(Instant::now());
        }
        // Before the status: pods have the configuration by now, and tenants wait.
        context.queues.reports.add(key.clone(), Duration::ZERO);
        for tenant in news.tenants {
            context.queues.tenants.add(tenant, Duration::ZERO);
        }
    }

    // Status.
    let mut turn = Turn::Done;
    let result = match result {
        Ok(applied) => Ok(applied),
        Err(error @ ApplyError::Going { .. }) => {
            turn = Turn::Again(GOING_AGAIN);
            Err((Stage::Apply, Why::new(error.reason(), error.to_string())))
        }
        Err(error) if error.is_refusal() => {
            tracing::warn!(endpoint = %key, generation = metadata.generation, %error, "not everything can be applied");
            turn = Turn::Again(REFUSED_AGAIN);
            Err((Stage::Apply, Why::new(error.reason(), error.to_string())))
        }
        Err(ApplyError::Api(error)) => return Err(error.into()),
        Err(error) => return Err(Failure::Apply(error)),
    };
    let (certificate, again) = judge_certificate(context, key, &validated, result.as_ref().ok());
    if let (Turn::Done, Some(again)) = (turn, again) {
        turn = Turn::Again(again);
    }
    work.outcome = Some(Outcome { metadata, result, url, served, refused, certificate });
    tell_outcome(context, &mut work);
    write_status(context, key, &state, &mut work).await?;
    Ok(turn)
}

/// Why an endpoint with the host of an older one has to wait.
pub(crate) fn host_taken(endpoint: &ScimEndpoint, holder: &Key) -> String {
    let host = endpoint.spec.host.as_deref().unwrap_or_default();
    format!(
        "spec.host: {host} is already that of ScimEndpoint {holder}, which is older; choose another host, or delete that endpoint"
    )
}

/// Ends a turn early: nothing is applied, and what is there serves on.
async fn refuse(
    context: &Context,
    key: &Key,
    state: &EndpointState,
    work: &mut Work,
    metadata: ObjectMeta,
    gathered: &Gathered,
    why: Why,
) -> Result<Turn, Failure> {
    let changed = {
        let mut view = state.view();
        let accepted = Some(Err(why.clone()));
        let changed = view.accepted != accepted;
        view.accepted = accepted;
        changed
    };
    if changed {
        for candidate in &gathered.tenants {
            context.queues.tenants.add(candidate.key.clone(), Duration::ZERO);
        }
    }
    work.outcome = Some(Outcome {
        metadata,
        result: Err((Stage::Validate, why)),
        url: None,
        served: 0,
        refused: gathered.tenants.len(),
        certificate: CertificateState::Good,
    });
    tell_outcome(context, work);
    write_status(context, key, state, work).await?;
    Ok(Turn::Done)
}

/// Reads again the Secrets whose data nobody wanted when they were seen.
async fn fill_secrets(
    context: &Context,
    endpoint: &ScimEndpoint,
    gathered: &Gathered,
) -> Result<(), Failure> {
    let namespace = endpoint.metadata.namespace.as_deref().unwrap_or_default();
    let own: Vec<Key> = secrets_of_endpoint(endpoint).iter().map(|name| Key::new(namespace, name)).collect();
    let tenants = gathered.tenants.iter().flat_map(|tenant| &tenant.secrets).map(|(key, _)| key);
    for key in context.cache.missing_data(own.iter().chain(tenants)) {
        if let Some(secret) = context.cluster.get(Kind::Secret, &key).await? {
            context.cache.fill_secret(secret);
        }
    }
    Ok(())
}

/// Reads the configuration that the cluster has: what was served before this process began to lead.
async fn load(context: &Context, key: &Key, state: &EndpointState, work: &mut Work) -> Result<(), Failure> {
    if work.loaded {
        return Ok(());
    }
    let names = Names::of(&key.name);
    let bytes =
        |secret: &DynamicObject, name: &str| BASE64_STANDARD.decode(secret.data["data"][name].as_str()?).ok();
    let head = context.cluster.get(Kind::Secret, &Key::new(&key.namespace, &names.config())).await?;
    let head = head.and_then(|secret| bytes(&secret, HEAD_KEY));
    if let Some(head) = head
        && let Ok(decoded) = shards::decode_head(&head)
    {
        for shard in decoded.shards.keys() {
            let secret = Key::new(&key.namespace, &names.config_shard(*shard));
            let secret = context.cluster.get(Kind::Secret, &secret).await?;
            // One that a process left half-written is read all the same, for what it has.
            for tenant in secret
                .and_then(|secret| bytes(&secret, SHARD_KEY))
                .iter()
                .flat_map(|bytes| shards::decode_shard(bytes).unwrap_or_default())
            {
                work.compiler.before.insert(tenant.name.clone(), tenant);
            }
        }
        let digest = crate::config::digest::sha256_hex(&head);
        let mut view = state.view();
        view.applied(digest);
        for (name, served) in &work.compiler.before {
            let Some((namespace, name)) = name.split_once('/') else { continue };
            let known = TenantView::before(Arc::clone(served), view.newest());
            view.tenants.insert(Key::new(namespace, name), known);
        }
    }
    work.loaded = true;
    Ok(())
}

fn wanted(key: &Key, validated: &ValidatedEndpoint) -> Vec<Wanted> {
    let build::Objects(objects) = build::objects(validated);
    let wanted = objects.into_iter().filter_map(|object| {
        let kind = Kind::of(object.api_version(), object.kind())?;
        let name = Key { namespace: Arc::clone(&key.namespace), name: object.name().into() };
        Some(Wanted::new(kind, name, object.body))
    });
    wanted.collect()
}

/// Who is to be told of a turn.
struct News {
    /// The configuration is another one than before.
    configured: bool,
    tenants: Vec<Key>,
}

/// Notes what was decided and applied.
fn note(
    view: &mut View,
    context: &Context,
    metadata: &ObjectMeta,
    digest: String,
    url: Option<String>,
    tenants: Vec<Verdict>,
    gathered: &Gathered,
) -> News {
    let configured = view.digest() != Some(digest.as_str());
    view.applied(digest);
    let (number, now) = (view.newest(), Instant::now());
    let accepted = Some(Ok(url));
    let everybody = view.accepted != accepted;
    view.accepted = accepted;
    let mut before = std::mem::take(&mut view.tenants);
    let mut news = Vec::new();
    for verdict in tenants {
        let Verdict { key, generation, served, refusal, admitted, warning } = verdict;
        let old = before.remove(&key);
        let mut new = TenantView {
            generation,
            served,
            refusal,
            admitted,
            warning,
            changed: number,
            changed_at: now,
            counts: None,
            shown: None,
        };
        let mut same = false;
        if let Some(old) = old {
            if old.served == new.served {
                (new.changed, new.changed_at) = (old.changed, old.changed_at);
            }
            (new.counts, new.shown) = (old.counts, old.shown);
            same = new.is_told_as(&old);
        }
        if !same || everybody {
            news.push(key.clone());
        }
        view.tenants.insert(key, new);
    }
    // Those that are leaving are no longer in the configuration, whatever they were before.
    let leaving: HashMap<&Key, &Known<_>> = gathered
        .tenants
        .iter()
        .filter(|candidate| candidate.tenant.metadata().deletion_timestamp.is_some())
        .map(|candidate| (&candidate.key, &candidate.tenant))
        .collect();
    view.gone.retain(|key, _| leaving.contains_key(key));
    for key in leaving.keys().filter(|key| !view.tenants.contains_key(key)) {
        view.gone.entry((*key).clone()).or_insert(number);
        news.push((*key).clone());
    }
    let there: HashSet<&Key> = gathered.tenants.iter().map(|candidate| &candidate.key).collect();
    for (key, old) in &before {
        let Some(served) = old.served.as_ref().filter(|_| !there.contains(key)) else { continue };
        if !served.purge_on_removal {
            let note = format!(
                "ScimTenant {key} is gone, and its users and groups stay in the store of this endpoint: a tenant of the same namespace and name has them again"
            );
            context.events.tell(Kind::Endpoint, metadata, Happening::DataRetained, &note);
        }
    }
    News { configured, tenants: news }
}

fn load_balancer_address(applied: &Applied) -> Option<String> {
    applied.observed(Kind::Service).find_map(|(_, observed)| match observed {
        Observed::Service { address, waits: _ } => address.clone(),
        _ => None,
    })
}

fn judge_certificate(
    context: &Context,
    key: &Key,
    validated: &ValidatedEndpoint,
    applied: Option<&Applied>,
) -> (CertificateState, Option<Duration>) {
    let Some(wanted) = &validated.certificate else { return (CertificateState::Good, None) };
    let secret = Key::new(&key.namespace, &wanted.secret_name);
    let secret = context.cache.secret(&secret).and_then(|entry| entry.secret(&secret));
    let words = applied.and_then(|applied| {
        applied.observed(Kind::Certificate).find_map(|(_, observed)| match observed {
            Observed::Certificate { trouble } => trouble.clone(),
            _ => None,
        })
    });
    certificate::judge(wanted, secret.as_ref(), words.as_deref(), Timestamp::now())
}

fn tell_changes(context: &Context, metadata: &ObjectMeta, changes: &[(Kind, Key, Change)]) {
    for (kind, key, change) in changes {
        let object = format!("{} {}", kind.as_str(), key.name);
        let (happening, note) = match change {
            Change::Recreated => (Happening::Recreated, format!("{object} was deleted, and is made again")),
            Change::PutBack(fields) => {
                let fields = fields.iter().filter(|field| !field.is_empty()).take(5).cloned();
                let fields = fields.collect::<Vec<_>>().join(", ");
                let note = format!(
                    "{object} was edited, and is put back: {fields}; change the ScimEndpoint instead"
                );
                (Happening::PutBack, note)
            }
            Change::Deleted => (Happening::Deleted, format!("{object} is no longer needed, and is deleted")),
        };
        context.events.tell(Kind::Endpoint, metadata, happening, &note);
    }
}

/// Tells of a refusal, or of its end, once.
fn tell_outcome(context: &Context, work: &mut Work) {
    let Some(outcome) = &work.outcome else { return };
    let why = match (&outcome.result, &outcome.certificate) {
        (Err((_, why)), _) => Some((Happening::Refused, why)),
        (Ok(_), CertificateState::Bad(why) | CertificateState::Warning(why)) => {
            Some((Happening::Certificate, why))
        }
        (Ok(_), CertificateState::Good) => None,
    };
    let reason = why.map(|(_, why)| why.reason);
    if work.told != reason && reason != Some(Reason::Pending) {
        let (happening, note) = match why {
            Some((happening, why)) => (happening, &*why.message),
            None => (Happening::Accepted, "what was in the way is gone"),
        };
        context.events.tell(Kind::Endpoint, &outcome.metadata, happening, note);
        work.told = reason;
    }
}

/// Writes the status from the last turn and what pods reported since.
pub(crate) async fn write_status(
    context: &Context,
    key: &Key,
    state: &EndpointState,
    work: &mut Work,
) -> Result<(), Failure> {
    let Some(outcome) = &work.outcome else { return Ok(()) };
    let body = {
        let view = state.view();
        let facts = match &outcome.result {
            Ok(applied) => EndpointFacts::Applied(applied),
            Err((Stage::Validate, why)) => EndpointFacts::Refused(why),
            Err((Stage::Apply, why)) => EndpointFacts::Failed(why),
        };
        let is_applied = matches!(facts, EndpointFacts::Applied(_));
        let catching_up = view.pods.ready > 0 && view.pods.unreachable.is_none() && !view.runs(view.newest());
        let fresh = work.configured_at.is_some_and(|at| at.elapsed() < GRACE);
        // Nothing is known of the pods yet, or they are about to say what will be true in a moment.
        if is_applied && (!view.pods.asked || catching_up && fresh) {
            return Ok(());
        }
        let mut conditions = Conditions::new(outcome.metadata.generation, Timestamp::now());
        status::endpoint(&facts, &view, &outcome.certificate, &mut conditions);
        let number = |count: usize| Some(i32::try_from(count).unwrap_or(i32::MAX));
        ScimEndpointStatus {
            url: outcome.url.clone(),
            tenants: number(outcome.served),
            refused_tenants: number(outcome.refused),
            replicas: replicas(outcome),
            ready_replicas: number(view.pods.ready),
            configuration_digest: view.digest().map(str::to_owned),
            observed_generation: outcome.metadata.generation,
            conditions: conditions.finish(),
        }
    };
    publish::status(context, Kind::Endpoint, key, &outcome.metadata, &body).await?;
    Ok(())
}

fn replicas(outcome: &Outcome) -> Option<i32> {
    let applied = outcome.result.as_ref().ok()?;
    applied.observed(Kind::Deployment).find_map(|(_, observed)| match observed {
        Observed::Deployment(rollout) => Some(rollout.replicas),
        _ => None,
    })
}
