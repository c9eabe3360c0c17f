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
