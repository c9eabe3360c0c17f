//! Reading a request.

use std::borrow::Cow;
use std::fmt;

use serde_json::value::RawValue;

use super::wire;
use crate::chat::{Message, Part, PartKind, Request, ResponseFormat, Tool, ToolCall, ToolChoice};
use crate::json::{self, Unread};
use crate::refusal::ErrorBody;

/// A body that is no chat completion request. Caused by the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRequest {
    /// The parameter at fault, such as `messages[3].content[0].type`; `None`: the body.
    pub param: Option<String>,
    /// Lower case, no final period.
    pub message: String,
}

/// Reads the body of `POST /chat/completions`.
///
/// The model may be missing or empty: whether there is a default is not known here.
///
/// # Errors
///
/// When the body is not JSON, or a member is missing, of another type or of an unknown kind.
///
/// ```
/// use llm_proxy::chat::openai;
///
/// let body = br#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
/// assert_eq!(openai::read(body).unwrap().messages.len(), 1);
///
/// let body = br#"{"model":"m","messages":[{"role":"user","content":[{"type":1}]}]}"#;
/// let invalid = openai::read(body).unwrap_err();
/// assert_eq!(invalid.param.as_deref(), Some("messages[0].content[0].type"));
/// ```
pub fn read(body: &[u8]) -> Result<Request<'_>, InvalidRequest> {
    let shape = json::read(body).map_err(|unread| InvalidRequest::unread(&unread, body))?;
    request(shape)
}

impl InvalidRequest {
    /// What the client sees, with a 400.
    pub fn to_error(&self) -> ErrorBody<'static> {
        let code = match self.param {
            Some(_) => "invalid_value",
            None => "invalid_json",
        };
        ErrorBody::new(400, self.to_string())
            .with_param(self.param.clone().map(Cow::Owned))
            .with_code(Some(code.into()))
    }

    fn body(message: String) -> Self {
        Self {
            param: None,
            message,
        }
    }

    fn at(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            param: Some(param.into()),
            message: message.into(),
        }
    }

    fn unread(unread: &Unread, body: &[u8]) -> Self {
        let path = unread.path(body);
        match unread {
            Unread::Invalid(error) => Self::body(format!("the body is not JSON: {error}")),
            _ if path.is_empty() => Self::body(format!("the body {}", unread.message())),
            _ => Self::at(path, unread.message()),
        }
    }

    fn missing(param: impl Into<String>) -> Self {
        Self::at(param, "is required")
    }
}

impl fmt::Display for InvalidRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.param {
            Some(param) => write!(f, "{param}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for InvalidRequest {}

fn request(body: wire::Body<'_>) -> Result<Request<'_>, InvalidRequest> {
    let mut unplaced = Vec::new();
    if body.functions.is_some() {
        return Err(InvalidRequest::at(
            "functions",
            "is deprecated and not taken; use tools",
        ));
    }
    if body.function_call.is_some() {
        let message = "is deprecated and not taken; use tool_choice";
        return Err(InvalidRequest::at("function_call", message));
    }
    let Some(messages) = body.messages else {
        return Err(InvalidRequest::missing("messages"));
    };
    if messages.is_empty() {
        return Err(InvalidRequest::at(
            "messages",
            "must have at least one message",
        ));
    }
    let messages = messages
        .into_iter()
        .enumerate()
        .map(|(index, it)| message(it, index, &mut unplaced))
        .collect::<Result<_, _>>()?;
    let tools = body.tools.unwrap_or_default();
    let tools = tools
        .into_iter()
        .enumerate()
        .map(|(index, it)| tool(it, index, &mut unplaced))
        .collect::<Result<_, _>>()?;
    let stream_options = body.stream_options.unwrap_or_default();
    note(&mut unplaced, "stream_options", &stream_options.unknown);
    let mut other = body.unknown;
    other.retain(|(name, value)| !is_default(name, value));
    Ok(Request {
        model: body.model.unwrap_or_default(),
        messages,
        max_tokens: body.max_completion_tokens.or(body.max_tokens),
        temperature: body.temperature,
        top_p: body.top_p,
        stop: match body.stop {
            None => Vec::new(),
            Some(wire::Stop::Text(stop)) => vec![stop],
            Some(wire::Stop::Other(stops)) => stops,
        },
        stream: body.stream.unwrap_or_default(),
        include_usage: stream_options.include_usage.unwrap_or_default(),
        tools,
        tool_choice: body
            .tool_choice
            .map(|it| tool_choice(it, &mut unplaced))
            .transpose()?,
        parallel_tool_calls: body.parallel_tool_calls,
        response_format: match body.response_format {
            Some(format) => response_format(format, &mut unplaced)?,
            None => None,
        },
        reasoning_effort: body.reasoning_effort,
        user: body.safety_identifier.or(body.user),
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

fn message<'a>(
    it: wire::Message<'a>,
    index: usize,
    unplaced: &mut Vec<String>,
) -> Result<Message<'a>, InvalidRequest> {
    let path = || format!("messages[{index}]");
    let Some(role) = it.role else {
        return Err(InvalidRequest::missing(format!("{}.role", path())));
    };
    if !it.unknown.is_empty() {
        note(unplaced, &path(), &it.unknown);
    }
    let is_assistant = role == "assistant";
    for (name, is_lost) in [
        ("name", it.name.is_some() && role != "tool"),
        ("audio", it.audio.is_some()),
        ("refusal", it.refusal.is_some() && !is_assistant),
        ("tool_calls", it.tool_calls.is_some() && !is_assistant),
        ("tool_call_id", it.tool_call_id.is_some() && role != "tool"),
        (
            "reasoning_content",
            it.reasoning_content.is_some() && !is_assistant,
        ),
    ] {
        if is_lost {
            unplaced.push(format!("{}.{name}", path()));
        }
    }
    if it.function_call.is_some() {
        let message = "is deprecated and not taken; use tool_calls";
        return Err(InvalidRequest::at(
            format!("{}.function_call", path()),
            message,
        ));
    }
    let has_content = it.content.is_some();
    let allowed = Allowed::of(&role);
    let mut content = match it.content {
        None => Vec::new(),
        Some(wire::Content::Text(text)) => vec![Part {
            kind: PartKind::Text(text),
            cache_control: None,
        }],
        Some(wire::Content::Other(parts)) => parts
            .into_iter()
            .enumerate()
            .map(|(number, it)| part(it, allowed, (index, number), unplaced))
            .collect::<Result<_, _>>()?,
    };
    let cache_control = it.cache_control;
    let expect_content = || {
        if has_content {
            return Ok(());
        }
        Err(InvalidRequest::missing(format!("{}.content", path())))
    };
    match &*role {
        "assistant" => {
            if let Some(refusal) = it.refusal {
                content.push(Part {
                    kind: PartKind::Text(refusal),
                    cache_control: None,
                });
            }
            let tool_calls = it.tool_calls.unwrap_or_default();
            Ok(Message::Assistant {
                content,
                tool_calls: tool_calls
                    .into_iter()
                    .enumerate()
                    .map(|(number, it)| tool_call(it, (index, number), unplaced))
                    .collect::<Result<_, _>>()?,
                reasoning: it.reasoning_content,
                reasoning_signature: it.reasoning_signature,
                cache_control,
            })
        }
        "developer" | "system" => {
            expect_content()?;
            Ok(Message::System {
                content,
                cache_control,
            })
        }
        "tool" => {
            expect_content()?;
            let Some(tool_call_id) = it.tool_call_id else {
                return Err(InvalidRequest::missing(format!("{}.tool_call_id", path())));
            };
            Ok(Message::Tool {
                tool_call_id,
                content,
                cache_control,
            })
        }
        "user" => {
            expect_content()?;
            Ok(Message::User {
                content,
                cache_control,
            })
        }
        "function" => Err(InvalidRequest::at(
            format!("{}.role", path()),
            "\"function\" is deprecated and not taken; use \"tool\"",
        )),
        other => Err(InvalidRequest::at(
            format!("{}.role", path()),
            format!(
                "{other:?} is none of \"assistant\", \"developer\", \"system\", \"tool\", \"user\""
            ),
        )),
    }
}

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
            "tool" => Self::TextImagesAndFiles,
            "user" => Self::All,
            _ => Self::Text,
        }
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

fn part<'a>(
    it: wire::Part<'a>,
    allowed: Allowed,
    (message, index): (usize, usize),
    unplaced: &mut Vec<String>,
) -> Result<Part<'a>, InvalidRequest> {
    let path = |member: &str| format!("messages[{message}].content[{index}]{member}");
    let Some(kind) = it.kind else {
        return Err(InvalidRequest::missing(path(".type")));
    };
    if !it.unknown.is_empty() {
        note(unplaced, &path(""), &it.unknown);
    }
    if !allowed.list().contains(&&*kind) {
        let allowed = allowed.list().join("\", \"");
        let message = format!("{kind:?} is not taken in this role; use one of \"{allowed}\"");
        return Err(InvalidRequest::at(path(".type"), message));
    }
    let missing = |member: &str| InvalidRequest::missing(path(member));
    let kind = match &*kind {
        "file" => {
            let file = it.file.ok_or_else(|| missing(".file"))?;
            note(unplaced, &path(".file"), &file.unknown);
            if file.file_id.is_none() && file.file_data.is_none() {
                return Err(missing(".file.file_data"));
            }
            PartKind::File {
                id: file.file_id,
                name: file.filename,
                data: file.file_data,
            }
        }
        "image_url" => {
            let image = it.image_url.ok_or_else(|| missing(".image_url"))?;
            note(unplaced, &path(".image_url"), &image.unknown);
            PartKind::Image {
                url: image.url.ok_or_else(|| missing(".image_url.url"))?,
                detail: image.detail,
            }
        }
        "input_audio" => {
            let audio = it.input_audio.ok_or_else(|| missing(".input_audio"))?;
            note(unplaced, &path(".input_audio"), &audio.unknown);
            PartKind::Audio {
                data: audio.data.ok_or_else(|| missing(".input_audio.data"))?,
                format: audio.format.ok_or_else(|| missing(".input_audio.format"))?,
            }
        }
        "refusal" => PartKind::Text(it.refusal.ok_or_else(|| missing(".refusal"))?),
        _ => PartKind::Text(it.text.ok_or_else(|| missing(".text"))?),
    };
    Ok(Part {
        kind,
        cache_control: it.cache_control,
    })
}

fn tool_call<'a>(
    it: wire::ToolCall<'a>,
    (message, index): (usize, usize),
    unplaced: &mut Vec<String>,
) -> Result<ToolCall<'a>, InvalidRequest> {
    let path = |member: &str| format!("messages[{message}].tool_calls[{index}]{member}");
    note(unplaced, &path(""), &it.unknown);
    if let Some(kind) = &it.kind
        && kind != "function"
    {
        return Err(InvalidRequest::at(
            path(".type"),
            format!("{kind:?} is not \"function\""),
        ));
    }
    let missing = |member: &str| InvalidRequest::missing(path(member));
    let id = it.id.ok_or_else(|| missing(".id"))?;
    let function = it.function.ok_or_else(|| missing(".function"))?;
    note(unplaced, &path(".function"), &function.unknown);
    let extra = it.extra_content.unwrap_or_default();
    note(unplaced, &path(".extra_content"), &extra.unknown);
    let google = extra.google.unwrap_or_default();
    note(unplaced, &path(".extra_content.google"), &google.unknown);
    Ok(ToolCall {
        id,
        name: function.name.ok_or_else(|| missing(".function.name"))?,
        arguments: function.arguments.unwrap_or_default(),
        signature: google.thought_signature,
    })
}

fn tool<'a>(
    it: wire::Tool<'a>,
    index: usize,
    unplaced: &mut Vec<String>,
) -> Result<Tool<'a>, InvalidRequest> {
    let path = |member: &str| format!("tools[{index}]{member}");
    let Some(kind) = it.kind else {
        return Err(InvalidRequest::missing(path(".type")));
    };
    if kind != "function" {
        return Err(InvalidRequest::at(
            path(".type"),
            format!("{kind:?} is not \"function\""),
        ));
    }
    note(unplaced, &path(""), &it.unknown);
    let missing = |member: &str| InvalidRequest::missing(path(member));
    let function = it.function.ok_or_else(|| missing(".function"))?;
    note(unplaced, &path(".function"), &function.unknown);
    if let Some(parameters) = function.parameters
        && !parameters.get().starts_with('{')
    {
        let message = "is not an object: JSON Schema is wanted";
        return Err(InvalidRequest::at(path(".function.parameters"), message));
    }
    Ok(Tool {
        name: function.name.ok_or_else(|| missing(".function.name"))?,
        description: function.description,
        parameters: function.parameters,
        strict: function.strict,
        cache_control: it.cache_control,
    })
}

fn tool_choice<'a>(
    it: wire::ToolChoice<'a>,
    unplaced: &mut Vec<String>,
) -> Result<ToolChoice<'a>, InvalidRequest> {
    let named = match it {
        wire::ToolChoice::Text(word) => {
            return match &*word {
                "auto" => Ok(ToolChoice::Auto),
                "none" => Ok(ToolChoice::None),
                "required" => Ok(ToolChoice::Required),
                other => Err(InvalidRequest::at(
                    "tool_choice",
                    format!("{other:?} is none of \"auto\", \"none\", \"required\""),
                )),
            };
        }
        wire::ToolChoice::Other(named) => named,
    };
    note(unplaced, "tool_choice", &named.unknown);
    match named.kind.as_deref() {
        Some("function") => {}
        Some(other) => {
            let message = format!("{other:?} is not \"function\"");
            return Err(InvalidRequest::at("tool_choice.type", message));
        }
        None => return Err(InvalidRequest::missing("tool_choice.type")),
    }
    match named.function.and_then(|function| function.name) {
        Some(name) => Ok(ToolChoice::Function(name)),
        None => Err(InvalidRequest::missing("tool_choice.function.name")),
    }
}

fn response_format<'a>(
    it: wire::ResponseFormat<'a>,
    unplaced: &mut Vec<String>,
) -> Result<Option<ResponseFormat<'a>>, InvalidRequest> {
    note(unplaced, "response_format", &it.unknown);
    match it.kind.as_deref() {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(ResponseFormat::JsonObject)),
        Some("json_schema") => {
            let path = "response_format.json_schema";
            let schema = it
                .json_schema
                .ok_or_else(|| InvalidRequest::missing(path))?;
            note(unplaced, path, &schema.unknown);
            if let Some(schema) = schema.schema
                && !schema.get().starts_with('{')
            {
                return Err(InvalidRequest::at(
                    format!("{path}.schema"),
                    "is not an object",
                ));
            }
            Ok(Some(ResponseFormat::JsonSchema {
                name: schema
                    .name
                    .ok_or_else(|| InvalidRequest::missing(format!("{path}.name")))?,
                schema: schema.schema,
                strict: schema.strict,
            }))
        }
        Some(other) => Err(InvalidRequest::at(
            "response_format.type",
            format!("{other:?} is none of \"json_object\", \"json_schema\", \"text\""),
        )),
        None => Err(InvalidRequest::missing("response_format.type")),
    }
}

/// Whether a member says what its absence would: then nothing is lost without it.
///
/// Source: the defaults in <https://platform.openai.com/docs/api-reference/chat/create>, read
/// 2026-11-21.
fn is_default(name: &str, value: &RawValue) -> bool {
    let is_one_of = |defaults: &[&str]| {
        let text = value
            .get()
            .bytes()
            .filter(|byte| !byte.is_ascii_whitespace());
        defaults.iter().any(|it| text.clone().eq(it.bytes()))
    };
    match name {
        "logit_bias" | "metadata" => is_one_of(&["{}"]),
        "modalities" => is_one_of(&["[\"text\"]"]),
        "store" => is_one_of(&["false"]),
        "verbosity" => is_one_of(&["\"medium\""]),
        _ => false,
    }
}

fn note(unplaced: &mut Vec<String>, path: &str, unknown: &[(Cow<'_, str>, &RawValue)]) {
    unplaced.extend(unknown.iter().map(|(name, _)| format!("{path}.{name}")));
}

#[cfg(test)]
mod tests {
    use super::*;

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
                Some("messages[0].function_call"),
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
            (with(r#""functions":[]"#), Some("functions")),
            (with(r#""function_call":"auto""#), Some("function_call")),
            (
                with(r#""tools":[{"type":"custom"}]"#),
                Some("tools[0].type"),
            ),
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
                Some("tool_choice.type"),
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
                "response_format.json_schema.description",
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
                Message::User { content, .. } => match &content[0].kind {
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
