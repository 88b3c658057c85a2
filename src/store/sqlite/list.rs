//! Lists: total and page of one moment, holding no more than the page and the sort keys before its end.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use rusqlite::{Connection, params_from_iter};
use serde_json::Value;

use super::anchors::Anchors;
use super::condition::{Fragment, Scope};
use super::page::PageWriter;
use super::reader::{Budget, ReadError};
use super::rows::{self, Listed, columns};
use super::{related, walk};
use crate::scim::filter::sort_key;
use crate::scim::representation;
use crate::store::Listing;
use crate::store::list::{self, List, Ranked, Source, Window};
use crate::store::plan::Effort;

/// Rows that a short read may skip by an index.
const SHORT_SKIP: u64 = 10_000;

/// Whether the read is sure to touch many rows.
pub(super) fn is_long(list: &List, anchors: &Anchors) -> bool {
    let sorted = list.query.sort.is_some() && list::walk(list).is_none();
    let skip = match &list.sources[..] {
        [source] if source.plan.condition.is_none() => {
            anchors.distance(list.tenant, &source.resource_type.name, list.window.skip)
        }
        _ => list.window.skip,
    };
    skip > SHORT_SKIP
        || list.sources.iter().any(|Source { plan, .. }| match plan.effort {
            Effort::Point | Effort::Few => false,
            Effort::Range => true,
            Effort::All => sorted || !plan.exact,
        })
}

/// Reads total and page.
pub(super) fn run(
    list: &List,
    anchors: &Anchors,
    connection: &Connection,
    budget: &mut Budget,
) -> Result<Listing, ReadError> {
    let read = Read { list, anchors, connection };
    if list.query.sort.is_none() {
        return read.by_id(budget);
    }
    match list::walk(list) {
        Some(way) => walk::run(&way, read, budget),
        None => read.sorted(budget),
    }
}

/// A list request on a connection.
#[derive(Clone, Copy)]
pub(super) struct Read<'r> {
    pub list: &'r List,
    pub anchors: &'r Anchors,
    pub connection: &'r Connection,
}

impl Read<'_> {
    /// The order without `sortBy`: type, then id.
    fn by_id(self, budget: &mut Budget) -> Result<Listing, ReadError> {
        let Window { mut skip, take: _, want, ref after } = self.list.window;
        let mut total = 0;
        let mut page = PageWriter::new(self);
        for source in &self.list.sources {
            let name = source.resource_type.name.as_str();
            let order = after.as_ref().map_or(Ordering::Greater, |after| name.cmp(&after.resource_type));
            let after = after.as_ref().filter(|_| order == Ordering::Equal).map(|after| after.id.as_str());
            if source.plan.exact && source.plan.effort != Effort::Point {
                let count = self.count(source)?;
                total += count;
                if order == Ordering::Less || page.found() >= want || skip >= count {
                    skip = skip.saturating_sub(count);
                    continue;
                }
                self.stretch(source, after, skip, &mut page, budget)?;
                skip = 0;
                continue;
            }
            self.candidates(source, None, usize::MAX, 0, |listed| {
                budget.spend(1)?;
                if !source.plan.exact && !self.evaluate(source, listed, budget)?.0 {
                    return Ok(());
                }
                total += 1;
                if order == Ordering::Less || after.is_some_and(|after| listed.id <= after) {
                    return Ok(());
                }
                if skip > 0 {
                    skip -= 1;
                } else if page.found() < want {
                    page.push(source, listed, None, budget)?;
                }
                Ok(())
            })?;
        }
        Ok(page.finish(total))
    }

    /// What a page takes of one source, of which every resource in question matches.
    fn stretch(
        self,
        source: &Source,
        after: Option<&str>,
        skip: u64,
        page: &mut PageWriter<'_>,
        budget: &mut Budget,
    ) -> Result<(), ReadError> {
        let (tenant, name) = (self.list.tenant, source.resource_type.name.as_str());
        let want = self.list.window.want - page.found();
        let plain = source.plan.condition.is_none() && self.list.window.after.is_none();
        // By now something was read, so that the reader sees one moment.
        let anchor = if plain { self.anchors.before(tenant, name, skip, budget.commit) } else { None };
        let (index, anchor) = anchor.unzip();
        let rest = skip - index.unwrap_or(0);
        if rest > SHORT_SKIP && budget.is_short() {
            return Err(ReadError::Long);
        }
        let before = page.found();
        self.candidates(source, anchor.as_deref().or(after), want, rest, |listed| {
            budget.spend(1)?;
            page.push(source, listed, None, budget)
        })?;
        if plain && let Some(last) = page.last().filter(|last| last.resource_type == name) {
            let index = skip + (page.found() - before) as u64;
            self.anchors.remember(tenant, name, index, &last.id, budget.commit);
        }
        Ok(())
    }

    /// Any order: every match's sort key is looked at, and those up to the page's end are kept.
    fn sorted(self, budget: &mut Budget) -> Result<Listing, ReadError> {
        let Window { skip, take: _, want, ref after } = self.list.window;
        let descending = self.list.descending();
        let after = after.clone().map(|position| Ranked::of(self.list, position));
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let keep = if want == 0 { 0 } else { skip.saturating_add(want) };
        let mut total = 0;
        let mut heap = BinaryHeap::new();
        for (index, source) in self.list.sources.iter().enumerate() {
            self.candidates(source, None, usize::MAX, 0, |listed| {
                budget.spend(1)?;
                let (matches, value) = self.evaluate(source, listed, budget)?;
                if !matches {
                    return Ok(());
                }
                total += 1;
                let sort_key = source.sort.as_ref().and_then(|sort| sort_key(&value, sort));
                let (id, key) = (listed.id.to_owned(), listed.key);
                let ranked = Ranked { descending, sort_key, source: index, id, key };
                if after.as_ref().is_none_or(|after| ranked > *after) {
                    heap.push(ranked);
                    if heap.len() > keep {
                        heap.pop();
                    }
                }
                Ok(())
            })?;
        }
        let mut page = PageWriter::new(self);
        for Ranked { sort_key, source, key, .. } in heap.into_sorted_vec().into_iter().skip(skip) {
            rows::by_key(self.connection, key, |listed| {
                page.push(&self.list.sources[source], listed, sort_key.as_deref(), budget)
            })?;
        }
        Ok(page.finish(total))
    }

    /// All matches of an exact plan.
    pub(super) fn count(self, source: &Source) -> Result<u64, ReadError> {
        let Some(condition) = &source.plan.condition else {
            return Ok(rows::count(self.connection, self.list.tenant, &source.resource_type.name)?);
        };
        let mut sql = Fragment::default();
        let scope = self.scope(source);
        sql.push("SELECT count(*) FROM resource r WHERE r.key IN (", []);
        scope.keys(&mut sql, condition);
        sql.push(") AND +r.type = ?", [scope.resource_type.to_owned().into()]);
        let mut statement = self.connection.prepare_cached(&sql.text)?;
        let count: i64 = statement.query_row(params_from_iter(sql.parameters), |row| row.get(0))?;
        Ok(count.cast_unsigned())
    }

    /// Visits a source's candidates in the order of their ids.
    fn candidates(
        self,
        source: &Source,
        after: Option<&str>,
        limit: usize,
        skip: u64,
        mut visit: impl FnMut(Listed<'_>) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let scope = self.scope(source);
        let mut sql = Fragment::default();
        match &source.plan.condition {
            None => {
                sql.push(
                    concat!("SELECT ", columns!(), " FROM resource r WHERE r.tenant = ? AND r.type = ?"),
                    [],
                );
                sql.push("", [scope.tenant.into(), scope.resource_type.to_owned().into()]);
            }
            // Keys first: SQLite sorts them without the bodies.
            Some(condition) => {
                sql.push("SELECT r.key FROM resource r WHERE r.key IN (", []);
                scope.keys(&mut sql, condition);
                sql.push(") AND +r.type = ?", [scope.resource_type.to_owned().into()]);
            }
        }
        if let Some(after) = after {
            sql.push(" AND r.id > ?", [after.to_owned().into()]);
        }
        let (limit, skip) = (i64::try_from(limit).unwrap_or(-1), i64::try_from(skip).unwrap_or(i64::MAX));
        sql.push(" ORDER BY r.id LIMIT ? OFFSET ?", [limit.into(), skip.into()]);
        let mut statement = self.connection.prepare_cached(&sql.text)?;
        let mut rows = statement.query(params_from_iter(sql.parameters))?;
        while let Some(row) = rows.next()? {
            match source.plan.condition {
                None => visit(Listed::of(row)?)?,
                Some(_) => rows::by_key(self.connection, row.get(0)?, &mut visit)?,
            }
        }
        Ok(())
    }

    /// Whether a candidate matches, and its representation.
    fn evaluate(
        self,
        source: &Source,
        listed: Listed<'_>,
        budget: &mut Budget,
    ) -> Result<(bool, Value), ReadError> {
        let (tenant, resource_type) = (self.list.tenant, &source.resource_type);
        let related =
            related(self.connection, tenant, resource_type, listed.key, true, source.evaluated, budget)?;
        let resource = listed.view(resource_type, &related);
        let value = representation::to_value(resource, &self.list.query.base_url);
        let matches = source.plan.exact || source.filter.as_ref().is_none_or(|filter| filter.matches(&value));
        Ok((matches, value))
    }

    fn scope(self, source: &Source) -> Scope<'_> {
        Scope { tenant: self.list.tenant, resource_type: &source.resource_type.name }
    }
}
