//! The provider types: where each lives and how it is asked.
//!
//! This is the one list of types. A type that speaks OpenAI's dialect is a row of
//! [`ProviderType::preset`], nothing more.

pub mod adapt;
pub mod anthropic;
pub mod azure;
pub mod dialect;
mod further;
pub mod gemini;
pub mod members;
pub mod openai;
pub mod vertex;
mod wire;

use self::anthropic::Anthropic;
use self::dialect::Dialect;
pub use self::further::{FurtherApis, Passage};
use self::gemini::Gemini;
use self::openai::OpenAi;
pub use self::wire::Wire;
use crate::operation::Kind;

/// What kind of provider a backend is: a backend's `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the name of a provider")]
pub enum ProviderType {
    Openai,
    OpenaiCompatible,
    Anthropic,
    AzureOpenai,
    Cohere,
    Deepseek,
    Fireworks,
    Google,
    Groq,
    Lmstudio,
    Meta,
    Mistral,
    Ollama,
    Openrouter,
    Together,
    Vllm,
    Xai,
}

/// What a backend's models speak, where requests are translated.
///
/// `Gemini` is one dialect for all models. On `Vertex` the model decides: `gemini-…` speaks
/// Gemini's, `claude-…` Anthropic's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "each is the name of a dialect or of a provider"
)]
pub enum Dialects {
    Anthropic,
    Gemini,
    OpenAi,
    Vertex,
}

impl Dialects {
    /// The dialect in which this model is asked.
    pub fn of(self, model: &str) -> &'static dyn Dialect {
        match self {
            Self::Anthropic => &const { Anthropic::new() },
            Self::Gemini => &Gemini,
            Self::OpenAi => &OpenAi,
            Self::Vertex => vertex::dialect_of(model),
        }
    }

    /// Whether the tokens of a conversation can be counted for every model.
    pub fn count_tokens(self) -> bool {
        matches!(self, Self::Anthropic | Self::Gemini | Self::Vertex)
    }

    /// Whether some models speak the API of a call themselves, so that it may [pass](Dialect::pass).
    pub fn may_pass(self, kind: Kind) -> bool {
        self == Self::Vertex && matches!(kind, Kind::CountTokens | Kind::Messages)
    }

    /// Whether some model may have embeddings.
    pub fn have_embeddings(self) -> bool {
        matches!(self, Self::Gemini | Self::Vertex)
    }
}

/// The member that requests the usage of a streamed chat completion.
/// <https://platform.openai.com/docs/api-reference/chat/create#chat_create-stream_options>.
pub const STREAM_OPTIONS: &str = "stream_options";

/// By which of its two names, `max_tokens` and `max_completion_tokens`, a provider takes the limit of
/// an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitName {
    /// Some models take `max_completion_tokens` alone: see [`openai::insists_on_completion_tokens`].
    ByModel,
    /// Both, or nothing is known.
    #[default]
    Either,
    /// `max_tokens` alone.
    Old,
}

impl LimitName {
    /// The name that is replaced, and the one that takes its place; `None`: both stay.
    pub fn names(self) -> Option<[&'static str; 2]> {
        match self {
            Self::ByModel => Some(["max_tokens", "max_completion_tokens"]),
            Self::Either => None,
            Self::Old => Some(["max_completion_tokens", "max_tokens"]),
        }
    }
}

/// Where the API key of a provider goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// `api-key: KEY`.
    ApiKey,
    /// `authorization: Bearer KEY`.
    Bearer,
    /// The provider knows no keys: one is sent only if the configuration has one.
    Nowhere,
    /// `x-api-key: KEY`.
    XApiKey,
    /// `x-goog-api-key: KEY`.
    XGoogApiKey,
}

impl KeyPlace {
    /// The header's name, and what stands before the key; `None`: no header by itself.
    pub fn header(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::ApiKey => Some(("api-key", "")),
            Self::Bearer => Some(("authorization", "Bearer ")),
            Self::Nowhere => None,
            Self::XApiKey => Some(("x-api-key", "")),
            Self::XGoogApiKey => Some(("x-goog-api-key", "")),
        }
    }
}

/// The facts about a provider type that a configuration may leave out.
///
/// Source: the providers' API references, read 2026-11-21; addresses beside each row.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// As in a configuration's `type`.
    pub name: &'static str,
    /// Scheme and host; `None` where `endpoint` must be given.
    pub origin: Option<&'static str>,
    /// The path under which the operations' suffixes are appended, where `endpoint` has none.
    pub base_path: &'static str,
    /// Where the key goes.
    pub key: KeyPlace,
}

impl ProviderType {
    /// Every type, in the order in which messages list them.
    pub const ALL: [Self; 17] = [
        Self::Openai,
        Self::OpenaiCompatible,
        Self::Anthropic,
        Self::AzureOpenai,
        Self::Cohere,
        Self::Deepseek,
        Self::Fireworks,
        Self::Google,
        Self::Groq,
        Self::Lmstudio,
        Self::Meta,
        Self::Mistral,
        Self::Ollama,
        Self::Openrouter,
        Self::Together,
        Self::Vllm,
        Self::Xai,
    ];

    /// The name as it stands in a configuration.
    pub fn as_str(self) -> &'static str {
        self.preset().name
    }

    /// The dialects into which chat completions are translated; `None`: it speaks OpenAI's.
    pub fn dialects(self) -> Option<Dialects> {
        match self {
            Self::Anthropic => Some(Dialects::Anthropic),
            Self::Google => Some(Dialects::Gemini),
            _ => None,
        }
    }

    /// By which name it takes the limit of an answer.
    pub fn limit_name(self) -> LimitName {
        match self {
            Self::Openai | Self::AzureOpenai => LimitName::ByModel,
            // Mistral answers 422 `extra_forbidden` to the new name (`mistralai` 3.7.0,
            // ChatCompletionRequest); DeepSeek ignores it by users' reports (a limit of 5, 76 tokens), and
            // Ollama's list of parameters has only the old one.
            Self::Deepseek | Self::Mistral | Self::Ollama => LimitName::Old,
            _ => LimitName::Either,
        }
    }

    /// Whether it gives the usage of a streamed chat completion on request, and takes the request,
    /// `stream_options.include_usage`, from any client.
    ///
    /// Mistral and Cohere refuse the member; servers of unknown kind may. Sources, read 2026-11-28:
    /// <https://platform.openai.com/docs/api-reference/chat/create>,
    /// <https://learn.microsoft.com/azure/ai-foundry/openai/reference> (from 2024-09-01-preview on),
    /// <https://api-docs.deepseek.com/api/create-chat-completion>, <https://console.groq.com/docs/api-reference>,
    /// <https://docs.x.ai/docs/api-reference>, <https://docs.ollama.com/api/openai-compatibility>,
    /// <https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html>.
    pub fn gives_stream_usage(self) -> bool {
        matches!(
            self,
            Self::AzureOpenai
                | Self::Deepseek
                | Self::Fireworks
                | Self::Groq
                | Self::Lmstudio
                | Self::Ollama
                | Self::Openai
                | Self::Openrouter
                | Self::Together
                | Self::Vllm
                | Self::Xai
        )
    }

    /// Where a key goes.
    ///
    /// Anthropic's OAuth tokens are no API keys:
    /// <https://platform.claude.com/docs/en/api/overview>, read 2026-11-21.
    pub fn place_of(self, key: &str) -> KeyPlace {
        match self == Self::Anthropic && key.starts_with("sk-ant-oat") {
            true => KeyPlace::Bearer,
            false => self.preset().key,
        }
    }

    /// The families of models that it serves, as names with `*`; empty: whatever is asked for.
    ///
    /// Source: the providers' lists of models, read 2026-11-21.
    pub fn families(self) -> &'static [&'static str] {
        match self {
            // https://platform.openai.com/docs/models
            Self::Openai => &[
                "gpt-*",
                "chatgpt-*",
                "o1*",
                "o3*",
                "o4*",
                "codex-*",
                "computer-use-*",
                "text-embedding-3-*",
                "text-embedding-ada-*",
                "omni-moderation-*",
                "text-moderation-*",
                "dall-e-*",
                "sora-*",
                "tts-*",
                "whisper-*",
                "davinci-*",
                "babbage-*",
                "ft:*",
            ],
            // https://platform.claude.com/docs/en/about-claude/models/overview
            Self::Anthropic => &["claude-*"],
            // https://docs.cohere.com/docs/models
            Self::Cohere => &["command-*", "c4ai-*", "embed-*", "rerank-*"],
            // https://api-docs.deepseek.com/quick_start/pricing
            Self::Deepseek => &["deepseek-*"],
            // https://ai.google.dev/gemini-api/docs/models
            Self::Google => &[
                "gemini-*",
                "gemma-*",
                "learnlm-*",
                "nano-banana-*",
                "text-embedding-0*",
            ],
            // https://docs.mistral.ai/getting-started/models
            Self::Mistral => &[
                "mistral-*",
                "ministral-*",
                "magistral-*",
                "codestral-*",
                "devstral-*",
                "pixtral-*",
                "voxtral-*",
                "labs-*",
                "open-*",
            ],
            // https://docs.x.ai/docs/models
            Self::Xai => &["grok-*"],
            Self::AzureOpenai
            | Self::Fireworks
            | Self::Groq
            | Self::Lmstudio
            | Self::Meta
            | Self::Ollama
            | Self::OpenaiCompatible
            | Self::Openrouter
            | Self::Together
            | Self::Vllm => &[],
        }
    }

    /// Whether an `endpoint` may be left out.
    pub fn has_own_host(self) -> bool {
        self.preset().origin.is_some()
    }

    /// What a configuration may leave out.
    pub fn preset(self) -> Preset {
        let row = |name, origin, base_path, key| Preset {
            name,
            origin,
            base_path,
            key,
        };
        use KeyPlace::{ApiKey, Bearer, Nowhere, XApiKey, XGoogApiKey};
        match self {
            // https://platform.openai.com/docs/api-reference
            Self::Openai => row("openai", Some("https://api.openai.com"), "/v1", Bearer),
            Self::OpenaiCompatible => row("openai-compatible", None, "/v1", Bearer),
            // https://platform.claude.com/docs/en/api/overview
            Self::Anthropic => row(
                "anthropic",
                Some("https://api.anthropic.com"),
                "/v1",
                XApiKey,
            ),
            // The resource's endpoint; see `azure` for the paths below it.
            Self::AzureOpenai => row("azure-openai", None, "", ApiKey),
            // https://docs.cohere.com/docs/compatibility-api
            Self::Cohere => row(
                "cohere",
                Some("https://api.cohere.ai"),
                "/compatibility/v1",
                Bearer,
            ),
            // https://api-docs.deepseek.com
            Self::Deepseek => row("deepseek", Some("https://api.deepseek.com"), "/v1", Bearer),
            // https://docs.fireworks.ai/api-reference
            Self::Fireworks => row(
                "fireworks",
                Some("https://api.fireworks.ai"),
                "/inference/v1",
                Bearer,
            ),
            // https://ai.google.dev/api
            Self::Google => row(
                "google",
                Some("https://generativelanguage.googleapis.com"),
                "/v1beta",
                XGoogApiKey,
            ),
            // https://console.groq.com/docs/openai
            Self::Groq => row("groq", Some("https://api.groq.com"), "/openai/v1", Bearer),
            // https://lmstudio.ai/docs/app/api/endpoints/openai
            Self::Lmstudio => row("lmstudio", None, "/v1", Bearer),
            Self::Meta => row("meta", None, "/v1", Bearer),
            // https://docs.mistral.ai/api
            Self::Mistral => row("mistral", Some("https://api.mistral.ai"), "/v1", Bearer),
            // https://docs.ollama.com/api/openai-compatibility
            Self::Ollama => row("ollama", Some("http://localhost:11434"), "/v1", Nowhere),
            // https://openrouter.ai/docs/api-reference/overview
            Self::Openrouter => row(
                "openrouter",
                Some("https://openrouter.ai"),
                "/api/v1",
                Bearer,
            ),
            // https://docs.together.ai/docs/openai-api-compatibility
            Self::Together => row("together", Some("https://api.together.xyz"), "/v1", Bearer),
            // https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
            Self::Vllm => row("vllm", None, "/v1", Bearer),
            // https://docs.x.ai/docs/api-reference
            Self::Xai => row("xai", Some("https://api.x.ai"), "/v1", Bearer),
        }
    }
}

/// Why a path cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// The model is part of it and is not known, or not yet.
    NeedsModel,
    /// The model's name would change the path. Caused by the client.
    NotASegment,
}
