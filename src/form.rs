//! Forms (`multipart/form-data`): bytes in, the value of one field out.
//!
//! Sources: <https://www.rfc-editor.org/rfc/rfc7578> (forms), <https://www.rfc-editor.org/rfc/rfc2046#section-5.1>
//! (delimiters).
//!
//! # Differences from the specifications
//!
//! Servers read sloppy forms in different ways, and a rule about a field must hold for what each of
//! them reads. So what is ambiguous is refused: a preamble, a delimiter that does not stand alone in
//! its line or whose line ends without CR, folded head lines, two `Content-Disposition`, a parameter
//! twice, escapes in a name, a part that is encoded, and anything but blanks behind the last delimiter.
//!
//! Memory: one head of a part, and the value that is looked for, each within a limit.

use std::fmt;
use std::ops::Range;

use crate::percent;

/// What separates the parts of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boundary(Vec<u8>);

impl Boundary {
    /// The boundary that a `content-type` of `multipart/form-data` has; `None`: it has none, more than
    /// one, or one that is not valid.
    pub fn of(content_type: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(content_type).ok()?;
        let mut rest = text.split_once(';')?.1;
        let mut found = None;
        while !rest.trim().is_empty() {
            let (name, value, after) = parameter(rest)?;
            if name.starts_with("boundary") && (name != "boundary" || found.is_some()) {
                return None;
            }
            if name == "boundary" {
                found = Some(value.to_owned());
            }
            rest = after;
        }
        let boundary = found?;
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
        let fits = (1..=MAX_BOUNDARY_BYTES).contains(&boundary.len())
            && boundary.bytes().all(is_valid)
            && !boundary.ends_with(' ');
        fits.then(|| Self(boundary.into_bytes()))
    }
}

/// Finds the field `model` of a form.
pub struct Scanner {
    /// Further fields that are reported.
    others: &'static [&'static str],
    /// `--` and the boundary.
    delimiter: Vec<u8>,
    /// For each length of a matched prefix of the delimiter, the longest shorter one that ends it.
    fallback: Vec<usize>,
    state: State,
    /// Bytes seen.
    position: u64,
}

/// What the scanner is in.
enum State {
    /// A line that begins with a delimiter, which has ended.
    Delimiter {
        /// Where the delimiter begins.
        at: u64,
        /// What came behind it.
        line: Vec<u8>,
    },
    /// A part's head, from behind the delimiter's line.
    Head(Vec<u8>),
    /// A part's content.
    Content(Content),
    /// Behind the last delimiter.
    End,
    /// The very beginning: this much of the delimiter has come.
    Start(usize),
}

/// A part's content, up to here.
struct Content {
    /// Where it begins.
    at: u64,
    /// How much of a delimiter its end may be.
    matched: usize,
    /// The last bytes before what may be a delimiter.
    before: [u8; 2],
    /// All of it, where it is the value that is looked for.
    value: Option<Vec<u8>>,
}

/// What was found in a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Everything so far is read.
    InputEmpty,
    /// A field `model` has ended: where its value stands, and the value.
    Model {
        /// From the start of the form.
        range: Range<u64>,
        /// As it was sent.
        value: String,
    },
    /// A field of [`Scanner::with_others`] begins, however its name is written.
    Other(&'static str),
    /// The last delimiter has come: where it begins, from the start of the form.
    End(u64),
}

/// A form that is not one, or that servers could read in different ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidForm {
    /// The delimiter does not stand in a line of its own.
    Delimiter,
    /// A part has a head that is not one, or an ambiguous one.
    Head,
    /// The form does not end with the last delimiter.
    Incomplete,
    /// A field's name could be taken for `model`, or `model` is not a plain text.
    Model,
    /// Something follows the last delimiter.
    Trailing,
}

impl fmt::Display for InvalidForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Delimiter => "a boundary does not stand in a line of its own",
            Self::Head => {
                "the head of a part is not valid; send Content-Disposition: form-data; name=\"…\" \
                 and lines that end with CRLF"
            }
            Self::Incomplete => "it ends without its last boundary",
            Self::Model => "\"model\" is not a plain text field of this name",
            Self::Trailing => "something follows its last boundary",
        })
    }
}

impl std::error::Error for InvalidForm {}

impl Scanner {
    /// A form of which no byte has arrived.
    pub fn new(boundary: &Boundary) -> Self {
        let delimiter = [b"--", &boundary.0[..]].concat();
        // Knuth, Morris and Pratt: each byte is looked at once, whatever the form has.
        let mut fallback: Vec<usize> = vec![0];
        let mut length = 0;
        for byte in delimiter.iter().skip(1) {
            while length > 0 && delimiter.get(length) != Some(byte) {
                length = fallback.get(length - 1).copied().unwrap_or(0);
            }
            length += usize::from(delimiter.get(length) == Some(byte));
            fallback.push(length);
        }
        Self {
            others: &[],
            delimiter,
            fallback,
            state: State::Start(0),
            position: 0,
        }
    }

    /// The same, which also reports fields with these names, in lower case.
    pub fn with_others(mut self, others: &'static [&'static str]) -> Self {
        self.others = others;
        self
    }

    /// Bytes seen.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// `--` and the boundary.
    pub fn delimiter(&self) -> &[u8] {
        &self.delimiter
    }

    /// Whether the last bytes may yet have to be changed: they belong to a value that is looked for, or
    /// to what may be the last delimiter.
    pub fn must_wait(&self) -> bool {
        match &self.state {
            State::Content(content) => content.value.is_some() || content.matched > 0,
            State::Delimiter { .. } | State::Start(_) => true,
            State::Head(_) | State::End => false,
        }
    }

    /// Reads on. `bytes` is what is left to read, and becomes what is left after this event.
    ///
    /// # Errors
    ///
    /// When the form is not one, or ambiguous.
    pub fn scan(&mut self, bytes: &mut &[u8]) -> Result<Event, InvalidForm> {
        while let Some((&byte, rest)) = bytes.split_first() {
            *bytes = rest;
            self.position += 1;
            if let Some(event) = self.take(byte)? {
                return Ok(event);
            }
            if let State::Content(content) = &mut self.state {
                skip(content, bytes, &mut self.position);
            }
        }
        Ok(Event::InputEmpty)
    }

    /// Nothing follows.
    ///
    /// # Errors
    ///
    /// When the last delimiter has not come.
    pub fn finish(&self) -> Result<(), InvalidForm> {
        match self.state {
            State::End => Ok(()),
            _ => Err(InvalidForm::Incomplete),
        }
    }

    fn take(&mut self, byte: u8) -> Result<Option<Event>, InvalidForm> {
        match &mut self.state {
            State::Start(matched) => {
                if self.delimiter.get(*matched) != Some(&byte) {
                    return Err(InvalidForm::Delimiter);
                }
                *matched += 1;
                if *matched == self.delimiter.len() {
                    let (at, line) = (0, Vec::new());
                    self.state = State::Delimiter { at, line };
                }
                Ok(None)
            }
            State::Delimiter { at, line } => {
                line.push(byte);
                match &line[..] {
                    b"--" => {
                        let at = *at;
                        self.state = State::End;
                        return Ok(Some(Event::End(at)));
                    }
                    b"-" => {}
                    [blank @ .., b'\r', b'\n'] if is_blank(blank) => {
                        self.state = State::Head(Vec::new());
                    }
                    [blank @ .., b'\r'] if is_blank(blank) => {}
                    blank if is_blank(blank) && blank.len() < MAX_PADDING_BYTES => {}
                    _ => return Err(InvalidForm::Delimiter),
                }
                Ok(None)
            }
            State::Head(head) => {
                head.push(byte);
                if head.len() > MAX_HEAD_BYTES || *head == CRLF {
                    return Err(InvalidForm::Head);
                }
                if head.ends_with(b"\r\n\r\n") {
                    let field = Field::of(head, self.others)?;
                    self.state = State::Content(Content {
                        at: self.position,
                        matched: 0,
                        before: [0; 2],
                        value: (field == Field::Model).then(Vec::new),
                    });
                    if let Field::Other(name) = field {
                        return Ok(Some(Event::Other(name)));
                    }
                }
                Ok(None)
            }
            State::Content(content) => {
                if let Some(value) = &mut content.value {
                    value.push(byte);
                    if value.len() > MAX_VALUE_BYTES + self.delimiter.len() {
                        return Err(InvalidForm::Model);
                    }
                }
                let delimiter = &self.delimiter;
                let before = content.matched;
                while content.matched > 0 && delimiter.get(content.matched) != Some(&byte) {
                    let shorter = self.fallback.get(content.matched - 1);
                    content.matched = shorter.copied().unwrap_or(0);
                }
                content.matched += usize::from(delimiter.get(content.matched) == Some(&byte));
                // What is no longer part of what may be a delimiter stands before it.
                let released = (before + 1).saturating_sub(content.matched);
                let pending = delimiter.get(..before).unwrap_or_default();
                for released in pending.iter().chain([&byte]).take(released) {
                    content.before = [content.before[1], *released];
                }
                if content.matched < delimiter.len() {
                    return Ok(None);
                }
                let length = self.position - content.at;
                let around = delimiter.len() as u64 + CRLF.len() as u64;
                if content.before != CRLF || length < around {
                    return Err(InvalidForm::Delimiter);
                }
                let end = self.position - around;
                let range = content.at..end;
                let value = content.value.take();
                self.state = State::Delimiter {
                    at: end + CRLF.len() as u64,
                    line: Vec::new(),
                };
                let Some(mut value) = value else {
                    return Ok(None);
                };
                value.truncate(usize::try_from(range.end - range.start).unwrap_or(usize::MAX));
                let value = String::from_utf8(value).map_err(|_| InvalidForm::Model)?;
                Ok(Some(Event::Model { range, value }))
            }
            State::End => match byte {
                b'\r' | b'\n' | b' ' | b'\t' => Ok(None),
                _ => Err(InvalidForm::Trailing),
            },
        }
    }
}

/// Passes over what cannot begin a delimiter.
fn skip(content: &mut Content, bytes: &mut &[u8], position: &mut u64) {
    if content.matched > 0 || content.value.is_some() {
        return;
    }
    let length = bytes.iter().position(|&byte| byte == b'-');
    let (skipped, rest) = bytes
        .split_at_checked(length.unwrap_or(bytes.len()))
        .unwrap_or_default();
    match skipped {
        [] => {}
        [byte] => content.before = [content.before[1], *byte],
        [.., one, two] => content.before = [*one, *two],
    }
    *position += skipped.len() as u64;
    *bytes = rest;
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b' ' | b'\t'))
}

/// What a part is, by its head.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Model,
    Other(&'static str),
    Unrelated,
}

impl Field {
    fn of(head: &[u8], others: &'static [&'static str]) -> Result<Self, InvalidForm> {
        let head = std::str::from_utf8(head).map_err(|_| InvalidForm::Head)?;
        let head = head.strip_suffix("\r\n\r\n").unwrap_or(head);
        let (mut disposition, mut media_type, mut is_encoded) = (None, None, false);
        for line in head.split("\r\n") {
            let (name, value) = line.split_once(':').ok_or(InvalidForm::Head)?;
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            if name.is_empty() || !name.bytes().all(is_name) || value.contains(is_control) {
                return Err(InvalidForm::Head);
            }
            let value = value.trim();
            let place = match &*name.to_ascii_lowercase() {
                "content-disposition" => &mut disposition,
                "content-type" => &mut media_type,
                "content-transfer-encoding" => {
                    let plain = ["7bit", "8bit", "binary"];
                    is_encoded |= !plain.iter().any(|it| value.eq_ignore_ascii_case(it));
                    continue;
                }
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(InvalidForm::Head);
            }
        }
        let (form, mut rest) = disposition
            .and_then(|it: &str| it.split_once(';'))
            .ok_or(InvalidForm::Head)?;
        if !form.trim().eq_ignore_ascii_case("form-data") || is_encoded {
            return Err(InvalidForm::Head);
        }
        let mut seen: Vec<String> = Vec::new();
        let mut field = None;
        while !rest.trim().is_empty() {
            let (name, value, after) = parameter(rest).ok_or(InvalidForm::Head)?;
            // `name*` is another encoding of it, `name*0` its first part.
            if name.starts_with("name*") || seen.contains(&name) {
                return Err(InvalidForm::Head);
            }
            if name == "name" {
                field = Some(value);
            }
            seen.push(name);
            rest = after;
        }
        let field = field.ok_or(InvalidForm::Head)?;
        if field.contains('\\') {
            return Err(InvalidForm::Head);
        }
        // `Model`, `model[]` and ` model` are the same to some servers.
        let decoded = percent::decode(field.as_bytes()).to_ascii_lowercase();
        let decoded = decoded.trim_ascii();
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let end = decoded.iter().position(|byte| !is_name(byte));
        let (plain, behind) = decoded
            .split_at_checked(end.unwrap_or(decoded.len()))
            .unwrap_or_default();
        if !matches!(behind.trim_ascii_start().first(), Some(b'[' | 0) | None) {
            return Ok(Self::Unrelated);
        }
        if plain != b"model" {
            let other = others.iter().find(|it| it.as_bytes() == plain);
            return Ok(other.map_or(Self::Unrelated, |it| Self::Other(it)));
        }
        let is_file = seen.iter().any(|name| name.starts_with("filename"));
        match field == "model" && !is_file && media_type.is_none_or(is_plain_text) {
            true => Ok(Self::Model),
            false => Err(InvalidForm::Model),
        }
    }
}

/// Whether a media type is that of a text which everybody reads alike.
fn is_plain_text(media_type: &str) -> bool {
    let (media_type, parameters) = media_type.split_once(';').unwrap_or((media_type, ""));
    let parameters = parameters.trim().to_ascii_lowercase().replace('"', "");
    let charset = ["", "charset=utf-8", "charset=us-ascii"];
    media_type.trim().eq_ignore_ascii_case("text/plain") && charset.contains(&&*parameters)
}

/// The first parameter of `name=value; …`: its name in lower case, its value, and what follows it.
fn parameter(text: &str) -> Option<(String, &str, &str)> {
    let (name, rest) = text.split_once('=')?;
    let name = name.trim().to_ascii_lowercase();
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return None;
    }
    let Some(quoted) = rest.strip_prefix('"') else {
        let (value, after) = rest.split_once(';').unwrap_or((rest, ""));
        let value = value.trim_end();
        let is_bare = |byte: u8| !matches!(byte, b'"' | b' ' | b'\t' | b'\\');
        return (!value.is_empty() && value.bytes().all(is_bare)).then_some((name, value, after));
    };
    let (value, after) = quoted.split_once('"')?;
    // Whether `\"` ends a text or not, servers disagree.
    if value.ends_with('\\') {
        return None;
    }
    let after = after.trim_start();
    let after = match after.strip_prefix(';') {
        Some(after) => after,
        None if after.is_empty() => after,
        None => return None,
    };
    Some((name, value, after))
}

fn is_control(c: char) -> bool {
    c.is_control() && c != '\t'
}

const CRLF: [u8; 2] = *b"\r\n";

/// <https://www.rfc-editor.org/rfc/rfc2046#section-5.1.1>
const MAX_BOUNDARY_BYTES: usize = 70;

/// Blanks behind a delimiter.
const MAX_PADDING_BYTES: usize = 64;

const MAX_HEAD_BYTES: usize = 8 << 10;

/// The longest model name, as in JSON bodies.
const MAX_VALUE_BYTES: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    const B: &str = "----b--";
    const MAX_CUTS: usize = 600;

    fn boundary() -> Boundary {
        Boundary::of(format!("multipart/form-data; boundary={B}").as_bytes()).unwrap()
    }

    fn part(head: &str, content: &str) -> String {
        format!("--{B}\r\n{head}\r\n\r\n{content}\r\n")
    }

    fn field(name: &str, content: &str) -> String {
        part(
            &format!("Content-Disposition: form-data; name={name}"),
            content,
        )
    }

    /// The models and the end, of the whole form and byte by byte.
    fn events(form: &[u8]) -> Result<Vec<Event>, InvalidForm> {
        let read = |chunks: Vec<&[u8]>| {
            let mut scanner = Scanner::new(&boundary());
            let mut events = Vec::new();
            for mut chunk in chunks {
                loop {
                    match scanner.scan(&mut chunk)? {
                        Event::InputEmpty => break,
                        event => events.push(event),
                    }
                }
            }
            scanner.finish()?;
            assert_eq!(scanner.position(), form.len() as u64);
            Ok(events)
        };
        let whole = read(vec![form]);
        assert_eq!(read(form.chunks(1).collect()), whole, "byte by byte");
        for at in 0..form.len().min(MAX_CUTS) {
            assert_eq!(read(vec![&form[..at], &form[at..]]), whole, "cut at {at}");
        }
        whole
    }

    fn models(form: &str) -> Result<Vec<String>, InvalidForm> {
        let mut models = Vec::new();
        for event in events(form.as_bytes())? {
            if let Event::Model { range, value } = event {
                let (start, end) = (range.start as usize, range.end as usize);
                assert_eq!(form.get(start..end), Some(&*value));
                models.push(value);
            }
        }
        Ok(models)
    }

    #[test]
    fn the_model_is_found_wherever_it_stands_and_however_it_arrives() {
        let file = part(
            "content-disposition: form-data; name=\"file\"; filename=\"a \u{e9}.wav\"\r\nContent-Type: audio/wav",
            "--\r\n--\r\n----b-\r\n---\r\n-\r\n\r\nmodel",
        );
        let end = format!("--{B}--");
        for (form, expected) in [
            (
                format!("{}{file}{end}\r\n", field("\"model\"", "whisper-1")),
                vec!["whisper-1"],
            ),
            (format!("{file}{}{end}", field("model", "w")), vec!["w"]),
            (
                format!("{}{}{end}", field("model", "a"), field("model", "b")),
                vec!["a", "b"],
            ),
            (format!("{file}{end}"), vec![]),
            (format!("{}{end}", field("\"model\"", "")), vec![""]),
            (format!("{}{end}", field("\"remodel\"", "x")), vec![]),
            (format!("{}{end}", field("\"model_id\"", "x")), vec![]),
            (
                format!(
                    "{}{end}",
                    part(
                        "Content-Disposition: form-data; name=\"model\"\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 1\r\nContent-Transfer-Encoding: 8bit",
                        "m"
                    )
                ),
                vec!["m"],
            ),
            (
                format!(
                    "--{B} \t\r\n{}{end}",
                    field("model", "m").split_once("\r\n").unwrap().1
                ),
                vec!["m"],
            ),
            (end.clone(), vec![]),
        ] {
            let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(models(&form), Ok(expected), "{form}");
        }
    }

    #[test]
    fn what_servers_could_read_in_different_ways_is_refused() {
        use InvalidForm::{Delimiter, Head, Incomplete, Model, Trailing};
        let end = format!("--{B}--");
        let head = |head: &str| format!("{}{end}", part(head, "m"));
        let model = field("model", "m");
        for (form, expected) in [
            (String::new(), Incomplete),
            (format!("x\r\n{model}{end}"), Delimiter),
            (format!("\r\n{model}{end}"), Delimiter),
            (model.clone(), Incomplete),
            (format!("{model}{end}x"), Trailing),
            (format!("{model}{end}\r\n{model}{end}"), Trailing),
            // A delimiter to some, and content to others.
            (
                format!("{}{end}", field("file", &format!("x\n--{B}\n\nmodel"))),
                Delimiter,
            ),
            (
                format!("{}{end}", field("file", &format!("x--{B}"))),
                Delimiter,
            ),
            (
                format!("{}{end}", field("file", &format!("\r\n--{B}x"))),
                Delimiter,
            ),
            (
                format!("{}{end}", field("file", &format!("\r\n--{B}\n"))),
                Delimiter,
            ),
            (
                format!("--{B}\r\nContent-Disposition: form-data; name=a\r\n\r\n--{B}--"),
                Delimiter,
            ),
            (format!("--{B}-x"), Delimiter),
            // Heads.
            (
                head(
                    "Content-Disposition: form-data; name=a\nContent-Disposition: form-data; name=model",
                ),
                Head,
            ),
            (
                head(
                    "Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=model",
                ),
                Head,
            ),
            (head("Content-Disposition: form-data;\r\n name=model"), Head),
            (
                head("Content-Disposition: form-data; name=a; name=model"),
                Head,
            ),
            (
                head("Content-Disposition: form-data; name=a; name*=utf-8''model"),
                Head,
            ),
            (
                head("Content-Disposition: form-data; name=\"a\\\"; name=\"model\""),
                Head,
            ),
            (
                head("Content-Disposition: form-data; name=\"mo\\del\""),
                Head,
            ),
            (head("Content-Disposition: attachment; name=model"), Head),
            (head("Content-Disposition: form-data"), Head),
            (head("Content-Type: text/plain"), Head),
            (head("Content-Disposition : form-data; name=model"), Head),
            (
                head(
                    "Content-Disposition: form-data; name=model\r\nContent-Transfer-Encoding: base64",
                ),
                Head,
            ),
            (format!("--{B}\r\n\r\nx\r\n{end}"), Head),
            // Names that are the model's to some.
            (
                head("Content-Disposition: form-data; name=\"model[]\""),
                Model,
            ),
            (
                head("Content-Disposition: form-data; name=\" Model \""),
                Model,
            ),
            (
                head("Content-Disposition: form-data; name=\"%6dodel\""),
                Model,
            ),
            (
                head("Content-Disposition: form-data; name=model; filename=x"),
                Model,
            ),
            (
                head(
                    "Content-Disposition: form-data; name=model\r\nContent-Type: application/json",
                ),
                Model,
            ),
            (
                head(
                    "Content-Disposition: form-data; name=model\r\nContent-Type: text/plain; charset=utf-16",
                ),
                Model,
            ),
            (
                format!("{}{end}", field("model", &"x".repeat(5_000))),
                Model,
            ),
        ] {
            assert_eq!(models(&form), Err(expected), "{form}");
        }
        let mut form = model.into_bytes();
        form.extend_from_slice(end.as_bytes());
        let at = form.windows(5).position(|it| it == b"\r\nm\r\n").unwrap();
        form[at + 2] = 0xff;
        assert_eq!(events(&form), Err(Model));
    }

    #[test]
    fn a_boundary_stands_once_in_the_media_type() {
        let of =
            |text: &str| Boundary::of(text.as_bytes()).map(|it| String::from_utf8(it.0).unwrap());
        for (text, expected) in [
            ("multipart/form-data; boundary=abc", Some("abc")),
            (
                "multipart/form-data;charset=utf-8; Boundary=\"x y\"",
                Some("x y"),
            ),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("multipart/form-data; boundary=\"\"", None),
            ("multipart/form-data; boundary=a; boundary=b", None),
            ("multipart/form-data; boundary=a; boundary*=utf-8''b", None),
            ("multipart/form-data; boundary=\"a \"", None),
            ("multipart/form-data; boundary=\"a\\\"b\"", None),
            ("multipart/form-data; boundary=a b", None),
        ] {
            assert_eq!(of(text).as_deref(), expected, "{text}");
        }
        assert_eq!(
            of(&format!("multipart/form-data; boundary={}", "a".repeat(71))),
            None
        );
    }

    #[test]
    fn a_form_is_read_in_time_that_grows_with_its_length() {
        // What looks like a delimiter at every byte: each is looked at a bounded number of times.
        let boundary =
            Boundary::of(format!("multipart/form-data; boundary={}", "-".repeat(70)).as_bytes());
        let mut scanner = Scanner::new(&boundary.unwrap());
        let head = format!(
            "--{}\r\nContent-Disposition: form-data; name=f\r\n\r\n",
            "-".repeat(70)
        );
        let mut form = head.into_bytes();
        for _ in 0..4_000 {
            form.extend_from_slice(&[b'-'; 71]);
            form.push(b'x');
        }
        let mut rest = &form[..];
        assert_eq!(scanner.scan(&mut rest), Ok(Event::InputEmpty));
    }
}
