//! The text of a configuration, parsed once for all that look at it. Not in the module.

use std::borrow::Cow;
use std::cell::OnceCell;

use serde_json::Value;

use super::error::{ConfigErrors, KeyPath, Position, Subject};
use super::yaml::{self, Document, Invalid, Places};
use super::{file, read, read_file};

/// A text, and what it has: YAML, or JSON, which is YAML but for a few escapes.
#[derive(Debug)]
pub struct Text<'t> {
    text: Cow<'t, str>,
    stream: yaml::Stream,
    file: OnceCell<Read>,
}

/// What could be read of the keys, and what is wrong; or why nothing could.
type Read = Result<(Option<file::Gateway>, ConfigErrors), ConfigErrors>;

impl<'t> Text<'t> {
    /// Parses a text.
    pub fn new(text: impl Into<Cow<'t, str>>) -> Self {
        let text = text.into();
        let mut stream = yaml::parse(&text);
        if stream.error.as_ref().is_some_and(|it| !it.is_too_large)
            && let Some(value) = json(&text)
        {
            stream = yaml::Stream {
                documents: vec![Document {
                    value,
                    ..Document::default()
                }],
                error: None,
            };
        }
        Self {
            text,
            stream,
            file: OnceCell::new(),
        }
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Every document.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn documents(&self) -> Result<&[Document], &Invalid> {
        match &self.stream.error {
            Some(error) => Err(error),
            None => Ok(&self.stream.documents),
        }
    }

    /// The value of the only document; an empty text has none.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, or a second document.
    pub fn value(&self) -> Result<Cow<'_, Value>, Invalid> {
        match (self.stream.documents.as_slice(), &self.stream.error) {
            ([_, second, ..], _) => Err(Invalid {
                at: KeyPath::root(),
                position: second.start,
                message: "a second document starts here; one is allowed".to_owned(),
                is_too_large: false,
            }),
            (_, Some(error)) => Err(error.clone()),
            ([only], None) => Ok(Cow::Borrowed(&only.value)),
            ([], None) => Ok(Cow::Owned(Value::Null)),
        }
    }

    /// The places in the only document, if the text is one.
    pub fn places(&self) -> Option<&Places> {
        match self.documents() {
            Ok([only]) => Some(&only.places),
            _ => None,
        }
    }

    /// Where a key or its value stands, or the nearest part of the document that contains it.
    pub fn position(&self, at: &KeyPath, subject: Subject) -> Option<Position> {
        let places = self.places()?;
        match subject {
            Subject::Key => places.key(at),
            Subject::Value => places.value(at),
        }
    }

    /// The configuration as it is written, without expanding or resolving anything.
    ///
    /// # Errors
    ///
    /// Everything that does not fit the keys, each with its key path and its place.
    pub fn file(&self) -> Result<&file::Gateway, ConfigErrors> {
        let (file, errors) = self.read()?;
        let file = file.as_ref().filter(|_| errors.is_empty());
        file.ok_or_else(|| self.located(errors.clone()))
    }

    /// The same as far as it can be read, and what is wrong; it is read once.
    pub(super) fn read(&self) -> Result<&(Option<file::Gateway>, ConfigErrors), ConfigErrors> {
        let read = self.file.get_or_init(|| {
            let value = self.value().map_err(ConfigErrors::from)?;
            let mut errors = ConfigErrors::default();
            let file = read_file(Ok(&value), &mut errors);
            Ok((file, errors))
        });
        read.as_ref().map_err(Clone::clone)
    }

    pub(super) fn located(&self, mut errors: ConfigErrors) -> ConfigErrors {
        errors.locate(|error| self.position(&error.at, error.subject));
        errors
    }
}

/// A text that is JSON, and has an escape that YAML has not.
fn json(text: &str) -> Option<Value> {
    let is_object = text.trim_start().starts_with('{');
    let has_bound = || text.bytes().filter(|it| *it == b',').count() < yaml::MAX_VALUES;
    let value = (is_object && has_bound()).then(|| read::parse_json(text).ok());
    value.flatten()
}

impl From<Invalid> for ConfigErrors {
    fn from(invalid: Invalid) -> Self {
        let mut errors = Self::default();
        errors.push_at(invalid.position, &invalid.at, invalid.message);
        errors
    }
}
