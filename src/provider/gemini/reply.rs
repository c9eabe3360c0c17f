//! A GenerateContentResponse, whole or as one event of a stream.
//!
//! Source: <https://ai.google.dev/api/generate-content#generatecontentresponse>, read 2026-11-21.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::SIGNATURE_PREFIX;
use super::error::GoogleError;
use crate::chat::{Choice, Logprob, Reply, StopReason, ToolCall};
use crate::json::Text;
use crate::provider::dialect::BrokenReply;
use crate::usage::Usage;

/// See [`crate::provider::dialect::Dialect::decode`].
pub(super) fn decode(body: &[u8]) -> Result<Reply, BrokenReply> {
    let text = std::str::from_utf8(body).map_err(|_| BrokenReply("it is not UTF-8".to_owned()))?;
    let response = match Message::read(text)? {
        Message::Error(error) => return Err(BrokenReply(error.client_message(500))),
        Message::Response(response) => response,
    };
    let mut candidates: Vec<_> = (0..)
        .zip(response.candidates)
        .map(|(position, candidate)| (candidate.index.unwrap_or(position), candidate))
        .collect();
    candidates.sort_by_key(|(index, _)| *index);
    let mut choices = Vec::with_capacity(candidates.len());
    for (_, candidate) in candidates {
        let end = candidate.end();
        // The other candidates may be whole; that one is not would go unseen.
        if let Some(End::Failed(word)) = end {
            return Err(BrokenReply(format!("the model failed with {word}")));
        }
        choices.push(Choice {
            logprobs: candidate
                .logprobs_result
                .map_or_else(Vec::new, LogprobsResult::tokens),
            ..choice(candidate.content, end)
        });
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
        id: response.response_id.0.into_owned(),
        model: response.model_version.0.into_owned(),
        choices,
        usage: response
            .usage_metadata
            .map(UsageMetadata::usage)
            .unwrap_or_default(),
    })
}

fn choice(content: Option<Content<'_>>, end: Option<End>) -> Choice {
    let mut text = None;
    let mut reasoning = None;
    let mut reasoning_signature = None;
    let mut tool_calls = Vec::new();
    for part in content.into_iter().flat_map(|content| content.parts) {
        part.say(|said| match said {
            Said::Call(call) => tool_calls.push(call),
            Said::Reasoning(more) => append(&mut reasoning, more),
            Said::Signature(signature) => reasoning_signature = Some(signature),
            Said::Text(more) => append(&mut text, more),
        });
    }
    let stop = end
        .unwrap_or(End::Complete)
        .stop_reason(!tool_calls.is_empty());
    if text.is_none() && tool_calls.is_empty() && stop != StopReason::ContentFilter {
        text = Some(String::new());
    }
    Choice {
        content: text,
        reasoning,
        reasoning_signature,
        refusal: None,
        tool_calls,
        logprobs: Vec::new(),
        stop,
    }
}

fn append(text: &mut Option<String>, more: String) {
    match text {
        Some(text) => text.push_str(&more),
        None => *text = Some(more),
    }
}

// === impl Message ===

/// What stands in a body, or in an event.
#[allow(
    clippy::large_enum_variant,
    reason = "it is taken apart where it is made"
)]
pub(super) enum Message<'a> {
    Error(GoogleError),
    Response(Response<'a>),
}

impl<'a> Message<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, BrokenReply> {
        let text = text.trim_ascii_start();
        let broken = |error: serde_json::Error| BrokenReply(error.to_string());
        if !text.starts_with('{') {
            // An error is wrapped in a list now and then; nothing else is.
            return GoogleError::read(text.as_bytes())
                .map(Self::Error)
                .ok_or_else(|| BrokenReply("it is not a JSON object".to_owned()));
        }
        let response: Response<'_> = serde_json::from_str(text).map_err(broken)?;
        Ok(match response.error.as_ref().and_then(GoogleError::of) {
            Some(error) => Self::Error(error),
            None => Self::Response(response),
        })
    }
}

/// Shape: as Google's; unknown members are passed over.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Response<'a> {
    #[serde(borrow, default)]
    pub candidates: Vec<Candidate<'a>>,
    pub prompt_feedback: Option<PromptFeedback>,
    pub usage_metadata: Option<UsageMetadata>,
    /// Empty: none.
    #[serde(borrow, default)]
    pub response_id: Text<'a>,
    /// Empty: none.
    #[serde(borrow, default)]
    pub model_version: Text<'a>,
    error: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PromptFeedback {
    block_reason: Option<String>,
    block_reason_message: Option<String>,
}

impl PromptFeedback {
    /// Why nothing is answered; `None` where the prompt was let through.
    pub(super) fn blocked(self) -> Option<String> {
        let reason = self.block_reason?;
        let message = self.block_reason_message.filter(|it| !it.is_empty());
        Some(message.unwrap_or_else(|| format!("the prompt was blocked: {reason}")))
    }
}

/// Unit: tokens.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsageMetadata {
    prompt_token_count: Option<u64>,
    candidates_token_count: Option<u64>,
    thoughts_token_count: Option<u64>,
    tool_use_prompt_token_count: Option<u64>,
    cached_content_token_count: Option<u64>,
    total_token_count: Option<u64>,
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Candidate<'a> {
    /// From 0; absent where there is one.
    pub index: Option<u64>,
    #[serde(borrow)]
    pub content: Option<Content<'a>>,
    finish_reason: Option<String>,
    finish_message: Option<String>,
    pub logprobs_result: Option<LogprobsResult>,
}

impl Candidate<'_> {
    /// How it ended; `None` where it goes on.
    pub(super) fn end(&self) -> Option<End> {
        let reason = self.finish_reason.as_deref()?;
        Some(End::of(reason, self.finish_message.as_deref()))
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

/// How likely the tokens were.
///
/// Source: <https://ai.google.dev/api/generate-content#LogprobsResult>, read 2026-11-21.
///
/// Shape: `chosenCandidates[i]` is the `i`th token, `topCandidates[i].candidates` the likeliest in
/// its place.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogprobsResult {
    #[serde(default)]
    chosen_candidates: Vec<Token>,
    #[serde(default)]
    top_candidates: Vec<TopCandidates>,
}

#[derive(Default, Deserialize)]
struct TopCandidates {
    #[serde(default)]
    candidates: Vec<Token>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Token {
    #[serde(default)]
    token: String,
    /// 0 is left out.
    #[serde(default)]
    log_probability: f64,
}

impl LogprobsResult {
    pub(super) fn tokens(self) -> Vec<Logprob> {
        let mut top = self.top_candidates.into_iter();
        let chosen = self.chosen_candidates.into_iter();
        chosen
            .map(|chosen| Logprob {
                token: chosen.token,
                logprob: chosen.log_probability,
                top: top
                    .next()
                    .unwrap_or_default()
                    .candidates
                    .into_iter()
                    .map(|it| (it.token, it.log_probability))
                    .collect(),
            })
            .collect()
    }
}

#[derive(Deserialize)]
pub(super) struct Content<'a> {
    #[serde(borrow, default)]
    pub parts: Vec<Part<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Part<'a> {
    text: Option<String>,
    #[serde(default)]
    thought: bool,
    thought_signature: Option<String>,
    #[serde(borrow)]
    function_call: Option<FunctionCall<'a>>,
    inline_data: Option<Blob>,
}

/// What a part says. Texts are not empty.
pub(super) enum Said {
    Call(ToolCall<'static>),
    Reasoning(String),
    /// With [`SIGNATURE_PREFIX`].
    Signature(String),
    Text(String),
}

impl Part<'_> {
    pub(super) fn say(self, mut say: impl FnMut(Said)) {
        if let Some(call) = self.function_call {
            return say(Said::Call(ToolCall {
                id: Cow::Owned(call.id),
                name: Cow::Owned(call.name),
                arguments: Cow::Owned(call.args.map_or_else(|| "{}".to_owned(), compact)),
                signature: self.thought_signature.map(Cow::Owned),
            }));
        }
        if let Some(text) = self.text.filter(|text| !text.is_empty()) {
            say(match self.thought {
                true => Said::Reasoning(text),
                false => Said::Text(text),
            });
        }
        if let Some(Blob { mime_type, data }) = self.inline_data {
            // OpenAI has no place for a picture in a message: Markdown has.
            let mark = if mime_type.starts_with("image/") {
                "!"
            } else {
                ""
            };
            say(Said::Text(format!(
                "{mark}[{mime_type}](data:{mime_type};base64,{data})"
            )));
        }
        if let Some(signature) = self.thought_signature {
            say(Said::Signature(format!("{SIGNATURE_PREFIX}{signature}")));
        }
    }
}

#[derive(Deserialize)]
struct FunctionCall<'a> {
    /// Empty: none.
    #[serde(default)]
    id: String,
    name: String,
    #[serde(borrow)]
    args: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Blob {
    mime_type: String,
    data: String,
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
