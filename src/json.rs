//! JSON texts, every byte checked on the way. Nothing here builds a tree, or knows what members mean.
//!
//! Source: RFC 8259, <https://www.rfc-editor.org/rfc/rfc8259>.
//!
//! * A [`Scanner`] reads one object, whatever the chunk boundaries, and reports where the values of
//!   the [`Watched`] top-level members are. [`Splice`]s then change those places and keep every other
//!   byte.
//! * [`read()`] reads a whole text into shapes, and [`Writer`] writes one. Between the two a string goes as
//!   it stands: [`Quoted`].
//!
//! # Differences of the scanner from the RFC, and from serde_json
//!
//! * The root must be an object; RFC 8259 and serde_json take any value.
//! * A watched member that occurs twice at the top level is an error; any other may. Which of two
//!   `model` members wins differs between parsers, and so would what we check and what is billed.
//! * A top-level member whose name differs from a watched one in upper and lower case alone is an error:
//!   for some parsers it is that member.
//! * Escapes are checked for their form only. A lone surrogate such as `"\ud800"` passes, since
//!   its bytes are kept; serde_json refuses it. [`decode_string`] refuses it too.
//! * Numbers are checked for their form only. `1e999` passes; serde_json finds it out of range.
//! * [`MAX_DEPTH`] is 512; serde_json's limit is 127.
//! * A byte order mark is an error, as in serde_json; RFC 8259, section 8.1, allows to ignore it.

mod block;
mod error;
mod layout;
mod number;
mod quoted;
mod raw;
mod read;
mod seek;
mod splice;
mod string;
#[cfg(test)]
mod tests;
mod write;

use std::ops::Range;
use std::rc::Rc;

pub(crate) use block::contains;
pub use error::InvalidJson;
pub use layout::{Layout, Member, NoLayout, Union, Value};
use number::Number;
pub use quoted::{Quoted, Text};
pub use raw::Raw;
pub(crate) use read::object;
pub use read::{Ignored, Items, Key, Read, Reader, Seen, Unread, has_at_most, read, read_into};
pub use seek::{Place, ROOT, Seeker, Wants};
pub use splice::{Blank, InvalidSplices, Splice, apply, overwrite, pieces};
pub(crate) use string::decode_text;
use string::{Fault, Within};
pub use string::{decode_string, encode_string};
pub use write::{Piece, TooLong, Unwritten, Writer, write_within};

/// The most objects and arrays that may be open at once, the root included.
pub const MAX_DEPTH: usize = 512;

/// How much of a watched value's text is kept for [`Scanner::value_text`].
///
/// Unit: bytes of JSON text, quotes and escapes included.
pub const CAPTURE_LIMIT: usize = 4096;

/// The names of the top-level members that a [`Scanner`] reports.
///
/// Built once per configuration; a clone shares the names. A member is referred to by its position
/// in the list. A name that is listed twice is reported at its first position.
#[derive(Clone, Debug)]
pub struct Watched(Rc<Names>);

impl Watched {
    /// Takes the names as they are decoded: `model`, not `"model"`.
    pub fn new<I>(names: I) -> Watched
    where
        I: IntoIterator,
        I::Item: Into<Box<str>>,
    {
        let names: Box<[Box<str>]> = names.into_iter().map(Into::into).collect();
        let longest = names.iter().map(|name| name.len()).max().unwrap_or(0);
        Watched(Rc::new(Names {
            names,
            longest_key: longest * LONGEST_ESCAPE + 2,
        }))
    }

    /// The position of this name; `None`: it is not watched.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.0.names.iter().position(|it| **it == *name)
    }

    /// The name at this position, `None` past the end.
    pub fn name(&self, member: usize) -> Option<&str> {
        self.0.names.get(member).map(|name| &**name)
    }

    /// How many names are watched.
    pub fn len(&self) -> usize {
        self.0.names.len()
    }

    /// Whether no name is watched; the scanner then only validates.
    pub fn is_empty(&self) -> bool {
        self.0.names.is_empty()
    }

    /// Whether some parsers take this name for one of those: Go's compares without regard to case, by
    /// Unicode's rules.
    ///
    /// <https://pkg.go.dev/encoding/json#Unmarshal>: "preferring exact matches but also accepting
    /// case-insensitive matches"
    fn has_like(&self, name: &str) -> bool {
        let fold = |c: char| match c {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            c => c.to_ascii_lowercase(),
        };
        let is_like = |it: &str| it.chars().map(fold).eq(name.chars().map(fold));
        self.0.names.iter().any(|it| is_like(it))
    }
}

#[derive(Debug)]
struct Names {
    names: Box<[Box<str>]>,
    /// Longest text that a watched key can have, every character escaped and quotes included.
    longest_key: usize,
}

/// `\u0065` for one byte of a name.
const LONGEST_ESCAPE: usize = 6;

/// Reads one JSON object, validates all of it, and reports its watched top-level members.
///
/// Chunks may end anywhere, also inside a character, an escape or a number. What is reported, and
/// which error at which offset, does not depend on them.
///
/// Every offset is absolute, 0-based, and in bytes from the start of the text.
///
/// ```
/// use llm_proxy::json::{Event, Kind, Scanner, ValueText, Watched};
///
/// let mut scanner = Scanner::new(Watched::new(["model"]));
/// let mut input: &[u8] = br#"{"n":1,"model":"grok"}"#;
/// let start = Event::ValueStart { member: 0, at: 15, kind: Kind::String };
/// assert_eq!(scanner.scan(&mut input), Ok(start));
/// assert_eq!(scanner.scan(&mut input), Ok(Event::ValueEnd { member: 0, range: 15..21 }));
/// assert_eq!(scanner.value_text(), ValueText::Whole(b"\"grok\""));
/// assert_eq!(scanner.scan(&mut input), Ok(Event::ObjectEnd { close: 21, is_empty: false }));
/// assert_eq!(scanner.scan(&mut input), Ok(Event::InputEmpty));
/// assert_eq!(scanner.finish(), Ok(()));
///
/// let mut scanner = Scanner::new(Watched::new(["model"]));
/// let error = scanner.scan(&mut &b"{'model'"[..]).unwrap_err();
/// assert_eq!(error.to_string(), "unexpected `'` at byte 1, expected `\"` or `}`");
/// ```
pub struct Scanner {
    watched: Watched,
    state: State,
    nesting: Nesting,
    /// Bytes consumed in all.
    position: u64,
    /// The text of the top-level key that was read last, as far as it can be a watched one's.
    ///
    /// key.len() <= longest_key + 1, and == only if the key is longer than any watched one.
    key: Vec<u8>,
    /// Where that key starts.
    key_at: u64,
    /// Where it ends, once it has.
    key_end: u64,
    /// Whether the watched member at this position has occurred.
    seen: Box<[bool]>,
    /// The watched member whose key was read and whose value has not begun.
    due: Option<usize>,
    /// The watched member whose value is being read.
    open: Option<Open>,
    /// The text of the last watched value.
    ///
    /// captured.len() <= CAPTURE_LIMIT
    captured: Vec<u8>,
    /// Whether bytes of that value were left out of `captured`.
    cut: bool,
}

/// What [`Scanner::scan`] found, and thereby what the caller does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// All input is consumed: feed more, or [`Scanner::finish`].
    InputEmpty,
    /// The root object is complete; only white space may follow. Call again.
    ObjectEnd {
        /// Offset of the closing brace.
        close: u64,
        /// Whether it has no members.
        is_empty: bool,
    },
    /// The value of a watched member is complete; [`Scanner::value_text`] is its text. Call again.
    ///
    /// [`Scanner::position`] is `range.end`.
    ValueEnd {
        /// Position of the name in [`Watched`].
        member: usize,
        /// Where its text is, without the white space around it.
        range: Range<u64>,
    },
    /// The value of a watched member begins. Call again.
    ///
    /// [`Scanner::position`] is `at`: the first byte has been seen, and is not consumed.
    ValueStart {
        /// Position of the name in [`Watched`].
        member: usize,
        /// Offset of its first byte.
        at: u64,
        /// What it is, if the rest proves to be valid.
        kind: Kind,
    },
}

/// What kind of value a first byte announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `[`
    Array,
    /// `t`, `f`
    Bool,
    /// `n`
    Null,
    /// `-`, `0` to `9`
    Number,
    /// `{`
    Object,
    /// `"`
    String,
}

/// What learns of the tokens of a text at all depths, while a [`Scanner`] reads it.
pub trait Outline {
    /// One that stands at the absolute offset `at`.
    fn token(&mut self, token: Token, at: u64);

    /// The text of the key that has started, or its next part, without quotes. `ends`: it is the last.
    fn key(&mut self, text: &[u8], ends: bool);

    /// A value that is no object and no array starts at the absolute offset `at`.
    fn value(&mut self, kind: Kind, at: u64);

    /// The text of the string that has started as a value, or its next part, without quotes. `ends`: it
    /// is the last.
    fn text(&mut self, text: &[u8], ends: bool);
}

/// A token of one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// `}` or `]`.
    Close,
    /// `,`
    Comma,
    /// The `"` of a key.
    KeyStart,
    /// `[`
    OpenArray,
    /// `{`
    OpenObject,
}

/// The raw text of a watched value, quotes and escapes included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueText<'a> {
    /// Only the first [`CAPTURE_LIMIT`] bytes; the value has more.
    Cut(&'a [u8]),
    /// All of it, or all of it that was consumed if the value is still open.
    Whole(&'a [u8]),
}

impl Scanner {
    /// A scanner at the start of a text.
    pub fn new(watched: Watched) -> Scanner {
        Scanner {
            state: State::Expect(Expect::Object),
            nesting: Nesting::default(),
            position: 0,
            key: Vec::with_capacity(watched.0.longest_key + 1),
            key_at: 0,
            key_end: 0,
            seen: vec![false; watched.len()].into(),
            due: None,
            open: None,
            captured: Vec::new(),
            cut: false,
            watched,
        }
    }

    /// Consumes from the front of `input` until there is something to say.
    ///
    /// # Errors
    ///
    /// When the text is not valid JSON, not an object, or repeats a watched member. The scanner
    /// then stays in error: further calls consume nothing and return the same error.
    pub fn scan(&mut self, input: &mut &[u8]) -> Result<Event, InvalidJson> {
        self.scan_outlined(input, None)
    }

    /// The same, and tells `outline` every token that is consumed.
    ///
    /// # Errors
    ///
    /// Those of [`scan`](Scanner::scan).
    pub fn scan_outlined<'o>(
        &mut self,
        input: &mut &[u8],
        outline: Option<&'o mut (dyn Outline + 'o)>,
    ) -> Result<Event, InvalidJson> {
        let before = *input;
        let is_open = self.open.is_some();
        let result = self.advance(input, outline);
        let consumed = consumed(before, input);
        self.position += consumed.len() as u64;
        // A watched value starts where a call starts and ends where a call ends, so while one is
        // open everything that is consumed is its text.
        if is_open {
            self.cut |= !extend_up_to(&mut self.captured, consumed, CAPTURE_LIMIT);
        }
        if let Err(error) = result {
            self.state = State::Failed(error);
        }
        result
    }

    /// The text has ended.
    ///
    /// # Errors
    ///
    /// [`InvalidJson::Truncated`] unless the object is complete, or the error that
    /// [`scan`](Scanner::scan) returned.
    pub fn finish(&self) -> Result<(), InvalidJson> {
        match self.state {
            State::Expect(Expect::Nothing) => Ok(()),
            State::Failed(error) => Err(error),
            _ => Err(InvalidJson::Truncated { at: self.position }),
        }
    }

    /// Bytes consumed in all.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Where the key stands that belongs to the watched value that was reported last, quotes
    /// included.
    pub fn key_range(&self) -> Range<u64> {
        self.key_at..self.key_end
    }

    /// Whether the input ends in a key that may be a watched one's, or between such a key and its
    /// value: more bytes decide.
    pub fn is_at_a_key(&self) -> bool {
        let in_key = matches!(self.state, State::InString { is_key: true, .. });
        let can_be_watched = self.key.len() <= self.watched.0.longest_key;
        self.due.is_some() || (in_key && self.nesting.depth == 1 && can_be_watched)
    }

    /// The text of the watched value that was reported last, or is still open.
    ///
    /// Empty before the first [`Event::ValueStart`], and right after each.
    pub fn value_text(&self) -> ValueText<'_> {
        if self.cut {
            ValueText::Cut(&self.captured)
        } else {
            ValueText::Whole(&self.captured)
        }
    }

    /// [`scan`](Scanner::scan), except for what follows from how much was consumed.
    fn advance<'o>(
        &mut self,
        rest: &mut &[u8],
        outline: Option<&'o mut (dyn Outline + 'o)>,
    ) -> Result<Event, InvalidJson> {
        let end = self.position + rest.len() as u64;
        let mut rest = Rest {
            bytes: rest,
            end,
            outline,
        };
        loop {
            let event = match self.state {
                State::InString { within, is_key } => self.string(within, is_key, &mut rest)?,
                State::InNumber(number) => self.number(number, &mut rest)?,
                State::InLiteral(literal) => self.literal(literal, &mut rest)?,
                State::Failed(error) => return Err(error),
                State::Expect(expect) => self.structure(expect, &mut rest)?,
            };
            if let Some(event) = event {
                return Ok(event);
            }
        }
    }

    fn string(&mut self, within: Within, is_key: bool, rest: &mut Rest<'_, '_, '_>) -> Progress {
        let is_watchable = is_key && self.nesting.depth == 1;
        let before = *rest.bytes;
        let result = string::read(within, rest.bytes, &mut false);
        if is_watchable {
            let limit = self.watched.0.longest_key + 1;
            extend_up_to(&mut self.key, consumed(before, rest.bytes), limit);
        }
        if let Some(outline) = &mut rest.outline {
            let text = consumed(before, rest.bytes);
            let (text, ends) = match (&result, text) {
                (Ok(None), [text @ .., _]) => (text, true),
                _ => (text, false),
            };
            match is_key {
                true => outline.key(text, ends),
                false => outline.text(text, ends),
            }
        }
        match result {
            Err(Fault::NotUtf8 { back }) => Err(InvalidJson::NotUtf8 {
                at: rest.at() - back as u64,
            }),
            Err(Fault::Unexpected(expected)) => Err(rest.unexpected(expected)),
            Ok(Some(within)) => {
                self.state = State::InString { within, is_key };
                Ok(Some(Event::InputEmpty))
            }
            Ok(None) if is_key => {
                if is_watchable {
                    self.key_end = rest.at();
                    self.due = self.watched_member()?;
                }
                self.state = State::Expect(Expect::Colon);
                Ok(None)
            }
            Ok(None) => Ok(self.value_end(rest.at())),
        }
    }

    fn number(&mut self, number: Number, rest: &mut Rest<'_, '_, '_>) -> Progress {
        let number = number.read(rest.bytes);
        if rest.bytes.is_empty() {
            self.state = State::InNumber(number);
            return Ok(Some(Event::InputEmpty));
        }
        match number.expected() {
            None => Ok(self.value_end(rest.at())),
            Some(expected) => Err(rest.unexpected(expected)),
        }
    }

    fn literal(&mut self, mut left: &'static [u8], rest: &mut Rest<'_, '_, '_>) -> Progress {
        while let Some((expected, others)) = left.split_first() {
            match rest.bytes.split_first() {
                None => {
                    self.state = State::InLiteral(left);
                    return Ok(Some(Event::InputEmpty));
                }
                Some((byte, after)) if byte == expected => *rest.bytes = after,
                Some(_) => return Err(rest.unexpected("`true`, `false` or `null`")),
            }
            left = others;
        }
        Ok(self.value_end(rest.at()))
    }

    /// White space, and one byte between tokens or the first one of a token.
    fn structure(&mut self, expect: Expect, rest: &mut Rest<'_, '_, '_>) -> Progress {
        while let Some((b' ' | b'\t' | b'\n' | b'\r', after)) = rest.bytes.split_first() {
            *rest.bytes = after;
        }
        let Some((&byte, after)) = rest.bytes.split_first() else {
            return Ok(Some(Event::InputEmpty));
        };
        let at = rest.at();
        match (expect, byte) {
            (Expect::Value | Expect::ItemOrEnd, _) if let Some(kind) = Kind::of(byte) => {
                return self.value_start(kind, byte, rest);
            }
            (Expect::CommaOrEnd, b',') => {
                let next = match self.nesting.in_object() {
                    true => Expect::Key,
                    false => Expect::Value,
                };
                self.state = State::Expect(next);
                rest.tell(Token::Comma, at);
            }
            (Expect::Key | Expect::KeyOrEnd, b'"') => {
                rest.tell(Token::KeyStart, at);
                if self.nesting.depth == 1 {
                    self.key_at = at;
                    self.key.clear();
                    self.key.push(byte);
                }
                self.state = State::InString {
                    within: Within::Text,
                    is_key: true,
                };
            }
            (Expect::Colon, b':') => self.state = State::Expect(Expect::Value),
            (Expect::ItemOrEnd, b']') | (Expect::KeyOrEnd, b'}') => {
                *rest.bytes = after;
                rest.tell(Token::Close, at);
                return Ok(self.close(at, true));
            }
            (Expect::CommaOrEnd, b']' | b'}') if self.nesting.in_object() == (byte == b'}') => {
                *rest.bytes = after;
                rest.tell(Token::Close, at);
                return Ok(self.close(at, false));
            }
            (Expect::Object, b'{') => {
                self.nesting.open(true, at)?;
                rest.tell(Token::OpenObject, at);
                self.state = State::Expect(Expect::KeyOrEnd);
            }
            (Expect::Object, _) if Kind::of(byte).is_some() => {
                return Err(InvalidJson::NotAnObject { at });
            }
            _ => return Err(rest.unexpected(expect.describe(&self.nesting))),
        }
        *rest.bytes = after;
        Ok(None)
    }

    /// The first byte of a value. Announces a watched one; then, in the next call, enters it.
    fn value_start(&mut self, kind: Kind, byte: u8, rest: &mut Rest<'_, '_, '_>) -> Progress {
        let at = rest.at();
        if let Some(member) = self.due.take() {
            self.open = Some(Open { member, at });
            self.captured.clear();
            self.cut = false;
            return Ok(Some(Event::ValueStart { member, at, kind }));
        }
        if !matches!(kind, Kind::Array | Kind::Object)
            && let Some(outline) = &mut rest.outline
        {
            outline.value(kind, at);
        }
        match kind {
            // Literals and numbers are read from their first byte, the others after it.
            Kind::Bool if byte == b't' => return self.literal(b"true", rest),
            Kind::Bool => return self.literal(b"false", rest),
            Kind::Null => return self.literal(b"null", rest),
            Kind::Number => return self.number(Number::Start, rest),
            Kind::Array => {
                self.nesting.open(false, at)?;
                rest.tell(Token::OpenArray, at);
                self.state = State::Expect(Expect::ItemOrEnd);
            }
            Kind::Object => {
                self.nesting.open(true, at)?;
                rest.tell(Token::OpenObject, at);
                self.state = State::Expect(Expect::KeyOrEnd);
            }
            Kind::String => {
                self.state = State::InString {
                    within: Within::Text,
                    is_key: false,
                };
            }
        }
        string::skip(rest.bytes, 1);
        Ok(None)
    }

    /// A value ended before the absolute offset `end`.
    fn value_end(&mut self, end: u64) -> Option<Event> {
        self.state = State::Expect(Expect::CommaOrEnd);
        if self.nesting.depth != 1 {
            return None;
        }
        let Open { member, at } = self.open.take()?;
        Some(Event::ValueEnd {
            member,
            range: at..end,
        })
    }

    /// The object or array that is open innermost ends with the byte at `at`.
    fn close(&mut self, at: u64, is_empty: bool) -> Option<Event> {
        self.nesting.depth -= 1;
        if self.nesting.depth > 0 {
            return self.value_end(at + 1);
        }
        self.state = State::Expect(Expect::Nothing);
        Some(Event::ObjectEnd {
            close: at,
            is_empty,
        })
    }

    /// The watched member that the top-level key names which was just read.
    fn watched_member(&mut self) -> Result<Option<usize>, InvalidJson> {
        let Some(name) = decode_string(&self.key) else {
            return Ok(None);
        };
        let Some(member) = self.watched.position(&name) else {
            return match self.watched.has_like(&name) {
                true => Err(InvalidJson::Lookalike { at: self.key_at }),
                false => Ok(None),
            };
        };
        match self.seen.get_mut(member) {
            Some(seen) if !*seen => *seen = true,
            _ => {
                let at = self.key_at;
                return Err(InvalidJson::Duplicate { member, at });
            }
        }
        Ok(Some(member))
    }
}

impl Kind {
    /// The kind of value that starts with this byte.
    fn of(byte: u8) -> Option<Kind> {
        Some(match byte {
            b'[' => Kind::Array,
            b't' | b'f' => Kind::Bool,
            b'n' => Kind::Null,
            b'-' | b'0'..=b'9' => Kind::Number,
            b'{' => Kind::Object,
            b'"' => Kind::String,
            _ => return None,
        })
    }
}

/// What came of a step: an event for the caller, or `None` to go on.
type Progress = Result<Option<Event>, InvalidJson>;

/// A watched value that is being read.
struct Open {
    member: usize,
    at: u64,
}

/// What the next byte must be, or is inside of.
#[derive(Clone, Copy)]
enum State {
    Expect(Expect),
    Failed(InvalidJson),
    /// What is left of `true`, `false` or `null`.
    InLiteral(&'static [u8]),
    InNumber(Number),
    InString {
        within: Within,
        is_key: bool,
    },
}

/// What comes next between tokens, apart from white space.
#[derive(Clone, Copy)]
enum Expect {
    Colon,
    CommaOrEnd,
    ItemOrEnd,
    Key,
    KeyOrEnd,
    Nothing,
    Object,
    Value,
}

impl Expect {
    /// What can follow, for the message about a byte that cannot.
    fn describe(self, nesting: &Nesting) -> &'static str {
        match self {
            Expect::Colon => "`:`",
            Expect::CommaOrEnd if nesting.in_object() => "`,` or `}`",
            Expect::CommaOrEnd => "`,` or `]`",
            Expect::ItemOrEnd => "a value or `]`",
            Expect::Key => "`\"`",
            Expect::KeyOrEnd => "`\"` or `}`",
            Expect::Nothing => "nothing after the object",
            Expect::Object => "`{`",
            Expect::Value => "a value",
        }
    }
}

/// Which of the open objects and arrays are objects, outermost first.
#[derive(Default)]
struct Nesting {
    /// depth <= MAX_DEPTH
    depth: usize,
    /// The bit `n % 64` of the word `n / 64` tells whether the one at depth `n + 1` is an object.
    objects: [u64; MAX_DEPTH / 64],
}

impl Nesting {
    fn open(&mut self, is_object: bool, at: u64) -> Result<(), InvalidJson> {
        let Some(word) = self.objects.get_mut(self.depth / 64) else {
            let limit = MAX_DEPTH;
            return Err(InvalidJson::TooDeep { at, limit });
        };
        let bit = self.depth % 64;
        *word = *word & !(1 << bit) | u64::from(is_object) << bit;
        self.depth += 1;
        Ok(())
    }

    /// Whether the innermost one is an object; `false` if none is open.
    fn in_object(&self) -> bool {
        let last = self.depth.wrapping_sub(1);
        let word = self.objects.get(last / 64);
        word.is_some_and(|word| word >> (last % 64) & 1 == 1)
    }
}

/// The input that is left, where it ends, and what learns of its tokens.
struct Rest<'r, 'a, 'o> {
    bytes: &'r mut &'a [u8],
    /// Absolute offset of the end.
    end: u64,
    outline: Option<&'o mut (dyn Outline + 'o)>,
}

impl Rest<'_, '_, '_> {
    fn tell(&mut self, token: Token, at: u64) {
        if let Some(outline) = &mut self.outline {
            outline.token(token, at);
        }
    }

    /// Absolute offset of the first byte.
    fn at(&self) -> u64 {
        self.end - self.bytes.len() as u64
    }

    /// The error about the first byte; there is one.
    fn unexpected(&self, expected: &'static str) -> InvalidJson {
        let at = self.at();
        match self.bytes.first() {
            None => InvalidJson::Truncated { at },
            Some(&byte) => InvalidJson::Unexpected { at, byte, expected },
        }
    }
}

/// What was taken from the front of `before` until `rest` was left.
fn consumed<'a>(before: &'a [u8], rest: &[u8]) -> &'a [u8] {
    let count = before.len().saturating_sub(rest.len());
    before.get(..count).unwrap_or(before)
}

/// Appends as much as there is room for; returns whether that was all.
fn extend_up_to(kept: &mut Vec<u8>, bytes: &[u8], limit: usize) -> bool {
    let room = limit.saturating_sub(kept.len());
    kept.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    bytes.len() <= room
}
