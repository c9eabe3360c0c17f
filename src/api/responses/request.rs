//! Reading a request.

use std::borrow::Cow;

use super::{CALL_SIGNATURE, carrier, wire};
use crate::api::InvalidRequest;
use crate::api::openai::tool_choice_word;
use crate::api::unplaced::{note, note_path};
use crate::chat::tape::{Kind, MAX_TEXT_BYTES, Tape};
use crate::chat::{HostedTool, Messages, Request, ResponseFormat, ToolChoice, Tools};
use crate::failure::quotable;
use crate::json::{Items, Key, Quoted, Raw, Reader, Seen, Text, Unread};

/// Reads the body of `POST /responses`.
///
/// The model may be missing or empty: whether there is a default is not known here.
///
/// # Errors
///
/// When the body is not JSON, a member is missing, of another type or of an unknown kind, or the request
/// needs what only a server that stores responses has.
///
/// ```
/// use llm_proxy::api::responses;
///
/// let body = br#"{"model":"m","input":"hi"}"#;
/// assert_eq!(responses::read(body).unwrap().messages.iter().count(), 1);
///
/// let body = br#"{"model":"m","input":"hi","previous_response_id":"resp_1"}"#;
/// let invalid = responses::read(body).unwrap_err();
/// assert_eq!(invalid.param.as_deref(), Some("previous_response_id"));
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
        has_input: false,
        turn: None,
        messages: Tape::new(body),
        tools: Tape::new(body),
        hosted_tools: Vec::new(),
        unplaced: Vec::new(),
        invalid: None,
    };
    let mut reader = Reader::new(body);
    let is_read = reader
        .object(&mut |reader, key| reading.member(reader, key))
        .and_then(|()| reader.end());
    match (is_read, reading.invalid.take()) {
        (Ok(()), None) => reading.finish(body),
        (_, Some(invalid)) => Err(invalid),
        (Err(unread), None) => Err(InvalidRequest::unread(&unread, body)),
    }
}

/// What only a server has that stores responses, and what can be done instead.
pub const STORED: [(&str, &str); 3] = [
    (
        "previous_response_id",
        "no response is stored here; send the earlier items in \"input\", or use a backend that \
         speaks the Responses API itself",
    ),
    (
        "conversation",
        "no conversation is stored here; send the earlier items in \"input\", or use a backend that \
         speaks the Responses API itself",
    ),
    (
        "prompt",
        "no prompt template is stored here; send its text as \"instructions\" or in \"input\"",
    ),
];

/// A request as far as it has been read.
struct Reading<'a> {
    body: wire::Body<'a>,
    seen: Seen,
    /// Of the members that [`wire::Body`] has not.
    seen_lists: Seen,
    has_input: bool,
    /// The assistant's message that is open.
    turn: Option<Turn<'a>>,
    messages: Tape<'a>,
    tools: Tape<'a>,
    hosted_tools: Vec<HostedTool<'a>>,
    unplaced: Vec<String>,
    /// What is wrong, where more can be said about it than an [`Unread`] can.
    invalid: Option<InvalidRequest>,
}

const INPUT: u32 = 0;
const TOOLS: u32 = 1;

/// Items of the assistant's, one behind the other, which are one message of the conversation.
#[derive(Debug, Default)]
struct Turn<'a> {
    has_text: bool,
    has_calls: bool,
    has_thinking: bool,
    has_signature: bool,
    /// The signature of the call that comes next.
    call_signature: Option<&'a [u8]>,
}

impl<'a> Reading<'a> {
    fn member(&mut self, reader: &mut Reader<'a>, key: &Key<'a>) -> Result<(), Unread> {
        let number = match key.bytes() {
            b"input" => INPUT,
            b"tools" => TOOLS,
            _ => return self.body.read_member(&mut self.seen, reader, key),
        };
        reader.see(&mut self.seen_lists, number)?;
        if reader.null()? {
            return Ok(());
        }
        let mut index = 0;
        match number {
            INPUT if reader.peek() == Some(b'"') => {
                self.has_input = true;
                let text: Quoted<'a> = reader.value()?;
                self.messages.push(Kind::User, b"");
                self.messages.push(Kind::Text, text.text());
                Ok(())
            }
            INPUT => reader.array(&mut |reader| {
                self.has_input = true;
                index += 1;
                let item = reader.value()?;
                let item = self.item(item, index - 1);
                self.checked(item)
            }),
            _ => reader.array(&mut |reader| {
                index += 1;
                let tool = reader.value()?;
                let path = || format!("tools[{}]", index - 1);
                let tool = self.tool(tool, index - 1, &path);
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

    fn item(&mut self, it: wire::Item<'a>, index: usize) -> Result<(), InvalidRequest> {
        let path = |member: &str| format!("input[{index}]{member}");
        let missing = |member: &str| InvalidRequest::missing(path(member));
        let kind = match it.kind {
            Some(kind) => kind.decode(),
            None if it.role.is_some() => Cow::Borrowed("message"),
            None => return Err(missing(".type")),
        };
        if !DROPPED.contains(&&*kind) {
            note(&mut self.unplaced, || path(""), &it.unknown)?;
        }
        match &*kind {
            "message" => self.message(it, index),
            "reasoning" => self.reasoning(&it, index),
            "function_call" | "custom_tool_call" => {
                let id = it.call_id.ok_or_else(|| missing(".call_id"))?;
                let name = it.name.ok_or_else(|| missing(".name"))?;
                let turn = self.open_turn();
                turn.has_calls = true;
                let signature = turn.call_signature.take();
                let arguments = match &*kind {
                    "function_call" => (Kind::Arguments, it.arguments),
                    _ => (Kind::CallCustomInput, it.input),
                };
                self.messages.push(Kind::Call, id.quoted().text());
                self.messages.push(Kind::CallName, name.quoted().text());
                if let (kind, Some(arguments)) = arguments {
                    self.messages.push(kind, arguments.quoted().text());
                }
                if let Some(signature) = signature {
                    self.messages.push(Kind::CallSignature, signature);
                }
                Ok(())
            }
            "function_call_output" | "custom_tool_call_output" => {
                let id = it.call_id.ok_or_else(|| missing(".call_id"))?;
                self.turn = None;
                self.messages.push(Kind::Tool, id.quoted().text());
                match it.output {
                    Some(output) => self.content(output, Role::Tool, &path(".output")),
                    None => Err(missing(".output")),
                }
            }
            // Tools that are announced within the conversation.
            "additional_tools" | "tool_search_output" => {
                for (number, tool) in it.tools.unwrap_or_default().iter().enumerate() {
                    let path = || format!("input[{index}].tools[{number}]");
                    self.tool(tool, number, &path)?;
                }
                Ok(())
            }
            "item_reference" => {
                let id = it.id.map(Text::decode).unwrap_or_default();
                Err(carrier::unknown_reference(&path(".id"), &id))
            }
            dropped if DROPPED.contains(&dropped) => {
                note_path(&mut self.unplaced, format!("{}.{dropped}", path("")))
            }
            other => Err(InvalidRequest::at(
                path(".type"),
                format!(
                    "{:?} is not taken by this backend; use one of \"message\", \"reasoning\", \
                     \"function_call\", \"function_call_output\", \"custom_tool_call\", \
                     \"custom_tool_call_output\"",
                    quotable(other)
                ),
            )),
        }
    }

    /// The assistant's message that is open, or a new one.
    fn open_turn(&mut self) -> &mut Turn<'a> {
        let Self { turn, messages, .. } = self;
        turn.get_or_insert_with(|| {
            messages.push(Kind::Assistant, b"");
            Turn::default()
        })
    }

    fn message(&mut self, it: wire::Item<'a>, index: usize) -> Result<(), InvalidRequest> {
        let path = |member: &str| format!("input[{index}]{member}");
        let Some(role) = it.role else {
            return Err(InvalidRequest::missing(path(".role")));
        };
        let Some(content) = it.content else {
            return Err(InvalidRequest::missing(path(".content")));
        };
        let role = role.decode();
        let role = match &*role {
            "assistant" => Role::Assistant,
            "developer" | "system" => Role::System,
            "user" => Role::User,
            other => {
                return Err(InvalidRequest::at(
                    path(".role"),
                    format!(
                        "{:?} is none of \"assistant\", \"developer\", \"system\", \"user\"",
                        quotable(other)
                    ),
                ));
            }
        };
        match role {
            Role::Assistant => {
                // Two texts in a row are two messages; what follows calls belongs to them.
                if self
                    .turn
                    .as_ref()
                    .is_some_and(|it| it.has_text && !it.has_calls)
                {
                    self.turn = None;
                }
                self.open_turn().has_text = true;
            }
            Role::System => {
                self.turn = None;
                self.messages.push(Kind::System, b"");
            }
            Role::Tool | Role::User => {
                self.turn = None;
                self.messages.push(Kind::User, b"");
            }
        }
        self.content(content, role, &path(".content"))
    }

    /// Thinking of an earlier turn. The conversation has one text and one signature for a turn: the first
    /// ones.
    fn reasoning(&mut self, it: &wire::Item<'a>, index: usize) -> Result<(), InvalidRequest> {
        if it.id.is_some_and(carrier::is_carrier) {
            return Ok(());
        }
        let path = |member: &str| format!("input[{index}]{member}");
        let content = match &it.content {
            Some(wire::Content::Parts(parts)) => parts.clone(),
            Some(wire::Content::Text(_)) | None => Items::default(),
        };
        let content = content
            .iter()
            .chain(it.summary.clone().unwrap_or_default().iter());
        let mut texts = content.filter_map(|part| part.text.filter(|it| !it.is_empty()));
        let text = texts.next();
        if it.content.is_none() && texts.next().is_some() {
            note_path(&mut self.unplaced, path(".summary[]"))?;
        }
        let turn = self.open_turn();
        let text = text.filter(|_| !std::mem::replace(&mut turn.has_thinking, true));
        let signature = it.encrypted_content.filter(|it| !it.is_empty());
        let signature = signature.map(|it| it.quoted().text()).unwrap_or_default();
        if let Some(signature) = signature.strip_prefix(CALL_SIGNATURE.as_bytes()) {
            turn.call_signature = Some(signature);
            return Ok(());
        }
        // Those that are not ours have no name of a dialect before them, and only OpenAI can read them.
        let is_ours = signature.contains(&b':');
        let is_new = is_ours && !std::mem::replace(&mut turn.has_signature, true);
        if !is_ours && !signature.is_empty() {
            note_path(&mut self.unplaced, path(".encrypted_content"))?;
        }
        if let Some(text) = text {
            self.messages.push(Kind::Reasoning, text.text());
        }
        if is_new {
            self.messages.push(Kind::ReasoningSignature, signature);
        }
        Ok(())
    }

    fn content(
        &mut self,
        content: wire::Content<'a>,
        role: Role,
        path: &str,
    ) -> Result<(), InvalidRequest> {
        match content {
            wire::Content::Text(text) => {
                self.messages.push(Kind::Text, text.text());
                Ok(())
            }
            wire::Content::Parts(parts) => {
                let mut parts = parts.iter().enumerate();
                parts.try_for_each(|(index, part)| self.part(part, role, (path, index)))
            }
        }
    }

    fn part(
        &mut self,
        it: wire::Part<'a>,
        role: Role,
        (path, index): (&str, usize),
    ) -> Result<(), InvalidRequest> {
        let path = |member: &str| format!("{path}[{index}]{member}");
        let missing = |member: &str| InvalidRequest::missing(path(member));
        note(&mut self.unplaced, || path(""), &it.unknown)?;
        let kind = it.kind.ok_or_else(|| missing(".type"))?.decode();
        let place = |text: Text<'a>| text.quoted().text();
        if !role.parts().contains(&&*kind) {
            let allowed = role.parts().join("\", \"");
            return Err(InvalidRequest::at(
                path(".type"),
                format!(
                    "{:?} is not taken here; use one of \"{allowed}\"",
                    quotable(&kind)
                ),
            ));
        }
        match &*kind {
            "input_image" => match (it.image_url, it.file_id) {
                (Some(url), _) => {
                    self.messages.push(Kind::Image, place(url));
                    if let Some(detail) = it.detail {
                        self.messages.push(Kind::Detail, place(detail));
                    }
                }
                (None, Some(id)) => {
                    self.messages.push(Kind::File, b"");
                    self.messages.push(Kind::FileId, place(id));
                }
                (None, None) => return Err(missing(".image_url")),
            },
            "input_file" => {
                let data = it.file_data.or(it.file_url);
                if data.is_none() && it.file_id.is_none() {
                    return Err(missing(".file_data"));
                }
                self.messages.push(Kind::File, b"");
                for (kind, text) in [
                    (Kind::FileId, it.file_id),
                    (Kind::FileName, it.filename),
                    (Kind::FileData, data),
                ] {
                    if let Some(text) = text {
                        self.messages.push(kind, place(text));
                    }
                }
            }
            "input_audio" => {
                let audio = it.input_audio.ok_or_else(|| missing(".input_audio"))?;
                note(&mut self.unplaced, || path(".input_audio"), &audio.unknown)?;
                let data = audio.data.ok_or_else(|| missing(".input_audio.data"))?;
                let format = audio.format.ok_or_else(|| missing(".input_audio.format"))?;
                self.messages.push(Kind::Audio, place(data));
                self.messages.push(Kind::Format, place(format));
            }
            "refusal" => {
                let refusal = it.refusal.ok_or_else(|| missing(".refusal"))?;
                self.messages.push(Kind::Refusal, refusal.text());
            }
            _ => {
                let text = it.text.ok_or_else(|| missing(".text"))?;
                self.messages.push(Kind::Text, text.text());
            }
        }
        if it.prompt_cache_breakpoint.is_some() {
            // A mark without members.
            self.messages.push(Kind::PartCache, b"");
        }
        Ok(())
    }

    /// A tool, which is at `path`, the `index`th of its list.
    fn tool(
        &mut self,
        it: wire::Tool<'a>,
        index: usize,
        path: &dyn Fn() -> String,
    ) -> Result<(), InvalidRequest> {
        let at = |member: &str| path() + member;
        let Some(kind) = it.kind else {
            return Err(InvalidRequest::missing(at(".type")));
        };
        if kind == "namespace" {
            for (number, tool) in it.tools.unwrap_or_default().iter().enumerate() {
                let path = || format!("{}[{number}]", at(".tools"));
                let tool = crate::json::read(tool.bytes());
                let tool = tool.map_err(|it: Unread| InvalidRequest::at(path(), it.message()))?;
                self.tool(tool, number, &path)?;
            }
            return Ok(());
        }
        let is_custom = kind == "custom";
        if kind != "function" && !is_custom {
            if self.hosted_tools.len() >= MAX_HOSTED_TOOLS {
                let message = "is one of too many tools that are not functions";
                return Err(InvalidRequest::at(path(), message));
            }
            // A container that is made for the call has `{"type":"auto"}`, and maybe `file_ids`.
            let keeps_files = |it: Raw<'_>| {
                let text = it.get();
                !text.contains("auto") || text.contains("file")
            };
            self.hosted_tools.push(HostedTool {
                index,
                has_files: kind == "file_search"
                    || it.vector_store_ids.is_some()
                    || it.container.is_some_and(keeps_files),
                kind,
            });
            return Ok(());
        }
        note(&mut self.unplaced, path, &it.unknown)?;
        let Some(name) = it.name else {
            return Err(InvalidRequest::missing(at(".name")));
        };
        if it.parameters.is_some_and(|it| !it.is_object()) {
            let message = "is not an object: JSON Schema is wanted";
            return Err(InvalidRequest::at(at(".parameters"), message));
        }
        self.tools.push(Kind::Function, name.quoted().text());
        if let Some(description) = it.description {
            self.tools
                .push(Kind::Description, description.quoted().text());
        }
        if is_custom {
            // What limits the text is lost.
            let format = it.format.and_then(|it| it.kind);
            if format.is_some_and(|it| it != "text") {
                note_path(&mut self.unplaced, at(".format"))?;
            }
            self.tools.push(Kind::IsCustom, b"");
            return Ok(());
        }
        if let Some(parameters) = it.parameters {
            self.tools.push(Kind::Parameters, parameters.bytes());
        }
        match it.strict {
            None => {}
            Some(false) => self.tools.push(Kind::IsNotStrict, b""),
            Some(true) => self.tools.push(Kind::IsStrict, b""),
        }
        Ok(())
    }

    /// The request, whose text, which is `text`, has been read to its end.
    fn finish(mut self, text: &'a [u8]) -> Result<Request<'a>, InvalidRequest> {
        let body = self.body;
        for (name, remedy) in STORED {
            if body.unknown.iter().any(|(it, _)| it == name) {
                return Err(InvalidRequest::at(name, remedy));
            }
        }
        if body.background == Some(true) {
            let message =
                "no response is stored here, and nobody could fetch it later; leave it out";
            return Err(InvalidRequest::at("background", message));
        }
        if !self.has_input {
            return Err(InvalidRequest::missing("input"));
        }
        if self.messages.len() == 0 {
            return Err(InvalidRequest::at("input", "must have at least one item"));
        }
        let mut instructions = Tape::new(text);
        if let Some(it) = body.instructions.filter(|it| !it.is_empty()) {
            instructions.push(Kind::System, b"");
            instructions.push(Kind::Text, it.text());
        }
        let mut unplaced = std::mem::take(&mut self.unplaced);
        let mut other = body.unknown;
        other.retain(|(name, value)| {
            let is_hint = HINTS.contains(&&**name);
            if is_hint {
                unplaced.push(name.clone().into_owned());
            }
            !is_hint && !is_default(name, *value)
        });
        if body.truncation.is_some_and(|it| it == "auto") {
            unplaced.push("truncation".to_owned());
        }
        let reasoning = body.reasoning.unwrap_or_default();
        note(&mut unplaced, || "reasoning".to_owned(), &reasoning.unknown)?;
        let config = body.text.unwrap_or_default();
        note(&mut unplaced, || "text".to_owned(), &config.unknown)?;
        if let Some(verbosity) = config.verbosity
            && !is_default("verbosity", verbosity)
        {
            other.push((Cow::Borrowed("verbosity"), verbosity));
        }
        let mut has_logprobs = body.top_logprobs.is_some_and(|it| it > 0);
        for included in body.include.unwrap_or_default().iter() {
            match &*included {
                "message.output_text.logprobs" => has_logprobs = true,
                // It always is there.
                "reasoning.encrypted_content" => {}
                _ => note_path(&mut unplaced, "include".to_owned())?,
            }
        }
        let is_said = |it: &Cow<'_, str>| !it.is_empty();
        Ok(Request {
            model: body.model.unwrap_or_default(),
            messages: Messages::after(instructions, self.messages),
            max_tokens: body.max_output_tokens,
            temperature: body.temperature,
            top_p: body.top_p,
            stop: crate::chat::Stops::default(),
            stream: body.stream.unwrap_or_default(),
            include_usage: true,
            tools: Tools(self.tools),
            hosted_tools: self.hosted_tools,
            uses_functions: false,
            tool_choice: match body.tool_choice {
                Some(choice) => tool_choice(choice, &mut unplaced)?,
                None => None,
            },
            parallel_tool_calls: body.parallel_tool_calls,
            response_format: match config.format {
                Some(format) => response_format(format, &mut unplaced)?,
                None => None,
            },
            reasoning_effort: reasoning.effort.filter(is_said),
            user: body
                .safety_identifier
                .filter(is_said)
                .or(body.user.filter(is_said)),
            seed: None,
            n: 1,
            presence_penalty: None,
            frequency_penalty: None,
            logprobs: has_logprobs,
            top_logprobs: body.top_logprobs.filter(|_| has_logprobs),
            other,
            unplaced,
        })
    }
}

/// In whose words a content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Assistant,
    System,
    Tool,
    User,
}

impl Role {
    /// The kinds of parts that it may have.
    fn parts(self) -> &'static [&'static str] {
        match self {
            Self::Assistant => &["output_text", "refusal", "input_text", "text"],
            Self::System => &["input_text", "text", "output_text"],
            Self::Tool => &[
                "input_text",
                "input_image",
                "input_file",
                "text",
                "output_text",
            ],
            Self::User => &[
                "input_text",
                "input_image",
                "input_file",
                "input_audio",
                "text",
                "output_text",
            ],
        }
    }
}

fn tool_choice<'a>(
    it: wire::ToolChoice<'a>,
    unplaced: &mut Vec<String>,
) -> Result<Option<ToolChoice<'a>>, InvalidRequest> {
    let named = match it {
        wire::ToolChoice::Text(word) => return tool_choice_word(&word),
        wire::ToolChoice::Other(named) => named,
    };
    note(unplaced, || "tool_choice".to_owned(), &named.unknown)?;
    let Some(kind) = named.kind else {
        return Err(InvalidRequest::missing("tool_choice.type"));
    };
    let choice = match &*kind {
        "allowed_tools" => {
            let tools = named.tools.unwrap_or_default();
            // Tools of other types are not offered: nothing is lost where they are not named.
            let functions = tools
                .iter()
                .filter(|it| matches!(it.kind.as_deref(), Some("function" | "custom") | None));
            let names = functions.filter_map(|it| it.name);
            let names: Vec<_> = names.take(MAX_ALLOWED_TOOLS + 1).collect();
            if names.len() > MAX_ALLOWED_TOOLS {
                let message = format!("has more than {MAX_ALLOWED_TOOLS} functions");
                return Err(InvalidRequest::at("tool_choice.tools", message));
            }
            ToolChoice::Allowed {
                names,
                is_required: named.mode.as_deref() == Some("required"),
            }
        }
        "function" | "custom" => match named.name {
            Some(name) => ToolChoice::Function(name),
            None => return Err(InvalidRequest::missing("tool_choice.name")),
        },
        _ => ToolChoice::Hosted(kind),
    };
    Ok(Some(choice))
}

fn response_format<'a>(
    it: wire::Format<'a>,
    unplaced: &mut Vec<String>,
) -> Result<Option<ResponseFormat<'a>>, InvalidRequest> {
    let path = |member: &str| format!("text.format{member}");
    note(unplaced, || path(""), &it.unknown)?;
    match it.kind.as_deref() {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(ResponseFormat::JsonObject)),
        Some("json_schema") => {
            if it.schema.is_some_and(|it| !it.is_object()) {
                return Err(InvalidRequest::at(path(".schema"), "is not an object"));
            }
            Ok(Some(ResponseFormat::JsonSchema {
                name: it
                    .name
                    .ok_or_else(|| InvalidRequest::missing(path(".name")))?,
                description: it.description.filter(|it| !it.is_empty()),
                schema: it.schema,
                strict: it.strict,
            }))
        }
        Some(other) => Err(InvalidRequest::at(
            path(".type"),
            format!(
                "{:?} is none of \"json_object\", \"json_schema\", \"text\"",
                quotable(other)
            ),
        )),
        None => Err(InvalidRequest::missing(path(".type"))),
    }
}

/// Whether a member says what its absence would: then nothing is lost without it.
fn is_default(name: &str, value: Raw<'_>) -> bool {
    let is_one_of = |defaults: &[&str]| defaults.contains(&value.get());
    match name {
        "metadata" => is_one_of(&["{}"]),
        "prompt_cache_key" | "prompt_cache_retention" => is_one_of(&["\"\""]),
        "service_tier" => is_one_of(&["\"\"", "\"auto\"", "\"default\""]),
        "store" => is_one_of(&["false"]),
        "verbosity" => is_one_of(&["\"medium\""]),
        _ => false,
    }
}

/// Parameters that do not change what a correct answer is, beside those of chat completions.
pub const HINTS: [&str; 6] = [
    "access_programs",
    "background_options",
    // Of Codex.
    "client_metadata",
    "context_management",
    "image",
    "max_tool_calls",
];

/// Items about tools that OpenAI runs itself, and which say nothing to a model that does not have them.
pub const DROPPED: [&str; 14] = [
    "code_interpreter_call",
    "compaction_trigger",
    "configuration_update",
    "file_search_call",
    // Of Codex.
    "ghost_snapshot",
    "image_generation_call",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_call",
    "mcp_list_tools",
    "program",
    "program_output",
    "tool_search_call",
    "web_search_call",
];

/// The most tools that are not functions.
const MAX_HOSTED_TOOLS: usize = 64;

/// The most functions that `allowed_tools` names.
const MAX_ALLOWED_TOOLS: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Message, PartKind};

    /// A request of one message with more members.
    fn with(members: &str) -> String {
        format!(r#"{{"model":"m","input":"hi",{members}}}"#)
    }

    fn items(items: &str) -> String {
        format!(r#"{{"input":[{items}]}}"#)
    }

    #[test]
    fn what_is_wrong_is_named() {
        let part = |text: &str| items(&format!(r#"{{"role":"user","content":[{text}]}}"#));
        for (body, param) in [
            ("[]".to_owned(), None),
            ("{".to_owned(), None),
            ("{}".to_owned(), Some("input")),
            (r#"{"input":null}"#.to_owned(), Some("input")),
            (r#"{"input":[]}"#.to_owned(), Some("input")),
            (r#"{"input":7}"#.to_owned(), Some("input")),
            (items("{}"), Some("input[0].type")),
            (items(r#"{"role":"user"}"#), Some("input[0].content")),
            (items(r#"{"role":"x","content":""}"#), Some("input[0].role")),
            (
                items(r#"{"type":"message","content":""}"#),
                Some("input[0].role"),
            ),
            (items(r#"{"type":"new"}"#), Some("input[0].type")),
            (
                items(r#"{"type":"compaction","encrypted_content":"x"}"#),
                Some("input[0].type"),
            ),
            (
                items(r#"{"type":"function_call","name":"f"}"#),
                Some("input[0].call_id"),
            ),
            (
                items(r#"{"type":"function_call","call_id":"c"}"#),
                Some("input[0].name"),
            ),
            (
                items(r#"{"type":"function_call_output","call_id":"c"}"#),
                Some("input[0].output"),
            ),
            (
                items(r#"{"type":"item_reference","id":"msg_1"}"#),
                Some("input[0].id"),
            ),
            (
                part(r#"{"type":"video"}"#),
                Some("input[0].content[0].type"),
            ),
            (
                part(r#"{"type":"input_image"}"#),
                Some("input[0].content[0].image_url"),
            ),
            (
                part(r#"{"type":"input_file"}"#),
                Some("input[0].content[0].file_data"),
            ),
            (
                part(r#"{"type":"input_text"}"#),
                Some("input[0].content[0].text"),
            ),
            (
                part(r#"{"type":"input_text","text":1}"#),
                Some("input[0].content[0].text"),
            ),
            (
                items(r#"{"role":"system","content":[{"type":"input_image","image_url":"u"}]}"#),
                Some("input[0].content[0].type"),
            ),
            (
                with(r#""previous_response_id":"resp_1""#),
                Some("previous_response_id"),
            ),
            (with(r#""conversation":{"id":"c"}"#), Some("conversation")),
            (with(r#""prompt":{"id":"p"}"#), Some("prompt")),
            (with(r#""background":true"#), Some("background")),
            (
                with(r#""max_output_tokens":"7""#),
                Some("max_output_tokens"),
            ),
            (with(r#""tools":[{}]"#), Some("tools[0].type")),
            (
                with(r#""tools":[{"type":"function"}]"#),
                Some("tools[0].name"),
            ),
            (
                with(r#""tools":[{"type":"function","name":"f","parameters":[]}]"#),
                Some("tools[0].parameters"),
            ),
            (with(r#""tool_choice":"any""#), Some("tool_choice")),
            (
                with(r#""tool_choice":{"type":"function"}"#),
                Some("tool_choice.name"),
            ),
            (
                with(r#""text":{"format":{"type":"xml"}}"#),
                Some("text.format.type"),
            ),
            (
                with(r#""text":{"format":{"type":"json_schema"}}"#),
                Some("text.format.name"),
            ),
            (with(r#""input":"b""#), Some("input")),
        ] {
            let invalid = read(body.as_bytes()).expect_err(&body);
            assert_eq!(invalid.param.as_deref(), param, "{body}: {invalid}");
        }
    }

    #[test]
    fn what_requests_nothing_is_no_loss() {
        let body = r#"{"model":"m","input":"hi","previous_response_id":null,"conversation":null,
            "prompt":null,"background":false,"store":false,"metadata":{},"truncation":"disabled",
            "service_tier":"auto","text":{"format":{"type":"text"},"verbosity":"medium"},"user":"",
            "stream_options":{"include_obfuscation":false},"top_logprobs":0,"max_tool_calls":null,
            "include":["reasoning.encrypted_content"],"reasoning":{"effort":null,"summary":"auto"}}"#;
        let request = read(body.as_bytes()).unwrap();
        assert!(request.other.is_empty(), "{:?}", request.other);
        assert!(request.unplaced.is_empty(), "{:?}", request.unplaced);
        assert!(!request.logprobs && request.user.is_none() && request.reasoning_effort.is_none());
    }

    #[test]
    fn what_is_left_out_is_named() {
        let body = r#"{"input":[{"role":"user","content":"a","x":1},
            {"type":"web_search_call","id":"ws_1","action":{"type":"search"},"status":"completed"},
            {"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAA"}],
            "truncation":"auto","client_metadata":{"a":"b"},"store":true,
            "reasoning":{"mode":"pro"},"include":["file_search_call.results"],
            "tools":[{"type":"custom","name":"p","format":{"type":"grammar"}}]}"#;
        let request = read(body.as_bytes()).unwrap();
        let mut unplaced = request.unplaced.clone();
        unplaced.sort();
        let expected = [
            "client_metadata",
            "include",
            "input[0].x",
            "input[1].web_search_call",
            "input[2].encrypted_content",
            "reasoning.mode",
            "tools[0].format",
            "truncation",
        ];
        assert_eq!(unplaced, expected);
        let names: Vec<_> = request.other.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["store"]);
    }

    /// Each message as its role and what it has.
    fn turns(body: &str) -> Vec<String> {
        let request = read(body.as_bytes()).expect(body);
        let text = |content: crate::chat::Content<'_>| {
            let parts = content.iter().map(|part| match part.kind {
                PartKind::Text(text) => text.decode().unwrap_or_default().into_owned(),
                _ => "?".to_owned(),
            });
            parts.collect::<Vec<_>>().join("+")
        };
        let turn = |message: Message<'_>| match message {
            Message::System { content, .. } => format!("system {}", text(content)),
            Message::User { content, .. } => format!("user {}", text(content)),
            Message::Tool {
                tool_call_id,
                content,
                ..
            } => format!("tool {} {}", tool_call_id.decode(), text(content)),
            Message::Assistant {
                content,
                tool_calls,
                reasoning,
                reasoning_signature,
                ..
            } => {
                let calls = tool_calls.iter().map(|it| {
                    let signature = it.signature.map(Text::decode).unwrap_or_default();
                    format!(" {}({}){signature}", it.name.decode(), it.arguments())
                });
                let calls: String = calls.collect();
                let thought = reasoning.map(Text::decode).unwrap_or_default();
                let signature = reasoning_signature.map(Text::decode).unwrap_or_default();
                format!("assistant <{thought}|{signature}> {}{calls}", text(content))
            }
        };
        request.messages.iter().map(turn).collect()
    }

    #[test]
    fn items_of_the_assistant_are_one_turn() {
        let body = r#"{"instructions":"s","input":[{"role":"user","content":"u"},
            {"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"t"}],
             "encrypted_content":"anthropic:S","content":null,"status":null},
            {"type":"message","role":"assistant","content":[{"type":"output_text","text":"a"}]},
            {"type":"reasoning","id":"rs_2","summary":[],"encrypted_content":"call-signature:G"},
            {"type":"function_call","call_id":"c1","name":"f","arguments":"{\"x\":1}"},
            {"type":"custom_tool_call","call_id":"c2","name":"p","input":"a\"b"},
            {"type":"function_call_output","call_id":"c1","output":"r1"},
            {"type":"custom_tool_call_output","call_id":"c2",
             "output":[{"type":"input_text","text":"r2"}]},
            {"type":"function_call","call_id":"c3","name":"g","arguments":""},
            {"type":"function_call_output","call_id":"c3","output":"r3"},
            {"role":"assistant","content":"b"},{"role":"assistant","content":"c"},
            {"role":"developer","content":"d"}]}"#;
        let expected = [
            "system s",
            "user u",
            r#"assistant <t|anthropic:S> a f({"x":1})G p({"input":"a\"b"})"#,
            "tool c1 r1",
            "tool c2 r2",
            "assistant <|>  g({})",
            "tool c3 r3",
            "assistant <|> b",
            "assistant <|> c",
            "system d",
        ];
        assert_eq!(turns(body), expected);
    }

    #[test]
    fn tools_are_functions_or_those_of_openai() {
        let body = with(
            r#""tools":[{"type":"function","name":"f","strict":true,"parameters":null},
               {"type":"custom","name":"p","description":"d"},{"type":"web_search"},
               {"type":"file_search","vector_store_ids":["v"]},
               {"type":"code_interpreter","container":{"type":"auto"}},
               {"type":"tool_search","execution":"client"},{"type":"local_shell"}],
               "tool_choice":{"type":"allowed_tools","mode":"required","tools":[
                 {"type":"function","name":"f"},{"type":"web_search"}]}"#,
        );
        let request = read(body.as_bytes()).unwrap();
        let tools: Vec<_> = request
            .tools
            .iter()
            .map(|it| (it.is_custom, it.strict))
            .collect();
        assert_eq!(tools, [(false, Some(true)), (true, None)]);
        let hosted = request.hosted_tools.iter();
        let hosted: Vec<_> = hosted
            .map(|it| (it.index, &*it.kind, it.has_files))
            .collect();
        let expected = [
            (2, "web_search", false),
            (3, "file_search", true),
            (4, "code_interpreter", false),
            (5, "tool_search", false),
            (6, "local_shell", false),
        ];
        assert_eq!(hosted, expected);
        let names = vec!["f".into()];
        let is_required = true;
        assert_eq!(
            request.tool_choice,
            Some(ToolChoice::Allowed { names, is_required })
        );
        let body = with(r#""tool_choice":{"type":"web_search_preview"}"#);
        assert!(matches!(
            read(body.as_bytes()).unwrap().tool_choice,
            Some(ToolChoice::Hosted(_))
        ));
    }

    #[test]
    fn depth_is_an_error_and_not_a_crash() {
        let deep = "[".repeat(100_000);
        for body in [
            format!("{{\"input\":{deep}"),
            with(&format!("\"x\":{deep}{}", "]".repeat(100_000))),
        ] {
            let _ = read(body.as_bytes());
        }
    }
}
