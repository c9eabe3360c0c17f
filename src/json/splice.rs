//! Changes of a text at known places.

use std::error::Error;
use std::fmt;
use std::ops::Range;

/// One place of a text and what stands there instead.
///
/// An empty `range` inserts, an empty `with` removes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splice {
    /// Which bytes are replaced; absolute offsets, as [`Event`](super::Event)s have them.
    pub range: Range<u64>,
    /// The bytes that stand there instead.
    pub with: Vec<u8>,
}

/// A part of a text that spaces overwrite, or a shorter text and spaces, so that the text keeps its
/// length.
///
/// There may be one for each message of a body, so it has 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blank {
    /// Unit: bytes from the start of the text.
    pub start: u32,
    /// Unit: bytes. With [`SYSTEM`](Self::SYSTEM), [`ROLE`](Self::ROLE) stands before the spaces.
    pub length: u32,
}

impl Blank {
    /// A bit of `length`.
    pub const SYSTEM: u32 = 1 << 31;
    /// What stands there where the bit is set.
    pub const ROLE: &'static [u8] = b"\"system\"";
}

/// The splices do not follow each other within the text: a mistake of ours, not of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidSplices {
    /// Position of the first splice that overlaps the one before it, is out of order, or is outside
    /// the text.
    pub index: usize,
}

/// `text` with the splices applied and every other byte kept, in pieces: nothing is copied.
///
/// `base` is the absolute offset of the first byte of `text`. The splices are in order and do not
/// overlap; several insertions at one place stand there in their order.
///
/// ```text
/// text     {"model":"a","n":1}          base 0
/// splices           ^^^ "grok"    ^     9..12, 18..18
///                                 ,"m":2
/// pieces   {"model": "grok" ,"n":1 ,"m":2 }
/// ```
///
/// # Errors
///
/// When the splices are out of order or outside the text.
pub fn pieces<'a>(
    text: &'a [u8],
    base: u64,
    splices: &'a [Splice],
) -> Result<Vec<&'a [u8]>, InvalidSplices> {
    let mut pieces = Vec::with_capacity(2 * splices.len() + 1);
    let mut rest = text;
    let mut at = base;
    for (index, Splice { range, with }) in splices.iter().enumerate() {
        let invalid = InvalidSplices { index };
        let (kept, after) = split(rest, at, range.start).ok_or(invalid)?;
        let (_, after) = split(after, range.start, range.end).ok_or(invalid)?;
        pieces.extend([kept, with]);
        rest = after;
        at = range.end;
    }
    pieces.push(rest);
    Ok(pieces)
}

/// Appends `text` to `out`, with the splices applied: the [`pieces`] in one.
///
/// # Errors
///
/// When the splices are out of order or outside the text; `out` is then as it was.
pub fn apply(
    text: &[u8],
    base: u64,
    splices: &[Splice],
    out: &mut Vec<u8>,
) -> Result<(), InvalidSplices> {
    let pieces = pieces(text, base, splices)?;
    out.reserve_exact(pieces.iter().map(|piece| piece.len()).sum());
    pieces.iter().for_each(|piece| out.extend_from_slice(piece));
    Ok(())
}

/// Overwrites parts of `text`. What is outside the text is left out.
pub fn overwrite(text: &mut [u8], blanks: &[Blank]) {
    for Blank { start, length } in blanks {
        let is_role = length & Blank::SYSTEM != 0;
        let (start, length) = (*start as usize, (length & !Blank::SYSTEM) as usize);
        let part = text.get_mut(start..start.saturating_add(length));
        let part = part.unwrap_or_default();
        part.fill(b' ');
        if let (true, Some(role)) = (is_role, part.get_mut(..Blank::ROLE.len())) {
            role.copy_from_slice(Blank::ROLE);
        }
    }
}

/// `text` starts at the absolute offset `from`: its bytes before `to`, and the others.
fn split(text: &[u8], from: u64, to: u64) -> Option<(&[u8], &[u8])> {
    text.split_at_checked(usize::try_from(to.checked_sub(from)?).ok()?)
}

impl fmt::Display for InvalidSplices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InvalidSplices { index } = self;
        write!(f, "splice {index} is out of order or outside the text")
    }
}

impl Error for InvalidSplices {}
