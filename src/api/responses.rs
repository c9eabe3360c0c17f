//! The Responses API: `POST /responses`, its errors, its list of models.
//!
//! Source: <https://platform.openai.com/docs/api-reference/responses>, read 2026-11-28, and the types of
//! the official Python package 3.57.0, `openai/types/responses`.
//!
//! A request to a provider that speaks the same API passes as it is. What is written here is for the
//! others.
//!
//! # Differences from the API
//!
//! * Nothing is stored: what needs an earlier response at the server is refused by name
//!   ([`STORED`]). A reference to an item is resolved where the item is in the conversation: see
//!   `carrier.rs`.
//! * Thinking is one summary. `encrypted_content` is the provider's signature, which begins with the name
//!   of its dialect; that of a call is in a reasoning item of its own before the call
//!   ([`CALL_SIGNATURE`]).
//! * `tools` of a response is empty, and what else is repeated from the request is short
//!   (`echo.rs`).
//! * Functions of a namespace become functions whose names begin with it, and calls of them have both
//!   names again (`expand.rs`).
//! * Pictures in an answer become Markdown images with a `data:` address.

mod carrier;
mod echo;
mod expand;
mod item;
mod reply;
mod request;
mod stream;
mod wire;

use std::borrow::Cow;
use std::rc::Rc;

pub use self::request::{DROPPED, HINTS, STORED, read};
pub use self::stream::EventWriter;
use super::openai::OpenAi;
use super::{ClientApi, InvalidRequest, Model, ReplyWriter, Stamp, StreamWriter};
use crate::chat::{Reply, Request};
use crate::failure::Failure;
use crate::json::TooLong;

/// The API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Responses;

impl ClientApi for Responses {
    fn prepare<'a>(&self, body: Cow<'a, [u8]>) -> Result<Cow<'a, [u8]>, InvalidRequest> {
        expand::expand(body)
    }

    fn read<'a>(&self, body: &'a [u8]) -> Result<Request<'a>, InvalidRequest> {
        read(body)
    }

    fn reply_writer(&self, request: &Request<'_>, body: &[u8]) -> Rc<dyn ReplyWriter> {
        let mut custom_tools = String::new();
        for tool in request.tools.iter().filter(|tool| tool.is_custom) {
            custom_tools.push_str(&tool.name.decode());
            custom_tools.push(END_OF_NAME);
        }
        Rc::new(Replies(Rc::new(Context {
            model: request.model.clone().into_owned(),
            echo: echo::Echo::of(body),
            custom_tools,
            namespaces: expand::Namespaces::of(body),
        })))
    }

    fn token_count(&self, tokens: u64) -> Option<String> {
        Some(format!(
            r#"{{"object":"response.input_tokens","input_tokens":{tokens}}}"#
        ))
    }

    // Errors and models are those of chat completions.

    fn request_id_header(&self) -> &'static str {
        OpenAi.request_id_header()
    }

    fn error(&self, failure: &Failure<'_>) -> String {
        OpenAi.error(failure)
    }

    fn reshape_error(&self, status: u16, body: &[u8]) -> Option<String> {
        OpenAi.reshape_error(status, body)
    }

    fn is_error_beginning(&self, beginning: &[u8]) -> bool {
        OpenAi.is_error_beginning(beginning)
    }

    fn model_list(&self, models: &[Model]) -> String {
        OpenAi.model_list(models)
    }

    fn model(&self, model: &Model) -> String {
        OpenAi.model(model)
    }
}

/// What the replies to a request need of it.
#[derive(Debug, Default)]
struct Context {
    /// What the model is called where the provider does not say.
    model: String,
    echo: echo::Echo,
    /// The names of the custom tools, each with its [end](END_OF_NAME).
    custom_tools: String,
    namespaces: expand::Namespaces,
}

impl Context {
    fn is_custom(&self, name: &str) -> bool {
        let mut names = self.custom_tools.split_terminator(END_OF_NAME);
        names.any(|it| it == name)
    }

    fn namespaced(&self, name: &str) -> Option<expand::Namespaced<'_>> {
        self.namespaces.find(name)
    }
}

const END_OF_NAME: char = '\0';

/// The replies to a request.
struct Replies(Rc<Context>);

impl ReplyWriter for Replies {
    fn write(
        &self,
        reply: &Reply<'_>,
        stamp: Stamp,
        length: usize,
        limit: usize,
    ) -> Result<Vec<u8>, TooLong> {
        reply::write_within(reply, &self.0, stamp, length, limit)
    }

    fn stream(&self, stamp: Stamp) -> Box<dyn StreamWriter> {
        Box::new(EventWriter::new(Rc::clone(&self.0), stamp))
    }
}

/// What the `encrypted_content` of a reasoning item begins with that has the signature of the call after
/// it.
pub const CALL_SIGNATURE: &str = "call-signature:";

/// The longest id or name of a model that is passed on; it stands in several events of a stream.
const MAX_NAME_BYTES: usize = 512;

/// The id of a response: made of the provider's, where it has one.
fn response_id(id: &str, stamp: Stamp) -> String {
    match id.len() {
        0 => format!("resp_{:016x}", stamp.nonce),
        1..=MAX_NAME_BYTES if id.starts_with("resp_") => id.to_owned(),
        1..=MAX_NAME_BYTES => format!("resp_{id}"),
        _ => format!("resp_{:016x}", stamp.nonce),
    }
}

/// The id of the `index`th item of a response. `prefix` is that of its type.
fn item_id(prefix: &str, stamp: Stamp, index: u64) -> String {
    format!("{prefix}_{:016x}{index:02}", stamp.nonce)
}

/// The id of the `index`th call where the provider has none.
fn call_id(stamp: Stamp, index: u64) -> String {
    format!("call_{:016x}_{index}", stamp.nonce)
}
