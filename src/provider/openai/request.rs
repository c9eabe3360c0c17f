//! A conversation as a request for a chat completion.

use std::borrow::Cow;

use super::{insists_on_completion_tokens, rules};
use crate::chat::{
    Content, Message, Part, PartKind, Request, ResponseFormat, Source, Tool, ToolCalls, ToolChoice,
};
use crate::data_uri;
use crate::json::{Piece, Quoted, Raw, Text, Writer};
use crate::provider::LimitName;
use crate::provider::adapt::{Adapter, HINTS};
use crate::provider::dialect::Options;

pub(super) fn write(
    json: &mut Writer,
    request: &Request<'_>,
    options: &Options,
    adapter: &Adapter,
) {
    let reasons = is_reasoning_model(&request.model);
    report_what_is_lost(request, adapter);
    json.object(|json| {
        json.key("model").string(&request.model);
        json.key("messages")
            .array(|json| messages(json, request, options, adapter));
        if let Some(limit) = request.max_tokens {
            let is_new = options.limit_name == LimitName::ByModel
                && insists_on_completion_tokens(&request.model);
            json.key(if is_new {
                "max_completion_tokens"
            } else {
                "max_tokens"
            })
            .number(limit);
        }
        // 1 is the default of both, and models that reason take no other.
        for (name, value, rule) in [
            ("temperature", request.temperature, &rules::TEMPERATURE),
            ("top_p", request.top_p, &rules::TOP_P),
        ] {
            match value {
                None | Some(1.0) => {}
                Some(_) if reasons && options.limit_name == LimitName::ByModel => {
                    adapter.apply(rule);
                }
                Some(value) => json.key(name).float(value),
            }
        }
        if request.stop.iter().next().is_some() {
            json.key("stop").array(|json| {
                request.stop.iter().for_each(|stop| json.quoted(stop));
            });
        }
        stream(json, request, options);
        tools(json, request, adapter);
        response_format(json, request);
        effort(json, request, options, reasons, adapter);
        let is_refused = |name: &str| options.members.hints.contains(&name);
        match request.user.as_deref() {
            Some(_) if is_refused("user") => adapter.apply_to(&rules::HINT, "user"),
            Some(user) if user.chars().count() > MAX_USER_CHARS => adapter.apply(&rules::USER),
            Some(user) => json.key("user").string(user),
            None => {}
        }
        if let Some(seed) = request.seed {
            json.key(options.members.name_of("seed"))
                .raw(&seed.to_string());
        }
        if request.n != 1 {
            json.key("n").number(request.n);
        }
        for (name, value) in [
            ("presence_penalty", request.presence_penalty),
            ("frequency_penalty", request.frequency_penalty),
        ] {
            if let Some(value) = value {
                json.key(name).float(value);
            }
        }
        if request.logprobs {
            json.key("logprobs").bool(true);
        }
        if let Some(count) = request.top_logprobs {
            json.key("top_logprobs").number(count);
        }
    });
}

/// > string too long. Expected a string with maximum length 64
const MAX_USER_CHARS: usize = 64;

const SERVICE_TIER: &str = "service_tier";

/// Whether a model takes an effort: OpenAI's own that reason, on whatever host.
fn is_reasoning_model(model: &str) -> bool {
    insists_on_completion_tokens(model) || model.to_ascii_lowercase().contains("gpt-oss")
}

fn report_what_is_lost(request: &Request<'_>, adapter: &Adapter) {
    for (name, _) in &request.other {
        match &**name {
            "top_k" => adapter.apply(&rules::TOP_K),
            "cache_control" => {}
            name if HINTS.contains(&name) || name == SERVICE_TIER => {
                adapter.apply_to(&rules::HINT, name);
            }
            name => adapter.apply_to(&rules::UNKNOWN, name),
        }
    }
    for param in &request.unplaced {
        adapter.apply_to(&rules::UNPLACED, param);
    }
    for tool in &request.hosted_tools {
        let param = || format!("tools[{}] ({})", tool.index, tool.kind);
        match tool.has_files {
            true => adapter.apply_at(&rules::HOSTED_TOOL_WITH_FILES, param),
            false => adapter.apply_at(&rules::HOSTED_TOOL, param),
        }
    }
}

fn stream(json: &mut Writer, request: &Request<'_>, options: &Options) {
    if request.stream {
        json.key("stream").bool(true);
        // Every API but this one always tells the usage.
        if !options.members.hints.contains(&"stream_options") {
            json.key("stream_options")
                .object(|json| json.key("include_usage").bool(true));
        }
    }
}

fn tools(json: &mut Writer, request: &Request<'_>, adapter: &Adapter) {
    if let Some(ToolChoice::Hosted(_)) = request.tool_choice {
        adapter.apply(&rules::HOSTED_TOOL_FORCED);
    }
    if request.tools.is_empty() {
        return;
    }
    json.key("tools").array(|json| {
        request.tools.iter().for_each(|it| tool(json, &it));
    });
    match &request.tool_choice {
        None | Some(ToolChoice::Hosted(_)) => {}
        Some(ToolChoice::Auto) => json.key("tool_choice").string("auto"),
        Some(ToolChoice::None) => json.key("tool_choice").string("none"),
        Some(ToolChoice::Required) => json.key("tool_choice").string("required"),
        Some(ToolChoice::Function(name)) => json.key("tool_choice").object(|json| {
            function_name(json, name);
        }),
        Some(ToolChoice::Allowed { names, is_required }) => {
            json.key("tool_choice").object(|json| {
                json.key("type").string("allowed_tools");
                json.key("allowed_tools").object(|json| {
                    json.key("mode")
                        .string(if *is_required { "required" } else { "auto" });
                    json.key("tools").array(|json| {
                        for name in names {
                            json.object(|json| function_name(json, name));
                        }
                    });
                });
            });
        }
    }
    if let Some(is_parallel) = request.parallel_tool_calls {
        json.key("parallel_tool_calls").bool(is_parallel);
    }
}

fn function_name(json: &mut Writer, name: &str) {
    json.key("type").string("function");
    json.key("function")
        .object(|json| json.key("name").string(name));
}

fn tool(json: &mut Writer, it: &Tool<'_>) {
    json.object(|json| {
        json.key("type").string("function");
        json.key("function").object(|json| {
            json.key("name").quoted(it.name);
            if let Some(description) = it.description {
                json.key("description").quoted(description);
            }
            if let Some(parameters) = it.parameters {
                json.key("parameters").raw(parameters.get());
            }
            if let Some(strict) = it.strict {
                json.key("strict").bool(strict);
            }
        });
    });
}

fn response_format(json: &mut Writer, request: &Request<'_>) {
    match &request.response_format {
        None => {}
        Some(ResponseFormat::JsonObject) => json
            .key("response_format")
            .object(|json| json.key("type").string("json_object")),
        Some(ResponseFormat::JsonSchema {
            name,
            description,
            schema,
            strict,
        }) => json.key("response_format").object(|json| {
            json.key("type").string("json_schema");
            json.key("json_schema").object(|json| {
                json.key("name").string(name);
                if let Some(description) = description {
                    json.key("description").string(description);
                }
                json.key("schema").raw(schema.map_or("{}", Raw::get));
                if let Some(strict) = strict {
                    json.key("strict").bool(*strict);
                }
            });
        }),
    }
}

fn effort(
    json: &mut Writer,
    request: &Request<'_>,
    options: &Options,
    reasons: bool,
    adapter: &Adapter,
) {
    let Some(word) = request.reasoning_effort.as_deref() else {
        return;
    };
    if !reasons || options.limit_name == LimitName::Old {
        // That a model does not think is what is wanted.
        if word != "none" {
            adapter.apply(&rules::EFFORT);
        }
        return;
    }
    let nearest = match word {
        "max" => "xhigh",
        // Only some of the models can be told not to reason.
        "none" if !request.model.contains("gpt-5.") => "low",
        word => word,
    };
    if nearest != word {
        adapter.apply(&rules::EFFORT_LEVEL);
    }
    json.key("reasoning_effort").string(nearest);
}

/// What a tool result has that is no text, and which follows in a message of the user's.
struct Media<'r> {
    id: Text<'r>,
    parts: Content<'r>,
    message: usize,
}

fn messages(json: &mut Writer, request: &Request<'_>, options: &Options, adapter: &Adapter) {
    let mut media: Vec<Media<'_>> = Vec::new();
    for (index, message) in request.messages.iter().enumerate() {
        if !matches!(message, Message::Tool { .. }) {
            write_media(json, &mut media, adapter);
        }
        match message {
            Message::System { content, .. } => json.object(|json| {
                json.key("role").string("system");
                json.key("content");
                joined(json, content);
            }),
            Message::User { content, .. } => user(json, content, index, adapter),
            Message::Assistant {
                content,
                tool_calls,
                reasoning,
                ..
            } => {
                let reasoning = reasoning.filter(|it| !it.is_empty());
                let is_read = !options.members.of_messages.contains(&"reasoning_content");
                assistant(json, content, tool_calls, reasoning.filter(|_| is_read));
                if !is_read && reasoning.is_some() {
                    adapter.apply(&rules::REASONING);
                }
            }
            Message::Tool {
                tool_call_id,
                content,
                ..
            } => {
                json.object(|json| {
                    json.key("role").string("tool");
                    json.key("tool_call_id").quoted(tool_call_id);
                    json.key("content");
                    joined(json, content);
                });
                if content.iter().any(|part| !is_text(&part)) {
                    adapter.apply(&rules::RESULT_MEDIA);
                    media.push(Media {
                        id: tool_call_id,
                        parts: content,
                        message: index,
                    });
                }
            }
        }
    }
    write_media(json, &mut media, adapter);
}

fn write_media(json: &mut Writer, media: &mut Vec<Media<'_>>, adapter: &Adapter) {
    if media.is_empty() {
        return;
    }
    json.object(|json| {
        json.key("role").string("user");
        json.key("content").array(|json| {
            for it in media.drain(..) {
                json.object(|json| {
                    json.key("type").string("text");
                    json.key("text").string_pieces(&[
                        Piece::Plain("Content of the result of the tool call "),
                        Piece::Quoted(it.id.quoted()),
                        Piece::Plain(":"),
                    ]);
                });
                let parts = it.parts.iter().enumerate();
                for (index, it_part) in parts.filter(|(_, part)| !is_text(part)) {
                    part(json, &it_part, (it.message, index), adapter);
                }
            }
        });
    });
}

fn is_text(part: &Part<'_>) -> bool {
    matches!(part.kind, PartKind::Text(_))
}

/// The texts as one string, with an empty line between them.
fn joined(json: &mut Writer, content: Content<'_>) {
    json.open_string();
    let texts = content.iter().filter_map(|part| match part.kind {
        PartKind::Text(text) => Some(text),
        _ => None,
    });
    for (index, text) in texts.enumerate() {
        if index > 0 {
            json.piece(Piece::Plain("\n\n"));
        }
        json.piece(Piece::Quoted(text));
    }
    json.close_string();
}

fn user(json: &mut Writer, content: Content<'_>, message: usize, adapter: &Adapter) {
    json.object(|json| {
        json.key("role").string("user");
        json.key("content");
        match content.only().map(|part| part.kind) {
            Some(PartKind::Text(text)) => json.quoted(text),
            _ => json.array(|json| {
                for (index, it) in content.iter().enumerate() {
                    part(json, &it, (message, index), adapter);
                }
            }),
        }
    });
}

fn part(json: &mut Writer, it: &Part<'_>, (message, index): (usize, usize), adapter: &Adapter) {
    match it.kind {
        PartKind::Text(text) => json.object(|json| {
            json.key("type").string("text");
            json.key("text").quoted(text);
        }),
        PartKind::Image { url, detail } => json.object(|json| {
            json.key("type").string("image_url");
            json.key("image_url").object(|json| {
                json.key("url");
                source(json, url);
                if let Some(detail) = detail {
                    json.key("detail").quoted(detail);
                }
            });
        }),
        PartKind::File { id, name, data } => {
            let address = data.map(Source::decode);
            // OpenAI takes no addresses of files here.
            let is_remote = address
                .as_deref()
                .is_some_and(|it| it.starts_with("http:") || it.starts_with("https:"));
            if is_remote || (id.is_none() && data.is_none()) {
                adapter.apply_at(&rules::FILE, || {
                    format!("messages[{message}].content[{index}].file")
                });
                return;
            }
            json.object(|json| file(json, id, name, address));
        }
        PartKind::Audio { data, format } => json.object(|json| {
            json.key("type").string("input_audio");
            json.key("input_audio").object(|json| {
                json.key("data").quoted(data);
                json.key("format").quoted(format);
            });
        }),
    }
}

fn file(
    json: &mut Writer,
    id: Option<Text<'_>>,
    name: Option<Text<'_>>,
    data: Option<Cow<'_, str>>,
) {
    json.key("type").string("file");
    json.key("file").object(|json| {
        if let Some(id) = id {
            json.key("file_id").quoted(id);
        }
        if let Some(data) = data {
            // OpenAI wants a name beside the data.
            json.key("filename");
            match name {
                Some(name) => json.quoted(name),
                None => json.string(default_name(&data)),
            }
            json.key("file_data").string(&data);
        }
    });
}

fn default_name(data: &str) -> &'static str {
    match data.starts_with("data:text/") {
        true => "document.txt",
        false => "document.pdf",
    }
}

/// An address or a data URI, without a copy of the data.
fn source(json: &mut Writer, source: Source<'_>) {
    match source.in_place() {
        Some((media_type, data)) => json.string_pieces(&[
            Piece::Plain("data:"),
            Piece::Plain(media_type),
            Piece::Plain(";base64,"),
            Piece::Quoted(data),
        ]),
        None => json.string(&data_uri::canonical(source.decode())),
    }
}

fn assistant(
    json: &mut Writer,
    content: Content<'_>,
    tool_calls: ToolCalls<'_>,
    reasoning: Option<Text<'_>>,
) {
    let texts = || {
        content.iter().filter_map(|part| match part.kind {
            PartKind::Text(text) => Some(text),
            _ => None,
        })
    };
    json.object(|json| {
        json.key("role").string("assistant");
        json.key("content");
        match texts().next() {
            None if !tool_calls.is_empty() => json.null(),
            _ => {
                json.open_string();
                texts().for_each(|text: Quoted<'_>| json.piece(Piece::Quoted(text)));
                json.close_string();
            }
        }
        if let Some(reasoning) = reasoning {
            json.key("reasoning_content").quoted(reasoning);
        }
        if !tool_calls.is_empty() {
            json.key("tool_calls").array(|json| {
                for call in tool_calls.iter() {
                    json.object(|json| {
                        json.key("id").quoted(call.id);
                        json.key("type").string("function");
                        json.key("function").object(|json| {
                            json.key("name").quoted(call.name);
                            json.key("arguments").string(&call.arguments());
                        });
                    });
                }
            });
        }
    });
}
