//! A streamed reply: every event is a GenerateContentResponse with what is new.
//!
//! Source: <https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent>, read
//! 2026-11-21.
//!
//! There is no `[DONE]`: the bytes end. What a choice ended with is therefore said at the end, which
//! also holds where every event has a `finishReason`, as some models give it.

use super::grounding::Places;
use super::reply::{self, Candidate, End, Message, PromptFeedback, Said, UsageMetadata};
use super::row::Row;
use crate::chat::citations::Citations;
use crate::chat::tape::Tape;
use crate::chat::{Delta, Logprobs, StopReason};
use crate::json::Text;
use crate::provider::dialect::{BrokenReply, EventDecoder};
use crate::sse;

/// Reads the events of one reply.
#[derive(Default)]
pub(super) struct Decoder {
    has_begun: bool,
    /// By index. choices.len() <= reply::MAX_CANDIDATES
    choices: Vec<(u64, Choice)>,
    /// Why the prompt was blocked, if it was.
    blocked: Option<String>,
    /// Whether an error was told: nothing follows.
    is_over: bool,
    /// Whether something was said after all choices had ended: then an end says nothing.
    has_gone_on: bool,
    /// What the last event began, if it said nothing but a text. Whatever else comes ends it.
    pub(super) row: Option<Row>,
}

#[derive(Default)]
struct Choice {
    /// How many so far.
    calls: u64,
    /// The last one counts: two in a row are not one.
    signature: Option<String>,
    /// Of its text, which the last citations are about.
    places: Places,
    citations: Citations,
    end: Option<Stop>,
}

/// Why a choice ended.
#[derive(Clone, Copy)]
enum Stop {
    Complete,
    Filtered,
    Length,
    /// Another word.
    Other,
}

/// How much is kept of the signatures of all choices until the end. Unit: bytes.
const MAX_SIGNATURE_BYTES: usize = 1 << 20;

impl EventDecoder for Decoder {
    fn event(
        &mut self,
        event: &sse::Event<'_>,
        say: &mut dyn FnMut(Delta<'_>),
    ) -> Result<(), BrokenReply> {
        if let Some((choice, text)) = self.row.as_mut().and_then(|row| row.next(event.data)) {
            if !text.is_empty() {
                if let Some(state) = self.choice(choice) {
                    state.places.push(&text);
                }
                say(Delta::Text {
                    choice,
                    text: &text,
                });
            }
            return Ok(());
        }
        self.any_event(event, say)
    }

    fn kept_bytes(&self) -> usize {
        let choices = self.choices.iter();
        let of_text = choices.map(|(_, it)| it.places.kept_bytes() + it.citations.kept_bytes());
        let blocked = self.blocked.as_ref().map_or(0, String::len);
        self.signature_bytes() + blocked + of_text.sum::<usize>()
    }

    fn may_be_complete(&self) -> bool {
        !self.has_gone_on && self.has_all_ends()
    }

    fn finish(&mut self, say: &mut dyn FnMut(Delta<'_>)) -> Result<(), BrokenReply> {
        if std::mem::replace(&mut self.is_over, true) {
            return Ok(());
        }
        self.end_row(say)?;
        if self.choices.is_empty()
            && let Some(text) = &self.blocked
        {
            self.choices.push((0, Choice::default()));
            say(Delta::Refusal { choice: 0, text });
        }
        let is_cut = self.choices.iter().any(|(_, choice)| choice.end.is_none());
        if self.choices.is_empty() || (is_cut && self.blocked.is_none()) {
            return Err(BrokenReply(
                "the stream ended before the answer did".to_owned(),
            ));
        }
        for (choice, state) in std::mem::take(&mut self.choices) {
            if let Some(signature) = state.signature {
                say(Delta::ReasoningSignature {
                    choice,
                    signature: &signature,
                });
            }
            if !state.citations.is_empty() {
                say(Delta::Annotations {
                    choice,
                    annotations: state.citations.as_slice(),
                });
            }
            let reason = match state.end {
                Some(Stop::Complete) if state.calls > 0 => StopReason::ToolCalls,
                Some(Stop::Complete) => StopReason::Stop,
                Some(Stop::Length) => StopReason::Length,
                Some(Stop::Other) => StopReason::Other(Text::default()),
                Some(Stop::Filtered) | None => StopReason::ContentFilter,
            };
            say(Delta::Stop { choice, reason });
        }
        say(Delta::End);
        Ok(())
    }
}

impl Decoder {
    #[inline(never)]
    fn any_event(
        &mut self,
        event: &sse::Event<'_>,
        say: &mut dyn FnMut(Delta<'_>),
    ) -> Result<(), BrokenReply> {
        if self.is_over || event.data.trim_ascii().is_empty() {
            return Ok(());
        }
        self.end_row(say)?;
        let mut place = None;
        let response = match Message::read(event.data.as_bytes(), &mut place)? {
            Message::Error(error) => {
                let status = error.client_status(error.code.unwrap_or(500));
                let message = error.client_message(status);
                let code = error.client_code(status);
                self.fail(status, &message, code.as_deref(), say);
                return Ok(());
            }
            Message::Response(response) => response,
        };
        self.has_gone_on |= self.has_all_ends();
        if !self.has_begun {
            self.has_begun = true;
            say(Delta::Start {
                id: &reply::said(response.response_id),
                model: &reply::said(response.model_version),
            });
        }
        self.row = Row::of(event.data, response);
        let blocked = response.prompt_feedback.and_then(PromptFeedback::blocked);
        self.blocked = self.blocked.take().or(blocked);
        for (index, candidate) in response.candidates() {
            self.candidate(index, &candidate, event.data.as_bytes(), say)?;
            if self.is_over {
                return Ok(());
            }
            if self.signature_bytes() > MAX_SIGNATURE_BYTES {
                return Err(BrokenReply("its signatures are too long".to_owned()));
            }
        }
        if let Some(usage) = response.usage_metadata {
            say(Delta::Usage(UsageMetadata::usage(usage)));
        }
        Ok(())
    }

    /// Says what was left to the last event of a row.
    fn end_row(&mut self, say: &mut dyn FnMut(Delta<'_>)) -> Result<(), BrokenReply> {
        if let Some(row) = self.row.take()
            && let Some(event) = row.unsaid()
            && let Message::Response(response) = Message::read(event.as_bytes(), &mut None)?
            && let Some(usage) = response.usage_metadata
        {
            say(Delta::Usage(usage.usage()));
        }
        Ok(())
    }

    fn signature_bytes(&self) -> usize {
        let signatures = self
            .choices
            .iter()
            .filter_map(|(_, it)| it.signature.as_ref());
        signatures.map(String::len).sum()
    }

    fn has_all_ends(&self) -> bool {
        match self.choices.is_empty() {
            true => self.blocked.is_some(),
            false => self.choices.iter().all(|(_, choice)| choice.end.is_some()),
        }
    }

    fn candidate(
        &mut self,
        choice: u64,
        candidate: &Candidate<'_>,
        event: &[u8],
        say: &mut dyn FnMut(Delta<'_>),
    ) -> Result<(), BrokenReply> {
        let end = candidate.end();
        let Some(state) = self.choice(choice) else {
            return Err(reply::too_many_candidates());
        };
        for part in candidate.parts() {
            part.say(&mut |said| match said {
                Said::Call {
                    id,
                    name,
                    arguments,
                    signature,
                } => {
                    let index = state.calls;
                    state.calls += 1;
                    say(Delta::ToolCallStart {
                        choice,
                        index,
                        id: &id,
                        name: &name,
                        signature: signature.as_deref(),
                    });
                    say(Delta::ToolCallArguments {
                        choice,
                        index,
                        fragment: &arguments,
                    });
                }
                Said::Reasoning(text) => say(Delta::Reasoning { choice, text }),
                Said::Signature(signature) => state.signature = Some(signature),
                Said::Text(text) => {
                    state.places.push(text);
                    say(Delta::Text { choice, text });
                }
            })?;
        }
        // Each event tells all anew.
        if let Some(grounding) = &candidate.grounding {
            let mut citations = Citations::default();
            state.places.annotations(grounding, &mut citations);
            if !citations.is_empty() {
                state.citations = citations;
            }
        }
        if let Some(result) = &candidate.logprobs_result {
            let mut tape = Tape::new(event);
            result.note(&mut tape);
            let tokens = Logprobs::new(&tape);
            if !tokens.is_empty() {
                say(Delta::Logprobs { choice, tokens });
            }
        }
        match end {
            Some(End::Failed(word)) => {
                let message = format!("the model failed with {word}");
                self.fail(502, &message, None, say);
            }
            Some(End::Complete) => state.end = Some(Stop::Complete),
            Some(End::Filtered) => state.end = Some(Stop::Filtered),
            Some(End::Length) => state.end = Some(Stop::Length),
            Some(End::Other(_)) => state.end = Some(Stop::Other),
            None => {}
        }
        Ok(())
    }

    /// The state of a choice, which may be new; `None` where there are too many.
    fn choice(&mut self, index: u64) -> Option<&mut Choice> {
        let place = match self.choices.binary_search_by_key(&index, |(it, _)| *it) {
            Ok(place) => place,
            Err(_) if self.choices.len() >= reply::MAX_CANDIDATES => return None,
            Err(place) => {
                self.choices.insert(place, (index, Choice::default()));
                place
            }
        };
        self.choices.get_mut(place).map(|(_, choice)| choice)
    }

    fn fail(
        &mut self,
        status: u16,
        message: &str,
        code: Option<&str>,
        say: &mut dyn FnMut(Delta<'_>),
    ) {
        if !std::mem::replace(&mut self.is_over, true) {
            say(Delta::Error {
                status,
                message,
                code,
            });
        }
    }
}
