//! Embeddings as Vertex AI has them.
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

use super::gemini::embeddings::{adapted, content, head};
use super::gemini::model::Model;
use crate::embed::{Reply, Request, Values};
use crate::json::{self, Items, Text, Writer, object};
use crate::provider::dialect::{BrokenReply, Head, Options, Unsupported};
use crate::usage::Usage;

/// Writes a request in Google's words. `model` is the provider's name of the model.
///
/// # Errors
///
/// When a member cannot be expressed, or the model cannot be part of a path.
pub(super) fn write(
    json: &mut Writer,
    request: &Request<'_>,
    model: &str,
    options: &Options,
) -> Result<Head, Unsupported> {
    let path = Model::new(model)?;
    let adapted = adapted(request, options)?;
    let parameters = |json: &mut Writer| {
        json.object(|json| {
            if let Some(dimensions) = request.dimensions {
                json.key("outputDimensionality").number(dimensions);
            }
            json.key("autoTruncate").bool(false);
        });
    };
    if !model.starts_with("gemini") {
        json.object(|json| {
            json.key("instances").array(|json| {
                for text in &request.texts {
                    json.object(|json| json.key("content").quoted(*text));
                }
            });
            parameters(json.key("parameters"));
        });
        return Ok(head(path.path("predict"), adapted));
    }
    let one = |json: &mut Writer, text: Text<'_>| {
        json.object(|json| {
            content(json.key("content"), text);
            parameters(json.key("embedContentConfig"));
        });
    };
    if let Some(text) = request.only() {
        one(json, text);
        return Ok(head(path.path("embedContent"), adapted));
    }
    json.object(|json| {
        json.key("requests").array(|json| {
            for text in &request.texts {
                one(json, *text);
            }
        });
    });
    Ok(head(path.path("batchEmbedContents"), adapted))
}

/// Reads a reply to a request of `count` texts.
///
/// # Errors
///
/// When the bytes are no reply, or hold another number of vectors.
pub(super) fn decode(body: &[u8], count: usize) -> Result<Reply<'_>, BrokenReply> {
    let reply: Vectors<'_> = json::read(body)?;
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
    Reply::new(vectors.map(|it| it?.values), count, usage).map_err(BrokenReply)
}

object! {
    Vectors<'a> {
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
    use crate::api::openai::embeddings;
    use crate::embed::Encoding;

    fn encoded(model: &str, body: &str) -> Result<(String, String), String> {
        let request = embeddings::read(body.as_bytes()).unwrap();
        let mut json = Writer::default();
        let head = write(&mut json, &request, model, &Options::default());
        let head = head.map_err(|unsupported| format!("{unsupported:?}"))?;
        let body = String::from_utf8(json.into_bytes()).unwrap();
        Ok((head.suffix, body))
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
            let reply = decode(body.as_bytes(), count).unwrap();
            let reply =
                embeddings::write(&reply, Encoding::Float, "m", body.len(), 1 << 20).unwrap();
            assert_eq!(String::from_utf8(reply).unwrap(), expected);
        }
        for body in [
            "",
            "{}",
            r#"{"predictions":[{}]}"#,
            r#"{"predictions":[{"embeddings":{"values":["a"]}}]}"#,
        ] {
            assert!(decode(body.as_bytes(), 1).is_err(), "{body}");
        }
    }
}
