//! Why a text is not the JSON that is needed.

use std::error::Error;
use std::fmt;

/// A text is not one valid JSON value, or not the object that it must be.
///
/// Unit: every `at` is a 0-based offset in bytes from the start of the text.
///
/// The message quotes at most one byte of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidJson {
    /// A watched member occurs a second time at the top level.
    Duplicate {
        /// Position of its name in [`Watched`](super::Watched).
        member: usize,
        /// Where its second key starts.
        at: u64,
    },
    /// A top-level member is called as a watched one, but for upper and lower case.
    Lookalike {
        /// Where its key starts.
        at: u64,
    },
    /// The text is some other value, such as an array.
    NotAnObject {
        /// Where the value starts.
        at: u64,
    },
    /// The bytes are not UTF-8.
    NotUtf8 {
        /// Where the sequence starts that is no character.
        at: u64,
    },
    /// More objects and arrays are open at once than are accepted.
    TooDeep {
        /// Where the object or array starts that is one too many.
        at: u64,
        /// How many are accepted: a scanner takes more than a reader.
        limit: usize,
    },
    /// The text ends before its value does.
    Truncated {
        /// How long the text is.
        at: u64,
    },
    /// A byte is not one that can follow.
    Unexpected {
        /// Where the byte is.
        at: u64,
        /// The byte.
        byte: u8,
        /// What can follow, in words.
        expected: &'static str,
    },
}

impl InvalidJson {
    /// The offset that the variant tells.
    pub fn at(&self) -> u64 {
        match *self {
            InvalidJson::Duplicate { at, .. }
            | InvalidJson::Lookalike { at }
            | InvalidJson::NotAnObject { at }
            | InvalidJson::NotUtf8 { at }
            | InvalidJson::TooDeep { at, .. }
            | InvalidJson::Truncated { at }
            | InvalidJson::Unexpected { at, .. } => at,
        }
    }
}

impl fmt::Display for InvalidJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            InvalidJson::Duplicate { at, .. } => {
                write!(f, "duplicate member at byte {at}")
            }
            InvalidJson::Lookalike { at } => {
                write!(
                    f,
                    "the name at byte {at} differs from that of a known member in upper and lower \
                     case alone"
                )
            }
            InvalidJson::NotAnObject { at } => {
                write!(f, "the value at byte {at} is not an object")
            }
            InvalidJson::NotUtf8 { at } => write!(f, "invalid UTF-8 at byte {at}"),
            InvalidJson::TooDeep { at, limit } => {
                write!(f, "nested deeper than {limit} levels at byte {at}")
            }
            InvalidJson::Truncated { at } => {
                write!(f, "the text ends at byte {at}, before its value does")
            }
            InvalidJson::Unexpected { at, byte, expected } => match byte {
                b' '..=b'~' => {
                    let byte = char::from(byte);
                    write!(f, "unexpected `{byte}` at byte {at}, expected {expected}")
                }
                _ => {
                    write!(
                        f,
                        "unexpected 0x{byte:02x} at byte {at}, expected {expected}"
                    )
                }
            },
        }
    }
}

impl Error for InvalidJson {}
