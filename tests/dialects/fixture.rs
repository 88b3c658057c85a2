//! A tenant of one dialect, and the few requests that every session is made of.

use scim_operator::scim::dialect::Dialect;
use scim_operator::server::connection::ConnectionLimits;
use serde_json::{Value, json};

use crate::support::{self, Reply, RequestExt, Server, USER};

/// A server with one tenant, `acme`, of a dialect.
pub(crate) struct Tenant {
    pub(crate) server: Server,
}

impl Tenant {
    pub(crate) async fn of(dialect: Dialect) -> Self {
        let mut config = support::config();
        config.tenants = vec![support::tenant("acme", dialect).into()];
        Self { server: Server::with(&config, ConnectionLimits::default()).await }
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: Value) -> Reply {
        self.server.send(method, path, &body).await
    }

    pub(crate) async fn patch(&self, path: &str, operations: Value) -> Reply {
        self.server.send("PATCH", path, &support::patch(&operations)).await
    }

    /// The stored resource.
    pub(crate) async fn stored(&self, path: &str) -> Value {
        let reply = self.server.get(path).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.body
    }

    /// A list request with its parameters.
    pub(crate) async fn list(&self, path: &str, parameters: &[(&str, &str)]) -> Reply {
        self.server.request("GET", path).query(parameters).reply().await
    }

    /// `totalResults` of a filter.
    pub(crate) async fn total(&self, path: &str, filter: &str) -> Value {
        let reply = self.list(path, &[("filter", filter)]).await;
        assert_eq!(reply.status, 200, "{filter}: {}", reply.text);
        reply.body["totalResults"].clone()
    }

    /// Creates a user with a name and gives its id.
    pub(crate) async fn user(&self, name: &str) -> String {
        self.made("/Users", json!({"schemas": [USER], "userName": name})).await
    }

    /// Creates what must be created and gives its id.
    pub(crate) async fn made(&self, path: &str, body: Value) -> String {
        let reply = self.send("POST", path, body).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        reply.body["id"].as_str().unwrap().to_owned()
    }

    /// The ids of a group's members, sorted.
    pub(crate) async fn members(&self, group: &str) -> Vec<String> {
        let stored = self.stored(&format!("/Groups/{group}")).await;
        let members = stored["members"].as_array().cloned().unwrap_or_default();
        let mut ids: Vec<String> =
            members.iter().map(|member| member["value"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    }

    /// How often a rule applied, as the metrics say.
    pub(crate) fn applied(&self, rule: &str) -> u64 {
        let metrics = self.server.app.metrics().encode().unwrap();
        let start = format!("scim_dialect_rules_total{{tenant=\"identity/acme\",rule=\"{rule}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&start)).map_or(0, |count| count.parse().unwrap())
    }
}

pub(crate) fn sorted(ids: &[&String]) -> Vec<String> {
    let mut ids: Vec<String> = ids.iter().map(|id| (*id).clone()).collect();
    ids.sort();
    ids
}
