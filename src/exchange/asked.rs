//! Finds the model that a client asks for, in a body that routing waits for.
//!
//! Nothing else is looked at: as soon as `model` has ended, the body can go on. That it stands there
//! once is seen to by whoever edits the body afterwards; where nobody does, it is read to its end.

use crate::json::{self, Event, Scanner, ValueText, Watched};
use crate::refusal::Refusal;

/// Reads a JSON body up to the end of its `model`.
pub struct ModelReader {
    scanner: Scanner,
    reads_all: bool,
    /// What was found, while the rest is read.
    found: Option<Option<String>>,
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
    /// A body of which nothing has arrived. `reads_all`: up to its end, and not only to the model's.
    pub fn new(reads_all: bool) -> Self {
        Self {
            scanner: Scanner::new(Watched::new(["model"])),
            reads_all,
            found: None,
        }
    }

    /// Takes the next bytes. `ends`: they are the last. After [`Found::Model`] nothing may follow.
    ///
    /// # Errors
    ///
    /// When the body is not a JSON object, or its `model` is not a string, or, as far as it is read,
    /// there twice.
    pub fn push(&mut self, mut bytes: &[u8], ends: bool) -> Result<Found, Refusal> {
        loop {
            match self
                .scanner
                .scan(&mut bytes)
                .map_err(Refusal::InvalidBody)?
            {
                Event::ValueStart { .. } => {}
                Event::ValueEnd { .. } => {
                    let (ValueText::Whole(text) | ValueText::Cut(text)) = self.scanner.value_text();
                    let model = match json::decode_string(text) {
                        Some(name) if name.trim().is_empty() => None,
                        Some(name) => Some(name.into()),
                        None if text == b"null" => None,
                        None => return Err(Refusal::ModelNotText),
                    };
                    if !self.reads_all {
                        return Ok(Found::Model(model));
                    }
                    self.found = Some(model);
                }
                Event::ObjectEnd { .. } => return Ok(Found::Model(self.found.take().flatten())),
                Event::InputEmpty if ends => {
                    self.scanner.finish().map_err(Refusal::InvalidBody)?;
                    return Ok(Found::Model(None));
                }
                Event::InputEmpty => return Ok(Found::Nothing),
            }
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
            let mut whole = ModelReader::new(false);
            assert_eq!(whole.push(body.as_bytes(), true), expected, "{body}");
            let mut whole = ModelReader::new(true);
            assert_eq!(whole.push(body.as_bytes(), true), expected, "{body}");
            let mut reader = ModelReader::new(false);
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
        let found = ModelReader::new(true).push(body, true);
        assert!(matches!(found, Err(Refusal::InvalidBody(_))), "{found:?}");
        let found = ModelReader::new(false).push(body, true);
        assert_eq!(found, Ok(Found::Model(Some("a".to_owned()))));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for body in ["", "[]", "{", "nope", r#"{"model":"#] {
            let found = ModelReader::new(false).push(body.as_bytes(), true);
            assert!(
                matches!(found, Err(Refusal::InvalidBody(_))),
                "{body}: {found:?}"
            );
        }
    }
}
