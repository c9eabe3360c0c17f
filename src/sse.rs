//! Server-sent events: bytes in, events out.
//!
//! Source: WHATWG HTML, "Server-sent events",
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html>.
//! This module frames events. It does not know JSON, providers or `[DONE]`.
//!
//! # Differences from the specification
//!
//! * `id` and `retry` are ignored: we relay, we do not reconnect.
//! * Comments are items of their own, since they keep connections alive and so are passed on.
//! * An item larger than the limit is an error instead of unbounded memory.
//! * An event that the end of the stream cuts short is given out by [`Decoder::finish`] instead of
//!   discarded: providers leave out the last empty line. Whether its data is whole is for its reader
//!   to say.

use std::borrow::Cow;
use std::fmt;

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The `event` field; empty where there is none.
    pub name: &'a str,
    /// The `data` lines, joined by a line feed.
    pub data: &'a str,
}

/// What a stream consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A line that starts with a colon: what follows the colon.
    Comment(&'a str),
    /// An event.
    Event(Event<'a>),
}

/// Splits a byte stream into events, whatever the chunk boundaries.
///
/// Chunks may end anywhere, also inside a character or between CR and LF. An event is given out as
/// soon as its last byte is there: after the CR of a CRLF already. One that a chunk holds whole, as
/// nearly all of them are, is given out where it stands, without a copy.
///
/// Unit: `limit` and [`TooLarge::limit`] are bytes of one item, line endings not counted.
///
/// ```
/// use llm_proxy::sse::{Decoder, Event, Item};
///
/// let mut decoder = Decoder::new(1024);
/// decoder.push(b"event: ping\ndata: {}\n", |_| unreachable!()).unwrap();
/// let ping = Item::Event(Event { name: "ping", data: "{}" });
/// decoder.push(b"\n", |item| assert_eq!(item, ping)).unwrap();
///
/// let mut decoder = Decoder::new(8);
/// assert_eq!(decoder.push(b"data: 123456789", |_| {}).unwrap_err().limit, 8);
/// ```
#[derive(Debug)]
pub struct Decoder {
    /// The line that has begun: there is no line end in it.
    line: Vec<u8>,
    /// Whether the next byte is skipped if it is a line feed: the last line ended with a CR.
    after_cr: bool,
    /// Whether the first line has been read, so that no byte order mark can follow.
    has_begun: bool,
    /// The event that has begun, without `line`.
    event: Lines<'static>,
    limit: usize,
    is_too_large: bool,
}

/// An event or comment is larger than the limit. Caused by the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// Unit: bytes.
    pub limit: usize,
}

/// What the lines of an event say so far.
#[derive(Debug, Default)]
struct Lines<'a> {
    name: Cow<'a, str>,
    /// The data lines, joined by a line feed.
    data: Option<Cow<'a, str>>,
    /// Unit: bytes of the lines.
    size: usize,
}

impl Decoder {
    /// A decoder at the start of a stream, for items of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            line: Vec::new(),
            after_cr: false,
            has_begun: false,
            event: Lines::default(),
            limit,
            is_too_large: false,
        }
    }

    /// Takes the next bytes of the stream, and gives out what they complete.
    ///
    /// # Errors
    ///
    /// When an item is larger than the limit. The decoder then stays in error.
    pub fn push(&mut self, bytes: &[u8], give: impl FnMut(Item<'_>)) -> Result<(), TooLarge> {
        let is_read = match self.line.is_empty() {
            true => self.read(bytes, give),
            false => {
                // Each byte moves once: what is left of a line that ends here is in `bytes`.
                self.line.extend_from_slice(bytes);
                match line_len(bytes) {
                    None => self.fits(self.event.size, self.line.len()),
                    Some(_) => {
                        let joined = std::mem::take(&mut self.line);
                        self.read(&joined, give)
                    }
                }
            }
        };
        if !is_read {
            (self.line, self.event) = (Vec::new(), Lines::default());
            self.is_too_large = true;
            return Err(TooLarge { limit: self.limit });
        }
        Ok(())
    }

    /// The stream has ended: gives out what it cut short, if there is anything.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn finish(&mut self, give: impl FnMut(Item<'_>)) -> Result<(), TooLarge> {
        self.push(if self.after_cr { b"\n\n\n" } else { b"\n\n" }, give)
    }

    /// The memory that the item that has begun takes. Unit: bytes.
    pub fn pending_bytes(&self) -> usize {
        let data = self.event.data.as_ref().map_or(0, |data| data.len());
        self.line.capacity() + data
    }

    /// Forgets the item that has begun.
    pub fn clear(&mut self) {
        (self.line, self.event) = (Vec::new(), Lines::default());
    }

    /// Reads lines, of which the first has its beginning here. Gives whether all fit.
    fn read(&mut self, mut rest: &[u8], mut give: impl FnMut(Item<'_>)) -> bool {
        let mut event = std::mem::take(&mut self.event);
        loop {
            if self.after_cr && !rest.is_empty() {
                self.after_cr = false;
                rest = rest.strip_prefix(b"\n").unwrap_or(rest);
            }
            let Some((mut line, after)) = line_len(rest).and_then(|len| rest.split_at_checked(len))
            else {
                break;
            };
            if let Some((end, after)) = after.split_first() {
                self.after_cr = *end == b'\r';
                rest = after;
            }
            if !self.has_begun {
                self.has_begun = true;
                line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
            }
            if line.is_empty() {
                // > If the data buffer is an empty string, set the data buffer and the event type
                // > buffer to the empty string and return.
                if let Some(data) = &event.data {
                    let (name, data) = (&*event.name, &**data);
                    give(Item::Event(Event { name, data }));
                }
                event = Lines::default();
                continue;
            }
            if !self.fits(event.size, line.len()) {
                return false;
            }
            match line.strip_prefix(b":") {
                Some(comment) => give(Item::Comment(&text(comment))),
                None => event.add(line),
            }
        }
        let fits = self.fits(event.size, rest.len());
        if fits && event.size + rest.len() > 0 {
            self.event = event.into_owned();
            self.line.extend_from_slice(rest);
        }
        fits
    }

    fn fits(&self, size: usize, more: usize) -> bool {
        !self.is_too_large && size.saturating_add(more) <= self.limit
    }
}

impl<'a> Lines<'a> {
    /// Adds a field.
    fn add(&mut self, line: &'a [u8]) {
        self.size += line.len();
        if let Some(value) = value(line, b"data") {
            match &mut self.data {
                None => self.data = Some(value),
                Some(data) => join(data, &value),
            }
        } else if let Some(value) = value(line, b"event") {
            self.name = value;
        }
    }

    fn into_owned(self) -> Lines<'static> {
        Lines {
            name: Cow::Owned(self.name.into_owned()),
            data: self.data.map(|data| Cow::Owned(data.into_owned())),
            size: self.size,
        }
    }
}

/// Adds a line. Hardly any data has a second one.
#[cold]
fn join(data: &mut Cow<'_, str>, line: &str) {
    let data = data.to_mut();
    data.push('\n');
    data.push_str(line);
}

/// The value of a field, if the line has that field.
fn value<'a>(line: &'a [u8], field: &[u8]) -> Option<Cow<'a, str>> {
    let value = match line.strip_prefix(field)? {
        [b':', b' ', value @ ..] | [b':', value @ ..] => value,
        [] => &[],
        _ => return None,
    };
    Some(text(value))
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an event is larger than {} bytes", self.limit)
    }
}

impl std::error::Error for TooLarge {}

/// Appends an event without a name. `data` may have several lines.
pub fn write_data(data: &str, out: &mut Vec<u8>) {
    for line in data.split('\n') {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }
    out.push(b'\n');
}

/// Appends a comment, on a line of its own; line ends within become spaces.
#[cold]
pub fn write_comment(comment: &str, out: &mut Vec<u8>) {
    out.push(b':');
    out.extend(comment.bytes().map(|byte| match byte {
        b'\n' | b'\r' => b' ',
        byte => byte,
    }));
    out.extend_from_slice(b"\n\n");
}

/// > Streams must be decoded using the UTF-8 decode algorithm.
///
/// Which replaces what is not UTF-8. A line end is never inside a character, so lines can be decoded
/// one by one.
fn text(line: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(line) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(line),
    }
}

/// Where the first line ends, if it does. Lines are long: they are searched in words.
fn line_len(bytes: &[u8]) -> Option<usize> {
    let (words, _) = bytes.as_chunks();
    for (index, word) in words.iter().enumerate() {
        if let Some(at) = line_len_of_word(word) {
            return Some(index * 8 + at);
        }
    }
    match bytes.last_chunk() {
        // In what it shares with the word before, nothing ends.
        Some(word) => line_len_of_word(word).map(|at| bytes.len() - 8 + at),
        None => bytes
            .iter()
            .position(|&byte| byte == b'\n' || byte == b'\r'),
    }
}

#[inline(always)]
fn line_len_of_word(word: &[u8; 8]) -> Option<usize> {
    let word = u64::from_le_bytes(*word);
    // Of a byte below 0x80, the high bit becomes set if the subtraction borrows. That borrow may
    // set the bit of a byte above too, but only the lowest one is looked at.
    let line_feed = (word ^ (ONES * u64::from(b'\n'))).wrapping_sub(ONES);
    let carriage_return = (word ^ (ONES * u64::from(b'\r'))).wrapping_sub(ONES);
    let ends = (line_feed | carriage_return) & !word & (ONES << 7);
    (ends != 0).then_some((ends.trailing_zeros() / 8) as usize)
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);

#[cfg(test)]
#[allow(clippy::string_slice, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::random::Random;

    #[derive(Clone, Debug, PartialEq, Eq)]
    enum Seen {
        Comment(String),
        Event(String, String),
        TooLarge,
    }

    fn event(name: &str, data: &str) -> Seen {
        Seen::Event(name.into(), data.into())
    }

    fn read(chunks: &[&[u8]], limit: usize, finishes: bool) -> Vec<Seen> {
        let mut decoder = Decoder::new(limit);
        let mut seen = Vec::new();
        let keep = |item: Item<'_>, seen: &mut Vec<Seen>| {
            seen.push(match item {
                Item::Comment(text) => Seen::Comment(text.into()),
                Item::Event(it) => event(it.name, it.data),
            });
        };
        let mut fits = true;
        for chunk in chunks {
            fits &= decoder.push(chunk, |item| keep(item, &mut seen)).is_ok();
        }
        if finishes {
            fits &= decoder.finish(|item| keep(item, &mut seen)).is_ok();
        }
        if !fits {
            seen.push(Seen::TooLarge);
        }
        seen
    }

    /// Every row whole, byte by byte, and split at every offset; with LF, CR and CRLF.
    #[test]
    fn events_do_not_depend_on_chunks_or_line_ends() {
        let rows: &[(&str, Vec<Seen>)] = &[
            ("data: a\n\n", vec![event("", "a")]),
            (
                "data:a\n\ndata:  b\n\n",
                vec![event("", "a"), event("", " b")],
            ),
            (
                "event: x\ndata: a\ndata\ndata: é\n\n",
                vec![event("x", "a\n\né")],
            ),
            ("data\n\n", vec![event("", "")]),
            ("event: lost\n\ndata: a\n\n", vec![event("", "a")]),
            ("\u{feff}data: a\n\n", vec![event("", "a")]),
            (
                "id: 7\nretry: 1\nfoo\nfoo: b\nDATA: c\ndata: a\n\n",
                vec![event("", "a")],
            ),
            (
                ": hi\n\ndata: a\n:mid\ndata: b\n\n",
                vec![
                    Seen::Comment(" hi".into()),
                    Seen::Comment("mid".into()),
                    event("", "a\nb"),
                ],
            ),
            ("data: 🦀:x\n\n\n\n", vec![event("", "🦀:x")]),
            ("data: cut\n", vec![]),
            ("", vec![]),
        ];
        for (text, expected) in rows {
            for end in ["\n", "\r", "\r\n"] {
                let text = text.replace('\n', end);
                let bytes = text.as_bytes();
                assert_eq!(&read(&[bytes], 100, false), expected, "{text:?}");
                let single: Vec<&[u8]> = bytes.chunks(1).collect();
                assert_eq!(&read(&single, 100, false), expected, "{text:?}");
                for at in 0..=bytes.len() {
                    let (a, b) = bytes.split_at(at);
                    assert_eq!(&read(&[a, b], 100, false), expected, "{text:?} at {at}");
                }
            }
        }
    }

    #[test]
    fn an_event_is_out_with_its_last_byte() {
        let mut decoder = Decoder::new(100);
        for (chunk, expected) in [("data: a\r\n\r", "a"), ("\ndata: b\r\n\r\n", "b")] {
            let mut seen = String::new();
            let keep = |item: Item<'_>| match item {
                Item::Comment(_) => {}
                Item::Event(event) => seen.push_str(event.data),
            };
            decoder.push(chunk.as_bytes(), keep).unwrap();
            assert_eq!(seen, expected);
        }
    }

    #[test]
    fn the_end_gives_out_what_it_cut() {
        for text in ["data: a", "data: a\n", "data: a\r", "data: a\r\n"] {
            assert_eq!(
                read(&[text.as_bytes()], 100, true),
                [event("", "a")],
                "{text:?}"
            );
        }
        assert_eq!(read(&[b"data: a\n\n"], 100, true), [event("", "a")]);
        assert_eq!(read(&[b"event: a\n"], 100, true), []);
    }

    #[test]
    fn the_limit_is_for_one_item() {
        for (text, expected) in [
            (
                "data: 34\n\ndata: 34\n\n",
                vec![event("", "34"), event("", "34")],
            ),
            (
                "data: 34\n\ndata: 345\n\n",
                vec![event("", "34"), Seen::TooLarge],
            ),
            ("data:\ndata\n\n", vec![Seen::TooLarge]),
            ("data:a\nx\n\n", vec![event("", "a")]),
            (
                ":2345678\n:23456789\n",
                vec![Seen::Comment("2345678".into()), Seen::TooLarge],
            ),
            ("123456789", vec![Seen::TooLarge]),
        ] {
            for size in [1, 3, 100] {
                let chunks: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
                assert_eq!(read(&chunks, 8, false), expected, "{text:?} by {size}");
            }
        }
    }

    #[test]
    fn bytes_that_are_not_text_are_replaced() {
        assert_eq!(
            read(&[b"data: a\xffb\n\n"], 100, false),
            [event("", "a\u{fffd}b")]
        );
    }

    /// A megabyte a byte at a time: quadratic work would take minutes.
    #[test]
    fn a_huge_event_costs_linear_time() {
        let text = format!("data: {}\n\n", "x".repeat(1 << 20));
        let chunks: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(read(&chunks, 1 << 21, false).len(), 1);
        let text = "data: x\n\n".repeat(1 << 17);
        assert_eq!(read(&[text.as_bytes()], 100, false).len(), 1 << 17);
    }

    /// The specification read word by word, for a whole text without comments.
    fn model(text: &str) -> Vec<Seen> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let (mut seen, mut name, mut data) = (Vec::new(), String::new(), String::new());
        let Some((lines, _)) = text.rsplit_once('\n') else {
            return seen;
        };
        for line in lines.split('\n') {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" if line.is_empty() => {
                    if let Some(data) = data.strip_suffix('\n') {
                        seen.push(event(&name, data));
                    }
                    (name, data) = (String::new(), String::new());
                }
                "" => seen.push(Seen::Comment(line[1..].to_owned())),
                "data" => data = data + value + "\n",
                "event" => name = value.to_owned(),
                _ => {}
            }
        }
        seen
    }

    #[test]
    fn random_streams_agree_with_the_model() {
        const PIECES: [&str; 12] = [
            "data",
            "event",
            ":",
            ": ",
            "\n",
            "\n",
            "\r",
            "\r\n",
            "\u{feff}",
            "é🦀",
            "x",
            "data: y\n\n",
        ];
        let seed = 0x5eed_0001_u64;
        let mut random = Random::new(seed);
        let mut below = |limit: usize| random.below(limit);
        for round in 0..5000 {
            let text: String = (0..below(30)).map(|_| PIECES[below(12)]).collect();
            let mut chunks = Vec::new();
            let mut rest = text.as_bytes();
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at(1 + below(rest.len()));
                chunks.push(chunk);
                rest = after;
            }
            let context = format!("seed {seed:#x}, round {round}: {text:?}");
            assert_eq!(read(&chunks, 1 << 20, false), model(&text), "{context}");
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let mut out = Vec::new();
        write_comment("a\nb", &mut out);
        write_data("c\nd", &mut out);
        let expected = [Seen::Comment("a b".into()), event("", "c\nd")];
        assert_eq!(read(&[&out], 100, false), expected);
    }
}
