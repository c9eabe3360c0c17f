//! What providers of OpenAI's dialect refuse in a chat completion although they speak it.
//!
//! Two kinds of members are taken out, and some are renamed: hints that a provider does not have, and what another provider's
//! reply, or one that was translated, brings into a conversation (`reasoning` is Groq's, vLLM's and
//! OpenRouter's; `parsed` comes of OpenAI's Python package). Everything else passes as it is, and the
//! provider decides.

use super::ProviderType;

/// The members that are taken out of a chat completion for one provider, or renamed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemberRules {
    /// Of the body: hints that it refuses.
    pub hints: &'static [&'static str],
    /// Of the body: a member, and the name by which the provider takes it.
    pub renamed: &'static [[&'static str; 2]],
    /// Of the body: what it refuses even where it is `null`, and is taken out where it is.
    pub nulls: &'static [&'static str],
    /// Of a message: what it refuses or does not read.
    pub of_messages: &'static [&'static str],
    /// Of a message: as `nulls`.
    pub nulls_of_messages: &'static [&'static str],
    /// Whether it has no role `developer`: `system` takes its place.
    pub lacks_developer: bool,
}

impl MemberRules {
    /// The name by which the provider takes a member of the body.
    pub fn name_of(&self, member: &'static str) -> &'static str {
        let mut renamed = self.renamed.iter();
        let found = renamed.find_map(|[name, new]| (*name == member).then_some(*new));
        found.unwrap_or(member)
    }

    /// Whether nothing is taken out.
    pub fn is_empty(&self) -> bool {
        self.hints.is_empty() && self.of_messages.is_empty() && !self.lacks_developer
    }
}

impl ProviderType {
    /// What is taken out of its chat completions.
    pub fn member_rules(self) -> MemberRules {
        match self {
            Self::Anthropic | Self::Google => MemberRules::default(),
            // "Additional properties are not allowed": by users' reports.
            Self::AzureOpenai | Self::Openai => MemberRules {
                of_messages: &[
                    "reasoning",
                    "reasoning_content",
                    "reasoning_details",
                    "reasoning_signature",
                ],
                ..MemberRules::default()
            },
            // That its compatible API refuses `stream_options` is reported by users of other gateways and in
            // the documentation of Strands; Cohere's own page does not name it.
            Self::Cohere => MemberRules {
                hints: &["stream_options"],
                of_messages: &[
                    "reasoning",
                    "reasoning_content",
                    "reasoning_details",
                    "reasoning_signature",
                ],
                ..MemberRules::default()
            },
            // "unknown variant `developer`, expected one of `system`, `user`, `assistant`, `tool`":
            // <https://github.com/earendil-works/pi/issues/1048>.
            Self::Deepseek => MemberRules {
                of_messages: &["reasoning_signature"],
                lacks_developer: true,
                ..MemberRules::default()
            },
            // "property 'reasoning_content' is unsupported". The others are not among the members of
            // `groq` 1.7.0 either: `completion_create_params.py`, `chat_completion_assistant_message_param.py`.
            Self::Groq => MemberRules {
                hints: &[
                    "moderation",
                    "prediction",
                    "prompt_cache_key",
                    "prompt_cache_options",
                    "prompt_cache_retention",
                    "safety_identifier",
                    "verbosity",
                ],
                nulls: &["audio", "modalities", "web_search_options"],
                of_messages: &[
                    "annotations",
                    "parsed",
                    "reasoning_content",
                    "reasoning_details",
                    "reasoning_signature",
                    "refusal",
                ],
                nulls_of_messages: &["audio"],
                ..MemberRules::default()
            },
            // 422 `extra_forbidden`, also for `null`: <https://github.com/Gage-Technologies/mistral-go/pull/2>,
            // and for `stream_options.include_usage`: <https://github.com/openai/openai-agents-python/issues/442>
            // (its streams end with the usage, asked for or not). Members: `mistralai` 3.7.0,
            // `ChatCompletionRequest` and the messages.
            Self::Mistral => MemberRules {
                hints: &[
                    "moderation",
                    "prompt_cache_options",
                    "prompt_cache_retention",
                    "safety_identifier",
                    "store",
                    "stream_options",
                    "user",
                    "verbosity",
                ],
                renamed: &[["seed", "random_seed"]],
                nulls: &[
                    "audio",
                    "function_call",
                    "functions",
                    "logit_bias",
                    "max_completion_tokens",
                    "modalities",
                    "seed",
                    "web_search_options",
                ],
                of_messages: &[
                    "annotations",
                    "name",
                    "parsed",
                    "reasoning",
                    "reasoning_content",
                    "reasoning_details",
                    "reasoning_signature",
                    "refusal",
                ],
                nulls_of_messages: &["audio", "function_call"],
                lacks_developer: true,
            },
            // They read `reasoning_content`, or ignore what they do not know.
            Self::Fireworks
            | Self::Lmstudio
            | Self::Meta
            | Self::Ollama
            | Self::OpenaiCompatible
            | Self::Openrouter
            | Self::Together
            | Self::Vllm
            | Self::Xai => MemberRules {
                of_messages: &["reasoning_signature"],
                ..MemberRules::default()
            },
        }
    }
}
