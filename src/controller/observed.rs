//! What the status of an object of ours tells: only what our own status repeats.

use kube::api::DynamicObject;
use serde_json::Value;

use super::kinds::Kind;

/// What the cluster says of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Observed {
    /// Nothing of interest.
    #[default]
    Nothing,
    /// A Deployment.
    Deployment(Rollout),
    /// A Service: the address of its load balancer, and whether it has none yet and is to have one.
    Service { address: Option<String>, waits: bool },
    /// An `HTTPRoute`: whether a Gateway took it, or why not.
    Route { taken: Result<(), String> },
    /// A cert-manager Certificate: what it says while it is not ready.
    Certificate { trouble: Option<String> },
}

/// How far a Deployment is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rollout {
    /// Pods that there are to be.
    pub(crate) replicas: i32,
    /// Pods of the newest template that are available, and there is none of an older one.
    pub(crate) complete: bool,
    /// Why pods cannot be made.
    pub(crate) failure: Option<String>,
}

impl Observed {
    pub(crate) fn of(kind: Kind, live: &DynamicObject) -> Self {
        let status = &live.data["status"];
        match kind {
            Kind::Deployment => Self::Deployment(rollout(live)),
            Kind::Service => {
                let first = &status["loadBalancer"]["ingress"][0];
                let address = first["hostname"].as_str().or(first["ip"].as_str());
                let waits = address.is_none() && live.data["spec"]["type"] == "LoadBalancer";
                Self::Service { address: address.map(str::to_owned), waits }
            }
            Kind::HttpRoute => Self::Route { taken: taken(status) },
            Kind::Certificate => {
                let ready = condition(status, "Ready");
                let waits = ready.filter(|ready| ready["status"] != "True");
                let trouble = waits.and_then(|ready| ready["message"].as_str());
                Self::Certificate { trouble: trouble.map(str::to_owned) }
            }
            _ => Self::Nothing,
        }
    }
}

fn rollout(live: &DynamicObject) -> Rollout {
    let number = |value: &Value| value.as_i64().unwrap_or_default();
    let (spec, status) = (&live.data["spec"], &live.data["status"]);
    let replicas = spec["replicas"].as_i64().unwrap_or(1);
    let seen = live.metadata.generation.unwrap_or_default() <= number(&status["observedGeneration"]);
    let complete = seen
        && number(&status["updatedReplicas"]) == replicas
        && number(&status["replicas"]) == replicas
        && number(&status["availableReplicas"]) == replicas;
    let failure = condition(status, "ReplicaFailure").filter(|condition| condition["status"] == "True");
    Rollout {
        replicas: i32::try_from(replicas).unwrap_or(i32::MAX),
        complete,
        failure: failure.and_then(|failure| failure["message"].as_str()).map(str::to_owned),
    }
}

/// A route needs one Gateway that takes it.
fn taken(status: &Value) -> Result<(), String> {
    let parents = status["parents"].as_array().map(Vec::as_slice).unwrap_or_default();
    let accepted = |parent: &&Value| condition(parent, "Accepted").is_some_and(|one| one["status"] == "True");
    if parents.iter().any(|parent| accepted(&parent)) {
        return Ok(());
    }
    let words = parents.iter().find_map(|parent| condition(parent, "Accepted")?["message"].as_str());
    let nobody = "no Gateway has looked at it yet: those of spec.exposure.gateway.parentRefs must be there and allow routes \
                  from this namespace";
    Err(words.unwrap_or(nobody).to_owned())
}

fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}
