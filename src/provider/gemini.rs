//! Google's generateContent, as AI Studio and Vertex AI speak it.
//!
//! Source: <https://ai.google.dev/api/generate-content>, read 2026-11-21; the pages about one
//! subject stand beside the code that follows them. Names and types of members were compared with
//! the `google-genai` package 3.4.0 on the same day.
//!
//! What it cannot express, and what is sent instead, is one table: [`RULES`]. What differs between
//! models is in `gemini/model.rs`.
//!
//! # What is kept in another form
//!
//! * JSON Schema is cleaned: see [`schema`]. `strict` is left out: what a schema describes is always
//!   what the model is held to.
//! * `reasoning_effort` asks for thoughts, too: they come back as reasoning.
//! * The signature of a call is [`crate::chat::ToolCall::signature`], as Google sent it. The
//!   signature of a text is a reasoning signature, with [`SIGNATURE_PREFIX`] before it, so that no
//!   other provider's is ever sent to Google. Thinking goes back only with its signature.
//! * Pictures in an answer become Markdown images with a `data:` address.
//! * `cache_control` is a hint that Gemini has no word for: it caches by itself. It changes no
//!   answer and is not refused.

pub(super) mod embeddings;
mod error;
mod grounding;
mod media;
pub(super) mod model;
mod reply;
mod request;
mod row;
mod rules;
pub mod schema;
mod stream;
#[cfg(test)]
mod tests;

pub use self::rules::RULES;
use crate::chat::{Reply, Request};
use crate::embed;
use crate::failure::Failure;
use crate::json::{self, Writer, object};
use crate::provider::dialect::{
    BrokenReply, Counting, Dialect, Embeddings, Head, Options, ReplyStream, SseStream, Unsupported,
};

/// generateContent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gemini;

/// Who serves the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    AiStudio,
    /// > `Unknown name "id" at 'contents[1].parts[0].function_call': Cannot find field.`
    ///
    /// <https://github.com/vercel/ai/issues/15664>, read 2026-11-21.
    Vertex,
}

/// Writes a request as Vertex AI takes it. Its path is that of AI Studio.
pub(super) fn write_for_vertex(
    json: &mut Writer,
    request: &Request<'_>,
    options: &Options,
) -> Result<Head, Unsupported> {
    request::write(json, request, options, Host::Vertex)
}

/// The same for counting.
pub(super) fn write_count_for_vertex(
    json: &mut Writer,
    request: &Request<'_>,
    options: &Options,
) -> Result<Head, Unsupported> {
    request::write_count(json, request, options, Host::Vertex)
}

/// Stands before a text's signature in `reasoning_signature`.
pub const SIGNATURE_PREFIX: &str = "gemini:";

impl Dialect for Gemini {
    fn write(
        &self,
        request: &Request<'_>,
        options: &Options,
        json: &mut Writer,
    ) -> Result<Head, Unsupported> {
        request::write(json, request, options, Host::AiStudio)
    }

    fn decode<'a>(&self, body: &'a [u8]) -> Result<Reply<'a>, BrokenReply> {
        reply::decode(body)
    }

    fn stream(&self, max_event_bytes: usize) -> Box<dyn ReplyStream> {
        let decoder = stream::Decoder::default();
        Box::new(SseStream::new(decoder, max_event_bytes))
    }

    fn embeddings(&self) -> Option<&'static dyn Embeddings> {
        Some(&Gemini)
    }

    fn counting(&self) -> Option<&'static dyn Counting> {
        Some(&Gemini)
    }

    fn error(&self, status: u16, body: &[u8]) -> Failure<'static> {
        error::failure(status, body)
    }

    fn retry_after(&self, body: &[u8]) -> Option<u64> {
        error::GoogleError::read(body)?.retry_after
    }
}

impl Counting for Gemini {
    fn write(
        &self,
        request: &Request<'_>,
        options: &Options,
        json: &mut Writer,
    ) -> Result<Head, Unsupported> {
        request::write_count(json, request, options, Host::AiStudio)
    }

    fn decode(&self, body: &[u8]) -> Result<u64, BrokenReply> {
        let reply: CountReply<'_> = json::read(body)?;
        let missing = || BrokenReply("it has no totalTokens".to_owned());
        reply.total_tokens.ok_or_else(missing)
    }
}

object! {
    /// Source: <https://ai.google.dev/api/tokens#response-body>, read 2026-11-28.
    CountReply<'a> {
        total_tokens: u64 = b"totalTokens",
        ..unknown
    }
}

impl Embeddings for Gemini {
    fn write(
        &self,
        request: &embed::Request<'_>,
        model: &str,
        options: &Options,
        json: &mut Writer,
    ) -> Result<Head, Unsupported> {
        embeddings::write(json, request, model, options)
    }

    fn decode<'a>(&self, body: &'a [u8], count: usize) -> Result<embed::Reply<'a>, BrokenReply> {
        embeddings::decode(body, count)
    }
}
