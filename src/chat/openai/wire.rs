//! The shapes of a request's JSON, before any meaning.
//!
//! They are read in one pass without a tree. `null` is absence. A member that a shape does not know
//! is kept with its name, for nothing may be lost unnoticed.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::Text;

/// Declares a shape: a struct of optional members, and what reads it.
macro_rules! object {
    ($(#[$meta:meta])* $name:ident<$lt:lifetime> { $($field:ident: $type:ty = $key:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        pub(super) struct $name<$lt> {
            $(pub(super) $field: Option<$type>,)*
            /// What else is there and not `null`.
            pub(super) unknown: Vec<(Cow<$lt, str>, &$lt RawValue)>,
        }

        impl<'de: $lt, $lt> Deserialize<'de> for $name<$lt> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Reader<$lt>(PhantomData<&$lt ()>);

                impl<'de: $lt, $lt> Visitor<'de> for Reader<$lt> {
                    type Value = $name<$lt>;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<A: MapAccess<'de>>(
                        self,
                        mut map: A,
                    ) -> Result<Self::Value, A::Error> {
                        let mut found = $name::default();
                        while let Some(Text(key)) = map.next_key::<Text<$lt>>()? {
                            match &*key {
                                $($key => {
                                    if found.$field.is_some() {
                                        return Err(A::Error::duplicate_field($key));
                                    }
                                    found.$field = map.next_value()?;
                                })*
                                _ => {
                                    let value: &'de RawValue = map.next_value()?;
                                    if value.get() != "null" {
                                        found.unknown.push((key, value));
                                    }
                                }
                            }
                        }
                        Ok(found)
                    }
                }

                deserializer.deserialize_map(Reader(PhantomData))
            }
        }
    };
}

object! {
    /// The whole body.
    Body<'a> {
        model: Text<'a> = "model",
        messages: Vec<Message<'a>> = "messages",
        max_tokens: u64 = "max_tokens",
        max_completion_tokens: u64 = "max_completion_tokens",
        temperature: f64 = "temperature",
        top_p: f64 = "top_p",
        stop: Stop<'a> = "stop",
        stream: bool = "stream",
        stream_options: StreamOptions<'a> = "stream_options",
        tools: Vec<Tool<'a>> = "tools",
        tool_choice: ToolChoice<'a> = "tool_choice",
        parallel_tool_calls: bool = "parallel_tool_calls",
        response_format: ResponseFormat<'a> = "response_format",
        reasoning_effort: Text<'a> = "reasoning_effort",
        user: Text<'a> = "user",
        safety_identifier: Text<'a> = "safety_identifier",
        seed: i64 = "seed",
        n: u64 = "n",
        presence_penalty: f64 = "presence_penalty",
        frequency_penalty: f64 = "frequency_penalty",
        logprobs: bool = "logprobs",
        top_logprobs: u64 = "top_logprobs",
        functions: &'a RawValue = "functions",
        function_call: &'a RawValue = "function_call",
    }
}

object! {
    StreamOptions<'a> {
        include_usage: bool = "include_usage",
        // Padding against observers of the line: it changes nothing that is said.
        include_obfuscation: bool = "include_obfuscation",
    }
}

object! {
    Message<'a> {
        role: Text<'a> = "role",
        content: Content<'a> = "content",
        name: Text<'a> = "name",
        refusal: Text<'a> = "refusal",
        tool_calls: Vec<ToolCall<'a>> = "tool_calls",
        tool_call_id: Text<'a> = "tool_call_id",
        function_call: &'a RawValue = "function_call",
        audio: &'a RawValue = "audio",
        annotations: &'a RawValue = "annotations",
        // What OpenAI's SDK has read from `content`, handed back.
        parsed: IgnoredAny = "parsed",
        reasoning_content: Text<'a> = "reasoning_content",
        reasoning_signature: Text<'a> = "reasoning_signature",
        cache_control: &'a RawValue = "cache_control",
    }
}

object! {
    Part<'a> {
        kind: Text<'a> = "type",
        text: Text<'a> = "text",
        refusal: Text<'a> = "refusal",
        image_url: ImageUrl<'a> = "image_url",
        input_audio: InputAudio<'a> = "input_audio",
        file: File<'a> = "file",
        cache_control: &'a RawValue = "cache_control",
    }
}

object! {
    ImageUrl<'a> {
        url: Text<'a> = "url",
        detail: Text<'a> = "detail",
    }
}

object! {
    InputAudio<'a> {
        data: Text<'a> = "data",
        format: Text<'a> = "format",
    }
}

object! {
    File<'a> {
        file_id: Text<'a> = "file_id",
        filename: Text<'a> = "filename",
        file_data: Text<'a> = "file_data",
    }
}

object! {
    ToolCall<'a> {
        id: Text<'a> = "id",
        kind: Text<'a> = "type",
        index: u64 = "index",
        function: CalledFunction<'a> = "function",
        extra_content: ExtraContent<'a> = "extra_content",
    }
}

object! {
    CalledFunction<'a> {
        name: Text<'a> = "name",
        arguments: Text<'a> = "arguments",
        // What OpenAI's SDK has read from `arguments`, handed back.
        parsed_arguments: IgnoredAny = "parsed_arguments",
    }
}

object! {
    ExtraContent<'a> {
        google: GoogleExtra<'a> = "google",
    }
}

object! {
    GoogleExtra<'a> {
        thought_signature: Text<'a> = "thought_signature",
    }
}

object! {
    Tool<'a> {
        kind: Text<'a> = "type",
        function: Function<'a> = "function",
        cache_control: &'a RawValue = "cache_control",
    }
}

object! {
    Function<'a> {
        name: Text<'a> = "name",
        description: Text<'a> = "description",
        parameters: &'a RawValue = "parameters",
        strict: bool = "strict",
    }
}

object! {
    NamedTool<'a> {
        kind: Text<'a> = "type",
        function: FunctionName<'a> = "function",
    }
}

object! {
    FunctionName<'a> {
        name: Text<'a> = "name",
    }
}

object! {
    ResponseFormat<'a> {
        kind: Text<'a> = "type",
        json_schema: JsonSchema<'a> = "json_schema",
    }
}

object! {
    JsonSchema<'a> {
        name: Text<'a> = "name",
        schema: &'a RawValue = "schema",
        strict: bool = "strict",
    }
}

/// Declares what may be written in two ways: as a string, or as an array or object.
macro_rules! string_or {
    ($(#[$meta:meta])* $name:ident<$lt:lifetime>, $visit:ident($access:ident), $of:ident: $other:ty, $expecting:literal) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub(super) enum $name<$lt> {
            Text(Cow<$lt, str>),
            Other($other),
        }

        impl<'de: $lt, $lt> Deserialize<'de> for $name<$lt> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Reader<$lt>(PhantomData<&$lt ()>);

                impl<'de: $lt, $lt> Visitor<'de> for Reader<$lt> {
                    type Value = $name<$lt>;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                        Ok($name::Text(Cow::Borrowed(text)))
                    }

                    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                        Ok($name::Text(Cow::Owned(text.to_owned())))
                    }

                    fn $visit<A: $access<'de>>(self, access: A) -> Result<Self::Value, A::Error> {
                        Deserialize::deserialize($of::new(access)).map($name::Other)
                    }
                }

                deserializer.deserialize_any(Reader(PhantomData))
            }
        }
    };
}

string_or!(
    /// `content`.
    Content<'a>, visit_seq(SeqAccess), SeqAccessDeserializer: Vec<Part<'a>>,
    "a string or an array of parts"
);
string_or!(
    /// `stop`.
    Stop<'a>, visit_seq(SeqAccess), SeqAccessDeserializer: Vec<Text<'a>>,
    "a string or an array of strings"
);
string_or!(
    /// `tool_choice`.
    ToolChoice<'a>, visit_map(MapAccess), MapAccessDeserializer: NamedTool<'a>,
    "a string or an object"
);
