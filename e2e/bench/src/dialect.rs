//! The words of a provider: where it is asked, how, and what it answers.

use serde_json::{Map, Value, json};

use crate::workload::{CHUNKS, Conversation};

/// Whose API the provider speaks. Clients speak OpenAI's, unless they ask a bare Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Anthropic's Messages.
    Anthropic,
    /// Google's generateContent, of AI Studio.
    Gemini,
    /// OpenAI's chat completions.
    OpenAi,
}

impl Dialect {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Anthropic, Self::Gemini, Self::OpenAi];

    /// What its cluster and its backend are called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::OpenAi => "openai",
        }
    }

    /// The host that clients ask for, by which Envoy finds the provider.
    pub fn gateway_host(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic.gateway.example.com",
            Self::Gemini => "gemini.gateway.example.com",
            Self::OpenAi => "gateway.example.com",
        }
    }

    /// The provider's host.
    pub fn provider_host(self) -> &'static str {
        match self {
            Self::Anthropic => "api.anthropic.com",
            Self::Gemini => "generativelanguage.googleapis.com",
            Self::OpenAi => "api.openai.com",
        }
    }

    /// The header in which the provider expects its key, and what stands before the key.
    pub fn key_header(self) -> (&'static str, &'static str) {
        match self {
            Self::Anthropic => ("x-api-key", ""),
            Self::Gemini => ("x-goog-api-key", ""),
            Self::OpenAi => ("authorization", "Bearer "),
        }
    }

    /// The model that clients ask for.
    pub fn model(self) -> &'static str {
        match self {
            Self::Anthropic => "claude-sonnet-4-5",
            Self::Gemini => GEMINI,
            Self::OpenAi => "gpt-4o",
        }
    }

    /// The path of a request in these words.
    pub fn path(self, is_stream: bool) -> String {
        match self {
            Self::Anthropic => "/v1/messages".to_owned(),
            Self::Gemini if is_stream => {
                format!("/v1beta/models/{GEMINI}:streamGenerateContent?alt=sse")
            }
            Self::Gemini => format!("/v1beta/models/{GEMINI}:generateContent"),
            Self::OpenAi => "/v1/chat/completions".to_owned(),
        }
    }

    /// Whose path it is.
    pub fn of_path(path: &str) -> Self {
        match path {
            _ if path.starts_with("/v1beta/") => Self::Gemini,
            _ if path.ends_with("/messages") => Self::Anthropic,
            _ => Self::OpenAi,
        }
    }

    /// A request in these words.
    pub fn request(self, conversation: &Conversation) -> Value {
        let Conversation {
            system,
            turns,
            is_stream,
            ..
        } = conversation;
        let mut body = Map::new();
        let mut add = |name: &str, value| body.insert(name.to_owned(), value);
        match self {
            Self::Anthropic => {
                let message = |turn: &(&str, String)| json!({"role": turn.0, "content": turn.1});
                let image = conversation.image().map(|(question, media_type, data)| {
                    let source = json!({"type": "base64", "media_type": media_type, "data": data});
                    json!({"role": "user", "content": [
                        {"type": "text", "text": question},
                        {"type": "image", "source": source},
                    ]})
                });
                add("model", self.model().into());
                add("max_tokens", Conversation::MAX_TOKENS.into());
                add("system", system.clone().into());
                add("messages", turns.iter().map(message).chain(image).collect());
                add("temperature", Conversation::TEMPERATURE.into());
                if *is_stream {
                    add("stream", true.into());
                }
            }
            Self::Gemini => {
                let content = |(role, text): &(&str, String)| {
                    let role = if *role == "user" { "user" } else { "model" };
                    json!({"role": role, "parts": [{ "text": text }]})
                };
                let image = conversation.image().map(|(question, media_type, data)| {
                    json!({"role": "user", "parts": [
                        {"text": question},
                        {"inlineData": {"mimeType": media_type, "data": data}},
                    ]})
                });
                add("systemInstruction", json!({"parts": [{ "text": system }]}));
                add("contents", turns.iter().map(content).chain(image).collect());
                let config = json!({
                    "maxOutputTokens": Conversation::MAX_TOKENS,
                    "temperature": Conversation::TEMPERATURE,
                });
                add("generationConfig", config);
            }
            Self::OpenAi => return conversation.to_openai(self.model()),
        }
        body.into()
    }

    /// A whole answer.
    pub fn completion(self) -> &'static str {
        match self {
            Self::Anthropic => ANTHROPIC_COMPLETION,
            Self::Gemini => GEMINI_COMPLETION,
            Self::OpenAi => OPENAI_COMPLETION,
        }
    }

    /// An event of a streamed answer, of which there are [`CHUNKS`], from 0.
    pub fn event(self, number: usize) -> &'static str {
        let left = CHUNKS.saturating_sub(number + 1);
        match (self, number, left) {
            (Self::Anthropic, 0, _) => ANTHROPIC_START,
            (Self::Anthropic, 1, _) => ANTHROPIC_BLOCK_START,
            (Self::Anthropic, 2, _) => ANTHROPIC_PING,
            (Self::Anthropic, _, 2) => ANTHROPIC_BLOCK_STOP,
            (Self::Anthropic, _, 1) => ANTHROPIC_DELTA,
            (Self::Anthropic, _, 0) => ANTHROPIC_STOP,
            (Self::Anthropic, ..) => ANTHROPIC_TEXT,
            (Self::Gemini, _, 0) => GEMINI_LAST,
            (Self::Gemini, ..) => GEMINI_TEXT,
            (Self::OpenAi, _, 1) => OPENAI_LAST,
            (Self::OpenAi, _, 0) => OPENAI_DONE,
            (Self::OpenAi, ..) => OPENAI_TEXT,
        }
    }

    /// How many events of a streamed answer bring a [`WORD`].
    pub fn words(self) -> usize {
        CHUNKS
            - match self {
                Self::Anthropic => 6,
                Self::Gemini => 1,
                Self::OpenAi => 2,
            }
    }
}

/// What a whole answer says.
pub const TEXT: &str =
    "The same invoice was booked twice; remove one entry and the figures for March add up.";

/// What an event of a streamed answer says.
pub const WORD: &str = " invoice";

/// How many tokens the request had, as the provider says.
pub const PROMPT_TOKENS: u64 = 512;

const GEMINI: &str = "gemini-2.5-flash";

const OPENAI_COMPLETION: &str = r#"{"id":"chatcmpl-CeZ1x0Qm3bq8yT2v7dWkP4nRaH9sL","object":"chat.completion","created":1763700000,"model":"gpt-4o-2024-08-06","choices":[{"index":0,"message":{"role":"assistant","content":"The same invoice was booked twice; remove one entry and the figures for March add up.","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":512,"completion_tokens":19,"total_tokens":531,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"service_tier":"default","system_fingerprint":"fp_0123456789"}"#;

const OPENAI_TEXT: &str = "data: {\"id\":\"chatcmpl-CeZ1x0Qm3bq8yT2v7dWkP4nRaH9sL\",\"object\":\"chat.completion.chunk\",\"created\":1763700000,\"model\":\"gpt-4o-2024-08-06\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_0123456789\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" invoice\"},\"logprobs\":null,\"finish_reason\":null}],\"obfuscation\":\"k3Qd0a\"}\n\n";

const OPENAI_LAST: &str = "data: {\"id\":\"chatcmpl-CeZ1x0Qm3bq8yT2v7dWkP4nRaH9sL\",\"object\":\"chat.completion.chunk\",\"created\":1763700000,\"model\":\"gpt-4o-2024-08-06\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_0123456789\",\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"obfuscation\":\"k3Qd0a\"}\n\n";

const OPENAI_DONE: &str = "data: [DONE]\n\n";

const ANTHROPIC_COMPLETION: &str = r#"{"model":"claude-sonnet-4-5-20250929","id":"msg_01XWk8n3jWP3kDmrzHfQyM4B","type":"message","role":"assistant","content":[{"type":"text","text":"The same invoice was booked twice; remove one entry and the figures for March add up."}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":512,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":19,"service_tier":"standard"}}"#;

const ANTHROPIC_START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"claude-sonnet-4-5-20250929\",\"id\":\"msg_01XWk8n3jWP3kDmrzHfQyM4B\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":512,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"cache_creation\":{\"ephemeral_5m_input_tokens\":0,\"ephemeral_1h_input_tokens\":0},\"output_tokens\":1,\"service_tier\":\"standard\"}}}\n\n";

const ANTHROPIC_BLOCK_START: &str = "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n";

const ANTHROPIC_PING: &str = "event: ping\ndata: {\"type\": \"ping\"}\n\n";

const ANTHROPIC_TEXT: &str = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\" invoice\"}}\n\n";

const ANTHROPIC_BLOCK_STOP: &str =
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n";

const ANTHROPIC_DELTA: &str = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"input_tokens\":512,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":94}}\n\n";

const ANTHROPIC_STOP: &str = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

const GEMINI_COMPLETION: &str = r#"{
  "candidates": [
    {
      "content": {
        "parts": [
          {
            "text": "The same invoice was booked twice; remove one entry and the figures for March add up."
          }
        ],
        "role": "model"
      },
      "finishReason": "STOP",
      "index": 0
    }
  ],
  "usageMetadata": {
    "promptTokenCount": 512,
    "candidatesTokenCount": 19,
    "totalTokenCount": 531,
    "promptTokensDetails": [
      {
        "modality": "TEXT",
        "tokenCount": 512
      }
    ]
  },
  "modelVersion": "gemini-2.5-flash",
  "responseId": "FXzcaMjLO5Te4_UPl9jNkQ8"
}
"#;

const GEMINI_TEXT: &str = "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \" invoice\"}],\"role\": \"model\"},\"index\": 0}],\"usageMetadata\": {\"promptTokenCount\": 512,\"candidatesTokenCount\": 19,\"totalTokenCount\": 531,\"promptTokensDetails\": [{\"modality\": \"TEXT\",\"tokenCount\": 512}]},\"modelVersion\": \"gemini-2.5-flash\",\"responseId\": \"FXzcaMjLO5Te4_UPl9jNkQ8\"}\r\n\r\n";

const GEMINI_LAST: &str = "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"\"}],\"role\": \"model\"},\"finishReason\": \"STOP\",\"index\": 0}],\"usageMetadata\": {\"promptTokenCount\": 512,\"candidatesTokenCount\": 99,\"totalTokenCount\": 611,\"promptTokensDetails\": [{\"modality\": \"TEXT\",\"tokenCount\": 512}]},\"modelVersion\": \"gemini-2.5-flash\",\"responseId\": \"FXzcaMjLO5Te4_UPl9jNkQ8\"}\r\n\r\n";
