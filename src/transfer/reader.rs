//! Reading an export: chunks whose digest is right, in the order they must have. Nothing of a chunk is given before
//! all of it has been checked.

use std::io::{self, BufRead, Read as _};

use super::format::{CHUNK_BYTES, Check, End, Frame, LINE_BYTES, Line, Opening, Tally, VERSION};
use super::sums::{Sums, Whole};
use crate::store::transfer::{Hex, Mark, Row, Section, Tenant};

/// Why an export cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is none.
    #[error("it is no export of scim-operator: {0}")]
    Foreign(String),
    /// A newer program wrote it.
    #[error(
        "it has version {found} of the format, and this scim-operator reads versions up to {VERSION}: import it with the version that wrote it, or a newer one"
    )]
    Newer {
        /// Its version.
        found: u32,
    },
    /// It ends too early.
    #[error("it is cut off: it ends after line {line}, before {missing}; copy it again, or export again")]
    Cut {
        /// The last line there is.
        line: u64,
        /// What is not there.
        missing: &'static str,
    },
    /// It has been changed since it was written.
    #[error("it is damaged: line {line}: {reason}; copy it again, or export again")]
    Damaged {
        /// Where that shows.
        line: u64,
        /// How.
        reason: String,
    },
    /// It cannot be read.
    #[error("{0}")]
    Io(io::Error),
}

/// What is read.
#[derive(Debug)]
pub(super) enum Part {
    /// A tenant begins.
    Tenant(Tenant),
    /// Rows with their lines, of a chunk whose digest is right.
    Chunk(Vec<(u64, Row)>, Mark),
    /// The tenant is whole.
    End(Tally, Hex<32>),
}

/// Reads an export from its begin.
pub(super) struct Reader<R> {
    input: R,
    /// The last line that was read.
    line: u64,
    /// Bytes that were read.
    offset: u64,
    text: Vec<u8>,
    tenant: Option<Progressing>,
    whole: Whole,
    complete: bool,
}

/// The tenant that is read.
struct Progressing {
    tenant: Tenant,
    sums: Sums,
    tally: Tally,
    section: Section,
    /// The last change.
    sequence: u64,
}

impl<R: BufRead> Reader<R> {
    pub(super) fn new(input: R) -> Result<Self, ReadError> {
        let (line, offset, text, tenant, whole, complete) = Default::default();
        let mut reader = Self { input, line, offset, text, tenant, whole, complete };
        reader.open()?;
        Ok(reader)
    }

    /// Bytes read so far.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// How much of the open tenant has been read, up to the last check.
    pub(super) fn tally(&self) -> Tally {
        self.tenant.as_ref().map(|tenant| tenant.tally).unwrap_or_default()
    }

    fn open(&mut self) -> Result<(), ReadError> {
        let foreign = |what: &str| ReadError::Foreign(format!("line 1 {what}"));
        if !self.read_line()? {
            return Err(foreign("is not there"));
        }
        let line = std::str::from_utf8(&self.text).ok().and_then(|text| Line::parse(text).ok());
        match line {
            Some(Line::Frame(Frame::ScimOperatorExport(Opening { version: 1..=VERSION }))) => Ok(()),
            Some(Line::Frame(Frame::ScimOperatorExport(Opening { version }))) if version > VERSION => {
                Err(ReadError::Newer { found: version })
            }
            _ => Err(foreign("does not say so")),
        }
    }

    /// The next part; none after the last.
    pub(super) fn next(&mut self) -> Result<Option<Part>, ReadError> {
        let mut rows = Vec::new();
        loop {
            if !self.read_line()? {
                return if self.complete { Ok(None) } else { Err(self.cut()) };
            }
            let line = self.line;
            let damaged = |reason: String| ReadError::Damaged { line, reason };
            if self.complete {
                return Err(damaged("there is something after the end".into()));
            }
            let text = std::str::from_utf8(&self.text).map_err(|_| damaged("it is not UTF-8".into()))?;
            let parsed = Line::parse(text).map_err(|error| damaged(words(&error)))?;
            let Some(open) = &mut self.tenant else {
                match parsed {
                    Line::Frame(Frame::Tenant(tenant)) => {
                        let mut sums = Sums::new();
                        sums.line(&self.text);
                        let (tally, section, sequence) =
                            (Tally::default(), Section::Resources, tenant.pruned);
                        let open = Progressing { tenant: tenant.clone(), sums, tally, section, sequence };
                        self.tenant = Some(open);
                        return Ok(Some(Part::Tenant(tenant)));
                    }
                    Line::Frame(Frame::Complete(said)) => {
                        if said != self.whole.complete() {
                            return Err(damaged("the digest of the whole is another".into()));
                        }
                        self.complete = true;
                        continue;
                    }
                    _ => return Err(damaged("a tenant must begin here".into())),
                }
            };
            match parsed {
                Line::Row(row) => {
                    open.sums.line(&self.text);
                    open.follow(&row).map_err(damaged)?;
                    rows.push((line, row));
                    if open.sums.bytes() > 2 * CHUNK_BYTES + LINE_BYTES {
                        return Err(damaged("a check is missing before it".into()));
                    }
                }
                Line::Frame(Frame::Check(said)) => {
                    open.check(said).map_err(damaged)?;
                    return Ok(Some(Part::Chunk(rows, open.sums.mark())));
                }
                Line::Frame(Frame::End(said)) => {
                    open.end(&said).map_err(damaged)?;
                    self.whole.add(said.sha256);
                    self.tenant = None;
                    return Ok(Some(Part::End(said.tally, said.sha256)));
                }
                Line::Frame(_) => return Err(damaged("the tenant has not ended before it".into())),
            }
        }
    }

    /// Reads a line into `text`, without its end; false at the end of the input.
    fn read_line(&mut self) -> Result<bool, ReadError> {
        self.text.clear();
        let mut bounded = (&mut self.input).take(LINE_BYTES);
        let read = bounded.read_until(b'\n', &mut self.text).map_err(ReadError::Io)?;
        if read == 0 {
            return Ok(false);
        }
        if self.text.pop() != Some(b'\n') {
            if read as u64 == LINE_BYTES {
                let reason = "it is longer than any line of an export".into();
                return Err(ReadError::Damaged { line: self.line + 1, reason });
            }
            return Err(self.cut());
        }
        self.line += 1;
        self.offset += read as u64;
        Ok(true)
    }

    fn cut(&self) -> ReadError {
        let missing = if self.tenant.is_some() { "the end of a tenant" } else { "its end" };
        ReadError::Cut { line: self.line, missing }
    }
}

impl Progressing {
    /// Takes a row in, if it may stand here.
    fn follow(&mut self, row: &Row) -> Result<(), String> {
        if row.section() < self.section {
            return Err(format!("{:?} do not come after {:?}", row.section(), self.section));
        }
        self.section = row.section();
        if let Row::Change(change) = row {
            if change.sequence != self.sequence + 1 {
                return Err(format!("change {} does not follow {}", change.sequence, self.sequence));
            }
            self.sequence = change.sequence;
        }
        self.tally.add(row);
        Ok(())
    }

    fn check(&mut self, said: Check) -> Result<(), String> {
        let lines = self.sums.lines();
        if self.sums.check() == said {
            return Ok(());
        }
        Err(format!("the digest of the {lines} lines before it is another"))
    }

    fn end(&self, said: &End) -> Result<(), String> {
        let Self { tenant, sums, tally, .. } = self;
        if sums.lines() > 0 || said.sha256 != sums.mark().digest {
            return Err("the digest of the tenant is another".into());
        }
        if said.tenant != tenant.name || said.tally != *tally {
            return Err("it does not say what the tenant has".into());
        }
        if self.sequence != tenant.head {
            return Err(format!("the audit log ends at {} and not at {}", self.sequence, tenant.head));
        }
        Ok(())
    }
}

/// What is wrong with a line of JSON: its column, as the line is known, and nothing of what it holds.
fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split_once(" at line ") {
        Some((what, _)) => format!("column {}: {what}", error.column()),
        None => text,
    }
}
