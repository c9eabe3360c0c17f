//! A chat completion for a provider that has a dialect of its own, there and back.
//!
//! The body is translated whole, so headers and body wait for its end. The backend's rules go
//! first, as splices of the client's text: they are the same for every dialect.

use std::rc::Rc;

use super::body::{BodyEdit, Pushed};
use super::firewall;
use crate::chat::openai::{self, ChunkWriter, Stamp};
use crate::config::Backend;
use crate::headers::HeaderEdit;
use crate::json;
use crate::provider::dialect::{BrokenReply, Dialect, Encoded, StreamDecoder};
use crate::refusal::{ErrorBody, LocalReply, Refusal};
use crate::sse;

/// A request that waits for the end of its body.
pub struct ChatRequest {
    backend: Rc<Backend>,
    dialect: &'static dyn Dialect,
    rules: BodyEdit,
}

/// What of a request its reply needs.
#[derive(Clone)]
pub struct Asked {
    dialect: &'static dyn Dialect,
    model: String,
    is_stream: bool,
    include_usage: bool,
}

impl ChatRequest {
    /// A request of which no byte has arrived.
    pub fn new(backend: Rc<Backend>, dialect: &'static dyn Dialect, rules: BodyEdit) -> Self {
        Self {
            backend,
            dialect,
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
        let request = openai::read(body)?;
        let encoded = self.dialect.encode(&request, &self.backend.options)?;
        let asked = Asked {
            dialect: self.dialect,
            model: request.model.clone().into_owned(),
            is_stream: request.stream,
            include_usage: request.include_usage,
        };
        Ok((encoded, asked))
    }
}

impl Asked {
    /// Whether the client wants a stream.
    pub fn is_stream(&self) -> bool {
        self.is_stream
    }

    /// A whole reply as OpenAI would have written it.
    ///
    /// # Errors
    ///
    /// When the bytes are no reply: 502.
    pub fn reply(&self, body: &[u8], stamp: Stamp) -> Result<Vec<u8>, LocalReply> {
        let reply = self
            .dialect
            .decode(body)
            .map_err(|broken| broken_reply(&broken))?;
        Ok(openai::write_reply(&reply, &self.model, stamp))
    }

    /// An error as OpenAI would have told it, and its status.
    pub fn error(&self, status: u16, body: &[u8]) -> (u16, String) {
        let (status, error) = self.dialect.error(status, body);
        (status, error.to_json())
    }

    /// What turns the provider's stream into OpenAI's.
    pub fn stream(&self, stamp: Stamp) -> ChatStream {
        ChatStream {
            events: sse::Decoder::new(MAX_EVENT_BYTES),
            decoder: self.dialect.stream(),
            writer: ChunkWriter::new(self.model.clone(), stamp, self.include_usage),
            deltas: Vec::new(),
        }
    }
}

/// A streamed reply on its way.
pub struct ChatStream {
    events: sse::Decoder,
    decoder: Box<dyn StreamDecoder>,
    writer: ChunkWriter,
    /// Empty between calls; kept for its capacity.
    deltas: Vec<crate::chat::Delta>,
}

impl ChatStream {
    /// The events that the client gets for the next bytes. `ends`: they are the last.
    pub fn push(&mut self, bytes: &[u8], ends: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 2);
        self.events.push(bytes);
        let mut done = self.translate(&mut out);
        if ends && done.is_ok() {
            done = self.finish(&mut out);
        }
        if let Err(message) = done {
            let error = ErrorBody::new(BAD_GATEWAY, message).with_code(Some(BROKEN_REPLY.into()));
            self.writer.fail(&error, &mut out);
        }
        out
    }

    fn translate(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        while !self.writer.is_finished() {
            let Some(item) = self.events.next().map_err(|it| it.to_string())? else {
                return Ok(());
            };
            take(
                item,
                &mut *self.decoder,
                &mut self.deltas,
                &mut self.writer,
                out,
            )?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        if let Some(item) = self.events.finish().map_err(|it| it.to_string())? {
            take(
                item,
                &mut *self.decoder,
                &mut self.deltas,
                &mut self.writer,
                out,
            )?;
        }
        if self.writer.is_finished() {
            return Ok(());
        }
        self.decoder
            .finish(&mut self.deltas)
            .map_err(|it| it.to_string())?;
        for delta in self.deltas.drain(..) {
            self.writer.write(&delta, out);
        }
        Ok(())
    }
}

fn take(
    item: sse::Item<'_>,
    decoder: &mut dyn StreamDecoder,
    deltas: &mut Vec<crate::chat::Delta>,
    writer: &mut ChunkWriter,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    match item {
        sse::Item::Comment(comment) => sse::write_comment(comment, out),
        sse::Item::Event(event) => {
            let done = decoder.event(&event, deltas).map_err(|it| it.to_string());
            for delta in deltas.drain(..) {
                writer.write(&delta, out);
            }
            done?;
        }
    }
    Ok(())
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

/// The same for one that is compressed, which we asked it not to be.
pub fn compressed_reply() -> LocalReply {
    broken_reply(&BrokenReply("it is compressed".to_owned()))
}

/// The headers that a dialect adds to a request, and those that do not go to its provider.
pub fn header_edits(encoded: &Encoded) -> Vec<HeaderEdit> {
    let set = encoded
        .headers
        .iter()
        .map(|(name, value)| HeaderEdit::set(*name, *value));
    firewall::BROWSER_HEADERS
        .iter()
        .map(|name| HeaderEdit::remove(*name))
        .chain(set)
        .collect()
}

const BAD_GATEWAY: u16 = 502;
const BROKEN_REPLY: &str = "invalid_provider_reply";

/// An event carries at most a part of an answer, or an image.
const MAX_EVENT_BYTES: usize = 16 << 20;
