//! Embeddings as embedContent and batchEmbedContents.
//!
//! Source: <https://ai.google.dev/api/embeddings>, read 2026-11-21.
//!
//! One text goes to `embedContent`, a list to `batchEmbedContents`. `user` has no counterpart.

use super::model::Model;
use super::rules;
use crate::embed::{Reply, Request, Values};
use crate::json::{self, Items, Text, Writer, object};
use crate::provider::adapt::Adapter;
use crate::provider::dialect::{BrokenReply, Head, Options, Unsupported};
use crate::usage::Usage;

/// Writes a request in Google's words. `model` is the provider's name of the model.
///
/// # Errors
///
/// When a member cannot be expressed, or the model cannot be part of a path.
pub(in crate::provider) fn write(
    json: &mut Writer,
    request: &Request<'_>,
    model: &str,
    options: &Options,
) -> Result<Head, Unsupported> {
    let model = Model::new(model)?;
    let adapted = adapted(request, options)?;
    let one = |json: &mut Writer, text: Text<'_>, resource: Option<&str>| {
        json.object(|json| {
            // In a batch each request names the model that the path names.
            if let Some(resource) = resource {
                json.key("model").string(resource);
            }
            content(json.key("content"), text);
            if let Some(dimensions) = request.dimensions {
                json.key("outputDimensionality").number(dimensions);
            }
        });
    };
    if let Some(text) = request.only() {
        one(json, text, None);
        return Ok(head(model.path("embedContent"), adapted));
    }
    let resource = model.resource();
    json.object(|json| {
        json.key("requests").array(|json| {
            for text in &request.texts {
                one(json, *text, Some(&resource));
            }
        });
    });
    Ok(head(model.path("batchEmbedContents"), adapted))
}

/// The parameters that were adapted.
///
/// # Errors
///
/// Those that cannot be expressed.
pub(in crate::provider) fn adapted(
    request: &Request<'_>,
    options: &Options,
) -> Result<Option<String>, Unsupported> {
    let adapter = Adapter::new(options.unsupported);
    for (name, _) in &request.other {
        match &**name {
            "user" => adapter.apply_to(&rules::USER, name),
            name => adapter.apply_to(&rules::UNKNOWN, name),
        }
    }
    adapter.finish()
}

/// What goes before a body that goes to this path.
pub(in crate::provider) fn head(suffix: String, adapted: Option<String>) -> Head {
    Head {
        suffix,
        adapted,
        ..Head::default()
    }
}

/// One text as Google has contents.
pub(in crate::provider) fn content(json: &mut Writer, text: Text<'_>) {
    json.object(|json| {
        json.key("parts")
            .array(|json| json.object(|json| json.key("text").quoted(text)));
    });
}

/// Reads a reply to a request of `count` texts.
///
/// # Errors
///
/// When the bytes are no reply, or hold another number of vectors.
pub(in crate::provider) fn decode(body: &[u8], count: usize) -> Result<Reply<'_>, BrokenReply> {
    let reply: Vectors<'_> = json::read(body)?;
    let several = reply.embeddings.unwrap_or_default();
    let vectors = reply.embedding.into_iter().chain(several.iter());
    let usage = reply
        .usage_metadata
        .map_or_else(Usage::default, |it| Usage {
            prompt: it.prompt_token_count,
            total: it.total_token_count.or(it.prompt_token_count),
            ..Usage::default()
        });
    Reply::new(vectors.map(|it| it.values), count, usage).map_err(BrokenReply)
}

object! {
    Vectors<'a> {
        embedding: ContentEmbedding<'a> = b"embedding",
        embeddings: Items<'a, ContentEmbedding<'a>> = b"embeddings",
        usage_metadata: UsageMetadata = b"usageMetadata",
    }
}

object! {
    #[derive(Clone)]
    ContentEmbedding<'a> {
        values: Values<'a> = b"values",
    }
}

object! {
    UsageMetadata {
        prompt_token_count: u64 = b"promptTokenCount",
        total_token_count: u64 = b"totalTokenCount",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::openai::embeddings::{read, write as write_reply};
    use crate::embed::Encoding;
    use crate::json::{TooLong, Unwritten};
    use crate::provider::dialect::{Embeddings, Encoded};
    use crate::provider::gemini::Gemini;

    fn encode(
        body: &[u8],
        model: &str,
        options: &Options,
        limit: usize,
    ) -> Result<Encoded, Unwritten<Unsupported>> {
        let request = read(body).unwrap();
        Gemini.encode_within(&request, model, options, body.len(), limit)
    }

    fn failure(unwritten: Unwritten<Unsupported>) -> Unsupported {
        match unwritten {
            Unwritten::Failed(unsupported) => unsupported,
            Unwritten::TooLong(_) => panic!("{unwritten:?}"),
        }
    }

    fn encoded(body: &str) -> Result<Encoded, Unsupported> {
        let encoded = encode(body.as_bytes(), "models/e", &Options::default(), 1 << 20);
        encoded.map_err(failure)
    }

    #[test]
    fn what_is_too_long_is_not_written() {
        let body = br#"{"input":["abc","def"]}"#;
        let options = Options::default();
        let length = encode(body, "e", &options, 1 << 20).unwrap().body.len();
        assert!(encode(body, "e", &options, length).is_ok());
        let limit = length - 1;
        assert_eq!(
            encode(body, "e", &options, limit),
            Err(Unwritten::TooLong(TooLong { limit }))
        );
        let reply = br#"{"embedding":{"values":[1,2,3]}}"#;
        let reply = decode(reply, 1).unwrap();
        let written = |limit| write_reply(&reply, Encoding::Float, "m", 0, limit);
        let length = written(1 << 20).unwrap().len();
        assert!(written(length).is_ok() && written(length - 1).is_err());
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
            assert_eq!(it.head.suffix, suffix);
            assert_eq!(String::from_utf8(it.body).unwrap(), expected);
            let request = read(body.as_bytes()).unwrap();
            assert_eq!((request.encoding, request.texts.len()), (encoding, count));
        }
    }

    #[test]
    fn what_cannot_be_embedded_is_named() {
        let body = r#"{"input":"a","title":"t"}"#;
        assert_eq!(encoded(body).unwrap_err().param, "title");
        let drops = Options {
            unsupported: crate::provider::adapt::Policy::Drop,
            ..Options::default()
        };
        let encode = |body: &[u8], model| encode(body, model, &drops, 1 << 20).map_err(failure);
        assert!(encode(body.as_bytes(), "e").is_ok());
        assert_eq!(
            encode(br#"{"input":"a"}"#, "../e").unwrap_err().param,
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
            let reply = decode(body.as_bytes(), 1).unwrap();
            let reply = write_reply(&reply, encoding, "m", body.len(), 1 << 20).unwrap();
            assert_eq!(String::from_utf8(reply).unwrap(), expected);
        }
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
            assert!(decode(body.as_bytes(), 1).is_err(), "{body}");
        }
    }
}
