//! The Messages API: `POST /messages`, `POST /messages/count_tokens`, errors, the list of models.
//!
//! Source: <https://platform.claude.com/docs/en/api/messages>, read 2026-11-21, and the types of the
//! official Python package 2.14.0.
//!
//! A request to a provider of the same API passes as it is. What is written here is for the others.
//!
//! # Differences from the API
//!
//! * Thinking of a provider that signs none has an empty `signature`. A provider's signature is passed as
//!   it is; that of a call, which the API has no place for, is a `redacted_thinking` block before the
//!   `tool_use` ([`CALL_SIGNATURE`]).
//! * `message_start` counts no tokens: no provider of another API tells them so early. `message_delta`
//!   has all counts.
//! * Pictures in an answer become Markdown images with a `data:` address.

mod error;
mod models;
mod reply;
mod request;
mod stream;
mod wire;

use std::rc::Rc;

pub use self::request::read;
pub use self::stream::EventWriter;
use super::{ClientApi, InvalidRequest, Model, ReplyWriter, Stamp, StreamWriter};
use crate::chat::{Reply, Request};
use crate::failure::Failure;
use crate::json::TooLong;

/// The API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Messages;

impl ClientApi for Messages {
    fn read<'a>(&self, body: &'a [u8]) -> Result<Request<'a>, InvalidRequest> {
        read(body)
    }

    fn reply_writer(&self, request: &Request<'_>, _: &[u8]) -> Rc<dyn ReplyWriter> {
        Rc::new(Replies {
            model: request.model.clone().into_owned(),
        })
    }

    fn token_count(&self, tokens: u64) -> Option<String> {
        Some(format!("{{\"input_tokens\":{tokens}}}"))
    }

    fn request_id_header(&self) -> &'static str {
        "request-id"
    }

    fn error(&self, failure: &Failure<'_>) -> String {
        error::to_json(failure)
    }

    fn reshape_error(&self, status: u16, body: &[u8]) -> Option<String> {
        error::reshape(status, body)
    }

    fn is_error_beginning(&self, beginning: &[u8]) -> bool {
        error::is_beginning(beginning)
    }

    fn model_list(&self, models: &[Model]) -> String {
        models::list(models)
    }

    fn model(&self, model: &Model) -> String {
        models::model(model)
    }
}

/// The replies to a request.
struct Replies {
    /// What the model is called where the provider does not say.
    model: String,
}

impl ReplyWriter for Replies {
    fn write(
        &self,
        reply: &Reply<'_>,
        stamp: Stamp,
        length: usize,
        limit: usize,
    ) -> Result<Vec<u8>, TooLong> {
        reply::write_within(reply, &self.model, stamp, length, limit)
    }

    fn stream(&self, stamp: Stamp) -> Box<dyn StreamWriter> {
        Box::new(EventWriter::new(self.model.as_str(), stamp))
    }
}

/// What the data of a `redacted_thinking` block begins with that has the signature of the call after it.
pub const CALL_SIGNATURE: &str = "call-signature:";

/// The longest id or name of a model that is passed on.
const MAX_NAME_BYTES: usize = 512;

/// An id: the provider's, or one that is made where it has none.
fn reply_id(id: &str, stamp: Stamp) -> String {
    match id.len() {
        1..=MAX_NAME_BYTES => id.to_owned(),
        _ => format!("msg_{:016x}", stamp.nonce),
    }
}

/// The id of the `index`th call where the provider has none.
fn call_id(stamp: Stamp, index: u64) -> String {
    format!("toolu_{:016x}_{index}", stamp.nonce)
}
