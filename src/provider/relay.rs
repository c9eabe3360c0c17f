//! A streamed reply on its way from a provider's dialect to OpenAI's chunks.

use super::dialect::{BrokenReply, StreamDecoder};
use crate::chat::Delta;
use crate::chat::openai::ChunkWriter;
use crate::sse::{self, Item};
use crate::usage::Usage;

/// Bytes of the provider in, bytes for the client out, in the same call.
///
/// Memory: one event of the provider, at most `max_event_bytes`, beside what is being written.
pub struct Relay {
    events: sse::Decoder,
    stream: Box<dyn StreamDecoder>,
    chunks: ChunkWriter,
    /// Kept for its memory: empty between calls.
    deltas: Vec<Delta>,
}

impl Relay {
    /// A relay at the start of a stream.
    pub fn new(
        stream: Box<dyn StreamDecoder>,
        chunks: ChunkWriter,
        max_event_bytes: usize,
    ) -> Self {
        Self {
            events: sse::Decoder::new(max_event_bytes),
            stream,
            chunks,
            deltas: Vec::new(),
        }
    }

    /// Takes the next bytes, and appends what they mean to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.chunks.is_finished() {
            return;
        }
        self.events.push(bytes);
        while !self.chunks.is_finished() {
            match self.events.next() {
                Ok(None) => return,
                Ok(Some(Item::Comment(comment))) => sse::write_comment(comment, out),
                Ok(Some(Item::Event(event))) => {
                    let result = self.stream.event(&event, &mut self.deltas);
                    self.pass(result, out);
                }
                Err(error) => self.fail(&error.to_string(), out),
            }
        }
    }

    /// The provider's bytes have ended: a stream that was cut ends with an error.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.chunks.is_finished() {
            return;
        }
        match self.events.finish() {
            Ok(Some(Item::Event(event))) => {
                let result = self.stream.event(&event, &mut self.deltas);
                self.pass(result, out);
            }
            Ok(_) => {}
            Err(error) => self.fail(&error.to_string(), out),
        }
        let result = self.stream.finish(&mut self.deltas);
        self.pass(result, out);
        // A stream that says neither that it is complete nor that it is not.
        self.fail("it ended before the reply did", out);
    }

    /// See [`StreamDecoder::may_be_complete`].
    pub fn may_be_complete(&self) -> bool {
        !self.chunks.is_finished() && self.stream.may_be_complete()
    }

    /// Whether the client has been told the end: nothing more will be written.
    pub fn is_finished(&self) -> bool {
        self.chunks.is_finished()
    }

    /// What the reply has cost so far.
    pub fn usage(&self) -> Usage {
        self.chunks.usage()
    }

    fn pass(&mut self, result: Result<(), BrokenReply>, out: &mut Vec<u8>) {
        for delta in self.deltas.drain(..) {
            self.chunks.write(&delta, out);
        }
        if let Err(broken) = result {
            self.fail(&broken.0, out);
        }
    }

    fn fail(&mut self, what: &str, out: &mut Vec<u8>) {
        let error = BrokenReply(what.to_owned()).to_error();
        self.chunks.fail(&error, out);
    }
}
