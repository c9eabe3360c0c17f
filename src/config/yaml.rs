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
//! * What a text can make of itself is bounded: [`MAX_DEPTH`], [`MAX_COPIES`].

use std::collections::BTreeMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};
use serde_json::{Map, Number, Value};

use super::error::{KeyPath, Position};

/// A document and its places.
#[derive(Debug, Default)]
pub struct Document {
    /// What it says.
    pub value: Value,
    /// Where each part of it stands.
    pub places: Places,
}

/// Where each part of a document stands.
#[derive(Debug, Default)]
pub struct Places(BTreeMap<KeyPath, Place>);

#[derive(Clone, Copy, Debug)]
struct Place {
    key: Option<Position>,
    value: Position,
    /// Behind the last character, of a scalar.
    end: Option<Position>,
}

impl Places {
    /// Where a key stands, or the nearest part of the document that contains it.
    pub fn key(&self, at: &KeyPath) -> Option<Position> {
        self.nearest(at)
            .map(|place| place.key.unwrap_or(place.value))
    }

    /// Where the value of a key stands, or the key of the nearest part that contains it.
    pub fn value(&self, at: &KeyPath) -> Option<Position> {
        match self.0.get(at) {
            Some(place) => Some(place.value),
            None => self.key(at),
        }
    }

    /// Where the scalar at this place starts and ends, by its place.
    #[cfg(not(target_family = "wasm"))]
    pub fn scalars(&self) -> impl Iterator<Item = (&KeyPath, Position, Position)> {
        let scalars = self.0.iter();
        scalars.filter_map(|(at, place)| Some((at, place.value, place.end?)))
    }

    fn nearest(&self, at: &KeyPath) -> Option<&Place> {
        at.ancestors().find_map(|at| self.0.get(&at))
    }
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
}

/// Parses one document.
///
/// # Errors
///
/// The first thing that is wrong.
pub fn parse(text: &str) -> Result<Document, Invalid> {
    let mut reader = Reader::new(text);
    let document = reader.document()?.unwrap_or_default();
    match reader.start()? {
        Some(start) => Err(invalid(
            &KeyPath::root(),
            start,
            "a second document starts here; one is allowed",
        )),
        None => Ok(document),
    }
}

/// Parses any number of documents. An empty text has none.
///
/// # Errors
///
/// The first thing that is wrong.
#[cfg(not(target_family = "wasm"))]
pub fn parse_all(text: &str) -> Result<Vec<Document>, Invalid> {
    let mut reader = Reader::new(text);
    let mut documents = Vec::new();
    while let Some(document) = reader.document()? {
        documents.push(document);
    }
    Ok(documents)
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    places: Places,
    /// What has an anchor, by its number, and how many values it has.
    anchors: BTreeMap<usize, (Value, usize)>,
    /// How many values are copies of what has an anchor.
    copies: usize,
    /// Where the last event ends.
    end: Position,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            parser: Parser::new_from_str(text),
            places: Places::default(),
            anchors: BTreeMap::new(),
            copies: 0,
            end: Position::default(),
        }
    }

    /// Reads the next document, if there is one.
    fn document(&mut self) -> Result<Option<Document>, Invalid> {
        if self.start()?.is_none() {
            return Ok(None);
        }
        let (event, start) = self.next()?;
        let value = self.value(event, start, None, &KeyPath::root(), 0)?;
        self.anchors.clear();
        Ok(Some(Document {
            value,
            places: std::mem::take(&mut self.places),
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
                    return Err(invalid(
                        &KeyPath::root(),
                        start,
                        "a value outside of a document",
                    ));
                }
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Position), Invalid> {
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
        at: &KeyPath,
        depth: usize,
    ) -> Result<Value, Invalid> {
        if depth > MAX_DEPTH {
            let message = format!("more than {MAX_DEPTH} levels within each other");
            return Err(invalid(at, start, &message));
        }
        let end = matches!(event, Event::Scalar(..)).then_some(self.end);
        self.places.0.insert(
            at.clone(),
            Place {
                key,
                value: start,
                end,
            },
        );
        let (anchor, value) = match event {
            Event::Alias(anchor) => return self.copy_of(anchor, start, at),
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref());
                (
                    anchor,
                    value.map_err(|message| invalid(at, start, message))?,
                )
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), "seq").map_err(|why| invalid(at, start, why))?;
                (anchor, Value::Array(self.sequence(at, depth)?))
            }
            Event::MappingStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), "map").map_err(|why| invalid(at, start, why))?;
                (anchor, Value::Object(self.mapping(at, depth)?))
            }
            _ => return Err(invalid(at, start, "a value is missing here")),
        };
        if anchor > 0 {
            let size = size(&value);
            self.anchors.insert(anchor, (value.clone(), size));
        }
        Ok(value)
    }

    fn copy_of(&mut self, anchor: usize, start: Position, at: &KeyPath) -> Result<Value, Invalid> {
        let Some((value, size)) = self.anchors.get(&anchor) else {
            return Err(invalid(at, start, "an alias of what contains it"));
        };
        self.copies += size;
        if self.copies > MAX_COPIES {
            let message = format!("aliases stand for more than {MAX_COPIES} values");
            return Err(invalid(at, start, message));
        }
        Ok(value.clone())
    }

    fn sequence(&mut self, at: &KeyPath, depth: usize) -> Result<Vec<Value>, Invalid> {
        let mut items = Vec::new();
        loop {
            let (event, start) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(items);
            }
            let at = at.index(items.len());
            items.push(self.value(event, start, None, &at, depth + 1)?);
        }
    }

    fn mapping(&mut self, at: &KeyPath, depth: usize) -> Result<Map<String, Value>, Invalid> {
        let mut members = Map::new();
        let mut merged = Vec::new();
        loop {
            let (event, start) = self.next()?;
            let (key, style) = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, style, _, _) => (text, style),
                _ => {
                    return Err(invalid(
                        at,
                        start,
                        "a key is text, not a list, a mapping or an alias",
                    ));
                }
            };
            let key_at = at.key(&key);
            let (event, value_start) = self.next()?;
            let value = self.value(event, value_start, Some(start), &key_at, depth + 1)?;
            if key == "<<" && style == ScalarStyle::Plain {
                merged.push((value, start));
            } else if members.insert(key.clone().into_owned(), value).is_some() {
                return Err(invalid(
                    at,
                    start,
                    format!("duplicate entry with key {key:?}"),
                ));
            }
        }
        for (value, start) in merged {
            let maps = match value {
                Value::Array(items) => items,
                value => vec![value],
            };
            for map in maps {
                let Value::Object(map) = map else {
                    return Err(invalid(
                        at,
                        start,
                        "\"<<\" takes a mapping, or a list of mappings",
                    ));
                };
                for (key, value) in map {
                    members.entry(key).or_insert(value);
                }
            }
        }
        Ok(members)
    }
}

/// How many values there are in `value`, itself included.
fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(size).sum::<usize>(),
        _ => 1,
    }
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

fn invalid(at: &KeyPath, position: Position, message: impl Into<String>) -> Invalid {
    Invalid {
        at: at.clone(),
        position,
        message: message.into(),
    }
}

impl From<&ScanError> for Invalid {
    fn from(error: &ScanError) -> Self {
        invalid(&KeyPath::root(), position(error.marker()), error.info())
    }
}

fn position(marker: &Marker) -> Position {
    Position {
        line: marker.line(),
        column: marker.col() + 1,
    }
}

/// Deeper than any configuration: the schema has six levels, and `defaults` may hold a JSON schema.
const MAX_DEPTH: usize = 64;

/// Unit: values.
const MAX_COPIES: usize = 100_000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(text: &str) -> Value {
        parse(text)
            .map(|it| it.value)
            .unwrap_or_else(|error| panic!("{text}: {error:?}"))
    }

    fn error(text: &str) -> String {
        let Invalid {
            at,
            position,
            message,
        } = parse(text).unwrap_err();
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
            (
                "a: 1\n---\nb: 2",
                " 2:1 a second document starts here; one is allowed",
            ),
            ("a: &x [*x]", "a[0] 1:8 an alias of what contains it"),
        ] {
            assert_eq!(error(text), expected, "{text}");
        }
    }

    #[test]
    fn places_are_those_of_keys_and_values() {
        let text = "a:\n  - b: 1\n    c:\n      d: x\n";
        let places = parse(text).unwrap().places;
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
        for (text, expected) in [
            ("[".repeat(1_000_000), "recursion limit exceeded"),
            ("{a: ".repeat(1_000_000), "recursion limit exceeded"),
            ("- ".repeat(1_000_000), "more than 64 levels"),
            ("? ".repeat(1_000_000), "a key is text"),
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
            message.ends_with("aliases stand for more than 100000 values"),
            "{message}"
        );
    }
}
