//! OpenAI's embeddings as Vertex AI has them.
//!
//! Sources, read 2026-11-21:
//! <https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api>,
//! <https://docs.cloud.google.com/vertex-ai/generative-ai/docs/embeddings/get-text-embeddings>, and
//! the `google-genai` package 3.4.0.
//!
//! | model | call | texts |
//! | --- | --- | --- |
//! | `text-embedding-…` and others | `:predict` | up to 250 |
//! | `gemini-embedding-001`, `gemini-embedding-exp…` | `:predict` | one |
//! | other `gemini-…` | `:embedContent`, `:batchEmbedContents` | as many as Google takes |
//!
//! Google would cut a text that is too long, and not say so. It is told to refuse it instead, as
//! OpenAI does.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::gemini::embeddings::{Content, Wanted, write};
use super::gemini::model::Model;
use crate::provider::dialect::{BrokenReply, EncodedEmbeddings, Encoding, Options, Unsupported};
use crate::usage::Usage;

/// An OpenAI request for embeddings in Google's words. `model` is the provider's name of the model.
///
/// # Errors
///
/// When a member is missing, is no such thing, or cannot be expressed.
pub(super) fn encode(
    body: &[u8],
    model: &str,
    options: &Options,
) -> Result<EncodedEmbeddings, Unsupported> {
    let path = Model::new(model)?;
    let wanted = Wanted::read(body, options)?;
    let takes_one = ["gemini-embedding-001", "gemini-embedding-exp"]
        .iter()
        .any(|name| model.starts_with(name));
    if takes_one || !model.starts_with("gemini") {
        if takes_one && wanted.texts.len() > 1 {
            // > For gemini-embedding-001, each request can only include a single input text.
            return Err(Unsupported {
                param: "input".to_owned(),
                message: format!(
                    "{model:?} embeds one text per request on Vertex AI; send them one by one"
                ),
            });
        }
        let instances = wanted.texts.iter().map(|content| Instance { content });
        let body = Predict {
            instances: instances.collect(),
            parameters: Parameters::new(&wanted),
        };
        return wanted.encoded(path.path("predict"), serde_json::to_vec(&body));
    }
    let request = |text| EmbedContent {
        content: Content::new(text),
        embed_content_config: Parameters::new(&wanted),
    };
    match (wanted.texts.as_slice(), wanted.is_list) {
        ([text], false) => {
            let body = serde_json::to_vec(&request(text));
            wanted.encoded(path.path("embedContent"), body)
        }
        (texts, _) => {
            let requests = texts.iter().map(|text| request(text)).collect();
            let body = serde_json::to_vec(&BatchEmbedContents { requests });
            wanted.encoded(path.path("batchEmbedContents"), body)
        }
    }
}

/// Google's reply as OpenAI's. `model` is what the client calls the model.
///
/// # Errors
///
/// When the bytes are no reply, or hold another number of vectors than `count`.
pub(super) fn decode(
    body: &[u8],
    model: &str,
    encoding: Encoding,
    count: usize,
) -> Result<Vec<u8>, BrokenReply> {
    let reply: Reply<'_> =
        serde_json::from_slice(body).map_err(|error| BrokenReply(error.to_string()))?;
    let predicted = reply.predictions.into_iter().map(|it| it.embeddings);
    let vectors = predicted.chain(reply.embedding).chain(reply.embeddings);
    let vectors: Vec<Vector<'_>> = vectors.collect();
    let counted = vectors.iter().map(|it| it.statistics.token_count);
    // A count that is not told for every vector is none.
    let counted: Option<f64> = counted.sum();
    let prompt = match reply.usage_metadata {
        Some(usage) => usage.prompt_token_count,
        None => counted.map(|count| count as u64),
    };
    let usage = Usage {
        prompt,
        total: prompt,
        ..Usage::default()
    };
    let vectors: Vec<&RawValue> = vectors.iter().map(|it| it.values).collect();
    write(&vectors, model, encoding, count, &usage)
}

// === what is written to Google ===

#[derive(Serialize)]
struct Predict<'a> {
    instances: Vec<Instance<'a>>,
    parameters: Parameters,
}

#[derive(Serialize)]
struct Instance<'a> {
    content: &'a str,
}

#[derive(Serialize)]
struct BatchEmbedContents<'a> {
    requests: Vec<EmbedContent<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EmbedContent<'a> {
    content: Content<'a>,
    embed_content_config: Parameters,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dimensionality: Option<u64>,
    auto_truncate: bool,
}

impl Parameters {
    fn new(wanted: &Wanted) -> Self {
        Self {
            output_dimensionality: wanted.dimensions,
            auto_truncate: false,
        }
    }
}

// === what is read from Google ===

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reply<'a> {
    #[serde(borrow, default)]
    predictions: Vec<Prediction<'a>>,
    #[serde(borrow)]
    embedding: Option<Vector<'a>>,
    #[serde(borrow, default)]
    embeddings: Vec<Vector<'a>>,
    usage_metadata: Option<UsageMetadata>,
}

#[derive(Deserialize)]
struct Prediction<'a> {
    #[serde(borrow)]
    embeddings: Vector<'a>,
}

#[derive(Deserialize)]
struct Vector<'a> {
    #[serde(borrow)]
    values: &'a RawValue,
    #[serde(default)]
    statistics: Statistics,
}

#[derive(Default, Deserialize)]
struct Statistics {
    /// `:predict` answers with protobuf values, whose numbers may be written as `4.0`.
    token_count: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UsageMetadata {
    prompt_token_count: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(model: &str, body: &str) -> Result<(String, String), String> {
        let encoded = encode(body.as_bytes(), model, &Options::default());
        let encoded = encoded.map_err(|unsupported| unsupported.to_string())?;
        let body = String::from_utf8(encoded.request.body).unwrap();
        Ok((encoded.request.suffix, body))
    }

    #[test]
    fn the_model_decides_the_call() {
        for (model, body, suffix, expected) in [
            (
                "text-embedding-005",
                r#"{"input":["a","b"],"dimensions":2}"#,
                "/models/text-embedding-005:predict",
                r#"{"instances":[{"content":"a"},{"content":"b"}],"parameters":{"outputDimensionality":2,"autoTruncate":false}}"#,
            ),
            (
                "gemini-embedding-001",
                r#"{"input":["a"]}"#,
                "/models/gemini-embedding-001:predict",
                r#"{"instances":[{"content":"a"}],"parameters":{"autoTruncate":false}}"#,
            ),
            (
                "gemini-embedding-2",
                r#"{"input":"a"}"#,
                "/models/gemini-embedding-2:embedContent",
                r#"{"content":{"parts":[{"text":"a"}]},"embedContentConfig":{"autoTruncate":false}}"#,
            ),
            (
                "gemini-embedding-2",
                r#"{"input":["a"],"dimensions":3}"#,
                "/models/gemini-embedding-2:batchEmbedContents",
                r#"{"requests":[{"content":{"parts":[{"text":"a"}]},"embedContentConfig":{"outputDimensionality":3,"autoTruncate":false}}]}"#,
            ),
        ] {
            let expected = Ok((suffix.to_owned(), expected.to_owned()));
            assert_eq!(encoded(model, body), expected, "{model}");
        }
        let several = encoded("gemini-embedding-001", r#"{"input":["a","b"]}"#);
        assert!(several.unwrap_err().contains("one text per request"));
    }

    #[test]
    fn every_form_of_reply_becomes_openais() {
        for (body, count, expected) in [
            (
                r#"{"predictions":[{"embeddings":{"values":[1],"statistics":{"token_count":4,"truncated":false}}},{"embeddings":{"values":[2],"statistics":{"token_count":3.0}}}],"metadata":{"billableCharacterCount":8}}"#,
                2,
                r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[1]},{"object":"embedding","index":1,"embedding":[2]}],"model":"m","usage":{"prompt_tokens":7,"total_tokens":7}}"#,
            ),
            (
                r#"{"embedding":{"values":[1]},"usageMetadata":{"promptTokenCount":5},"truncated":false}"#,
                1,
                r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[1]}],"model":"m","usage":{"prompt_tokens":5,"total_tokens":5}}"#,
            ),
            (
                r#"{"embeddings":[{"values":[1]}]}"#,
                1,
                r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[1]}],"model":"m","usage":{"prompt_tokens":0,"total_tokens":0}}"#,
            ),
        ] {
            let reply = decode(body.as_bytes(), "m", Encoding::Float, count).unwrap();
            assert_eq!(String::from_utf8(reply).unwrap(), expected);
        }
        for body in [
            "",
            "{}",
            r#"{"predictions":[{}]}"#,
            r#"{"predictions":[{"embeddings":{"values":["a"]}}]}"#,
        ] {
            assert!(
                decode(body.as_bytes(), "m", Encoding::Float, 1).is_err(),
                "{body}"
            );
        }
    }
}
