//! The shapes of what a response consists of.

use super::Context;
use crate::api::Stamp;
use crate::chat::{Annotation, StopReason};
use crate::json::{Quoted, Writer};
use crate::usage::Usage;

/// Writes into what is open.
pub(super) type Write<'w> = &'w dyn Fn(&mut Writer);

/// Thinking. `summary` writes its text into a string, `signature` the member that has its signature.
pub(super) fn reasoning(
    json: &mut Writer,
    id: &str,
    summary: Option<Write<'_>>,
    signature: Write<'_>,
) {
    json.object(|json| {
        json.key("id").string(id);
        json.key("type").string("reasoning");
        json.key("summary").array(|json| {
            if let Some(text) = summary {
                json.object(|json| summary_text(json, text));
            }
        });
        signature(json);
    });
}

/// The members of a part of a summary.
pub(super) fn summary_text(json: &mut Writer, text: Write<'_>) {
    json.key("type").string("summary_text");
    string(json.key("text"), text);
}

/// A message. `parts` writes its parts.
pub(super) fn message(json: &mut Writer, id: &str, status: &str, parts: Write<'_>) {
    json.object(|json| {
        json.key("id").string(id);
        json.key("type").string("message");
        json.key("status").string(status);
        json.key("role").string("assistant");
        json.key("content").array(parts);
    });
}

/// A text of a message. `logprobs` writes the items of a list.
pub(super) fn output_text(
    json: &mut Writer,
    text: Write<'_>,
    annotations: &[Annotation],
    logprobs: Write<'_>,
) {
    json.object(|json| {
        json.key("type").string("output_text");
        json.key("annotations").array(|json| {
            annotations.iter().for_each(|it| annotation(json, it));
        });
        json.key("logprobs").array(logprobs);
        string(json.key("text"), text);
    });
}

/// Why the model does not answer.
pub(super) fn refusal(json: &mut Writer, text: Write<'_>) {
    json.object(|json| {
        json.key("type").string("refusal");
        string(json.key("refusal"), text);
    });
}

/// A page that a text cites.
pub(super) fn annotation(json: &mut Writer, it: &Annotation) {
    let number = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
    json.object(|json| {
        json.key("type").string("url_citation");
        json.key("start_index").number(number(it.start));
        json.key("end_index").number(number(it.end));
        json.key("title").string(&it.title);
        json.key("url").string(&it.url);
    });
}

/// A call.
pub(super) struct Call<'c> {
    pub(super) id: &'c str,
    pub(super) call_id: Quoted<'c>,
    /// The function, as the model calls it.
    pub(super) name: &'c str,
    pub(super) is_custom: bool,
}

impl Call<'_> {
    /// Writes the call. `input` writes its arguments, or its text, into a string.
    pub(super) fn write(
        &self,
        json: &mut Writer,
        status: &str,
        context: &Context,
        input: Write<'_>,
    ) {
        json.object(|json| {
            json.key("id").string(self.id);
            let (kind, member) = match self.is_custom {
                true => ("custom_tool_call", "input"),
                false => ("function_call", "arguments"),
            };
            json.key("type").string(kind);
            json.key("status").string(status);
            json.key("call_id").quoted(self.call_id);
            match context.namespaced(self.name) {
                None => json.key("name").string(self.name),
                Some(it) => {
                    json.key("name").string(it.name);
                    json.key("namespace").string(it.namespace);
                }
            }
            string(json.key(member), input);
        });
    }
}

/// A string, into which `text` writes.
fn string(json: &mut Writer, text: Write<'_>) {
    json.open_string();
    text(json);
    json.close_string();
}

/// The members of a response before those that its state decides.
pub(super) fn head(json: &mut Writer, id: &str, model: &str, context: &Context, stamp: Stamp) {
    json.key("id").string(id);
    json.key("object").string("response");
    json.key("created_at").number(stamp.created);
    json.key("model").string(model);
    context.echo.write(json);
    json.key("tools").array(|_| {});
}

/// How a response has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Completed,
    /// With the reason.
    Incomplete(&'static str),
}

impl End {
    pub(super) fn of(stop: StopReason<'_>, has_refusal: bool) -> Self {
        match stop {
            StopReason::Length => Self::Incomplete("max_output_tokens"),
            // What was refused in words is an answer.
            StopReason::ContentFilter if !has_refusal => Self::Incomplete("content_filter"),
            _ => Self::Completed,
        }
    }

    /// The status of a response, or of an item.
    pub(super) fn status(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Incomplete(_) => "incomplete",
        }
    }

    /// The members of a response that has ended, but for its output.
    pub(super) fn write(self, json: &mut Writer, usage: &Usage) {
        json.key("status").string(self.status());
        json.key("error").null();
        json.key("incomplete_details");
        match self {
            Self::Completed => json.null(),
            Self::Incomplete(reason) => {
                json.object(|json| json.key("reason").string(reason));
            }
        }
        write_usage(json.key("usage"), usage);
    }
}

/// <https://platform.openai.com/docs/api-reference/responses/object>, read 2026-11-28. All counts are
/// there always: one that the provider does not tell is 0.
fn write_usage(json: &mut Writer, usage: &Usage) {
    let prompt = usage.prompt.unwrap_or_default();
    let completion = usage.completion.unwrap_or_default();
    json.object(|json| {
        json.key("input_tokens").number(prompt);
        json.key("input_tokens_details").object(|json| {
            let count = |it: Option<u64>| it.unwrap_or_default();
            json.key("cached_tokens").number(count(usage.cached));
            json.key("cache_write_tokens")
                .number(count(usage.cache_written));
        });
        json.key("output_tokens").number(completion);
        json.key("output_tokens_details").object(|json| {
            json.key("reasoning_tokens")
                .number(usage.reasoning.unwrap_or_default());
        });
        let total = usage.total.unwrap_or(prompt.saturating_add(completion));
        json.key("total_tokens").number(total);
    });
}
