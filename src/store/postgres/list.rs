//! Lists: total and page of one moment, in a transaction that sees one. What must be looked at row by row comes in
//! chunks, each with its related data; no more is held than a chunk, the page, and the sort keys before its end.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value as Json;
use tokio_postgres::Row;

use super::condition::{Fragment, Scope};
use super::failure::Failure;
use super::pool::Link;
use super::rows;
use super::value::{Step, Value, blob, get, text, time};
use crate::scim::cursor::Position;
use crate::scim::filter::sort_key;
use crate::scim::list::Resources;
use crate::scim::representation;
use crate::scim::resource::{Load, Related, View};
use crate::scim::schema::ResourceType;
use crate::store::Listing;
use crate::store::list::{List, Ranked, Source, Walk, Window, walk};
use crate::store::plan::Effort;

/// Rows looked at in one go.
const CHUNK: usize = 500;

const BEGIN: Step = Step::Begin(
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '8s'; \
     SET LOCAL idle_in_transaction_session_timeout = '5s'",
);

/// The columns of [`Listed`].
const COLUMNS: &str = "r.key, r.version, r.created, r.last_modified, r.body, r.id,
     EXISTS (SELECT 1 FROM scim.member g WHERE g.tenant = r.tenant AND g.member = r.key)";

/// A row of the list.
struct Listed {
    key: i64,
    version: u64,
    created: Timestamp,
    last_modified: Timestamp,
    body: Bytes,
    id: String,
    /// Whether it is a member of a group.
    grouped: bool,
}

impl Listed {
    fn of(row: &Row) -> Result<Self, Failure> {
        Ok(Self {
            key: get(row, 0)?,
            version: get::<i64>(row, 1)?.cast_unsigned(),
            created: time(row, 2)?,
            last_modified: time(row, 3)?,
            body: blob(row, 4)?,
            id: text(row, 5)?,
            grouped: get(row, 6)?,
        })
    }

    fn view<'r>(&'r self, resource_type: &'r ResourceType, related: &'r Related) -> View<'r> {
        let Self { key: _, version, created, last_modified, body, id, grouped: _ } = self;
        View {
            resource_type,
            id,
            version: *version,
            created: *created,
            last_modified: *last_modified,
            body,
            related,
        }
    }
}

/// A match on the page.
struct Found {
    source: usize,
    listed: Listed,
    sort_key: Option<String>,
}

/// A list request on a connection.
struct Read<'r> {
    list: &'r List,
    link: &'r mut Link,
    /// Resources of each type that the tenant has.
    counts: HashMap<String, u64>,
}

/// Reads total and page.
pub(super) async fn run(list: &List, link: &mut Link) -> Result<Listing, Failure> {
    let sql = "SELECT live, counts FROM scim.tenant WHERE tenant = $1";
    let answers = link.send(&[BEGIN, Step::new(sql, [list.tenant.into()])]).await?;
    let tenant = answers.get(1).and_then(|rows| rows.first());
    let Some(tenant) = tenant else { return Err(Failure::Moved) };
    if !get::<bool>(tenant, 0)? {
        return Err(Failure::Moved);
    }
    let counts = super::tenants::counts(get(tenant, 1)?)?;
    let counts = counts.into_iter().map(|(name, count)| (name, count.max(0).cast_unsigned())).collect();
    let mut read = Read { list, link, counts };
    if list.query.sort.is_none() {
        return read.by_id().await;
    }
    match walk(list) {
        Some(way) => read.walk(&way).await,
        None => read.sorted().await,
    }
}

impl Read<'_> {
    /// The order without `sortBy`: type, then id.
    async fn by_id(&mut self) -> Result<Listing, Failure> {
        let list = self.list;
        let Window { mut skip, take: _, want, ref after } = list.window;
        let mut total = 0;
        let mut page = Vec::new();
        for (index, source) in list.sources.iter().enumerate() {
            let name = source.resource_type.name.as_str();
            let order = after.as_ref().map_or(Ordering::Greater, |after| name.cmp(&after.resource_type));
            let after = after.as_ref().filter(|_| order == Ordering::Equal).map(|after| after.id.as_str());
            let found = |listed| Found { source: index, listed, sort_key: None };
            if source.plan.exact && source.plan.effort != Effort::Point {
                let count = self.count(source).await?;
                total += count;
                if order == Ordering::Less || page.len() >= want || skip >= count {
                    skip = skip.saturating_sub(count);
                    continue;
                }
                let rows = self.candidates(source, after, want - page.len(), skip).await?;
                page.extend(rows.into_iter().map(found));
                skip = 0;
                continue;
            }
            let mut reached: Option<String> = None;
            loop {
                let rows = self.candidates(source, reached.as_deref(), CHUNK, 0).await?;
                let more = rows.len() == CHUNK;
                reached = rows.last().map(|listed| listed.id.clone());
                let matches =
                    if source.plan.exact { None } else { Some(self.evaluate(source, &rows).await?) };
                let mut matches = matches.map(Vec::into_iter);
                for listed in rows {
                    if matches.as_mut().is_some_and(|matches| !matches.next().is_some_and(|(fits, _)| fits)) {
                        continue;
                    }
                    total += 1;
                    if order == Ordering::Less || after.is_some_and(|after| listed.id.as_str() <= after) {
                        continue;
                    }
                    if skip > 0 {
                        skip -= 1;
                    } else if page.len() < want {
                        page.push(found(listed));
                    }
                }
                if !more {
                    break;
                }
            }
        }
        self.finish(total, page).await
    }

    /// Any order: every match's sort key is looked at, and those up to the page's end are kept.
    async fn sorted(&mut self) -> Result<Listing, Failure> {
        let list = self.list;
        let Window { skip, take: _, want, ref after } = list.window;
        let descending = list.descending();
        let after = after.clone().map(|position| Ranked::of(list, position));
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let keep = if want == 0 { 0 } else { skip.saturating_add(want) };
        let mut total = 0;
        let mut heap = BinaryHeap::new();
        for (index, source) in list.sources.iter().enumerate() {
            let mut reached: Option<String> = None;
            loop {
                let rows = self.candidates(source, reached.as_deref(), CHUNK, 0).await?;
                let more = rows.len() == CHUNK;
                reached = rows.last().map(|listed| listed.id.clone());
                let evaluated = self.evaluate(source, &rows).await?;
                for (Listed { id, key, .. }, (matches, value)) in rows.into_iter().zip(evaluated) {
                    if !matches {
                        continue;
                    }
                    total += 1;
                    let sort_key = source.sort.as_ref().and_then(|sort| sort_key(&value, sort));
                    let ranked = Ranked { descending, sort_key, source: index, id, key };
                    if after.as_ref().is_none_or(|after| ranked > *after) {
                        heap.push(ranked);
                        if heap.len() > keep {
                            heap.pop();
                        }
                    }
                }
                if !more {
                    break;
                }
            }
        }
        let ranked: Vec<_> = heap.into_sorted_vec().into_iter().skip(skip).collect();
        let keys = Value::Ints(ranked.iter().map(|ranked| Some(ranked.key)).collect());
        let sql = format!("SELECT {COLUMNS} FROM scim.resource r WHERE r.tenant = $1 AND r.key = ANY ($2)");
        let mut by_key = HashMap::new();
        for row in &self.link.query(sql, [list.tenant.into(), keys]).await? {
            let listed = Listed::of(row)?;
            by_key.insert(listed.key, listed);
        }
        let page = ranked.into_iter().filter_map(|Ranked { sort_key, source, key, .. }| {
            by_key.remove(&key).map(|listed| Found { source, listed, sort_key })
        });
        let page = page.collect();
        self.finish(total, page).await
    }

    /// Along an index.
    async fn walk(&mut self, way: &Walk<'_>) -> Result<Listing, Failure> {
        let Window { skip, take: _, want, after } = &self.list.window;
        let total = self.count(way.source).await?;
        let mut sql = Fragment::default();
        let tenant = Value::from(self.list.tenant);
        let attribute = way.attribute.name.as_str();
        sql.push(&format!("SELECT {COLUMNS}, l.value FROM ("), []);
        sql.push(
            "SELECT resource, value FROM scim.lookup WHERE tenant = ? AND attribute = ?",
            [tenant.clone(), attribute.into()],
        );
        if let Some(key) = after.as_ref().and_then(|after| after.sort_key.as_deref()) {
            sql.push(if way.descending { " AND value < ?" } else { " AND value > ?" }, [Value::bytes(key)]);
        }
        sql.push(if way.descending { " ORDER BY value DESC" } else { " ORDER BY value" }, []);
        let (limit, skip) = (super::value::limit(*want), i64::try_from(*skip).unwrap_or(i64::MAX));
        sql.push(" LIMIT ? OFFSET ?) AS l", [limit, skip.into()]);
        sql.push(" JOIN scim.resource r ON r.tenant = ? AND r.key = l.resource", [tenant]);
        sql.push(if way.descending { " ORDER BY l.value DESC" } else { " ORDER BY l.value" }, []);
        let rows = self.ask(sql).await?;
        let found = |row| {
            Ok::<_, Failure>(Found { source: 0, listed: Listed::of(row)?, sort_key: Some(text(row, 7)?) })
        };
        let page = rows.iter().map(found).collect::<Result<Vec<_>, _>>()?;
        self.finish(total, page).await
    }

    /// All matches of an exact plan.
    async fn count(&mut self, source: &Source) -> Result<u64, Failure> {
        let Some(condition) = &source.plan.condition else {
            return Ok(self.counts.get(&source.resource_type.name).copied().unwrap_or(0));
        };
        let mut sql = Fragment::default();
        let scope = self.scope(source);
        sql.push(
            "SELECT count(*) FROM scim.resource r WHERE r.tenant = ? AND r.key IN (",
            [scope.tenant.into()],
        );
        scope.keys(&mut sql, condition);
        sql.push(") AND r.type = ?", [scope.resource_type.into()]);
        let rows = self.ask(sql).await?;
        Ok(super::batch::number(&rows)?.cast_unsigned())
    }

    /// A source's candidates in the order of their ids.
    async fn candidates(
        &mut self,
        source: &Source,
        after: Option<&str>,
        limit: usize,
        skip: u64,
    ) -> Result<Vec<Listed>, Failure> {
        let scope = self.scope(source);
        let mut sql = Fragment::default();
        sql.push(&format!("SELECT {COLUMNS} FROM scim.resource r WHERE "), []);
        sql.push("r.tenant = ? AND r.type = ?", [scope.tenant.into(), scope.resource_type.into()]);
        if let Some(condition) = &source.plan.condition {
            sql.push(" AND r.key IN (", []);
            scope.keys(&mut sql, condition);
            sql.push(")", []);
        }
        if let Some(after) = after {
            sql.push(" AND r.id > ?", [Value::bytes(after)]);
        }
        let skip = i64::try_from(skip).unwrap_or(i64::MAX);
        sql.push(" ORDER BY r.id LIMIT ? OFFSET ?", [super::value::limit(limit), skip.into()]);
        self.ask(sql).await?.iter().map(Listed::of).collect()
    }

    /// Whether candidates match, and their representations.
    async fn evaluate(&mut self, source: &Source, rows: &[Listed]) -> Result<Vec<(bool, Json)>, Failure> {
        let mut related = self.related(&source.resource_type, rows, source.evaluated).await?;
        let evaluated = rows.iter().map(|listed| {
            let related = related.take(listed.key);
            let value = representation::to_value(
                listed.view(&source.resource_type, &related),
                &self.list.query.base_url,
            );
            let exact = source.plan.exact;
            let matches = exact || source.filter.as_ref().is_none_or(|filter| filter.matches(&value));
            (matches, value)
        });
        Ok(evaluated.collect())
    }

    /// What other tables say of rows of one type.
    async fn related<'l>(
        &mut self,
        resource_type: &ResourceType,
        rows: impl IntoIterator<Item = &'l Listed>,
        load: Load,
    ) -> Result<RelatedRows, Failure> {
        let (mut all, mut grouped) = (Vec::new(), Vec::new());
        for listed in rows {
            all.push(listed.key);
            if listed.grouped {
                grouped.push(listed.key);
            }
        }
        let mut related = RelatedRows::default();
        if load.members && resource_type.has_members() && !all.is_empty() {
            related.members = Some(rows::members(self.link, self.list.tenant, &all).await?);
        }
        if load.groups && resource_type.has_groups() {
            let groups = if grouped.is_empty() {
                HashMap::new()
            } else {
                rows::groups(self.link, self.list.tenant, &grouped).await?
            };
            related.groups = Some(groups);
        }
        Ok(related)
    }

    /// Writes the page; what is past its end only tells that there is more.
    async fn finish(&mut self, total: u64, mut page: Vec<Found>) -> Result<Listing, Failure> {
        let list = self.list;
        let take = list.window.take;
        let more = page.len() > take;
        page.truncate(take);
        let mut related = Vec::with_capacity(list.sources.len());
        for (index, source) in list.sources.iter().enumerate() {
            let rows = page.iter().filter(|found| found.source == index).map(|found| &found.listed);
            related.push(self.related(&source.resource_type, rows.collect::<Vec<_>>(), source.shown).await?);
        }
        let mut writer = representation::Writer::new(&list.query.base_url, &list.query.projection);
        let mut resources = Resources::default();
        let mut next = None;
        for Found { source: index, listed, sort_key } in page {
            let Some(source) = list.sources.get(index) else { continue };
            let related = related.get_mut(index).map(|rows| rows.take(listed.key)).unwrap_or_default();
            let view = listed.view(&source.resource_type, &related);
            resources.push(|out| writer.write(view, out));
            if more {
                let resource_type = source.resource_type.name.clone();
                next = Some(Position { sort_key, resource_type, id: listed.id });
            }
        }
        Ok(Listing { total, resources, next })
    }

    async fn ask(&mut self, sql: Fragment) -> Result<Vec<Row>, Failure> {
        Ok(self.link.send(&[sql.into_step()]).await?.pop().unwrap_or_default())
    }

    fn scope<'s>(&self, source: &'s Source) -> Scope<'s> {
        Scope { tenant: self.list.tenant, resource_type: &source.resource_type.name }
    }
}

/// What other tables say of some rows, by key; `None` where nobody asked.
#[derive(Default)]
struct RelatedRows {
    members: Option<HashMap<i64, Vec<crate::scim::member::Member>>>,
    groups: Option<HashMap<i64, Vec<crate::scim::member::GroupRef>>>,
}

impl RelatedRows {
    fn take(&mut self, key: i64) -> Related {
        Related {
            members: self.members.as_mut().map(|rows| rows.remove(&key).unwrap_or_default()),
            groups: self.groups.as_mut().map(|rows| rows.remove(&key).unwrap_or_default()),
        }
    }
}
