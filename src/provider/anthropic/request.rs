//! A request in Anthropic's words.

mod source;
mod turns;

use super::Host;
use super::model::{Model, ThinkingStyle};
use crate::chat::{Request, ResponseFormat, Tool, ToolChoice};
use crate::json::{self, Ignored, Raw, Writer, object};
use crate::provider::dialect::{Options, Unsupported};

/// The limit that is sent where neither the client nor the configuration has one. Unit: tokens.
const DEFAULT_MAX_TOKENS: u64 = 4096;

/// > Requires a minimum budget of 1,024 tokens.
const MIN_BUDGET_TOKENS: u64 = 1024;

/// > Diminishing returns above 32k tokens.
const MAX_BUDGET_TOKENS: u64 = 32_000;

pub(super) fn write(
    json: &mut Writer,
    request: &Request<'_>,
    options: Options,
    host: Host,
) -> Result<(), Unsupported> {
    let model = Model::named(&request.model);
    let max_tokens = request
        .max_tokens
        .or(options.max_tokens)
        .unwrap_or(DEFAULT_MAX_TOKENS);
    refuse_what_is_lost(request, options)?;
    let own = Own::take(request, options)?;
    let effort = Effort::of(request, model, max_tokens, own.thinking.is_some(), options)?;

    json.open_object();
    match host {
        Host::Anthropic => json.key("model").string(&request.model),
        Host::Vertex => json.key("anthropic_version").string("vertex-2023-10-16"),
    }
    json.key("max_tokens").number(max_tokens);
    turns::system(json, request);
    turns::messages(json, request, options)?;
    tools(json, request, model, options)?;
    sampling(json, request, &own, model, &effort, options)?;
    stop_sequences(json, request, options)?;
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
    output_config(json, request, model, &effort, options)?;
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
    Ok(())
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
    cache_control: Option<Raw<'r>>,
    service_tier: Option<&'static str>,
    thinking: Option<Raw<'r>>,
    top_k: Option<Raw<'r>>,
}

impl<'r> Own<'r> {
    fn take(request: &'r Request<'_>, options: Options) -> Result<Self, Unsupported> {
        let mut own = Self::default();
        for (name, value) in &request.other {
            match &**name {
                "cache_control" => own.cache_control = Some(*value),
                "thinking" => own.thinking = Some(*value),
                "top_k" => own.top_k = Some(*value),
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
    let mut stops = request.stop.iter().peekable();
    if stops.peek().is_none() {
        return Ok(());
    }
    json.key("stop_sequences");
    json.open_array();
    for stop in stops {
        if stop.quoted().is_blank() {
            options.lose(
                "stop",
                "has a sequence of white space alone, which is not taken",
            )?;
        } else {
            json.quoted(stop);
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
            tool(json, &it, index, model, options)?;
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
        json.key("name").quoted(it.name);
        if let Some(description) = it.description {
            json.key("description").quoted(description);
        }
        json.key("input_schema");
        input_schema(json, it.parameters);
        if is_strict {
            json.key("strict").bool(true);
        }
        cache_control(json, it.cache_control);
    });
    Ok(())
}

object! {
    /// A schema, of which only one thing is looked at: whether `type` is among the members.
    TopLevel {
        r#type: Ignored = b"type",
    }
}

/// A schema, with the `type` that is required here and that OpenAI takes as understood.
fn input_schema(json: &mut Writer, schema: Option<Raw<'_>>) {
    let text = schema.map_or("{}", Raw::get);
    let inside = text.strip_prefix('{').unwrap_or_default().trim_start();
    let has_type = inside.starts_with("\"type\"")
        || json::read::<TopLevel>(text.as_bytes()).is_ok_and(|it| it.r#type.is_some());
    match (has_type, inside) {
        (true, _) => json.raw(text),
        (false, "}" | "") => json.raw(r#"{"type":"object","properties":{}}"#),
        (false, rest) => json.raw_of(&[r#"{"type":"object","#, rest]),
    }
}

fn cache_control(json: &mut Writer, cache_control: Option<Raw<'_>>) {
    if let Some(it) = cache_control {
        json.key("cache_control").raw(it.get());
    }
}

const NOT_EXPRESSIBLE: &str = "cannot be expressed in the provider's API";

#[cfg(test)]
mod tests;
