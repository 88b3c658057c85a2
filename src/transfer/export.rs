//! Writing an export.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::format::{CHUNK_BYTES, Complete, End, Frame, Opening, Tally, VERSION};
use super::resume::{self, Halfway};
use super::sums::{Sums, Whole};
use super::{Progress, Watch};
use crate::store::transfer::{Exporter, Row, Section, Tenant, Totals};
use crate::store::{StoreError, TenantKey};

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The file cannot be written.
    #[error("cannot write {}: {error}; what is there is kept: run the same command again to go on", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Nobody takes it.
    #[error("cannot write the export: {0}")]
    Output(io::Error),
    /// Another export writes the same file.
    #[error("another export writes {} at this moment", .0.display())]
    Busy(PathBuf),
    /// A tenant went away meanwhile.
    #[error("the tenant {0} is not there any more")]
    Gone(String),
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<io::Error> for ExportError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Writes an export of tenants, each with what it has.
pub async fn export(
    exporter: &mut dyn Exporter,
    tenants: &[TenantKey],
    out: impl Write + Send,
    watch: &mut Watch<'_>,
) -> Result<Vec<(TenantKey, Tally)>, ExportError> {
    let mut writer = Writer::new(out)?;
    let mut done = Vec::with_capacity(tenants.len());
    for tenant in tenants {
        done.push((tenant.clone(), writer.tenant(exporter, tenant, watch).await?));
    }
    writer.finish()?;
    Ok(done)
}

/// Writes an export into a file, which is there when it is whole; until then it is written beside, in a file that
/// an export that was stopped goes on with.
pub async fn export_to_file(
    exporter: &mut dyn Exporter,
    tenants: &[TenantKey],
    path: &Path,
    watch: &mut Watch<'_>,
) -> Result<Vec<(TenantKey, Tally)>, ExportError> {
    let part = part_of(path);
    let failed = |error| ExportError::File { path: part.clone(), error };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        // It names people.
        .mode(0o600)
        .open(&part)
        .map_err(failed)?;
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => ExportError::Busy(part.clone()),
        TryLockError::Error(error) => failed(error),
    })?;
    let done = write_file(exporter, tenants, &file, watch).await;
    let done = done.map_err(|error| match error {
        ExportError::Output(error) => failed(error),
        error => error,
    })?;
    let place = || {
        file.sync_all()?;
        std::fs::rename(&part, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    };
    place().map_err(|error| ExportError::File { path: path.to_owned(), error })?;
    Ok(done)
}

/// Where an export is written until it is whole.
fn part_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    path.with_file_name(name)
}

async fn write_file(
    exporter: &mut dyn Exporter,
    tenants: &[TenantKey],
    mut file: &File,
    watch: &mut Watch<'_>,
) -> Result<Vec<(TenantKey, Tally)>, ExportError> {
    let there = resume::find(exporter, tenants, file).await?;
    let Some(there) = there else {
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        return export(exporter, tenants, file, watch).await;
    };
    file.set_len(there.offset)?;
    file.seek(SeekFrom::Start(there.offset))?;
    let mut writer = Writer { out: BufWriter::new(file), whole: there.whole, line: Vec::new() };
    let mut done = there.done;
    let mut left = tenants.iter().skip(done.len());
    if let Some(halfway) = there.halfway
        && let Some(tenant) = left.next()
    {
        done.push((tenant.clone(), writer.rest(exporter, tenant, halfway, watch).await?));
    }
    for tenant in left {
        done.push((tenant.clone(), writer.tenant(exporter, tenant, watch).await?));
    }
    writer.finish()?;
    Ok(done)
}

struct Writer<W: Write> {
    out: BufWriter<W>,
    whole: Whole,
    /// The line that is written.
    line: Vec<u8>,
}

impl<W: Write + Send> Writer<W> {
    fn new(out: W) -> Result<Self, ExportError> {
        let mut writer = Self { out: BufWriter::new(out), whole: Whole::default(), line: Vec::new() };
        writer.write(&Frame::ScimOperatorExport(Opening { version: VERSION }), None)?;
        Ok(writer)
    }

    /// Writes a line, one that counts when there are sums.
    fn write(&mut self, line: &impl Serialize, sums: Option<&mut Sums>) -> Result<(), ExportError> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)
            .map_err(|error| StoreError::Internal(format!("a row cannot be written: {error}")))?;
        if let Some(sums) = sums {
            sums.line(&self.line);
        }
        self.line.push(b'\n');
        Ok(self.out.write_all(&self.line)?)
    }

    fn check(&mut self, sums: &mut Sums) -> Result<(), ExportError> {
        let check = sums.check();
        self.write(&Frame::Check(check), None)?;
        Ok(self.out.flush()?)
    }

    /// Writes a tenant.
    async fn tenant(
        &mut self,
        exporter: &mut dyn Exporter,
        tenant: &TenantKey,
        watch: &mut Watch<'_>,
    ) -> Result<Tally, ExportError> {
        let opened = exporter.open(tenant).await?;
        let (tenant, totals) = opened.ok_or_else(|| ExportError::Gone(tenant.0.to_string()))?;
        let mut sums = Sums::new();
        self.write(&Frame::Tenant(tenant.clone()), Some(&mut sums))?;
        let sections = Section::ALL.map(|section| (section, None));
        self.sections(exporter, &tenant, totals, (sums, Tally::default()), sections, watch).await
    }

    /// Writes the rest of a tenant that is open.
    async fn rest(
        &mut self,
        exporter: &mut dyn Exporter,
        tenant: &TenantKey,
        halfway: Halfway,
        watch: &mut Watch<'_>,
    ) -> Result<Tally, ExportError> {
        let Halfway { tenant: row, totals, mark, tally, last } = halfway;
        debug_assert_eq!(row.name, *tenant.0);
        let from = last.as_ref().map_or(Section::Resources, Row::section);
        let sections = Section::ALL.into_iter().filter(|section| *section >= from);
        let sections = sections.map(|section| (section, last.clone().filter(|_| section == from)));
        self.sections(exporter, &row, totals, (Sums::after(mark), tally), sections, watch).await
    }

    async fn sections(
        &mut self,
        exporter: &mut dyn Exporter,
        tenant: &Tenant,
        totals: Totals,
        (mut sums, mut tally): (Sums, Tally),
        sections: impl IntoIterator<Item = (Section, Option<Row>)>,
        watch: &mut Watch<'_>,
    ) -> Result<Tally, ExportError> {
        let total = totals.resources + totals.memberships + totals.changes;
        for (section, after) in sections {
            // An export that goes on begins what may have changed anew.
            if section == Section::Awaited && sums.lines() > 0 {
                self.check(&mut sums)?;
            }
            if !exporter.seek(section, after.as_ref()).await? {
                return Err(ExportError::Gone(tenant.name.clone()));
            }
            loop {
                let rows = exporter.next().await?;
                if rows.is_empty() {
                    break;
                }
                for row in &rows {
                    tally.add(row);
                    self.write(row, Some(&mut sums))?;
                    if sums.bytes() >= CHUNK_BYTES {
                        self.check(&mut sums)?;
                    }
                }
                watch(Progress { what: &tenant.name, done: tally.rows(), total });
            }
        }
        if sums.lines() > 0 {
            self.check(&mut sums)?;
        }
        let sha256 = sums.mark().digest;
        self.write(&Frame::End(End { tenant: tenant.name.clone(), tally, sha256 }), None)?;
        self.whole.add(sha256);
        Ok(tally)
    }

    fn finish(mut self) -> Result<(), ExportError> {
        let complete: Complete = self.whole.complete();
        self.write(&Frame::Complete(complete), None)?;
        Ok(self.out.flush()?)
    }
}
