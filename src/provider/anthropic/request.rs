//! A request in Anthropic's words.

mod schema;
mod source;
mod turns;

use std::borrow::Cow;

use serde::Deserialize;

use self::schema::Schema;
use super::Host;
use super::model::{Capabilities, LOWEST_EFFORT, Model, Sampling, ThinkingOff, ThinkingStyle};
use super::rules;
use crate::chat::{Message, Request, ResponseFormat, Tool, ToolChoice};
use crate::failure::quotable;
use crate::json::{Piece, Raw, Text, Writer};
use crate::percent;
use crate::provider::adapt::{Adapter, HINTS, SAMPLER_EXTENSIONS};
use crate::provider::dialect::{Options, Unsupported};

/// > Requires a minimum budget of 1,024 tokens.
const MIN_BUDGET_TOKENS: u64 = 1024;

/// > Diminishing returns above 32k tokens.
const MAX_BUDGET_TOKENS: u64 = 32_000;

/// What a budget leaves for the answer, where the limit allows it. Unit: tokens.
const ANSWER_TOKENS: u64 = 4_096;

/// What a request is written for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// An answer of the model.
    Answer,
    /// The number of its tokens. Of the members only those that count are taken:
    /// <https://platform.claude.com/docs/en/api/messages-count-tokens>, read 2026-11-28.
    Count,
}

pub(super) fn write(
    json: &mut Writer,
    request: &Request<'_>,
    options: Options,
    adapter: &Adapter,
    host: Host,
    purpose: Purpose,
) -> Result<(), Unsupported> {
    let model = Model::named(&request.model).capabilities();
    let max_tokens = max_tokens(request, options, model, adapter);
    report_what_is_lost(request, adapter);
    let own = Own::take(request, options, adapter)?;
    let mut instructions = Vec::new();
    let offer = Offer::of(request, &own, model, adapter, &mut instructions)?;
    let effort = Effort::of(request, model, max_tokens, &own, &offer, adapter);
    let schema = answer_schema(request, adapter, &mut instructions)?;
    let format = schema.as_ref().filter(|_| model.has_structured_output);
    if let Some(schema) = schema.as_ref().filter(|_| !model.has_structured_output) {
        adapter.apply(&rules::JSON_SCHEMA);
        instructions.push(Instruction::Answer(schema));
    }

    json.open_object();
    if host == Host::Vertex {
        json.key("anthropic_version").string("vertex-2023-10-16");
    }
    if host == Host::Anthropic || purpose == Purpose::Count {
        json.key("model").string(&request.model);
    }
    if purpose == Purpose::Answer {
        json.key("max_tokens").number(max_tokens);
    }
    turns::write(json, request, model, &instructions, adapter)?;
    offer.write(json, request, model, host, adapter)?;
    if purpose == Purpose::Answer {
        sampling(json, request, &own, model, &effort, adapter);
        stop_sequences(json, request, adapter);
    }
    if let Some(thinking) = own.thinking {
        json.key("thinking").raw(thinking.get());
    }
    effort.thinking.write(json);
    if format.is_some() || effort.word.is_some() {
        json.key("output_config").object(|json| {
            if let Some(word) = effort.word {
                json.key("effort").string(word);
            }
            if let Some(schema) = format {
                json.key("format").object(|json| {
                    json.key("type").string("json_schema");
                    schema.write(json.key("schema"));
                });
            }
        });
    }
    if purpose == Purpose::Count {
        json.close_object();
        return Ok(());
    }
    if let Some(user) = &request.user {
        json.key("metadata").object(|json| {
            json.key("user_id").string(user);
        });
    }
    if let Some(tier) = own.service_tier {
        json.key("service_tier").string(tier);
    }
    for (name, value) in [
        ("cache_control", own.cache_control),
        ("container", own.container),
        ("inference_geo", own.inference_geo),
        ("speed", own.speed),
    ] {
        if let Some(value) = value {
            json.key(name).raw(value.get());
        }
    }
    if request.stream {
        json.key("stream").bool(true);
    }
    json.close_object();
    Ok(())
}

/// The limit: the client's, else the backend's, else the model's default.
fn max_tokens(
    request: &Request<'_>,
    options: Options,
    model: &Capabilities,
    adapter: &Adapter,
) -> u64 {
    let default = options.max_tokens.unwrap_or(model.default_max_tokens);
    match request.max_tokens {
        Some(limit) if limit > model.largest_max_tokens => {
            adapter.apply(&rules::MAX_TOKENS);
            model.largest_max_tokens
        }
        Some(limit) => limit,
        None => default,
    }
}

/// `/publishers/anthropic/models/{model}:rawPredict`. The model is a path segment and stays one.
pub(in crate::provider) fn vertex_suffix(
    model: &str,
    is_stream: bool,
) -> Result<String, Unsupported> {
    let segment = percent::encode_segment(model, b"@").ok_or_else(|| Unsupported {
        param: "model".to_owned(),
        message: format!("{:?} cannot be part of a URL", quotable(model)),
    })?;
    let method = if is_stream {
        "streamRawPredict"
    } else {
        "rawPredict"
    };
    Ok(format!("/publishers/anthropic/models/{segment}:{method}"))
}

fn report_what_is_lost(request: &Request<'_>, adapter: &Adapter) {
    let is_zero = |penalty: Option<f64>| penalty.unwrap_or_default() == 0.0;
    for (rule, is_lost) in [
        (&rules::N, request.n != 1),
        (&rules::LOGPROBS, request.logprobs),
        (
            &rules::TOP_LOGPROBS,
            request.top_logprobs.unwrap_or_default() != 0,
        ),
        (&rules::SEED, request.seed.is_some()),
        (&rules::PRESENCE_PENALTY, !is_zero(request.presence_penalty)),
        (
            &rules::FREQUENCY_PENALTY,
            !is_zero(request.frequency_penalty),
        ),
    ] {
        if is_lost {
            adapter.apply(rule);
        }
    }
    for param in &request.unplaced {
        adapter.apply_to(&rules::UNPLACED, param);
    }
}

/// Members that are Anthropic's own, or mean something to it.
#[derive(Default)]
struct Own<'r> {
    cache_control: Option<Raw<'r>>,
    container: Option<Raw<'r>>,
    inference_geo: Option<Raw<'r>>,
    service_tier: Option<&'static str>,
    speed: Option<Raw<'r>>,
    thinking: Option<Raw<'r>>,
    /// Whether that turns thinking on.
    thinks: bool,
    top_k: Option<Raw<'r>>,
    /// `web_search_options`, or `{}` where a tool of this kind is offered.
    web_search: Option<&'r str>,
}

impl<'r> Own<'r> {
    fn take(
        request: &'r Request<'_>,
        options: Options,
        adapter: &Adapter,
    ) -> Result<Self, Unsupported> {
        let mut own = Self::default();
        for (name, value) in &request.other {
            let name = &**name;
            match name {
                "cache_control" => own.cache_control = Some(*value),
                "container" => own.container = Some(*value),
                "inference_geo" => own.inference_geo = Some(*value),
                "speed" => own.speed = Some(*value),
                "thinking" => {
                    own.thinking = Some(*value);
                    own.thinks = turns_thinking_on(*value);
                }
                "top_k" => own.top_k = Some(*value),
                // https://platform.claude.com/docs/en/api/service-tiers, read 2026-11-21: `auto` is
                // the default and takes bought capacity first, `standard_only` leaves it alone, as
                // OpenAI's `default`.
                "service_tier" => match value.get() {
                    "\"auto\"" | "\"priority\"" => {}
                    "\"default\"" | "\"standard_only\"" => {
                        own.service_tier = Some("standard_only");
                    }
                    _ => adapter.apply(&rules::SERVICE_TIER),
                },
                "web_search_options" if options.has_web_search => {
                    own.web_search = Some(value.get());
                }
                "web_search_options" => adapter.apply(&rules::WEB_SEARCH),
                "logit_bias" => adapter.apply(&rules::LOGIT_BIAS),
                "modalities" => adapter.apply(&rules::MODALITIES),
                "audio" => adapter.apply(&rules::AUDIO_OUTPUT),
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
                own.web_search = own.web_search.or(Some("{}"));
            } else if tool.has_files {
                adapter.apply_at(&rules::HOSTED_TOOL_WITH_FILES, param);
            } else {
                adapter.apply_at(&rules::HOSTED_TOOL, param);
            }
        }
        Ok(own)
    }
}

/// Whether a client's own `thinking` turns it on.
fn turns_thinking_on(thinking: Raw<'_>) -> bool {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(borrow)]
        r#type: Cow<'a, str>,
    }

    serde_json::from_str::<Kind<'_>>(thinking.get())
        .is_ok_and(|it| matches!(&*it.r#type, "adaptive" | "enabled"))
}

/// What `reasoning_effort` becomes.
#[derive(Clone, Copy)]
struct Effort {
    thinking: Thinking,
    /// `output_config.effort`.
    word: Option<&'static str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Thinking {
    Adaptive,
    BetweenTools,
    Budget(u64),
    Disabled,
    Unsaid,
}

impl Thinking {
    fn write(self, json: &mut Writer) {
        let kind = match self {
            Self::Unsaid => return,
            Self::Adaptive => "adaptive",
            Self::BetweenTools => "between_tools",
            Self::Budget(_) => "enabled",
            Self::Disabled => "disabled",
        };
        json.key("thinking").object(|json| {
            json.key("type").string(kind);
            match self {
                // Newer models leave the text out unless it is requested.
                Self::Adaptive => json.key("display").string("summarized"),
                Self::Budget(tokens) => json.key("budget_tokens").number(tokens),
                Self::BetweenTools | Self::Disabled | Self::Unsaid => {}
            }
        });
    }
}

impl Effort {
    /// What is sent where the client leaves thinking to the model.
    ///
    /// A model that always thinks gives the text of it, and of what it does between calls, only on
    /// request.
    fn unsaid(model: &Capabilities, own: &Own<'_>, offer: &Offer<'_>) -> Self {
        let is_shown = model.always_thinks && own.thinking.is_none() && !offer.is_forced();
        Self {
            thinking: match is_shown {
                true => Thinking::Adaptive,
                false => Thinking::Unsaid,
            },
            word: None,
        }
    }

    fn of(
        request: &Request<'_>,
        model: &Capabilities,
        max_tokens: u64,
        own: &Own<'_>,
        offer: &Offer<'_>,
        adapter: &Adapter,
    ) -> Self {
        let unsaid = Self::unsaid(model, own, offer);
        let Some(word) = request.reasoning_effort.as_deref() else {
            return unsaid;
        };
        let without = |rule| {
            adapter.apply(rule);
            unsaid
        };
        if word == "none" {
            return Self::off(model, own, adapter);
        }
        let Some(effort) = model.effort(word) else {
            return without(&rules::EFFORT_UNKNOWN);
        };
        if word == "xhigh" && effort != word && model.thinking == ThinkingStyle::Adaptive {
            adapter.apply(&rules::EFFORT_LEVEL);
        }
        match model.thinking {
            ThinkingStyle::None => without(&rules::EFFORT_NO_THINKING),
            ThinkingStyle::Adaptive => Self {
                thinking: match own.thinking {
                    Some(_) => Thinking::Unsaid,
                    None => Thinking::Adaptive,
                },
                word: Some(effort),
            },
            ThinkingStyle::Budget if own.thinking.is_some() => {
                without(&rules::EFFORT_BESIDE_THINKING)
            }
            // > `tool_choice` options that force tool use return an error with manual extended
            // > thinking.
            // https://platform.claude.com/docs/en/build-with-claude/thinking-tool-workflows, read
            // 2026-11-21.
            ThinkingStyle::Budget if offer.is_forced() => without(&rules::EFFORT_FORCED),
            ThinkingStyle::Budget if lacks_thinking_of_loop(request) => {
                without(&rules::EFFORT_LOOP)
            }
            ThinkingStyle::Budget => match budget(effort, max_tokens) {
                Some(tokens) => Self {
                    thinking: Thinking::Budget(tokens),
                    word: None,
                },
                None => without(&rules::EFFORT_NO_ROOM),
            },
        }
    }

    /// `none`.
    fn off(model: &Capabilities, own: &Own<'_>, adapter: &Adapter) -> Self {
        let (thinking, word) = match model.off {
            ThinkingOff::Unsaid => (Thinking::Unsaid, None),
            ThinkingOff::Disabled => (Thinking::Disabled, None),
            ThinkingOff::BetweenTools => {
                adapter.apply(&rules::EFFORT_BETWEEN);
                (Thinking::BetweenTools, None)
            }
            ThinkingOff::LowestEffort => {
                adapter.apply(&rules::EFFORT_OFF);
                (Thinking::Adaptive, Some(LOWEST_EFFORT))
            }
        };
        Self {
            thinking: match own.thinking {
                Some(_) => Thinking::Unsaid,
                None => thinking,
            },
            word,
        }
    }
}

/// The tokens to think with; `None`: the limit has no room for the least.
///
/// Shares of the limit, since the thinking counts towards it: these are OpenRouter's,
/// <https://openrouter.ai/docs/guides/best-practices/reasoning-tokens>, read 2026-11-21. Something is
/// left for the answer, whatever the effort.
fn budget(effort: &str, max_tokens: u64) -> Option<u64> {
    let percent = match effort {
        "low" => 20,
        "medium" => 50,
        "high" => 80,
        _ => 95,
    };
    let share = max_tokens.saturating_mul(percent) / 100;
    let room = max_tokens.saturating_sub(ANSWER_TOKENS).max(max_tokens / 2);
    let budget = share.min(room).clamp(MIN_BUDGET_TOKENS, MAX_BUDGET_TOKENS);
    (budget < max_tokens).then_some(budget)
}

/// Whether the conversation is in the middle of a tool loop whose thinking the client has not kept.
///
/// > When `thinking` is enabled, a final `assistant` message must start with a thinking block
/// > (preceeding the lastmost set of `tool_use` and `tool_result` blocks).
fn lacks_thinking_of_loop(request: &Request<'_>) -> bool {
    let (mut is_loop, mut is_kept) = (false, false);
    for message in &request.messages {
        match message {
            Message::Assistant {
                reasoning_signature,
                ..
            } => {
                is_loop = false;
                let signature = reasoning_signature.map(Text::decode);
                is_kept |= signature.is_some_and(|it| super::thinking::is_own(&it));
            }
            Message::System { .. } => {}
            Message::Tool { .. } => is_loop = true,
            Message::User { .. } => (is_loop, is_kept) = (false, false),
        }
    }
    is_loop && !is_kept
}

fn sampling(
    json: &mut Writer,
    request: &Request<'_>,
    own: &Own<'_>,
    model: &Capabilities,
    effort: &Effort,
    adapter: &Adapter,
) {
    // 1 is the default of both: it need not be sent, and some models refuse it.
    let is_said = |value: &f64| *value != 1.0;
    let thinks = own.thinks || matches!(effort.thinking, Thinking::Adaptive | Thinking::Budget(_));
    let has_none = model.sampling == Sampling::None;
    let mut has_temperature = false;
    if let Some(value) = request.temperature.filter(is_said) {
        let nearest = value.clamp(0.0, 1.0);
        if has_none {
            adapter.apply(&rules::TEMPERATURE);
        } else if thinks {
            // > `temperature` may only be set to 1 when thinking is enabled or in adaptive mode.
            adapter.apply(&rules::TEMPERATURE_THINKING);
        } else {
            if nearest != value {
                adapter.apply(&rules::TEMPERATURE_RANGE);
            }
            if nearest != 1.0 {
                has_temperature = true;
                json.key("temperature").float(nearest);
            }
        }
    }
    if let Some(value) = request.top_p.filter(is_said) {
        if has_none {
            adapter.apply(&rules::TOP_P);
        } else if has_temperature && model.sampling == Sampling::OneOfTwo {
            adapter.apply(&rules::TOP_P_ALONE);
        } else if thinks && value < LEAST_TOP_P_THINKING {
            adapter.apply(&rules::TOP_P_THINKING);
            json.key("top_p").float(LEAST_TOP_P_THINKING);
        } else {
            json.key("top_p").float(value);
        }
    }
    if let Some(top_k) = own.top_k {
        if has_none {
            adapter.apply(&rules::TOP_K);
        } else if thinks {
            adapter.apply(&rules::TOP_K_THINKING);
        } else {
            json.key("top_k").raw(top_k.get());
        }
    }
}

/// The least `top_p` beside thinking: <https://github.com/SEMOSS/Semoss/pull/1655>. That `top_k` must be
/// unset there: <https://github.com/quarkiverse/quarkus-langchain4j/issues/1812>.
const LEAST_TOP_P_THINKING: f64 = 0.95;

/// > stop_sequences: each stop sequence must contain non-whitespace
fn stop_sequences(json: &mut Writer, request: &Request<'_>, adapter: &Adapter) {
    let is_blank = |stop: &Text<'_>| stop.quoted().is_blank();
    let stops = || request.stop.iter().filter(|stop| !is_blank(stop));
    if request.stop.iter().any(|stop| is_blank(&stop)) {
        adapter.apply(&rules::STOP);
    }
    if stops().next().is_some() {
        json.key("stop_sequences")
            .array(|json| stops().for_each(|stop| json.quoted(stop)));
    }
}

/// What we say to the model, behind the client's own instructions.
enum Instruction<'r> {
    /// To answer by a schema.
    Answer(&'r Schema<'r>),
    Text(Cow<'static, str>),
}

impl Instruction<'_> {
    fn write(&self, json: &mut Writer) {
        match self {
            Self::Answer(schema) => {
                json.open_string();
                json.piece(Piece::Plain(
                    "Answer with one JSON object that is valid against this JSON Schema, and nothing \
                     else: no text around it, no code fence.\n",
                ));
                json.text_in_string(|json| schema.write(json));
                json.close_string();
            }
            Self::Text(text) => json.string(text),
        }
    }
}

/// The schema of the answer; for any object, an instruction.
///
/// Source: `output_config_param.py` and `lib/_parse/_transform.py` of Anthropic's Python package 2.14.0.
fn answer_schema<'r>(
    request: &'r Request<'_>,
    adapter: &Adapter,
    instructions: &mut Vec<Instruction<'_>>,
) -> Result<Option<Schema<'r>>, Unsupported> {
    let (schema, description) = match &request.response_format {
        None => return Ok(None),
        Some(ResponseFormat::JsonObject) => (None, None),
        Some(ResponseFormat::JsonSchema {
            schema,
            description,
            ..
        }) => (*schema, description.as_deref()),
    };
    let Some(schema) = schema else {
        adapter.apply(&rules::JSON_OBJECT);
        instructions.push(Instruction::Text(
            "Answer with one JSON object and nothing else: no text around it, no code fence."
                .into(),
        ));
        return Ok(None);
    };
    let schema = schema::of_answer(schema.get(), description).map_err(|invalid| Unsupported {
        param: "response_format.json_schema.schema".to_owned(),
        message: invalid.to_string(),
    })?;
    Ok(Some(schema))
}

/// The tools that the model is offered, and what it has to do with them.
struct Offer<'r> {
    /// Of the functions, only these; `None`: all.
    only: Option<Vec<&'r str>>,
    choice: Option<Choice<'r>>,
    /// See [`Own::web_search`].
    web_search: Option<&'r str>,
}

#[derive(Clone, Copy)]
enum Choice<'r> {
    Any,
    Auto,
    None,
    Tool(&'r str),
}

impl<'r> Offer<'r> {
    fn of(
        request: &'r Request<'_>,
        own: &Own<'r>,
        model: &Capabilities,
        adapter: &Adapter,
        instructions: &mut Vec<Instruction<'_>>,
    ) -> Result<Self, Unsupported> {
        let mut offer = Self {
            only: None,
            choice: None,
            web_search: own.web_search,
        };
        let choice = match &request.tool_choice {
            None => None,
            Some(ToolChoice::Auto) => Some(Choice::Auto),
            Some(ToolChoice::None) => Some(Choice::None),
            Some(ToolChoice::Required) => Some(Choice::Any),
            Some(ToolChoice::Function(name)) => Some(Choice::Tool(name)),
            Some(ToolChoice::Allowed { names, is_required }) => {
                offer.only = Some(names.iter().map(|name| &**name).collect());
                Some(match is_required {
                    true => Choice::Any,
                    false => Choice::Auto,
                })
            }
            Some(ToolChoice::Hosted(kind))
                if own.web_search.is_some() && kind.starts_with(WEB_SEARCH) =>
            {
                Some(Choice::Tool(WEB_SEARCH))
            }
            Some(ToolChoice::Hosted(_)) => {
                adapter.apply(&rules::HOSTED_TOOL_FORCED);
                Some(Choice::Auto)
            }
        };
        if offer.is_empty(request) {
            // > You may both skip providing `tools` when sending tool results.
            // https://github.com/anthropics/anthropic-sdk-python/issues/849, read 2026-11-21. A
            // choice without tools is refused there, and only repeats what holds anyway.
            return match choice {
                Some(Choice::Any | Choice::Tool(_)) => Err(Unsupported {
                    param: "tool_choice".to_owned(),
                    message: "forces a call, and there are no tools".to_owned(),
                }),
                _ => Ok(offer),
            };
        }
        offer.choice = match choice {
            Some(Choice::Any) if !model.has_forced_choice => {
                adapter.apply(&rules::TOOL_CHOICE_FORCED);
                instructions.push(Instruction::Text(
                    "Your next answer must be a call of at least one of the tools, and no text."
                        .into(),
                ));
                Some(Choice::Auto)
            }
            Some(Choice::Tool(name)) if !model.has_forced_choice => {
                adapter.apply(&rules::TOOL_CHOICE_FORCED);
                let text =
                    format!("Your next answer must be a call of the tool {name:?}, and no text.");
                instructions.push(Instruction::Text(text.into()));
                offer.only = Some(vec![name]);
                Some(Choice::Auto)
            }
            choice => choice,
        };
        Ok(offer)
    }

    fn is_forced(&self) -> bool {
        matches!(self.choice, Some(Choice::Any | Choice::Tool(_)))
    }

    fn offers(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&name))
    }

    fn is_empty(&self, request: &Request<'_>) -> bool {
        self.web_search.is_none()
            && !request
                .tools
                .iter()
                .any(|tool| self.offers(&tool.name.decode()))
    }

    fn write(
        &self,
        json: &mut Writer,
        request: &Request<'_>,
        model: &Capabilities,
        host: Host,
        adapter: &Adapter,
    ) -> Result<(), Unsupported> {
        if self.is_empty(request) {
            return Ok(());
        }
        json.key("tools");
        json.open_array();
        for (index, it) in request.tools.iter().enumerate() {
            if self.offers(&it.name.decode()) {
                tool(json, &it, index, model, adapter)?;
            }
        }
        if let Some(options) = self.web_search.filter(|_| self.offers(WEB_SEARCH)) {
            web_search(json, options, model, host);
        }
        json.close_array();
        let is_serial = request.parallel_tool_calls == Some(false);
        let choice = match self.choice {
            None if is_serial => Choice::Auto,
            None => return Ok(()),
            Some(choice) => choice,
        };
        json.key("tool_choice").object(|json| {
            let kind = match choice {
                Choice::Any => "any",
                Choice::Auto => "auto",
                Choice::None => "none",
                Choice::Tool(_) => "tool",
            };
            json.key("type").string(kind);
            if let Choice::Tool(name) = choice {
                json.key("name").string(name);
            }
            if is_serial && !matches!(choice, Choice::None) {
                json.key("disable_parallel_tool_use").bool(true);
            }
        });
        Ok(())
    }
}

fn tool(
    json: &mut Writer,
    it: &Tool<'_>,
    index: usize,
    model: &Capabilities,
    adapter: &Adapter,
) -> Result<(), Unsupported> {
    let mut is_strict = it.strict.unwrap_or_default();
    if is_strict && !model.has_structured_output {
        adapter.apply_at(&rules::STRICT, || format!("tools[{index}].function.strict"));
        is_strict = false;
    }
    let schema =
        schema::of_tool(it.parameters.map(Raw::get), is_strict).map_err(|invalid| Unsupported {
            param: format!("tools[{index}].function.parameters"),
            message: invalid.to_string(),
        })?;
    json.object(|json| {
        json.key("name").quoted(it.name);
        if let Some(description) = it.description {
            json.key("description").quoted(description);
        }
        schema.write(json.key("input_schema"));
        if is_strict {
            json.key("strict").bool(true);
        }
        cache_control(json, it.cache_control);
    });
    Ok(())
}

/// Anthropic's own search.
///
/// Source: `web_search_tool_20260318_param.py` and its older ones in Anthropic's Python package 2.14.0.
/// Vertex documents the first version alone:
/// <https://cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/web-search>. Models before 4.6
/// get that one, too, which they have had since it came.
fn web_search(json: &mut Writer, options: &str, model: &Capabilities, host: Host) {
    #[derive(Default, Deserialize)]
    struct SearchOptions<'a> {
        #[serde(borrow)]
        user_location: Option<Location<'a>>,
    }
    #[derive(Deserialize)]
    struct Location<'a> {
        #[serde(borrow)]
        approximate: Option<Approximate<'a>>,
    }
    #[derive(Deserialize)]
    struct Approximate<'a> {
        #[serde(borrow)]
        city: Option<Cow<'a, str>>,
        #[serde(borrow)]
        country: Option<Cow<'a, str>>,
        #[serde(borrow)]
        region: Option<Cow<'a, str>>,
        #[serde(borrow)]
        timezone: Option<Cow<'a, str>>,
    }

    let is_new = host == Host::Anthropic && model.thinking == ThinkingStyle::Adaptive;
    let options: SearchOptions<'_> = serde_json::from_str(options).unwrap_or_default();
    let place = options.user_location.and_then(|it| it.approximate);
    json.object(|json| {
        json.key("type").string(match is_new {
            true => "web_search_20260318",
            false => "web_search_20250305",
        });
        json.key("name").string(WEB_SEARCH);
        if let Some(place) = place {
            json.key("user_location").object(|json| {
                json.key("type").string("approximate");
                for (name, value) in [
                    ("city", place.city),
                    ("country", place.country),
                    ("region", place.region),
                    ("timezone", place.timezone),
                ] {
                    if let Some(value) = value {
                        json.key(name).string(&value);
                    }
                }
            });
        }
    });
}

fn cache_control(json: &mut Writer, cache_control: Option<Raw<'_>>) {
    if let Some(it) = cache_control {
        json.key("cache_control").raw(it.get());
    }
}

/// OpenAI's types of search tools begin with it, and Anthropic's tool is named so.
const WEB_SEARCH: &str = "web_search";

#[cfg(test)]
mod tests;
