//! A call of a provider that has a dialect of its own, there and back.
//!
//! The body is translated whole, so headers and body wait for its end. The backend's rules go
//! first, as splices of the client's text: they are the same for every dialect.

use std::rc::Rc;

use super::body::{BodyEdit, Pushed};
use crate::chat::openai::{self, ChunkWriter, Stamp};
use crate::config::Backend;
use crate::headers::HeaderEdit;
use crate::json;
use crate::provider::Dialects;
use crate::provider::dialect::{BrokenReply, Dialect, Embeddings, Encoded, Encoding, Unsupported};
use crate::provider::relay::Relay;
use crate::refusal::{ErrorBody, LocalReply, Refusal};

/// A request that waits for the end of its body.
pub struct ChatRequest {
    backend: Rc<Backend>,
    dialects: Dialects,
    call: Call,
    rules: BodyEdit,
}

/// What is asked for.
#[derive(Clone, Copy)]
pub enum Call {
    /// Chat completions.
    Chat,
    /// Embeddings.
    Embeddings,
}

/// What of a request its reply needs.
#[derive(Clone)]
pub struct Asked {
    dialect: &'static dyn Dialect,
    model: String,
    form: Form,
}

/// The form of the reply.
#[derive(Clone, Copy)]
enum Form {
    Completion,
    Embeddings {
        translator: &'static dyn Embeddings,
        encoding: Encoding,
        count: usize,
    },
    Stream {
        include_usage: bool,
    },
}

impl ChatRequest {
    /// A request of which no byte has arrived.
    pub fn new(backend: Rc<Backend>, dialects: Dialects, call: Call, rules: BodyEdit) -> Self {
        Self {
            backend,
            dialects,
            call,
            rules,
        }
    }

    /// The whole body in the provider's words, and what the reply will need.
    ///
    /// # Errors
    ///
    /// When it is no chat completion, or the dialect cannot express it.
    pub fn translate(&mut self, body: &[u8]) -> Result<(Encoded, Asked), Refusal> {
        let splices = match self.rules.push(body, true)? {
            Pushed::Pass { splices, .. } => splices,
            Pushed::Hold => Vec::new(),
        };
        let mut ruled = Vec::new();
        let body = match splices.is_empty() {
            true => body,
            false => {
                json::apply(body, 0, &splices, &mut ruled)
                    .map_err(|_| Refusal::Gateway("the body was not edited"))?;
                &ruled
            }
        };
        let chosen = self.rules.chosen_model().unwrap_or_default();
        let dialect = self.dialects.of(chosen);
        let (encoded, model, form) = match self.call {
            Call::Chat => {
                let request = openai::read(body)?;
                let encoded = dialect.encode(&request, &self.backend.options)?;
                let form = match request.stream {
                    true => Form::Stream {
                        include_usage: request.include_usage,
                    },
                    false => Form::Completion,
                };
                (encoded, request.model.clone().into_owned(), form)
            }
            Call::Embeddings => {
                let Some(translator) = dialect.embeddings() else {
                    return Err(Refusal::from(Unsupported {
                        param: "model".to_owned(),
                        message: format!("the model {chosen:?} has no embeddings"),
                    }));
                };
                let encoded = translator.encode(body, chosen, &self.backend.options)?;
                let form = Form::Embeddings {
                    translator,
                    encoding: encoded.encoding,
                    count: encoded.count,
                };
                (encoded.request, chosen.to_owned(), form)
            }
        };
        let asked = Asked {
            dialect,
            model,
            form,
        };
        Ok((encoded, asked))
    }
}

impl Asked {
    /// Whether the client wants a stream.
    pub fn is_stream(&self) -> bool {
        matches!(self.form, Form::Stream { .. })
    }

    /// A whole reply as OpenAI would have written it.
    ///
    /// # Errors
    ///
    /// When the bytes are no reply: 502.
    pub fn reply(&self, body: &[u8], stamp: Stamp) -> Result<Vec<u8>, LocalReply> {
        let reply = match self.form {
            Form::Embeddings {
                translator,
                encoding,
                count,
            } => translator.decode(body, &self.model, encoding, count),
            Form::Completion | Form::Stream { .. } => {
                let reply = self.dialect.decode(body);
                reply.map(|reply| openai::write_reply(&reply, &self.model, stamp))
            }
        };
        reply.map_err(|broken| broken_reply(&broken))
    }

    /// An error as OpenAI would have told it, and its status.
    pub fn error(&self, status: u16, body: &[u8]) -> (u16, String) {
        let (status, error) = self.dialect.error(status, body);
        (status, error.to_json())
    }

    /// How long an error asks to wait. Unit: seconds.
    pub fn retry_after(&self, body: &[u8]) -> Option<u64> {
        self.dialect.retry_after(body)
    }

    /// What turns the provider's stream into OpenAI's.
    pub fn stream(&self, stamp: Stamp) -> Relay {
        let include_usage = matches!(
            self.form,
            Form::Stream {
                include_usage: true
            }
        );
        let chunks = ChunkWriter::new(self.model.clone(), stamp, include_usage);
        Relay::new(self.dialect.stream(), chunks, MAX_EVENT_BYTES)
    }
}

/// What a client sees of a reply that is none.
fn broken_reply(broken: &BrokenReply) -> LocalReply {
    let error = ErrorBody::new(BAD_GATEWAY, broken.to_string());
    LocalReply::json(
        BAD_GATEWAY,
        error.with_code(Some(BROKEN_REPLY.into())).to_json(),
    )
}

/// The same for one that has no body.
pub fn empty_reply() -> LocalReply {
    broken_reply(&BrokenReply("it is empty".to_owned()))
}

/// The same for one that is a stream where none was asked for, or the other way round.
pub fn mistaken_reply() -> LocalReply {
    broken_reply(&BrokenReply(
        "it streams, or does not, against what was asked".to_owned(),
    ))
}

/// The same for one that is compressed, which we asked it not to be.
pub fn compressed_reply() -> LocalReply {
    broken_reply(&BrokenReply("it is compressed".to_owned()))
}

/// The headers that a dialect adds to a request.
pub fn header_edits(encoded: &Encoded) -> Vec<HeaderEdit> {
    let set = encoded.headers.iter();
    set.map(|(name, value)| HeaderEdit::set(*name, *value))
        .collect()
}

const BAD_GATEWAY: u16 = 502;
const BROKEN_REPLY: &str = "broken_reply";

/// An event carries at most a part of an answer, or an image.
const MAX_EVENT_BYTES: usize = 16 << 20;
