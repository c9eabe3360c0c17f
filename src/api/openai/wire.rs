//! The shapes of a request's JSON, before any meaning.
//!
//! They are read in one pass without a tree. `null` is absence. A member that a shape does not know
//! is kept with its name, for nothing may be lost unnoticed.
//!
//! Lists are not here: there may be a million of anything. Each of their items is read by itself.

use std::borrow::Cow;

use crate::chat::Stops;
use crate::json::{Ignored, Items, Quoted, Raw, Read, Reader, Text, Unread, object};

object! {
    /// The whole body, but for `functions`, `messages` and `tools`.
    pub(super) Body<'a> {
        model: Cow<'a, str> = b"model",
        max_tokens: u64 = b"max_tokens",
        max_completion_tokens: u64 = b"max_completion_tokens",
        temperature: f64 = b"temperature",
        top_p: f64 = b"top_p",
        stop: Stops<'a> = b"stop",
        stream: bool = b"stream",
        stream_options: StreamOptions<'a> = b"stream_options",
        tool_choice: ToolChoice<'a> = b"tool_choice",
        parallel_tool_calls: bool = b"parallel_tool_calls",
        response_format: ResponseFormat<'a> = b"response_format",
        reasoning_effort: Cow<'a, str> = b"reasoning_effort",
        reasoning: Reasoning<'a> = b"reasoning",
        user: Cow<'a, str> = b"user",
        safety_identifier: Cow<'a, str> = b"safety_identifier",
        seed: i64 = b"seed",
        n: u64 = b"n",
        presence_penalty: f64 = b"presence_penalty",
        frequency_penalty: f64 = b"frequency_penalty",
        logprobs: bool = b"logprobs",
        top_logprobs: u64 = b"top_logprobs",
        function_call: FunctionChoice<'a> = b"function_call",
        ..unknown
    }
}

object! {
    /// As the Responses API has it, and some servers of chat completions.
    pub(super) Reasoning<'a> {
        effort: Cow<'a, str> = b"effort",
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
    /// A message, but for its `content` and `tool_calls`.
    pub(super) Message<'a> {
        role: Text<'a> = b"role",
        name: Text<'a> = b"name",
        refusal: Quoted<'a> = b"refusal",
        tool_call_id: Text<'a> = b"tool_call_id",
        function_call: CalledFunction<'a> = b"function_call",
        audio: Ignored = b"audio",
        annotations: Ignored = b"annotations",
        // What OpenAI's SDK has read from `content`, handed back.
        parsed: Ignored = b"parsed",
        reasoning_content: Text<'a> = b"reasoning_content",
        reasoning_signature: Text<'a> = b"reasoning_signature",
        cache_control: Raw<'a> = b"cache_control",
        ..unknown
    }
}

object! {
    pub(super) Part<'a> {
        kind: Text<'a> = b"type",
        text: Quoted<'a> = b"text",
        refusal: Quoted<'a> = b"refusal",
        image_url: ImageUrl<'a> = b"image_url",
        input_audio: InputAudio<'a> = b"input_audio",
        file: File<'a> = b"file",
        cache_control: Raw<'a> = b"cache_control",
        prompt_cache_breakpoint: Ignored = b"prompt_cache_breakpoint",
        ..unknown
    }
}

object! {
    pub(super) ImageUrl<'a> {
        url: Text<'a> = b"url",
        detail: Text<'a> = b"detail",
        ..unknown
    }
}

object! {
    pub(super) InputAudio<'a> {
        data: Text<'a> = b"data",
        format: Text<'a> = b"format",
        ..unknown
    }
}

object! {
    pub(super) File<'a> {
        file_id: Text<'a> = b"file_id",
        filename: Text<'a> = b"filename",
        file_data: Text<'a> = b"file_data",
        ..unknown
    }
}

object! {
    pub(super) ToolCall<'a> {
        id: Text<'a> = b"id",
        kind: Text<'a> = b"type",
        index: u64 = b"index",
        function: CalledFunction<'a> = b"function",
        custom: CalledCustomTool<'a> = b"custom",
        extra_content: ExtraContent<'a> = b"extra_content",
        ..unknown
    }
}

object! {
    pub(super) CalledFunction<'a> {
        name: Text<'a> = b"name",
        arguments: Text<'a> = b"arguments",
        // What OpenAI's SDK has read from `arguments`, handed back.
        parsed_arguments: Ignored = b"parsed_arguments",
        ..unknown
    }
}

object! {
    pub(super) CalledCustomTool<'a> {
        name: Text<'a> = b"name",
        input: Text<'a> = b"input",
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
        thought_signature: Text<'a> = b"thought_signature",
        ..unknown
    }
}

object! {
    pub(super) Tool<'a> {
        kind: Text<'a> = b"type",
        function: Function<'a> = b"function",
        custom: CustomTool<'a> = b"custom",
        vector_store_ids: Ignored = b"vector_store_ids",
        container: Raw<'a> = b"container",
        cache_control: Raw<'a> = b"cache_control",
        ..unknown
    }
}

object! {
    pub(super) CustomTool<'a> {
        name: Text<'a> = b"name",
        description: Text<'a> = b"description",
        format: CustomFormat<'a> = b"format",
        ..unknown
    }
}

object! {
    pub(super) CustomFormat<'a> {
        kind: Cow<'a, str> = b"type",
    }
}

object! {
    pub(super) Function<'a> {
        name: Text<'a> = b"name",
        description: Text<'a> = b"description",
        parameters: Raw<'a> = b"parameters",
        strict: bool = b"strict",
        ..unknown
    }
}

object! {
    pub(super) NamedTool<'a> {
        kind: Cow<'a, str> = b"type",
        function: FunctionName<'a> = b"function",
        custom: FunctionName<'a> = b"custom",
        allowed_tools: AllowedTools<'a> = b"allowed_tools",
        ..unknown
    }
}

object! {
    pub(super) AllowedTools<'a> {
        mode: Cow<'a, str> = b"mode",
        tools: Items<'a, AllowedTool<'a>> = b"tools",
        ..unknown
    }
}

object! {
    pub(super) AllowedTool<'a> {
        function: FunctionName<'a> = b"function",
        custom: FunctionName<'a> = b"custom",
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
        description: Cow<'a, str> = b"description",
        schema: Raw<'a> = b"schema",
        strict: bool = b"strict",
        ..unknown
    }
}

/// Declares what may be written in two ways: as a string, or as an object.
macro_rules! string_or {
    ($(#[$meta:meta])* $name:ident<$lt:lifetime>, $other:ty) => {
        $(#[$meta])*
        #[derive(Debug)]
        #[allow(
            clippy::large_enum_variant,
            reason = "a request has one, which is soon taken apart"
        )]
        pub(super) enum $name<$lt> {
            Text(Cow<$lt, str>),
            Other($other),
        }

        impl<$lt> Read<$lt> for $name<$lt> {
            fn read(reader: &mut Reader<$lt>) -> Result<Self, Unread> {
                match reader.peek() {
                    Some(b'"') => reader.value().map(Self::Text),
                    Some(b'{') => reader.value().map(Self::Other),
                    _ => Err(reader.unfit("a string or an object")),
                }
            }
        }
    };
}

string_or!(
    /// `function_call` of a request.
    FunctionChoice<'a>, FunctionName<'a>
);
string_or!(
    /// `tool_choice`.
    ToolChoice<'a>, NamedTool<'a>
);
