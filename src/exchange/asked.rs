//! Finds the model that a client asks for, in a body that routing waits for.
//!
//! Nothing else is looked at: as soon as the `model` of a JSON body has ended, the body can go on. That
//! it stands there once is checked by the edit of the body that follows; where none follows, the body
//! is read to its end. A form always is: most forms pass without an edit.

use crate::form::{self, Boundary};
use crate::json::{self, Event, Scanner, ValueText, Watched};
use crate::refusal::Refusal;

/// Reads a body up to the end of its `model`.
pub struct ModelReader {
    text: Text,
    reads_all: bool,
    /// What was found, while the rest is read.
    found: Option<Option<String>>,
}

/// What the body is.
enum Text {
    Form(form::Scanner),
    Json(Scanner),
}

/// What is known of a client's model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing yet: it may still come.
    Nothing,
    /// The body names it, or has none: absent, `null` or blank.
    Model(Option<String>),
}

impl ModelReader {
    /// A JSON body of which nothing has arrived. `reads_all`: up to its end, and not only to the
    /// model's.
    pub fn json(reads_all: bool) -> Self {
        Self {
            text: Text::Json(Scanner::new(Watched::new(["model"]))),
            reads_all,
            found: None,
        }
    }

    /// A form of which nothing has arrived.
    pub fn form(boundary: &Boundary) -> Self {
        Self {
            text: Text::Form(form::Scanner::new(boundary)),
            reads_all: true,
            found: None,
        }
    }

    /// Takes the next bytes. `ends`: they are the last. After [`Found::Model`] nothing may follow.
    ///
    /// # Errors
    ///
    /// When the body is not a JSON object or a form, or its `model` is not a string, or, as far as it
    /// is read, there twice.
    pub fn push(&mut self, bytes: &[u8], ends: bool) -> Result<Found, Refusal> {
        match &mut self.text {
            Text::Form(scanner) => push_form(scanner, &mut self.found, bytes, ends),
            Text::Json(scanner) => push_json(scanner, self.reads_all, &mut self.found, bytes, ends),
        }
    }
}

fn push_form(
    scanner: &mut form::Scanner,
    found: &mut Option<Option<String>>,
    mut bytes: &[u8],
    ends: bool,
) -> Result<Found, Refusal> {
    loop {
        match scanner.scan(&mut bytes).map_err(Refusal::InvalidForm)? {
            form::Event::Model { .. } if found.is_some() => {
                return Err(Refusal::DuplicateMember("model".to_owned()));
            }
            form::Event::Model { value, .. } => {
                *found = Some(Some(value).filter(|name| !name.trim().is_empty()));
            }
            form::Event::End(_) => {}
            form::Event::InputEmpty if ends => {
                scanner.finish().map_err(Refusal::InvalidForm)?;
                return Ok(Found::Model(found.take().flatten()));
            }
            form::Event::InputEmpty => return Ok(Found::Nothing),
        }
    }
}

fn push_json(
    scanner: &mut Scanner,
    reads_all: bool,
    found: &mut Option<Option<String>>,
    mut bytes: &[u8],
    ends: bool,
) -> Result<Found, Refusal> {
    loop {
        match scanner.scan(&mut bytes).map_err(Refusal::InvalidBody)? {
            Event::ValueStart { .. } => {}
            Event::ValueEnd { .. } => {
                let (ValueText::Whole(text) | ValueText::Cut(text)) = scanner.value_text();
                let model = match json::decode_string(text) {
                    Some(name) if name.trim().is_empty() => None,
                    Some(name) => Some(name.into()),
                    None if text == b"null" => None,
                    None => return Err(Refusal::ModelNotText),
                };
                if !reads_all {
                    return Ok(Found::Model(model));
                }
                *found = Some(model);
            }
            Event::ObjectEnd { .. } => return Ok(Found::Model(found.take().flatten())),
            Event::InputEmpty if ends => {
                scanner.finish().map_err(Refusal::InvalidBody)?;
                return Ok(Found::Model(None));
            }
            Event::InputEmpty => return Ok(Found::Nothing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_found_wherever_it_stands_and_however_it_arrives() {
        let named = |name: &str| Ok(Found::Model(Some(name.to_owned())));
        let none = || Ok(Found::Model(None));
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
            let mut whole = ModelReader::json(false);
            assert_eq!(whole.push(body.as_bytes(), true), expected, "{body}");
            let mut whole = ModelReader::json(true);
            assert_eq!(whole.push(body.as_bytes(), true), expected, "{body}");
            let mut reader = ModelReader::json(false);
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
        let found = ModelReader::json(true).push(body, true);
        assert!(matches!(found, Err(Refusal::InvalidBody(_))), "{found:?}");
        let found = ModelReader::json(false).push(body, true);
        assert_eq!(found, Ok(Found::Model(Some("a".to_owned()))));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for body in ["", "[]", "{", "nope", r#"{"model":"#] {
            let found = ModelReader::json(false).push(body.as_bytes(), true);
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
        let named = |name: &str| Ok(Found::Model(Some(name.to_owned())));
        for (form, expected) in [
            (part("model", "w-1") + &file, named("w-1")),
            (file.clone() + &part("model", "w-1"), named("w-1")),
            (file.clone(), Ok(Found::Model(None))),
            (part("model", " "), Ok(Found::Model(None))),
            (
                part("model", "a") + &file + &part("model", "b"),
                Err(Refusal::DuplicateMember("model".to_owned())),
            ),
        ] {
            let form = form + "--b--\r\n";
            let mut whole = ModelReader::form(&boundary);
            assert_eq!(whole.push(form.as_bytes(), true), expected, "{form}");
            let mut reader = ModelReader::form(&boundary);
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
        let mut cut = ModelReader::form(&boundary);
        let found = cut.push(part("model", "a").as_bytes(), true);
        assert!(matches!(found, Err(Refusal::InvalidForm(_))), "{found:?}");
    }
}
