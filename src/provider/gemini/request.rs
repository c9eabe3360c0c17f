//! A chat completion as a GenerateContentRequest.
//!
//! Source: <https://ai.google.dev/api/generate-content#request-body>, read 2026-11-21.

mod contents;

use super::Host;
use super::model::{Model, Thinking};
use super::schema::{self, Cleaned};
use crate::chat::{Message, PartKind, Request, ResponseFormat, ToolChoice};
use crate::json::Writer;
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
    let options = *options;
    check(request, options)?;
    json.open_object();
    let details = contents::write(json, request, &model, options, host)?;
    tools(json, request, options)?;
    tool_config(json, request);
    generation_config(json, request, &model, options, details)?;
    json.close_object();
    let suffix = if request.stream {
        // https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent
        model.path("streamGenerateContent?alt=sse")
    } else {
        model.path("generateContent")
    };
    Ok(Head {
        suffix,
        headers: &[],
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

// === the rest of the body ===

fn tools(json: &mut Writer, request: &Request<'_>, options: Options) -> Result<(), Unsupported> {
    if request.tools.is_empty() {
        return Ok(());
    }
    json.key("tools").open_array();
    json.open_object();
    json.key("functionDeclarations").open_array();
    for (index, tool) in request.tools.iter().enumerate() {
        json.open_object();
        json.key("name").quoted(tool.name);
        if let Some(description) = tool.description {
            json.key("description").quoted(description);
        }
        match tool.parameters.map(|it| schema::clean(it.get(), false)) {
            None | Some(Ok(Cleaned::Empty)) => {}
            Some(Ok(Cleaned::JsonSchema(schema))) => {
                json.key("parametersJsonSchema").raw(&schema.to_string());
            }
            Some(Ok(Cleaned::OpenApi(schema))) => json.key("parameters").raw(&schema.to_string()),
            Some(Err(error)) => options.lose(
                format!("tools[{index}].function.parameters"),
                error.to_string(),
            )?,
        }
        json.close_object();
    }
    json.close_array();
    json.close_object();
    json.close_array();
    Ok(())
}

/// Source: <https://ai.google.dev/api/caching#FunctionCallingConfig>, read 2026-11-21.
fn tool_config(json: &mut Writer, request: &Request<'_>) {
    let has_tools = !request.tools.is_empty();
    let (mode, only) = match &request.tool_choice {
        None => return,
        Some(ToolChoice::Auto) if has_tools => ("AUTO", None),
        Some(ToolChoice::None) if has_tools => ("NONE", None),
        // There is nothing to choose from.
        Some(ToolChoice::Auto | ToolChoice::None) => return,
        Some(ToolChoice::Function(name)) => ("ANY", Some(name)),
        Some(ToolChoice::Required) => ("ANY", None),
    };
    json.key("toolConfig").object(|json| {
        json.key("functionCallingConfig").object(|json| {
            json.key("mode").string(mode);
            if let Some(name) = only {
                json.key("allowedFunctionNames")
                    .array(|json| json.string(name));
            }
        });
    });
}

/// Source: <https://ai.google.dev/api/generate-content#generationconfig>, read 2026-11-21.
fn generation_config(
    json: &mut Writer,
    request: &Request<'_>,
    model: &Model<'_>,
    options: Options,
    details: Details<'_>,
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
    if let Some((_, top_k)) = request.other.iter().find(|(name, _)| name == TOP_K) {
        let Ok(top_k) = serde_json::from_str::<u32>(top_k.get()) else {
            let message = "top_k must be a number that is not negative";
            return Err(unsupported(TOP_K, message));
        };
        config.key("topK").number(top_k.into());
    }
    let stops = || request.stop.iter().filter(|stop| !stop.is_empty());
    if stops().next().is_some() {
        config
            .key("stopSequences")
            .array(|json| stops().for_each(|stop| json.quoted(stop)));
    }
    if request.n != 1 {
        config.key("candidateCount").number(request.n);
    }
    if let Some(seed) = request.seed {
        match i32::try_from(seed) {
            Ok(seed) => config.key("seed").raw(&seed.to_string()),
            Err(_) => options.lose(
                "seed",
                format!("{seed} is not in Gemini's range of 32 bits"),
            )?,
        }
    }
    // Models that have no penalties refuse even the one that penalises nothing.
    if let Some(penalty) = request.presence_penalty.filter(|it| *it != 0.0) {
        config.key("presencePenalty").float(penalty);
    }
    if let Some(penalty) = request.frequency_penalty.filter(|it| *it != 0.0) {
        config.key("frequencyPenalty").float(penalty);
    }
    response_format(&mut config, request, options)?;
    if request.logprobs {
        config.key("responseLogprobs").bool(true);
        // How many of the likeliest tokens.
        if let Some(count) = request.top_logprobs.filter(|count| *count > 0) {
            config.key("logprobs").number(count);
        }
    }
    match details {
        Details::Same(detail) if detail == "low" => {
            config.key("mediaResolution").string("MEDIA_RESOLUTION_LOW")
        }
        // `high` and `auto` are what Gemini does by itself.
        Details::NoImage | Details::Same(_) => {}
        Details::Mixed => {
            if let Some(place) = low_detail(request) {
                options.lose(
                    place + ".image_url.detail",
                    "Gemini has one resolution for all images; give all of them the same detail",
                )?;
            }
        }
    }
    if let Some(effort) = Effort::of(request, model, options)? {
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
    options: Options,
) -> Result<(), Unsupported> {
    let schema = match &request.response_format {
        None => return Ok(()),
        Some(ResponseFormat::JsonObject) => None,
        Some(ResponseFormat::JsonSchema { schema, .. }) => *schema,
    };
    config.key("responseMimeType").string("application/json");
    match schema.map(|it| schema::clean(it.get(), true)) {
        None | Some(Ok(Cleaned::Empty)) => {}
        Some(Ok(Cleaned::JsonSchema(schema))) => {
            config.key("responseJsonSchema").raw(&schema.to_string());
        }
        Some(Ok(Cleaned::OpenApi(schema))) => {
            config.key("responseSchema").raw(&schema.to_string());
        }
        Some(Err(error)) => {
            options.lose("response_format.json_schema.schema", error.to_string())?;
        }
    }
    Ok(())
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
    /// Source: <https://ai.google.dev/gemini-api/docs/openai#thinking>, read 2026-11-21: Google's own
    /// table of what `reasoning_effort` means.
    /// > Reasoning cannot be turned off for Gemini 2.5 Pro or 3 models.
    fn of(
        request: &Request<'_>,
        model: &Model<'_>,
        options: Options,
    ) -> Result<Option<Self>, Unsupported> {
        let Some(effort) = request.reasoning_effort.as_deref() else {
            return Ok(None);
        };
        let said = match (model.thinking(), effort) {
            (Thinking::Never, "none") => return Ok(None),
            (Thinking::Budget { can_be_off: true }, "none") => Ok(Self::Budget(0)),
            (Thinking::Budget { .. }, "minimal" | "low") => Ok(Self::Budget(1_024)),
            (Thinking::Budget { .. }, "medium") => Ok(Self::Budget(8_192)),
            (Thinking::Budget { .. }, "high") => Ok(Self::Budget(24_576)),
            (Thinking::Level { has_minimal: true }, "minimal") => Ok(Self::Level("MINIMAL")),
            (Thinking::Level { .. }, "minimal" | "low") => Ok(Self::Level("LOW")),
            (Thinking::Level { .. }, "medium") => Ok(Self::Level("MEDIUM")),
            (Thinking::Level { .. }, "high") => Ok(Self::Level("HIGH")),
            (Thinking::Never, _) => Err("none, since it does not reason"),
            (Thinking::Budget { can_be_off: true }, _) => Err("none, minimal, low, medium or high"),
            (Thinking::Budget { .. } | Thinking::Level { .. }, _) => {
                Err("minimal, low, medium or high")
            }
        };
        let choices = match said {
            Ok(effort) => return Ok(Some(effort)),
            Err(choices) => choices,
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
