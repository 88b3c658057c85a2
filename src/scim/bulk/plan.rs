//! The order of a bulk request's operations (RFC 7644 sections 3.7.1 and 3.7.2).
//!
//! Operations keep their order, but that a POST which an earlier operation refers to moves in front of
//! it. POSTs that refer to each other in a circle are made in order, each without what refers to one
//! not made yet, and get what was left out by a PATCH at the end of their unit.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::{BulkOperation, BulkRequest, Method, PlannedOperation, PlannedUnit, RequestedOperation};
use crate::scim::error::ScimError;
use crate::scim::patch::PATCH_SCHEMA;

const PREFIX: &str = "bulkId:";

/// The POSTs by their `bulkId`: index and the id its resource gets.
type Names = HashMap<String, (usize, String)>;

impl BulkRequest {
    /// Resolves every `bulkId` reference and orders the operations. `new_id` makes ids of new
    /// resources. Each unit comes after those that it requires.
    pub fn plan(self, new_id: &mut dyn FnMut() -> String) -> Vec<PlannedUnit> {
        let mut names = Names::new();
        let mut new_ids = Vec::with_capacity(self.operations.len());
        for (index, requested) in self.operations.iter().enumerate() {
            let id = (requested.method == Some(Method::Post)).then(&mut *new_id);
            if let (Some(id), Some(name)) = (&id, &requested.bulk_id) {
                names.entry(name.clone()).or_insert_with(|| (index, id.clone()));
            }
            new_ids.push(id);
        }
        let mut operations: Vec<Option<RequestedOperation>> = Vec::with_capacity(self.operations.len());
        let mut references = Vec::with_capacity(self.operations.len());
        for mut requested in self.operations {
            let referred = refer(&mut requested, &names);
            references.push(referred);
            operations.push(Some(requested));
        }

        let mut unit_of = vec![0; operations.len()];
        let mut units: Vec<PlannedUnit> = Vec::new();
        for circle in circles(&references) {
            let mut missing: HashSet<usize> = circle.iter().copied().collect();
            let requires: BTreeSet<usize> = circle
                .iter()
                .flat_map(|member| &references[*member])
                .filter(|target| !missing.contains(target))
                .map(|target| unit_of[*target])
                .collect();
            for member in &circle {
                unit_of[*member] = units.len();
            }
            let mut made = Vec::with_capacity(circle.len());
            let mut closing = Vec::new();
            for index in circle {
                let Some(requested) = operations[index].take() else { continue };
                let RequestedOperation { method, bulk_id, mut operation } = requested;
                if let Ok(operation) = &mut operation {
                    let left_out = leave_out(operation, &missing, &names);
                    resolve(operation, &names);
                    if let (false, Some(id)) = (left_out.is_empty(), &new_ids[index]) {
                        closing.push(closing_patch(index, operation, id, left_out, &names));
                    }
                }
                missing.remove(&index);
                let new_id = new_ids[index].take();
                made.push(PlannedOperation {
                    index,
                    method,
                    bulk_id,
                    operation,
                    new_id,
                    closes_circle: false,
                });
            }
            made.append(&mut closing);
            units.push(PlannedUnit { operations: made, requires: requires.into_iter().collect() });
        }
        units
    }
}

/// The indexes of the POSTs that an operation refers to. One that refers to a name nobody has becomes
/// an error (409, RFC 7644 section 3.7.1: a reference that cannot be resolved).
fn refer(requested: &mut RequestedOperation, names: &Names) -> Vec<usize> {
    let Ok(operation) = &requested.operation else { return Vec::new() };
    let mut found = Vec::new();
    if let Some(name) = operation.id.as_deref().and_then(|id| id.strip_prefix(PREFIX)) {
        found.push(name);
    }
    if let Some(data) = &operation.data {
        collect(data, &mut found);
    }
    let mut targets = BTreeSet::new();
    for name in found {
        if let Some((index, _)) = names.get(name) {
            targets.insert(*index);
        } else {
            let detail = format!("no POST of this bulk request has the bulkId {name:?} that is referred to");
            requested.operation = Err(ScimError::new(409, detail));
            return Vec::new();
        }
    }
    targets.into_iter().collect()
}

fn collect<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.extend(text.strip_prefix(PREFIX)),
        Value::Array(list) => list.iter().for_each(|item| collect(item, found)),
        Value::Object(object) => object.values().for_each(|item| collect(item, found)),
        _ => {}
    }
}

/// Tarjan's strongly connected components, without recursion: each component's members in order of
/// index, a component after all that it refers to, and otherwise in the order of the request.
fn circles(references: &[Vec<usize>]) -> Vec<Vec<usize>> {
    const UNSEEN: usize = usize::MAX;
    let count = references.len();
    let (mut seen, mut low, mut open) = (vec![UNSEEN; count], vec![0; count], vec![false; count]);
    let (mut clock, mut stack, mut found) = (0, Vec::new(), Vec::new());
    for root in 0..count {
        if seen[root] != UNSEEN {
            continue;
        }
        let mut visits = vec![(root, 0)];
        while let Some((node, next)) = visits.pop() {
            if next == 0 {
                (seen[node], low[node], open[node]) = (clock, clock, true);
                clock += 1;
                stack.push(node);
            } else {
                low[node] = low[node].min(low[references[node][next - 1]]);
            }
            let mut next = next;
            let mut descended = false;
            while let Some(&target) = references[node].get(next) {
                next += 1;
                if seen[target] == UNSEEN {
                    visits.push((node, next));
                    visits.push((target, 0));
                    descended = true;
                    break;
                } else if open[target] {
                    low[node] = low[node].min(seen[target]);
                }
            }
            if !descended && low[node] == seen[node] {
                let mut circle = Vec::new();
                while let Some(member) = stack.pop() {
                    open[member] = false;
                    circle.push(member);
                    if member == node {
                        break;
                    }
                }
                circle.sort_unstable();
                found.push(circle);
            }
        }
    }
    found
}

/// Takes out of a POST's data whatever refers to a resource that is not made yet, as `(path, value)`
/// for a PATCH: elements of lists, or whole attributes.
fn leave_out(operation: &mut BulkOperation, missing: &HashSet<usize>, names: &Names) -> Vec<(String, Value)> {
    let mut left_out = Vec::new();
    let Some(Value::Object(data)) = &mut operation.data else { return left_out };
    if operation.method == Method::Post {
        leave_out_of(data, "", missing, names, &mut left_out);
    }
    left_out
}

fn leave_out_of(
    object: &mut Map<String, Value>,
    prefix: &str,
    missing: &HashSet<usize>,
    names: &Names,
    left_out: &mut Vec<(String, Value)>,
) {
    let refers = |value: &Value| {
        let mut found = Vec::new();
        collect(value, &mut found);
        found.iter().any(|name| names.get(*name).is_some_and(|(index, _)| missing.contains(index)))
    };
    let keys: Vec<String> =
        object.iter().filter(|(_, value)| refers(value)).map(|(key, _)| key.clone()).collect();
    for key in keys {
        let path = format!("{prefix}{key}");
        let empty = match object.get_mut(&key) {
            Some(Value::Object(extension)) if prefix.is_empty() && key.contains(':') => {
                leave_out_of(extension, &format!("{key}:"), missing, names, left_out);
                extension.is_empty()
            }
            Some(Value::Array(list)) => {
                let (out, kept) = std::mem::take(list).into_iter().partition(|item| refers(item));
                *list = kept;
                left_out.push((path, Value::Array(out)));
                list.is_empty()
            }
            Some(value) => {
                left_out.push((path, value.take()));
                true
            }
            None => false,
        };
        if empty {
            object.shift_remove(&key);
        }
    }
}

fn closing_patch(
    index: usize,
    create: &BulkOperation,
    id: &str,
    left_out: Vec<(String, Value)>,
    names: &Names,
) -> PlannedOperation {
    let operations: Vec<Value> = left_out
        .into_iter()
        .map(|(path, value)| json!({"op": "add", "path": path, "value": value}))
        .collect();
    let mut operation = BulkOperation {
        method: Method::Patch,
        bulk_id: None,
        version: None,
        endpoint: create.endpoint.clone(),
        id: Some(id.to_owned()),
        data: Some(json!({"schemas": [PATCH_SCHEMA], "Operations": operations})),
        path: format!("/{}/{id}", create.endpoint),
    };
    resolve(&mut operation, names);
    let (method, operation) = (Some(Method::Patch), Ok(operation));
    PlannedOperation { index, method, bulk_id: None, operation, new_id: None, closes_circle: true }
}

/// Puts ids in the place of references.
fn resolve(operation: &mut BulkOperation, names: &Names) {
    fn within(value: &mut Value, names: &Names) {
        match value {
            Value::String(text) => resolve_text(text, names),
            Value::Array(list) => list.iter_mut().for_each(|item| within(item, names)),
            Value::Object(object) => object.values_mut().for_each(|item| within(item, names)),
            _ => {}
        }
    }
    if let Some(id) = &mut operation.id {
        resolve_text(id, names);
    }
    if let Some(data) = &mut operation.data {
        within(data, names);
    }
}

fn resolve_text(text: &mut String, names: &Names) {
    if let Some((_, id)) = text.strip_prefix(PREFIX).and_then(|name| names.get(name)) {
        *text = id.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::bulk::BULK_REQUEST_SCHEMA;
    use proptest::prelude::*;

    /// A plan, one line an operation, units numbered.
    fn plan(operations: &Value) -> String {
        let body = json!({"schemas": [BULK_REQUEST_SCHEMA], "Operations": operations});
        let mut count = 0;
        let units = BulkRequest::parse(body, 1000).unwrap().plan(&mut || {
            count += 1;
            format!("id{count}")
        });
        let mut text = String::new();
        for (number, unit) in units.iter().enumerate() {
            for planned in &unit.operations {
                let what = match &planned.operation {
                    Ok(BulkOperation { method, path, id, data, .. }) => {
                        let id = id.as_deref().unwrap_or("-");
                        let data = data.as_ref().map_or(String::new(), ToString::to_string);
                        format!("{} {path} id={id} {data}", method.as_str())
                    }
                    Err(error) => error.to_string(),
                };
                text += format!("{number} {:?} [{}] {what}", unit.requires, planned.index).trim_end();
                text.push('\n');
            }
        }
        text
    }

    fn user(name: &str) -> Value {
        json!({"method": "POST", "path": "/Users", "bulkId": name, "data": {"userName": name}})
    }

    #[test]
    fn operations_without_references_keep_their_order() {
        insta::assert_snapshot!(plan(&json!([
            user("a"),
            {"method": "DELETE", "path": "/Users/7", "version": "W/\"1\""},
            user("b"),
        ])), @r#"
0 [] [0] POST /Users id=- {"userName":"a"}
1 [] [1] DELETE /Users/7 id=7
2 [] [2] POST /Users id=- {"userName":"b"}
"#);
    }

    #[test]
    fn forward_reference_moves_the_post_in_front() {
        insta::assert_snapshot!(plan(&json!([
            {"method": "PATCH", "path": "/Groups/9", "data": {"Operations": [
                {"op": "add", "path": "members", "value": [{"value": "bulkId:b"}]}]}},
            {"method": "PATCH", "path": "/Groups/9", "data": {"x": 1}},
            user("a"),
            user("b"),
            {"method": "PUT", "path": "/Users/bulkId:a", "data": {"userName": "A"}},
        ])), @r#"
0 [] [3] POST /Users id=- {"userName":"b"}
1 [0] [0] PATCH /Groups/9 id=9 {"Operations":[{"op":"add","path":"members","value":[{"value":"id2"}]}]}
2 [] [1] PATCH /Groups/9 id=9 {"x":1}
3 [] [2] POST /Users id=- {"userName":"a"}
4 [3] [4] PUT /Users/bulkId:a id=id1 {"userName":"A"}
"#);
    }

    #[test]
    fn groups_in_a_circle_are_one_unit_closed_by_a_patch() {
        insta::assert_snapshot!(plan(&json!([
            {"method": "POST", "path": "/Groups", "bulkId": "g", "data": {
                "displayName": "G", "members": [{"value": "bulkId:h"}, {"value": "bulkId:u"}]}},
            {"method": "POST", "path": "/Groups", "bulkId": "h", "data": {
                "displayName": "H", "members": [{"value": "bulkId:g"}]}},
            user("u"),
        ])), @r#"
0 [] [2] POST /Users id=- {"userName":"u"}
1 [0] [0] POST /Groups id=- {"displayName":"G","members":[{"value":"id3"}]}
1 [0] [1] POST /Groups id=- {"displayName":"H","members":[{"value":"id1"}]}
1 [0] [0] PATCH /Groups/id1 id=id1 {"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"add","path":"members","value":[{"value":"id2"}]}]}
"#);
    }

    #[test]
    fn users_managing_each_other_are_closed_by_a_patch_of_the_extension() {
        let urn = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
        insta::assert_snapshot!(plan(&json!([
            {"method": "POST", "path": "/Users", "bulkId": "a", "data": {
                "userName": "a", urn: {"manager": {"value": "bulkId:b"}}}},
            {"method": "POST", "path": "/Users", "bulkId": "b", "data": {
                "userName": "b", urn: {"department": "D", "manager": {"value": "bulkId:a"}}}},
            {"method": "POST", "path": "/Users", "bulkId": "c", "data": {
                "userName": "c", "nickName": "bulkId:c"}},
        ])), @r#"
0 [] [0] POST /Users id=- {"userName":"a"}
0 [] [1] POST /Users id=- {"userName":"b","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"D","manager":{"value":"id1"}}}
0 [] [0] PATCH /Users/id1 id=id1 {"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"add","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager","value":{"value":"id2"}}]}
1 [] [2] POST /Users id=- {"userName":"c"}
1 [] [2] PATCH /Users/id3 id=id3 {"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"add","path":"nickName","value":"id3"}]}
"#);
    }

    #[test]
    fn wrong_operations_fail_alone() {
        insta::assert_snapshot!(plan(&json!([
            user("a"),
            user("a"),
            {"method": "GET", "path": "/Users/1"},
            {"method": "PUT", "path": "/Users", "data": {}},
            {"method": "POST", "path": "/Users", "data": {}},
            {"method": "POST", "path": "/Users", "bulkId": "x"},
            {"method": "POST", "path": "/Bulk", "bulkId": "y", "data": {}},
            {"method": "DELETE", "path": "/Users/bulkId:nobody"},
            {"method": "DELETE", "path": "/Users/bulkId:x"},
            {"method": "POST", "path": "/Users/1", "bulkId": "z", "data": {}},
            {"method": "DELETE", "path": "https://example.com/Users/1"},
            {"method": "DELETE"},
            7,
        ])), @r#"
0 [] [0] POST /Users id=- {"userName":"a"}
1 [] [1] 400 invalidValue: bulkId "a" is used by an earlier operation; each POST needs its own
2 [] [2] 400 invalidSyntax: method must be POST, PUT, PATCH or DELETE, not "GET"
3 [] [3] 400 invalidSyntax: path of PUT must name a resource such as "/Users/ID", not "/Users"
4 [] [4] 400 invalidSyntax: bulkId is missing; POST needs one
5 [] [5] 400 invalidSyntax: data of POST must be a JSON object
6 [] [6] 400 invalidSyntax: a bulk request cannot hold another bulk request
7 [] [7] 409 no POST of this bulk request has the bulkId "nobody" that is referred to
8 [5] [8] DELETE /Users/bulkId:x id=id4
9 [] [9] 400 invalidSyntax: path of POST must name an endpoint such as "/Users", not "/Users/1"
10 [] [10] 400 invalidSyntax: path must be like "/Users" or "/Users/ID", relative to the base URL, not "https://example.com/Users/1"
11 [] [11] 400 invalidSyntax: path is missing; it must be like "/Users" or "/Users/ID"
12 [] [12] 400 invalidSyntax: each of Operations must be a JSON object
"#);
    }

    #[test]
    fn request_wrong_as_a_whole_is_refused() {
        let schemas = json!([BULK_REQUEST_SCHEMA]);
        for (body, status) in [
            (json!([]), 400),
            (json!({"Operations": []}), 400),
            (json!({"schemas": schemas}), 400),
            (json!({"schemas": schemas, "Operations": [], "failOnErrors": 0}), 400),
            (json!({"schemas": schemas, "Operations": [], "failOnErrors": "1"}), 400),
            (json!({"schemas": schemas, "Operations": [user("a"), user("b")]}), 413),
        ] {
            assert_eq!(BulkRequest::parse(body.clone(), 1).unwrap_err().status, status, "{body}");
        }
        let body = json!({"Schemas": schemas, "operations": [], "failonerrors": 2});
        assert_eq!(BulkRequest::parse(body, 1).unwrap().fail_on_errors, Some(2));
    }

    fn operation() -> impl Strategy<Value = Value> {
        let name = 0..6_u8;
        let refers = proptest::collection::vec(0..6_u8, 0..4);
        prop_oneof![
            4 => (name.clone(), refers).prop_map(|(name, refers)| {
                let members: Vec<Value> = refers.iter().map(|r| json!({"value": format!("bulkId:{r}")})).collect();
                json!({"method": "POST", "path": "/Groups", "bulkId": name.to_string(),
                       "data": {"displayName": "g", "members": members}})
            }),
            1 => name.prop_map(|name| json!({"method": "DELETE", "path": format!("/Groups/bulkId:{name}")})),
            1 => Just(json!({"method": "DELETE", "path": "/Groups/1"})),
        ]
    }

    proptest! {
        #[test]
        fn any_body_never_panics(operations in proptest::collection::vec((
            proptest::sample::select(vec!["POST", "put", "DELETE", "PATCH", "x", ""]),
            proptest::option::of("[/A-Za-z:?1]{0,12}"),
            proptest::option::of(proptest::sample::select(vec!["1", "2", ""])),
            proptest::option::of(proptest::sample::select(vec!["bulkId:1", "bulkId:2", "bulkId:", "x"])),
        ), 0..8)) {
            let operation = |(method, path, bulk_id, refers)| {
                let data = json!({"a": refers, "urn:b": {"c": [refers]}, "d": [[refers]]});
                json!({"method": method, "path": path, "bulkId": bulk_id, "data": data})
            };
            let count = operations.len();
            let operations: Vec<Value> = operations.into_iter().map(operation).collect();
            let body = json!({"schemas": [BULK_REQUEST_SCHEMA], "Operations": operations});
            let units = BulkRequest::parse(body, 8).unwrap().plan(&mut || "id".to_owned());
            let answered = units.iter().flat_map(|unit| &unit.operations).filter(|planned| !planned.closes_circle);
            prop_assert_eq!(answered.count(), count);
        }

        #[test]
        fn plan_of_any_operations_is_whole_and_in_order(operations in proptest::collection::vec(operation(), 0..10)) {
            let count = operations.len();
            let body = json!({"schemas": [BULK_REQUEST_SCHEMA], "Operations": operations});
            let mut next = 0;
            let units = BulkRequest::parse(body, 1000).unwrap().plan(&mut || {
                next += 1;
                format!("id{next}")
            });
            let mut answered: Vec<usize> = Vec::new();
            let mut made = HashSet::new();
            for (number, unit) in units.iter().enumerate() {
                prop_assert!(unit.requires.iter().all(|required| *required < number));
                for planned in &unit.operations {
                    if !planned.closes_circle {
                        answered.push(planned.index);
                    }
                    if let Ok(operation) = &planned.operation {
                        let text = format!("{:?} {:?}", operation.data, operation.id);
                        prop_assert!(!text.contains("bulkId:"), "{text}");
                        let members = operation.data.as_ref().and_then(|data| data["members"].as_array());
                        for member in members.into_iter().flatten() {
                            prop_assert!(made.contains(member["value"].as_str().unwrap()), "made before it is used");
                        }
                    }
                    made.extend(planned.new_id.clone());
                }
            }
            answered.sort_unstable();
            prop_assert_eq!(answered, (0..count).collect::<Vec<_>>());
        }
    }
}
