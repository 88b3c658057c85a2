//! The store: every tenant's resources, durable.
//!
//! The tenant comes first in every key and every call. [`Store`] is what a backend offers;
//! a change is data ([`Command`]), so that a backend may run many requests' changes in one transaction,
//! each in its own savepoint, and may run one again.

pub mod audit;
mod execute;
pub mod idempotency;
mod index;
mod lifecycle;
mod list;
mod membership;
pub mod metrics;
mod plan;
pub mod postgres;
mod shape;
pub mod sqlite;
pub mod token_use;
mod transaction;
pub mod transfer;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

pub use self::shape::{Duplicates, Prepared};
pub use crate::scim::cursor::Position;
use crate::scim::error::ScimError;
use crate::scim::etag::Preconditions;
use crate::scim::filter::Filter;
use crate::scim::list::Resources;
use crate::scim::patch::Patch;
use crate::scim::path::AttributePath;
use crate::scim::projection::Projection;
use crate::scim::resource::{Attributes, Load, Resource};
use crate::scim::schema::ResourceType;

use idempotency::{Keyed, Once, Recalled, Render};

use self::token_use::TokenUse;

/// A tenant's key in the store: `NAMESPACE/NAME` of its `ScimTenant`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantKey(pub Arc<str>);

/// One change of one resource.
#[derive(Debug, Clone)]
pub enum Command {
    /// POST.
    Create {
        /// Its type.
        resource_type: Arc<ResourceType>,
        /// Its id, a new version 7 UUID.
        id: String,
        /// Its attributes; the store puts `schemas` and `id` first in the body.
        attributes: Attributes,
        /// For a group: its members.
        members: Vec<String>,
        /// Paths of what was sent and is never stored, for the audit log: a password.
        discarded: Vec<String>,
    },
    /// PUT.
    Replace {
        /// Its type.
        resource_type: Arc<ResourceType>,
        /// Which.
        id: String,
        /// What it becomes, by way of [`ResourceType::succeed`].
        attributes: Attributes,
        /// For a group: its members; PUT without `members` empties it.
        members: Vec<String>,
        /// Paths of what was sent and is never stored, for the audit log: a password.
        discarded: Vec<String>,
        /// `If-Match` and `If-None-Match`.
        preconditions: Preconditions,
        /// What of the related data the answer needs.
        load: Load,
    },
    /// PATCH.
    Patch {
        /// Its type.
        resource_type: Arc<ResourceType>,
        /// Which.
        id: String,
        /// The change.
        patch: Arc<Patch>,
        /// `If-Match` and `If-None-Match`.
        preconditions: Preconditions,
        /// What of the related data the answer needs.
        load: Load,
    },
    /// DELETE.
    Delete {
        /// Its type.
        resource_type: Arc<ResourceType>,
        /// Which.
        id: String,
        /// `If-Match` and `If-None-Match`.
        preconditions: Preconditions,
    },
    /// Brings a retained resource back as it was, with its memberships: an operator's doing, no client's.
    Restore {
        /// Its type.
        resource_type: Arc<ResourceType>,
        /// Which.
        id: String,
    },
    /// Erases retained resources, oldest first: the retention task's doing.
    Purge {
        /// Those deleted before.
        before: Timestamp,
        /// How many at most.
        limit: usize,
    },
    /// A change that was found wrong before it came here, refused in its place: what comes after it, and
    /// how many errors there were, is as if the store had found it.
    Refuse(ScimError),
}

/// What a command did.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The resource was made.
    Created(Resource),
    /// The resource is now so; its version moved only if something changed.
    Updated(Resource),
    /// The resource is gone.
    Deleted,
    /// Retained resources were erased.
    Purged {
        /// How many.
        purged: u64,
        /// Whether there may be more.
        more: bool,
    },
}

/// Commands that are applied all or none: one request, or the operations of a bulk request that
/// refer to each other in a circle.
#[derive(Debug, Clone)]
pub struct Unit {
    /// In the order they are applied.
    pub commands: Vec<Command>,
    /// Earlier units of the same write, by index, that this one refers to: it is refused if one was.
    pub requires: Vec<usize>,
}

/// What one request asks of the store.
#[derive(Debug, Clone)]
pub struct Write {
    /// In the order they are applied.
    pub units: Vec<Unit>,
    /// Stop after so many refused units (bulk `failOnErrors`).
    pub max_errors: Option<usize>,
    /// Whose doing it is.
    pub origin: Arc<Origin>,
    /// What the tenant wants done beside what the request says.
    pub policy: Arc<Policy>,
}

/// Whose doing a write is, for the record of changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Who authenticated: the name of a token, or the subject of an OAuth token.
    pub actor: String,
    /// Where the request came from.
    pub client: Option<IpAddr>,
    /// The request's id, as in the log.
    pub request_id: String,
}

/// A tenant's choices about its data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub struct Policy {
    /// How long a deleted resource can be brought back; `None`: DELETE erases it.
    pub retention: Option<Duration>,
    /// A POST of a retained resource's `externalId` or `userName` brings it back with its id.
    pub restore_on_recreate: bool,
    /// A user whose `active` becomes false leaves all groups.
    pub remove_from_groups_on_deactivate: bool,
    /// Unknown members are kept until they appear; else a push with unknown members is refused.
    pub keep_unknown_members: bool,
    /// A member may be named by its `externalId`.
    pub match_external_id: bool,
    /// Whether the audit log keeps old and new values beside the names of attributes.
    pub audit_values: bool,
}

impl Policy {
    /// The earliest deletion that is still retained; `None` when nothing is.
    #[must_use]
    pub fn retained_since(&self, now: Timestamp) -> Option<Timestamp> {
        let retention = SignedDuration::try_from(self.retention?).unwrap_or(SignedDuration::MAX);
        Some(now.checked_sub(retention).unwrap_or(Timestamp::MIN))
    }
}

/// Why a [`Unit`] was undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The command of this index was refused.
    Command(usize, ScimError),
    /// The unit of this index, which this one requires, was refused.
    Requires(usize),
}

/// The result of one [`Unit`]: an outcome for each of its commands, or why it was undone.
pub type UnitResult = Result<Vec<Outcome>, Refusal>;

/// A list request.
#[derive(Debug, Clone)]
pub struct Query {
    /// The types asked for, each with the filter resolved for it: one for `/Users`, several for the root.
    pub types: Vec<(Arc<ResourceType>, Option<Arc<Filter>>)>,
    /// The order; by type and id (creation) when `None`, and to break ties.
    pub sort: Option<Sort>,
    /// Which page.
    pub page: Page,
    /// What the client asked to see.
    pub projection: Projection,
    /// `BASE` of the tenant, for `meta.location` and `$ref` in representations and filters.
    pub base_url: Arc<str>,
}

/// `sortBy` and `sortOrder` (RFC 7644 section 3.4.2.3).
#[derive(Debug, Clone)]
pub struct Sort {
    /// The attribute as asked; resolved for each type.
    pub by: AttributePath,
    /// `descending` instead of `ascending`.
    pub descending: bool,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq)]
pub enum Page {
    /// `startIndex` and `count`; `start_index` is 1 or more.
    Index {
        /// 1 for the first match.
        start_index: u64,
        /// Resources at most; 0 asks for the total only.
        count: usize,
    },
    /// RFC 9865: what comes after a position (`None`: from the start).
    After {
        /// The last resource of the page before.
        position: Option<Position>,
        /// Resources at most.
        count: usize,
    },
}

/// A page of matches.
#[derive(Debug, Clone)]
pub struct Listing {
    /// All matches, exactly.
    pub total: u64,
    /// This page's, as [`Query::projection`] shows them.
    pub resources: Resources,
    /// For [`Page::After`]: where to go on; `None` at the end.
    pub next: Option<Position>,
}

/// A deleted resource that can be brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retained {
    /// Where it stands in the order of deletion.
    pub position: i64,
    /// The name of its type.
    pub resource_type: String,
    /// Its id.
    pub id: String,
    /// When it was deleted.
    pub deleted: Timestamp,
    /// [`Resource::body`] as it was.
    pub body: Bytes,
}

/// How much of a tenant is retained or awaited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaverFigures {
    /// Whose.
    pub tenant: TenantKey,
    /// Deleted resources that can be brought back.
    pub retained: u64,
    /// When the one of them was deleted that was deleted first.
    pub oldest: Option<Timestamp>,
    /// Members that were pushed and do not exist yet.
    pub pending: u64,
}

/// How many resources of a type a tenant has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// Whose.
    pub tenant: TenantKey,
    /// The name of the type.
    pub resource_type: String,
    /// How many.
    pub resources: u64,
}

/// What stands between us and the data: none of it is the client's fault.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be used now; asking again later may work.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The store is shutting down.
    #[error("the store is closing")]
    Closing,
    /// The database says something that it should not.
    #[error("the store failed: {0}")]
    Internal(String),
}

/// A backend.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// One resource, `None` when this tenant has none of this type and id.
    async fn get(
        &self,
        tenant: &TenantKey,
        resource_type: &Arc<ResourceType>,
        id: &str,
        load: Load,
    ) -> Result<Option<Resource>, StoreError>;

    /// A page of the resources that match.
    async fn list(&self, tenant: &TenantKey, query: &Query) -> Result<Listing, StoreError>;

    /// Applies a write's units in order, durably: when this returns, what succeeded survives a crash.
    /// Units not tried, because of [`Write::max_errors`], have no entry in the answer.
    async fn write(&self, tenant: &TenantKey, write: Write) -> Result<Vec<UnitResult>, StoreError>;

    /// As [`Self::write`], but once for each key of a tenant: the answer is made and stored in the same
    /// transaction, and given again when the request comes again.
    async fn write_once(
        &self,
        tenant: &TenantKey,
        write: Write,
        keyed: Keyed,
        render: Render,
    ) -> Result<Once, StoreError>;

    /// What is known of a key, without writing.
    async fn recall(&self, tenant: &TenantKey, keyed: &Keyed) -> Result<Option<Recalled>, StoreError>;

    /// Removes the answers of [`Self::write_once`] given before, in small steps; how many.
    async fn forget_answers(&self, before: Timestamp) -> Result<u64, StoreError>;

    /// The tenant's audit log from a place on, which is also its change feed: at most `limit` rows, and never
    /// more than [`audit::MAX_CHANGES`].
    ///
    /// What every backend promises, however many servers write to the same store:
    /// - Each move of a resource's version has one row, appended in the transaction that moved it. What was
    ///   acknowledged has its row, and what has a row happened. What changed nothing has none, but for a
    ///   password, which is named although it is never stored.
    /// - A tenant's rows are numbered 1, 2, 3, … without a gap, and become visible in that order: whoever has
    ///   seen a row has been able to see every row before it. No row appears behind a reader. A backend
    ///   with several writers keeps this by taking the next sequence under a lock of the tenant that it
    ///   holds until it has committed (PostgreSQL: `UPDATE` of the tenant's row).
    /// - Times of a tenant's rows do not go back.
    /// - Rows go from the front only ([`Self::prune_changes`]), and a reader that they went past is told so.
    ///
    /// So a reader replicates a tenant: it takes the `head` of this feed, reads all resources, and goes on after that
    /// head. For each row it reads the resource again, unless it has that version or a later one; a
    /// resource that is not found is gone, and a later row says so.
    async fn changes(
        &self,
        tenant: &TenantKey,
        from: audit::From,
        limit: usize,
    ) -> Result<audit::Changes, audit::FeedError>;

    /// Removes rows of the tenant's audit log that are not to be kept: one short step, so that writers hardly wait.
    async fn prune_changes(
        &self,
        tenant: &TenantKey,
        retention: audit::Retention,
    ) -> Result<audit::Pruned, StoreError>;

    /// Makes a tenant's data ready for these resource types, before they are served: builds the indexes of
    /// attributes that became unique, in steps between which others write. What is stored is never
    /// changed. Call it for every tenant whenever a configuration is applied: it costs nothing when nothing
    /// has changed.
    async fn prepare(&self, tenant: &TenantKey, types: &[Arc<ResourceType>]) -> Result<Prepared, StoreError>;

    /// Removes the indexes that the types of the last [`Self::prepare`] do not need. Call it when no request
    /// goes by the types of before any more.
    async fn retire(&self, tenant: &TenantKey) -> Result<(), StoreError>;

    /// How many resources of a type a tenant has.
    async fn count(&self, tenant: &TenantKey, resource_type: &str) -> Result<u64, StoreError>;

    /// How many resources of each type the tenants have, those that have any: from counters, so that it costs as much
    /// with millions of resources.
    async fn counts(&self) -> Result<Vec<Count>, StoreError>;

    /// A tenant's retained resources in the order of deletion, after a position.
    async fn retained(
        &self,
        tenant: &TenantKey,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Retained>, StoreError>;

    /// The figures of the tenants that have retained resources or pending members.
    async fn leavers(&self) -> Result<Vec<LeaverFigures>, StoreError>;

    /// The tenants that have data here.
    async fn tenants(&self) -> Result<Vec<TenantKey>, StoreError>;

    /// Remembers what is to become of a tenant's data when the tenant goes (`deletionPolicy: Delete`).
    async fn set_purge_on_removal(&self, tenant: &TenantKey, purge: bool) -> Result<(), StoreError>;

    /// The tenants that were marked by [`Self::set_purge_on_removal`] and are not purged.
    async fn marked_for_purge(&self) -> Result<Vec<TenantKey>, StoreError>;

    /// Purges tenants that are not among `served` and were marked by [`Self::set_purge_on_removal`]; with `removed`,
    /// of these only. Whoever shares a store with servers that may know other tenants must say which.
    async fn purge_removed(
        &self,
        served: &[TenantKey],
        removed: Option<&[TenantKey]>,
    ) -> Result<Vec<TenantKey>, StoreError>;

    /// The last uses of all tokens, as far as they were recorded.
    async fn token_uses(&self) -> Result<Vec<TokenUse>, StoreError>;

    /// Remembers last uses; one that is earlier than the one known changes nothing.
    async fn record_token_uses(&self, uses: Vec<TokenUse>) -> Result<(), StoreError>;

    /// A secret of this store for signing cursors; every server on the same store gets the same.
    async fn cursor_key(&self) -> Result<[u8; 32], StoreError>;

    /// Answers when the database does.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Finishes what is under way and closes; later calls are [`StoreError::Closing`].
    async fn close(&self);
}
