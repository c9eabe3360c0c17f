//! OpenAI's API: chat completions, embeddings, errors, the list of models.
//!
//! Source: <https://platform.openai.com/docs/api-reference/chat>, read 2026-11-21.
//!
//! # Differences from OpenAI
//!
//! * `functions`, `function_call` and the role `function`, deprecated since 2023, are refused by
//!   name: `tools` say the same.
//! * `cache_control` is taken on messages, parts and tools, for dialects that have it.
//! * `reasoning_content` and `reasoning_signature` are taken on assistant messages and given on
//!   replies, so that a client that sends a message back as it came keeps the model's thinking. Both
//!   are opaque text. Calls keep theirs in `extra_content.google.thought_signature`, where Google's
//!   own compatible API has it: <https://ai.google.dev/gemini-api/docs/openai>, read 2026-11-21.
//! * `custom` tools become functions with one string, and what limits that string is left out.
//! * `annotations` of an assistant message, which replies bring and nobody asks for, are not sent on;
//!   nor are `index` of a call and `name` of a tool message, which say nothing new.

mod custom;
pub mod embeddings;
mod error;
mod models;
mod reply;
mod request;
mod reshape;
mod stream;
mod wire;

use std::rc::Rc;

pub(super) use self::custom::{Input as CustomInput, input as custom_input};
pub use self::error::to_json as error;
pub(super) use self::reply::tokens;
pub use self::reply::{write_reply, write_reply_within};
pub use self::request::read;
pub(super) use self::request::tool_choice_word;
pub use self::stream::ChunkWriter;
use super::{ClientApi, Embeddings, InvalidRequest, Model, ReplyWriter, Stamp, StreamWriter};
use crate::chat::{Reply, Request};
use crate::failure::Failure;
use crate::json::TooLong;

/// The API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenAi;

impl ClientApi for OpenAi {
    fn read<'a>(&self, body: &'a [u8]) -> Result<Request<'a>, InvalidRequest> {
        read(body)
    }

    fn reply_writer(&self, request: &Request<'_>, _: &[u8]) -> Rc<dyn ReplyWriter> {
        Rc::new(Replies {
            model: request.model.clone().into_owned(),
            include_usage: request.include_usage,
            custom_tools: custom_tools(request),
        })
    }

    fn embeddings(&self) -> Option<&'static dyn Embeddings> {
        Some(&embeddings::Embeddings)
    }

    fn request_id_header(&self) -> &'static str {
        "x-request-id"
    }

    fn error(&self, failure: &Failure<'_>) -> String {
        error(failure)
    }

    fn reshape_error(&self, status: u16, body: &[u8]) -> Option<String> {
        reshape::reshape(status, body)
    }

    fn is_error_beginning(&self, beginning: &[u8]) -> bool {
        reshape::begins_well(beginning)
    }

    fn model_list(&self, models: &[Model]) -> String {
        models::list(models)
    }

    fn model(&self, model: &Model) -> String {
        models::model(model)
    }
}

/// The replies to a request for a chat completion.
struct Replies {
    /// What the model is called where the provider does not say.
    model: String,
    include_usage: bool,
    /// The names of the custom tools.
    custom_tools: Rc<[String]>,
}

fn custom_tools(request: &Request<'_>) -> Rc<[String]> {
    let custom = request.tools.iter().filter(|tool| tool.is_custom);
    custom.map(|tool| tool.name.decode().into_owned()).collect()
}

impl ReplyWriter for Replies {
    fn write(
        &self,
        reply: &Reply<'_>,
        stamp: Stamp,
        length: usize,
        limit: usize,
    ) -> Result<Vec<u8>, TooLong> {
        let custom_tools = &self.custom_tools;
        reply::write_within(reply, &self.model, custom_tools, stamp, length, limit)
    }

    fn stream(&self, stamp: Stamp) -> Box<dyn StreamWriter> {
        let model = self.model.as_str();
        let writer = ChunkWriter::new(model, stamp, self.include_usage);
        Box::new(writer.with_custom_tools(Rc::clone(&self.custom_tools)))
    }
}
