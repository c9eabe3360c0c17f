//! A chat completion as a GenerateContentRequest.
//!
//! Source: <https://ai.google.dev/api/generate-content#request-body>, read 2026-11-21.

mod contents;

use std::borrow::Cow;

use super::Host;
use super::model::{Model, Thinking};
use super::rules;
use super::schema::{self, Form, Growth};
use crate::chat::{CallStyle, Message, PartKind, Request, ResponseFormat, ToolChoice};
use crate::json::{Raw, Writer};
use crate::provider::adapt::{Adapter, HINTS, SAMPLER_EXTENSIONS};
use crate::provider::dialect::{Head, Options, Unsupported};
use contents::Details;

/// See [`crate::provider::dialect::Dialect::write`].
pub(super) fn write(
    json: &mut Writer,
    request: &Request<'_>,
    options: &Options,
    host: Host,
) -> Result<Head, Unsupported> {
    let model = Model::new(&request.model)?;
    let adapter = Adapter::new(options.unsupported);
    let written = body(json, request, *options, &model, &adapter, host);
    // What cannot be expressed comes first: without it the rest may be empty.
    let adapted = adapter.finish()?;
    written?;
    let suffix = if request.stream {
        // https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent
        model.path("streamGenerateContent?alt=sse")
    } else {
        model.path("generateContent")
    };
    Ok(Head {
        suffix,
        headers: &[],
        adapted,
        // Gemini decides by itself how many functions it calls at once.
        calls: match request.parallel_tool_calls {
            Some(false) => CallStyle::First,
            _ => CallStyle::All,
        },
    })
}

/// See [`crate::provider::dialect::Counting::write`].
///
/// Sources: <https://ai.google.dev/api/tokens#request-body> (`generateContentRequest`), and
/// `CountTokensRequest` of Vertex AI, which has no member for the way in which functions are called:
/// <https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/count-tokens>.
pub(super) fn write_count(
    json: &mut Writer,
    request: &Request<'_>,
    options: &Options,
    host: Host,
) -> Result<Head, Unsupported> {
    let model = Model::new(&request.model)?;
    let adapter = Adapter::new(options.unsupported);
    json.open_object();
    if host == Host::AiStudio {
        json.key("generateContentRequest").open_object();
        json.key("model").string(&model.resource());
    }
    let written = contents::write(json, request, &model, &adapter, host);
    tools(
        json,
        request,
        &Own::default(),
        &adapter,
        &mut Growth::default(),
    );
    if host == Host::AiStudio {
        json.close_object();
    }
    json.close_object();
    let adapted = adapter.finish()?;
    written?;
    Ok(Head {
        suffix: model.path("countTokens"),
        headers: &[],
        adapted,
        calls: CallStyle::All,
    })
}

fn body(
    json: &mut Writer,
    request: &Request<'_>,
    options: Options,
    model: &Model<'_>,
    adapter: &Adapter,
    host: Host,
) -> Result<(), Unsupported> {
    let own = Own::take(request, options, model, adapter);
    json.open_object();
    let details = contents::write(json, request, model, adapter, host)?;
    let mut growth = Growth::default();
    tools(json, request, &own, adapter, &mut growth);
    tool_config(json, request, &own, adapter, host);
    generation_config(json, request, &own, model, adapter, details, &mut growth)?;
    if let Some(tier) = own.service_tier {
        json.key("serviceTier").string(tier);
    }
    for (name, value) in [
        ("safetySettings", own.safety_settings),
        ("cachedContent", own.cached_content),
    ] {
        if let Some(value) = value {
            json.key(name).raw(value.get());
        }
    }
    json.close_object();
    Ok(())
}

/// Members that are Google's own, or mean something to it.
#[derive(Default)]
struct Own<'r> {
    cached_content: Option<Raw<'r>>,
    has_web_search: bool,
    safety_settings: Option<Raw<'r>>,
    service_tier: Option<&'static str>,
    top_k: Option<Raw<'r>>,
}

impl<'r> Own<'r> {
    /// Takes them, and reports the members that no other function looks at.
    fn take(
        request: &'r Request<'_>,
        options: Options,
        model: &Model<'_>,
        adapter: &Adapter,
    ) -> Self {
        let mut own = Self::default();
        if request.user.is_some() {
            adapter.apply(&rules::USER);
        }
        if !request.logprobs && request.top_logprobs.is_some_and(|count| count > 0) {
            adapter.apply(&rules::TOP_LOGPROBS);
        }
        if request.n != 1 && !model.has_candidates() {
            adapter.apply(&rules::N);
        }
        for (name, value) in &request.other {
            let name = &**name;
            match name {
                "cached_content" => own.cached_content = Some(*value),
                "safety_settings" => own.safety_settings = Some(*value),
                // `ServiceTier` of `google-genai` 3.6.1.
                "service_tier" => match value.get() {
                    "\"auto\"" | "\"default\"" => {}
                    "\"flex\"" => own.service_tier = Some("flex"),
                    "\"priority\"" => own.service_tier = Some("priority"),
                    "\"standard\"" => own.service_tier = Some("standard"),
                    _ => adapter.apply(&rules::SERVICE_TIER),
                },
                TOP_K => own.top_k = Some(*value),
                "web_search_options" if options.has_web_search => own.has_web_search = true,
                "web_search_options" => adapter.apply(&rules::WEB_SEARCH),
                "logit_bias" => adapter.apply(&rules::LOGIT_BIAS),
                "modalities" => adapter.apply(&rules::MODALITIES),
                "audio" => adapter.apply(&rules::AUDIO_OUTPUT),
                // A hint to cache up to a place, which Gemini finds by itself.
                "cache_control" => {}
                _ if HINTS.contains(&name) => adapter.apply_to(&rules::HINT, name),
                _ if SAMPLER_EXTENSIONS.contains(&name) => {
                    adapter.apply_to(&rules::SAMPLER, name);
                }
                _ => adapter.apply_to(&rules::UNKNOWN, name),
            }
        }
        for tool in &request.hosted_tools {
            let param = || format!("tools[{}] ({})", tool.index, tool.kind);
            if options.has_web_search && tool.kind.starts_with(WEB_SEARCH) {
                own.has_web_search = true;
            } else if tool.has_files {
                adapter.apply_at(&rules::HOSTED_TOOL_WITH_FILES, param);
            } else {
                adapter.apply_at(&rules::HOSTED_TOOL, param);
            }
        }
        if own.has_web_search && !request.tools.is_empty() && !model.is_third_generation() {
            own.has_web_search = false;
            adapter.apply(&rules::WEB_SEARCH_AND_FUNCTIONS);
        }
        for param in &request.unplaced {
            adapter.apply_to(&rules::UNPLACED, param);
        }
        own
    }
}

fn unsupported(param: impl Into<String>, message: impl Into<String>) -> Unsupported {
    Unsupported {
        param: param.into(),
        message: message.into(),
    }
}

// === the rest of the body ===

fn tools(
    json: &mut Writer,
    request: &Request<'_>,
    own: &Own<'_>,
    adapter: &Adapter,
    growth: &mut Growth,
) {
    if request.tools.is_empty() && !own.has_web_search {
        return;
    }
    json.key("tools").open_array();
    if !request.tools.is_empty() {
        json.open_object();
        json.key("functionDeclarations").open_array();
        for (index, tool) in request.tools.iter().enumerate() {
            json.open_object();
            json.key("name").quoted(tool.name);
            if let Some(description) = tool.description {
                json.key("description").quoted(description);
            }
            let cleaned = tool
                .parameters
                .map_or(Ok(None), |it| schema::clean(it.get(), None, false, growth));
            match cleaned {
                Ok(None) => {}
                Ok(Some(schema)) => schema.write(json.key(match schema.form() {
                    Form::JsonSchema => "parametersJsonSchema",
                    Form::OpenApi => "parameters",
                })),
                Err(_) => adapter.apply_at(&rules::TOOL_SCHEMA, || {
                    format!("tools[{index}].function.parameters")
                }),
            }
            json.close_object();
        }
        json.close_array();
        json.close_object();
    }
    if own.has_web_search {
        // `GoogleSearch` of `google-genai` 3.6.1.
        json.object(|json| json.key("googleSearch").object(|_| {}));
    }
    json.close_array();
}

/// Source: `FunctionCallingConfig` of `google-genai` 3.6.1.
///
/// > Please enable tool_config.include_server_side_tool_invocations to use Built-in tools with Function
/// > calling.
///
/// <https://github.com/cloudwego/eino-ext/issues/761>; Vertex AI does not know it, by the same package.
fn tool_config(
    json: &mut Writer,
    request: &Request<'_>,
    own: &Own<'_>,
    adapter: &Adapter,
    host: Host,
) {
    let has_tools = !request.tools.is_empty();
    let is_mixed = has_tools && own.has_web_search && host == Host::AiStudio;
    let calling = calling(request, own, adapter).filter(|(mode, _)| {
        // With tools of both kinds `VALIDATED` is the default, and `AUTO` is refused:
        // <https://github.com/Pretend-to/mio-chat-backend/issues/30>.
        !(is_mixed && *mode == "AUTO")
    });
    if calling.is_none() && !is_mixed {
        return;
    }
    json.key("toolConfig").object(|json| {
        if let Some((mode, only)) = calling {
            json.key("functionCallingConfig").object(|json| {
                json.key("mode").string(mode);
                if !only.is_empty() {
                    json.key("allowedFunctionNames").array(|json| {
                        only.iter().for_each(|name| json.string(name));
                    });
                }
            });
        }
        if is_mixed {
            json.key("includeServerSideToolInvocations").bool(true);
        }
    });
}

/// The mode of calls, and the functions that are meant; `None`: it is the model's to choose.
fn calling<'r>(
    request: &'r Request<'_>,
    own: &Own<'_>,
    adapter: &Adapter,
) -> Option<(&'static str, &'r [Cow<'r, str>])> {
    let has_tools = !request.tools.is_empty();
    Some(match request.tool_choice.as_ref()? {
        ToolChoice::Auto if has_tools => ("AUTO", &[][..]),
        ToolChoice::None if has_tools => ("NONE", &[][..]),
        ToolChoice::Allowed { names, is_required } if has_tools => match is_required {
            true => ("ANY", names.as_slice()),
            false => ("VALIDATED", names.as_slice()),
        },
        ToolChoice::Hosted(kind) => {
            if !(own.has_web_search && kind.starts_with(WEB_SEARCH)) {
                adapter.apply(&rules::HOSTED_TOOL_FORCED);
            }
            return None;
        }
        // There is nothing to choose from.
        ToolChoice::Allowed { .. } | ToolChoice::Auto | ToolChoice::None => return None,
        ToolChoice::Function(name) => ("ANY", std::slice::from_ref(name)),
        ToolChoice::Required => ("ANY", &[][..]),
    })
}

/// Source: <https://ai.google.dev/api/generate-content#generationconfig>, read 2026-11-21.
fn generation_config(
    json: &mut Writer,
    request: &Request<'_>,
    own: &Own<'_>,
    model: &Model<'_>,
    adapter: &Adapter,
    details: Details<'_>,
    growth: &mut Growth,
) -> Result<(), Unsupported> {
    let mut config = Config {
        json,
        is_open: false,
    };
    if let Some(max_tokens) = request.max_tokens {
        config.key("maxOutputTokens").number(max_tokens);
    }
    if let Some(temperature) = request.temperature {
        config.key("temperature").float(temperature);
    }
    if let Some(top_p) = request.top_p {
        config.key("topP").float(top_p);
    }
    if let Some(top_k) = own.top_k {
        let Ok(top_k) = serde_json::from_str::<u32>(top_k.get()) else {
            let message = "top_k must be a number that is not negative";
            return Err(unsupported(TOP_K, message));
        };
        config.key("topK").number(top_k.into());
    }
    if request.stop.iter().next().is_some() {
        config.key("stopSequences").array(|json| {
            request.stop.iter().for_each(|stop| json.quoted(stop));
        });
    }
    if request.n != 1 && model.has_candidates() {
        config.key("candidateCount").number(request.n);
    }
    if let Some(seed) = request.seed {
        let seed = i32::try_from(seed).unwrap_or_else(|_| {
            adapter.apply(&rules::SEED);
            // The lowest 31 bits of the number: it fits.
            i32::try_from(seed & i64::from(i32::MAX)).unwrap_or_default()
        });
        config.key("seed").raw(&seed.to_string());
    }
    for (name, rule, penalty) in [
        (
            "presencePenalty",
            &rules::PRESENCE_PENALTY,
            request.presence_penalty,
        ),
        (
            "frequencyPenalty",
            &rules::FREQUENCY_PENALTY,
            request.frequency_penalty,
        ),
    ] {
        // Models that have no penalties refuse even the one that penalises nothing.
        match penalty.filter(|it| *it != 0.0) {
            None => {}
            Some(penalty) if model.has_penalties() => config.key(name).float(penalty),
            Some(_) => adapter.apply(rule),
        }
    }
    response_format(&mut config, request, adapter, growth);
    if request.logprobs {
        config.key("responseLogprobs").bool(true);
        // How many of the likeliest tokens.
        if let Some(count) = request.top_logprobs.filter(|count| *count > 0) {
            config.key("logprobs").number(count);
        }
    }
    match details {
        Details::Same(detail) if detail == "low" => {
            config.key("mediaResolution").string("MEDIA_RESOLUTION_LOW");
        }
        // `high` and `auto` are what Gemini does by itself.
        Details::NoImage | Details::Same(_) => {}
        Details::Mixed => {
            if let Some(place) = low_detail(request) {
                adapter.apply_at(&rules::IMAGE_DETAIL, || place + ".image_url.detail");
            }
        }
    }
    if let Some(effort) = Effort::of(request, model, adapter) {
        config
            .key("thinkingConfig")
            .object(|json| effort.write(json));
    }
    config.end();
    Ok(())
}

/// `generationConfig`, which is left out where nothing is in it.
struct Config<'w> {
    json: &'w mut Writer,
    is_open: bool,
}

impl Config<'_> {
    /// See [`Writer::key`].
    fn key(&mut self, name: &'static str) -> &mut Writer {
        if !self.is_open {
            self.is_open = true;
            self.json.key("generationConfig").open_object();
        }
        self.json.key(name)
    }

    fn end(self) {
        if self.is_open {
            self.json.close_object();
        }
    }
}

fn response_format(
    config: &mut Config<'_>,
    request: &Request<'_>,
    adapter: &Adapter,
    growth: &mut Growth,
) {
    let (schema, description) = match &request.response_format {
        None => return,
        Some(ResponseFormat::JsonObject) => (None, None),
        Some(ResponseFormat::JsonSchema {
            schema,
            description,
            ..
        }) => (*schema, description.as_deref()),
    };
    config.key("responseMimeType").string("application/json");
    match schema.map_or(Ok(None), |it| {
        schema::clean(it.get(), description, true, growth)
    }) {
        Ok(None) => {}
        Ok(Some(schema)) => schema.write(config.key(match schema.form() {
            Form::JsonSchema => "responseJsonSchema",
            Form::OpenApi => "responseSchema",
        })),
        Err(_) => adapter.apply(&rules::FORMAT_SCHEMA),
    }
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
                matches!(part.kind, PartKind::Image { detail: Some(detail), .. } if detail.decode() == "low")
            })?;
            Some(format!("messages[{index}].content[{part}]"))
        })
}

/// How much to think.
enum Effort {
    /// Unit: tokens.
    Budget(u32),
    Level(&'static str),
}

impl Effort {
    /// Source: <https://ai.google.dev/gemini-api/docs/openai#thinking>, Google's own table of what
    /// `reasoning_effort` means. That Gemini 3 cannot stop thinking is quoted of
    /// <https://ai.google.dev/gemini-api/docs/thinking> in <https://github.com/enricoros/big-AGI/issues/893>;
    /// that a budget of 0 is for Flash of 2.5 alone, in the documentation of `gemini_ex` 0.13.
    fn of(request: &Request<'_>, model: &Model<'_>, adapter: &Adapter) -> Option<Self> {
        let effort = request.reasoning_effort.as_deref()?;
        let thinking = model.thinking();
        let nearest = |rule, effort| {
            adapter.apply(rule);
            Some(effort)
        };
        match (thinking, effort) {
            (Thinking::Never, "none") => None,
            (Thinking::Never, _) => {
                adapter.apply(&rules::EFFORT_NO_THINKING);
                None
            }
            (Thinking::Budget { can_be_off: true }, "none") => Some(Self::Budget(0)),
            (Thinking::Budget { .. }, "none") => {
                nearest(&rules::EFFORT_OFF, Self::Budget(LEAST_BUDGET))
            }
            (Thinking::Budget { .. }, "minimal" | "low") => Some(Self::Budget(1_024)),
            (Thinking::Budget { .. }, "medium") => Some(Self::Budget(8_192)),
            (Thinking::Budget { .. }, "high") => Some(Self::Budget(LARGEST_BUDGET)),
            (Thinking::Budget { .. }, "xhigh" | "max") => {
                nearest(&rules::EFFORT_LEVEL, Self::Budget(LARGEST_BUDGET))
            }
            (Thinking::Level { has_minimal, .. }, "none") => {
                let lowest = if has_minimal { "MINIMAL" } else { "LOW" };
                nearest(&rules::EFFORT_OFF, Self::Level(lowest))
            }
            (
                Thinking::Level {
                    has_minimal: true, ..
                },
                "minimal",
            ) => Some(Self::Level("MINIMAL")),
            (Thinking::Level { .. }, "minimal" | "low") => Some(Self::Level("LOW")),
            (Thinking::Level { .. }, "medium") => Some(Self::Level("MEDIUM")),
            (Thinking::Level { .. }, "high") => Some(Self::Level("HIGH")),
            (
                Thinking::Level {
                    has_xhigh: true, ..
                },
                "xhigh",
            ) => Some(Self::Level("XHIGH")),
            (Thinking::Level { has_xhigh, .. }, "xhigh" | "max") => {
                let highest = if has_xhigh { "XHIGH" } else { "HIGH" };
                nearest(&rules::EFFORT_LEVEL, Self::Level(highest))
            }
            (Thinking::Budget { .. } | Thinking::Level { .. }, _) => {
                adapter.apply(&rules::EFFORT_UNKNOWN);
                None
            }
        }
    }

    fn write(&self, json: &mut Writer) {
        if !matches!(self, Self::Budget(0)) {
            json.key("includeThoughts").bool(true);
        }
        match self {
            Self::Budget(tokens) => json.key("thinkingBudget").number((*tokens).into()),
            Self::Level(level) => json.key("thinkingLevel").string(level),
        }
    }
}

const TOP_K: &str = "top_k";

/// OpenAI's types of search tools begin with it.
const WEB_SEARCH: &str = "web_search";

/// Unit: tokens. The least that Gemini 2.5 Pro thinks.
const LEAST_BUDGET: u32 = 128;

/// Unit: tokens.
const LARGEST_BUDGET: u32 = 24_576;
