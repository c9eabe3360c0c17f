//! Token counts as billed. `None` is "not said"; nothing is estimated.

/// What a reply cost. Unit: tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All of the input, cached parts included: OpenAI's `prompt_tokens`.
    pub prompt: Option<u64>,
    /// All of the output, reasoning included: OpenAI's `completion_tokens`.
    pub completion: Option<u64>,
    /// The part of the input that was read from a cache.
    pub cached: Option<u64>,
    /// The part of the input that was written to a cache.
    pub cache_written: Option<u64>,
    /// The part of the output that was reasoning.
    pub reasoning: Option<u64>,
    /// What the provider says the total is.
    pub total: Option<u64>,
}

impl Usage {
    /// Input and output together: what the provider says, else their sum.
    pub fn sum(&self) -> Option<u64> {
        let sum = || match (self.prompt, self.completion) {
            (None, None) => None,
            (prompt, completion) => Some(
                prompt
                    .unwrap_or_default()
                    .saturating_add(completion.unwrap_or_default()),
            ),
        };
        self.total.or_else(sum)
    }
}

/// What is seen of a provider's answer on its way, for logs and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// As far as the provider has said it.
    pub usage: Usage,
    /// The model that answers, in the provider's words.
    pub model: Option<Box<str>>,
    /// Why the answer ended, in the provider's words.
    pub finish_reason: Option<Box<str>>,
    /// Whether a part of the answer itself has come in a stream.
    pub has_begun: bool,
}
