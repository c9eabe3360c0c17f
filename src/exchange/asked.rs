//! Finds what a request's route and its limits depend on, in a body that waits for that: the model, and
//! whether the reply is a stream.
//!
//! Nothing else is looked at: as soon as what is searched for in a JSON body has ended, the body can go on.
//! That it stands there once is checked by the edit of the body that follows; where none follows, the body
//! is read to its end. A form always is: most forms pass without an edit.

use crate::form::{self, Boundary};
use crate::json::{self, Event, Scanner, ValueText, Watched};
use crate::refusal::Refusal;

/// Reads a body up to the end of what is searched for.
pub struct RoutingReader {
    text: Text,
    search: Search,
    reads_all: bool,
    /// What was found, while the rest is read. The model is `Some(None)` where it is there and blank.
    model: Option<Option<String>>,
    is_stream: Option<bool>,
}

/// What the body is.
enum Text {
    Form(form::Scanner),
    Json(Scanner),
}

/// What is searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// The model.
    Model,
    /// The model, and `stream` in the first [`MAX_SEARCHED_BYTES`].
    ModelAndStream,
    /// `stream` in the first [`MAX_SEARCHED_BYTES`].
    Stream,
}

/// What is known of a client's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Not yet all that is searched for.
    Nothing,
    /// All of it.
    All {
        /// The model that the body names; `None`: it has none (absent, `null` or blank), or was not
        /// searched for.
        model: Option<String>,
        /// Whether `stream` is `true`.
        is_stream: bool,
    },
}

impl RoutingReader {
    /// A JSON body of which nothing has arrived. `reads_all`: up to its end, whatever was found.
    pub fn json(search: Search, reads_all: bool) -> Self {
        let watched = match search {
            Search::Model => Watched::new(["model"]),
            Search::ModelAndStream => Watched::new(["model", "stream"]),
            Search::Stream => Watched::new(["stream"]),
        };
        Self {
            text: Text::Json(Scanner::new(watched)),
            search,
            reads_all,
            model: None,
            is_stream: None,
        }
    }

    /// A form of which nothing has arrived. Only the model is searched for.
    pub fn form(boundary: &Boundary) -> Self {
        Self {
            text: Text::Form(form::Scanner::new(boundary)),
            search: Search::Model,
            reads_all: true,
            model: None,
            is_stream: None,
        }
    }

    /// What is searched for.
    pub fn search(&self) -> Search {
        self.search
    }

    /// Takes the next bytes. `ends`: they are the last. After [`Found::All`] nothing may follow.
    ///
    /// # Errors
    ///
    /// When the body is not a JSON object or a form, or its `model` is not a string, or, as far as it
    /// is read, there twice.
    pub fn push(&mut self, mut bytes: &[u8], ends: bool) -> Result<Found, Refusal> {
        loop {
            let is_over = match &mut self.text {
                Text::Form(scanner) => push_form(scanner, &mut self.model, &mut bytes, ends)?,
                Text::Json(scanner) => {
                    match scanner.scan(&mut bytes).map_err(Refusal::InvalidBody)? {
                        Event::ValueStart { .. } => continue,
                        Event::ValueEnd { member, .. } => {
                            let (ValueText::Whole(text) | ValueText::Cut(text)) =
                                scanner.value_text();
                            if member == 0 && self.search != Search::Stream {
                                self.model = Some(model(text)?);
                            } else {
                                self.is_stream = Some(text == b"true");
                            }
                            if self.is_complete() {
                                return Ok(self.found());
                            }
                            continue;
                        }
                        Event::ObjectEnd { .. } => true,
                        Event::InputEmpty if ends => {
                            scanner.finish().map_err(Refusal::InvalidBody)?;
                            true
                        }
                        Event::InputEmpty => self.is_complete(),
                    }
                }
            };
            return Ok(match is_over {
                true => self.found(),
                false => Found::Nothing,
            });
        }
    }

    fn is_complete(&self) -> bool {
        let has_model = self.model.is_some() || self.search == Search::Stream;
        let is_beyond = match &self.text {
            Text::Form(_) => false,
            Text::Json(scanner) => scanner.position() > MAX_SEARCHED_BYTES,
        };
        let has_stream = self.is_stream.is_some() || self.search == Search::Model || is_beyond;
        !self.reads_all && has_model && has_stream
    }

    fn found(&mut self) -> Found {
        Found::All {
            model: self.model.take().flatten(),
            is_stream: self.is_stream == Some(true),
        }
    }
}

/// The model that the text of a member names; `None`: `null` or blank.
fn model(text: &[u8]) -> Result<Option<String>, Refusal> {
    match json::decode_string(text) {
        Some(name) if name.trim().is_empty() => Ok(None),
        Some(name) => Ok(Some(name.into())),
        None if text == b"null" => Ok(None),
        None => Err(Refusal::ModelNotText),
    }
}

/// Gives whether the form has ended.
fn push_form(
    scanner: &mut form::Scanner,
    found: &mut Option<Option<String>>,
    bytes: &mut &[u8],
    ends: bool,
) -> Result<bool, Refusal> {
    loop {
        match scanner.scan(bytes).map_err(Refusal::InvalidForm)? {
            form::Event::Model { .. } if found.is_some() => {
                return Err(Refusal::DuplicateMember("model".to_owned()));
            }
            form::Event::Model { value, .. } => {
                *found = Some(Some(value).filter(|name| !name.trim().is_empty()));
            }
            form::Event::End(_) | form::Event::Other(_) => {}
            form::Event::InputEmpty if ends => {
                scanner.finish().map_err(Refusal::InvalidForm)?;
                return Ok(true);
            }
            form::Event::InputEmpty => return Ok(false),
        }
    }
}

/// How far into a body `stream` is searched for: what it is for is worth no more memory. SDKs write
/// it behind the messages.
pub const MAX_SEARCHED_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: Option<&str>) -> Found {
        Found::All {
            model: name.map(str::to_owned),
            is_stream: false,
        }
    }

    #[test]
    fn a_stream_is_found_before_and_behind_the_model_and_no_further_than_needed() {
        let all = |name: Option<&str>, is_stream| {
            let model = name.map(str::to_owned);
            Ok(Found::All { model, is_stream })
        };
        for (body, search, expected) in [
            (
                r#"{"model":"m","x":1,"stream":true,"#,
                Search::ModelAndStream,
                all(Some("m"), true),
            ),
            (
                r#"{"stream":true,"model":"m","#,
                Search::ModelAndStream,
                all(Some("m"), true),
            ),
            (
                r#"{"stream":false,"model":"m","#,
                Search::ModelAndStream,
                all(Some("m"), false),
            ),
            (
                r#"{"model":"m","stream":null,"#,
                Search::ModelAndStream,
                all(Some("m"), false),
            ),
            (
                r#"{"model":"m","stream":"true","#,
                Search::ModelAndStream,
                all(Some("m"), false),
            ),
            (
                r#"{"model":"m","x":{"stream":true}}"#,
                Search::ModelAndStream,
                all(Some("m"), false),
            ),
            (
                r#"{"model":"m","x":1"#,
                Search::ModelAndStream,
                Ok(Found::Nothing),
            ),
            (
                r#"{"stream":true,"x":1"#,
                Search::ModelAndStream,
                Ok(Found::Nothing),
            ),
            (
                r#"{"model":7,"stream":true,"#,
                Search::Stream,
                all(None, true),
            ),
            (r#"{"model":"m"}"#, Search::Stream, all(None, false)),
        ] {
            let mut whole = RoutingReader::json(search, false);
            assert_eq!(whole.push(body.as_bytes(), false), expected, "{body}");
            let mut reader = RoutingReader::json(search, false);
            let mut found = Ok(Found::Nothing);
            for byte in body.bytes() {
                found = reader.push(&[byte], false);
                if found != Ok(Found::Nothing) {
                    break;
                }
            }
            assert_eq!(found, expected, "{body}, byte by byte");
        }
    }

    #[test]
    fn a_stream_that_comes_late_is_not_waited_for() {
        let long = format!(r#"{{"model":"m","messages":"{}"#, "x".repeat(1 << 20));
        let (first, rest) = long.as_bytes().split_at(1 << 20);
        for (search, found) in [
            (Search::ModelAndStream, model(Some("m"))),
            (Search::Stream, model(None)),
        ] {
            let mut reader = RoutingReader::json(search, false);
            assert_eq!(reader.push(first, false), Ok(Found::Nothing));
            assert_eq!(reader.push(rest, false), Ok(found));
        }
        // Routing needs the model, however late it comes.
        let late = format!(r#"{{"messages":"{}","#, "x".repeat(1 << 20));
        let mut reader = RoutingReader::json(Search::ModelAndStream, false);
        assert_eq!(reader.push(late.as_bytes(), false), Ok(Found::Nothing));
        assert_eq!(reader.push(br#""model":"m","#, false), Ok(model(Some("m"))));
    }
    #[test]
    fn the_model_is_found_wherever_it_stands_and_however_it_arrives() {
        let named = |name: &str| Ok(model(Some(name)));
        let none = || Ok(model(None));
        for (body, expected) in [
            (r#"{"model":"gpt-4o","messages":[]}"#, named("gpt-4o")),
            (
                r#"{"messages":[{"model":"x"}],"model":"é\n"}"#,
                named("é\n"),
            ),
            (r#"{"messages":[]}"#, none()),
            (r#"{"model":null}"#, none()),
            (r#"{"model":" "}"#, none()),
            ("{}", none()),
            (r#"{"model":5}"#, Err(Refusal::ModelNotText)),
            (r#"{"model":{"a":1}}"#, Err(Refusal::ModelNotText)),
        ] {
            let mut whole = RoutingReader::json(Search::Model, false);
            assert_eq!(whole.push(body.as_bytes(), true), expected, "{body}");
            let mut whole = RoutingReader::json(Search::Model, true);
            assert_eq!(whole.push(body.as_bytes(), true), expected, "{body}");
            let mut reader = RoutingReader::json(Search::Model, false);
            let mut found = Ok(Found::Nothing);
            for (at, byte) in body.bytes().enumerate() {
                found = reader.push(&[byte], at + 1 == body.len());
                if found != Ok(Found::Nothing) {
                    break;
                }
            }
            assert_eq!(found, expected, "{body}, byte by byte");
        }
    }

    #[test]
    fn a_second_model_is_found_where_all_is_read() {
        let body = br#"{"model":"a","x":[1],"model":"b"}"#;
        let found = RoutingReader::json(Search::Model, true).push(body, true);
        assert!(matches!(found, Err(Refusal::InvalidBody(_))), "{found:?}");
        let found = RoutingReader::json(Search::Model, false).push(body, true);
        assert_eq!(found, Ok(model(Some("a"))));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for body in ["", "[]", "{", "nope", r#"{"model":"#] {
            let found = RoutingReader::json(Search::Model, false).push(body.as_bytes(), true);
            assert!(
                matches!(found, Err(Refusal::InvalidBody(_))),
                "{body}: {found:?}"
            );
        }
    }

    #[test]
    fn the_model_of_a_form_is_found_when_all_of_it_has_arrived() {
        let boundary = Boundary::of(b"multipart/form-data; boundary=b").unwrap();
        let part = |name: &str, value: &str| {
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let file = part("file", "x");
        let named = |name: &str| Ok(model(Some(name)));
        for (form, expected) in [
            (part("model", "w-1") + &file, named("w-1")),
            (file.clone() + &part("model", "w-1"), named("w-1")),
            (file.clone(), Ok(model(None))),
            (part("model", " "), Ok(model(None))),
            (
                part("model", "a") + &file + &part("model", "b"),
                Err(Refusal::DuplicateMember("model".to_owned())),
            ),
        ] {
            let form = form + "--b--\r\n";
            let mut whole = RoutingReader::form(&boundary);
            assert_eq!(whole.push(form.as_bytes(), true), expected, "{form}");
            let mut reader = RoutingReader::form(&boundary);
            let mut found = Ok(Found::Nothing);
            for (at, byte) in form.bytes().enumerate() {
                assert_eq!(found, Ok(Found::Nothing), "{form}, {at} bytes");
                found = reader.push(&[byte], at + 1 == form.len());
                if found.is_err() {
                    break;
                }
            }
            assert_eq!(found, expected, "{form}, byte by byte");
        }
        let mut cut = RoutingReader::form(&boundary);
        let found = cut.push(part("model", "a").as_bytes(), true);
        assert!(matches!(found, Err(Refusal::InvalidForm(_))), "{found:?}");
    }
}
