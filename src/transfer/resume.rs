//! Where an export that was stopped goes on.
//!
//! What is kept of it is what would be written again: tenants to which nobody has written since, and of the last one
//! the sections that only a write changes.

use std::fs::File;
use std::io::{BufReader, Seek as _, SeekFrom};

use super::export::ExportError;
use super::format::Tally;
use super::reader::{Part, Reader};
use super::sums::Whole;
use crate::store::TenantKey;
use crate::store::transfer::{Exporter, Hex, Mark, Row, Tenant, Totals};

/// What is kept, and where to go on.
pub(super) struct There {
    /// Bytes that are kept.
    pub offset: u64,
    /// The tenants that are whole.
    pub done: Vec<(TenantKey, Tally)>,
    /// Their digests.
    pub whole: Whole,
    /// The tenant after them, open in the exporter at the row it goes on after.
    pub halfway: Option<Halfway>,
}

/// A tenant of which a part is there.
pub(super) struct Halfway {
    pub tenant: Tenant,
    pub totals: Totals,
    pub mark: Mark,
    pub tally: Tally,
    /// The last row; `None` when there is none.
    pub last: Option<Row>,
}

/// A tenant that is there whole.
struct Finished {
    tenant: Tenant,
    tally: Tally,
    digest: Hex<32>,
    end: u64,
}

/// A tenant that begins and does not end.
struct Begun {
    tenant: Tenant,
    tally: Tally,
    mark: Mark,
    last: Option<Row>,
    end: u64,
}

/// Finds what there is; `None` when it is no export at all.
pub(super) async fn find(
    exporter: &mut dyn Exporter,
    tenants: &[TenantKey],
    mut file: &File,
) -> Result<Option<There>, ExportError> {
    file.seek(SeekFrom::Start(0))?;
    let Some((start, finished, begun)) = scan(file) else { return Ok(None) };
    let mut there = There { offset: start, done: Vec::new(), whole: Whole::default(), halfway: None };
    for (index, wanted) in tenants.iter().enumerate() {
        let Some(Finished { tenant, tally, digest, end }) = finished.get(index) else { break };
        if tenant.name != *wanted.0 || open(exporter, wanted, tenant).await?.is_none() {
            return Ok(Some(there));
        }
        there.offset = *end;
        there.whole.add(*digest);
        there.done.push((wanted.clone(), *tally));
    }
    if let Some(Begun { tenant, tally, mark, last, end }) = begun
        && finished.len() == there.done.len()
        && let Some(wanted) = tenants.get(there.done.len())
        && tenant.name == *wanted.0
        && let Some(totals) = open(exporter, wanted, &tenant).await?
        && (match &last {
            Some(row) => exporter.seek(row.section(), Some(row)).await?,
            None => true,
        })
    {
        there.offset = end;
        there.halfway = Some(Halfway { tenant, totals, mark, tally, last });
    }
    Ok(Some(there))
}

/// Opens a tenant, if it is still what it was.
async fn open(
    exporter: &mut dyn Exporter,
    wanted: &TenantKey,
    was: &Tenant,
) -> Result<Option<Totals>, ExportError> {
    let opened = exporter.open(wanted).await?;
    Ok(opened.and_then(|(tenant, totals)| (tenant == *was).then_some(totals)))
}

/// Reads as far as it is right.
fn scan(file: &File) -> Option<(u64, Vec<Finished>, Option<Begun>)> {
    let mut reader = Reader::new(BufReader::new(file)).ok()?;
    let start = reader.offset();
    let (mut finished, mut tenant, mut begun) = (Vec::new(), None, None::<Begun>);
    while let Ok(Some(part)) = reader.next() {
        match part {
            Part::Tenant(found) => tenant = Some(found),
            Part::Chunk(rows, mark) => {
                let settled = rows.iter().all(|(_, row)| row.section().is_settled());
                let last = rows.into_iter().next_back().map(|(_, row)| row);
                if let Some(tenant) = &tenant
                    && settled
                {
                    let (tally, end) = (reader.tally(), reader.offset());
                    begun = Some(Begun { tenant: tenant.clone(), tally, mark, last, end });
                }
            }
            Part::End(tally, digest) => {
                begun = None;
                finished.extend(tenant.take().map(|tenant| {
                    let end = reader.offset();
                    Finished { tenant, tally, digest, end }
                }));
            }
        }
    }
    Some((start, finished, begun))
}
