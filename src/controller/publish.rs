//! Writes a status, when it says something new. The time at which a condition changed is that of the live object, as
//! long as its status is the same.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{canonical::digest_of_status, cluster::ApiError, context::Context, key::Key, kinds::Kind};

/// What a pod counts, and a status keeps while no pod answers.
const COUNTS: [&str; 3] = ["users", "groups", "lastRequestTime"];

/// Writes the status of an object; whether anything was written.
pub(crate) async fn status(
    context: &Context,
    kind: Kind,
    key: &Key,
    metadata: &ObjectMeta,
    status: &impl Serialize,
) -> Result<bool, ApiError> {
    let mut status = serde_json::to_value(status).unwrap_or_default();
    let Some(known) = context.cache.status_of(kind, key) else { return Ok(false) };
    if known == digest_of_status(&status) {
        return Ok(false);
    }
    if known != digest_of_status(&Value::Null) {
        let Some(live) = context.cluster.get(kind, key).await? else { return Ok(false) };
        if live.metadata.uid != metadata.uid {
            return Ok(false);
        }
        let live = &live.data["status"];
        keep(&mut status, live);
        if digest_of_status(&status) == digest_of_status(&ours(live)) {
            return Ok(false);
        }
    }
    let body = json!({
        "apiVersion": kind.resource().api_version,
        "kind": kind.as_str(),
        // Not that of another object of the same name.
        "metadata": { "name": &*key.name, "namespace": &*key.namespace, "uid": metadata.uid },
        "status": status,
    });
    match context.cluster.apply_status(kind, key, &body).await {
        Ok(_) => {}
        // It is gone, or another one.
        Err(error) if error.is_not_found() || error.is_conflict() => return Ok(false),
        Err(error) => return Err(error),
    }
    context.cache.status_written(kind, key, digest_of_status(&status));
    Ok(true)
}

/// Takes over from the live status what has not changed, and what is not known now.
fn keep(status: &mut Value, live: &Value) {
    let before = live["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        let same = before
            .iter()
            .find(|before| before["type"] == condition["type"] && before["status"] == condition["status"]);
        if let Some(same) = same {
            condition["lastTransitionTime"] = same["lastTransitionTime"].clone();
        }
    }
    let Value::Object(fields) = status else { return };
    if COUNTS.iter().all(|name| !fields.contains_key(*name)) {
        for name in COUNTS {
            if let Some(value) = live.get(name) {
                fields.insert(name.to_owned(), value.clone());
            }
        }
    }
}

/// The live status without the conditions of others.
fn ours(live: &Value) -> Value {
    const OURS: [&str; 5] = ["Accepted", "Programmed", "Ready", "Reconciling", "Stalled"];
    let mut fields: Map<String, Value> = live.as_object().cloned().unwrap_or_default();
    if let Some(Value::Array(conditions)) = fields.get_mut("conditions") {
        conditions.retain(|condition| OURS.iter().any(|name| condition["type"] == *name));
    }
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_of_a_condition_is_kept_while_its_status_is_the_same() {
        let live = json!({"users": 3, "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "1", "message": "old"},
            {"type": "Accepted", "status": "False", "lastTransitionTime": "1"},
        ]});
        let mut status = json!({"conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2", "message": "new"},
            {"type": "Accepted", "status": "True", "lastTransitionTime": "2"},
            {"type": "Programmed", "status": "True", "lastTransitionTime": "2"},
        ]});
        keep(&mut status, &live);
        let times: Vec<_> = status["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["lastTransitionTime"].clone())
            .collect();
        assert_eq!(times, ["1", "2", "2"]);
        assert_eq!(status["users"], 3, "nobody counted anew");
    }

    #[test]
    fn condition_of_somebody_else_is_not_compared() {
        let live = json!({"conditions": [{"type": "Ready"}, {"type": "example.com/Audited"}]});
        assert_eq!(ours(&live), json!({"conditions": [{"type": "Ready"}]}));
    }
}
