//! Strings as a JSON text has them.

use std::borrow::Cow;

use super::read::{Read, Reader, Unread};
use super::{block, string};

/// A string of a JSON text, decoded only by who needs its characters.
///
/// Most text only passes: what a user says goes from one JSON text into another as it stands.
/// Like a [`Scanner`](super::Scanner), this takes half of a surrogate pair for valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quoted<'a>(
    /// What stands between the quotes: UTF-8 with valid escapes.
    &'a [u8],
);

impl<'a> Quoted<'a> {
    /// Takes what stands between the quotes, which has been checked.
    pub(crate) fn checked(text: &'a [u8]) -> Self {
        Self(text)
    }

    /// What stands between the quotes.
    pub fn text(self) -> &'a [u8] {
        self.0
    }

    /// The string: borrowed, unless it has escapes. `None` where they are half of a surrogate pair,
    /// which no `str` can hold.
    pub fn decode(self) -> Option<Cow<'a, str>> {
        if block::contains(b'\\', self.0) {
            return string::decode_escaped(self.0).map(Cow::Owned);
        }
        std::str::from_utf8(self.0).ok().map(Cow::Borrowed)
    }

    /// How long the string is. Unit: bytes of UTF-8.
    pub fn decoded_len(self) -> usize {
        let mut length = 0;
        string::each_piece(self.0, &mut |piece| {
            length += piece.len();
            true
        });
        length
    }

    /// Whether it can be [decoded](Self::decode).
    fn is_text(self) -> bool {
        !block::contains(b'\\', self.0) || string::each_piece(self.0, &mut |_| true)
    }

    /// Whether nothing is in it.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The string as bytes of UTF-8; as it stands where it cannot be decoded.
    pub(super) fn to_bytes(self) -> Cow<'a, [u8]> {
        match self.decode() {
            Some(Cow::Owned(text)) => Cow::Owned(text.into_bytes()),
            Some(Cow::Borrowed(_)) | None => Cow::Borrowed(self.0),
        }
    }

    /// Whether nothing but white space is in it.
    pub fn is_blank(self) -> bool {
        match self.0.first() {
            None => true,
            // A blank starts with white space, with an escape that means some, or beyond ASCII.
            Some(b'!'..=b'[' | b']'..=b'~') => false,
            Some(_) => self
                .decode()
                .is_some_and(|text| text.trim_start().is_empty()),
        }
    }
}

/// A string as a JSON text has it, which is known to be text: no half of a surrogate pair is in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text<'a>(Quoted<'a>);

impl<'a> Text<'a> {
    /// Takes a string; `None` where it has half of a surrogate pair.
    pub fn new(quoted: Quoted<'a>) -> Option<Self> {
        quoted.is_text().then_some(Self(quoted))
    }

    /// Takes what stands between the quotes of one that was [`Text`] before.
    pub(crate) fn checked(text: &'a [u8]) -> Self {
        Self(Quoted(text))
    }

    /// The string: borrowed, unless it has escapes.
    pub fn decode(self) -> Cow<'a, str> {
        self.0.decode().unwrap_or_default()
    }

    /// As the JSON text has it.
    pub fn quoted(self) -> Quoted<'a> {
        self.0
    }

    /// Whether nothing is in it.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> From<Text<'a>> for Quoted<'a> {
    fn from(text: Text<'a>) -> Self {
        text.0
    }
}

impl<'a> Read<'a> for Text<'a> {
    #[inline(never)]
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unread> {
        reader.text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_is_what_has_no_characters_but_white_space() {
        for (text, is_blank) in [
            ("", true),
            (" ", true),
            (r" \t\n\r", true),
            ("\u{a0}\u{3000}", true),
            (r"\u00a0\u3000", true),
            ("a", false),
            (r"  \\", false),
            (r"\u0041", false),
            (" é", false),
            (r"\ud800", false),
        ] {
            assert_eq!(
                Quoted::checked(text.as_bytes()).is_blank(),
                is_blank,
                "{text}"
            );
        }
    }

    #[test]
    fn only_escapes_are_decoded() {
        let quoted = Quoted::checked("é\"".as_bytes());
        assert!(matches!(quoted.decode(), Some(Cow::Borrowed("é\""))));
        let quoted = Quoted::checked(br"\u00e9\\");
        assert_eq!(quoted.decode().as_deref(), Some("é\\"));
        assert_eq!(quoted.to_bytes(), "é\\".as_bytes());
        assert_eq!(Quoted::checked(br"\ud800").decode(), None);
    }

    #[test]
    fn a_string_is_decoded_as_serde_json_does_it() {
        for text in [
            "",
            "a",
            "é🦀",
            r#"\"\\\/\b\f\n\r\t"#,
            r"a\u0041\u00e9\u20acz",
            r"\ud83e\udd80",
            r"\uD83E\uDD80 and more",
            r"\ud83e",
            r"\ud83e\ud83e\udd80",
            r"\udd80",
            r"\ud83ex",
            r"\ud83e\n",
            r"\udbff\udfff\u0000",
        ] {
            let quoted = Quoted::checked(text.as_bytes());
            let expected: Option<String> = serde_json::from_str(&format!("\"{text}\"")).ok();
            let decoded = quoted.decode().map(Cow::into_owned);
            assert_eq!(decoded, expected, "{text}");
            assert_eq!(Text::new(quoted).is_some(), expected.is_some(), "{text}");
            if let Some(expected) = expected {
                assert_eq!(quoted.decoded_len(), expected.len(), "{text}");
            }
        }
    }
}
