//! Header lists as the host hands them in, and changes to them as data.

use std::rc::Rc;

use crate::pairs;

/// The headers of one message, in order; names are lower case, values are bytes.
///
/// Pseudo-headers (`:path`) are among them.
#[derive(Clone, Debug, Default)]
pub struct Headers<'a> {
    pairs: Vec<(&'a [u8], &'a [u8])>,
    /// What they were read from, where it was a [pair list](pairs).
    list: Option<&'a [u8]>,
}

impl<'a> Headers<'a> {
    /// These headers.
    pub fn new(pairs: Vec<(&'a [u8], &'a [u8])>) -> Self {
        Self { pairs, list: None }
    }

    /// The headers of a [pair list](pairs); none where the bytes are not one.
    pub fn of_list(list: &'a [u8]) -> Self {
        match pairs::decode(list) {
            Some(pairs) => Self {
                pairs,
                list: Some(list),
            },
            None => Self::default(),
        }
    }

    /// The headers as a [pair list](pairs).
    pub fn to_list(&self) -> Vec<u8> {
        match self.list {
            Some(list) => list.to_vec(),
            None => pairs::encode(&self.pairs),
        }
    }

    /// The first value of a header.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.pairs
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
        KeptHeaders(self.to_list())
    }

    /// Every pair.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.pairs.iter().copied()
    }
}

/// The headers of a message whose callback is over, as a [pair list](pairs).
#[derive(Clone, Debug)]
pub struct KeptHeaders(Vec<u8>);

impl KeptHeaders {
    /// The headers as they were.
    pub fn headers(&self) -> Headers<'_> {
        Headers::of_list(&self.0)
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

    /// The value that it gives the header of this name, if it does.
    pub fn value_of(&self, name: &str) -> Option<&str> {
        match self {
            Self::Set(it, value) if it.as_str() == name => Some(value.as_str()),
            Self::Set(..) | Self::Remove(_) => None,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_what_its_headers_are_encoded_to() {
        let named: Vec<(&[u8], &[u8])> = vec![(b":path", b"/"), (b"a", b"\xff"), (b"a", b"")];
        let list = Headers::new(named.clone()).to_list();
        let read = Headers::of_list(&list);
        assert!(read.iter().eq(named));
        assert_eq!(read.to_list(), list);
        let broken = Headers::of_list(b"junk");
        assert_eq!(broken.iter().count(), 0);
        assert_eq!(broken.to_list(), pairs::encode::<&str>(&[]));
    }
}
