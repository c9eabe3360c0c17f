//! A streamed reply on its way from a provider's dialect to the client's API.

use crate::api::StreamWriter;
use crate::chat::{Delta, StopReason};
use crate::provider::dialect::{BrokenReply, ReplyStream};
use crate::usage::Observed;

/// Bytes of the provider in, bytes for the client out, in the same call.
///
/// Memory: one event of the provider beside what is being written, which is not much more than
/// `max_out_bytes`, and maybe one short event that came before it.
pub struct Relay {
    stream: Box<dyn ReplyStream>,
    writer: Box<dyn StreamWriter>,
    /// How much may be written in one call: a part of an event can be a tenth of what it becomes.
    max_out_bytes: usize,
    observed: Observed,
}

impl Relay {
    /// A relay at the start of a stream.
    pub fn new(
        stream: Box<dyn ReplyStream>,
        writer: Box<dyn StreamWriter>,
        max_out_bytes: usize,
    ) -> Self {
        Self {
            stream,
            writer,
            max_out_bytes,
            observed: Observed::default(),
        }
    }

    /// Takes the next bytes, and appends what they mean to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.is_finished() {
            return;
        }
        let max = self.max_out_bytes;
        let Self {
            stream,
            writer,
            observed,
            ..
        } = self;
        let read = stream.push(bytes, &mut |delta| {
            observe(&delta, observed);
            if out.len() < max {
                writer.write(delta, out);
            }
        });
        if let Err(broken) = read {
            self.break_off(&broken, out);
        }
        if out.len() >= max {
            let what = format!("it becomes more than {max} bytes at once");
            self.break_off(&BrokenReply(what), out);
        }
    }

    /// The provider's bytes have ended: a stream that was cut ends with an error.
    #[cold]
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.is_finished() {
            return;
        }
        let Self {
            stream,
            writer,
            observed,
            ..
        } = self;
        let finished = stream.finish(&mut |delta| {
            observe(&delta, observed);
            writer.write(delta, out);
        });
        if let Err(broken) = finished {
            self.break_off(&broken, out);
        }
        // A stream that says neither that it is complete nor that it is not.
        let what = "it ended before the reply did".to_owned();
        self.break_off(&BrokenReply(what), out);
    }

    /// See [`EventDecoder::may_be_complete`](crate::provider::dialect::EventDecoder::may_be_complete).
    pub fn may_be_complete(&self) -> bool {
        !self.is_finished() && self.stream.may_be_complete()
    }

    /// What the event that has begun takes, and what is kept of earlier ones. Unit: bytes.
    pub fn pending_bytes(&self) -> usize {
        let pending = self.stream.pending_bytes();
        pending.saturating_add(self.writer.kept_bytes())
    }

    /// Ends the stream with an error, unless it has ended, and forgets the event that has begun.
    #[cold]
    pub fn fail(&mut self, what: &str, out: &mut Vec<u8>) {
        self.break_off(&BrokenReply(what.to_owned()), out);
        self.stream.clear();
    }

    /// What was seen of the answer until now.
    pub fn observed(&mut self) -> &mut Observed {
        &mut self.observed
    }

    /// Whether the client has got the end: nothing more will be written.
    pub fn is_finished(&self) -> bool {
        self.writer.is_finished()
    }

    #[cold]
    fn break_off(&mut self, broken: &BrokenReply, out: &mut Vec<u8>) {
        self.writer.fail(&broken.to_failure(), out);
    }
}

/// Notes what logs and metrics need of a delta.
fn observe(delta: &Delta<'_>, observed: &mut Observed) {
    match delta {
        Delta::Start { model, .. } if !model.is_empty() => observed.model = Some((*model).into()),
        Delta::Usage(usage) => observed.usage = *usage,
        Delta::Stop { reason, .. } if observed.finish_reason.is_none() => {
            observed.finish_reason = Some(reason_name(reason));
        }
        Delta::Text { .. }
        | Delta::Reasoning { .. }
        | Delta::Refusal { .. }
        | Delta::ToolCallStart { .. } => observed.has_begun = true,
        _ => {}
    }
}

/// Why an answer ended, in OpenAI's words where those have one.
pub fn reason_name(reason: &StopReason<'_>) -> Box<str> {
    match reason {
        StopReason::ContentFilter => "content_filter".into(),
        StopReason::Length => "length".into(),
        StopReason::Stop => "stop".into(),
        StopReason::ToolCalls => "tool_calls".into(),
        StopReason::Other(text) => text.decode().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Stamp;
    use crate::api::openai::ChunkWriter;
    use crate::provider::dialect::Dialect;
    use crate::provider::gemini::Gemini;

    #[test]
    fn an_event_that_becomes_too_much_ends_the_stream_with_an_error() {
        const MAX: usize = 4096;
        let relayed = |count: usize| {
            let parts = vec![r#"{"text":"a"},{"functionCall":{"name":"f"}}"#; count].join(",");
            let event = format!(
                r#"{{"candidates":[{{"content":{{"parts":[{parts}]}},"finishReason":"STOP"}}]}}"#
            );
            let chunks = ChunkWriter::new("m", Stamp::default(), false);
            let mut relay = Relay::new(Gemini.stream(1 << 20), Box::new(chunks), MAX);
            let mut out = Vec::new();
            relay.push(format!("data: {event}\n\n").as_bytes(), &mut out);
            relay.finish(&mut out);
            assert!(relay.is_finished() && out.len() < MAX + 1024);
            String::from_utf8(out).unwrap()
        };
        assert!(relayed(3).ends_with("data: [DONE]\n\n"));
        let cut = relayed(1000);
        assert!(
            !cut.contains("[DONE]") && cut.contains("more than 4096 bytes at once"),
            "{cut}"
        );
    }

    #[test]
    fn what_a_stream_keeps_until_its_end_is_counted_and_bounded() {
        let chunks = || Box::new(ChunkWriter::new("m", Stamp::default(), false));
        let mut relay = Relay::new(Gemini.stream(4 << 20), chunks(), 32 << 20);
        let mut out = Vec::new();
        let mut seen = 0;
        for index in 0..5 {
            let signature = "A".repeat(300_000);
            let part = format!(r#"{{"text":"","thoughtSignature":"{signature}"}}"#);
            let event = format!(
                r#"data: {{"candidates":[{{"index":{index},"content":{{"parts":[{part}]}}}}]}}"#
            );
            relay.push(format!("{event}\n\n").as_bytes(), &mut out);
            seen += 300_000;
            if relay.is_finished() {
                break;
            }
            assert!(relay.pending_bytes() >= seen, "{index}");
        }
        let out = String::from_utf8(out).unwrap();
        assert!(out.contains("its signatures are too long"), "{out:.500}");
        assert!(seen < 1_500_000);

        use crate::provider::anthropic::Anthropic;
        let mut relay = Relay::new(Anthropic::default().stream(4 << 20), chunks(), 32 << 20);
        let mut out = Vec::new();
        let events = [
            r#"{"type":"message_start","message":{"id":"a","model":"m"}}"#.to_owned(),
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking"}}"#
                .to_owned(),
            format!(
                r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"signature_delta","signature":"{}"}}}}"#,
                "A".repeat(500_000)
            ),
        ];
        for event in events {
            relay.push(format!("data: {event}\n\n").as_bytes(), &mut out);
        }
        assert!(!relay.is_finished() && relay.pending_bytes() >= 500_000);
    }
}
