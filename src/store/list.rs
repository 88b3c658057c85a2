//! A planned list request: which rows to look at for each type, which of the matches are the page, and in what
//! order they come. A backend reads them ([`super::Store::list`]).

use std::cmp::Ordering;
use std::sync::Arc;

use super::index::{self, Indexed};
use super::plan::{Plan, mentions, needed_by, union};
use super::{Page, Query};
use crate::scim::cursor::Position;
use crate::scim::filter::Filter;
use crate::scim::resource::Load;
use crate::scim::schema::{AttributeRef, ResourceType};

/// A planned list request.
pub(super) struct List {
    pub tenant: i64,
    /// In the order of their types' names.
    pub sources: Vec<Source>,
    pub query: Query,
    pub window: Window,
}

/// One type of a list request.
pub(super) struct Source {
    pub resource_type: Arc<ResourceType>,
    pub filter: Option<Arc<Filter>>,
    pub plan: Plan,
    /// The sort attribute, where the type has it.
    pub sort: Option<AttributeRef>,
    /// Related data that filter and sort look at.
    pub evaluated: Load,
    /// Related data that the representation shows.
    pub shown: Load,
}

/// Which of the matches are wanted.
pub(super) struct Window {
    /// Matches before the page.
    pub skip: u64,
    /// Resources on the page.
    pub take: usize,
    /// Matches to find: one more than the page where the answer says whether there are more.
    pub want: usize,
    /// Where the page before ended.
    pub after: Option<Position>,
}

impl Window {
    fn new(page: &Page) -> Self {
        match page {
            Page::Index { start_index, count } => {
                Self { skip: start_index.saturating_sub(1), take: *count, want: *count, after: None }
            }
            Page::After { position, count } => {
                let want = if *count == 0 { 0 } else { count.saturating_add(1) };
                Self { skip: 0, take: *count, want, after: position.clone() }
            }
        }
    }
}

impl List {
    /// Plans a request.
    pub(super) fn new(tenant: i64, query: &Query) -> Self {
        let mut sources: Vec<_> = query
            .types
            .iter()
            .map(|(resource_type, filter)| {
                let sort = query.sort.as_ref().and_then(|sort| resource_type.resolve(&sort.by));
                let none = Load { members: false, groups: false };
                let evaluated =
                    union(filter.as_deref().map_or(none, mentions), sort.as_ref().map_or(none, needed_by));
                Source {
                    resource_type: Arc::clone(resource_type),
                    filter: filter.clone(),
                    plan: Plan::new(resource_type, filter.as_deref()),
                    sort,
                    evaluated,
                    shown: query.projection.load(resource_type),
                }
            })
            .collect();
        sources.sort_by(|left, right| left.resource_type.name.cmp(&right.resource_type.name));
        Self { tenant, sources, query: query.clone(), window: Window::new(&query.page) }
    }

    /// Whether the order is the opposite one.
    pub(super) fn descending(&self) -> bool {
        self.query.sort.as_ref().is_some_and(|sort| sort.descending)
    }
}

/// A way along an index.
pub(super) struct Walk<'l> {
    pub source: &'l Source,
    pub attribute: Indexed,
    pub descending: bool,
}

/// The way for a sorted request by a unique attribute that every resource has, such as `userName`: its index holds
/// them in that order, so that a page costs what it holds.
pub(super) fn walk(list: &List) -> Option<Walk<'_>> {
    let sort = list.query.sort.as_ref()?;
    let [source] = &list.sources[..] else { return None };
    let by = source.sort.as_ref()?;
    // Every user has one, from the first on; what a tenant's schema requires, older resources may lack.
    let covers_all = by.attribute.name == "userName" && source.resource_type.has_groups();
    if source.filter.is_some() || by.extension.is_some() || by.sub_attribute.is_some() || !covers_all {
        return None;
    }
    let attribute = index::indexed(&source.resource_type, by).filter(|indexed| indexed.unique)?;
    Some(Walk { source, attribute, descending: sort.descending })
}

/// A match and its place in the order. A missing value is last, and first when descending (RFC 7644
/// section 3.4.2.3); ties go by type and id.
pub(super) struct Ranked {
    pub descending: bool,
    pub sort_key: Option<String>,
    pub source: usize,
    pub id: String,
    pub key: i64,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        let values = match (&self.sort_key, &other.sort_key) {
            (Some(left), Some(right)) => left.cmp(right),
            (left, right) => left.is_none().cmp(&right.is_none()),
        };
        let values = if self.descending { values.reverse() } else { values };
        values.then_with(|| self.source.cmp(&other.source)).then_with(|| self.id.cmp(&other.id))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}

impl Ranked {
    /// The place of a position in a list's order; no match is there.
    pub(super) fn of(list: &List, position: Position) -> Self {
        let Position { sort_key, resource_type, id } = position;
        let source = list.sources.partition_point(|source| source.resource_type.name < resource_type);
        Self { descending: list.descending(), sort_key, source, id, key: 0 }
    }
}
