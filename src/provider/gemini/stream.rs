//! A streamed reply: every event is a GenerateContentResponse with what is new.
//!
//! Source: <https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent>, read
//! 2026-11-21.
//!
//! There is no `[DONE]`: the bytes end. What a choice ended with is therefore said at the end, which
//! also holds where every event has a `finishReason`, as some models give it.

use std::collections::BTreeMap;

use super::reply::{Candidate, End, LogprobsResult, Message, PromptFeedback, Said, UsageMetadata};
use crate::chat::{Delta, StopReason};
use crate::provider::dialect::{BrokenReply, StreamDecoder};
use crate::sse;

/// Reads the events of one reply.
#[derive(Default)]
pub(super) struct Decoder {
    has_begun: bool,
    /// By index. choices.len() <= MAX_CHOICES
    choices: BTreeMap<u64, Choice>,
    /// Why the prompt was blocked, if it was.
    blocked: Option<String>,
    /// Whether an error was told: nothing follows.
    is_over: bool,
    /// Whether something was said after all choices had ended: then an end says nothing.
    has_gone_on: bool,
}

#[derive(Default)]
struct Choice {
    /// How many so far.
    calls: u64,
    /// The last one counts: two in a row are not one.
    signature: Option<String>,
    end: Option<End>,
}

const MAX_CHOICES: usize = 128;

impl StreamDecoder for Decoder {
    fn event(
        &mut self,
        event: &sse::Event<'_>,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), BrokenReply> {
        if self.is_over || event.data.trim_ascii().is_empty() {
            return Ok(());
        }
        let response = match Message::read(event.data)? {
            Message::Error(error) => {
                let status = error.client_status(error.code.unwrap_or(500));
                let code = error.client_code(status).map(Into::into);
                self.fail(status, error.client_message(status), code, deltas);
                return Ok(());
            }
            Message::Response(response) => response,
        };
        self.has_gone_on |= self.has_all_ends();
        if !self.has_begun {
            self.has_begun = true;
            deltas.push(Delta::Start {
                id: response.response_id.0.into_owned(),
                model: response.model_version.0.into_owned(),
            });
        }
        let blocked = response.prompt_feedback.and_then(PromptFeedback::blocked);
        self.blocked = self.blocked.take().or(blocked);
        for (position, candidate) in (0..).zip(response.candidates) {
            self.candidate(position, candidate, deltas)?;
            if self.is_over {
                return Ok(());
            }
        }
        if let Some(usage) = response.usage_metadata {
            deltas.push(Delta::Usage(UsageMetadata::usage(usage)));
        }
        Ok(())
    }

    fn may_be_complete(&self) -> bool {
        !self.has_gone_on && self.has_all_ends()
    }

    fn finish(&mut self, deltas: &mut Vec<Delta>) -> Result<(), BrokenReply> {
        if std::mem::replace(&mut self.is_over, true) {
            return Ok(());
        }
        if self.choices.is_empty()
            && let Some(text) = &self.blocked
        {
            self.choices.insert(0, Choice::default());
            deltas.push(Delta::Refusal {
                choice: 0,
                text: text.clone(),
            });
        }
        let is_cut = |choice: &Choice| choice.end.is_none() && self.blocked.is_none();
        if self.choices.is_empty() || self.choices.values().any(is_cut) {
            return Err(BrokenReply(
                "the stream ended before the answer did".to_owned(),
            ));
        }
        for (choice, state) in std::mem::take(&mut self.choices) {
            if let Some(signature) = state.signature {
                deltas.push(Delta::ReasoningSignature { choice, signature });
            }
            let reason = match state.end {
                Some(end) => end.stop_reason(state.calls > 0),
                None => StopReason::ContentFilter,
            };
            deltas.push(Delta::Stop { choice, reason });
        }
        deltas.push(Delta::End);
        Ok(())
    }
}

impl Decoder {
    fn has_all_ends(&self) -> bool {
        match self.choices.is_empty() {
            true => self.blocked.is_some(),
            false => self.choices.values().all(|choice| choice.end.is_some()),
        }
    }

    fn candidate(
        &mut self,
        position: u64,
        candidate: Candidate<'_>,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), BrokenReply> {
        let choice = candidate.index.unwrap_or(position);
        if self.choices.len() >= MAX_CHOICES && !self.choices.contains_key(&choice) {
            return Err(BrokenReply(format!(
                "it has more than {MAX_CHOICES} candidates"
            )));
        }
        let end = candidate.end();
        let state = self.choices.entry(choice).or_default();
        for part in candidate.content.into_iter().flat_map(|it| it.parts) {
            part.say(|said| match said {
                Said::Call(call) => {
                    let index = state.calls;
                    state.calls += 1;
                    deltas.push(Delta::ToolCallStart {
                        choice,
                        index,
                        id: call.id.into_owned(),
                        name: call.name.into_owned(),
                        signature: call.signature.map(Into::into),
                    });
                    deltas.push(Delta::ToolCallArguments {
                        choice,
                        index,
                        fragment: call.arguments.into_owned(),
                    });
                }
                Said::Reasoning(text) => deltas.push(Delta::Reasoning { choice, text }),
                Said::Signature(signature) => state.signature = Some(signature),
                Said::Text(text) => deltas.push(Delta::Text { choice, text }),
            });
        }
        let tokens = candidate
            .logprobs_result
            .map_or_else(Vec::new, LogprobsResult::tokens);
        if !tokens.is_empty() {
            deltas.push(Delta::Logprobs { choice, tokens });
        }
        match end {
            Some(End::Failed(word)) => {
                let message = format!("the model failed with {word}");
                self.fail(502, message, None, deltas);
            }
            Some(end) => state.end = Some(end),
            None => {}
        }
        Ok(())
    }

    fn fail(
        &mut self,
        status: u16,
        message: String,
        code: Option<String>,
        deltas: &mut Vec<Delta>,
    ) {
        if !std::mem::replace(&mut self.is_over, true) {
            deltas.push(Delta::Error {
                status,
                message,
                code,
            });
        }
    }
}
