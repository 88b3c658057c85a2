//! Lists sorted by a unique attribute that every resource has, such as `userName`: its index holds them in
//! that order, so a page costs what it holds.

use rusqlite::params_from_iter;

use super::condition::Fragment;
use super::list::{List, Read, Source, Window};
use super::page::PageWriter;
use super::reader::{Budget, ReadError};
use super::rows;
use crate::store::Listing;
use crate::store::index::{self, Indexed};

/// A way along an index.
pub(super) struct Walk<'l> {
    source: &'l Source,
    attribute: Indexed,
    descending: bool,
}

/// The way for a request, where there is one.
pub(super) fn of(list: &List) -> Option<Walk<'_>> {
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

impl<'l> Walk<'l> {
    /// Reads total and page.
    pub(super) fn run(self, read: Read<'l>, budget: &mut Budget) -> Result<Listing, ReadError> {
        let Window { skip, take: _, want, after } = &read.list.window;
        let total = read.count(self.source)?;
        let mut sql = Fragment::default();
        let attribute = self.attribute.name.clone();
        sql.push(
            "SELECT resource, value FROM lookup WHERE tenant = ? AND attribute = ?",
            [read.list.tenant.into(), attribute.into()],
        );
        if let Some(key) = after.as_ref().and_then(|after| after.sort_key.clone()) {
            sql.push(if self.descending { " AND value < ?" } else { " AND value > ?" }, [key.into()]);
        }
        sql.push(if self.descending { " ORDER BY value DESC" } else { " ORDER BY value" }, []);
        let (limit, skip) = (i64::try_from(*want).unwrap_or(-1), i64::try_from(*skip).unwrap_or(i64::MAX));
        sql.push(" LIMIT ? OFFSET ?", [limit.into(), skip.into()]);
        let mut statement = read.connection.prepare_cached(&sql.text)?;
        let mut keys = statement.query(params_from_iter(sql.parameters))?;
        let mut page = PageWriter::new(read);
        while let Some(row) = keys.next()? {
            budget.spend(1)?;
            let sort_key = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
            rows::by_key(read.connection, row.get(0)?, |listed| {
                page.push(self.source, listed, Some(sort_key), budget)
            })?;
        }
        Ok(page.finish(total))
    }
}
