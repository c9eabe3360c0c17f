//! The messages of a conversation as turns of two sides.

use std::borrow::Cow;

use super::source::Source;
use super::{NOT_EXPRESSIBLE, cache_control};
use crate::chat::{Content, Message, MessageIter, Part, PartKind, Request, ToolCall, ToolCalls};
use crate::json::{self, Ignored, Quoted, Raw, Text, Writer};
use crate::provider::anthropic::thinking::{self, Step, Steps};
use crate::provider::dialect::{Options, Unsupported};

/// System and developer messages, wherever they stand, in order: one text, or a block for each.
pub(super) fn system(json: &mut Writer, request: &Request<'_>) {
    let mut blocks = system_blocks(request);
    match (blocks.next(), blocks.next()) {
        (None, _) => {}
        (Some((text, None)), None) => json.key("system").quoted(text),
        _ => json.key("system").array(|json| {
            for (text, cache) in system_blocks(request) {
                json.object(|json| {
                    json.key("type").string("text");
                    json.key("text").quoted(text);
                    cache_control(json, cache);
                });
            }
        }),
    }
}

/// The texts of system and developer messages, each with its mark for the cache.
fn system_blocks<'r>(
    request: &'r Request<'_>,
) -> impl Iterator<Item = (Quoted<'r>, Option<Raw<'r>>)> {
    let messages = request.messages.iter().filter_map(|message| match message {
        Message::System {
            content,
            cache_control,
        } => Some(marked(content, cache_control)),
        _ => None,
    });
    messages
        .flatten()
        .filter_map(|(_, part, cache)| match part.kind {
            PartKind::Text(text) => Some((text, cache)),
            _ => None,
        })
}

/// The parts that say something, with their places, each with its mark for the cache: the message's
/// own is for the last.
fn marked<'r>(
    content: Content<'r>,
    cache: Option<Raw<'r>>,
) -> impl Iterator<Item = (usize, Part<'r>, Option<Raw<'r>>)> {
    let parts = content.iter().enumerate();
    let mut parts = parts.filter(|(_, part)| !is_blank(part)).peekable();
    std::iter::from_fn(move || {
        let (index, part) = parts.next()?;
        let own = cache.filter(|_| parts.peek().is_none());
        Some((index, part, part.cache_control.or(own)))
    })
}

/// Whose turn a message belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Assistant,
    User,
}

/// Messages of one side, one behind the other, and those between them that say nothing.
struct Group<'r> {
    turn: Turn,
    /// At its first message.
    messages: MessageIter<'r>,
    /// Which one that is.
    first: usize,
    count: usize,
}

impl<'r> Group<'r> {
    /// The messages that say something, and which ones they are.
    fn iter(&self) -> impl Iterator<Item = (usize, Message<'r>)> {
        let messages = (self.first..).zip(self.messages.clone());
        let messages = messages.take(self.count);
        messages.filter(|(_, message)| turn(message).is_some())
    }
}

/// The turns of a conversation.
fn groups<'r>(request: &'r Request<'_>) -> impl Iterator<Item = Group<'r>> {
    let mut rest = request.messages.iter();
    let mut index = 0;
    std::iter::from_fn(move || {
        loop {
            let messages = rest.clone();
            let first = index;
            let message = rest.next()?;
            index += 1;
            let Some(turn) = turn(&message) else {
                continue;
            };
            let mut after = rest.clone();
            while let Some(message) = after.next()
                && self::turn(&message).is_none_or(|it| it == turn)
            {
                rest = after.clone();
                index += 1;
            }
            return Some(Group {
                turn,
                messages,
                first,
                count: index - first,
            });
        }
    })
}

/// The turns: consecutive messages of one side are merged, and those that say nothing left out.
pub(super) fn messages(
    json: &mut Writer,
    request: &Request<'_>,
    options: Options,
) -> Result<(), Unsupported> {
    let mut groups = groups(request).peekable();
    if groups.peek().is_none() {
        return Err(Unsupported {
            param: "messages".to_owned(),
            message: "must have a message of a user, a tool or an assistant that is not empty"
                .to_owned(),
        });
    }
    json.key("messages");
    json.open_array();
    for group in groups {
        json.open_object();
        match group.turn {
            Turn::Assistant => {
                json.key("role").string("assistant");
                json.key("content");
                json.open_array();
                for (index, message) in group.iter() {
                    assistant(json, &message, index, options)?;
                }
                json.close_array();
            }
            Turn::User => {
                json.key("role").string("user");
                json.key("content");
                user_turn(json, &group, options)?;
            }
        }
        json.close_object();
    }
    json.close_array();
    Ok(())
}

fn user_turn(json: &mut Writer, group: &Group<'_>, options: Options) -> Result<(), Unsupported> {
    // The usual turn is one text.
    let mut messages = group.iter();
    if let (
        Some((
            _,
            Message::User {
                content,
                cache_control: None,
            },
        )),
        None,
    ) = (messages.next(), messages.next())
        && let Some(Part {
            kind: PartKind::Text(text),
            cache_control: None,
        }) = content.only()
    {
        json.quoted(text);
        return Ok(());
    }
    json.open_array();
    // > Tool result blocks must come first in the content array. Any text must come after all tool
    // > results.
    // https://platform.claude.com/docs/en/agents-and-tools/tool-use/handle-tool-calls, read
    // 2026-11-21.
    for (index, message) in group.iter() {
        if let Message::Tool {
            tool_call_id,
            content,
            cache_control: cache,
        } = message
        {
            json.open_object();
            json.key("type").string("tool_result");
            json.key("tool_use_id").string(&id(&tool_call_id.decode()));
            let mut parts = content.iter().filter(|part| !is_blank(part));
            match (parts.next(), parts.next()) {
                (None, _) => {}
                (
                    Some(Part {
                        kind: PartKind::Text(text),
                        cache_control: None,
                    }),
                    None,
                ) => json.key("content").quoted(text),
                _ => {
                    json.key("content");
                    json.open_array();
                    blocks(json, content, None, index, options)?;
                    json.close_array();
                }
            }
            cache_control(json, cache);
            json.close_object();
        }
    }
    for (index, message) in group.iter() {
        if let Message::User {
            content,
            cache_control,
        } = message
        {
            blocks(json, content, cache_control, index, options)?;
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
            let is_empty = content.iter().all(|part| is_blank(&part)) && tool_calls.is_empty();
            (!is_empty).then_some(Turn::Assistant)
        }
        Message::System { .. } => None,
        Message::Tool { .. } => Some(Turn::User),
        Message::User { content, .. } => {
            (!content.iter().all(|part| is_blank(&part))).then_some(Turn::User)
        }
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
    let (content, tool_calls, cache) = (*content, *tool_calls, *cache);
    let signature = reasoning_signature.map(Text::decode);
    let has_thinking = signature.is_some();
    let reasoning = reasoning.filter(|_| has_thinking).map(Text::decode);
    // Only one text can have been cut.
    let cut = only_text(content).filter(|_| has_thinking);
    let steps = thinking::steps(reasoning.as_deref(), signature.as_deref())
        .ok()
        .filter(|steps| fits(steps, cut.as_deref().unwrap_or_default(), tool_calls));
    if steps.is_none() {
        let param = format!("messages[{index}].reasoning_signature");
        options.lose(
            param,
            "belongs to another message; send both as they came, or neither",
        )?;
    }
    let steps = steps.filter(|steps| !steps.is_empty());
    let mut calls = tool_calls.iter().enumerate().peekable();
    let mut call = |json: &mut Writer, count: usize| {
        for _ in 0..count {
            let Some((number, call)) = calls.next() else {
                break;
            };
            let cache = cache.filter(|_| calls.peek().is_none());
            tool_use(json, &call, (index, number), cache)?;
        }
        Ok(())
    };
    let own = cache.filter(|_| tool_calls.is_empty());
    let mut rest = cut.as_deref().filter(|_| steps.is_some());
    for step in steps.iter().flat_map(Steps::iter).flatten() {
        step.write(json);
        match step {
            Step::Calls(count) => call(json, count)?,
            Step::Text(length) => {
                let (text, after) = rest
                    .and_then(|rest| rest.split_at_checked(length))
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

/// Whether the thinking is there, and text and calls that stand between.
fn fits(steps: &Steps<'_>, text: &str, tool_calls: ToolCalls<'_>) -> bool {
    let (mut at, mut count) = (0_usize, 0_usize);
    let calls = tool_calls.iter().count();
    steps.iter().all(|step| match step {
        Err(_) => false,
        Ok(Step::Calls(more)) => {
            count = count.saturating_add(more);
            count <= calls
        }
        Ok(Step::Text(more)) => {
            at = at.saturating_add(more);
            text.is_char_boundary(at)
        }
        Ok(Step::Redacted(_) | Step::Thinking { .. }) => true,
    })
}

/// The text of a content that is one text and no more.
fn only_text(content: Content<'_>) -> Option<Cow<'_, str>> {
    match content.only()? {
        Part {
            kind: PartKind::Text(text),
            cache_control: None,
        } => text.decode(),
        _ => None,
    }
}

/// A text that was cut out of one, unless it says nothing.
fn text_block(json: &mut Writer, text: &str, cache: Option<Raw<'_>>) {
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
    cache: Option<Raw<'_>>,
) -> Result<(), Unsupported> {
    let arguments = call.arguments.decode();
    let arguments = match arguments.trim() {
        "" => "{}",
        text if text.starts_with('{') && json::read::<Ignored>(text.as_bytes()).is_ok() => text,
        _ => {
            return Err(Unsupported {
                param: format!("messages[{message}].tool_calls[{index}].function.arguments"),
                message: "is not the text of a JSON object".to_owned(),
            });
        }
    };
    json.object(|json| {
        json.key("type").string("tool_use");
        json.key("id").string(&id(&call.id.decode()));
        json.key("name").quoted(call.name);
        json.key("input").raw(arguments);
        cache_control(json, cache);
    });
    Ok(())
}

/// The parts as blocks; `cache` goes to the last.
fn blocks(
    json: &mut Writer,
    parts: Content<'_>,
    cache: Option<Raw<'_>>,
    message: usize,
    options: Options,
) -> Result<(), Unsupported> {
    for (index, part, cache) in marked(parts, cache) {
        block(json, &part, cache, (message, index), options)?;
    }
    Ok(())
}

fn block(
    json: &mut Writer,
    part: &Part<'_>,
    cache: Option<Raw<'_>>,
    (message, index): (usize, usize),
    options: Options,
) -> Result<(), Unsupported> {
    let param = |member: &str| format!("messages[{message}].content[{index}]{member}");
    match part.kind {
        PartKind::Text(text) => json.object(|json| {
            json.key("type").string("text");
            json.key("text").quoted(text);
            cache_control(json, cache);
        }),
        PartKind::Image { url, detail } => {
            // Images are seen in full, so that `high` is what happens anyway.
            if detail.is_some_and(|detail| detail.decode() == "low") {
                options.lose(param(".image_url.detail"), NOT_EXPRESSIBLE)?;
            }
            match Source::of_image(&url.decode()) {
                Ok(source) => source.write(json, "image", None, cache),
                Err(message) => options.lose(param(".image_url.url"), message)?,
            }
        }
        PartKind::File { id, name, data } => {
            let name = name.map(Text::decode);
            let name = name.as_deref();
            if let Some(id) = id {
                Source::Id(&id.decode()).write(json, "document", name, cache);
                return Ok(());
            }
            let data = data.unwrap_or_default().decode();
            match Source::of_file(&data, name) {
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
