//! Values as a JSON text has them.

use super::read::{Read, Reader, Unread};

/// The text of one value, checked and not read: what passes from one text into another as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a>(
    /// UTF-8, without white space around it.
    &'a [u8],
);

impl<'a> Raw<'a> {
    /// Takes the text of a value, which has been checked.
    pub(crate) fn checked(text: &'a [u8]) -> Self {
        Self(text)
    }

    /// The value's text.
    pub fn get(self) -> &'a str {
        std::str::from_utf8(self.0).unwrap_or_default()
    }

    /// The same as bytes.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Whether it is an object.
    pub fn is_object(self) -> bool {
        self.0.first() == Some(&b'{')
    }
}

impl<'a> Read<'a> for Raw<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unread> {
        reader.skip().map(Self)
    }
}
