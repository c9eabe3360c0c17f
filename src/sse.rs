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
/// soon as its last byte is there: after the CR of a CRLF already.
///
/// Unit: `limit` and [`TooLarge::limit`] are bytes of one item, line endings not counted.
///
/// ```
/// use llm_proxy::sse::{Decoder, Event, Item};
///
/// let mut decoder = Decoder::new(1024);
/// decoder.push(b"event: ping\ndata: {}\n");
/// assert_eq!(decoder.next(), Ok(None));
/// decoder.push(b"\n");
/// assert_eq!(decoder.next(), Ok(Some(Item::Event(Event { name: "ping", data: "{}" }))));
/// assert_eq!(decoder.next(), Ok(None));
///
/// let mut decoder = Decoder::new(8);
/// decoder.push(b"data: 123456789");
/// assert_eq!(decoder.next().unwrap_err().limit, 8);
/// ```
#[derive(Debug)]
pub struct Decoder {
    /// Bytes received, of which those before `start` are done with.
    buffer: Vec<u8>,
    /// 0 <= start <= buffer.len()
    start: usize,
    /// No line ends before this.
    ///
    /// start <= scanned <= buffer.len()
    scanned: usize,
    /// Whether the next byte is skipped if it is a line feed: the last line ended with a CR.
    after_cr: bool,
    /// Whether the first line has been read, so that no byte order mark can follow.
    has_begun: bool,
    name: String,
    /// The data lines so far, each followed by a line feed.
    data: String,
    has_data: bool,
    /// The text of the comment that was given out last.
    comment: String,
    /// Whether `name` and `data` belong to an event that has been given out.
    is_taken: bool,
    /// Bytes of the lines of the event so far.
    size: usize,
    limit: usize,
    is_too_large: bool,
}

/// An event or comment is larger than the limit. Caused by the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// Unit: bytes.
    pub limit: usize,
}

/// What a line made of the event.
enum Line {
    Comment,
    /// The event is complete.
    End,
    Field,
}

impl Decoder {
    /// A decoder at the start of a stream, for items of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            after_cr: false,
            has_begun: false,
            name: String::new(),
            data: String::new(),
            has_data: false,
            comment: String::new(),
            is_taken: false,
            size: 0,
            limit,
            is_too_large: false,
        }
    }

    /// Takes the next bytes of the stream. Call [`next`](Self::next) until there is nothing more.
    pub fn push(&mut self, bytes: &[u8]) {
        // Before: |done|unread|         After: |unread|bytes|
        //              start                   start = 0
        // `unread` is at most what was pushed last if all items were taken, so each byte moves once.
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
        if !self.is_too_large {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next item, if the bytes so far hold one.
    ///
    /// # Errors
    ///
    /// When an item is larger than the limit. The decoder then stays in error.
    #[allow(clippy::should_implement_trait, reason = "what it returns borrows")]
    pub fn next(&mut self) -> Result<Option<Item<'_>>, TooLarge> {
        self.forget_taken();
        loop {
            if self.is_too_large {
                return Err(TooLarge { limit: self.limit });
            }
            let Some(line) = self.line() else {
                let pending = self.buffer.len() - self.start;
                self.is_too_large = self.size.saturating_add(pending) > self.limit;
                if self.is_too_large {
                    self.buffer = Vec::new();
                    (self.start, self.scanned) = (0, 0);
                    continue;
                }
                return Ok(None);
            };
            match line {
                Line::Comment => return Ok(Some(Item::Comment(&self.comment))),
                Line::End => return Ok(Some(self.take())),
                Line::Field => {}
            }
        }
    }

    /// The stream has ended: the event that it cut short, if there is one. Call it once, when
    /// [`next`](Self::next) has nothing more.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn finish(&mut self) -> Result<Option<Item<'_>>, TooLarge> {
        self.push(if self.after_cr { b"\n\n\n" } else { b"\n\n" });
        self.next()
    }

    /// Reads one line, if there is a whole one.
    fn line(&mut self) -> Option<Line> {
        if self.after_cr {
            let first = *self.buffer.get(self.start)?;
            self.after_cr = false;
            if first == b'\n' {
                self.start += 1;
                self.scanned = self.start;
            }
        }
        let unscanned = self.buffer.get(self.scanned..)?;
        let Some(found) = line_len(unscanned) else {
            self.scanned = self.buffer.len();
            return None;
        };
        let end = self.scanned + found;
        self.after_cr = self.buffer.get(end) == Some(&b'\r');
        let mut line = self.buffer.get(self.start..end).unwrap_or_default();
        (self.start, self.scanned) = (end + 1, end + 1);
        if !self.has_begun {
            self.has_begun = true;
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if line.is_empty() {
            return Some(if self.has_data {
                Line::End
            } else {
                // > If the data buffer is an empty string, set the data buffer and the event type
                // > buffer to the empty string and return.
                self.name.clear();
                self.size = 0;
                Line::Field
            });
        }
        if self.size.saturating_add(line.len()) > self.limit {
            self.is_too_large = true;
            return Some(Line::Field);
        }
        if let Some(comment) = line.strip_prefix(b":") {
            self.comment.clear();
            self.comment.push_str(&text(comment));
            return Some(Line::Comment);
        }
        self.size += line.len();
        let colon = line.iter().position(|&byte| byte == b':');
        let (field, value) = match colon.and_then(|at| line.split_at_checked(at)) {
            Some((field, value)) => (field, value.get(1..).unwrap_or_default()),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(&text(value));
                self.has_data = true;
            }
            b"event" => {
                self.name.clear();
                self.name.push_str(&text(value));
            }
            _ => {}
        }
        Some(Line::Field)
    }

    fn take(&mut self) -> Item<'_> {
        self.is_taken = true;
        Item::Event(Event {
            name: &self.name,
            data: &self.data,
        })
    }

    fn forget_taken(&mut self) {
        if self.is_taken {
            self.name.clear();
            self.data.clear();
            self.has_data = false;
            self.size = 0;
            self.is_taken = false;
        }
    }
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
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let ends_line = |byte: &u8| matches!(byte, b'\n' | b'\r');
    let (words, _) = bytes.as_chunks::<8>();
    // The high bit of a byte becomes set if it is below 14, and maybe of one above such a byte.
    let has_control = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        word.wrapping_sub(ONES * 14) & !word & (ONES << 7) != 0
    };
    let mut start = 0;
    for word in words {
        if has_control(word)
            && let Some(at) = word.iter().position(ends_line)
        {
            return Some(start + at);
        }
        start += word.len();
    }
    let rest = bytes.get(start..)?;
    rest.iter().position(ends_line).map(|at| start + at)
}

#[cfg(test)]
#[allow(clippy::string_slice, reason = "a test fails by panicking")]
mod tests {
    use super::*;

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
        let keep = |item: Result<Option<Item<'_>>, TooLarge>, seen: &mut Vec<Seen>| match item {
            Ok(None) => false,
            Ok(Some(Item::Comment(text))) => {
                seen.push(Seen::Comment(text.into()));
                true
            }
            Ok(Some(Item::Event(it))) => {
                seen.push(event(it.name, it.data));
                true
            }
            Err(_) => {
                if seen.last() != Some(&Seen::TooLarge) {
                    seen.push(Seen::TooLarge);
                }
                false
            }
        };
        for chunk in chunks {
            decoder.push(chunk);
            while keep(decoder.next(), &mut seen) {}
        }
        if finishes {
            keep(decoder.finish(), &mut seen);
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
        decoder.push(b"data: a\r\n\r");
        let expected = Item::Event(Event {
            name: "",
            data: "a",
        });
        assert_eq!(decoder.next(), Ok(Some(expected)));
        decoder.push(b"\ndata: b\r\n\r\n");
        let expected = Item::Event(Event {
            name: "",
            data: "b",
        });
        assert_eq!(decoder.next(), Ok(Some(expected)));
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
        let mut state = seed;
        let mut below = |limit: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % limit as u64).unwrap()
        };
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
