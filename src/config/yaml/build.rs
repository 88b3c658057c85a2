//! From parser events to a tree of values with positions, one document at a time.
//!
//! Merge keys (`<<`) and aliases are resolved here, with a bound on what aliases may expand to.

use std::{
    collections::{HashMap, HashSet, hash_map},
    rc::Rc,
    sync::Arc,
};

use granit_parser::{Event, ScalarStyle, Span};
use serde_json::{Map, Value};

use super::{Document, Place, Position, Source, child, item, place, scalar};
use crate::config::findings::{Finding, Location};

/// Values one document may expand to through its aliases. The largest manifest an API server takes is 3 MiB.
const MAX_VALUES: usize = 200_000;

/// A value and where it begins.
pub(super) struct Node {
    at: Place,
    content: Content,
    /// How many values are in it, itself included, aliases expanded.
    size: usize,
}

#[derive(Clone)]
enum Content {
    Scalar(Value),
    Sequence(Vec<Rc<Node>>),
    Mapping(Vec<Entry>),
}

#[derive(Clone)]
struct Entry {
    key: String,
    at: Place,
    value: Rc<Node>,
}

/// A collection that is still open.
struct Open {
    at: Place,
    anchor: usize,
    content: OpenContent,
}

enum OpenContent {
    Sequence(Vec<Rc<Node>>),
    Mapping(OpenMapping),
}

#[derive(Default)]
struct OpenMapping {
    entries: Vec<Entry>,
    /// Where each key is in `entries`.
    index: HashMap<String, usize>,
    /// What merge keys name.
    merged: Vec<Rc<Node>>,
    /// The key whose value comes next.
    key: Option<Key>,
}

/// A key whose value has not come yet.
enum Key {
    Name(String, Place),
    /// `<<`: the value's entries join this mapping.
    Merge,
    /// A key that was already reported; its value is dropped.
    Unusable,
}

/// Builds one document.
pub(super) struct Builder<'a> {
    file: &'a Arc<str>,
    findings: &'a mut Vec<Finding>,
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    root: Option<Rc<Node>>,
    /// Values so far, aliases expanded.
    values: usize,
}

impl<'a> Builder<'a> {
    pub(super) fn new(file: &'a Arc<str>, findings: &'a mut Vec<Finding>) -> Self {
        Self { file, findings, open: Vec::new(), anchors: HashMap::new(), root: None, values: 0 }
    }

    /// Takes one event; true when the document is complete.
    pub(super) fn event(&mut self, event: Event<'_>, span: &Span) -> bool {
        let at = place(&span.start);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let tag = tag.as_deref();
                match self.open.last_mut() {
                    Some(Open { content: OpenContent::Mapping(mapping), .. })
                        if mapping.key.is_none() && plain && tag.is_none() && text == "<<" =>
                    {
                        mapping.key = Some(Key::Merge);
                    }
                    _ => self.add(at, Content::Scalar(scalar::resolve(&text, plain, tag)), anchor, 1),
                }
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open.push(Open { at, anchor, content: OpenContent::Sequence(Vec::new()) });
            }
            Event::MappingStart(_, anchor, _) => {
                self.open.push(Open { at, anchor, content: OpenContent::Mapping(OpenMapping::default()) });
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => {
                if let Some(node) = self.anchors.get(&anchor).cloned() {
                    // Findings about an aliased value point at the alias: that is where it is used.
                    self.add(at, node.content.clone(), 0, node.size);
                } else {
                    // Once too large, anchors are no longer kept.
                    if self.values <= MAX_VALUES {
                        self.report(
                            "alias",
                            at,
                            "an alias cannot stand inside the value that it names".into(),
                        );
                    }
                    self.add(at, Content::Scalar(Value::Null), 0, 1);
                }
            }
            Event::DocumentEnd => return true,
            _ => {}
        }
        false
    }

    /// The document, once it is complete; none when it is empty.
    pub(super) fn finish(mut self) -> Option<Document> {
        let root = self.root.take()?;
        if matches!(root.content, Content::Scalar(Value::Null)) || self.values > MAX_VALUES {
            return None;
        }
        let mut positions = HashMap::new();
        positions.insert(String::new(), Position { key: root.at, value: root.at });
        let value = root.to_json("", &mut positions);
        let source =
            Source { file: Arc::clone(self.file), positions: Arc::new(positions), base: String::new() };
        Some(Document { value, source })
    }

    fn close(&mut self) {
        let Some(Open { at, anchor, content }) = self.open.pop() else { return };
        let content = match content {
            OpenContent::Sequence(items) => Content::Sequence(items),
            OpenContent::Mapping(mapping) => {
                Content::Mapping(self.merge(at, mapping.entries, &mapping.merged))
            }
        };
        self.add(at, content, anchor, 1);
    }

    /// Adds what merge keys bring: earlier sources win over later ones, and the mapping's own keys over all.
    fn merge(&mut self, at: Place, mut entries: Vec<Entry>, merged: &[Rc<Node>]) -> Vec<Entry> {
        if merged.is_empty() {
            return entries;
        }
        let mut seen: HashSet<String> = entries.iter().map(|entry| entry.key.clone()).collect();
        for source in merged {
            let sources = match &source.content {
                Content::Sequence(items) => items.iter().map(AsRef::as_ref).collect(),
                _ => vec![source.as_ref()],
            };
            for source in sources {
                let Content::Mapping(more) = &source.content else {
                    self.report(
                        "merge-key",
                        at,
                        "the merge key `<<` takes a mapping or a list of mappings".into(),
                    );
                    continue;
                };
                for entry in more {
                    if seen.insert(entry.key.clone()) && self.count(entry.value.size, at) {
                        entries.push(entry.clone());
                    }
                }
            }
        }
        entries
    }

    /// Puts a complete value where it belongs: it is a key, a value, an item or the root. `weight` is the number
    /// of values that were not counted before.
    fn add(&mut self, at: Place, content: Content, anchor: usize, weight: usize) {
        if !self.count(weight, at) {
            // Too large, and reported: what is left is dropped, only the nesting is followed.
            if let Some(Open { content: OpenContent::Mapping(mapping), .. }) = self.open.last_mut() {
                mapping.key = if mapping.key.is_some() { None } else { Some(Key::Unusable) };
            }
            return;
        }
        let size = 1 + content.children().map(|node| node.size).sum::<usize>();
        let node = Rc::new(Node { at, content, size });
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open { content: OpenContent::Sequence(items), .. }) => items.push(node),
            Some(Open { content: OpenContent::Mapping(mapping), .. }) => {
                if let Some((code, at, message)) = mapping.add(node) {
                    self.report(code, at, message);
                }
            }
        }
    }

    /// Counts values; false once there are too many, with one finding.
    fn count(&mut self, more: usize, at: Place) -> bool {
        let before = self.values;
        self.values = before.saturating_add(more);
        if self.values > MAX_VALUES && before <= MAX_VALUES {
            self.report("too-large", at, format!("the document has more than {MAX_VALUES} values"));
        }
        self.values <= MAX_VALUES
    }

    fn report(&mut self, code: &'static str, at: Place, message: String) {
        let location = Location { file: self.file.to_string(), line: at.line, column: at.column };
        self.findings.push(Finding::error(code, message).at(Some(location)));
    }
}

impl OpenMapping {
    /// Takes a key or the value of the key before; gives what is wrong with it.
    fn add(&mut self, node: Rc<Node>) -> Option<(&'static str, Place, String)> {
        match self.key.take() {
            None => {
                if let Some(name) = node.content.key() {
                    self.key = Some(Key::Name(name, node.at));
                } else {
                    self.key = Some(Key::Unusable);
                    return Some(("key", node.at, "a key must be text, a number or a boolean".to_owned()));
                }
            }
            Some(Key::Merge) => self.merged.push(node),
            Some(Key::Unusable) => {}
            Some(Key::Name(key, at)) => match self.index.entry(key) {
                hash_map::Entry::Vacant(vacant) => {
                    let entry = Entry { key: vacant.key().clone(), at, value: node };
                    vacant.insert(self.entries.len());
                    self.entries.push(entry);
                }
                hash_map::Entry::Occupied(occupied) => {
                    let entry = &mut self.entries[*occupied.get()];
                    let message = format!("the key {:?} is already set in line {}", entry.key, entry.at.line);
                    // The last one wins, as it does for `kubectl`.
                    entry.value = node;
                    entry.at = at;
                    return Some(("duplicate-key", at, message));
                }
            },
        }
        None
    }
}

impl Content {
    fn children(&self) -> Box<dyn Iterator<Item = &Node> + '_> {
        match self {
            Self::Scalar(_) => Box::new(std::iter::empty()),
            Self::Sequence(items) => Box::new(items.iter().map(AsRef::as_ref)),
            Self::Mapping(entries) => Box::new(entries.iter().map(|entry| entry.value.as_ref())),
        }
    }

    /// The value as a key of a JSON object: what `sigs.k8s.io/yaml` makes of it.
    fn key(&self) -> Option<String> {
        match self {
            Self::Scalar(Value::String(text)) => Some(text.clone()),
            Self::Scalar(value @ (Value::Bool(_) | Value::Number(_))) => Some(value.to_string()),
            _ => None,
        }
    }
}

impl Node {
    fn to_json(&self, path: &str, positions: &mut HashMap<String, Position>) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::Sequence(items) => {
                let items = items.iter().enumerate().map(|(index, node)| {
                    let path = item(path, index);
                    let value = node.to_json(&path, positions);
                    positions.insert(path, Position { key: node.at, value: node.at });
                    value
                });
                Value::Array(items.collect())
            }
            Content::Mapping(entries) => {
                let entries = entries.iter().map(|Entry { key, at, value: node }| {
                    let path = child(path, key);
                    let value = node.to_json(&path, positions);
                    positions.insert(path, Position { key: *at, value: node.at });
                    (key.clone(), value)
                });
                Value::Object(entries.collect::<Map<_, _>>())
            }
        }
    }
}
