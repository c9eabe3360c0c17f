//! The shapes of a request's JSON, before any meaning.
//!
//! They are read in one pass without a tree. `null` is absence. A member that a shape does not know
//! is kept with its name, for nothing may be lost unnoticed.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::json::{Ignored, Quoted, Read, Reader, Unread, object};

object! {
    /// The whole body.
    pub(super) Body<'a> {
        model: Cow<'a, str> = b"model",
        messages: Vec<Message<'a>> = b"messages",
        max_tokens: u64 = b"max_tokens",
        max_completion_tokens: u64 = b"max_completion_tokens",
        temperature: f64 = b"temperature",
        top_p: f64 = b"top_p",
        stop: Stop<'a> = b"stop",
        stream: bool = b"stream",
        stream_options: StreamOptions<'a> = b"stream_options",
        tools: Vec<Tool<'a>> = b"tools",
        tool_choice: ToolChoice<'a> = b"tool_choice",
        parallel_tool_calls: bool = b"parallel_tool_calls",
        response_format: ResponseFormat<'a> = b"response_format",
        reasoning_effort: Cow<'a, str> = b"reasoning_effort",
        user: Cow<'a, str> = b"user",
        safety_identifier: Cow<'a, str> = b"safety_identifier",
        seed: i64 = b"seed",
        n: u64 = b"n",
        presence_penalty: f64 = b"presence_penalty",
        frequency_penalty: f64 = b"frequency_penalty",
        logprobs: bool = b"logprobs",
        top_logprobs: u64 = b"top_logprobs",
        functions: &'a RawValue = b"functions",
        function_call: &'a RawValue = b"function_call",
        ..unknown
    }
}

object! {
    pub(super) StreamOptions<'a> {
        include_usage: bool = b"include_usage",
        // Padding against observers of the line: it changes nothing that is said.
        include_obfuscation: bool = b"include_obfuscation",
        ..unknown
    }
}

object! {
    pub(super) Message<'a> {
        role: Cow<'a, str> = b"role",
        content: Content<'a> = b"content",
        name: Quoted<'a> = b"name",
        refusal: Quoted<'a> = b"refusal",
        tool_calls: Vec<ToolCall<'a>> = b"tool_calls",
        tool_call_id: Cow<'a, str> = b"tool_call_id",
        function_call: &'a RawValue = b"function_call",
        audio: &'a RawValue = b"audio",
        annotations: &'a RawValue = b"annotations",
        // What OpenAI's SDK has read from `content`, handed back.
        parsed: Ignored = b"parsed",
        reasoning_content: Cow<'a, str> = b"reasoning_content",
        reasoning_signature: Cow<'a, str> = b"reasoning_signature",
        cache_control: &'a RawValue = b"cache_control",
        ..unknown
    }
}

object! {
    pub(super) Part<'a> {
        kind: Cow<'a, str> = b"type",
        text: Quoted<'a> = b"text",
        refusal: Quoted<'a> = b"refusal",
        image_url: ImageUrl<'a> = b"image_url",
        input_audio: InputAudio<'a> = b"input_audio",
        file: File<'a> = b"file",
        cache_control: &'a RawValue = b"cache_control",
        ..unknown
    }
}

object! {
    pub(super) ImageUrl<'a> {
        url: Cow<'a, str> = b"url",
        detail: Cow<'a, str> = b"detail",
        ..unknown
    }
}

object! {
    pub(super) InputAudio<'a> {
        data: Cow<'a, str> = b"data",
        format: Cow<'a, str> = b"format",
        ..unknown
    }
}

object! {
    pub(super) File<'a> {
        file_id: Cow<'a, str> = b"file_id",
        filename: Cow<'a, str> = b"filename",
        file_data: Cow<'a, str> = b"file_data",
        ..unknown
    }
}

object! {
    pub(super) ToolCall<'a> {
        id: Cow<'a, str> = b"id",
        kind: Cow<'a, str> = b"type",
        index: u64 = b"index",
        function: CalledFunction<'a> = b"function",
        extra_content: ExtraContent<'a> = b"extra_content",
        ..unknown
    }
}

object! {
    pub(super) CalledFunction<'a> {
        name: Cow<'a, str> = b"name",
        arguments: Cow<'a, str> = b"arguments",
        // What OpenAI's SDK has read from `arguments`, handed back.
        parsed_arguments: Ignored = b"parsed_arguments",
        ..unknown
    }
}

object! {
    pub(super) ExtraContent<'a> {
        google: GoogleExtra<'a> = b"google",
        ..unknown
    }
}

object! {
    pub(super) GoogleExtra<'a> {
        thought_signature: Cow<'a, str> = b"thought_signature",
        ..unknown
    }
}

object! {
    pub(super) Tool<'a> {
        kind: Cow<'a, str> = b"type",
        function: Function<'a> = b"function",
        cache_control: &'a RawValue = b"cache_control",
        ..unknown
    }
}

object! {
    pub(super) Function<'a> {
        name: Cow<'a, str> = b"name",
        description: Cow<'a, str> = b"description",
        parameters: &'a RawValue = b"parameters",
        strict: bool = b"strict",
        ..unknown
    }
}

object! {
    pub(super) NamedTool<'a> {
        kind: Cow<'a, str> = b"type",
        function: FunctionName<'a> = b"function",
        ..unknown
    }
}

object! {
    pub(super) FunctionName<'a> {
        name: Cow<'a, str> = b"name",
        ..unknown
    }
}

object! {
    pub(super) ResponseFormat<'a> {
        kind: Cow<'a, str> = b"type",
        json_schema: JsonSchema<'a> = b"json_schema",
        ..unknown
    }
}

object! {
    pub(super) JsonSchema<'a> {
        name: Cow<'a, str> = b"name",
        schema: &'a RawValue = b"schema",
        strict: bool = b"strict",
        ..unknown
    }
}

/// Declares what may be written in two ways: as a string, or as an array or object.
macro_rules! string_or {
    ($(#[$meta:meta])* $name:ident<$lt:lifetime>, $text:ty, $other:ty, $expecting:literal) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub(super) enum $name<$lt> {
            Text($text),
            Other($other),
        }

        impl<$lt> Read<$lt> for $name<$lt> {
            fn read(reader: &mut Reader<$lt>) -> Result<Self, Unread> {
                match reader.peek() {
                    Some(b'"') => reader.value().map(Self::Text),
                    Some(b'{' | b'[') => reader.value().map(Self::Other),
                    _ => Err(reader.unfit($expecting)),
                }
            }
        }
    };
}

string_or!(
    /// `content`.
    Content<'a>, Quoted<'a>, Vec<Part<'a>>,
    "a string or an array of parts"
);
string_or!(
    /// `stop`.
    Stop<'a>, Cow<'a, str>, Vec<Cow<'a, str>>,
    "a string or an array of strings"
);
string_or!(
    /// `tool_choice`.
    ToolChoice<'a>, Cow<'a, str>, NamedTool<'a>,
    "a string or an object"
);
