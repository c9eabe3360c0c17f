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

    /// Gives the text piece by piece, without the white space between its tokens.
    pub fn without_space(self, give: &mut dyn FnMut(&'a str)) {
        let (mut is_text, mut is_escaped) = (false, false);
        let pieces = self.get().split(|c: char| {
            if is_text {
                is_text = is_escaped || c != '"';
                is_escaped = c == '\\' && !is_escaped;
                return false;
            }
            is_text = c == '"';
            c.is_ascii_whitespace()
        });
        pieces.filter(|piece| !piece.is_empty()).for_each(give);
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
