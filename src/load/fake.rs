//! A SCIM server in memory for tests: just enough of one, with mistakes on demand.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::request::{Answer, Failure, Request};
use super::transport::Transport;

/// A mistake that the server makes with one write, and says nothing of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mistake {
    /// It is acknowledged and not done.
    Lose,
    /// It is done twice.
    Double,
    /// Something else is done.
    Corrupt,
}

/// Something that goes wrong with one request, and is told, or nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// 500 after it was done.
    ErrorAfter,
    /// 503 and `Retry-After: 0` before.
    Unavailable,
    /// 429 before.
    Throttled,
    /// The connection ends after it was done.
    CutAfter,
    /// The connection ends before.
    CutBefore,
    /// No connection.
    Refused,
}

#[derive(Debug, Default)]
pub(super) struct Server {
    pub(super) users: Vec<Value>,
    pub(super) groups: Vec<Value>,
    /// What it was asked, as text.
    pub(super) log: Vec<String>,
    /// Writes so far.
    pub(super) writes: usize,
    /// At which write which mistake is made.
    pub(super) mistake: Option<(usize, Mistake)>,
    /// Whether it was made.
    pub(super) mistaken: bool,
    /// What goes wrong with which request.
    pub(super) troubles: Vec<(usize, Trouble)>,
    pub(super) requests: usize,
    pub(super) next: usize,
}

/// A connection to it.
#[derive(Debug, Clone)]
pub(super) struct Line(pub(super) Rc<RefCell<Server>>);

impl Transport for Line {
    async fn send(&mut self, _: usize, request: &Request) -> Result<Answer, Failure> {
        self.0.borrow_mut().answer(request)
    }
}

impl Server {
    fn answer(&mut self, request: &Request) -> Result<Answer, Failure> {
        let path = percent_encoding::percent_decode_str(&request.path).decode_utf8_lossy().into_owned();
        let body: Value =
            request.body.as_ref().map(|body| serde_json::from_slice(body).unwrap()).unwrap_or_default();
        let shown = if body.is_null() { String::new() } else { format!(" {body}") };
        self.log.push(format!("{} {path}{shown}", request.method));
        let number = self.requests;
        self.requests += 1;
        let trouble = self.troubles.iter().find(|(at, _)| *at == number).map(|(_, trouble)| *trouble);
        match trouble {
            Some(Trouble::Unavailable) => return reply(503, &json!({}), Some("0")),
            Some(Trouble::Throttled) => return reply(429, &json!({}), None),
            Some(Trouble::CutBefore) => return Err(Failure::Cut("before".into())),
            Some(Trouble::Refused) => return Err(Failure::Connect("refused".into())),
            Some(Trouble::ErrorAfter | Trouble::CutAfter) | None => {}
        }
        let (status, answer) = self.serve(request, &path, &body);
        match trouble {
            Some(Trouble::ErrorAfter) => reply(500, &json!({"detail": "oops"}), None),
            Some(Trouble::CutAfter) => Err(Failure::Timeout(Duration::from_secs(1))),
            _ => reply(status, &answer, None),
        }
    }

    fn serve(&mut self, request: &Request, path: &str, body: &Value) -> (u16, Value) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut segments = path.trim_start_matches('/').splitn(2, '/');
        let (kind, id) = (segments.next().unwrap(), segments.next());
        let is_users = kind == "Users";
        if kind == "ServiceProviderConfig" {
            let config =
                json!({"patch": {"supported": true}, "filter": {"supported": true, "maxResults": 7}});
            return (200, config);
        }
        let mistake = if request.is_write() {
            self.writes += 1;
            self.mistake.filter(|(at, _)| *at + 1 == self.writes).map(|(_, mistake)| mistake)
        } else {
            None
        };
        let list = if is_users { &mut self.users } else { &mut self.groups };
        let at = list.iter().position(|resource| resource["id"].as_str() == id);
        match (request.method.as_str(), id, at) {
            ("GET", None, _) => (200, page(list, query)),
            ("POST", None, _) => {
                let name = if is_users { "userName" } else { "" };
                if is_users && list.iter().any(|other| other[name] == body[name]) {
                    return (409, json!({"detail": "taken"}));
                }
                self.next += 1;
                let mut new = body.clone();
                new["id"] = json!(format!("{}{}", if is_users { "u" } else { "g" }, self.next));
                let mut stored = vec![new.clone()];
                match mistake {
                    Some(Mistake::Lose) => stored.clear(),
                    Some(Mistake::Double) => {
                        let mut twin = new.clone();
                        twin["id"] = json!(format!("twin{}", self.next));
                        stored.push(twin);
                    }
                    Some(Mistake::Corrupt) => stored[0]["displayName"] = json!("somebody else"),
                    None => {}
                }
                self.mistaken |= mistake.is_some();
                list.extend(stored);
                (201, new)
            }
            (_, _, None) => (404, json!({"detail": "not found"})),
            ("GET", _, Some(at)) => (200, list[at].clone()),
            ("DELETE", _, Some(at)) => {
                self.mistaken |= mistake.is_some();
                match mistake {
                    None => drop(list.remove(at)),
                    Some(Mistake::Lose | Mistake::Double | Mistake::Corrupt) => {}
                }
                (204, Value::Null)
            }
            (method, _, Some(at)) => {
                let before = list[at].clone();
                if method == "PUT" {
                    let id = before["id"].clone();
                    list[at] = body.clone();
                    list[at]["id"] = id;
                } else {
                    patch(&mut list[at], body);
                }
                let after = list[at].clone();
                match mistake {
                    Some(Mistake::Lose) => list[at] = before.clone(),
                    Some(Mistake::Double) => {
                        if let Some(members) = list[at].get_mut("members").and_then(Value::as_array_mut) {
                            members.extend(members.last().cloned());
                        }
                    }
                    Some(Mistake::Corrupt) if is_users => list[at]["displayName"] = json!("somebody else"),
                    Some(Mistake::Corrupt) => {
                        if let Some(members) = list[at].get_mut("members").and_then(Value::as_array_mut) {
                            members.pop();
                        }
                    }
                    None => {}
                }
                // A change that changes nothing cannot be lost.
                self.mistaken |= mistake.is_some() && list[at] != after;
                (200, after)
            }
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it stands for what a try came to")]
fn reply(status: u16, body: &Value, retry_after: Option<&str>) -> Result<Answer, Failure> {
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    Ok(Answer { status, retry_after: retry_after.map(str::to_owned), body })
}

fn page(list: &[Value], query: &str) -> Value {
    let of = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
    let number = |name, default| of(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let filter = of("filter").map(|filter| {
        let (name, value) = filter.split_once(" eq ").expect("only eq is sent");
        (name.to_owned(), serde_json::from_str::<Value>(value).expect("a quoted value"))
    });
    let matching: Vec<&Value> = list
        .iter()
        .filter(|resource| filter.as_ref().is_none_or(|(name, value)| resource[name.as_str()] == *value))
        .collect();
    let (start, count) = (number("startIndex", 1), number("count", 7_usize).min(7));
    let page: Vec<&Value> = matching.iter().skip(start - 1).take(count).copied().collect();
    json!({"totalResults": matching.len(), "startIndex": start, "Resources": page})
}

fn patch(resource: &mut Value, body: &Value) {
    for operation in body["Operations"].as_array().expect("operations") {
        let op = operation["op"].as_str().expect("an op").to_lowercase();
        let value = &operation["value"];
        match operation.get("path").and_then(Value::as_str) {
            None => merge(resource, value.as_object().expect("an object")),
            Some("members") => {
                let given = value.as_array().expect("a list").clone();
                let members = resource.as_object_mut().unwrap().entry("members").or_insert(json!([]));
                let members = members.as_array_mut().expect("a list");
                let is_given = |member: &Value| given.iter().any(|other| other["value"] == member["value"]);
                members.retain(|member| !is_given(member));
                if op == "add" {
                    members.extend(given.iter().map(|member| json!({"value": member["value"]})));
                }
            }
            Some(path) if path.starts_with("members[") => {
                let id = path.split('"').nth(1).expect("an id");
                if let Some(members) = resource.get_mut("members").and_then(Value::as_array_mut) {
                    members.retain(|member| member["value"] != id);
                }
            }
            Some(path) => {
                let value = match value.as_str() {
                    Some("True") => json!(true),
                    Some("False") => json!(false),
                    _ => value.clone(),
                };
                match path.split_once('.') {
                    None => resource[path] = value,
                    Some((outer, inner)) => resource[outer][inner] = value,
                }
            }
        }
    }
}

fn merge(into: &mut Value, from: &Map<String, Value>) {
    for (name, value) in from.iter().filter(|(name, _)| *name != "id") {
        match value {
            Value::Object(inner) if into[name.as_str()].is_object() => merge(&mut into[name.as_str()], inner),
            value => into[name.as_str()] = value.clone(),
        }
    }
}
