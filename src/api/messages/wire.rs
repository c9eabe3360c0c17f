//! The shapes of a request's JSON, before any meaning.
//!
//! Lists of messages, blocks and tools are not here: there may be a million of anything. Each of their
//! items is read by itself.

use std::borrow::Cow;

use crate::chat::Stops;
use crate::json::{Ignored, Items, Quoted, Raw, Read, Reader, Text, Unread, object};

object! {
    /// The whole body, but for `messages`, `system` and `tools`.
    pub(super) Body<'a> {
        model: Cow<'a, str> = b"model",
        max_tokens: u64 = b"max_tokens",
        temperature: f64 = b"temperature",
        top_p: f64 = b"top_p",
        stop_sequences: Stops<'a> = b"stop_sequences",
        stream: bool = b"stream",
        tool_choice: ToolChoice<'a> = b"tool_choice",
        thinking: Thinking<'a> = b"thinking",
        metadata: Metadata<'a> = b"metadata",
        output_config: OutputConfig<'a> = b"output_config",
        ..unknown
    }
}

object! {
    pub(super) ToolChoice<'a> {
        kind: Cow<'a, str> = b"type",
        name: Cow<'a, str> = b"name",
        disable_parallel_tool_use: bool = b"disable_parallel_tool_use",
        ..unknown
    }
}

object! {
    pub(super) Thinking<'a> {
        kind: Cow<'a, str> = b"type",
        budget_tokens: u64 = b"budget_tokens",
        // Whether the text of it is shown: it always is.
        display: Ignored = b"display",
        ..unknown
    }
}

object! {
    pub(super) Metadata<'a> {
        user_id: Cow<'a, str> = b"user_id",
        ..unknown
    }
}

object! {
    pub(super) OutputConfig<'a> {
        effort: Cow<'a, str> = b"effort",
        format: Format<'a> = b"format",
        ..unknown
    }
}

object! {
    pub(super) Format<'a> {
        kind: Cow<'a, str> = b"type",
        schema: Raw<'a> = b"schema",
        name: Cow<'a, str> = b"name",
        ..unknown
    }
}

object! {
    /// A content block; which members mean something depends on its type.
    pub(super) Block<'a> {
        kind: Text<'a> = b"type",
        text: Quoted<'a> = b"text",
        thinking: Text<'a> = b"thinking",
        signature: Text<'a> = b"signature",
        data: Text<'a> = b"data",
        id: Text<'a> = b"id",
        name: Text<'a> = b"name",
        input: Raw<'a> = b"input",
        tool_use_id: Text<'a> = b"tool_use_id",
        content: ResultContent<'a> = b"content",
        is_error: bool = b"is_error",
        source: Source<'a> = b"source",
        title: Text<'a> = b"title",
        cache_control: Raw<'a> = b"cache_control",
        // What an earlier reply has brought, or whether it is to bring it.
        citations: Ignored = b"citations",
        caller: Ignored = b"caller",
        ..unknown
    }
}

object! {
    /// A block within the content of a tool's result.
    pub(super) ResultBlock<'a> {
        kind: Text<'a> = b"type",
        text: Quoted<'a> = b"text",
        source: Source<'a> = b"source",
        title: Text<'a> = b"title",
        cache_control: Raw<'a> = b"cache_control",
        citations: Ignored = b"citations",
        ..unknown
    }
}

/// `content` of a tool's result.
#[derive(Debug)]
pub(super) enum ResultContent<'a> {
    Blocks(Items<'a, ResultBlock<'a>>),
    Text(Quoted<'a>),
}

impl<'a> Read<'a> for ResultContent<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unread> {
        match reader.peek() {
            Some(b'"') => reader.value().map(Self::Text),
            Some(b'[') => reader.value().map(Self::Blocks),
            _ => Err(reader.unfit("a string or an array of blocks")),
        }
    }
}

object! {
    /// Where the content of an image or a document is.
    pub(super) Source<'a> {
        kind: Text<'a> = b"type",
        media_type: Text<'a> = b"media_type",
        data: Text<'a> = b"data",
        url: Text<'a> = b"url",
        file_id: Text<'a> = b"file_id",
        ..unknown
    }
}

object! {
    pub(super) Tool<'a> {
        kind: Cow<'a, str> = b"type",
        name: Text<'a> = b"name",
        description: Text<'a> = b"description",
        input_schema: Raw<'a> = b"input_schema",
        strict: bool = b"strict",
        cache_control: Raw<'a> = b"cache_control",
        // How the pieces of the input arrive.
        eager_input_streaming: Ignored = b"eager_input_streaming",
        ..unknown
    }
}
