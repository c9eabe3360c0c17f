//! Reading a JSON text into shapes, in one pass and without a tree.
//!
//! serde would do the same with fewer lines here, and with several times the code in the module: it
//! makes a reader of its own for each shape. A request runs through all of them once, when none of
//! that is in the processor's caches, and then the size of the code is what counts. So there is one
//! loop over members and one over items, and a shape is what it does with each: see [`object!`].
//!
//! Everything is checked as a [`Scanner`](super::Scanner) does it, also what is skipped, but for
//! this: any value may be the root, [`MAX_DEPTH`] is less, and a member that a shape knows must not
//! come twice.
//!
//! A change here must be measured as wasm.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde_json::value::RawValue;

use super::error::InvalidJson;
use super::number::Number;
use super::quoted::{Quoted, Text};
use super::raw::Raw;
use super::string::{self, Fault, Within};

/// The most objects and arrays that may be open at once: serde_json's limit.
const MAX_DEPTH: usize = 127;

/// The most members that one object may have which its shape does not know, and which are kept.
const MAX_UNKNOWN: usize = 64;

/// The longest name of such a member. Unit: bytes.
const MAX_UNKNOWN_NAME_BYTES: usize = 256;

/// Reads the values of a text, from the front.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// How long the whole text is.
    length: usize,
    /// How many objects and arrays are open.
    depth: usize,
}

/// What can be read from a JSON text. `null` is read by an [`Option`] alone.
pub trait Read<'a>: Sized {
    /// Reads one value.
    ///
    /// # Errors
    ///
    /// When the text is not JSON, or not of this shape.
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unread>;

    /// Reads one value into its place. A shape of many members is made there, since moving it would
    /// take longer than reading it.
    ///
    /// # Errors
    ///
    /// As those of `read`. What the place then has means nothing.
    fn read_into(place: &mut Option<Self>, reader: &mut Reader<'a>) -> Result<(), Unread> {
        *place = Some(Self::read(reader)?);
        Ok(())
    }
}

/// Why a text was not read. Every `at` is a 0-based offset in bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is not JSON.
    Invalid(InvalidJson),
    /// A value is not what it must be.
    Unfit {
        /// Where the value starts.
        at: usize,
        /// What it must be, after "is not".
        expected: &'static str,
    },
    /// A member has occurred before.
    Duplicate {
        /// Where its second value starts.
        at: usize,
    },
}

impl Unread {
    /// What is wrong with the value, after its name.
    pub fn message(&self) -> String {
        match self {
            Self::Invalid(error) => error.to_string(),
            Self::Unfit { expected, .. } => format!("is not {expected}"),
            Self::Duplicate { .. } => "is there twice".to_owned(),
        }
    }

    /// The path of the value that is at fault, such as `messages[0].role`; empty for the root.
    /// `text` is what was read.
    pub fn path(&self, text: &[u8]) -> String {
        let (Self::Unfit { at, .. } | Self::Duplicate { at }) = *self else {
            return String::new();
        };
        let mut path = Path {
            at,
            segments: Vec::new(),
        };
        // It ends at the value, or with what is wrong before it.
        _ = path.find(&mut Reader::new(text));
        path.segments.concat()
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(error) => error.fmt(f),
            Self::Unfit { at, .. } | Self::Duplicate { at } => {
                write!(f, "the value at byte {at} {}", self.message())
            }
        }
    }
}

impl std::error::Error for Unread {}

/// Reads a text that is one value.
///
/// # Errors
///
/// When it is not JSON, not of this shape, or goes on after the value.
///
/// ```
/// use llm_proxy::json;
///
/// assert_eq!(json::read::<Vec<Option<u64>>>(b" [1, null] "), Ok(vec![Some(1), None]));
/// let unread = json::read::<Vec<u64>>(br#"[1, "2"]"#).unwrap_err();
/// assert_eq!(unread.to_string(), "the value at byte 4 is not a whole number, 0 or more");
/// assert_eq!(unread.path(br#"[1, "2"]"#), "[1]");
/// ```
pub fn read<'a, T: Read<'a>>(text: &'a [u8]) -> Result<T, Unread> {
    let mut reader = Reader::new(text);
    let value = T::read(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// The same for a value that is made in its place: see [`Read::read_into`].
///
/// # Errors
///
/// Those of [`read`].
pub fn read_into<'a, T: Read<'a>>(text: &'a [u8], place: &mut Option<T>) -> Result<(), Unread> {
    let mut reader = Reader::new(text);
    T::read_into(place, &mut reader)?;
    reader.end()
}

/// Whether a text has at most so many values, those within others included. Text that is not JSON has
/// as many as there are before what is wrong.
pub fn has_at_most(values: usize, text: &[u8]) -> bool {
    let mut left = values;
    let skipped = Reader::new(text).skip_counted(&mut left);
    skipped.is_ok() || left > 0
}

/// Declares a shape: a struct of optional members, and what reads it. `null` is absence.
///
/// With `..unknown` behind the members, those that the shape does not know and that are not `null` are
/// kept by name; without, they are skipped. A shape that borrows nothing has no lifetime.
macro_rules! object {
    (@other $found:expr, $reader:ident, $key:ident) => {
        _ = $reader.skip()?
    };
    (@other $found:expr, $reader:ident, $key:ident $unknown:ident) => {
        $reader.unknown($key, &mut $found.$unknown)?
    };
    (@member $lt:lifetime, [$($field:ident = $key:literal,)*] $($unknown:ident)?) => {
        /// Reads the value of one member into its place.
        pub(crate) fn read_member(
            &mut self,
            seen: &mut $crate::json::Seen,
            reader: &mut $crate::json::Reader<$lt>,
            key: &$crate::json::Key<$lt>,
        ) -> Result<(), $crate::json::Unread> {
            /// The members, by number.
            #[allow(non_camel_case_types, reason = "they are called as the fields are")]
            enum Member {
                $($field,)*
            }

            // `Seen` has a bit for each.
            const { assert!([$(stringify!($field)),*].len() <= u32::BITS as usize) };
            match key.bytes() {
                $($key => {
                    reader.see(seen, Member::$field as u32)?;
                    reader.member(&mut self.$field)?;
                })*
                _ => $crate::json::object!(@other self, reader, key $($unknown)?),
            }
            Ok(())
        }
    };
    (@read $lt:lifetime) => {
        fn read(reader: &mut $crate::json::Reader<$lt>) -> Result<Self, $crate::json::Unread> {
            let mut place = None;
            Self::read_into(&mut place, reader)?;
            Ok(place.unwrap_or_default())
        }

        #[inline(never)]
        fn read_into(
            place: &mut Option<Self>,
            reader: &mut $crate::json::Reader<$lt>,
        ) -> Result<(), $crate::json::Unread> {
            let found = place.insert(Self::default());
            let mut seen = $crate::json::Seen::default();
            reader.object(&mut |reader, key| found.read_member(&mut seen, reader, key))
        }
    };
    ($(#[$meta:meta])* $vis:vis $name:ident {
        $($(#[$about:meta])* $field:ident: $type:ty = $key:literal,)*
    }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        $vis struct $name {
            $($(#[$about])* $vis $field: Option<$type>,)*
        }

        impl $name {
            $crate::json::object!(@member '_, [$($field = $key,)*]);
        }

        impl<'a> $crate::json::Read<'a> for $name {
            $crate::json::object!(@read 'a);
        }
    };
    ($(#[$meta:meta])* $vis:vis $name:ident<$lt:lifetime> {
        $($(#[$about:meta])* $field:ident: $type:ty = $key:literal,)* $(..$unknown:ident)?
    }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        $vis struct $name<$lt> {
            $($(#[$about])* $vis $field: Option<$type>,)*
            $(
                /// What else is there and not `null`.
                $vis $unknown: Vec<(::std::borrow::Cow<$lt, str>, $crate::json::Raw<$lt>)>,
            )?
        }

        impl<$lt> $name<$lt> {
            $crate::json::object!(@member $lt, [$($field = $key,)*] $($unknown)?);
        }

        impl<$lt> $crate::json::Read<$lt> for $name<$lt> {
            $crate::json::object!(@read $lt);
        }
    };
}
pub(crate) use object;

/// The name of a member.
#[derive(Debug)]
pub struct Key<'a>(Cow<'a, [u8]>);

impl<'a> Key<'a> {
    /// The name. Unit: bytes of UTF-8, without escapes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name as text.
    pub fn to_name(&self) -> Cow<'a, str> {
        match &self.0 {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
            Cow::Owned(bytes) => String::from_utf8_lossy(bytes).into_owned().into(),
        }
    }
}

/// Which members of an object have come: a bit for each of them. `object!` compiles no shape that has
/// more.
#[derive(Debug, Default)]
pub struct Seen(u32);

/// What is done with each member of an object.
type OnMember<'f, 'a> = &'f mut dyn FnMut(&mut Reader<'a>, &Key<'a>) -> Result<(), Unread>;

/// What is done with each item of an array.
type OnItem<'f, 'a> = &'f mut dyn FnMut(&mut Reader<'a>) -> Result<(), Unread>;

impl<'a> Reader<'a> {
    /// A reader at the start of a text.
    pub fn new(text: &'a [u8]) -> Self {
        Self {
            rest: text,
            length: text.len(),
            depth: 0,
        }
    }

    /// Reads one value.
    ///
    /// # Errors
    ///
    /// See [`Read::read`].
    pub fn value<T: Read<'a>>(&mut self) -> Result<T, Unread> {
        T::read(self)
    }

    /// Notes that the member with this number comes next.
    ///
    /// # Errors
    ///
    /// When it has come before, be it as `null`: parsers differ about which of two counts.
    #[inline(never)]
    pub fn see(&mut self, seen: &mut Seen, member: u32) -> Result<(), Unread> {
        let bit = 1 << (member % u32::BITS);
        if seen.0 & bit != 0 {
            self.peek();
            return Err(Unread::Duplicate { at: self.at() });
        }
        seen.0 |= bit;
        Ok(())
    }

    /// Reads a member's value into its place.
    ///
    /// # Errors
    ///
    /// See [`Read::read`].
    pub fn member<T: Read<'a>>(&mut self, place: &mut Option<T>) -> Result<(), Unread> {
        match self.peek() {
            Some(b'n') => self.literal(b"null"),
            _ => T::read_into(place, self),
        }
    }

    /// Reads an object. `on_member` reads, or [skips](Self::skip), the value of each member.
    ///
    /// # Errors
    ///
    /// When it is no object, and those of `on_member`.
    #[inline(never)]
    pub fn object(&mut self, on_member: OnMember<'_, 'a>) -> Result<(), Unread> {
        if self.peek() != Some(b'{') {
            return Err(self.unfit("an object"));
        }
        self.open()?;
        if self.closes(b'}') {
            return Ok(());
        }
        loop {
            let key = self.key()?;
            if self.peek() != Some(b':') {
                return Err(self.unexpected("`:`"));
            }
            self.skip_byte();
            on_member(self, &key)?;
            if !self.goes_on(b'}', "`,` or `}`")? {
                return Ok(());
            }
        }
    }

    /// Reads an array. `on_item` reads, or [skips](Self::skip), each item.
    ///
    /// # Errors
    ///
    /// When it is no array, and those of `on_item`.
    #[inline(never)]
    pub fn array(&mut self, on_item: OnItem<'_, 'a>) -> Result<(), Unread> {
        if self.peek() != Some(b'[') {
            return Err(self.unfit("an array"));
        }
        self.open()?;
        if self.closes(b']') {
            return Ok(());
        }
        loop {
            on_item(self)?;
            if !self.goes_on(b']', "`,` or `]`")? {
                return Ok(());
            }
        }
    }

    /// Whether `null` comes next, which is then consumed.
    ///
    /// # Errors
    ///
    /// When it is something else that begins in the same way.
    pub fn null(&mut self) -> Result<bool, Unread> {
        match self.peek() {
            Some(b'n') => self.literal(b"null").map(|()| true),
            _ => Ok(false),
        }
    }

    /// Reads the value of a member that its shape does not know, and keeps it unless it is `null`.
    ///
    /// # Errors
    ///
    /// When it is not JSON, or there are too many of them.
    #[inline(never)]
    pub fn unknown(
        &mut self,
        key: &Key<'a>,
        members: &mut Vec<(Cow<'a, str>, Raw<'a>)>,
    ) -> Result<(), Unread> {
        if self.null()? {
            return Ok(());
        }
        if members.len() >= MAX_UNKNOWN {
            return Err(self.unfit("taken: its object has too many members that are not known"));
        }
        // It stands in messages.
        if key.bytes().len() > MAX_UNKNOWN_NAME_BYTES {
            return Err(self.unfit("taken: its name is too long"));
        }
        members.push((key.to_name(), self.value()?));
        Ok(())
    }

    /// Nothing but white space may follow.
    ///
    /// # Errors
    ///
    /// When something does.
    pub fn end(&mut self) -> Result<(), Unread> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.unexpected("nothing after the value")),
        }
    }

    /// The name of a member.
    fn key(&mut self) -> Result<Key<'a>, Unread> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("`\"`"));
        }
        let before = self.rest;
        self.skip_byte();
        if let Some(name) = string::short(&mut self.rest) {
            return Ok(Key(Cow::Borrowed(name)));
        }
        self.rest = before;
        Ok(Key(self.quoted()?.to_bytes()))
    }

    /// Skips one value, and takes it and every value in it off `left`.
    fn skip_counted(&mut self, left: &mut usize) -> Result<(), Unread> {
        match left.checked_sub(1) {
            Some(fewer) => *left = fewer,
            None => return Err(self.unfit("taken: there are too many values before")),
        }
        match self.peek() {
            Some(b'{') => self.object(&mut |reader, _| reader.skip_counted(left)),
            Some(b'[') => self.array(&mut |reader| reader.skip_counted(left)),
            _ => self.skip().map(drop),
        }
    }

    /// Skips one value. Gives its text.
    ///
    /// # Errors
    ///
    /// When it is not JSON.
    #[inline(never)]
    pub fn skip(&mut self) -> Result<&'a [u8], Unread> {
        let first = self.peek();
        let before = self.rest;
        match first {
            Some(b'"') => _ = self.quoted()?,
            Some(b'{') => self.object(&mut |reader, _| reader.skip().map(drop))?,
            Some(b'[') => self.array(&mut |reader| reader.skip().map(drop))?,
            Some(b't') => self.literal(b"true")?,
            Some(b'f') => self.literal(b"false")?,
            Some(b'n') => self.literal(b"null")?,
            Some(b'-' | b'0'..=b'9') => _ = self.number()?,
            _ => return Err(self.unexpected("a value")),
        }
        Ok(super::consumed(before, self.rest))
    }

    /// The first byte of what comes next, which is not white space. Nothing but that is consumed.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        loop {
            match self.rest.split_first() {
                Some((b' ' | b'\t' | b'\n' | b'\r', after)) => self.rest = after,
                Some((&byte, _)) => return Some(byte),
                None => return None,
            }
        }
    }

    /// That the value which comes next is not what it must be; or that there is none.
    #[cold]
    pub fn unfit(&mut self, expected: &'static str) -> Unread {
        match self.peek() {
            Some(b'"' | b'{' | b'[' | b't' | b'f' | b'n' | b'-' | b'0'..=b'9') => Unread::Unfit {
                at: self.at(),
                expected,
            },
            _ => self.unexpected("a value"),
        }
    }

    /// A string, without decoding it.
    pub(super) fn quoted(&mut self) -> Result<Quoted<'a>, Unread> {
        self.string(&mut false)
    }

    /// The same. Sets `has_units` as [`string::read`] does.
    #[inline(never)]
    fn string(&mut self, has_units: &mut bool) -> Result<Quoted<'a>, Unread> {
        if self.peek() != Some(b'"') {
            return Err(self.unfit("a string"));
        }
        self.skip_byte();
        let before = self.rest;
        match string::read(Within::Text, &mut self.rest, has_units) {
            Ok(None) => {
                let text = super::consumed(before, self.rest);
                // The closing quote has been consumed.
                Ok(Quoted::checked(
                    text.split_last().map_or(text, |(_, it)| it),
                ))
            }
            Ok(Some(_)) => Err(self.unexpected("`\"`")),
            Err(Fault::NotUtf8 { back }) => Err(Unread::Invalid(InvalidJson::NotUtf8 {
                at: self.at().saturating_sub(back) as u64,
            })),
            Err(Fault::Unexpected(expected)) => Err(self.unexpected(expected)),
        }
    }

    /// A string that is text.
    pub(super) fn text(&mut self) -> Result<Text<'a>, Unread> {
        self.peek();
        let at = self.at();
        let mut has_units = false;
        let quoted = self.string(&mut has_units)?;
        if !has_units {
            return Ok(Text::checked(quoted.text()));
        }
        Text::new(quoted).ok_or(Unread::Unfit {
            at,
            expected: "text: half of a surrogate pair is no character",
        })
    }

    /// The text of a number.
    #[inline(never)]
    fn number(&mut self) -> Result<&'a [u8], Unread> {
        if !matches!(self.peek(), Some(b'-' | b'0'..=b'9')) {
            return Err(self.unfit("a number"));
        }
        let before = self.rest;
        match Number::Start.read(&mut self.rest).expected() {
            None => Ok(super::consumed(before, self.rest)),
            Some(expected) => Err(self.unexpected(expected)),
        }
    }

    /// A whole number that is written in a few digits, as most are. Else nothing is consumed.
    fn count(&mut self) -> Option<u64> {
        let first = self.peek();
        let (mut value, mut rest) = (0, self.rest);
        while let Some((digit @ b'0'..=b'9', after)) = rest.split_first() {
            value = value * 10 + u64::from(digit - b'0');
            rest = after;
            // No other digit follows a zero at the front, and with so many there may be too many.
            if first == Some(b'0') || self.rest.len() - rest.len() == MAX_SHORT {
                break;
            }
        }
        let is_all = !matches!(rest.first(), Some(b'0'..=b'9' | b'.' | b'e' | b'E'));
        let has_any = self.rest.len() > rest.len();
        (is_all && has_any).then(|| {
            self.rest = rest;
            value
        })
    }

    #[inline(never)]
    fn literal(&mut self, literal: &'static [u8]) -> Result<(), Unread> {
        match self.rest.strip_prefix(literal) {
            Some(after) => {
                self.rest = after;
                Ok(())
            }
            None => Err(self.unexpected("`true`, `false` or `null`")),
        }
    }

    /// Enters an object or an array.
    fn open(&mut self) -> Result<(), Unread> {
        if self.depth == MAX_DEPTH {
            return Err(Unread::Invalid(InvalidJson::TooDeep {
                at: self.at() as u64,
                limit: MAX_DEPTH,
            }));
        }
        self.depth += 1;
        self.skip_byte();
        Ok(())
    }

    /// Leaves an object or an array, if it ends here.
    fn closes(&mut self, bracket: u8) -> bool {
        let closes = self.peek() == Some(bracket);
        if closes {
            self.depth -= 1;
            self.skip_byte();
        }
        closes
    }

    /// Goes past the comma behind a member or an item, or leaves the object or array. Gives whether
    /// another one must follow.
    fn goes_on(&mut self, bracket: u8, expected: &'static str) -> Result<bool, Unread> {
        let next = self.peek();
        let goes_on = next == Some(b',');
        if !goes_on {
            if next != Some(bracket) {
                return Err(self.unexpected(expected));
            }
            self.depth -= 1;
        }
        self.skip_byte();
        Ok(goes_on)
    }

    fn skip_byte(&mut self) {
        string::skip(&mut self.rest, 1);
    }

    /// The offset of what comes next.
    pub(super) fn at(&self) -> usize {
        self.length - self.rest.len()
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Goes past so many bytes, which have been checked before.
    pub(super) fn advance(&mut self, bytes: usize) {
        string::skip(&mut self.rest, bytes);
    }

    #[cold]
    fn unexpected(&self, expected: &'static str) -> Unread {
        let at = self.at() as u64;
        Unread::Invalid(match self.rest.first() {
            None => InvalidJson::Truncated { at },
            Some(&byte) => InvalidJson::Unexpected { at, byte, expected },
        })
    }
}

/// Looks for the path of the value at an offset.
struct Path {
    at: usize,
    segments: Vec<String>,
}

impl Path {
    /// Goes into the value that comes next, and on until it is past the one that is looked for. Gives
    /// whether that is it, or in it.
    fn find(&mut self, reader: &mut Reader<'_>) -> Result<bool, Unread> {
        let first = reader.peek();
        if reader.at() == self.at {
            return Ok(true);
        }
        let mut is_found = false;
        match first {
            Some(b'{') => reader.object(&mut |reader, key| {
                let name = key.to_name();
                let segment = match self.segments.is_empty() {
                    true => name.into_owned(),
                    false => format!(".{name}"),
                };
                is_found = self.find_in(segment, reader)?;
                stop_if(is_found, reader)
            })?,
            Some(b'[') => {
                let mut index = 0;
                reader.array(&mut |reader| {
                    is_found = self.find_in(format!("[{index}]"), reader)?;
                    index += 1;
                    stop_if(is_found, reader)
                })?;
            }
            _ => _ = reader.skip()?,
        }
        Ok(is_found)
    }

    fn find_in(&mut self, segment: String, reader: &mut Reader<'_>) -> Result<bool, Unread> {
        self.segments.push(segment);
        // What ends the search stands at the end of the path.
        let is_found = self.find(reader)?;
        if !is_found {
            self.segments.pop();
        }
        Ok(is_found)
    }
}

/// Ends a search by an error that nobody sees.
fn stop_if(is_found: bool, reader: &mut Reader<'_>) -> Result<(), Unread> {
    match is_found {
        true => Err(Unread::Duplicate { at: reader.at() }),
        false => Ok(()),
    }
}

impl<'a, T: Read<'a>> Read<'a> for Option<T> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unread> {
        match reader.peek() {
            Some(b'n') => reader.literal(b"null").map(|()| None),
            _ => T::read(reader).map(Some),
        }
    }
}

impl<'a, T: Read<'a>> Read<'a> for Vec<T> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unread> {
        let mut items = Self::new();
        reader.array(&mut |reader| {
            let mut item = None;
            T::read_into(&mut item, reader)?;
            items.extend(item);
            Ok(())
        })?;
        Ok(items)
    }
}

/// An array that is read item by item whenever it is needed: it takes no memory, however many there
/// are. Every item has been checked.
#[derive(Debug)]
pub struct Items<'a, T> {
    /// At the first item; `None`: there is none.
    reader: Option<Reader<'a>>,
    of: PhantomData<fn() -> T>,
}

impl<'a, T: Read<'a>> Items<'a, T> {
    /// The items, in order.
    pub fn iter(&self) -> impl Iterator<Item = T> + Clone + use<'a, T> {
        let mut reader = self.reader.clone();
        std::iter::from_fn(move || {
            let mut item = None;
            let next = reader.as_mut()?;
            // All have been read before: there is nothing to fail on.
            let is_read = T::read_into(&mut item, next).is_ok();
            if !is_read || !next.goes_on(b']', "`,` or `]`").unwrap_or_default() {
                reader = None;
            }
            item
        })
    }

    /// Checks an item of an array that is being read; those from the first that was checked on are kept.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub(crate) fn check(&mut self, reader: &mut Reader<'a>) -> Result<(), Unread> {
        let item = reader.clone();
        T::read_into(&mut None, reader)?;
        self.reader.get_or_insert(item);
        Ok(())
    }
}

impl<T> Clone for Items<'_, T> {
    fn clone(&self) -> Self {
        Self {
            reader: self.reader.clone(),
            of: PhantomData,
        }
    }
}

impl<T> Default for Items<'_, T> {
    fn default() -> Self {
        Self {
            reader: None,
            of: PhantomData,
        }
    }
}

impl<'a, T: Read<'a>> Read<'a> for Items<'a, T> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unread> {
        let mut items = Self::default();
        reader.array(&mut |reader| items.check(reader))?;
        Ok(items)
    }
}

impl<'a> Read<'a> for Quoted<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unread> {
        reader.quoted()
    }
}

/// Borrowed, unless it has escapes.
impl<'a> Read<'a> for Cow<'a, str> {
    #[inline(never)]
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unread> {
        reader.text().map(Text::decode)
    }
}

impl<'a> Read<'a> for bool {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unread> {
        match reader.peek() {
            Some(b't') => reader.literal(b"true").map(|()| true),
            Some(b'f') => reader.literal(b"false").map(|()| false),
            _ => Err(reader.unfit("true or false")),
        }
    }
}

impl<'a> Read<'a> for u64 {
    #[inline(never)]
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unread> {
        match reader.count() {
            Some(count) => Ok(count),
            None => whole(reader, "a whole number, 0 or more"),
        }
    }
}

impl<'a> Read<'a> for i64 {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unread> {
        whole(reader, "a whole number of 64 bits")
    }
}

fn whole<T: std::str::FromStr>(
    reader: &mut Reader<'_>,
    expected: &'static str,
) -> Result<T, Unread> {
    if !matches!(reader.peek(), Some(b'-' | b'0'..=b'9')) {
        return Err(reader.unfit(expected));
    }
    let at = reader.at();
    parsed(reader.number()?).ok_or(Unread::Unfit { at, expected })
}

fn parsed<T: std::str::FromStr>(number: &[u8]) -> Option<T> {
    std::str::from_utf8(number).ok()?.parse().ok()
}

impl<'a> Read<'a> for f64 {
    #[inline(never)]
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unread> {
        reader.peek();
        let at = reader.at();
        let text = reader.number()?;
        short_decimal(text)
            .or_else(|| parsed(text))
            .filter(|it: &Self| it.is_finite())
            .ok_or(Unread::Unfit {
                at,
                expected: "a number of 64 bits",
            })
    }
}

/// The number that a few digits mean, with a point among them or not. Both numbers of the division
/// are exact, so it is rounded once, as the standard library's larger code does it.
fn short_decimal(text: &[u8]) -> Option<f64> {
    let (mut digits, mut divisor, mut is_fraction) = (0_u32, 1_u32, false);
    if text.len() > MAX_SHORT {
        return None;
    }
    for byte in text {
        match byte {
            b'0'..=b'9' => {
                digits = digits * 10 + u32::from(byte - b'0');
                divisor *= if is_fraction { 10 } else { 1 };
            }
            b'.' => is_fraction = true,
            _ => return None,
        }
    }
    Some(f64::from(digits) / f64::from(divisor))
}

/// How many digits, with the point, are surely within 32 bits.
const MAX_SHORT: usize = 9;

impl<'a> Read<'a> for &'a RawValue {
    #[inline(never)]
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unread> {
        reader.peek();
        let at = reader.at();
        let text = reader.skip()?;
        serde_json::from_slice(text).map_err(|_| Unread::Unfit {
            at,
            expected: "a value that can be passed on",
        })
    }
}

/// A value that says nothing to us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignored;

impl<'a> Read<'a> for Ignored {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unread> {
        reader.skip().map(|_| Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    object! {
        Shape<'a> {
            text: Cow<'a, str> = b"text",
            items: Vec<Item<'a>> = b"items",
            float: f64 = b"float",
            ignored: Ignored = b"ignored",
            ..unknown
        }
    }

    object! {
        Item<'a> {
            name: Quoted<'a> = b"name",
            count: u64 = b"count",
            flag: bool = b"flag",
        }
    }

    object! {
        #[derive(PartialEq, Eq)]
        Count {
            count: u64 = b"count",
        }
    }

    #[test]
    fn shapes_are_read() {
        let text =
            br#" {"te\u0078t" : "a\nb" , "items":[{"name":"\u00e9","x":[1,{}],"flag":true},{}],
            "float":-1.5e3,"other":{"a":[null]},"none":null,"ignored":[[]]} "#;
        let shape: Shape<'_> = read(text).unwrap();
        assert_eq!(shape.text.as_deref(), Some("a\nb"));
        assert_eq!(shape.float, Some(-1500.0));
        assert_eq!(shape.ignored, Some(Ignored));
        let [first, second] = shape.items.as_deref().unwrap() else {
            panic!("{shape:?}");
        };
        assert_eq!(first.name.unwrap().decode().as_deref(), Some("é"));
        assert_eq!((first.flag, first.count), (Some(true), None));
        assert!(second.name.is_none());
        let count = read::<Count>(br#"{"x":"\u0000","count":7}"#);
        assert_eq!(count, Ok(Count { count: Some(7) }));
        let [(name, value)] = shape.unknown.as_slice() else {
            panic!("{shape:?}");
        };
        assert_eq!((&**name, value.get()), ("other", r#"{"a":[null]}"#));
    }

    #[test]
    fn what_does_not_fit_is_told_by_its_path() {
        for (text, path, message) in [
            ("[]", "", "is not an object"),
            (r#"{"text":1}"#, "text", "is not a string"),
            (
                r#"{"text":"\ud800"}"#,
                "text",
                "is not text: half of a surrogate pair is no character",
            ),
            (r#"{"items":{}}"#, "items", "is not an array"),
            (
                r#"{"x":[0],"items":[{}, 7 ]}"#,
                "items[1]",
                "is not an object",
            ),
            (
                r#"{"items":[{},{"count": -1}]}"#,
                "items[1].count",
                "is not a whole number, 0 or more",
            ),
            (
                r#"{"items":[{"count":1.5}]}"#,
                "items[0].count",
                "is not a whole number, 0 or more",
            ),
            (
                r#"{"items":[{"flag":"no"}]}"#,
                "items[0].flag",
                "is not true or false",
            ),
            (r#"{"float":1e999}"#, "float", "is not a number of 64 bits"),
            (r#"{"float":"1"}"#, "float", "is not a number"),
            (r#"{"float":1,"float":2}"#, "float", "is there twice"),
            (r#"{"float":1,"float":null}"#, "float", "is there twice"),
            (r#"{"float":null,"float":1}"#, "float", "is there twice"),
            (
                r#"{"items":[{"flag":null,"flag":null}]}"#,
                "items[0].flag",
                "is there twice",
            ),
        ] {
            let unread = read::<Shape<'_>>(text.as_bytes()).expect_err(text);
            assert_eq!(unread.path(text.as_bytes()), path, "{text}");
            assert_eq!(unread.message(), message, "{text}");
        }
    }

    /// What serde_json says of the same bytes, with its own limits.
    fn is_json(text: &[u8]) -> bool {
        serde_json::from_slice::<&RawValue>(text).is_ok()
    }

    #[test]
    fn a_name_is_read_whatever_its_length() {
        for length in 0..80 {
            let plain = "x".repeat(length);
            for (text, name) in [
                (plain.clone(), plain.clone()),
                (format!("{plain}é"), format!("{plain}é")),
                (format!(r"\u0041{plain}\n"), format!("A{plain}\n")),
            ] {
                let object = format!(r#"{{"{text}":1}}"#);
                let mut names = Vec::new();
                let mut reader = Reader::new(object.as_bytes());
                let read = reader.object(&mut |reader, key| {
                    names.push(key.to_name().into_owned());
                    reader.skip().map(drop)
                });
                assert_eq!((read, names), (Ok(()), vec![name]), "{object}");
            }
        }
    }

    #[test]
    fn a_count_is_what_serde_json_takes_for_one() {
        for text in [
            "0",
            "7",
            "10",
            "512",
            "999999999",
            "1000000000",
            "18446744073709551615",
            "18446744073709551616",
            "01",
            "00",
            "-1",
            "-0",
            "1.0",
            "1.5",
            "1e3",
            "1E3",
            "0.0",
            "0e1",
            "",
            "-",
            "x",
            "1x",
            "1 ",
            "0 ",
            "123456789.5",
            "123456789e1",
            "1,",
            "\"1\"",
        ] {
            let expected = serde_json::from_str(text).ok();
            assert_eq!(read::<u64>(text.as_bytes()).ok(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_skipped_is_checked_as_serde_json_does_it() {
        let whole = r#" {"a":[1,-0.5e+7,"\u00e9\"\\é🦀",true,false,null,{}],"b":{"c":[]}} "#;
        let mut texts = vec![whole.as_bytes().to_vec()];
        for at in 0..whole.len() {
            texts.push(whole.as_bytes()[..at].to_vec());
            for byte in b"\0 \",:[]{}0-.eutfn\\\xff\xc3" {
                let mut other = whole.as_bytes().to_vec();
                other[at] = *byte;
                texts.push(other.clone());
                other.insert(at, b'1');
                texts.push(other);
            }
        }
        for text in texts {
            let skipped = read::<Ignored>(&text).is_ok();
            assert_eq!(
                skipped,
                is_json(&text),
                "{}",
                String::from_utf8_lossy(&text)
            );
        }
    }

    #[test]
    fn depth_is_an_error_and_not_a_crash() {
        for (depth, is_read) in [(MAX_DEPTH, true), (MAX_DEPTH + 1, false), (100_000, false)] {
            let text = [b"[".repeat(depth), b"]".repeat(depth)].concat();
            assert_eq!(read::<Ignored>(&text).is_ok(), is_read, "{depth}");
        }
        assert!(read::<Ignored>("{\"a\":".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn numbers_are_what_the_standard_library_reads() {
        for text in [
            "0",
            "1",
            "0.2",
            "0.1",
            "1.0",
            "2",
            "0.70",
            "12345.678",
            "1234567.8",
            "123456789",
            "0.0000001",
            "-1",
            "1e3",
            "0.12345678901234567",
            "12345678901234567890",
            "1.7976931348623157e308",
        ] {
            let expected: f64 = text.parse().unwrap();
            assert_eq!(read::<f64>(text.as_bytes()), Ok(expected), "{text}");
        }
        for text in ["01", "1.", ".5", "+1", "1e", "-"] {
            assert!(read::<f64>(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(read::<u64>(b"18446744073709551615"), Ok(u64::MAX));
        assert_eq!(read::<i64>(b"-9223372036854775808"), Ok(i64::MIN));
        assert!(read::<u64>(b"18446744073709551616").is_err());
        assert!(read::<u64>(b"1.0").is_err());
    }
}
