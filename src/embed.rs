//! Embeddings before they have the shape of an API: what a client requests, and what a provider replies.

use std::borrow::Cow;

use crate::json::{Items, Raw, Read, Reader, Text, Unread};
use crate::usage::Usage;

/// A request for embeddings, as places in the client's text.
#[derive(Debug)]
pub struct Request<'a> {
    /// At least one; none is empty.
    pub texts: Vec<Text<'a>>,
    /// Whether they came as a list, which may have one.
    pub is_list: bool,
    /// The length of the vectors, where the client says it: above 0.
    pub dimensions: Option<u64>,
    /// The form of the vectors that the client gets.
    pub encoding: Encoding,
    /// Every other member that is present and not `null`, by name. What a dialect cannot express is
    /// refused by name.
    pub other: Vec<(Cow<'a, str>, Raw<'a>)>,
}

impl<'a> Request<'a> {
    /// The text, where it came by itself and not in a list.
    pub fn only(&self) -> Option<Text<'a>> {
        let text = self.texts.first().copied();
        text.filter(|_| !self.is_list)
    }

    /// About how long it becomes in any dialect, where it was read from so many bytes. Unit: bytes.
    pub fn size_hint(&self, length: usize) -> usize {
        length + MAX_AROUND_BYTES * self.texts.len()
    }
}

/// What mostly stands around a text. Unit: bytes.
const MAX_AROUND_BYTES: usize = 128;

/// In which form a client gets a vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Base64 of 32-bit floats, little-endian.
    Base64,
    /// A list of numbers.
    #[default]
    Float,
}

/// A provider's reply, as places in its text.
#[derive(Debug)]
pub struct Reply<'a> {
    /// One for each text of the request, in their order.
    pub vectors: Vec<Values<'a>>,
    /// As billed.
    pub usage: Usage,
}

impl<'a> Reply<'a> {
    /// A reply to a request of `count` texts.
    ///
    /// # Errors
    ///
    /// When a vector is missing, or there are not as many as there must be: what is wrong.
    pub fn new(
        vectors: impl Iterator<Item = Option<Values<'a>>> + Clone,
        count: usize,
        usage: Usage,
    ) -> Result<Self, String> {
        let found = vectors.clone().count();
        if found != count {
            return Err(format!("it has {found} vectors for {count} texts"));
        }
        let vectors: Option<Vec<_>> = vectors.collect();
        let vectors = vectors.ok_or_else(|| "a vector is missing".to_owned())?;
        Ok(Self { vectors, usage })
    }
}

/// A vector's numbers, which are read one by one.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    /// As the provider wrote them.
    pub text: Raw<'a>,
    /// The same as numbers.
    pub numbers: Items<'a, f64>,
}

impl<'a> Read<'a> for Values<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unread> {
        // Also where the numbers pass as they are, they must be numbers.
        let numbers = reader.clone().value()?;
        let text = reader.value()?;
        Ok(Self { text, numbers })
    }
}
