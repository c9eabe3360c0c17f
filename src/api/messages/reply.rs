//! Writing a whole reply.

use std::convert::Infallible;

use super::{CALL_SIGNATURE, MAX_NAME_BYTES, call_id, reply_id};
use crate::api::Stamp;
use crate::api::prose;
use crate::chat::tape::Kind;
use crate::chat::{CallStyle, Choice, Input, Reply, StopReason, ToolCall};
use crate::json::{self, Ignored, Piece, Quoted, Raw, TooLong, Unwritten, Writer};
use crate::usage::Usage;

/// A reply as a `message`. `model` is what it is called where the provider does not say, `length` that of
/// the provider's reply. Unit of `length` and `limit`: bytes.
///
/// The API has one answer: the first choice.
///
/// # Errors
///
/// When it would be longer than `limit`.
pub(super) fn write_within(
    reply: &Reply<'_>,
    model: &str,
    stamp: Stamp,
    length: usize,
    limit: usize,
) -> Result<Vec<u8>, TooLong> {
    let written = json::write_within(length + MAX_USUAL_HEAD_BYTES, limit, &mut |json| {
        write(json, reply, model, stamp);
        Ok::<_, Infallible>(())
    });
    match written {
        Ok(((), body)) => Ok(body),
        Err(Unwritten::TooLong(long)) => Err(long),
    }
}

/// What mostly stands around the texts of a reply. Unit: bytes.
const MAX_USUAL_HEAD_BYTES: usize = 1024;

fn write(json: &mut Writer, reply: &Reply<'_>, model: &str, stamp: Stamp) {
    let choice = reply.choices.iter().next();
    json.object(|json| {
        head(json, &reply.id, &reply.model, model, stamp);
        json.key("content").array(|json| {
            if let Some(choice) = choice {
                content(json, choice, reply, stamp);
            }
            if let Some(refusal) = &reply.refusal {
                text_block(json, |json| json.piece(Piece::Plain(refusal)));
            }
        });
        let stop = choice.map_or(StopReason::Stop, |it| it.stop);
        let has_refusal = reply.refusal.is_some() && stop == StopReason::Stop;
        json.key("stop_reason").string(match has_refusal {
            true => stop_reason(StopReason::ContentFilter),
            false => stop_reason(stop),
        });
        json.key("stop_sequence").null();
        usage(json.key("usage"), &reply.usage);
    });
}

/// The members of a message before its content. `model` is what it is called where `told` is empty.
pub(super) fn head(json: &mut Writer, id: &str, told: &str, model: &str, stamp: Stamp) {
    json.key("id").string(&reply_id(id, stamp));
    json.key("type").string("message");
    json.key("role").string("assistant");
    json.key("model").string(match told.len() {
        1..=MAX_NAME_BYTES => told,
        _ => model,
    });
}

fn content(json: &mut Writer, choice: Choice<'_>, reply: &Reply<'_>, stamp: Stamp) {
    let thoughts = || {
        let entries = choice.entries();
        entries.filter(|(kind, text)| *kind == Kind::Reasoning && !text.is_empty())
    };
    if thoughts().next().is_some() {
        json.object(|json| {
            json.key("type").string("thinking");
            json.key("thinking").open_string();
            thoughts().for_each(|(_, text)| json.piece(Piece::Quoted(Quoted::checked(text))));
            json.close_string();
            let mut has_signature = false;
            (reply.write_signature)(json, choice, &mut |json| {
                has_signature = true;
                json.key("signature");
            });
            if !has_signature {
                json.key("signature").string("");
            }
        });
    }
    let is_said = |(kind, text): (Kind, &[u8])| match kind {
        Kind::Text => !text.is_empty(),
        Kind::MediaData => true,
        _ => false,
    };
    if choice.entries().any(is_said) {
        text_block(json, |json| prose::write(json, choice));
    }
    let count = match stamp.calls {
        CallStyle::All => usize::MAX,
        CallStyle::First | CallStyle::Function => 1,
    };
    for (index, call) in (0..).zip(choice.tool_calls().iter().take(count)) {
        tool_use(json, &call, index, stamp);
    }
}

fn text_block(json: &mut Writer, text: impl FnOnce(&mut Writer)) {
    json.object(|json| {
        json.key("type").string("text");
        json.key("text").open_string();
        text(json);
        json.close_string();
    });
}

fn tool_use(json: &mut Writer, call: &ToolCall<'_>, index: u64, stamp: Stamp) {
    if let Some(signature) = call.signature {
        json.object(|json| {
            json.key("type").string("redacted_thinking");
            json.key("data").string_pieces(&[
                Piece::Plain(CALL_SIGNATURE),
                Piece::Quoted(signature.quoted()),
            ]);
        });
    }
    json.object(|json| {
        json.key("type").string("tool_use");
        json.key("id");
        match call.id.is_empty() {
            true => json.string(&call_id(stamp, index)),
            false => json.quoted(call.id),
        }
        json.key("name").quoted(call.name);
        json.key("input");
        match call.input {
            Some(Input::Plain(input) | Input::Spaced(input)) => json.raw(Raw::get(input)),
            None => input(json, &call.arguments()),
        }
    });
}

/// The arguments of a call that came as text. What is no object the API cannot say: a client gets it as
/// the text that it is.
fn input(json: &mut Writer, arguments: &str) {
    let text = arguments.trim();
    let is_object = text.starts_with('{') && json::read::<Ignored>(text.as_bytes()).is_ok();
    match (text, is_object) {
        ("", _) => json.raw("{}"),
        (text, true) => json.raw(text),
        (text, false) => json.object(|json| json.key("arguments").string(text)),
    }
}

/// <https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons>, read 2026-11-21.
pub(super) fn stop_reason(stop: StopReason<'_>) -> &'static str {
    match stop {
        StopReason::ContentFilter => "refusal",
        StopReason::Length => "max_tokens",
        StopReason::ToolCalls => "tool_use",
        StopReason::Stop | StopReason::Other(_) => "end_turn",
    }
}

/// > Total input tokens in a request is the summation of `input_tokens`,
/// > `cache_creation_input_tokens`, and `cache_read_input_tokens`.
pub(super) fn usage(json: &mut Writer, usage: &Usage) {
    let read = usage.cached.unwrap_or_default();
    let written = usage.cache_written.unwrap_or_default();
    let prompt = usage.prompt.unwrap_or_default();
    json.object(|json| {
        json.key("input_tokens")
            .number(prompt.saturating_sub(read).saturating_sub(written));
        json.key("cache_creation_input_tokens").number(written);
        json.key("cache_read_input_tokens").number(read);
        json.key("output_tokens")
            .number(usage.completion.unwrap_or_default());
    });
}
