//! A GenerateContentResponse, whole or as one event of a stream.
//!
//! Source: <https://ai.google.dev/api/generate-content#generatecontentresponse>, read 2026-11-21.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::SIGNATURE_PREFIX;
use super::error::GoogleError;
use crate::chat::{Choice, Logprob, Reply, ReplyCall, StopReason};
use crate::json::{self, Quoted, Read, Reader, Unread, object};
use crate::provider::dialect::BrokenReply;
use crate::usage::Usage;

/// See [`crate::provider::dialect::Dialect::decode`].
pub(super) fn decode(body: &[u8]) -> Result<Reply, BrokenReply> {
    let mut place = None;
    let response = match Message::read(body, &mut place)? {
        Message::Error(error) => return Err(BrokenReply(error.client_message(500))),
        Message::Response(response) => response,
    };
    let mut candidates: Vec<_> = response.candidates().collect();
    candidates.sort_by_key(|(index, _)| *index);
    let mut choices = Vec::with_capacity(candidates.len());
    for (_, candidate) in candidates {
        let end = candidate.end();
        // The other candidates may be whole; that one is not would go unseen.
        if let Some(End::Failed(word)) = end {
            return Err(BrokenReply(format!("the model failed with {word}")));
        }
        choices.push(choice(candidate, end)?);
    }
    if choices.is_empty() {
        let Some(blocked) = response.prompt_feedback.and_then(PromptFeedback::blocked) else {
            return Err(BrokenReply("it has no candidates".to_owned()));
        };
        choices.push(Choice {
            content: None,
            reasoning: None,
            reasoning_signature: None,
            refusal: Some(blocked),
            tool_calls: Vec::new(),
            logprobs: Vec::new(),
            stop: StopReason::ContentFilter,
        });
    }
    Ok(Reply {
        id: said(response.response_id).into_owned(),
        model: said(response.model_version).into_owned(),
        choices,
        usage: response
            .usage_metadata
            .map(UsageMetadata::usage)
            .unwrap_or_default(),
    })
}

fn choice(candidate: &Candidate<'_>, end: Option<End>) -> Result<Choice, BrokenReply> {
    let mut text = None;
    let mut reasoning = None;
    let mut reasoning_signature = None;
    let mut tool_calls = Vec::new();
    for part in candidate.parts() {
        part.say(&mut |said| match said {
            Said::Call(call) => tool_calls.push(call.into_owned()),
            Said::Reasoning(more) => append(&mut reasoning, more),
            Said::Signature(signature) => reasoning_signature = Some(signature),
            Said::Text(more) => append(&mut text, more),
        })?;
    }
    let stop = end
        .unwrap_or(End::Complete)
        .stop_reason(!tool_calls.is_empty());
    if text.is_none() && tool_calls.is_empty() && stop != StopReason::ContentFilter {
        text = Some(String::new());
    }
    Ok(Choice {
        content: text,
        reasoning,
        reasoning_signature,
        refusal: None,
        tool_calls,
        logprobs: candidate.logprobs(),
        stop,
    })
}

fn append(text: &mut Option<String>, more: &str) {
    text.get_or_insert_default().push_str(more);
}

// === impl Message ===

/// What stands in a body, or in an event.
pub(super) enum Message<'p, 'a> {
    Error(GoogleError),
    Response(&'p Response<'a>),
}

impl<'p, 'a> Message<'p, 'a> {
    /// Reads one. A response is made in `place`.
    pub(super) fn read(
        text: &'a [u8],
        place: &'p mut Option<Response<'a>>,
    ) -> Result<Self, BrokenReply> {
        let text = text.trim_ascii_start();
        if !text.starts_with(b"{") {
            // An error is wrapped in a list now and then; nothing else is.
            return GoogleError::read(text)
                .map(Self::Error)
                .ok_or_else(|| BrokenReply("it is not a JSON object".to_owned()));
        }
        json::read_into(text, place)?;
        let response = place.get_or_insert_default();
        let error = response.error.and_then(|error| {
            let error = serde_json::from_str(error.get()).ok()?;
            GoogleError::of(&error)
        });
        Ok(match error {
            Some(error) => Self::Error(error),
            None => Self::Response(response),
        })
    }
}

object! {
    /// Shape: as Google's; unknown members are passed over.
    pub(super) Response<'a> {
        candidates: Few<Candidate<'a>> = b"candidates",
        prompt_feedback: PromptFeedback<'a> = b"promptFeedback",
        usage_metadata: UsageMetadata = b"usageMetadata",
        response_id: Quoted<'a> = b"responseId",
        model_version: Quoted<'a> = b"modelVersion",
        error: &'a RawValue = b"error",
    }
}

impl<'a> Response<'a> {
    /// With their indexes, from 0.
    pub(super) fn candidates(&self) -> impl Iterator<Item = (u64, &Candidate<'a>)> {
        let candidates = (0..).zip(Few::iter(self.candidates.as_ref()));
        candidates.map(|(position, candidate)| (candidate.index.unwrap_or(position), candidate))
    }

    /// The text of the one candidate, and its index, where nothing else is said but maybe the usage.
    pub(super) fn only_text(&self) -> Option<(u64, Quoted<'a>)> {
        let mut candidates = self.candidates();
        let (index, candidate) = candidates.next()?;
        let mut parts = candidate.parts();
        let part = parts.next()?;
        let says_more = candidates.next().is_some()
            || parts.next().is_some()
            || self.error.is_some()
            || self.prompt_feedback.is_some()
            || candidate.finish_reason.is_some()
            || candidate.logprobs_result.is_some()
            || part.thought.is_some()
            || part.thought_signature.is_some()
            || part.function_call.is_some()
            || part.inline_data.is_some();
        part.text.filter(|_| !says_more).map(|text| (index, text))
    }
}

/// A list that mostly has one item: that one needs no memory of its own.
#[derive(Debug, Default)]
pub(super) struct Few<T> {
    first: Option<T>,
    /// Empty where there is no first.
    others: Vec<T>,
}

impl<'a, T: Read<'a> + Default> Read<'a> for Few<T> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unread> {
        let mut place = None;
        Self::read_into(&mut place, reader)?;
        Ok(place.unwrap_or_default())
    }

    fn read_into(place: &mut Option<Self>, reader: &mut Reader<'a>) -> Result<(), Unread> {
        let few = place.insert(Self::default());
        reader.array(&mut |reader| match few.first {
            None => T::read_into(&mut few.first, reader),
            Some(_) => {
                few.others.push(reader.value()?);
                Ok(())
            }
        })
    }
}

impl<T> Few<T> {
    /// In order.
    pub(super) fn iter(this: Option<&Self>) -> impl Iterator<Item = &T> {
        let first = this.and_then(|few| few.first.as_ref());
        let others = this.map_or(&[][..], |few| &few.others);
        first.into_iter().chain(others)
    }
}

/// The name of a reply, a model or a call; empty: none.
pub(super) fn said(name: Option<Quoted<'_>>) -> Cow<'_, str> {
    name.and_then(Quoted::decode).unwrap_or_default()
}

object! {
    #[derive(Clone, Copy)]
    pub(super) PromptFeedback<'a> {
        block_reason: Quoted<'a> = b"blockReason",
        block_reason_message: Quoted<'a> = b"blockReasonMessage",
    }
}

impl PromptFeedback<'_> {
    /// Why nothing is answered; `None` where the prompt was let through.
    pub(super) fn blocked(self) -> Option<String> {
        let reason = self.block_reason?.decode()?;
        let message = said(self.block_reason_message);
        Some(match message.is_empty() {
            true => format!("the prompt was blocked: {reason}"),
            false => message.into_owned(),
        })
    }
}

object! {
    /// Unit: tokens.
    #[derive(Clone, Copy)]
    pub(super) UsageMetadata {
        prompt_token_count: u64 = b"promptTokenCount",
        candidates_token_count: u64 = b"candidatesTokenCount",
        thoughts_token_count: u64 = b"thoughtsTokenCount",
        tool_use_prompt_token_count: u64 = b"toolUsePromptTokenCount",
        cached_content_token_count: u64 = b"cachedContentTokenCount",
        total_token_count: u64 = b"totalTokenCount",
    }
}

impl UsageMetadata {
    /// > total_token_count: This is the sum of `prompt_token_count`, `candidates_token_count`,
    /// > `tool_use_prompt_token_count`, and `thoughts_token_count`.
    pub(super) fn usage(self) -> Usage {
        let sum = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
        };
        let prompt = sum(self.prompt_token_count, self.tool_use_prompt_token_count);
        // A count of nothing is left out: what is not input is then output.
        let rest = || self.total_token_count?.checked_sub(prompt?);
        Usage {
            prompt,
            completion: sum(self.candidates_token_count, self.thoughts_token_count).or_else(rest),
            cached: self.cached_content_token_count,
            cache_written: None,
            reasoning: self.thoughts_token_count,
            total: self.total_token_count,
        }
    }
}

object! {
    pub(super) Candidate<'a> {
        /// From 0; absent where there is one.
        index: u64 = b"index",
        content: Content<'a> = b"content",
        finish_reason: Quoted<'a> = b"finishReason",
        finish_message: Quoted<'a> = b"finishMessage",
        logprobs_result: LogprobsResult<'a> = b"logprobsResult",
    }
}

impl<'a> Candidate<'a> {
    /// How it ended; `None` where it goes on.
    pub(super) fn end(&self) -> Option<End> {
        let reason = self.finish_reason?.decode()?;
        let message = self.finish_message.and_then(Quoted::decode);
        Some(End::of(&reason, message.as_deref()))
    }

    /// What is said, in order.
    pub(super) fn parts(&self) -> impl Iterator<Item = &Part<'a>> {
        Few::iter(self.content.as_ref().and_then(|it| it.parts.as_ref()))
    }

    /// How likely the tokens were.
    pub(super) fn logprobs(&self) -> Vec<Logprob> {
        let result = self.logprobs_result.as_ref();
        result.map_or_else(Vec::new, LogprobsResult::tokens)
    }
}

/// How a candidate ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Complete,
    /// The model made something that is no answer: what, and Google's words about it.
    Failed(String),
    Filtered,
    Length,
    /// Another word.
    Other(String),
}

impl End {
    /// Source: <https://ai.google.dev/api/generate-content#FinishReason>, read 2026-11-21.
    fn of(reason: &str, message: Option<&str>) -> Self {
        match reason {
            "STOP" => Self::Complete,
            "CONTINUATION" | "MAX_TOKENS" => Self::Length,
            "BLOCKLIST"
            | "ESCALATION"
            | "IMAGE_PROHIBITED_CONTENT"
            | "IMAGE_RECITATION"
            | "IMAGE_SAFETY"
            | "LANGUAGE"
            | "MODEL_ARMOR"
            | "PROHIBITED_CONTENT"
            | "PUP_LIMITED_DISABLED"
            | "RECITATION"
            | "SAFETY"
            | "SPII" => Self::Filtered,
            "MALFORMED_FUNCTION_CALL"
            | "MALFORMED_RESPONSE"
            | "MISSING_THOUGHT_SIGNATURE"
            | "TOO_MANY_TOOL_CALLS"
            | "UNEXPECTED_TOOL_CALL" => Self::Failed(match message {
                Some(message) => format!("{reason}: {message}"),
                None => reason.to_owned(),
            }),
            other => Self::Other(other.to_owned()),
        }
    }

    pub(super) fn stop_reason(self, has_calls: bool) -> StopReason {
        match self {
            Self::Complete if has_calls => StopReason::ToolCalls,
            Self::Complete => StopReason::Stop,
            Self::Failed(word) | Self::Other(word) => StopReason::Other(word),
            Self::Filtered => StopReason::ContentFilter,
            Self::Length => StopReason::Length,
        }
    }
}

object! {
    /// How likely the tokens were.
    ///
    /// Source: <https://ai.google.dev/api/generate-content#LogprobsResult>, read 2026-11-21.
    ///
    /// Shape: `chosenCandidates[i]` is the `i`th token, `topCandidates[i].candidates` the likeliest in
    /// its place.
    pub(super) LogprobsResult<'a> {
        chosen: Vec<Token<'a>> = b"chosenCandidates",
        top: Vec<TopCandidates<'a>> = b"topCandidates",
    }
}

object! {
    pub(super) TopCandidates<'a> {
        candidates: Vec<Token<'a>> = b"candidates",
    }
}

object! {
    pub(super) Token<'a> {
        token: Quoted<'a> = b"token",
        /// 0 is left out.
        log_probability: f64 = b"logProbability",
    }
}

impl LogprobsResult<'_> {
    fn tokens(&self) -> Vec<Logprob> {
        let mut top = self.top.iter().flatten();
        let chosen = self.chosen.iter().flatten();
        chosen
            .map(|chosen| {
                let likeliest = top.next().and_then(|top| top.candidates.as_ref());
                let (token, logprob) = chosen.told();
                Logprob {
                    token,
                    logprob,
                    top: likeliest.into_iter().flatten().map(Token::told).collect(),
                }
            })
            .collect()
    }
}

impl Token<'_> {
    fn told(&self) -> (String, f64) {
        let token = said(self.token).into_owned();
        (token, self.log_probability.unwrap_or_default())
    }
}

object! {
    pub(super) Content<'a> {
        parts: Few<Part<'a>> = b"parts",
    }
}

object! {
    #[derive(Clone, Copy)]
    pub(super) Part<'a> {
        text: Quoted<'a> = b"text",
        thought: bool = b"thought",
        thought_signature: Quoted<'a> = b"thoughtSignature",
        function_call: FunctionCall<'a> = b"functionCall",
        inline_data: Blob<'a> = b"inlineData",
    }
}

object! {
    #[derive(Clone, Copy)]
    pub(super) FunctionCall<'a> {
        id: Quoted<'a> = b"id",
        name: Quoted<'a> = b"name",
        args: &'a RawValue = b"args",
    }
}

object! {
    #[derive(Clone, Copy)]
    pub(super) Blob<'a> {
        mime_type: Quoted<'a> = b"mimeType",
        data: Quoted<'a> = b"data",
    }
}

/// What a part says. Texts are not empty.
pub(super) enum Said<'p> {
    Call(ReplyCall<'p>),
    Reasoning(&'p str),
    /// With [`SIGNATURE_PREFIX`].
    Signature(String),
    Text(&'p str),
}

impl Part<'_> {
    pub(super) fn say(&self, say: &mut dyn FnMut(Said<'_>)) -> Result<(), BrokenReply> {
        let signature = self.thought_signature.map(text).transpose()?;
        if let Some(call) = &self.function_call {
            let Some(name) = call.name else {
                return Err(BrokenReply("a call has no name".to_owned()));
            };
            say(Said::Call(ReplyCall {
                id: said(call.id),
                name: text(name)?,
                arguments: call
                    .args
                    .map_or(Cow::Borrowed("{}"), |args| Cow::Owned(compact(args))),
                signature,
            }));
            return Ok(());
        }
        if let Some(words) = self.text.filter(|words| !words.text().is_empty()) {
            let words = text(words)?;
            say(match self.thought {
                Some(true) => Said::Reasoning(&words),
                Some(false) | None => Said::Text(&words),
            });
        }
        if let Some(blob) = &self.inline_data {
            let (Some(mime_type), Some(data)) = (blob.mime_type, blob.data) else {
                return Err(BrokenReply("data lacks its type, or itself".to_owned()));
            };
            let (mime_type, data) = (text(mime_type)?, text(data)?);
            // OpenAI has no place for a picture in a message: Markdown has.
            let mark = if mime_type.starts_with("image/") {
                "!"
            } else {
                ""
            };
            say(Said::Text(&format!(
                "{mark}[{mime_type}](data:{mime_type};base64,{data})"
            )));
        }
        if let Some(signature) = signature {
            say(Said::Signature(format!("{SIGNATURE_PREFIX}{signature}")));
        }
        Ok(())
    }
}

/// What is said with these characters.
fn text(words: Quoted<'_>) -> Result<Cow<'_, str>, BrokenReply> {
    words
        .decode()
        .ok_or_else(|| BrokenReply("half of a surrogate pair is no character".to_owned()))
}

/// The same JSON without the white space between its tokens: Google indents.
fn compact(json: &RawValue) -> String {
    let mut is_text = false;
    let mut is_escaped = false;
    json.get()
        .chars()
        .filter(|c| {
            if is_text {
                is_text = is_escaped || *c != '"';
                is_escaped = *c == '\\' && !is_escaped;
                return true;
            }
            is_text = *c == '"';
            !c.is_ascii_whitespace()
        })
        .collect()
}
