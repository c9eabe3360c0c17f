//! Writing JSON without a tree.

use super::quoted::Quoted;
use super::raw::Raw;
use super::string;

/// Appends values to a text; puts the commas between them.
///
/// The text grows as it must, unless it is [bounded](Writer::bounded).
///
/// It trusts its caller to open, name and close in the right order: what is written is the
/// caller's shape, so a wrong one is a mistake that the first test finds.
///
/// ```
/// use llm_proxy::json::Writer;
///
/// let mut json = Writer::default();
/// json.object(|json| {
///     json.key("a").string("x\"");
///     json.key("b").array(|json| {
///         json.number(1);
///         json.raw("{}");
///     });
/// });
/// assert_eq!(json.into_bytes(), br#"{"a":"x\"","b":[1,{}]}"#);
/// ```
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
    /// Whether a comma comes before the next value or key.
    needs_comma: bool,
    room: Room,
}

/// What happens where the text does not fit its memory.
#[derive(Debug, Default)]
enum Room {
    /// It was too long: it is counted from here on, and not kept. Unit: bytes so far.
    Counted(usize),
    /// It is given up and counted.
    Fixed,
    /// It gets more memory.
    #[default]
    Grows,
    /// It is the inside of a string of another text.
    Quoted(Box<Writer>),
}

/// Writes a text in memory of its own length, or of `guess` bytes where it is not longer.
///
/// A vector that grows takes up to three times its content. So a text that outgrows the guess is only
/// counted, and written again when its length is known. `write` must write the same each time.
///
/// # Errors
///
/// Those of `write`, and when the text is longer than `limit`.
pub fn write_within<T, E>(
    guess: usize,
    limit: usize,
    write: &mut dyn FnMut(&mut Writer) -> Result<T, E>,
) -> Result<(T, Vec<u8>), Unwritten<E>> {
    let mut json = Writer::bounded(guess.min(limit));
    let written = write(&mut json).map_err(Unwritten::Failed)?;
    let length = match json.finish() {
        Ok(text) => return Ok((written, text)),
        Err(length) => length,
    };
    if length > limit {
        return Err(Unwritten::TooLong(TooLong { limit }));
    }
    let mut json = Writer::bounded(length);
    let written = write(&mut json).map_err(Unwritten::Failed)?;
    match json.finish() {
        Ok(text) => Ok((written, text)),
        Err(_) => Err(Unwritten::TooLong(TooLong { limit: length })),
    }
}

/// Why a text was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unwritten<E> {
    /// What was to write it failed.
    Failed(E),
    /// It would be longer than it may be.
    TooLong(TooLong),
}

/// A text would be longer than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// Unit: bytes.
    pub limit: usize,
}

impl Writer {
    /// A writer with room for `bytes` bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self::after(Vec::with_capacity(bytes))
    }

    /// A writer that appends to what is there.
    pub fn after(out: Vec<u8>) -> Self {
        Self {
            out,
            needs_comma: false,
            room: Room::Grows,
        }
    }

    /// A writer with room for so many bytes and no more: what is longer is counted, and not kept.
    pub fn bounded(bytes: usize) -> Self {
        Self {
            out: Vec::with_capacity(bytes),
            needs_comma: false,
            room: Room::Fixed,
        }
    }

    /// What has been written.
    ///
    /// # Errors
    ///
    /// The text's length, where it is longer than the writer's room.
    pub fn finish(self) -> Result<Vec<u8>, usize> {
        match self.room {
            Room::Counted(length) => Err(length),
            Room::Fixed | Room::Grows | Room::Quoted(_) => Ok(self.out),
        }
    }

    /// What has been written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// An object, whose members `members` writes.
    pub fn object(&mut self, members: impl FnOnce(&mut Self)) {
        self.open(b'{');
        members(self);
        self.close(b'}');
    }

    /// An array, whose items `items` writes.
    pub fn array(&mut self, items: impl FnOnce(&mut Self)) {
        self.open(b'[');
        items(self);
        self.close(b']');
    }

    /// Starts an object: for where a closure would have to fail.
    pub fn open_object(&mut self) {
        self.open(b'{');
    }

    /// Ends an object.
    pub fn close_object(&mut self) {
        self.close(b'}');
    }

    /// Starts an array: for where a closure would have to fail.
    pub fn open_array(&mut self) {
        self.open(b'[');
    }

    /// Ends an array.
    pub fn close_array(&mut self) {
        self.close(b']');
    }

    /// The name of the member whose value comes next. Names are ours: none needs an escape.
    pub fn key(&mut self, name: &'static str) -> &mut Self {
        self.quoted_key(Quoted::checked(name.as_bytes()))
    }

    /// The same for a name that another JSON text has.
    pub fn quoted_key(&mut self, name: Quoted<'_>) -> &mut Self {
        self.comma();
        self.put(b"\"");
        self.put(name.text());
        self.put(b"\":");
        self.needs_comma = false;
        self
    }

    /// A string.
    pub fn string(&mut self, value: &str) {
        self.string_of(&[value]);
    }

    /// A string as another JSON text has it.
    pub fn quoted<'t>(&mut self, value: impl Into<Quoted<'t>>) {
        self.string_pieces(&[Piece::Quoted(value.into())]);
    }

    /// A string that is several, one behind the other.
    pub fn string_pieces(&mut self, pieces: &[Piece<'_>]) {
        self.open_string();
        for piece in pieces {
            self.piece(*piece);
        }
        self.close_string();
    }

    /// Starts a string, which is written by [pieces](Self::piece).
    pub fn open_string(&mut self) {
        self.comma();
        self.put(b"\"");
    }

    /// A piece of the string that is open.
    pub fn piece(&mut self, piece: Piece<'_>) {
        match piece {
            Piece::Plain(text) => string::write_inner(text, self),
            Piece::Quoted(text) => self.put(text.text()),
        }
    }

    /// Ends a string.
    pub fn close_string(&mut self) {
        self.put(b"\"");
        self.needs_comma = true;
    }

    /// In the string that is open: JSON text, which `write` writes.
    pub fn text_in_string(&mut self, write: impl FnOnce(&mut Self)) {
        let mut inside = Self {
            room: Room::Quoted(Box::new(std::mem::take(self))),
            ..Self::default()
        };
        write(&mut inside);
        if let Room::Quoted(outside) = inside.room {
            *self = *outside;
        }
    }

    /// A string that is several texts.
    pub fn string_of(&mut self, parts: &[&str]) {
        self.open_string();
        for part in parts {
            string::write_inner(part, self);
        }
        self.close_string();
    }

    /// A whole number.
    pub fn number(&mut self, mut value: u64) {
        let mut digits = [b'0'; MAX_DIGITS];
        let mut start = MAX_DIGITS;
        for digit in digits.iter_mut().rev() {
            // A digit is below 10.
            *digit += (value % 10) as u8;
            value /= 10;
            start -= 1;
            if value == 0 {
                break;
            }
        }
        self.comma();
        self.put(digits.get(start..).unwrap_or_default());
        self.needs_comma = true;
    }

    /// A number; `null` where JSON has none for it.
    pub fn float(&mut self, value: f64) {
        if let Some((whole, mut fraction)) = short_decimal(value) {
            self.number(whole);
            self.put(b".");
            let mut unit = DECIMAL;
            loop {
                unit /= 10;
                // A digit is below 10.
                self.put(&[b'0' + (fraction / unit) as u8]);
                fraction %= unit;
                if fraction == 0 {
                    return;
                }
            }
        }
        // The shortest text that means the same number, which JSON's grammar takes.
        match serde_json::Number::from_f64(value) {
            Some(number) => self.raw(&number.to_string()),
            None => self.null(),
        }
    }

    /// `true` or `false`.
    pub fn bool(&mut self, value: bool) {
        self.raw(if value { "true" } else { "false" });
    }

    /// `null`.
    pub fn null(&mut self) {
        self.raw("null");
    }

    /// A value that is JSON text already.
    pub fn raw(&mut self, json: &str) {
        self.raw_of(&[json]);
    }

    /// A value that is JSON text already, in several pieces.
    pub fn raw_of(&mut self, pieces: &[&str]) {
        self.comma();
        for piece in pieces {
            self.put(piece.as_bytes());
        }
        self.needs_comma = true;
    }

    /// A value as another JSON text has it, without the white space between its tokens.
    pub fn compact(&mut self, value: Raw<'_>) {
        self.comma();
        value.without_space(&mut |piece| self.put(piece.as_bytes()));
        self.needs_comma = true;
    }

    fn open(&mut self, bracket: u8) {
        self.comma();
        self.put(&[bracket]);
        self.needs_comma = false;
    }

    fn close(&mut self, bracket: u8) {
        self.put(&[bracket]);
        self.needs_comma = true;
    }

    fn comma(&mut self) {
        if self.needs_comma {
            self.put(b",");
        }
    }

    /// Appends bytes.
    #[inline(always)]
    pub(super) fn put(&mut self, bytes: &[u8]) {
        if bytes.len() > self.out.capacity() - self.out.len() {
            return self.put_beyond(bytes);
        }
        self.out.extend_from_slice(bytes);
    }

    /// Appends bytes for which there is no room.
    #[cold]
    #[inline(never)]
    fn put_beyond(&mut self, bytes: &[u8]) {
        let before = match &mut self.room {
            Room::Grows => return self.out.extend_from_slice(bytes),
            Room::Quoted(outside) => return outside.put_quoted(bytes),
            Room::Fixed => std::mem::take(&mut self.out).len(),
            Room::Counted(length) => *length,
        };
        self.room = Room::Counted(before.saturating_add(bytes.len()));
    }

    /// Appends bytes of JSON text, which has no control characters, to a string that is open.
    fn put_quoted(&mut self, bytes: &[u8]) {
        for run in bytes.split_inclusive(|byte| matches!(byte, b'"' | b'\\')) {
            let (last, before) = match run.split_last() {
                Some((b'"', before)) => (&b"\\\""[..], before),
                Some((b'\\', before)) => (&b"\\\\"[..], before),
                _ => (&b""[..], run),
            };
            self.put(before);
            self.put(last);
        }
    }
}

/// A piece of a string.
#[derive(Clone, Copy, Debug)]
pub enum Piece<'a> {
    /// Text.
    Plain(&'a str),
    /// A string as another JSON text has it.
    Quoted(Quoted<'a>),
}

/// A number of a few decimals as its whole part and its fraction, in units of 1/[`DECIMAL`].
///
/// The division is of exact numbers and rounded once, as whoever reads the decimals does it: where it
/// gives the number, they mean it. With so few digits no others do.
fn short_decimal(value: f64) -> Option<(u64, u64)> {
    // Smaller ones are written with an exponent.
    if value != 0.0 && !(1e-5..1e6).contains(&value) || value.is_sign_negative() {
        return None;
    }
    // Below 1e12.
    let scaled = (value * DECIMAL as f64).round_ties_even() as u64;
    let is_it = scaled as f64 / DECIMAL as f64 == value;
    is_it.then_some((scaled / DECIMAL, scaled % DECIMAL))
}

/// What the fraction of a short decimal counts.
const DECIMAL: u64 = 1_000_000;

/// Of the largest `u64`.
const MAX_DIGITS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_serde_json_does_it() {
        let decimals = (0..2000).map(|it| f64::from(it) / 1000.0);
        let others = [
            -0.0,
            -1.5,
            1e-6,
            1.5e-6,
            1e-7,
            0.1 + 0.2,
            1.0 / 3.0,
            999_999.999_999,
            1e6,
            1e21,
            f64::MAX,
        ];
        for value in decimals.chain(others) {
            let mut json = Writer::default();
            json.array(|json| {
                json.float(value);
                json.number(1);
            });
            let expected = serde_json::to_string(&(value, 1)).unwrap();
            assert_eq!(String::from_utf8(json.into_bytes()).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_too_long_is_counted_and_written_in_just_its_length() {
        let mut write = |json: &mut Writer| {
            json.array(|json| {
                json.string("a\n\u{1}\"é");
                json.number(1234);
                json.float(0.25);
                json.string_of(&["x", ""]);
                json.object(|json| json.key("k").raw("[null]"));
            });
            Ok::<_, ()>(7)
        };
        let expected = br#"["a\n\u0001\"\u00e9",1234,0.25,"x",{"k":[null]}]"#;
        let expected = String::from_utf8(expected.to_vec())
            .unwrap()
            .replace(r"\u00e9", "é");
        for guess in 0..=expected.len() {
            let (seven, text) = write_within(guess, expected.len(), &mut write).unwrap();
            assert_eq!(
                (seven, String::from_utf8(text).unwrap()),
                (7, expected.clone())
            );
            let (_, text) = write_within(guess, usize::MAX, &mut write).unwrap();
            assert!(text.capacity() <= expected.len());
        }
        let limit = expected.len() - 1;
        for guess in [0, limit, usize::MAX] {
            let long = write_within(guess, limit, &mut write);
            assert_eq!(long, Err(Unwritten::TooLong(TooLong { limit })));
        }
        let failed = write_within(0, 9, &mut |_| Err::<(), _>(8));
        assert_eq!(failed, Err(Unwritten::Failed(8)));
    }

    #[test]
    fn a_text_within_a_string_is_escaped_as_often_as_it_is_within_one() {
        let mut json = Writer::default();
        json.array(|json| {
            json.open_string();
            json.piece(Piece::Plain("a:\n"));
            json.text_in_string(|json| {
                json.object(|json| {
                    json.key("k").string("\"\\\n");
                    json.key("t").open_string();
                    json.text_in_string(|json| json.array(|json| json.string("x\"")));
                    json.close_string();
                });
            });
            json.close_string();
            json.number(1);
        });
        let (outer, one): (String, u8) = serde_json::from_slice(&json.into_bytes()).unwrap();
        let inner: serde_json::Value =
            serde_json::from_str(outer.strip_prefix("a:\n").unwrap()).unwrap();
        let expected = serde_json::json!({"k": "\"\\\n", "t": "[\"x\\\"\"]"});
        assert_eq!((inner, one), (expected, 1));
    }

    #[test]
    fn what_is_written_can_be_read() {
        let texts = [
            "",
            "plain",
            "a\"b\\c\u{8}\t\n\u{c}\r\u{1}\u{1f}\u{7f}",
            "é🦀",
            "a 200 byte text, longer than the words and the blocks that are looked at at once, \
             with one quote at the end of it all, which must still be found where it is: here \"é",
        ];
        let mut json = Writer::default();
        json.array(|json| texts.iter().for_each(|text| json.string(text)));
        let back: Vec<String> = serde_json::from_slice(&json.into_bytes()).unwrap();
        assert_eq!(back, texts);
        let mut json = Writer::default();
        json.array(|json| {
            json.float(0.5);
            json.float(1.0);
            json.float(f64::NAN);
            json.number(0);
            json.number(1090);
            json.number(u64::MAX);
            json.bool(true);
            json.string_of(&["a", "\"", ""]);
            json.object(|_| {});
        });
        assert_eq!(
            json.into_bytes(),
            br#"[0.5,1.0,null,0,1090,18446744073709551615,true,"a\"",{}]"#
        );
    }
}
