//! Short ways to say what a test does to a store, for one tenant.

#![expect(
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    clippy::unused_self,
    reason = "the calls read better so"
)]

use std::sync::Arc;

use scim_operator::scim::dialect::{Rules, Tolerated};
use scim_operator::scim::error::ScimError;
use scim_operator::scim::etag::Preconditions;
use scim_operator::scim::filter::{Expression, Filter, FilterLimits};
use scim_operator::scim::patch::Patch;
use scim_operator::scim::path::AttributePath;
use scim_operator::scim::projection::Projection;
use scim_operator::scim::resource::{Attributes, Load, Resource};
use scim_operator::scim::schema::{Registry, ResourceType};
use scim_operator::store::{
    Command, Listing, Origin, Outcome, Page, Policy, Query, Refusal, Sort, Store, TenantKey, Unit,
    UnitResult, Write,
};
use serde_json::{Value, json};

use crate::backend::Backend;

pub(crate) const BASE: &str = "http://localhost/acme/scim/v2";
const STRICT: Rules = Rules::NONE;

/// One tenant's view of a store.
#[derive(Clone)]
pub(crate) struct Tenant {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) key: TenantKey,
    pub(crate) user: Arc<ResourceType>,
    pub(crate) group: Arc<ResourceType>,
    pub(crate) policy: Arc<Policy>,
}

pub(crate) fn tenant_key(name: &str) -> TenantKey {
    TenantKey(name.into())
}

pub(crate) fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// A unit of one command.
pub(crate) fn alone(command: Command) -> Unit {
    Unit { commands: vec![command], requires: Vec::new() }
}

impl Tenant {
    pub(crate) fn acme(backend: &Backend) -> Self {
        Self::of(backend, "identity/acme")
    }

    pub(crate) fn of(backend: &Backend, name: &str) -> Self {
        Self::on(Arc::clone(&backend.store), name)
    }

    pub(crate) fn on(store: Arc<dyn Store>, name: &str) -> Self {
        let registry = Registry::core();
        let user = Arc::clone(registry.by_name("User").unwrap());
        let group = Arc::clone(registry.by_name("Group").unwrap());
        let policy = Arc::default();
        Self { store, key: tenant_key(name), user, group, policy }
    }

    /// The same tenant, with other choices about its data.
    pub(crate) fn with(&self, policy: Policy) -> Self {
        Self { policy: Arc::new(policy), ..self.clone() }
    }

    pub(crate) fn create_command(&self, id: &str, resource_type: &Arc<ResourceType>, body: Value) -> Command {
        let normalized = resource_type.normalize(body, STRICT, &mut Tolerated::default()).unwrap();
        Command::Create {
            resource_type: Arc::clone(resource_type),
            id: id.into(),
            attributes: normalized.attributes,
            members: normalized.members.unwrap_or_default(),
            discarded: normalized.discarded,
        }
    }

    pub(crate) fn user_command(&self, id: &str, mut body: Value) -> Command {
        body["schemas"] = json!([self.user.schema.id]);
        self.create_command(id, &self.user, body)
    }

    pub(crate) fn group_command(&self, id: &str, name: &str, members: &[&str]) -> Command {
        let members: Vec<_> = members.iter().map(|id| json!({"value": id})).collect();
        let body = json!({"schemas": [self.group.schema.id], "displayName": name, "members": members});
        self.create_command(id, &self.group, body)
    }

    pub(crate) fn patch_command(
        &self,
        resource_type: &Arc<ResourceType>,
        id: &str,
        operations: Value,
    ) -> Command {
        let body =
            json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations});
        let patch = Patch::compile(body, resource_type, STRICT, &mut Tolerated::default()).unwrap();
        Command::Patch {
            resource_type: Arc::clone(resource_type),
            id: id.into(),
            patch: Arc::new(patch),
            preconditions: Preconditions::default(),
            load: Load::ALL,
        }
    }

    pub(crate) fn put_command(
        &self,
        resource_type: &Arc<ResourceType>,
        id: &str,
        mut body: Value,
    ) -> Command {
        body["schemas"] = json!([resource_type.schema.id]);
        let normalized = resource_type.normalize(body, STRICT, &mut Tolerated::default()).unwrap();
        Command::Replace {
            resource_type: Arc::clone(resource_type),
            id: id.into(),
            attributes: normalized.attributes,
            members: normalized.members.unwrap_or_default(),
            discarded: normalized.discarded,
            preconditions: Preconditions::default(),
            load: Load::ALL,
        }
    }

    pub(crate) fn delete_command(&self, resource_type: &Arc<ResourceType>, id: &str) -> Command {
        Command::Delete {
            resource_type: Arc::clone(resource_type),
            id: id.into(),
            preconditions: Preconditions::default(),
        }
    }

    pub(crate) async fn write(&self, units: Vec<Unit>) -> Vec<UnitResult> {
        let write = Write { policy: Arc::clone(&self.policy), ..write(units) };
        self.store.write(&self.key, write).await.unwrap()
    }

    pub(crate) async fn run(&self, command: Command) -> Result<Outcome, ScimError> {
        let mut results = self.write(vec![alone(command)]).await;
        match results.remove(0) {
            Ok(mut outcomes) => Ok(outcomes.remove(0)),
            Err(Refusal::Command(0, error)) => Err(error),
            Err(refusal) => panic!("{refusal:?}"),
        }
    }

    /// The resource that a change made or left.
    #[track_caller]
    pub(crate) fn resource(outcome: Result<Outcome, ScimError>) -> Resource {
        match outcome.unwrap() {
            Outcome::Created(resource) | Outcome::Updated(resource) => resource,
            other => panic!("{other:?}"),
        }
    }

    /// Creates a user; its id.
    pub(crate) async fn user(&self, body: Value) -> String {
        let id = new_id();
        Self::resource(self.run(self.user_command(&id, body)).await);
        id
    }

    /// Creates a user of this name; its id.
    pub(crate) async fn named(&self, user_name: &str) -> String {
        self.user(json!({"userName": user_name})).await
    }

    /// Creates a group; its id.
    pub(crate) async fn group(&self, name: &str, members: &[&str]) -> String {
        let id = new_id();
        Self::resource(self.run(self.group_command(&id, name, members)).await);
        id
    }

    pub(crate) async fn patch_user(&self, id: &str, operations: Value) -> Result<Outcome, ScimError> {
        self.run(self.patch_command(&self.user, id, operations)).await
    }

    pub(crate) async fn patch_group(&self, id: &str, operations: Value) -> Result<Outcome, ScimError> {
        self.run(self.patch_command(&self.group, id, operations)).await
    }

    pub(crate) async fn get_user(&self, id: &str) -> Option<Resource> {
        self.store.get(&self.key, &self.user, id, Load::ALL).await.unwrap()
    }

    pub(crate) async fn get_group(&self, id: &str) -> Option<Resource> {
        self.store.get(&self.key, &self.group, id, Load::ALL).await.unwrap()
    }

    pub(crate) fn filter(&self, resource_type: &Arc<ResourceType>, filter: &str) -> Arc<Filter> {
        let expression = Expression::parse(filter, FilterLimits::default()).unwrap();
        Arc::new(expression.resolve(resource_type).unwrap())
    }

    /// A query for one type: a filter, or none when empty.
    pub(crate) fn query(&self, resource_type: &Arc<ResourceType>, filter: &str, page: Page) -> Query {
        let filter = (!filter.is_empty()).then(|| self.filter(resource_type, filter));
        Query {
            types: vec![(Arc::clone(resource_type), filter)],
            sort: None,
            page,
            projection: Projection::Default,
            base_url: BASE.into(),
        }
    }

    pub(crate) async fn list(&self, query: &Query) -> Listing {
        self.store.list(&self.key, query).await.unwrap()
    }

    /// The ids of the users that a filter finds, in order.
    pub(crate) async fn find_users(&self, filter: &str) -> Vec<String> {
        let listing = self.list(&self.query(&self.user, filter, first(1000))).await;
        assert_eq!(listing.total, listing.resources.len() as u64, "{filter}");
        ids(&listing)
    }

    /// The ids of the groups that a filter finds, in order.
    pub(crate) async fn find_groups(&self, filter: &str) -> Vec<String> {
        let listing = self.list(&self.query(&self.group, filter, first(1000))).await;
        assert_eq!(listing.total, listing.resources.len() as u64, "{filter}");
        ids(&listing)
    }

    /// Walks a query by cursor, page by page.
    pub(crate) async fn walk(&self, query: &Query, count: usize) -> Vec<String> {
        let mut found = Vec::new();
        let mut position = None;
        loop {
            let query = Query { page: Page::After { position, count }, ..query.clone() };
            let listing = self.list(&query).await;
            assert!(listing.resources.len() <= count);
            found.extend(ids(&listing));
            position = listing.next;
            if position.is_none() {
                return found;
            }
        }
    }
}

pub(crate) fn first(count: usize) -> Page {
    Page::Index { start_index: 1, count }
}

pub(crate) fn sort(by: &str, descending: bool) -> Option<Sort> {
    Some(Sort { by: AttributePath::parse(by).unwrap(), descending })
}

pub(crate) fn ids(listing: &Listing) -> Vec<String> {
    shown(listing).iter().map(|resource| resource["id"].as_str().unwrap().to_owned()).collect()
}

/// The resources of a page, as a client sees them.
pub(crate) fn shown(listing: &Listing) -> Vec<Value> {
    serde_json::from_slice(&[b"[", listing.resources.json(), b"]"].concat()).unwrap()
}

/// A resource's stored body.
pub(crate) fn body(resource: &Resource) -> Attributes {
    serde_json::from_slice(&resource.body).unwrap()
}

/// The ids of a group's members.
pub(crate) fn member_ids(resource: &Resource) -> Vec<String> {
    resource.related.members.iter().flatten().map(|member| member.id.clone()).collect()
}

/// A write of these units by nobody in particular.
pub(crate) fn write(units: Vec<Unit>) -> Write {
    let (origin, policy): (Arc<Origin>, Arc<Policy>) = Default::default();
    Write { units, max_errors: None, origin, policy }
}
