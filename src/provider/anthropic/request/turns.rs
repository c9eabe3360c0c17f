//! The messages of a conversation as turns of two sides.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::source::Source;
use super::{NOT_EXPRESSIBLE, cache_control};
use crate::chat::{Message, Part, PartKind, Request, ToolCall};
use crate::json::Writer;
use crate::provider::anthropic::thinking::{self, Step};
use crate::provider::dialect::{Options, Unsupported};

/// System and developer messages, wherever they stand, in order: one text, or a block for each.
pub(super) fn system(json: &mut Writer, request: &Request<'_>) {
    let mut blocks = Vec::new();
    for message in &request.messages {
        if let Message::System {
            content,
            cache_control,
        } = message
        {
            let last = content.iter().rposition(|part| !is_blank(part));
            for (index, part) in content.iter().enumerate() {
                if let PartKind::Text(text) = &part.kind
                    && !is_blank(part)
                {
                    let own = cache_control.filter(|_| Some(index) == last);
                    blocks.push((*text, part.cache_control.or(own)));
                }
            }
        }
    }
    match blocks.as_slice() {
        [] => {}
        [(text, None)] => json.key("system").quoted(*text),
        blocks => json.key("system").array(|json| {
            for (text, cache) in blocks {
                json.object(|json| {
                    json.key("type").string("text");
                    json.key("text").quoted(*text);
                    cache_control(json, *cache);
                });
            }
        }),
    }
}

/// Whose turn a message belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Assistant,
    User,
}

/// The turns: consecutive messages of one side are merged, and those that say nothing left out.
pub(super) fn messages(
    json: &mut Writer,
    request: &Request<'_>,
    options: Options,
) -> Result<(), Unsupported> {
    let said: Vec<_> = request
        .messages
        .iter()
        .enumerate()
        .filter_map(|(index, message)| Some((turn(message)?, index, message)))
        .collect();
    if said.is_empty() {
        return Err(Unsupported {
            param: "messages".to_owned(),
            message: "must have a message of a user, a tool or an assistant that is not empty"
                .to_owned(),
        });
    }
    json.key("messages");
    json.open_array();
    for group in said.chunk_by(|(a, ..), (b, ..)| a == b) {
        let Some((turn, ..)) = group.first() else {
            continue;
        };
        json.open_object();
        match turn {
            Turn::Assistant => {
                json.key("role").string("assistant");
                json.key("content");
                json.open_array();
                for (_, index, message) in group {
                    assistant(json, message, *index, options)?;
                }
                json.close_array();
            }
            Turn::User => {
                json.key("role").string("user");
                json.key("content");
                user_turn(json, group, options)?;
            }
        }
        json.close_object();
    }
    json.close_array();
    Ok(())
}

fn user_turn(
    json: &mut Writer,
    group: &[(Turn, usize, &Message<'_>)],
    options: Options,
) -> Result<(), Unsupported> {
    // The usual turn is one text.
    if let [
        (
            ..,
            Message::User {
                content,
                cache_control: None,
            },
        ),
    ] = group
        && let [part] = content.as_slice()
        && let (PartKind::Text(text), None) = (&part.kind, part.cache_control)
    {
        json.quoted(*text);
        return Ok(());
    }
    json.open_array();
    // > Tool result blocks must come first in the content array. Any text must come after all tool
    // > results.
    // https://platform.claude.com/docs/en/agents-and-tools/tool-use/handle-tool-calls, read
    // 2026-11-21.
    for (_, index, message) in group {
        if let Message::Tool {
            tool_call_id,
            content,
            cache_control: cache,
        } = message
        {
            json.open_object();
            json.key("type").string("tool_result");
            json.key("tool_use_id").string(&id(tool_call_id));
            let mut parts = content.iter().filter(|part| !is_blank(part));
            match (parts.next(), parts.next()) {
                (None, _) => {}
                (
                    Some(Part {
                        kind: PartKind::Text(text),
                        cache_control: None,
                    }),
                    None,
                ) => json.key("content").quoted(*text),
                _ => {
                    json.key("content");
                    json.open_array();
                    blocks(json, content, None, *index, options)?;
                    json.close_array();
                }
            }
            cache_control(json, *cache);
            json.close_object();
        }
    }
    for (_, index, message) in group {
        if let Message::User {
            content,
            cache_control,
        } = message
        {
            blocks(json, content, *cache_control, *index, options)?;
        }
    }
    json.close_array();
    Ok(())
}

/// Whose turn it is; `None` for system messages and those that say nothing.
fn turn(message: &Message<'_>) -> Option<Turn> {
    match message {
        Message::Assistant {
            content,
            tool_calls,
            ..
        } => {
            let is_empty = tool_calls.is_empty() && content.iter().all(is_blank);
            (!is_empty).then_some(Turn::Assistant)
        }
        Message::System { .. } => None,
        Message::Tool { .. } => Some(Turn::User),
        Message::User { content, .. } => (!content.iter().all(is_blank)).then_some(Turn::User),
    }
}

/// Whether a part is text that says nothing.
///
/// > messages: text content blocks must contain non-whitespace text
fn is_blank(part: &Part<'_>) -> bool {
    match &part.kind {
        PartKind::Text(text) => text.is_blank(),
        _ => false,
    }
}

fn assistant(
    json: &mut Writer,
    message: &Message<'_>,
    index: usize,
    options: Options,
) -> Result<(), Unsupported> {
    let Message::Assistant {
        content,
        tool_calls,
        reasoning,
        reasoning_signature,
        cache_control: cache,
    } = message
    else {
        return Ok(());
    };
    let (reasoning, signature) = (reasoning.as_deref(), reasoning_signature.as_deref());
    let steps = match thinking::steps(reasoning, signature) {
        Ok(steps) if fits(&steps, content, tool_calls) => steps,
        _ => {
            let param = format!("messages[{index}].reasoning_signature");
            options.lose(
                param,
                "belongs to another message; send both as they came, or neither",
            )?;
            Vec::new()
        }
    };
    let last_call = tool_calls.len().checked_sub(1);
    let mut calls = tool_calls.iter().enumerate();
    let mut call = |json: &mut Writer, count: usize| {
        for (number, call) in calls.by_ref().take(count) {
            let cache = cache.filter(|_| Some(number) == last_call);
            tool_use(json, call, (index, number), cache)?;
        }
        Ok(())
    };
    let own = cache.filter(|_| tool_calls.is_empty());
    // Only one text can have been cut: `fits` has seen to it.
    let cut = match steps.is_empty() {
        true => None,
        false => only_text(content),
    };
    let mut rest = cut.as_deref();
    for step in &steps {
        step.write(json);
        match step {
            Step::Calls(count) => call(json, *count)?,
            Step::Text(length) => {
                let (text, after) = rest
                    .and_then(|rest| rest.split_at_checked(*length))
                    .unwrap_or_default();
                rest = Some(after);
                text_block(json, text, None);
            }
            Step::Redacted(_) | Step::Thinking { .. } => {}
        }
    }
    match rest {
        Some(text) => text_block(json, text, own),
        None => blocks(json, content, own, index, options)?,
    }
    call(json, usize::MAX)
}

/// Whether text and calls that stand between thinking are there.
fn fits(steps: &[Step<'_>], content: &[Part<'_>], tool_calls: &[ToolCall<'_>]) -> bool {
    let (mut at, mut count) = (0_usize, 0_usize);
    if steps.is_empty() {
        return true;
    }
    let text = only_text(content).unwrap_or_default();
    steps.iter().all(|step| match step {
        Step::Calls(more) => {
            count = count.saturating_add(*more);
            count <= tool_calls.len()
        }
        Step::Text(more) => {
            at = at.saturating_add(*more);
            text.is_char_boundary(at)
        }
        Step::Redacted(_) | Step::Thinking { .. } => true,
    })
}

/// The text of a content that is one text and no more.
fn only_text<'a>(content: &[Part<'a>]) -> Option<Cow<'a, str>> {
    match content {
        [
            Part {
                kind: PartKind::Text(text),
                cache_control: None,
            },
        ] => text.decode(),
        _ => None,
    }
}

/// A text that was cut out of one, unless it says nothing.
fn text_block(json: &mut Writer, text: &str, cache: Option<&RawValue>) {
    if !text.trim_start().is_empty() {
        json.object(|json| {
            json.key("type").string("text");
            json.key("text").string(text);
            cache_control(json, cache);
        });
    }
}

fn tool_use(
    json: &mut Writer,
    call: &ToolCall<'_>,
    (message, index): (usize, usize),
    cache: Option<&RawValue>,
) -> Result<(), Unsupported> {
    let arguments = match call.arguments.trim() {
        "" => "{}",
        text => match serde_json::from_str::<&RawValue>(text) {
            Ok(object) if text.starts_with('{') => object.get(),
            _ => {
                return Err(Unsupported {
                    param: format!("messages[{message}].tool_calls[{index}].function.arguments"),
                    message: "is not the text of a JSON object".to_owned(),
                });
            }
        },
    };
    json.object(|json| {
        json.key("type").string("tool_use");
        json.key("id").string(&id(&call.id));
        json.key("name").string(&call.name);
        json.key("input").raw(arguments);
        cache_control(json, cache);
    });
    Ok(())
}

/// The parts as blocks; `cache` goes to the last.
fn blocks(
    json: &mut Writer,
    parts: &[Part<'_>],
    cache: Option<&RawValue>,
    message: usize,
    options: Options,
) -> Result<(), Unsupported> {
    let last = parts.iter().rposition(|part| !is_blank(part));
    for (index, part) in parts.iter().enumerate() {
        let own = cache.filter(|_| Some(index) == last);
        let cache = part.cache_control.or(own);
        if !is_blank(part) {
            block(json, part, cache, (message, index), options)?;
        }
    }
    Ok(())
}

fn block(
    json: &mut Writer,
    part: &Part<'_>,
    cache: Option<&RawValue>,
    (message, index): (usize, usize),
    options: Options,
) -> Result<(), Unsupported> {
    let param = |member: &str| format!("messages[{message}].content[{index}]{member}");
    match &part.kind {
        PartKind::Text(text) => json.object(|json| {
            json.key("type").string("text");
            json.key("text").quoted(*text);
            cache_control(json, cache);
        }),
        PartKind::Image { url, detail } => {
            // Images are seen in full, so that `high` is what happens anyway.
            if detail.as_deref() == Some("low") {
                options.lose(param(".image_url.detail"), NOT_EXPRESSIBLE)?;
            }
            match Source::of_image(url) {
                Ok(source) => source.write(json, "image", None, cache),
                Err(message) => options.lose(param(".image_url.url"), message)?,
            }
        }
        PartKind::File {
            id: Some(id), name, ..
        } => Source::Id(id).write(json, "document", name.as_deref(), cache),
        PartKind::File { name, data, .. } => {
            let name = name.as_deref();
            match Source::of_file(data.as_deref().unwrap_or_default(), name) {
                Ok((kind, source)) => source.write(json, kind, name, cache),
                Err(message) => options.lose(param(".file.file_data"), message)?,
            }
        }
        PartKind::Audio { .. } => options.lose(param(".type"), "audio cannot be expressed")?,
    }
    Ok(())
}

/// Ids of other providers' calls may have characters that are refused here. The same id becomes the
/// same one, in the call and in its result.
///
/// > String should match pattern '^[a-zA-Z0-9_-]+$'
fn id(id: &str) -> Cow<'_, str> {
    let is_allowed = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '-';
    if !id.is_empty() && id.chars().all(is_allowed) {
        return Cow::Borrowed(id);
    }
    let mut safe: String = id
        .chars()
        .map(|it| if is_allowed(it) { it } else { '_' })
        .collect();
    if safe.is_empty() {
        safe.push('_');
    }
    Cow::Owned(safe)
}
