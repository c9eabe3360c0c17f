//! YAML as a JSON value, with the place of everything in the text. Not in the module.
//!
//! Source: YAML 1.2.2, <https://yaml.org/spec/1.2.2/>, with the core schema (section 10.3) and the merge
//! key `<<` of <https://yaml.org/type/merge.html>.
//!
//! # Differences from them
//!
//! * A key that stands twice, a second document, a tag that is not of the core schema and a number that
//!   JSON does not have (`.nan`, `.inf`) are errors.
//! * `0123` is text, as it is to most readers.
//! * What a text can make of itself is bounded, so that any text is read or refused in a time and a
//!   memory that are in proportion to its length: [`MAX_TEXT_BYTES`], [`MAX_VALUES`], [`MAX_DEPTH`],
//!   [`MAX_KEY_BYTES`], [`MAX_PATH_BYTES`], [`MAX_COPIED_BYTES`].

mod places;

use std::collections::BTreeMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};
use serde_json::{Map, Number, Value};

use self::places::NodeId;
pub use self::places::{Places, Scalar};
use super::error::{KeyPath, Position};

/// A document and its places.
#[derive(Debug, Default)]
pub struct Document {
    /// Its value.
    pub value: Value,
    /// Where each part of it stands.
    pub places: Places,
    /// Where it starts.
    pub start: Position,
}

/// A text that is no YAML, or not what a configuration can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The key, where one is concerned.
    pub at: KeyPath,
    /// Where in the text.
    pub position: Position,
    /// What is wrong.
    pub message: String,
    /// Whether the text exceeds a bound; it may be YAML.
    pub is_too_large: bool,
}

/// What a text has.
#[derive(Debug, Default)]
pub struct Stream {
    /// The documents before the first thing that is wrong. An empty text has none.
    pub documents: Vec<Document>,
    /// The first thing that is wrong.
    pub error: Option<Invalid>,
}

/// Parses any number of documents.
pub fn parse(text: &str) -> Stream {
    let mut stream = Stream::default();
    if text.len() > MAX_TEXT_BYTES {
        stream.error = Some(Invalid {
            at: KeyPath::root(),
            position: Position { line: 1, column: 1 },
            message: format!("the text is longer than {} MiB", MAX_TEXT_BYTES >> 20),
            is_too_large: true,
        });
        return stream;
    }
    let mut reader = Reader::new(text);
    loop {
        match reader.document() {
            Ok(Some(document)) => stream.documents.push(document),
            Ok(None) => return stream,
            Err(error) => {
                stream.error = Some(error);
                return stream;
            }
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    places: Places,
    /// What has an anchor, by its number, and its size.
    anchors: BTreeMap<usize, (Value, usize)>,
    /// The size of what was copied, into an anchor or from one.
    copied_bytes: usize,
    /// How many values have been read.
    values: usize,
    /// Where the last event ends.
    end: Position,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            parser: Parser::new_from_str(text),
            places: Places::default(),
            anchors: BTreeMap::new(),
            copied_bytes: 0,
            values: 0,
            end: Position::default(),
        }
    }

    /// Reads the next document, if there is one.
    fn document(&mut self) -> Result<Option<Document>, Invalid> {
        let Some(start) = self.start()? else {
            return Ok(None);
        };
        let (event, value_start) = self.next()?;
        let value = self.value(event, value_start, None, At::default())?;
        self.anchors.clear();
        Ok(Some(Document {
            value,
            places: std::mem::take(&mut self.places),
            start,
        }))
    }

    /// Reads up to the start of the next document, and gives its position.
    fn start(&mut self) -> Result<Option<Position>, Invalid> {
        loop {
            let (event, start) = self.next()?;
            match event {
                Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(_) => return Ok(Some(start)),
                Event::StreamEnd => return Ok(None),
                _ => {
                    return Err(self.invalid(NodeId::ROOT, start, "a value outside of a document"));
                }
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Position), Invalid> {
        #[cfg(test)]
        EVENTS.set(EVENTS.get() + 1);
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                self.end = position(&span.end);
                Ok((event, position(&span.start)))
            }
            Some(Err(error)) => Err(Invalid::from(&error)),
            None => Ok((Event::StreamEnd, Position::default())),
        }
    }

    /// Reads what starts with `event`; `key` is where its key stands.
    fn value(
        &mut self,
        event: Event<'a>,
        start: Position,
        key: Option<Position>,
        place: At,
    ) -> Result<Value, Invalid> {
        let at = place.node;
        if place.depth > MAX_DEPTH {
            let message = format!("more than {MAX_DEPTH} levels within each other");
            return Err(self.too_large(at, start, message));
        }
        if place.path_bytes > MAX_PATH_BYTES {
            let message = format!("keys within each other have more than {MAX_PATH_BYTES} bytes");
            return Err(self.too_large(at, start, message));
        }
        self.values += 1;
        if self.values > MAX_VALUES {
            let message = format!("more than {MAX_VALUES} values");
            return Err(self.too_large(at, start, message));
        }
        let end = matches!(event, Event::Scalar(..)).then_some(self.end);
        self.places.set(at, key, start, end);
        let (anchor, value) = match event {
            Event::Alias(anchor) => return self.copy_of(anchor, start, at),
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref());
                let value = value.map_err(|message| self.invalid(at, start, message))?;
                (anchor, value)
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), "seq").map_err(|why| self.invalid(at, start, why))?;
                (anchor, Value::Array(self.sequence(place)?))
            }
            Event::MappingStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), "map").map_err(|why| self.invalid(at, start, why))?;
                (anchor, Value::Object(self.mapping(place)?))
            }
            _ => return Err(self.invalid(at, start, "a value is missing here")),
        };
        if anchor > 0 {
            let size = size(&value);
            self.count_copy(size, start, at)?;
            self.anchors.insert(anchor, (value.clone(), size));
        }
        Ok(value)
    }

    fn copy_of(&mut self, anchor: usize, start: Position, at: NodeId) -> Result<Value, Invalid> {
        let Some(size) = self.anchors.get(&anchor).map(|(_, size)| *size) else {
            return Err(self.invalid(at, start, "an alias of what contains it"));
        };
        self.count_copy(size, start, at)?;
        let copied = self.anchors.get(&anchor).map(|(value, _)| value.clone());
        Ok(copied.unwrap_or_default())
    }

    fn count_copy(&mut self, size: usize, start: Position, at: NodeId) -> Result<(), Invalid> {
        self.copied_bytes += size;
        if self.copied_bytes > MAX_COPIED_BYTES {
            let bound = MAX_COPIED_BYTES >> 20;
            let message = format!("anchors and aliases stand for more than {bound} MiB");
            return Err(self.too_large(at, start, message));
        }
        Ok(())
    }

    fn sequence(&mut self, place: At) -> Result<Vec<Value>, Invalid> {
        let mut items = Vec::new();
        loop {
            let (event, start) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(items);
            }
            let item = place.within(self.places.item(place.node), INDEX_BYTES);
            items.push(self.value(event, start, None, item)?);
        }
    }

    fn mapping(&mut self, place: At) -> Result<Map<String, Value>, Invalid> {
        let at = place.node;
        let mut members = Map::new();
        let mut merged = Vec::new();
        loop {
            let (event, start) = self.next()?;
            let (key, style) = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, style, _, tag) => {
                    refuse_tag(tag.as_deref(), "str")
                        .map_err(|why| self.invalid(at, start, why))?;
                    (text, style)
                }
                _ => {
                    let message = "a key is text, not a list, a mapping or an alias";
                    return Err(self.invalid(at, start, message));
                }
            };
            if key.len() > MAX_KEY_BYTES {
                let message = format!("a key has more than {MAX_KEY_BYTES} bytes");
                return Err(self.too_large(at, start, message));
            }
            let member = place.within(self.places.member(at, &key), key.len());
            let (event, value_start) = self.next()?;
            let value = self.value(event, value_start, Some(start), member)?;
            if key == "<<" && style == ScalarStyle::Plain {
                merged.push((value, start));
            } else if members.insert(key.clone().into_owned(), value).is_some() {
                let message = format!("duplicate entry with key {key:?}");
                return Err(self.invalid(at, start, message));
            }
        }
        for (value, start) in merged {
            let maps = match value {
                Value::Array(items) => items,
                value => vec![value],
            };
            for map in maps {
                let Value::Object(map) = map else {
                    let message = "\"<<\" takes a mapping, or a list of mappings";
                    return Err(self.invalid(at, start, message));
                };
                for (key, value) in map {
                    members.entry(key).or_insert(value);
                }
            }
        }
        Ok(members)
    }

    fn invalid(&self, at: NodeId, position: Position, message: impl Into<String>) -> Invalid {
        Invalid {
            at: self.places.path(at),
            position,
            message: message.into(),
            is_too_large: false,
        }
    }

    fn too_large(&self, at: NodeId, position: Position, message: String) -> Invalid {
        Invalid {
            is_too_large: true,
            ..self.invalid(at, position, message)
        }
    }
}

/// What is being read.
#[derive(Clone, Copy, Default)]
struct At {
    node: NodeId,
    depth: usize,
    /// The length of its path, about.
    path_bytes: usize,
}

impl At {
    /// What it contains, behind a step of this length.
    fn within(self, node: NodeId, step_bytes: usize) -> Self {
        Self {
            node,
            depth: self.depth + 1,
            path_bytes: self.path_bytes + step_bytes,
        }
    }
}

/// What a copy of `value` takes. Unit: bytes, about.
fn size(value: &Value) -> usize {
    let inner = match value {
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| key.len() + size(value);
            members.iter().map(member).sum()
        }
        Value::String(text) => text.len(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    size_of::<Value>() + inner
}

/// What a scalar stands for.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let Some(tag) = tag else {
        return match style {
            ScalarStyle::Plain => plain(text),
            _ => Ok(Value::from(text)),
        };
    };
    let wrong = || format!("{text:?} is not what its tag {tag} says");
    let value = match tag.suffix.as_str() {
        _ if tag.handle.is_empty() && tag.suffix == "!" => return Ok(Value::from(text)),
        _ if !tag.is_yaml_core_schema() => return Err(unknown(tag)),
        "str" => return Ok(Value::from(text)),
        "int" | "float" => plain(text).ok().filter(Value::is_number),
        "bool" => plain(text).ok().filter(Value::is_boolean),
        "null" => plain(text).ok().filter(Value::is_null),
        _ => return Err(unknown(tag)),
    };
    value.ok_or_else(wrong)
}

fn refuse_tag(tag: Option<&Tag>, allowed: &str) -> Result<(), String> {
    match tag {
        Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == allowed) => Err(unknown(tag)),
        _ => Ok(()),
    }
}

fn unknown(tag: &Tag) -> String {
    format!("the tag {tag} has no meaning here; remove it, or quote the text")
}

/// What text without quotes stands for: the core schema of YAML 1.2.
fn plain(text: &str) -> Result<Value, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let special = unsigned.to_ascii_lowercase();
    if special == ".inf" || text.eq_ignore_ascii_case(".nan") {
        return Err(format!(
            "{text} is not a number that JSON has; quote it if it is text"
        ));
    }
    let radix = |prefix: &str, radix| {
        let digits = text.strip_prefix(prefix)?;
        u64::from_str_radix(digits, radix)
            .ok()
            .filter(|_| !digits.starts_with('+'))
    };
    if let Some(number) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return Ok(Value::from(number));
    }
    if !is_decimal(unsigned) {
        return Ok(Value::from(text));
    }
    let whole = text.strip_prefix('+').unwrap_or(text);
    if let Ok(number) = whole.parse::<u64>() {
        return Ok(Value::from(number));
    }
    if let Ok(number) = whole.parse::<i64>() {
        return Ok(Value::from(number));
    }
    let number = whole.parse().ok().and_then(Number::from_f64);
    number
        .map(Value::Number)
        .ok_or_else(|| format!("{text} is too large for a number"))
}

/// Whether this is `12`, `1.5`, `.5` or `1e3`, and not `0123`, which is text.
fn is_decimal(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let exponent = exponent.map(|it| it.strip_prefix(['+', '-']).unwrap_or(it));
    let is_padded = whole.len() > 1 && whole.starts_with('0');
    digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && !is_padded
        && exponent.is_none_or(|it| !it.is_empty() && digits(it))
}

impl From<&ScanError> for Invalid {
    fn from(error: &ScanError) -> Self {
        Self {
            at: KeyPath::root(),
            position: position(error.marker()),
            message: error.info().to_owned(),
            is_too_large: false,
        }
    }
}

fn position(marker: &Marker) -> Position {
    Position {
        line: marker.line(),
        column: marker.col() + 1,
    }
}

/// How many events were read, for tests that count what is read.
#[cfg(test)]
mod events {
    use std::cell::Cell;

    thread_local! {
        pub static EVENTS: Cell<usize> = const { Cell::new(0) };
    }
}
#[cfg(test)]
pub use self::events::EVENTS;

/// Deeper than any configuration: the schema has six levels, and `defaults` may hold a JSON schema.
const MAX_DEPTH: usize = 64;

/// The longest text. A ConfigMap of Kubernetes has 1 MiB; 10,000 backends and routes take 3.
pub const MAX_TEXT_BYTES: usize = 16 << 20;

/// The most values, in all documents of a text. 10,000 backends and 10,000 routes have 150,000.
pub const MAX_VALUES: usize = 400_000;

/// As YAML itself has it for keys that are not written with `?`. Unit: bytes; there characters.
const MAX_KEY_BYTES: usize = 1_024;

/// The longest path of keys: each value has one in messages.
const MAX_PATH_BYTES: usize = 4_096;

/// What an index takes in a path.
const INDEX_BYTES: usize = 8;

/// How much is copied for anchors, and by aliases.
const MAX_COPIED_BYTES: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(text: &str) -> Document {
        let mut stream = parse(text);
        assert_eq!(stream.error, None, "{text}");
        stream.documents.pop().unwrap_or_default()
    }

    fn value(text: &str) -> Value {
        document(text).value
    }

    fn error(text: &str) -> String {
        let Invalid {
            at,
            position,
            message,
            ..
        } = parse(text).error.unwrap();
        format!("{at} {}:{} {message}", position.line, position.column)
    }

    #[test]
    fn scalars_are_those_of_the_core_schema() {
        for (text, expected) in [
            ("~", json!(null)),
            ("", json!(null)),
            ("true", json!(true)),
            ("yes", json!("yes")),
            ("'true'", json!("true")),
            ("12", json!(12)),
            ("-12", json!(-12)),
            ("+12", json!(12)),
            (
                "18446744073709551615",
                json!(18_446_744_073_709_551_615_u64),
            ),
            ("0x1F", json!(31)),
            ("0o17", json!(15)),
            ("0123", json!("0123")),
            ("1.5", json!(1.5)),
            (".5", json!(0.5)),
            ("1e3", json!(1000.0)),
            ("1e", json!("1e")),
            ("1.2.3", json!("1.2.3")),
            ("2024-10-21", json!("2024-10-21")),
            ("nan", json!("nan")),
            ("inf", json!("inf")),
            ("'.nan'", json!(".nan")),
            ("-", json!([null])),
            (".", json!(".")),
            ("!!str 5", json!("5")),
            ("!!int 5", json!(5)),
            ("\"a\\nb\"", json!("a\nb")),
            ("|\n  a\n  b\n", json!("a\nb\n")),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn aliases_and_merge_keys_are_expanded() {
        let text = "a: &x {k: 1, l: [2]}\nb: *x\nc: {<<: *x, k: 3}\nd: {<<: [{k: 4}, *x], m: 5}";
        let expected = json!({
            "a": {"k": 1, "l": [2]},
            "b": {"k": 1, "l": [2]},
            "c": {"k": 3, "l": [2]},
            "d": {"m": 5, "k": 4, "l": [2]},
        });
        assert_eq!(value(text), expected);
    }

    #[test]
    fn what_a_configuration_cannot_have_is_an_error_with_its_place() {
        for (text, expected) in [
            (
                "a: .nan",
                "a 1:4 .nan is not a number that JSON has; quote it if it is text",
            ),
            (
                "a:\n- -.INF",
                "a[0] 2:3 -.INF is not a number that JSON has; quote it if it is text",
            ),
            ("a: 1e999", "a 1:4 1e999 is too large for a number"),
            ("a: 1\nb: 2\na: 3", " 3:1 duplicate entry with key \"a\""),
            (
                "a: !secret x",
                "a 1:4 the tag !secret has no meaning here; remove it, or quote the text",
            ),
            (
                "[a]: 1",
                " 1:1 a key is text, not a list, a mapping or an alias",
            ),
            (
                "<<: 1",
                " 1:1 \"<<\" takes a mapping, or a list of mappings",
            ),
            ("a: &x [*x]", "a[0] 1:8 an alias of what contains it"),
        ] {
            assert_eq!(error(text), expected, "{text}");
        }
    }

    #[test]
    fn places_are_those_of_keys_and_values() {
        let text = "a:\n  - b: 1\n    c:\n      d: x\n";
        let places = document(text).places;
        let at = KeyPath::root().key("a").index(0);
        let shown = |place: Option<Position>| place.map(|it| (it.line, it.column));
        assert_eq!(shown(places.value(&at.key("b"))), Some((2, 8)));
        assert_eq!(shown(places.key(&at.key("b"))), Some((2, 5)));
        assert_eq!(shown(places.value(&at.key("c").key("d"))), Some((4, 10)));
        // What is absent stands where it would have to be added.
        assert_eq!(shown(places.value(&at.key("c").key("e"))), Some((3, 5)));
        assert_eq!(shown(places.value(&at.key("e"))), Some((2, 5)));
    }

    /// The work is bounded by the text, whatever it says.
    #[test]
    fn hostile_text_is_refused_early() {
        let long = "k".repeat(2_000);
        for (text, expected) in [
            ("[".repeat(1_000_000), "recursion limit exceeded"),
            ("{a: ".repeat(1_000_000), "recursion limit exceeded"),
            ("- ".repeat(1_000_000), "more than 64 levels"),
            ("? ".repeat(1_000_000), "a key is text"),
            ("- 1\n".repeat(600_000), "more than 400000 values"),
            ("--- 1\n".repeat(600_000), "more than 400000 values"),
            ("x".repeat(17 << 20), "longer than 16 MiB"),
            (format!("? {long}\n: 1"), "more than 1024 bytes"),
            (
                format!("{{\"{}\": ", "k".repeat(900)).repeat(9),
                "more than 4096 bytes",
            ),
            ("!x a: 1".to_owned(), "the tag !x has no meaning"),
            ("- &a x\n".repeat(300_000), "stand for more than 8 MiB"),
            (
                format!("- &a {long}\n{}", "- *a\n".repeat(5_000)),
                "stand for more than 8 MiB",
            ),
        ] {
            let message = error(&text);
            assert!(message.contains(expected), "{message}");
        }
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            let copies = vec![format!("*a{}", n - 1); 10].join(", ");
            laughs.push_str(&format!("a{n}: &a{n} [{copies}]\n"));
        }
        let message = error(&laughs);
        assert!(
            message.ends_with("aliases stand for more than 8 MiB"),
            "{message}"
        );
    }
}
