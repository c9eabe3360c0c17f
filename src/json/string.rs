//! Strings: the hot loop of the scanner, and their values.
//!
//! Source: RFC 8259, section 7, <https://www.rfc-editor.org/rfc/rfc8259#section-7>.
//!
//! Nearly all bytes of a body are inside strings, and nearly all of those are plain: printable
//! ASCII other than `"` and `\`. [`plain_len`] finds where they end. It starts with words of eight
//! bytes, since in prose the next escape is near, and goes on with blocks, since a data URI has
//! none; the test of a block has no branch, so that it compiles to vector instructions. Characters
//! beyond ASCII are checked a run at a time by [`characters`]. Whatever the end of a chunk cuts in
//! two goes through the states of [`Within`], byte by byte.
//!
//! A change here must be measured, natively and as wasm: whether the loops become vector
//! instructions depends on details of how they are written.

use std::borrow::Cow;
use std::fmt::Write;

/// What the next byte of a string belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Within {
    /// A character that was begun; its first `len` bytes are in `bytes`.
    ///
    /// len <= 3 between calls of [`read`]
    Character { bytes: [u8; 4], len: usize },
    /// What follows a backslash.
    Escape,
    /// The hexadecimal digits of `\u`, of which `left` are to come.
    Hex { left: u8 },
    /// Anything.
    Text,
}

/// What is wrong with a string. The first byte that was not consumed is the one that cannot follow.
pub(super) enum Fault {
    /// It cannot continue the character that starts `back` bytes before.
    NotUtf8 {
        back: usize,
    },
    Unexpected(&'static str),
}

/// Consumes the string up to and with its closing quote.
///
/// Returns `None` when the string is closed, else how to go on with the next chunk.
pub(super) fn read(mut within: Within, rest: &mut &[u8]) -> Result<Option<Within>, Fault> {
    loop {
        within = match within {
            Within::Text => {
                skip(rest, plain_len(rest));
                match rest.split_first() {
                    None => return Ok(Some(within)),
                    Some((b'"', after)) => {
                        *rest = after;
                        return Ok(None);
                    }
                    Some((b'\\', after)) => {
                        *rest = after;
                        Within::Escape
                    }
                    Some((0x80.., _)) => characters(rest),
                    Some(_) => return Err(Fault::Unexpected("a character or an escape")),
                }
            }
            Within::Escape => match rest.split_first() {
                None => return Ok(Some(within)),
                Some((b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', after)) => {
                    *rest = after;
                    Within::Text
                }
                Some((b'u', [a, b, c, d, after @ ..]))
                    if [a, b, c, d].iter().all(|byte| byte.is_ascii_hexdigit()) =>
                {
                    *rest = after;
                    Within::Text
                }
                Some((b'u', after)) => {
                    *rest = after;
                    Within::Hex { left: 4 }
                }
                Some(_) => return Err(Fault::Unexpected("an escape")),
            },
            Within::Hex { left: 0 } => Within::Text,
            Within::Hex { left } => match rest.split_first() {
                None => return Ok(Some(within)),
                Some((byte, after)) if byte.is_ascii_hexdigit() => {
                    *rest = after;
                    Within::Hex { left: left - 1 }
                }
                Some(_) => return Err(Fault::Unexpected("a hexadecimal digit")),
            },
            Within::Character { bytes, len } => match rest.split_first() {
                None => return Ok(Some(within)),
                Some((&byte, after)) => {
                    let next = character(bytes, len, byte).ok_or(Fault::NotUtf8 { back: len })?;
                    *rest = after;
                    next
                }
            },
        }
    }
}

/// Consumes whole characters beyond ASCII, as many as there are.
///
/// The table is RFC 3629, section 4, <https://www.rfc-editor.org/rfc/rfc3629#section-4>. Spaces
/// belong to the run too if another such character follows, as between words.
fn characters(rest: &mut &[u8]) -> Within {
    loop {
        *rest = match *rest {
            [0xc2..=0xdf, 0x80..=0xbf, after @ ..]
            | [0xe0, 0xa0..=0xbf, 0x80..=0xbf, after @ ..]
            | [
                0xe1..=0xec | 0xee | 0xef,
                0x80..=0xbf,
                0x80..=0xbf,
                after @ ..,
            ]
            | [0xed, 0x80..=0x9f, 0x80..=0xbf, after @ ..]
            | [0xf0, 0x90..=0xbf, 0x80..=0xbf, 0x80..=0xbf, after @ ..]
            | [
                0xf1..=0xf3,
                0x80..=0xbf,
                0x80..=0xbf,
                0x80..=0xbf,
                after @ ..,
            ]
            | [0xf4, 0x80..=0x8f, 0x80..=0xbf, 0x80..=0xbf, after @ ..] => after,
            [b' ', after @ ..] if after.first() >= Some(&0x80) => after,
            [] | [0..=0x7f, ..] => return Within::Text,
            // Cut off by the end of the chunk, or invalid. Byte by byte it will show.
            _ => {
                return Within::Character {
                    bytes: [0; 4],
                    len: 0,
                };
            }
        }
    }
}

/// One more byte of a character; `None` if it cannot be one.
fn character(mut bytes: [u8; 4], len: usize, byte: u8) -> Option<Within> {
    *bytes.get_mut(len)? = byte;
    let len = len + 1;
    match std::str::from_utf8(bytes.get(..len)?) {
        Ok(_) => Some(Within::Text),
        Err(error) if error.error_len().is_none() => Some(Within::Character { bytes, len }),
        Err(_) => None,
    }
}

/// Drops so many bytes from the front.
pub(super) fn skip(rest: &mut &[u8], count: usize) {
    *rest = rest.get(count..).unwrap_or_default();
}

/// How many bytes at the front are plain: printable ASCII or DEL, not `"`, not `\`.
#[inline(always)]
fn plain_len(text: &[u8]) -> usize {
    let (front, after) = text.split_at_checked(SHORT_RUN).unwrap_or((text, &[]));
    let len = plain_len_in_words(front);
    if len < SHORT_RUN {
        return len;
    }
    // `u8`, not `bool`, of which LLVM makes a bit mask: in wasm that is one instruction per lane.
    let ends = |block: &[u8; BLOCK]| {
        let ends = block.iter().map(|&byte| u8::from(ends(byte)));
        ends.fold(0, std::ops::BitOr::bitor) != 0
    };
    let (blocks, _) = after.as_chunks::<BLOCK>();
    let blocks = blocks.iter().take_while(|block| !ends(block)).count();
    let len = SHORT_RUN + blocks * BLOCK;
    len + plain_len_in_words(text.get(len..).unwrap_or_default())
}

/// [`plain_len`] eight bytes at a time: the fastest way to the end of a short run.
#[inline(always)]
fn plain_len_in_words(text: &[u8]) -> usize {
    let (words, tail) = text.as_chunks::<8>();
    let mut len = 0;
    for word in words {
        let word = u64::from_le_bytes(*word);
        // Of a byte below 0x80, the high bit becomes set if the subtraction borrows. That borrow
        // may set the bit of a byte above too, but only the lowest one is looked at.
        let quote = (word ^ (ONES * u64::from(b'"'))).wrapping_sub(ONES);
        let backslash = (word ^ (ONES * u64::from(b'\\'))).wrapping_sub(ONES);
        let control = word.wrapping_sub(ONES * u64::from(b' '));
        let ends = (quote | backslash | control | word) & (ONES << 7);
        if ends != 0 {
            return len + (ends.trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    let end = tail.iter().position(|&byte| ends(byte));
    len + end.unwrap_or(tail.len())
}

/// Whether a byte is not plain.
#[inline(always)]
fn ends(byte: u8) -> bool {
    // As signed bytes, those beyond ASCII are less than a space too.
    (byte.cast_signed() < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// How many bytes are searched in words before blocks are.
const SHORT_RUN: usize = 64;

/// How many bytes are looked at together.
const BLOCK: usize = 64;

const ONES: u64 = u64::from_ne_bytes([1; 8]);

/// The value of a JSON string's text, quotes included.
///
/// `None` if the text is anything else: another value, white space around it, not UTF-8. Also for a
/// lone surrogate, which no `str` can hold: a replacement character would make different texts the
/// same name.
///
/// ```
/// use llm_proxy::json::decode_string;
///
/// assert_eq!(decode_string(br#""mod\u0065l""#).as_deref(), Some("model"));
/// assert_eq!(decode_string(br#""\ud800""#), None);
/// ```
pub fn decode_string(text: &[u8]) -> Option<Cow<'_, str>> {
    let inner = text.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let is_itself = |&byte: &u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    if inner.iter().all(is_itself) {
        return Some(Cow::Borrowed(std::str::from_utf8(inner).ok()?));
    }
    serde_json::from_slice(text).ok().map(Cow::Owned)
}

/// The JSON text of a string, quotes included.
///
/// Escapes only what must be: `"`, `\` and the control characters below U+0020.
///
/// ```
/// assert_eq!(llm_proxy::json::encode_string("a\"b\n"), r#""a\"b\n""#);
/// ```
pub fn encode_string(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\u{8}' => text.push_str("\\b"),
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\u{c}' => text.push_str("\\f"),
            '\r' => text.push_str("\\r"),
            // Writing to a `String` cannot fail.
            '\0'..' ' => _ = write!(text, "\\u{:04x}", u32::from(character)),
            _ => text.push(character),
        }
    }
    text.push('"');
    text
}
