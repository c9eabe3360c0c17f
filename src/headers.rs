//! Header lists as the host hands them in, and changes to them as data.

use std::rc::Rc;

/// The headers of one message, in order; names are lower case, values are bytes.
///
/// Pseudo-headers (`:path`) are among them.
#[derive(Clone, Debug, Default)]
pub struct Headers<'a>(Vec<(&'a [u8], &'a [u8])>);

impl<'a> Headers<'a> {
    /// Wraps a list.
    pub fn new(pairs: Vec<(&'a [u8], &'a [u8])>) -> Self {
        Self(pairs)
    }

    /// The first value of a header.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.0
            .iter()
            .find(|(it, _)| *it == name.as_bytes())
            .map(|(_, value)| *value)
    }

    /// The first value of a header, where it is UTF-8.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name)
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Every value of a header, in order.
    pub fn all(&self, name: &[u8]) -> impl Iterator<Item = &'a [u8]> {
        self.iter()
            .filter(move |(it, _)| *it == name)
            .map(|(_, value)| value)
    }

    /// The same, to be looked at later.
    pub fn to_kept(&self) -> KeptHeaders {
        let owned = |(name, value): (&[u8], &[u8])| (name.to_vec(), value.to_vec());
        KeptHeaders(self.iter().map(owned).collect())
    }

    /// Every pair.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.0.iter().copied()
    }
}

/// The headers of a message whose callback is over.
#[derive(Clone, Debug)]
pub struct KeptHeaders(Vec<(Vec<u8>, Vec<u8>)>);

impl KeptHeaders {
    /// The headers as they were.
    pub fn headers(&self) -> Headers<'_> {
        let pairs = self.0.iter();
        Headers::new(
            pairs
                .map(|(name, value)| (name.as_slice(), value.as_slice()))
                .collect(),
        )
    }
}

/// One change to a header list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderEdit {
    /// The header is gone, however often it stood there.
    Remove(Text),
    /// The header has this value, once.
    Set(Text, Text),
}

impl HeaderEdit {
    /// Removes a header.
    pub fn remove(name: impl Into<Text>) -> Self {
        Self::Remove(name.into())
    }

    /// Sets a header.
    pub fn set(name: impl Into<Text>, value: impl Into<Text>) -> Self {
        Self::Set(name.into(), value.into())
    }
}

/// Text that is known, shared with a configuration, or made for one request.
#[derive(Clone, Debug)]
pub enum Text {
    /// Known when we were compiled.
    Known(&'static str),
    /// Made for one request.
    Made(String),
    /// Part of a configuration.
    Shared(Rc<str>),
}

impl Text {
    /// The text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(text) => text,
            Self::Made(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text {}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Self::Known(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::Made(text)
    }
}

impl From<Rc<str>> for Text {
    fn from(text: Rc<str>) -> Self {
        Self::Shared(text)
    }
}
