//! Writing a whole reply.

use crate::chat::{Choice, Logprob, Reply, ReplyCall, StopReason};
use crate::json::Writer;
use crate::usage::Usage;

/// What a reply needs and no provider gives: the core has neither clock nor chance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Unit: seconds since 1970.
    pub created: u64,
    /// Differs from reply to reply: ids are made of it where the provider has none.
    pub nonce: u64,
}

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

/// A reply as `chat.completion`. `model` is what it is called where the provider does not say.
pub fn write_reply(reply: &Reply, model: &str, stamp: Stamp) -> Vec<u8> {
    let text = |choice: &Choice| choice.content.as_ref().map_or(0, String::len);
    let size: usize = reply.choices.iter().map(text).sum();
    let mut json = Writer::with_capacity(size + 1024);
    json.object(|json| {
        json.key("id").string(&stamp.reply_id(&reply.id));
        json.key("object").string("chat.completion");
        json.key("created").number(stamp.created);
        let said = Some(reply.model.as_str());
        let said = said.filter(|it| !it.is_empty() && it.len() <= MAX_NAME_BYTES);
        json.key("model").string(said.unwrap_or(model));
        json.key("choices").array(|json| {
            for (index, it) in (0..).zip(&reply.choices) {
                choice(json, index, it, stamp);
            }
        });
        if is_known(&reply.usage) {
            json.key("usage");
            usage(json, &reply.usage);
        }
    });
    json.into_bytes()
}

fn choice(json: &mut Writer, index: u64, it: &Choice, stamp: Stamp) {
    json.object(|json| {
        json.key("index").number(index);
        json.key("message").object(|json| {
            json.key("role").string("assistant");
            optional(json.key("content"), it.content.as_deref());
            optional(json.key("refusal"), it.refusal.as_deref());
            if let Some(reasoning) = &it.reasoning {
                json.key("reasoning_content").string(reasoning);
            }
            if let Some(signature) = &it.reasoning_signature {
                json.key("reasoning_signature").string(signature);
            }
            if !it.tool_calls.is_empty() {
                json.key("tool_calls").array(|json| {
                    for (number, call) in (0..).zip(&it.tool_calls) {
                        tool_call(json, call, &stamp.call_id(&call.id, index, number));
                    }
                });
            }
        });
        logprobs(json.key("logprobs"), &it.logprobs);
        json.key("finish_reason").string(finish_reason(&it.stop));
    });
}

fn tool_call(json: &mut Writer, call: &ReplyCall<'_>, id: &str) {
    json.object(|json| {
        json.key("id").string(id);
        json.key("type").string("function");
        json.key("function").object(|json| {
            json.key("name").string(&call.name);
            // An empty text would not parse.
            let arguments = Some(&*call.arguments).filter(|it| !it.is_empty());
            json.key("arguments").string(arguments.unwrap_or("{}"));
        });
        if let Some(signature) = &call.signature {
            extra_content(json, signature);
        }
    });
}

/// `logprobs` of a choice; `null` where there are none.
///
/// Shape: `{"content": [{"token", "logprob", "bytes", "top_logprobs": [...]}], "refusal": null}`.
pub(super) fn logprobs(json: &mut Writer, tokens: &[Logprob]) {
    fn members(json: &mut Writer, token: &str, logprob: f64) {
        json.key("token").string(token);
        json.key("logprob").float(logprob);
        json.key("bytes").array(|json| {
            token.bytes().for_each(|byte| json.number(u64::from(byte)));
        });
    }
    if tokens.is_empty() {
        return json.null();
    }
    json.object(|json| {
        json.key("content").array(|json| {
            for it in tokens {
                json.object(|json| {
                    members(json, &it.token, it.logprob);
                    json.key("top_logprobs").array(|json| {
                        for (token, logprob) in &it.top {
                            json.object(|json| members(json, token, *logprob));
                        }
                    });
                });
            }
        });
        json.key("refusal").null();
    });
}

/// The member in which a call's signature travels.
pub(super) fn extra_content(json: &mut Writer, signature: &str) {
    json.key("extra_content").object(|json| {
        json.key("google").object(|json| {
            json.key("thought_signature").string(signature);
        });
    });
}

pub(super) fn finish_reason(stop: &StopReason) -> &'static str {
    match stop {
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
                // OpenAI has no count of these; this is OpenRouter's name for them:
                // https://openrouter.ai/docs/guides/administration/usage-accounting, read
                // 2026-11-21.
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

fn optional(json: &mut Writer, text: Option<&str>) {
    match text {
        Some(text) => json.string(text),
        None => json.null(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        created: 1_763_700_000,
        nonce: 7,
    };

    fn answer(content: Option<&str>) -> Choice {
        Choice {
            content: content.map(str::to_owned),
            reasoning: None,
            reasoning_signature: None,
            refusal: None,
            tool_calls: Vec::new(),
            logprobs: Vec::new(),
            stop: StopReason::Stop,
        }
    }

    fn written(reply: &Reply) -> String {
        String::from_utf8(write_reply(reply, "asked", STAMP)).unwrap()
    }

    #[test]
    fn a_plain_reply() {
        let reply = Reply {
            id: "msg_1".into(),
            model: "claude".into(),
            choices: vec![answer(Some("hi"))],
            usage: Usage {
                prompt: Some(3),
                completion: Some(4),
                ..Usage::default()
            },
        };
        assert_eq!(
            written(&reply),
            r#"{"id":"msg_1","object":"chat.completion","created":1763700000,"model":"claude","choices":[{"index":0,"message":{"role":"assistant","content":"hi","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}"#
        );
    }

    #[test]
    fn what_the_provider_does_not_say_is_made_or_left_out() {
        let mut choice = answer(None);
        choice.stop = StopReason::ToolCalls;
        choice.tool_calls = vec![
            ReplyCall {
                id: "".into(),
                name: "f".into(),
                arguments: "".into(),
                signature: Some("s".into()),
            };
            2
        ];
        let reply = Reply {
            choices: vec![choice],
            ..Reply::default()
        };
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
