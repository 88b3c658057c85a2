//! Apply: from wanted objects to those of the cluster, by server-side apply, and only where something differs.
//!
//! What was found or written is remembered by resource version, so that a turn in which nothing changed asks the API
//! server nothing. [`Applied`] is proof that all of it was done, and is made nowhere else.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::{
    cache::Child,
    canonical::{Digest, digest},
    cluster::{ApiError, Cluster},
    compare::{Difference, differences, owned_fields},
    key::Key,
    kinds::Kind,
    names::{ENDPOINT_LABEL, FIELD_MANAGER, REPLICAS_MANAGER},
    observed::Observed,
};
use crate::crd::condition::Reason;

/// An object as it is to be.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) kind: Kind,
    pub(crate) key: Key,
    digest: Digest,
    body: Arc<Value>,
}

impl Wanted {
    pub(crate) fn new(kind: Kind, key: Key, body: Value) -> Self {
        Self { kind, key, digest: digest(&body), body: Arc::new(body) }
    }
}

/// Whose objects they are.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub(crate) key: Key,
    pub(crate) uid: Arc<str>,
}

/// What was last seen of one object.
#[derive(Debug)]
struct Seen {
    wanted: Digest,
    resource_version: Arc<str>,
    /// Differences that stay after an apply: the API server writes some values its own way.
    stubborn: Vec<Difference>,
    observed: Observed,
}

/// What is remembered of an endpoint's objects from turn to turn.
#[derive(Debug, Default)]
pub(crate) struct Memory(HashMap<(Kind, Key), Seen>);

/// What was done to an object, where it is worth an Event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// It was there once, and somebody deleted it.
    Recreated,
    /// Somebody changed these fields, and they are put back.
    PutBack(Vec<String>),
    /// It is no longer wanted.
    Deleted,
}

/// Everything was applied: what the cluster said of it.
#[derive(Debug)]
pub(crate) struct Applied {
    observed: BTreeMap<(Kind, Key), Observed>,
}

impl Applied {
    /// What the cluster said of the objects of a kind.
    pub(crate) fn observed(&self, kind: Kind) -> impl Iterator<Item = (&Key, &Observed)> {
        self.observed
            .iter()
            .filter(move |((of, _), _)| *of == kind)
            .map(|((_, key), observed)| (key, observed))
    }
}

/// What an apply came to.
pub(crate) struct Outcome {
    /// All of it; or the first refusal, which does not stop the other objects.
    pub(crate) result: Result<Applied, ApplyError>,
    /// The configuration is written.
    pub(crate) configured: bool,
    /// In the order in which they happened.
    pub(crate) changes: Vec<(Kind, Key, Change)>,
}

/// Why not everything was applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    /// An object of that name is somebody else's.
    #[error("there is a {kind} {key} that the operator did not make: rename or delete it, or name the endpoint differently", kind = kind.as_str())]
    NameTaken { kind: Kind, key: Key },
    /// An object of that name belongs to an earlier owner, or is being deleted.
    #[error("the old {kind} {key} is still being deleted", kind = kind.as_str())]
    Going { kind: Kind, key: Key },
    /// The cluster does not have the kind.
    #[error("the cluster has no {kind}: install {from}", kind = kind.as_str(), from = kind.comes_with())]
    KindMissing { kind: Kind },
    /// The API server.
    #[error(transparent)]
    Api(#[from] ApiError),
}

impl ApplyError {
    /// Whether somebody must change something; else it is tried again soon.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::NameTaken { .. } | Self::KindMissing { .. } => true,
            Self::Going { .. } => false,
            Self::Api(error) => error.is_refusal(),
        }
    }

    /// What conditions tell.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::NameTaken { .. } => Reason::NameTaken,
            Self::KindMissing { .. } => Reason::KindNotInstalled,
            Self::Going { .. } => Reason::Pending,
            Self::Api(_) => Reason::ApplyRefused,
        }
    }
}

/// Applies all that is wanted, in this order, and deletes what is there beside it.
///
/// `there` has the objects with the owner's label, as they are known.
pub(crate) async fn apply(
    cluster: &Cluster,
    owner: &Owner,
    wanted: &[Wanted],
    there: &[(Kind, Key, Child)],
    memory: &mut Memory,
) -> Outcome {
    let known: HashMap<(Kind, &Key), &Child> =
        there.iter().map(|(kind, key, child)| ((*kind, key), child)).collect();
    let mut changes = Vec::new();
    let mut observed = BTreeMap::new();
    let mut refused = None;
    for object in wanted {
        let child = known.get(&(object.kind, &object.key)).copied();
        match apply_one(cluster, owner, object, child, memory).await {
            Ok(change) => changes.extend(change.map(|change| (object.kind, object.key.clone(), change))),
            Err(error) => {
                let goes_on = error.is_refusal();
                refused = refused.or(Some(error));
                if !goes_on {
                    break;
                }
                continue;
            }
        }
        let place = (object.kind, object.key.clone());
        let seen = memory.0.get(&place).map(|seen| seen.observed.clone()).unwrap_or_default();
        observed.insert(place, seen);
    }
    let mut secrets = wanted.iter().filter(|object| object.kind == Kind::Secret);
    let configured = secrets.all(|object| observed.contains_key(&(Kind::Secret, object.key.clone())));
    if let Some(error) = refused {
        return Outcome { result: Err(error), configured, changes };
    }
    let names: HashSet<(Kind, &Key)> = wanted.iter().map(|object| (object.kind, &object.key)).collect();
    for (kind, key, child) in there {
        // A volume holds data: it goes with its owner, or by a person's hand.
        let is_ours = child.owner.as_deref() == Some(&*owner.uid) && *kind != Kind::PersistentVolumeClaim;
        if is_ours && !child.deleting && !names.contains(&(*kind, key)) {
            if let Err(error) = cluster.delete(*kind, key, &child.uid).await {
                return Outcome { result: Err(error.into()), configured, changes };
            }
            tracing::info!(kind = kind.as_str(), object = %key, "deleted: it is no longer wanted");
            changes.push((*kind, key.clone(), Change::Deleted));
        }
    }
    memory.0.retain(|(kind, key), _| names.contains(&(*kind, key)));
    Outcome { result: Ok(Applied { observed }), configured, changes }
}

async fn apply_one(
    cluster: &Cluster,
    owner: &Owner,
    object: &Wanted,
    child: Option<&Child>,
    memory: &mut Memory,
) -> Result<Option<Change>, ApplyError> {
    let Wanted { kind, key, digest, body } = object;
    let place = (*kind, key.clone());
    let seen = memory.0.get(&place);
    let is_untouched =
        |seen: &Seen| child.is_some_and(|child| child.resource_version == seen.resource_version);
    if seen.is_some_and(|seen| seen.wanted == *digest && is_untouched(seen)) {
        return Ok(None);
    }
    // Nobody touched it since we did: there is nothing to find out.
    if !seen.is_some_and(is_untouched) {
        let live = cluster.get(*kind, key).await?;
        if let Some(live) = &live {
            check_owner(owner, *kind, key, live)?;
            let found = differences(body, live);
            let stubborn = seen.filter(|seen| seen.wanted == *digest).map(|seen| &seen.stubborn);
            if found.is_empty() || stubborn == Some(&found) {
                memory.0.insert(place, Seen::new(*kind, *digest, found, live));
                return Ok(None);
            }
            let edited = seen.is_some_and(|seen| seen.wanted == *digest);
            let after = send(cluster, object, memory).await?;
            // Of a Secret not even which values differ is said beyond its keys.
            let fields = found.into_iter().map(|difference| difference.field).collect();
            let is_changed = live.metadata.resource_version != after.metadata.resource_version;
            return Ok((edited && is_changed).then_some(Change::PutBack(fields)));
        }
    }
    let was_there = seen.is_some() && child.is_none();
    send(cluster, object, memory).await?;
    Ok(was_there.then_some(Change::Recreated))
}

async fn send(cluster: &Cluster, object: &Wanted, memory: &mut Memory) -> Result<DynamicObject, ApplyError> {
    let Wanted { kind, key, digest, body } = object;
    if *kind == Kind::Deployment && body["spec"]["replicas"].is_null() {
        hand_over_replicas(cluster, object).await?;
    }
    match cluster.apply(*kind, key, body).await {
        Ok(after) => {
            let stubborn = differences(body, &after);
            memory.0.insert((*kind, key.clone()), Seen::new(*kind, *digest, stubborn, &after));
            tracing::info!(kind = kind.as_str(), object = %key, "applied");
            Ok(after)
        }
        Err(error) if error.is_not_found() && kind.is_optional() => {
            Err(ApplyError::KindMissing { kind: *kind })
        }
        Err(error) => Err(error.into()),
    }
}

/// Lets go of the number of pods without changing it. A field that its only owner no longer wants is taken away, and
/// the API server's default is one pod: a fleet would shrink to that on its way to an autoscaler.
async fn hand_over_replicas(cluster: &Cluster, object: &Wanted) -> Result<(), ApplyError> {
    let Wanted { kind, key, digest: _, body } = object;
    let Some(live) = cluster.get(*kind, key).await? else { return Ok(()) };
    let replicas = &live.data["spec"]["replicas"];
    if !owned_fields(&live)["f:spec"]["f:replicas"].is_null() && !replicas.is_null() {
        let held = json!({
            "apiVersion": body["apiVersion"],
            "kind": body["kind"],
            "metadata": {"name": &*key.name, "uid": live.metadata.uid},
            "spec": {"replicas": replicas},
        });
        cluster.apply_as(REPLICAS_MANAGER, *kind, key, &held).await?;
    }
    Ok(())
}

/// Whether an object that is there is this owner's.
fn check_owner(owner: &Owner, kind: Kind, key: &Key, live: &DynamicObject) -> Result<(), ApplyError> {
    let labels = live.metadata.labels.as_ref();
    let is_labelled =
        labels.and_then(|labels| labels.get(ENDPOINT_LABEL)).map(String::as_str) == Some(&*owner.key.name);
    let controller = live.metadata.owner_references.iter().flatten().find(|one| one.controller == Some(true));
    let managed = live.metadata.managed_fields.iter().flatten();
    let is_managed = managed.into_iter().any(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER));
    let is_of_us = is_labelled || is_managed;
    match controller {
        Some(controller) if *controller.uid == *owner.uid => {}
        // That of an endpoint of the same name that is gone; the garbage collector takes it.
        Some(_) if is_of_us => return Err(ApplyError::Going { kind, key: key.clone() }),
        None if is_of_us => {}
        Some(_) | None => return Err(ApplyError::NameTaken { kind, key: key.clone() }),
    }
    if live.metadata.deletion_timestamp.is_some() {
        return Err(ApplyError::Going { kind, key: key.clone() });
    }
    Ok(())
}

impl Seen {
    fn new(kind: Kind, wanted: Digest, stubborn: Vec<Difference>, live: &DynamicObject) -> Self {
        Self {
            wanted,
            resource_version: live.metadata.resource_version.as_deref().unwrap_or_default().into(),
            stubborn,
            observed: Observed::of(kind, live),
        }
    }
}
