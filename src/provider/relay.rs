//! A streamed reply on its way from a provider's dialect to OpenAI's chunks.

use super::dialect::{BrokenReply, StreamDecoder};
use crate::chat::openai::ChunkWriter;
use crate::sse::{self, Item};

/// Bytes of the provider in, bytes for the client out, in the same call.
///
/// Memory: one event of the provider, at most `max_event_bytes`, beside what is being written, and
/// maybe one short event that came before it.
pub struct Relay {
    events: sse::Decoder,
    translation: Translation,
}

/// From events to chunks.
struct Translation {
    stream: Box<dyn StreamDecoder>,
    chunks: ChunkWriter,
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
            translation: Translation { stream, chunks },
        }
    }

    /// Takes the next bytes, and appends what they mean to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.is_finished() {
            return;
        }
        let Self {
            events,
            translation,
        } = self;
        if let Err(error) = events.push(bytes, |item| translation.item(&item, out)) {
            translation.fail(&error.to_string(), out);
        }
    }

    /// The provider's bytes have ended: a stream that was cut ends with an error.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.is_finished() {
            return;
        }
        let Self {
            events,
            translation,
        } = self;
        if let Err(error) = events.finish(|item| translation.item(&item, out)) {
            translation.fail(&error.to_string(), out);
        }
        translation.finish(out);
    }

    /// See [`StreamDecoder::may_be_complete`].
    pub fn may_be_complete(&self) -> bool {
        !self.is_finished() && self.translation.stream.may_be_complete()
    }

    /// What the event that has begun takes. Unit: bytes.
    pub fn pending_bytes(&self) -> usize {
        self.events.pending_bytes()
    }

    /// Ends the stream with an error, unless it has ended, and forgets the event that has begun.
    #[cold]
    pub fn fail(&mut self, what: &str, out: &mut Vec<u8>) {
        self.translation.fail(what, out);
        self.events.clear();
    }

    /// Whether the client has been told the end: nothing more will be written.
    pub fn is_finished(&self) -> bool {
        self.translation.chunks.is_finished()
    }
}

impl Translation {
    fn item(&mut self, item: &Item<'_>, out: &mut Vec<u8>) {
        let Self { stream, chunks } = self;
        if chunks.is_finished() {
            return;
        }
        match item {
            Item::Comment(comment) => sse::write_comment(comment, out),
            Item::Event(event) => {
                let said = stream.event(event, &mut |delta| chunks.write(delta, out));
                if let Err(broken) = said {
                    self.fail(&broken.0, out);
                }
            }
        }
    }

    #[cold]
    fn finish(&mut self, out: &mut Vec<u8>) {
        let Self { stream, chunks } = self;
        if let Err(broken) = stream.finish(&mut |delta| chunks.write(delta, out)) {
            self.fail(&broken.0, out);
        }
        // A stream that says neither that it is complete nor that it is not.
        self.fail("it ended before the reply did", out);
    }

    #[cold]
    fn fail(&mut self, what: &str, out: &mut Vec<u8>) {
        let error = BrokenReply(what.to_owned()).to_error();
        self.chunks.fail(&error, out);
    }
}
