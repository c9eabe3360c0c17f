//! Request bodies: JSON objects by their top-level members, and multipart forms.
//!
//! A JSON body is scanned once for its members; only what an answer needs is read further. So a
//! body of 20 MiB costs little.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::profile::Refusal;

/// The top-level members of a JSON object, in the order written.
#[derive(Debug)]
pub struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Object<'a> {
    /// Scans a whole body.
    ///
    /// # Errors
    ///
    /// If it is not JSON, not an object, or says `model` or `stream` twice.
    pub fn parse(body: &'a [u8]) -> Result<Self, Refusal> {
        let object: Self = serde_json::from_slice(body).map_err(|error| {
            Refusal::request(format!(
                "We could not parse the JSON body of your request: {error}"
            ))
        })?;
        for name in ["model", "stream"] {
            if object.names().filter(|found| *found == name).count() > 1 {
                return Err(Refusal::member(name, format!("duplicate member '{name}'")));
            }
        }
        Ok(object)
    }

    /// The members' names, in the order written.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|member| member.0.as_ref())
    }

    /// A member's text; the last one, if there are several.
    pub fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.0
            .iter()
            .rfind(|member| member.0 == name)
            .map(|member| member.1)
    }

    /// A member's value; `None` if it is absent or `null`.
    ///
    /// # Errors
    ///
    /// If it is of another type than `expected`, which is said in words.
    pub fn get<T: Deserialize<'a>>(
        &self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, Refusal> {
        let Some(raw) = self.raw(name) else {
            return Ok(None);
        };
        serde_json::from_str(raw.get()).map_err(|_wrong| {
            Refusal::member(
                name,
                format!("Invalid type for '{name}': expected {expected}."),
            )
        })
    }

    /// A member that must be there.
    ///
    /// # Errors
    ///
    /// If it is absent, `null` or of another type.
    pub fn require<T: DeserializeOwned>(&self, name: &str, expected: &str) -> Result<T, Refusal> {
        self.get(name, expected)?.ok_or_else(|| missing(name))
    }

    /// The model, which must be a string that is not blank and names a model that exists.
    ///
    /// # Errors
    ///
    /// 400 or 404.
    pub fn model(&self) -> Result<String, Refusal> {
        check_model(self.require("model", "a string")?)
    }

    /// Whether the answer is to be streamed.
    ///
    /// # Errors
    ///
    /// If it is not a boolean.
    pub fn stream(&self) -> Result<bool, Refusal> {
        Ok(self.get("stream", "a boolean")?.unwrap_or(false))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    members.push((Cow::Owned(name), map.next_value()?));
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Members).map(Self)
    }
}

/// A form of `multipart/form-data`.
#[derive(Debug)]
pub struct Form<'a>(Vec<Part<'a>>);

/// One field of a form.
#[derive(Debug)]
pub struct Part<'a> {
    /// The field's name.
    pub name: String,
    /// The file's name, if the field is a file.
    pub filename: Option<String>,
    /// What the field says.
    pub content: &'a [u8],
}

impl<'a> Form<'a> {
    /// Splits a body at the boundary that its content type names.
    ///
    /// Source: RFC 7578 and RFC 2046, section 5.1.1.
    ///
    /// # Errors
    ///
    /// If it is not a form, or one that does not end.
    pub fn parse(content_type: &str, body: &'a [u8]) -> Result<Self, Refusal> {
        let broken = || Refusal::request("Could not parse multipart form");
        let boundary = content_type
            .strip_prefix("multipart/form-data")
            .and_then(|parameters| parameter(parameters, "boundary"))
            .ok_or_else(|| {
                Refusal::request(format!("Unsupported content type: '{content_type}'"))
            })?;
        let delimiter = format!("--{boundary}");
        let mut parts = Vec::new();
        let mut rest = body.strip_prefix(delimiter.as_bytes()).ok_or_else(broken)?;
        let next = format!("\r\n{delimiter}");
        while let Some(part) = rest.strip_prefix(b"\r\n") {
            let end = memchr::memmem::find(part, next.as_bytes()).ok_or_else(broken)?;
            let (part, tail) = part.split_at_checked(end).ok_or_else(broken)?;
            rest = tail.get(next.len()..).ok_or_else(broken)?;
            parts.push(Part::parse(part).ok_or_else(broken)?);
        }
        if rest.starts_with(b"--") {
            Ok(Self(parts))
        } else {
            Err(broken())
        }
    }

    /// A field that must be there.
    ///
    /// # Errors
    ///
    /// If it is absent.
    pub fn require(&self, name: &str) -> Result<&Part<'a>, Refusal> {
        self.0
            .iter()
            .find(|part| part.name == name)
            .ok_or_else(|| missing(name))
    }

    /// A field's text, if it is there.
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        let part = self.0.iter().find(|part| part.name == name)?;
        Some(String::from_utf8_lossy(part.content))
    }

    /// The model; see [`Object::model`].
    ///
    /// # Errors
    ///
    /// 400 or 404.
    pub fn model(&self) -> Result<String, Refusal> {
        let part = self.require("model")?;
        check_model(String::from_utf8_lossy(part.content).into_owned())
    }
}

impl<'a> Part<'a> {
    fn parse(part: &'a [u8]) -> Option<Self> {
        let end = memchr::memmem::find(part, b"\r\n\r\n")?;
        let (head, content) = part.split_at_checked(end)?;
        let content = content.get(4..)?;
        let head = String::from_utf8_lossy(head);
        let disposition = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-disposition")
                .then_some(value)
        })?;
        let name = parameter(disposition, "name")?;
        Some(Self {
            name,
            filename: parameter(disposition, "filename"),
            content,
        })
    }
}

/// Refuses names of models that do not exist.
///
/// # Errors
///
/// 400 or 404.
pub fn check_model(model: String) -> Result<String, Refusal> {
    if model.trim().is_empty() {
        return Err(Refusal::member(
            "model",
            "you must provide a model parameter",
        ));
    }
    if model.starts_with("no-such-model") {
        let message =
            format!("The model `{model}` does not exist or you do not have access to it.");
        return Err(Refusal {
            param: Some("model".to_owned()),
            ..Refusal::not_found(message)
        });
    }
    Ok(model)
}

fn missing(name: &str) -> Refusal {
    Refusal::member(name, format!("you must provide a {name} parameter"))
}

/// A parameter of a header's value: `; name=value` or `; name="value"`.
fn parameter(value: &str, name: &str) -> Option<String> {
    value.split(';').skip(1).find_map(|parameter| {
        let (found, value) = parameter.trim().split_once('=')?;
        found
            .eq_ignore_ascii_case(name)
            .then(|| value.trim_matches('"').to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_split_at_its_boundary_only() {
        let body = b"--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
            --x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\
            Content-Type: audio/wav\r\n\r\n\x00\r\n-\r\n--y\r\n--x--\r\n";
        let form = Form::parse("multipart/form-data; boundary=x", body).unwrap();
        assert_eq!(form.model().unwrap(), "whisper-1");
        let file = form.require("file").unwrap();
        assert_eq!(file.filename.as_deref(), Some("a.wav"));
        assert_eq!(file.content, b"\x00\r\n-\r\n--y");
    }

    #[test]
    fn a_form_that_does_not_end_is_refused() {
        let body = b"--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n";
        Form::parse("multipart/form-data; boundary=x", body).unwrap_err();
    }

    #[test]
    fn a_second_model_is_refused_however_it_is_written() {
        let refusal = Object::parse(br#"{"model": "a", "mod\u0065l": "b"}"#).unwrap_err();
        assert_eq!(refusal.param.as_deref(), Some("model"));
    }
}
