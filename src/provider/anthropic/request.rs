//! A request in Anthropic's words.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::Host;
use super::model::{Model, ThinkingStyle};
use super::thinking::{self, Step};
use crate::chat::{Message, Part, PartKind, Request, ResponseFormat, Tool, ToolCall, ToolChoice};
use crate::json::Writer;
use crate::provider::dialect::{Options, Unsupported};

/// The limit that is sent where neither the client nor the configuration has one. Unit: tokens.
const DEFAULT_MAX_TOKENS: u64 = 4096;

/// > Requires a minimum budget of 1,024 tokens.
const MIN_BUDGET_TOKENS: u64 = 1024;

/// > Diminishing returns above 32k tokens.
const MAX_BUDGET_TOKENS: u64 = 32_000;

pub(super) fn write(
    request: &Request<'_>,
    options: Options,
    host: Host,
) -> Result<Vec<u8>, Unsupported> {
    let model = Model::named(&request.model);
    let max_tokens = request
        .max_tokens
        .or(options.max_tokens)
        .unwrap_or(DEFAULT_MAX_TOKENS);
    refuse_what_is_lost(request, options)?;
    let own = Own::take(request, options)?;
    let effort = Effort::of(request, model, max_tokens, own.thinking.is_some(), options)?;

    let mut json = Writer::with_capacity(size_hint(request));
    json.open_object();
    match host {
        Host::Anthropic => json.key("model").string(&request.model),
        Host::Vertex => json.key("anthropic_version").string("vertex-2023-10-16"),
    }
    json.key("max_tokens").number(max_tokens);
    system(&mut json, request);
    messages(&mut json, request, options)?;
    tools(&mut json, request, model, options)?;
    sampling(&mut json, request, &own, model, &effort, options)?;
    stop_sequences(&mut json, request, options)?;
    if let Some(thinking) = own.thinking {
        json.key("thinking").raw(thinking.get());
    }
    match effort.thinking {
        Thinking::Adaptive => json.key("thinking").object(|json| {
            json.key("type").string("adaptive");
            // Newer models leave the text out unless asked.
            json.key("display").string("summarized");
        }),
        Thinking::Budget(tokens) => json.key("thinking").object(|json| {
            json.key("type").string("enabled");
            json.key("budget_tokens").number(tokens);
        }),
        Thinking::Disabled => json.key("thinking").object(|json| {
            json.key("type").string("disabled");
        }),
        Thinking::Unsaid => {}
    }
    output_config(&mut json, request, model, &effort, options)?;
    if let Some(user) = &request.user {
        json.key("metadata").object(|json| {
            json.key("user_id").string(user);
        });
    }
    if let Some(tier) = own.service_tier {
        json.key("service_tier").string(tier);
    }
    if let Some(cache_control) = own.cache_control {
        json.key("cache_control").raw(cache_control.get());
    }
    if request.stream {
        json.key("stream").bool(true);
    }
    json.close_object();
    Ok(json.into_bytes())
}

/// `/publishers/anthropic/models/{model}:rawPredict`. The model is a path segment and stays one.
pub(super) fn vertex_suffix(request: &Request<'_>) -> Result<String, Unsupported> {
    let model = &*request.model;
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    if model.is_empty() || model.starts_with('.') || !model.bytes().all(is_safe) {
        return Err(Unsupported {
            param: "model".to_owned(),
            message: format!("{model:?} cannot be part of a URL"),
        });
    }
    let method = if request.stream {
        "streamRawPredict"
    } else {
        "rawPredict"
    };
    Ok(format!("/publishers/anthropic/models/{model}:{method}"))
}

fn refuse_what_is_lost(request: &Request<'_>, options: Options) -> Result<(), Unsupported> {
    let is_zero = |penalty: Option<f64>| penalty.unwrap_or_default() == 0.0;
    for (param, is_lost) in [
        ("n", request.n != 1),
        ("logprobs", request.logprobs),
        (
            "top_logprobs",
            request.top_logprobs.unwrap_or_default() != 0,
        ),
        ("seed", request.seed.is_some()),
        ("presence_penalty", !is_zero(request.presence_penalty)),
        ("frequency_penalty", !is_zero(request.frequency_penalty)),
    ] {
        if is_lost {
            options.lose(param, NOT_EXPRESSIBLE)?;
        }
    }
    for param in &request.unplaced {
        options.lose(param, NOT_EXPRESSIBLE)?;
    }
    Ok(())
}

/// Members that are Anthropic's own, or mean something to it.
#[derive(Default)]
struct Own<'r> {
    cache_control: Option<&'r RawValue>,
    service_tier: Option<&'static str>,
    thinking: Option<&'r RawValue>,
    top_k: Option<&'r RawValue>,
}

impl<'r> Own<'r> {
    fn take(request: &'r Request<'_>, options: Options) -> Result<Self, Unsupported> {
        let mut own = Self::default();
        for (name, value) in &request.other {
            match &**name {
                "cache_control" => own.cache_control = Some(value),
                "thinking" => own.thinking = Some(value),
                "top_k" => own.top_k = Some(value),
                // https://platform.claude.com/docs/en/api/service-tiers, read 2026-11-21: `auto` is
                // the default, `standard_only` leaves bought capacity alone, as OpenAI's `default`.
                "service_tier" => match value.get() {
                    "\"auto\"" => {}
                    "\"default\"" | "\"standard_only\"" => {
                        own.service_tier = Some("standard_only");
                    }
                    _ => options.lose("service_tier", "is neither \"auto\" nor \"default\"")?,
                },
                name => options.lose(name, NOT_EXPRESSIBLE)?,
            }
        }
        Ok(own)
    }
}

/// What `reasoning_effort` becomes.
struct Effort {
    thinking: Thinking,
    /// `output_config.effort`.
    word: Option<&'static str>,
}

enum Thinking {
    Adaptive,
    Budget(u64),
    Disabled,
    Unsaid,
}

impl Effort {
    const UNSAID: Self = Self {
        thinking: Thinking::Unsaid,
        word: None,
    };

    fn of(
        request: &Request<'_>,
        model: Model,
        max_tokens: u64,
        client_says_thinking: bool,
        options: Options,
    ) -> Result<Self, Unsupported> {
        let Some(word) = request.reasoning_effort.as_deref() else {
            return Ok(Self::UNSAID);
        };
        let lose = |message: &str| {
            options.lose("reasoning_effort", message)?;
            Ok(Self::UNSAID)
        };
        let style = model.thinking();
        if word == "none" {
            let is_said = style == ThinkingStyle::Adaptive && !client_says_thinking;
            return Ok(Self {
                thinking: if is_said {
                    Thinking::Disabled
                } else {
                    Thinking::Unsaid
                },
                word: None,
            });
        }
        let Some(effort) = model.effort(word) else {
            return lose("is not a word that this provider has an effort for");
        };
        match style {
            ThinkingStyle::None => lose("this model cannot think"),
            ThinkingStyle::Adaptive => Ok(Self {
                thinking: if client_says_thinking {
                    Thinking::Unsaid
                } else {
                    Thinking::Adaptive
                },
                word: Some(effort),
            }),
            ThinkingStyle::Budget if client_says_thinking => {
                lose("cannot be sent together with thinking to this model")
            }
            // > `tool_choice` options that force tool use return an error with manual extended
            // > thinking.
            // https://platform.claude.com/docs/en/build-with-claude/thinking-tool-workflows, read
            // 2026-11-21.
            ThinkingStyle::Budget
                if matches!(
                    request.tool_choice,
                    Some(ToolChoice::Function(_) | ToolChoice::Required)
                ) =>
            {
                lose("this model cannot think when tool_choice forces a call")
            }
            ThinkingStyle::Budget => {
                // Shares of the limit, since the thinking counts towards it: these are
                // OpenRouter's, https://openrouter.ai/docs/guides/best-practices/reasoning-tokens,
                // read 2026-11-21.
                let percent = match effort {
                    "low" => 20,
                    "medium" => 50,
                    "high" => 80,
                    _ => 95,
                };
                let share = max_tokens.saturating_mul(percent) / 100;
                let budget = share.clamp(MIN_BUDGET_TOKENS, MAX_BUDGET_TOKENS);
                if budget >= max_tokens {
                    return lose(
                        "needs max_completion_tokens above 1024: thinking counts towards it",
                    );
                }
                Ok(Self {
                    thinking: Thinking::Budget(budget),
                    word: None,
                })
            }
        }
    }
}

fn sampling(
    json: &mut Writer,
    request: &Request<'_>,
    own: &Own<'_>,
    model: Model,
    effort: &Effort,
    options: Options,
) -> Result<(), Unsupported> {
    // 1 is the default of both: it need not be said, and some models refuse to hear it.
    let refuses = model.refuses_sampling();
    if let Some(temperature) = request.temperature
        && temperature != 1.0
    {
        if !(0.0..=1.0).contains(&temperature) {
            options.lose("temperature", "is not in the provider's range of 0..=1")?;
        } else if refuses {
            options.lose("temperature", "this model takes none")?;
        } else if matches!(effort.thinking, Thinking::Budget(_)) {
            options.lose("temperature", "cannot be set when the model thinks")?;
        } else {
            json.key("temperature").float(temperature);
        }
    }
    if let Some(top_p) = request.top_p
        && top_p != 1.0
    {
        if refuses {
            options.lose("top_p", "this model takes none")?;
        } else {
            json.key("top_p").float(top_p);
        }
    }
    if let Some(top_k) = own.top_k {
        if refuses {
            options.lose("top_k", "this model takes none")?;
        } else {
            json.key("top_k").raw(top_k.get());
        }
    }
    Ok(())
}

/// > stop_sequences: each stop sequence must contain non-whitespace
fn stop_sequences(
    json: &mut Writer,
    request: &Request<'_>,
    options: Options,
) -> Result<(), Unsupported> {
    if request.stop.is_empty() {
        return Ok(());
    }
    json.key("stop_sequences");
    json.open_array();
    for stop in &request.stop {
        if stop.trim_start().is_empty() {
            options.lose(
                "stop",
                "has a sequence of white space alone, which is not taken",
            )?;
        } else {
            json.string(stop);
        }
    }
    json.close_array();
    Ok(())
}

/// <https://platform.claude.com/docs/en/build-with-claude/structured-outputs>, read 2026-11-21.
fn output_config(
    json: &mut Writer,
    request: &Request<'_>,
    model: Model,
    effort: &Effort,
    options: Options,
) -> Result<(), Unsupported> {
    let schema = match &request.response_format {
        None => None,
        Some(ResponseFormat::JsonObject) => {
            let message = "\"json_object\" cannot be expressed; use \"json_schema\"";
            options.lose("response_format", message)?;
            None
        }
        Some(ResponseFormat::JsonSchema { .. }) if model.lacks_structured_output() => {
            options.lose("response_format", "this model has no structured output")?;
            None
        }
        Some(ResponseFormat::JsonSchema { schema, .. }) => {
            if schema.is_none() {
                let message = "is required: the provider takes no format without one";
                options.lose("response_format.json_schema.schema", message)?;
            }
            *schema
        }
    };
    if schema.is_none() && effort.word.is_none() {
        return Ok(());
    }
    json.key("output_config").object(|json| {
        if let Some(word) = effort.word {
            json.key("effort").string(word);
        }
        if let Some(schema) = schema {
            json.key("format").object(|json| {
                json.key("type").string("json_schema");
                json.key("schema").raw(schema.get());
            });
        }
    });
    Ok(())
}

fn tools(
    json: &mut Writer,
    request: &Request<'_>,
    model: Model,
    options: Options,
) -> Result<(), Unsupported> {
    if !request.tools.is_empty() {
        json.key("tools");
        json.open_array();
        for (index, it) in request.tools.iter().enumerate() {
            tool(json, it, index, model, options)?;
        }
        json.close_array();
    }
    // > You may both skip providing `tools` when sending tool results.
    // https://github.com/anthropics/anthropic-sdk-python/issues/849, read 2026-11-21. A choice without
    // tools is refused there, and only says what goes without saying.
    let is_serial = request.parallel_tool_calls == Some(false);
    let choice = match &request.tool_choice {
        _ if request.tools.is_empty() => match request.tool_choice {
            Some(ToolChoice::Function(_) | ToolChoice::Required) => {
                return Err(Unsupported {
                    param: "tool_choice".to_owned(),
                    message: "forces a call, and there are no tools".to_owned(),
                });
            }
            _ => return Ok(()),
        },
        None if is_serial => &ToolChoice::Auto,
        None => return Ok(()),
        Some(choice) => choice,
    };
    json.key("tool_choice").object(|json| {
        let kind = match choice {
            ToolChoice::Auto => "auto",
            ToolChoice::Function(_) => "tool",
            ToolChoice::None => "none",
            ToolChoice::Required => "any",
        };
        json.key("type").string(kind);
        if let ToolChoice::Function(name) = choice {
            json.key("name").string(name);
        }
        if is_serial && *choice != ToolChoice::None {
            json.key("disable_parallel_tool_use").bool(true);
        }
    });
    Ok(())
}

fn tool(
    json: &mut Writer,
    it: &Tool<'_>,
    index: usize,
    model: Model,
    options: Options,
) -> Result<(), Unsupported> {
    let mut is_strict = it.strict.unwrap_or_default();
    if is_strict && model.lacks_structured_output() {
        let param = format!("tools[{index}].function.strict");
        options.lose(param, "this model has no strict tools")?;
        is_strict = false;
    }
    json.object(|json| {
        json.key("name").string(&it.name);
        if let Some(description) = &it.description {
            json.key("description").string(description);
        }
        // `{}`, which OpenAI takes, lacks the `type` that is required here.
        let is_empty = |schema: &&RawValue| {
            let mut text = schema.get().bytes().filter(|it| !it.is_ascii_whitespace());
            text.by_ref().take(2).eq(*b"{}")
        };
        match it.parameters.filter(|schema| !is_empty(schema)) {
            Some(schema) => json.key("input_schema").raw(schema.get()),
            None => json
                .key("input_schema")
                .raw(r#"{"type":"object","properties":{}}"#),
        }
        if is_strict {
            json.key("strict").bool(true);
        }
        cache_control(json, it.cache_control);
    });
    Ok(())
}

/// System and developer messages, wherever they stand, in order: one text, or a block for each.
fn system(json: &mut Writer, request: &Request<'_>) {
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
                    blocks.push((text, part.cache_control.or(own)));
                }
            }
        }
    }
    match blocks.as_slice() {
        [] => {}
        [(text, None)] => json.key("system").string(text),
        blocks => json.key("system").array(|json| {
            for (text, cache) in blocks {
                json.object(|json| {
                    json.key("type").string("text");
                    json.key("text").string(text);
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
fn messages(json: &mut Writer, request: &Request<'_>, options: Options) -> Result<(), Unsupported> {
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
        json.string(text);
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
                ) => json.key("content").string(text),
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
        PartKind::Text(text) => text.trim_start().is_empty(),
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
    let mut rest = match content.as_slice() {
        [
            Part {
                kind: PartKind::Text(text),
                cache_control: None,
            },
        ] if !steps.is_empty() => Some(&**text),
        _ => None,
    };
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
    let text = match content {
        [
            Part {
                kind: PartKind::Text(text),
                cache_control: None,
            },
        ] => &**text,
        _ => "",
    };
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

/// A text, unless it says nothing.
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
        PartKind::Text(text) => text_block(json, text, cache),
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

/// Where the bytes of an image or a document are.
enum Source<'a> {
    Base64 { media_type: &'a str, data: &'a str },
    Id(&'a str),
    Text(String),
    Url(&'a str),
}

impl<'a> Source<'a> {
    /// > We currently support the base64 source type for images, and the image/jpeg, image/png,
    /// > image/gif, and image/webp media types.
    ///
    /// <https://platform.claude.com/docs/en/build-with-claude/vision>, read 2026-11-21.
    fn of_image(url: &'a str) -> Result<Self, &'static str> {
        if is_web_url(url) {
            return Ok(Self::Url(url));
        }
        let Some((media_type, data)) = data_uri(url) else {
            return Err("is neither an http(s) URL nor a data URI with base64");
        };
        let media_type = match media_type {
            "image/jpg" => "image/jpeg",
            other => other,
        };
        match media_type {
            "image/gif" | "image/jpeg" | "image/png" | "image/webp" => {
                Ok(Self::Base64 { media_type, data })
            }
            _ => Err("is not a GIF, JPEG, PNG or WebP image"),
        }
    }

    /// The kind of block, and the source: PDFs and text are documents, images are images.
    ///
    /// <https://platform.claude.com/docs/en/build-with-claude/pdf-support>, read 2026-11-21.
    fn of_file(data: &'a str, name: Option<&str>) -> Result<(&'static str, Self), &'static str> {
        if is_web_url(data) {
            return Ok(("document", Self::Url(data)));
        }
        let (media_type, data) = match data_uri(data) {
            Some(found) => found,
            None if data.starts_with("data:") => return Err("is not a data URI with base64"),
            None if data.starts_with(PDF_IN_BASE64) => (PDF, data),
            None => match name.and_then(|name| name.rsplit_once('.')) {
                Some((_, "pdf" | "PDF")) => (PDF, data),
                Some((_, "txt" | "md" | "csv")) => ("text/plain", data),
                _ => return Err("does not say what it is; use a data URI"),
            },
        };
        match media_type {
            PDF => Ok(("document", Self::Base64 { media_type, data })),
            _ if media_type.starts_with("image/") => {
                let is_known = matches!(
                    media_type,
                    "image/gif" | "image/jpeg" | "image/png" | "image/webp"
                );
                if !is_known {
                    return Err("is not a GIF, JPEG, PNG or WebP image");
                }
                Ok(("image", Self::Base64 { media_type, data }))
            }
            _ if media_type.starts_with("text/") => {
                let text = decode_base64(data).and_then(|bytes| String::from_utf8(bytes).ok());
                match text {
                    Some(text) => Ok(("document", Self::Text(text))),
                    None => Err("is not base64 of UTF-8 text"),
                }
            }
            _ => Err("is neither a PDF, nor text, nor an image"),
        }
    }

    fn write(&self, json: &mut Writer, kind: &str, title: Option<&str>, cache: Option<&RawValue>) {
        json.object(|json| {
            json.key("type").string(kind);
            json.key("source").object(|json| match self {
                Self::Base64 { media_type, data } => {
                    json.key("type").string("base64");
                    json.key("media_type").string(media_type);
                    json.key("data").string(data);
                }
                Self::Id(id) => {
                    json.key("type").string("file");
                    json.key("file_id").string(id);
                }
                Self::Text(text) => {
                    json.key("type").string("text");
                    json.key("media_type").string("text/plain");
                    json.key("data").string(text);
                }
                Self::Url(url) => {
                    json.key("type").string("url");
                    json.key("url").string(url);
                }
            });
            if let Some(title) = title
                && kind == "document"
            {
                json.key("title").string(title);
            }
            cache_control(json, cache);
        });
    }
}

fn cache_control(json: &mut Writer, cache_control: Option<&RawValue>) {
    if let Some(it) = cache_control {
        json.key("cache_control").raw(it.get());
    }
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

fn is_web_url(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

/// Media type and base64 of `data:image/png;base64,…`.
fn data_uri(uri: &str) -> Option<(&str, &str)> {
    let (head, data) = uri.strip_prefix("data:")?.split_once(',')?;
    let head = head.strip_suffix(";base64")?;
    let media_type = head
        .split_once(';')
        .map_or(head, |(media_type, _)| media_type);
    Some((media_type, data))
}

/// RFC 4648, section 4, with or without padding.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            // The eight bits above the `count` that are left.
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

/// About how long the body becomes.
fn size_hint(request: &Request<'_>) -> usize {
    let text = |part: &Part<'_>| match &part.kind {
        PartKind::Text(text) => text.len(),
        PartKind::Image { url, .. } => url.len(),
        PartKind::File { data, .. } => data.as_ref().map_or(0, |data| data.len()),
        PartKind::Audio { .. } => 0,
    };
    let messages = request.messages.iter().map(|message| match message {
        Message::Assistant { content, .. }
        | Message::System { content, .. }
        | Message::Tool { content, .. }
        | Message::User { content, .. } => 128 + content.iter().map(text).sum::<usize>(),
    });
    let tools = request.tools.iter().map(|tool| {
        128 + tool.parameters.map_or(0, |schema| schema.get().len())
            + tool.description.as_ref().map_or(0, |text| text.len())
    });
    let size = 512 + messages.sum::<usize>() + tools.sum::<usize>();
    // Escapes.
    size + size / 16
}

const NOT_EXPRESSIBLE: &str = "cannot be expressed in the provider's API";

const PDF: &str = "application/pdf";

/// `%PDF-`.
const PDF_IN_BASE64: &str = "JVBERi0";

#[cfg(test)]
mod tests;
