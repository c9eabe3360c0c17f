//! Reading a request.

use std::borrow::Cow;

use super::wire;
use crate::api::InvalidRequest;
use crate::api::unplaced::{note, note_path};
use crate::chat::tape::{Kind, MAX_TEXT_BYTES, Tape};
use crate::chat::{HostedTool, Messages, Request, ResponseFormat, ToolChoice, Tools};
use crate::failure::quotable;
use crate::json::{Key, Quoted, Raw, Reader, Seen, Unread};

/// Reads the body of `POST /chat/completions`.
///
/// The model may be missing or empty: whether there is a default is not known here.
///
/// # Errors
///
/// When the body is not JSON, or a member is missing, of another type or of an unknown kind. What is
/// wrong first ends the reading: the rest of the body is not looked at.
///
/// ```
/// use llm_proxy::api::openai;
///
/// let body = br#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
/// assert_eq!(openai::read(body).unwrap().messages.iter().count(), 1);
///
/// let body = br#"{"model":"m","messages":[{"role":"user","content":[{"type":1}]}]}"#;
/// let invalid = openai::read(body).unwrap_err();
/// assert_eq!(invalid.param.as_deref(), Some("messages[0].content[0].type"));
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
        messages: Tape::new(body),
        tools: Tape::new(body),
        hosted_tools: Vec::new(),
        uses_functions: false,
        has_function_call: false,
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
    messages: Tape<'a>,
    tools: Tape<'a>,
    hosted_tools: Vec<HostedTool<'a>>,
    uses_functions: bool,
    /// Whether an assistant message has a `function_call`.
    has_function_call: bool,
    unplaced: Vec<String>,
    /// What is wrong, where more can be said about it than an [`Unread`] can.
    invalid: Option<InvalidRequest>,
}

/// The members that [`wire::Body`] and [`wire::Message`] have not, by number.
const MESSAGES: u32 = 0;
const TOOLS: u32 = 1;
const FUNCTIONS: u32 = 2;
const CONTENT: u32 = 0;
const TOOL_CALLS: u32 = 1;

impl<'a> Reading<'a> {
    /// Reads the value of a member of the body.
    fn member(&mut self, reader: &mut Reader<'a>, key: &Key<'a>) -> Result<(), Unread> {
        let number = match key.bytes() {
            b"messages" => MESSAGES,
            b"tools" => TOOLS,
            b"functions" => FUNCTIONS,
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
            FUNCTIONS => reader.array(&mut |reader| {
                index += 1;
                self.uses_functions = true;
                let function = reader.value()?;
                let path = format!("functions[{}]", index - 1);
                let function = self.function(function, None, &path);
                self.checked(function)
            }),
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

    fn message(&mut self, reader: &mut Reader<'a>, index: usize) -> Result<(), Unread> {
        // Its role may come last.
        let head = self.messages.len();
        self.messages.push(Kind::User, b"");
        let mut it = wire::Message::default();
        let (mut seen, mut seen_lists) = (Seen::default(), Seen::default());
        let (mut has_content, mut has_calls, mut is_unchecked) = (false, false, false);
        let noted = self.unplaced.len();
        reader.object(&mut |reader, key| {
            let number = match key.bytes() {
                b"content" => CONTENT,
                b"tool_calls" => TOOL_CALLS,
                _ => return it.read_member(&mut seen, reader, key),
            };
            reader.see(&mut seen_lists, number)?;
            if reader.null()? {
                return Ok(());
            }
            let mut place = (index, 0);
            if number == CONTENT {
                has_content = true;
                let role = it.role.map(|role| role.decode());
                let allowed = role.map(|role| Allowed::of(&role));
                // Where it is not known yet, the parts are checked when it is.
                is_unchecked = allowed.is_none();
                return self.content(reader, index, allowed);
            }
            reader.array(&mut |reader| {
                has_calls = true;
                let call = reader.value()?;
                let call = self.tool_call(call, place);
                place.1 += 1;
                self.checked(call)
            })
        })?;
        if let (true, Some(role)) = (is_unchecked, it.role) {
            let parts = self.check_parts(head, index, Allowed::of(&role.decode()));
            self.checked(parts)?;
        }
        let of_content = self.unplaced.len();
        let message = self.end_message(it, (head, index), has_content, has_calls);
        self.checked(message)?;
        // What is about the whole message comes before what is about its content.
        let own = self.unplaced.len() - of_content;
        if let Some(noted) = self.unplaced.get_mut(noted..) {
            noted.rotate_right(own);
        }
        Ok(())
    }

    fn content(
        &mut self,
        reader: &mut Reader<'a>,
        message: usize,
        allowed: Option<Allowed>,
    ) -> Result<(), Unread> {
        match reader.peek() {
            Some(b'"') => {
                let text: Quoted<'a> = reader.value()?;
                self.messages.push(Kind::Text, text.text());
                Ok(())
            }
            Some(b'[' | b'{') => {
                let mut place = (message, 0);
                reader.array(&mut |reader| {
                    let part = reader.value()?;
                    let part = self.part(part, allowed, place);
                    place.1 += 1;
                    self.checked(part)
                })
            }
            _ => Err(reader.unfit("a string or an array of parts")),
        }
    }

    /// Notes what is left of a message when its content and its calls have been.
    fn end_message(
        &mut self,
        it: wire::Message<'a>,
        (head, index): (usize, usize),
        has_content: bool,
        has_calls: bool,
    ) -> Result<(), InvalidRequest> {
        let path = || format!("messages[{index}]");
        let Some(role) = it.role else {
            return Err(InvalidRequest::missing(format!("{}.role", path())));
        };
        let role = &*role.decode();
        note(&mut self.unplaced, path, &it.unknown)?;
        let is_assistant = role == "assistant";
        for (name, is_lost) in [
            (
                "name",
                it.name.is_some_and(|name| !name.is_empty())
                    && !matches!(role, "tool" | "function"),
            ),
            ("audio", it.audio.is_some()),
            ("refusal", it.refusal.is_some() && !is_assistant),
            ("tool_calls", has_calls && !is_assistant),
            ("function_call", it.function_call.is_some() && !is_assistant),
            ("tool_call_id", it.tool_call_id.is_some() && role != "tool"),
            (
                "reasoning_content",
                it.reasoning_content.is_some() && !is_assistant,
            ),
        ] {
            if is_lost {
                note_path(&mut self.unplaced, format!("{}.{name}", path()))?;
            }
        }
        let (kind, of_kind): (_, &[u8]) = match role {
            "assistant" => {
                if let Some(refusal) = it.refusal {
                    self.messages.push(Kind::Refusal, refusal.text());
                }
                if let Some(call) = it.function_call {
                    self.function_call(call, index)?;
                }
                for (kind, text) in [
                    (Kind::Reasoning, it.reasoning_content),
                    (Kind::ReasoningSignature, it.reasoning_signature),
                ] {
                    if let Some(text) = text {
                        self.messages.push(kind, text.quoted().text());
                    }
                }
                (Kind::Assistant, b"")
            }
            "developer" | "system" => (Kind::System, b""),
            "tool" => match it.tool_call_id {
                Some(id) => (Kind::Tool, id.quoted().text()),
                None if has_content => {
                    return Err(InvalidRequest::missing(format!("{}.tool_call_id", path())));
                }
                None => (Kind::Tool, b""),
            },
            "user" => (Kind::User, b""),
            // A `function_call` has no id: its name stands for it.
            "function" => match it.name {
                _ if !self.has_function_call => {
                    let message = "no assistant message before it has a function_call";
                    return Err(InvalidRequest::at(format!("{}.role", path()), message));
                }
                Some(name) => (Kind::Tool, name.quoted().text()),
                None => return Err(InvalidRequest::missing(format!("{}.name", path()))),
            },
            other => {
                return Err(InvalidRequest::at(
                    format!("{}.role", path()),
                    format!(
                        "{:?} is none of \"assistant\", \"developer\", \"system\", \"tool\", \"user\"",
                        quotable(other)
                    ),
                ));
            }
        };
        if !has_content && !is_assistant {
            return Err(InvalidRequest::missing(format!("{}.content", path())));
        }
        if let Some(cache_control) = it.cache_control {
            self.messages
                .push(Kind::MessageCache, cache_control.bytes());
        }
        self.messages.replace(head, kind, of_kind);
        Ok(())
    }

    /// Checks the kinds of the parts that the message has whose entry is `head`.
    fn check_parts(
        &self,
        head: usize,
        message: usize,
        allowed: Allowed,
    ) -> Result<(), InvalidRequest> {
        let entries = (head + 1..self.messages.len()).filter_map(|at| self.messages.get(at));
        let parts = entries.filter(|(kind, _)| kind.is_part());
        for (index, (kind, place)) in parts.enumerate() {
            let name = match kind {
                Kind::Audio => "input_audio",
                Kind::File => "file",
                Kind::Image | Kind::ImageData => "image_url",
                Kind::Refusal => "refusal",
                Kind::Text => "text",
                _ => &*crate::json::Text::checked(place).decode(),
            };
            allowed.check(name, || {
                format!("messages[{message}].content[{index}].type")
            })?;
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
        let stream_options = body.stream_options.unwrap_or_default();
        note(
            &mut unplaced,
            || "stream_options".to_owned(),
            &stream_options.unknown,
        )?;
        let reasoning = body.reasoning.unwrap_or_default();
        note(&mut unplaced, || "reasoning".to_owned(), &reasoning.unknown)?;
        let function_choice = body.function_call.map(function_choice).transpose()?;
        let is_said = |it: &Cow<'_, str>| !it.is_empty();
        let mut other = body.unknown;
        other.retain(|(name, value)| !is_default(name, *value));
        Ok(Request {
            model: body.model.unwrap_or_default(),
            messages: Messages::new(self.messages),
            max_tokens: body.max_completion_tokens.or(body.max_tokens),
            temperature: body.temperature,
            top_p: body.top_p,
            stop: body.stop.unwrap_or_default(),
            stream: body.stream.unwrap_or_default(),
            include_usage: stream_options.include_usage.unwrap_or_default(),
            tools: Tools(self.tools),
            hosted_tools: self.hosted_tools,
            uses_functions: self.uses_functions,
            tool_choice: match body.tool_choice {
                Some(it) => tool_choice(it, &mut unplaced)?,
                None => function_choice.flatten().filter(|_| self.uses_functions),
            },
            parallel_tool_calls: body.parallel_tool_calls,
            response_format: match body.response_format {
                Some(format) => response_format(format, &mut unplaced)?,
                None => None,
            },
            reasoning_effort: body.reasoning_effort.or(reasoning.effort).filter(is_said),
            user: body
                .safety_identifier
                .filter(is_said)
                .or(body.user.filter(is_said)),
            seed: body.seed,
            n: body.n.unwrap_or(1),
            presence_penalty: body.presence_penalty,
            frequency_penalty: body.frequency_penalty,
            logprobs: body.logprobs.unwrap_or_default(),
            top_logprobs: body.top_logprobs,
            other,
            unplaced,
        })
    }

    fn part(
        &mut self,
        it: wire::Part<'a>,
        allowed: Option<Allowed>,
        (message, index): (usize, usize),
    ) -> Result<(), InvalidRequest> {
        let path = |member: &str| format!("messages[{message}].content[{index}]{member}");
        let Some(kind) = it.kind else {
            return Err(InvalidRequest::missing(path(".type")));
        };
        let Self {
            messages, unplaced, ..
        } = self;
        note(unplaced, || path(""), &it.unknown)?;
        let missing = |member: &str| InvalidRequest::missing(path(member));
        let name = &*kind.decode();
        if let Some(allowed) = allowed {
            allowed.check(name, || path(".type"))?;
        }
        match name {
            "file" => {
                let file = it.file.ok_or_else(|| missing(".file"))?;
                note(unplaced, || path(".file"), &file.unknown)?;
                if file.file_id.is_none() && file.file_data.is_none() {
                    return Err(missing(".file.file_data"));
                }
                messages.push(Kind::File, b"");
                for (kind, text) in [
                    (Kind::FileId, file.file_id),
                    (Kind::FileName, file.filename),
                    (Kind::FileData, file.file_data),
                ] {
                    if let Some(text) = text {
                        messages.push(kind, text.quoted().text());
                    }
                }
            }
            "image_url" => {
                let image = it.image_url.ok_or_else(|| missing(".image_url"))?;
                note(unplaced, || path(".image_url"), &image.unknown)?;
                let url = image.url.ok_or_else(|| missing(".image_url.url"))?;
                messages.push(Kind::Image, url.quoted().text());
                if let Some(detail) = image.detail {
                    messages.push(Kind::Detail, detail.quoted().text());
                }
            }
            "input_audio" => {
                let audio = it.input_audio.ok_or_else(|| missing(".input_audio"))?;
                note(unplaced, || path(".input_audio"), &audio.unknown)?;
                let data = audio.data.ok_or_else(|| missing(".input_audio.data"))?;
                let format = audio.format.ok_or_else(|| missing(".input_audio.format"))?;
                messages.push(Kind::Audio, data.quoted().text());
                messages.push(Kind::Format, format.quoted().text());
            }
            "refusal" => {
                let refusal = it.refusal.ok_or_else(|| missing(".refusal"))?;
                messages.push(Kind::Refusal, refusal.text());
            }
            "text" => {
                let text = it.text.ok_or_else(|| missing(".text"))?;
                messages.push(Kind::Text, text.text());
            }
            // Refused when the role is known, which says what may be instead.
            _ => messages.push(Kind::UnknownPart, kind.quoted().text()),
        }
        match (it.cache_control, it.prompt_cache_breakpoint) {
            (Some(cache_control), _) => messages.push(Kind::PartCache, cache_control.bytes()),
            // A mark without members.
            (None, Some(_)) => messages.push(Kind::PartCache, b""),
            (None, None) => {}
        }
        Ok(())
    }

    /// The call of an assistant message that has `function_call` instead of `tool_calls`.
    fn function_call(
        &mut self,
        it: wire::CalledFunction<'a>,
        message: usize,
    ) -> Result<(), InvalidRequest> {
        let path = || format!("messages[{message}].function_call");
        note(&mut self.unplaced, path, &it.unknown)?;
        let Some(name) = it.name else {
            return Err(InvalidRequest::missing(path() + ".name"));
        };
        self.has_function_call = true;
        self.messages.push(Kind::Call, name.quoted().text());
        self.messages.push(Kind::CallName, name.quoted().text());
        if let Some(arguments) = it.arguments {
            self.messages
                .push(Kind::Arguments, arguments.quoted().text());
        }
        Ok(())
    }

    fn tool_call(
        &mut self,
        it: wire::ToolCall<'a>,
        (message, index): (usize, usize),
    ) -> Result<(), InvalidRequest> {
        let path = |member: &str| format!("messages[{message}].tool_calls[{index}]{member}");
        let Self {
            messages, unplaced, ..
        } = self;
        note(unplaced, || path(""), &it.unknown)?;
        let kind = it.kind.map(|it| it.decode());
        if let Some(kind) = &kind
            && !matches!(&**kind, "function" | "custom")
        {
            return Err(InvalidRequest::at(
                path(".type"),
                format!(
                    "{:?} is neither \"function\" nor \"custom\"",
                    quotable(kind)
                ),
            ));
        }
        let missing = |member: &str| InvalidRequest::missing(path(member));
        let id = it.id.ok_or_else(|| missing(".id"))?;
        if kind.as_deref() == Some("custom") {
            let custom = it.custom.ok_or_else(|| missing(".custom"))?;
            note(unplaced, || path(".custom"), &custom.unknown)?;
            let name = custom.name.ok_or_else(|| missing(".custom.name"))?;
            messages.push(Kind::Call, id.quoted().text());
            messages.push(Kind::CallName, name.quoted().text());
            let input = custom.input.unwrap_or_default();
            messages.push(Kind::CallCustomInput, input.quoted().text());
            return Ok(());
        }
        let function = it.function.ok_or_else(|| missing(".function"))?;
        note(unplaced, || path(".function"), &function.unknown)?;
        let extra = it.extra_content.unwrap_or_default();
        note(unplaced, || path(".extra_content"), &extra.unknown)?;
        let google = extra.google.unwrap_or_default();
        note(unplaced, || path(".extra_content.google"), &google.unknown)?;
        let name = function.name.ok_or_else(|| missing(".function.name"))?;
        messages.push(Kind::Call, id.quoted().text());
        messages.push(Kind::CallName, name.quoted().text());
        for (kind, text) in [
            (Kind::Arguments, function.arguments),
            (Kind::CallSignature, google.thought_signature),
        ] {
            if let Some(text) = text {
                messages.push(kind, text.quoted().text());
            }
        }
        Ok(())
    }

    fn tool(&mut self, it: wire::Tool<'a>, index: usize) -> Result<(), InvalidRequest> {
        let path = |member: &str| format!("tools[{index}]{member}");
        let Some(kind) = it.kind else {
            return Err(InvalidRequest::missing(path(".type")));
        };
        let kind = kind.decode();
        if kind == "custom" {
            note(&mut self.unplaced, || path(""), &it.unknown)?;
            let Some(custom) = it.custom else {
                return Err(InvalidRequest::missing(path(".custom")));
            };
            return self.custom_tool(custom, it.cache_control, &path(".custom"));
        }
        if kind != "function" {
            if self.hosted_tools.len() >= MAX_HOSTED_TOOLS {
                let message = "is one of too many tools that are not functions";
                return Err(InvalidRequest::at(path(""), message));
            }
            // A container that is made for the call has `{"type":"auto"}`, and maybe `file_ids`.
            let keeps_files = |it: Raw<'_>| {
                let text = it.get();
                !text.contains("auto") || text.contains("file")
            };
            self.hosted_tools.push(HostedTool {
                index,
                kind,
                has_files: it.vector_store_ids.is_some() || it.container.is_some_and(keeps_files),
            });
            return Ok(());
        }
        note(&mut self.unplaced, || path(""), &it.unknown)?;
        let Some(function) = it.function else {
            return Err(InvalidRequest::missing(path(".function")));
        };
        self.function(function, it.cache_control, &path(".function"))
    }

    /// A custom tool, which is at `path`.
    fn custom_tool(
        &mut self,
        it: wire::CustomTool<'a>,
        cache_control: Option<Raw<'a>>,
        path: &str,
    ) -> Result<(), InvalidRequest> {
        let Self {
            tools, unplaced, ..
        } = self;
        note(unplaced, || path.to_owned(), &it.unknown)?;
        // What limits the text is lost.
        let format = it.format.and_then(|it| it.kind);
        if format.is_some_and(|it| it != "text") {
            note_path(unplaced, format!("{path}.format"))?;
        }
        let Some(name) = it.name else {
            return Err(InvalidRequest::missing(format!("{path}.name")));
        };
        tools.push(Kind::Function, name.quoted().text());
        tools.push(Kind::IsCustom, b"");
        if let Some(description) = it.description {
            tools.push(Kind::Description, description.quoted().text());
        }
        if let Some(cache_control) = cache_control {
            tools.push(Kind::ToolCache, cache_control.bytes());
        }
        Ok(())
    }

    /// A function of `tools` or `functions`, which is at `path`.
    fn function(
        &mut self,
        it: wire::Function<'a>,
        cache_control: Option<Raw<'a>>,
        path: &str,
    ) -> Result<(), InvalidRequest> {
        let Self {
            tools, unplaced, ..
        } = self;
        note(unplaced, || path.to_owned(), &it.unknown)?;
        if it.parameters.is_some_and(|it| !it.is_object()) {
            let message = "is not an object: JSON Schema is wanted";
            return Err(InvalidRequest::at(format!("{path}.parameters"), message));
        }
        let Some(name) = it.name else {
            return Err(InvalidRequest::missing(format!("{path}.name")));
        };
        tools.push(Kind::Function, name.quoted().text());
        if let Some(description) = it.description {
            tools.push(Kind::Description, description.quoted().text());
        }
        for (kind, value) in [
            (Kind::Parameters, it.parameters),
            (Kind::ToolCache, cache_control),
        ] {
            if let Some(value) = value {
                tools.push(kind, value.bytes());
            }
        }
        match it.strict {
            None => {}
            Some(false) => tools.push(Kind::IsNotStrict, b""),
            Some(true) => tools.push(Kind::IsStrict, b""),
        }
        Ok(())
    }
}

/// The most tools that are not functions.
const MAX_HOSTED_TOOLS: usize = 64;

/// The most functions that `allowed_tools` names.
const MAX_ALLOWED_TOOLS: usize = 512;

/// The kinds of parts that a role may have.
#[derive(Clone, Copy)]
enum Allowed {
    All,
    Text,
    TextAndRefusals,
    /// OpenAI takes text alone; results of tools that see need images.
    TextImagesAndFiles,
}

impl Allowed {
    fn of(role: &str) -> Self {
        match role {
            "assistant" => Self::TextAndRefusals,
            "function" | "tool" => Self::TextImagesAndFiles,
            "user" => Self::All,
            _ => Self::Text,
        }
    }

    /// Whether a kind is among them.
    fn check(self, kind: &str, path: impl Fn() -> String) -> Result<(), InvalidRequest> {
        if self.list().contains(&kind) {
            return Ok(());
        }
        let allowed = self.list().join("\", \"");
        let message = format!(
            "{:?} is not taken in this role; use one of \"{allowed}\"",
            quotable(kind)
        );
        Err(InvalidRequest::at(path(), message))
    }

    fn list(self) -> &'static [&'static str] {
        match self {
            Self::All => &["text", "image_url", "input_audio", "file"],
            Self::Text => &["text"],
            Self::TextAndRefusals => &["text", "refusal"],
            Self::TextImagesAndFiles => &["text", "image_url", "file"],
        }
    }
}

/// `function_call` of a request.
fn function_choice(it: wire::FunctionChoice<'_>) -> Result<Option<ToolChoice<'_>>, InvalidRequest> {
    match it {
        wire::FunctionChoice::Other(named) => match named.name {
            Some(name) => Ok(Some(ToolChoice::Function(name))),
            None => Err(InvalidRequest::missing("function_call.name")),
        },
        wire::FunctionChoice::Text(word) => match &*word {
            "" => Ok(None),
            "auto" => Ok(Some(ToolChoice::Auto)),
            "none" => Ok(Some(ToolChoice::None)),
            other => Err(InvalidRequest::at(
                "function_call",
                format!("{:?} is none of \"auto\", \"none\"", quotable(other)),
            )),
        },
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
    let choice = match named.kind {
        None => return Err(InvalidRequest::missing("tool_choice.type")),
        Some(kind) if kind == "allowed_tools" => {
            let path = "tool_choice.allowed_tools";
            let allowed = named
                .allowed_tools
                .ok_or_else(|| InvalidRequest::missing(path))?;
            note(unplaced, || path.to_owned(), &allowed.unknown)?;
            let tools = allowed.tools.unwrap_or_default();
            let names = tools
                .iter()
                .filter_map(|it| it.function.or(it.custom).and_then(|tool| tool.name));
            let names: Vec<_> = names.take(MAX_ALLOWED_TOOLS + 1).collect();
            if names.len() > MAX_ALLOWED_TOOLS {
                let message = format!("has more than {MAX_ALLOWED_TOOLS} functions");
                return Err(InvalidRequest::at(format!("{path}.tools"), message));
            }
            ToolChoice::Allowed {
                names,
                is_required: allowed.mode.as_deref() == Some("required"),
            }
        }
        Some(kind) if kind == "function" => {
            match named.function.and_then(|function| function.name) {
                Some(name) => ToolChoice::Function(name),
                None => return Err(InvalidRequest::missing("tool_choice.function.name")),
            }
        }
        Some(kind) if kind == "custom" => match named.custom.and_then(|tool| tool.name) {
            Some(name) => ToolChoice::Function(name),
            None => return Err(InvalidRequest::missing("tool_choice.custom.name")),
        },
        Some(kind) => ToolChoice::Hosted(kind),
    };
    Ok(Some(choice))
}

/// A tool choice that is one word; chat completions and Responses have the same words.
///
/// # Errors
///
/// When it is another word.
pub(in crate::api) fn tool_choice_word(
    word: &str,
) -> Result<Option<ToolChoice<'static>>, InvalidRequest> {
    match word {
        "" => Ok(None),
        "auto" => Ok(Some(ToolChoice::Auto)),
        "none" => Ok(Some(ToolChoice::None)),
        "required" => Ok(Some(ToolChoice::Required)),
        other => Err(InvalidRequest::at(
            "tool_choice",
            format!(
                "{:?} is none of \"auto\", \"none\", \"required\"",
                quotable(other)
            ),
        )),
    }
}

fn response_format<'a>(
    it: wire::ResponseFormat<'a>,
    unplaced: &mut Vec<String>,
) -> Result<Option<ResponseFormat<'a>>, InvalidRequest> {
    note(unplaced, || "response_format".to_owned(), &it.unknown)?;
    match it.kind.as_deref() {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(ResponseFormat::JsonObject)),
        Some("json_schema") => {
            let path = "response_format.json_schema";
            let schema = it
                .json_schema
                .ok_or_else(|| InvalidRequest::missing(path))?;
            note(unplaced, || path.to_owned(), &schema.unknown)?;
            if schema.schema.is_some_and(|it| !it.is_object()) {
                return Err(InvalidRequest::at(
                    format!("{path}.schema"),
                    "is not an object",
                ));
            }
            Ok(Some(ResponseFormat::JsonSchema {
                name: schema
                    .name
                    .ok_or_else(|| InvalidRequest::missing(format!("{path}.name")))?,
                description: schema.description.filter(|it| !it.is_empty()),
                schema: schema.schema,
                strict: schema.strict,
            }))
        }
        Some(other) => Err(InvalidRequest::at(
            "response_format.type",
            format!(
                "{:?} is none of \"json_object\", \"json_schema\", \"text\"",
                quotable(other)
            ),
        )),
        None => Err(InvalidRequest::missing("response_format.type")),
    }
}

/// Whether a member says what its absence would: then nothing is lost without it.
///
/// Source: the defaults in <https://platform.openai.com/docs/api-reference/chat/create>, read
/// 2026-11-21.
fn is_default(name: &str, value: Raw<'_>) -> bool {
    let is_one_of = |defaults: &[&str]| {
        let text = value
            .bytes()
            .iter()
            .filter(|byte| !byte.is_ascii_whitespace());
        defaults
            .iter()
            .any(|it| text.clone().eq(it.as_bytes().iter()))
    };
    match name {
        "logit_bias" | "metadata" => is_one_of(&["{}"]),
        "prompt_cache_key" | "prompt_cache_retention" | "service_tier" => is_one_of(&["\"\""]),
        "modalities" => is_one_of(&["[\"text\"]"]),
        "store" => is_one_of(&["false"]),
        "verbosity" => is_one_of(&["\"medium\""]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Message, PartKind};

    /// A request of one user message with more members.
    fn with(members: &str) -> String {
        format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}],{members}}}"#)
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = |text: &str| format!(r#"{{"messages":[{text}]}}"#);
        let part = |text: &str| message(&format!(r#"{{"role":"user","content":[{text}]}}"#));
        for (body, param) in [
            ("[]".to_owned(), None),
            ("{".to_owned(), None),
            ("\"a\"".to_owned(), None),
            ("{}".to_owned(), Some("messages")),
            (r#"{"messages":[]}"#.to_owned(), Some("messages")),
            (r#"{"messages":{}}"#.to_owned(), Some("messages")),
            (r#"{"model":1,"messages":[]}"#.to_owned(), Some("model")),
            (message("1"), Some("messages[0]")),
            (message("{}"), Some("messages[0].role")),
            (message(r#"{"role":"user"}"#), Some("messages[0].content")),
            (
                message(r#"{"role":"user","content":1}"#),
                Some("messages[0].content"),
            ),
            (
                message(r#"{"role":"robot","content":""}"#),
                Some("messages[0].role"),
            ),
            (
                message(r#"{"role":"function","content":""}"#),
                Some("messages[0].role"),
            ),
            (
                message(r#"{"role":"tool","content":""}"#),
                Some("messages[0].tool_call_id"),
            ),
            (
                message(r#"{"role":"system","content":[{"type":"image_url"}]}"#),
                Some("messages[0].content[0].type"),
            ),
            (
                message(r#"{"role":"assistant","function_call":{}}"#),
                Some("messages[0].function_call.name"),
            ),
            (
                message(r#"{"role":"assistant","tool_calls":[{"id":"a","function":{"name":1}}]}"#),
                Some("messages[0].tool_calls[0].function.name"),
            ),
            (part(r#"{"type":5}"#), Some("messages[0].content[0].type")),
            (part(r#"{}"#), Some("messages[0].content[0].type")),
            (
                part(r#"{"type":"video"}"#),
                Some("messages[0].content[0].type"),
            ),
            (
                part(r#"{"type":"text"}"#),
                Some("messages[0].content[0].text"),
            ),
            (
                part(r#"{"type":"text","text":""},{"type":"image_url","image_url":{"url":7}}"#),
                Some("messages[0].content[1].image_url.url"),
            ),
            (
                part(r#"{"type":"file","file":{}}"#),
                Some("messages[0].content[0].file.file_data"),
            ),
            (with(r#""max_tokens":"7""#), Some("max_tokens")),
            (with(r#""max_tokens":-7"#), Some("max_tokens")),
            (with(r#""stop":[1]"#), Some("stop[0]")),
            (with(r#""stop":1"#), Some("stop")),
            (with(r#""functions":[{}]"#), Some("functions[0].name")),
            (with(r#""function_call":"any""#), Some("function_call")),
            (with(r#""tools":[{}]"#), Some("tools[0].type")),
            (
                with(r#""tools":[{"type":"function"}]"#),
                Some("tools[0].function"),
            ),
            (
                with(r#""tools":[{"type":"function","function":{"name":"f","parameters":[]}}]"#),
                Some("tools[0].function.parameters"),
            ),
            (with(r#""tool_choice":"any""#), Some("tool_choice")),
            (
                with(r#""tool_choice":{"type":"allowed_tools"}"#),
                Some("tool_choice.allowed_tools"),
            ),
            (
                with(r#""response_format":{"type":"xml"}"#),
                Some("response_format.type"),
            ),
            (with(r#""stream":1"#), Some("stream")),
            (with(r#""n":2,"n":3"#), Some("n")),
        ] {
            let invalid = read(body.as_bytes()).expect_err(&body);
            assert_eq!(invalid.param.as_deref(), param, "{body}: {invalid}");
        }
        assert_eq!(read(b"{\"a\":\"\xff\"}").unwrap_err().param, None);
    }

    #[test]
    fn null_is_absent() {
        let names = "max_tokens temperature stop stream stream_options tools tool_choice user n \
                     response_format functions function_call logit_bias seed unknown";
        let members: Vec<String> = names
            .split_whitespace()
            .map(|name| format!("\"{name}\":null"))
            .collect();
        let body = with(&members.join(","));
        let request = read(body.as_bytes()).unwrap();
        assert_eq!(
            (request.n, request.stream, request.other.len()),
            (1, false, 0)
        );
    }

    #[test]
    fn what_is_empty_requests_nothing() {
        let body = r#"{"model":"m","messages":[
            {"role":"user","content":"u","name":"","tool_calls":[]},
            {"role":"assistant","content":"a","tool_calls":[]}],
            "tools":[],"functions":[],"function_call":"none","tool_choice":"","stop":"","user":"",
            "safety_identifier":"","reasoning_effort":"","metadata":{},"logit_bias":{},
            "prompt_cache_key":"","service_tier":""}"#;
        let request = read(body.as_bytes()).unwrap();
        assert!(request.other.is_empty(), "{:?}", request.other);
        assert!(request.unplaced.is_empty(), "{:?}", request.unplaced);
        assert!(request.stop.iter().next().is_none() && request.tools.is_empty());
        assert_eq!((request.user, request.reasoning_effort), (None, None));
        assert_eq!((request.tool_choice, request.uses_functions), (None, false));
        let body = with(r#""stop":["","a"]"#);
        let stops = read(body.as_bytes()).unwrap();
        let stops: Vec<_> = stops.stop.iter().map(|stop| stop.decode()).collect();
        assert_eq!(stops, ["a"]);
    }

    #[test]
    fn values_that_are_the_default_are_no_loss() {
        for (member, is_kept) in [
            (r#""logit_bias": { }"#, false),
            (r#""logit_bias":{"1":2}"#, true),
            (r#""modalities":["text"]"#, false),
            (r#""modalities":["text","audio"]"#, true),
            (r#""store":false"#, false),
            (r#""store":true"#, true),
            (r#""verbosity":"medium""#, false),
            (r#""top_k":5"#, true),
        ] {
            let body = with(member);
            assert_eq!(
                !read(body.as_bytes()).unwrap().other.is_empty(),
                is_kept,
                "{member}"
            );
        }
    }

    #[test]
    fn members_without_a_place_are_named() {
        let body = r#"{"messages":[
            {"role":"user","content":[{"type":"text","text":"a","x":1}],"name":"Ann","y":null},
            {"role":"assistant","content":null,"annotations":[],"parsed":{},"audio":{"id":"1"},
             "tool_calls":[{"id":"c","index":0,"z":1,
                "function":{"name":"f","arguments":"{}","parsed_arguments":{}}}]},
            {"role":"tool","name":"f","tool_call_id":"c","content":"r"}],
            "response_format":{"type":"json_schema","json_schema":{"name":"n","description":"d"}}}"#;
        assert_eq!(
            read(body.as_bytes()).unwrap().unplaced,
            [
                "messages[0].name",
                "messages[0].content[0].x",
                "messages[1].audio",
                "messages[1].tool_calls[0].z",
            ]
        );
    }

    #[test]
    fn text_is_kept_as_it_stands() {
        let body = br#"{"messages":[{"role":"user","content":"plain"},
            {"role":"user","content":[{"type":"text","text":"a\nb"}]}]}"#;
        let request = read(body).unwrap();
        let texts: Vec<_> = request
            .messages
            .iter()
            .map(|message| match message {
                Message::User { content, .. } => match content.only().unwrap().kind {
                    PartKind::Text(text) => text.text(),
                    _ => panic!(),
                },
                _ => panic!(),
            })
            .collect();
        assert_eq!(texts, [&b"plain"[..], br"a\nb"]);
    }

    #[test]
    fn depth_is_an_error_and_not_a_crash() {
        let deep = "[".repeat(100_000);
        for body in [
            deep.clone(),
            format!("{{\"messages\":{deep}"),
            format!("{{\"x\":{deep}"),
            with(&format!("\"x\":{deep}{}", "]".repeat(100_000))),
        ] {
            let _ = read(body.as_bytes());
        }
    }
}
