//! Strings: the hot loop of the scanner, and their values.
//!
//! Source: RFC 8259, section 7, <https://www.rfc-editor.org/rfc/rfc8259#section-7>.
//!
//! Nearly all bytes of a body are inside strings. Most strings are short: a key, a role. Those are
//! searched for their end eight bytes at a time. Most bytes are in long ones, which go through
//! [`skip_text`] in [blocks](super::block), and are left only where one ends or is wrong. Whatever
//! the end of a chunk cuts in two goes through the states of [`Within`], byte by byte.
//!
//! A change here must be measured as wasm.

use std::borrow::Cow;

use super::block::{self, BLOCK};
use super::write::Writer;

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
/// Returns `None` when the string is closed, else how to go on with the next chunk. Sets `has_units` where
/// the string has an escape such as `\u0065`: no other can be half of a surrogate pair.
pub(super) fn read(
    mut within: Within,
    rest: &mut &[u8],
    has_units: &mut bool,
) -> Result<Option<Within>, Fault> {
    if within == Within::Text && short(rest).is_some() {
        return Ok(None);
    }
    loop {
        within = match within {
            Within::Text => {
                skip_text(rest, has_units);
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
                    Some((0x80.., _)) => match characters_len(rest) {
                        // Cut off by the end of the chunk, or invalid. Byte by byte it will show.
                        0 => Within::Character {
                            bytes: [0; 4],
                            len: 0,
                        },
                        len => {
                            skip(rest, len);
                            Within::Text
                        }
                    },
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
                    *has_units = true;
                    *rest = after;
                    Within::Text
                }
                Some((b'u', after)) => {
                    *has_units = true;
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

/// Consumes a string up to and with its closing quote, if it is short and plain, and at hand whole:
/// most keys are. Else nothing is consumed.
pub(super) fn short<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (text, after) = rest.split_at_checked(plain_len(rest.get(..SHORT).unwrap_or(rest)))?;
    *rest = after.strip_prefix(b"\"")?;
    Some(text)
}

/// Consumes text, as far as it is at hand whole: up to the closing quote, to what is cut in two by
/// the end of the chunk, or to what is invalid.
#[inline(always)]
fn skip_text(rest: &mut &[u8], has_units: &mut bool) {
    // How many blocks there were without a stop.
    let mut row = 0;
    while let Some((block, after)) = rest.split_first_chunk::<BLOCK>() {
        let mut stops = block::stops(block);
        if stops == 0 {
            *rest = after;
            row += 1;
            if row == LONG_ROW {
                // Nothing but a data URI is that even.
                row = 0;
                let (blocks, _) = rest.as_chunks::<BLOCK>();
                let plain = blocks.iter().take_while(|block| block::is_plain(block));
                skip(rest, plain.count() * BLOCK);
            }
            continue;
        }
        row = 0;
        let mut taken = 0;
        while stops != 0 {
            let stop = stops.trailing_zeros() as usize;
            let stopper = rest.get(stop..).unwrap_or_default();
            let len = long_len(stopper, has_units);
            if len == 0 {
                return skip(rest, stop);
            }
            taken = stop + len;
            stops &= u64::MAX.checked_shl(taken as u32).unwrap_or(0);
        }
        skip(rest, taken.max(BLOCK));
    }
    skip(rest, plain_len(rest));
}

/// How long the characters or the escape at the front are, of those at which a block stops. Zero if
/// they are not whole, or invalid.
fn long_len(text: &[u8], has_units: &mut bool) -> usize {
    match text {
        [b'\\', b'/', ..] => 2,
        [b'\\', b'u', a, b, c, d, ..]
            if [a, b, c, d].iter().all(|byte| byte.is_ascii_hexdigit()) =>
        {
            *has_units = true;
            6
        }
        _ => characters_len(text),
    }
}

/// How many bytes at the front are whole characters beyond ASCII.
///
/// The table is RFC 3629, section 4, <https://www.rfc-editor.org/rfc/rfc3629#section-4>. Spaces
/// belong to the run too if another such character follows, as between words.
fn characters_len(text: &[u8]) -> usize {
    let mut rest = text;
    loop {
        rest = match rest {
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
            // Another one, cut off by the end of the chunk, or invalid.
            _ => return text.len() - rest.len(),
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
    let end = tail.iter().position(|&byte| block::ends_plain_text(byte));
    len + end.unwrap_or(tail.len())
}

/// How many bytes are searched in words before blocks are: most keys are shorter.
const SHORT: usize = 24;

/// After how many blocks without a stop the text is searched for anything that is not plain.
const LONG_ROW: usize = 8;

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
    decode_text(std::str::from_utf8(text).ok()?)
}

/// The same for what is known to be UTF-8.
pub(crate) fn decode_text(text: &str) -> Option<Cow<'_, str>> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    if stands_for_itself(inner.as_bytes()) {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(text).ok().map(Cow::Owned)
}

/// The same for what stands between the quotes, and has escapes. The escapes are known to be valid.
///
/// It takes no more memory than the text: what is decoded is not longer.
pub(super) fn decode_escaped(inner: &[u8]) -> Option<String> {
    let mut text = Vec::with_capacity(inner.len());
    let is_text = each_piece(inner, &mut |piece| {
        text.extend_from_slice(piece);
        true
    });
    is_text.then(|| String::from_utf8(text).ok()).flatten()
}

/// Gives a string piece by piece, without escapes, until `give` wants no more. Gives whether it went
/// through, which it does not where half of a surrogate pair is in it.
pub(super) fn each_piece(mut rest: &[u8], give: &mut dyn FnMut(&[u8]) -> bool) -> bool {
    loop {
        let plain = rest.iter().position(|&byte| byte == b'\\');
        let (plain, escape) = rest.split_at(plain.unwrap_or(rest.len()));
        if !plain.is_empty() && !give(plain) {
            return false;
        }
        let (character, after) = match escape {
            [] => return true,
            [_, b'u', digits @ ..] => {
                let Some((unit, after)) = hexadecimal(digits) else {
                    return false;
                };
                match (unit, after) {
                    (0xd800..=0xdbff, [b'\\', b'u', digits @ ..]) => {
                        let Some((low @ 0xdc00..=0xdfff, after)) = hexadecimal(digits) else {
                            return false;
                        };
                        let code = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                        (char::from_u32(code), after)
                    }
                    _ => (char::from_u32(unit), after),
                }
            }
            [_, byte, after @ ..] => {
                let byte = match byte {
                    b'b' => 0x08,
                    b'f' => 0x0c,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    other => *other,
                };
                (Some(char::from(byte)), after)
            }
            [_] => return false,
        };
        let Some(character) = character else {
            return false;
        };
        if !give(character.encode_utf8(&mut [0; 4]).as_bytes()) {
            return false;
        }
        rest = after;
    }
}

/// The number that four hexadecimal digits mean, and what follows them.
fn hexadecimal(digits: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, after) = digits.split_first_chunk::<4>()?;
    let mut value = 0;
    for digit in digits {
        value = value << 4 | char::from(*digit).to_digit(16)?;
    }
    Some((value, after))
}

/// Whether text within quotes has neither escapes nor what would need one: it is its own value.
fn stands_for_itself(text: &[u8]) -> bool {
    let is_itself = |&byte: &u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    text.iter().all(is_itself)
}

/// The JSON text of a string, quotes included.
///
/// Escapes only what must be: `"`, `\` and the control characters below U+0020.
///
/// ```
/// assert_eq!(llm_proxy::json::encode_string("a\"b\n"), r#""a\"b\n""#);
/// ```
pub fn encode_string(value: &str) -> String {
    let mut json = Writer::with_capacity(value.len() + 2);
    json.string(value);
    // Whole characters are copied, and the escapes are ASCII.
    String::from_utf8(json.into_bytes()).unwrap_or_default()
}

/// Appends the JSON text of a string without its quotes.
pub(super) fn write_inner(value: &str, out: &mut Writer) {
    let mut rest = value.as_bytes();
    loop {
        // Bytes beyond ASCII are copied one by one up to the next plain run: they need no escape.
        let run = plain_len(rest);
        let (plain, after) = rest.split_at_checked(run).unwrap_or((rest, &[]));
        out.put(plain);
        rest = after;
        let Some((&byte, after)) = rest.split_first() else {
            return;
        };
        rest = after;
        match byte {
            b'"' => out.put(b"\\\""),
            b'\\' => out.put(b"\\\\"),
            0x08 => out.put(b"\\b"),
            b'\t' => out.put(b"\\t"),
            b'\n' => out.put(b"\\n"),
            0x0c => out.put(b"\\f"),
            b'\r' => out.put(b"\\r"),
            0..0x20 => out.put(format!("\\u{byte:04x}").as_bytes()),
            _ => {
                out.put(&[byte]);
                let run = rest.iter().take_while(|&&byte| byte >= 0x80).count();
                let (beyond, after) = rest.split_at_checked(run).unwrap_or((rest, &[]));
                out.put(beyond);
                rest = after;
            }
        }
    }
}
