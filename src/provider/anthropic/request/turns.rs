//! The messages of a conversation as turns of two sides, and instructions.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::source::{self, Source};
use super::{Instruction, cache_control};
use crate::chat::{
    self, Content, Message, MessageIter, Part, PartKind, Request, ToolCall, ToolCalls,
};
use crate::data_uri;
use crate::json::{self, Ignored, Piece, Quoted, Raw, Text, Writer};
use crate::provider::adapt::Adapter;
use crate::provider::anthropic::model::Capabilities;
use crate::provider::anthropic::rules;
use crate::provider::anthropic::thinking::{self, Step, Steps};
use crate::provider::dialect::Unsupported;

/// Writes `system` and `messages`. Consecutive messages of one side are merged, and empty ones left
/// out. `instructions` follow those of the client.
pub(super) fn write(
    json: &mut Writer,
    request: &Request<'_>,
    model: &Capabilities,
    instructions: &[Instruction<'_>],
    adapter: &Adapter,
) -> Result<(), Unsupported> {
    let Some(plan) = Plan::of(request, model) else {
        return Err(Unsupported {
            param: "messages".to_owned(),
            message: "must have a message of a user, a tool or an assistant that is not empty"
                .to_owned(),
        });
    };
    let system = || {
        let messages = (0..).zip(&request.messages);
        let messages = messages.filter(|(index, _)| plan.is_top_level(*index));
        system_blocks(messages.map(|(_, message)| message))
    };
    if system().next().is_some() || !instructions.is_empty() {
        json.key("system");
        write_texts(json, system, instructions);
    }
    let mut turns = Turns {
        adapter,
        ids: CallIds::default(),
        plan,
    };
    json.key("messages");
    json.open_array();
    // The turn of the assistant before the next one of the user.
    let mut before: Option<Group<'_>> = None;
    for group in groups(request) {
        json.open_object();
        match group.turn {
            Turn::Assistant => {
                json.key("role").string("assistant");
                json.key("content");
                json.open_array();
                turns.ids.begin_turn();
                for (index, message) in group.iter() {
                    turns.assistant(json, &message, index)?;
                }
                json.close_array();
                json.close_object();
                before = Some(group);
            }
            Turn::User => {
                json.key("role").string("user");
                json.key("content");
                turns.user_turn(json, &group)?;
                json.close_object();
                turns.late_system(json, before.take().as_ref(), &group);
            }
        }
    }
    json.close_array();
    Ok(())
}

/// Where what belongs in a request that is read in one direction.
#[derive(Clone, Copy)]
struct Plan {
    /// Instructions before this message go to the top level, and those from the other on.
    late_from: usize,
    late_until: usize,
    /// The last message that is sent.
    last: usize,
    /// Thinking of earlier messages is left out.
    replays_from: usize,
}

impl Plan {
    /// `None` where no message says anything.
    ///
    /// From Opus 4.8 on a system message may follow a turn of the user, "subject to placement rules"
    /// (`whats-new-claude-4-8`, quoted in <https://github.com/simonw/llm-anthropic/issues/73>):
    ///
    /// > role 'system' must precede an 'assistant' message or end the array
    ///
    /// <https://github.com/anthropics/claude-code/issues/73821>. So one that comes with a turn of the assistant
    /// waits for the next turn of the user; where none comes, it goes to the top level.
    fn of(request: &Request<'_>, model: &Capabilities) -> Option<Self> {
        let mut all = groups(request);
        let first = all.next()?;
        let last_group = all.last();
        let last_group = last_group.as_ref().unwrap_or(&first);
        let late_until = match last_group.turn {
            Turn::Assistant => last_group.first,
            Turn::User => usize::MAX,
        };
        // Where the running tool loop begins: after the last message of the user.
        let loop_start = || {
            let users = (0..).zip(&request.messages);
            let users = users.filter(|(_, it)| matches!(it, Message::User { .. }));
            users.last().map_or(0, |(index, _)| index + 1)
        };
        Some(Self {
            late_from: match model.has_late_system {
                true => first.first,
                false => usize::MAX,
            },
            late_until,
            last: last_group.iter().last().map_or(0, |(index, _)| index),
            replays_from: match model.binds_thinking {
                true => loop_start(),
                false => 0,
            },
        })
    }

    /// Whether an instruction at this place goes to the top level.
    fn is_top_level(self, index: usize) -> bool {
        index < self.late_from || index >= self.late_until
    }
}

/// The texts of system and developer messages, each with its mark for the cache.
fn system_blocks<'r>(
    messages: impl Iterator<Item = Message<'r>>,
) -> impl Iterator<Item = (Quoted<'r>, Option<Raw<'r>>)> {
    let messages = messages.filter_map(|message| match message {
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

/// The client's texts, and then ours: as one text where there is one, else as blocks.
fn write_texts<'r, I: Iterator<Item = (Quoted<'r>, Option<Raw<'r>>)>>(
    json: &mut Writer,
    texts: impl Fn() -> I,
    instructions: &[Instruction<'_>],
) {
    let mut first = texts();
    match (first.next(), first.next(), instructions) {
        (Some((text, None)), None, []) => return json.quoted(text),
        (None, _, [only]) => return only.write(json),
        _ => {}
    }
    json.array(|json| {
        for (text, cache) in texts() {
            json.object(|json| {
                json.key("type").string("text");
                json.key("text").quoted(text);
                cache_control(json, cache);
            });
        }
        for instruction in instructions {
            json.object(|json| {
                json.key("type").string("text");
                instruction.write(json.key("text"));
            });
        }
    });
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
    /// The instructions among them, and which ones they are.
    fn system(&self) -> impl Iterator<Item = (usize, Message<'r>)> {
        let messages = (self.first..).zip(self.messages.clone());
        let messages = messages.take(self.count);
        messages.filter(|(_, message)| matches!(message, Message::System { .. }))
    }

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

/// What writing the turns needs.
struct Turns<'w> {
    adapter: &'w Adapter,
    ids: CallIds,
    plan: Plan,
}

/// Makes the ids of calls unique within a request, whatever the client sends, and finds the call of
/// each result.
///
/// Memory: two entries for each call.
#[derive(Default)]
struct CallIds {
    /// How often an id has been used, by its hash: one that seems used gets a number, and no more.
    used: BTreeMap<u64, u32>,
    /// The calls of the last assistant's turn that wait for a result: the hash of the client's id, the
    /// number of the call, and the number that its id got.
    open: BTreeMap<(u64, u32), u32>,
}

impl CallIds {
    fn begin_turn(&mut self) {
        self.open.clear();
    }

    /// The id of a call, whose place in the conversation is `number`.
    fn call(&mut self, client: &str, number: u32) -> String {
        let plain = plain_id(client);
        let own = hash(&plain);
        let mut count = self.used.get(&own).copied().unwrap_or(0);
        let id = loop {
            count = count.saturating_add(1);
            let id = numbered(&plain, count);
            // Another call may have just that id.
            if count == 1 || !self.used.contains_key(&hash(&id)) {
                break id;
            }
        };
        self.used.insert(hash(&id), 1);
        self.used.insert(own, count);
        self.open.insert((hash(client), number), count);
        id.into_owned()
    }

    /// The id of the call that has this result: the first that has none, else the last.
    fn result(&mut self, client: &str) -> String {
        let client_hash = hash(client);
        let mut calls = self.open.range((client_hash, 0)..=(client_hash, u32::MAX));
        let first = calls.next().map(|(key, count)| (*key, *count));
        let has_more = calls.next().is_some();
        let count = first.map_or(1, |(_, count)| count);
        if let Some((key, _)) = first.filter(|_| has_more) {
            self.open.remove(&key);
        }
        numbered(&plain_id(client), count).into_owned()
    }
}

/// The id of the `count`th call that has it, from 1.
fn numbered<'i>(id: &'i str, count: u32) -> Cow<'i, str> {
    match count {
        ..=1 => Cow::Borrowed(id),
        _ => Cow::Owned(format!("{id}_{count}")),
    }
}

fn hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

impl Turns<'_> {
    /// The instructions that came with a turn of the user, or with that of the assistant before it.
    fn late_system(&self, json: &mut Writer, before: Option<&Group<'_>>, group: &Group<'_>) {
        let texts = || {
            let before = before.into_iter().flat_map(Group::system);
            let late = before
                .chain(group.system())
                .filter(|(index, _)| !self.plan.is_top_level(*index));
            system_blocks(late.map(|(_, message)| message))
        };
        if texts().next().is_some() {
            json.object(|json| {
                json.key("role").string("system");
                json.key("content");
                write_texts(json, texts, &[]);
            });
        }
    }

    fn user_turn(&mut self, json: &mut Writer, group: &Group<'_>) -> Result<(), Unsupported> {
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
                json.key("tool_use_id")
                    .string(&self.ids.result(&tool_call_id.decode()));
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
                        blocks(json, content, None, index, self.adapter);
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
                blocks(json, content, cache_control, index, self.adapter);
            }
        }
        json.close_array();
        Ok(())
    }

    fn assistant(
        &mut self,
        json: &mut Writer,
        message: &Message<'_>,
        index: usize,
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
        let signature = reasoning_signature
            .filter(|_| index >= self.plan.replays_from)
            .map(Text::decode);
        let has_thinking = signature.is_some();
        let reasoning = reasoning.filter(|_| has_thinking).map(Text::decode);
        // Only one text can have been cut.
        let cut = has_thinking.then(|| only_text(content)).flatten();
        let steps = thinking::steps(reasoning.as_deref(), signature.as_deref())
            .ok()
            .filter(|steps| fits(steps, cut.as_deref().unwrap_or_default(), tool_calls));
        if steps.is_none() {
            self.adapter.apply_at(&rules::THINKING_MISMATCH, || {
                format!("messages[{index}].reasoning_signature")
            });
        }
        // > final assistant content cannot end with trailing whitespace
        let is_end = index == self.plan.last && tool_calls.is_empty();
        let ids = &mut self.ids;
        let steps = steps.filter(|steps| !steps.is_empty());
        let mut calls = tool_calls.iter().enumerate().peekable();
        let mut call = |json: &mut Writer, count: usize| {
            for _ in 0..count {
                let Some((number, call)) = calls.next() else {
                    break;
                };
                let cache = cache.filter(|_| calls.peek().is_none());
                let id = ids.call(&call.id.decode(), call.number);
                tool_use(json, &call, &id, (index, number), cache)?;
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
            Some(text) if is_end => text_block(json, text.trim_end(), own),
            Some(text) => text_block(json, text, own),
            None if is_end => {
                let mut parts = marked(content, own).peekable();
                while let Some((number, part, cache)) = parts.next() {
                    match part.kind {
                        PartKind::Text(text) if parts.peek().is_none() => {
                            let text = text.decode().unwrap_or_default();
                            text_block(json, text.trim_end(), cache);
                        }
                        _ => block(json, &part, cache, (index, number), self.adapter),
                    }
                }
            }
            None => blocks(json, content, own, index, self.adapter),
        }
        call(json, usize::MAX)
    }
}

/// Whose turn it is; `None` for instructions and empty messages.
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
    id: &str,
    (message, index): (usize, usize),
    cache: Option<Raw<'_>>,
) -> Result<(), Unsupported> {
    let arguments = call.arguments();
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
        json.key("id").string(id);
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
    adapter: &Adapter,
) {
    for (index, part, cache) in marked(parts, cache) {
        block(json, &part, cache, (message, index), adapter);
    }
}

fn block(
    json: &mut Writer,
    part: &Part<'_>,
    cache: Option<Raw<'_>>,
    (message, index): (usize, usize),
    adapter: &Adapter,
) {
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
                adapter.apply_at(&rules::IMAGE_DETAIL, || param(".image_url.detail"));
            }
            let mut write = |source: Result<Source<'_>, _>| match source {
                Ok(source) => source.write(json, "image", None, cache),
                Err(_) => adapter.apply_at(&rules::IMAGE, || param(".image_url.url")),
            };
            match url.in_place() {
                Some((media_type, data)) => {
                    write(Source::of_picture(media_type, Piece::Quoted(data)));
                }
                None => write(Source::of_image(&data_uri::canonical(url.decode()))),
            }
        }
        PartKind::File { id, name, data } => {
            let name = name.map(Text::decode);
            let name = name.as_deref();
            if let Some(id) = id {
                // Only the extension can tell what it is.
                let kind = match source::is_image_name(name) {
                    true => "image",
                    false => "document",
                };
                Source::Id(&id.decode()).write(json, kind, name, cache);
                return;
            }
            let mut write = |document: Result<(&str, Source<'_>), _>| match document {
                Ok((kind, source)) => source.write(json, kind, name, cache),
                Err(_) => adapter.apply_at(&rules::FILE, || param(".file.file_data")),
            };
            let in_place = data.and_then(chat::Source::in_place);
            let in_place = in_place.and_then(|(media_type, data)| {
                Source::of_document(media_type, Piece::Quoted(data))
            });
            match in_place {
                Some(document) => write(document),
                None => {
                    let data = data.map(chat::Source::decode).unwrap_or_default();
                    let data = data_uri::canonical(data);
                    write(Source::of_file(&data, name));
                }
            }
        }
        PartKind::Audio { .. } => adapter.apply_at(&rules::AUDIO_INPUT, || param(".type")),
    }
}

/// Ids of other providers' calls may have characters that are refused here.
///
/// > String should match pattern '^[a-zA-Z0-9_-]+$'
fn plain_id(id: &str) -> Cow<'_, str> {
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
