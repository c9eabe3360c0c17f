//! A GenerateContentResponse, whole or as one event of a stream.
//!
//! Source: <https://ai.google.dev/api/generate-content#generatecontentresponse>, read 2026-11-21.

use std::borrow::Cow;

use super::SIGNATURE_PREFIX;
use super::error::{GoogleError, OrElse};
use super::grounding::{GroundingMetadata, Places};
use crate::chat::citations::Citations;
use crate::chat::tape::{Kind, MAX_TEXT_BYTES, Tape};
use crate::chat::{Choice, Choices, Reply, StopReason};
use crate::failure::MAX_MESSAGE_CHARS;
use crate::json::{self, Items, Piece, Quoted, Raw, Read, Reader, Text, Unread, Writer, object};
use crate::provider::dialect::BrokenReply;
use crate::sorted;
use crate::usage::Usage;

/// See [`crate::provider::dialect::Dialect::decode`].
pub(super) fn decode(body: &[u8]) -> Result<Reply<'_>, BrokenReply> {
    if body.len() > MAX_TEXT_BYTES {
        return Err(BrokenReply(format!(
            "it is larger than {MAX_TEXT_BYTES} bytes"
        )));
    }
    let mut place = None;
    let response = match Message::read(body, &mut place)? {
        Message::Error(error) => return Err(BrokenReply(error.client_message(500))),
        Message::Response(response) => response,
    };
    let mut candidates = Vec::new();
    for candidate in response.candidates() {
        if candidates.len() >= MAX_CANDIDATES {
            return Err(too_many_candidates());
        }
        candidates.push(candidate);
    }
    sorted::sort_by_key(&mut candidates, |(index, _)| *index);
    let mut tape = Tape::new(body);
    let mut annotations = Vec::new();
    for (index, (_, candidate)) in (0..).zip(&candidates) {
        let end = candidate.end();
        // The other candidates may be whole; that one is not would go unseen.
        if let Some(End::Failed(word)) = end {
            return Err(BrokenReply(format!("the model failed with {word}")));
        }
        choice(&mut tape, candidate, end.unwrap_or(End::Complete))?;
        if let Some(cited) = candidate.citations() {
            annotations.push((index, cited));
        }
    }
    let mut refusal = None;
    if candidates.is_empty() {
        refusal = response.prompt_feedback.and_then(PromptFeedback::blocked);
        if refusal.is_none() {
            return Err(BrokenReply("it has no candidates".to_owned()));
        }
        tape.push(Kind::ChoiceFiltered, b"");
    }
    Ok(Reply {
        id: said(response.response_id),
        model: said(response.model_version),
        choices: Choices(tape),
        refusal,
        annotations,
        write_signature,
        usage: response
            .usage_metadata
            .map(UsageMetadata::usage)
            .unwrap_or_default(),
    })
}

/// More than any reply has.
pub(super) const MAX_CANDIDATES: usize = 128;

pub(super) fn too_many_candidates() -> BrokenReply {
    BrokenReply(format!("it has more than {MAX_CANDIDATES} candidates"))
}

/// Notes what a candidate says.
fn choice<'a>(
    tape: &mut Tape<'a>,
    candidate: &Candidate<'a>,
    end: End<'a>,
) -> Result<(), BrokenReply> {
    let head = tape.len();
    tape.push(Kind::ChoiceStop, b"");
    let (mut has_text, mut has_calls) = (false, false);
    for part in candidate.parts() {
        part.note(tape)?;
        has_calls |= part.function_call.is_some();
        has_text |= part.says_text();
    }
    if let Some(result) = &candidate.logprobs_result {
        result.note(tape);
    }
    let (kind, word): (_, &[u8]) = match end.stop_reason(has_calls) {
        StopReason::ContentFilter => (Kind::ChoiceFiltered, b""),
        StopReason::Length => (Kind::ChoiceLength, b""),
        StopReason::Other(word) => (Kind::ChoiceOther, word.quoted().text()),
        StopReason::Stop => (Kind::ChoiceStop, b""),
        StopReason::ToolCalls => (Kind::ChoiceCalls, b""),
    };
    if !has_text && !has_calls && kind != Kind::ChoiceFiltered {
        tape.push(Kind::Text, b"");
    }
    tape.replace(head, kind, word);
    Ok(())
}

/// The signature of the text: two in a row are not one, so the last one counts.
fn write_signature(json: &mut Writer, choice: Choice<'_>, key: &mut dyn FnMut(&mut Writer)) {
    let signatures = choice.entries();
    let mut signatures = signatures.filter(|(kind, _)| *kind == Kind::TextSignature);
    if let Some((_, signature)) = signatures.by_ref().last() {
        key(json);
        json.string_pieces(&[
            Piece::Plain(SIGNATURE_PREFIX),
            Piece::Quoted(Quoted::checked(signature)),
        ]);
    }
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
        Ok(match response.error.take().and_then(|error| error.0) {
            Some(error) => Self::Error(error),
            None => Self::Response(response),
        })
    }
}

object! {
    /// Shape: as Google's; unknown members are passed over.
    pub(super) Response<'a> {
        candidates: Few<'a, Candidate<'a>> = b"candidates",
        prompt_feedback: PromptFeedback<'a> = b"promptFeedback",
        usage_metadata: UsageMetadata = b"usageMetadata",
        response_id: Quoted<'a> = b"responseId",
        model_version: Quoted<'a> = b"modelVersion",
        error: OrElse<GoogleError> = b"error",
    }
}

impl<'a> Response<'a> {
    /// With their indexes, from 0.
    pub(super) fn candidates(&self) -> impl Iterator<Item = (u64, Candidate<'a>)> {
        let candidates = (0..).zip(Few::iter(self.candidates.as_ref()));
        candidates.map(|(position, candidate)| (candidate.index.unwrap_or(position), candidate))
    }

    /// The text of the one candidate, and its index, where nothing else is said but maybe the usage.
    pub(super) fn only_text(&self) -> Option<(u64, Text<'a>)> {
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
            || candidate.grounding.is_some()
            || part.thought.is_some()
            || part.thought_signature.is_some()
            || part.function_call.is_some()
            || part.inline_data.is_some();
        part.text.filter(|_| !says_more).map(|text| (index, text))
    }
}

/// A list that mostly has one item, which is read once. The others are read whenever they are needed:
/// they take no memory, however many there are.
#[derive(Clone, Debug, Default)]
pub(super) struct Few<'a, T> {
    first: Option<T>,
    others: Items<'a, T>,
}

impl<'a, T: Read<'a> + Default> Read<'a> for Few<'a, T> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unread> {
        let mut place = None;
        Self::read_into(&mut place, reader)?;
        Ok(place.unwrap_or_default())
    }

    fn read_into(place: &mut Option<Self>, reader: &mut Reader<'a>) -> Result<(), Unread> {
        let few = place.insert(Self::default());
        reader.array(&mut |reader| match few.first {
            None => T::read_into(&mut few.first, reader),
            Some(_) => few.others.check(reader),
        })
    }
}

impl<'a, T: Read<'a> + Clone> Few<'a, T> {
    /// In order.
    pub(super) fn iter(this: Option<&Self>) -> impl Iterator<Item = T> {
        let first = this.and_then(|few| few.first.clone());
        let others = this.map(|few| few.others.iter());
        first.into_iter().chain(others.into_iter().flatten())
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
        let message = match message.is_empty() {
            true => format!("the prompt was blocked: {reason}"),
            false => message.into_owned(),
        };
        Some(message.chars().take(MAX_MESSAGE_CHARS).collect())
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
    #[derive(Clone)]
    pub(super) Candidate<'a> {
        /// From 0; absent where there is one.
        index: u64 = b"index",
        content: Content<'a> = b"content",
        finish_reason: Text<'a> = b"finishReason",
        finish_message: Quoted<'a> = b"finishMessage",
        logprobs_result: LogprobsResult<'a> = b"logprobsResult",
        grounding: GroundingMetadata<'a> = b"groundingMetadata",
    }
}

impl<'a> Candidate<'a> {
    /// How it ended; `None` where it goes on.
    pub(super) fn end(&self) -> Option<End<'a>> {
        let message = self.finish_message.and_then(Quoted::decode);
        Some(End::of(self.finish_reason?, message.as_deref()))
    }

    /// What is said, in order.
    pub(super) fn parts(&self) -> impl Iterator<Item = Part<'a>> {
        Few::iter(self.content.as_ref().and_then(|it| it.parts.as_ref()))
    }

    /// The pages that its text cites, where it cites any.
    fn citations(&self) -> Option<Citations> {
        let grounding = self.grounding.as_ref()?;
        let mut places = Places::default();
        for part in self.parts() {
            places.begin_part();
            // What is broken has been found before.
            let _broken = part.say(&mut |said| {
                if let Said::Text(text) = said {
                    places.push(text);
                }
            });
        }
        let mut citations = Citations::default();
        places.annotations(grounding, &mut citations);
        (!citations.is_empty()).then_some(citations)
    }
}

/// How a candidate ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End<'a> {
    Complete,
    /// The model made something that is no answer: what, and Google's words about it.
    Failed(String),
    Filtered,
    Length,
    /// Another word.
    Other(Text<'a>),
}

impl<'a> End<'a> {
    /// Source: <https://ai.google.dev/api/generate-content#FinishReason>, read 2026-11-21.
    fn of(word: Text<'a>, message: Option<&str>) -> Self {
        let reason = word.decode();
        match &*reason {
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
                Some(message) => {
                    let message: String = message.chars().take(MAX_MESSAGE_CHARS).collect();
                    format!("{reason}: {message}")
                }
                None => reason.into_owned(),
            }),
            _ => Self::Other(word),
        }
    }

    pub(super) fn stop_reason(&self, has_calls: bool) -> StopReason<'a> {
        match self {
            Self::Complete if has_calls => StopReason::ToolCalls,
            // What has failed is told before.
            Self::Complete | Self::Failed(_) => StopReason::Stop,
            Self::Other(word) => StopReason::Other(*word),
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
    #[derive(Clone)]
    pub(super) LogprobsResult<'a> {
        chosen: Items<'a, Token<'a>> = b"chosenCandidates",
        top: Items<'a, TopCandidates<'a>> = b"topCandidates",
    }
}

object! {
    pub(super) TopCandidates<'a> {
        candidates: Items<'a, Token<'a>> = b"candidates",
    }
}

object! {
    pub(super) Token<'a> {
        token: Text<'a> = b"token",
        /// 0 is left out.
        log_probability: Number<'a> = b"logProbability",
    }
}

/// A number of 64 bits, as it is written.
#[derive(Debug)]
pub(super) struct Number<'a>(Raw<'a>);

impl<'a> Read<'a> for Number<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unread> {
        reader.clone().value::<f64>()?;
        reader.value().map(Self)
    }
}

impl<'a> LogprobsResult<'a> {
    /// Notes the tokens, each with those in its place behind it.
    pub(super) fn note(&self, tape: &mut Tape<'a>) {
        let mut top = self.top.iter().flat_map(Items::iter);
        for chosen in self.chosen.iter().flat_map(Items::iter) {
            chosen.note(Kind::Token, tape);
            let likeliest = top.next().and_then(|top| top.candidates);
            for token in likeliest.iter().flat_map(Items::iter) {
                token.note(Kind::TopToken, tape);
            }
        }
    }
}

impl<'a> Token<'a> {
    fn note(&self, kind: Kind, tape: &mut Tape<'a>) {
        tape.push(kind, self.token.unwrap_or_default().quoted().text());
        if let Some(Number(number)) = &self.log_probability {
            tape.push(Kind::Logprob, number.bytes());
        }
    }
}

object! {
    #[derive(Clone)]
    pub(super) Content<'a> {
        parts: Few<'a, Part<'a>> = b"parts",
    }
}

object! {
    #[derive(Clone, Copy)]
    pub(super) Part<'a> {
        text: Text<'a> = b"text",
        thought: bool = b"thought",
        thought_signature: Text<'a> = b"thoughtSignature",
        function_call: FunctionCall<'a> = b"functionCall",
        inline_data: Blob<'a> = b"inlineData",
    }
}

object! {
    #[derive(Clone, Copy)]
    pub(super) FunctionCall<'a> {
        id: Text<'a> = b"id",
        name: Text<'a> = b"name",
        args: Raw<'a> = b"args",
    }
}

object! {
    #[derive(Clone, Copy)]
    pub(super) Blob<'a> {
        mime_type: Text<'a> = b"mimeType",
        data: Text<'a> = b"data",
    }
}

/// What a part says. Texts are not empty.
pub(super) enum Said<'p> {
    Call {
        id: Cow<'p, str>,
        name: Cow<'p, str>,
        arguments: String,
        signature: Option<Cow<'p, str>>,
    },
    Reasoning(&'p str),
    /// With [`SIGNATURE_PREFIX`].
    Signature(String),
    Text(&'p str),
}

impl<'a> Part<'a> {
    /// Whether there is text, or a picture, that is no thinking.
    fn says_text(&self) -> bool {
        let has_text = self.text.is_some_and(|text| !text.is_empty());
        let is_thought = self.thought == Some(true);
        self.function_call.is_none() && (has_text && !is_thought || self.inline_data.is_some())
    }

    /// Notes what it says.
    fn note(&self, tape: &mut Tape<'a>) -> Result<(), BrokenReply> {
        let mut push = |kind: Kind, text: Text<'_>| tape.push(kind, text.quoted().text());
        if let Some(call) = &self.function_call {
            push(Kind::Call, call.id.unwrap_or_default());
            push(Kind::CallName, call.name()?);
            if let Some(signature) = self.thought_signature {
                push(Kind::CallSignature, signature);
            }
            if let Some(args) = call.args {
                tape.push(Kind::CallInputSpaced, args.bytes());
            }
            return Ok(());
        }
        if let Some(text) = self.text.filter(|text| !text.is_empty()) {
            let kind = match self.thought {
                Some(true) => Kind::Reasoning,
                Some(false) | None => Kind::Text,
            };
            push(kind, text);
        }
        if let Some(blob) = &self.inline_data {
            let (mime_type, data) = blob.both()?;
            push(Kind::Media, mime_type);
            push(Kind::MediaData, data);
        }
        if let Some(signature) = self.thought_signature {
            push(Kind::TextSignature, signature);
        }
        Ok(())
    }

    /// Says the same at once.
    pub(super) fn say(&self, say: &mut dyn FnMut(Said<'_>)) -> Result<(), BrokenReply> {
        let signature = self.thought_signature.map(Text::decode);
        if let Some(call) = &self.function_call {
            let name = call.name()?.decode();
            let mut arguments = String::new();
            match call.args {
                None => arguments.push_str("{}"),
                Some(args) => {
                    arguments.reserve_exact(args.bytes().len());
                    args.without_space(&mut |piece| arguments.push_str(piece));
                }
            }
            say(Said::Call {
                id: call.id.unwrap_or_default().decode(),
                name,
                arguments,
                signature,
            });
            return Ok(());
        }
        if let Some(words) = self.text.filter(|words| !words.is_empty()) {
            let words = words.decode();
            say(match self.thought {
                Some(true) => Said::Reasoning(&words),
                Some(false) | None => Said::Text(&words),
            });
        }
        if let Some(blob) = &self.inline_data {
            let (mime_type, data) = blob.both()?;
            let (mime_type, data) = (mime_type.decode(), data.decode());
            // OpenAI has no place for a picture in a message: Markdown has.
            let mark = if mime_type.starts_with("image/") {
                "!"
            } else {
                ""
            };
            say(Said::Text(
                &[
                    mark, "[", &mime_type, "](data:", &mime_type, ";base64,", &data, ")",
                ]
                .concat(),
            ));
        }
        if let Some(signature) = signature {
            say(Said::Signature([SIGNATURE_PREFIX, &signature].concat()));
        }
        Ok(())
    }
}

impl<'a> FunctionCall<'a> {
    fn name(&self) -> Result<Text<'a>, BrokenReply> {
        let nameless = || BrokenReply("a call has no name".to_owned());
        self.name.ok_or_else(nameless)
    }
}

impl<'a> Blob<'a> {
    /// The media type, and the data.
    fn both(&self) -> Result<(Text<'a>, Text<'a>), BrokenReply> {
        let both = self.mime_type.zip(self.data);
        both.ok_or_else(|| BrokenReply("data lacks its type, or itself".to_owned()))
    }
}
