//! What the files say: values that know their places, and which of them have been read.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashSet;

use serde_json::Value;

use crate::config::yaml;
use crate::config::{KeyPath, Position, Text};

/// How much a note matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Requests would go elsewhere, or not at all.
    Error,
    /// Something is left out or done otherwise.
    Warning,
}

/// Something to report about a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// How much it matters.
    pub severity: Severity,
    /// The file.
    pub file: String,
    /// The key path, after the kind and name of a resource of Kubernetes; empty: the whole file.
    pub at: String,
    /// Where in the file.
    pub position: Option<Position>,
    /// One line, lower case.
    pub message: String,
}

/// The documents of all files, and what was found out about them.
#[derive(Debug)]
pub struct Context<'d> {
    documents: Vec<Document<'d>>,
    notes: RefCell<Vec<(usize, Note)>>,
    /// The values that were read, by their addresses.
    read: RefCell<HashSet<*const Value>>,
}

#[derive(Debug)]
struct Document<'d> {
    file: &'d str,
    content: &'d yaml::Document,
}

impl<'d> Context<'d> {
    /// Reads all documents of these texts, each with the name of its file.
    ///
    /// # Errors
    ///
    /// Where a file is neither YAML nor JSON.
    pub fn new(texts: impl IntoIterator<Item = (&'d str, &'d Text<'d>)>) -> Result<Self, Note> {
        let mut documents = Vec::new();
        for (file, text) in texts {
            let parsed = text.documents().map_err(|invalid| Note {
                severity: Severity::Error,
                file: file.to_owned(),
                at: invalid.at.to_string(),
                position: Some(invalid.position),
                message: invalid.message.clone(),
            })?;
            documents.extend(parsed.iter().map(|content| Document { file, content }));
        }
        Ok(Self {
            documents,
            notes: RefCell::default(),
            read: RefCell::default(),
        })
    }

    /// Each document.
    pub fn roots(&self) -> Vec<Node<'_>> {
        let documents = self.documents.iter().enumerate();
        documents
            .map(|(index, document)| Node {
                context: self,
                document: index,
                at: KeyPath::root(),
                value: Some(&document.content.value),
            })
            .collect()
    }

    /// Reports something that concerns no place.
    pub fn note_without_place(&self, severity: Severity, message: &str) {
        let note = Note {
            severity,
            file: self
                .documents
                .first()
                .map_or_else(String::new, |it| it.file.to_owned()),
            at: String::new(),
            position: None,
            message: message.to_owned(),
        };
        self.add(usize::MAX, note);
    }

    /// Whether there is an error among the notes.
    pub fn has_errors(&self) -> bool {
        let notes = self.notes.borrow();
        notes.iter().any(|(_, it)| it.severity == Severity::Error)
    }

    /// Reports every key that no reader took.
    pub fn report_unread(&self) {
        for root in self.roots() {
            root.report_unread();
        }
    }

    /// The notes in the order of the files.
    pub fn into_notes(self) -> Vec<Note> {
        let mut notes = self.notes.into_inner();
        notes.sort_by_key(|(document, note)| (*document, note.position));
        let mut notes: Vec<Note> = notes.into_iter().map(|(_, note)| note).collect();
        notes.dedup();
        notes
    }

    /// Notes one more, of the first [`MAX_NOTES`]; whether there is an error stays known.
    fn add(&self, document: usize, note: Note) {
        let is_needed = note.severity == Severity::Error && !self.has_errors();
        let mut notes = self.notes.borrow_mut();
        match notes.len().cmp(&MAX_NOTES) {
            Ordering::Less => notes.push((document, note)),
            _ if is_needed => notes.push((document, note)),
            Ordering::Equal => notes.push((
                usize::MAX,
                Note {
                    severity: Severity::Warning,
                    file: note.file,
                    at: String::new(),
                    position: None,
                    message: format!(
                        "more than {MAX_NOTES} places need attention; not all are listed"
                    ),
                },
            )),
            Ordering::Greater => {}
        }
    }
}

/// A value at its place, or the place where none is.
#[derive(Clone, Debug)]
pub struct Node<'a> {
    context: &'a Context<'a>,
    document: usize,
    at: KeyPath,
    value: Option<&'a Value>,
}

impl<'a> Node<'a> {
    /// Whether there is a value, and it is not null.
    pub fn is_present(&self) -> bool {
        self.value.is_some_and(|it| !it.is_null())
    }

    /// What tells this place from every other.
    pub fn id(&self) -> (usize, KeyPath) {
        (self.document, self.at.clone())
    }

    /// The value.
    pub fn value(&self) -> Option<&'a Value> {
        self.value
    }

    /// Whether this mapping has the key. Does not count as reading it.
    pub fn has(&self, key: &str) -> bool {
        self.value.is_some_and(|it| it.get(key).is_some())
    }

    /// The member `key`, which counts as read: with all that it contains once that is read.
    pub fn get(&self, key: &str) -> Node<'a> {
        let value = self.value.and_then(|it| it.get(key));
        let node = self.within(self.at.key(key), value);
        node.mark();
        node
    }

    /// The member at the end of these keys.
    pub fn dig(&self, keys: &[&str]) -> Node<'a> {
        keys.iter().fold(self.clone(), |node, key| node.get(key))
    }

    /// The first of these members that is there.
    pub fn any_of(&self, keys: &[&str]) -> Node<'a> {
        let found = keys.iter().find(|key| self.has(key));
        self.get(found.or(keys.first()).unwrap_or(&""))
    }

    /// The elements of a list; a single value counts as a list of one.
    pub fn items(&self) -> Vec<Node<'a>> {
        match self.value {
            Some(Value::Array(items)) => {
                let items = items.iter().enumerate();
                let node = |(index, value)| self.within(self.at.index(index), Some(value));
                items.map(node).inspect(Node::mark).collect()
            }
            Some(Value::Null) | None => Vec::new(),
            Some(_) => vec![self.clone()],
        }
    }

    /// The members of a mapping.
    pub fn entries(&self) -> Vec<(&'a str, Node<'a>)> {
        let Some(Value::Object(members)) = self.value else {
            return Vec::new();
        };
        let members = members.iter();
        let node = |(key, value): (&'a String, &'a Value)| {
            let node = self.within(self.at.key(key), Some(value));
            node.mark();
            (key.as_str(), node)
        };
        members.map(node).collect()
    }

    /// The text; a number or a boolean as it is written.
    pub fn text(&self) -> Option<String> {
        match self.value? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Null => None,
            _ => {
                self.error("is not a text");
                None
            }
        }
    }

    /// The text, or nothing where this is a list or a mapping.
    pub fn text_if_scalar(&self) -> Option<String> {
        let is_scalar = |it: &&Value| !it.is_object() && !it.is_array();
        self.value.filter(is_scalar).and_then(|_| self.text())
    }

    /// The whole number.
    pub fn number(&self) -> Option<u64> {
        let value = self.value.filter(|it| !it.is_null())?;
        let number = value.as_u64();
        let number = number.or_else(|| value.as_str()?.parse().ok());
        if number.is_none() {
            self.error("is not a whole number");
        }
        number
    }

    /// Whether the value is `true`.
    pub fn is_true(&self) -> bool {
        self.value == Some(&Value::Bool(true))
    }

    /// Takes this and all that it contains for read: it changes nothing.
    pub fn ignore(&self) {
        self.mark();
        self.items_of_any_kind().iter().for_each(Node::ignore);
    }

    /// Takes these members for read.
    pub fn ignore_keys(&self, keys: &[&str]) {
        for key in keys.iter().filter(|key| self.has(key)) {
            self.get(key).ignore();
        }
    }

    /// Reports that this is left out or done otherwise.
    pub fn warn(&self, message: impl Into<String>) {
        self.note(Severity::Warning, message.into());
    }

    /// Reports that all of this is left out, if there is something.
    pub fn warn_if_present(&self, message: &str) {
        if self.is_present() {
            self.ignore();
            self.warn(message);
        }
    }

    /// Reports that this has no equivalent.
    pub fn error(&self, message: impl Into<String>) {
        self.note(Severity::Error, message.into());
    }

    /// Reports what of this nobody read.
    fn report_unread(&self) {
        let is_root = self.at.is_root();
        if !is_root && !self.is_read() {
            self.warn("has no equivalent here; left out");
            return;
        }
        self.items_of_any_kind()
            .iter()
            .for_each(Node::report_unread);
    }

    fn items_of_any_kind(&self) -> Vec<Node<'a>> {
        match self.value {
            Some(Value::Array(items)) => {
                let items = items.iter().enumerate();
                let node = |(index, value)| self.within(self.at.index(index), Some(value));
                items.map(node).collect()
            }
            Some(Value::Object(members)) => {
                let node = |(key, value): (&String, _)| self.within(self.at.key(key), Some(value));
                members.iter().map(node).collect()
            }
            _ => Vec::new(),
        }
    }

    fn within(&self, at: KeyPath, value: Option<&'a Value>) -> Node<'a> {
        Node {
            context: self.context,
            document: self.document,
            at,
            value,
        }
    }

    fn mark(&self) {
        if let Some(value) = self.value {
            self.context
                .read
                .borrow_mut()
                .insert(std::ptr::from_ref(value));
        }
    }

    fn is_read(&self) -> bool {
        let read = self.context.read.borrow();
        self.value
            .is_some_and(|value| read.contains(&std::ptr::from_ref(value)))
    }

    fn note(&self, severity: Severity, message: String) {
        let Some(document) = self.context.documents.get(self.document) else {
            return;
        };
        let text = |pointer: &str| {
            document
                .content
                .value
                .pointer(pointer)
                .and_then(Value::as_str)
        };
        let resource = text("/kind").zip(text("/metadata/name"));
        let at = match resource {
            Some((kind, name)) if self.at.is_root() => format!("{kind}/{name}"),
            Some((kind, name)) => format!("{kind}/{name} {}", self.at),
            None => self.at.to_string(),
        };
        let note = Note {
            severity,
            file: document.file.to_owned(),
            at: one_line(&at),
            position: document.content.places.key(&self.at),
            message: one_line(&message),
        };
        self.context.add(self.document, note);
    }
}

/// How many notes are kept: a person reads no more, and a hostile file could have one for each value.
const MAX_NOTES: usize = 1_000;

/// Text that cannot end the line in which it stands.
pub fn one_line(text: &str) -> String {
    let is_end = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}');
    text.replace(is_end, " ")
}
