//! What happens to the client APIs that are neither chat completions nor embeddings.
//!
//! A provider speaks such an API itself ([`Passage::Native`]: requests pass as they are) or not
//! ([`Passage::Translate`]). By type it is one table, [`ProviderType::further_apis`]; a backend's keys
//! `messages` and `responses` change it.

use super::ProviderType;
use crate::operation::Kind;

/// How requests of a client API get to a provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Passage {
    /// As they are: the provider speaks the API.
    Native,
    /// Translated into the provider's dialect.
    #[default]
    Translate,
}

/// The client APIs beside chat completions, at one backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FurtherApis {
    /// `POST /messages` and `/messages/count_tokens`.
    pub messages: Passage,
    /// `POST /responses`, and what is below it.
    pub responses: Passage,
}

impl FurtherApis {
    /// What happens to a call; `None`: it belongs to none of these APIs.
    pub fn passage(self, kind: Kind) -> Option<Passage> {
        match kind {
            Kind::CountTokens | Kind::Messages => Some(self.messages),
            Kind::InputTokens | Kind::Responses | Kind::StoredResponses => Some(self.responses),
            _ => None,
        }
    }

    /// Whether the provider speaks the API of a call itself.
    pub fn are_native(self, kind: Kind) -> bool {
        self.passage(kind) == Some(Passage::Native)
    }
}

impl ProviderType {
    /// The client APIs that a provider of this type speaks, where the configuration does not say.
    ///
    /// Servers that people run themselves are of all versions, and the old ones answer 404 to
    /// `/v1/messages`, so that their requests are translated: vLLM
    /// (<https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html>), Ollama from 0.14 on
    /// (<https://docs.ollama.com/api/anthropic-compatibility>), LM Studio
    /// (<https://lmstudio.ai/docs/developer/anthropic-compat>). DeepSeek has the Messages API below another
    /// base (`/anthropic`: <https://api-docs.deepseek.com/guides/anthropic_api>), where it is a backend of
    /// type `anthropic`; xAI has deprecated its own. Read 2026-11-28.
    pub fn further_apis(self) -> FurtherApis {
        use Passage::{Native, Translate};
        let row = |messages, responses| FurtherApis {
            messages,
            responses,
        };
        match self {
            Self::Anthropic => row(Native, Translate),
            // https://learn.microsoft.com/azure/ai-foundry/openai/how-to/responses
            Self::AzureOpenai | Self::Openai => row(Translate, Native),
            // https://console.groq.com/docs/responses-api
            Self::Groq => row(Translate, Native),
            // https://openrouter.ai/docs/api/reference/overview, https://openrouter.ai/docs/guides/coding-agents/claude-code-integration
            Self::Openrouter => row(Native, Native),
            // https://docs.x.ai/docs/guides/migration
            Self::Xai => row(Translate, Native),
            // https://docs.ollama.com/api/openai-compatibility, https://lmstudio.ai/docs/developer/openai-compat,
            // https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html,
            // https://docs.fireworks.ai/guides/response-api
            Self::Fireworks | Self::Lmstudio | Self::Ollama | Self::Vllm => row(Translate, Native),
            Self::Cohere
            | Self::Deepseek
            | Self::Google
            | Self::Meta
            | Self::Mistral
            | Self::OpenaiCompatible
            | Self::Together => row(Translate, Translate),
        }
    }
}
