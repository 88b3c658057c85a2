//! [`PageWriter`]: a page of a list, written as its rows are read. What a row holds goes from the
//! database's page to the answer, and into nothing between them.

use super::list::Read;
use super::reader::{Budget, ReadError};
use super::related;
use super::rows::{Grouped, Listed};
use crate::scim::cursor::Position;
use crate::scim::list::Resources;
use crate::scim::representation;
use crate::store::Listing;
use crate::store::list::Source;

/// Resources that room is made for ahead.
const ROOM: usize = 100;

/// A page under way.
pub(super) struct PageWriter<'r> {
    read: Read<'r>,
    writer: representation::Writer<'r>,
    grouped: Grouped,
    resources: Resources,
    /// The last of a full page.
    last: Option<Position>,
    /// Whether there was one more.
    more: bool,
}

impl<'r> PageWriter<'r> {
    pub(super) fn new(read: Read<'r>) -> Self {
        let query = &read.list.query;
        let writer = representation::Writer::new(&query.base_url, &query.projection);
        let grouped = Grouped::new(read.list.tenant);
        Self { read, writer, grouped, resources: Resources::default(), last: None, more: false }
    }

    /// How many matches it was given.
    pub(super) fn found(&self) -> usize {
        self.resources.len() + usize::from(self.more)
    }

    /// The last resource of a page that is full.
    pub(super) fn last(&self) -> Option<&Position> {
        self.last.as_ref()
    }

    /// Takes the next match; what is past the page's end only tells that there is more.
    pub(super) fn push(
        &mut self,
        source: &Source,
        listed: Listed<'_>,
        sort_key: Option<&str>,
        budget: &mut Budget,
    ) -> Result<(), ReadError> {
        let Read { list, connection, .. } = self.read;
        let take = list.window.take;
        if self.resources.len() == take {
            self.more = true;
            return Ok(());
        }
        let (resource_type, shown) = (&source.resource_type, source.shown);
        let grouped = shown.groups && self.grouped.contains(connection, listed.key)?;
        let related = related(connection, list.tenant, resource_type, listed.key, grouped, shown, budget)?;
        let resource = listed.view(resource_type, &related);
        self.resources.push(|out| self.writer.write(resource, out));
        if self.resources.len() == 1 {
            self.resources.reserve(take.min(ROOM) - 1);
        }
        if self.resources.len() == take {
            self.last = Some(Position {
                sort_key: sort_key.map(str::to_owned),
                resource_type: resource_type.name.clone(),
                id: listed.id.to_owned(),
            });
        }
        Ok(())
    }

    /// The answer.
    pub(super) fn finish(self, total: u64) -> Listing {
        let next = self.last.filter(|_| self.more);
        Listing { total, resources: self.resources, next }
    }
}
