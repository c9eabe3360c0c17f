//! OpenAI's embeddings as Vertex AI has them.
//!
//! Sources, read 2026-11-21:
//! <https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api>,
//! <https://docs.cloud.google.com/vertex-ai/generative-ai/docs/embeddings/get-text-embeddings>, and
//! the `google-genai` package 3.6.1 (`t_is_vertex_embed_content_model`).
//!
//! | model | call | texts |
//! | --- | --- | --- |
//! | `text-embedding-…` and others | `:predict` | up to 250 |
//! | `gemini-…` | `:embedContent`, `:batchEmbedContents` | as many as Google takes |
//!
//! Google would cut a text that is too long, and not say so. It is told to refuse it instead, as
//! OpenAI does.

use super::gemini::embeddings::{List, Values, Wanted, content};
use super::gemini::model::Model;
use crate::json::{self, Items, Text, Unwritten, Writer, object};
use crate::provider::dialect::{BrokenReply, EncodedEmbeddings, Encoding, Options, Unsupported};
use crate::usage::Usage;

/// An OpenAI request for embeddings in Google's words. `model` is the provider's name of the model,
/// `limit` how long the body may be. Unit: bytes.
///
/// # Errors
///
/// When a member is missing, is no such thing, or cannot be expressed; or it would be too long.
pub(super) fn encode(
    body: &[u8],
    model: &str,
    options: &Options,
    limit: usize,
) -> Result<EncodedEmbeddings, Unwritten<Unsupported>> {
    let path = Model::new(model).map_err(Unwritten::Failed)?;
    let wanted = Wanted::read(body, options).map_err(Unwritten::Failed)?;
    let parameters = |json: &mut Writer| {
        json.object(|json| {
            if let Some(dimensions) = wanted.dimensions {
                json.key("outputDimensionality").number(dimensions);
            }
            json.key("autoTruncate").bool(false);
        });
    };
    if !model.starts_with("gemini") {
        return wanted.encoded(path.path("predict"), body.len(), limit, &|json| {
            json.object(|json| {
                json.key("instances").array(|json| {
                    for text in &wanted.texts {
                        json.object(|json| json.key("content").quoted(*text));
                    }
                });
                parameters(json.key("parameters"));
            });
        });
    }
    let one = |json: &mut Writer, text: Text<'_>| {
        json.object(|json| {
            content(json.key("content"), text);
            parameters(json.key("embedContentConfig"));
        });
    };
    if let Some(text) = wanted.only() {
        let path = path.path("embedContent");
        return wanted.encoded(path, body.len(), limit, &|json| one(json, text));
    }
    let path = path.path("batchEmbedContents");
    wanted.encoded(path, body.len(), limit, &|json| {
        json.object(|json| {
            json.key("requests").array(|json| {
                for text in &wanted.texts {
                    one(json, *text);
                }
            });
        });
    })
}

/// Google's reply as OpenAI's. `model` is what the client calls the model, `limit` how long the reply may
/// be. Unit: bytes.
///
/// # Errors
///
/// When the bytes are no reply, hold another number of vectors than `count`, or become too long.
pub(super) fn decode(
    body: &[u8],
    model: &str,
    encoding: Encoding,
    count: usize,
    limit: usize,
) -> Result<Vec<u8>, BrokenReply> {
    let reply: Reply<'_> = json::read(body)?;
    let predictions = reply.predictions.unwrap_or_default();
    let several = reply.embeddings.unwrap_or_default();
    let predicted = predictions.iter().map(|it| it.embeddings);
    let vectors = predicted.chain(reply.embedding.into_iter().chain(several.iter()).map(Some));
    let counted = vectors
        .clone()
        .map(|it| it?.statistics.unwrap_or_default().token_count);
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
    let list = List {
        model,
        encoding,
        count,
        usage: &usage,
    };
    list.write(vectors.map(|it| it?.values), body.len(), limit)
}

object! {
    Reply<'a> {
        predictions: Items<'a, Prediction<'a>> = b"predictions",
        embedding: Vector<'a> = b"embedding",
        embeddings: Items<'a, Vector<'a>> = b"embeddings",
        usage_metadata: UsageMetadata = b"usageMetadata",
    }
}

object! {
    Prediction<'a> {
        embeddings: Vector<'a> = b"embeddings",
    }
}

object! {
    #[derive(Clone)]
    Vector<'a> {
        values: Values<'a> = b"values",
        statistics: Statistics = b"statistics",
    }
}

object! {
    #[derive(Clone)]
    Statistics {
        /// `:predict` answers with protobuf values, whose numbers may be written as `4.0`.
        token_count: f64 = b"token_count",
    }
}

object! {
    UsageMetadata {
        prompt_token_count: u64 = b"promptTokenCount",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(model: &str, body: &str) -> Result<(String, String), String> {
        let encoded = encode(body.as_bytes(), model, &Options::default(), 1 << 20);
        let encoded = encoded.map_err(|unwritten| format!("{unwritten:?}"))?;
        let body = String::from_utf8(encoded.request.body).unwrap();
        Ok((encoded.request.head.suffix, body))
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
                "/models/gemini-embedding-001:batchEmbedContents",
                r#"{"requests":[{"content":{"parts":[{"text":"a"}]},"embedContentConfig":{"autoTruncate":false}}]}"#,
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
        assert!(several.unwrap().0.ends_with(":batchEmbedContents"));
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
            let reply = decode(body.as_bytes(), "m", Encoding::Float, count, 1 << 20).unwrap();
            assert_eq!(String::from_utf8(reply).unwrap(), expected);
        }
        for body in [
            "",
            "{}",
            r#"{"predictions":[{}]}"#,
            r#"{"predictions":[{"embeddings":{"values":["a"]}}]}"#,
        ] {
            assert!(
                decode(body.as_bytes(), "m", Encoding::Float, 1, 1 << 20).is_err(),
                "{body}"
            );
        }
    }
}
