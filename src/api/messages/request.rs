//! Reading a request.

use std::borrow::Cow;

use super::{CALL_SIGNATURE, wire};
use crate::api::InvalidRequest;
use crate::api::unplaced::{note, note_path};
use crate::chat::tape::{Kind, MAX_TEXT_BYTES, Tape};
use crate::chat::{HostedTool, Messages, Request, ResponseFormat, ToolChoice, Tools};
use crate::failure::quotable;
use crate::json::{Items, Key, Quoted, Raw, Reader, Seen, Text, Unread};

/// Reads the body of `POST /messages`.
///
/// The model may be missing or empty: whether there is a default is not known here.
///
/// # Errors
///
/// When the body is not JSON, or a member is missing, of another type or of an unknown kind.
///
/// ```
/// use llm_proxy::api::messages;
///
/// let body = br#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#;
/// assert_eq!(messages::read(body).unwrap().messages.iter().count(), 1);
///
/// let body = br#"{"model":"m","messages":[{"role":"user","content":[{"type":"image"}]}]}"#;
/// let invalid = messages::read(body).unwrap_err();
/// assert_eq!(invalid.param.as_deref(), Some("messages[0].content[0].source"));
/// ```
pub fn read(body: &[u8]) -> Result<Request<'_>, InvalidRequest> {
    if body.len() > MAX_TEXT_BYTES {
        let message = format!("the body is larger than {MAX_TEXT_BYTES} bytes");
        return Err(InvalidRequest::body(message));
    }
    let mut reading = Reading {
        body: wire::Body::default(),
        seen: Seen::default(),
        seen_lists: Seen::default(),
        has_messages: false,
        instructions: Tape::new(body),
        messages: Tape::new(body),
        tools: Tape::new(body),
        hosted_tools: Vec::new(),
        hosted_names: Vec::new(),
        unplaced: Vec::new(),
        invalid: None,
    };
    let mut reader = Reader::new(body);
    let is_read = reader
        .object(&mut |reader, key| reading.member(reader, key))
        .and_then(|()| reader.end());
    match (is_read, reading.invalid.take()) {
        (Ok(()), None) => reading.finish(),
        (_, Some(invalid)) => Err(invalid),
        (Err(unread), None) => Err(InvalidRequest::unread(&unread, body)),
    }
}

/// A request as far as it has been read.
struct Reading<'a> {
    body: wire::Body<'a>,
    seen: Seen,
    /// Of the members that [`wire::Body`] has not.
    seen_lists: Seen,
    has_messages: bool,
    instructions: Tape<'a>,
    messages: Tape<'a>,
    tools: Tape<'a>,
    hosted_tools: Vec<HostedTool<'a>>,
    /// The names by which `tool_choice` can force those.
    hosted_names: Vec<Cow<'a, str>>,
    unplaced: Vec<String>,
    /// What is wrong, where more can be said about it than an [`Unread`] can.
    invalid: Option<InvalidRequest>,
}

const MESSAGES: u32 = 0;
const SYSTEM: u32 = 1;
const TOOLS: u32 = 2;
const ROLE: u32 = 0;
const CONTENT: u32 = 1;

/// One message, as far as it has been read.
#[derive(Default)]
struct Turn<'a> {
    role: Option<Text<'a>>,
    /// The entries with which messages of this turn begin that are no results of tools.
    heads: Vec<usize>,
    /// Whether what follows belongs to the last head.
    is_open: bool,
    has_results: bool,
    has_content: bool,
    /// A block that only an assistant has, by its type.
    of_assistant: Option<&'static str>,
    has_thinking: bool,
    has_signature: bool,
    /// The signature of the call that comes next.
    call_signature: Option<&'a [u8]>,
}

impl<'a> Reading<'a> {
    fn member(&mut self, reader: &mut Reader<'a>, key: &Key<'a>) -> Result<(), Unread> {
        let number = match key.bytes() {
            b"messages" => MESSAGES,
            b"system" => SYSTEM,
            b"tools" => TOOLS,
            _ => return self.body.read_member(&mut self.seen, reader, key),
        };
        reader.see(&mut self.seen_lists, number)?;
        if reader.null()? {
            return Ok(());
        }
        let mut index = 0;
        match number {
            MESSAGES => {
                self.has_messages = true;
                reader.array(&mut |reader| {
                    index += 1;
                    self.message(reader, index - 1)
                })
            }
            SYSTEM => self.system(reader),
            _ => reader.array(&mut |reader| {
                index += 1;
                let tool = reader.value()?;
                let tool = self.tool(tool, index - 1);
                self.checked(tool)
            }),
        }
    }

    /// Ends the reading where something is wrong.
    fn checked<T>(&mut self, checked: Result<T, InvalidRequest>) -> Result<T, Unread> {
        checked.map_err(|invalid| {
            self.invalid = Some(invalid);
            Unread::Unfit {
                at: 0,
                expected: "valid",
            }
        })
    }

    fn system(&mut self, reader: &mut Reader<'a>) -> Result<(), Unread> {
        self.instructions.push(Kind::System, b"");
        if reader.peek() == Some(b'"') {
            let text: Quoted<'a> = reader.value()?;
            self.instructions.push(Kind::Text, text.text());
            return Ok(());
        }
        let mut index = 0;
        reader.array(&mut |reader| {
            let path = format!("system[{index}]");
            index += 1;
            let block: wire::ResultBlock<'a> = reader.value()?;
            let noted = note(&mut self.unplaced, || path.clone(), &block.unknown);
            self.checked(noted)?;
            let (Some("text"), Some(text)) = (block.kind.map(Text::decode).as_deref(), block.text)
            else {
                let invalid = InvalidRequest::at(path, "is not a text block");
                return self.checked(Err(invalid));
            };
            self.instructions.push(Kind::Text, text.text());
            if let Some(cache_control) = block.cache_control {
                self.instructions
                    .push(Kind::PartCache, cache_control.bytes());
            }
            Ok(())
        })
    }

    fn message(&mut self, reader: &mut Reader<'a>, index: usize) -> Result<(), Unread> {
        let mut turn = Turn::default();
        let mut seen = Seen::default();
        reader.object(&mut |reader, key| {
            let number = match key.bytes() {
                b"role" => ROLE,
                b"content" => CONTENT,
                _ => {
                    let path = format!("messages[{index}].{}", key.to_name());
                    let noted = note_path(&mut self.unplaced, path);
                    self.checked(noted)?;
                    return reader.skip().map(|_| ());
                }
            };
            reader.see(&mut seen, number)?;
            if number == ROLE {
                turn.role = Some(reader.value()?);
                return Ok(());
            }
            turn.has_content = true;
            if reader.peek() == Some(b'"') {
                let text: Quoted<'a> = reader.value()?;
                self.part(&mut turn, Kind::Text, text.text());
                return Ok(());
            }
            let mut place = (index, 0);
            reader.array(&mut |reader| {
                let block = reader.value()?;
                let block = self.block(&mut turn, block, place);
                place.1 += 1;
                self.checked(block)
            })
        })?;
        let ended = self.end_message(&turn, index);
        self.checked(ended)
    }

    /// Adds an entry that belongs to a message that is no result of a tool.
    fn part(&mut self, turn: &mut Turn<'a>, kind: Kind, place: &[u8]) {
        if !std::mem::replace(&mut turn.is_open, true) {
            turn.heads.push(self.messages.len());
            self.messages.push(Kind::User, b"");
        }
        self.messages.push(kind, place);
    }

    fn block(
        &mut self,
        turn: &mut Turn<'a>,
        it: wire::Block<'a>,
        (message, index): (usize, usize),
    ) -> Result<(), InvalidRequest> {
        let path = |member: &str| format!("messages[{message}].content[{index}]{member}");
        let missing = |member: &str| InvalidRequest::missing(path(member));
        note(&mut self.unplaced, || path(""), &it.unknown)?;
        let kind = it.kind.ok_or_else(|| missing(".type"))?.decode();
        match &*kind {
            "text" => {
                let text = it.text.ok_or_else(|| missing(".text"))?;
                self.part(turn, Kind::Text, text.text());
            }
            "image" | "document" => {
                let source = it.source.ok_or_else(|| missing(".source"))?;
                if !std::mem::replace(&mut turn.is_open, true) {
                    turn.heads.push(self.messages.len());
                    self.messages.push(Kind::User, b"");
                }
                self.source(&kind, source, it.title, &path(""))?;
            }
            "thinking" => {
                turn.of_assistant = Some("thinking");
                // The conversation has one text and one signature for a turn: the first ones.
                let text = it.thinking.filter(|it| !it.is_empty());
                if let (Some(text), false) = (text, turn.has_thinking) {
                    turn.has_thinking = true;
                    self.part(turn, Kind::Reasoning, text.quoted().text());
                }
                let signature = it.signature.filter(|it| !it.is_empty());
                if let (Some(signature), false) = (signature, turn.has_signature) {
                    turn.has_signature = true;
                    self.part(turn, Kind::ReasoningSignature, signature.quoted().text());
                }
            }
            "redacted_thinking" => {
                turn.of_assistant = Some("redacted_thinking");
                let data = it.data.unwrap_or_default().quoted().text();
                // Other thinking that is not shown only its provider can read.
                turn.call_signature = data.strip_prefix(CALL_SIGNATURE.as_bytes());
            }
            "tool_use" => {
                turn.of_assistant = Some("tool_use");
                let id = it.id.ok_or_else(|| missing(".id"))?;
                let name = it.name.ok_or_else(|| missing(".name"))?;
                if it.input.is_some_and(|input| !input.is_object()) {
                    return Err(InvalidRequest::at(path(".input"), "is not an object"));
                }
                self.part(turn, Kind::Call, id.quoted().text());
                self.messages.push(Kind::CallName, name.quoted().text());
                if let Some(input) = it.input {
                    self.messages.push(Kind::CallInput, input.bytes());
                }
                if let Some(signature) = turn.call_signature.take() {
                    self.messages.push(Kind::CallSignature, signature);
                }
            }
            "tool_result" => {
                let id = it.tool_use_id.ok_or_else(|| missing(".tool_use_id"))?;
                turn.has_results = true;
                turn.is_open = false;
                self.messages.push(Kind::Tool, id.quoted().text());
                self.result(it.content, &path(".content"))?;
                if it.is_error == Some(true) {
                    note_path(&mut self.unplaced, path(".is_error"))?;
                }
            }
            other => {
                return Err(InvalidRequest::at(
                    path(".type"),
                    format!(
                        "{:?} is not taken by this backend; use one of \"text\", \"image\", \
                         \"document\", \"thinking\", \"redacted_thinking\", \"tool_use\", \
                         \"tool_result\"",
                        quotable(other)
                    ),
                ));
            }
        }
        if let Some(cache_control) = it.cache_control {
            match &*kind {
                "text" | "image" | "document" => {
                    self.messages.push(Kind::PartCache, cache_control.bytes());
                }
                "tool_result" => {
                    self.messages
                        .push(Kind::MessageCache, cache_control.bytes());
                }
                // Thinking cannot be marked, and the call before its result need not be.
                _ => {}
            }
        }
        Ok(())
    }

    /// The content of a tool's result.
    fn result(
        &mut self,
        content: Option<wire::ResultContent<'a>>,
        path: &str,
    ) -> Result<(), InvalidRequest> {
        let blocks = match content {
            None => Items::default(),
            Some(wire::ResultContent::Text(text)) => {
                self.messages.push(Kind::Text, text.text());
                return Ok(());
            }
            Some(wire::ResultContent::Blocks(blocks)) => blocks,
        };
        for (index, block) in blocks.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let missing = |member: &str| InvalidRequest::missing(format!("{path}{member}"));
            note(&mut self.unplaced, || path.clone(), &block.unknown)?;
            let kind = block.kind.ok_or_else(|| missing(".type"))?.decode();
            match &*kind {
                "text" => {
                    let text = block.text.ok_or_else(|| missing(".text"))?;
                    self.messages.push(Kind::Text, text.text());
                }
                "image" | "document" => {
                    let source = block.source.ok_or_else(|| missing(".source"))?;
                    self.source(&kind, source, block.title, &path)?;
                }
                other => {
                    return Err(InvalidRequest::at(
                        format!("{path}.type"),
                        format!(
                            "{:?} is not taken by this backend; use one of \"text\", \"image\", \
                             \"document\"",
                            quotable(other)
                        ),
                    ));
                }
            }
            if let Some(cache_control) = block.cache_control {
                self.messages.push(Kind::PartCache, cache_control.bytes());
            }
        }
        Ok(())
    }

    /// An image or a document.
    fn source(
        &mut self,
        kind: &str,
        source: wire::Source<'a>,
        title: Option<Text<'a>>,
        path: &str,
    ) -> Result<(), InvalidRequest> {
        let at = |member: &str| format!("{path}.source{member}");
        let missing = |member: &str| InvalidRequest::missing(at(member));
        note(&mut self.unplaced, || at(""), &source.unknown)?;
        let of = source.kind.ok_or_else(|| missing(".type"))?.decode();
        let is_image = kind == "image";
        let place = |text: Text<'a>| text.quoted().text();
        let file = |messages: &mut Tape<'a>| {
            messages.push(Kind::File, b"");
            if let Some(title) = title {
                messages.push(Kind::FileName, place(title));
            }
        };
        match &*of {
            "base64" => {
                let data = source.data.ok_or_else(|| missing(".data"))?;
                let media_type = source.media_type.ok_or_else(|| missing(".media_type"))?;
                match is_image {
                    true => self.messages.push(Kind::ImageData, place(data)),
                    false => {
                        file(&mut self.messages);
                        self.messages.push(Kind::FileData, place(data));
                    }
                }
                self.messages.push(Kind::MediaType, place(media_type));
            }
            "url" => {
                let url = source.url.ok_or_else(|| missing(".url"))?;
                match is_image {
                    true => self.messages.push(Kind::Image, place(url)),
                    false => {
                        file(&mut self.messages);
                        self.messages.push(Kind::FileData, place(url));
                    }
                }
            }
            "text" if !is_image => {
                let data = source.data.ok_or_else(|| missing(".data"))?;
                file(&mut self.messages);
                self.messages.push(Kind::FileText, place(data));
            }
            other => {
                return Err(InvalidRequest::at(
                    at(".type"),
                    format!(
                        "{:?} is not taken by this backend; use \"base64\" or \"url\"",
                        quotable(other)
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Gives the messages of a turn their role.
    fn end_message(&mut self, turn: &Turn<'a>, index: usize) -> Result<(), InvalidRequest> {
        let path = |member: &str| format!("messages[{index}]{member}");
        let Some(role) = turn.role else {
            return Err(InvalidRequest::missing(path(".role")));
        };
        if !turn.has_content {
            return Err(InvalidRequest::missing(path(".content")));
        }
        let role = role.decode();
        let kind = match &*role {
            "assistant" => Kind::Assistant,
            // Newer models take instructions between turns.
            "system" => Kind::System,
            "user" => Kind::User,
            other => {
                return Err(InvalidRequest::at(
                    path(".role"),
                    format!(
                        "{:?} is none of \"assistant\", \"system\", \"user\"",
                        quotable(other)
                    ),
                ));
            }
        };
        if let (Some(block), false) = (turn.of_assistant, kind == Kind::Assistant) {
            let message = format!("a {block} block is only valid in an assistant message");
            return Err(InvalidRequest::at(path(".content"), message));
        }
        if turn.has_results && kind != Kind::User {
            let message = "a tool_result block is only valid in a user message";
            return Err(InvalidRequest::at(path(".content"), message));
        }
        if turn.heads.is_empty() && !turn.has_results {
            self.messages.push(kind, b"");
        }
        for head in &turn.heads {
            self.messages.replace(*head, kind, b"");
        }
        Ok(())
    }

    fn tool(&mut self, it: wire::Tool<'a>, index: usize) -> Result<(), InvalidRequest> {
        let path = |member: &str| format!("tools[{index}]{member}");
        if let Some(kind) = it.kind.filter(|kind| kind != "custom") {
            if self.hosted_tools.len() >= MAX_HOSTED_TOOLS {
                let message = "is one of too many tools that are not custom tools";
                return Err(InvalidRequest::at(path(""), message));
            }
            self.hosted_names.extend(it.name.map(Text::decode));
            self.hosted_tools.push(HostedTool {
                index,
                kind,
                has_files: false,
            });
            return Ok(());
        }
        note(&mut self.unplaced, || path(""), &it.unknown)?;
        let Some(name) = it.name else {
            return Err(InvalidRequest::missing(path(".name")));
        };
        if it.input_schema.is_some_and(|it| !it.is_object()) {
            let message = "is not an object: JSON Schema is wanted";
            return Err(InvalidRequest::at(path(".input_schema"), message));
        }
        self.tools.push(Kind::Function, name.quoted().text());
        if let Some(description) = it.description {
            self.tools
                .push(Kind::Description, description.quoted().text());
        }
        for (kind, value) in [
            (Kind::Parameters, it.input_schema),
            (Kind::ToolCache, it.cache_control),
        ] {
            if let Some(value) = value {
                self.tools.push(kind, value.bytes());
            }
        }
        match it.strict {
            None => {}
            Some(false) => self.tools.push(Kind::IsNotStrict, b""),
            Some(true) => self.tools.push(Kind::IsStrict, b""),
        }
        Ok(())
    }

    /// The request, whose text has been read to its end.
    fn finish(mut self) -> Result<Request<'a>, InvalidRequest> {
        let body = self.body;
        if !self.has_messages {
            return Err(InvalidRequest::missing("messages"));
        }
        if self.messages.len() == 0 {
            return Err(InvalidRequest::at(
                "messages",
                "must have at least one message",
            ));
        }
        let mut unplaced = std::mem::take(&mut self.unplaced);
        let mut other = body.unknown;
        other.retain(|(name, _)| {
            let is_hint = HINTS.contains(&&**name);
            if is_hint {
                unplaced.push(name.clone().into_owned());
            }
            !is_hint
        });
        let thinking = body.thinking.unwrap_or_default();
        note(&mut unplaced, || "thinking".to_owned(), &thinking.unknown)?;
        let metadata = body.metadata.unwrap_or_default();
        note(&mut unplaced, || "metadata".to_owned(), &metadata.unknown)?;
        let output = body.output_config.unwrap_or_default();
        note(
            &mut unplaced,
            || "output_config".to_owned(),
            &output.unknown,
        )?;
        let choice = body.tool_choice;
        let is_parallel = choice.as_ref().and_then(|it| it.disable_parallel_tool_use);
        let is_said = |it: &Cow<'_, str>| !it.is_empty();
        Ok(Request {
            model: body.model.unwrap_or_default(),
            messages: Messages::after(self.instructions, self.messages),
            max_tokens: body.max_tokens,
            temperature: body.temperature,
            top_p: body.top_p,
            stop: body.stop_sequences.unwrap_or_default(),
            stream: body.stream.unwrap_or_default(),
            include_usage: true,
            tools: Tools(self.tools),
            hosted_tools: self.hosted_tools,
            uses_functions: false,
            tool_choice: match choice {
                Some(choice) => Some(tool_choice(choice, &self.hosted_names, &mut unplaced)?),
                None => None,
            },
            parallel_tool_calls: is_parallel.map(|is_disabled| !is_disabled),
            response_format: match output.format {
                Some(format) => Some(response_format(format, &mut unplaced)?),
                None => None,
            },
            reasoning_effort: output.effort.filter(is_said).or_else(|| effort(&thinking)),
            user: metadata.user_id.filter(is_said),
            seed: None,
            n: 1,
            presence_penalty: None,
            frequency_penalty: None,
            logprobs: false,
            top_logprobs: None,
            other,
            unplaced,
        })
    }
}

/// The effort that `thinking` comes to, in OpenAI's words; `None`: it is left to the model.
fn effort(thinking: &wire::Thinking<'_>) -> Option<Cow<'static, str>> {
    let word = match thinking.kind.as_deref()? {
        "adaptive" => "medium",
        "disabled" => "none",
        "enabled" => match thinking.budget_tokens.unwrap_or_default() {
            0..=4_096 => "low",
            4_097..=16_384 => "medium",
            _ => "high",
        },
        _ => return None,
    };
    Some(Cow::Borrowed(word))
}

fn tool_choice<'a>(
    it: wire::ToolChoice<'a>,
    hosted: &[Cow<'a, str>],
    unplaced: &mut Vec<String>,
) -> Result<ToolChoice<'a>, InvalidRequest> {
    note(unplaced, || "tool_choice".to_owned(), &it.unknown)?;
    match it.kind.as_deref() {
        Some("auto") => Ok(ToolChoice::Auto),
        Some("any") => Ok(ToolChoice::Required),
        Some("none") => Ok(ToolChoice::None),
        Some("tool") => match it.name {
            Some(name) if hosted.contains(&name) => Ok(ToolChoice::Hosted(name)),
            Some(name) => Ok(ToolChoice::Function(name)),
            None => Err(InvalidRequest::missing("tool_choice.name")),
        },
        Some(other) => Err(InvalidRequest::at(
            "tool_choice.type",
            format!(
                "{:?} is none of \"any\", \"auto\", \"none\", \"tool\"",
                quotable(other)
            ),
        )),
        None => Err(InvalidRequest::missing("tool_choice.type")),
    }
}

fn response_format<'a>(
    it: wire::Format<'a>,
    unplaced: &mut Vec<String>,
) -> Result<ResponseFormat<'a>, InvalidRequest> {
    let path = "output_config.format";
    note(unplaced, || path.to_owned(), &it.unknown)?;
    if it.kind.as_deref() != Some("json_schema") {
        return Err(InvalidRequest::at(
            format!("{path}.type"),
            "is not \"json_schema\"",
        ));
    }
    let schema: Raw<'a> = it
        .schema
        .filter(|it| it.is_object())
        .ok_or_else(|| InvalidRequest::at(format!("{path}.schema"), "is not an object"))?;
    Ok(ResponseFormat::JsonSchema {
        name: it.name.unwrap_or(Cow::Borrowed("output")),
        description: None,
        schema: Some(schema),
        strict: Some(true),
    })
}

/// Parameters that do not change what a correct answer is.
const HINTS: [&str; 5] = [
    "container",
    "context_management",
    "inference_geo",
    "service_tier",
    "speed",
];

/// The most tools that are not custom ones.
const MAX_HOSTED_TOOLS: usize = 64;
