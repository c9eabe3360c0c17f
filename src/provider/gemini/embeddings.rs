//! OpenAI's embeddings as embedContent and batchEmbedContents.
//!
//! Sources, read 2026-11-21: <https://ai.google.dev/api/embeddings>,
//! <https://platform.openai.com/docs/api-reference/embeddings>.
//!
//! One text goes to `embedContent`, a list to `batchEmbedContents`. Tokens cannot be sent: they are
//! another vocabulary's. `user` has no counterpart.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::model::Model;
use crate::base64;
use crate::provider::dialect::{
    BrokenReply, Encoded, EncodedEmbeddings, Encoding, Options, Unsupported,
};
use crate::usage::Usage;

/// An OpenAI request for embeddings in Google's words. `model` is the provider's name of the model:
/// the rules of the backend have been applied.
///
/// # Errors
///
/// When a member is missing, is no such thing, or cannot be expressed.
///
/// ```
/// use llm_proxy::provider::dialect::Options;
/// use llm_proxy::provider::gemini::embeddings;
///
/// let encode = |body: &[u8]| embeddings::encode(body, "gemini-embedding-001", &Options::default());
/// let encoded = encode(br#"{"model":"m","input":"hi","dimensions":3}"#).unwrap();
/// assert_eq!(encoded.request.suffix, "/models/gemini-embedding-001:embedContent");
///
/// assert_eq!(encode(br#"{"model":"m","input":[1,2]}"#).unwrap_err().param, "input");
/// ```
pub fn encode(
    body: &[u8],
    model: &str,
    options: &Options,
) -> Result<EncodedEmbeddings, Unsupported> {
    let model = Model::new(model)?;
    let wanted = Wanted::read(body, options)?;
    let output_dimensionality = wanted.dimensions;
    let request = |text, model| EmbedContent {
        model,
        content: Content::new(text),
        output_dimensionality,
    };
    let (suffix, body) = match (wanted.texts.as_slice(), wanted.is_list) {
        ([text], false) => (
            model.path("embedContent"),
            serde_json::to_vec(&request(text, None)),
        ),
        (texts, _) => {
            let resource = model.resource();
            let requests = texts.iter().map(|text| request(text, Some(&*resource)));
            let requests = requests.collect();
            let body = serde_json::to_vec(&BatchEmbedContents { requests });
            (model.path("batchEmbedContents"), body)
        }
    };
    wanted.encoded(suffix, body)
}

/// What an OpenAI request for embeddings asks for.
pub(in crate::provider) struct Wanted {
    /// At least one; none is empty.
    pub(in crate::provider) texts: Vec<String>,
    /// Whether they came as a list, which may have one.
    pub(in crate::provider) is_list: bool,
    /// The length of the vectors, where the client says it: above 0.
    pub(in crate::provider) dimensions: Option<u64>,
    /// The form of the vectors.
    encoding: Encoding,
}

impl Wanted {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// When a member is missing, is no such thing, or cannot be expressed.
    pub(in crate::provider) fn read(body: &[u8], options: &Options) -> Result<Self, Unsupported> {
        let text = std::str::from_utf8(body).map_err(|_| wrong("input", "it is not UTF-8"))?;
        let members: serde_json::Map<String, Value> = serde_json::from_str(text)
            .map_err(|error| wrong("input", &format!("the body is no JSON object: {error}")))?;
        let mut dimensions = None;
        let mut encoding = Encoding::Float;
        for (name, value) in &members {
            match (name.as_str(), value) {
                ("input" | "model", _) | (_, Value::Null) => {}
                ("dimensions", value) => {
                    dimensions = value.as_u64().filter(|it| *it > 0);
                    if dimensions.is_none() {
                        let message = "dimensions must be a whole number above 0";
                        return Err(wrong(name, message));
                    }
                }
                ("encoding_format", value) => match value.as_str() {
                    Some("base64") => encoding = Encoding::Base64,
                    Some("float") => encoding = Encoding::Float,
                    _ => return Err(wrong(name, "encoding_format must be float or base64")),
                },
                _ => {
                    options.lose(
                        name,
                        format!("{name:?} cannot be expressed in Gemini's embeddings"),
                    )?;
                }
            }
        }
        let (texts, is_list) = match members.get("input") {
            None | Some(Value::Null) => return Err(wrong("input", "the request has no input")),
            Some(Value::String(text)) => (vec![text.clone()], false),
            Some(Value::Array(items)) => {
                let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
                let texts: Option<Vec<String>> = texts.collect();
                let tokens = "only texts can be embedded: tokens belong to another vocabulary";
                (texts.ok_or_else(|| wrong("input", tokens))?, true)
            }
            Some(_) => return Err(wrong("input", "input must be a text or a list of texts")),
        };
        if texts.is_empty() || texts.iter().any(String::is_empty) {
            return Err(wrong("input", "the input must not be empty"));
        }
        Ok(Self {
            texts,
            is_list,
            dimensions,
            encoding,
        })
    }

    /// The request with this body, which goes to this path.
    ///
    /// # Errors
    ///
    /// None that could happen: what is written has only texts and numbers.
    pub(in crate::provider) fn encoded(
        &self,
        suffix: String,
        body: Result<Vec<u8>, serde_json::Error>,
    ) -> Result<EncodedEmbeddings, Unsupported> {
        Ok(EncodedEmbeddings {
            request: Encoded {
                suffix,
                headers: &[],
                body: body.map_err(|error| wrong("input", &error.to_string()))?,
            },
            encoding: self.encoding,
            count: self.texts.len(),
        })
    }
}

fn wrong(param: &str, message: &str) -> Unsupported {
    Unsupported {
        param: param.to_owned(),
        message: message.to_owned(),
    }
}

/// Google's reply as OpenAI's, and what it cost. `model` is what the client calls the model.
///
/// # Errors
///
/// When the bytes are no reply, or hold another number of vectors than `count`.
pub fn decode(
    body: &[u8],
    model: &str,
    encoding: Encoding,
    count: usize,
) -> Result<(Vec<u8>, Usage), BrokenReply> {
    let broken = |error: serde_json::Error| BrokenReply(error.to_string());
    let reply: Reply<'_> = serde_json::from_slice(body).map_err(broken)?;
    let vectors = reply.embedding.into_iter().chain(reply.embeddings);
    let vectors: Vec<&RawValue> = vectors.map(|it| it.values).collect();
    let usage = reply
        .usage_metadata
        .map_or_else(Usage::default, |it| Usage {
            prompt: it.prompt_token_count,
            total: it.total_token_count.or(it.prompt_token_count),
            ..Usage::default()
        });
    let list = write(&vectors, model, encoding, count, &usage)?;
    Ok((list, usage))
}

/// OpenAI's list of vectors.
///
/// # Errors
///
/// When they are no vectors, or not `count`.
pub(in crate::provider) fn write(
    vectors: &[&RawValue],
    model: &str,
    encoding: Encoding,
    count: usize,
    usage: &Usage,
) -> Result<Vec<u8>, BrokenReply> {
    let broken = |error: serde_json::Error| BrokenReply(error.to_string());
    if vectors.len() != count {
        let found = vectors.len();
        return Err(BrokenReply(format!(
            "it has {found} vectors for {count} texts"
        )));
    }
    let mut data = Vec::with_capacity(count);
    for (index, vector) in vectors.iter().copied().enumerate() {
        // Also where the numbers pass as they are, they must be numbers.
        let numbers: Vec<f32> = serde_json::from_str(vector.get()).map_err(broken)?;
        data.push(Item {
            object: "embedding",
            index,
            embedding: match encoding {
                Encoding::Base64 => Vector::Base64(base64(&numbers)),
                Encoding::Float => Vector::Float(vector),
            },
        });
    }
    let list = List {
        object: "list",
        data,
        model,
        // OpenAI's object has both counts always: one that is not said is 0, as in chat.
        usage: Counts {
            prompt_tokens: usage.prompt.unwrap_or_default(),
            total_tokens: usage.total.unwrap_or_default(),
        },
    };
    serde_json::to_vec(&list).map_err(broken)
}

/// Base64 of the numbers' bytes, little-endian.
fn base64(numbers: &[f32]) -> String {
    let bytes: Vec<u8> = numbers.iter().flat_map(|it| it.to_le_bytes()).collect();
    base64::encode(&bytes)
}

// === what is written to Google ===

#[derive(Serialize)]
struct BatchEmbedContents<'a> {
    requests: Vec<EmbedContent<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EmbedContent<'a> {
    /// In a batch each request names the model that the path names.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    content: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dimensionality: Option<u64>,
}

/// One text as Google has contents.
#[derive(Serialize)]
pub(in crate::provider) struct Content<'a> {
    parts: [Part<'a>; 1],
}

#[derive(Serialize)]
struct Part<'a> {
    text: &'a str,
}

impl<'a> Content<'a> {
    /// A content of this text.
    pub(in crate::provider) fn new(text: &'a str) -> Self {
        Self {
            parts: [Part { text }],
        }
    }
}

// === what is read from Google ===

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reply<'a> {
    #[serde(borrow)]
    embedding: Option<ContentEmbedding<'a>>,
    #[serde(borrow, default)]
    embeddings: Vec<ContentEmbedding<'a>>,
    usage_metadata: Option<UsageMetadata>,
}

#[derive(Deserialize)]
struct ContentEmbedding<'a> {
    #[serde(borrow)]
    values: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UsageMetadata {
    prompt_token_count: Option<u64>,
    total_token_count: Option<u64>,
}

// === what is written to the client ===

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Item<'a>>,
    model: &'a str,
    usage: Counts,
}

#[derive(Serialize)]
struct Item<'a> {
    object: &'static str,
    index: usize,
    embedding: Vector<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Vector<'a> {
    Base64(String),
    Float(&'a RawValue),
}

#[derive(Serialize)]
struct Counts {
    prompt_tokens: u64,
    total_tokens: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(body: &str) -> Result<EncodedEmbeddings, Unsupported> {
        encode(body.as_bytes(), "models/e", &Options::default())
    }

    #[test]
    fn one_text_or_many_are_embedded() {
        for (body, suffix, expected, encoding, count) in [
            (
                r#"{"model":"x","input":"hi","user":null}"#,
                "/models/e:embedContent",
                r#"{"content":{"parts":[{"text":"hi"}]}}"#,
                Encoding::Float,
                1,
            ),
            (
                r#"{"input":["a","b"],"dimensions":2,"encoding_format":"base64"}"#,
                "/models/e:batchEmbedContents",
                r#"{"requests":[{"model":"models/e","content":{"parts":[{"text":"a"}]},"outputDimensionality":2},{"model":"models/e","content":{"parts":[{"text":"b"}]},"outputDimensionality":2}]}"#,
                Encoding::Base64,
                2,
            ),
        ] {
            let it = encoded(body).unwrap();
            assert_eq!(it.request.suffix, suffix);
            assert_eq!(String::from_utf8(it.request.body).unwrap(), expected);
            assert_eq!((it.encoding, it.count), (encoding, count));
        }
    }

    #[test]
    fn what_cannot_be_embedded_is_named() {
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
            (r#"{"input":"a","user":"u"}"#, "user"),
            ("[]", "input"),
            ("\u{0}", "input"),
        ] {
            assert_eq!(encoded(body).unwrap_err().param, param, "{body}");
        }
        let drops = Options {
            drops_unsupported: true,
            ..Options::default()
        };
        assert!(encode(br#"{"input":"a","user":"u"}"#, "e", &drops).is_ok());
        assert_eq!(
            encode(br#"{"input":[1]}"#, "e", &drops).unwrap_err().param,
            "input"
        );
        assert_eq!(
            encode(br#"{"input":"a"}"#, "../e", &drops)
                .unwrap_err()
                .param,
            "model"
        );
    }

    #[test]
    fn vectors_are_written_as_the_client_asked() {
        for (body, encoding, expected) in [
            (
                r#"{"embedding":{"values":[0.25,-1]},"usageMetadata":{"promptTokenCount":3}}"#,
                Encoding::Float,
                r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.25,-1]}],"model":"m","usage":{"prompt_tokens":3,"total_tokens":3}}"#,
            ),
            (
                r#"{"embeddings":[{"values":[1,-2]}]}"#,
                Encoding::Base64,
                r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":"AACAPwAAAMA="}],"model":"m","usage":{"prompt_tokens":0,"total_tokens":0}}"#,
            ),
        ] {
            let (reply, _) = decode(body.as_bytes(), "m", encoding, 1).unwrap();
            assert_eq!(String::from_utf8(reply).unwrap(), expected);
        }
        assert_eq!(base64(&[1.0, 2.0, 3.0]), "AACAPwAAAEAAAEBA");
        assert_eq!(base64(&[1.0]), "AACAPw==");
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        for body in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"embedding":{}}"#,
            r#"{"embedding":{"values":["a"]}}"#,
            r#"{"embeddings":[{"values":[1]},{"values":[1]}]}"#,
            r#"{"embedding":{"values":{}}}"#,
        ] {
            assert!(
                decode(body.as_bytes(), "m", Encoding::Float, 1).is_err(),
                "{body}"
            );
        }
    }
}
