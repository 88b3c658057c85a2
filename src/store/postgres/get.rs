//! Reads of single resources. Those of one tenant that wait at the same moment go to the database in one
//! statement: it is asked after each of them came, so that each sees all that was acknowledged before.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_postgres::Row as Found;

use super::failure::Failure;
use super::pool::{Link, Pool, on_link};
use super::tenants::Tenants;
use super::value::{Value, blob, bytes, get, time};
use crate::scim::member::{GroupRef, Member};
use crate::scim::resource::{Load, Related};
use crate::store::transaction::Row;
use crate::store::{StoreError, TenantKey};

/// How long a read may take, waiting included.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// A moment before trying again.
pub(super) const PAUSE: Duration = Duration::from_millis(10);
/// Reads that go in one statement at most.
const MAX_BATCH: usize = 128;
/// Statements of one kind of one tenant under way at most; more reads wait and go together.
const MAX_RUNNING: usize = 4;

/// What is read of a resource: its row, and what other tables say of it.
pub(super) type Answer = Result<Option<(Row, Related)>, StoreError>;

/// A read that waits.
struct Waiting {
    resource_type: String,
    id: String,
    deadline: Instant,
    answer: oneshot::Sender<Answer>,
}

/// Reads that may go in one statement.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    running: usize,
}

/// Of one tenant, with the same related data.
type Kind = (TenantKey, bool, bool);

/// The way of single reads. Cloning shares it.
#[derive(Clone)]
pub(super) struct Reader {
    pool: Pool,
    tenants: Tenants,
    queues: Arc<Mutex<HashMap<Kind, Queue>>>,
}

impl Reader {
    pub(super) fn new(pool: Pool, tenants: Tenants) -> Self {
        Self { pool, tenants, queues: Arc::default() }
    }

    /// Reads a resource with its related data, as far as its type has some.
    pub(super) async fn get(&self, tenant: &TenantKey, resource_type: &str, id: &str, load: Load) -> Answer {
        let (answer, result) = oneshot::channel();
        let (resource_type, id) = (resource_type.to_owned(), id.to_owned());
        let waiting = Waiting { resource_type, id, deadline: Instant::now() + DEADLINE, answer };
        let kind = (tenant.clone(), load.members, load.groups);
        let start = {
            let mut queues = self.queues();
            let queue = queues.entry(kind.clone()).or_default();
            queue.waiting.push_back(waiting);
            let start = queue.running < MAX_RUNNING;
            queue.running += usize::from(start);
            start
        };
        if start {
            // A task of its own: a client that goes away does not stop the others' reads.
            tokio::spawn(self.clone().run(kind));
        }
        result.await.map_err(|_| StoreError::Internal("a read was not answered".into()))?
    }

    async fn run(self, kind: Kind) {
        while let Some(batch) = self.take(&kind) {
            self.answer(&kind, batch).await;
        }
    }

    /// The next batch; the queue goes when there is none.
    fn take(&self, kind: &Kind) -> Option<Vec<Waiting>> {
        let mut queues = self.queues();
        let queue = queues.get_mut(kind)?;
        // A group's members may be many: it holds up nobody.
        let most = if kind.1 { 1 } else { MAX_BATCH.min(queue.waiting.len()) };
        let batch: Vec<_> = queue.waiting.drain(..most.min(queue.waiting.len())).collect();
        if batch.is_empty() {
            queue.running -= 1;
            if queue.running == 0 {
                queues.remove(kind);
            }
            return None;
        }
        Some(batch)
    }

    async fn answer(&self, kind: &Kind, mut batch: Vec<Waiting>) {
        let done = AssertUnwindSafe(self.read(kind, &batch)).catch_unwind().await;
        match done.unwrap_or_else(|_| Err(StoreError::Internal("a read panicked".into()))) {
            Ok(mut found) => {
                for (number, waiting) in batch.drain(..).enumerate() {
                    let _ = waiting.answer.send(Ok(found.remove(&number)));
                }
            }
            Err(error) => {
                for waiting in batch.drain(..) {
                    let _ = waiting.answer.send(Err(error.clone()));
                }
            }
        }
    }

    async fn read(
        &self,
        (tenant, members, groups): &Kind,
        batch: &[Waiting],
    ) -> Result<HashMap<usize, (Row, Related)>, StoreError> {
        let Some(deadline) = batch.iter().map(|waiting| waiting.deadline).min() else {
            return Ok(HashMap::new());
        };
        let (members, groups) = (*members, *groups);
        let read = on_link!(|link, number| read(&mut link, number, batch, members, groups).await);
        retry(&self.pool, &self.tenants, tenant, deadline, HashMap::new, read).await
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<Kind, Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a read of a tenant, and again when its connection is lost or the tenant has another number; `nothing` is the
/// answer for a tenant without data.
pub(super) async fn retry<T, F: Future<Output = (Link, Result<T, Failure>)> + Send>(
    pool: &Pool,
    tenants: &Tenants,
    tenant: &TenantKey,
    deadline: Instant,
    nothing: impl FnOnce() -> T,
    read: impl Fn(Link, i64) -> F,
) -> Result<T, StoreError> {
    loop {
        let mut link = pool.link(deadline).await?;
        let (mut link, done) = match tenants.find(&mut link, tenant).await {
            Ok(Some(number)) => read(link, number).await,
            Ok(None) => return Ok(nothing()),
            Err(failure) => (link, Err(failure)),
        };
        link.roll_back().await;
        match done {
            Ok(output) => return Ok(output),
            Err(Failure::Moved) => tenants.forget(tenant),
            Err(Failure::Lost(reason) | Failure::Conflict(reason)) => {
                if Instant::now() + PAUSE >= deadline {
                    return Err(StoreError::Unavailable(reason));
                }
                drop(link);
                tokio::time::sleep(PAUSE).await;
            }
            Err(failure) => return Err(failure.into()),
        }
    }
}

async fn read(
    link: &mut Link,
    tenant: i64,
    batch: &[Waiting],
    members: bool,
    groups: bool,
) -> Result<HashMap<usize, (Row, Related)>, Failure> {
    let types = batch.iter().map(|waiting| Some(waiting.resource_type.clone())).collect();
    let ids = batch.iter().map(|waiting| Some(bytes(&waiting.id))).collect();
    let numbers = (0_i64..).zip(batch).map(|(number, _)| Some(number)).collect();
    let sql = format!(
        "SELECT t.live, q.number, r.key, r.version, r.created, r.last_modified, r.body{}{}
         FROM scim.tenant t
         LEFT JOIN (unnest($2, $3, $4) AS q (number, type, id)
             JOIN scim.resource r ON r.tenant = $1 AND r.type = q.type AND r.id = q.id) ON TRUE{}{}
         WHERE t.tenant = $1",
        if groups { ", g.ids, g.displays, g.direct" } else { "" },
        if members { ", m.ids, m.types, m.displays" } else { "" },
        if groups { GROUPS } else { "" },
        if members { MEMBERS } else { "" },
    );
    let values = [tenant.into(), Value::Ints(numbers), Value::Texts(types), Value::Blobs(ids)];
    let rows = link.query(sql, values).await?;
    let mut found = HashMap::with_capacity(rows.len());
    let Some(first) = rows.first() else { return Err(Failure::Moved) };
    if !get::<bool>(first, 0)? {
        return Err(Failure::Moved);
    }
    for row in &rows {
        let Some(number) = get::<Option<i64>>(row, 1)? else { continue };
        let resource = Row {
            key: get(row, 2)?,
            version: get::<i64>(row, 3)?.cast_unsigned(),
            created: time(row, 4)?,
            last_modified: time(row, 5)?,
            body: blob(row, 6)?,
        };
        let mut related = Related::default();
        if groups {
            related.groups = Some(groups_of(row, 7)?);
        }
        if members {
            related.members = Some(members_of(row, if groups { 10 } else { 7 })?);
        }
        found.insert(usize::try_from(number).unwrap_or_default(), (resource, related));
    }
    Ok(found)
}

/// A resource's groups, direct and indirect. `UNION` drops what it has seen, so groups that contain each other end.
const GROUPS: &str = " LEFT JOIN LATERAL (
         WITH RECURSIVE above (key, direct) AS (
             SELECT \"group\", TRUE FROM scim.member WHERE tenant = $1 AND member = r.key
             UNION
             SELECT o.\"group\", FALSE FROM above a JOIN scim.member o ON o.tenant = $1 AND o.member = a.key
         ), each (key, direct) AS (SELECT key, bool_or(direct) FROM above GROUP BY key)
         SELECT array_agg(o.id ORDER BY o.id) AS ids, array_agg(o.display ORDER BY o.id) AS displays,
             array_agg(e.direct ORDER BY o.id) AS direct
         FROM each e JOIN scim.resource o ON o.tenant = $1 AND o.key = e.key
     ) g ON TRUE";

const MEMBERS: &str = " LEFT JOIN LATERAL (
         SELECT array_agg(o.id ORDER BY o.key) AS ids, array_agg(o.type ORDER BY o.key) AS types,
             array_agg(o.display ORDER BY o.key) AS displays
         FROM scim.member i JOIN scim.resource o ON o.tenant = $1 AND o.key = i.member
         WHERE i.tenant = $1 AND i.\"group\" = r.key
     ) m ON TRUE";

fn string(bytes: Option<&[u8]>) -> Result<Option<String>, Failure> {
    let text = bytes.map(|bytes| String::from_utf8(bytes.to_vec())).transpose();
    text.map_err(|_| Failure::Internal("a stored string is not UTF-8".into()))
}

fn groups_of(row: &Found, column: usize) -> Result<Vec<GroupRef>, Failure> {
    let Some(ids) = get::<Option<Vec<Option<&[u8]>>>>(row, column)? else { return Ok(Vec::new()) };
    let displays: Vec<Option<&[u8]>> = get(row, column + 1)?;
    let direct: Vec<bool> = get(row, column + 2)?;
    let groups = ids.into_iter().zip(displays).zip(direct).map(|((id, display), direct)| {
        Ok(GroupRef { id: string(id)?.unwrap_or_default(), display: string(display)?, direct })
    });
    groups.collect()
}

fn members_of(row: &Found, column: usize) -> Result<Vec<Member>, Failure> {
    let Some(ids) = get::<Option<Vec<Option<&[u8]>>>>(row, column)? else { return Ok(Vec::new()) };
    let types: Vec<&str> = get(row, column + 1)?;
    let displays: Vec<Option<&[u8]>> = get(row, column + 2)?;
    let members = ids.into_iter().zip(types).zip(displays).map(|((id, resource_type), display)| {
        let (id, display) = (string(id)?.unwrap_or_default(), string(display)?);
        Ok(Member { id, resource_type: resource_type.to_owned(), display })
    });
    members.collect()
}
