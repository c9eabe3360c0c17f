//! The client's side: the APIs that requests arrive in, and replies leave in.
//!
//! A [`ClientApi`] reads a request into the neutral conversation and writes everything that a client of
//! it sees: replies, streams, errors, lists of models. It knows no provider; a provider's
//! [dialect](crate::provider::dialect) knows no client API. A new one is a folder here and a row in
//! [`of`].
//!
//! ```text
//!   client ──► ClientApi::read ──► chat::Request ──► Dialect::write ──► provider
//!   client ◄── ReplyWriter ◄────── chat::Reply ◄──── Dialect::decode ◄─ provider
//!          ◄── StreamWriter ◄───── chat::Delta ◄──── Dialect::stream
//!          ◄── ClientApi::error ◄─ Failure ◄──────── Dialect::error, Refusal
//! ```

pub mod messages;
pub mod openai;
mod prose;
pub mod responses;
mod unplaced;

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

use self::messages::Messages;
use self::openai::OpenAi;
use self::responses::Responses;
use crate::chat::{CallStyle, Delta, Reply, Request};
use crate::contract::MESSAGES_VERSION;
use crate::embed;
use crate::failure::Failure;
use crate::headers::Headers;
use crate::json::{TooLong, Unread};
use crate::operation::{Kind, Operation};

/// An API that clients speak.
pub trait ClientApi: Sync {
    /// The body as it is read: what it refers to stands in the place of references.
    ///
    /// # Errors
    ///
    /// When it refers to something that is not there.
    fn prepare<'a>(&self, body: Cow<'a, [u8]>) -> Result<Cow<'a, [u8]>, InvalidRequest> {
        Ok(body)
    }

    /// Reads the body of a request for a conversation.
    ///
    /// The model may be missing or empty: whether there is a default is not known here.
    ///
    /// # Errors
    ///
    /// When the body is not JSON, or a member is missing, of another type or of an unknown kind.
    fn read<'a>(&self, body: &'a [u8]) -> Result<Request<'a>, InvalidRequest>;

    /// What writes the reply to a request, which was read from `body`.
    fn reply_writer(&self, request: &Request<'_>, body: &[u8]) -> Rc<dyn ReplyWriter>;

    /// Embeddings in this API, where it has them.
    fn embeddings(&self) -> Option<&'static dyn Embeddings> {
        None
    }

    /// The body of the reply to a request that counts tokens; `None`: this API has no such call.
    fn token_count(&self, _tokens: u64) -> Option<String> {
        None
    }

    /// The header in which the official SDKs of this API look for the id of a request.
    fn request_id_header(&self) -> &'static str;

    /// The body of an error: JSON.
    fn error(&self, failure: &Failure<'_>) -> String;

    /// The body of a provider's error with this API's shape; `None` where it has that: it passes byte
    /// for byte.
    fn reshape_error(&self, status: u16, body: &[u8]) -> Option<String>;

    /// Whether a provider's error that is too long to be read whole begins as one with this API's shape
    /// does.
    fn is_error_beginning(&self, beginning: &[u8]) -> bool;

    /// The body of the list of these models.
    fn model_list(&self, models: &[Model]) -> String;

    /// The body that describes one model.
    fn model(&self, model: &Model) -> String;
}

/// Writes the reply to one request.
pub trait ReplyWriter {
    /// A whole reply. `length`: that of the provider's. Unit of `length` and `limit`: bytes.
    ///
    /// # Errors
    ///
    /// When it would be longer than `limit`.
    fn write(
        &self,
        reply: &Reply<'_>,
        stamp: Stamp,
        length: usize,
        limit: usize,
    ) -> Result<Vec<u8>, TooLong>;

    /// What writes a stream, at its start.
    fn stream(&self, stamp: Stamp) -> Box<dyn StreamWriter>;
}

/// Writes one stream.
pub trait StreamWriter {
    /// Appends the events that a delta becomes.
    fn write(&mut self, delta: Delta<'_>, out: &mut Vec<u8>);

    /// Ends the stream with an error event. After the end, nothing.
    fn fail(&mut self, failure: &Failure<'_>, out: &mut Vec<u8>);

    /// Whether the stream is complete or has failed: nothing more will be written.
    fn is_finished(&self) -> bool;

    /// What is kept until the end of the stream, as far as a provider determines its length. Unit:
    /// bytes.
    fn kept_bytes(&self) -> usize {
        0
    }
}

/// Embeddings in a client's API.
pub trait Embeddings {
    /// Reads the body of a request.
    ///
    /// # Errors
    ///
    /// What is missing or wrong.
    fn read<'a>(&self, body: &'a [u8]) -> Result<embed::Request<'a>, InvalidRequest>;

    /// Writes a reply. `model` is what it is called where the provider does not say, `length` the length
    /// of the provider's reply. Unit of `length` and `limit`: bytes.
    ///
    /// # Errors
    ///
    /// When it would be longer than `limit`.
    fn write(
        &self,
        reply: &embed::Reply<'_>,
        encoding: embed::Encoding,
        model: &str,
        length: usize,
        limit: usize,
    ) -> Result<Vec<u8>, TooLong>;
}

/// The API of a request, by its operation and its headers. A request of which no operation is known gets
/// OpenAI's errors.
pub fn of(operation: Option<&Operation<'_>>, headers: &Headers<'_>) -> &'static dyn ClientApi {
    match operation.map(Operation::kind) {
        Some(Kind::CountTokens | Kind::Messages) => &Messages,
        // Only these clients send it, with every request.
        Some(Kind::Models | Kind::Other) | None if headers.get(MESSAGES_VERSION).is_some() => {
            &Messages
        }
        Some(Kind::InputTokens | Kind::Responses | Kind::StoredResponses) => &Responses,
        _ => &OpenAi,
    }
}

/// What a reply needs and no provider gives: the core has neither clock nor chance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Unit: seconds since 1970.
    pub created: u64,
    /// Differs from reply to reply: ids are made of it where the provider has none.
    pub nonce: u64,
    /// Which calls the client gets, and how.
    pub calls: CallStyle,
}

/// A model that can be requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// The name by which a client requests it.
    pub id: String,
    /// The type of the backend that answers.
    pub owner: &'static str,
}

/// A body that is no request of its API. Caused by the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRequest {
    /// The parameter at fault, such as `messages[3].content[0].type`; `None`: the body.
    pub param: Option<String>,
    /// Lower case, no final period.
    pub message: String,
}

impl InvalidRequest {
    /// What the client sees, with a 400.
    pub fn to_failure(&self) -> Failure<'static> {
        let code = match self.param {
            Some(_) => "invalid_value",
            None => "invalid_json",
        };
        Failure::new(400, self.to_string())
            .with_param(self.param.clone().map(Cow::Owned))
            .with_code(Some(code.into()))
    }

    /// About the body as a whole.
    pub fn body(message: impl Into<String>) -> Self {
        Self {
            param: None,
            message: message.into(),
        }
    }

    /// About one parameter.
    pub fn at(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            param: Some(param.into()),
            message: message.into(),
        }
    }

    /// About a text that was not read; `body` is that text.
    pub fn unread(unread: &Unread, body: &[u8]) -> Self {
        let path = unread.path(body);
        match unread {
            Unread::Invalid(error) => Self::body(format!("the body is not JSON: {error}")),
            _ if path.is_empty() => Self::body(format!("the body {}", unread.message())),
            _ => Self::at(path, unread.message()),
        }
    }

    /// About a parameter that is missing.
    pub fn missing(param: impl Into<String>) -> Self {
        Self::at(param, "is required")
    }
}

impl fmt::Display for InvalidRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.param {
            Some(param) => write!(f, "{param}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for InvalidRequest {}
