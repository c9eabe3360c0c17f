//! Embeddings.
//!
//! Source: <https://platform.openai.com/docs/api-reference/embeddings>, read 2026-11-21.
//!
//! Tokens in place of text are refused: they belong to the vocabulary of one model.

use std::convert::Infallible;

use crate::api::{self, InvalidRequest};
use crate::base64;
use crate::embed::{Encoding, Reply, Request};
use crate::json::{
    self, Ignored, Piece, Raw, Read, Reader, Text, TooLong, Unread, Unwritten, Writer, object,
};
use crate::usage::Usage;

/// Embeddings as OpenAI has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Embeddings;

impl api::Embeddings for Embeddings {
    fn read<'a>(&self, body: &'a [u8]) -> Result<Request<'a>, InvalidRequest> {
        read(body)
    }

    fn write(
        &self,
        reply: &Reply<'_>,
        encoding: Encoding,
        model: &str,
        length: usize,
        limit: usize,
    ) -> Result<Vec<u8>, TooLong> {
        write(reply, encoding, model, length, limit)
    }
}

object! {
    Body<'a> {
        model: Ignored = b"model",
        input: Inputs<'a> = b"input",
        dimensions: Raw<'a> = b"dimensions",
        encoding_format: Raw<'a> = b"encoding_format",
        ..unknown
    }
}

/// `input`.
#[derive(Debug)]
struct Inputs<'a> {
    texts: Vec<Text<'a>>,
    is_list: bool,
}

impl<'a> Read<'a> for Inputs<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unread> {
        let mut texts = Vec::new();
        let is_list = match reader.peek() {
            Some(b'"') => {
                texts.push(reader.value()?);
                false
            }
            Some(b'[') => {
                // What is wrong first ends it: a list may have millions.
                reader.array(&mut |reader| {
                    if reader.peek() != Some(b'"') {
                        return Err(reader.unfit(
                            "a text, and only texts can be embedded: tokens belong to another \
                             vocabulary",
                        ));
                    }
                    if texts.len() >= MAX_INPUTS {
                        return Err(reader.unfit("taken: an input has at most 2048 texts"));
                    }
                    texts.push(reader.value()?);
                    Ok(())
                })?;
                true
            }
            _ => return Err(reader.unfit("a text or a list of texts")),
        };
        Ok(Self { texts, is_list })
    }
}

/// > any array must be 2048 dimensions or less
///
/// <https://platform.openai.com/docs/api-reference/embeddings/create>, read 2026-11-21.
const MAX_INPUTS: usize = 2048;

/// Reads the body of `POST /embeddings`.
///
/// # Errors
///
/// When a member is missing, or is no such thing.
///
/// ```
/// use llm_proxy::api::openai::embeddings;
///
/// let request = embeddings::read(br#"{"model":"m","input":"hi","dimensions":3}"#).unwrap();
/// assert_eq!((request.texts.len(), request.dimensions), (1, Some(3)));
///
/// let invalid = embeddings::read(br#"{"model":"m","input":[1,2]}"#).unwrap_err();
/// assert_eq!(invalid.param.as_deref(), Some("input"));
/// ```
pub fn read(text: &[u8]) -> Result<Request<'_>, InvalidRequest> {
    let body: Body<'_> = json::read(text).map_err(|unread| unreadable(&unread, text))?;
    let dimensions = body.dimensions.map(|it| json::read::<u64>(it.bytes()));
    let dimensions = match dimensions {
        None => None,
        Some(Ok(dimensions @ 1..)) => Some(dimensions),
        Some(_) => {
            let message = "dimensions must be a whole number above 0";
            return Err(InvalidRequest::at("dimensions", message));
        }
    };
    let encoding = match body.encoding_format.map(Raw::get) {
        None | Some("\"float\"") => Encoding::Float,
        Some("\"base64\"") => Encoding::Base64,
        Some(_) => {
            let message = "encoding_format must be float or base64";
            return Err(InvalidRequest::at("encoding_format", message));
        }
    };
    let Some(Inputs { texts, is_list }) = body.input else {
        return Err(InvalidRequest::at("input", "the request has no input"));
    };
    if texts.is_empty() || texts.iter().any(|it| it.is_empty()) {
        return Err(InvalidRequest::at("input", "the input must not be empty"));
    }
    Ok(Request {
        texts,
        is_list,
        dimensions,
        encoding,
        other: body.unknown,
    })
}

fn unreadable(unread: &Unread, text: &[u8]) -> InvalidRequest {
    let path = unread.path(text);
    let message = unread.message();
    match path.split_once(['[', '.']) {
        _ if path.is_empty() => {
            InvalidRequest::at("input", format!("the body is no request: {message}"))
        }
        // What is wrong is named as a whole.
        Some((param, _)) => InvalidRequest::at(param, format!("{path} {message}")),
        None => InvalidRequest::at(path.clone(), format!("{path} {message}")),
    }
}

/// A list of vectors. `model` is what the client calls the model, `length` the length of the provider's
/// reply. Unit of `length` and `limit`: bytes.
///
/// # Errors
///
/// When it would be longer than `limit`.
pub fn write(
    reply: &Reply<'_>,
    encoding: Encoding,
    model: &str,
    length: usize,
    limit: usize,
) -> Result<Vec<u8>, TooLong> {
    let written = json::write_within(length, limit, &mut |json| {
        json.open_object();
        json.key("object").string("list");
        json.key("data").open_array();
        for (index, vector) in (0..).zip(&reply.vectors) {
            json.object(|json| {
                json.key("object").string("embedding");
                json.key("index").number(index);
                json.key("embedding");
                match encoding {
                    Encoding::Base64 => base64(json, vector.numbers.iter()),
                    Encoding::Float => json.raw(vector.text.get()),
                }
            });
        }
        json.close_array();
        json.key("model").string(model);
        // OpenAI's object has both counts always: one that is not said is 0, as in chat.
        json.key("usage").object(|json| {
            let Usage { prompt, total, .. } = reply.usage;
            json.key("prompt_tokens").number(prompt.unwrap_or_default());
            json.key("total_tokens").number(total.unwrap_or_default());
        });
        json.close_object();
        Ok::<_, Infallible>(())
    });
    match written {
        Ok(((), list)) => Ok(list),
        Err(Unwritten::TooLong(long)) => Err(long),
    }
}

/// Base64 of the numbers' bytes: 32-bit floats, little-endian.
fn base64(json: &mut Writer, numbers: impl Iterator<Item = f64>) {
    // Whole groups of three bytes.
    const MAX_BYTES: usize = 3 << 10;
    let mut bytes = Vec::with_capacity(MAX_BYTES);
    json.open_string();
    for number in numbers {
        // OpenAI's have this precision.
        bytes.extend_from_slice(&(number as f32).to_le_bytes());
        if bytes.len() >= MAX_BYTES {
            json.piece(Piece::Plain(&base64::encode(&bytes)));
            bytes.clear();
        }
    }
    json.piece(Piece::Plain(&base64::encode(&bytes)));
    json.close_string();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_texts_as_openai_takes_are_read() {
        let inputs = |count: usize| format!(r#"{{"input":[{}"a"]}}"#, r#""a","#.repeat(count - 1));
        assert_eq!(read(inputs(2048).as_bytes()).unwrap().texts.len(), 2048);
        let body = inputs(2049);
        let error = read(body.as_bytes()).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("input"));
        assert_eq!(
            error.message,
            "input[2048] is not taken: an input has at most 2048 texts"
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, param) in [
            (r#"{"model":"x"}"#, "input"),
            (r#"{"input":null}"#, "input"),
            (r#"{"input":""}"#, "input"),
            (r#"{"input":[]}"#, "input"),
            (r#"{"input":["a",""]}"#, "input"),
            (r#"{"input":[1,2]}"#, "input"),
            (r#"{"input":[[1,2]]}"#, "input"),
            (r#"{"input":{}}"#, "input"),
            (r#"{"input":"a","dimensions":0}"#, "dimensions"),
            (r#"{"input":"a","dimensions":"3"}"#, "dimensions"),
            (
                r#"{"input":"a","encoding_format":"int8"}"#,
                "encoding_format",
            ),
            ("[]", "input"),
            ("\u{0}", "input"),
        ] {
            let invalid = read(body.as_bytes()).unwrap_err();
            assert_eq!(invalid.param.as_deref(), Some(param), "{body}");
        }
    }

    #[test]
    fn numbers_become_base64_of_their_bytes() {
        for numbers in [0, 1, 2, 3, 767, 768, 769, 3000] {
            let numbers: Vec<f64> = (0..numbers).map(f64::from).collect();
            let mut json = Writer::default();
            base64(&mut json, numbers.iter().copied());
            let bytes: Vec<u8> = numbers
                .iter()
                .flat_map(|it| (*it as f32).to_le_bytes())
                .collect();
            let expected = format!("\"{}\"", base64::encode(&bytes));
            assert_eq!(String::from_utf8(json.into_bytes()).unwrap(), expected);
        }
    }
}
