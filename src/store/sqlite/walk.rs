//! Lists sorted by a unique attribute that every resource has, such as `userName`: its index holds them in
//! that order, so a page costs what it holds.

use rusqlite::params_from_iter;

use super::condition::Fragment;
use super::list::Read;
use super::page::PageWriter;
use super::reader::{Budget, ReadError};
use super::rows;
use crate::store::Listing;
use crate::store::list::{Walk, Window};

/// Reads total and page.
pub(super) fn run(way: &Walk<'_>, read: Read<'_>, budget: &mut Budget) -> Result<Listing, ReadError> {
    let Window { skip, take: _, want, after } = &read.list.window;
    let total = read.count(way.source)?;
    let mut sql = Fragment::default();
    let attribute = way.attribute.name.clone();
    sql.push(
        "SELECT resource, value FROM lookup WHERE tenant = ? AND attribute = ?",
        [read.list.tenant.into(), attribute.into()],
    );
    if let Some(key) = after.as_ref().and_then(|after| after.sort_key.clone()) {
        sql.push(if way.descending { " AND value < ?" } else { " AND value > ?" }, [key.into()]);
    }
    sql.push(if way.descending { " ORDER BY value DESC" } else { " ORDER BY value" }, []);
    let (limit, skip) = (i64::try_from(*want).unwrap_or(-1), i64::try_from(*skip).unwrap_or(i64::MAX));
    sql.push(" LIMIT ? OFFSET ?", [limit.into(), skip.into()]);
    let mut statement = read.connection.prepare_cached(&sql.text)?;
    let mut keys = statement.query(params_from_iter(sql.parameters))?;
    let mut page = PageWriter::new(read);
    while let Some(row) = keys.next()? {
        budget.spend(1)?;
        let sort_key = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
        rows::by_key(read.connection, row.get(0)?, |listed| {
            page.push(way.source, listed, Some(sort_key), budget)
        })?;
    }
    Ok(page.finish(total))
}
