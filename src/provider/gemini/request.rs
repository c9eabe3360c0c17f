//! A chat completion as a GenerateContentRequest.
//!
//! Source: <https://ai.google.dev/api/generate-content#request-body>, read 2026-11-21.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Host;
use super::model::{Model, Thinking};
use super::schema::{self, Cleaned};
use super::{SIGNATURE_PREFIX, media};
use crate::chat::{self, Message, PartKind, Request, ResponseFormat, ToolCall, ToolChoice};
use crate::provider::dialect::{Encoded, Options, Unsupported};

/// See [`crate::provider::dialect::Dialect::encode`].
pub(super) fn encode(
    request: &Request<'_>,
    options: &Options,
    host: Host,
) -> Result<Encoded, Unsupported> {
    let model = Model::new(&request.model)?;
    let options = *options;
    check(request, options)?;
    let mut conversation = Conversation::new(&model, options);
    for (index, message) in request.messages.iter().enumerate() {
        conversation.add(index, message)?;
    }
    if host == Host::Vertex {
        conversation.lose_ids();
    }
    let body = Body {
        generation_config: generation_config(request, &model, options, &conversation)?,
        tools: tools(request, options)?,
        tool_config: tool_config(request),
        ..conversation.finish()?
    };
    let suffix = if request.stream {
        // https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent
        model.path("streamGenerateContent?alt=sse")
    } else {
        model.path("generateContent")
    };
    Ok(Encoded {
        suffix,
        headers: Vec::new(),
        body: serde_json::to_vec(&body).map_err(|error| Unsupported {
            param: "messages".to_owned(),
            message: error.to_string(),
        })?,
    })
}

/// Leaves out or refuses the members that no other function looks at.
fn check(request: &Request<'_>, options: Options) -> Result<(), Unsupported> {
    if request.user.is_some() {
        options.lose("user", "Gemini has no member for the end user's name")?;
    }
    if !request.logprobs && request.top_logprobs.is_some_and(|count| count > 0) {
        options.lose("top_logprobs", "means something only beside logprobs: true")?;
    }
    if request.parallel_tool_calls == Some(false) && !request.tools.is_empty() {
        let message = "Gemini decides by itself how many functions it calls at once";
        options.lose("parallel_tool_calls", message)?;
    }
    for (name, value) in &request.other {
        let asks_for_nothing = match &**name {
            "service_tier" => matches!(value.get(), r#""auto""# | r#""default""#),
            name => name == TOP_K,
        };
        if !asks_for_nothing {
            let message = format!("{name:?} cannot be expressed in Gemini's generateContent");
            options.lose(name.clone(), message)?;
        }
    }
    for param in &request.unplaced {
        options.lose(
            param,
            format!("{param:?} cannot be expressed in Gemini's generateContent"),
        )?;
    }
    Ok(())
}

fn unsupported(param: impl Into<String>, message: impl Into<String>) -> Unsupported {
    Unsupported {
        param: param.into(),
        message: message.into(),
    }
}

// === impl Conversation ===

/// The messages as they are gathered: one [`Content`] for all that follows in one role.
struct Conversation<'r> {
    options: Options,
    /// Whether the model insists on signatures and sees pictures in results.
    is_third_generation: bool,
    system: Vec<Part<'r>>,
    contents: Vec<Content<'r>>,
    /// The functions that were called, by the call's id.
    called: HashMap<&'r str, &'r str>,
    details: Details<'r>,
}

/// Which `detail` the images ask for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Details<'r> {
    Mixed,
    NoImage,
    Same(&'r str),
}

impl<'r> Conversation<'r> {
    fn new(model: &Model<'_>, options: Options) -> Self {
        Self {
            options,
            is_third_generation: model.is_third_generation(),
            system: Vec::new(),
            contents: Vec::new(),
            called: HashMap::new(),
            details: Details::NoImage,
        }
    }

    fn add(&mut self, index: usize, message: &'r Message<'r>) -> Result<(), Unsupported> {
        match message {
            Message::Assistant {
                content,
                tool_calls,
                reasoning,
                reasoning_signature,
                ..
            } => {
                let mut parts = Vec::with_capacity(content.len() + tool_calls.len() + 1);
                // Another provider's signature would be refused, and thinking without one of Google's
                // is not this model's.
                let signature = reasoning_signature
                    .as_deref()
                    .and_then(|signature| signature.strip_prefix(SIGNATURE_PREFIX));
                let reasoning = reasoning.as_deref().filter(|text| !text.is_empty());
                if let Some(reasoning) = reasoning.filter(|_| signature.is_some()) {
                    parts.push(Part {
                        thought: true,
                        ..Part::text(reasoning)
                    });
                }
                self.parts(index, content, &mut parts)?;
                if let Some(signature) = signature {
                    match parts.last_mut().filter(|part| !part.thought) {
                        Some(part) => part.thought_signature = Some(signature),
                        None => parts.push(Part {
                            thought_signature: Some(signature),
                            ..Part::text("")
                        }),
                    }
                }
                self.calls(index, tool_calls, &mut parts)?;
                self.push(MODEL, parts);
            }
            Message::System { content, .. } => {
                let mut parts = Vec::with_capacity(content.len());
                self.parts(index, content, &mut parts)?;
                self.system.append(&mut parts);
            }
            Message::Tool {
                tool_call_id,
                content,
                ..
            } => {
                let part = self.result(index, tool_call_id, content)?;
                self.push(USER, vec![part]);
            }
            Message::User { content, .. } => {
                let mut parts = Vec::with_capacity(content.len());
                self.parts(index, content, &mut parts)?;
                self.push(USER, parts);
            }
        }
        Ok(())
    }

    /// Adds to the content of that role, or begins one. No parts are no content.
    fn push(&mut self, role: &'static str, mut parts: Vec<Part<'r>>) {
        match self.contents.last_mut() {
            _ if parts.is_empty() => {}
            Some(last) if last.role == Some(role) => last.parts.append(&mut parts),
            _ => self.contents.push(Content {
                role: Some(role),
                parts,
            }),
        }
    }

    fn parts(
        &mut self,
        message: usize,
        content: &'r [chat::Part<'r>],
        parts: &mut Vec<Part<'r>>,
    ) -> Result<(), Unsupported> {
        for (index, part) in content.iter().enumerate() {
            // An empty text is an error for some models, and says nothing to any.
            if matches!(&part.kind, PartKind::Text(text) if text.text().is_empty()) {
                continue;
            }
            let at = || format!("messages[{message}].content[{index}]");
            match self.part(&part.kind) {
                Ok(part) => parts.push(part),
                Err((member, reason)) => self.options.lose(at() + member, reason)?,
            }
        }
        Ok(())
    }

    /// One part, or which of its members cannot be expressed, and why.
    fn part(&mut self, part: &'r PartKind<'r>) -> Result<Part<'r>, (&'static str, String)> {
        match part {
            PartKind::Audio { data, format } => Ok(Part::inline(
                match &**format {
                    "mp3" => Cow::Borrowed("audio/mp3"),
                    "wav" => Cow::Borrowed("audio/wav"),
                    other => Cow::Owned(format!("audio/{other}")),
                },
                data,
            )),
            PartKind::File { id, name, data } => {
                let by_name = name.as_deref().and_then(media::by_extension);
                match (data, id) {
                    (Some(data), _) => match media::data_url(data) {
                        Some(url) if url.media_type.is_empty() => {
                            Ok(Part::inline(by_name.unwrap_or(PDF), url.data))
                        }
                        Some(url) => Ok(Part::inline(url.media_type, url.data)),
                        None if data.contains(':') => Err((
                            ".file.file_data",
                            "only base64, bare or in a data: address, can be sent".to_owned(),
                        )),
                        None => Ok(Part::inline(by_name.unwrap_or(PDF), data)),
                    },
                    // A file of Google's own is named by its address.
                    (None, Some(id)) if media::is_remote(id) => Ok(Part::file(id, by_name)),
                    (None, Some(_)) => Err((
                        ".file.file_id",
                        "Gemini does not know this file; send its data, or its address".to_owned(),
                    )),
                    (None, None) => Err((".file", "a file needs file_data".to_owned())),
                }
            }
            PartKind::Image { url, detail } => {
                let detail = detail.as_deref().unwrap_or("auto");
                self.details = match self.details {
                    Details::NoImage => Details::Same(detail),
                    Details::Same(other) if other == detail => Details::Same(detail),
                    Details::Mixed | Details::Same(_) => Details::Mixed,
                };
                if let Some(url) = media::data_url(url) {
                    if url.media_type.is_empty() {
                        return Err((".image_url.url", "the address has no media type".to_owned()));
                    }
                    return Ok(Part::inline(url.media_type, url.data));
                }
                if media::is_remote(url) {
                    return Ok(Part::file(url, media::by_extension(url)));
                }
                Err((
                    ".image_url.url",
                    "only http(s) addresses and data: addresses with base64 can be sent".to_owned(),
                ))
            }
            PartKind::Text(text) => match text.decode() {
                Some(text) => Ok(Part::text(text)),
                None => Err(("", NO_CHARACTER.to_owned())),
            },
        }
    }

    fn calls(
        &mut self,
        message: usize,
        calls: &'r [ToolCall<'r>],
        parts: &mut Vec<Part<'r>>,
    ) -> Result<(), Unsupported> {
        for (index, call) in calls.iter().enumerate() {
            let args = object(&call.arguments).ok_or_else(|| {
                unsupported(
                    format!("messages[{message}].tool_calls[{index}].function.arguments"),
                    "the arguments must be the text of a JSON object",
                )
            })?;
            self.called.insert(&call.id, &call.name);
            // https://ai.google.dev/gemini-api/docs/thought-signatures, read 2026-11-21:
            // > If you omit a thought_signature for the first functionCall part in any step of the
            // > current turn, the request will fail with a 400 error.
            // > … transferring a trace from a different model that does not include thought
            // > signatures, you can set the following dummy signatures of either
            // > "context_engineering_is_the_way_to_go" or "skip_thought_signature_validator" in the
            // > thought signature field to skip validation.
            let missing = (index == 0 && self.is_third_generation).then_some(SKIP_SIGNATURE);
            parts.push(Part {
                function_call: Some(FunctionCall {
                    id: Some(&call.id),
                    name: &call.name,
                    args,
                }),
                thought_signature: call.signature.as_deref().or(missing),
                ..Part::default()
            });
        }
        Ok(())
    }

    fn result(
        &mut self,
        message: usize,
        id: &'r str,
        content: &'r [chat::Part<'r>],
    ) -> Result<Part<'r>, Unsupported> {
        let Some(name) = self.called.get(id).copied() else {
            return Err(unsupported(
                format!("messages[{message}].tool_call_id"),
                format!("no earlier assistant message has a tool call with the id {id:?}"),
            ));
        };
        let mut pictures = Vec::new();
        let mut text = Cow::Borrowed("");
        for (index, part) in content.iter().enumerate() {
            if let PartKind::Text(more) = &part.kind {
                let Some(more) = more.decode() else {
                    let param = format!("messages[{message}].content");
                    return Err(unsupported(param, NO_CHARACTER));
                };
                if text.is_empty() {
                    text = more;
                } else {
                    text.to_mut().push_str(&more);
                }
                continue;
            }
            // https://ai.google.dev/gemini-api/docs/function-calling#multimodal, read 2026-11-21:
            // > For Gemini 3 series models, you can include multimodal content in the function
            // > response parts
            let sent = self
                .part(&part.kind)
                .and_then(|part| match part.inline_data {
                    Some(inline_data) if self.is_third_generation => Ok(ResultPart { inline_data }),
                    Some(_) => Err(("", "this model takes only text as a result".to_owned())),
                    None => Err(("", "a result can hold only data, no addresses".to_owned())),
                });
            match sent {
                Ok(part) => pictures.push(part),
                Err((member, reason)) => self.options.lose(
                    format!("messages[{message}].content[{index}]{member}"),
                    reason,
                )?,
            }
        }
        Ok(Part {
            function_response: Some(FunctionResponse {
                id: Some(id),
                name,
                response: Response::of(text),
                parts: pictures,
            }),
            ..Part::default()
        })
    }

    /// Takes the ids out of calls and results. A result then belongs to its call by its name and its
    /// place, so results come in the order of the calls.
    fn lose_ids(&mut self) {
        let mut called: Vec<Option<&str>> = Vec::new();
        for content in &mut self.contents {
            content.parts.sort_by_key(|part| {
                let result = part.function_response.as_ref();
                // Parts of other kinds stay behind them, in their order.
                result.map_or(usize::MAX, |result| {
                    let place = called.iter().position(|id| *id == result.id);
                    place.unwrap_or(called.len())
                })
            });
            called.clear();
            for part in &mut content.parts {
                let call = part.function_call.as_mut();
                called.extend(call.map(|call| call.id.take()));
                if let Some(result) = &mut part.function_response {
                    result.id = None;
                }
            }
        }
    }

    /// The parts of the body that the messages make up.
    fn finish(mut self) -> Result<Body<'r>, Unsupported> {
        if self.contents.is_empty() {
            // Contents must not be empty: instructions alone are what the user says.
            let parts = std::mem::take(&mut self.system);
            self.push(USER, parts);
        }
        if self.contents.is_empty() {
            return Err(unsupported(
                "messages",
                "Gemini needs a message that says something",
            ));
        }
        Ok(Body {
            system_instruction: (!self.system.is_empty()).then_some(Content {
                role: None,
                parts: self.system,
            }),
            contents: self.contents,
            ..Body::default()
        })
    }
}

/// The text of an object, `{}` for none; `None` for anything else.
fn object(text: &str) -> Option<&RawValue> {
    let text = text.trim_ascii();
    let text = if text.is_empty() { "{}" } else { text };
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    text.starts_with('{').then_some(raw)
}

// === impl Response ===

/// A function's result, always an object.
///
/// > Use "output" key to specify function output and "error" key to specify error details (if any).
/// > If "output" and "error" keys are not specified, then whole "response" is treated as function
/// > output.
enum Response<'r> {
    /// An object, as it is.
    Object(Box<RawValue>),
    /// A list.
    List(Box<RawValue>),
    Text(Cow<'r, str>),
}

impl<'r> Response<'r> {
    fn of(text: Cow<'r, str>) -> Self {
        let trimmed = text.trim_ascii();
        let raw = || serde_json::from_str::<&RawValue>(trimmed).map(RawValue::to_owned);
        if trimmed.starts_with('{')
            && let Ok(object) = raw()
        {
            return Self::Object(object);
        }
        if trimmed.starts_with('[')
            && let Ok(list) = raw()
        {
            return Self::List(list);
        }
        Self::Text(text)
    }
}

impl Serialize for Response<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Output<T> {
            output: T,
        }
        match self {
            Self::Object(object) => object.serialize(serializer),
            Self::List(output) => Output { output }.serialize(serializer),
            Self::Text(output) => Output { output }.serialize(serializer),
        }
    }
}

// === the rest of the body ===

fn tools<'r>(
    request: &'r Request<'r>,
    options: Options,
) -> Result<Option<[Tools<'r>; 1]>, Unsupported> {
    if request.tools.is_empty() {
        return Ok(None);
    }
    let mut function_declarations = Vec::with_capacity(request.tools.len());
    for (index, tool) in request.tools.iter().enumerate() {
        let mut declaration = FunctionDeclaration {
            name: &tool.name,
            description: tool.description.as_deref(),
            parameters: None,
            parameters_json_schema: None,
        };
        if let Some(parameters) = tool.parameters {
            match schema::clean(parameters, false) {
                Ok(Cleaned::Empty) => {}
                Ok(Cleaned::JsonSchema(schema)) => {
                    declaration.parameters_json_schema = Some(schema);
                }
                Ok(Cleaned::OpenApi(schema)) => declaration.parameters = Some(schema),
                Err(error) => options.lose(
                    format!("tools[{index}].function.parameters"),
                    error.to_string(),
                )?,
            }
        }
        function_declarations.push(declaration);
    }
    Ok(Some([Tools {
        function_declarations,
    }]))
}

/// Source: <https://ai.google.dev/api/caching#FunctionCallingConfig>, read 2026-11-21.
fn tool_config<'r>(request: &'r Request<'r>) -> Option<ToolConfig<'r>> {
    let has_tools = !request.tools.is_empty();
    let (mode, allowed_function_names) = match request.tool_choice.as_ref()? {
        ToolChoice::Auto if has_tools => ("AUTO", None),
        ToolChoice::None if has_tools => ("NONE", None),
        // There is nothing to choose from.
        ToolChoice::Auto | ToolChoice::None => return None,
        ToolChoice::Function(name) => ("ANY", Some([&**name])),
        ToolChoice::Required => ("ANY", None),
    };
    Some(ToolConfig {
        function_calling_config: FunctionCallingConfig {
            mode,
            allowed_function_names,
        },
    })
}

/// Source: <https://ai.google.dev/api/generate-content#generationconfig>, read 2026-11-21.
fn generation_config<'r>(
    request: &'r Request<'r>,
    model: &Model<'_>,
    options: Options,
    conversation: &Conversation<'_>,
) -> Result<Option<GenerationConfig<'r>>, Unsupported> {
    let mut config = GenerationConfig {
        max_output_tokens: request.max_tokens,
        temperature: request.temperature,
        top_p: request.top_p,
        stop_sequences: request
            .stop
            .iter()
            .map(|it| &**it)
            .filter(|it| !it.is_empty())
            .collect(),
        candidate_count: (request.n != 1).then_some(request.n),
        // Models that have no penalties refuse even the one that penalises nothing.
        presence_penalty: request.presence_penalty.filter(|it| *it != 0.0),
        frequency_penalty: request.frequency_penalty.filter(|it| *it != 0.0),
        response_logprobs: request.logprobs,
        logprobs: request
            .top_logprobs
            .filter(|it| request.logprobs && *it > 0),
        thinking_config: thinking_config(request, model, options)?,
        ..GenerationConfig::default()
    };
    if let Some(seed) = request.seed {
        config.seed = i32::try_from(seed).ok();
        if config.seed.is_none() {
            options.lose(
                "seed",
                format!("{seed} is not in Gemini's range of 32 bits"),
            )?;
        }
    }
    if let Some((_, top_k)) = request.other.iter().find(|(name, _)| name == TOP_K) {
        config.top_k = serde_json::from_str(top_k.get()).ok();
        if config.top_k.is_none() {
            return Err(unsupported(
                TOP_K,
                "top_k must be a number that is not negative",
            ));
        }
    }
    match &request.response_format {
        None => {}
        Some(ResponseFormat::JsonObject) => config.response_mime_type = Some(JSON),
        Some(ResponseFormat::JsonSchema { schema, .. }) => {
            config.response_mime_type = Some(JSON);
            match schema.map(|schema| schema::clean(schema, true)) {
                None | Some(Ok(Cleaned::Empty)) => {}
                Some(Ok(Cleaned::JsonSchema(schema))) => config.response_json_schema = Some(schema),
                Some(Ok(Cleaned::OpenApi(schema))) => config.response_schema = Some(schema),
                Some(Err(error)) => {
                    options.lose("response_format.json_schema.schema", error.to_string())?;
                }
            }
        }
    }
    // `high` and `auto` are what Gemini does by itself.
    config.media_resolution = match conversation.details {
        Details::Same("low") => Some("MEDIA_RESOLUTION_LOW"),
        Details::NoImage | Details::Same(_) => None,
        Details::Mixed => {
            if let Some(place) = low_detail(request) {
                options.lose(
                    place + ".image_url.detail",
                    "Gemini has one resolution for all images; give all of them the same detail",
                )?;
            }
            None
        }
    };
    Ok(config.is_needed().then_some(config))
}

/// The first image that asks for little detail: `messages[0].content[1]`.
fn low_detail(request: &Request<'_>) -> Option<String> {
    request
        .messages
        .iter()
        .enumerate()
        .find_map(|(index, message)| {
            let (Message::Assistant { content, .. }
            | Message::System { content, .. }
            | Message::Tool { content, .. }
            | Message::User { content, .. }) = message;
            let part = content.iter().position(|part| {
            matches!(&part.kind, PartKind::Image { detail: Some(detail), .. } if detail == "low")
        })?;
            Some(format!("messages[{index}].content[{part}]"))
        })
}

/// How much to think.
///
/// Source: <https://ai.google.dev/gemini-api/docs/openai#thinking>, read 2026-11-21: Google's own
/// table of what `reasoning_effort` means.
/// > Reasoning cannot be turned off for Gemini 2.5 Pro or 3 models.
fn thinking_config(
    request: &Request<'_>,
    model: &Model<'_>,
    options: Options,
) -> Result<Option<ThinkingConfig>, Unsupported> {
    let Some(effort) = request.reasoning_effort.as_deref() else {
        return Ok(None);
    };
    let budget = |thinking_budget| ThinkingConfig {
        include_thoughts: thinking_budget > 0,
        thinking_budget: Some(thinking_budget),
        thinking_level: None,
    };
    let level = |thinking_level| ThinkingConfig {
        include_thoughts: true,
        thinking_budget: None,
        thinking_level: Some(thinking_level),
    };
    let choices = match (model.thinking(), effort) {
        (Thinking::Never, "none") => return Ok(None),
        (Thinking::Budget { can_be_off: true }, "none") => return Ok(Some(budget(0))),
        (Thinking::Budget { .. }, "minimal" | "low") => return Ok(Some(budget(1_024))),
        (Thinking::Budget { .. }, "medium") => return Ok(Some(budget(8_192))),
        (Thinking::Budget { .. }, "high") => return Ok(Some(budget(24_576))),
        (Thinking::Level { has_minimal: true }, "minimal") => return Ok(Some(level("MINIMAL"))),
        (Thinking::Level { .. }, "minimal" | "low") => return Ok(Some(level("LOW"))),
        (Thinking::Level { .. }, "medium") => return Ok(Some(level("MEDIUM"))),
        (Thinking::Level { .. }, "high") => return Ok(Some(level("HIGH"))),
        (Thinking::Never, _) => "none, since it does not reason",
        (Thinking::Budget { can_be_off: true }, _) => "none, minimal, low, medium or high",
        (Thinking::Budget { .. } | Thinking::Level { .. }, _) => "minimal, low, medium or high",
    };
    options.lose(
        "reasoning_effort",
        format!(
            "{effort:?} is not an effort of {:?}: it takes {choices}",
            request.model
        ),
    )?;
    Ok(None)
}

// === what is written ===

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Content<'r>>,
    contents: Vec<Content<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<[Tools<'r>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<ToolConfig<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation_config: Option<GenerationConfig<'r>>,
}

#[derive(Serialize)]
struct Content<'r> {
    /// [`USER`], [`MODEL`], or none for the instructions.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    /// Not empty.
    parts: Vec<Part<'r>>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Part<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Cow<'r, str>>,
    #[serde(skip_serializing_if = "is_false")]
    thought: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    inline_data: Option<Blob<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_data: Option<FileData<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<FunctionCall<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_response: Option<FunctionResponse<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought_signature: Option<&'r str>,
}

impl<'r> Part<'r> {
    fn text(text: impl Into<Cow<'r, str>>) -> Self {
        Self {
            text: Some(text.into()),
            ..Self::default()
        }
    }

    fn inline(mime_type: impl Into<Cow<'r, str>>, data: &'r str) -> Self {
        Self {
            inline_data: Some(Blob {
                mime_type: mime_type.into(),
                data,
            }),
            ..Self::default()
        }
    }

    fn file(file_uri: &'r str, mime_type: Option<&'static str>) -> Self {
        Self {
            file_data: Some(FileData {
                mime_type,
                file_uri,
            }),
            ..Self::default()
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Blob<'r> {
    mime_type: Cow<'r, str>,
    data: &'r str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FileData<'r> {
    /// Absent where nothing tells it: Google then looks at the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<&'static str>,
    file_uri: &'r str,
}

#[derive(Serialize)]
struct FunctionCall<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'r str>,
    name: &'r str,
    args: &'r RawValue,
}

#[derive(Serialize)]
struct FunctionResponse<'r> {
    /// As in the call: models from 3.5 on answer with nothing where the two differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'r str>,
    name: &'r str,
    response: Response<'r>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<ResultPart<'r>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResultPart<'r> {
    inline_data: Blob<'r>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tools<'r> {
    function_declarations: Vec<FunctionDeclaration<'r>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FunctionDeclaration<'r> {
    name: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters_json_schema: Option<Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolConfig<'r> {
    function_calling_config: FunctionCallingConfig<'r>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FunctionCallingConfig<'r> {
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_function_names: Option<[&'r str; 1]>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct GenerationConfig<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_sequences: Vec<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidate_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_mime_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_schema: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_json_schema: Option<Value>,
    #[serde(skip_serializing_if = "is_false")]
    response_logprobs: bool,
    /// How many of the likeliest tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_resolution: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_config: Option<ThinkingConfig>,
}

impl GenerationConfig<'_> {
    fn is_needed(&self) -> bool {
        self.max_output_tokens.is_some()
            || self.temperature.is_some()
            || self.top_p.is_some()
            || self.top_k.is_some()
            || !self.stop_sequences.is_empty()
            || self.candidate_count.is_some()
            || self.seed.is_some()
            || self.presence_penalty.is_some()
            || self.frequency_penalty.is_some()
            || self.response_mime_type.is_some()
            || self.response_logprobs
            || self.media_resolution.is_some()
            || self.thinking_config.is_some()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ThinkingConfig {
    #[serde(skip_serializing_if = "is_false")]
    include_thoughts: bool,
    /// Unit: tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_budget: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_level: Option<&'static str>,
}

fn is_false(it: &bool) -> bool {
    !it
}

const JSON: &str = "application/json";
const MODEL: &str = "model";
const NO_CHARACTER: &str = "half of a surrogate pair is no character";
const PDF: &str = "application/pdf";
const SKIP_SIGNATURE: &str = "skip_thought_signature_validator";
const TOP_K: &str = "top_k";
const USER: &str = "user";
