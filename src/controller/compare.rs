//! Whether a live object is as it is wanted, in the fields that are ours: by the `managedFields` of the live object,
//! the record that server-side apply keeps of who owns what.
//!
//! What others own or injected is passed over. A field of ours that somebody took over or changed is a difference, and
//! so is one that we own and no longer want. What the API server itself writes into a list or into a part that we own
//! as a whole (its defaults) is no difference.

use kube::api::DynamicObject;
use serde_json::{Map, Value};

use super::{
    canonical::{Digest, digest},
    names::FIELD_MANAGER,
};

/// One difference, as a person reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The field, as `spec.replicas`.
    pub(crate) field: String,
    /// Tells a later difference in the same field apart.
    live: Digest,
}

/// The differences of a live object from what is wanted. None: an apply would change nothing.
pub(crate) fn differences(wanted: &Value, live: &DynamicObject) -> Vec<Difference> {
    let owned = owned_fields(live);
    let Ok(live) = serde_json::to_value(live) else { return vec![difference("", &Value::Null)] };
    let mut found = Vec::new();
    let Value::Object(wanted) = wanted else { return found };
    let mut wanted = wanted.clone();
    // They name the object and nobody owns them.
    wanted.remove("apiVersion");
    wanted.remove("kind");
    if let Some(Value::Object(metadata)) = wanted.get_mut("metadata") {
        metadata.remove("name");
        metadata.remove("namespace");
    }
    compare_owned("", &Value::Object(wanted), &live, &owned, &mut found);
    found.sort_by(|a, b| a.field.cmp(&b.field));
    found
}

/// The fields that we own of a live object, as `fieldsV1` writes them.
pub(crate) fn owned_fields(live: &DynamicObject) -> Value {
    let entries = live.metadata.managed_fields.iter().flatten();
    let ours = entries.into_iter().find(|entry| {
        entry.manager.as_deref() == Some(FIELD_MANAGER)
            && entry.operation.as_deref() == Some("Apply")
            && entry.subresource.as_deref().unwrap_or_default().is_empty()
    });
    ours.and_then(|entry| entry.fields_v1.as_ref()).map(|fields| fields.0.clone()).unwrap_or_default()
}

fn difference(field: &str, live: &Value) -> Difference {
    Difference { field: field.to_owned(), live: digest(live) }
}

/// Compares a part of which single fields are ours.
fn compare_owned(at: &str, wanted: &Value, live: &Value, owned: &Value, found: &mut Vec<Difference>) {
    let Value::Object(owned) = owned else {
        if !is_empty(wanted) {
            found.push(difference(at, live));
        }
        return;
    };
    match wanted {
        Value::Object(wanted) => compare_fields(at, wanted, live, owned, found),
        Value::Array(wanted) => compare_items(at, wanted, live, owned, found),
        _ => {
            if !is_like(wanted, live) {
                found.push(difference(at, live));
            }
        }
    }
}

fn compare_fields(
    at: &str,
    wanted: &Map<String, Value>,
    live: &Value,
    owned: &Map<String, Value>,
    found: &mut Vec<Difference>,
) {
    for (name, value) in wanted {
        let at = child(at, name);
        let live = &live[name];
        match owned.get(&format!("f:{name}")) {
            Some(owned) if is_whole(owned) => {
                if !is_like(value, live) {
                    found.push(difference(&at, live));
                }
            }
            Some(owned) => compare_owned(&at, value, live, owned, found),
            None if is_empty(value) => {}
            None => found.push(difference(&at, live)),
        }
    }
    for name in owned.keys().filter_map(|field| field.strip_prefix("f:")) {
        if wanted.get(name).is_none_or(Value::is_null) {
            found.push(difference(&child(at, name), &live[name]));
        }
    }
}

/// Whether all that is below is ours, and not told apart.
fn is_whole(owned: &Value) -> bool {
    owned.as_object().is_some_and(Map::is_empty)
}

/// Items of a list that are told apart by keys, or values of a set.
fn compare_items(
    at: &str,
    wanted: &[Value],
    live: &Value,
    owned: &Map<String, Value>,
    found: &mut Vec<Difference>,
) {
    let live = live.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut matched = vec![false; wanted.len()];
    for (field, owned) in owned {
        if let Some(value) = field.strip_prefix("v:") {
            let value: Value = serde_json::from_str(value).unwrap_or_default();
            match wanted.iter().position(|wanted| *wanted == value) {
                Some(index) => matched[index] = true,
                None => found.push(difference(&format!("{at}[{value}]"), &value)),
            }
        } else if let Some(key) = field.strip_prefix("k:") {
            let key: Map<String, Value> = serde_json::from_str(key).unwrap_or_default();
            let has_key = |item: &Value, whole: bool| {
                key.iter().all(|(name, value)| match item.get(name) {
                    Some(found) => found == value,
                    // A default, such as the protocol of a port.
                    None => !whole,
                })
            };
            let at = format!("{at}[{}]", key.values().map(text).collect::<Vec<_>>().join(","));
            let there = live.iter().find(|item| has_key(item, true)).unwrap_or(&Value::Null);
            let position = wanted.iter().enumerate();
            match position.into_iter().find(|(index, item)| !matched[*index] && has_key(item, false)) {
                Some((index, wanted)) => {
                    matched[index] = true;
                    if is_whole(owned) {
                        if !is_like(wanted, there) {
                            found.push(difference(&at, there));
                        }
                    } else {
                        compare_owned(&at, wanted, there, owned, found);
                    }
                }
                None => found.push(difference(&at, there)),
            }
        }
    }
    for (wanted, _) in wanted.iter().zip(matched).filter(|(_, matched)| !matched) {
        let key = wanted.get("name").map_or_else(|| "item".to_owned(), text);
        found.push(difference(&format!("{at}[{key}]"), &Value::Null));
    }
}

/// Whether a live value is the wanted one, defaults apart.
fn is_like(wanted: &Value, live: &Value) -> bool {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => {
            wanted.iter().all(|(name, value)| is_like(value, live.get(name).unwrap_or(&Value::Null)))
        }
        (Value::Array(wanted), Value::Array(live)) => {
            wanted.len() == live.len() && wanted.iter().zip(live).all(|(wanted, live)| is_like(wanted, live))
        }
        (Value::String(wanted), Value::String(live)) => wanted == live || is_same_quantity(wanted, live),
        (wanted, Value::Null) => is_empty(wanted),
        (wanted, live) => wanted == live,
    }
}

/// Nothing is said by it.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().all(is_empty),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// The API server writes `1000m` as `1`.
fn is_same_quantity(a: &str, b: &str) -> bool {
    match (quantity(a), quantity(b)) {
        // Both are products of the same few factors; what differs in the last bit was written differently.
        (Some(a), Some(b)) => (a - b).abs() <= a.abs() * f64::EPSILON,
        _ => false,
    }
}

fn quantity(text: &str) -> Option<f64> {
    const SUFFIXES: [(&str, f64); 13] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
    ];
    let (number, factor) = SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)))
        .unwrap_or((text, 1.0));
    let is_number = number.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    is_number.then(|| number.parse::<f64>().ok()).flatten().map(|number| number * factor)
}

fn child(at: &str, name: &str) -> String {
    let name = if name.contains('.') { format!("[{name}]") } else { name.to_owned() };
    if at.is_empty() { name } else { format!("{at}.{name}") }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A Deployment as it was applied, as the API server gives it back: with defaults and another manager's fields.
    fn wanted() -> Value {
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": "a", "namespace": "b",
                "labels": {"scim-operator.io/endpoint": "a"},
                "ownerReferences": [{"kind": "ScimEndpoint", "name": "a", "uid": "2"}],
            },
            "spec": {
                "replicas": 2,
                "template": {"spec": {
                    "containers": [{
                        "name": "server",
                        "image": "x",
                        "ports": [{"name": "http", "containerPort": 8080}],
                        "resources": {"limits": {"cpu": "1000m"}},
                    }],
                    "tolerations": [{"key": "a", "operator": "Exists"}],
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                }},
            },
        })
    }

    fn live() -> Value {
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": "a", "namespace": "b", "uid": "1",
                "labels": {"scim-operator.io/endpoint": "a", "theirs": "yes"},
                "ownerReferences": [{"kind": "ScimEndpoint", "name": "a", "uid": "2"}],
                "annotations": {"deployment.kubernetes.io/revision": "1"},
                "managedFields": [
                    {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status", "fieldsV1": {}},
                    {"manager": "scim-operator", "operation": "Apply", "fieldsV1": {
                        "f:metadata": {
                            "f:labels": {"f:scim-operator.io/endpoint": {}},
                            "f:ownerReferences": {"k:{\"uid\":\"2\"}": {}},
                        },
                        "f:spec": {
                            "f:replicas": {},
                            "f:template": {"f:spec": {
                                "f:containers": {"k:{\"name\":\"server\"}": {
                                    ".": {}, "f:name": {}, "f:image": {},
                                    "f:ports": {"k:{\"containerPort\":8080,\"protocol\":\"TCP\"}": {
                                        ".": {}, "f:containerPort": {}, "f:name": {},
                                    }},
                                    "f:resources": {"f:limits": {"f:cpu": {}}},
                                }},
                                "f:tolerations": {},
                                "f:volumes": {"k:{\"name\":\"tmp\"}": {".": {}, "f:emptyDir": {}, "f:name": {}}},
                            }},
                        },
                    }},
                ],
            },
            "spec": {
                "replicas": 2,
                "template": {"spec": {
                    "containers": [
                        {
                            "name": "server", "image": "x", "imagePullPolicy": "Always",
                            "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                            "resources": {"limits": {"cpu": "1"}},
                        },
                        {"name": "injected", "image": "y"},
                    ],
                    "tolerations": [{"key": "a", "operator": "Exists"}],
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                }},
            },
            "status": {"replicas": 2},
        })
    }

    #[track_caller]
    fn fields(wanted: &Value, live: Value) -> Vec<String> {
        let live: DynamicObject = serde_json::from_value(live).unwrap();
        differences(wanted, &live).into_iter().map(|difference| difference.field).collect()
    }

    #[test]
    fn defaults_injected_containers_and_fields_of_others_are_no_difference() {
        assert_eq!(fields(&wanted(), live()), [""; 0]);
    }

    #[test]
    fn value_that_somebody_changed_is_a_difference() {
        let mut edited = live();
        edited["spec"]["replicas"] = 5.into();
        edited["spec"]["template"]["spec"]["containers"][0]["image"] = "z".into();
        edited["spec"]["template"]["spec"]["tolerations"] = json!([{"key": "b"}]);
        assert_eq!(
            fields(&wanted(), edited),
            [
                "spec.replicas",
                "spec.template.spec.containers[server].image",
                "spec.template.spec.tolerations"
            ]
        );
    }

    #[test]
    fn field_that_somebody_took_over_is_a_difference_even_with_our_value() {
        let mut taken = live();
        let owned = &mut taken["metadata"]["managedFields"][1]["fieldsV1"]["f:spec"];
        owned.as_object_mut().unwrap().remove("f:replicas");
        assert_eq!(fields(&wanted(), taken), ["spec.replicas"]);
    }

    #[test]
    fn item_that_somebody_removed_is_a_difference() {
        let mut edited = live();
        edited["spec"]["template"]["spec"]["volumes"] = json!([]);
        let owned = &mut edited["metadata"]["managedFields"][1]["fieldsV1"];
        owned["f:spec"]["f:template"]["f:spec"].as_object_mut().unwrap().remove("f:volumes");
        assert_eq!(fields(&wanted(), edited), ["spec.template.spec.volumes"]);
    }

    #[test]
    fn field_that_we_own_and_no_longer_want_is_a_difference() {
        let mut fewer = wanted();
        fewer["spec"].as_object_mut().unwrap().remove("replicas");
        fewer["spec"]["template"]["spec"]["containers"][0].as_object_mut().unwrap().remove("ports");
        fewer["spec"]["template"]["spec"]["volumes"] = json!([]);
        assert_eq!(
            fields(&fewer, live()),
            [
                "spec.replicas",
                "spec.template.spec.containers[server].ports",
                "spec.template.spec.volumes[tmp]"
            ]
        );
    }

    #[test]
    fn object_that_we_never_applied_differs_in_everything() {
        let mut theirs = live();
        theirs["metadata"].as_object_mut().unwrap().remove("managedFields");
        assert_eq!(fields(&wanted(), theirs), [""]);
    }

    #[test]
    fn quantities_are_compared_by_what_they_say() {
        for (a, b) in [("1000m", "1"), ("0.5", "500m"), ("1024Mi", "1Gi"), ("1e3", "1k")] {
            assert!(is_same_quantity(a, b), "{a} {b}");
        }
        for (a, b) in [("1", "2"), ("a", "b"), ("1Gi", "1G"), ("", "0")] {
            assert!(!is_same_quantity(a, b), "{a} {b}");
        }
    }
}
