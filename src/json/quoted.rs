//! Strings as a JSON text has them.

use std::borrow::Cow;

use super::string;

/// A string of a JSON text, decoded only by who needs its characters.
///
/// Most text only passes: what a user says goes from one JSON text into another as it stands.
/// Like a [`Scanner`](super::Scanner), this takes half of a surrogate pair for valid.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quoted<'a>(
    /// What stands between the quotes: UTF-8 with valid escapes.
    &'a [u8],
);

impl<'a> Quoted<'a> {
    /// Takes what stands between the quotes, which has been checked.
    pub(super) fn checked(text: &'a [u8]) -> Self {
        Self(text)
    }

    /// What stands between the quotes.
    pub fn text(self) -> &'a [u8] {
        self.0
    }

    /// The string: borrowed, unless it has escapes. `None` where they are half of a surrogate pair,
    /// which no `str` can hold.
    pub fn decode(self) -> Option<Cow<'a, str>> {
        if self.0.contains(&b'\\') {
            return string::decode_escaped(self.0).map(Cow::Owned);
        }
        std::str::from_utf8(self.0).ok().map(Cow::Borrowed)
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
}
