//! The provider types: where each lives and how it is asked.
//!
//! This is the one list of types. A type that speaks OpenAI's dialect is a row of
//! [`ProviderType::preset`], nothing more.

pub mod anthropic;
pub mod dialect;
pub mod gemini;
pub mod relay;

/// What kind of provider a backend is: a backend's `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the name of a provider")]
pub enum ProviderType {
    Openai,
    OpenaiCompatible,
    Cohere,
    Deepseek,
    Fireworks,
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

/// Where the API key of a provider goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// `authorization: Bearer KEY`.
    Bearer,
    /// The provider knows no keys: one is sent only if the configuration has one.
    Nowhere,
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
    pub const ALL: [Self; 14] = [
        Self::Openai,
        Self::OpenaiCompatible,
        Self::Cohere,
        Self::Deepseek,
        Self::Fireworks,
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

    /// Whether `OpenAI-Organization` and `OpenAI-Project` mean something to it.
    pub fn has_organizations(self) -> bool {
        self == Self::Openai
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
        use KeyPlace::{Bearer, Nowhere};
        match self {
            // https://platform.openai.com/docs/api-reference
            Self::Openai => row("openai", Some("https://api.openai.com"), "/v1", Bearer),
            Self::OpenaiCompatible => row("openai-compatible", None, "/v1", Bearer),
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
