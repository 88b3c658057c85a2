//! YAML with positions: text in, one [`Document`] per YAML document out, plus findings.
//!
//! Values are read as `kubectl apply` reads them (`sigs.k8s.io/yaml`, which is YAML 1.1 in its scalars), so `yes` is
//! a boolean and `010` is eight. A syntax error costs one document, not the file. Aliases are bounded.

mod build;
mod scalar;

use std::{collections::HashMap, sync::Arc};

use granit_parser::{Parser, ScanError};
use serde_json::Value;

use self::build::Builder;
use super::findings::{Finding, Location};

/// One YAML document. It may hold a Secret, so it has no `Debug`.
#[derive(Clone)]
pub struct Document {
    /// The content as JSON.
    pub value: Value,
    /// Where each part of it is.
    pub source: Source,
}

/// Where the parts of an object are. An object that did not come from a file has the default: nowhere.
#[derive(Debug, Clone, Default)]
pub struct Source {
    file: Arc<str>,
    positions: Arc<HashMap<String, Position>>,
    /// Prefix of the paths in `positions`: an object in a `List` is at `items[N]`.
    base: String,
}

/// Line and column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    line: usize,
    column: usize,
}

/// The position of one value, and of the key before it.
#[derive(Debug, Clone, Copy)]
struct Position {
    key: Place,
    value: Place,
}

impl Source {
    /// The place of the value at `path`; of its nearest parent when there is none.
    #[must_use]
    pub fn value(&self, path: &str) -> Option<Location> {
        self.find(path, |position| position.value)
    }

    /// The place of the key before the value at `path`; of the nearest parent when there is none.
    #[must_use]
    pub fn key(&self, path: &str) -> Option<Location> {
        self.find(path, |position| position.key)
    }

    /// Whether there is a value at `path`.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.positions.contains_key(&join(&self.base, path))
    }

    /// The same file, with paths relative to `path`.
    #[must_use]
    pub fn under(&self, path: &str) -> Self {
        Self { base: join(&self.base, path), ..self.clone() }
    }

    fn find(&self, path: &str, of: impl Fn(&Position) -> Place) -> Option<Location> {
        let whole = join(&self.base, path);
        let mut path = whole.as_str();
        loop {
            if let Some(position) = self.positions.get(path) {
                // A parent is shown by its key: that is where the missing part belongs.
                let place = if path.len() == whole.len() { of(position) } else { position.key };
                return Some(Location {
                    file: self.file.to_string(),
                    line: place.line,
                    column: place.column,
                });
            }
            if path.is_empty() {
                return None;
            }
            path = &path[..path.rfind(['.', '[']).unwrap_or(0)];
        }
    }
}

fn join(base: &str, path: &str) -> String {
    match (base, path) {
        ("", path) => path.to_owned(),
        (base, "") => base.to_owned(),
        (base, path) if path.starts_with('[') => format!("{base}{path}"),
        (base, path) => format!("{base}.{path}"),
    }
}

/// The path of `key` in the object at `parent`.
#[must_use]
pub fn child(parent: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if !plain {
        format!("{parent}[{key:?}]")
    } else if parent.is_empty() {
        key.to_owned()
    } else {
        format!("{parent}.{key}")
    }
}

/// The path of the item `index` in the list at `parent`.
#[must_use]
pub fn item(parent: &str, index: usize) -> String {
    format!("{parent}[{index}]")
}

/// Reads all documents of one file. Empty documents are left out, as `kubectl` does.
#[must_use]
pub fn parse(file: &str, text: &str) -> (Vec<Document>, Vec<Finding>) {
    let file: Arc<str> = file.into();
    let mut documents = Vec::new();
    let mut findings = Vec::new();
    let mut options = granit_parser::options! { flow_nesting_limit: 100, block_nesting_limit: 100 };
    options.set_emit_comments(false);
    let mut parser = Parser::new_from_str_with_options(text, options);
    loop {
        let mut builder = Builder::new(&file, &mut findings);
        let error = loop {
            match parser.next_event() {
                None => return (documents, findings),
                Some(Err(error)) => break Some(error),
                Some(Ok((event, span))) => {
                    if builder.event(event, &span) {
                        documents.extend(builder.finish());
                        break None;
                    }
                }
            }
        };
        if let Some(error) = error {
            findings.push(syntax_error(&file, &error));
            // Each call moves past at least one document, so this ends.
            match parser.proceed_next_document() {
                Ok(true) => {}
                Ok(false) | Err(_) => return (documents, findings),
            }
        }
    }
}

fn syntax_error(file: &str, error: &ScanError) -> Finding {
    let place = place(error.marker());
    let message = in_words(&format!("{:?}", error.kind()));
    Finding::error("syntax", format!("not valid YAML: {message}")).at(Some(Location {
        file: file.to_owned(),
        line: place.line,
        column: place.column,
    }))
}

/// `TabInBlockIndentation` as "tab in block indentation". The parser's own texts are a feature that would be built
/// for this line alone.
fn in_words(kind: &str) -> String {
    let name = kind.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    let mut words = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

fn place(marker: &granit_parser::Marker) -> Place {
    Place { line: marker.line(), column: marker.col() + 1 }
}
