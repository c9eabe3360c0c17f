//! Bytes as text.
//!
//! Source: RFC 4648, <https://www.rfc-editor.org/rfc/rfc4648>. The module has no decoder: what comes in
//! base64 passes as it is.

/// The standard alphabet, padded: section 4.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = letters(bytes, STANDARD);
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

/// The alphabet for URLs and file names, not padded: section 5.
pub fn encode_url(bytes: &[u8]) -> String {
    letters(bytes, URL)
}

/// The bytes of base64 with padding. Native only.
///
/// Source: RFC 4648, section 4.
#[cfg(not(target_family = "wasm"))]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3);
    let mut held: u32 = 0;
    let mut bits = 0;
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        held = (held << 6 | u32::from(value)) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
    }
    Some(bytes)
}

fn letters(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    let letter = |bits: u32| {
        let index = (bits & 63) as usize;
        // 0 <= index < 64
        alphabet.get(index).copied().map_or('=', char::from)
    };
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut group = group.iter().copied();
        let (first, second, third) = (group.next(), group.next(), group.next());
        let byte = |it: Option<u8>| u32::from(it.unwrap_or_default());
        let bits = byte(first) << 16 | byte(second) << 8 | byte(third);
        text.push(letter(bits >> 18));
        text.push(letter(bits >> 12));
        text.extend(second.map(|_| letter(bits >> 6)));
        text.extend(third.map(|_| letter(bits)));
    }
    text
}

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_letters() {
        // https://www.rfc-editor.org/rfc/rfc4648#section-10
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(encode_url(bytes.as_bytes()), text.trim_end_matches('='));
        }
        assert_eq!(encode(&[0xfb, 0xff]), "+/8=");
        assert_eq!(encode_url(&[0xfb, 0xff]), "-_8");
    }
}
