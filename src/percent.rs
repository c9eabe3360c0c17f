//! Percent-encoding, both ways.
//!
//! Source: <https://www.rfc-editor.org/rfc/rfc3986#section-2.1>.

use std::borrow::Cow;

/// The bytes that a text stands for. What is no escape stays.
///
/// ```
/// assert_eq!(llm_proxy::percent::decode(b"a%2Fb%zz"), b"a/b%zz");
/// ```
pub fn decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let digits: Option<&[u8; 2]> = after.first_chunk().filter(|_| byte == b'%');
        match digits.and_then(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)) {
            Some(value) => {
                decoded.push(value);
                rest = after.get(2..).unwrap_or_default();
            }
            None => decoded.push(byte),
        }
    }
    decoded
}

/// A text as one segment of a path. Beside letters, digits and `-._~`, the bytes of `also_plain` stand
/// there as they are; others are escaped.
///
/// `None` where a server, or a proxy on the way, could take it for something else than one segment: with
/// the gateway's key, it would reach what the configuration does not offer. Also a `:` that is not
/// plain: what follows one may be a method.
///
/// ```
/// use llm_proxy::percent::encode_segment;
///
/// assert_eq!(encode_segment("my model", b"").as_deref(), Some("my%20model"));
/// assert_eq!(encode_segment("a/b", b""), None);
/// ```
pub fn encode_segment<'a>(text: &'a str, also_plain: &[u8]) -> Option<Cow<'a, str>> {
    let plain = |byte: u8| {
        byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || also_plain.contains(&byte)
    };
    if text.bytes().all(|byte| byte == b'.') {
        return None;
    }
    if text.bytes().all(plain) {
        return Some(Cow::Borrowed(text));
    }
    let leaves = |c: char| {
        let is_plain = u8::try_from(c).is_ok_and(plain);
        !is_plain && (c.is_control() || "/\\%?#;:".contains(c))
    };
    if text.contains(leaves) {
        return None;
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        match plain(byte) {
            true => escaped.push(char::from(byte)),
            false => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    Some(Cow::Owned(escaped))
}

fn digit(byte: u8) -> Option<u8> {
    let value = char::from(byte).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_escape_stays() {
        for (text, expected) in [
            ("", ""),
            ("a%20b", "a b"),
            ("%2f%2F", "//"),
            ("%", "%"),
            ("%4", "%4"),
            ("%+1%-1", "%+1%-1"),
            ("%252e", "%2e"),
        ] {
            assert_eq!(decode(text.as_bytes()), expected.as_bytes(), "{text}");
        }
        assert_eq!(decode(b"%ff"), [0xff]);
    }

    #[test]
    fn a_text_stays_in_its_segment() {
        for (text, also_plain, expected) in [
            ("gpt-4o", "", Some("gpt-4o")),
            ("my model ü", "", Some("my%20model%20%C3%BC")),
            ("a@1", "", Some("a%401")),
            ("a@1", "@", Some("a@1")),
            ("a:b", ":", Some("a:b")),
            ("a:b", "", None),
            ("..a", "", Some("..a")),
        ] {
            let found = encode_segment(text, also_plain.as_bytes());
            assert_eq!(found.as_deref(), expected, "{text:?}");
        }
        for text in [
            "", ".", "..", "...", "a/b", "a\\b", "a%2fb", "a?b", "a#b", "a;b", "a\nb", "a\u{85}b",
        ] {
            assert_eq!(encode_segment(text, b":@"), None, "{text:?}");
        }
    }
}
