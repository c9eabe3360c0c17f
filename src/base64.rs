//! Bytes as text.
//!
//! Source: RFC 4648, <https://www.rfc-editor.org/rfc/rfc4648>.

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

/// The bytes of a text in the standard alphabet, with or without padding; `None` where it is none.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    bytes(text.trim_end_matches('='), STANDARD)
}

/// The same of a text in the alphabet for URLs, not padded.
pub fn decode_url(text: &str) -> Option<Vec<u8>> {
    bytes(text, URL)
}

fn bytes(text: &str, alphabet: &[u8; 64]) -> Option<Vec<u8>> {
    let [.., sixty_two, sixty_three] = *alphabet;
    // Memory is taken only for what can be decoded.
    let is_base64 =
        |byte: u8| byte.is_ascii_alphanumeric() || byte == sixty_two || byte == sixty_three;
    if !text.bytes().all(is_base64) {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            _ if byte == sixty_two => 62,
            _ => 63,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            // The eight bits above the `count` that are left.
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
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

    #[test]
    fn letters_become_bytes() {
        for (text, expected) in [
            ("", Some("")),
            ("Zg==", Some("f")),
            ("Zm8", Some("fo")),
            ("Zm9v", Some("foo")),
            ("Zm9vYmFy", Some("foobar")),
            ("Zm9v\n", None),
            ("Z-8_", None),
        ] {
            assert_eq!(
                decode(text).as_deref(),
                expected.map(str::as_bytes),
                "{text:?}"
            );
        }
        for length in 0..64_u8 {
            let bytes: Vec<u8> = (0..length).map(|it| it.wrapping_mul(151)).collect();
            assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }
    }
}
