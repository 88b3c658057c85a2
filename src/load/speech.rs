//! How each identity provider says things: the very requests of Okta, of Entra ID, and of RFC 7644.
//!
//! Sources: `docs/load.md`. Everything here is pure: who asks, in which order and how often is in `session` and `profile`.

use hyper::Method;
use serde_json::{Map, Value, json};

use super::population::{GROUP, Population, USER, UserChange, UserRecord};
use super::request::{Operation, Request, query, segment};

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// Whose requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speech {
    /// As RFC 7644 has them.
    Standard,
    /// Okta's, of an application from its catalogue.
    Okta,
    /// Microsoft Entra ID's, without `aadOptscim062020`.
    Entra,
}

impl Speech {
    /// Looks for a user by `userName`.
    #[must_use]
    pub fn find_user(self, user_name: &str) -> Request {
        let filter = query(&format!("userName eq {}", quoted(user_name)));
        let path = match self {
            Self::Standard => format!("/Users?filter={filter}&count=2"),
            Self::Okta => format!("/Users?filter={filter}&startIndex=1&count=100"),
            Self::Entra => format!("/Users?filter={filter}"),
        };
        Request::get(Operation::FindUser, path)
    }

    /// Looks for a group by `displayName`.
    #[must_use]
    pub fn find_group(self, display_name: &str) -> Request {
        let filter = query(&format!("displayName eq {}", quoted(display_name)));
        let path = match self {
            Self::Standard => format!("/Groups?filter={filter}&excludedAttributes=members&count=2"),
            Self::Okta => format!("/Groups?filter={filter}&startIndex=1&count=100"),
            Self::Entra => format!("/Groups?excludedAttributes=members&filter={filter}"),
        };
        Request::get(Operation::FindGroup, path)
    }

    /// A user by id.
    #[must_use]
    pub fn get_user(self, id: &str) -> Request {
        Request::get(Operation::GetUser, format!("/Users/{}", segment(id)))
    }

    /// A group by id.
    #[must_use]
    pub fn get_group(self, id: &str) -> Request {
        let query = if self == Self::Okta { "" } else { "?excludedAttributes=members" };
        Request::get(Operation::GetGroup, format!("/Groups/{}{query}", segment(id)))
    }

    /// One page of users or groups.
    #[must_use]
    pub fn list(self, operation: Operation, start: u64, count: u64) -> Request {
        let path = match operation {
            Operation::ListGroups if self == Self::Okta => {
                format!("/Groups?startIndex={start}&count={count}")
            }
            Operation::ListGroups => {
                format!("/Groups?excludedAttributes=members&startIndex={start}&count={count}")
            }
            _ => format!("/Users?startIndex={start}&count={count}"),
        };
        Request::get(operation, path)
    }

    /// A new user.
    #[must_use]
    pub fn create_user(self, population: &Population, tenant: usize, user: u32) -> Request {
        let record = UserRecord::NEW;
        let body = match self {
            Self::Standard => standard_user(population, tenant, user, record),
            Self::Okta => json!({
                "schemas": [USER],
                "userName": population.user_name(user),
                "name": {
                    "givenName": population.given_name(user),
                    "familyName": population.family_name(user, record.family),
                },
                "emails": [{"primary": true, "value": population.user_name(user), "type": "work"}],
                "displayName": population.display_name(user),
                "title": population.title(tenant, user, record.title),
                "locale": "en-US",
                "externalId": population.user_external_id(user),
                "groups": [],
                "password": "1mz050nq",
                "active": true,
            }),
            Self::Entra => json!({
                "schemas": [USER, ENTERPRISE],
                "externalId": population.user_external_id(user),
                "userName": population.user_name(user),
                "active": true,
                "addresses": null,
                "displayName": population.display_name(user),
                "emails": [{"type": "work", "value": population.user_name(user), "primary": true}],
                "meta": {"resourceType": "User"},
                "name": {
                    "familyName": population.family_name(user, record.family),
                    "givenName": population.given_name(user),
                },
                "phoneNumbers": null,
                "roles": [],
                "title": population.title(tenant, user, record.title),
            }),
        };
        Request::with(Operation::CreateUser, Method::POST, "/Users", &body)
    }

    /// The whole user anew. `read`: as the server gave it, which Okta changes and sends back.
    #[must_use]
    pub fn put_user(
        self,
        population: &Population,
        tenant: usize,
        user: u32,
        id: &str,
        record: UserRecord,
        read: Option<Value>,
    ) -> Request {
        let mut body = standard_user(population, tenant, user, record);
        if let Some(Value::Object(mut read)) = read {
            if let Value::Object(new) = body {
                read.extend(new.into_iter().filter(|(name, _)| name != "schemas"));
            }
            read.insert("groups".to_owned(), json!([]));
            body = Value::Object(read);
        } else if let Value::Object(body) = &mut body {
            body.insert("id".to_owned(), json!(id));
        }
        Request::with(Operation::PutUser, Method::PUT, format!("/Users/{}", segment(id)), &body)
    }

    /// Some attributes of a user anew.
    #[must_use]
    pub fn patch_user(
        self,
        population: &Population,
        tenant: usize,
        user: u32,
        id: &str,
        change: UserChange,
    ) -> Request {
        let mut values = Vec::new();
        if let Some(family) = change.family {
            values.push(("name.familyName", json!(population.family_name(user, family))));
        }
        if let Some(title) = change.title {
            values.push(("title", json!(population.title(tenant, user, title))));
        }
        if let Some(active) = change.active {
            // Entra sends the text "True" or "False".
            let text = if active { "True" } else { "False" };
            values.push(("active", if self == Self::Entra { json!(text) } else { json!(active) }));
        }
        let operations: Vec<Value> = match self {
            // One operation without a path; a name of dots would be Entra's way.
            Self::Okta => {
                let mut value = Map::new();
                for (path, new) in values {
                    match path.split_once('.') {
                        None => drop(value.insert(path.to_owned(), new)),
                        Some((outer, inner)) => drop(value.insert(outer.to_owned(), json!({inner: new}))),
                    }
                }
                vec![json!({"op": "replace", "value": value})]
            }
            Self::Standard | Self::Entra => {
                let op = if self == Self::Entra { "Replace" } else { "replace" };
                values
                    .into_iter()
                    .map(|(path, value)| json!({"op": op, "path": path, "value": value}))
                    .collect()
            }
        };
        patch(Operation::PatchUser, format!("/Users/{}", segment(id)), &operations)
    }

    /// A user gone.
    #[must_use]
    pub fn delete_user(self, id: &str) -> Request {
        Request::delete(Operation::DeleteUser, format!("/Users/{}", segment(id)))
    }

    /// A new group without members.
    #[must_use]
    pub fn create_group(self, population: &Population, group: u32) -> Request {
        let name = population.group_name(group, 0);
        let external = population.group_external_id(group);
        let body = match self {
            Self::Standard => json!({"schemas": [GROUP], "externalId": external, "displayName": name}),
            Self::Okta => json!({"schemas": [GROUP], "displayName": name, "members": []}),
            Self::Entra => json!({
                "schemas": [GROUP, "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],
                "externalId": external,
                "displayName": name,
                "meta": {"resourceType": "Group"},
            }),
        };
        Request::with(Operation::CreateGroup, Method::POST, "/Groups", &body)
    }

    /// Another name for a group.
    #[must_use]
    pub fn rename_group(self, id: &str, name: &str) -> Request {
        let operation = match self {
            Self::Standard => json!({"op": "replace", "path": "displayName", "value": name}),
            Self::Okta => json!({"op": "replace", "value": {"id": id, "displayName": name}}),
            Self::Entra => json!({"op": "Replace", "path": "displayName", "value": name}),
        };
        patch(Operation::PatchGroup, format!("/Groups/{}", segment(id)), &[operation])
    }

    /// Members more and fewer, by id and `userName`.
    #[must_use]
    pub fn change_members(self, id: &str, add: &[(String, String)], remove: &[(String, String)]) -> Request {
        let mut operations = Vec::new();
        match self {
            Self::Standard | Self::Okta => {
                for (user, _) in remove {
                    let path = format!("members[value eq {}]", quoted(user));
                    operations.push(json!({"op": "remove", "path": path}));
                }
            }
            Self::Entra if remove.is_empty() => {}
            Self::Entra => {
                let value: Vec<Value> =
                    remove.iter().map(|(user, _)| json!({"$ref": null, "value": user})).collect();
                operations.push(json!({"op": "Remove", "path": "members", "value": value}));
            }
        }
        if !add.is_empty() {
            let value: Vec<Value> = add
                .iter()
                .map(|(user, name)| match self {
                    Self::Standard => json!({"value": user}),
                    Self::Okta => json!({"value": user, "display": name}),
                    Self::Entra => json!({"$ref": null, "value": user}),
                })
                .collect();
            let op = if self == Self::Entra { "Add" } else { "add" };
            operations.push(json!({"op": op, "path": "members", "value": value}));
        }
        patch(Operation::PatchMembers, format!("/Groups/{}", segment(id)), &operations)
    }

    /// A group gone.
    #[must_use]
    pub fn delete_group(self, id: &str) -> Request {
        Request::delete(Operation::DeleteGroup, format!("/Groups/{}", segment(id)))
    }
}

fn standard_user(population: &Population, tenant: usize, user: u32, record: UserRecord) -> Value {
    json!({
        "schemas": [USER],
        "externalId": population.user_external_id(user),
        "userName": population.user_name(user),
        "name": {
            "givenName": population.given_name(user),
            "familyName": population.family_name(user, record.family),
        },
        "displayName": population.display_name(user),
        "title": population.title(tenant, user, record.title),
        "emails": [{"value": population.user_name(user), "type": "work", "primary": true}],
        "active": record.active,
    })
}

fn patch(operation: Operation, path: String, operations: &[Value]) -> Request {
    let body = json!({"schemas": [PATCH], "Operations": operations});
    Request::with(operation, Method::PATCH, path, &body)
}

/// A text in a filter, RFC 7644 section 3.4.2.2: as in JSON.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
