//! Reading an export into a store.
//!
//! The file is read twice: once to see that all of it is right, before anything is written; then to write it.

use std::fs::File;
use std::io::{self, BufReader, Seek as _, SeekFrom};

use super::reader::{Part, ReadError, Reader};
use super::{Progress, Tally, Watch};
use crate::store::TenantKey;
use crate::store::transfer::{Found, Hex, ImportError, Importer, Tenant};

/// What became of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is there now.
    Imported(Tally),
    /// This very export was imported before; nothing was done.
    ThereBefore,
}

/// Why an export was not imported.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The export is not right. Nothing was imported.
    #[error(transparent)]
    Export(#[from] ReadError),
    /// It has no such tenant.
    #[error("there is no tenant {wanted:?} in it; it has:{}", list(.there))]
    Unknown {
        /// Who was asked for.
        wanted: String,
        /// Who is there.
        there: Vec<String>,
    },
    /// Tenants are there that this export did not bring. Nothing was imported.
    #[error(
        "only into tenants without data: {}; nothing was imported", .0.iter().map(|(tenant, words)| format!("{tenant} has {words}")).collect::<Vec<_>>().join("; ")
    )]
    Occupied(Vec<(String, String)>),
    /// The store does not take it.
    #[error(transparent)]
    Store(#[from] ImportError),
}

fn list(names: &[String]) -> String {
    const MOST: usize = 50;
    let mut text = names.iter().take(MOST).fold(String::new(), |text, name| text + "\n  " + name);
    if names.len() > MOST {
        text.push_str("\n  and more");
    }
    text
}

/// A tenant of an export that has been checked.
struct Plan {
    tenant: Tenant,
    /// The digest at each check.
    digests: Vec<Hex<32>>,
    tally: Tally,
    todo: Todo,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Todo {
    /// It was not asked for, or is there.
    Skip,
    Whole,
    /// What comes after so many chunks.
    After(u64),
}

/// Imports tenants of an export: those named, or all when none is.
pub async fn import(
    importer: &mut dyn Importer,
    mut file: &File,
    only: &[TenantKey],
    watch: &mut Watch<'_>,
) -> Result<Vec<(TenantKey, Outcome)>, TransferError> {
    let size = file.metadata().map_or(0, |metadata| metadata.len());
    let mut plans = check(file, size, watch)?;
    for wanted in only {
        if !plans.iter().any(|plan| plan.tenant.name == *wanted.0) {
            let there = plans.into_iter().map(|plan| plan.tenant.name).collect();
            return Err(TransferError::Unknown { wanted: wanted.0.to_string(), there });
        }
    }
    let mut outcomes = Vec::new();
    let mut occupied = Vec::new();
    for plan in &mut plans {
        let key = TenantKey(plan.tenant.name.as_str().into());
        if !only.is_empty() && !only.contains(&key) {
            continue;
        }
        match importer.look(&key).await? {
            Found::Nothing => plan.todo = Todo::Whole,
            Found::Partly(mark) => {
                let index = usize::try_from(mark.chunks).ok().and_then(|chunks| chunks.checked_sub(1));
                let same = index.is_some_and(|index| plan.digests.get(index) == Some(&mark.digest));
                plan.todo = if same { Todo::After(mark.chunks) } else { Todo::Whole };
            }
            Found::Imported(digest) if plan.digests.last() == Some(&digest) => {
                outcomes.push((key, Outcome::ThereBefore));
                continue;
            }
            Found::Imported(_) => {
                occupied.push((plan.tenant.name.clone(), "the data of another export".to_owned()));
            }
            Found::Other(words) => occupied.push((plan.tenant.name.clone(), words)),
        }
        outcomes.push((key, Outcome::Imported(plan.tally)));
    }
    if !occupied.is_empty() {
        return Err(TransferError::Occupied(occupied));
    }
    file.seek(SeekFrom::Start(0)).map_err(ReadError::Io)?;
    write(importer, Reader::new(BufReader::new(file))?, &plans, size, watch).await?;
    Ok(outcomes)
}

/// Reads all of it.
fn check(file: &File, size: u64, watch: &mut Watch<'_>) -> Result<Vec<Plan>, ReadError> {
    let mut reader = Reader::new(BufReader::new(file))?;
    let mut plans: Vec<Plan> = Vec::new();
    while let Some(part) = reader.next()? {
        watch(Progress { what: "checking", done: reader.offset(), total: size });
        match (part, plans.last_mut()) {
            (Part::Tenant(tenant), _) => {
                let (digests, tally, todo) = (Vec::new(), Tally::default(), Todo::Skip);
                plans.push(Plan { tenant, digests, tally, todo });
            }
            (Part::Chunk(_, mark), Some(plan)) => plan.digests.push(mark.digest),
            (Part::End(tally, _), Some(plan)) => plan.tally = tally,
            (_, None) => {}
        }
    }
    Ok(plans)
}

async fn write<R: io::BufRead>(
    importer: &mut dyn Importer,
    mut reader: Reader<R>,
    plans: &[Plan],
    size: u64,
    watch: &mut Watch<'_>,
) -> Result<(), TransferError> {
    let mut plans = plans.iter();
    let mut current = None;
    while let Some(part) = reader.next()? {
        match part {
            Part::Tenant(tenant) => {
                current = plans.next().filter(|plan| plan.tenant == tenant);
                match current.map(|plan| plan.todo) {
                    Some(Todo::Whole) => importer.begin(&tenant).await?,
                    Some(Todo::After(_)) => importer.go_on(&tenant).await?,
                    Some(Todo::Skip) | None => {}
                }
            }
            Part::Chunk(rows, mark) => {
                let Some(plan) = current else { continue };
                let wanted = match plan.todo {
                    Todo::Skip => false,
                    Todo::Whole => true,
                    Todo::After(chunks) => mark.chunks > chunks,
                };
                if wanted {
                    importer.add(rows, mark).await?;
                }
                watch(Progress { what: &plan.tenant.name, done: reader.offset(), total: size });
            }
            Part::End(_, digest) => {
                if let Some(plan) = current.take().filter(|plan| plan.todo != Todo::Skip) {
                    importer.finish(&plan.tenant, digest).await?;
                }
            }
        }
    }
    Ok(())
}
