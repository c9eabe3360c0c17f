//! Sixty-four bytes of a string at once.
//!
//! In prose there is an escape every few dozen bytes, in code that is quoted every ten, and a
//! branch for each would be mispredicted as often. So bit masks tell what the bytes are, bit `n`
//! for byte `n`, and escapes of two bytes are checked together with the rest.
//!
//! Source: Langdale and Lemire, "Parsing Gigabytes of JSON per Second", section 3.1,
//! <https://arxiv.org/abs/1902.08318>.
//!
//! A change here must be measured as wasm. The loops are written so that the next block does not
//! wait for what was found in the last one: all steps but the last are of a fixed length.

/// How many bytes a block has.
pub(super) const BLOCK: usize = 64;

/// Where a string's bytes need a closer look: the first bytes of whatever is not printable ASCII
/// and not an escape of two bytes, `\/` excepted. An escape that the end of the block cuts in two
/// needs one too.
#[inline(always)]
pub(super) fn stops(block: &[u8; BLOCK]) -> u64 {
    let masks = Masks::of(block);
    // Of a run of backslashes every second one starts an escape. The subtraction carries through
    // each run, and so turns the odd places into those, whether the run starts at one or not.
    let codes = ((masks.backslashes << 1) | ODD).wrapping_sub(masks.backslashes) ^ ODD;
    let starts = codes & masks.backslashes;
    let escaped = codes ^ masks.backslashes;
    let closing = masks.quotes & !escaped;
    let other_escapes = (escaped & !(masks.letters | masks.quotes)) >> 1;
    closing | other_escapes | masks.others | (starts & LAST)
}

/// Whether there is neither a quote nor a backslash nor anything that is not printable ASCII.
#[inline(always)]
pub(super) fn is_plain(block: &[u8; BLOCK]) -> bool {
    // `u8`, not `bool`, of which LLVM makes a bit mask: in wasm that is one instruction per lane.
    let ends = block.iter().map(|&byte| u8::from(ends_plain_text(byte)));
    ends.fold(0, std::ops::BitOr::bitor) == 0
}

/// Whether a byte is in a text.
pub(crate) fn contains(byte: u8, text: &[u8]) -> bool {
    let (blocks, tail) = text.as_chunks::<BLOCK>();
    let is_in = |block: &[u8; BLOCK]| {
        let found = block.iter().map(|&it| u8::from(it == byte));
        found.fold(0, std::ops::BitOr::bitor) != 0
    };
    blocks.iter().any(is_in) || tail.contains(&byte)
}

/// Whether a byte is a quote, a backslash, or not printable ASCII (DEL counts as such).
#[inline(always)]
pub(super) fn ends_plain_text(byte: u8) -> bool {
    // As signed bytes, those beyond ASCII are less than a space too.
    (byte.cast_signed() < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// What the bytes of a block are.
struct Masks {
    backslashes: u64,
    /// `\` and `bfnrt`: with the quote, what most often follows a backslash.
    letters: u64,
    /// Control characters, and bytes beyond ASCII.
    others: u64,
    quotes: u64,
}

#[cfg(target_feature = "simd128")]
impl Masks {
    #[inline(always)]
    fn of(block: &[u8; BLOCK]) -> Masks {
        use std::arch::wasm32::{
            i8x16_lt, i8x16_splat, u8x16, u8x16_bitmask, u8x16_eq, u8x16_splat, u8x16_swizzle,
            u16x8_shr, v128, v128_and,
        };

        let mask = |test: fn(v128) -> v128| {
            let (vectors, _) = block.as_chunks::<16>();
            vectors.iter().rev().fold(0, |mask, vector| {
                // This compiles to one load.
                let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *vector;
                let vector = u8x16(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p);
                mask << 16 | u64::from(u8x16_bitmask(test(vector)))
            })
        };
        Masks {
            backslashes: mask(|bytes| u8x16_eq(bytes, u8x16_splat(b'\\'))),
            // The letters are even and no two agree in the bits above the lowest: those are their
            // places in a table of themselves. Other bytes do not find themselves there.
            letters: mask(|bytes| {
                let table = u8x16(
                    0xff, b'b', 0, b'f', 0, 0, 0, b'n', 0, b'r', b't', 0, 0, 0, b'\\', 0,
                );
                let places = v128_and(u16x8_shr(bytes, 1), u8x16_splat(0x0f));
                u8x16_eq(bytes, u8x16_swizzle(table, places))
            }),
            others: mask(|bytes| i8x16_lt(bytes, i8x16_splat(0x20))),
            quotes: mask(|bytes| u8x16_eq(bytes, u8x16_splat(b'"'))),
        }
    }
}

#[cfg(not(target_feature = "simd128"))]
impl Masks {
    fn of(block: &[u8; BLOCK]) -> Masks {
        let mask = |test: fn(u8) -> bool| {
            let bytes = block.iter().rev();
            bytes.fold(0, |mask, &byte| mask << 1 | u64::from(test(byte)))
        };
        Masks {
            backslashes: mask(|byte| byte == b'\\'),
            letters: mask(|byte| matches!(byte, b'\\' | b'b' | b'f' | b'n' | b'r' | b't')),
            others: mask(|byte| byte.cast_signed() < 0x20),
            quotes: mask(|byte| byte == b'"'),
        }
    }
}

/// The odd places, 1, 3, 5, …
const ODD: u64 = 0xaaaa_aaaa_aaaa_aaaa;

/// The last place.
const LAST: u64 = 1 << (BLOCK - 1);
