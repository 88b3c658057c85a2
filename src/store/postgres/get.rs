//! Reads of single resources. Those of one tenant that wait at the same moment go to the database in one
//! round trip: it is asked after each of them came, so that each sees all that was acknowledged before. What was
//! read before and has not changed since is not fetched again (`cache.rs`).

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_postgres::Row as Columns;

use super::cache::{Appended, Cache, Place, Since};
use super::failure::Failure;
use super::pool::{Link, Pool, on_link};
use super::tenants::Tenants;
use super::value::{Step, Value, blob, bytes, get, text, time};
use crate::scim::member::{GroupRef, Member};
use crate::scim::resource::{Load, Related};
use crate::store::audit::Operation;
use crate::store::metrics::StoreMetrics;
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

/// Rows of a tenant's log that are looked through to tell what is still true; past that all is fetched again.
const MAX_APPENDED: usize = 1000;

/// What is read of a resource: its row, and what other tables say of it.
pub(super) type Found = (Row, Related);

/// What a read comes to.
pub(super) type Answer = Result<Option<Found>, StoreError>;

/// A read that waits.
struct Waiting {
    resource_type: String,
    id: String,
    deadline: Instant,
    answer: oneshot::Sender<Answer>,
}

impl Waiting {
    fn name(&self) -> (&str, &str) {
        (&self.resource_type, &self.id)
    }
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
    cache: Arc<Cache>,
    metrics: StoreMetrics,
}

impl Reader {
    /// Reads that remember so many bytes at most.
    pub(super) fn new(pool: Pool, tenants: Tenants, cache_bytes: usize, metrics: StoreMetrics) -> Self {
        let cache = Arc::new(Cache::new(cache_bytes, metrics.clone()));
        Self { pool, tenants, queues: Arc::default(), cache, metrics }
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
    ) -> Result<HashMap<usize, Found>, StoreError> {
        let Some(deadline) = batch.iter().map(|waiting| waiting.deadline).min() else {
            return Ok(HashMap::new());
        };
        let load = Load { members: *members, groups: *groups };
        let read = on_link!(|link, number| self.read_on(&mut link, number, batch, load).await);
        retry(&self.pool, &self.tenants, tenant, deadline, HashMap::new, read).await
    }

    /// Reads what is not in the cache, and asks whether what is there is still true, in one round trip; fetches
    /// what is not.
    async fn read_on(
        &self,
        link: &mut Link,
        tenant: i64,
        batch: &[Waiting],
        load: Load,
    ) -> Result<HashMap<usize, Found>, Failure> {
        let names = batch.iter().map(Waiting::name);
        let (known, cached) = self.cache.look(tenant, load, names);
        let (hits, mut missing): (Vec<usize>, Vec<usize>) =
            (0..batch.len()).partition(|number| cached[*number].is_some());
        let mut steps = Vec::with_capacity(2);
        if !hits.is_empty() {
            steps.push(validate(tenant, known));
        }
        if !missing.is_empty() {
            steps.push(fetch(tenant, missing.iter().map(|number| (*number, batch[*number].name())), load));
        }
        let mut answers = link.send(&steps).await?.into_iter();
        let mut fetched = Vec::new();
        let mut found = HashMap::with_capacity(batch.len());
        let mut stale = Vec::new();
        if !hits.is_empty() {
            let since = match validated(known, &answers.next().unwrap_or_default())? {
                Validity::Same => None,
                Validity::Older => Some(appended(link, tenant, known).await?),
                Validity::Unknown => Some(Since::Unknown),
            };
            let gone = since.as_ref().map(|since| {
                self.cache.learn(tenant, since);
                since.gone()
            });
            for (number, cached) in cached.into_iter().enumerate() {
                let Some(cached) = cached else { continue };
                if gone.as_ref().is_some_and(|gone| gone.includes(&batch[number].id, &cached)) {
                    stale.push(number);
                } else {
                    found.insert(number, cached);
                }
            }
        }
        self.metrics.cache_hits.inc_by(found.len() as u64);
        self.metrics.cache_misses.inc_by((batch.len() - found.len()) as u64);
        if !missing.is_empty() {
            fetched.push(answers.next().unwrap_or_default());
        }
        if !stale.is_empty() {
            let step = fetch(tenant, stale.iter().map(|number| (*number, batch[*number].name())), load);
            fetched.extend(link.send(&[step]).await?);
            missing.append(&mut stale);
        }
        for rows in fetched {
            let (place, read) = read(&rows, load)?;
            let kept = read.iter().filter_map(|(number, found)| {
                let (resource_type, id) = batch.get(*number)?.name();
                Some((resource_type, id, found))
            });
            self.cache.keep(tenant, load, place, kept);
            found.extend(read);
        }
        Ok(found)
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

/// Asks for a tenant's place in its log, and whether the place that is known is still of the same log.
fn validate(tenant: i64, known: Place) -> Step {
    let sql = "SELECT t.live, t.head, t.pruned, c.batch FROM scim.tenant t
               LEFT JOIN scim.change c ON c.tenant = $1 AND c.sequence = $2 WHERE t.tenant = $1";
    Step::new(sql, [tenant.into(), known.head.into()])
}

/// What [`validate`] found.
enum Validity {
    /// Nothing was appended.
    Same,
    /// Something was.
    Older,
    /// The log is another one.
    Unknown,
}

fn validated(known: Place, rows: &[Columns]) -> Result<Validity, Failure> {
    let row = live(rows)?;
    let (head, pruned, batch): (i64, i64, Option<i64>) = (get(row, 1)?, get(row, 2)?, get(row, 3)?);
    let same = batch.map_or(pruned >= known.head, |batch| batch == known.batch);
    Ok(match head.cmp(&known.head) {
        _ if !same => Validity::Unknown,
        std::cmp::Ordering::Equal => Validity::Same,
        std::cmp::Ordering::Greater => Validity::Older,
        std::cmp::Ordering::Less => Validity::Unknown,
    })
}

/// What was appended since a place.
async fn appended(link: &mut Link, tenant: i64, known: Place) -> Result<Since, Failure> {
    let sql = "SELECT sequence, batch, operation, type, id, attributes, members FROM scim.change
               WHERE tenant = $1 AND sequence > $2 ORDER BY sequence LIMIT $3";
    let values = [tenant.into(), known.head.into(), super::value::limit(MAX_APPENDED + 1)];
    let rows = link.query(sql, values).await?;
    let Some(last) = rows.last().filter(|_| rows.len() <= MAX_APPENDED) else { return Ok(Since::Unknown) };
    let place = Place { head: get(last, 0)?, batch: get(last, 1)? };
    // What was pruned meanwhile is not known.
    if get::<i64>(&rows[0], 0)? != known.head + 1 {
        return Ok(Since::Unknown);
    }
    let rows = rows.iter().map(|row| {
        let Some(operation) = Operation::from_code(get(row, 2)?) else { return Ok(None) };
        let (resource_type, attributes): (&str, &str) = (get(row, 3)?, get(row, 5)?);
        let renamed = resource_type == "Group"
            && match operation {
                Operation::Replace | Operation::Patch => {
                    attributes.split_ascii_whitespace().any(|path| path == "displayName")
                }
                Operation::Create | Operation::Recreate | Operation::Restore | Operation::Delete => true,
                _ => false,
            };
        let members = get::<Option<&str>>(row, 6)?.map(serde_json::from_str).transpose();
        let members = members.map_err(|error| Failure::Internal(format!("a stored change: {error}")))?;
        Ok(Some(Appended { sequence: get(row, 0)?, operation, id: text(row, 4)?, renamed, members }))
    });
    // An operation that this server does not know may mean anything.
    let rows = rows.collect::<Result<Option<Vec<_>>, Failure>>()?;
    Ok(rows.map_or(Since::Unknown, |rows| Since::Rows(place, rows)))
}

/// The row that is there when the tenant is.
fn live(rows: &[Columns]) -> Result<&Columns, Failure> {
    let Some(row) = rows.first() else { return Err(Failure::Moved) };
    if get::<bool>(row, 0)? { Ok(row) } else { Err(Failure::Moved) }
}

/// Asks for resources, each with its number.
fn fetch<'n>(
    tenant: i64,
    names: impl ExactSizeIterator<Item = (usize, (&'n str, &'n str))>,
    load: Load,
) -> Step {
    let (mut numbers, mut types, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    for (number, (resource_type, id)) in names {
        numbers.push(i64::try_from(number).ok());
        types.push(Some(resource_type.to_owned()));
        ids.push(Some(bytes(id)));
    }
    let Load { members, groups } = load;
    let sql = format!(
        "SELECT t.live, t.head, h.batch, q.number, r.key, r.version, r.created, r.last_modified, r.body{}{}
         FROM scim.tenant t
         LEFT JOIN scim.change h ON h.tenant = $1 AND h.sequence = t.head
         LEFT JOIN (unnest($2, $3, $4) AS q (number, type, id)
             JOIN scim.resource r ON r.tenant = $1 AND r.type = q.type AND r.id = q.id) ON TRUE{}{}
         WHERE t.tenant = $1",
        if groups { ", g.ids, g.displays, g.direct" } else { "" },
        if members { ", m.ids, m.types, m.displays" } else { "" },
        if groups { GROUPS } else { "" },
        if members { MEMBERS } else { "" },
    );
    Step::new(sql, [tenant.into(), Value::Ints(numbers), Value::Texts(types), Value::Blobs(ids)])
}

/// What [`fetch`] found, by number, and the place in the log at which it was so.
fn read(rows: &[Columns], load: Load) -> Result<(Place, HashMap<usize, Found>), Failure> {
    let first = live(rows)?;
    let place = Place { head: get(first, 1)?, batch: get::<Option<i64>>(first, 2)?.unwrap_or_default() };
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        let Some(number) = get::<Option<i64>>(row, 3)? else { continue };
        let resource = Row {
            key: get(row, 4)?,
            version: get::<i64>(row, 5)?.cast_unsigned(),
            created: time(row, 6)?,
            last_modified: time(row, 7)?,
            body: blob(row, 8)?,
        };
        let mut related = Related::default();
        if load.groups {
            related.groups = Some(groups_of(row, 9)?);
        }
        if load.members {
            related.members = Some(members_of(row, if load.groups { 12 } else { 9 })?);
        }
        found.insert(usize::try_from(number).unwrap_or_default(), (resource, related));
    }
    Ok((place, found))
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

fn groups_of(row: &Columns, column: usize) -> Result<Vec<GroupRef>, Failure> {
    let Some(ids) = get::<Option<Vec<Option<&[u8]>>>>(row, column)? else { return Ok(Vec::new()) };
    let displays: Vec<Option<&[u8]>> = get(row, column + 1)?;
    let direct: Vec<bool> = get(row, column + 2)?;
    let groups = ids.into_iter().zip(displays).zip(direct).map(|((id, display), direct)| {
        Ok(GroupRef { id: string(id)?.unwrap_or_default(), display: string(display)?, direct })
    });
    groups.collect()
}

fn members_of(row: &Columns, column: usize) -> Result<Vec<Member>, Failure> {
    let Some(ids) = get::<Option<Vec<Option<&[u8]>>>>(row, column)? else { return Ok(Vec::new()) };
    let types: Vec<&str> = get(row, column + 1)?;
    let displays: Vec<Option<&[u8]>> = get(row, column + 2)?;
    let members = ids.into_iter().zip(types).zip(displays).map(|((id, resource_type), display)| {
        let (id, display) = (string(id)?.unwrap_or_default(), string(display)?);
        Ok(Member { id, resource_type: resource_type.to_owned(), display })
    });
    members.collect()
}
