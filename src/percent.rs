//! Percent-encoding: escapes in, bytes out.
//!
//! Source: <https://www.rfc-editor.org/rfc/rfc3986#section-2.1>.

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
}
