//! The shapes of a request's JSON, before any meaning.
//!
//! `input` and `tools` are not here: there may be a million of anything. Each of their items is read by
//! itself.

use std::borrow::Cow;

use crate::json::{Ignored, Items, Quoted, Raw, Read, Reader, Text, Unread, object};

object! {
    /// The whole body, but for `input` and `tools`.
    pub(super) Body<'a> {
        model: Cow<'a, str> = b"model",
        instructions: Quoted<'a> = b"instructions",
        max_output_tokens: u64 = b"max_output_tokens",
        temperature: f64 = b"temperature",
        top_p: f64 = b"top_p",
        stream: bool = b"stream",
        tool_choice: ToolChoice<'a> = b"tool_choice",
        parallel_tool_calls: bool = b"parallel_tool_calls",
        text: TextConfig<'a> = b"text",
        reasoning: Reasoning<'a> = b"reasoning",
        include: Items<'a, Cow<'a, str>> = b"include",
        truncation: Cow<'a, str> = b"truncation",
        top_logprobs: u64 = b"top_logprobs",
        user: Cow<'a, str> = b"user",
        safety_identifier: Cow<'a, str> = b"safety_identifier",
        background: bool = b"background",
        // Whether random members are put into a stream, to hide its lengths.
        stream_options: Ignored = b"stream_options",
        ..unknown
    }
}

object! {
    pub(super) TextConfig<'a> {
        format: Format<'a> = b"format",
        verbosity: Raw<'a> = b"verbosity",
        ..unknown
    }
}

object! {
    pub(super) Format<'a> {
        kind: Cow<'a, str> = b"type",
        name: Cow<'a, str> = b"name",
        description: Cow<'a, str> = b"description",
        schema: Raw<'a> = b"schema",
        strict: bool = b"strict",
        ..unknown
    }
}

object! {
    pub(super) Reasoning<'a> {
        effort: Cow<'a, str> = b"effort",
        // Whether the text of it is shown: it always is.
        summary: Ignored = b"summary",
        generate_summary: Ignored = b"generate_summary",
        ..unknown
    }
}

object! {
    pub(super) NamedChoice<'a> {
        kind: Cow<'a, str> = b"type",
        name: Cow<'a, str> = b"name",
        mode: Cow<'a, str> = b"mode",
        tools: Items<'a, NamedTool<'a>> = b"tools",
        ..unknown
    }
}

object! {
    /// One of the tools that `allowed_tools` names.
    pub(super) NamedTool<'a> {
        kind: Cow<'a, str> = b"type",
        name: Cow<'a, str> = b"name",
    }
}

/// `tool_choice`.
#[derive(Debug)]
pub(super) enum ToolChoice<'a> {
    Other(NamedChoice<'a>),
    Text(Cow<'a, str>),
}

impl<'a> Read<'a> for ToolChoice<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unread> {
        match reader.peek() {
            Some(b'"') => reader.value().map(Self::Text),
            Some(b'{') => reader.value().map(Self::Other),
            _ => Err(reader.unfit("a string or an object")),
        }
    }
}

object! {
    /// An item of the input; which members mean something depends on its type.
    pub(super) Item<'a> {
        kind: Text<'a> = b"type",
        role: Text<'a> = b"role",
        content: Content<'a> = b"content",
        id: Text<'a> = b"id",
        call_id: Text<'a> = b"call_id",
        name: Text<'a> = b"name",
        arguments: Text<'a> = b"arguments",
        input: Text<'a> = b"input",
        output: Content<'a> = b"output",
        summary: Items<'a, Part<'a>> = b"summary",
        encrypted_content: Text<'a> = b"encrypted_content",
        tools: Items<'a, Tool<'a>> = b"tools",
        status: Ignored = b"status",
        phase: Ignored = b"phase",
        // Of which namespace the function is: its name says so, too.
        namespace: Ignored = b"namespace",
        // Who calls, and whether somebody waits for it.
        caller: Ignored = b"caller",
        is_async: Ignored = b"async",
        ..unknown
    }
}

/// `content` of a message, `output` of a call.
#[derive(Debug)]
pub(super) enum Content<'a> {
    Parts(Items<'a, Part<'a>>),
    Text(Quoted<'a>),
}

impl<'a> Read<'a> for Content<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unread> {
        match reader.peek() {
            Some(b'"') => reader.value().map(Self::Text),
            Some(b'[') => reader.value().map(Self::Parts),
            _ => Err(reader.unfit("a string or an array of parts")),
        }
    }
}

object! {
    /// A part of a content; which members mean something depends on its type.
    pub(super) Part<'a> {
        kind: Text<'a> = b"type",
        text: Quoted<'a> = b"text",
        refusal: Quoted<'a> = b"refusal",
        image_url: Text<'a> = b"image_url",
        detail: Text<'a> = b"detail",
        file_id: Text<'a> = b"file_id",
        file_data: Text<'a> = b"file_data",
        file_url: Text<'a> = b"file_url",
        filename: Text<'a> = b"filename",
        input_audio: Audio<'a> = b"input_audio",
        prompt_cache_breakpoint: Ignored = b"prompt_cache_breakpoint",
        // What an earlier reply has brought.
        annotations: Ignored = b"annotations",
        logprobs: Ignored = b"logprobs",
        ..unknown
    }
}

object! {
    pub(super) Audio<'a> {
        data: Text<'a> = b"data",
        format: Text<'a> = b"format",
        ..unknown
    }
}

object! {
    pub(super) Tool<'a> {
        kind: Cow<'a, str> = b"type",
        name: Text<'a> = b"name",
        description: Text<'a> = b"description",
        parameters: Raw<'a> = b"parameters",
        strict: bool = b"strict",
        format: ToolFormat<'a> = b"format",
        vector_store_ids: Raw<'a> = b"vector_store_ids",
        container: Raw<'a> = b"container",
        /// Of a namespace.
        tools: Items<'a, Raw<'a>> = b"tools",
        // How the client calls the function: see `expand`.
        local_name: Ignored = b"local_name",
        // Whether the tool is only found by a search: it is offered at once.
        defer_loading: Ignored = b"defer_loading",
        allowed_callers: Ignored = b"allowed_callers",
        // What it returns.
        output_schema: Ignored = b"output_schema",
        is_async: Ignored = b"async",
        ..unknown
    }
}

object! {
    pub(super) ToolFormat<'a> {
        kind: Cow<'a, str> = b"type",
    }
}
