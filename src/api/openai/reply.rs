//! Writing a whole reply.

use std::convert::Infallible;

use super::custom;
use crate::api::Stamp;
use crate::api::prose;
use crate::chat::tape::Kind;
use crate::chat::{
    Annotation, CallStyle, Choice, Input, Logprob, Logprobs, Reply, StopReason, ToolCall,
};
use crate::json::{self, Piece, Quoted, TooLong, Unwritten, Writer};
use crate::usage::Usage;

impl Stamp {
    /// `id`, or one that is made where it is empty, or too long to stand in every chunk.
    pub(super) fn reply_id(self, id: &str) -> String {
        if id.is_empty() || id.len() > MAX_NAME_BYTES {
            return format!("chatcmpl-{:016x}", self.nonce);
        }
        id.to_owned()
    }

    /// `id`, or one that is made where it is empty: of the `index`th call of a choice.
    pub(super) fn call_id(self, id: &str, choice: u64, index: u64) -> String {
        if id.is_empty() {
            return format!("call_{:016x}_{choice}_{index}", self.nonce);
        }
        id.to_owned()
    }
}

/// The longest id or name of a model that is passed on; it stands in every chunk of a stream.
pub(super) const MAX_NAME_BYTES: usize = 512;

/// A reply as `chat.completion`. `model` is what it is called where the provider does not say, `length`
/// that of the provider's reply. Unit of `length` and `limit`: bytes.
///
/// # Errors
///
/// When it would be longer than `limit`.
pub fn write_reply_within(
    reply: &Reply<'_>,
    model: &str,
    stamp: Stamp,
    length: usize,
    limit: usize,
) -> Result<Vec<u8>, TooLong> {
    write_within(reply, model, &[], stamp, length, limit)
}

/// The same, where these functions are custom tools.
pub(super) fn write_within(
    reply: &Reply<'_>,
    model: &str,
    custom_tools: &[String],
    stamp: Stamp,
    length: usize,
    limit: usize,
) -> Result<Vec<u8>, TooLong> {
    let written = json::write_within(length + MAX_USUAL_HEAD_BYTES, limit, &mut |json| {
        write(json, reply, model, custom_tools, stamp);
        Ok::<_, Infallible>(())
    });
    match written {
        Ok(((), body)) => Ok(body),
        Err(Unwritten::TooLong(long)) => Err(long),
    }
}

/// The same without a limit.
pub fn write_reply(reply: &Reply<'_>, model: &str, stamp: Stamp) -> Vec<u8> {
    let mut json = Writer::default();
    write(&mut json, reply, model, &[], stamp);
    json.into_bytes()
}

fn write(json: &mut Writer, reply: &Reply<'_>, model: &str, custom_tools: &[String], stamp: Stamp) {
    json.object(|json| {
        json.key("id").string(&stamp.reply_id(&reply.id));
        json.key("object").string("chat.completion");
        json.key("created").number(stamp.created);
        let said = Some(&*reply.model);
        let said = said.filter(|it| !it.is_empty() && it.len() <= MAX_NAME_BYTES);
        json.key("model").string(said.unwrap_or(model));
        json.key("choices").array(|json| {
            for (index, it) in (0..).zip(reply.choices.iter()) {
                choice(json, index, it, reply, custom_tools, stamp);
            }
        });
        if is_known(&reply.usage) {
            json.key("usage");
            usage(json, &reply.usage);
        }
    });
}

fn choice(
    json: &mut Writer,
    index: u64,
    it: Choice<'_>,
    reply: &Reply<'_>,
    custom_tools: &[String],
    stamp: Stamp,
) {
    let has = |wanted: Kind| it.entries().any(|(kind, _)| kind == wanted);
    json.object(|json| {
        json.key("index").number(index);
        json.key("message").object(|json| {
            json.key("role").string("assistant");
            json.key("content");
            match has(Kind::Text) || has(Kind::Media) {
                true => content(json, it),
                false => json.null(),
            }
            json.key("refusal");
            match &reply.refusal {
                Some(refusal) => json.string(refusal),
                None => json.null(),
            }
            let thoughts = || it.entries().filter(|(kind, _)| *kind == Kind::Reasoning);
            if thoughts().any(|(_, text)| !text.is_empty()) {
                json.key("reasoning_content").open_string();
                thoughts().for_each(|(_, text)| json.piece(Piece::Quoted(Quoted::checked(text))));
                json.close_string();
            }
            (reply.write_signature)(json, it, &mut |json| {
                json.key("reasoning_signature");
            });
            let mut cited = reply.annotations.iter();
            if let Some((_, all)) = cited.find(|(choice, _)| *choice == index) {
                annotations(json.key("annotations"), all.as_slice());
            }
            let first = it.tool_calls().iter().next();
            match (stamp.calls, first) {
                (_, None) => {}
                (CallStyle::Function, Some(call)) => {
                    json.key("function_call")
                        .object(|json| called_function(json, &call));
                }
                (CallStyle::All | CallStyle::First, Some(_)) => {
                    let count = match stamp.calls {
                        CallStyle::All => usize::MAX,
                        CallStyle::First | CallStyle::Function => 1,
                    };
                    json.key("tool_calls").array(|json| {
                        for (number, call) in (0..).zip(it.tool_calls().iter().take(count)) {
                            let id = stamp.call_id("", index, number);
                            tool_call(json, &call, &id, custom_tools);
                        }
                    });
                }
            }
        });
        logprobs(json.key("logprobs"), Some(it.logprobs()));
        json.key("finish_reason")
            .string(finish_reason(it.stop, stamp.calls));
    });
}

fn content(json: &mut Writer, it: Choice<'_>) {
    json.open_string();
    prose::write(json, it);
    json.close_string();
}

/// `id`: where the call has none.
fn tool_call(json: &mut Writer, call: &ToolCall<'_>, id: &str, custom_tools: &[String]) {
    json.object(|json| {
        json.key("id");
        match call.id.is_empty() {
            true => json.string(id),
            false => json.quoted(call.id),
        }
        if !custom_tools.is_empty() && custom_tools.iter().any(|it| *it == call.name.decode()) {
            json.key("type").string("custom");
            json.key("custom").object(|json| {
                json.key("name").quoted(call.name);
                let arguments = call.input.map_or("{}", |it| match it {
                    Input::Plain(input) | Input::Spaced(input) => input.get(),
                });
                json.key("input").string(&custom::input(arguments));
            });
            if let Some(signature) = call.signature {
                extra_content(json, |json| json.quoted(signature));
            }
            return;
        }
        json.key("type").string("function");
        json.key("function")
            .object(|json| called_function(json, call));
        if let Some(signature) = call.signature {
            extra_content(json, |json| json.quoted(signature));
        }
    });
}

fn called_function(json: &mut Writer, call: &ToolCall<'_>) {
    json.key("name").quoted(call.name);
    json.key("arguments").open_string();
    match call.input {
        None => json.piece(Piece::Plain(&call.arguments())),
        Some(Input::Plain(input)) => json.piece(Piece::Plain(input.get())),
        Some(Input::Spaced(input)) => {
            input.without_space(&mut |piece| json.piece(Piece::Plain(piece)));
        }
    }
    json.close_string();
}

/// `annotations` of a message.
pub(super) fn annotations(json: &mut Writer, all: &[Annotation]) {
    let number = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
    json.array(|json| {
        for it in all {
            json.object(|json| {
                json.key("type").string("url_citation");
                json.key("url_citation").object(|json| {
                    json.key("start_index").number(number(it.start));
                    json.key("end_index").number(number(it.end));
                    json.key("title").string(&it.title);
                    json.key("url").string(&it.url);
                });
            });
        }
    });
}

/// `logprobs` of a choice; `null` where there are none.
///
/// Shape: `{"content": [{"token", "logprob", "bytes", "top_logprobs": [...]}], "refusal": null}`.
pub(super) fn logprobs(json: &mut Writer, all: Option<Logprobs<'_>>) {
    let Some(all) = all.filter(|tokens| !tokens.is_empty()) else {
        return json.null();
    };
    json.object(|json| {
        json.key("content").array(|json| tokens(json, all));
        json.key("refusal").null();
    });
}

/// Writes tokens into a list that is open.
pub(in crate::api) fn tokens(json: &mut Writer, all: Logprobs<'_>) {
    fn members(json: &mut Writer, it: Logprob<'_>) {
        json.key("token").quoted(it.token);
        json.key("logprob").float(it.logprob);
        json.key("bytes").array(|json| {
            let token = it.token.decode();
            token.bytes().for_each(|byte| json.number(u64::from(byte)));
        });
    }
    for it in all.iter() {
        json.object(|json| {
            members(json, it);
            json.key("top_logprobs").array(|json| {
                for it in it.top() {
                    json.object(|json| members(json, it));
                }
            });
        });
    }
}

/// The member in which a call's signature travels.
pub(super) fn extra_content(json: &mut Writer, signature: impl FnOnce(&mut Writer)) {
    json.key("extra_content").object(|json| {
        json.key("google")
            .object(|json| signature(json.key("thought_signature")));
    });
}

pub(super) fn finish_reason(stop: StopReason<'_>, calls: CallStyle) -> &'static str {
    match stop {
        StopReason::ToolCalls if calls == CallStyle::Function => "function_call",
        StopReason::ContentFilter => "content_filter",
        StopReason::Length => "length",
        StopReason::ToolCalls => "tool_calls",
        StopReason::Stop | StopReason::Other(_) => "stop",
    }
}

/// Whether the provider said anything about usage.
pub(super) fn is_known(usage: &Usage) -> bool {
    usage.prompt.is_some() || usage.completion.is_some() || usage.total.is_some()
}

/// The usage object. OpenAI's has three counts always: one that the provider did not say is 0, and
/// the total is then the sum.
pub(super) fn usage(json: &mut Writer, usage: &Usage) {
    let prompt = usage.prompt.unwrap_or_default();
    let completion = usage.completion.unwrap_or_default();
    json.object(|json| {
        json.key("prompt_tokens").number(prompt);
        json.key("completion_tokens").number(completion);
        let total = usage.total.unwrap_or(prompt.saturating_add(completion));
        json.key("total_tokens").number(total);
        if usage.cached.is_some() || usage.cache_written.is_some() {
            json.key("prompt_tokens_details").object(|json| {
                json.key("cached_tokens")
                    .number(usage.cached.unwrap_or_default());
                if let Some(written) = usage.cache_written {
                    json.key("cache_write_tokens").number(written);
                }
            });
        }
        if let Some(reasoning) = usage.reasoning {
            json.key("completion_tokens_details").object(|json| {
                json.key("reasoning_tokens").number(reasoning);
            });
        }
    });
}

/// What mostly stands around the texts of a reply. Unit: bytes.
const MAX_USUAL_HEAD_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Choices;
    use crate::chat::tape::Tape;

    const STAMP: Stamp = Stamp {
        created: 1_763_700_000,
        nonce: 7,
        calls: CallStyle::All,
    };

    fn written(reply: &Reply<'_>) -> String {
        let whole = write_reply(reply, "asked", STAMP);
        let length = whole.len();
        for guess in [0, length / 2, length] {
            let within = write_reply_within(reply, "asked", STAMP, guess, length);
            assert_eq!(within.as_ref(), Ok(&whole));
        }
        assert!(write_reply_within(reply, "asked", STAMP, 0, length - 1).is_err());
        String::from_utf8(whole).unwrap()
    }

    fn reply<'a>(text: &'a [u8], entries: &[(Kind, &'a [u8])]) -> Reply<'a> {
        let mut tape = Tape::new(text);
        for (kind, place) in entries {
            tape.push(*kind, place);
        }
        Reply {
            id: "".into(),
            model: "".into(),
            choices: Choices(tape),
            refusal: None,
            annotations: Vec::new(),
            write_signature: |_, _, _| {},
            usage: Usage::default(),
        }
    }

    #[test]
    fn a_plain_reply() {
        let text = b"hi";
        let reply = Reply {
            id: "msg_1".into(),
            model: "claude".into(),
            usage: Usage {
                prompt: Some(3),
                completion: Some(4),
                ..Usage::default()
            },
            ..reply(text, &[(Kind::ChoiceStop, b""), (Kind::Text, text)])
        };
        assert_eq!(
            written(&reply),
            r#"{"id":"msg_1","object":"chat.completion","created":1763700000,"model":"claude","choices":[{"index":0,"message":{"role":"assistant","content":"hi","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}"#
        );
    }

    #[test]
    fn what_the_provider_does_not_say_is_made_or_left_out() {
        let text = b"fs";
        let call = [
            (Kind::Call, &b""[..]),
            (Kind::CallName, &text[..1]),
            (Kind::CallSignature, &text[1..]),
        ];
        let entries = [&[(Kind::ChoiceCalls, &b""[..])], &call[..], &call[..]].concat();
        let reply = reply(text, &entries);
        assert_eq!(
            written(&reply),
            concat!(
                r#"{"id":"chatcmpl-0000000000000007","object":"chat.completion","#,
                r#""created":1763700000,"model":"asked","choices":[{"index":0,"message":"#,
                r#"{"role":"assistant","content":null,"refusal":null,"tool_calls":["#,
                r#"{"id":"call_0000000000000007_0_0","type":"function","function":"#,
                r#"{"name":"f","arguments":"{}"},"#,
                r#""extra_content":{"google":{"thought_signature":"s"}}},"#,
                r#"{"id":"call_0000000000000007_0_1","type":"function","function":"#,
                r#"{"name":"f","arguments":"{}"},"#,
                r#""extra_content":{"google":{"thought_signature":"s"}}}]},"#,
                r#""logprobs":null,"finish_reason":"tool_calls"}]}"#
            )
        );
    }
}
